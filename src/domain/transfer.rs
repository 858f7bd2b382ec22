//! Links that sign in once: on another device of the same user, or somebody who forgot their password.

use super::ids::UserId;
use super::session::BegunBy;
use std::time::Duration;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferKind {
    /// Made by its user, for another device of theirs.
    Device,
    /// Made by an admin, for somebody who can't sign in.
    Recovery,
}

impl TransferKind {
    /// Both kinds, the closed set of the protocol.
    pub const ALL: [Self; 2] = [Self::Device, Self::Recovery];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Recovery => "recovery",
        }
    }

    /// What its session is begun by.
    pub const fn begun_by(self) -> BegunBy {
        match self {
            Self::Device => BegunBy::Transfer,
            Self::Recovery => BegunBy::Recovery,
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A link to be made. Its token arrives here hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransfer {
    /// Who is signed in by it.
    pub user: UserId,
    pub kind: TransferKind,
    pub token_hash: [u8; 32],
    /// How long it may be used.
    pub lifetime: Duration,
}
