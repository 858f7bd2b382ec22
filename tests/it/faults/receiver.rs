//! Somebody else's server that takes webhooks, and answers as the test says.

use crate::harness::PATIENCE;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

/// What it does with one request.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Answers with this status, header lines and body.
    Answers(u16, &'static str, String),
    /// Takes the request and never says anything.
    IsSilent,
    /// Answers with a text that becomes a message, when it is told to.
    SaysWhen(Arc<Notify>, String),
    /// Takes the request and hangs up.
    HangsUp,
}

impl Deed {
    /// A text that becomes a message.
    pub(super) fn says(text: &str) -> Self {
        Self::Answers(200, "content-type: text/plain; charset=utf-8\r\n", text.to_owned())
    }

    /// A status and nothing else.
    pub(super) fn status(status: u16) -> Self {
        Self::Answers(status, "", String::new())
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) json: Value,
}

impl Told {
    /// What makes a repetition known.
    pub(super) fn event_id(&self) -> u64 {
        self.headers["x-hearth-event-id"].parse().expect("an id")
    }

    pub(super) fn plain(&self) -> &str {
        self.json["message"]["body"]["plain"].as_str().expect("text")
    }
}

/// The server. What it is to do comes from a list; after its end it answers 204.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Told>,
    _listening: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Listens; `wrap` may put TLS around each connection.
    pub(super) async fn behind<F, W, S>(deeds: impl IntoIterator<Item = Deed>, wrap: F) -> Self
    where
        F: Fn(tokio::net::TcpStream) -> W + Send + Sync + 'static,
        W: Future<Output = std::io::Result<S>> + Send,
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let todo: Arc<Mutex<VecDeque<Deed>>> = Arc::new(Mutex::new(deeds.into_iter().collect()));
        let (sender, requests) = mpsc::unbounded_channel();
        let wrap = Arc::new(wrap);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, todo, wrap) = (sender.clone(), Arc::clone(&todo), Arc::clone(&wrap));
                tokio::spawn(async move {
                    let Ok(mut stream) = wrap(stream).await else { return };
                    let Some(told) = read(&mut stream).await else { return };
                    let deed = todo.lock().expect("not poisoned").pop_front();
                    drop(sender.send(told));
                    let deed = match deed.unwrap_or(Deed::status(204)) {
                        Deed::SaysWhen(told_to, text) => {
                            told_to.notified().await;
                            Deed::says(&text)
                        }
                        deed => deed,
                    };
                    match deed {
                        Deed::Answers(status, headers, body) => {
                            let length = body.len();
                            let text = format!(
                                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
                            );
                            drop(stream.write_all(text.as_bytes()).await);
                            drop(stream.shutdown().await);
                        }
                        Deed::IsSilent => std::future::pending().await,
                        Deed::HangsUp | Deed::SaysWhen(..) => {}
                    }
                });
            }
        });
        Self { address, requests, _listening: listening }
    }

    pub(super) async fn that(deeds: impl IntoIterator<Item = Deed>) -> Self {
        Self::behind(deeds, |stream| async { Ok(stream) }).await
    }

    /// Its address, with a secret in it.
    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?token=s3cret", self.address)
    }

    /// The next request.
    pub(super) async fn is_told(&mut self) -> Told {
        let told = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        told.expect("somebody calls in time").expect("it listens")
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Told> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let headers: HashMap<String, String> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers["content-length"].parse().expect("a length");
        if bytes.len() >= end + 4 + length {
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            let json = serde_json::from_slice(&bytes[end + 4..]).expect("JSON");
            return Some(Told { path, headers, json });
        }
    }
}
