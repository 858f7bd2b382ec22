//! What can go wrong with an answer: a closed set, each with a name, a sentence for a person, and what follows from it.

use crate::domain::is_retryable;
use std::time::Duration;
use thiserror::Error;

/// Why there is no answer, or no more of it. Its text is for a person: nothing of what the endpoint wrote is in it, for that may
/// quote the key or the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    #[error(
        "The AI endpoint does not accept this server's key. An admin has to look at the assistant's settings."
    )]
    Unauthorized,
    #[error(
        "The AI endpoint does not know the assistant's model. An admin has to look at the assistant's settings."
    )]
    ModelNotFound,
    #[error(
        "The AI endpoint has nothing left for this account. An admin has to look at the assistant's provider."
    )]
    QuotaExhausted,
    #[error("The question is longer than the assistant's model can read.")]
    ContextTooLong,
    #[error(
        "The AI endpoint did not understand the request. An admin has to look at the assistant's settings."
    )]
    Rejected,
    #[error("The AI endpoint gets too many requests.")]
    RateLimited {
        /// What it asks to be waited.
        retry_after: Option<Duration>,
    },
    #[error("The AI endpoint is overloaded or out of order.")]
    Overloaded {
        /// What it asks to be waited.
        retry_after: Option<Duration>,
    },
    #[error("The AI endpoint can't be reached.")]
    Connect,
    #[error("The AI endpoint did not begin to answer in time.")]
    FirstTokenTimeout,
    #[error("The AI endpoint fell silent in the middle of the answer.")]
    IdleTimeout,
    #[error("The answer took too long.")]
    TotalTimeout,
    #[error("The connection to the AI endpoint broke off before the answer was complete.")]
    Dropped,
    #[error("The AI endpoint answered with something that is no answer.")]
    Malformed,
    #[error("The AI endpoint reported an error.")]
    UpstreamError,
    #[error("The content filter does not let this through.")]
    ContentFilter,
}

/// How an answer that failed is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Failed,
    TimedOut,
    Filtered,
}

impl Outcome {
    /// Every outcome, the closed set of the metrics' label.
    pub const ALL: [Self; 3] = [Self::Failed, Self::TimedOut, Self::Filtered];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Filtered => "filtered",
        }
    }
}

impl Failure {
    /// One of each, the closed set of names.
    pub const ALL: [Self; 15] = [
        Self::Unauthorized,
        Self::ModelNotFound,
        Self::QuotaExhausted,
        Self::ContextTooLong,
        Self::Rejected,
        Self::RateLimited { retry_after: None },
        Self::Overloaded { retry_after: None },
        Self::Connect,
        Self::FirstTokenTimeout,
        Self::IdleTimeout,
        Self::TotalTimeout,
        Self::Dropped,
        Self::Malformed,
        Self::UpstreamError,
        Self::ContentFilter,
    ];

    /// The stable name, for the wire, the store and the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ModelNotFound => "model_not_found",
            Self::QuotaExhausted => "quota_exhausted",
            Self::ContextTooLong => "context_too_long",
            Self::Rejected => "rejected",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::Connect => "connect",
            Self::FirstTokenTimeout => "first_token_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::Dropped => "dropped",
            Self::Malformed => "malformed",
            Self::UpstreamError => "upstream_error",
            Self::ContentFilter => "content_filter",
        }
    }

    /// Whether the same request may succeed later without anybody changing anything (AI-05, AI-11). What took all the time there is
    /// would only take it again.
    pub fn is_retryable(&self) -> bool {
        is_retryable(self.as_str())
    }

    /// What the endpoint asked to be waited.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// Whether it says that the endpoint isn't well. What is wrong with the request, the key or the model is no reason to keep
    /// others away from it, and neither is that it guards its own rate.
    pub const fn counts_against_breaker(&self) -> bool {
        matches!(
            self,
            Self::Overloaded { .. }
                | Self::Connect
                | Self::FirstTokenTimeout
                | Self::IdleTimeout
                | Self::TotalTimeout
                | Self::Dropped
                | Self::Malformed
                | Self::UpstreamError
        )
    }

    /// How it is counted.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::FirstTokenTimeout | Self::IdleTimeout | Self::TotalTimeout => Outcome::TimedOut,
            Self::ContentFilter => Outcome::Filtered,
            _ => Outcome::Failed,
        }
    }

    /// What an answer without success means. `report` is what its body says, if it is an error object.
    pub(super) fn of_status(status: u16, report: &Report, retry_after: Option<Duration>) -> Self {
        match (status, report.class()) {
            // A spent account, an overlong prompt and a filter are told by their words, under various statuses.
            (400..=499, Some(told @ (Self::QuotaExhausted | Self::ContextTooLong | Self::ContentFilter))) => {
                told
            }
            (400, Some(told @ (Self::ModelNotFound | Self::Unauthorized))) => told,
            (401 | 403, _) => Self::Unauthorized,
            (402, _) => Self::QuotaExhausted,
            (404, _) => Self::ModelNotFound,
            (413, _) => Self::ContextTooLong,
            (429, _) => Self::RateLimited { retry_after },
            (408 | 425 | 500..=599, _) => Self::Overloaded { retry_after },
            _ => Self::Rejected,
        }
    }

    /// What an error object in the place of an answer means.
    pub(super) fn of_report(report: &Report) -> Self {
        match report.status {
            Some(status) => Self::of_status(status, report, None),
            None => report.class().unwrap_or(Self::UpstreamError),
        }
    }
}

/// What an endpoint says went wrong, reduced to what can be told from it. The words themselves are kept by nobody.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// A status that stands in the object.
    pub(super) status: Option<u16>,
    /// `code`, `type` and `message`, in lower case.
    words: String,
}

impl Report {
    pub(super) fn new(status: Option<u16>, words: [&str; 3]) -> Self {
        // A real explanation is short; an unreasonable one is read no further.
        let words = words.join(" ").chars().take(2000).collect::<String>().to_lowercase();
        Self { status, words }
    }

    fn class(&self) -> Option<Failure> {
        let says = |any: &[&str]| any.iter().any(|words| self.words.contains(words));
        Some(if says(&["insufficient_quota", "billing_hard_limit", "insufficient_balance"]) {
            Failure::QuotaExhausted
        } else if says(&[
            "context_length_exceeded",
            "exceed_context_size",
            "context length",
            "context window",
            "context size",
            "prompt is too long",
        ]) {
            Failure::ContextTooLong
        } else if says(&["content_filter", "content_policy"]) {
            Failure::ContentFilter
        } else if says(&["model_not_found", "model not found"]) {
            Failure::ModelNotFound
        } else if says(&["invalid_api_key", "authentication_error", "permission_error"]) {
            Failure::Unauthorized
        } else if says(&["rate_limit", "too_many_requests"]) {
            Failure::RateLimited { retry_after: None }
        } else if says(&["overloaded", "service_unavailable"]) {
            Failure::Overloaded { retry_after: None }
        } else {
            return None;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::reason;
    use std::collections::HashSet;

    #[test]
    fn names_are_stable_and_sentences_are_for_people() {
        let names: HashSet<&str> = Failure::ALL.iter().map(Failure::as_str).collect();
        assert_eq!(names.len(), Failure::ALL.len());
        for failure in Failure::ALL {
            assert!(
                failure.as_str().chars().all(|char| char.is_ascii_lowercase() || char == '_'),
                "{failure}"
            );
            let text = failure.to_string();
            assert!(text.ends_with('.') && text.len() < 160, "{text}");
        }
    }

    /// Proves AI-05.
    #[test]
    fn the_protocol_lists_every_reason() {
        let document = include_str!("../../PROTOCOL.md");
        let failures = Failure::ALL.iter().map(Failure::as_str);
        for reason in reason::ALL.into_iter().chain(failures) {
            let retryable = if is_retryable(reason) { "yes" } else { "no" };
            assert!(document.contains(&format!("\n| `{reason}` | {retryable} |")), "{reason}");
        }
    }

    #[test]
    fn who_is_to_blame_decides_what_follows() {
        let retried: Vec<&str> =
            Failure::ALL.iter().filter(|failure| failure.is_retryable()).map(Failure::as_str).collect();
        assert_eq!(
            retried,
            [
                "rate_limited",
                "overloaded",
                "connect",
                "first_token_timeout",
                "idle_timeout",
                "dropped",
                "upstream_error"
            ]
        );
        for innocent in
            ["unauthorized", "model_not_found", "context_too_long", "rate_limited", "content_filter"]
        {
            let failure = Failure::ALL.into_iter().find(|failure| failure.as_str() == innocent);
            assert!(!failure.expect("known").counts_against_breaker(), "{innocent}");
        }
    }

    #[test]
    fn a_status_and_its_words_say_what_is_wrong() {
        let of = |status, code, message| {
            Failure::of_status(status, &Report::new(None, [code, "", message]), None).as_str()
        };
        for (status, code, message, name) in [
            (401, "", "", "unauthorized"),
            (403, "", "", "unauthorized"),
            (402, "", "", "quota_exhausted"),
            (404, "model_not_found", "", "model_not_found"),
            (404, "", "", "model_not_found"),
            (400, "", "Model not found: x", "model_not_found"),
            (400, "", "the request exceeds the available context size", "context_too_long"),
            (400, "context_length_exceeded", "", "context_too_long"),
            (413, "", "", "context_too_long"),
            (400, "content_filter", "", "content_filter"),
            (400, "", "temperature is not a number", "rejected"),
            (301, "", "", "rejected"),
            (418, "", "", "rejected"),
            (408, "", "", "overloaded"),
            (429, "rate_limit_exceeded", "", "rate_limited"),
            (429, "insufficient_quota", "", "quota_exhausted"),
            (500, "", "context length", "overloaded"),
            (529, "", "", "overloaded"),
        ] {
            assert_eq!(of(status, code, message), name, "{status} {code} {message}");
        }
        let told = Failure::of_report(&Report::new(Some(503), ["", "", ""]));
        assert_eq!(told, Failure::Overloaded { retry_after: None });
        assert_eq!(Failure::of_report(&Report::new(None, ["server_error", "", "x"])), Failure::UpstreamError);
    }
}
