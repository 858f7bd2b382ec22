//! The REST door: one client is one identity, with a cookie jar of its own or a bot's key.

mod error;
mod model;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::cookie::{CookieStore, Jar};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

pub use error::ClientError;
pub use model::{Account, Bot, Feed, Message, MessagePage, Posted, Room, RoomList, SetUp, User, Visible};
pub use pages::RoomLog;

use crate::confidential;
use crate::wire::Credentials;

/// Longer than the longest long poll (25 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// Shorter than the server keeps a connection that nobody uses (15 s): a request isn't sent into its end.
const IDLE: Duration = Duration::from_secs(10);

/// A REST client with one identity. Clones share the identity and the connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    jar: Arc<Jar>,
    bearer: Option<String>,
}

impl Client {
    /// A client nobody knows yet. `base` is `http://host:port`.
    pub fn new(base: &str) -> Result<Client, ClientError> {
        Client::build(base, None)
    }

    /// A bot.
    pub fn bot(base: &str, key: &str) -> Result<Client, ClientError> {
        Client::build(base, Some(key.to_owned()))
    }

    fn build(base: &str, bearer: Option<String>) -> Result<Client, ClientError> {
        let base = Url::parse(base).map_err(|e| ClientError::Shape(format!("{base} is no address: {e}")))?;
        let jar = Arc::new(Jar::default());
        let http = reqwest::Client::builder()
            .cookie_provider(Arc::clone(&jar))
            .pool_idle_timeout(IDLE)
            .connect_timeout(Duration::from_secs(5))
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()?;
        Ok(Client { http, base, jar, bearer })
    }

    /// The address this client was made for, without a trailing slash.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// What the WebSocket has to show to be the same person.
    pub fn credentials(&self) -> Credentials {
        if let Some(key) = &self.bearer {
            return Credentials::Bearer(key.clone());
        }
        match self.jar.cookies(&self.base).and_then(|header| header.to_str().ok().map(str::to_owned)) {
            Some(cookie) => Credentials::Cookie(cookie),
            None => Credentials::Anonymous,
        }
    }

    /// Any call under `/api/v1`: the status and the parsed body. A status of 400 and more is `Refused`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<(u16, T), ClientError> {
        self.call_on(method, path, query, body, None).await
    }

    /// The same, with the version it is about as `If-Match`.
    pub async fn call_on<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
        version: Option<u64>,
    ) -> Result<(u16, T), ClientError> {
        let (status, bytes) = self.answer(method, path, query, body, version).await?;
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        let parsed = serde_json::from_slice(text)
            .map_err(|e| ClientError::Shape(format!("{path} answered {status} with another shape: {e}")))?;
        Ok((status, parsed))
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
        version: Option<u64>,
    ) -> Result<(u16, Bytes), ClientError> {
        let mut url = self.base.clone();
        url.set_path(&format!("/api/v1{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(key) = &self.bearer {
            request = request.bearer_auth(key);
        }
        if let Some(version) = version {
            request = request.header("If-Match", version.to_string());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        self.note_confidential(body, &bytes);
        if status >= 400 {
            return Err(ClientError::refused(status, &bytes));
        }
        Ok((status, bytes))
    }

    /// What went over the wire that should be in no log.
    fn note_confidential(&self, asked: Option<&Value>, answered: &[u8]) {
        if !confidential::is_listening() {
            return;
        }
        let base = self.base();
        asked.into_iter().for_each(|asked| confidential::overhear(base, asked.to_string().as_bytes()));
        confidential::overhear(base, answered);
        match self.credentials() {
            Credentials::Bearer(key) => confidential::overhear_key(base, &key),
            Credentials::Cookie(cookie) => confidential::overhear_cookie(base, &cookie),
            Credentials::Anonymous => {}
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        Ok(self.call(Method::GET, path, query, None).await?.1)
    }

    /// A `GET`, unparsed.
    pub async fn bytes(&self, path: &str, query: &[(&str, String)]) -> Result<Bytes, ClientError> {
        Ok(self.answer(Method::GET, path, query, None, None).await?.1)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<T, ClientError> {
        Ok(self.call(method, path, &[], Some(&body)).await?.1)
    }

    /// Does the server wait for its first run?
    pub async fn setup_needed(&self) -> Result<bool, ClientError> {
        let answer: Value = self.get("/setup", &[]).await?;
        Ok(answer.get("needed").and_then(Value::as_bool).unwrap_or(false))
    }

    /// First run; this client is the first admin afterwards.
    pub async fn setup(
        &self,
        account: &str,
        name: &str,
        email: &str,
        password: &str,
    ) -> Result<SetUp, ClientError> {
        let body = json!({"account_name": account, "name": name, "email": email, "password": password});
        self.send(Method::POST, "/setup", body).await
    }

    /// Signs up by invite code; this client is the new user afterwards.
    pub async fn join(
        &self,
        code: &str,
        name: &str,
        email: &str,
        password: &str,
    ) -> Result<User, ClientError> {
        let body = json!({"name": name, "email": email, "password": password});
        let answer: model::OfUser = self.send(Method::POST, &format!("/join/{code}"), body).await?;
        Ok(answer.user)
    }

    pub async fn sign_in(&self, email: &str, password: &str) -> Result<User, ClientError> {
        let body = json!({"email": email, "password": password});
        let answer: model::OfUser = self.send(Method::POST, "/sessions", body).await?;
        Ok(answer.user)
    }

    pub async fn account(&self) -> Result<Account, ClientError> {
        self.get("/account", &[]).await
    }

    pub async fn me(&self) -> Result<User, ClientError> {
        self.get("/me", &[]).await
    }

    /// `kind` is `open`, `closed` or `direct`; `members` are user ids.
    pub async fn create_room(&self, kind: &str, name: &str, members: &[u64]) -> Result<Room, ClientError> {
        let mut body = json!({"kind": kind, "name": name});
        if let (false, Some(body)) = (members.is_empty(), body.as_object_mut()) {
            body.insert("members".to_owned(), json!(members));
        }
        self.send(Method::POST, "/rooms", body).await
    }

    pub async fn room(&self, room_id: u64) -> Result<Room, ClientError> {
        self.get(&format!("/rooms/{room_id}"), &[]).await
    }

    /// Posts, or repeats a post: `duplicate` tells which it was.
    pub async fn post_message(&self, room_id: u64, id: Uuid, body: &str) -> Result<Posted, ClientError> {
        let body = json!({"body": body, "client_message_id": id});
        self.send(Method::POST, &format!("/rooms/{room_id}/messages"), body).await
    }

    /// Everybody and what REST says of their presence.
    pub async fn presence(&self) -> Result<Vec<(u64, String)>, ClientError> {
        let users = self.users().await?;
        Ok(users.into_iter().map(|user| (user.id, user.presence)).collect())
    }

    /// Messages that hold these words, of rooms this client may read.
    pub async fn search(&self, words: &str) -> Result<Vec<Message>, ClientError> {
        let query = [("q", words.to_owned()), ("limit", "50".to_owned())];
        let found: model::Found = self.get("/search", &query).await?;
        Ok(found.messages)
    }

    pub async fn create_bot(&self, name: &str) -> Result<Bot, ClientError> {
        self.send(Method::POST, "/bots", json!({"name": name})).await
    }

    /// One long poll of everything this client may see, after the event `after`.
    pub async fn feed(&self, after: u64, wait: Duration, epoch: Option<&str>) -> Result<Feed, ClientError> {
        let mut query = vec![
            ("after", after.to_string()),
            ("limit", "500".to_owned()),
            ("wait", wait.as_secs().to_string()),
        ];
        if let Some(epoch) = epoch {
            query.push(("epoch", epoch.to_owned()));
        }
        self.get("/events", &query).await
    }
}
