//! Bytes to frames: one read buffer per thread, a partial frame per socket.

use crate::actors::connection::Inbound;
use crate::protocol::ClientFrame;
use crate::protocol::websocket::{Decoder, Message};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

/// Bytes of one read; sockets of a thread read one after the other and share it.
const READ: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Gives what each read brought. Ends with the socket.
pub(super) struct Reader {
    half: OwnedReadHalf,
    decoder: Decoder,
    /// What came in one packet with the handshake.
    early: BytesMut,
    /// After a broken frame nothing that follows means anything; it is read and thrown away until the peer closes.
    broken: bool,
}

impl Reader {
    /// Reads messages of at most `limit` bytes; `early` was read with the handshake.
    pub(super) fn new(half: OwnedReadHalf, early: BytesMut, limit: usize) -> Self {
        // Empty, it would still hold on to the buffer of the handshake.
        let early = if early.is_empty() { BytesMut::new() } else { early };
        Self { half, decoder: Decoder::new(limit), early, broken: false }
    }

    fn decode(&mut self, bytes: &mut [u8]) -> Vec<Inbound> {
        let mut inbound = Vec::new();
        if self.broken {
            return inbound;
        }
        let result = self.decoder.feed(bytes, |message| match message {
            Message::Text(text) => {
                inbound.push(Inbound::Frame(ClientFrame::parse(text)));
                true
            }
            Message::Ping(payload) => {
                inbound.push(Inbound::Ping(Bytes::copy_from_slice(payload)));
                true
            }
            Message::Pong => {
                inbound.push(Inbound::Pong);
                true
            }
            Message::Close(_) => {
                inbound.push(Inbound::Close);
                false
            }
        });
        if let Err(code) = result {
            self.broken = true;
            inbound.push(Inbound::Broken(code));
        }
        inbound
    }
}

impl Stream for Reader {
    type Item = Vec<Inbound>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let inbound = if this.early.is_empty() {
                let read = BUFFER.with_borrow_mut(|buffer| {
                    let mut read = ReadBuf::new(buffer);
                    // poll_read and not try_read: it counts against the task's budget, so that a busy socket
                    // can't keep the others of its thread waiting.
                    match ready!(Pin::new(&mut this.half).poll_read(cx, &mut read)) {
                        Ok(()) if !read.filled().is_empty() => {
                            Poll::Ready(Some(this.decode(read.filled_mut())))
                        }
                        Ok(()) | Err(_) => Poll::Ready(None),
                    }
                });
                match ready!(read) {
                    Some(inbound) => inbound,
                    None => return Poll::Ready(None),
                }
            } else {
                let mut early = std::mem::take(&mut this.early);
                this.decode(&mut early)
            };
            if !inbound.is_empty() {
                return Poll::Ready(Some(inbound));
            }
        }
    }
}
