//! Receivers so cheap that the server is what gets measured: they count frames by their headers and parse nothing.

mod handshake;
mod receiver;
mod scanner;
mod upgrade;

pub use handshake::{Door, connect, connect_bare, request};
pub use receiver::{Control, Hearing, Receiver, Scratch, Sender};
pub use scanner::{PREFIX, Scanner, Seen};

/// A masked text frame with a zero mask: what RFC 6455 section 5.3 asks of a client, without the work of masking.
pub fn client_text(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => frame.push(0x80 | short),
        (_, Ok(medium)) => {
            frame.push(0x80 | 126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_shortest_length_that_fits() {
        assert_eq!(client_text("hi"), [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(client_text(&"x".repeat(126))[..4], [0x81, 0xfe, 0, 126]);
        assert_eq!(client_text(&"x".repeat(65_536))[..10], [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(client_text(&"x".repeat(125)).len(), 2 + 4 + 125);
    }
}
