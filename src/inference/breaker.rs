//! When an endpoint is left alone (AI-13): pure, time is an argument. One breaker for each endpoint and model.
//!
//! *Closed*, requests pass and their ends are remembered; when too many of the last ones failed it is *open*, and none passes. After a
//! cooldown it is *half-open*: one request probes. If that succeeds all is as at the beginning, otherwise it stays open twice as long.

use crate::config::{Ai, BREAKER_SAMPLES_MAX};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The numbers it goes by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How far back it looks.
    pub window: Duration,
    /// Ends that have to be known before it judges (count).
    pub samples: usize,
    /// Failures among them at which it opens (per cent).
    pub percent: u32,
    /// How long it is open at first …
    pub cooldown: Duration,
    /// … and at most.
    pub cooldown_max: Duration,
    /// A probe of which nothing is heard for so long is taken for lost, and another may go.
    pub probe: Duration,
}

impl From<&Ai> for Limits {
    fn from(ai: &Ai) -> Self {
        Self {
            window: ai.breaker_window,
            samples: ai.breaker_samples,
            percent: ai.breaker_percent,
            cooldown: ai.breaker_cooldown,
            cooldown_max: ai.breaker_cooldown_max,
            // No request lasts longer; the rest is for whoever has to say how it ended.
            probe: ai.total_timeout + ai.connect_timeout,
        }
    }
}

/// How a request ended, as far as the endpoint's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The endpoint did what it is there for, or said for good reasons that it won't.
    Well,
    /// [`super::Failure::counts_against_breaker`].
    Badly,
    /// Nobody waited for its end: cancelled, or never sent. Says nothing.
    Unknown,
}

/// What it looks like from outside, for metrics and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed,
    Open,
    /// It was open long enough: a probe is under way, or the next request is one.
    HalfOpen,
}

impl State {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Leave to make one request. Whoever has it says by [`Breaker::settle`] how it ended.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    /// The breaker's era it was given in: what was begun before it opened or closed says nothing about the time after.
    era: u64,
    /// Which probe it is, counted over all eras; 0 is none.
    probe: u64,
}

/// No request is made; one may be, after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub retry_after: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    mode: Mode,
    /// Counts the openings and closings.
    era: u64,
    /// Counts the probes.
    probes: u64,
}

#[derive(Debug)]
enum Mode {
    /// When requests ended and whether badly, oldest first; bounded in age and number.
    Closed(VecDeque<(Instant, bool)>),
    Open {
        /// From when on a probe may go.
        until: Instant,
        cooldown: Duration,
        /// The one under way, and when it counts as lost.
        probe: Option<(u64, Instant)>,
    },
}

impl Breaker {
    /// Closed, and knowing nothing.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, mode: Mode::Closed(VecDeque::new()), era: 0, probes: 0 }
    }

    /// Whether a request would be refused now, without taking a permit: for those who only get in line.
    pub fn look(&self, now: Instant) -> Result<(), Refused> {
        let Mode::Open { until, probe, .. } = &self.mode else { return Ok(()) };
        let free = probe.map_or(*until, |(_, lost)| lost.max(*until));
        match free.saturating_duration_since(now) {
            Duration::ZERO => Ok(()),
            // How long a probe takes nobody knows: come back when it would be over in the normal course.
            _ if now >= *until => Err(Refused { retry_after: self.limits.cooldown }),
            retry_after => Err(Refused { retry_after }),
        }
    }

    /// Leave for one request, or for the probe.
    pub fn admit(&mut self, now: Instant) -> Result<Permit, Refused> {
        self.look(now)?;
        let era = self.era;
        let Mode::Open { probe, .. } = &mut self.mode else { return Ok(Permit { era, probe: 0 }) };
        self.probes += 1;
        *probe = Some((self.probes, now + self.limits.probe));
        Ok(Permit { era, probe: self.probes })
    }

    /// Hears how the request ended. One that was admitted before the breaker last opened or closed, or a probe that was taken for
    /// lost, changes nothing.
    pub fn settle(&mut self, permit: Permit, ended: Ended, now: Instant) {
        if permit.era != self.era {
            return;
        }
        let limits = self.limits;
        match &mut self.mode {
            Mode::Closed(samples) => {
                if ended == Ended::Unknown {
                    return;
                }
                samples.push_back((now, ended == Ended::Badly));
                let is_old = |at: Instant| now.saturating_duration_since(at) > limits.window;
                while samples.len() > BREAKER_SAMPLES_MAX
                    || samples.front().is_some_and(|(at, _)| is_old(*at))
                {
                    samples.pop_front();
                }
                let bad = samples.iter().filter(|(_, is_bad)| *is_bad).count();
                let percent = usize::try_from(limits.percent).unwrap_or(100);
                if bad > 0 && samples.len() >= limits.samples && bad * 100 >= samples.len() * percent {
                    self.open(limits.cooldown, now);
                }
            }
            Mode::Open { probe, cooldown, .. } => {
                if probe.is_none_or(|(id, _)| id != permit.probe) {
                    return;
                }
                match ended {
                    Ended::Well => {
                        self.mode = Mode::Closed(VecDeque::new());
                        self.era += 1;
                    }
                    Ended::Badly => {
                        let longer = cooldown.saturating_mul(2).min(limits.cooldown_max);
                        self.open(longer, now);
                    }
                    Ended::Unknown => *probe = None,
                }
            }
        }
    }

    /// For the metrics and the admin's page.
    pub fn state(&self, now: Instant) -> State {
        match &self.mode {
            Mode::Closed(_) => State::Closed,
            Mode::Open { until, .. } if now < *until => State::Open,
            Mode::Open { .. } => State::HalfOpen,
        }
    }

    fn open(&mut self, cooldown: Duration, now: Instant) {
        self.mode = Mode::Open { until: now + cooldown, cooldown, probe: None };
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits::from(&Ai::default())
    }

    fn end(breaker: &mut Breaker, ended: Ended, now: Instant) {
        let permit = breaker.admit(now).expect("admitted");
        breaker.settle(permit, ended, now);
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(limits());
        for _ in 0..5 {
            end(&mut breaker, Ended::Badly, now);
        }
        breaker
    }

    /// Proves AI-13.
    #[test]
    fn opens_at_the_rate_and_not_before_enough_is_known() {
        let now = Instant::now();
        let mut breaker = Breaker::new(limits());
        for _ in 0..4 {
            end(&mut breaker, Ended::Badly, now);
            end(&mut breaker, Ended::Unknown, now);
        }
        assert_eq!(breaker.state(now), State::Closed, "four are too few");
        end(&mut breaker, Ended::Badly, now);
        assert_eq!(breaker.state(now), State::Open);
        assert_eq!(breaker.look(now), Err(Refused { retry_after: 10 * SECOND }));
        assert!(breaker.admit(now + 9 * SECOND).is_err());
        let mut healthy = Breaker::new(limits());
        for _ in 0..100 {
            end(&mut healthy, Ended::Well, now);
            end(&mut healthy, Ended::Well, now);
            end(&mut healthy, Ended::Badly, now);
        }
        assert_eq!(healthy.state(now), State::Closed, "a third is less than half");
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut breaker = Breaker::new(limits());
        for minute in 0..20 {
            end(&mut breaker, Ended::Badly, now + minute * 61 * SECOND);
        }
        assert_eq!(breaker.state(now + 3600 * SECOND), State::Closed);
    }

    /// Proves AI-13.
    #[test]
    fn one_probe_decides() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + 10 * SECOND;
        assert_eq!(breaker.state(now), State::HalfOpen);
        let probe = breaker.admit(now).expect("the probe");
        assert!(breaker.admit(now).is_err(), "a second one");
        breaker.settle(probe, Ended::Well, now);
        assert_eq!(breaker.state(now), State::Closed);
        end(&mut breaker, Ended::Badly, now);
        assert_eq!(breaker.state(now), State::Closed, "what was before is forgotten");
    }

    /// Proves AI-13.
    #[test]
    fn the_cooldown_doubles_up_to_its_most_and_begins_anew() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            assert!(breaker.look(now + seconds * SECOND - Duration::from_millis(1)).is_err(), "{seconds}");
            now += seconds * SECOND;
            end(&mut breaker, Ended::Badly, now);
        }
        now += 300 * SECOND;
        end(&mut breaker, Ended::Well, now);
        for _ in 0..5 {
            end(&mut breaker, Ended::Badly, now);
        }
        assert_eq!(breaker.look(now), Err(Refused { retry_after: 10 * SECOND }));
    }

    #[test]
    fn a_probe_that_is_cancelled_or_lost_makes_room_for_another() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + 10 * SECOND;
        let probe = breaker.admit(now).expect("the probe");
        breaker.settle(probe, Ended::Unknown, now);
        let lost = breaker.admit(now).expect("another");
        assert!(breaker.admit(now + 304 * SECOND).is_err());
        let third = breaker.admit(now + 305 * SECOND).expect("a third");
        breaker.settle(lost, Ended::Well, now + 306 * SECOND);
        assert_eq!(breaker.state(now + 306 * SECOND), State::HalfOpen, "the lost one has no say");
        breaker.settle(third, Ended::Well, now + 306 * SECOND);
        assert_eq!(breaker.state(now + 306 * SECOND), State::Closed);
    }

    #[test]
    fn what_began_before_has_no_say() {
        let now = Instant::now();
        let mut breaker = Breaker::new(limits());
        let early: Vec<Permit> = (0..3).map(|_| breaker.admit(now).expect("admitted")).collect();
        for _ in 0..5 {
            end(&mut breaker, Ended::Badly, now);
        }
        let later = now + 10 * SECOND;
        let probe = breaker.admit(later).expect("the probe");
        for (permit, ended) in early.into_iter().zip([Ended::Well, Ended::Badly, Ended::Unknown]) {
            breaker.settle(permit, ended, later);
            assert_eq!(breaker.state(later), State::HalfOpen);
            assert!(breaker.admit(later).is_err());
        }
        breaker.settle(probe, Ended::Well, later);
        assert_eq!(breaker.state(later), State::Closed);
    }

    proptest! {
        /// While it is open nothing is admitted; half-open there is one probe at a time; left alone it always lets one through.
        #[test]
        fn whatever_happens(steps in proptest::collection::vec((0u8..5, 0u64..40_000, any::<prop::sample::Index>()), 0..200)) {
            let limits = limits();
            let mut breaker = Breaker::new(limits);
            let mut now = Instant::now();
            let mut under_way: Vec<(Permit, Instant)> = Vec::new();
            for (what, millis, which) in steps {
                now += Duration::from_millis(millis);
                let before = breaker.state(now);
                match what {
                    0 | 1 => {
                        if let Ok(permit) = breaker.admit(now) {
                            prop_assert_ne!(before, State::Open);
                            under_way.push((permit, now));
                        } else {
                            prop_assert_ne!(before, State::Closed);
                        }
                    }
                    _ if under_way.is_empty() => {}
                    how => {
                        let (permit, _) = under_way.swap_remove(which.index(under_way.len()));
                        let ended = match how { 2 => Ended::Well, 3 => Ended::Badly, _ => Ended::Unknown };
                        breaker.settle(permit, ended, now);
                    }
                }
                let probes = under_way.iter().filter(|(permit, since)| {
                    permit.probe != 0 && permit.era == breaker.era && now < *since + limits.probe
                });
                prop_assert!(probes.count() <= 1);
                if let Mode::Closed(samples) = &breaker.mode {
                    prop_assert!(samples.len() <= BREAKER_SAMPLES_MAX);
                }
            }
            prop_assert!(breaker.admit(now + limits.cooldown_max.max(limits.probe)).is_ok());
        }
    }
}
