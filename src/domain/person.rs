//! Who acts: a user as others see them.

use super::ids::UserId;
use std::sync::Arc;

/// What a user is allowed to be. Guests see only the rooms they were added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Admin,
    Member,
    Guest,
    Bot,
    Assistant,
}

impl Role {
    /// Every role, the closed set of the protocol.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Member, Self::Guest, Self::Bot, Self::Assistant];

    /// The name used on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Guest => "guest",
            Self::Bot => "bot",
            Self::Assistant => "assistant",
        }
    }

    /// Whether people have it, and not programs.
    pub const fn is_human(self) -> bool {
        matches!(self, Self::Admin | Self::Member | Self::Guest)
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// A user as the others see them, and as the one who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: UserId,
    pub name: Arc<str>,
    pub role: Role,
}

impl Person {
    /// Admins may do in any room they see what its creator may.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }
}
