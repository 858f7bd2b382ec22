//! Everybody loses the server at once and wants it back: how long until all are there and have what they missed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::crowd::Crowd;
use super::{Meter, ScenarioError, Stage};
use crate::client::ClientError;
use crate::lean::{self, Door, Hearing, Receiver, Scratch};
use crate::report::Report;
use crate::server::Server;

/// Full jitter grows from the first to the last of these.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// A drain lets requests end; more than this is no drain.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

const BETWEEN_POSTS: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub struct Storm {
    pub crowd: Crowd,
    pub rooms: usize,
    /// `kill -9` instead of SIGTERM.
    pub kill: bool,
    /// Posted from the moment the server goes.
    pub messages: usize,
    pub back_within: Duration,
}

/// What all clients write down.
#[derive(Default)]
struct Tally {
    /// Clients with all rooms confirmed, before the storm.
    there: usize,
    /// How long after the server went each was subscribed again, with what it had missed until then.
    back: Vec<Duration>,
    /// Clients that have all that was posted.
    complete: usize,
    /// Rooms whose missed events had to be paged.
    gaps: usize,
    /// Why a try did not work, by reason.
    refusals: BTreeMap<String, u64>,
    /// Clients sent away for good.
    lost: Vec<String>,
}

/// What all clients share.
struct Shared {
    rooms: Vec<u64>,
    tally: RefCell<Tally>,
    /// Set when the server goes.
    gone: watch::Sender<Option<Instant>>,
    /// The heads to catch up to, once nothing more is posted.
    heads: watch::Sender<Option<HashMap<u64, u64>>>,
}

impl Storm {
    /// Has to run inside a `LocalSet`. True when everybody came back and none was refused for good.
    pub async fn run(&self, stage: &Stage, server: &mut Server) -> Result<(Report, bool), ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let doors = self.crowd.doors(stage).await?;
        let author = stage.world.users("author", 1).await?;
        let shared = Rc::new(Shared {
            rooms: rooms.clone(),
            tally: RefCell::default(),
            gone: watch::Sender::new(None),
            heads: watch::Sender::new(None),
        });
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("connecting {} clients", self.crowd.sockets));
        let mut clients = JoinSet::new();
        let per_user = self.crowd.per_user.max(1);
        for index in 0..self.crowd.sockets {
            let Some(door) = doors.get(index / per_user) else { continue };
            let client = Client::new(&shared, door.clone(), index, &scratch);
            clients.spawn_local(client.run());
        }
        let patience = Instant::now() + self.back_within;
        while shared.tally.borrow().there < self.crowd.sockets {
            self.must_go_on(&shared, patience)?;
            sleep(Duration::from_millis(50)).await;
        }
        shared.tally.borrow_mut().refusals.clear();

        stage.progress.say("the server goes");
        let cpu_before = server.usage();
        let down = Instant::now();
        shared.gone.send_replace(Some(down));
        // Posted over the whole time of coming back, beginning while nobody is there.
        let posting = tokio::task::spawn_local(post_all(author.into_iter().next(), rooms, self.messages));
        if self.kill {
            server.kill()?;
        } else {
            server.terminate(DRAIN_WITHIN).await?;
        }
        server.restart().await?;
        let absent = down.elapsed();
        let meter = Meter::start(server.pid());
        stage.progress.say(format_args!("the server is ready again after {:.2} s", absent.as_secs_f64()));
        let last = posting.await??;
        shared.heads.send_replace(Some(last));
        let patience = Instant::now() + self.back_within;
        while shared.tally.borrow().complete < self.crowd.sockets {
            if self.must_go_on(&shared, patience).is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let spent = meter.stop();
        clients.abort_all();

        let tally = shared.tally.borrow();
        let mut back = tally.back.clone();
        back.sort_unstable();
        let mut report = Report::new("storm", stage.seed);
        report.row("clients", self.crowd.sockets, "").row(
            "how",
            if self.kill { "kill -9" } else { "SIGTERM" },
            "",
        );
        report.row("messages posted meanwhile", self.messages, "");
        report.measured("server away", absent.as_secs_f64(), "s");
        report.row("back", back.len(), "").row("have all that was posted", tally.complete, "");
        report.row("refused for good", tally.lost.len(), "").row("gaps", tally.gaps, "");
        for (name, percent) in [("50 % back", 50), ("95 % back", 95), ("100 % back", 100)] {
            let rank = (self.crowd.sockets * percent).div_ceil(100).max(1);
            if let Some(at) = back.get(rank - 1) {
                report.measured(name, at.as_secs_f64(), "s");
            }
        }
        report.row("tries that failed", json!(tally.refusals), "");
        if let Some(first) = tally.lost.first() {
            report.row("first refused for good", first.clone(), "");
        }
        if let (Some(before), Some(cpu)) = (cpu_before, spent.cpu) {
            report.measured("server CPU until all were back", cpu.as_secs_f64(), "s");
            report.measured("server CPU before, since its start", before.cpu.as_secs_f64(), "s");
        }
        let kept = tally.complete == self.crowd.sockets && tally.lost.is_empty();
        Ok((report, kept))
    }

    fn must_go_on(&self, shared: &Shared, patience: Instant) -> Result<(), ScenarioError> {
        let tally = shared.tally.borrow();
        if let Some(first) = tally.lost.first() {
            return Err(ScenarioError::Refused(format!("a client was refused for good: {first}")));
        }
        if Instant::now() > patience {
            let what =
                format!("{} of {} clients, refusals {:?}", tally.there, self.crowd.sockets, tally.refusals);
            return Err(ScenarioError::Late { what });
        }
        Ok(())
    }
}

/// Posts over REST, each as often as it takes; the last seq of each room.
async fn post_all(
    author: Option<crate::client::Client>,
    rooms: Vec<u64>,
    messages: usize,
) -> Result<HashMap<u64, u64>, ScenarioError> {
    let mut last = HashMap::new();
    let Some(author) = author else { return Ok(last) };
    for (index, &room_id) in (0..messages).zip(rooms.iter().cycle()) {
        let id = Uuid::new_v4();
        let seq = loop {
            match author.post_message(room_id, id, &format!("meanwhile {index}")).await {
                Ok(posted) => break posted.seq,
                Err(ClientError::Refused(refusal)) if refusal.retryable => {
                    sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(200))).await;
                }
                Err(ClientError::Transport(_)) => sleep(Duration::from_millis(200)).await,
                Err(error) => return Err(error.into()),
            }
        };
        last.insert(room_id, seq);
        sleep(BETWEEN_POSTS).await;
    }
    Ok(last)
}

/// One device that wants to stay connected.
struct Client {
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
    fn new(shared: &Rc<Shared>, door: Door, index: usize, scratch: &Scratch) -> Client {
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

    async fn run(mut self) {
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
        loop {
            let mut heard: Vec<Vec<u8>> = Vec::new();
            let end = {
                let receiving = receiver.hear(|text| {
                    heard.push(text.to_vec());
                    ControlFlow::Break(())
                });
                tokio::select! {
                    end = receiving => end,
                    _ = heads.changed() => Ok(Hearing::Broke),
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
            self.shared.tally.borrow_mut().complete += 1;
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
        let frame: Value = serde_json::from_slice(text).ok()?;
        let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_u64);
        match frame.get("type")?.as_str()? {
            "reply" => {
                for entry in frame.pointer("/data/rooms")?.as_array()? {
                    if let Some(code) = entry.pointer("/error/code").and_then(Value::as_str) {
                        return Some(again(&format!("subscription {code}")));
                    }
                    let room_id = entry.pointer("/room/id")?.as_u64()?;
                    let head = number(entry, "head")?;
                    let known = self.at.get(&room_id).copied();
                    let missed = entry.get("events").and_then(Value::as_array).map_or(0, Vec::len);
                    let missed = u64::try_from(missed).unwrap_or(u64::MAX);
                    // What is missing and not called a gap would be lost for good.
                    if entry.get("recovery")? == "complete"
                        && known.is_some_and(|known| known + missed != head)
                    {
                        return Some(End::Never(format!(
                            "a recovery of {missed} events from {known:?} to {head}"
                        )));
                    }
                    if known.is_some() && entry.get("recovery")? == "gap" {
                        self.shared.tally.borrow_mut().gaps += 1;
                    }
                    self.at.insert(room_id, head);
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
            "error" => {
                let code = frame.pointer("/error/code").and_then(Value::as_str).unwrap_or("error").to_owned();
                let wait = frame.pointer("/error/retry_after_ms").and_then(Value::as_u64);
                let retryable = frame.pointer("/error/retryable").and_then(Value::as_bool).unwrap_or(false);
                let after = wait.map(Duration::from_millis);
                return Some(if retryable { End::Again { reason: code, after } } else { End::Never(code) });
            }
            "room.resync" => return Some(again("resync")),
            _ => {
                let (room_id, seq) = (number(&frame, "room_id")?, number(&frame, "seq")?);
                let at = self.at.get_mut(&room_id)?;
                if seq != *at + 1 {
                    return Some(End::Never(format!("seq {seq} after {at} in room {room_id}")));
                }
                *at = seq;
            }
        }
        None
    }
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
