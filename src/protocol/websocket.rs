//! WebSocket framing (RFC 6455): server-side encoding and a bounded decoder. No sockets here.

use super::close::CloseCode;
use bytes::{BufMut, Bytes, BytesMut};

/// One complete message or control frame, borrowed from the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Ping(&'a [u8]),
    Pong,
    /// The peer's close code, if it gave one.
    Close(Option<u16>),
}

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_MAX: usize = 125;

/// Takes bytes as they arrive and gives messages. Holds at most one message of `limit` bytes and one partial frame.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// The beginning of a frame whose end hasn't arrived.
    partial: BytesMut,
    /// The fragments of a message so far.
    fragments: Option<Fragments>,
}

#[derive(Debug)]
struct Fragments {
    text: BytesMut,
    /// How much of `text` is known to be UTF-8; the rest is an unfinished character.
    valid: usize,
}

struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    head: usize,
    payload: usize,
}

impl Decoder {
    /// A decoder for messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: BytesMut::new(), fragments: None }
    }

    /// Decodes what arrived, calling `each` once per message in order. The input is unmasked in place. The first
    /// error ends the connection with the given close code; `each` ends it by returning `false`.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        mut each: impl FnMut(Message<'_>) -> bool,
    ) -> Result<(), CloseCode> {
        if self.partial.is_empty() {
            let used = self.frames(input, &mut each)?;
            self.partial.extend_from_slice(input.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(input);
        let used = self.frames(&mut whole, &mut each)?;
        if used < whole.len() {
            self.partial = whole.split_off(used);
        }
        Ok(())
    }

    /// The bytes held back for frames and messages that aren't complete.
    pub fn held(&self) -> usize {
        self.partial.len() + self.fragments.as_ref().map_or(0, |fragments| fragments.text.len())
    }

    fn frames(
        &mut self,
        mut input: &mut [u8],
        each: &mut impl FnMut(Message<'_>) -> bool,
    ) -> Result<usize, CloseCode> {
        let mut used = 0;
        while let Some(header) = self.header(input)? {
            let total = header.head + header.payload;
            if input.len() < total {
                break;
            }
            let (frame, rest) = input.split_at_mut(total);
            let payload = frame.get_mut(header.head..).unwrap_or_default();
            unmask(payload, header.mask);
            let go_on = self.frame(&header, payload, each)?;
            used += total;
            input = rest;
            if !go_on {
                // Nobody wants what follows.
                return Ok(used + input.len());
            }
        }
        Ok(used)
    }

    /// Reads and checks a header before its payload is here: what is refused is refused without buffering it.
    fn header(&self, input: &[u8]) -> Result<Option<Header>, CloseCode> {
        let &[first, second, ref rest @ ..] = input else { return Ok(None) };
        let fin = first & FIN != 0;
        let opcode = first & 0x0F;
        if first & 0x70 != 0 || second & MASKED == 0 {
            return Err(CloseCode::Protocol);
        }
        let (length, extra) = match second & 0x7F {
            126 => match rest {
                [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 2),
                _ => return Ok(None),
            },
            127 => match rest {
                [a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
                _ => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let held = match opcode {
            CLOSE | PING | PONG => {
                if !fin || length > CONTROL_MAX {
                    return Err(CloseCode::Protocol);
                }
                0
            }
            0 => match &self.fragments {
                Some(fragments) => fragments.text.len(),
                None => return Err(CloseCode::Protocol),
            },
            TEXT | BINARY if self.fragments.is_some() => return Err(CloseCode::Protocol),
            TEXT => 0,
            BINARY => return Err(CloseCode::UnsupportedData),
            _ => return Err(CloseCode::Protocol),
        };
        if length > self.limit.saturating_sub(held) {
            return Err(CloseCode::TooBig);
        }
        let Some(&[a, b, c, d]) = rest.get(extra..extra + 4) else { return Ok(None) };
        Ok(Some(Header { fin, opcode, mask: [a, b, c, d], head: 2 + extra + 4, payload: length }))
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        each: &mut impl FnMut(Message<'_>) -> bool,
    ) -> Result<bool, CloseCode> {
        Ok(match header.opcode {
            PING => each(Message::Ping(payload)),
            PONG => each(Message::Pong),
            CLOSE => each(Message::Close(close_code(payload)?)),
            TEXT if header.fin => each(Message::Text(utf8(payload)?)),
            _ => {
                let mut fragments =
                    self.fragments.take().unwrap_or(Fragments { text: BytesMut::new(), valid: 0 });
                fragments.text.extend_from_slice(payload);
                fragments.check(header.fin)?;
                if header.fin {
                    let text = utf8(&fragments.text)?;
                    each(Message::Text(text))
                } else {
                    self.fragments = Some(fragments);
                    true
                }
            }
        })
    }
}

impl Fragments {
    /// Fails as soon as what is here can't become UTF-8 any more.
    fn check(&mut self, last: bool) -> Result<(), CloseCode> {
        match std::str::from_utf8(self.text.get(self.valid..).unwrap_or_default()) {
            Ok(_) => self.valid = self.text.len(),
            Err(error) if error.error_len().is_none() && !last => self.valid += error.valid_up_to(),
            Err(_) => return Err(CloseCode::InvalidData),
        }
        Ok(())
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    match payload {
        [] => Ok(None),
        [_] => Err(CloseCode::Protocol),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(CloseCode::Protocol);
            }
            utf8(reason)?;
            Ok(Some(code))
        }
    }
}

/// Where the text isn't UTF-8 is of no use to the peer; that it isn't ends the connection.
fn utf8(bytes: &[u8]) -> Result<&str, CloseCode> {
    std::str::from_utf8(bytes).map_err(|_error| CloseCode::InvalidData)
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(eight) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// A text message in one frame, header on.
pub fn text(payload: &str) -> Bytes {
    frame(TEXT, payload.as_bytes())
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// A close frame; the reason is cut to what a control frame holds.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(CONTROL_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
    frame(CLOSE, &payload)
}

/// The bytes before the payload of a server's frame whose payload is `length` long.
pub const fn header_len(length: usize) -> usize {
    match length {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}

fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let length = payload.len();
    let mut out = BytesMut::with_capacity(header_len(length) + length);
    out.put_u8(FIN | opcode);
    if let Ok(short) = u8::try_from(length)
        && short <= 125
    {
        out.put_u8(short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.put_u8(126);
        out.put_u16(medium);
    } else {
        out.put_u8(127);
        out.put_u64(u64::try_from(length).unwrap_or(u64::MAX));
    }
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(MASKED | u8::try_from(n).unwrap()),
            n @ 126..=65_535 => {
                out.push(MASKED | 126);
                out.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                out.push(MASKED | 127);
                out.extend(u64::try_from(n).unwrap().to_be_bytes());
            }
        }
        out.extend(MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    fn decode(limit: usize, chunks: &[&[u8]]) -> (Vec<String>, Option<CloseCode>) {
        let mut decoder = Decoder::new(limit);
        let mut seen = Vec::new();
        for chunk in chunks {
            let result = decoder.feed(&mut chunk.to_vec(), |message| {
                seen.push(format!("{message:?}"));
                true
            });
            assert!(decoder.held() <= limit + 14 + chunk.len());
            if let Err(code) = result {
                return (seen, Some(code));
            }
        }
        (seen, None)
    }

    #[test]
    fn refuses_by_header_alone() {
        let huge = [FIN | TEXT, MASKED | 127, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(decode(100, &[&huge]).1, Some(CloseCode::TooBig));
        assert_eq!(decode(100, &[&[FIN | TEXT, 5]]).1, Some(CloseCode::Protocol), "unmasked");
        assert_eq!(decode(100, &[&[FIN | 0x40 | TEXT, MASKED]]).1, Some(CloseCode::Protocol), "reserved bit");
        assert_eq!(decode(100, &[&[FIN | 0x3, MASKED]]).1, Some(CloseCode::Protocol), "reserved opcode");
        assert_eq!(decode(100, &[&[PING, MASKED]]).1, Some(CloseCode::Protocol), "fragmented ping");
        assert_eq!(
            decode(100, &[&[FIN | PING, MASKED | 126, 0, 126]]).1,
            Some(CloseCode::Protocol),
            "long ping"
        );
        assert_eq!(decode(100, &[&[FIN, MASKED]]).1, Some(CloseCode::Protocol), "continues nothing");
        assert_eq!(decode(100, &[&[FIN | BINARY, MASKED]]).1, Some(CloseCode::UnsupportedData));
    }

    #[test]
    fn assembles_fragments_within_the_limit_around_control_frames() {
        let (a, b) = (masked(TEXT, "gr\u{fc}".as_bytes().split_at(3).0), masked(FIN | PING, b"x"));
        let c = masked(FIN, &[0xBC, b'n']);
        let (seen, code) = decode(6, &[&a, &b, &c]);
        assert_eq!(code, None);
        assert_eq!(seen, ["Ping([120])", "Text(\"gr\u{fc}n\")"]);
        assert_eq!(decode(4, &[&a, &c]).1, Some(CloseCode::TooBig));
        assert_eq!(decode(9, &[&a, &a]).1, Some(CloseCode::Protocol), "a new message inside one");
    }

    #[test]
    fn fails_as_soon_as_it_cannot_be_utf8() {
        let (a, b) = (masked(TEXT, &[0xCE, 0xBA, 0xED]), masked(0, &[0xA0, 0x80]));
        assert_eq!(decode(99, &[&a]).1, None);
        assert_eq!(decode(99, &[&a, &b]).1, Some(CloseCode::InvalidData));
        assert_eq!(decode(99, &[&masked(FIN | TEXT, &[0xFF])]).1, Some(CloseCode::InvalidData));
    }

    #[test]
    fn checks_close_frames() {
        let close = |payload: &[u8]| decode(99, &[&masked(FIN | CLOSE, payload)]);
        assert_eq!(close(&[]).0, ["Close(None)"]);
        assert_eq!(close(&[0x03, 0xE8]).0, ["Close(Some(1000))"]);
        for bad in [&[3][..], &[0x03, 0xED], &[0x03, 0xE7], &[0x0B, 0xB7], &[0x13, 0x88]] {
            assert_eq!(close(bad).1, Some(CloseCode::Protocol), "{bad:?}");
        }
        assert_eq!(close(&[0x03, 0xE8, 0xFF]).1, Some(CloseCode::InvalidData));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            texts in prop::collection::vec("\\PC{0,300}", 1..6),
            cuts in prop::collection::vec(1usize..200, 0..40),
        ) {
            let stream: Vec<u8> = texts.iter().flat_map(|text| masked(FIN | TEXT, text.as_bytes())).collect();
            let mut chunks = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts {
                let (chunk, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            chunks.push(rest);
            let (seen, code) = decode(4096, &chunks);
            prop_assert_eq!(code, None);
            prop_assert_eq!(seen, texts.iter().map(|text| format!("Text({text:?})")).collect::<Vec<_>>());
        }

        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            decode(64, &[&bytes]);
        }

        #[test]
        fn own_frames_have_the_header_they_say(length in prop::sample::select(vec![0usize, 125, 126, 65_535, 65_536])) {
            let frame = text(&"x".repeat(length));
            prop_assert_eq!(frame.len(), header_len(length) + length);
        }
    }
}
