//! What the tracker announces, against what is true.

use super::*;
use proptest::prelude::*;

const GRACE: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(60);

fn user(n: i64) -> UserId {
    UserId::new(n)
}

fn sockets(open: usize, away: usize) -> Sockets {
    Sockets { open, away }
}

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn told(changes: &[Change]) -> Vec<(i64, PresenceState)> {
    changes.iter().map(|change| (change.user.get(), change.state)).collect()
}

fn tracker() -> (Tracker, Instant) {
    (Tracker::new(GRACE, LEASE), Instant::now())
}

/// Proves PRES-02.
#[test]
fn ten_tabs_on_two_hubs_are_one_user() {
    let (mut tracker, t0) = tracker();
    for open in 1..=5 {
        tracker.report(0, user(1), sockets(open, 0), false, t0);
        tracker.report(1, user(1), sockets(open, 0), false, t0);
    }
    assert_eq!(told(&tracker.tick(t0)), [(1, PresenceState::Online)]);
    for open in (0..5).rev() {
        tracker.report(0, user(1), sockets(open, 0), false, t0);
    }
    assert_eq!(tracker.tick(t0 + after(40)), [], "five are left");
    tracker.report(1, user(1), sockets(0, 0), false, t0 + after(40));
    assert_eq!(tracker.tick(t0 + after(49)), [], "within the grace");
    let gone = tracker.tick(t0 + after(50));
    assert_eq!(gone, [Change { user: user(1), state: PresenceState::Offline, since: t0 + after(40) }]);
    assert!(tracker.users.is_empty() && tracker.leaving.is_empty(), "nothing is kept");
}

/// Proves PRES-05.
#[test]
fn a_reload_does_not_flicker() {
    let (mut tracker, t0) = tracker();
    tracker.report(0, user(1), sockets(1, 0), false, t0);
    tracker.tick(t0);
    tracker.report(0, user(1), sockets(0, 0), false, t0);
    assert_eq!(tracker.tick(t0 + after(5)), []);
    tracker.report(1, user(1), sockets(1, 0), false, t0 + after(9));
    assert_eq!(tracker.tick(t0 + after(40)), []);
}

/// Proves PRES-04.
#[test]
fn hidden_lost_and_signed_out_are_three_ways_of_not_being_there() {
    let (mut tracker, t0) = tracker();
    tracker.report(0, user(1), sockets(2, 1), false, t0);
    assert_eq!(told(&tracker.tick(t0)), [(1, PresenceState::Online)], "one of two is looked at");
    tracker.report(0, user(1), sockets(2, 2), false, t0);
    assert_eq!(told(&tracker.tick(t0)), [(1, PresenceState::Away)]);
    tracker.report(0, user(1), sockets(0, 0), false, t0);
    assert_eq!(tracker.tick(t0 + after(9)), [], "away, as announced, within the grace");
    tracker.report(0, user(1), sockets(1, 0), false, t0 + after(9));
    assert_eq!(told(&tracker.tick(t0 + after(9))), [(1, PresenceState::Online)]);
    tracker.report(0, user(1), sockets(0, 0), true, t0 + after(9));
    assert_eq!(told(&tracker.tick(t0 + after(9))), [(1, PresenceState::SignedOut)], "without a grace");
    assert_eq!(tracker.tick(t0 + after(40)), []);
    tracker.report(0, user(1), sockets(1, 0), false, t0 + after(40));
    tracker.report(1, user(1), sockets(1, 0), false, t0 + after(40));
    tracker.tick(t0 + after(40));
    tracker.report(0, user(1), sockets(0, 0), true, t0 + after(40));
    assert_eq!(tracker.tick(t0 + after(41)), [], "signed out here, still there");
    tracker.report(1, user(1), sockets(0, 0), false, t0 + after(41));
    assert_eq!(told(&tracker.tick(t0 + after(51))), [(1, PresenceState::Offline)]);
}

/// Proves PRES-03.
#[test]
fn a_hub_that_says_nothing_for_the_lease_has_no_sockets() {
    let (mut tracker, t0) = tracker();
    let both = HashMap::from([(user(1), sockets(1, 0)), (user(2), sockets(1, 0))]);
    tracker.census(0, &both, t0);
    tracker.census(1, &HashMap::from([(user(2), sockets(1, 0))]), t0);
    assert_eq!(tracker.tick(t0).len(), 2);
    for seconds in [20, 40, 59] {
        tracker.census(1, &HashMap::from([(user(2), sockets(1, 0))]), t0 + after(seconds));
        assert_eq!(tracker.tick(t0 + after(seconds)), []);
    }
    assert_eq!(told(&tracker.tick(t0 + after(60))), [(1, PresenceState::Offline)], "no grace on top");
    tracker.census(0, &both, t0 + after(61));
    assert_eq!(told(&tracker.tick(t0 + after(61))), [(1, PresenceState::Online)], "it heals by itself");
}

/// Proves PRES-03.
#[test]
fn a_close_that_was_never_told_is_found_by_the_next_census() {
    let (mut tracker, t0) = tracker();
    tracker.report(0, user(1), sockets(1, 0), false, t0);
    tracker.tick(t0);
    tracker.census(0, &HashMap::new(), t0 + after(20));
    assert_eq!(tracker.tick(t0 + after(20)), []);
    assert_eq!(told(&tracker.tick(t0 + after(30))), [(1, PresenceState::Offline)]);
}

/// Proves PRES-08.
#[test]
fn a_tracker_that_starts_anew_goes_on_from_what_was_announced() {
    let (mut tracker, t0) = tracker();
    let announced = [
        (user(1), PresenceState::Online),
        (user(2), PresenceState::Away),
        (user(3), PresenceState::SignedOut),
    ];
    tracker.resume(announced, t0);
    tracker.census(0, &HashMap::from([(user(1), sockets(1, 0))]), t0 + after(1));
    assert_eq!(tracker.tick(t0 + after(1)), [], "nobody is announced twice");
    assert_eq!(told(&tracker.tick(t0 + after(10))), [(2, PresenceState::Offline)], "no ghost stays");
    assert_eq!(tracker.users().count(), 1);
}

proptest! {
    /// Whatever the hubs report: an announcement always says something new, and once all is quiet it is the truth.
    ///
    /// Proves PRES-02, PRES-05.
    #[test]
    fn what_is_announced_becomes_what_is_true(
        steps in prop::collection::vec((0_u16..3, 0_i64..4, 0_usize..3, 0_usize..3, any::<bool>(), 0_u64..8), 1..80)
    ) {
        let (mut tracker, t0) = tracker();
        let mut truth: HashMap<(u16, i64), Sockets> = HashMap::new();
        let mut shown: HashMap<i64, PresenceState> = HashMap::new();
        let mut now = t0;
        let announce = |changes: Vec<Change>, shown: &mut HashMap<i64, PresenceState>| -> Result<(), TestCaseError> {
            for Change { user, state, .. } in changes {
                let before = shown.insert(user.get(), state);
                prop_assert!(before != Some(state), "said twice: {state:?}");
                prop_assert!(before.is_some_and(PresenceState::is_here) || state.is_here(), "nobody leaves twice");
            }
            Ok(())
        };
        for (hub, who, open, away, signed_out, wait) in steps {
            now += after(wait);
            let one = sockets(open, away.min(open));
            truth.insert((hub, who), one);
            tracker.report(hub, user(who), one, signed_out, now);
            for hub in 0..3 {
                let all = truth.iter().filter(|((at, _), one)| *at == hub && one.open > 0);
                tracker.census(hub, &all.map(|((_, who), one)| (user(*who), *one)).collect(), now);
            }
            announce(tracker.tick(now), &mut shown)?;
        }
        now += GRACE;
        announce(tracker.tick(now), &mut shown)?;
        for who in 0..4 {
            let of = |which: fn(&Sockets) -> bool| truth.iter().any(|((_, of), one)| *of == who && which(one));
            let state = shown.get(&who).copied().unwrap_or(PresenceState::Offline);
            prop_assert_eq!(state.is_here(), of(|one| one.open > 0));
            prop_assert_eq!(state == PresenceState::Online, of(|one| one.open > one.away));
        }
    }
}
