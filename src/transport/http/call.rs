//! What handlers take: a visit by anybody, or a call by somebody known.

use super::State;
use super::around::{About, Asker, Renewal, text};
use super::problem::{Answer, Problem};
use super::query::Query;
use super::route::{self, Access};
use crate::auth::cookie::SessionCookie;
use crate::auth::identity::{self, Credentials, Identity};
use crate::domain::{
    Ack, Action, ActionId, BotKeyId, Command, MessageId, Origin, Person, Rejection, RejectionCode, RoomId,
    RunId, Target, UserId, Via, may,
};
use crate::protocol::TraceId;
use crate::protocol::json::{self, JsonError};
use crate::transport::client_address;
use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::ops::Deref;
use tokio::time::Instant;

/// The most of a `User-Agent` that is kept to tell devices apart, in characters.
const DEVICE_CHARS: usize = 200;

/// A request of anybody.
pub(in crate::transport) struct Visit {
    pub(in crate::transport) state: web::Data<State>,
    pub(super) trace: TraceId,
    request: HttpRequest,
    payload: Payload,
}

/// A request of somebody known, who may ask what its route is for.
pub(super) struct Call {
    visit: Visit,
    pub(super) identity: Identity,
    /// When it was found out who calls.
    pub(super) began: Instant,
}

impl Deref for Call {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.visit
    }
}

impl Visit {
    /// The query string.
    pub(super) fn query(&self) -> Result<Query, Rejection> {
        Query::parse(self.request.query_string())
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        text(self.request.headers(), name)
    }

    /// All headers.
    pub(super) fn headers(&self) -> &header::HeaderMap {
        self.request.headers()
    }

    /// A part of the path, as text.
    pub(super) fn part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// A part of the path, as an id: what is no number is nobody's. Which numbers are ids the rules know (PROJ-05).
    fn id(&self, name: &str) -> Result<i64, Rejection> {
        self.part(name).parse().map_err(|_no_number| Rejection::not_found(name))
    }

    /// The room in the path.
    pub(super) fn room(&self) -> Result<RoomId, Rejection> {
        let room = RoomId::new(self.id("room")?);
        self.request.extensions_mut().insert(About(room));
        Ok(room)
    }

    /// The message in the path.
    pub(super) fn message(&self) -> Result<MessageId, Rejection> {
        Ok(MessageId::new(self.id("message")?))
    }

    /// The run in the path.
    pub(super) fn run(&self) -> Result<RunId, Rejection> {
        Ok(RunId::new(self.id("run")?))
    }

    /// The user in the path.
    pub(super) fn user(&self) -> Result<UserId, Rejection> {
        Ok(UserId::new(self.id("user")?))
    }

    /// The action request in the path.
    pub(super) fn action(&self) -> Result<ActionId, Rejection> {
        self.part("action").parse().map_err(|_no_uuid| Rejection::not_found("action request"))
    }

    /// What was read already, in another shape.
    pub(super) fn shape<T: DeserializeOwned>(&self, value: &serde_json::Value) -> Result<T, Problem> {
        read(value.to_string().as_bytes())
    }

    /// The invitation in the path.
    pub(super) fn invite(&self) -> Result<i64, Rejection> {
        self.id("invite")
    }

    /// The session in the path.
    pub(super) fn session(&self) -> Result<i64, Rejection> {
        self.id("session")
    }

    /// Where the client is, as far as the proxies in front can be believed.
    pub(super) fn address(&self) -> Option<IpAddr> {
        client_address(self.request.peer_addr(), self.request.headers(), &self.state.config)
    }

    /// Where this comes from, before anybody is known.
    pub(super) fn origin(&self) -> Origin {
        Origin { via: Via::Nobody, address: self.address() }
    }

    /// What the sender calls itself, for the list of devices.
    pub(super) fn device(&self) -> String {
        let agent = self.header(&header::USER_AGENT).unwrap_or_default();
        agent.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS).collect()
    }

    /// The body, as JSON of the given shape.
    pub(super) async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        read(&self.bytes().await?)
    }

    /// The same, where it may be missing.
    pub(super) async fn read_if_any<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Problem> {
        let bytes = self.bytes().await?;
        if matches!(bytes.trim_ascii(), b"" | b"null") { Ok(None) } else { read(&bytes).map(Some) }
    }

    async fn bytes(&mut self) -> Result<Bytes, Problem> {
        let http = &self.state.config.http;
        let limit = http.body_bytes;
        let payload = web::Payload::from_request(&self.request, &mut self.payload).await;
        let payload = payload.map_err(|_broken| interrupted())?;
        let arrival = tokio::time::timeout(http.body_timeout, payload.to_bytes_limited(limit)).await;
        match arrival {
            Ok(Ok(Ok(bytes))) => Ok(bytes),
            Ok(Ok(Err(_))) => Err(interrupted()),
            Ok(Err(_)) => Err(Rejection::too_large("body", limit).into()),
            Err(_) => {
                let late = Rejection::new(RejectionCode::InvalidPayload, "the body did not arrive in time");
                Err(Problem::unreadable(late))
            }
        }
    }

    /// How it is asked.
    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    /// The key of a bot in the path.
    pub(super) fn bot_key(&self) -> Result<BotKeyId, Rejection> {
        Ok(BotKeyId::new(self.id("key")?))
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    json::read(bytes, "body").map_err(|error| match error {
        JsonError::Syntax(rejection) => Problem::unreadable(rejection),
        JsonError::Shape(rejection) => rejection.into(),
    })
}

fn interrupted() -> Problem {
    Problem::unreadable(Rejection::new(RejectionCode::InvalidPayload, "the body ended early"))
}

impl Call {
    /// Who calls.
    pub(super) fn me(&self) -> &Person {
        &self.identity.person
    }

    /// Whether the caller may do this besides, before anything is known of its target.
    pub(super) fn may(&self, action: Action) -> bool {
        may(self.me(), action, Target::Nothing).is_ok()
    }

    /// The body, as JSON of the given shape.
    pub(super) async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        self.visit.read().await
    }

    /// The same, where it may be missing.
    pub(super) async fn read_if_any<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Problem> {
        self.visit.read_if_any().await
    }

    /// Refuses whose credentials ended while the body was on the way.
    pub(super) fn must_hold(&self) -> Result<(), Rejection> {
        if self.state.bus.has_ended(&self.identity, self.began) {
            return Err(identity::token_revoked());
        }
        if self.state.bus.may_have_ended(&self.identity, self.began) {
            return Err(Rejection::unavailable());
        }
        Ok(())
    }

    /// Sends a command down the street, if the credentials still hold.
    pub(super) async fn submit(&self, command: Command) -> Result<Ack, Problem> {
        self.must_hold()?;
        self.state.bus.submit(self.identity.principal(), command, self.trace).await.map_err(Problem::counted)
    }
}

impl FromRequest for Visit {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(visit(request, payload))
    }
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visit = visit(request, payload);
        Box::pin(async move {
            let (visit, began) = (visit?, Instant::now());
            let identity = identify(&visit).await?;
            visit.request.extensions_mut().insert(Asker(identity.person.id));
            visit.state.bus.limits().user_request(identity.person.id, Instant::now())?;
            let Some(Access::Allowed(action)) = route::access(&visit.request) else {
                return Err(Rejection::internal().into());
            };
            may(&identity.person, action, Target::Nothing)?;
            Ok(Self { visit, identity, began })
        })
    }
}

fn visit(request: &HttpRequest, payload: &mut Payload) -> Result<Visit, Problem> {
    let state = request.app_data::<web::Data<State>>().cloned();
    let trace = request.extensions().get::<TraceId>().copied();
    match (state, trace) {
        (Some(state), Some(trace)) => {
            Ok(Visit { state, trace, request: request.clone(), payload: payload.take() })
        }
        _ => Err(Rejection::internal().into()),
    }
}

async fn identify(visit: &Visit) -> Result<Identity, Rejection> {
    let headers = visit.request.headers();
    let cookie = SessionCookie::of(&visit.state.config);
    let cookies = text(headers, &header::COOKIE);
    // An Authorization header that is no text is a wrong one, not a missing one.
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let credentials = Credentials::from_headers(cookie, cookies, authorization, &[]);
    let state = &visit.state;
    let (auth, address) = (&state.config.auth, visit.address());
    let identity =
        identity::identify(&state.store, auth, &state.keys, credentials, address, super::now()).await?;
    if identity.renewed {
        if let Credentials::Session(token) = credentials {
            visit.request.extensions_mut().insert(Renewal(cookie.renew(token.reveal())));
        }
        state.bus.rooms().presence().seen(identity.person.id);
    }
    Ok(identity)
}

/// 200 with JSON.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(HttpResponse::Ok().json(body))
}

/// 201 with JSON.
pub(super) fn created(body: &impl Serialize) -> Answer {
    Ok(HttpResponse::Created().json(body))
}

/// 204.
pub(super) fn nothing() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}
