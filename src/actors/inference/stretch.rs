//! What is summed up at a time: messages that follow one another, as many as an assistant can be told at once.

use crate::config::Ai;
use crate::domain::{AssistantTerms, MessageId, RoomId, RunKind, RunState};
use crate::inference::prompt::{self, Line};
use crate::storage::{HistoryPage, Message, Store, StoreError};

/// Messages that are read at a time.
const PAGE: usize = 100;

/// Part of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub start: MessageId,
    pub end: MessageId,
    /// Of all that is said in it, with whatever tokenizer (SUM-01).
    pub most: usize,
    /// Nothing more may be told at a time.
    pub is_full: bool,
}

/// The first stretch of what was said after `after` and before `before`; it ends before an answer that isn't over.
pub async fn first(
    store: &Store,
    ai: &Ai,
    terms: &AssistantTerms,
    room: RoomId,
    after: MessageId,
    before: MessageId,
) -> Result<Option<Stretch>, StoreError> {
    let limit = told(terms.context_tokens, terms.output_tokens);
    let mut stretch: Option<Stretch> = None;
    let (mut count, mut tokens, mut from) = (0, 0, after);
    loop {
        let page = store.history(room, HistoryPage::After(from), PAGE).await?;
        for message in &page.messages {
            let is_open = message.run.as_ref().is_some_and(|run| run.state.is_open());
            if message.id >= before || (is_open && !is_summary(message)) {
                return Ok(stretch);
            }
            from = message.id;
            if !is_said(message) || is_summary(message) {
                continue;
            }
            let line = line(message);
            tokens += prompt::cost(&line);
            let most = prompt::most(&line);
            match &mut stretch {
                None => {
                    let is_full = tokens >= limit;
                    stretch = Some(Stretch { start: from, end: from, most, is_full });
                }
                Some(known) if tokens > limit || count >= ai.summary_messages => known.is_full = true,
                Some(known) => (known.end, known.most) = (from, known.most + most),
            }
            count += 1;
            if stretch.is_some_and(|stretch| stretch.is_full) {
                return Ok(stretch);
            }
        }
        if !page.more {
            return Ok(stretch);
        }
    }
}

/// Tokens of messages that are told at a time: half of what a prompt may have. The rest is for the instructions, for the summary of
/// what came before, and for what is written around a message.
fn told(context: i64, output: i64) -> usize {
    usize::try_from(context.saturating_sub(output) / 2).unwrap_or_default()
}

/// Whether a message says something: an answer that is still made, or of which nothing came, doesn't.
pub(super) fn is_said(message: &Message) -> bool {
    message.run.as_ref().is_none_or(|run| matches!(run.state, RunState::Done | RunState::Interrupted))
}

/// Whether it only says again what others said.
pub(super) fn is_summary(message: &Message) -> bool {
    message.run.as_ref().is_some_and(|run| run.kind == RunKind::Summary)
}

pub(super) fn line(message: &Message) -> Line {
    Line {
        id: message.id,
        author: message.author.name.to_string(),
        role: message.author.role,
        at: message.at,
        text: message.body.clone(),
    }
}
