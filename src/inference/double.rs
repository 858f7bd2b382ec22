//! An endpoint for tests: a real TCP server that sends the bytes it is told to, whatever it is asked.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What it does once it has read a request. After the last step it closes the connection.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Says nothing more until the client has closed.
    Hang,
    /// Reads no request, answers nothing.
    Deaf,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Head and body of a request.
    Request(String),
    /// The client closed while [`Step::Hang`].
    Closed,
}

pub(super) struct Double {
    pub(super) port: u16,
    seen: UnboundedReceiver<Seen>,
}

impl Double {
    /// Goes through these steps with each connection.
    pub(super) async fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (sender, seen) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, steps.clone(), sender.clone()));
            }
        });
        Self { port, seen }
    }

    /// A whole stream: the head, then each of these in a write of its own, then the end of the connection.
    pub(super) async fn stream(parts: &[&str]) -> Self {
        let parts = parts.iter().map(|part| Step::Send(part.as_bytes().to_vec()));
        Self::start(std::iter::once(head("200 OK", "text/event-stream")).chain(parts).collect()).await
    }

    pub(super) async fn next(&mut self) -> Seen {
        tokio::time::timeout(Duration::from_secs(10), self.seen.recv()).await.expect("in time").expect("open")
    }
}

/// A head that leaves the length to the end of the connection.
pub(super) fn head(status: &str, kind: &str) -> Step {
    Step::Send(format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {kind}\r\n\r\n").into_bytes())
}

async fn serve(mut socket: TcpStream, steps: Vec<Step>, seen: UnboundedSender<Seen>) {
    socket.set_nodelay(true).expect("set");
    if !matches!(steps.first(), Some(Step::Deaf)) {
        let Some(request) = read(&mut socket).await else { return };
        seen.send(Seen::Request(request)).ok();
    }
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            Step::Wait(span) => tokio::time::sleep(span).await,
            Step::Hang | Step::Deaf => {
                let mut rest = [0; 1024];
                while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {}
                seen.send(Seen::Closed).ok();
            }
        }
    }
}

async fn read(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split("\r\n").next().and_then(|length| length.parse().ok()).unwrap_or(0)
        });
        if body.len() >= length {
            return Some(text.into_owned());
        }
    }
}
