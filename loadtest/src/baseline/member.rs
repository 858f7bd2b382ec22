//! One connection of the broadcaster: what it says, piece by piece, and what it was slow to take.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::wire::{Hello, first_frame};

/// Bytes kept for who reads slowly; over it the connection ends.
const BACKLOG: usize = 64 * 1024 * 1024;

pub(super) struct Member {
    stream: TcpStream,
    pub(super) hello: Option<Hello>,
    /// The beginning of a frame whose end is still to come.
    rest: Vec<u8>,
    /// What the kernel did not take.
    backlog: Vec<u8>,
}

impl Member {
    pub(super) fn new(stream: TcpStream) -> Member {
        Member { stream, hello: None, rest: Vec::new(), backlog: Vec::new() }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Writes it, or keeps what doesn't fit. False when the connection is of no use any more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let written = if self.backlog.is_empty() { self.push(bytes) } else { Ok(0) };
        let Ok(written) = written else { return false };
        self.backlog.extend(bytes.get(written..).unwrap_or_default());
        self.backlog.len() <= BACKLOG
    }

    /// The kernel has room again.
    pub(super) fn flush(&mut self) -> bool {
        if self.backlog.is_empty() {
            return true;
        }
        let backlog = std::mem::take(&mut self.backlog);
        let Ok(written) = self.push(&backlog) else { return false };
        self.backlog = backlog.get(written..).unwrap_or_default().to_vec();
        true
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while let Some(left) = bytes.get(written..).filter(|left| !left.is_empty()) {
            match self.stream.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Reads all there is and hands whole payloads to `heard`. False at the end of the connection.
    pub(super) fn read(&mut self, scratch: &mut [u8], mut heard: impl FnMut(&[u8])) -> bool {
        loop {
            let read = match self.stream.read(scratch) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let bytes = scratch.get(..read).unwrap_or_default();
            if self.rest.is_empty() {
                let used = frames(bytes, &mut heard);
                self.rest.extend(bytes.get(used..).unwrap_or_default());
            } else {
                self.rest.extend(bytes);
                let rest = std::mem::take(&mut self.rest);
                let used = frames(&rest, &mut heard);
                self.rest.extend(rest.get(used..).unwrap_or_default());
            }
            // A read that does not fill the buffer has emptied the socket (epoll(7)).
            if read < scratch.len() {
                return true;
            }
        }
    }
}

/// Hands out the whole frames and says how many bytes they took up.
fn frames(bytes: &[u8], heard: &mut impl FnMut(&[u8])) -> usize {
    let mut used = 0;
    while let Some((payload, taken)) = bytes.get(used..).and_then(first_frame) {
        heard(payload);
        used += taken;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lean::client_text;

    #[test]
    fn whole_frames_are_handed_out_and_the_beginning_of_another_is_left() {
        let bytes = [client_text("one"), client_text("two"), client_text("three")].concat();
        let mut heard = Vec::new();
        let used = frames(&bytes[..bytes.len() - 1], &mut |payload| heard.push(payload.to_vec()));
        assert_eq!(heard, [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(used, client_text("one").len() * 2);
    }
}
