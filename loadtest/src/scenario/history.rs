//! A long history: how long a page of it takes, newest, in the middle and around a message, and coming back to a room.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::crowd::{Crowd, during, subscribed};
use super::lookups::Kind;
use super::meter::Meter;
use super::replay::{Answer, read};
use super::seed::{Seed, Seeded};
use super::{ScenarioError, Stage};
use crate::client::MessagePage;
use crate::lean::Receiver;
use crate::report::Report;
use crate::server::Server;

/// Messages of a page.
const PAGE: usize = 50;
/// How far back a client comes from.
const BEHIND: u64 = 100;
const WHOLE: usize = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct History {
    pub seed: Seed,
    /// Where the seeded data is kept.
    pub dir: Option<PathBuf>,
    /// Requests of each kind.
    pub samples: usize,
}

impl History {
    /// The report, and whether all answers were complete and in order. Has to run inside a `LocalSet`.
    pub async fn run(
        &self,
        stage: &Stage,
        server: Option<&mut Server>,
    ) -> Result<(Report, bool), ScenarioError> {
        let seeded = self.seed.plant(stage, self.dir.as_deref()).await?;
        // Of the big room, which comes last.
        let mut unread = 0;
        let mut heads = Vec::new();
        for room_id in seeded.small.iter().chain([&seeded.big]) {
            let room = stage.world.admin.room(*room_id).await?;
            heads.push((*room_id, room.head));
            unread = room.unread;
        }
        let restarted = server.is_some();
        let mut pid = stage.pid;
        if let Some(server) = server {
            stage.progress.say("restarting the server: no room is in memory");
            server.terminate(STOP_WITHIN).await?;
            server.restart().await?;
            pid = server.pid();
        }
        let meter = Meter::start(pid);
        stage.progress.say("resuming");
        let mut resumes = Vec::new();
        for (name, rounds) in
            [("resume, cold room", 1), ("resume, warm room", self.samples.div_ceil(heads.len()))]
        {
            let mut kind = Kind::new(if restarted { name } else { "resume" });
            self.resume(stage, &heads, rounds, &mut kind).await?;
            resumes.push(kind);
        }
        if !restarted {
            // The first round only made the rooms warm, if they weren't.
            drop(resumes.remove(0));
        }
        stage.progress.say("reading pages");
        let kinds = self.pages(stage, &seeded).await?;
        let spent = meter.stop();

        let mut report = Report::new("history", stage.seed);
        report.row("messages", seeded.messages, "").row(
            "of them in the big room",
            seeded.messages.div_ceil(2),
            "",
        );
        report.row("small rooms", seeded.small.len(), "").row("requests of each kind", self.samples, "");
        report.row("unread by the reader, big room", unread, "");
        report.row("page", PAGE, "messages").row("resumed from behind by", BEHIND, "events");
        for kind in kinds.iter().chain(&resumes) {
            kind.rows(&mut report);
        }
        spent.used(&mut report);
        let wrong: u64 = kinds.iter().chain(&resumes).map(Kind::wrong).sum();
        Ok((report, wrong == 0))
    }

    async fn pages(&self, stage: &Stage, seeded: &Seeded) -> Result<Vec<Kind>, ScenarioError> {
        let reader = &stage.world.admin;
        let path = |room_id: u64| format!("/rooms/{room_id}/messages");
        let limit = || ("limit", PAGE.to_string());
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let mut kinds = Vec::new();

        let mut newest = Kind::new("newest page, big room");
        newest.ask(reader, self.samples, || (path(seeded.big), vec![limit()]), in_order).await?;
        kinds.push(newest);
        let mut newest = Kind::new("newest page, small rooms");
        let small = |rng: &mut SmallRng| {
            seeded.small.get(rng.random_range(0..seeded.small.len().max(1))).copied().unwrap_or(seeded.big)
        };
        newest.ask(reader, self.samples, || (path(small(&mut rng)), vec![limit()]), in_order).await?;
        kinds.push(newest);

        // Any place in the big room; its messages are about every other one.
        let last = reader.page(seeded.big, &[("limit", "1".to_owned())]).await?;
        let last = last.messages.last().map_or(1, |message| message.id);
        let mut before = Kind::new("page in the middle, before");
        let middle = |rng: &mut SmallRng| rng.random_range(last / 4..=(last / 4 * 3).max(last / 4 + 1));
        let ask = || (path(seeded.big), vec![("before", middle(&mut rng).to_string()), limit()]);
        before.ask(reader, self.samples, ask, in_order).await?;
        kinds.push(before);

        let mut known = Vec::new();
        for _ in 0..self.samples.min(50) {
            let query = [("before", middle(&mut rng).to_string()), limit()];
            known.extend(reader.page(seeded.big, &query).await?.messages.iter().map(|message| message.id));
        }
        let mut around = Kind::new("page around a message");
        let ask = || {
            let id = known.get(rng.random_range(0..known.len().max(1))).copied().unwrap_or(last);
            (path(seeded.big), vec![("around", id.to_string()), limit()])
        };
        around.ask(reader, self.samples, ask, in_order).await?;
        kinds.push(around);
        Ok(kinds)
    }

    /// Comes back to each room in turn, a hundred events behind.
    async fn resume(
        &self,
        stage: &Stage,
        heads: &[(u64, u64)],
        rounds: usize,
        kind: &mut Kind,
    ) -> Result<(), ScenarioError> {
        let doors = Crowd { sockets: 1, per_user: 1, at_once: 1 }.doors(stage).await?;
        let door = doors.first().ok_or_else(|| ScenarioError::Refused("a client is needed".to_owned()))?;
        let scratch = Receiver::scratch();
        let mut client = subscribed(door, 0, &[], &scratch, WHOLE).await?;
        for _ in 0..rounds.max(1) {
            for &(room_id, head) in heads {
                let after = head.saturating_sub(BEHIND);
                let ask = json!({"type": "room.subscribe", "request_id": "s",
                    "data": {"rooms": [{"room_id": room_id, "after": after}]}})
                .to_string();
                let since = Instant::now();
                client.send(&ask).await.map_err(during("resuming"))?;
                let mut answer = None;
                let answered = client.receive(|frame| {
                    if !frame.is_type("reply") && !frame.is_type("error") {
                        return ControlFlow::Continue(());
                    }
                    answer = Some((since.elapsed(), read(frame.prefix, after, head)));
                    ControlFlow::Break(())
                });
                match timeout(PATIENCE, answered).await {
                    Ok(answered) => answered.map_err(during("resuming"))?,
                    Err(_) => return Err(ScenarioError::Late { what: "resuming".to_owned() }),
                }
                if let Some((took, answer)) = answer {
                    kind.record(took, answer == Answer::Complete(head - after));
                }
                let leave = json!({"type": "room.unsubscribe", "data": {"room_id": room_id}}).to_string();
                client.send(&leave).await.map_err(during("leaving"))?;
                super::crowd::confirmed(&mut client).await?;
            }
        }
        Ok(())
    }
}

/// A whole page, each message one above the last.
fn in_order(page: &MessagePage) -> bool {
    let seqs = page.messages.iter().map(|message| message.seq);
    !page.messages.is_empty() && seqs.clone().zip(seqs.skip(1)).all(|(one, next)| next == one + 1)
}
