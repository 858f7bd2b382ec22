//! Clients that were away and catch up: each resumes a room with a cursor and gets all it missed in one answer.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem::Finder;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::crowd::{Crowd, during, subscribed};
use super::meter::{Meter, Names};
use super::poster::{Desk, Frames, Poster, Texts, refusal_in};
use super::{ScenarioError, Stage};
use crate::lean::Receiver;
use crate::report::Report;
use crate::stats::{Latencies, millis, per_second};

/// An answer has to come within.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer is longer.
const WHOLE: usize = 16 * 1024 * 1024;
/// Posts on their way while the room is filled.
const WINDOW: u64 = 256;
const SEQ: &[u8] = br#","seq":"#;

#[derive(Debug, Clone)]
pub struct Replay {
    pub crowd: Crowd,
    /// Events each client missed; more than the server replays is a gap.
    pub events: usize,
    /// How often each resumes.
    pub rounds: usize,
    /// Bytes of a body.
    pub size: usize,
}

#[derive(Default)]
struct Tally {
    latencies: Latencies,
    events: u64,
    bytes: u64,
    gaps: u64,
    wrong: u64,
}

/// What one answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// So many events, each one above the last, up to the head.
    Complete(u64),
    Gap,
    Wrong,
}

impl Replay {
    /// The report, and whether everyone got everything once and in order. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let rooms = stage.world.rooms(1).await?;
        let room_id = rooms.first().copied().unwrap_or_default();
        let doors = self.crowd.doors(stage).await?;
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("posting {} messages", self.events));
        let first = stage.world.admin.room(room_id).await?.head;
        let desk = Rc::new(Desk::default());
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let texts = Texts::new(self.size, &mut rng);
        let door = doors.first().ok_or_else(|| ScenarioError::Refused("a client is needed".to_owned()))?;
        let line = subscribed(door, 0, &[], &scratch, 4096).await?;
        let mut poster = Poster::new(line, Frames::hearth(room_id, &texts, &mut rng), &desk);
        let events = u64::try_from(self.events).unwrap_or(u64::MAX);
        for posted in 0..events {
            poster.post().await?;
            desk.all_acked((posted + 1).saturating_sub(WINDOW)).await?;
        }
        desk.all_acked(events).await?;
        drop(poster);

        stage.progress.say(format_args!("connecting {} clients", self.crowd.sockets));
        let per_user = self.crowd.per_user.max(1);
        let mut clients = Vec::new();
        for index in 0..self.crowd.sockets {
            let Some(door) = doors.get(index / per_user) else { continue };
            clients.push(subscribed(door, index, &[], &scratch, WHOLE).await?);
        }
        stage.progress.say(format_args!("catching up {} times", self.rounds));
        let asked: Rc<str> = json!({"type": "room.subscribe", "request_id": "s",
            "data": {"rooms": [{"room_id": room_id, "after": first}]}})
        .to_string()
        .into();
        let meter = Meter::start(stage.pid);
        let mut work = JoinSet::new();
        for client in clients {
            work.spawn_local(catch_up(client, Rc::clone(&asked), (first, first + events), self.rounds));
        }
        let mut total = Tally::default();
        while let Some(done) = work.join_next().await {
            let done = done??;
            total.latencies.merge(&done.latencies);
            total.events += done.events;
            total.bytes += done.bytes;
            total.gaps += done.gaps;
            total.wrong += done.wrong;
        }
        let spent = meter.stop();

        let mut report = Report::new("replay", stage.seed);
        report.row("clients", self.crowd.sockets, "").row("events each missed", self.events, "");
        report.row("rounds", self.rounds, "").row("body", self.size, "bytes");
        report.row("events", total.events, "").row("gaps instead", total.gaps, "");
        report.row("answers not complete or not in order", total.wrong, "");
        let names = Names { whose: "", per_wall: "events per second", per_cpu: "events per CPU second" };
        spent.rows(&mut report, total.events, names);
        report.measured("MiB per second", per_second(total.bytes, spent.wall) / 1_048_576.0, "");
        for (name, percent) in [("caught up p50", 50), ("caught up p99", 99), ("caught up max", 100)] {
            report.measured(name, millis(total.latencies.percentile(percent)), "ms");
        }
        Ok((report, total.wrong == 0))
    }
}

/// Resumes as if after the same absence, one time after the other.
async fn catch_up(
    mut client: Receiver,
    asked: Rc<str>,
    (after, head): (u64, u64),
    rounds: usize,
) -> Result<Tally, ScenarioError> {
    let mut tally = Tally::default();
    for _ in 0..rounds.max(1) {
        let since = Instant::now();
        client.send(&asked).await.map_err(during("resuming"))?;
        let (mut answer, mut refused, mut bytes) = (Answer::Wrong, None, 0);
        let answered = client.receive(|frame| {
            if frame.is_type("error") {
                refused = Some(refusal_in(frame.prefix));
            } else if frame.is_type("reply") {
                answer = read(frame.prefix, after, head);
                bytes = frame.length;
            } else {
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        });
        match timeout(PATIENCE, answered).await {
            Ok(answered) => answered.map_err(during("catching up"))?,
            Err(_) => return Err(ScenarioError::Late { what: "catching up".to_owned() }),
        }
        if let Some(refusal) = refused {
            return Err(ScenarioError::Refused(format!("a subscription was refused: {refusal}")));
        }
        tally.latencies.record(since.elapsed());
        tally.bytes += bytes;
        match answer {
            Answer::Complete(events) => tally.events += events,
            Answer::Gap => tally.gaps += 1,
            Answer::Wrong => tally.wrong += 1,
        }
    }
    Ok(tally)
}

/// Looks for the events' seqs without parsing: in JSON text no quotation mark stands by itself.
pub fn read(reply: &[u8], after: u64, head: u64) -> Answer {
    let has = |part: &[u8]| Finder::new(part).find(reply).is_some();
    if has(br#""recovery":"gap""#) {
        return Answer::Gap;
    }
    let mut next = after + 1;
    for at in Finder::new(SEQ).find_iter(reply) {
        let digits =
            reply.get(at + SEQ.len()..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
        let seq =
            digits.fold(0_u64, |seq, digit| seq.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        if seq != next {
            return Answer::Wrong;
        }
        next += 1;
    }
    if next == head + 1 && has(br#""recovery":"complete""#) {
        Answer::Complete(head - after)
    } else {
        Answer::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_only_with_every_event_once_and_in_order() {
        let reply = |seqs: &[u64]| {
            let events: Vec<String> = seqs
                .iter()
                .map(|seq| {
                    format!(
                        r#"{{"type":"message.posted","id":1,"seq":{seq},"data":{{"body":",\"seq\":9"}}}}"#
                    )
                })
                .collect();
            format!(r#"{{"rooms":[{{"head":4,"recovery":"complete","events":[{}]}}]}}"#, events.join(","))
        };
        assert_eq!(read(reply(&[2, 3, 4]).as_bytes(), 1, 4), Answer::Complete(3));
        for wrong in [&[2, 3][..], &[2, 4], &[2, 3, 3, 4], &[3, 2, 4], &[2, 3, 4, 5]] {
            assert_eq!(read(reply(wrong).as_bytes(), 1, 4), Answer::Wrong, "{wrong:?}");
        }
        assert_eq!(read(br#"{"rooms":[{"recovery":"gap"}]}"#, 1, 4), Answer::Gap);
        assert_eq!(read(br"{}", 1, 4), Answer::Wrong);
    }
}
