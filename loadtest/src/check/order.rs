//! Ids grow in the order of commit: what was sent after an answer was heard has the higher id, whoever and wherever.

use std::time::Duration;

use super::Violation;
use crate::history::History;

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let posts = history.posts.values().filter_map(|post| {
        let ack = post.acks.first()?;
        Some((post.sent_at, post.acked_at?, ack.id))
    });
    // A repeat names an id that others made.
    let deeds = history.deeds.iter().filter_map(|deed| {
        let (at, data) = deed.done.as_ref()?;
        let repeated = data.get("duplicate").is_some();
        let id = data.get("seq").and(data.get("id"))?.as_u64()?;
        (!repeated).then_some((deed.sent_at, *at, id))
    });
    let mut sent: Vec<(Duration, Duration, u64)> = posts.chain(deeds).collect();
    let mut answered: Vec<(Duration, u64)> = sent.iter().map(|(_, at, id)| (*at, *id)).collect();
    sent.sort_unstable();
    answered.sort_unstable();
    let mut answered = answered.into_iter().peekable();
    let mut highest = 0;
    for (sent_at, _, later) in sent {
        while let Some((_, id)) = answered.next_if(|(at, _)| *at < sent_at) {
            highest = highest.max(id);
        }
        if highest > later {
            found.push(Violation::Overtaken { earlier: highest, later });
        }
    }
}
