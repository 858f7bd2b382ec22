//! A database with a long history, made over the public protocol: one big room with half of the messages, small ones with the rest.
//! In a directory that is kept it is made once and used again.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Builder;

use super::crowd::{Crowd, during, subscribed};
use super::poster::{head, refusal_in};
use super::{ScenarioError, Stage};
use crate::lean::{Receiver, client_text};
use crate::words::Writer;

/// Who writes it, each with so many posts on their way.
const AUTHORS: usize = 16;
const BATCH: usize = 64;
/// Bytes of a body.
const SHORTEST: usize = 20;
const LONGEST: usize = 180;
/// Progress is told after so many.
const TELL: usize = 50_000;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// What is known of a seeded directory.
const NOTE: &str = "seed.json";

/// How much there is to be.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    pub messages: usize,
    /// Small rooms beside the big one.
    pub rooms: usize,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeded {
    pub messages: usize,
    /// The one with half of the messages.
    pub big: u64,
    pub small: Vec<u64>,
}

/// A directory's note; none when it wasn't seeded.
pub fn noted(dir: &Path) -> Result<Option<Seeded>, ScenarioError> {
    let note = dir.join(NOTE);
    if !note.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&note).map_err(during("reading seed.json"))?;
    let seeded = serde_json::from_str(&text);
    seeded.map(Some).map_err(|error| ScenarioError::Refused(format!("{}: {error}", note.display())))
}

impl Seed {
    /// Makes it, or takes what a directory has already. Has to run inside a `LocalSet`.
    pub async fn plant(&self, stage: &Stage, dir: Option<&Path>) -> Result<Seeded, ScenarioError> {
        if let Some(seeded) = dir.map(noted).transpose()?.flatten() {
            stage.progress.say(format_args!("{} messages are there already", seeded.messages));
            if (seeded.messages, seeded.small.len()) != (self.messages, self.rooms) {
                let problem = format!(
                    "the directory has {} messages in {} rooms beside the big one: ask for as many, or name another directory",
                    seeded.messages,
                    seeded.small.len()
                );
                return Err(ScenarioError::Refused(problem));
            }
            return Ok(seeded);
        }
        let mut rooms = stage.world.rooms(self.rooms.max(1) + 1).await?;
        let big = rooms.pop().unwrap_or_default();
        let seeded = Seeded { messages: self.messages, big, small: rooms };
        stage.progress.say(format_args!("posting {} messages", self.messages));
        self.write(stage, &seeded).await?;
        if let Some(dir) = dir {
            let text = serde_json::to_string(&seeded).unwrap_or_default();
            fs::write(dir.join(NOTE), text).map_err(during("writing seed.json"))?;
        }
        Ok(seeded)
    }

    async fn write(&self, stage: &Stage, seeded: &Seeded) -> Result<(), ScenarioError> {
        let crowd = Crowd { sockets: AUTHORS, per_user: 1, at_once: AUTHORS };
        let doors = crowd.doors(stage).await?;
        let scratch = Receiver::scratch();
        let writer = Rc::new(Writer::default());
        let rooms: Rc<[u64]> = seeded.small.clone().into();
        let told = Rc::new(std::cell::Cell::new(0));
        let mut work = JoinSet::new();
        for (index, door) in doors.iter().enumerate() {
            let author = Author {
                receiver: subscribed(door, index, &[], &scratch, 4096).await?,
                writer: Rc::clone(&writer),
                rng: SmallRng::seed_from_u64(
                    stage.seed.wrapping_add(u64::try_from(index).unwrap_or_default()),
                ),
                big: seeded.big,
                small: Rc::clone(&rooms),
            };
            let mine = (index..self.messages).step_by(AUTHORS).count();
            let (told, progress) = (Rc::clone(&told), stage.progress);
            work.spawn_local(author.write(mine, move |posted| {
                let before = told.get() / TELL;
                told.set(told.get() + posted);
                if told.get() / TELL > before {
                    progress.say(format_args!("{} posted", told.get()));
                }
            }));
        }
        while let Some(done) = work.join_next().await {
            done??;
        }
        Ok(())
    }
}

struct Author {
    receiver: Receiver,
    writer: Rc<Writer>,
    rng: SmallRng,
    big: u64,
    small: Rc<[u64]>,
}

impl Author {
    async fn write(mut self, messages: usize, told: impl Fn(usize)) -> Result<(), ScenarioError> {
        let sender = self.receiver.sender();
        let mut posted = 0;
        while posted < messages {
            let batch = BATCH.min(messages - posted);
            let frames: Vec<u8> = (0..batch).flat_map(|nth| self.frame(posted + nth)).collect();
            sender.write(&frames).await.map_err(during("posting"))?;
            let (mut answers, mut refused) = (0, None);
            let answered = self.receiver.receive(|frame| {
                if frame.is_type("error") {
                    refused = Some(refusal_in(frame.prefix));
                }
                answers += usize::from(frame.is_type("reply") || frame.is_type("error"));
                if answers == batch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match timeout(PATIENCE, answered).await {
                Ok(answered) => answered.map_err(during("waiting for acks"))?,
                Err(_) => return Err(ScenarioError::Late { what: "acks while seeding".to_owned() }),
            }
            if let Some(refusal) = refused {
                return Err(ScenarioError::Refused(format!("a post was refused: {refusal}")));
            }
            posted += batch;
            told(batch);
        }
        Ok(())
    }

    /// Every other message is the big room's.
    fn frame(&mut self, nth: usize) -> Vec<u8> {
        let small = self.rng.random_range(0..self.small.len().max(1));
        let room_id = self.small.get(small).copied().filter(|_| nth % 2 == 1).unwrap_or(self.big);
        let id = Builder::from_random_bytes(self.rng.random()).into_uuid();
        let bytes = self.rng.random_range(SHORTEST..=LONGEST);
        let body = self.writer.body(bytes, &mut self.rng);
        client_text(&format!(r#"{}{id}","body":"{body}"}}}}"#, head(room_id)))
    }
}
