//! Finds the frames in a stream of bytes from the server: their kind, length and first bytes, nothing of the rest.

/// As much of a payload as tells `{"type":"…"` apart, and an event's id and seq.
pub const PREFIX: usize = 72;
/// Two bytes and the longest length; frames of a server have no mask.
const LONGEST_HEADER: usize = 10;

/// One whole frame that went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    pub opcode: u8,
    pub length: u64,
    /// The payload's first bytes, at most 72, or all the scanner was asked to keep.
    pub prefix: &'a [u8],
}

impl Seen<'_> {
    pub fn is_text(&self) -> bool {
        self.opcode == 1
    }

    pub fn is_close(&self) -> bool {
        self.opcode == 8
    }

    /// Does the payload begin as a frame of this `type`? The server writes `type` first.
    pub fn is_type(&self, kind: &str) -> bool {
        let rest =
            self.prefix.strip_prefix(br#"{"type":""#).and_then(|rest| rest.strip_prefix(kind.as_bytes()));
        self.is_text() && rest.is_some_and(|rest| rest.starts_with(b"\""))
    }

    /// Room and seq of an event; none for all other frames.
    pub fn event(&self) -> Option<(u64, u64)> {
        let rest = self.prefix.strip_prefix(br#"{"type":""#).filter(|_| self.is_text())?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (_, rest) = number(rest.get(end..)?.strip_prefix(br#"","id":"#)?)?;
        let (seq, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
        number(rest.strip_prefix(br#","room_id":"#)?).map(|(room_id, _)| (room_id, seq))
    }

    /// The seq of a posted message; none for all other frames.
    pub fn posted(&self) -> Option<u64> {
        let rest =
            self.prefix.strip_prefix(br#"{"type":"message.posted","id":"#).filter(|_| self.is_text())?;
        let (_, rest) = number(rest)?;
        number(rest.strip_prefix(br#","seq":"#)?).map(|(seq, _)| seq)
    }
}

/// A number and what is behind it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut rest = bytes;
    while let Some((digit, behind)) = rest.split_first().filter(|(digit, _)| digit.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = behind;
    }
    (rest.len() < bytes.len()).then_some((value, rest))
}

/// Keeps its place between reads; holds at most a header and a prefix.
#[derive(Debug)]
pub struct Scanner {
    /// Bytes kept of a payload.
    keep: usize,
    header: Vec<u8>,
    prefix: Vec<u8>,
    length: u64,
    /// Payload bytes still to come; none while the header is incomplete.
    left: Option<u64>,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::keeping(PREFIX)
    }
}

impl Scanner {
    /// Keeps so many bytes of each payload.
    pub fn keeping(keep: usize) -> Scanner {
        Scanner { keep, header: Vec::new(), prefix: Vec::new(), length: 0, left: None }
    }

    /// Takes the next bytes and calls `seen` for every frame that is complete with them.
    pub fn scan(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Seen<'_>)) {
        loop {
            if self.left.is_none() && self.header.is_empty() {
                // Most frames come whole: nothing of them has to be kept.
                while let Some((frame, rest)) = whole(bytes, self.keep) {
                    seen(frame);
                    bytes = rest;
                }
            }
            let left = match self.left {
                Some(left) => left,
                None => match self.read_header(&mut bytes) {
                    Some(length) => length,
                    None => return,
                },
            };
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(taken);
            let wanted = self.keep.saturating_sub(self.prefix.len()).min(payload.len());
            self.prefix.extend_from_slice(payload.get(..wanted).unwrap_or_default());
            bytes = rest;
            let left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
            self.left = Some(left);
            if left > 0 {
                return;
            }
            let opcode = self.header.first().copied().unwrap_or_default() & 0x0f;
            seen(Seen { opcode, length: self.length, prefix: &self.prefix });
            self.header.clear();
            self.prefix.clear();
            self.left = None;
        }
    }

    /// Takes header bytes until the length is known.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        while self.header.len() < LONGEST_HEADER {
            let (byte, rest) = bytes.split_first()?;
            self.header.push(*byte);
            *bytes = rest;
            let length = match *self.header.as_slice() {
                [_, short] if short & 0x7f < 126 => u64::from(short & 0x7f),
                [_, 126, high, low] => u64::from(u16::from_be_bytes([high, low])),
                [_, 127, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                _ => continue,
            };
            self.length = length;
            self.left = Some(length);
            return Some(length);
        }
        None
    }
}

/// The first frame, when all of it is there, and what is behind it.
fn whole(bytes: &[u8], keep: usize) -> Option<(Seen<'_>, &[u8])> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (header, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (LONGEST_HEADER, u64::from_be_bytes(bytes.get(2..LONGEST_HEADER)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let (payload, rest) = bytes.get(header..)?.split_at_checked(usize::try_from(length).ok()?)?;
    let prefix = payload.get(..keep).unwrap_or(payload);
    Some((Seen { opcode: first & 0x0f, length, prefix }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..=125 => frame.push(u8::try_from(short).unwrap()),
            medium @ 126..=65_535 => {
                frame.push(126);
                frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend(u64::try_from(long).unwrap().to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn stream() -> Vec<u8> {
        let posted = [br#"{"type":"message.posted","id":1,"#.as_slice(), &[b'x'; 300]].concat();
        let frames = [
            server_frame(1, br#"{"type":"ping"}"#),
            server_frame(1, &posted),
            server_frame(9, b""),
            server_frame(1, &[b'y'; 70_000]),
            server_frame(8, &[3, 232]),
        ];
        frames.concat()
    }

    fn scanned(chunk: usize) -> Vec<(u8, u64, bool, bool)> {
        let mut scanner = Scanner::default();
        let mut frames = Vec::new();
        for chunk in stream().chunks(chunk) {
            scanner.scan(chunk, |seen| {
                frames.push((seen.opcode, seen.length, seen.is_type("ping"), seen.is_type("message.posted")));
            });
        }
        frames
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let expected = vec![
            (1, 15, true, false),
            (1, 332, false, true),
            (9, 0, false, false),
            (1, 70_000, false, false),
            (8, 2, false, false),
        ];
        for chunk in [1, 2, 3, 7, 64, 4096, 1 << 20] {
            assert_eq!(scanned(chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn a_posted_message_has_its_seq_however_it_is_cut() {
        let longest =
            br#"{"type":"message.posted","id":9007199254740991,"seq":9007199254740991,"room_id":1}"#;
        for chunk in [1, 3, 50, 1000] {
            let mut scanner = Scanner::default();
            let mut seqs = Vec::new();
            for bytes in [
                server_frame(1, longest).as_slice(),
                &server_frame(1, br#"{"type":"message.edited","id":1,"seq":2}"#),
                &server_frame(1, br#"{"type":"message.posted","id":1,"seq":2,"room_id":1}"#),
            ] {
                for part in bytes.chunks(chunk) {
                    scanner.scan(part, |seen| seqs.push(seen.posted()));
                }
            }
            assert_eq!(seqs, [Some(9_007_199_254_740_991), None, Some(2)]);
        }
    }

    #[test]
    fn an_event_has_room_and_seq_and_a_signal_has_none() {
        let mut events = Vec::new();
        for text in [
            br#"{"type":"message.edited","id":9,"seq":8,"room_id":7,"at":"x"}"#.as_slice(),
            br#"{"type":"typing","room_id":7,"at_seq":8,"data":{}}"#,
            br#"{"type":"reply","request_id":"c","data":{"id":1,"seq":2}}"#,
        ] {
            Scanner::keeping(200).scan(&server_frame(1, text), |seen| events.push(seen.event()));
        }
        assert_eq!(events, [Some((7, 8)), None, None]);
    }

    #[test]
    fn a_type_is_not_matched_by_its_beginning() {
        let mut scanner = Scanner::default();
        scanner.scan(&server_frame(1, br#"{"type":"pinged"}"#), |seen| assert!(!seen.is_type("ping")));
    }
}
