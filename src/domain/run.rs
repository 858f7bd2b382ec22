//! Answers of assistants: how one is asked for, and how it may end (AI-05).

use super::ids::{MessageId, RunId, UserId};
use super::message::MessageBody;
use super::rejection::Rejection;
use super::time::Timestamp;
use std::sync::Arc;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All of them, the closed set of the protocol.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire and in the store.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }
    };
}

names! {
    /// What an assistant is to do.
    RunKind {
        /// Answer a message.
        Answer => "answer",
        /// Sum up a part of a room.
        Summary => "summary",
    }
}

names! {
    /// How far a run is: queued, then running, then one of the ends; a queued one may end at once.
    RunState {
        Queued => "queued",
        Running => "running",
        Done => "done",
        /// Somebody stopped it.
        Cancelled => "cancelled",
        /// It broke off; what was said is kept.
        Interrupted => "interrupted",
        /// Nothing came of it.
        Failed => "failed",
    }
}

impl RunState {
    /// Whether it goes on.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// Whether this may follow (AI-05).
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Queued, next) => !matches!(next, Self::Queued),
            // Back into the queue: nothing was said yet, and whoever worked at it is gone.
            (Self::Running, next) => !matches!(next, Self::Running),
            _ => false,
        }
    }
}

/// Why a run ended otherwise than done; the names of what goes wrong upstream are among them.
pub type EndReason = &'static str;

/// The reasons that are ours.
pub mod reason {
    use super::EndReason;

    /// The asker stopped it.
    pub const CANCELLED: EndReason = "cancelled";
    /// Somebody who looks after the room stopped it.
    pub const STOPPED: EndReason = "stopped_by_admin";
    /// Its message was deleted.
    pub const DELETED: EndReason = "deleted";
    /// The assistant was taken away or switched off.
    pub const ASSISTANT_GONE: EndReason = "assistant_gone";
    /// The server was shut down.
    pub const SERVER_STOPPED: EndReason = "server_stopped";
    /// Who asked isn't here any more, or may not read the room any more.
    pub const ASKER_GONE: EndReason = "asker_gone";
    /// The engine fails at present, and is left alone for a while.
    pub const BREAKER_OPEN: EndReason = "breaker_open";
    /// It called tools again and again, and gave no answer.
    pub const TOO_MANY_CALLS: EndReason = "too_many_calls";
    /// A defect of ours.
    pub const WORKER_FAILED: EndReason = "worker_failed";
    /// The process that worked at it is gone.
    pub const LEASE_LOST: EndReason = "lease_lost";
    /// It was tried too often.
    pub const DEAD_LETTER: EndReason = "dead_letter";

    /// All of them.
    pub const ALL: [EndReason; 11] = [
        CANCELLED,
        STOPPED,
        DELETED,
        ASSISTANT_GONE,
        SERVER_STOPPED,
        ASKER_GONE,
        BREAKER_OPEN,
        TOO_MANY_CALLS,
        WORKER_FAILED,
        LEASE_LOST,
        DEAD_LETTER,
    ];
}

/// Whether the same, asked again, may have another end without anybody changing anything (AI-05).
pub fn is_retryable(reason: &str) -> bool {
    matches!(
        reason,
        reason::CANCELLED
            | reason::SERVER_STOPPED
            | reason::BREAKER_OPEN
            | reason::TOO_MANY_CALLS
            | reason::WORKER_FAILED
            | reason::LEASE_LOST
            // The engine's: it, or the way to it, isn't well.
            | "rate_limited"
            | "overloaded"
            | "connect"
            | "first_token_timeout"
            | "idle_timeout"
            | "dropped"
            | "upstream_error"
    )
}

/// What everybody is told of a run with its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStart {
    pub id: RunId,
    pub kind: RunKind,
    /// None: it began by itself.
    pub asker: Option<UserId>,
    /// What it answers.
    pub prompt: MessageId,
}

/// What was used, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt: i64,
    pub completion: i64,
    /// Counted by us: the engine didn't say.
    pub estimated: bool,
}

impl Usage {
    /// The most that is believed of one run, of the prompt and of the answer: far more than any window holds, and so little that what
    /// millions of runs used can be summed up.
    pub const MOST: i64 = 1 << 40;

    /// As far as it can be believed: what an engine claims beyond that is a guess as good as ours.
    #[must_use]
    pub fn plausible(self) -> Self {
        let believed = |tokens: i64| tokens.clamp(0, Self::MOST);
        let (prompt, completion) = (believed(self.prompt), believed(self.completion));
        let is_said = prompt == self.prompt && completion == self.completion;
        Self { prompt, completion, estimated: self.estimated || !is_said }
    }

    /// Both added.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
            estimated: self.estimated || other.estimated,
        }
    }

    /// Both together.
    pub const fn total(self) -> i64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// What tokens cost, in micro-dollars per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prices {
    pub prompt: i64,
    pub completion: i64,
}

impl Prices {
    /// The most that one run costs, in micro-dollars: more than the largest window at the highest price, and so little that the costs
    /// of millions of runs can be summed up.
    pub const MOST: i64 = 1 << 40;

    /// In micro-dollars, rounded up, and at most [`Prices::MOST`].
    pub fn of(self, usage: Usage) -> i64 {
        let prompt = i128::from(self.prompt) * i128::from(usage.prompt);
        let completion = i128::from(self.completion) * i128::from(usage.completion);
        // Rounded up: what is reserved is never less than what is spent.
        let micros = (prompt + completion + 999_999) / 1_000_000;
        i64::try_from(micros).map_or(Self::MOST, |micros| micros.min(Self::MOST))
    }
}

/// How a run is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// One that isn't open.
    pub state: RunState,
    /// All that was said, as far as it is kept; blank when nothing was.
    pub text: Arc<str>,
    /// None when it is done.
    pub reason: Option<EndReason>,
    /// The prompt was cut to the window, or the answer to its limit (AI-17).
    pub truncated: bool,
    pub usage: Usage,
    /// When the first of it came, if it is known.
    pub first_token_at: Option<Timestamp>,
}

/// How a run ended, as everybody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnded {
    pub id: RunId,
    pub message: MessageId,
    pub state: RunState,
    /// The message's text from now on; none when it was deleted.
    pub body: Option<Arc<str>>,
    pub reason: Option<Arc<str>>,
    pub truncated: bool,
    pub usage: Usage,
    pub cost_micros: i64,
}

/// What came of mentioning an assistant, or of asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summoned {
    pub assistant: UserId,
    pub outcome: Result<Started, Rejection>,
}

/// A run and the message it will fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub run: RunId,
    pub message: MessageId,
    /// It was asked for before.
    pub duplicate: bool,
}

/// A text as a message may be: without NUL, no longer than any message, not blank; and whether it had to be cut.
pub fn presentable(text: &str) -> (String, bool) {
    let mut text = text.replace('\0', "");
    let cut = text.len() > MessageBody::MAX_BYTES;
    if cut {
        text.truncate(text.floor_char_boundary(MessageBody::MAX_BYTES));
    }
    if text.trim().is_empty() {
        text.clear();
    }
    (text, cut)
}

/// How often an answer may be interrupted by calls before it has to be given (count).
pub const CALL_ROUNDS: u8 = 3;

/// The body of a message whose run hasn't said anything.
pub const PLACEHOLDER: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AssistantTerms;

    #[test]
    fn an_end_is_the_end() {
        for &state in RunState::ALL {
            assert_eq!(RunState::parse(state.as_str()), Some(state));
            for &next in RunState::ALL {
                assert!(state.is_open() || !state.may_become(next), "{state:?} to {next:?}");
                assert!(state != next || !state.may_become(next));
            }
        }
        assert!(RunState::Queued.may_become(RunState::Running));
        assert!(RunState::Running.may_become(RunState::Done));
    }

    #[test]
    fn prices_are_rounded_up() {
        let prices = Prices { prompt: 150_000, completion: 600_000 };
        assert_eq!(prices.of(Usage::default()), 0);
        assert_eq!(prices.of(Usage { prompt: 1, completion: 0, estimated: false }), 1);
        assert_eq!(prices.of(Usage { prompt: 1_000_000, completion: 1_000_000, estimated: false }), 750_000);
        let most = Usage { prompt: i64::MAX, completion: i64::MAX, estimated: true };
        assert_eq!(Prices { prompt: i64::MAX, completion: i64::MAX }.of(most), Prices::MOST);
    }

    #[test]
    fn what_nobody_believes_is_a_guess() {
        let said = Usage { prompt: 100, completion: 10, estimated: false };
        assert_eq!(said.plausible(), said);
        let absurd = Usage { prompt: i64::MAX, completion: -1, estimated: false };
        assert_eq!(absurd.plausible(), Usage { prompt: Usage::MOST, completion: 0, estimated: true });
        // A thousand times a thousand of the most there can be are summed up without overflow.
        assert!(absurd.plausible().total().checked_mul(1_000_000).is_some());
        assert!(Prices::MOST.checked_mul(1_000_000).is_some());
        let highest = Prices { prompt: AssistantTerms::MAX_PRICE, completion: AssistantTerms::MAX_PRICE };
        let window = Usage { prompt: 10_000_000, completion: 0, estimated: false };
        assert!(highest.of(window) * (1 + i64::from(CALL_ROUNDS)) < Prices::MOST);
    }
}
