//! Server-Sent Events by bytes (WHATWG HTML, section 9.2): whatever way the bytes are cut, the same events come out.

use std::mem;
use thiserror::Error;

/// One event that has data. Events without data aren't events: comments and keep-alives come to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The field `event`; empty when there is none.
    pub name: String,
    /// The fields `data`, a line each. What isn't UTF-8 is U+FFFD.
    pub data: String,
}

/// An event is larger than it may be, or a line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(pub usize);

/// Takes bytes, gives events. Memory is bounded by twice the size that one event may have.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes of one event's lines (count); over it: an error, and the decoder is of no more use.
    most: usize,
    /// The line that isn't over yet. Decoded only when it is whole, so that no character is ever cut.
    line: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has ended yet: a byte order mark may stand before the first.
    is_start: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl Decoder {
    /// A decoder of events that have at most `most` bytes.
    pub const fn new(most: usize) -> Self {
        Self {
            most,
            line: Vec::new(),
            after_cr: false,
            is_start: true,
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
        }
    }

    /// The events that `bytes` complete, in order. An event that no empty line ended when the stream does is none.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                rest = rest.split_at(1).1;
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (text, tail) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + self.data.len() + text.len() > self.most {
                return Err(TooLarge(self.most));
            }
            self.line.extend_from_slice(text);
            let Some((terminator, tail)) = tail.split_first() else { break };
            self.after_cr = *terminator == b'\r';
            events.extend(self.end_line());
            rest = tail;
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        let is_start = mem::take(&mut self.is_start);
        let line = if is_start { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) } else { &line };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => line.split_at(colon),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = value.to_vec(),
            // A comment (an empty name), `id`, `retry`, and what isn't known.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let (name, data) = (mem::take(&mut self.name), mem::take(&mut self.data));
        mem::take(&mut self.has_data).then(|| Event { name: text(&name), data: text(&data) })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Vec<Event> {
        Decoder::new(1024).feed(bytes).expect("small")
    }

    fn data(bytes: &[u8]) -> Vec<String> {
        whole(bytes).into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn lines_end_in_three_ways() {
        assert_eq!(data(b"data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn fields_are_as_the_standard_has_them() {
        assert_eq!(data(b"data\n\ndata\ndata\n\n"), ["", "\n"]);
        assert_eq!(data(b"data:x\n\ndata:  y\n\n"), ["x", " y"]);
        assert_eq!(data(b"data: a\ndata: b: c\nother: d\nid: 1\n\n"), ["a\nb: c"]);
        assert_eq!(data(b": keep-alive\n\n\n\nretry: 10\n\n"), [""; 0]);
        assert_eq!(data(b"data: cut off\n"), [""; 0]);
        assert_eq!(data(b"\xEF\xBB\xBFdata: a\n\n\xEF\xBB\xBFdata: no field\n\n"), ["a"]);
        let named = whole(b"event: error\ndata: {}\n\nevent: lost\n\ndata: x\n\n");
        let expected = [("error", "{}"), ("", "x")]
            .map(|(name, data)| Event { name: name.to_owned(), data: data.to_owned() });
        assert_eq!(named, expected);
    }

    #[test]
    fn an_event_is_bounded_however_it_grows() {
        for endless in ["x", "data: xxxxxxxx\n", ": xxxxxxxx"] {
            let mut decoder = Decoder::new(100);
            let fed = (0..1000).try_for_each(|_| decoder.feed(endless.as_bytes()).map(drop));
            assert_eq!(fed, Err(TooLarge(100)), "{endless}");
        }
        let mut decoder = Decoder::new(100);
        for _ in 0..1000 {
            decoder.feed(b"data: xxxxxxxx\n\n: comment\n").expect("each is small");
        }
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"data: ".to_vec()),
            Just(b"event: e".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n\n".to_vec()),
            Just(b": c".to_vec()),
            Just(b"\xEF\xBB\xBF".to_vec()),
            "\\PC{0,6}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// Whatever the network makes of a stream, the events are the same.
        #[test]
        fn any_cutting_gives_the_same_events(bytes in stream(), cuts in proptest::collection::vec(1usize..9, 1..20)) {
            let mut decoder = Decoder::new(1024);
            let (mut events, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                events.extend(decoder.feed(piece).expect("small"));
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(events, whole(&bytes));
        }

        #[test]
        fn text_arrives_as_it_was(lines in proptest::collection::vec("[^\r\n]{0,20}", 1..5), ending in "\n|\r|\r\n") {
            let mut bytes = String::new();
            for line in &lines {
                bytes.push_str("data: ");
                bytes.push_str(line);
                bytes.push_str(&ending);
            }
            bytes.push_str(&ending);
            prop_assert_eq!(data(bytes.as_bytes()), [lines.join("\n")]);
        }
    }
}
