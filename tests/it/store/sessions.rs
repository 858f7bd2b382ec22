//! Sessions and passwords: what begins, what ends, who is told, and what is remembered of it.

use super::bench::{Bench, Home, NOW, accepted, by, kinds, refused, renamed};
use super::contracts;
use super::people::bot;
use hearth::domain::command::Recorded;
use hearth::domain::{
    Ack, BegunBy, Ending, EventBody, NewSession, Origin, PasswordProof, Person, RejectionCode, Role, Session,
    SessionChange, SessionId, Timestamp, UserId, Via,
};
use hearth::storage::{SessionKey, SessionState, Status, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

contracts!(
    sessions_end_by_time_revocation_and_status,
    the_other_devices_are_told_and_the_trail_remembers,
    as_many_sessions_as_one_may_have,
    a_new_password_ends_the_other_sessions,
    what_was_right_a_moment_ago_opens_nothing,
    a_recovered_session_sets_a_password_for_a_while,
    who_is_signed_out_signs_nobody_out,
);

const MINUTE: Duration = Duration::from_secs(60);
/// Where everybody is.
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

pub(super) fn session(user: UserId, token: u8) -> NewSession {
    NewSession {
        user,
        token_hash: [token; 32],
        device: "é".repeat(300),
        begun_by: BegunBy::Password,
        lifetime: MINUTE,
        most: 100,
    }
}

pub(super) const fn from(via: Via) -> Origin {
    Origin { via, address: Some(ADDRESS) }
}

pub(super) fn change(change: SessionChange, via: Via) -> Write {
    Write::Session { change, origin: from(via) }
}

pub(super) fn begin(new: NewSession) -> Write {
    change(SessionChange::Begin { new, password_hash: None, refresh: None }, Via::Nobody)
}

fn end(user: UserId, which: Ending) -> Write {
    change(SessionChange::End { user, which }, Via::Nobody)
}

fn set_password(user: UserId, proof: PasswordProof, keep: Option<SessionId>, via: Via) -> Write {
    change(SessionChange::SetPassword { user, password_hash: "new".to_owned(), proof, keep }, via)
}

/// A write that begins a session.
pub(super) async fn begun(bench: &Bench, write: Write) -> (Arc<Session>, Vec<Recorded>) {
    match accepted(bench.one(write).await) {
        (Ack::SessionBegun(session), events) => (session, events),
        other => panic!("{other:?}"),
    }
}

/// A write that ends sessions.
async fn ended(bench: &Bench, write: Write) -> (Vec<SessionId>, Vec<Recorded>) {
    match accepted(bench.one(write).await) {
        (Ack::SessionsEnded(sessions), events) => (sessions, events),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn living(bench: &Bench, token: u8, now: Timestamp) -> Option<(Session, Person)> {
    match state(bench, token, now).await {
        SessionState::Living(session, person) => Some((session, person)),
        _ => None,
    }
}

pub(super) async fn state(bench: &Bench, token: u8, now: Timestamp) -> SessionState {
    bench.store.session(SessionKey::Token([token; 32]), now).await.unwrap()
}

/// How many rows of the trail say this.
pub(super) fn trail(bench: &Bench, action: &str, condition: &str) -> i64 {
    bench.count(&format!("SELECT count(*) FROM audit WHERE action = '{action}' AND {condition}"))
}

async fn sessions_end_by_time_revocation_and_status(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let store = &bench.store;
    let (first, _) = begun(&bench, begin(session(bob.id, 1))).await;
    let (second, _) = begun(&bench, begin(session(bob.id, 2))).await;
    let (found, person) = living(&bench, 1, NOW).await.unwrap();
    assert_eq!((&found, &person, found.device.chars().count()), (&*first, &bob, 200));
    assert_eq!((found.address, found.begun_by), (Some(ADDRESS), BegunBy::Password));
    let by_id = store.session(SessionKey::Id(first.id), NOW).await.unwrap();
    assert_eq!(by_id, SessionState::Living(found, bob.clone()));
    assert_eq!(state(&bench, 9, NOW).await, SessionState::Unknown);
    let later = NOW.after(MINUTE);
    assert_eq!(state(&bench, 1, later).await, SessionState::Expired);
    let elsewhere = Some(IpAddr::from([192, 0, 2, 8]));
    let (key, longer) = (SessionKey::Token([1; 32]), Some(later.after(MINUTE)));
    store.touch_session(key, elsewhere, later, longer).await.unwrap();
    let (found, _) = living(&bench, 1, later).await.unwrap();
    assert_eq!((found.last_active_at, found.address), (later, elsewhere));
    // What isn't said stays as it is.
    store.touch_session(key, None, later.after(MINUTE / 2), None).await.unwrap();
    let (found, _) = living(&bench, 1, later.after(MINUTE / 2)).await.unwrap();
    assert_eq!((found.address, Some(found.expires_at)), (elsewhere, longer));
    store.note_seen([(later, vec![bob.id]), (NOW, vec![bob.id])].into()).await.unwrap();
    assert_eq!(bench.count("SELECT last_seen_at FROM users WHERE name = 'Bob'"), later.as_millis());
    let listed = store.sessions_of(bob.id, NOW).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [second.id, first.id]);
    let refusal = refused(bench.one(end(home.admin.id, Ending::One(first.id))).await);
    assert_eq!(refusal.code, RejectionCode::NotFound, "somebody else's");
    assert_eq!(ended(&bench, end(bob.id, Ending::One(first.id))).await.0, [first.id]);
    assert_eq!(state(&bench, 1, NOW).await, SessionState::Revoked);
    assert_eq!(store.session(SessionKey::Id(first.id), NOW).await.unwrap(), SessionState::Revoked);
    let refusal = refused(bench.one(end(bob.id, Ending::One(first.id))).await);
    assert_eq!(refusal.code, RejectionCode::NotFound, "once");
    living(&bench, 2, NOW).await.unwrap();
    accepted(bench.batch(vec![by(&bob, renamed("Robert"))]).await.remove(0));
    assert_eq!(&*living(&bench, 2, NOW).await.unwrap().1.name, "Robert", "known anew");
    bench.sql("UPDATE users SET status = 'banned' WHERE name = 'Robert'").unwrap();
    let bench = bench.reopened().await;
    assert_eq!(state(&bench, 2, NOW).await, SessionState::Revoked);
    let refusal = refused(bench.one(begin(session(bob.id, 3))).await);
    assert_eq!(refusal.code, RejectionCode::Unauthenticated);
    assert_eq!(bench.store.credentials("bob@example.org").await.unwrap().unwrap().status, Status::Banned);
}

/// Proves AUTH-13.
async fn the_other_devices_are_told_and_the_trail_remembers(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let inbox = bench.count("SELECT id FROM rooms WHERE kind = 'inbox'");
    let first = NewSession { begun_by: BegunBy::SetUp, ..session(admin.id, 1) };
    let (first, events) = begun(&bench, begin(first)).await;
    assert!(events.is_empty(), "nobody else could hear of it");
    let (second, events) = begun(&bench, begin(session(admin.id, 2))).await;
    let [told] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((told.event.body.kind(), told.event.room.get()), ("session.begun", inbox));
    assert_eq!(told.event.body, EventBody::SessionBegun { session: Arc::clone(&second) });
    begun(&bench, begin(session(admin.id, 3))).await;
    let via = Via::Session(first.id);
    let others = SessionChange::End { user: admin.id, which: Ending::AllBut(Some(first.id)) };
    let (gone, events) = ended(&bench, change(others, via)).await;
    assert_eq!((gone.len(), kinds(&events)), (2, vec!["session.ended", "session.ended"]));
    assert_eq!(events[0].event.body, EventBody::SessionEnded { session: second.id });
    assert!(living(&bench, 1, NOW).await.is_some());
    let whole = format!("actor_id = {} AND address = '192.0.2.7' AND target_kind = 'session'", admin.id);
    assert_eq!(trail(&bench, "session.begun", &format!("{whole} AND via = 'nobody'")), 3);
    assert_eq!(trail(&bench, "session.begun", r#"detail = '{"begun_by":"setup"}'"#), 1);
    let session = format!("{whole} AND via = 'session' AND credential_id = {}", first.id);
    let second = format!("{session} AND target_id = {}", second.id);
    assert_eq!((trail(&bench, "session.ended", &session), trail(&bench, "session.ended", &second)), (2, 1));
    // What is refused leaves nothing behind.
    let rows = bench.count("SELECT count(*) FROM audit");
    refused(bench.one(end(admin.id, Ending::One(SessionId::new(99)))).await);
    assert_eq!(bench.count("SELECT count(*) FROM audit"), rows);
}

/// Proves AUTH-07.
async fn as_many_sessions_as_one_may_have(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let one_of_three = |token| begin(NewSession { most: 3, ..session(admin.id, token) });
    let mut sessions = Vec::new();
    for token in 1..=3 {
        sessions.push(begun(&bench, one_of_three(token)).await.0.id);
    }
    // The first one is used; the second one is now the one that wasn't for longest.
    let key = SessionKey::Token([1; 32]);
    bench.store.touch_session(key, None, NOW.after(Duration::from_secs(1)), None).await.unwrap();
    let (_, events) = begun(&bench, one_of_three(4)).await;
    assert_eq!(kinds(&events), ["session.ended", "session.begun"]);
    assert_eq!(state(&bench, 2, NOW).await, SessionState::Revoked);
    for token in [1, 3, 4] {
        assert!(living(&bench, token, NOW).await.is_some(), "{token}");
    }
    assert_eq!(trail(&bench, "session.ended", r#"detail = '{"by":"limit"}'"#), 1);
    // Of those who sign in at the same moment none gets past the limit.
    let writes: Vec<Write> = (10..30).map(one_of_three).collect();
    bench.batch(writes).await.into_iter().for_each(|verdict| drop(accepted(verdict)));
    assert_eq!(bench.store.sessions_of(admin.id, NOW).await.unwrap().len(), 3);
}

/// Proves AUTH-06.
async fn a_new_password_ends_the_other_sessions(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let (kept, _) = begun(&bench, begin(session(admin.id, 1))).await;
    let (other, _) = begun(&bench, begin(session(admin.id, 2))).await;
    living(&bench, 2, NOW).await.unwrap();
    let (proof, via) = (PasswordProof::Current("hash".to_owned()), Via::Session(kept.id));
    let (gone, events) = ended(&bench, set_password(admin.id, proof, Some(kept.id), via)).await;
    assert_eq!((gone, kinds(&events)), (vec![other.id], vec!["session.ended"]));
    assert_eq!(bench.store.credentials("ann@example.org").await.unwrap().unwrap().password_hash, "new");
    assert!(living(&bench, 1, NOW).await.is_some());
    assert_eq!(state(&bench, 2, NOW).await, SessionState::Revoked);
    assert_eq!(trail(&bench, "password.changed", r#"target_kind = 'user' AND detail = '{"by":"user"}'"#), 1);
    // An operator asks for no proof, and keeps nobody in.
    let write = set_password(admin.id, PasswordProof::Operator, None, Via::Operator);
    assert_eq!(ended(&bench, write).await.0, [kept.id]);
    assert_eq!(trail(&bench, "password.changed", "actor_id IS NULL AND via = 'operator'"), 1);
    let robo = bench.enrolled(bot(&admin, 1)).await;
    let refusal =
        refused(bench.one(set_password(robo.id, PasswordProof::Operator, None, Via::Operator)).await);
    assert_eq!(refusal.code, RejectionCode::Forbidden, "bots have none");
}

async fn what_was_right_a_moment_ago_opens_nothing(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let sign_in = |hash: &str| {
        let (new, password_hash) = (session(admin.id, 1), Some(hash.to_owned()));
        let begin = SessionChange::Begin { new, password_hash, refresh: None };
        change(begin, Via::Nobody)
    };
    let old = || PasswordProof::Current("hash".to_owned());
    // In one batch: the second and third were checked against what the first has changed.
    let outcome = bench
        .batch(vec![
            set_password(admin.id, old(), None, Via::Nobody),
            sign_in("hash"),
            set_password(admin.id, old(), None, Via::Nobody),
        ])
        .await;
    let codes: Vec<_> = outcome.into_iter().skip(1).map(|verdict| refused(verdict).code).collect();
    assert_eq!(codes, [RejectionCode::Unauthenticated; 2]);
    assert_eq!(bench.count("SELECT count(*) FROM sessions"), 0);
    begun(&bench, sign_in("new")).await;
}

async fn a_recovered_session_sets_a_password_for_a_while(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let recovered = NewSession { begun_by: BegunBy::Recovery, ..session(admin.id, 1) };
    let (recovered, _) = begun(&bench, begin(recovered)).await;
    let (usual, _) = begun(&bench, begin(session(admin.id, 2))).await;
    let within = |span, id| set_password(admin.id, PasswordProof::Recovery(span), Some(id), Via::Session(id));
    for (span, id) in [(MINUTE, usual.id), (Duration::ZERO, recovered.id)] {
        let refusal = refused(bench.one(within(span, id)).await);
        assert_eq!(refusal.field.as_deref(), Some("current_password"), "{span:?}");
    }
    assert_eq!(ended(&bench, within(MINUTE, recovered.id)).await.0, [usual.id]);
    assert_eq!(trail(&bench, "password.changed", r#"detail = '{"by":"recovery"}'"#), 1);
}

async fn who_is_signed_out_signs_nobody_out(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let (owner, _) = begun(&bench, begin(session(admin.id, 1))).await;
    let (thief, _) = begun(&bench, begin(session(admin.id, 2))).await;
    let others = |id| {
        let end = SessionChange::End { user: admin.id, which: Ending::AllBut(Some(id)) };
        change(end, Via::Session(id))
    };
    let password = |id| {
        let proof = PasswordProof::Current("hash".to_owned());
        set_password(admin.id, proof, Some(id), Via::Session(id))
    };
    let writes = vec![others(owner.id), others(thief.id), password(thief.id)];
    let codes: Vec<_> =
        bench.batch(writes).await.into_iter().skip(1).map(|verdict| refused(verdict).code).collect();
    assert_eq!(codes, [RejectionCode::TokenRevoked; 2]);
    assert!(living(&bench, 1, NOW).await.is_some());
}
