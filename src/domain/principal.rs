//! Who acts, by what, and from where: what the audit trail has to know.

use super::ids::{BotKeyId, SessionId};
use super::person::Person;
use std::net::IpAddr;

/// How somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    Session(SessionId),
    BotKey(BotKeyId),
    /// Nobody is known yet: a sign-in, a sign-up.
    Nobody,
    /// Somebody at the command line.
    Operator,
    /// The server itself.
    System,
}

impl Via {
    /// The name in the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::BotKey(_) => "bot_key",
            Self::Nobody => "nobody",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }

    /// The number of the session or key.
    pub const fn credential(self) -> Option<i64> {
        match self {
            Self::Session(session) => Some(session.get()),
            Self::BotKey(key) => Some(key.get()),
            Self::Nobody | Self::Operator | Self::System => None,
        }
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    pub via: Via,
    /// The client's address; none for what doesn't come over the network.
    pub address: Option<IpAddr>,
}

impl Origin {
    /// The server itself.
    pub const SYSTEM: Self = Self { via: Via::System, address: None };
    /// Somebody at the command line.
    pub const OPERATOR: Self = Self { via: Via::Operator, address: None };
}

/// Somebody who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub person: Person,
    pub origin: Origin,
}

impl Principal {
    /// `person`, on behalf of the server itself.
    pub const fn of_system(person: Person) -> Self {
        Self { person, origin: Origin::SYSTEM }
    }
}
