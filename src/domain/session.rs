//! Sessions: one sign-in of one device each, how they begin and how they end. The tokens of an API client are a session, too.

use super::ids::{SessionId, UserId};
use super::time::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// How a session came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BegunBy {
    /// A sign-in with e-mail address and password.
    Password,
    /// The first run.
    SetUp,
    /// Signing up.
    Join,
    /// A link from another device of the same user.
    Transfer,
    /// A link from an admin.
    Recovery,
    /// An API client: it holds tokens of the session, no cookie.
    Tokens,
}

impl BegunBy {
    /// Every way, the closed set of the protocol.
    pub const ALL: [Self; 6] =
        [Self::Password, Self::SetUp, Self::Join, Self::Transfer, Self::Recovery, Self::Tokens];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SetUp => "setup",
            Self::Join => "join",
            Self::Transfer => "transfer",
            Self::Recovery => "recovery",
            Self::Tokens => "tokens",
        }
    }

    /// The way of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == name)
    }

    /// Whether it is somebody's very first: no other device of theirs could hear of it.
    pub const fn is_first(self) -> bool {
        matches!(self, Self::SetUp | Self::Join)
    }
}

/// A session that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    /// What the client calls itself.
    pub device: String,
    /// Where it was last used from.
    pub address: Option<IpAddr>,
    pub begun_by: BegunBy,
    pub created_at: Timestamp,
    pub last_active_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A session to begin. Tokens arrive here hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSession {
    pub user: UserId,
    pub token_hash: [u8; 32],
    pub device: String,
    pub begun_by: BegunBy,
    /// How long it lives without being used.
    pub lifetime: Duration,
    /// How many the user has then at most: those that weren't used for longest end.
    pub most: usize,
}

/// A refresh token to be made for a session. It arrives here hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRefresh {
    pub token_hash: [u8; 32],
    /// How long it may be used, and how long its session lives then.
    pub lifetime: Duration,
}

/// Which sessions of a user end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    One(SessionId),
    /// All but this one, if one is to stay.
    AllBut(Option<SessionId>),
}

/// Why somebody may set a password.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordProof {
    /// They know the one they have: this hash is what it was checked against. Should it have changed since, it proves nothing.
    Current(String),
    /// They were let back in by an admin, not longer ago than this.
    Recovery(Duration),
    /// They are at the server's command line.
    Operator,
}

/// Something that changes which sessions there are.
#[derive(Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// `password_hash` is what a password was checked against: should it have changed since, nothing begins. An API client gets a
    /// refresh token with it.
    Begin { new: NewSession, password_hash: Option<String>, refresh: Option<NewRefresh> },
    /// By a link that works once, which this uses up; `link_hash` is its token's.
    Redeem { new: NewSession, link_hash: [u8; 32] },
    /// The token with the hash `shown` is used for `next`; within `overlap` of its first use it may be used again.
    Refresh { shown: [u8; 32], next: NewRefresh, overlap: Duration },
    /// The user's own wish.
    End { user: UserId, which: Ending },
    /// All sessions but `keep` end with the old password.
    SetPassword { user: UserId, password_hash: String, proof: PasswordProof, keep: Option<SessionId> },
}

impl SessionChange {
    /// The name, for logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "session.begin",
            Self::Refresh { .. } => "token.refresh",
            Self::Redeem { .. } => "transfer.redeem",
            Self::End { .. } => "session.end",
            Self::SetPassword { .. } => "password.set",
        }
    }

    /// Whose sessions they are, where that is known.
    pub const fn user(&self) -> Option<UserId> {
        match self {
            Self::Begin { new, .. } | Self::Redeem { new, .. } => Some(new.user),
            Self::Refresh { .. } => None,
            Self::End { user, .. } | Self::SetPassword { user, .. } => Some(*user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_a_name_of_its_own() {
        for way in BegunBy::ALL {
            assert_eq!(BegunBy::parse(way.as_str()), Some(way));
        }
        assert_eq!(BegunBy::parse("magic"), None);
    }
}
