//! Why a command was refused: an answer to a person, never an incident.

use super::ids::RunId;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The closed set of `error.code` (CONN-14, PROJ-06).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// A field has the wrong shape or value; `field` names it.
    InvalidPayload,
    /// No credentials, or wrong ones.
    Unauthenticated,
    /// The credentials that were shown are nobody's.
    TokenInvalid,
    /// They were good once, and their time is over.
    TokenExpired,
    /// They were good once, and were taken back.
    TokenRevoked,
    /// Known, but not allowed.
    Forbidden,
    /// Nobody comes in from this address.
    Banned,
    /// Doesn't exist, or isn't the asker's to see.
    NotFound,
    /// It was there, and is used up or over.
    Gone,
    /// The resource exists, the method doesn't.
    MethodNotAllowed,
    /// First run is over.
    AlreadySetUp,
    /// Somebody signs in with this address.
    EmailTaken,
    /// Nobody would be admin any more.
    LastAdmin,
    /// This `client_message_id` was used for another body.
    IdempotencyConflict,
    /// What came of the request with this key is not known any more; it is not done a second time.
    IdempotencyExpired,
    /// The message changed meanwhile; `version` is the current one.
    VersionConflict,
    /// Over a size limit.
    TooLarge,
    /// Too many in too short a time.
    RateLimited,
    /// The same text again and again.
    DuplicateMessage,
    /// A queue is full. Nothing was stored.
    Overloaded,
    /// The store didn't answer. The outcome may be unknown.
    Unavailable,
    /// The store takes no writes at present. Nothing was stored.
    ReadOnly,
    /// There is an answer under way in this conversation; `run` is it.
    AiBusy,
    /// Too many answers wait already.
    AiQueueFull,
    /// The assistant can't be asked at present.
    AiUnavailable,
    /// More would be over a budget.
    BudgetExceeded,
    /// The settings that were to be gone by aren't those there are; `version` is the current one.
    SettingsConflict,
    /// It was awaited, and its time is over.
    Expired,
    /// Nobody answered in time.
    RequestTimeout,
    /// A defect of ours.
    Internal,
}

impl RejectionCode {
    /// Every code, the closed set of the protocol.
    pub const ALL: [Self; 30] = [
        Self::InvalidPayload,
        Self::Unauthenticated,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::Forbidden,
        Self::Banned,
        Self::NotFound,
        Self::Gone,
        Self::MethodNotAllowed,
        Self::AlreadySetUp,
        Self::EmailTaken,
        Self::LastAdmin,
        Self::IdempotencyConflict,
        Self::IdempotencyExpired,
        Self::VersionConflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::DuplicateMessage,
        Self::Overloaded,
        Self::Unavailable,
        Self::ReadOnly,
        Self::AiBusy,
        Self::AiQueueFull,
        Self::AiUnavailable,
        Self::BudgetExceeded,
        Self::SettingsConflict,
        Self::Expired,
        Self::RequestTimeout,
        Self::Internal,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "invalid_payload",
            Self::Unauthenticated => "unauthenticated",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::Forbidden => "forbidden",
            Self::Banned => "banned",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AlreadySetUp => "already_set_up",
            Self::EmailTaken => "email_taken",
            Self::LastAdmin => "last_admin",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::IdempotencyExpired => "idempotency_expired",
            Self::VersionConflict => "version_conflict",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::DuplicateMessage => "duplicate_message",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::ReadOnly => "read_only",
            Self::AiBusy => "ai_busy",
            Self::AiQueueFull => "ai_queue_full",
            Self::AiUnavailable => "ai_unavailable",
            Self::BudgetExceeded => "budget_exceeded",
            Self::SettingsConflict => "settings_conflict",
            Self::Expired => "expired",
            Self::RequestTimeout => "request_timeout",
            Self::Internal => "internal",
        }
    }

    /// Whether the same command may succeed later without a change.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::Unavailable
                | Self::ReadOnly
                | Self::AiBusy
                | Self::AiQueueFull
                | Self::AiUnavailable
        )
    }
}

/// A refusal, with what the asker needs to do better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: RejectionCode,
    /// One sentence for a person; carries no secret and no internals.
    pub message: Cow<'static, str>,
    /// The field that was wrong.
    pub field: Option<Cow<'static, str>>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    /// The current version, with [`RejectionCode::VersionConflict`] and [`RejectionCode::SettingsConflict`].
    pub version: Option<i32>,
    /// What is under way, with [`RejectionCode::AiBusy`].
    pub run: Option<RunId>,
}

impl Rejection {
    /// A refusal with nothing but its code and a sentence.
    pub fn new(code: RejectionCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None, retry_after: None, version: None, run: None }
    }

    /// `field` is wrong; `problem` says how ("is blank").
    pub fn invalid(field: impl Into<Cow<'static, str>>, problem: &str) -> Self {
        let field = field.into();
        let message = format!("{field} {problem}");
        Self { field: Some(field), ..Self::new(RejectionCode::InvalidPayload, message) }
    }

    /// `field` is over `limit` bytes.
    pub fn too_large(field: &'static str, limit: usize) -> Self {
        let message = format!("{field} is larger than {limit} bytes");
        Self { field: Some(field.into()), ..Self::new(RejectionCode::TooLarge, message) }
    }

    /// There is no such `what`, as far as the asker may know.
    pub fn not_found(what: &str) -> Self {
        Self::new(RejectionCode::NotFound, format!("no such {what}"))
    }

    /// The `what` was there, and is used up or over.
    pub fn gone(what: &str) -> Self {
        Self::new(RejectionCode::Gone, format!("this {what} is used up or over"))
    }

    /// Somebody has to be admin.
    pub fn last_admin() -> Self {
        Self::new(RejectionCode::LastAdmin, "this is the last admin: make somebody else one first")
    }

    /// The asker may not; `why` is a sentence.
    pub fn forbidden(why: &'static str) -> Self {
        Self::new(RejectionCode::Forbidden, why)
    }

    /// The message is at version `current` by now.
    pub fn version_conflict(current: i32) -> Self {
        Self {
            version: Some(current),
            ..Self::new(RejectionCode::VersionConflict, "the message was changed meanwhile")
        }
    }

    /// Nothing is taken from where this comes from.
    pub fn banned() -> Self {
        Self::new(
            RejectionCode::Banned,
            "nothing is taken from this address: somebody was banned who used it",
        )
    }

    /// Too many `what` in too short a time; the next fits after `wait`.
    pub fn rate_limited(what: &str, wait: Duration) -> Self {
        let message = format!("too many {what} in too short a time");
        // In whole milliseconds on the wire: rounded up, so that waiting so long is enough.
        let wait =
            Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX));
        Self { retry_after: Some(wait), ..Self::new(RejectionCode::RateLimited, message) }
    }

    /// The same text was posted to the room too often.
    pub fn duplicate_message() -> Self {
        Self::new(RejectionCode::DuplicateMessage, "this was said here several times just now")
    }

    /// `run` is under way in this conversation.
    pub fn ai_busy(run: RunId) -> Self {
        let message = "an answer is under way in this conversation";
        Self {
            run: Some(run),
            retry_after: Some(Duration::from_secs(2)),
            ..Self::new(RejectionCode::AiBusy, message)
        }
    }

    /// The settings are at version `current` by now.
    pub fn settings_conflict(current: i64) -> Self {
        Self {
            version: i32::try_from(current).ok(),
            ..Self::new(RejectionCode::SettingsConflict, "the settings were changed meanwhile")
        }
    }

    /// Too many answers wait; one more may fit after `wait`.
    pub fn ai_queue_full(wait: Duration) -> Self {
        let message = "too many answers wait already";
        Self { retry_after: Some(wait), ..Self::new(RejectionCode::AiQueueFull, message) }
    }

    /// The assistant can't be asked; if it is known, for how long.
    pub fn ai_unavailable(why: &'static str, wait: Option<Duration>) -> Self {
        Self { retry_after: wait, ..Self::new(RejectionCode::AiUnavailable, why) }
    }

    /// The store takes no writes at present; nothing was stored.
    pub fn read_only() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(RejectionCode::ReadOnly, "nothing can be written at present, reading goes on")
        }
    }

    /// A queue is full; nothing was stored.
    pub fn overloaded() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(RejectionCode::Overloaded, "too much to do, nothing was stored")
        }
    }

    /// The store didn't answer; repeating the command is harmless.
    pub fn unavailable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(RejectionCode::Unavailable, "the store is not reachable, please repeat")
        }
    }

    /// A defect; the log has the details.
    pub fn internal() -> Self {
        Self::new(RejectionCode::Internal, "something went wrong on our side")
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Rejection {}
