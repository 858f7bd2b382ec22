//! One device of a storm: drops out, comes back by the protocol's rules, and has to get all it missed.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use crate::lean::{self, Door, Hearing, Receiver, Scratch};
use crate::wire::Refusal;

/// Full jitter grows from the first to the last of these.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// One device that wants to stay connected.
pub(super) struct Client {
    shared: Rc<Shared>,
    door: Door,
    index: usize,
    scratch: Scratch,
    /// The last seq of each room.
    at: HashMap<u64, u64>,
    there: bool,
    back: bool,
    backoff: Duration,
}

/// How a connection, or a try for one, ended.
enum End {
    /// Everything is here.
    Done,
    /// Come back, not before.
    Again {
        reason: String,
        after: Option<Duration>,
    },
    Never(String),
}

impl Client {
    pub(super) fn new(shared: &Rc<Shared>, door: Door, index: usize, scratch: &Scratch) -> Client {
        Client {
            shared: Rc::clone(shared),
            door,
            index,
            scratch: Rc::clone(scratch),
            at: HashMap::new(),
            there: false,
            back: false,
            backoff: FIRST_BACKOFF,
        }
    }

    pub(super) async fn run(mut self) {
        // Nobody opens thousands of browsers in one millisecond.
        sleep(self.part_of(Duration::from_millis(u64::try_from(self.index).unwrap_or(0) / 2))).await;
        loop {
            match self.connection().await {
                End::Done => return,
                End::Never(why) => return self.shared.tally.borrow_mut().lost.push(why),
                End::Again { reason, after } => {
                    *self.shared.tally.borrow_mut().refusals.entry(reason).or_default() += 1;
                    let jitter = self.part_of(self.backoff);
                    self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
                    sleep(after.unwrap_or_default() + jitter).await;
                }
            }
        }
    }

    fn part_of(&self, whole: Duration) -> Duration {
        whole.mul_f64(rand::rng().random::<f64>())
    }

    async fn connection(&mut self) -> End {
        let upgraded = match lean::connect(&self.door, self.index).await {
            Ok(upgraded) => upgraded,
            Err(error) => return refused(&error),
        };
        let mut receiver = Receiver::whole(upgraded, &self.scratch);
        let rooms: Vec<Value> = self
            .shared
            .rooms
            .iter()
            .map(|room_id| match self.at.get(room_id) {
                Some(after) => json!({"room_id": room_id, "after": after}),
                None => json!({"room_id": room_id}),
            })
            .collect();
        let ask = json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": rooms}}).to_string();
        if receiver.send(&ask).await.is_err() {
            return again("lost");
        }
        let mut heads = self.shared.heads.subscribe();
        let mut dropping = self.shared.dropping.subscribe();
        loop {
            let mut heard: Vec<Vec<u8>> = Vec::new();
            let end = {
                let receiving = receiver.hear(|text| {
                    heard.push(text.to_vec());
                    ControlFlow::Break(())
                });
                tokio::select! {
                    biased;
                    _ = dropping.changed() => {
                        self.shared.tally.borrow_mut().dropped += 1;
                        return again("dropped");
                    }
                    _ = heads.changed() => Ok(Hearing::Broke),
                    end = receiving => end,
                }
            };
            for text in heard {
                if let Some(end) = self.take(&text) {
                    return end;
                }
            }
            match end {
                Ok(Hearing::Broke) => {}
                Ok(Hearing::Closed { code, reason }) => return closed(code, &reason),
                Err(_) => return again("lost"),
            }
            if self.is_back() {
                return self.wait_for_the_end(receiver).await;
            }
        }
    }

    /// Has it everything that was posted?
    fn is_back(&self) -> bool {
        let heads = self.shared.heads.borrow();
        let has = |heads: &HashMap<u64, u64>| {
            heads.iter().all(|(room_id, head)| self.at.get(room_id) >= Some(head))
        };
        let is_back = heads.as_ref().is_some_and(has);
        if is_back {
            let gone = *self.shared.gone.borrow();
            let mut tally = self.shared.tally.borrow_mut();
            tally.caught_up.push(gone.map(|gone| gone.elapsed()).unwrap_or_default());
        }
        is_back
    }

    /// Stays connected: the others' way back is to be as crowded as it is.
    async fn wait_for_the_end(&self, mut receiver: Receiver) -> End {
        drop(
            timeout_at(
                Instant::now() + Duration::from_secs(600),
                receiver.receive(|_| ControlFlow::Continue(())),
            )
            .await,
        );
        End::Done
    }

    /// One frame: positions move on. Some when there is no use in staying.
    fn take(&mut self, text: &[u8]) -> Option<End> {
        match serde_json::from_slice::<Frame>(text).ok()? {
            Frame { kind: "reply", data: Some(Data { rooms: Some(rooms) }), .. } => {
                for entry in rooms {
                    if let Some(end) = self.enter(entry) {
                        return Some(end);
                    }
                }
                self.backoff = FIRST_BACKOFF;
                let gone = *self.shared.gone.borrow();
                let mut tally = self.shared.tally.borrow_mut();
                if !self.there {
                    self.there = true;
                    tally.there += 1;
                } else if let Some(gone) = gone.filter(|_| !self.back) {
                    self.back = true;
                    tally.back.push(gone.elapsed());
                }
            }
            Frame { kind: "error", error: Some(error), .. } => {
                let after = error.retry_after_ms.map(Duration::from_millis);
                let reason = error.code;
                return Some(if error.retryable { End::Again { reason, after } } else { End::Never(reason) });
            }
            Frame { kind: "room.resync", .. } => return Some(again("resync")),
            Frame { room_id: Some(room_id), seq: Some(seq), .. } => {
                let at = self.at.get_mut(&room_id)?;
                if seq != *at + 1 {
                    return Some(End::Never(format!("seq {seq} after {at} in room {room_id}")));
                }
                *at = seq;
            }
            _ => {}
        }
        None
    }

    /// One room's answer. What is missing and not called a gap would be lost for good.
    fn enter(&mut self, entry: Entry<'_>) -> Option<End> {
        if let Some(error) = entry.error {
            return Some(again(&format!("subscription {}", error.code)));
        }
        let (room_id, head) = (entry.room?.id, entry.head?);
        if let Some(known) = self.at.get(&room_id).copied() {
            if entry.recovery == Some("gap") {
                self.shared.tally.borrow_mut().gaps += 1;
            } else {
                let missed = entry.events.unwrap_or_default();
                if !missed.iter().map(|event| event.seq).eq(known + 1..=head) {
                    let missed = missed.len();
                    return Some(End::Never(format!("a recovery of {missed} events from {known} to {head}")));
                }
            }
        }
        self.at.insert(room_id, head);
        None
    }
}

/// What matters of a frame; its text is skipped, not kept.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    room_id: Option<u64>,
    seq: Option<u64>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    rooms: Option<Vec<Entry<'a>>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    room: Option<Id>,
    head: Option<u64>,
    recovery: Option<&'a str>,
    events: Option<Vec<Seq>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

#[derive(Deserialize)]
struct Seq {
    seq: u64,
}

fn again(reason: &str) -> End {
    End::Again { reason: reason.to_owned(), after: None }
}

/// The close codes are the policy: from 4500 on stay away; `restart;delay_ms=` says when to come back.
fn closed(code: u16, reason: &str) -> End {
    if code >= 4500 {
        return End::Never(format!("closed with {code} {reason}"));
    }
    let delay = reason.split(';').find_map(|part| part.strip_prefix("delay_ms=")?.parse().ok());
    End::Again { reason: format!("closed {code}"), after: delay.map(Duration::from_millis) }
}

/// A try that did not get in. `Retry-After` is obeyed; only credentials that are refused are final.
fn refused(error: &std::io::Error) -> End {
    let text = error.to_string();
    let Some(answer) = text.strip_prefix("no upgrade but: ") else {
        return again(&format!("{:?}", error.kind()));
    };
    let status = answer.split(' ').nth(1).unwrap_or("?");
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok())?
    };
    let after = answer.lines().find_map(header).map(Duration::from_secs);
    match status {
        "401" | "403" | "400" | "404" => End::Never(format!("HTTP {status}")),
        _ => End::Again { reason: format!("HTTP {status}"), after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_says_when_and_whether_to_come_back() {
        assert!(matches!(
            closed(1012, "restart;delay_ms=1200"),
            End::Again { after: Some(after), .. } if after == Duration::from_millis(1_200)
        ));
        assert!(matches!(closed(4003, ""), End::Again { after: None, .. }));
        assert!(matches!(closed(4503, "too_many_connections"), End::Never(_)));
        let answer = |text: &str| std::io::Error::other(format!("no upgrade but: {text}"));
        let busy = answer("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n");
        assert!(matches!(
            refused(&busy),
            End::Again { after: Some(after), reason } if after == Duration::from_secs(3) && reason == "HTTP 503"
        ));
        assert!(matches!(refused(&answer("HTTP/1.1 401 Unauthorized\r\n\r\n")), End::Never(_)));
        let down = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(refused(&down), End::Again { after: None, .. }));
    }
}
