//! Links that sign in once: who may make them, that they work once and not for long, and what is remembered of it.

use super::bench::{Bench, NOW, accepted, by, code, kinds, refused};
use super::contracts;
use super::people::bot;
use super::sessions::{begin, begun, change, session, trail};
use hearth::domain::{
    Ack, BegunBy, Command, Ending, NewSession, NewTransfer, PasswordProof, Person, RejectionCode, Role,
    SessionChange, SessionId, Timestamp, TransferKind, UserId, Via,
};
use hearth::storage::{Verdict, Write};
use std::time::Duration;

contracts!(
    a_link_works_once_and_the_trail_remembers,
    only_one_of_a_batch_gets_in,
    a_link_ends_exactly_on_time,
    another_link_takes_the_place_of_the_first,
    who_may_make_which,
    who_is_sent_away_takes_their_links_along,
    who_ends_nothing_ends_no_link,
);

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn link(user: UserId, kind: TransferKind, token: u8) -> Command {
    Command::CreateTransfer(NewTransfer { user, kind, token_hash: [token; 32], lifetime: TEN_MINUTES })
}

fn redeem(user: UserId, begun_by: BegunBy, token: u8, link: u8) -> Write {
    let new = NewSession { begun_by, ..session(user, token) };
    change(SessionChange::Redeem { new, link_hash: [link; 32] }, Via::Nobody)
}

async fn makes(bench: &Bench, actor: &Person, user: UserId, kind: TransferKind, token: u8) {
    let ack = bench.does(actor, link(user, kind, token)).await.0;
    assert_eq!(ack, Ack::TransferCreated { expires_at: NOW.after(TEN_MINUTES) });
}

async fn is_usable(bench: &Bench, token: u8) -> bool {
    bench.store.transfer([token; 32], NOW).await.unwrap().is_some()
}

async fn at(bench: &Bench, now: Timestamp, write: Write) -> Verdict {
    let outcome = bench.store.submit(vec![write], now).unwrap().await.unwrap();
    outcome.into_iter().next().unwrap().unwrap()
}

/// Proves AUTH-10, AUD-01.
async fn a_link_works_once_and_the_trail_remembers(bench: Bench) {
    bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    makes(&bench, &bob, bob.id, TransferKind::Device, 1).await;
    let seen = bench.store.transfer([1; 32], NOW).await.unwrap().unwrap();
    assert_eq!(
        (&seen.user, seen.kind, seen.expires_at),
        (&bob, TransferKind::Device, NOW.after(TEN_MINUTES))
    );
    // Looking at it uses nothing up; a session of another kind or user doesn't come of it, and uses nothing up either.
    for wrong in [redeem(bob.id, BegunBy::Recovery, 2, 1), redeem(UserId::new(1), BegunBy::Transfer, 2, 1)] {
        assert_eq!(refused(bench.one(wrong).await).code, RejectionCode::Gone);
    }
    let (new, events) = begun(&bench, redeem(bob.id, BegunBy::Transfer, 2, 1)).await;
    assert_eq!((new.begun_by, kinds(&events)), (BegunBy::Transfer, vec!["session.begun"]));
    assert!(!is_usable(&bench, 1).await);
    let again = bench.one(redeem(bob.id, BegunBy::Transfer, 3, 1)).await;
    assert_eq!(refused(again).code, RejectionCode::Gone);
    let unknown = bench.one(redeem(bob.id, BegunBy::Transfer, 3, 9)).await;
    assert_eq!(refused(unknown).code, RejectionCode::Gone);
    assert_eq!(bench.count("SELECT count(*) FROM sessions"), 1);
    let (bob, link) = (bob.id, seen.id);
    let of_link = format!("actor_id = {bob} AND target_kind = 'transfer' AND target_id = {link}");
    assert_eq!(trail(&bench, "transfer.created", &of_link), 1);
    let told = format!(
        "{of_link} AND via = 'nobody' AND address = '192.0.2.7' AND detail LIKE '%\"session\":\"{}\"%'",
        new.id
    );
    assert_eq!(trail(&bench, "transfer.redeemed", &told), 1);
    assert_eq!(trail(&bench, "transfer.redeemed", "true"), 1, "what is refused is no redemption");
    assert_eq!(trail(&bench, "session.begun", "detail LIKE '%transfer%'"), 1);
}

/// Proves AUTH-10.
async fn only_one_of_a_batch_gets_in(bench: Bench) {
    bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    makes(&bench, &bob, bob.id, TransferKind::Device, 1).await;
    let all = (0..50).map(|token| redeem(bob.id, BegunBy::Transfer, token, 1)).collect();
    let outcome = bench.batch(all).await;
    let refusals = outcome.iter().filter(|one| code(one) == Some(RejectionCode::Gone)).count();
    let accepted = outcome.iter().filter(|one| matches!(one, Ok(Verdict::Accepted { .. }))).count();
    assert_eq!((accepted, refusals), (1, 49));
    assert_eq!(bench.count("SELECT count(*) FROM sessions"), 1);
}

/// Nothing was cleared away.
///
/// Proves AUTH-11.
async fn a_link_ends_exactly_on_time(bench: Bench) {
    bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    makes(&bench, &bob, bob.id, TransferKind::Device, 1).await;
    let end = NOW.after(TEN_MINUTES);
    let last = end.before(Duration::from_millis(1));
    assert!(bench.store.transfer([1; 32], last).await.unwrap().is_some());
    assert!(bench.store.transfer([1; 32], end).await.unwrap().is_none());
    let late = at(&bench, end, redeem(bob.id, BegunBy::Transfer, 2, 1)).await;
    assert_eq!(refused(Ok(late)).code, RejectionCode::Gone);
    assert_eq!(bench.count("SELECT count(*) FROM transfers WHERE used_at IS NULL"), 1, "it is still there");
    accepted(Ok(at(&bench, last, redeem(bob.id, BegunBy::Transfer, 2, 1)).await));
}

async fn another_link_takes_the_place_of_the_first(bench: Bench) {
    let home = bench.home().await;
    let (ann, bob) = (&home.admin, bench.person("Bob", Role::Member).await);
    makes(&bench, &bob, bob.id, TransferKind::Device, 1).await;
    makes(&bench, ann, bob.id, TransferKind::Recovery, 2).await;
    makes(&bench, ann, ann.id, TransferKind::Device, 3).await;
    makes(&bench, &bob, bob.id, TransferKind::Device, 4).await;
    for (token, usable) in [(1, false), (2, true), (3, true), (4, true)] {
        assert_eq!(is_usable(&bench, token).await, usable, "{token}");
    }
    let over = bench.one(redeem(bob.id, BegunBy::Transfer, 5, 1)).await;
    assert_eq!(refused(over).code, RejectionCode::Gone);
    for token in 10..30 {
        makes(&bench, &bob, bob.id, TransferKind::Device, token).await;
    }
    assert_eq!(bench.count("SELECT count(*) FROM transfers"), 3, "one of a kind each");
    // No number is given twice: the trail would tell of two links as of one.
    let numbers = "SELECT count(DISTINCT target_id) FROM audit WHERE action = 'transfer.created'";
    assert_eq!(bench.count(numbers), 24);
}

async fn who_may_make_which(bench: Bench) {
    let home = bench.home().await;
    let ann = &home.admin;
    let bob = bench.person("Bob", Role::Member).await;
    let guest = bench.person("Gus", Role::Guest).await;
    let robot = bench.enrolled(bot(ann, 1)).await;
    let gone = bench.person("Eve", Role::Member).await;
    makes(&bench, ann, gone.id, TransferKind::Recovery, 1).await;
    for (status, token) in [("deactivated", 2), ("banned", 3)] {
        bench.sql(&format!("UPDATE users SET status = '{status}' WHERE id = {}", gone.id)).unwrap();
        assert!(!is_usable(&bench, 1).await, "{status}");
        let late = bench.one(redeem(gone.id, BegunBy::Recovery, 1, 1)).await;
        assert_eq!(refused(late).code, RejectionCode::Gone, "{status}");
        let refusal = bench.refuses(ann, link(gone.id, TransferKind::Recovery, token)).await;
        assert_eq!(refusal.code, RejectionCode::Forbidden, "{status}");
    }
    use TransferKind::{Device, Recovery};
    let nobody = UserId::new(999_999);
    for (actor, user, kind, expected) in [
        (&bob, bob.id, Device, None),
        (&guest, guest.id, Device, None),
        (ann, guest.id, Recovery, None),
        (ann, bob.id, Device, Some(RejectionCode::Forbidden)),
        (&bob, guest.id, Recovery, Some(RejectionCode::Forbidden)),
        (&bob, bob.id, Recovery, Some(RejectionCode::Forbidden)),
        // A computer that was left alone isn't enough to set its admin's password.
        (ann, ann.id, Recovery, Some(RejectionCode::Forbidden)),
        (ann, robot.id, Recovery, Some(RejectionCode::Forbidden)),
        (&robot, robot.id, Device, Some(RejectionCode::Forbidden)),
        (ann, nobody, Recovery, Some(RejectionCode::NotFound)),
    ] {
        let outcome = bench.one(by(actor, link(user, kind, 50))).await;
        assert_eq!(code(&outcome), expected, "{actor:?} {user} {kind:?}");
        bench.sql("DELETE FROM transfers").unwrap();
    }
}

/// Whoever got in and is sent away again doesn't come back by a link they made meanwhile.
async fn who_is_sent_away_takes_their_links_along(bench: Bench) {
    let home = bench.home().await;
    let ann = &home.admin;
    let bob = bench.person("Bob", Role::Member).await;
    let (here, _) = begun(&bench, begin(session(bob.id, 1))).await;
    let (there, _) = begun(&bench, begin(session(bob.id, 2))).await;
    let via = Via::Session(here.id);
    let set = |keep| SessionChange::SetPassword {
        user: bob.id,
        password_hash: "new".to_owned(),
        proof: PasswordProof::Current("hash".to_owned()),
        keep,
    };
    let end = |which| SessionChange::End { user: bob.id, which };
    for (what, device, recovery) in [
        (end(Ending::One(there.id)), false, true),
        (end(Ending::AllBut(Some(here.id))), false, true),
        (set(Some(here.id)), false, false),
        // Whoever only leaves has made it to come back by it.
        (end(Ending::One(here.id)), true, true),
    ] {
        makes(&bench, &bob, bob.id, TransferKind::Device, 3).await;
        makes(&bench, ann, bob.id, TransferKind::Recovery, 4).await;
        makes(&bench, ann, ann.id, TransferKind::Device, 5).await;
        accepted(bench.one(change(what, via)).await);
        let usable = (is_usable(&bench, 3).await, is_usable(&bench, 4).await);
        assert_eq!(usable, (device, recovery));
        assert!(is_usable(&bench, 5).await, "somebody else's");
        bench.sql("DELETE FROM transfers").unwrap();
    }
    // Nor does a session that has ended make one.
    let mut write = by(&bob, link(bob.id, TransferKind::Device, 6));
    if let Write::Command { by, .. } = &mut write {
        by.origin.via = via;
    }
    assert_eq!(refused(bench.one(write).await).code, RejectionCode::TokenRevoked);
}

/// What is refused has written nothing.
async fn who_ends_nothing_ends_no_link(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let (session, _) = begun(&bench, begin(session(bob.id, 1))).await;
    let (hers, _) = begun(&bench, begin(super::sessions::session(home.admin.id, 2))).await;
    makes(&bench, &bob, bob.id, TransferKind::Device, 1).await;
    for nobodys in [SessionId::new(999), hers.id] {
        let end = SessionChange::End { user: bob.id, which: Ending::One(nobodys) };
        let refusal = refused(bench.one(change(end, Via::Session(session.id))).await);
        assert_eq!(refusal.code, RejectionCode::NotFound);
    }
    assert!(is_usable(&bench, 1).await);
}
