//! What can be set: read once from defaults, file, environment and flags, then checked against itself.

mod actions;
mod ai;
mod audit;
mod check;
mod cleanup;
mod idempotency;
mod keys;
mod limiting;
mod limits;
mod load;
mod outbox;
mod proxies;
mod public_url;
mod reconcile;
mod secret;
mod secrets;
mod server;
mod storage;
mod units;

pub use actions::Actions;
pub use ai::Ai;
pub(crate) use ai::BREAKER_SAMPLES_MAX;
pub use audit::Audit;
pub use cleanup::Cleanup;
pub use idempotency::Idempotency;
pub use limiting::{Limits, Load};
pub use limits::{Heartbeat, Http, Polling, Presence, Rooms, Shutdown, Socket, Typing};
pub use load::{ConfigError, Sources, load};
pub use outbox::Outbox;
pub use proxies::TrustedProxies;
pub use public_url::PublicUrl;
pub use reconcile::Reconcile;
pub use secret::Secret;
pub use secrets::{Given, Secrets};
pub use server::{Auth, Log, LogFormat, Metrics, Server};
pub use storage::{Storage, Synchronous};

use serde::{Deserialize, Serialize};

/// Everything that can be set, one struct per concern. A key is `<field>.<field>`: `heartbeat.interval_ms` in the file
/// and with `--set`, `HEARTH_HEARTBEAT__INTERVAL_MS` in the environment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    pub server: Server,
    pub secrets: Secrets,
    pub storage: Storage,
    pub auth: Auth,
    pub log: Log,
    pub metrics: Metrics,
    pub http: Http,
    pub socket: Socket,
    pub heartbeat: Heartbeat,
    pub rooms: Rooms,
    pub typing: Typing,
    pub presence: Presence,
    pub polling: Polling,
    pub idempotency: Idempotency,
    pub limits: Limits,
    pub load: Load,
    pub outbox: Outbox,
    pub ai: Ai,
    pub reconcile: Reconcile,
    pub audit: Audit,
    pub cleanup: Cleanup,
    pub actions: Actions,
    pub shutdown: Shutdown,
}

impl Config {
    /// Whether people reach the server over TLS: cookies are `Secure` then.
    pub fn is_tls(&self) -> bool {
        self.server.public_url.as_ref().is_some_and(PublicUrl::is_tls)
    }
}
