//! The handshake (RFC 6455 section 4.2): who is it, from where, speaking what. Only then is the socket taken over.

use super::entry::{self, Entry};
use super::reader::Reader;
use crate::actors::Bus;
use crate::actors::Ended;
use crate::actors::connection::{Connection, Opened};
use crate::actors::hub::Board;
use crate::actors::outbox::{Class, Outbox};
use crate::actors::peer::Peer;
use crate::auth::cookie::SessionCookie;
use crate::auth::identity::{self, Credentials, Identity};
use crate::auth::origin::{self, Provenance};
use crate::auth::signing::Keys;
use crate::config::Config;
use crate::domain::{Action, MessageBody, Rejection, Target, Timestamp, may};
use crate::protocol::encode::{self, Flags, Welcome, WelcomeLimits, WelcomeRoom};
use crate::protocol::error::http_status;
use crate::protocol::view::PersonView;
use crate::protocol::{CloseCode, SUBPROTOCOL, TraceId};
use crate::storage::StoreError;
use crate::telemetry::metrics;
use crate::transport::client_address;
use crate::transport::headers::guard;
use crate::transport::http::problem::Problem;
use actix_codec::Framed;
use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_http::{ConnectionType, HttpMessage as _, Request, Response, StatusCode, h1, ws};
use actix_web_actors::ws::HandshakeError;
use chrono::Utc;
use futures_util::SinkExt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The kernel gives a connection up when sent data stays unacknowledged for this long.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Rooms listed in `welcome`.
const WELCOME_ROOMS: usize = 1_000;

/// What upgrades need; one per worker thread.
#[derive(Clone)]
pub struct Upgrade {
    pub bus: Bus,
    pub board: Board,
    pub config: Arc<Config>,
    /// Open access tokens.
    pub keys: Keys,
}

type Stream = Framed<TcpStream, h1::Codec>;

impl Upgrade {
    /// Answers an upgrade request and, when it is welcome, starts its connection.
    pub async fn accept(self, request: Request, mut stream: Stream) -> Result<(), actix_web::Error> {
        let trace = request
            .headers()
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(TraceId::from_traceparent)
            .unwrap_or_else(TraceId::random);
        let began = Instant::now();
        metrics::connection_attempted();
        match self.admit(&request).await {
            Ok((response, identity, entry)) => {
                // Into the buffer only: it goes out with the welcome.
                Pin::new(&mut stream).write(h1::Message::Item((response, BodySize::None)))?;
                self.take_over(stream, identity, entry, trace, began).await;
            }
            Err((status, rejection)) => {
                metrics::connection_refused(rejection.code, began.elapsed());
                tracing::debug!(trace_id = %trace, status = status.as_u16(), %rejection, "handshake refused");
                refuse(&mut stream, status, rejection, trace, self.config.is_tls()).await?;
            }
        }
        Ok(())
    }

    async fn admit(
        &self,
        request: &Request,
    ) -> Result<(Response<()>, Identity, Entry), (StatusCode, Rejection)> {
        let from = client_address(request.peer_addr(), request.headers(), &self.config);
        if self.bus.bans().shut_out(from) {
            return Err(with_status(Rejection::banned()));
        }
        if request.path() != "/ws" {
            return Err(with_status(Rejection::not_found("WebSocket")));
        }
        let headers = request.headers();
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let bad = |field: &'static str, problem: &str| {
            (StatusCode::BAD_REQUEST, Rejection::invalid(field, problem))
        };
        let mut response = ws::handshake(request.head()).map_err(|error: HandshakeError| {
            (StatusCode::BAD_REQUEST, Rejection::invalid("handshake", &error.to_string()))
        })?;
        let protocols = protocols(headers);
        if !protocols.contains(&SUBPROTOCOL) {
            return Err(bad("Sec-WebSocket-Protocol", "offers nothing known; there is hearth.v1.json"));
        }
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL));
        let entry = entry::enter(&self.bus, &self.config, from).await.map_err(with_status)?;
        // What is no text is a wrong one, not a missing one.
        let shown =
            |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
        let authorization = shown(header::AUTHORIZATION);
        let cookie = SessionCookie::of(&self.config);
        let credentials = Credentials::from_headers(cookie, text(header::COOKIE), authorization, &protocols);
        if credentials.rides_on_cookie() {
            let provenance =
                Provenance { sec_fetch_site: None, origin: shown(header::ORIGIN), host: text(header::HOST) };
            origin::same_origin(provenance, self.config.server.public_url.as_ref()).map_err(with_status)?;
        }
        let now = Timestamp::from(Utc::now());
        let store = self.bus.rooms().store();
        let identity = identity::identify(store, &self.config.auth, &self.keys, credentials, from, now)
            .await
            .map_err(with_status)?;
        may(&identity.person, Action::Connect, Target::Nothing).map_err(with_status)?;
        Ok((response.finish().drop_body(), identity, entry))
    }

    async fn take_over(
        self,
        stream: Stream,
        identity: Identity,
        entry: Entry,
        trace: TraceId,
        began: Instant,
    ) {
        let Entry { place, turn } = entry;
        let parts = stream.into_parts();
        let socket = socket2::SockRef::from(&parts.io);
        if let Err(error) =
            socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)))
        {
            tracing::debug!(%error, "socket options can't be set");
        }
        let (read, write) = parts.io.into_split();
        let outbox = Outbox::new(write, &self.config.socket);
        let handshake = parts.write_buf.freeze();
        let limits = &self.config.socket;
        let Ok(permit) = place.of(identity.person.id, limits.per_user) else {
            let code = CloseCode::TooManyConnections;
            metrics::connection_too_many(began.elapsed());
            outbox.push(Class::Control, handshake);
            outbox.close(code, code.name());
            return;
        };
        let id = self.board.borrow_mut().name();
        tracing::debug!(trace_id = %trace, conn.id = %id, user.id = %identity.person.id, "socket opened");
        let peer = Peer::new(id, identity, outbox, &self.config, Instant::now());
        // From here on what ends a session closes this socket, too; what ended it during the handshake is looked up.
        let opened = Opened::new(peer, Rc::clone(&self.board));
        let peer = opened.peer();
        self.board.borrow_mut().push(peer, Class::Control, handshake);
        if self.bus.ended_since(Ended::Unknown, began) {
            peer.expires_at.set(Some(Utc::now().into()));
        }
        if let Some(code) = self.bus.ended_by(&peer.identity, began) {
            peer.outbox.close(code, code.reason());
        } else if self.bus.bans().shut_out(peer.identity.address) {
            peer.outbox.close(CloseCode::Forbidden, CloseCode::Forbidden.reason());
        } else if self.bus.changed_since(&peer.identity.person, began) {
            peer.outbox.close(CloseCode::IdentityChanged, CloseCode::IdentityChanged.reason());
        } else if self.bus.draining() || self.bus.is_limited(&peer.identity, began) {
            // A key that got an end during the handshake: who comes back learns when it is.
            self.board.borrow().send_away(peer, self.config.shutdown.spread);
        }
        let reader = Reader::new(read, parts.read_buf, limits.frame_bytes);
        let welcome = self.welcome(peer).await;
        drop(turn);
        match welcome {
            Ok(welcome) => {
                metrics::connection_welcomed(began.elapsed());
                Connection::start(opened, self.bus, permit, &welcome, reader);
            }
            Err(rejection) => {
                tracing::warn!(trace_id = %trace, %rejection, "no welcome");
                peer.outbox.close(CloseCode::Overloaded, CloseCode::Overloaded.name());
            }
        }
    }

    /// The first frame: who one is, where the log stands, which rooms there are.
    async fn welcome(&self, peer: &Peer) -> Result<String, Rejection> {
        let rooms = self.bus.rooms();
        let person = &peer.identity.person;
        let failed = |error: StoreError| {
            tracing::warn!(conn.id = %peer.id, %error, "welcome can't be read");
            Rejection::unavailable()
        };
        rooms.find_commons().await.map_err(failed)?;
        let head = rooms.store().answered_head().await.map_err(failed)?;
        let views = rooms.store().standing(person, WELCOME_ROOMS + 1).await.map_err(failed)?;
        Ok(encode::welcome(&Welcome {
            connection_id: peer.id.to_string(),
            user: person.into(),
            epoch: head.epoch.0,
            last_id: head.last_id.get(),
            heartbeat_ms: u64::try_from(self.config.heartbeat.interval.as_millis()).unwrap_or(u64::MAX),
            limits: WelcomeLimits {
                frame_bytes: self.config.socket.frame_bytes,
                body_bytes: MessageBody::MAX_BYTES,
                subscriptions: self.config.socket.subscriptions,
            },
            flags: Flags::default(),
            more_rooms: views.len() > WELCOME_ROOMS,
            rooms: views
                .iter()
                .take(WELCOME_ROOMS)
                .map(|view| WelcomeRoom {
                    room_id: view.card.id.get(),
                    kind: view.card.kind.as_str(),
                    name: view.card.name.as_deref(),
                    members: view.card.members.iter().map(PersonView::from).collect(),
                    head: view.head.get(),
                    read: view.read.get(),
                    unread: view.unread,
                })
                .collect(),
        }))
    }
}

/// The subprotocols on offer, over all headers of that name.
fn protocols(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect()
}

fn with_status(rejection: Rejection) -> (StatusCode, Rejection) {
    let status =
        StatusCode::from_u16(http_status(rejection.code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, rejection)
}

/// Answers like the REST API does, and closes.
async fn refuse(
    stream: &mut Stream,
    status: StatusCode,
    rejection: Rejection,
    trace: TraceId,
    is_tls: bool,
) -> Result<(), actix_web::Error> {
    let problem = if status == StatusCode::BAD_REQUEST {
        Problem::unreadable(rejection)
    } else {
        Problem::from(rejection)
    };
    let (mut response, body) = Response::<BoxBody>::from(problem.response(trace)).into_parts();
    response.head_mut().set_connection_type(ConnectionType::Close);
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-trace-id"), value);
    }
    guard(response.headers_mut(), is_tls);
    let body = body.try_into_bytes().unwrap_or_default();
    let size = BodySize::Sized(u64::try_from(body.len()).unwrap_or_default());
    stream.send(h1::Message::Item((response, size))).await?;
    stream.send(h1::Message::Chunk(Some(body))).await?;
    stream.send(h1::Message::Chunk(None)).await?;
    Ok(())
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
