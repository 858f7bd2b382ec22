//! What is true: the rules of rooms, messages and membership, without IO, clock or serialisation.

pub mod action;
pub mod assistant;
pub mod audit;
pub mod badge;
pub mod budget;
pub mod command;
pub mod decide;
pub mod event;
pub mod idempotency;
pub mod ids;
pub mod invite;
pub mod message;
pub mod network;
pub mod person;
pub mod policy;
pub mod position;
pub mod principal;
pub mod profile;
pub mod rejection;
pub mod room;
pub mod run;
pub mod session;
pub mod signal;
pub mod standing;
pub mod time;
pub mod transfer;
pub mod webhook;

pub use action::{ActionId, ActionKind, ActionRequest, ActionResult, ActionState, NewAction, Outcome};
pub use assistant::{ApiKey, AssistantChange, AssistantTerms, BaseUrl};
pub use audit::{AuditAction, AuditNote, AuditTarget};
pub use badge::Badge;
pub use budget::{Allowance, Amount, Budget, Scope};
pub use command::{Ack, Command, Enrolment, NewRoomKind, Recorded};
pub use decide::{Decision, MessageFacts, Subject};
pub use event::{Event, EventBody};
pub use idempotency::IdempotencyKey;
pub use ids::{BotKeyId, EventId, InviteId, MessageId, RoomId, RunId, Seq, SessionId, TransferId, UserId};
pub use invite::{InviteCode, InviteState, InviteTerms};
pub use message::{MessageBody, Name};
pub use network::Network;
pub use person::{Person, Role};
pub use policy::{Action, Place, Target, may};
pub use position::{Epoch, Position};
pub use principal::{Origin, Principal, Via};
pub use profile::Bio;
pub use rejection::{Rejection, RejectionCode};
pub use room::{Members, Room, RoomCard, RoomKind};
pub use run::{
    Prices, RunEnd, RunEnded, RunKind, RunStart, RunState, Started, Summoned, Usage, is_retryable,
};
pub use session::{BegunBy, Ending, NewRefresh, NewSession, PasswordProof, Session, SessionChange};
pub use signal::{Attendance, PresenceState, Signal};
pub use standing::{Standing, StandingChange, Status, Turn};
pub use time::Timestamp;
pub use transfer::{NewTransfer, TransferKind};
pub use webhook::WebhookUrl;
