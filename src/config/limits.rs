//! Every limit: its number, its unit and what happens at it.

use super::units::{millis, seconds};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What one HTTP request may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Bytes of a request body; over it: 413.
    pub body_bytes: usize,
    /// From the first byte to the end of the head; over it: the connection is closed.
    #[serde(rename = "head_timeout_ms", with = "millis")]
    pub head_timeout: Duration,
    /// For the body to arrive; over it: 400.
    #[serde(rename = "body_timeout_ms", with = "millis")]
    pub body_timeout: Duration,
    /// An idle connection is kept this long.
    #[serde(rename = "keep_alive_ms", with = "millis")]
    pub keep_alive: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// What one WebSocket may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Socket {
    /// Bytes of one frame or message of the client; over it: closed with `too_big`.
    pub frame_bytes: usize,
    /// Bytes waiting for a client that reads slowly; over it: `room.resync` in place of events.
    pub outbox_bytes: usize,
    /// How long a client may read nothing with a full outbox; over it: closed with `slow_consumer`.
    #[serde(rename = "stall_ms", with = "millis")]
    pub stall: Duration,
    /// Messages put into one write (count).
    pub coalesce: usize,
    /// Rooms one socket listens to (count); over it: `invalid_payload`.
    pub subscriptions: usize,
    /// Sockets of one user (count); over it: closed with `too_many_connections`.
    pub per_user: usize,
    /// Sockets of this process (count); over it: `overloaded` before the upgrade.
    pub per_instance: usize,
    /// Frames not understood (count); at it: closed with `invalid_payload`.
    pub invalid_frames: u32,
    /// How long a closed socket may take to take its leave; over it: cut off.
    #[serde(rename = "linger_ms", with = "millis")]
    pub linger: Duration,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            frame_bytes: 64 * 1024,
            outbox_bytes: 1024 * 1024,
            stall: Duration::from_secs(10),
            coalesce: 16,
            subscriptions: 200,
            per_user: 20,
            per_instance: 100_000,
            invalid_frames: 20,
            linger: Duration::from_secs(2),
        }
    }
}

/// How a dead peer is told from a silent one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// After this long without sending a frame the client gets a ping.
    #[serde(rename = "interval_ms", with = "millis")]
    pub interval: Duration,
    /// After this long without hearing anything the socket is closed with `heartbeat_lost`.
    #[serde(rename = "dead_after_ms", with = "millis")]
    pub dead_after: Duration,
}

impl Heartbeat {
    /// How long the client has to answer a ping.
    pub fn pong_wait(&self) -> Duration {
        self.dead_after.saturating_sub(self.interval)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(25), dead_after: Duration::from_secs(35) }
    }
}

/// Rooms in memory and what they replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Rooms {
    /// Commands waiting for one room (count); over it: `overloaded`.
    pub queue: usize,
    /// Rooms being loaded at the same time (count); over it: `overloaded`.
    pub loading: usize,
    /// Messages from rooms waiting for one worker (count); over it: its subscribers get `room.resync`.
    pub hub_backlog: usize,
    /// A room that nobody uses is forgotten after this long.
    #[serde(rename = "idle_ms", with = "millis")]
    pub idle: Duration,
    /// Events a resuming client gets (count); over it: a gap to page.
    pub replay_events: usize,
    /// How old the first of them may be.
    #[serde(rename = "replay_age_s", with = "seconds")]
    pub replay_age: Duration,
    /// How much they may be together, in bytes.
    pub replay_bytes: usize,
    /// Who follows a room by badge hears of it at most this often; what comes in between is told together.
    #[serde(rename = "badge_ms", with = "millis")]
    pub badge: Duration,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            queue: 1024,
            loading: 256,
            hub_backlog: 65_536,
            idle: Duration::from_secs(60),
            replay_events: 1000,
            replay_age: Duration::from_secs(24 * 60 * 60),
            replay_bytes: 256 * 1024,
            badge: Duration::from_secs(1),
        }
    }
}

/// Who is typing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Typing {
    /// A repeated start within this span is not told again.
    #[serde(rename = "throttle_ms", with = "millis")]
    pub throttle: Duration,
    /// Typing ends by itself after this long.
    #[serde(rename = "expiry_ms", with = "millis")]
    pub expiry: Duration,
}

impl Default for Typing {
    fn default() -> Self {
        Self { throttle: Duration::from_secs(1), expiry: Duration::from_secs(6) }
    }
}

/// Who is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Presence {
    /// Who comes back within this span never left.
    #[serde(rename = "grace_ms", with = "millis")]
    pub grace: Duration,
    /// Changes are told together, once per tick.
    #[serde(rename = "tick_ms", with = "millis")]
    pub tick: Duration,
    /// What a worker says of its sockets counts for this long; the silence of a dead worker or socket ends with it.
    #[serde(rename = "lease_ms", with = "millis")]
    pub lease: Duration,
    /// Each worker tells of all its sockets this often, besides each change at once.
    #[serde(rename = "census_ms", with = "millis")]
    pub census: Duration,
    /// People in a room who are named (count); over it: only how many they are.
    pub names_up_to: usize,
    /// How exactly "last seen" is kept; fewer writes when longer.
    #[serde(rename = "last_seen_s", with = "seconds")]
    pub last_seen: Duration,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            tick: Duration::from_secs(1),
            lease: Duration::from_secs(60),
            census: Duration::from_secs(20),
            names_up_to: 200,
            last_seen: Duration::from_secs(60),
        }
    }
}

/// Long polls on `GET /events`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Polling {
    /// The longest `wait`.
    #[serde(rename = "wait_ms", with = "millis")]
    pub wait: Duration,
    /// Polls waiting at the same time (count); over it: `overloaded`.
    pub waiting: usize,
}

impl Default for Polling {
    fn default() -> Self {
        Self { wait: Duration::from_secs(25), waiting: 1000 }
    }
}

/// How the server goes (OPS-01).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Shutdown {
    /// After this long what is still running is cut off.
    #[serde(rename = "drain_ms", with = "millis")]
    pub drain: Duration,
    /// Clients are told to come back at a random moment within this span.
    #[serde(rename = "spread_ms", with = "millis")]
    pub spread: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain: Duration::from_secs(30), spread: Duration::from_secs(10) }
    }
}
