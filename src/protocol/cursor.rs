//! Cursors: where a list goes on, as text that clients hand back unread.

use crate::domain::{MessageId, Rejection, RoomId, RunId, Seq, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Goes up when the text below changes its meaning.
const VERSION: &str = "1";

/// Where a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// `GET /rooms/{id}/events`: the events after this seq.
    Events { room: RoomId, after: Seq },
    /// `GET /rooms/{id}/messages`: the messages before this one.
    Older { room: RoomId, before: MessageId },
    /// `GET /rooms/{id}/messages`: the messages after this one.
    Newer { room: RoomId, after: MessageId },
    /// `GET /rooms/{id}/runs`: the runs before this one.
    Runs { room: RoomId, before: RunId },
    /// `GET /rooms/{id}/summaries`: the summaries before this one.
    Summaries { room: RoomId, before: i64 },
    /// `GET /audit`: the entries before this one, by time and number.
    Audit { at: Timestamp, id: i64 },
    /// Any other list: what has a larger id than this.
    List { list: List, after: i64 },
}

/// The lists that go by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Users,
    Rooms,
    Sessions,
    Bots,
    /// The newest first: what has a smaller id.
    Invites,
    /// The newest first.
    Bans,
}

impl List {
    const ALL: [Self; 6] = [Self::Users, Self::Rooms, Self::Sessions, Self::Bots, Self::Invites, Self::Bans];

    const fn tag(self) -> &'static str {
        match self {
            Self::Users => "u",
            Self::Rooms => "r",
            Self::Sessions => "s",
            Self::Bots => "b",
            Self::Invites => "i",
            Self::Bans => "x",
        }
    }
}

impl Cursor {
    /// The opaque text.
    pub fn encode(self) -> String {
        let (tag, first, second) = match self {
            Self::Events { room, after } => ("e", room.get(), Some(after.get())),
            Self::Older { room, before } => ("o", room.get(), Some(before.get())),
            Self::Newer { room, after } => ("n", room.get(), Some(after.get())),
            Self::Runs { room, before } => ("w", room.get(), Some(before.get())),
            Self::Summaries { room, before } => ("z", room.get(), Some(before)),
            Self::Audit { at, id } => ("a", at.as_millis(), Some(id)),
            Self::List { list, after } => (list.tag(), after, None),
        };
        let second = second.map_or_else(String::new, |second| format!(".{second}"));
        URL_SAFE_NO_PAD.encode(format!("{VERSION}.{tag}.{first}{second}"))
    }

    /// Reads what [`Cursor::encode`] made; anything else is a rejection that names `cursor`.
    pub fn decode(text: &str) -> Result<Self, Rejection> {
        Self::parse(text).ok_or_else(Self::foreign)
    }

    /// This cursor belongs to another list.
    pub fn foreign() -> Rejection {
        Rejection::invalid("cursor", "is not one of this list")
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let mut parts = text.split('.');
        if parts.next()? != VERSION {
            return None;
        }
        let tag = parts.next()?;
        let first = number(parts.next()?)?;
        let second = parts.next().map(number);
        if parts.next().is_some() {
            return None;
        }
        match (tag, second) {
            ("e", Some(after)) => Some(Self::Events { room: RoomId::new(first), after: Seq::new(after?) }),
            ("o", Some(before)) => {
                Some(Self::Older { room: RoomId::new(first), before: MessageId::new(before?) })
            }
            ("n", Some(after)) => {
                Some(Self::Newer { room: RoomId::new(first), after: MessageId::new(after?) })
            }
            ("w", Some(before)) => Some(Self::Runs { room: RoomId::new(first), before: RunId::new(before?) }),
            ("z", Some(before)) => Some(Self::Summaries { room: RoomId::new(first), before: before? }),
            ("a", Some(id)) => Some(Self::Audit { at: Timestamp::from_millis(first), id: id? }),
            (tag, None) => {
                let list = List::ALL.into_iter().find(|list| list.tag() == tag)?;
                Some(Self::List { list, after: first })
            }
            _ => None,
        }
    }
}

/// The `page` of a gap: leads through the events of `room` after `after`.
pub fn encode_page(room: RoomId, after: Seq) -> String {
    Cursor::Events { room, after }.encode()
}

/// Digits only: what was written with a plus or zeros in front isn't ours.
fn number(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number >= 0 && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_cursor() -> impl Strategy<Value = Cursor> {
        let id = 0..i64::MAX;
        prop_oneof![
            (id.clone(), id.clone())
                .prop_map(|(room, after)| Cursor::Events { room: RoomId::new(room), after: Seq::new(after) }),
            (id.clone(), id.clone()).prop_map(|(room, before)| Cursor::Older {
                room: RoomId::new(room),
                before: MessageId::new(before)
            }),
            (id.clone(), id.clone()).prop_map(|(room, after)| Cursor::Newer {
                room: RoomId::new(room),
                after: MessageId::new(after)
            }),
            (id.clone(), id.clone()).prop_map(|(room, before)| Cursor::Runs {
                room: RoomId::new(room),
                before: RunId::new(before)
            }),
            (id.clone(), id.clone())
                .prop_map(|(room, before)| Cursor::Summaries { room: RoomId::new(room), before }),
            (id.clone(), id.clone())
                .prop_map(|(at, id)| Cursor::Audit { at: Timestamp::from_millis(at), id }),
            (prop::sample::select(List::ALL.to_vec()), id)
                .prop_map(|(list, after)| Cursor::List { list, after }),
        ]
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(cursor in any_cursor()) {
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn what_is_understood_is_ours(text in "[A-Za-z0-9_-]{0,40}") {
            if let Ok(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }

        #[test]
        fn foreign_text_names_the_cursor(inner in "[0-9eonaursbz.+-]{0,20}") {
            let text = URL_SAFE_NO_PAD.encode(&inner);
            match Cursor::decode(&text) {
                Ok(cursor) => prop_assert_eq!(cursor.encode(), text),
                Err(rejection) => prop_assert_eq!(rejection.field.as_deref(), Some("cursor")),
            }
        }
    }
}
