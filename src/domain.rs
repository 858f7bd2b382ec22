//! What is true: the rules of rooms, messages and membership, without IO, clock or serialisation.

pub mod audit;
pub mod badge;
pub mod command;
pub mod decide;
pub mod event;
pub mod idempotency;
pub mod ids;
pub mod message;
pub mod person;
pub mod policy;
pub mod position;
pub mod principal;
pub mod rejection;
pub mod room;
pub mod session;
pub mod signal;
pub mod time;
pub mod webhook;

pub use audit::{AuditAction, AuditNote, AuditTarget};
pub use badge::Badge;
pub use command::{Ack, Command, Enrolment, NewRoomKind, Recorded};
pub use decide::{Decision, MessageFacts, Subject};
pub use event::{Event, EventBody};
pub use idempotency::IdempotencyKey;
pub use ids::{BotKeyId, EventId, InviteId, MessageId, RoomId, Seq, SessionId, TransferId, UserId};
pub use message::{MessageBody, Name};
pub use person::{Person, Role};
pub use policy::{Action, Place, Target, may};
pub use position::{Epoch, Position};
pub use principal::{Origin, Principal, Via};
pub use rejection::{Rejection, RejectionCode};
pub use room::{Members, Room, RoomCard, RoomKind};
pub use session::{BegunBy, Ending, NewRefresh, NewSession, PasswordProof, Session, SessionChange};
pub use signal::{Attendance, PresenceState, Signal};
pub use time::Timestamp;
pub use webhook::WebhookUrl;
