//! A WebSocket client made of bytes: it says what an honest one never would, or nothing at all.

use crate::harness::PATIENCE;
use loadtest::lean::client_text;
use loadtest::wire::Credentials;
use serde_json::Value;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// The text of an upgrade request, without the empty line that ends it.
pub(crate) fn upgrade(url: &str, credentials: &Credentials) -> String {
    let who = match credentials {
        Credentials::Cookie(cookie) => format!("Cookie: {cookie}\r\n"),
        Credentials::Bearer(key) => format!("Authorization: Bearer {key}\r\n"),
        Credentials::Anonymous => String::new(),
    };
    let host = url.trim_start_matches("http://");
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: hearth.v1.json\r\n{who}"
    )
}

/// A plain connection to the server.
pub(crate) async fn dial(url: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Small, so that what a peer doesn't read is the server's to keep and not the kernel's.
    socket.set_recv_buffer_size(16 * 1024).expect("a receive buffer");
    let address = url.trim_start_matches("http://").parse().expect("an address");
    socket.connect(address).await.expect("connects")
}

/// A socket after the upgrade, with what has arrived.
pub(crate) struct Raw {
    pub(crate) tcp: TcpStream,
    arrived: Vec<u8>,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    /// Shakes hands and reads the welcome.
    pub(crate) async fn connect(url: &str, credentials: &Credentials) -> Self {
        let mut raw = Self::shake(url, credentials).await;
        let welcome = raw.frame().await.expect("reads").expect("a welcome");
        assert_eq!(welcome.opcode, 1);
        raw
    }

    /// Shakes hands; the welcome is the first frame.
    pub(crate) async fn shake(url: &str, credentials: &Credentials) -> Self {
        let mut tcp = dial(url).await;
        tcp.write_all(format!("{}\r\n", upgrade(url, credentials)).as_bytes()).await.expect("sent");
        let mut raw = Self { tcp, arrived: Vec::new() };
        let end = loop {
            if let Some(at) = raw.arrived.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(raw.read_some().await.expect("reads") > 0, "no answer to the handshake");
        };
        let head: Vec<u8> = raw.arrived.drain(..end).collect();
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        raw
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        match timeout(PATIENCE, self.tcp.read_buf(&mut self.arrived)).await {
            Ok(read) => read,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The next frame; none at the end of the stream.
    pub(crate) async fn frame(&mut self) -> io::Result<Option<RawFrame>> {
        loop {
            if let Some((frame, length)) = parse(&self.arrived) {
                self.arrived.drain(..length);
                return Ok(Some(frame));
            }
            if self.read_some().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends a well-formed text frame.
    pub(crate) async fn says(&mut self, json: &Value) {
        self.sends(&client_text(&json.to_string())).await;
    }

    /// Sends bytes as they are. A server that has closed already is no failure: the close code tells.
    pub(crate) async fn sends(&mut self, bytes: &[u8]) {
        drop(self.tcp.write_all(bytes).await);
    }

    /// How the socket ends: the close code, or none when it is just cut.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.frame().await {
                Ok(Some(RawFrame { opcode: 8, payload })) => {
                    let code = payload.get(..2).expect("a code");
                    return Some(u16::from_be_bytes([code[0], code[1]]));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => panic!("the socket stays open"),
                Err(_) => return None,
            }
        }
    }

    /// How the socket ends: code and reason.
    pub(crate) async fn goodbye(&mut self) -> (u16, String) {
        loop {
            let frame = self.frame().await.expect("reads").expect("a close frame");
            if frame.opcode == 8 {
                let (code, reason) = frame.payload.split_at(2);
                let reason = String::from_utf8(reason.to_vec()).expect("text");
                return (u16::from_be_bytes([code[0], code[1]]), reason);
            }
        }
    }

    /// Waits for the server to close the connection.
    pub(crate) async fn is_cut(&mut self, within: Duration) -> bool {
        let mut sink = vec![0; 65_536];
        timeout(within, async { while !matches!(self.tcp.read(&mut sink).await, Ok(0) | Err(_)) {} })
            .await
            .is_ok()
    }
}

fn parse(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server doesn't mask");
    assert_eq!(first & 0xF0, 0x80, "whole messages, no reserved bits");
    let (length, head) = match second {
        126 => (usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])), 4),
        127 => {
            let length: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
            (usize::try_from(u64::from_be_bytes(length)).ok()?, 10)
        }
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    Some((RawFrame { opcode: first & 0x0F, payload }, head + length))
}

/// Sends the head of a handshake, which has to be let in.
pub(crate) async fn is_upgraded(url: &str, head: &str) {
    let mut tcp = dial(url).await;
    tcp.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    timeout(PATIENCE, tcp.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&answer));
}

/// Shakes hands, which has to be refused: the problem in the answer's body.
pub(crate) async fn is_turned_away(url: &str, credentials: &Credentials) -> Value {
    let mut tcp = dial(url).await;
    tcp.write_all(format!("{}\r\n", upgrade(url, credentials)).as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 4"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/problem+json"), "{head}");
    serde_json::from_str(body).expect("a problem")
}
