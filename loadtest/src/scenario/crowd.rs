//! Many lean sockets of few users, connected a few at a time and subscribed before they count.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::timeout;

use super::{ScenarioError, Stage};
use crate::baseline::Baseline;
use crate::lean::{self, Door, Receiver, Scratch};
use crate::machine::too_many_sockets;
use crate::socket::authority;

/// A subscription has to be answered within.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many sockets, and how they are spread.
#[derive(Debug, Clone)]
pub struct Crowd {
    pub sockets: usize,
    /// The server's limit per user is 20 by default.
    pub per_user: usize,
    /// Handshakes at once.
    pub at_once: usize,
}

impl Crowd {
    /// Makes the users; nothing is connected yet.
    pub async fn doors(&self, stage: &Stage) -> Result<Vec<Door>, ScenarioError> {
        if let Some(problem) = too_many_sockets(self.sockets) {
            return Err(ScenarioError::Refused(problem));
        }
        let per_user = self.per_user.max(1);
        let users = self.sockets.div_ceil(per_user);
        stage.progress.say(format_args!("making {users} users for {} sockets", self.sockets));
        let server = address(&stage.world.url).await?;
        let users = stage.world.users("crowd", users).await?;
        Ok(users.iter().map(|user| Door { server, credentials: user.credentials() }).collect())
    }

    /// Connects everyone and waits until each subscription is confirmed.
    pub async fn gather(
        &self,
        doors: &[Door],
        rooms: &[u64],
        scratch: &Scratch,
    ) -> Result<Vec<Receiver>, ScenarioError> {
        let subscribe = subscription(rooms);
        let per_user = self.per_user.max(1);
        let joined = (0..self.sockets).map(|index| {
            let subscribe = &subscribe;
            async move {
                let door = doors.get(index / per_user).ok_or_else(|| refused("fewer users than sockets"))?;
                let upgraded = lean::connect(door, index).await.map_err(during("connecting"))?;
                let mut receiver = Receiver::new(upgraded, scratch);
                receiver.send(subscribe).await.map_err(during("subscribing"))?;
                confirmed(&mut receiver).await?;
                Ok::<Receiver, ScenarioError>(receiver)
            }
        });
        stream::iter(joined).buffer_unordered(self.at_once.max(1)).try_collect().await
    }
}

impl Crowd {
    /// Connects everyone to a broadcaster, each to the room that `room` names.
    pub async fn gather_bare(
        &self,
        baseline: &Baseline,
        room: impl Fn(usize) -> usize,
        scratch: &Scratch,
        keep: usize,
    ) -> Result<Vec<Receiver>, ScenarioError> {
        let joined = (0..self.sockets).map(|index| bare(baseline, room(index), true, index, scratch, keep));
        stream::iter(joined).buffered(self.at_once.max(1)).try_collect().await
    }
}

/// One connection to a broadcaster, which counts it in when this is over.
pub async fn bare(
    baseline: &Baseline,
    room: usize,
    listens: bool,
    index: usize,
    scratch: &Scratch,
    keep: usize,
) -> Result<Receiver, ScenarioError> {
    let connected = lean::connect_bare(baseline.address(), index).await.map_err(during("connecting"))?;
    let mut receiver = Receiver::keeping(connected, scratch, keep);
    receiver.sender().write(&Baseline::hello(room, listens)).await.map_err(during("greeting"))?;
    confirmed(&mut receiver).await?;
    Ok(receiver)
}

/// One connection to the server that listens to these rooms.
pub async fn subscribed(
    door: &Door,
    index: usize,
    rooms: &[u64],
    scratch: &Scratch,
    keep: usize,
) -> Result<Receiver, ScenarioError> {
    let upgraded = lean::connect(door, index).await.map_err(during("connecting"))?;
    let mut receiver = Receiver::keeping(upgraded, scratch, keep);
    if !rooms.is_empty() {
        receiver.send(&subscription(rooms)).await.map_err(during("subscribing"))?;
        confirmed(&mut receiver).await?;
    }
    Ok(receiver)
}

pub fn subscription(rooms: &[u64]) -> String {
    let rooms: Vec<_> = rooms.iter().map(|room_id| json!({"room_id": room_id})).collect();
    json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": rooms}}).to_string()
}

/// Waits for the reply; an error frame ends the run, for nothing would come.
pub async fn confirmed(receiver: &mut Receiver) -> Result<(), ScenarioError> {
    let mut failed = false;
    let reply = receiver.receive(|frame| {
        failed |= frame.is_type("error");
        if failed || frame.is_type("reply") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match timeout(PATIENCE, reply).await {
        Ok(result) => result.map_err(during("subscribing"))?,
        Err(_) => return Err(ScenarioError::Late { what: "a subscription".to_owned() }),
    }
    if failed { Err(refused("a subscription was refused")) } else { Ok(()) }
}

pub async fn address(url: &str) -> Result<SocketAddr, ScenarioError> {
    let authority = authority(url)?;
    let found = tokio::net::lookup_host(authority).await.map_err(during("looking the server up"))?;
    let mut v4 = found.filter(SocketAddr::is_ipv4);
    v4.next().ok_or_else(|| refused("the server has no IPv4 address"))
}

pub(super) fn during(what: &'static str) -> impl FnOnce(std::io::Error) -> ScenarioError {
    move |source| ScenarioError::Io { what, source }
}

fn refused(what: &str) -> ScenarioError {
    ScenarioError::Refused(what.to_owned())
}
