//! One delivery: the request, what its answer means, and when to try again.

use crate::actors::bus::Bus;
use crate::config::{Config, Outbox};
use crate::domain::{Command, Principal, RejectionCode, RoomKind, Timestamp};
use crate::protocol::{TraceId, webhook};
use crate::storage::{Leased, Settled, Store, Webhook};
use crate::telemetry::metrics;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use std::sync::Arc;
use std::time::Duration;

/// Between two tries to note what became of a delivery.
const SETTLE_AGAIN: Duration = Duration::from_millis(200);

/// Carries out deliveries; shared by those under way.
pub(super) struct Carrier {
    bus: Bus,
    store: Store,
    config: Arc<Config>,
    http: Option<Client>,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    /// It was taken; the text, if any, becomes a message.
    Taken(Option<Vec<u8>>),
    /// It may work later, not before the time asked for.
    Later { error: String, after: Option<Duration> },
    /// It never will.
    Never(String),
}

impl Carrier {
    pub(super) fn new(bus: Bus, store: Store, config: Arc<Config>) -> Self {
        let http = client(&config.outbox);
        Self { bus, store, config, http }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Delivers what was leased, and says in the outbox what became of it.
    pub(super) async fn deliver(&self, leased: Leased) {
        let settled = if leased.attempts > i64::from(self.config.outbox.attempts) {
            // Each of them ended with the process that made it.
            Settled::Dead { at: now(), error: "no attempt came to an end".to_owned() }
        } else {
            self.told(&leased).await
        };
        let outcome = match &settled {
            Settled::Done => "done",
            Settled::Again { .. } | Settled::Answered { .. } => "retried",
            Settled::Dead { .. } => "dead",
        };
        metrics::delivery(outcome);
        let error = match &settled {
            Settled::Done => None,
            Settled::Again { error, .. } | Settled::Answered { error, .. } | Settled::Dead { error, .. } => {
                Some(error.as_str())
            }
        };
        let (event, bot, attempts) = (leased.event, leased.bot, leased.attempts);
        tracing::debug!(event.id = %event, user.id = %bot, attempts, outcome, error, "webhook");
        while let Err(error) = self.store.settle_outbox(&leased, settled.clone()).await {
            tracing::warn!(%error, event.id = %event, user.id = %bot, "a delivery can't be settled");
            // A store that is busy is asked again as long as the row is ours. After that it comes again, and the receiver
            // knows it by its event id.
            if !error.is_transient() || now() >= leased.lease {
                break;
            }
            tokio::time::sleep(SETTLE_AGAIN).await;
        }
    }

    async fn told(&self, leased: &Leased) -> Settled {
        match self.store.webhook(leased.event, leased.bot).await {
            // Deleted meanwhile, or nobody wants it any more.
            Ok(None) => Settled::Done,
            Ok(Some(webhook)) => match &leased.answer {
                Some(answer) => self.reply(leased, &webhook, answer.as_bytes()).await,
                None => self.attempt(leased, &webhook).await,
            },
            Err(error) => self.later(leased, error.to_string(), None),
        }
    }

    async fn attempt(&self, leased: &Leased, webhook: &Webhook) -> Settled {
        let limit = self.config.outbox.timeout;
        let attempt = match &self.http {
            Some(http) => tokio::time::timeout(limit, self.send(http, leased, webhook)).await,
            None => Ok(Attempt::Later { error: "there is no HTTP client".to_owned(), after: None }),
        };
        match attempt.unwrap_or_else(|_elapsed| Attempt::Later { error: "timed out".to_owned(), after: None })
        {
            Attempt::Taken(None) => Settled::Done,
            Attempt::Taken(Some(text)) => self.reply(leased, webhook, &text).await,
            Attempt::Later { error, after } => self.later(leased, error, after),
            Attempt::Never(error) => Settled::Dead { at: now(), error },
        }
    }

    async fn send(&self, http: &Client, leased: &Leased, webhook: &Webhook) -> Attempt {
        let room_name = webhook.room_name.as_deref().filter(|_| webhook.kind != RoomKind::Direct);
        let body = webhook::request(
            &webhook.bot,
            &webhook.author,
            (webhook.room, room_name),
            webhook.message,
            &webhook.body,
        );
        let request = http
            .post(&webhook.url)
            .header(CONTENT_TYPE, "application/json")
            .header(webhook::EVENT_ID, leased.event.get())
            .header(webhook::DELIVERY, leased.id)
            .body(body);
        match request.send().await {
            Ok(response) => self.read(response).await,
            Err(error) if error.is_builder() => Attempt::Never("the address is not valid".to_owned()),
            Err(error) => Attempt::Later { error: said(&error).to_owned(), after: None },
        }
    }

    async fn read(&self, mut response: Response) -> Attempt {
        let status = response.status();
        if let Some(refusal) = judge(status, response.headers(), Utc::now()) {
            return refusal;
        }
        if status != StatusCode::OK || !is_plain(response.headers()) {
            return Attempt::Taken(None);
        }
        let mut text = Vec::new();
        let most = self.config.outbox.reply_bytes;
        while text.len() < most {
            match response.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Attempt::Later { error: said(&error).to_owned(), after: None },
            }
        }
        text.truncate(most);
        Attempt::Taken(Some(text))
    }

    /// Posts the answer as the bot. Its id comes of the event, so an answer to a repeated delivery is the first one.
    async fn reply(&self, leased: &Leased, webhook: &Webhook, text: &[u8]) -> Settled {
        let Some(body) = webhook::reply(text) else { return Settled::Done };
        let client_message_id = webhook::reply_id(leased.event, leased.bot);
        let command = Command::PostMessage { room: webhook.room, client_message_id, body, settings: None };
        match self.bus.submit(Principal::of_system(webhook.bot.clone()), command, TraceId::random()).await {
            Ok(_) => Settled::Done,
            // The first answer stands.
            Err(rejection) if rejection.code == RejectionCode::IdempotencyConflict => Settled::Done,
            Err(rejection) if rejection.code.retryable() => {
                let error = format!("the answer can't be posted yet: {}", rejection.code.as_str());
                self.keep(leased, text, error, rejection.retry_after)
            }
            Err(rejection) => {
                let error = format!("the answer was refused: {}", rejection.code.as_str());
                Settled::Dead { at: now(), error }
            }
        }
    }

    /// Keeps an answer until it can be posted. It has attempts of its own, and the receiver isn't asked again.
    fn keep(&self, leased: &Leased, text: &[u8], error: String, after: Option<Duration>) -> Settled {
        if leased.answer.is_some() {
            return self.later(leased, error, after);
        }
        let now = now();
        let first = Leased { attempts: 1, ..leased.clone() };
        let answer = String::from_utf8_lossy(text).replace('\0', "");
        match next_attempt(&self.config.outbox, &first, now, after, rand::random()) {
            Some(at) => Settled::Answered { at, answer, error },
            None => Settled::Dead { at: now, error },
        }
    }

    fn later(&self, leased: &Leased, error: String, after: Option<Duration>) -> Settled {
        let now = now();
        match next_attempt(&self.config.outbox, leased, now, after, rand::random()) {
            Some(at) => Settled::Again { at, error },
            None => Settled::Dead { at: now, error },
        }
    }
}

/// When to try again, or that it has been enough. `chance` is between 0 and 1: full jitter, so that receivers that come back
/// aren't met by all at once.
fn next_attempt(
    limits: &Outbox,
    leased: &Leased,
    now: Timestamp,
    after: Option<Duration>,
    chance: f64,
) -> Option<Timestamp> {
    let attempts = u32::try_from(leased.attempts).unwrap_or(u32::MAX);
    if attempts >= limits.attempts {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(30);
    let most = limits.backoff.saturating_mul(1 << doublings).min(limits.backoff_max);
    let wait = most.mul_f64(chance.clamp(0.0, 1.0)).max(after.unwrap_or_default()).min(limits.backoff_max);
    let at = now.after(wait);
    (at <= leased.created_at.after(limits.age)).then_some(at)
}

/// What a status means; none when it was taken.
fn judge(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Attempt> {
    if status.is_success() {
        return None;
    }
    let error = format!("status {}", status.as_u16());
    Some(if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Attempt::Later { error, after: retry_after(headers, now) }
    } else {
        Attempt::Never(error)
    })
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    (at.to_utc() - now).to_std().ok()
}

fn is_plain(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/plain")
}

/// What went wrong, without the address: it may carry a secret.
fn said(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the exchange broke off"
    }
}

/// A client that follows nobody elsewhere. Without certificates of authorities it still speaks plain HTTP.
fn client(limits: &Outbox) -> Option<Client> {
    let builder = || {
        Client::builder()
            .connect_timeout(limits.connect_timeout)
            .timeout(limits.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(1)
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
    };
    let built = builder().build().or_else(|error| {
        tracing::warn!(%error, "no certificates of authorities: webhooks over https will fail");
        builder().tls_certs_only([]).build()
    });
    built.inspect_err(|error| tracing::error!(%error, "there is no HTTP client: no webhook will work")).ok()
}

fn now() -> Timestamp {
    Utc::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, UserId};
    use proptest::prelude::*;

    fn leased(attempts: i64) -> Leased {
        Leased {
            id: 1,
            event: EventId::new(1),
            bot: UserId::new(1),
            attempts,
            created_at: Timestamp::from_millis(0),
            lease: Timestamp::from_millis(0),
            answer: None,
        }
    }

    proptest! {
        #[test]
        fn waiting_grows_is_bounded_and_ends(attempts in 1i64..100, chance in 0f64..1.0, asked in 0u64..10_000) {
            let limits = Outbox::default();
            let after = Some(Duration::from_secs(asked));
            let next = next_attempt(&limits, &leased(attempts), now_at(0), after, chance);
            prop_assert_eq!(next.is_none(), attempts >= i64::from(limits.attempts));
            if let Some(at) = next {
                let waited = u64::try_from(at.as_millis()).expect("later");
                prop_assert!(waited <= 3_600_000);
                prop_assert!(waited >= (asked * 1000).min(3_600_000));
                let most = 2_000u64 << (attempts - 1);
                prop_assert!(waited <= most.max(asked * 1000));
            }
            let old = next_attempt(&limits, &leased(1), now_at(86_400_001), None, chance);
            prop_assert_eq!(old, None, "too old");
        }
    }

    fn now_at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_status_says_whether_to_come_again() {
        let now = DateTime::parse_from_rfc2822("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date").to_utc();
        let judged = |status: u16, header: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, header.parse().expect("a header"));
            judge(StatusCode::from_u16(status).expect("a status"), &headers, now)
        };
        for fine in [200, 201, 204, 299] {
            assert_eq!(judged(fine, ""), None);
        }
        for (status, header, seconds) in [
            (500, "", None),
            (503, "7", Some(7)),
            (429, "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            (502, "Sun, 06 Nov 1994 08:40:37 GMT", None),
        ] {
            let error = format!("status {status}");
            let after = seconds.map(Duration::from_secs);
            assert_eq!(judged(status, header), Some(Attempt::Later { error, after }), "{header}");
        }
        for never in [301, 302, 400, 401, 404, 410] {
            assert_eq!(judged(never, "7"), Some(Attempt::Never(format!("status {never}"))));
        }
    }
}
