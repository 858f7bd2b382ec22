//! Assistants: how much work at a time, how long an endpoint is waited for, and when it is left alone.

use super::units::{millis, seconds};
use crate::domain::MessageBody;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Inference. Nothing of it matters while there is no assistant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Ai {
    /// Answers that are made at a time (count); the rest waits.
    pub workers: usize,
    /// Questions that wait, of all rooms (count); over it: `ai_queue_full`.
    pub queue: usize,
    /// Questions that wait in one room (count); over it: `ai_queue_full`.
    pub room_queue: usize,
    /// Questions of one user that wait (count); over it: `ai_queue_full`.
    pub user_queue: usize,
    /// For the connection to the endpoint, with its TLS; over it: tried again, then failed with `connect`.
    #[serde(rename = "connect_timeout_ms", with = "millis")]
    pub connect_timeout: Duration,
    /// From the request to the first piece of the answer; over it: tried again, then failed with `first_token_timeout`.
    #[serde(rename = "first_token_timeout_ms", with = "millis")]
    pub first_token_timeout: Duration,
    /// Between two pieces, comments and empty ones not counted; over it: interrupted with `idle_timeout`.
    #[serde(rename = "idle_timeout_ms", with = "millis")]
    pub idle_timeout: Duration,
    /// For one request from its beginning to the end of the answer; over it: interrupted with `total_timeout`.
    #[serde(rename = "total_timeout_ms", with = "millis")]
    pub total_timeout: Duration,
    /// Attempts after the first (count), all before the first piece; 0 is none.
    pub retries: u32,
    /// The most that is waited before the second attempt, at random; each further one doubles it.
    #[serde(rename = "backoff_ms", with = "millis")]
    pub backoff: Duration,
    /// The most that is waited before any attempt; an endpoint that asks for more isn't asked again.
    #[serde(rename = "backoff_max_ms", with = "millis")]
    pub backoff_max: Duration,
    /// How far back the breaker of an endpoint and model looks.
    #[serde(rename = "breaker_window_s", with = "seconds")]
    pub breaker_window: Duration,
    /// Requests within it that have to have ended before the breaker judges (count).
    pub breaker_samples: usize,
    /// Failures among them (per cent, 1 to 100); at it: open, questions are refused with `ai_unavailable`.
    pub breaker_percent: u32,
    /// How long the breaker stays open before one request probes; doubles with each probe that fails.
    #[serde(rename = "breaker_cooldown_ms", with = "millis")]
    pub breaker_cooldown: Duration,
    /// The most that it doubles to.
    #[serde(rename = "breaker_cooldown_max_ms", with = "millis")]
    pub breaker_cooldown_max: Duration,
    /// Pieces that come within this span are told together.
    #[serde(rename = "coalesce_ms", with = "millis")]
    pub coalesce: Duration,
    /// What has come of an answer is stored this often, or …
    #[serde(rename = "checkpoint_ms", with = "millis")]
    pub checkpoint: Duration,
    /// … after this many bytes; what is newer is lost in a crash.
    pub checkpoint_bytes: usize,
    /// How long a question belongs to the process that took it; over it (the process died): anybody's.
    #[serde(rename = "lease_s", with = "seconds")]
    pub lease: Duration,
    /// How often a process that lives says so.
    #[serde(rename = "heartbeat_s", with = "seconds")]
    pub heartbeat: Duration,
    /// Times a question is taken up (count), by whichever process; after the last: a dead letter.
    pub attempts: u32,
    /// Bytes of an answer; over it: cut, and flagged `truncated`.
    pub answer_bytes: usize,
    /// Messages before the question that are told at most (count); the context window may cut them further.
    pub history_messages: usize,
    /// How often it is looked for rooms to sum up, by assistants that do so by themselves.
    #[serde(rename = "summary_every_ms", with = "millis")]
    pub summary_every: Duration,
    /// What isn't summed up yet has to fill so much of the assistant's window (per cent, 1 to 100), a byte counted as a token and a
    /// space as three, which is never too low; below it, and below half of the window by the usual estimate, nothing is done by itself.
    pub summary_percent: u32,
    /// The newest messages (count), which aren't summed up by themselves yet: they are told as they are.
    pub summary_keep: usize,
    /// Messages that are summed up at a time (count); the window may allow fewer.
    pub summary_messages: usize,
    /// A summary that began by itself and came to nothing isn't begun again before.
    #[serde(rename = "summary_again_s", with = "seconds")]
    pub summary_again: Duration,
    /// How long answers under way may still take when the server goes, within `shutdown.drain_ms`; over it: stored, and gone on with after the start.
    #[serde(rename = "drain_s", with = "seconds")]
    pub drain: Duration,
    /// Answers that bots may ask for in a room in a row (count), each within a minute of the end of the one before and nobody else speaking
    /// between; the next is `rate_limited`. 0 is none at all: `forbidden`.
    pub hops: u32,
    /// Text that neither a question nor an answer may have, upper and lower case alike; over it: refused with
    /// `content_filter`, an answer is cut before it. A list in the file, with commas between elsewhere.
    #[serde(deserialize_with = "phrases")]
    pub blocked_phrases: Vec<String>,
}

impl Default for Ai {
    fn default() -> Self {
        Self {
            workers: 4,
            queue: 1000,
            room_queue: 20,
            user_queue: 5,
            connect_timeout: Duration::from_secs(5),
            first_token_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(300),
            retries: 2,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(20),
            breaker_window: Duration::from_secs(60),
            breaker_samples: 5,
            breaker_percent: 50,
            breaker_cooldown: Duration::from_secs(10),
            breaker_cooldown_max: Duration::from_secs(300),
            coalesce: Duration::from_millis(40),
            checkpoint: Duration::from_secs(1),
            checkpoint_bytes: 1024,
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            attempts: 3,
            answer_bytes: MessageBody::MAX_BYTES,
            history_messages: 200,
            summary_every: Duration::from_secs(60),
            summary_percent: 50,
            summary_keep: 50,
            summary_messages: 500,
            summary_again: Duration::from_secs(3600),
            drain: Duration::from_secs(10),
            hops: 5,
            blocked_phrases: Vec::new(),
        }
    }
}

/// Requests that a breaker remembers (count); older ones are forgotten.
pub(crate) const BREAKER_SAMPLES_MAX: usize = 1000;

impl Ai {
    /// The first contradiction, as a sentence for the operator.
    pub(super) fn check(&self) -> Result<(), String> {
        self.none_is_zero()?;
        let timeouts = [
            ("connect_timeout_ms", self.connect_timeout, "first_token_timeout_ms", self.first_token_timeout),
            ("first_token_timeout_ms", self.first_token_timeout, "total_timeout_ms", self.total_timeout),
            ("idle_timeout_ms", self.idle_timeout, "total_timeout_ms", self.total_timeout),
            ("backoff_ms", self.backoff, "backoff_max_ms", self.backoff_max),
            (
                "breaker_cooldown_ms",
                self.breaker_cooldown,
                "breaker_cooldown_max_ms",
                self.breaker_cooldown_max,
            ),
        ];
        for (short, shorter, long, longer) in timeouts {
            if shorter > longer {
                return Err(format!(
                    "ai.{short} is longer than ai.{long}: lower the first or raise the second"
                ));
            }
        }
        if self.lease < self.heartbeat * 2 {
            return Err("ai.lease_s has to be at least twice ai.heartbeat_s: an answer that is still being made would be \
                        taken for abandoned"
                .to_owned());
        }
        if !(1..=100).contains(&self.breaker_percent) {
            return Err("ai.breaker_percent has to be from 1 to 100".to_owned());
        }
        if !(1..=100).contains(&self.summary_percent) {
            return Err("ai.summary_percent has to be from 1 to 100".to_owned());
        }
        if self.breaker_samples > BREAKER_SAMPLES_MAX {
            return Err(format!(
                "ai.breaker_samples is more than {BREAKER_SAMPLES_MAX}: it would never open"
            ));
        }
        if self.answer_bytes > MessageBody::MAX_BYTES {
            return Err(format!(
                "ai.answer_bytes ({}) is more than a message can have ({}): lower it",
                self.answer_bytes,
                MessageBody::MAX_BYTES
            ));
        }
        if self.room_queue > self.queue || self.user_queue > self.queue {
            return Err("ai.room_queue and ai.user_queue can't be more than ai.queue: lower them".to_owned());
        }
        match self.blocked_phrases.iter().any(|phrase| phrase.trim().is_empty()) {
            true => Err("ai.blocked_phrases has an empty phrase: everything would be refused".to_owned()),
            false => Ok(()),
        }
    }

    fn none_is_zero(&self) -> Result<(), String> {
        let counts = [
            ("workers", self.workers),
            ("queue", self.queue),
            ("room_queue", self.room_queue),
            ("user_queue", self.user_queue),
            ("summary_messages", self.summary_messages),
            ("breaker_samples", self.breaker_samples),
            ("checkpoint_bytes", self.checkpoint_bytes),
            ("attempts", usize::try_from(self.attempts).unwrap_or(usize::MAX)),
            ("answer_bytes", self.answer_bytes),
        ];
        let spans = [
            ("connect_timeout_ms", self.connect_timeout),
            ("first_token_timeout_ms", self.first_token_timeout),
            ("idle_timeout_ms", self.idle_timeout),
            ("total_timeout_ms", self.total_timeout),
            ("summary_every_ms", self.summary_every),
            ("breaker_window_s", self.breaker_window),
            ("breaker_cooldown_ms", self.breaker_cooldown),
            ("checkpoint_ms", self.checkpoint),
            ("lease_s", self.lease),
            ("heartbeat_s", self.heartbeat),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count == 0).map(|(key, _)| key);
        let spans = spans.into_iter().filter(|(_, span)| *span == Duration::ZERO).map(|(key, _)| key);
        match counts.chain(spans).next() {
            Some(key) => Err(format!("ai.{key} is 0: give it at least 1")),
            None => Ok(()),
        }
    }
}

/// A list in the file; the environment and flags have one text, with commas between.
fn phrases<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        List(Vec<String>),
        One(String),
    }
    Ok(match Texts::deserialize(deserializer)? {
        Texts::List(list) => list,
        Texts::One(text) => {
            let phrases = text.split(',').map(str::trim).filter(|phrase| !phrase.is_empty());
            phrases.map(str::to_owned).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_A_MINUTE: Duration = Duration::from_secs(30);

    #[test]
    fn the_defaults_agree_and_contradictions_are_named() {
        assert_eq!(Ai::default().check(), Ok(()));
        let wrong = |change: fn(&mut Ai)| {
            let mut ai = Ai::default();
            change(&mut ai);
            ai.check().expect_err("refused")
        };
        for (text, key) in [
            (wrong(|ai| ai.workers = 0), "ai.workers is 0"),
            (wrong(|ai| ai.idle_timeout = Duration::ZERO), "ai.idle_timeout_ms is 0"),
            (wrong(|ai| ai.connect_timeout = HALF_A_MINUTE * 2), "ai.connect_timeout_ms is longer"),
            (wrong(|ai| ai.total_timeout = HALF_A_MINUTE / 2), "ai.first_token_timeout_ms is longer"),
            (wrong(|ai| ai.backoff = HALF_A_MINUTE), "ai.backoff_ms is longer"),
            (wrong(|ai| ai.heartbeat = HALF_A_MINUTE), "ai.lease_s has to be at least twice"),
            (wrong(|ai| ai.breaker_percent = 101), "ai.breaker_percent"),
            (wrong(|ai| ai.breaker_samples = 1001), "ai.breaker_samples"),
            (wrong(|ai| ai.answer_bytes = 16 * 1024 + 1), "ai.answer_bytes"),
            (wrong(|ai| ai.queue = 1), "ai.room_queue"),
            (wrong(|ai| ai.blocked_phrases = vec![" ".to_owned()]), "ai.blocked_phrases"),
        ] {
            assert!(text.contains(key), "{text}");
        }
    }

    /// Proves AI-10.
    #[test]
    fn how_long_an_engine_is_waited_for_is_what_the_protocol_states() {
        let ai = Ai::default();
        let waits = [ai.connect_timeout, ai.first_token_timeout, ai.idle_timeout, ai.total_timeout];
        let [connect, first, idle, total] = waits.map(|wait| format!("{} s", wait.as_secs()));
        let protocol = include_str!("../../PROTOCOL.md");
        assert!(protocol.contains(&format!("| {connect}; {first}; {idle}; {total} |")), "{waits:?}");
        let (attempts, first) = (ai.retries + 1, ai.backoff.as_millis());
        let (second, most) = (ai.backoff.as_secs_f32() * 2.0, ai.backoff_max.as_secs());
        let row = format!(
            "| {attempts}; at most {first} ms, then {second} s, or what the engine asks for up to {most} s |"
        );
        assert!(protocol.contains(&row), "{row}");
    }

    #[test]
    fn phrases_are_a_list_or_a_text_with_commas() {
        for text in [r#"{"blocked_phrases": ["a b", "c"]}"#, r#"{"blocked_phrases": " a b , c,"}"#] {
            let ai: Ai = serde_json::from_str(text).expect("valid");
            assert_eq!(ai.blocked_phrases, ["a b", "c"]);
        }
    }
}
