//! Errors by whose they are (OBS-07), and when the last of each kind was (OBS-05).

use super::catalog;
use crate::domain::{RejectionCode, Timestamp};
use ::metrics::{counter, gauge};
use chrono::Utc;
use std::sync::{Mutex, PoisonError};

/// Whose error it is, and so who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Of somebody we asked: an engine, a receiver of webhooks, a client that was to act.
    Upstream,
    /// Ours: a defect, a store that fails, more load than there is room for.
    Server,
    /// Of whoever asked: what can't be, may not be or isn't there.
    Validation,
    /// More than somebody is allowed.
    RateLimit,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Upstream, Self::Server, Self::Validation, Self::RateLimit];

    /// Its name, as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "UPSTREAM",
            Self::Server => "SERVER",
            Self::Validation => "VALIDATION",
            Self::RateLimit => "RLIMIT",
        }
    }

    /// The class of a refusal.
    pub const fn of(code: RejectionCode) -> Self {
        use RejectionCode as Code;
        match code {
            Code::AiUnavailable | Code::RequestTimeout => Self::Upstream,
            Code::Overloaded | Code::Unavailable | Code::ReadOnly | Code::Internal => Self::Server,
            Code::RateLimited | Code::DuplicateMessage | Code::AiQueueFull | Code::BudgetExceeded => {
                Self::RateLimit
            }
            _ => Self::Validation,
        }
    }
}

/// The last error of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastError {
    pub class: ErrorClass,
    /// An error code or a reason, from a closed set.
    pub code: &'static str,
    pub at: Timestamp,
}

/// At most one of each class.
static LAST: Mutex<Vec<LastError>> = Mutex::new(Vec::new());

/// Starts what is counted at zero.
pub(super) fn begin() {
    for class in ErrorClass::ALL {
        counter!(catalog::ERRORS, "class" => class.as_str()).increment(0);
        gauge!(catalog::LAST_ERROR, "class" => class.as_str()).set(0.0);
    }
}

/// There was an error.
pub(super) fn count(class: ErrorClass, code: &'static str) {
    let at = Timestamp::from(Utc::now());
    counter!(catalog::ERRORS, "class" => class.as_str()).increment(1);
    // Whole seconds: exact until 2106.
    let seconds = u32::try_from(at.as_millis() / 1000).unwrap_or(u32::MAX);
    gauge!(catalog::LAST_ERROR, "class" => class.as_str()).set(f64::from(seconds));
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = LastError { class, code, at };
    match last.iter_mut().find(|last| last.class == class) {
        Some(before) => *before = now,
        None => last.push(now),
    }
}

/// The last error of each class there was one of, the latest first.
pub fn last() -> Vec<LastError> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    last.sort_by_key(|last| std::cmp::Reverse(last.at));
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves OBS-07.
    #[test]
    fn every_refusal_has_the_class_of_who_can_do_something_about_it() {
        use RejectionCode as Code;
        let others = [
            ("UPSTREAM", vec![Code::AiUnavailable, Code::RequestTimeout]),
            ("SERVER", vec![Code::Overloaded, Code::Unavailable, Code::ReadOnly, Code::Internal]),
            (
                "RLIMIT",
                vec![Code::RateLimited, Code::DuplicateMessage, Code::AiQueueFull, Code::BudgetExceeded],
            ),
        ];
        for code in Code::ALL {
            let class = others.iter().find(|(_, codes)| codes.contains(&code));
            let class = class.map_or("VALIDATION", |(class, _)| class);
            assert_eq!(ErrorClass::of(code).as_str(), class, "{code:?}");
        }
        // What says that the server or somebody behind it failed is nobody's mistake who asked.
        for code in RejectionCode::ALL {
            let is_ours = crate::protocol::error::http_status(code) >= 500;
            let class = ErrorClass::of(code);
            assert_eq!(is_ours, matches!(class, ErrorClass::Server | ErrorClass::Upstream), "{code:?}");
        }
    }
}
