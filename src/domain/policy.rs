//! Who may do what: one pure function that every route, every frame and every command is put to (AUTH-16, BOT-06).

use super::ids::UserId;
use super::person::{Person, Role};
use super::rejection::Rejection;
use super::room::RoomKind;

/// Everything somebody known can ask for, whatever door they come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Open a socket, and keep it alive.
    Connect,
    /// Follow a room on a socket, or stop doing so.
    Subscribe,
    Type,
    /// Say whether somebody looks at the socket.
    SetPresence,
    ReadMe,
    ChangeMe,
    ChangePassword,
    ReadAccount,
    ReadJoinCode,
    ChangeAccount,
    RotateJoinCode,
    ReadUsers,
    ReadUser,
    /// See those who were deactivated or banned, too.
    ReadFormerUsers,
    /// Change somebody's role, deactivate them or let them back in.
    ChangeUser,
    /// Ban somebody, or undo it.
    BanUser,
    ReadBans,
    ReadRooms,
    ReadRoom,
    CreateRoom,
    RenameRoom,
    DeleteRoom,
    AddMember,
    /// Remove somebody from a room, or leave it.
    RemoveMember,
    ReadMessages,
    Search,
    PostMessage,
    EditMessage,
    DeleteMessage,
    ReadEvents,
    MarkRead,
    /// Ask an assistant for an answer.
    AskAssistant,
    /// Have an assistant sum up a part of a room.
    CreateSummary,
    /// Stop an answer.
    StopRun,
    /// Say how one's own answer ended.
    EndRun,
    ReadSessions,
    EndSessions,
    /// Take one's session to another device.
    CreateTransfer,
    /// Let somebody back in.
    CreateRecovery,
    ReadInvites,
    CreateInvite,
    RevokeInvite,
    ReadBots,
    CreateBot,
    ChangeBot,
    RemoveBot,
    RotateBotKey,
    RevokeBotKey,
    ReadAssistants,
    CreateAssistant,
    ChangeAssistant,
    RemoveAssistant,
    /// Read one's settings for assistants, or change them.
    SyncSettings,
    /// Ask somebody's client to do something.
    RequestAction,
    /// See how far a request is that one made, or that was made of one.
    ReadAction,
    /// Say what came of a request.
    AnswerAction,
    ReadRuns,
    ReadSummaries,
    ReadBudgets,
    ChangeBudget,
    /// See what assistants were used for, by whom.
    ReadUsage,
    /// See what the server is at.
    ReadOps,
    ReadAudit,
    ExportAudit,
}

/// What is asked about, as far as the verdict hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Not known yet, or of no account: whether they may ask at all. What is refused here is refused whatever the target.
    Nothing,
    Room(Place),
    /// A message in a room.
    Message {
        place: Place,
        author: UserId,
    },
    /// Somebody's membership of a room.
    Member {
        place: Place,
        user: UserId,
    },
    /// An answer that somebody asked for.
    Run {
        place: Place,
        asker: Option<UserId>,
    },
    /// A user; `is_near` when they share a room with the asker, or are the asker.
    User {
        user: UserId,
        is_near: bool,
    },
}

/// A room, from where somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub kind: RoomKind,
    pub deleted: bool,
    pub is_member: bool,
    pub created_by: Option<UserId>,
}

/// How far an action is open, before anything is known of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circle {
    /// Everybody who is known, bots too.
    Known,
    /// Not for programs.
    People,
    /// Assistants only.
    Assistants,
    /// Programs, and admins.
    Programs,
    /// People who belong here: not for guests.
    Members,
    Admins,
}

impl Action {
    /// Every action, the closed set.
    pub const ALL: [Self; 64] = [
        Self::Connect,
        Self::Subscribe,
        Self::Type,
        Self::SetPresence,
        Self::ReadMe,
        Self::ChangeMe,
        Self::ChangePassword,
        Self::ReadAccount,
        Self::ReadJoinCode,
        Self::ChangeAccount,
        Self::RotateJoinCode,
        Self::ReadUsers,
        Self::ReadUser,
        Self::ReadFormerUsers,
        Self::ChangeUser,
        Self::BanUser,
        Self::ReadBans,
        Self::ReadRooms,
        Self::ReadRoom,
        Self::CreateRoom,
        Self::RenameRoom,
        Self::DeleteRoom,
        Self::AddMember,
        Self::RemoveMember,
        Self::ReadMessages,
        Self::Search,
        Self::PostMessage,
        Self::EditMessage,
        Self::DeleteMessage,
        Self::ReadEvents,
        Self::MarkRead,
        Self::AskAssistant,
        Self::CreateSummary,
        Self::StopRun,
        Self::EndRun,
        Self::ReadSessions,
        Self::EndSessions,
        Self::CreateTransfer,
        Self::CreateRecovery,
        Self::ReadInvites,
        Self::CreateInvite,
        Self::RevokeInvite,
        Self::ReadBots,
        Self::CreateBot,
        Self::ChangeBot,
        Self::RemoveBot,
        Self::RotateBotKey,
        Self::RevokeBotKey,
        Self::ReadAssistants,
        Self::CreateAssistant,
        Self::ChangeAssistant,
        Self::RemoveAssistant,
        Self::SyncSettings,
        Self::RequestAction,
        Self::ReadAction,
        Self::AnswerAction,
        Self::ReadRuns,
        Self::ReadSummaries,
        Self::ReadBudgets,
        Self::ChangeBudget,
        Self::ReadUsage,
        Self::ReadOps,
        Self::ReadAudit,
        Self::ExportAudit,
    ];

    const fn circle(self) -> Circle {
        match self {
            Self::Connect
            | Self::Subscribe
            | Self::Type
            | Self::ReadMe
            | Self::ReadAccount
            | Self::ReadUsers
            | Self::ReadUser
            | Self::ReadRooms
            | Self::ReadRoom
            | Self::RemoveMember
            | Self::ReadMessages
            | Self::Search
            | Self::PostMessage
            | Self::EditMessage
            | Self::DeleteMessage
            | Self::ReadEvents
            | Self::MarkRead
            | Self::AskAssistant
            | Self::CreateSummary
            | Self::StopRun
            | Self::ReadRuns
            | Self::ReadAssistants
            | Self::ReadSummaries
            | Self::ReadAction => Circle::Known,
            Self::EndRun => Circle::Assistants,
            Self::RequestAction => Circle::Programs,
            Self::SetPresence
            | Self::ChangeMe
            | Self::ChangePassword
            | Self::ReadSessions
            | Self::EndSessions
            | Self::CreateTransfer
            | Self::SyncSettings
            | Self::AnswerAction => Circle::People,
            Self::CreateRoom | Self::RenameRoom | Self::DeleteRoom | Self::AddMember => Circle::Members,
            Self::ReadJoinCode
            | Self::ChangeAccount
            | Self::RotateJoinCode
            | Self::ReadFormerUsers
            | Self::ChangeUser
            | Self::BanUser
            | Self::ReadBans
            | Self::CreateRecovery
            | Self::ReadInvites
            | Self::CreateInvite
            | Self::RevokeInvite
            | Self::ReadBots
            | Self::CreateBot
            | Self::ChangeBot
            | Self::RemoveBot
            | Self::RotateBotKey
            | Self::RevokeBotKey
            | Self::CreateAssistant
            | Self::ChangeAssistant
            | Self::RemoveAssistant
            | Self::ReadBudgets
            | Self::ChangeBudget
            | Self::ReadUsage
            | Self::ReadOps
            | Self::ReadAudit
            | Self::ExportAudit => Circle::Admins,
        }
    }
}

/// Whether `who`, an active user, may do `action` to `target`. What one may not see is `not_found`, all else `forbidden`.
pub fn may(who: &Person, action: Action, target: Target) -> Result<(), Rejection> {
    match (action.circle(), who.role) {
        (Circle::Known, _)
        | (Circle::People, Role::Admin | Role::Member | Role::Guest)
        | (Circle::Members, Role::Admin | Role::Member)
        | (Circle::Assistants, Role::Assistant)
        | (Circle::Programs, Role::Admin | Role::Bot | Role::Assistant)
        | (Circle::Admins, Role::Admin) => {}
        (Circle::Assistants, _) => return Err(Rejection::forbidden("only assistants do this")),
        (Circle::Programs, Role::Member | Role::Guest) => {
            return Err(Rejection::forbidden("only programs and admins do this"));
        }
        (Circle::People, Role::Bot | Role::Assistant) => {
            return Err(Rejection::forbidden("only people do this"));
        }
        (Circle::Members, Role::Guest | Role::Bot | Role::Assistant) => {
            return Err(Rejection::forbidden("only members do this"));
        }
        (Circle::Admins, Role::Member | Role::Guest | Role::Bot | Role::Assistant) => {
            return Err(Rejection::forbidden("only admins do this"));
        }
    }
    match target {
        Target::Nothing => Ok(()),
        Target::Room(place) => in_room(who, action, &place),
        Target::Message { place, author } => {
            in_room(who, action, &place)?;
            let changes = matches!(action, Action::EditMessage | Action::DeleteMessage);
            if changes && author != who.id && !runs(who, &place) {
                return Err(Rejection::forbidden("this message is somebody else's"));
            }
            Ok(())
        }
        Target::Member { place, user } => {
            in_room(who, action, &place)?;
            if action == Action::RemoveMember && user != who.id && !runs(who, &place) {
                return Err(Rejection::forbidden("only the room's creator and admins remove others"));
            }
            Ok(())
        }
        Target::Run { place, asker } => {
            in_room(who, action, &place)?;
            if action == Action::StopRun && asker != Some(who.id) && !runs(who, &place) {
                return Err(Rejection::forbidden("somebody else asked for this answer"));
            }
            Ok(())
        }
        Target::User { is_near: false, .. } if who.role == Role::Guest => Err(Rejection::not_found("user")),
        Target::User { user, .. } if action == Action::BanUser && user == who.id => {
            Err(Rejection::forbidden("nobody bans themselves"))
        }
        Target::User { .. } => Ok(()),
    }
}

fn in_room(who: &Person, action: Action, place: &Place) -> Result<(), Rejection> {
    if place.deleted || !place.is_member {
        return Err(Rejection::not_found("room"));
    }
    match (action, place.kind) {
        (Action::PostMessage | Action::EditMessage | Action::DeleteMessage, kind) if kind.is_system() => {
            Err(Rejection::forbidden("nobody posts in a system room"))
        }
        (Action::RenameRoom | Action::DeleteRoom, RoomKind::Open | RoomKind::Closed) => {
            if runs(who, place) {
                return Ok(());
            }
            Err(Rejection::forbidden("only the room's creator and admins do this"))
        }
        (Action::RenameRoom | Action::DeleteRoom, RoomKind::Direct | RoomKind::Inbox | RoomKind::Commons) => {
            Err(Rejection::forbidden("a room of this kind stays as it is"))
        }
        (
            Action::AddMember | Action::RemoveMember,
            RoomKind::Direct | RoomKind::Inbox | RoomKind::Commons,
        ) => Err(Rejection::forbidden("the members of this room are fixed")),
        _ => Ok(()),
    }
}

/// Whether the room is theirs to look after. Who made it and became a guest since has no say in it any more.
fn runs(who: &Person, place: &Place) -> bool {
    match who.role {
        Role::Admin => true,
        Role::Member => place.created_by == Some(who.id),
        Role::Guest | Role::Bot | Role::Assistant => false,
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
