//! A posting client: sends its bursts, and repeats what was not acked, with the same id, until it is.

use std::sync::Arc;

use tokio::time::sleep;

use super::TrialError;
use super::identity::Identity;
use super::plan::{Burst, Door, PlannedPost};
use super::shared::Shared;
use crate::client::ClientError;
use crate::socket::{Socket, SocketError};
use crate::wire::{Ack, Refusal};

pub(super) struct Poster {
    pub(super) shared: Arc<Shared>,
    pub(super) who: Identity,
    pub(super) door: Door,
    pub(super) bursts: Vec<Burst>,
}

impl Poster {
    pub(super) async fn run(mut self) -> Result<(), TrialError> {
        let mut socket = None;
        for burst in std::mem::take(&mut self.bursts) {
            sleep(burst.pause).await;
            if self.door.is_socket() {
                socket = Some(self.over_socket(socket.take(), burst.posts).await?);
            } else {
                for post in burst.posts {
                    self.over_rest(&post).await?;
                }
            }
        }
        Ok(())
    }

    fn room(&self, post: &PlannedPost) -> u64 {
        self.shared.rooms.get(post.room).copied().unwrap_or_default()
    }

    /// Written down before it leaves, so that nothing can be stored that we do not know of.
    fn sending(&self, post: &PlannedPost) -> u64 {
        let room_id = self.room(post);
        self.shared.recorder.sending(post.id, room_id, &post.body);
        self.shared.count(|tally| tally.attempts += 1);
        room_id
    }

    fn acked(&self, post: &PlannedPost, ack: Ack) {
        self.shared.recorder.acked(post.id, ack);
        self.shared.count(|tally| {
            tally.acked += 1;
            tally.duplicates += usize::from(ack.duplicate);
        });
        self.shared.acked.send_modify(|acked| *acked += 1);
    }

    fn refused(&self, post: &PlannedPost, refusal: &Refusal) {
        if !refusal.outcome_unknown() {
            self.shared.recorder.refused(post.id, &refusal.code);
        }
    }

    async fn over_rest(&self, post: &PlannedPost) -> Result<(), TrialError> {
        loop {
            let room_id = self.sending(post);
            match self.who.client.post_message(room_id, post.id, &post.body).await {
                Ok(posted) => {
                    self.acked(post, Ack { id: posted.id, seq: posted.seq, duplicate: posted.duplicate });
                    return Ok(());
                }
                Err(error) => {
                    if let ClientError::Refused(refusal) = &error {
                        self.refused(post, refusal);
                    }
                    self.shared.retry_rest(&self.who, error).await?;
                }
            }
        }
    }

    async fn over_socket(
        &self,
        first: Option<Socket>,
        posts: Vec<PlannedPost>,
    ) -> Result<Socket, TrialError> {
        let mut pending = posts;
        let mut kept = first;
        loop {
            let mut socket = match kept.take() {
                Some(socket) => socket,
                None => self.shared.connect(&self.who).await?,
            };
            match self.attempt(&mut socket, &mut pending).await {
                Ok(None) if pending.is_empty() => return Ok(socket),
                Ok(None) => kept = Some(socket),
                Ok(Some(refusal)) => {
                    self.shared.wait_as_told(&refusal).await;
                    kept = Some(socket);
                }
                Err(error) if error.may_reconnect() => {
                    self.shared.count(|tally| tally.reconnects += 1);
                    self.shared.breathe().await;
                }
                Err(error) => return Err(self.who.socket_error(error)),
            }
        }
    }

    /// Sends all that is pending, then hears the answers. Acked posts leave `pending`; the rest is for the next
    /// attempt. `Some` is the last refusal that asked to wait.
    async fn attempt(
        &self,
        socket: &mut Socket,
        pending: &mut Vec<PlannedPost>,
    ) -> Result<Option<Refusal>, SocketError> {
        let mut asked = Vec::with_capacity(pending.len());
        for post in pending.iter() {
            let room_id = self.sending(post);
            asked.push((post.clone(), socket.send_post(room_id, post.id, &post.body).await?));
        }
        let mut wait = None;
        for (post, request_id) in asked {
            match socket.ack(&request_id).await {
                Ok(ack) => {
                    self.acked(&post, ack);
                    pending.retain(|other| other.id != post.id);
                }
                Err(SocketError::Refused(refusal)) if refusal.retryable => {
                    self.refused(&post, &refusal);
                    wait = Some(*refusal);
                }
                // An error frame is an answer and not the socket's end: no use in coming back.
                Err(SocketError::Refused(refusal)) => {
                    return Err(SocketError::Shape(format!("an honest post was refused: {refusal}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(wait)
    }
}
