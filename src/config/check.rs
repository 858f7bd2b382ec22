//! Numbers that contradict each other refuse to start, and say what to do.

use super::{Config, limiting};
use crate::domain::MessageBody;
use std::time::Duration;

/// What a frame needs around a message body: type, ids, quotes.
const ENVELOPE_BYTES: usize = 1024;

/// The first contradiction, as a sentence for the operator.
pub(super) fn check(config: &Config) -> Result<(), String> {
    database(config)?;
    require(config.metrics.token.as_ref().is_none_or(|token| !token.reveal().is_empty()), || {
        "metrics.token is empty: give it a value, or leave it out".to_owned()
    })?;
    none_is_zero(config)?;
    let longest = config.auth.access_token.max(config.auth.transfer);
    require(config.auth.key_overlap >= longest, || {
        format!(
            "auth.key_overlap_s ({}) is shorter than what is signed is good for ({}; auth.access_token_s, auth.transfer_s): \
             raise the first",
            config.auth.key_overlap.as_secs(),
            longest.as_secs()
        )
    })?;
    limiting::check(&config.limits, &config.load)?;
    config.outbox.check()?;
    config.audit.check()?;
    config.actions.check()?;
    config.ai.check()?;
    let Config { socket, heartbeat, rooms, typing, presence, shutdown, storage, .. } = config;
    require(heartbeat.interval < heartbeat.dead_after, || {
        format!(
            "heartbeat.interval_ms ({}) has to be shorter than heartbeat.dead_after_ms ({}): \
             lower the first or raise the second",
            heartbeat.interval.as_millis(),
            heartbeat.dead_after.as_millis()
        )
    })?;
    let smallest_frame = MessageBody::MAX_BYTES + ENVELOPE_BYTES;
    require(socket.frame_bytes >= smallest_frame, || {
        format!(
            "socket.frame_bytes ({}) can't carry a message body of {} bytes: raise it to {smallest_frame} or more",
            socket.frame_bytes,
            MessageBody::MAX_BYTES
        )
    })?;
    require(socket.outbox_bytes >= socket.frame_bytes, || {
        format!(
            "socket.outbox_bytes ({}) can't hold one frame of socket.frame_bytes ({}): raise the first or lower the \
             second",
            socket.outbox_bytes, socket.frame_bytes
        )
    })?;
    require(socket.outbox_bytes >= rooms.replay_bytes, || {
        format!(
            "rooms.replay_bytes ({}) doesn't fit into socket.outbox_bytes ({}): lower the first or raise the second",
            rooms.replay_bytes, socket.outbox_bytes
        )
    })?;
    require(config.http.body_bytes >= smallest_frame, || {
        format!(
            "http.body_bytes ({}) can't carry a message body of {} bytes: raise it to {smallest_frame} or more",
            config.http.body_bytes,
            MessageBody::MAX_BYTES
        )
    })?;
    require(typing.throttle < typing.expiry, || {
        "typing.throttle_ms has to be shorter than typing.expiry_ms: typing would end between two starts"
            .to_owned()
    })?;
    require(presence.census * 2 <= presence.lease, || {
        "presence.lease_ms is shorter than two of presence.census_ms: raise the first, or the living would expire".to_owned()
    })?;
    require(heartbeat.dead_after <= presence.lease, || {
        "presence.lease_ms is shorter than heartbeat.dead_after_ms: raise the first, or who is silent would be gone before \
         they are given up"
            .to_owned()
    })?;
    require(shutdown.spread <= shutdown.drain, || {
        "shutdown.spread_ms is longer than shutdown.drain_ms: raise the second".to_owned()
    })?;
    require(storage.commit_batch <= storage.write_queue, || {
        "storage.commit_batch is larger than storage.write_queue: lower the first".to_owned()
    })
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn database(config: &Config) -> Result<(), String> {
    let is_postgres =
        |url: &str| ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    match &config.storage.database {
        Some(database) if !is_postgres(database.reveal()) => {
            Err("storage.database has to begin with postgres://; leave it out for SQLite in storage.data_dir"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// A queue of nothing or a timer of no time would stop the server in a way that is hard to see.
fn none_is_zero(config: &Config) -> Result<(), String> {
    let Config {
        socket, heartbeat, rooms, typing, presence, http, polling, storage, auth, idempotency, ..
    } = config;
    let counts = [
        ("server.workers", config.server.workers.unwrap_or(1)),
        ("storage.write_queue", storage.write_queue),
        ("storage.commit_batch", storage.commit_batch),
        ("storage.readers", usize::try_from(storage.readers).unwrap_or(usize::MAX)),
        ("auth.hash_concurrency", auth.hash_concurrency),
        ("auth.sessions_per_user", auth.sessions_per_user),
        ("socket.coalesce", socket.coalesce),
        ("socket.subscriptions", socket.subscriptions),
        ("socket.per_user", socket.per_user),
        ("socket.per_instance", socket.per_instance),
        ("socket.invalid_frames", usize::try_from(socket.invalid_frames).unwrap_or(usize::MAX)),
        ("rooms.queue", rooms.queue),
        ("rooms.loading", rooms.loading),
        ("rooms.hub_backlog", rooms.hub_backlog),
        ("polling.waiting", polling.waiting),
        ("idempotency.sweep_batch", idempotency.sweep_batch),
        ("cleanup.batch", config.cleanup.batch),
    ];
    let spans = [
        ("heartbeat.interval_ms", heartbeat.interval),
        ("http.head_timeout_ms", http.head_timeout),
        ("http.body_timeout_ms", http.body_timeout),
        ("socket.stall_ms", socket.stall),
        ("rooms.idle_ms", rooms.idle),
        ("rooms.badge_ms", rooms.badge),
        ("typing.expiry_ms", typing.expiry),
        ("presence.tick_ms", presence.tick),
        ("presence.census_ms", presence.census),
        ("auth.session_s", auth.session),
        ("auth.access_token_s", auth.access_token),
        ("auth.refresh_token_s", auth.refresh_token),
        ("auth.transfer_s", auth.transfer),
        ("idempotency.keep_s", idempotency.keep),
        ("idempotency.sweep_s", idempotency.sweep),
    ];
    let zero_count = counts.into_iter().filter(|(_, count)| *count == 0).map(|(key, _)| key);
    let zero_span = spans.into_iter().filter(|(_, span)| *span == Duration::ZERO).map(|(key, _)| key);
    match zero_count.chain(zero_span).next() {
        Some(key) => Err(format!("{key} is 0: give it at least 1")),
        None => Ok(()),
    }
}
