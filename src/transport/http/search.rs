//! Finding messages by their words.

use super::call::{Call, ok};
use super::problem::Answer;
use super::view::MessageView;
use crate::auth::identity::refusal;
use crate::domain::Rejection;
use serde_json::json;

/// Messages of an answer.
const USUAL: u32 = 50;
const MOST: u32 = 100;

/// `GET /search`
pub(super) async fn search(call: Call) -> Answer {
    let query = call.query()?;
    let limit = usize::try_from(query.limit(USUAL, MOST)?).unwrap_or_default();
    let words = query.text("q").ok_or_else(|| Rejection::invalid("q", "is missing"))?;
    // One more than is shown tells whether there are more (LIM-09).
    let found = call.state.store.search(call.me(), words, limit.saturating_add(1)).await.map_err(refusal)?;
    let messages: Vec<_> = found.iter().take(limit).map(MessageView::from).collect();
    ok(&json!({ "messages": messages, "next": null, "more": found.len() > limit }))
}
