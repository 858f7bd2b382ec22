//! A listening client: hears all rooms, drops its connection when the mood takes it, resumes where it was.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::TrialError;
use super::identity::Identity;
use super::shared::{Goal, Shared};
use crate::client::ClientError;
use crate::history::{Heard, ListenerId};
use crate::socket::{Frame, Place, Recovery, Socket, SocketError, Subscribed};
use crate::wire::Event;

pub(super) struct Listener {
    shared: Arc<Shared>,
    who: Identity,
    mood: StdRng,
    drop_after: usize,
    rooms: HashMap<u64, Position>,
    epoch: Option<String>,
}

/// Where the listener is in one room.
struct Position {
    record: ListenerId,
    /// Never goes back behind its first confirmed position.
    start: u64,
    last: Option<u64>,
}

/// Why a connection ended.
enum End {
    Mood,
    Done,
}

/// Either door may fail; both are tried again.
enum Failure {
    Socket(SocketError),
    Rest(ClientError),
}

impl Listener {
    pub(super) fn new(shared: &Arc<Shared>, who: Identity, seed: u64, drop_after: usize) -> Listener {
        let place = |&room_id: &u64| {
            let record = shared.recorder.listener(&who.name, room_id);
            (room_id, Position { record, start: 0, last: None })
        };
        let rooms = shared.rooms.iter().map(place).collect();
        let mood = StdRng::seed_from_u64(seed);
        Listener { shared: Arc::clone(shared), who, mood, drop_after: drop_after.max(1), rooms, epoch: None }
    }

    /// Listens until it has everything up to the goal. Sends on `ready` when the first subscription is confirmed.
    pub(super) async fn run(mut self, ready: tokio::sync::mpsc::Sender<()>) -> Result<(), TrialError> {
        let mut ready = Some(ready);
        loop {
            let mut socket = self.shared.connect(&self.who).await?;
            match self.listen(&mut socket, &mut ready).await {
                Ok(End::Mood) => {
                    self.shared.count(|tally| tally.drops += 1);
                    socket.abort();
                }
                Ok(End::Done) => {
                    for position in self.rooms.values() {
                        self.shared.recorder.stayed(position.record);
                    }
                    // All was heard; a failed goodbye changes nothing.
                    drop(socket.close().await);
                    return Ok(());
                }
                Err(Failure::Socket(error)) if error.may_reconnect() => {
                    self.shared.count(|tally| tally.reconnects += 1);
                    self.shared.breathe().await;
                }
                Err(Failure::Socket(error)) => return Err(self.who.socket_error(error)),
                Err(Failure::Rest(error)) => self.shared.retry_rest(&self.who, error).await?,
            }
        }
    }

    /// One connection's life.
    async fn listen(
        &mut self,
        socket: &mut Socket,
        ready: &mut Option<tokio::sync::mpsc::Sender<()>>,
    ) -> Result<End, Failure> {
        let places = self.places();
        self.subscribe(socket, &places).await?;
        self.epoch = Some(socket.welcome().epoch.clone());
        ready.take();
        let mut until_drop = self.mood.random_range(1..=self.drop_after * 2);
        let mut goal = self.shared.goal.subscribe();
        loop {
            let reached = goal.borrow_and_update().as_ref().is_some_and(|goal| self.reached(goal));
            if reached {
                return Ok(End::Done);
            }
            let frame = tokio::select! {
                frame = socket.next() => frame?,
                changed = goal.changed() => match changed {
                    Ok(()) => continue,
                    // The trial is over without a goal: it failed elsewhere.
                    Err(_) => return Ok(End::Done),
                },
            };
            match frame {
                Frame::Event(event) => {
                    self.hear(event);
                    until_drop -= 1;
                    if until_drop == 0 {
                        return Ok(End::Mood);
                    }
                }
                Frame::Resync { room_id, from } => {
                    self.subscribe(socket, &[Place { room_id, after: Some(from.saturating_sub(1)) }]).await?;
                }
                _ => {}
            }
        }
    }

    /// Where to go on in each room: mostly at the last event, sometimes a little before, as a client that lost some.
    fn places(&mut self) -> Vec<Place> {
        let mut places = Vec::with_capacity(self.rooms.len());
        for room_id in &self.shared.rooms {
            let Some(position) = self.rooms.get(room_id) else { continue };
            let back = if self.mood.random_bool(0.25) { self.mood.random_range(0..10) } else { 0 };
            let after = position.last.map(|last| last.saturating_sub(back).max(position.start));
            places.push(Place { room_id: *room_id, after });
        }
        places
    }

    async fn subscribe(&mut self, socket: &mut Socket, places: &[Place]) -> Result<(), Failure> {
        let answers = socket.subscribe(places, self.epoch.as_deref()).await?;
        for (place, answer) in places.iter().zip(answers) {
            self.confirmed(place, answer).await?;
        }
        Ok(())
    }

    async fn confirmed(&mut self, place: &Place, answer: Subscribed) -> Result<(), Failure> {
        let after = place.after.unwrap_or(answer.head);
        let Some(position) = self.rooms.get_mut(&place.room_id) else { return Ok(()) };
        let record = position.record;
        if position.last.is_none() {
            position.start = after;
        }
        let missed = match answer.recovery {
            Recovery::Complete(events) => events,
            Recovery::Gap { reason, page } => {
                self.shared.count(|tally| tally.gaps += 1);
                self.shared.recorder.heard(record, Heard::Gap { reason });
                let mut events =
                    self.who.client.room_gap(place.room_id, &page).await.map_err(Failure::Rest)?.events;
                // What the page has beyond the confirmed head comes over the socket, too.
                events.retain(|event| event.seq > after && event.seq <= answer.head);
                events
            }
        };
        self.shared.recorder.heard(record, Heard::From { after });
        if let Some(position) = self.rooms.get_mut(&place.room_id) {
            position.last = Some(after);
        }
        for event in missed {
            self.hear(event);
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) {
        self.shared.count(|tally| tally.heard += 1);
        // An event of a room nobody subscribed to is for the checker, under any room's record.
        let known = self.rooms.contains_key(&event.room_id);
        let room = if known { Some(event.room_id) } else { self.rooms.keys().next().copied() };
        if let Some(position) = room.and_then(|room| self.rooms.get_mut(&room)) {
            if known {
                position.last = Some(position.last.unwrap_or(0).max(event.seq));
            }
            self.shared.recorder.heard(position.record, Heard::Event(event));
        }
    }

    fn reached(&self, goal: &Goal) -> bool {
        goal.heads.iter().all(|(room, head)| self.rooms.get(room).and_then(|at| at.last) >= Some(*head))
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Failure {
        Failure::Socket(error)
    }
}
