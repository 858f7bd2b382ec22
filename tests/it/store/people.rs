//! Enrolment, sign-in, sessions, keys.

use super::bench::{Bench, NOW, accepted, enrols, kinds, name, refused};
use super::contracts;
use hearth::domain::{
    Ack, Enrolment, InviteCode, Person, Principal, Rejection, RejectionCode, Role, Status, Timestamp, UserId,
};
use hearth::storage::{BotKeyState, NextKey, Rotation};
use std::time::Duration;

contracts!(
    parallel_first_runs_are_one,
    parallel_sign_ups_take_an_address_once,
    a_wrong_code_invites_nobody,
    an_operator_makes_the_account_if_there_is_none,
    bots_are_made_by_admins,
    a_key_is_replaced,
    people_are_listed_by_id,
);

fn set_up(n: usize) -> Enrolment {
    Enrolment::SetUp {
        account_name: name("Acme"),
        join_code: format!("code-{n}"),
        name: name("Ann"),
        email: format!("ann{n}@example.org"),
        password_hash: "hash".to_owned(),
    }
}

fn join(code: &str, email: &str) -> Enrolment {
    Enrolment::Join {
        code: InviteCode::new(code),
        name: name("Bob"),
        credentials: Some((email.to_owned(), "hash".to_owned())),
    }
}

/// Proves DB-13.
async fn parallel_first_runs_are_one(bench: Bench) {
    let other = if bench.is_sqlite() { bench.store.clone() } else { super::bench::open(&bench.options) };
    let outcomes: Vec<_> = (0..20)
        .map(|n| {
            let store = if n % 2 == 0 { &bench.store } else { &other };
            store.submit(vec![enrols(set_up(n))], NOW).unwrap()
        })
        .collect();
    let mut firsts = 0;
    for outcome in outcomes {
        match outcome.await.unwrap().pop().unwrap() {
            Ok(hearth::storage::Verdict::Accepted { .. }) => firsts += 1,
            other => assert_eq!(refused(other).code, RejectionCode::AlreadySetUp),
        }
    }
    assert_eq!(firsts, 1);
    assert_eq!(bench.count("SELECT count(*) FROM accounts"), 1);
    assert_eq!(bench.count("SELECT count(*) FROM users"), 1);
    assert_eq!(bench.count("SELECT count(*) FROM rooms WHERE kind = 'commons'"), 1);
}

/// Proves DB-13.
async fn parallel_sign_ups_take_an_address_once(bench: Bench) {
    bench.home().await;
    let mut firsts = 0;
    let emails = ["bob@example.org", " Bob@Example.org ", "BOB@EXAMPLE.ORG"];
    let outcomes: Vec<_> = (0..30)
        .map(|n| bench.store.submit(vec![enrols(join("join-me", emails[n % 3]))], NOW).unwrap())
        .collect();
    for outcome in outcomes {
        match outcome.await.unwrap().pop().unwrap() {
            Ok(hearth::storage::Verdict::Accepted { events, .. }) => {
                assert_eq!(kinds(&events), ["room.created", "user.joined"]);
                firsts += 1;
            }
            other => {
                let rejection = refused(other);
                assert_eq!(rejection.code, RejectionCode::EmailTaken);
                assert_eq!(rejection.field.as_deref(), Some("email"));
            }
        }
    }
    assert_eq!(firsts, 1);
    let credentials = bench.store.credentials("  BOB@example.org").await.unwrap().unwrap();
    assert_eq!((credentials.person.role, credentials.status), (Role::Member, Status::Active));
    assert_eq!(bench.store.credentials("nobody@example.org").await.unwrap(), None);
}

async fn a_wrong_code_invites_nobody(bench: Bench) {
    let before = bench.one(enrols(join("join-me", "bob@example.org"))).await;
    assert_eq!(refused(before).code, RejectionCode::NotFound, "before the first run");
    bench.home().await;
    for code in ["", "join-m", "join-me ", "JOIN-ME"] {
        let rejection = refused(bench.one(enrols(join(code, "bob@example.org"))).await);
        assert_eq!(rejection.code, RejectionCode::NotFound);
    }
    assert_eq!(bench.count("SELECT count(*) FROM users"), 1);
}

async fn an_operator_makes_the_account_if_there_is_none(bench: Bench) {
    let ann = bench.person("Ann", Role::Admin).await;
    assert!(ann.is_admin());
    let account = bench.store.account().await.unwrap().unwrap();
    assert_eq!(account.name, "Hearth");
    assert!(account.join_code.len() >= 20, "nobody guesses it");
    let rejection = refused(bench.one(enrols(set_up(1))).await);
    assert_eq!(rejection.code, RejectionCode::AlreadySetUp);
    let bob = bench.person("Bob", Role::Guest).await;
    assert_eq!(bob.role, Role::Guest);
    assert_eq!(bench.count("SELECT count(*) FROM rooms WHERE kind = 'inbox'"), 2);
}

pub(super) fn bot(by: &Person, key: u8) -> Enrolment {
    Enrolment::Bot {
        by: by.clone(),
        name: name("Robo"),
        key_hash: [key; 32],
        webhook: None,
        expires_in: None,
        key: None,
    }
}

async fn bots_are_made_by_admins(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let claimed = Person { role: Role::Admin, ..bob };
    let rejection = refused(bench.one(enrols(bot(&claimed, 1))).await);
    assert_eq!(rejection.code, RejectionCode::Forbidden);
    let (ack, events) = accepted(bench.one(enrols(bot(&home.admin, 1))).await);
    let Ack::Enrolled { person, room: None } = ack else { panic!("{ack:?}") };
    assert_eq!(kinds(&events), ["room.created", "user.joined"]);
    let bots = bench.store.bots(NOW).await.unwrap();
    assert_eq!((bots.len(), &bots[0].profile.person, bots[0].profile.email.as_deref()), (1, &person, None));
    bench.posts(&person, home.general, "beep").await;
    assert_eq!(keys(&bench, person.id).await, [([1; 32], BotKeyState::Living)]);
    let bench = bench.reopened().await;
    bench.sql("UPDATE users SET status = 'deactivated' WHERE role = 'bot'").unwrap();
    assert_eq!(keys(&bench, person.id).await, [([1; 32], BotKeyState::Revoked)]);
}

async fn a_key_is_replaced(bench: Bench) {
    let home = bench.home().await;
    let robo = bench.enrolled(bot(&home.admin, 1)).await;
    let by = Principal::of_system(home.admin.clone());
    assert!(matches!(
        bench.store.rotate_bot_key(by.clone(), robo.id, next(2), NOW).await.unwrap(),
        Rotation::Done { expires_at: None, .. }
    ));
    let replaced = [([1; 32], BotKeyState::Revoked), ([2; 32], BotKeyState::Living)];
    assert_eq!(keys(&bench, robo.id).await, replaced);
    let refused = Rotation::Refused(Rejection::not_found("bot"));
    assert_eq!(
        bench.store.rotate_bot_key(by.clone(), home.admin.id, next(3), NOW).await.unwrap(),
        refused,
        "people have no key"
    );
}

/// A key that replaces the others at once, and is good without end.
pub(super) fn next(key: u8) -> NextKey {
    NextKey { hash: [key; 32], expires_in: None, overlap: Duration::ZERO, key: None }
}

/// The hashes of a bot's keys with what they are worth, in the order they were made.
pub(super) async fn keys(bench: &Bench, bot: UserId) -> Vec<([u8; 32], BotKeyState)> {
    keys_at(bench, bot, NOW).await
}

/// The same at another time.
pub(super) async fn keys_at(bench: &Bench, bot: UserId, now: Timestamp) -> Vec<([u8; 32], BotKeyState)> {
    let (_, keys) = bench.store.bot_keys_of(bot, now).await.unwrap().expect("a bot with keys");
    let mut keys = keys.to_vec();
    keys.sort_by_key(|key| key.id);
    keys.iter().map(|key| (key.hash, key.state(now))).collect()
}

async fn people_are_listed_by_id(bench: Bench) {
    let home = bench.home().await;
    let mut all = vec![home.admin.id];
    for who in ["Bob", "Cleo", "Dan"] {
        all.push(bench.person(who, Role::Member).await.id);
    }
    bench.sql("UPDATE users SET status = 'deactivated' WHERE name = 'Cleo'").unwrap();
    let ids = async |after, limit| -> Vec<UserId> {
        let people = bench.people(after, limit).await;
        people.into_iter().map(|profile| profile.person.id).collect()
    };
    assert_eq!(ids(None, 2).await, [all[0], all[1]]);
    assert_eq!(ids(Some(all[1]), 2).await, [all[3]]);
    let cleo = bench.store.person(all[2]).await.unwrap().unwrap();
    assert_eq!((cleo.status, cleo.email.as_deref()), (Status::Deactivated, Some("cleo@example.org")));
    assert_eq!(bench.store.person(UserId::new(999)).await.unwrap(), None);
}
