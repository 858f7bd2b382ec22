//! What is told of a room's people, against who is there.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);

fn user(n: i64) -> UserId {
    UserId::new(n)
}

fn name() -> Arc<str> {
    Arc::from("Sam")
}

fn present(names_up_to: usize) -> (Present, Instant) {
    (Present::new(GRACE, TICK, names_up_to), Instant::now())
}

/// Proves CONN-04.
#[test]
fn tabs_that_come_and_go_within_the_grace_are_one_joined_and_one_left() {
    let (mut present, t0) = present(10);
    let seconds = |n: u64| t0 + Duration::from_secs(n);
    for second in 0..20 {
        present.joined(user(1), &name(), seconds(second));
        present.joined(user(1), &name(), seconds(second));
        let told = present.tell(seconds(second));
        assert_eq!(told.is_some(), second == 0, "{told:?}");
        present.left(user(1), seconds(second));
        present.left(user(1), seconds(second));
    }
    assert_eq!(present.tell(seconds(28)), None);
    assert_eq!(present.next(), Some(seconds(29)));
    let left = Attendance::Changed { joined: Vec::new(), left: vec![user(1)], count: 0 };
    assert_eq!(present.tell(seconds(29)), Some(left));
    assert!(present.people.is_empty() && present.leaving.is_empty(), "nothing is kept");
    assert_eq!(present.next(), None);
}

/// Proves CONN-08.
#[test]
fn who_speaks_without_a_socket_is_present_for_the_grace() {
    let (mut present, t0) = present(10);
    assert!(present.spoke(user(1), &name(), Seq::new(7), t0), "told before the message");
    assert!(matches!(present.tell(t0), Some(Attendance::Changed { joined, .. }) if joined.len() == 1));
    assert!(!present.spoke(user(1), &name(), Seq::new(8), t0 + Duration::from_secs(9)), "known by now");
    assert_eq!(present.spoke_at(user(1)), Some(Seq::new(8)));
    assert_eq!(present.tell(t0 + Duration::from_secs(18)), None);
    assert!(
        matches!(present.tell(t0 + Duration::from_secs(19)), Some(Attendance::Changed { left, .. }) if left == [user(1)])
    );
    assert!(present.spoke(user(1), &name(), Seq::new(9), t0 + Duration::from_secs(20)), "joins again");
}

#[test]
fn a_crowd_is_one_count_per_tick_and_has_names_again_when_it_is_small() {
    let (mut present, t0) = present(200);
    for n in 0..1_000 {
        present.joined(user(n), &name(), t0);
    }
    assert_eq!(present.next(), Some(t0 + TICK));
    assert_eq!(present.tell(t0 + TICK), Some(Attendance::Count(1_000)));
    assert_eq!(present.next(), None, "all were told together");
    assert_eq!(present.snapshot(), (None, 1_000));
    present.joined(user(3_000), &name(), t0 + TICK);
    assert_eq!(present.next(), Some(t0 + TICK * 3), "the more there are, the seldomer");
    assert_eq!(present.tell(t0 + TICK * 3), Some(Attendance::Count(1_001)));
    present.left(user(3_000), t0 + TICK * 3 - GRACE);
    assert_eq!(present.tell(t0 + TICK * 5), Some(Attendance::Count(1_000)));
    assert!(!present.spoke(user(2_000), &name(), Seq::new(1), t0), "a count has no order to keep");
    for n in 100..1_000 {
        present.left(user(n), t0);
    }
    match present.tell(t0 + GRACE) {
        Some(Attendance::Everybody { present }) => assert_eq!(present.len(), 100),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_removed_has_no_grace() {
    let (mut present, t0) = present(10);
    present.joined(user(1), &name(), t0);
    present.joined(user(1), &name(), t0);
    present.tell(t0);
    present.removed(user(1), t0);
    assert!(matches!(present.tell(t0), Some(Attendance::Changed { left, .. }) if left == [user(1)]));
    present.left(user(1), t0);
    assert!(present.people.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Join(i64),
    Leave(i64),
    Speak(i64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_i64..8).prop_map(Step::Join),
        3 => (0_i64..8).prop_map(Step::Leave),
        2 => (0_i64..8).prop_map(Step::Speak),
        3 => (1_u64..6_000).prop_map(Step::Wait),
    ]
}

/// A listener that folds what it is told, and refuses what makes no sense.
#[derive(Default)]
struct Folded {
    names: BTreeSet<UserId>,
    count: usize,
    named: bool,
}

impl Folded {
    fn take(&mut self, told: Attendance) -> Result<(), TestCaseError> {
        match told {
            Attendance::Changed { joined, left, count } => {
                prop_assert!(self.named, "changes of a list that was given up");
                for user in left {
                    prop_assert!(self.names.remove(&user), "{user} left twice");
                }
                for (user, _) in joined {
                    prop_assert!(self.names.insert(user), "{user} joined twice");
                }
                prop_assert_eq!(self.names.len(), count);
                self.count = count;
            }
            Attendance::Everybody { present } => {
                self.named = true;
                self.names = present.into_iter().map(|(user, _)| user).collect();
                self.count = self.names.len();
            }
            Attendance::Count(count) => (self.named, self.count) = (false, count),
        }
        Ok(())
    }
}

proptest! {
    /// Folded from the diffs, the announced people are the true ones after each tick, nobody joins or leaves twice, and nobody
    /// speaks while shown as gone.
    ///
    /// Proves CONN-04, CONN-08.
    #[test]
    fn what_is_told_adds_up_to_who_is_there(steps in prop::collection::vec(step(), 1..120), names_up_to in 2_usize..12) {
        let (mut present, t0) = present(names_up_to);
        let mut folded = Folded { named: true, ..Folded::default() };
        let mut truth: BTreeMap<UserId, (usize, Instant)> = BTreeMap::new();
        let mut now = t0;
        for step in steps {
            match step {
                Step::Join(n) => {
                    present.joined(user(n), &name(), now);
                    truth.entry(user(n)).or_insert((0, now)).0 += 1;
                }
                Step::Leave(n) => {
                    if let Some((sockets, until)) = truth.get_mut(&user(n)).filter(|(sockets, _)| *sockets > 0) {
                        present.left(user(n), now);
                        *sockets -= 1;
                        *until = now + GRACE;
                    }
                }
                Step::Speak(n) => {
                    let (sockets, until) = truth.entry(user(n)).or_insert((0, now));
                    if *sockets == 0 {
                        *until = now + GRACE;
                    }
                    if present.spoke(user(n), &name(), Seq::new(1), now)
                        && let Some(told) = present.tell(now)
                    {
                        folded.take(told)?;
                    }
                    prop_assert!(!folded.named || folded.names.contains(&user(n)), "speaks while not shown");
                }
                Step::Wait(millis) => {
                    let end = now + Duration::from_millis(millis);
                    while let Some(due) = present.next().filter(|due| *due <= end) {
                        now = now.max(due);
                        if let Some(told) = present.tell(now) {
                            folded.take(told)?;
                        }
                        truth.retain(|_, (sockets, until)| *sockets > 0 || *until > now);
                        prop_assert_eq!(folded.count, truth.len());
                        if folded.named {
                            prop_assert!(folded.names.iter().eq(truth.keys()));
                            let (names, _) = present.snapshot();
                            let names: BTreeSet<UserId> = names.unwrap_or_default().into_iter().map(|(user, _)| user).collect();
                            prop_assert_eq!(&names, &folded.names);
                        }
                    }
                    now = end;
                }
            }
        }
    }
}
