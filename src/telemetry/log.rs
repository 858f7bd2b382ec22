//! Log lines: for people at a terminal, or one JSON object each (OBS-02).

use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

/// What reads requests for us quotes them in its finer lines, and there may be a token in what it quotes: those are never written.
const QUOTES: &str = "actix_http=info";

/// Starts logging to standard error. Fails when the level can't be understood or logging was started before.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::builder()
        .parse(&log.level)
        .map_err(|error| format!("log.level ({}) can't be understood: {error}", log.level))?;
    let filter = filter.add_directive(QUOTES.parse().map_err(|error| format!("{QUOTES}: {error}"))?);
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).finish().try_init(),
    };
    started.map_err(|error| error.to_string())
}
