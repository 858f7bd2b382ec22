//! The closed list of metrics: names, labels, units. Labels never hold ids of people or messages (OBS-06).

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

/// One metric; `labels` are from closed sets.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    /// The word for how it behaves, as Prometheus has it.
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }

    /// What it is measured in; the name says so, too.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        if name.ends_with("_per_second") || name.ends_with("_rate") {
            "1/s"
        } else if name.ends_with("_seconds") {
            "seconds"
        } else if name.split('_').any(|word| word == "bytes") {
            "bytes"
        } else {
            "count"
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), labels, help }
}

const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const LONG: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

pub const BUILD_INFO: &str = "hearth_build_info";
pub const CONNECTIONS: &str = "hearth_connections";
pub const CONNECTION_ATTEMPTS: &str = "hearth_connection_attempts_total";
pub const CONNECTIONS_TOTAL: &str = "hearth_connections_total";
pub const HANDSHAKE_SECONDS: &str = "hearth_handshake_seconds";
pub const CONNECTIONS_CLOSED: &str = "hearth_connections_closed_total";
pub const FRAMES_IN: &str = "hearth_frames_in_total";
pub const FRAMES_OUT: &str = "hearth_frames_out_total";
pub const BYTES_OUT: &str = "hearth_bytes_out_total";
pub const EVENTS_COMMITTED: &str = "hearth_events_committed_total";
pub const EVENTS_ENCODED: &str = "hearth_events_encoded_total";
pub const FANOUT: &str = "hearth_fanout_total";
pub const COMMIT_COMMANDS: &str = "hearth_commit_commands";
pub const COMMIT_SECONDS: &str = "hearth_commit_seconds";
pub const QUEUE_DEPTH: &str = "hearth_queue_depth";
pub const ROOMS: &str = "hearth_rooms";
pub const SUBSCRIPTIONS: &str = "hearth_subscriptions";
pub const REGISTRY: &str = "hearth_registry_entries";
pub const SIGNALS_DROPPED: &str = "hearth_signals_dropped_total";
pub const RESYNCS: &str = "hearth_resyncs_total";
pub const SLOW_CONSUMERS: &str = "hearth_slow_consumers_total";
pub const ACTOR_PANICS: &str = "hearth_actor_panics_total";
pub const REJECTIONS: &str = "hearth_rejections_total";
pub const ERRORS: &str = "hearth_errors_total";
pub const LAST_ERROR: &str = "hearth_last_error_timestamp_seconds";
pub const HTTP_REQUESTS: &str = "hearth_http_requests_total";
pub const HTTP_SECONDS: &str = "hearth_http_request_seconds";
pub const PASSWORD_CHECKS: &str = "hearth_password_checks_total";
pub const POLLS_WAITING: &str = "hearth_polls_waiting";
pub const LIMIT_KEYS: &str = "hearth_limit_keys";
pub const LIMITED: &str = "hearth_limited_total";
pub const LOAD_LEVEL: &str = "hearth_load_level";
pub const LOAD_CHANGES: &str = "hearth_load_changes_total";
pub const OUTBOX_WAITING: &str = "hearth_outbox_waiting";
pub const OUTBOX_DEAD: &str = "hearth_outbox_dead";
pub const DELIVERIES: &str = "hearth_deliveries_total";
pub const DRIFT: &str = "hearth_drift_total";
pub const DRIFT_REPAIRED: &str = "hearth_drift_repaired_total";
pub const CLEARED: &str = "hearth_cleared_total";
pub const AI_REQUESTS: &str = "hearth_ai_requests_total";
pub const AI_OUTCOMES: &str = "hearth_ai_outcomes_total";
pub const AI_RUNS: &str = "hearth_ai_runs_total";
pub const AI_OPEN: &str = "hearth_ai_runs_open";
pub const AI_OLDEST: &str = "hearth_ai_oldest_seconds";
pub const AI_RATE: &str = "hearth_ai_sustainable_rate";
pub const AI_WAIT: &str = "hearth_ai_wait_seconds";
pub const AI_DISPATCH: &str = "hearth_ai_dispatch_seconds";
pub const AI_FIRST_TOKEN: &str = "hearth_ai_first_token_seconds";
pub const AI_RUN_SECONDS: &str = "hearth_ai_run_seconds";
pub const AI_RELAY: &str = "hearth_ai_relay_seconds";
pub const AI_TOKENS: &str = "hearth_ai_tokens_total";
pub const AI_SPEED: &str = "hearth_ai_tokens_per_second";
pub const AI_RETRIES: &str = "hearth_ai_retries_total";
pub const AI_FAILURES: &str = "hearth_ai_failures_total";
pub const AI_SUMMARIES: &str = "hearth_ai_summaries_total";
pub const AI_BREAKERS: &str = "hearth_ai_breakers";
pub const ACTION_RESULTS: &str = "hearth_action_results_total";
pub const ACTION_SECONDS: &str = "hearth_action_seconds";
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
pub const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
pub const PROCESS_FDS: &str = "process_open_fds";

/// All of them, in the order of the document.
pub const METRICS: &[Metric] = &[
    gauge(BUILD_INFO, &["version"], "Always 1; the version is the label."),
    gauge(CONNECTIONS, &[], "WebSocket connections that are open."),
    counter(CONNECTION_ATTEMPTS, &[], "WebSocket handshakes that were begun."),
    counter(CONNECTIONS_TOTAL, &["outcome"], "WebSocket handshakes: accepted, or why they were refused."),
    histogram(
        HANDSHAKE_SECONDS,
        &["outcome"],
        SECONDS,
        "Seconds from a handshake's head to the welcome, or to the refusal.",
    ),
    counter(
        CONNECTIONS_CLOSED,
        &["code"],
        "WebSocket connections that ended, by the name of the close code.",
    ),
    counter(FRAMES_IN, &["type"], "Frames of clients, by type."),
    counter(FRAMES_OUT, &["type"], "Frames sent to clients, by type; `other` is what is no text."),
    counter(BYTES_OUT, &[], "Bytes of frames sent to clients."),
    counter(EVENTS_COMMITTED, &["kind"], "Events in the log, by kind."),
    counter(EVENTS_ENCODED, &[], "Events made into a frame, each once for all who hear it."),
    counter(FANOUT, &[], "Subscribers that events were handed to, of their rooms and no others."),
    histogram(COMMIT_COMMANDS, &[], COUNTS, "Commands in one transaction."),
    histogram(COMMIT_SECONDS, &[], SECONDS, "Seconds that one transaction took."),
    gauge(QUEUE_DEPTH, &["queue"], "What waits in a bounded queue."),
    gauge(ROOMS, &[], "Rooms in memory."),
    gauge(SUBSCRIPTIONS, &[], "Subscriptions of sockets to rooms."),
    gauge(REGISTRY, &["registry"], "Entries of what is kept for sockets; none when nobody is here."),
    counter(SIGNALS_DROPPED, &[], "Signals not sent to clients that read too slowly."),
    counter(RESYNCS, &[], "Subscriptions that ended in room.resync."),
    counter(SLOW_CONSUMERS, &[], "Sockets closed because their client read nothing."),
    counter(ACTOR_PANICS, &["actor"], "Failures of actors that began anew after them."),
    counter(REJECTIONS, &["code"], "Refused commands and requests, by error code."),
    counter(
        ERRORS,
        &["class"],
        "Errors by whose they are: of those we asked, ours, of those who asked, of too much.",
    ),
    gauge(LAST_ERROR, &["class"], "When the last error of a class was, in seconds since 1970; 0 is never."),
    counter(HTTP_REQUESTS, &["route", "method", "status"], "HTTP requests that were answered."),
    histogram(HTTP_SECONDS, &["route", "method"], SECONDS, "Seconds from a request's head to its answer."),
    counter(PASSWORD_CHECKS, &[], "Passwords that were checked, also for addresses nobody has."),
    gauge(POLLS_WAITING, &[], "Long polls that wait for events."),
    gauge(LIMIT_KEYS, &["limit"], "Senders that a rate limit remembers."),
    counter(LIMITED, &["limit"], "What a rate limit refused."),
    gauge(LOAD_LEVEL, &[], "0 normal, 1 signals are shed, 2 new sockets are refused, 3 nothing is written."),
    counter(LOAD_CHANGES, &["level"], "Changes of the level of load, by the new one."),
    gauge(OUTBOX_WAITING, &[], "Deliveries that wait in the outbox."),
    gauge(OUTBOX_DEAD, &[], "Dead letters: deliveries that were given up."),
    counter(
        DELIVERIES,
        &["outcome"],
        "Attempts to deliver: done, retried or dead; and rows that were malformed.",
    ),
    counter(DRIFT, &["kind"], "Derived values that a check found wrong, by kind."),
    counter(DRIFT_REPAIRED, &["kind"], "Derived values that were derived anew, by kind."),
    counter(CLEARED, &["kind"], "Rows that were over and were cleared away, by table."),
    counter(AI_REQUESTS, &[], "Answers of assistants that were asked for and let in."),
    counter(
        AI_OUTCOMES,
        &["outcome"],
        "Answers that ended: completed, failed, timed out, cancelled or interrupted; those asked for less these are open.",
    ),
    counter(AI_RUNS, &["state", "reason"], "Answers that were worked at here and ended, by the reason."),
    gauge(AI_OPEN, &["state"], "Answers of assistants that wait and that are made."),
    gauge(AI_OLDEST, &[], "Seconds that the oldest answer has waited to be begun."),
    gauge(AI_RATE, &[], "Answers a second that can be kept up: workers by the mean duration of late."),
    histogram(AI_WAIT, &[], SECONDS, "Seconds from asking to being taken by a worker."),
    histogram(AI_DISPATCH, &[], SECONDS, "Seconds from being taken to the request to the engine: ours."),
    histogram(AI_FIRST_TOKEN, &[], LONG, "Seconds from being taken to the first piece: the engine's."),
    histogram(AI_RUN_SECONDS, &[], LONG, "Seconds from being taken to the end."),
    histogram(
        AI_RELAY,
        &[],
        SECONDS,
        "Seconds from a piece's arrival to its room: ours, with ai.coalesce_ms.",
    ),
    counter(AI_TOKENS, &["kind"], "Tokens that were used."),
    histogram(AI_SPEED, &[], COUNTS, "Tokens a second of an answer."),
    counter(AI_RETRIES, &["reason"], "Requests to engines that were repeated, and runs that were put back."),
    counter(AI_FAILURES, &["reason"], "Requests to engines that failed."),
    counter(
        AI_SUMMARIES,
        &["outcome"],
        "Rooms that were to be summed up by themselves: begun, known, rests, over_budget, refused.",
    ),
    gauge(AI_BREAKERS, &["state"], "Engines by the state of their breaker."),
    counter(ACTION_RESULTS, &["outcome"], "Action requests that ended, and results that changed nothing."),
    histogram(ACTION_SECONDS, &[], LONG, "Seconds from an action request to its result."),
    counter(PROCESS_CPU, &[], "Processor seconds spent, by user and system together."),
    gauge(PROCESS_MEMORY, &[], "Bytes of memory that are resident."),
    gauge(PROCESS_FDS, &[], "File descriptors that are open."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_say_their_kind() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        }
    }

    /// METRICS.md has a line for each metric, in this order, and no other.
    ///
    /// Proves OBS-06.
    #[test]
    fn the_document_lists_them_all() {
        let line = |metric: &Metric| {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
            let Metric { name, help, .. } = metric;
            format!("| `{name}` | {} | {} | {labels} | {help} |", metric.kind_name(), metric.unit())
        };
        let wanted: Vec<String> = METRICS.iter().map(line).collect();
        let document = include_str!("../../METRICS.md");
        let found: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(found, wanted, "METRICS.md has to say:\n{}", wanted.join("\n"));
    }

    /// No label can hold an id: there is none whose name says that it does.
    #[test]
    fn labels_are_of_closed_sets() {
        let closed = [
            "version", "outcome", "code", "type", "kind", "queue", "registry", "actor", "class", "route",
            "method", "status", "limit", "level", "state", "reason",
        ];
        for metric in METRICS {
            for label in metric.labels {
                assert!(closed.contains(label), "{}: {label}", metric.name);
            }
        }
    }
}
