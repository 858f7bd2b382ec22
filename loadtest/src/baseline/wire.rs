//! What the broadcaster reads and writes: frames like the server's, of a length given beforehand.

/// Bytes of what tells a message from others: a UUID, where the server has its own.
pub const TAG: usize = 36;

const ID: &[u8] = br#"{"type":"message.posted","id":"#;
const SEQ: &[u8] = br#","seq":"#;
const KEY: &[u8] = br#","client_message_id":""#;
const PAD: &[u8] = br#"","pad":""#;
const END: &[u8] = br#""}"#;
const DIGITS: usize = 10;

/// What a connection is for, said in its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) room: usize,
    /// Does it hear what is posted there?
    pub(super) listens: bool,
}

impl Hello {
    pub(super) fn parse(payload: &[u8]) -> Option<Hello> {
        let (word, room) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
        let listens = match word {
            "listen" => true,
            "post" => false,
            _ => return None,
        };
        Some(Hello { room: room.parse().ok()?, listens })
    }

    pub(super) fn text(self) -> String {
        format!("{} {}", if self.listens { "listen" } else { "post" }, self.room)
    }
}

/// A post of so many bytes: its tag, and as much beside it as the server's clients send.
pub fn post(tag: &str, bytes: usize) -> String {
    format!("{tag:.TAG$}{}", "x".repeat(bytes.saturating_sub(TAG)))
}

/// The answer to a hello: from then on it counts.
pub(super) const READY: &[u8] = b"\x81\x10{\"type\":\"reply\"}";

/// A room's next frame, encoded beforehand but for what tells it from the last one.
#[derive(Debug, Clone)]
pub(super) struct Event {
    frame: Vec<u8>,
    id: usize,
    seq: usize,
    tag: usize,
    count: u64,
}

impl Event {
    pub(super) fn new(frame_bytes: usize) -> Event {
        let digits = [b'0'; DIGITS];
        let parts = [ID, &digits, SEQ, &digits, KEY, &[b'0'; TAG], PAD];
        let fixed: usize = parts.iter().map(|part| part.len()).sum::<usize>() + END.len();
        let payload = frame_bytes.max(fixed);
        let mut frame = vec![0x81];
        match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ 0..=125), _) => frame.push(short),
            (_, Ok(medium)) => {
                frame.push(126);
                frame.extend(medium.to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend(u64::try_from(payload).unwrap_or(u64::MAX).to_be_bytes());
            }
        }
        let id = frame.len() + ID.len();
        let seq = id + DIGITS + SEQ.len();
        let tag = seq + DIGITS + KEY.len();
        parts.iter().for_each(|part| frame.extend(*part));
        frame.resize(frame.len() + payload - fixed, b'x');
        frame.extend(END);
        Event { frame, id, seq, tag, count: 0 }
    }

    /// The frame of the next message.
    pub(super) fn next(&mut self, post: &[u8]) -> &[u8] {
        self.count += 1;
        let mut digits = [b'1'; DIGITS];
        let mut left = self.count;
        // No leading zeros, for JSON has none; counting stays below a billion here.
        for digit in digits.iter_mut().skip(1).rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
        }
        for at in [self.id, self.seq] {
            put(&mut self.frame, at, &digits);
        }
        put(&mut self.frame, self.tag, post.get(..TAG).unwrap_or_default());
        &self.frame
    }
}

/// The seq of a room's first message: as many digits as all others.
pub const FIRST_SEQ: u64 = 1_000_000_001;

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The first whole frame of a client, which has a mask of zeros: its payload and what it takes up.
pub(super) fn first_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    const MASK: usize = 4;
    let short = usize::from(*bytes.get(1)? & 0x7f);
    let (header, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, short),
    };
    let start = header + MASK;
    let end = start.checked_add(length)?;
    Some((bytes.get(start..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lean::{Scanner, client_text};

    #[test]
    fn an_event_looks_like_the_servers_and_has_the_length_asked_for() {
        for bytes in [300, 65_000, 70_000] {
            let mut event = Event::new(bytes);
            let tag = "0123456789abcdef0123456789abcdef0123";
            let mut seen = Vec::new();
            for _ in 0..2 {
                Scanner::keeping(bytes).scan(event.next(post(tag, 80).as_bytes()), |frame| {
                    let json: serde_json::Value = serde_json::from_slice(frame.prefix).unwrap();
                    seen.push((
                        frame.length,
                        json["seq"].as_u64().unwrap(),
                        json["client_message_id"].clone(),
                    ));
                    assert_eq!(json["type"], "message.posted");
                });
            }
            let bytes = u64::try_from(bytes).unwrap();
            assert_eq!(seen, [(bytes, FIRST_SEQ, tag.into()), (bytes, FIRST_SEQ + 1, tag.into())]);
        }
    }

    #[test]
    fn a_length_that_holds_nothing_is_made_to_fit() {
        let mut event = Event::new(0);
        let mut frames = 0;
        Scanner::default().scan(event.next(&[b'1'; TAG]), |frame| {
            frames += 1;
            assert!(frame.is_type("message.posted"));
        });
        assert_eq!(frames, 1);
    }

    #[test]
    fn frames_of_clients_are_found_when_they_are_whole() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let frame = client_text(&text);
            assert_eq!(first_frame(&frame), Some((text.as_bytes(), frame.len())));
            for cut in [0, 1, 2, 5, frame.len() - 1] {
                assert_eq!(first_frame(&frame[..cut.min(frame.len() - 1)]), None, "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_hello_names_room_and_purpose() {
        for hello in [Hello { room: 0, listens: true }, Hello { room: 199, listens: false }] {
            assert_eq!(Hello::parse(hello.text().as_bytes()), Some(hello));
        }
        assert_eq!(Hello::parse(b"shout 3"), None);
        assert_eq!(Hello::parse(b"listen"), None);
    }

    #[test]
    fn the_answer_to_a_hello_is_a_reply() {
        Scanner::default().scan(READY, |frame| assert!(frame.is_type("reply")));
    }
}
