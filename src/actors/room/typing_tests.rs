//! What is told of typists.

use super::*;
use proptest::prelude::*;

fn conn(serial: u64) -> ConnId {
    ConnId { hub: 0, serial }
}

fn typing() -> (Typing, Instant) {
    (Typing::new(Duration::from_secs(1), Duration::from_secs(6)), Instant::now())
}

fn start(typing: &mut Typing, user: UserId, serial: u64, now: Instant) -> bool {
    typing.start(user, "Ann".into(), conn(serial), now)
}

/// Proves TYPE-04.
#[test]
fn starts_are_throttled_and_stops_are_not() {
    let (mut typing, t0) = typing();
    let ann = UserId::new(1);
    let told: Vec<bool> = (0..10)
        .map(|n| {
            // From another tab each time: the throttle is the user's.
            let told = start(&mut typing, ann, n, t0 + Duration::from_millis(n * 100));
            assert_eq!(typing.stop(ann).is_some(), told, "a stop follows every start that was told");
            told
        })
        .collect();
    assert_eq!(told.iter().filter(|told| **told).count(), 1);
    assert!(start(&mut typing, ann, 1, t0 + Duration::from_secs(1)));
}

/// Proves TYPE-04.
#[test]
fn a_start_within_the_throttle_is_told_when_it_is_over() {
    let (mut typing, t0) = typing();
    let ann = UserId::new(1);
    start(&mut typing, ann, 1, t0);
    typing.stop(ann);
    let early = t0 + Duration::from_millis(300);
    assert!(!start(&mut typing, ann, 1, early));
    assert!(typing.active(UserId::new(2)).is_empty());
    assert_eq!(typing.next(), Some(t0 + Duration::from_secs(1)));
    let (ended, begun) = typing.due(t0 + Duration::from_secs(1));
    assert_eq!((ended.len(), begun.len()), (0, 1));
    assert_eq!(typing.next(), Some(early + Duration::from_secs(6)), "the expiry counts from the start");
    assert!(typing.stop(ann).is_some());
    start(&mut typing, ann, 1, t0 + Duration::from_millis(1_200));
    assert!(typing.stop(ann).is_none(), "stopped before it was told");
    let (ended, begun) = typing.due(t0 + Duration::from_secs(2));
    assert_eq!((ended.len(), begun.len()), (0, 0));
    assert_eq!(typing.next(), None, "nothing is kept longer than the throttle");
}

/// Proves TYPE-02.
#[test]
fn an_abandoned_typist_disappears() {
    let (mut typing, t0) = typing();
    let ann = UserId::new(1);
    assert!(start(&mut typing, ann, 1, t0));
    assert!(!start(&mut typing, ann, 1, t0 + Duration::from_secs(3)), "goes on");
    assert!(typing.due(t0 + Duration::from_secs(8)).0.is_empty());
    assert_eq!(typing.next(), Some(t0 + Duration::from_secs(9)));
    assert_eq!(typing.due(t0 + Duration::from_secs(9)).0.len(), 1);
    assert_eq!(typing.next(), None, "nothing is kept");
}

/// Proves TYPE-03.
#[test]
fn a_socket_takes_its_typing_along() {
    let (mut typing, t0) = typing();
    let ann = UserId::new(1);
    start(&mut typing, ann, 1, t0);
    start(&mut typing, ann, 2, t0);
    assert_eq!(typing.gone(conn(1)), None, "she types on in another tab");
    assert_eq!(typing.gone(conn(2)).map(|(user, _)| user), Some(ann));
    assert!(typing.active(UserId::new(2)).is_empty());
    start(&mut typing, ann, 3, t0);
    assert_eq!(typing.gone(conn(3)), None, "it was never told");
    assert_eq!(typing.due(t0 + Duration::from_secs(1)).1.len(), 0, "nor is it later");
}

proptest! {
    /// Whatever happens: starts and stops alternate, starts keep their distance, and nobody is left typing in the end.
    ///
    /// Proves TYPE-02, TYPE-03, TYPE-04, TYPE-07.
    #[test]
    fn what_is_told_alternates_and_ends(steps in prop::collection::vec((0_u8..4, 0_u64..3, 0_u64..2_500), 1..150)) {
        let (mut typing, t0) = typing();
        let ann = UserId::new(1);
        let (mut now, mut shown, mut begun_at): (Instant, bool, Option<Instant>) = (t0, false, None);
        let mut tell = |typing: bool, at: Instant| -> Result<(), TestCaseError> {
            prop_assert!(shown != typing, "told twice: {typing}");
            shown = typing;
            if typing {
                prop_assert!(begun_at.is_none_or(|last| at >= last + Duration::from_secs(1)), "too soon");
                begun_at = Some(at);
            }
            Ok(())
        };
        for (what, serial, wait) in steps {
            let end = now + Duration::from_millis(wait);
            while let Some(due) = typing.next().filter(|due| *due <= end) {
                now = now.max(due);
                let (ended, begun) = typing.due(now);
                for _ in ended { tell(false, now)?; }
                for _ in begun { tell(true, now)?; }
            }
            now = end;
            match what {
                0 | 1 => if start(&mut typing, ann, serial, now) { tell(true, now)?; },
                2 => if typing.gone(conn(serial)).is_some() { tell(false, now)?; },
                _ => if typing.stop(ann).is_some() { tell(false, now)?; },
            }
        }
        for _ in 0..3 {
            now += Duration::from_secs(6);
            let (ended, begun) = typing.due(now);
            for _ in ended { tell(false, now)?; }
            for _ in begun { tell(true, now)?; }
        }
        prop_assert!(!shown, "a ghost types on");
        prop_assert!(typing.next().is_none(), "nothing is kept");
    }
}
