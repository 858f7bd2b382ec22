//! Many lean sockets of few users, connected a few at a time and subscribed before they count.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::timeout;

use super::{ScenarioError, Stage};
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
        let rooms: Vec<_> = rooms.iter().map(|room_id| json!({"room_id": room_id})).collect();
        let subscribe =
            json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": rooms}}).to_string();
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

/// Waits for the reply; an error frame ends the run, for nothing would come.
async fn confirmed(receiver: &mut Receiver) -> Result<(), ScenarioError> {
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

async fn address(url: &str) -> Result<SocketAddr, ScenarioError> {
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
