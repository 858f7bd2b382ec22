//! The people, bots and rooms of a run, made over the public doors: an admin, and as many others as are needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use rand::RngExt;

use crate::client::{Client, ClientError};

/// Joining costs the server an argon2 hash; more at once than this only queue.
const JOINS_AT_ONCE: usize = 4;
const PASSWORD: &str = "load-test-password-1";

/// The admin a run signs in as, or makes on a server that waits for its first run.
#[derive(Debug, Clone)]
pub struct Admin {
    pub email: String,
    pub password: String,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { email: "admin@load.example".to_owned(), password: PASSWORD.to_owned() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    #[error("{what}: {source}")]
    Call { what: &'static str, source: ClientError },
    #[error("the account has no join code for this user; is it an admin?")]
    NoJoinCode,
}

/// A server with an admin at hand.
#[derive(Clone)]
pub struct World {
    pub url: String,
    pub admin: Client,
    join_code: String,
    /// Keeps the e-mail addresses of two runs on one server apart.
    tag: String,
    /// Keeps those of two calls apart.
    calls: Arc<AtomicU32>,
}

impl World {
    /// Signs in, or sets up a fresh server first.
    pub async fn open(url: &str, admin: &Admin) -> Result<World, WorldError> {
        let client = Client::new(url).map_err(during("address"))?;
        if client.setup_needed().await.map_err(during("GET /setup"))? {
            let made = client.setup("Load test", "Ada", &admin.email, &admin.password).await;
            made.map_err(during("POST /setup"))?;
        } else {
            client.sign_in(&admin.email, &admin.password).await.map_err(during("signing in as the admin"))?;
        }
        let account = client.account().await.map_err(during("GET /account"))?;
        let join_code = account.join_code.ok_or(WorldError::NoJoinCode)?;
        let tag = format!("{:08x}", rand::rng().random::<u32>());
        Ok(World { url: client.base().to_owned(), admin: client, join_code, tag, calls: Arc::default() })
    }

    /// Makes `count` users by the join code, a few at a time. Their names begin with `group`.
    pub async fn users(&self, group: &str, count: usize) -> Result<Vec<Client>, WorldError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        stream::iter(0..count)
            .map(|index| self.user(format!("{group}{index}"), call))
            .buffered(JOINS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn user(&self, name: String, call: u32) -> Result<Client, WorldError> {
        let client = Client::new(&self.url).map_err(during("address"))?;
        let email = format!("{name}-{}-{call}@load.example", self.tag);
        client.join(&self.join_code, &name, &email, PASSWORD).await.map_err(during("POST /join"))?;
        Ok(client)
    }

    /// Makes open rooms; everyone may read and post in them.
    pub async fn rooms(&self, count: usize) -> Result<Vec<u64>, WorldError> {
        let mut rooms = Vec::new();
        for index in 0..count {
            let name = self.room_name(&index.to_string());
            rooms.push(self.admin.create_room("open", &name, &[]).await.map_err(during("POST /rooms"))?.id);
        }
        Ok(rooms)
    }

    /// A name for a room of this run, by which its clients know it.
    pub fn room_name(&self, rest: &str) -> String {
        format!("{}{rest}", self.room_prefix())
    }

    /// How the names of this run's rooms begin.
    pub fn room_prefix(&self) -> String {
        format!("Load {} ", self.tag)
    }

    pub async fn bot(&self, name: &str) -> Result<Client, WorldError> {
        let bot =
            self.admin.create_bot(&format!("{name} {}", self.tag)).await.map_err(during("POST /bots"))?;
        Client::bot(&self.url, &bot.key).map_err(during("address"))
    }
}

fn during(what: &'static str) -> impl FnOnce(ClientError) -> WorldError {
    move |source| WorldError::Call { what, source }
}
