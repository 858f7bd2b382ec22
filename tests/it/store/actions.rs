//! Action requests in the store: which result counts, to the millisecond, and what is taken away afterwards.

use super::bench::{Bench, Home, NOW};
use super::contracts;
use hearth::domain::{
    ActionId, ActionKind, ActionResult, ActionState, Enrolment, NewAction, Person, Principal, Role, RoomId,
    Timestamp,
};
use hearth::storage::{ActionBounds, Answered};
use std::time::Duration;
use uuid::Uuid;

contracts!(a_result_counts_up_to_its_deadline, what_has_ended_is_kept_for_a_while);

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A store with Bob, and a program that asks his client for something.
struct Desk {
    bench: Bench,
    robot: Person,
    bob: Person,
    room: RoomId,
}

impl Desk {
    async fn set(bench: Bench) -> Self {
        let Home { admin, general: room } = bench.home().await;
        let bob = bench.person("Bob", Role::Member).await;
        let robot = Enrolment::Bot {
            by: admin,
            name: super::bench::name("Robot"),
            key_hash: [7; 32],
            webhook: None,
            expires_in: None,
            key: None,
        };
        let robot = bench.enrolled(robot).await;
        Self { bench, robot, bob, room }
    }

    /// One that is waited for until a second after `NOW`.
    async fn asks(&self) -> ActionId {
        let new = NewAction {
            by: Principal::of_system(self.robot.clone()),
            user: self.bob.id,
            room: Some(self.room),
            run: None,
            kind: ActionKind::parse("dice.roll").unwrap(),
            arguments: "{}".into(),
            timeout: SECOND,
        };
        let bounds = ActionBounds { per_pair: 10, per_requester: 10, per_user: 10, all: 10 };
        let made = self.bench.store.add_action(Uuid::new_v4(), new, bounds, NOW).await.unwrap();
        made.expect("made").id
    }

    fn result(&self, id: ActionId, text: &str) -> ActionResult {
        ActionResult { id, user: self.bob.id, done: true, result: format!("\"{text}\"").into() }
    }

    async fn answers(&self, id: ActionId, at: Timestamp) -> Answered {
        let results = vec![(self.result(id, "late or not"), at)];
        self.bench.store.answer_actions(results).await.unwrap().pop().unwrap()
    }

    async fn state(&self, id: ActionId) -> Option<(ActionState, Option<String>)> {
        let found = self.bench.store.action(id).await.unwrap()?;
        Some((found.state, found.result.as_deref().map(str::to_owned)))
    }
}

/// The deadline decides, not whether anybody noted yet that it is over; and what was noted isn't taken back.
///
/// Proves CORR-03.
async fn a_result_counts_up_to_its_deadline(bench: Bench) {
    let desk = Desk::set(bench).await;
    let store = &desk.bench.store;
    let deadline = NOW.after(SECOND);
    let [in_time, late, noted] = [desk.asks().await, desk.asks().await, desk.asks().await];
    assert_eq!(desk.answers(in_time, deadline.before(MILLISECOND)).await, Answered::Applied { since: NOW });
    assert_eq!(desk.answers(late, deadline).await, Answered::Expired);
    assert_eq!(desk.state(late).await, Some((ActionState::Pending, None)), "nothing of it counts");

    assert!(store.expire_actions(deadline.before(MILLISECOND), 10).await.unwrap().is_empty());
    let mut expired = store.expire_actions(deadline, 10).await.unwrap();
    expired.sort_unstable();
    let mut open = vec![late, noted];
    open.sort_unstable();
    assert_eq!(expired, open);
    assert!(store.expire_actions(deadline, 10).await.unwrap().is_empty(), "once");
    // It came in time, and was too long on its way: whoever waited was told that nobody answered.
    assert_eq!(desk.answers(noted, deadline.before(MILLISECOND)).await, Answered::Expired);
    assert_eq!(desk.state(noted).await, Some((ActionState::Expired, None)));

    // Of those that come together the first counts.
    let id = desk.asks().await;
    let results = ["one", "two", "three"].map(|text| (desk.result(id, text), NOW)).to_vec();
    let told = store.answer_actions(results).await.unwrap();
    let again = Answered::Duplicate(ActionState::Done);
    assert_eq!(told, [Answered::Applied { since: NOW }, again, again]);
    assert_eq!(desk.state(id).await, Some((ActionState::Done, Some("\"one\"".to_owned()))));
}

/// Only what has ended goes, the whole time after its end, a few at a time.
async fn what_has_ended_is_kept_for_a_while(bench: Bench) {
    let desk = Desk::set(bench).await;
    let store = &desk.bench.store;
    let (open, answered, last) = (desk.asks().await, desk.asks().await, desk.asks().await);
    desk.answers(answered, NOW).await;
    desk.answers(last, NOW.after(MILLISECOND)).await;
    assert_eq!(store.trim_actions(NOW, 10).await.unwrap(), 0, "not yet");
    assert_eq!(store.trim_actions(NOW.after(MILLISECOND), 10).await.unwrap(), 1);
    assert_eq!(desk.state(answered).await, None);
    assert!(desk.state(last).await.is_some() && desk.state(open).await.is_some());
    let much_later = NOW.after(SECOND * 3600);
    assert_eq!(store.trim_actions(much_later, 10).await.unwrap(), 1);
    assert_eq!(desk.state(open).await, Some((ActionState::Pending, None)), "it hasn't ended");

    assert_eq!(store.expire_actions(much_later, 10).await.unwrap(), [open]);
    for _ in 0..4 {
        let id = desk.asks().await;
        desk.answers(id, NOW).await;
    }
    for trimmed in [3, 1, 0] {
        assert_eq!(store.trim_actions(much_later, 3).await.unwrap(), trimmed);
    }
    assert_eq!(store.trim_actions(much_later.after(MILLISECOND), 3).await.unwrap(), 1);
    assert_eq!(desk.bench.count("SELECT count(*) FROM action_requests"), 0);
}
