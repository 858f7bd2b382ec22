//! The one error object of socket and REST (PROJ-06).

use crate::domain::{Rejection, RejectionCode, RunId};
use serde::Serialize;

/// A rejection as the wire shows it.
#[derive(Debug, Serialize)]
pub struct ErrorObject<'a> {
    pub code: &'static str,
    pub message: &'a str,
    pub retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<i64>,
}

impl<'a> From<&'a Rejection> for ErrorObject<'a> {
    fn from(rejection: &'a Rejection) -> Self {
        Self {
            code: rejection.code.as_str(),
            message: &rejection.message,
            retryable: rejection.code.retryable(),
            field: rejection.field.as_deref(),
            retry_after_ms: rejection
                .retry_after
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            version: rejection.version,
            run_id: rejection.run.map(RunId::get),
        }
    }
}

/// The HTTP status of a code. Unreadable JSON is 400 instead of 422; the transport knows the difference.
pub const fn http_status(code: RejectionCode) -> u16 {
    match code {
        RejectionCode::InvalidPayload => 422,
        RejectionCode::Unauthenticated
        | RejectionCode::TokenInvalid
        | RejectionCode::TokenExpired
        | RejectionCode::TokenRevoked => 401,
        RejectionCode::Forbidden | RejectionCode::Banned => 403,
        RejectionCode::NotFound => 404,
        RejectionCode::Gone | RejectionCode::Expired => 410,
        RejectionCode::BudgetExceeded => 402,
        RejectionCode::RequestTimeout => 504,
        RejectionCode::MethodNotAllowed => 405,
        RejectionCode::AlreadySetUp
        | RejectionCode::EmailTaken
        | RejectionCode::LastAdmin
        | RejectionCode::IdempotencyConflict
        | RejectionCode::IdempotencyExpired
        | RejectionCode::VersionConflict
        | RejectionCode::DuplicateMessage
        | RejectionCode::AiBusy
        | RejectionCode::SettingsConflict => 409,
        RejectionCode::TooLarge => 413,
        RejectionCode::RateLimited | RejectionCode::AiQueueFull => 429,
        RejectionCode::Overloaded
        | RejectionCode::Unavailable
        | RejectionCode::ReadOnly
        | RejectionCode::AiUnavailable => 503,
        RejectionCode::Internal => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves CONN-14.
    #[test]
    fn the_document_lists_every_code() {
        let document = include_str!("../../PROTOCOL.md");
        for code in RejectionCode::ALL {
            // Reasons of answers may have the same names.
            let (name, status) = (format!("| `{}` |", code.as_str()), http_status(code).to_string());
            let row = document.lines().find(|line| line.starts_with(&name) && line.contains(&status));
            let row = row.unwrap_or_else(|| panic!("{} with {status} is missing", code.as_str()));
            assert_eq!(row.contains("| yes |"), code.retryable(), "{row}");
        }
    }
}
