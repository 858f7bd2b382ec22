//! The exchange with one endpoint: a request goes out, pieces of an answer come in, and nothing takes longer than it may.

use super::chat::{Assembly, Piece, Request, Usage, report};
use super::failure::Failure;
use super::retry::retry_after;
use super::sse::Decoder;
use crate::config::{Ai, Secret};
use chrono::Utc;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

/// Bytes of one event of the stream; over it: malformed.
const EVENT_BYTES: usize = 1024 * 1024;
/// Bytes of a whole stream; over it: malformed. An answer of 16 KiB comes in some 4 MiB at worst.
const STREAM_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of an answer that isn't streamed; over it: malformed.
const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a refusal that are read; the rest is not.
const REFUSAL_BYTES: usize = 64 * 1024;
/// Once the model has said why it stopped: how long the usage is waited for.
const TAIL: Duration = Duration::from_secs(2);

/// Where a model is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    key: Secret,
    model: String,
}

/// What is wrong with an endpoint; a sentence for an admin, without any of what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadEndpoint {
    #[error("has to be an address like https://api.example.org/v1")]
    Address,
    #[error("has no place for credentials, queries or fragments: the key is a setting of its own")]
    Extras,
    #[error("has characters that a key can't have")]
    Key,
    #[error("is blank or longer than 200 characters")]
    Model,
}

impl Endpoint {
    /// `base_url` is what `/chat/completions` is put behind. An empty key is none: local engines need none.
    pub fn parse(base_url: &str, key: Secret, model: &str) -> Result<Self, BadEndpoint> {
        let base = base_url.trim().trim_end_matches('/');
        let base = base.strip_suffix("/chat/completions").unwrap_or(base);
        let url = Url::parse(&format!("{base}/chat/completions")).map_err(|_syntax| BadEndpoint::Address)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(BadEndpoint::Address);
        }
        if !url.username().is_empty() || url.password().is_some() || base.contains(['?', '#']) {
            return Err(BadEndpoint::Extras);
        }
        if HeaderValue::from_str(key.reveal()).is_err() || key.reveal().trim() != key.reveal() {
            return Err(BadEndpoint::Key);
        }
        let model = model.trim();
        if model.is_empty() || model.chars().count() > 200 {
            return Err(BadEndpoint::Model);
        }
        Ok(Self { url, key, model: model.to_owned() })
    }

    /// What the model is called there.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Address and model: what has one breaker.
    pub fn identity(&self) -> (String, String) {
        (self.url.as_str().to_owned(), self.model.clone())
    }
}

/// How long each part may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the connection, with its TLS.
    pub connect: Duration,
    /// From the request to the first piece; an answer that isn't streamed has to be whole by then.
    pub first_token: Duration,
    /// Between pieces.
    pub idle: Duration,
    /// From the request to the end.
    pub total: Duration,
}

impl From<&Ai> for Timeouts {
    fn from(ai: &Ai) -> Self {
        Self {
            connect: ai.connect_timeout,
            first_token: ai.first_token_timeout,
            idle: ai.idle_timeout,
            total: ai.total_timeout,
        }
    }
}

/// Makes requests. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    http: Client,
    timeouts: Timeouts,
}

impl Upstream {
    /// A client that follows nobody elsewhere and uses no proxy. Without certificates of authorities it still speaks plain HTTP.
    pub fn new(timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .connect_timeout(timeouts.connect)
                .redirect(redirect::Policy::none())
                .no_proxy()
                .retry(reqwest::retry::never())
                .pool_max_idle_per_host(8)
                .pool_idle_timeout(Duration::from_secs(20))
                .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
        };
        let http = builder().build().or_else(|error| {
            tracing::warn!(%error, "no certificates of authorities: AI endpoints over https will fail");
            builder().tls_certs_only([]).build()
        })?;
        Ok(Self { http, timeouts })
    }

    /// Sends the request and waits for the answer to begin. Dropping this, or the answer, closes the connection at once.
    pub async fn ask(&self, endpoint: &Endpoint, request: &Request) -> Result<Answer, Failure> {
        let started = Instant::now();
        let clock = Clock {
            first_token: started + self.timeouts.first_token,
            total: started + self.timeouts.total,
            idle: self.timeouts.idle,
            last: None,
            finished: None,
        };
        let mut sent = self
            .http
            .post(endpoint.url.clone())
            .header(ACCEPT, "text/event-stream, application/json;q=0.5")
            .header(CONTENT_TYPE, "application/json")
            .body(request.encode(&endpoint.model));
        if !endpoint.key.reveal().is_empty() {
            let bearer = format!("Bearer {}", endpoint.key.reveal());
            let mut bearer = HeaderValue::from_str(&bearer).map_err(|_invalid| Failure::Unauthorized)?;
            bearer.set_sensitive(true);
            sent = sent.header(AUTHORIZATION, bearer);
        }
        let response = clock.within(sent.send()).await?.map_err(|error| {
            // No time but that for connecting is the client's own.
            if error.is_connect() || error.is_timeout() {
                Failure::Connect
            } else if error.is_builder() {
                Failure::Rejected
            } else {
                Failure::Dropped
            }
        })?;
        if !response.status().is_success() {
            return Err(refusal(&clock, response).await);
        }
        if is_event_stream(response.headers()) {
            return Ok(Answer::streamed(clock, response));
        }
        Answer::whole(&clock, response).await
    }
}

/// What the endpoint says when it gives no answer.
async fn refusal(clock: &Clock, response: Response) -> Failure {
    let status = response.status().as_u16();
    let wait = response.headers().get(RETRY_AFTER).and_then(|header| header.to_str().ok());
    let wait = wait.and_then(|text| retry_after(text, Utc::now()));
    let mut body = Vec::new();
    // A body that doesn't come takes nothing from what the status says.
    let _failure = gather(clock, response, REFUSAL_BYTES, &mut body).await;
    Failure::of_status(status, &report(&String::from_utf8_lossy(&body)), wait)
}

/// Reads a body up to `most` bytes, and says whether that was all of it.
async fn gather(
    clock: &Clock,
    mut response: Response,
    most: usize,
    body: &mut Vec<u8>,
) -> Result<bool, Failure> {
    while let Some(chunk) = clock.within(response.chunk()).await?.map_err(|_broken| Failure::Dropped)? {
        if body.len() + chunk.len() > most {
            return Ok(false);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(true)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

/// By when what has to have happened.
#[derive(Debug)]
struct Clock {
    first_token: Instant,
    total: Instant,
    idle: Duration,
    /// When the model last said something.
    last: Option<Instant>,
    /// When it said why it stopped.
    finished: Option<Instant>,
}

impl Clock {
    /// The next deadline, and what it means when it is missed.
    fn deadline(&self) -> (Instant, Failure) {
        let next = match (self.finished, self.last) {
            (Some(at), _) => (at + TAIL.min(self.idle), Failure::IdleTimeout),
            (None, Some(at)) => (at + self.idle, Failure::IdleTimeout),
            (None, None) => (self.first_token, Failure::FirstTokenTimeout),
        };
        if next.0 <= self.total { next } else { (self.total, Failure::TotalTimeout) }
    }

    async fn within<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
        let (at, missed) = self.deadline();
        // A stream that always has something ready would never let the timer have its turn.
        if Instant::now() >= at {
            return Err(missed);
        }
        timeout_at(at, what).await.map_err(|_elapsed| missed)
    }
}

/// An answer that arrives.
#[derive(Debug)]
pub struct Answer {
    clock: Clock,
    /// None when there is nothing more to read; the connection is closed or given back then.
    response: Option<Response>,
    decoder: Decoder,
    read: usize,
    assembly: Assembly,
    ready: VecDeque<Result<Piece, Failure>>,
}

impl Answer {
    fn streamed(clock: Clock, response: Response) -> Self {
        Self {
            clock,
            response: Some(response),
            decoder: Decoder::new(EVENT_BYTES),
            read: 0,
            assembly: Assembly::default(),
            ready: VecDeque::new(),
        }
    }

    /// An engine that doesn't stream gives all at once.
    async fn whole(clock: &Clock, response: Response) -> Result<Self, Failure> {
        let mut body = Vec::new();
        if !gather(clock, response, BODY_BYTES, &mut body).await? {
            return Err(Failure::Malformed);
        }
        let body = String::from_utf8(body).map_err(|_bytes| Failure::Malformed)?;
        let mut assembly = Assembly::default();
        let heard = assembly.hear(&body)?;
        if !heard.is_alive {
            return Err(Failure::Malformed);
        }
        assembly.hear("[DONE]")?;
        let text = Some(heard.text).filter(|text| !text.is_empty()).map(Piece::Text);
        let ready = text.into_iter().chain(assembly.end()?).map(Ok).collect();
        let clock = Clock { last: Some(Instant::now()), ..*clock };
        Ok(Self { clock, response: None, decoder: Decoder::new(0), read: 0, assembly, ready })
    }

    /// The next piece; none after [`Piece::Finished`] or a failure. May be dropped while it waits (in a `select!`) without losing
    /// anything.
    pub async fn next(&mut self) -> Option<Result<Piece, Failure>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            let response = self.response.as_mut()?;
            let over = match self.clock.within(response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.hear(&chunk),
                Ok(Ok(None)) => Ok(true),
                Ok(Err(_broken)) if self.assembly.is_finished() => Ok(true),
                Ok(Err(_broken)) => Err(Failure::Dropped),
                // The answer is whole, only the usage and the end didn't come.
                Err(_late) if self.assembly.is_finished() => Ok(true),
                Err(late) => Err(late),
            };
            match over {
                Ok(false) => continue,
                Ok(true) => match self.assembly.end() {
                    Ok(pieces) => self.ready.extend(pieces.into_iter().map(Ok)),
                    Err(failure) => self.ready.push_back(Err(failure)),
                },
                Err(failure) => self.ready.push_back(Err(failure)),
            }
            self.response = None;
        }
    }

    /// What the endpoint has told of the usage by now: some do all along, so that it is known of an answer that fails, too.
    pub fn usage(&self) -> Option<Usage> {
        self.assembly.usage()
    }

    /// Tokens of what the model thought by now and didn't say, as we count them.
    pub fn thought(&self) -> usize {
        self.assembly.thought()
    }

    /// Takes what arrived, and says whether that was the end.
    fn hear(&mut self, chunk: &[u8]) -> Result<bool, Failure> {
        self.read += chunk.len();
        if self.read > STREAM_BYTES {
            return Err(Failure::Malformed);
        }
        for event in self.decoder.feed(chunk).map_err(|_too_large| Failure::Malformed)? {
            if event.name == "error" {
                return Err(Failure::of_report(&report(&event.data)));
            }
            let heard = self.assembly.hear(&event.data)?;
            if heard.is_alive {
                self.clock.last = Some(Instant::now());
            }
            if !heard.text.is_empty() {
                self.ready.push_back(Ok(Piece::Text(heard.text)));
            }
            if heard.is_over {
                return Ok(true);
            }
        }
        if self.assembly.is_finished() && self.clock.finished.is_none() {
            self.clock.finished = Some(Instant::now());
        }
        Ok(false)
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
