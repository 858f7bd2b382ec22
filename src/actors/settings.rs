//! The numbers actors live by; every queue has one, with a unit and a verdict. `config` fills them.

use std::time::Duration;

/// Limits and times of the actors. The verdict of each bound stands beside it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Commands in one room that aren't answered: more are `overloaded`.
    pub room_queue: usize,
    /// Writes of all rooms waiting for a commit: more are `overloaded`.
    pub write_queue: usize,
    /// Writes in one transaction: the rest waits for the next.
    pub commit_batch: usize,
    /// Rooms being loaded at one time: more are `overloaded`.
    pub loading_rooms: usize,
    /// A room without subscribers and work is dropped from memory after this.
    pub room_idle: Duration,
    /// Messages from rooms waiting in one hub: beyond it its subscribers are told to resync.
    pub hub_backlog: usize,
    /// Events a resuming client may be behind: beyond it `gap`.
    pub replay_events: usize,
    /// Age of the first missed event: beyond it `gap`.
    pub replay_age: Duration,
    /// Bytes of missed events in one reply: beyond it `gap`.
    pub replay_bytes: usize,
    /// Rooms one socket may subscribe to: more are `invalid_payload`.
    pub subscriptions: usize,
    /// Sockets of one user: the excess is closed 4503.
    pub sockets_per_user: usize,
    /// Sockets of this process: the excess is refused with 503.
    pub sockets: usize,
    /// Bytes waiting for one socket: beyond it signals are dropped, then events for `room.resync`, then it is closed 4001.
    pub outbox_bytes: usize,
    /// A socket that takes nothing for this long is closed 4001.
    pub stall: Duration,
    /// Messages in one write.
    pub coalesce: usize,
    /// Bytes of one message from a client: more closes 1009.
    pub frame_bytes: usize,
    /// Invalid frames of one socket: this many close it 4504.
    pub invalid_frames: u32,
    /// A ping goes out after this long without a frame.
    pub heartbeat: Duration,
    /// Silence that closes a socket with 4000.
    pub dead_after: Duration,
    /// How long a closed socket may take to take its leave.
    pub linger: Duration,
    /// At most one typing start per user, room and this time is told.
    pub typing_throttle: Duration,
    /// Typing ends by itself after this.
    pub typing_expiry: Duration,
    /// A user without sockets is online for this much longer.
    pub presence_grace: Duration,
    /// Presence changes are told once per this time.
    pub presence_tick: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            room_queue: 1_024,
            write_queue: 4_096,
            commit_batch: 512,
            loading_rooms: 256,
            room_idle: Duration::from_secs(60),
            hub_backlog: 65_536,
            replay_events: 1_000,
            replay_age: Duration::from_secs(24 * 60 * 60),
            replay_bytes: 256 * 1_024,
            subscriptions: 200,
            sockets_per_user: 20,
            sockets: 100_000,
            outbox_bytes: 1_024 * 1_024,
            stall: Duration::from_secs(10),
            coalesce: 16,
            frame_bytes: 64 * 1_024,
            invalid_frames: 20,
            heartbeat: Duration::from_secs(25),
            dead_after: Duration::from_secs(35),
            linger: Duration::from_secs(2),
            typing_throttle: Duration::from_secs(1),
            typing_expiry: Duration::from_secs(6),
            presence_grace: Duration::from_secs(10),
            presence_tick: Duration::from_secs(1),
        }
    }
}
