//! What a device does: its steps one after the other, each repeated until it is answered for good.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::TrialError;
use super::command::Command;
use super::device::{Answer, Device, within};
use super::plan::{Action, Door, PlannedPost};
use crate::client::ClientError;
use crate::history::{Origin, What};
use crate::socket::SocketError;
use crate::wire::{Ack, Refusal};

impl Device {
    /// Takes its steps, then stays until everybody knows all. Drops `ready` when its subscriptions are confirmed.
    pub(super) async fn run(
        mut self,
        ready: mpsc::Sender<()>,
        busy: mpsc::Sender<()>,
    ) -> Result<(), TrialError> {
        if self.plan.listens {
            self.up().await?;
        }
        drop(ready);
        for step in std::mem::take(&mut self.plan.steps) {
            self.listen_until(within(Duration::from_millis(step.pause_ms))).await?;
            let is_post = matches!(step.action, Action::Post(_));
            self.act(step.action).await?;
            if !is_post {
                self.shared.step_done();
            }
        }
        drop(busy);
        if self.plan.listens { self.stay().await } else { Ok(()) }
    }

    async fn act(&mut self, action: Action) -> Result<(), TrialError> {
        let user = self.who.user;
        let shared = std::sync::Arc::clone(&self.shared);
        let user_of = |index: usize| shared.users.get(index).copied().unwrap_or_default();
        match action {
            Action::Post(posts) => self.post(posts).await,
            Action::Again { pick } => {
                let Some(mine) = shared.pick(user, pick) else { return Ok(()) };
                self.post_one(mine.post, mine.room_id, &mine.body).await.map(drop)
            }
            Action::Reuse { pick } => {
                let Some(mine) = shared.pick(user, pick) else { return Ok(()) };
                let what = What::Reuse { post: mine.post, room_id: mine.room_id };
                self.perform(what, &format!("not {}", mine.body)).await.map(drop)
            }
            Action::Edit { pick, body } => self.edit(pick, body).await,
            Action::Delete { pick } => {
                let Some(mine) = shared.pick(user, pick) else { return Ok(()) };
                self.perform(What::Delete { room_id: mine.room_id, message: mine.ack.id }, "").await.map(drop)
            }
            Action::Add { room, user } => {
                let Some(room_id) = shared.room(room) else { return Ok(()) };
                self.as_admin(What::Add { room_id, user: user_of(user) }).await
            }
            Action::Remove { room, user } => {
                let Some(room_id) = shared.room(room) else { return Ok(()) };
                self.as_admin(What::Remove { room_id, user: user_of(user) }).await
            }
            Action::Leave { room } => {
                let Some(room_id) = shared.room(room) else { return Ok(()) };
                self.perform(What::Remove { room_id, user }, "").await.map(drop)
            }
            Action::Create { room, name } => {
                let name = format!("{}{name}", shared.room_prefix);
                if shared.room(room).is_some() {
                    return Ok(());
                }
                let made = self.perform(What::Create { name }, "").await?;
                let id = |made: Value| made.pointer("/room/id").or_else(|| made.get("id"))?.as_u64();
                if let Some(room_id) = made.and_then(id) {
                    shared.recorder.room(room_id, Origin::default());
                    shared.put_room(room, room_id);
                }
                Ok(())
            }
            Action::Rename { room, name } => {
                let Some(room_id) = shared.room(room) else { return Ok(()) };
                let name = format!("{}{name}", shared.room_prefix);
                self.perform(What::Rename { room_id, name }, "").await.map(drop)
            }
            Action::DeleteRoom { room } => {
                let Some(room_id) = shared.room(room) else { return Ok(()) };
                self.perform(What::DeleteRoom { room_id }, "").await.map(drop)
            }
            Action::Mark { room, percent } => {
                let Some(room_id) = shared.room(room) else { return Ok(()) };
                let heard = self.rooms.get(&room_id).and_then(|position| position.last);
                let Some(last) = heard.or_else(|| shared.last_own(user, room_id)) else { return Ok(()) };
                let seq = last * percent / 100;
                self.perform(What::Mark { room_id, seq }, "").await.map(drop)
            }
            Action::Typing { room, on } => {
                let Some(room_id) = shared.room(room).filter(|_| self.plan.door == Door::Socket) else {
                    return Ok(());
                };
                let kind = if on { "typing.start" } else { "typing.stop" };
                self.tell(kind, &serde_json::json!({"room_id": room_id})).await
            }
            Action::Leap { rude, away_ms } => {
                if self.plan.door == Door::Socket {
                    self.leave(rude).await;
                    sleep(Duration::from_millis(away_ms)).await;
                }
                Ok(())
            }
            Action::Stall { ms } => {
                if self.plan.listens {
                    self.lossy = true;
                    sleep(Duration::from_millis(ms)).await;
                }
                Ok(())
            }
        }
    }

    /// Asks once, and says what came of it.
    async fn ask_once(&mut self, command: &Command) -> Result<Answer, TrialError> {
        if self.plan.door == Door::Socket
            && let Some(frame) = &command.frame
        {
            self.up().await?;
            let answer = self.exchange(std::slice::from_ref(frame)).await?.pop();
            return Ok(answer.unwrap_or(Answer::Lost));
        }
        match command.call(&self.who.client).await {
            Ok(data) => Ok(Answer::Done(command.reply(data))),
            Err(ClientError::Refused(refusal)) => Ok(Answer::Refused(refusal)),
            Err(error) => {
                self.shared.retry_rest(&self.who, error).await?;
                Ok(Answer::Lost)
            }
        }
    }

    /// Asks until it is done or refused for good, and writes everything down. The reply's data.
    async fn perform(&mut self, what: What, reused_body: &str) -> Result<Option<Value>, TrialError> {
        let command = Command::of(&what, reused_body);
        let deed = self.shared.recorder.deed(self.who.user, what.clone());
        loop {
            self.shared.recorder.attempting(deed);
            match self.ask_once(&command).await? {
                Answer::Done(data) => {
                    self.shared.recorder.deed_done(deed, data.clone());
                    self.shared.count(|tally| tally.deeds += 1);
                    return Ok(Some(data));
                }
                Answer::Refused(refusal) => {
                    if !refusal.outcome_unknown() {
                        self.shared.recorder.deed_refused(deed, &refusal.code);
                    }
                    if let (What::Edit { message, .. }, Some(version)) = (&what, refusal.version) {
                        self.versions.insert(*message, version);
                    }
                    if !refusal.retryable {
                        self.shared.count(|tally| tally.refused += 1);
                        return self.expected(&refusal).map(|()| None);
                    }
                    self.shared.wait_as_told(&refusal).await;
                }
                // Making a room has no id to repeat it by: whether there is one now is left to the commons.
                Answer::Lost if matches!(what, What::Create { .. }) => return Ok(None),
                Answer::Lost => {}
            }
        }
    }

    /// Refusals an honest client may meet when others act at the same time; all else is a defect.
    fn expected(&self, refusal: &Refusal) -> Result<(), TrialError> {
        const MAY_HAPPEN: [&str; 5] =
            ["not_found", "forbidden", "version_conflict", "idempotency_conflict", "invalid_payload"];
        if MAY_HAPPEN.contains(&refusal.code.as_str()) {
            return Ok(());
        }
        Err(self.who.socket_error(SocketError::Shape(format!("an honest command was refused: {refusal}"))))
    }

    /// An admin's command goes over REST, whatever door the device has.
    async fn as_admin(&mut self, what: What) -> Result<(), TrialError> {
        let admin = self.shared.admin.clone();
        let (client, door) = (std::mem::replace(&mut self.who.client, admin), self.plan.door);
        self.plan.door = Door::Rest;
        let done = self.perform(what, "").await;
        (self.who.client, self.plan.door) = (client, door);
        done.map(drop)
    }

    async fn edit(&mut self, pick: usize, body: String) -> Result<(), TrialError> {
        let Some(mine) = self.shared.pick(self.who.user, pick) else { return Ok(()) };
        let version = self.versions.get(&mine.ack.id).copied().unwrap_or(1);
        let what = What::Edit { room_id: mine.room_id, message: mine.ack.id, version, body };
        if let Some(data) = self.perform(what, "").await?
            && let Some(version) = data.get("version").and_then(Value::as_u64)
        {
            self.versions.insert(mine.ack.id, version);
        }
        Ok(())
    }

    async fn post(&mut self, posts: Vec<PlannedPost>) -> Result<(), TrialError> {
        let planned = posts.len();
        let known = posts.into_iter().filter_map(|post| Some((self.shared.room(post.room)?, post)));
        let mut pending: Vec<(u64, PlannedPost)> = known.collect();
        // Of rooms that were never made there is nothing to do.
        (pending.len()..planned).for_each(|_| self.shared.step_done());
        while !pending.is_empty() {
            let answers = self.attempt(&pending).await?;
            let mut left = Vec::new();
            let mut wait = None;
            for ((room_id, post), answer) in pending.into_iter().zip(answers) {
                match self.posted(&post, room_id, answer)? {
                    Posted::Over => self.shared.step_done(),
                    Posted::Again(told) => {
                        wait = told.or(wait);
                        left.push((room_id, post));
                    }
                }
            }
            pending = left;
            if let Some(refusal) = wait {
                self.shared.wait_as_told(&refusal).await;
            }
        }
        Ok(())
    }

    /// One more time what was acked, or was not, long ago.
    async fn post_one(&mut self, id: uuid::Uuid, room_id: u64, body: &str) -> Result<(), TrialError> {
        let post = PlannedPost { id, room: 0, body: body.to_owned() };
        let pending = [(room_id, post)];
        loop {
            let [(_, post)] = &pending;
            let answer = self.attempt(&pending).await?.pop().unwrap_or(Answer::Lost);
            match self.posted(post, room_id, answer)? {
                Posted::Over => return Ok(()),
                Posted::Again(Some(refusal)) => self.shared.wait_as_told(&refusal).await,
                Posted::Again(None) => {}
            }
        }
    }

    /// Sends all that is pending. Written down before it leaves, so that nothing can be stored that we don't know of.
    async fn attempt(&mut self, pending: &[(u64, PlannedPost)]) -> Result<Vec<Answer>, TrialError> {
        if self.plan.door == Door::Socket {
            self.up().await?;
        }
        for (room_id, post) in pending {
            self.shared.recorder.sending(self.who.user, post.id, *room_id, &post.body);
            self.shared.count(|tally| tally.attempts += 1);
        }
        let commands = pending.iter().map(|(room_id, post)| Command::post(*room_id, post.id, &post.body));
        if self.plan.door == Door::Socket {
            let frames: Vec<_> = commands.filter_map(|command| command.frame).collect();
            return self.exchange(&frames).await;
        }
        let mut answers = Vec::with_capacity(pending.len());
        for command in commands {
            answers.push(self.ask_once(&command).await?);
        }
        Ok(answers)
    }

    fn posted(&self, post: &PlannedPost, room_id: u64, answer: Answer) -> Result<Posted, TrialError> {
        match answer {
            Answer::Done(data) => {
                let ack: Ack = serde_json::from_value(data)
                    .map_err(|e| self.who.socket_error(SocketError::Shape(format!("no ack: {e}"))))?;
                self.shared.recorder.acked(post.id, ack);
                self.shared.acked(self.who.user, room_id, post, ack);
                Ok(Posted::Over)
            }
            Answer::Refused(refusal) => {
                if !refusal.outcome_unknown() {
                    self.shared.recorder.refused(post.id, &refusal.code);
                }
                if refusal.retryable {
                    return Ok(Posted::Again(Some(refusal)));
                }
                self.shared.recorder.denied(post.id, &refusal.code);
                self.shared.count(|tally| tally.refused += 1);
                self.expected(&refusal)?;
                Ok(Posted::Over)
            }
            Answer::Lost => Ok(Posted::Again(None)),
        }
    }
}

/// What came of one attempt to post.
enum Posted {
    Over,
    Again(Option<Box<Refusal>>),
}
