//! How much is too much: token buckets of users, addresses, sockets and of the whole process, and the levels of load. Pure:
//! time is an argument, one number is kept per key (LIM-04).

mod buckets;
mod failures;
mod gcra;
mod level;
mod mentions;
mod repeats;

pub use failures::Attempt;
pub(crate) use level::fill;
pub use level::{Level, Pressure, Reading};

use crate::config;
use crate::domain::{Command, MessageBody, Person, Rejection, RejectionCode, Role, RoomId, UserId};
use buckets::Limit;
use failures::Account;
use gcra::{Bucket, Rate};
use repeats::Repeats;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Where a request comes from, as far as limits go: an IPv4 address, or an IPv6 network of 64 bits, which is one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u128);

impl Address {
    /// Of any address, the machine's own too.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u128::from(ip.to_bits())),
            IpAddr::V6(ip) => Self(ip.to_bits() >> 64 << 64),
        }
    }
}

/// What one socket has used up.
#[derive(Debug, Default)]
pub struct Spent {
    frames: Bucket,
    excess: Bucket,
    rooms: Bucket,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameVerdict {
    Fine,
    /// Refused; to be tried again after this long.
    TooMany(Duration),
    /// So many were refused that the socket isn't worth keeping.
    Hopeless,
}

/// How many keys a limit remembers, and how often it refused.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub limit: &'static str,
    pub keys: usize,
    pub refused: u64,
}

/// All limits; shared by all threads.
pub struct Limits {
    config: config::Limits,
    /// The beginning of time.
    origin: Instant,
    people: Option<Rate>,
    bots: Option<Rate>,
    messages: Limit<UserId>,
    commands: Limit<UserId>,
    settings: Limit<UserId>,
    mentions: Limit<UserId>,
    user_requests: Limit<UserId>,
    address_requests: Limit<Address>,
    address_failures: Limit<Address>,
    account_failures: Limit<Account>,
    repeats: Limit<(UserId, RoomId), Repeats>,
    handshakes: Mutex<Bucket>,
    handshake_rate: Option<Rate>,
    frame_rate: Option<Rate>,
    room_rate: Option<Rate>,
}

impl Limits {
    /// Fresh buckets.
    pub fn new(config: &config::Limits) -> Self {
        let keys = config.keys;
        let messages = |count| Rate::new(count, config.message_window);
        Self {
            origin: Instant::now(),
            people: messages(config.messages),
            bots: messages(config.bot_messages),
            messages: Limit::new("messages", None, keys),
            commands: Limit::new("commands", Rate::new(config.commands, config.command_window), keys),
            settings: Limit::new("settings", Rate::new(config.settings, config.settings_window), keys),
            mentions: Limit::new("mentions", Rate::new(config.mentions, config.mention_window), keys),
            user_requests: Limit::new(
                "user_requests",
                Rate::new(config.user_requests, config.request_window),
                keys,
            ),
            address_requests: Limit::new(
                "address_requests",
                Rate::new(config.address_requests, config.request_window),
                keys,
            ),
            address_failures: Limit::new(
                "address_failures",
                Rate::new(config.address_failures, config.failure_window),
                keys,
            ),
            account_failures: Limit::new(
                "account_failures",
                Rate::new(config.account_failures, config.failure_window),
                keys,
            ),
            repeats: Limit::new("repeats", None, keys),
            handshakes: Mutex::default(),
            handshake_rate: Rate::new(config.handshakes, Duration::from_secs(1))
                .map(|rate| rate.with_burst(config.handshake_burst)),
            frame_rate: Rate::new(config.frames, config.frame_window),
            room_rate: Rate::new(config.subscriptions, config.frame_window),
            config: config.clone(),
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether somebody may do this now: the same for sockets, REST and bots.
    pub fn command(&self, actor: &Person, command: &Command, now: Instant) -> Result<(), Rejection> {
        let now = self.nanos(now);
        match command {
            Command::PostMessage { room, client_message_id, body, .. } => {
                self.message(actor, Some(body), now)?;
                let (most, window) = (self.config.repeats, self.config.repeat_window);
                let fits = most == 0
                    || self.repeats.judge((actor.id, *room), now, |repeats| {
                        repeats.admit(body.as_str(), *client_message_id, now, most, window)
                    });
                if fits { Ok(()) } else { Err(Rejection::duplicate_message()) }
            }
            Command::EditMessage { body, .. } => self.message(actor, Some(body), now),
            Command::DeleteMessage { .. } | Command::AskAssistant { .. } => self.message(actor, None, now),
            // What was admitted has to end, and what assistants begin by themselves has a bound of its own.
            Command::EndRun { .. } => Ok(()),
            Command::Summarise { assistant, .. } if *assistant == actor.id => Ok(()),
            Command::Summarise { .. } => self.message(actor, None, now),
            // Each is kept in the log, whole.
            Command::SyncSettings { .. } => self
                .settings
                .take(actor.id, 1, now)
                .map_err(|wait| Rejection::rate_limited("changes of settings", wait)),
            _ => {
                self.commands.take(actor.id, 1, now).map_err(|wait| Rejection::rate_limited("changes", wait))
            }
        }
    }

    fn message(&self, actor: &Person, body: Option<&MessageBody>, now: u64) -> Result<(), Rejection> {
        let most = self.config.message_mentions;
        let named = body.map_or(0, |body| mentions::distinct(body.as_str(), most));
        if most > 0 && named > most {
            return Err(Rejection::invalid("body", &format!("mentions more than {most} different names")));
        }
        let is_program = matches!(actor.role, Role::Bot | Role::Assistant);
        let rate = if is_program { self.bots } else { self.people };
        let taken = self.messages.take_at(rate, actor.id, 1, now);
        taken.map_err(|wait| Rejection::rate_limited("messages", wait))?;
        if named == 0 {
            return Ok(());
        }
        self.mentions.take(actor.id, named, now).map_err(|wait| Rejection::rate_limited("mentions", wait))
    }

    /// One more action request of somebody's: it reaches people as a message does.
    pub fn action(&self, requester: &Person, now: Instant) -> Result<(), Rejection> {
        self.message(requester, None, self.nanos(now))
    }

    /// A REST request of somebody known.
    pub fn user_request(&self, user: UserId, now: Instant) -> Result<(), Rejection> {
        let taken = self.user_requests.take(user, 1, self.nanos(now));
        taken.map_err(|wait| Rejection::rate_limited("requests", wait))
    }

    /// A REST request or handshake from an address.
    pub fn address_request(&self, address: Address, now: Instant) -> Result<(), Rejection> {
        let taken = self.address_requests.take(address, 1, self.nanos(now));
        taken.map_err(|wait| Rejection::rate_limited("requests from this address", wait))
    }

    /// The address limits are kept for; none when it says nothing about who asks.
    pub fn address(&self, ip: IpAddr) -> Option<Address> {
        let ip = ip.to_canonical();
        if self.config.exempt_loopback && ip.is_loopback() {
            return None;
        }
        Some(Address::of(ip))
    }

    /// One handshake more in this process.
    pub fn handshake(&self, now: Instant) -> Result<(), Rejection> {
        let Some(rate) = self.handshake_rate else { return Ok(()) };
        let mut bucket = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        match bucket.take(rate, 1, self.nanos(now)) {
            Ok(()) => Ok(()),
            Err(wait) => Err(self.later(RejectionCode::Overloaded, "too many connect at once", wait)),
        }
    }

    /// Sends away somebody who is to come back, each after a delay of their own.
    pub fn later(&self, code: RejectionCode, why: &'static str, wait: Duration) -> Rejection {
        let own = self.config.retry_spread.mul_f64(rand::random::<f64>());
        let wait = wait.max(Duration::from_secs(1)) + own;
        Rejection { retry_after: Some(wait), ..Rejection::new(code, why) }
    }

    /// One frame more of a socket.
    pub fn frame(&self, spent: &mut Spent, now: Instant) -> FrameVerdict {
        let Some(rate) = self.frame_rate else { return FrameVerdict::Fine };
        let now = self.nanos(now);
        match spent.frames.take(rate, 1, now) {
            Ok(()) => FrameVerdict::Fine,
            Err(wait) if spent.excess.take(rate, 1, now).is_ok() => FrameVerdict::TooMany(wait),
            Err(_) => FrameVerdict::Hopeless,
        }
    }

    /// A socket subscribes to `rooms` rooms.
    pub fn subscribe(&self, spent: &mut Spent, rooms: usize, now: Instant) -> Result<(), Rejection> {
        let Some(rate) = self.room_rate else { return Ok(()) };
        let cost = u32::try_from(rooms).unwrap_or(u32::MAX);
        let taken = spent.rooms.take(rate, cost, self.nanos(now));
        taken.map_err(|wait| Rejection::rate_limited("subscriptions", wait))
    }

    /// Forgets who did nothing for long enough.
    pub fn sweep(&self, now: Instant) {
        let now = self.nanos(now);
        for keyed in [&self.messages, &self.commands, &self.settings, &self.mentions, &self.user_requests] {
            keyed.keyed().sweep(now);
        }
        self.address_requests.keyed().sweep(now);
        self.address_failures.keyed().sweep(now);
        self.account_failures.keyed().sweep(now);
        self.repeats.keyed().sweep(now);
    }

    /// How large each is, for the metrics.
    pub fn reports(&self) -> [Report; 9] {
        [
            self.messages.report(),
            self.commands.report(),
            self.settings.report(),
            self.mentions.report(),
            self.user_requests.report(),
            self.address_requests.report(),
            self.address_failures.report(),
            self.account_failures.report(),
            self.repeats.report(),
        ]
    }
}

/// What can be forgotten: it holds nothing that a fresh one wouldn't.
trait Idle: Default {
    fn is_idle(&self, now: u64) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn person(id: i64, role: Role) -> Person {
        Person { id: UserId::new(id), name: "somebody".into(), role }
    }

    fn post(body: &str, id: Uuid) -> Command {
        let body = MessageBody::parse(body).expect("a body");
        Command::PostMessage { room: RoomId::new(1), client_message_id: id, body, settings: None }
    }

    fn code(result: Result<(), Rejection>) -> Option<RejectionCode> {
        result.err().map(|rejection| rejection.code)
    }

    /// Proves LIM-01, LIM-04.
    #[tokio::test]
    async fn each_has_a_bucket_of_their_own() {
        let limits = Limits::new(&config::Limits::default());
        let (ann, bob, bot) = (person(1, Role::Member), person(2, Role::Member), person(3, Role::Bot));
        let t0 = Instant::now();
        let delete =
            Command::DeleteMessage { room: RoomId::new(1), message: crate::domain::MessageId::new(1) };
        for _ in 0..10 {
            assert_eq!(limits.command(&ann, &delete, t0), Ok(()));
        }
        let refused = limits.command(&ann, &delete, t0).expect_err("the eleventh");
        assert_eq!(refused.code, RejectionCode::RateLimited);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
        assert_eq!(limits.command(&bob, &delete, t0), Ok(()), "one at the limit is nobody else's business");
        let said = (0..100).filter(|_| limits.command(&bot, &delete, t0).is_ok()).count();
        assert_eq!(said, 60);
        assert_eq!(limits.command(&ann, &delete, t0 + Duration::from_secs(1)), Ok(()));
        limits.sweep(t0 + Duration::from_secs(60));
        assert_eq!(limits.reports().map(|report| report.keys), [0; 9], "nothing is kept for the idle");
    }

    /// Proves LIM-06.
    #[tokio::test]
    async fn the_same_text_is_refused_and_a_retry_is_not() {
        let limits = Limits::new(&config::Limits { messages: 0, ..config::Limits::default() });
        let (ann, t0) = (person(1, Role::Member), Instant::now());
        let ids: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
        for id in &ids {
            assert_eq!(limits.command(&ann, &post("spam", *id), t0), Ok(()));
        }
        assert_eq!(
            code(limits.command(&ann, &post("spam", Uuid::new_v4()), t0)),
            Some(RejectionCode::DuplicateMessage)
        );
        for id in &ids {
            assert_eq!(limits.command(&ann, &post("spam", *id), t0), Ok(()), "a retry");
        }
        assert_eq!(limits.command(&ann, &post("ham", Uuid::new_v4()), t0), Ok(()));
        let later = t0 + Duration::from_secs(61);
        assert_eq!(limits.command(&ann, &post("ham", Uuid::new_v4()), later), Ok(()));
    }

    /// Proves LIM-06.
    #[tokio::test]
    async fn mentions_are_bounded_per_message_and_over_time() {
        let limits = Limits::new(&config::Limits::default());
        let (ann, t0) = (person(1, Role::Member), Instant::now());
        let names = |count: usize| (0..count).map(|n| format!("@name{n} ")).collect::<String>();
        let refused = limits.command(&ann, &post(&names(21), Uuid::new_v4()), t0).expect_err("a flood");
        assert_eq!((refused.code, refused.field.as_deref()), (RejectionCode::InvalidPayload, Some("body")));
        for _ in 0..3 {
            assert_eq!(limits.command(&ann, &post(&names(20), Uuid::new_v4()), t0), Ok(()));
        }
        assert_eq!(
            code(limits.command(&ann, &post(&names(20), Uuid::new_v4()), t0)),
            Some(RejectionCode::RateLimited)
        );
        assert_eq!(limits.command(&ann, &post("no names", Uuid::new_v4()), t0), Ok(()));
    }

    #[tokio::test]
    async fn a_socket_that_goes_on_over_its_limit_is_hopeless() {
        let limits = Limits::new(&config::Limits { frames: 3, ..config::Limits::default() });
        let (mut spent, t0) = (Spent::default(), Instant::now());
        let verdicts: Vec<FrameVerdict> = (0..7).map(|_| limits.frame(&mut spent, t0)).collect();
        assert_eq!(verdicts[..3], [FrameVerdict::Fine; 3]);
        assert!(verdicts[3..6].iter().all(|verdict| matches!(verdict, FrameVerdict::TooMany(_))));
        assert_eq!(verdicts[6], FrameVerdict::Hopeless);
    }

    #[tokio::test]
    async fn handshakes_are_refused_with_a_spread() {
        let config = config::Limits { handshakes: 1, handshake_burst: 2, ..config::Limits::default() };
        let (limits, t0) = (Limits::new(&config), Instant::now());
        assert!(limits.handshake(t0).is_ok() && limits.handshake(t0).is_ok());
        let waits: Vec<_> = (0..20).filter_map(|_| limits.handshake(t0).err()?.retry_after).collect();
        assert_eq!(waits.len(), 20);
        assert!(waits.iter().all(|wait| (1.0..=6.1).contains(&wait.as_secs_f64())), "{waits:?}");
        assert!(waits.iter().any(|wait| wait.abs_diff(waits[0]) > Duration::from_millis(10)), "{waits:?}");
    }

    #[tokio::test]
    async fn an_address_is_what_one_customer_has() {
        let limits = Limits::new(&config::Limits::default());
        let of = |text: &str| limits.address(text.parse().expect("an address"));
        assert_eq!((of("127.0.0.1"), of("::1"), of("::ffff:127.0.0.1")), (None, None, None));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        let strict = Limits::new(&config::Limits { exempt_loopback: false, ..config::Limits::default() });
        assert!(strict.address(IpAddr::from([127, 0, 0, 1])).is_some());
    }

    proptest! {
        /// Whoever floods changes nothing for others, in whatever order they come.
        #[test]
        fn one_at_the_limit_does_not_affect_another(gaps in prop::collection::vec(0_u64..3_000, 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            runtime.block_on(async {
                let limits = Limits::new(&config::Limits::default());
                let (quiet, loud) = (person(1, Role::Member), person(2, Role::Member));
                let mut now = Instant::now();
                let delete =
                    Command::DeleteMessage { room: RoomId::new(1), message: crate::domain::MessageId::new(1) };
                for gap in gaps {
                    now += Duration::from_millis(1_000 + gap);
                    for _ in 0..20 {
                        drop(limits.command(&loud, &delete, now));
                    }
                    assert_eq!(limits.command(&quiet, &delete, now), Ok(()));
                }
            });
        }
    }
}
