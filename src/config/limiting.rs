//! How much of anything one sender may do, and when the whole process begins to spare itself.

use super::units::{millis, seconds};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rates: so many at once, and as many again per window, evenly. A count of 0 switches its limit off.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Posts, edits and deletions of one user per window (count); over it: `rate_limited`.
    pub messages: u32,
    /// The same for a bot.
    pub bot_messages: u32,
    /// The window of both.
    #[serde(rename = "message_window_ms", with = "millis")]
    pub message_window: Duration,
    /// Other changes of one user (rooms, members, read marks, profile) per window (count); over it: `rate_limited`.
    pub commands: u32,
    #[serde(rename = "command_window_ms", with = "millis")]
    pub command_window: Duration,
    /// Changes of one user's settings per window (count); over it: `rate_limited`. Each stays in the log, whole.
    pub settings: u32,
    #[serde(rename = "settings_window_ms", with = "millis")]
    pub settings_window: Duration,
    /// How often one user may post the same text to one room per window (count, at most 8); over it: `duplicate_message`.
    pub repeats: u32,
    #[serde(rename = "repeat_window_s", with = "seconds")]
    pub repeat_window: Duration,
    /// Different names one message may mention (count); over it: `invalid_payload`.
    pub message_mentions: u32,
    /// Names one user mentions per window (count); over it: `rate_limited`.
    pub mentions: u32,
    #[serde(rename = "mention_window_s", with = "seconds")]
    pub mention_window: Duration,
    /// Frames of one socket per window (count); over it: `rate_limited`, over twice of it: closed with `rate_limited`.
    pub frames: u32,
    /// Rooms one socket subscribes to per window (count); over it: `rate_limited`.
    pub subscriptions: u32,
    /// The window of both.
    #[serde(rename = "frame_window_ms", with = "millis")]
    pub frame_window: Duration,
    /// REST requests of one user per window (count); over it: `rate_limited`.
    pub user_requests: u32,
    /// REST requests and handshakes from one address per window (count); over it: `rate_limited`. Behind a proxy on another machine that
    /// `server.trusted_proxies` doesn't name everybody has the proxy's address: 0 there.
    pub address_requests: u32,
    /// The window of both.
    #[serde(rename = "request_window_ms", with = "millis")]
    pub request_window: Duration,
    /// Failed sign-ins of one account per window (count), of all addresses together that it wasn't signed in from before, and of each
    /// that it was; over it: `rate_limited`.
    pub account_failures: u32,
    /// Failed sign-ins, unknown codes and unknown links from one address per window (count); over it: `rate_limited`.
    pub address_failures: u32,
    /// The window of both.
    #[serde(rename = "failure_window_s", with = "seconds")]
    pub failure_window: Duration,
    /// Sockets from one address (count); over it: `rate_limited` before the upgrade. 0 behind a proxy that isn't named.
    pub address_sockets: usize,
    /// Behind a proxy on the same machine everybody has the machine's address: it says nothing then.
    pub exempt_loopback: bool,
    /// Handshakes of the process per second (count); over it: `overloaded` before anything is read.
    pub handshakes: u32,
    /// Handshakes at once before that rate counts (count).
    pub handshake_burst: u32,
    /// Handshakes that read from the store at the same time (count); the others wait.
    pub handshakes_at_once: usize,
    /// Handshakes that wait for that (count); over it: `overloaded`.
    pub handshakes_waiting: usize,
    /// How long they wait; over it: `overloaded`.
    #[serde(rename = "handshake_wait_ms", with = "millis")]
    pub handshake_wait: Duration,
    /// Who was sent away comes back at a random moment within this span.
    #[serde(rename = "retry_spread_ms", with = "millis")]
    pub retry_spread: Duration,
    /// Senders remembered per limit (count); over it newcomers aren't counted: nobody can lock others out by filling it.
    pub keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: 10,
            bot_messages: 60,
            message_window: Duration::from_secs(10),
            commands: 200,
            command_window: Duration::from_secs(10),
            settings: 10,
            settings_window: Duration::from_secs(10),
            repeats: 5,
            repeat_window: Duration::from_secs(60),
            message_mentions: 20,
            mentions: 60,
            mention_window: Duration::from_secs(60),
            frames: 400,
            subscriptions: 1000,
            frame_window: Duration::from_secs(10),
            user_requests: 300,
            address_requests: 1200,
            request_window: Duration::from_secs(10),
            account_failures: 10,
            address_failures: 50,
            failure_window: Duration::from_secs(600),
            address_sockets: 1000,
            exempt_loopback: true,
            handshakes: 6000,
            handshake_burst: 16_000,
            handshakes_at_once: 8,
            handshakes_waiting: 16_384,
            handshake_wait: Duration::from_secs(8),
            retry_spread: Duration::from_secs(5),
            keys: 65_536,
        }
    }
}

/// When the process spares itself (LIM-12).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Resident bytes from which on signals are shed; 0: 70 % of what the machine or its cgroup gives.
    pub memory_soft_bytes: u64,
    /// Resident bytes from which on new sockets are refused; 0: 85 %.
    pub memory_hard_bytes: u64,
    /// How often memory and queues are looked at.
    #[serde(rename = "sample_ms", with = "millis")]
    pub sample: Duration,
    /// Failed commits in a row (count) from which on nothing is written; 0: never.
    pub store_failures: u32,
    /// How often a store that failed is tried.
    #[serde(rename = "probe_ms", with = "millis")]
    pub probe: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            memory_soft_bytes: 0,
            memory_hard_bytes: 0,
            sample: Duration::from_millis(250),
            store_failures: 3,
            probe: Duration::from_secs(1),
        }
    }
}

/// The first contradiction among them, as a sentence for the operator.
pub(super) fn check(limits: &Limits, load: &Load) -> Result<(), String> {
    let spans = [
        ("limits.message_window_ms", limits.message_window),
        ("limits.command_window_ms", limits.command_window),
        ("limits.settings_window_ms", limits.settings_window),
        ("limits.repeat_window_s", limits.repeat_window),
        ("limits.mention_window_s", limits.mention_window),
        ("limits.frame_window_ms", limits.frame_window),
        ("limits.request_window_ms", limits.request_window),
        ("limits.failure_window_s", limits.failure_window),
        ("limits.handshake_wait_ms", limits.handshake_wait),
        ("load.sample_ms", load.sample),
        ("load.probe_ms", load.probe),
    ];
    if let Some((key, _)) = spans.into_iter().find(|(_, span)| *span == Duration::ZERO) {
        return Err(format!("{key} is 0: give it at least 1"));
    }
    if limits.handshakes_at_once == 0 || limits.keys == 0 {
        return Err("limits.handshakes_at_once and limits.keys have to be at least 1".to_owned());
    }
    if limits.repeats > 8 {
        return Err("limits.repeats is over 8: lower it".to_owned());
    }
    if limits.mentions > 0 && limits.mentions < limits.message_mentions {
        return Err(
            "limits.mentions is lower than limits.message_mentions: one message would be too much".to_owned()
        );
    }
    if load.memory_hard_bytes > 0 && load.memory_soft_bytes > load.memory_hard_bytes {
        return Err(
            "load.memory_soft_bytes is higher than load.memory_hard_bytes: lower the first".to_owned()
        );
    }
    Ok(())
}
