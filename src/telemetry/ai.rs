//! Counting answers of assistants (AI-20, AI-21). What the engine takes and what is ours is apart.

use super::catalog;
use super::errors::{self, ErrorClass};
use crate::domain::{EventBody, RunState, Usage};
use ::metrics::{counter, gauge, histogram};
use std::time::Duration;

/// Starts what is counted at zero.
pub(super) fn begin() {
    for name in [
        catalog::AI_WAIT,
        catalog::AI_DISPATCH,
        catalog::AI_FIRST_TOKEN,
        catalog::AI_RUN_SECONDS,
        catalog::AI_RELAY,
        catalog::AI_SPEED,
    ] {
        drop(histogram!(name));
    }
    for state in RunState::ALL.iter().filter(|state| !state.is_open()) {
        counter!(catalog::AI_RUNS, "state" => state.as_str(), "reason" => "none").increment(0);
    }
    for kind in ["prompt", "completion"] {
        counter!(catalog::AI_TOKENS, "kind" => kind).increment(0);
    }
    counter!(catalog::AI_REQUESTS).increment(0);
    for outcome in OUTCOMES {
        counter!(catalog::AI_OUTCOMES, "outcome" => outcome).increment(0);
    }
    counter!(catalog::AI_RETRIES, "reason" => "requeued").increment(0);
    counter!(catalog::AI_FAILURES, "reason" => "connect").increment(0);
    counter!(catalog::AI_SUMMARIES, "outcome" => "begun").increment(0);
    depth(0, 0, Duration::ZERO);
    breakers(std::iter::empty());
    rate(0);
}

/// How runs end, for those who don't care which reason it was exactly.
const OUTCOMES: [&str; 5] = ["completed", "failed", "timed_out", "cancelled", "interrupted"];

/// Which of [`OUTCOMES`] it is.
fn outcome(state: RunState, reason: Option<&str>) -> &'static str {
    match state {
        RunState::Done => "completed",
        RunState::Cancelled => "cancelled",
        _ if reason.is_some_and(|reason| reason.ends_with("_timeout")) => "timed_out",
        RunState::Interrupted => "interrupted",
        RunState::Failed | RunState::Queued | RunState::Running => "failed",
    }
}

/// What is in the log of answers: one was asked for, or ended.
pub fn committed(event: &EventBody) {
    match event {
        EventBody::MessagePosted { run: Some(_), .. } => counter!(catalog::AI_REQUESTS).increment(1),
        EventBody::AnswerEnded { run } => {
            counter!(catalog::AI_OUTCOMES, "outcome" => outcome(run.state, run.reason.as_deref()))
                .increment(1);
        }
        _ => {}
    }
}

/// An engine was asked for the first time, so long after the run was taken: ours alone (AI-20).
pub fn dispatched(after: Duration) {
    histogram!(catalog::AI_DISPATCH).record(after);
}

/// A run was taken after waiting so long.
pub fn waited(wait: Duration) {
    histogram!(catalog::AI_WAIT).record(wait);
}

/// The first piece of an answer came, so long after the run was taken: the engine's time.
pub fn first_token(after: Duration) {
    histogram!(catalog::AI_FIRST_TOKEN).record(after);
}

/// A piece was handed to its room, so long after it came: our time, with the span in which pieces are gathered.
pub fn relayed(after: Duration) {
    histogram!(catalog::AI_RELAY).record(after);
}

/// A run ended.
pub fn ended(state: RunState, reason: Option<&'static str>, took: Duration, usage: Usage) {
    let reason = reason.unwrap_or("none");
    counter!(catalog::AI_RUNS, "state" => state.as_str(), "reason" => reason).increment(1);
    histogram!(catalog::AI_RUN_SECONDS).record(took);
    let count = |tokens: i64| u64::try_from(tokens).unwrap_or_default();
    counter!(catalog::AI_TOKENS, "kind" => "prompt").increment(count(usage.prompt));
    counter!(catalog::AI_TOKENS, "kind" => "completion").increment(count(usage.completion));
    if took > Duration::ZERO && usage.completion > 0 {
        let completion = u32::try_from(usage.completion).unwrap_or(u32::MAX);
        histogram!(catalog::AI_SPEED).record(f64::from(completion) / took.as_secs_f64());
    }
}

/// An engine is asked once more, after it failed by `reason`.
pub fn upstream_retried(reason: &'static str) {
    counter!(catalog::AI_RETRIES, "reason" => reason).increment(1);
}

/// A run of which nothing came goes back into the queue.
pub fn requeued() {
    counter!(catalog::AI_RETRIES, "reason" => "requeued").increment(1);
}

/// An engine failed.
pub fn upstream_failed(reason: &'static str) {
    errors::count(ErrorClass::Upstream, reason);
    counter!(catalog::AI_FAILURES, "reason" => reason).increment(1);
}

/// A room is to be summed up by itself: what came of that.
pub fn summary_begun(outcome: &'static str) {
    counter!(catalog::AI_SUMMARIES, "outcome" => outcome).increment(1);
}

/// So many runs wait and are worked at; the oldest waits so long.
pub fn depth(queued: usize, running: usize, oldest: Duration) {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    gauge!(catalog::AI_OPEN, "state" => "queued").set(number(queued));
    gauge!(catalog::AI_OPEN, "state" => "running").set(number(running));
    gauge!(catalog::AI_OLDEST).set(oldest.as_secs_f64());
}

/// The breakers of all engines, by state.
pub fn breakers(states: impl Iterator<Item = &'static str>) {
    let mut counts = [("closed", 0u32), ("open", 0), ("half_open", 0)];
    for state in states {
        for (name, count) in &mut counts {
            *count += u32::from(*name == state);
        }
    }
    for (name, count) in counts {
        gauge!(catalog::AI_BREAKERS, "state" => name).set(f64::from(count));
    }
}

/// Answers a second that can be kept up, in thousandths.
pub fn rate(thousandths: usize) {
    gauge!(catalog::AI_RATE).set(f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 1000.0);
}
