//! How much assistants may use: in tokens and micro-dollars, of a user in a month, in a room in a day, of the account in a month.

use super::ids::{RoomId, UserId};
use super::run::{CALL_ROUNDS, Prices, Usage};
use super::time::Timestamp;
use chrono::{DateTime, Utc};

/// Whose use is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    User(UserId),
    Room(RoomId),
    Account,
}

impl Scope {
    /// The kinds, the closed set of the protocol.
    pub const KINDS: [&'static str; 3] = ["user", "room", "account"];

    /// The one of that kind and number; the account is the only one of its kind.
    pub fn of(kind: &str, id: i64) -> Option<Self> {
        match kind {
            "user" => Some(Self::User(UserId::new(id))),
            "room" => Some(Self::Room(RoomId::new(id))),
            "account" => (id == 0).then_some(Self::Account),
            _ => None,
        }
    }

    /// The kind's name.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Room(_) => "room",
            Self::Account => "account",
        }
    }

    /// Its number; 0 is the account's.
    pub const fn id(self) -> i64 {
        match self {
            Self::User(id) => id.get(),
            Self::Room(id) => id.get(),
            Self::Account => 0,
        }
    }

    /// The period `at` is in (UTC): a month as `2026-11`, a day as `2026-11-21`.
    pub fn period(self, at: Timestamp) -> String {
        let at = DateTime::<Utc>::from_timestamp_millis(at.as_millis()).unwrap_or_default();
        let shape = match self {
            Self::Room(_) => "%Y-%m-%d",
            Self::User(_) | Self::Account => "%Y-%m",
        };
        at.format(shape).to_string()
    }
}

/// How much may be used in a period; none is as much as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    pub tokens: Option<i64>,
    pub micros: Option<i64>,
}

/// An amount of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    pub tokens: i64,
    pub micros: i64,
}

impl Amount {
    /// Both added.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micros: self.micros.saturating_add(other.micros),
        }
    }
}

/// What one run may use at most, by what its assistant was when it was asked for (AI-15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How often the engine is asked (count).
    pub requests: i64,
    /// Tokens of one request, as they are counted by us.
    pub prompt: i64,
    pub output: i64,
    pub prices: Prices,
}

impl Allowance {
    /// That of an assistant with this window: answer included, and longer than it.
    pub fn of(context: i64, output: i64, prices: Prices, has_tools: bool) -> Self {
        // Each round of calls is a request more.
        let requests = if has_tools { Self::with_tools() } else { 1 };
        Self { requests, prompt: context - output, output, prices }
    }

    fn with_tools() -> i64 {
        1 + i64::from(CALL_ROUNDS)
    }

    /// What is to be set aside.
    pub fn amount(self) -> Amount {
        let once = Usage { prompt: self.prompt, completion: self.output, estimated: true };
        Amount {
            tokens: once.total().saturating_mul(self.requests),
            micros: self.prices.of(once).saturating_mul(self.requests),
        }
    }

    /// The window, and the answer's part of it, of an assistant that has this window by now.
    pub fn window(self, context: i64, output: i64) -> (i64, i64) {
        let output = output.min(self.output);
        (context.min(self.prompt.saturating_add(output)), output)
    }

    /// Whether there is enough for calls.
    pub fn has_tools(self) -> bool {
        self.requests >= Self::with_tools()
    }
}

impl Budget {
    /// Below 2^53, so that every client can hold it.
    pub const MOST: i64 = (1 << 53) - 1;

    /// Whether `total` is within it.
    pub fn covers(self, total: Amount) -> bool {
        self.tokens.is_none_or(|most| total.tokens <= most)
            && self.micros.is_none_or(|most| total.micros <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_of_the_calendar() {
        let at = |text: &str| Timestamp::from(DateTime::parse_from_rfc3339(text).expect("a time").to_utc());
        let (last, first) = (at("2026-11-30T23:59:59.999Z"), at("2026-12-01T00:00:00Z"));
        let room = Scope::Room(RoomId::new(3));
        assert_eq!((room.period(last), room.period(first)), ("2026-11-30".into(), "2026-12-01".into()));
        assert_eq!(
            (Scope::Account.period(last), Scope::Account.period(first)),
            ("2026-11".into(), "2026-12".into())
        );
    }

    /// Whatever an assistant becomes, what its run uses by then is within what was set aside.
    #[test]
    fn an_allowance_holds_whatever_changes() {
        let sizes = [(256, 1), (1000, 200), (1000, 999), (8192, 1024), (10_000_000, 1)];
        let prices = [(0, 0), (1, 999_999), (1_000_000, 2_000_000), (10_000_000_000, 3)];
        for ((context, output), (prompt, completion)) in sizes.iter().flat_map(|s| prices.map(|p| (*s, p))) {
            for has_tools in [false, true] {
                let then = Allowance::of(context, output, Prices { prompt, completion }, has_tools);
                assert_eq!((then.window(context, output), then.has_tools()), ((context, output), has_tools));
                for (context, output) in sizes {
                    let (window, answer) = then.window(context, output);
                    assert!(0 < answer && answer < window && window <= context && answer <= output);
                    let once = Usage { prompt: window - answer, completion: answer, estimated: false };
                    let all = (0..then.requests).fold(Usage::default(), |all, _| all.plus(once));
                    let used = Amount { tokens: all.total(), micros: then.prices.of(all) };
                    let most = then.amount();
                    assert!(used.tokens <= most.tokens && used.micros <= most.micros, "{used:?} {most:?}");
                }
            }
        }
    }

    #[test]
    fn a_budget_holds_in_both_units() {
        let budget = Budget { tokens: Some(10), micros: None };
        assert!(budget.covers(Amount { tokens: 10, micros: i64::MAX }));
        assert!(!budget.covers(Amount { tokens: 11, micros: 0 }));
        assert!(!Budget { tokens: None, micros: Some(0) }.covers(Amount { tokens: 0, micros: 1 }));
    }
}
