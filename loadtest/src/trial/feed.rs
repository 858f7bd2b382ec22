//! A bot that reads everything by long poll, with one cursor through all restarts.

use std::sync::Arc;
use std::time::Duration;

use super::TrialError;
use super::identity::Identity;
use super::shared::Shared;

/// One poll waits up to so long at the server.
const WAIT: Duration = Duration::from_secs(1);

pub(super) async fn read(
    shared: Arc<Shared>,
    who: Identity,
    start: u64,
    epoch: String,
) -> Result<(), TrialError> {
    let record = shared.recorder.feed(&who.name, start);
    let goal = shared.goal.subscribe();
    let mut cursor = start;
    loop {
        if goal.borrow().as_ref().is_some_and(|goal| cursor >= goal.last_id) {
            shared.recorder.feed_stayed(record);
            return Ok(());
        }
        match who.client.feed(cursor, WAIT, Some(&epoch)).await {
            Ok(answer) => {
                let gap = (answer.recovery != "complete").then(|| answer.reason.unwrap_or(answer.recovery));
                shared.recorder.fed(record, answer.events, gap);
                cursor = answer.next;
            }
            Err(error) => shared.retry_rest(&who, error).await?,
        }
    }
}
