//! What may be asked for. A command is imperative and may be refused.

use super::action::{ActionId, ActionState};
use super::assistant::{AssistantChange, AssistantTerms};
use super::budget::{Budget, Scope};
use super::event::Event;
use super::idempotency::IdempotencyKey;
use super::ids::{InviteId, MessageId, RoomId, RunId, Seq, SessionId, UserId};
use super::invite::{InviteCode, InviteTerms};
use super::message::{MessageBody, Name};
use super::person::{Person, Role};
use super::policy::Action;
use super::position::Position;
use super::profile::Bio;
use super::room::{RoomCard, RoomKind};
use super::run::{RunEnd, Started, Summoned};
use super::session::Session;
use super::standing::StandingChange;
use super::time::Timestamp;
use super::transfer::{NewTransfer, TransferKind};
use super::webhook::WebhookUrl;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The kinds of room that people may make; the others come with the account and with each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewRoomKind {
    Open,
    Closed,
    Direct,
}

impl From<NewRoomKind> for RoomKind {
    fn from(kind: NewRoomKind) -> Self {
        match kind {
            NewRoomKind::Open => Self::Open,
            NewRoomKind::Closed => Self::Closed,
            NewRoomKind::Direct => Self::Direct,
        }
    }
}

/// A change somebody asks for, the same from WebSocket, REST and bots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    PostMessage {
        room: RoomId,
        client_message_id: Uuid,
        body: MessageBody,
        /// The version of the author's settings that assistants are to go by; none is the one there is.
        settings: Option<i64>,
    },
    /// `version` is the one the editor saw.
    EditMessage {
        room: RoomId,
        message: MessageId,
        version: i32,
        body: MessageBody,
    },
    DeleteMessage {
        room: RoomId,
        message: MessageId,
    },
    /// A direct room has no name and is found again by its exact set of members; other rooms by the key, if there is one.
    CreateRoom {
        kind: NewRoomKind,
        name: Option<Name>,
        members: Vec<UserId>,
        key: Option<IdempotencyKey>,
    },
    RenameRoom {
        room: RoomId,
        name: Name,
    },
    DeleteRoom {
        room: RoomId,
    },
    AddMember {
        room: RoomId,
        user: UserId,
    },
    RemoveMember {
        room: RoomId,
        user: UserId,
    },
    MarkRead {
        room: RoomId,
        seq: Seq,
    },
    /// Asks an assistant to answer a message; with `regenerates` once more, after that run.
    AskAssistant {
        room: RoomId,
        assistant: UserId,
        message: MessageId,
        regenerates: Option<RunId>,
        settings: Option<i64>,
    },
    /// Has an assistant sum up what was said from `start` to `end`. Asked by the assistant itself, nothing is posted.
    Summarise {
        room: RoomId,
        assistant: UserId,
        start: MessageId,
        end: MessageId,
    },
    StopRun {
        room: RoomId,
        run: RunId,
    },
    /// The assistant's own word on how its run ended; `holder` is whoever worked at it.
    EndRun {
        room: RoomId,
        run: RunId,
        holder: Uuid,
        end: RunEnd,
    },
    /// What assistants are to go by: a JSON object, as text. `version` is the one it takes the place of.
    SyncSettings {
        version: i64,
        settings: Arc<str>,
    },
    UpdateProfile {
        name: Option<Name>,
        bio: Option<Bio>,
    },
    /// `settings` is a JSON object, as text.
    UpdateAccount {
        name: Option<Name>,
        settings: Option<String>,
    },
    /// `webhook` is the new address; `Some(None)` takes it away.
    UpdateBot {
        bot: UserId,
        name: Option<Name>,
        webhook: Option<Option<WebhookUrl>>,
    },
    CreateTransfer(NewTransfer),
    /// Deactivates a bot, and takes its keys back.
    RemoveBot {
        bot: UserId,
    },
    UpdateAssistant {
        assistant: UserId,
        name: Option<Name>,
        change: Box<AssistantChange>,
    },
    /// Deactivates an assistant, and ends what it is about to say.
    RemoveAssistant {
        assistant: UserId,
    },
    /// A user or room of id 0 is everybody, or every room, without a budget of their own; without limits there is none.
    SetBudget {
        scope: Scope,
        budget: Budget,
    },
    /// Another role, deactivation, and the way back from it.
    UpdateUser {
        user: UserId,
        change: StandingChange,
    },
    BanUser {
        user: UserId,
        reason: Bio,
    },
    LiftBan {
        user: UserId,
    },
    CreateInvite {
        code: InviteCode,
        terms: InviteTerms,
        /// The asker's own, as for [`Command::CreateRoom`].
        key: Option<IdempotencyKey>,
    },
    RevokeInvite {
        invite: InviteId,
    },
    /// Another standing code; the old one invites nobody any more.
    RotateJoinCode {
        code: InviteCode,
    },
}

impl Command {
    /// The room whose actor serialises this command; `None` is the commons.
    pub const fn room(&self) -> Option<RoomId> {
        match self {
            Self::PostMessage { room, .. }
            | Self::EditMessage { room, .. }
            | Self::DeleteMessage { room, .. }
            | Self::RenameRoom { room, .. }
            | Self::DeleteRoom { room }
            | Self::AddMember { room, .. }
            | Self::RemoveMember { room, .. }
            | Self::MarkRead { room, .. }
            | Self::AskAssistant { room, .. }
            | Self::Summarise { room, .. }
            | Self::StopRun { room, .. }
            | Self::EndRun { room, .. } => Some(*room),
            Self::CreateRoom { .. }
            | Self::SyncSettings { .. }
            | Self::UpdateProfile { .. }
            | Self::UpdateAccount { .. }
            | Self::UpdateBot { .. }
            | Self::CreateTransfer(_)
            | Self::RemoveBot { .. }
            | Self::UpdateAssistant { .. }
            | Self::RemoveAssistant { .. }
            | Self::SetBudget { .. }
            | Self::UpdateUser { .. }
            | Self::BanUser { .. }
            | Self::LiftBan { .. }
            | Self::CreateInvite { .. }
            | Self::RevokeInvite { .. }
            | Self::RotateJoinCode { .. } => None,
        }
    }

    /// What whoever sends it has to be allowed.
    pub const fn action(&self) -> Action {
        match self {
            Self::PostMessage { .. } => Action::PostMessage,
            Self::EditMessage { .. } => Action::EditMessage,
            Self::DeleteMessage { .. } => Action::DeleteMessage,
            Self::CreateRoom { .. } => Action::CreateRoom,
            Self::RenameRoom { .. } => Action::RenameRoom,
            Self::DeleteRoom { .. } => Action::DeleteRoom,
            Self::AddMember { .. } => Action::AddMember,
            Self::RemoveMember { .. } => Action::RemoveMember,
            Self::MarkRead { .. } => Action::MarkRead,
            Self::AskAssistant { .. } => Action::AskAssistant,
            Self::Summarise { .. } => Action::CreateSummary,
            Self::StopRun { .. } => Action::StopRun,
            Self::EndRun { .. } => Action::EndRun,
            Self::SyncSettings { .. } => Action::SyncSettings,
            Self::UpdateProfile { .. } => Action::ChangeMe,
            Self::UpdateAccount { .. } => Action::ChangeAccount,
            Self::UpdateBot { .. } => Action::ChangeBot,
            Self::RemoveBot { .. } => Action::RemoveBot,
            Self::UpdateAssistant { .. } => Action::ChangeAssistant,
            Self::RemoveAssistant { .. } => Action::RemoveAssistant,
            Self::SetBudget { .. } => Action::ChangeBudget,
            Self::CreateTransfer(new) => match new.kind {
                TransferKind::Device => Action::CreateTransfer,
                TransferKind::Recovery => Action::CreateRecovery,
            },
            Self::UpdateUser { .. } => Action::ChangeUser,
            Self::BanUser { .. } | Self::LiftBan { .. } => Action::BanUser,
            Self::CreateInvite { .. } => Action::CreateInvite,
            Self::RevokeInvite { .. } => Action::RevokeInvite,
            Self::RotateJoinCode { .. } => Action::RotateJoinCode,
        }
    }

    /// The name on the wire, for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::PostMessage { .. } => "message.post",
            Self::EditMessage { .. } => "message.edit",
            Self::DeleteMessage { .. } => "message.delete",
            Self::CreateRoom { .. } => "room.create",
            Self::RenameRoom { .. } => "room.update",
            Self::DeleteRoom { .. } => "room.delete",
            Self::AddMember { .. } => "member.add",
            Self::RemoveMember { .. } => "member.remove",
            Self::MarkRead { .. } => "read.mark",
            Self::AskAssistant { .. } => "ai.ask",
            Self::Summarise { .. } => "summary.create",
            Self::StopRun { .. } => "ai.stop",
            Self::EndRun { .. } => "ai.end",
            Self::SyncSettings { .. } => "settings.sync",
            Self::UpdateProfile { .. } => "profile.update",
            Self::UpdateAccount { .. } => "account.update",
            Self::UpdateBot { .. } => "bot.update",
            Self::RemoveBot { .. } => "bot.remove",
            Self::UpdateAssistant { .. } => "assistant.update",
            Self::RemoveAssistant { .. } => "assistant.remove",
            Self::SetBudget { .. } => "budget.set",
            Self::CreateTransfer(_) => "transfer.create",
            Self::UpdateUser { .. } => "user.update",
            Self::BanUser { .. } => "user.ban",
            Self::LiftBan { .. } => "user.unban",
            Self::CreateInvite { .. } => "invite.create",
            Self::RevokeInvite { .. } => "invite.revoke",
            Self::RotateJoinCode { .. } => "join_code.rotate",
        }
    }
}

/// How somebody becomes a user. Passwords and keys arrive here hashed.
#[derive(Clone, PartialEq, Eq)]
pub enum Enrolment {
    /// First run: the account, its commons, its first admin and its first room.
    SetUp { account_name: Name, join_code: String, name: Name, email: String, password_hash: String },
    /// Sign-up by invite code; a guest may come without a way to sign in again: address and the password's hash.
    Join { code: InviteCode, name: Name, credentials: Option<(String, String)> },
    /// An operator at the command line.
    Operator { name: Name, email: String, password_hash: String, role: Role },
    /// A bot, made by an admin.
    Bot {
        by: Person,
        name: Name,
        key_hash: [u8; 32],
        webhook: Option<WebhookUrl>,
        /// How long its first key is good; none is without end.
        expires_in: Option<Duration>,
        key: Option<IdempotencyKey>,
    },
    /// An assistant, made by an admin.
    Assistant { by: Person, name: Name, terms: Box<AssistantTerms> },
    /// The same, made by an operator at the command line.
    OperatorsAssistant { name: Name, terms: Box<AssistantTerms> },
}

/// What a command came to, as the asker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// The event is in the log.
    Recorded(Position),
    /// It was so already: nothing was written.
    Unchanged,
    Posted {
        position: Position,
        client_message_id: Uuid,
        duplicate: bool,
        /// The assistants that it mentions.
        runs: Vec<Summoned>,
    },
    Asked(Started),
    /// A summary is to be made, or is there already.
    Summarising {
        run: RunId,
        duplicate: bool,
    },
    /// Whoever works at it is told; it ends soon.
    RunStopping {
        room: RoomId,
        run: RunId,
    },
    Edited {
        position: Position,
        message: MessageId,
        version: i32,
        duplicate: bool,
    },
    /// `position` is missing when it was deleted before.
    Deleted {
        position: Option<Position>,
        message: MessageId,
    },
    RoomCreated {
        room: Arc<RoomCard>,
        duplicate: bool,
    },
    Read {
        room: RoomId,
        read: Seq,
        unread: i64,
    },
    Settings {
        version: i64,
        duplicate: bool,
    },
    /// How the request of somebody's client ended: by this result, or by one before.
    ActionAnswered {
        id: ActionId,
        state: ActionState,
        duplicate: bool,
    },
    Invited {
        invite: InviteId,
    },
    /// `room` is the first room, after [`Enrolment::SetUp`].
    Enrolled {
        person: Person,
        room: Option<Arc<RoomCard>>,
    },
    SessionBegun(Arc<Session>),
    Refreshed {
        session: Arc<Session>,
        person: Person,
    },
    /// Somebody else may have this refresh token: its session has ended.
    TokenReused,
    /// These sessions ended.
    SessionsEnded(Vec<SessionId>),
    TransferCreated {
        expires_at: Timestamp,
    },
    /// It was done before, with the same idempotency key, and came to this.
    Replayed(Box<Ack>),
}

/// A committed event with its `data` as JSON text: encoded once, stored and sent as these very bytes.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub event: Event,
    pub payload: Arc<str>,
}
