//! The WebSocket door: one socket, one owner; answers heartbeats, matches replies to requests, keeps the rest.

mod error;
mod frame;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;

pub use error::SocketError;
pub use frame::{Frame, Recovery, Subscribed, Welcome, WelcomeRoom};

use crate::wire::{Ack, Credentials};

/// The only subprotocol.
pub const SUBPROTOCOL: &str = "hearth.v1.json";

/// How long a handshake or a reply may take before the socket counts as dead.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connected, welcomed socket. Dropping it says no goodbye.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    welcome: Welcome,
    requests: u64,
    /// Frames that arrived while a reply was waited for, in order.
    waiting: VecDeque<Frame>,
}

/// A room to subscribe to, and the last seq one has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub room_id: u64,
    pub after: Option<u64>,
}

impl Socket {
    /// Connects to `base` (`http://host:port`) and waits for the welcome.
    pub async fn connect(base: &str, credentials: &Credentials) -> Result<Socket, SocketError> {
        match tokio::time::timeout(PATIENCE, Socket::handshake(base, credentials)).await {
            Ok(result) => result,
            Err(_) => Err(SocketError::Silent("the handshake")),
        }
    }

    /// The same with a receive buffer of the kernel's smallest size: what isn't read is soon felt by the server.
    pub async fn connect_narrow(base: &str, credentials: &Credentials) -> Result<Socket, SocketError> {
        match tokio::time::timeout(PATIENCE, Socket::shake_hands(base, credentials, Some(4_096))).await {
            Ok(result) => result,
            Err(_) => Err(SocketError::Silent("the handshake")),
        }
    }

    async fn handshake(base: &str, credentials: &Credentials) -> Result<Socket, SocketError> {
        Socket::shake_hands(base, credentials, None).await
    }

    async fn shake_hands(
        base: &str,
        credentials: &Credentials,
        receive_buffer: Option<u32>,
    ) -> Result<Socket, SocketError> {
        let authority = authority(base)?;
        let mut request = format!("ws://{authority}/ws").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        match credentials {
            Credentials::Anonymous => {}
            Credentials::Cookie(cookie) => drop(headers.insert("Cookie", header(cookie)?)),
            Credentials::Bearer(key) => {
                drop(headers.insert("Authorization", header(&format!("Bearer {key}"))?))
            }
        }
        let tcp = match receive_buffer {
            None => TcpStream::connect(authority).await?,
            Some(bytes) => {
                let mut addresses = tokio::net::lookup_host(authority).await?;
                let address = addresses.find(std::net::SocketAddr::is_ipv4);
                let address = address.ok_or(SocketError::Lost)?;
                let socket = TcpSocket::new_v4()?;
                socket.set_recv_buffer_size(bytes)?;
                socket.connect(address).await?
            }
        };
        tcp.set_nodelay(true)?;
        let (stream, _) = client_async(request, tcp).await?;
        let mut socket =
            Socket { stream, welcome: Welcome::default(), requests: 0, waiting: VecDeque::new() };
        match socket.read().await? {
            Frame::Welcome(welcome) => socket.welcome = *welcome,
            other => return Err(SocketError::Shape(format!("{other:?} came before the welcome"))),
        }
        Ok(socket)
    }

    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a command without waiting; the answer carries the returned request id.
    pub async fn send(&mut self, kind: &str, data: &Value) -> Result<String, SocketError> {
        self.requests += 1;
        let request_id = format!("r{}", self.requests);
        self.send_text(json!({"type": kind, "request_id": request_id, "data": data}).to_string()).await?;
        Ok(request_id)
    }

    /// Sends any text as it is, for clients that are not honest.
    pub async fn send_text(&mut self, text: String) -> Result<(), SocketError> {
        Ok(self.stream.send(Message::text(text)).await?)
    }

    /// Waits for the answer to one request; other frames are kept for `next`.
    pub async fn answer(&mut self, request_id: &str) -> Result<Value, SocketError> {
        let deadline = Instant::now() + PATIENCE;
        let kept = self.waiting.iter().position(|frame| frame.answers(request_id));
        if let Some(frame) = kept.and_then(|at| self.waiting.remove(at)) {
            return frame.into_answer();
        }
        loop {
            let frame = match tokio::time::timeout_at(deadline, self.read()).await {
                Ok(frame) => frame?,
                Err(_) => return Err(SocketError::Silent("a reply")),
            };
            if frame.answers(request_id) {
                return frame.into_answer();
            }
            self.waiting.push_back(frame);
        }
    }

    /// Sends a command and waits for its reply's data.
    pub async fn request(&mut self, kind: &str, data: &Value) -> Result<Value, SocketError> {
        let request_id = self.send(kind, data).await?;
        self.answer(&request_id).await
    }

    /// Sends a post without waiting for its ack.
    pub async fn send_post(&mut self, room_id: u64, id: Uuid, body: &str) -> Result<String, SocketError> {
        self.send("message.post", &json!({"room_id": room_id, "client_message_id": id, "body": body})).await
    }

    /// Waits for the ack of a post.
    pub async fn ack(&mut self, request_id: &str) -> Result<Ack, SocketError> {
        let data = self.answer(request_id).await?;
        serde_json::from_value(data).map_err(|e| SocketError::Shape(format!("no ack: {e}")))
    }

    /// Posts and waits for the ack.
    pub async fn post(&mut self, room_id: u64, id: Uuid, body: &str) -> Result<Ack, SocketError> {
        let request_id = self.send_post(room_id, id, body).await?;
        self.ack(&request_id).await
    }

    /// Subscribes to several rooms in one frame; answers in the order asked.
    pub async fn subscribe(
        &mut self,
        places: &[Place],
        epoch: Option<&str>,
    ) -> Result<Vec<Subscribed>, SocketError> {
        let rooms: Vec<Value> = places
            .iter()
            .map(|place| match place.after {
                Some(after) => json!({"room_id": place.room_id, "after": after}),
                None => json!({"room_id": place.room_id}),
            })
            .collect();
        let mut data = json!({"rooms": rooms});
        if let (Some(epoch), Some(data)) = (epoch, data.as_object_mut()) {
            data.insert("epoch".to_owned(), json!(epoch));
        }
        let reply = self.request("room.subscribe", &data).await?;
        Subscribed::parse_all(reply, places)
    }

    /// The next frame that is not an answer already waited for. Safe to cancel: nothing read is lost.
    pub async fn next(&mut self) -> Result<Frame, SocketError> {
        match self.waiting.pop_front() {
            Some(frame) => Ok(frame),
            None => self.read().await,
        }
    }

    /// Reads one frame. Heartbeats are answered here and not handed out.
    async fn read(&mut self) -> Result<Frame, SocketError> {
        loop {
            let message = self.stream.next().await.ok_or(SocketError::Lost)??;
            match message {
                Message::Text(text) => match Frame::parse(&text)? {
                    Frame::Ping => self.send_text(r#"{"type":"pong"}"#.to_owned()).await?,
                    frame => return Ok(frame),
                },
                Message::Close(Some(close)) => {
                    return Err(SocketError::Closed {
                        code: close.code.into(),
                        reason: close.reason.to_string(),
                    });
                }
                Message::Close(None) => return Err(SocketError::Lost),
                Message::Binary(_) => return Err(SocketError::Shape("a binary message".to_owned())),
                // tungstenite answers protocol pings itself.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Says goodbye with 1000.
    pub async fn close(mut self) -> Result<(), SocketError> {
        Ok(self.stream.close(None).await?)
    }

    /// Cuts the connection the way a pulled cable or a killed process does: with a reset, unread data and all.
    pub fn abort(self) {
        // A refused linger only makes the cut less rude.
        drop(self.stream.get_ref().set_zero_linger());
    }
}

/// `host:port` of a base address.
pub(crate) fn authority(base: &str) -> Result<String, SocketError> {
    let url = Url::parse(base).map_err(|e| SocketError::Shape(format!("{base} is no address: {e}")))?;
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(SocketError::Shape(format!("{base} is not http://host:port"))),
    }
}

fn header(value: &str) -> Result<HeaderValue, SocketError> {
    HeaderValue::from_str(value)
        .map_err(|e| SocketError::Shape(format!("credentials that fit no header: {e}")))
}
