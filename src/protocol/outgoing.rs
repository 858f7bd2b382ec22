//! The types of frames that the server sends, as they are counted: a closed set, found in the bytes of a frame.

/// All of them, the frequent ones first. `other` is what is no text frame: close and pong frames, and the answer to the handshake.
pub const TYPES: [&str; 36] = [
    "message.posted",
    "reply",
    "ai.delta",
    "typing",
    "presence",
    "ping",
    "badge",
    "read.marked",
    "room.presence",
    "ai.state",
    "ai.ended",
    "message.edited",
    "message.deleted",
    "error",
    "welcome",
    "pong",
    "room.resync",
    "action.request",
    "action.ended",
    "room.created",
    "room.updated",
    "room.deleted",
    "room.listed",
    "room.unlisted",
    "member.added",
    "member.removed",
    "membership.granted",
    "membership.revoked",
    "session.begun",
    "session.ended",
    "settings.synced",
    "user.joined",
    "user.updated",
    "user.left",
    "account.updated",
    OTHER,
];

const OTHER: &str = "other";
const BEGIN: &[u8] = br#"{"type":""#;

/// A type, by its place in [`TYPES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutType(usize);

impl OutType {
    /// Its place in [`TYPES`].
    pub const fn index(self) -> usize {
        self.0
    }

    /// The type of the first frame of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let rest = payload(bytes).and_then(|(payload, _)| payload.strip_prefix(BEGIN)).unwrap_or_default();
        let name = rest.iter().position(|byte| *byte == b'"').and_then(|end| rest.get(..end));
        let known = name.and_then(|name| TYPES.iter().position(|kind| kind.as_bytes() == name));
        Self(known.unwrap_or(TYPES.len() - 1))
    }

    /// Those of all frames of `bytes`, which are whole.
    pub fn of_each(mut bytes: &[u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (_, rest) = payload(bytes)?;
            let kind = Self::of(bytes);
            bytes = rest;
            Some(kind)
        })
    }
}

/// A text frame's payload, and what comes after it; frames of a server have no mask.
fn payload(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[0x81, length], rest) = bytes.split_first_chunk()? else { return None };
    let (length, rest) = match length {
        126 => {
            rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?
        }
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        length => (u64::from(length), rest),
    };
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{encode, websocket};
    use std::collections::BTreeSet;

    #[test]
    fn frames_of_any_length_have_the_type_they_say() {
        for kind in &TYPES[..TYPES.len() - 1] {
            for length in [0, 100, 200, 70_000] {
                let frame =
                    websocket::text(&format!(r#"{{"type":"{kind}","data":"{}"}}"#, "x".repeat(length)));
                assert_eq!(TYPES[OutType::of(&frame).index()], *kind);
            }
        }
        let two =
            [websocket::text(encode::PING), websocket::text(&"x".repeat(300)), websocket::text(encode::PONG)];
        let kinds: Vec<&str> = OutType::of_each(&two.concat()).map(|kind| TYPES[kind.index()]).collect();
        assert_eq!(kinds, ["ping", OTHER, "pong"]);
        for no_type in
            [&b"HTTP/1.1 101 Switching Protocols\r\n"[..], b"", b"\x81", b"\x81\x7f", b"\x81\x05{\"ty"]
        {
            assert_eq!(TYPES[OutType::of(no_type).index()], OTHER);
        }
        assert_eq!(TYPES[OutType::of(&websocket::close(1000, "x")).index()], OTHER);
    }

    /// Each type of PROTOCOL.md's section on frames from the server is counted by its name, and no other is.
    ///
    /// Proves OBS-05.
    #[test]
    fn the_types_are_those_of_the_protocol() {
        let document = include_str!("../../PROTOCOL.md");
        let section = document.split("### 2.2 ").nth(1).and_then(|rest| rest.split("\n### ").next());
        let section = section.expect("section 2.2");
        let mut described: BTreeSet<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        let examples =
            section.lines().filter_map(|line| line.strip_prefix(r#"{"type":""#)?.split('"').next());
        described.extend(examples);
        let counted: BTreeSet<&str> = TYPES.into_iter().filter(|kind| *kind != OTHER).collect();
        assert_eq!(described, counted);
    }
}
