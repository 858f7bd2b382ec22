//! One lean connection: reads into a buffer shared by all, answers heartbeats, hands frames to a closure.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use super::{Scanner, Seen, client_text};

/// The one read buffer of a thread's receivers.
pub type Scratch = Rc<RefCell<Vec<u8>>>;

/// `Break` ends the receiving.
pub type Control = ControlFlow<()>;

/// Why hearing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hearing {
    Broke,
    /// By the server, with a close frame.
    Closed {
        code: u16,
        reason: String,
    },
}

/// No frame a client waits for is longer.
const WHOLE: usize = 1024 * 1024;

/// The writing half: it may be used while the receiver waits.
#[derive(Clone)]
pub struct Sender {
    stream: Rc<OwnedWriteHalf>,
    /// A frame is written whole before the next.
    turn: Rc<Mutex<()>>,
}

impl Sender {
    pub async fn send(&self, text: &str) -> io::Result<()> {
        self.write(&client_text(text)).await
    }

    /// Writes frames as they are.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let mut left = bytes;
        while !left.is_empty() {
            match self.stream.try_write(left) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub struct Receiver {
    stream: OwnedReadHalf,
    sender: Sender,
    scanner: Scanner,
    scratch: Scratch,
    /// Bytes that came with the upgrade's answer.
    early: Vec<u8>,
}

impl Receiver {
    pub fn new(upgraded: (TcpStream, Vec<u8>), scratch: &Scratch) -> Receiver {
        Receiver::with(upgraded, scratch, Scanner::default())
    }

    /// One that keeps whole frames, for [`Receiver::hear`].
    pub fn whole(upgraded: (TcpStream, Vec<u8>), scratch: &Scratch) -> Receiver {
        Receiver::with(upgraded, scratch, Scanner::keeping(WHOLE))
    }

    /// One that keeps the first bytes of each frame.
    pub fn keeping(upgraded: (TcpStream, Vec<u8>), scratch: &Scratch, bytes: usize) -> Receiver {
        Receiver::with(upgraded, scratch, Scanner::keeping(bytes))
    }

    fn with((stream, early): (TcpStream, Vec<u8>), scratch: &Scratch, scanner: Scanner) -> Receiver {
        let (stream, writing) = stream.into_split();
        let sender = Sender { stream: Rc::new(writing), turn: Rc::default() };
        Receiver { stream, sender, scanner, scratch: Rc::clone(scratch), early }
    }

    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Hands whole text frames but heartbeats to `heard` until it breaks or the server closes. All of a read are handed
    /// out before this ends, so that ending it early loses none.
    pub async fn hear(&mut self, mut heard: impl FnMut(&[u8]) -> Control) -> io::Result<Hearing> {
        let mut end = None;
        self.receive(|frame| {
            if frame.is_close() {
                let (code, reason) = frame.prefix.split_at_checked(2).unwrap_or_default();
                let code = code.try_into().map_or(1005, u16::from_be_bytes);
                let reason = String::from_utf8_lossy(reason).into_owned();
                end = Some(Hearing::Closed { code, reason });
                return ControlFlow::Break(());
            }
            if frame.is_text() && !frame.is_type("ping") && !frame.is_type("welcome") {
                return heard(frame.prefix);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(end.unwrap_or(Hearing::Broke))
    }

    /// A buffer for all receivers of this thread.
    pub fn scratch() -> Scratch {
        Rc::new(RefCell::new(vec![0; 64 * 1024]))
    }

    pub async fn send(&mut self, text: &str) -> io::Result<()> {
        self.sender.send(text).await
    }

    /// Reads until `seen` breaks. Pings are answered here. The end of the connection is an error.
    pub async fn receive(&mut self, mut seen: impl FnMut(Seen<'_>) -> Control) -> io::Result<()> {
        let early = std::mem::take(&mut self.early);
        if self.take(Some(&early), &mut seen).await? {
            return Ok(());
        }
        loop {
            if self.take(None, &mut seen).await? {
                return Ok(());
            }
        }
    }

    /// Scans given bytes, or one read's; true when `seen` broke.
    async fn take(
        &mut self,
        given: Option<&[u8]>,
        seen: &mut impl FnMut(Seen<'_>) -> Control,
    ) -> io::Result<bool> {
        let (mut broke, mut pinged, mut closed) = (false, false, false);
        let mut look = |frame: Seen<'_>| {
            pinged |= frame.is_type("ping");
            closed |= frame.is_close();
            broke |= seen(frame).is_break();
        };
        match given {
            Some(bytes) => self.scanner.scan(bytes, &mut look),
            None => {
                let (stream, scanner, scratch) = (&mut self.stream, &mut self.scanner, &self.scratch);
                // By `poll_read` and not by `try_read`: it knows that a read that doesn't fill the buffer has emptied the
                // socket, and spares a second one.
                poll_fn(|context| {
                    let mut scratch = scratch.borrow_mut();
                    let mut buffer = ReadBuf::new(&mut scratch);
                    ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof)));
                    }
                    scanner.scan(buffer.filled(), &mut look);
                    Poll::Ready(Ok::<(), io::Error>(()))
                })
                .await?;
            }
        }
        if closed && !broke {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "closed by the server"));
        }
        if pinged {
            self.send(r#"{"type":"pong"}"#).await?;
        }
        Ok(broke)
    }
}
