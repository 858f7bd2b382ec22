//! What is remembered of who did what (AUD-01): a closed list of actions, each with what it was done to.

use super::ids::{BotKeyId, InviteId, MessageId, RoomId, SessionId, TransferId, UserId};

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident => $name:literal,)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditAction {
            $($(#[$doc])* $action,)*
        }

        impl AuditAction {
            /// Every action, the closed list of the protocol.
            pub const ALL: &'static [Self] = &[$(Self::$action,)*];

            /// The name on the wire and in the store.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$action => $name,)*
                }
            }
        }
    };
}

actions! {
    SessionBegun => "session.begun",
    /// A wrong password, an unknown address, a closed account.
    SessionRefused => "session.refused",
    SessionEnded => "session.ended",
    /// A refresh token was shown again after its time: somebody else may have it.
    TokenReused => "token.reused",
    PasswordChanged => "password.changed",
    TransferCreated => "transfer.created",
    TransferRedeemed => "transfer.redeemed",
    /// A link of ours that was used up or over.
    TransferRefused => "transfer.refused",
    UserJoined => "user.joined",
    UserRoleChanged => "user.role_changed",
    UserDeactivated => "user.deactivated",
    UserReactivated => "user.reactivated",
    UserBanned => "user.banned",
    UserUnbanned => "user.unbanned",
    InviteCreated => "invite.created",
    InviteRevoked => "invite.revoked",
    JoinCodeRotated => "join_code.rotated",
    BotCreated => "bot.created",
    BotChanged => "bot.changed",
    BotDeactivated => "bot.deactivated",
    AssistantCreated => "assistant.created",
    AssistantChanged => "assistant.changed",
    AssistantDeactivated => "assistant.deactivated",
    BudgetChanged => "budget.changed",
    BotKeyCreated => "bot_key.created",
    BotKeyRevoked => "bot_key.revoked",
    /// Whatever a bot did; `command` in the detail says what (BOT-05).
    BotActed => "bot.acted",
    /// By somebody else than its author.
    MessageEdited => "message.edited",
    /// By somebody else than its author.
    MessageDeleted => "message.deleted",
    RoomRenamed => "room.renamed",
    RoomDeleted => "room.deleted",
    /// By somebody else than themselves.
    MemberRemoved => "member.removed",
    AccountChanged => "account.changed",
    AuditExported => "audit.exported",
    /// Another key signs access tokens and links.
    SigningKeyRotated => "signing_key.rotated",
}

impl AuditAction {
    /// The action of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == name)
    }
}

/// What it was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditTarget {
    Account,
    User(UserId),
    Session(SessionId),
    Room(RoomId),
    Message(MessageId),
    Invite(InviteId),
    Transfer(TransferId),
    BotKey(BotKeyId),
}

impl AuditTarget {
    /// The kinds, the closed list of the protocol.
    pub const KINDS: [&'static str; 8] =
        ["account", "user", "session", "room", "message", "invite", "transfer", "bot_key"];

    /// The kind's name.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::User(_) => "user",
            Self::Session(_) => "session",
            Self::Room(_) => "room",
            Self::Message(_) => "message",
            Self::Invite(_) => "invite",
            Self::Transfer(_) => "transfer",
            Self::BotKey(_) => "bot_key",
        }
    }

    /// Its number; the account is the only one.
    pub const fn id(self) -> i64 {
        match self {
            Self::Account => 1,
            Self::User(id) => id.get(),
            Self::Session(id) => id.get(),
            Self::Room(id) => id.get(),
            Self::Message(id) => id.get(),
            Self::Invite(id) => id.get(),
            Self::Transfer(id) => id.get(),
            Self::BotKey(id) => id.get(),
        }
    }
}

/// One thing that was done, to be written with it. The detail never holds a secret or an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditNote {
    pub action: AuditAction,
    pub target: Option<AuditTarget>,
    pub room: Option<RoomId>,
    /// More about it, by name.
    pub detail: Vec<(&'static str, String)>,
}

impl AuditNote {
    /// `action` on `target`.
    pub const fn new(action: AuditAction, target: AuditTarget) -> Self {
        Self { action, target: Some(target), room: None, detail: Vec::new() }
    }

    /// `action` on nothing in particular.
    pub const fn bare(action: AuditAction) -> Self {
        Self { action, target: None, room: None, detail: Vec::new() }
    }

    /// The same, in `room`.
    #[must_use]
    pub const fn in_room(mut self, room: RoomId) -> Self {
        self.room = Some(room);
        self
    }

    /// The same, with more about it.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.detail.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Proves AUD-01.
    #[test]
    fn the_document_lists_every_action_and_no_other() {
        let document = include_str!("../../PROTOCOL.md");
        let mut sections = document.split("\n### ").flat_map(|section| section.split("\n## "));
        let section = sections.find(|section| section.starts_with("4.7 The audit trail"));
        let rows = section
            .expect("a section")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let (written, known): (BTreeSet<&str>, BTreeSet<&str>) =
            (rows.collect(), AuditAction::ALL.iter().map(|action| action.as_str()).collect());
        assert_eq!(written, known);
        for kind in AuditTarget::KINDS {
            assert!(section.expect("a section").contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn an_action_is_found_by_its_name() {
        for action in AuditAction::ALL {
            assert_eq!(AuditAction::parse(action.as_str()), Some(*action));
        }
        assert_eq!(AuditAction::parse("room.painted"), None);
    }
}
