//! Identifiers: one type per kind of thing, so that a user can't be taken for a room.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i64);

        impl $name {
            /// Wraps a number that the store or the wire gave.
            pub const fn new(value: i64) -> Self {
                Self(value)
            }

            /// The bare number.
            pub const fn get(self) -> i64 {
                self.0
            }

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A user: person, bot or assistant.
    UserId
}
id! {
    /// One answer of an assistant, from being asked to its end.
    RunId
}
id! {
    /// A room of any kind.
    RoomId
}
id! {
    /// A durable event's place in the one global order of commit. Starts at 1.
    EventId
}
id! {
    /// An event's place within its room: contiguous, starts at 1; 0 means "before the first".
    Seq
}
id! {
    /// A sign-in of one device.
    SessionId
}
id! {
    /// A bot's key.
    BotKeyId
}
id! {
    /// An invitation.
    InviteId
}
id! {
    /// A link that signs in once.
    TransferId
}

/// A message's id is the id of the event that posted it.
pub type MessageId = EventId;
