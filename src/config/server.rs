//! Where the server listens, how people sign in, what is logged and who reads the metrics.

use super::proxies::TrustedProxies;
use super::public_url::PublicUrl;
use super::secret::Secret;
use super::units::seconds;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where people reach the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What people type into their browser, when a proxy stands in front.
    pub public_url: Option<PublicUrl>,
    /// The proxies whose `X-Forwarded-For` is believed: addresses and networks (`10.0.0.0/8`, `::1`), in a list or with commas between.
    pub trusted_proxies: TrustedProxies,
    /// Nothing is made up: secrets that are missing stop the start.
    pub production: bool,
    /// Threads that serve sockets and requests; as many as the machine has cores when unset.
    pub workers: Option<usize>,
    /// Connections the kernel holds until a worker takes them (count).
    pub backlog: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: None,
            trusted_proxies: TrustedProxies::default(),
            production: false,
            workers: None,
            backlog: 4096,
        }
    }
}

impl Server {
    /// What to open in a browser, when the server listens on `bound`.
    pub fn url(&self, bound: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.to_string(),
            None if bound.ip().is_unspecified() => format!("http://localhost:{}", bound.port()),
            None => format!("http://{bound}"),
        }
    }
}

/// Sign-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// How long a session lives without being used.
    #[serde(rename = "session_s", with = "seconds")]
    pub session: Duration,
    /// How exactly `last_active_at` is kept; fewer writes when longer.
    #[serde(rename = "touch_s", with = "seconds")]
    pub touch: Duration,
    /// How long a refresh token is good, and the session of an API client lives without being refreshed.
    #[serde(rename = "refresh_token_s", with = "seconds")]
    pub refresh_token: Duration,
    /// How long after its first use a refresh token may be used again, by another tab or after an answer that was lost; after that its
    /// session ends.
    #[serde(rename = "refresh_overlap_s", with = "seconds")]
    pub refresh_overlap: Duration,
    /// How long after its begin a session that an admin's link began may set a password without the old one.
    #[serde(rename = "recovery_s", with = "seconds")]
    pub recovery: Duration,
    /// Sessions of one user (count); over it: the one that wasn't used for longest ends.
    pub sessions_per_user: usize,
    /// How long an access token is good.
    #[serde(rename = "access_token_s", with = "seconds")]
    pub access_token: Duration,
    /// How long a transfer link is good.
    #[serde(rename = "transfer_s", with = "seconds")]
    pub transfer: Duration,
    /// How long what an old signing key signed is accepted after another took its place; at least as long as anything signed is good.
    #[serde(rename = "key_overlap_s", with = "seconds")]
    pub key_overlap: Duration,
    /// Passwords hashed at the same time (count); each takes 19 MiB and a core.
    pub hash_concurrency: usize,
    /// Sign-ins waiting for their turn (count); over it: `overloaded`.
    pub hash_queue: usize,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(30 * 24 * 60 * 60),
            touch: Duration::from_secs(60),
            refresh_token: Duration::from_secs(30 * 24 * 60 * 60),
            refresh_overlap: Duration::from_secs(10),
            recovery: Duration::from_secs(15 * 60),
            sessions_per_user: 100,
            access_token: Duration::from_secs(15 * 60),
            transfer: Duration::from_secs(10 * 60),
            key_overlap: Duration::from_secs(24 * 60 * 60),
            hash_concurrency: 2,
            hash_queue: 64,
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum LogFormat {
    /// For terminals.
    #[default]
    Text,
    /// One object per line, for machines (OBS-02).
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("the log's format is text or json"),
        }
    }
}

/// What is logged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,hearth::actors=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        // What actix says at each start is said better by us.
        Self { level: "info,actix_server=warn".to_owned(), format: LogFormat::Text }
    }
}

/// Who reads `/metrics`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// With a token, `Authorization: Bearer <token>` reads from anywhere; without one, only the machine itself.
    pub token: Option<Secret>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_can_be_opened() {
        let url = |bound: &str| Server::default().url(bound.parse().expect("an address"));
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("0.0.0.0:80"), "http://localhost:80");
        assert_eq!(url("[::1]:80"), "http://[::1]:80");
    }
}
