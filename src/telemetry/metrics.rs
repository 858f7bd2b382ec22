//! Counting: one small function per thing that is counted. Until [`install`] was called they do nothing.

use super::catalog::{self, Kind, METRICS};
use super::errors::{self, ErrorClass};
use super::process;
use crate::domain::RejectionCode;
use crate::protocol::outgoing::{OutType, TYPES};
use crate::protocol::{CloseCode, Request};
use ::metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

/// What happened to a client that reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowConsumer {
    /// A subscription ended in `room.resync`.
    Resync,
    /// It read nothing, and its socket was closed.
    Closed,
}

/// The handles that are used many times a second: looking one up costs more than counting.
struct Handles {
    prometheus: PrometheusHandle,
    connections: Gauge,
    frames_out: Vec<Counter>,
    bytes_out: Counter,
    events_encoded: Counter,
    fanout: Counter,
    commit_commands: Histogram,
    commit_seconds: Histogram,
    rooms: Gauge,
    subscriptions: Gauge,
    signals_dropped: Counter,
    resyncs: Counter,
    slow_consumers: Counter,
    polls_waiting: Gauge,
}

/// Why handshakes are refused, usually.
const REFUSALS: [RejectionCode; 9] = [
    RejectionCode::InvalidPayload,
    RejectionCode::Unauthenticated,
    RejectionCode::TokenInvalid,
    RejectionCode::TokenExpired,
    RejectionCode::TokenRevoked,
    RejectionCode::Forbidden,
    RejectionCode::Banned,
    RejectionCode::Overloaded,
    RejectionCode::Unavailable,
];

static HANDLES: OnceLock<Handles> = OnceLock::new();

fn with(count: impl FnOnce(&Handles)) {
    if let Some(handles) = HANDLES.get() {
        count(handles);
    }
}

/// Installs the recorder for this process, once; describes every metric and starts the closed sets at zero.
pub fn install() -> Result<(), String> {
    if HANDLES.get().is_some() {
        return Ok(());
    }
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets).map_err(|error| error.to_string())?;
        }
    }
    let prometheus = builder.install_recorder().map_err(|error| error.to_string())?;
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
    }
    gauge!(catalog::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for code in CloseCode::ALL {
        counter!(catalog::CONNECTIONS_CLOSED, "code" => code.name()).increment(0);
    }
    for actor in ["hub", "sequencer", "presence", "connection", "room", "inference", "actions"] {
        counter!(catalog::ACTOR_PANICS, "actor" => actor).increment(0);
    }
    for code in RejectionCode::ALL {
        counter!(catalog::REJECTIONS, "code" => code.as_str()).increment(0);
    }
    for kind in Request::TYPES {
        counter!(catalog::FRAMES_IN, "type" => kind).increment(0);
    }
    for kind in ["invalid", "refused"] {
        counter!(catalog::FRAMES_IN, "type" => kind).increment(0);
    }
    counter!(catalog::CONNECTION_ATTEMPTS).increment(0);
    counter!(catalog::CONNECTIONS_TOTAL, "outcome" => "accepted").increment(0);
    for outcome in ["accepted", "refused"] {
        drop(histogram!(catalog::HANDSHAKE_SECONDS, "outcome" => outcome));
    }
    for code in REFUSALS {
        counter!(catalog::CONNECTIONS_TOTAL, "outcome" => code.as_str()).increment(0);
    }
    counter!(catalog::CONNECTIONS_TOTAL, "outcome" => CloseCode::TooManyConnections.name()).increment(0);
    gauge!(catalog::LOAD_LEVEL).set(0.0);
    counter!(catalog::LOAD_CHANGES, "level" => "normal").increment(0);
    limit("messages", 0, 0);
    counter!(catalog::PASSWORD_CHECKS).increment(0);
    for outcome in ["done", "retried", "dead"] {
        counter!(catalog::DELIVERIES, "outcome" => outcome).increment(0);
    }
    outbox(0, 0);
    errors::begin();
    for outcome in ["done", "failed", "timeout", "late", "duplicate", "overloaded"] {
        counter!(catalog::ACTION_RESULTS, "outcome" => outcome).increment(0);
    }
    drop(histogram!(catalog::ACTION_SECONDS));
    super::ai::begin();
    let handles = Handles {
        prometheus,
        connections: gauge!(catalog::CONNECTIONS),
        frames_out: TYPES.iter().map(|kind| counter!(catalog::FRAMES_OUT, "type" => *kind)).collect(),
        bytes_out: counter!(catalog::BYTES_OUT),
        events_encoded: counter!(catalog::EVENTS_ENCODED),
        fanout: counter!(catalog::FANOUT),
        commit_commands: histogram!(catalog::COMMIT_COMMANDS),
        commit_seconds: histogram!(catalog::COMMIT_SECONDS),
        rooms: gauge!(catalog::ROOMS),
        subscriptions: gauge!(catalog::SUBSCRIPTIONS),
        signals_dropped: counter!(catalog::SIGNALS_DROPPED),
        resyncs: counter!(catalog::RESYNCS),
        slow_consumers: counter!(catalog::SLOW_CONSUMERS),
        polls_waiting: gauge!(catalog::POLLS_WAITING),
    };
    HANDLES.set(handles).map_err(|_again| "the metrics were installed twice at once".to_owned())
}

/// The metrics as Prometheus text (exposition format 0.0.4).
pub fn render() -> String {
    let mut text = HANDLES.get().map(|handles| handles.prometheus.render()).unwrap_or_default();
    text.push_str(&process::render());
    text
}

/// To be called every few seconds: folds what the histograms gathered, which would grow otherwise.
pub fn run_upkeep() {
    with(|handles| handles.prometheus.run_upkeep());
}

/// A password was checked, whether anybody has it or not.
pub fn password_checked() {
    counter!(catalog::PASSWORD_CHECKS).increment(1);
}

/// A socket was accepted.
pub fn connection_opened() {
    with(|handles| handles.connections.increment(1.0));
    counter!(catalog::CONNECTIONS_TOTAL, "outcome" => "accepted").increment(1);
}

/// A handshake began.
pub fn connection_attempted() {
    counter!(catalog::CONNECTION_ATTEMPTS).increment(1);
}

/// A handshake was refused after `took`.
pub fn connection_refused(code: RejectionCode, took: Duration) {
    errors::count(ErrorClass::of(code), code.as_str());
    counter!(catalog::CONNECTIONS_TOTAL, "outcome" => code.as_str()).increment(1);
    histogram!(catalog::HANDSHAKE_SECONDS, "outcome" => "refused").record(took);
}

/// Somebody had as many sockets as one may have; that is said by a close code.
pub fn connection_too_many(took: Duration) {
    let outcome = CloseCode::TooManyConnections.name();
    errors::count(ErrorClass::RateLimit, outcome);
    counter!(catalog::CONNECTIONS_TOTAL, "outcome" => outcome).increment(1);
    histogram!(catalog::HANDSHAKE_SECONDS, "outcome" => "refused").record(took);
}

/// A socket was welcomed, so long after its handshake began.
pub fn connection_welcomed(took: Duration) {
    histogram!(catalog::HANDSHAKE_SECONDS, "outcome" => "accepted").record(took);
}

/// A socket that was accepted is gone; without a code the peer went without a word.
pub fn connection_closed(code: Option<CloseCode>) {
    with(|handles| handles.connections.decrement(1.0));
    counter!(catalog::CONNECTIONS_CLOSED, "code" => code.map_or("gone", CloseCode::name)).increment(1);
}

/// A frame of a client; `kind` is a type of the protocol, or `invalid`, or `refused` over the rate.
pub fn frame_in(kind: &'static str) {
    counter!(catalog::FRAMES_IN, "type" => kind).increment(1);
}

/// So many bytes went to a socket.
pub fn bytes_out(bytes: usize) {
    with(|handles| handles.bytes_out.increment(u64::try_from(bytes).unwrap_or_default()));
}

/// So many frames of a type are out. One that took several writes counts with the last of them.
pub fn frames_out(kind: OutType, frames: u64) {
    with(|handles| {
        if let Some(counter) = handles.frames_out.get(kind.index()) {
            counter.increment(frames);
        }
    });
}

/// An event is in the log.
pub fn event_committed(kind: &'static str) {
    counter!(catalog::EVENTS_COMMITTED, "kind" => kind).increment(1);
}

/// An event became a frame.
pub fn event_encoded() {
    with(|handles| handles.events_encoded.increment(1));
}

/// An event was handed to `subscribers`.
pub fn fanned_out(subscribers: usize) {
    with(|handles| handles.fanout.increment(u64::try_from(subscribers).unwrap_or_default()));
}

/// A transaction of `commands` commands took `took`.
pub fn commit(commands: usize, took: Duration) {
    with(|handles| {
        handles.commit_commands.record(number(commands));
        handles.commit_seconds.record(took);
    });
}

/// `waiting` things wait in `queue`, a name from a closed set (`writer`, `rooms`).
pub fn queue_depth(queue: &'static str, waiting: usize) {
    gauge!(catalog::QUEUE_DEPTH, "queue" => queue).set(number(waiting));
}

/// `entries` are in `registry`, a name from a closed set (`sockets`, `audiences`).
pub fn registry(registry: &'static str, entries: usize) {
    gauge!(catalog::REGISTRY, "registry" => registry).set(number(entries));
}

/// A command or request was refused.
pub fn rejection(code: RejectionCode) {
    errors::count(ErrorClass::of(code), code.as_str());
    counter!(catalog::REJECTIONS, "code" => code.as_str()).increment(1);
}

/// An actor failed and begins anew.
pub fn actor_panicked(actor: &'static str) {
    errors::count(ErrorClass::Server, "actor_panicked");
    counter!(catalog::ACTOR_PANICS, "actor" => actor).increment(1);
}

/// A client reads too slowly.
pub fn slow_consumer(verdict: SlowConsumer) {
    with(|handles| match verdict {
        SlowConsumer::Resync => handles.resyncs.increment(1),
        SlowConsumer::Closed => handles.slow_consumers.increment(1),
    });
}

/// `n` signals were not sent.
pub fn signals_dropped(n: u64) {
    with(|handles| handles.signals_dropped.increment(n));
}

/// There are `n` rooms in memory.
pub fn rooms(n: usize) {
    with(|handles| handles.rooms.set(number(n)));
}

/// `n` subscriptions came.
pub fn subscriptions_added(n: usize) {
    with(|handles| handles.subscriptions.increment(number(n)));
}

/// `n` subscriptions went.
pub fn subscriptions_removed(n: usize) {
    with(|handles| handles.subscriptions.decrement(number(n)));
}

/// `n` long polls wait.
pub fn polls_waiting(n: usize) {
    with(|handles| handles.polls_waiting.set(number(n)));
}

/// A rate limit remembers `keys` senders and refused `refused` times since the start; `limit` is from a closed set.
pub fn limit(limit: &'static str, keys: usize, refused: u64) {
    gauge!(catalog::LIMIT_KEYS, "limit" => limit).set(number(keys));
    counter!(catalog::LIMITED, "limit" => limit).absolute(refused);
}

/// The level of load changed; `number` orders the levels.
pub fn load_level(level: &'static str, number: u8) {
    gauge!(catalog::LOAD_LEVEL).set(f64::from(number));
    counter!(catalog::LOAD_CHANGES, "level" => level).increment(1);
}

/// The outbox holds so much.
pub fn outbox(waiting: usize, dead: usize) {
    gauge!(catalog::OUTBOX_WAITING).set(number(waiting));
    gauge!(catalog::OUTBOX_DEAD).set(number(dead));
}

/// An attempt to deliver ended: `done`, `retried` or `dead`; or a row of the outbox was `malformed`.
pub fn delivery(outcome: &'static str) {
    match outcome {
        "done" => {}
        // A row of ours that can't be read.
        "malformed" => errors::count(ErrorClass::Server, "delivery_malformed"),
        _ => errors::count(ErrorClass::Upstream, "delivery_failed"),
    }
    counter!(catalog::DELIVERIES, "outcome" => outcome).increment(1);
}

/// A check found so many derived values of a kind wrong, and repaired so many.
pub fn drift(kind: &'static str, found: usize, repaired: usize) {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    counter!(catalog::DRIFT, "kind" => kind).increment(count(found));
    counter!(catalog::DRIFT_REPAIRED, "kind" => kind).increment(count(repaired));
}

/// Rows of a kind were cleared away.
pub fn cleared(kind: &'static str, count: usize) {
    counter!(catalog::CLEARED, "kind" => kind).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

/// An action request ended, or a result changed nothing; `outcome` is from a closed set.
pub fn action_result(outcome: &'static str) {
    counter!(catalog::ACTION_RESULTS, "outcome" => outcome).increment(1);
}

/// A result came so long after its request.
pub fn action_took(took: Duration) {
    histogram!(catalog::ACTION_SECONDS).record(took);
}

/// A request was answered; `route` is a pattern, never a path.
pub fn http_request(route: &str, method: &'static str, status: u16, took: Duration) {
    let route = route.to_owned();
    counter!(catalog::HTTP_REQUESTS, "route" => route.clone(), "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!(catalog::HTTP_SECONDS, "route" => route, "method" => method).record(took);
}

/// Gauges are floats; above four billion the exact number doesn't matter.
fn number(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_list() {
        install().expect("installed");
        connection_opened();
        connection_closed(Some(CloseCode::Normal));
        frame_in("ping");
        commit(3, Duration::from_millis(2));
        event_committed("message.posted");
        slow_consumer(SlowConsumer::Resync);
        actor_panicked("courier");
        assert!(errors::last().iter().any(|last| last.class == ErrorClass::Server), "that is our error");
        queue_depth("writer", 1);
        drift("hole", 1, 0);
        cleared("session", 1);
        registry("sockets", 1);
        action_result("done");
        action_took(Duration::from_millis(3));
        http_request("/api/v1/me", "GET", 200, Duration::from_millis(1));
        let text = render();
        for metric in METRICS {
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{} is missing", metric.name);
        }
        let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        for name in typed {
            assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is not in the list");
        }
    }
}
