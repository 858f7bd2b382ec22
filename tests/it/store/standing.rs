//! Roles, deactivation, bans and invitations: each in one transaction with its event and its line in the audit trail.

use super::bench::{Bench, NOW, accepted, by, code, enrols, kinds, name, refused};
use super::contracts;
use super::sessions::{begin, session};
use hearth::domain::{
    Ack, Bio, Command, Enrolment, InviteCode, InviteTerms, NewRoomKind, Person, RejectionCode, Role, RoomId,
    StandingChange, Status, UserId,
};
use hearth::storage::{SessionKey, SessionState};
use std::time::Duration;

contracts!(
    two_admins_in_one_batch_never_send_each_other_away,
    a_change_is_one_with_its_event_and_its_audit,
    a_ban_is_one_with_its_rows,
    a_guest_who_becomes_a_member_has_nothing_to_catch_up_with,
    an_invitation_counts_in_the_transaction_that_lets_in,
);

fn role(user: UserId, role: Role) -> Command {
    Command::UpdateUser { user, change: StandingChange { role: Some(role), status: None } }
}

fn status(user: UserId, status: Status) -> Command {
    Command::UpdateUser { user, change: StandingChange { role: None, status: Some(status) } }
}

fn ban(user: UserId) -> Command {
    Command::BanUser { user, reason: Bio::parse("reason", "spam").expect("a reason") }
}

fn audited(bench: &Bench, action: &str) -> i64 {
    bench.count(&format!("SELECT count(*) FROM audit WHERE action = '{action}'"))
}

/// Proves AUTH-06.
async fn two_admins_in_one_batch_never_send_each_other_away(bench: Bench) {
    let home = bench.home().await;
    let ann = home.admin;
    let bob = bench.person("Bob", Role::Admin).await;
    for away in [
        role as fn(UserId, Role) -> Command,
        |user, _| status(user, Status::Deactivated),
        |user, _| ban(user),
    ] {
        let writes = [(&ann, &bob), (&bob, &ann), (&ann, &ann)];
        let writes = writes.map(|(who, whom)| by(who, away(whom.id, Role::Member))).to_vec();
        let outcome = bench.batch(writes).await;
        assert_eq!(code(&outcome[0]), None, "{:?}", outcome[0]);
        assert!(code(&outcome[1]).is_some(), "whom Ann sent away sends nobody away any more");
        let themselves = [Some(RejectionCode::LastAdmin), Some(RejectionCode::Forbidden)];
        assert!(themselves.contains(&code(&outcome[2])), "{:?}", outcome[2]);
        let admins = "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'";
        assert_eq!(bench.count(admins), 1);
        bench.sql("UPDATE users SET role = 'admin', status = 'active' WHERE name = 'Bob'").unwrap();
    }
}

/// Proves AUTH-06.
async fn a_change_is_one_with_its_event_and_its_audit(bench: Bench) {
    let home = bench.home().await;
    let (ann, bob) = (home.admin, bench.person("Bob", Role::Member).await);
    accepted(bench.one(begin(session(bob.id, 1))).await);
    let living = async |bench: &Bench| {
        matches!(
            bench.store.session(SessionKey::Token([1; 32]), NOW).await.unwrap(),
            SessionState::Living(..)
        )
    };
    assert!(living(&bench).await);
    let (_, events) = bench.does(&ann, role(bob.id, Role::Guest)).await;
    assert_eq!((kinds(&events), audited(&bench, "user.role_changed")), (vec!["user.updated"], 1));
    let detail = "SELECT count(*) FROM audit WHERE action = 'user.role_changed' AND actor_id = 1 AND target_kind = 'user' \
                  AND detail LIKE '%member%' AND detail LIKE '%guest%'";
    assert_eq!(bench.count(detail), 1);
    let SessionState::Living(_, person) = bench.store.session(SessionKey::Token([1; 32]), NOW).await.unwrap()
    else {
        panic!("a role ends no session")
    };
    assert_eq!(person.role, Role::Guest, "the cache knows");
    assert_eq!(bench.does(&ann, role(bob.id, Role::Guest)).await.0, Ack::Unchanged);
    assert_eq!(audited(&bench, "user.role_changed"), 1, "nothing happened");

    let (_, events) = bench.does(&ann, status(bob.id, Status::Deactivated)).await;
    assert_eq!((kinds(&events), audited(&bench, "user.deactivated")), (vec!["user.left"], 1));
    assert!(!living(&bench).await);
    assert_eq!(bench.count("SELECT count(*) FROM sessions WHERE revoked_at IS NULL"), 0);
    assert_eq!(bench.refuses(&bob, super::bench::renamed("x")).await.code, RejectionCode::TokenRevoked);
    // What is changed meanwhile is told when they are back.
    let (_, events) = bench.does(&ann, role(bob.id, Role::Member)).await;
    assert_eq!(kinds(&events), Vec::<&str>::new());
    let (_, events) = bench.does(&ann, status(bob.id, Status::Active)).await;
    assert_eq!((kinds(&events), audited(&bench, "user.reactivated")), (vec!["user.joined"], 1));
    assert!(format!("{:?}", events[0].event.body).contains("Member"));
    assert!(!living(&bench).await, "sessions don't come back");
    for wrong in [
        role(UserId::new(999), Role::Member),
        ban(UserId::new(999)),
        Command::LiftBan { user: UserId::new(999) },
    ] {
        assert_eq!(bench.refuses(&ann, wrong).await.code, RejectionCode::NotFound);
    }
    for theirs in [role(ann.id, Role::Member), ban(ann.id), Command::LiftBan { user: ann.id }] {
        assert_eq!(bench.refuses(&bob, theirs).await.code, RejectionCode::Forbidden);
    }
}

async fn a_ban_is_one_with_its_rows(bench: Bench) {
    let home = bench.home().await;
    let (ann, bob) = (home.admin, bench.person("Bob", Role::Member).await);
    let now = NOW.as_millis();
    let old = NOW.before(Duration::from_secs(31 * 24 * 60 * 60)).as_millis();
    for (n, (user, address, used, revoked)) in [
        (bob.id, "203.0.113.1", now, "NULL"),
        (bob.id, "203.0.113.1", now, "1"),
        (bob.id, "203.0.113.2", now, "1"),
        (bob.id, "10.0.0.1", now, "NULL"),
        (bob.id, "203.0.113.3", old, "NULL"),
        (bob.id, "203.0.113.4", now, "NULL"),
        (bob.id, "203.0.113.5", now, "NULL"),
        (ann.id, "203.0.113.4", now, "NULL"),
        // Ann was there, and isn't any more.
        (ann.id, "203.0.113.5", now, "1"),
    ]
    .into_iter()
    .enumerate()
    {
        let hash = if bench.is_sqlite() {
            format!("x'{:064x}'", n + 1)
        } else {
            format!("'\\x{:064x}'::bytea", n + 1)
        };
        bench
            .sql(&format!(
                "INSERT INTO sessions (token_hash, user_id, device, created_at, last_active_at, expires_at, revoked_at, address)
                 VALUES ({hash}, {user}, '', {used}, {used}, {}, {revoked}, '{address}')",
                now + 1_000_000
            ))
            .unwrap();
    }
    let (_, events) = bench.does(&ann, ban(bob.id)).await;
    assert_eq!((kinds(&events), audited(&bench, "user.banned")), (vec!["user.left"], 1));
    let bans = bench.store.bans(None, 10).await.unwrap();
    assert_eq!((bans.len(), &bans[0].user.id, bans[0].reason.as_str()), (1, &bob.id, "spam"));
    assert_eq!(bans[0].addresses, ["203.0.113.1", "203.0.113.2", "203.0.113.5"]);
    assert_eq!(bench.store.banned_networks().await.unwrap().len(), 3);
    assert_eq!(bench.does(&ann, ban(bob.id)).await.0, Ack::Unchanged);
    let (_, events) = bench.does(&ann, Command::LiftBan { user: bob.id }).await;
    assert_eq!((kinds(&events), audited(&bench, "user.unbanned")), (vec!["user.joined"], 1));
    assert_eq!(bench.does(&ann, Command::LiftBan { user: bob.id }).await.0, Ack::Unchanged);
    assert!(bench.store.banned_networks().await.unwrap().is_empty());
    assert_eq!(bench.count("SELECT count(*) FROM bans WHERE lifted_by = 1"), 1, "the row stays");
    // Somebody who had left can be banned, too, and nobody hears of it.
    bench.does(&ann, status(bob.id, Status::Deactivated)).await;
    assert_eq!(kinds(&bench.does(&ann, ban(bob.id)).await.1), Vec::<&str>::new());
    assert_eq!((audited(&bench, "user.banned"), bench.store.bans(None, 10).await.unwrap().len()), (2, 1));
    // Nor are they back when it is lifted.
    assert_eq!(kinds(&bench.does(&ann, Command::LiftBan { user: bob.id }).await.1), Vec::<&str>::new());
    assert_eq!(audited(&bench, "user.unbanned"), 2);
    assert_eq!(bench.count("SELECT count(*) FROM users WHERE status = 'deactivated'"), 1);
    let (_, events) = bench.does(&ann, status(bob.id, Status::Active)).await;
    assert_eq!(kinds(&events), ["user.joined"]);
}

async fn a_guest_who_becomes_a_member_has_nothing_to_catch_up_with(bench: Bench) {
    let home = bench.home().await;
    let gus = bench.person("Gus", Role::Guest).await;
    let room = bench.creates(&home.admin, NewRoomKind::Open, Some("Lobby"), &[]).await.id;
    for n in 0..3 {
        bench.posts(&home.admin, room, &n.to_string()).await;
    }
    bench.does(&home.admin, Command::AddMember { room: home.general, user: gus.id }).await;
    bench.posts(&home.admin, home.general, "for Gus").await;
    bench.does(&home.admin, role(gus.id, Role::Member)).await;
    let gus = Person { role: Role::Member, ..gus };
    let views = bench.store.standing(&gus, 10).await.unwrap();
    let unread = |room: RoomId| views.iter().find(|view| view.card.id == room).map(|view| view.unread);
    assert_eq!(unread(room), Some(0));
    assert_eq!(unread(home.general), Some(1), "what they had and didn't read stays unread");
}

async fn an_invitation_counts_in_the_transaction_that_lets_in(bench: Bench) {
    let home = bench.home().await;
    let den = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[]).await.id;
    let gone = bench.creates(&home.admin, NewRoomKind::Closed, Some("Gone"), &[]).await.id;
    let terms = InviteTerms {
        role: Role::Guest,
        rooms: vec![den, gone, home.general],
        lifetime: Some(Duration::from_secs(60)),
        max_uses: Some(2),
    };
    let invite = InviteCode::new("abcd-efgh");
    let command = Command::CreateInvite { code: invite.clone(), terms, key: None };
    let Ack::Invited { invite: id } = bench.does(&home.admin, command).await.0 else {
        panic!("no invitation")
    };
    bench.does(&home.admin, Command::DeleteRoom { room: gone }).await;
    let join = |who: &str, credentials: Option<(String, String)>| {
        enrols(Enrolment::Join { code: invite.clone(), name: name(who), credentials })
    };
    let (ack, events) = accepted(bench.one(join("Gus", None)).await);
    let Ack::Enrolled { person, .. } = ack else { panic!("{ack:?}") };
    assert_eq!(
        kinds(&events),
        [
            "room.created",
            "user.joined",
            "member.added",
            "membership.granted",
            "member.added",
            "membership.granted"
        ]
    );
    assert_eq!(bench.store.readable_room_ids(&person).await.unwrap().len(), 3, "two rooms and the inbox");
    let theirs =
        format!("SELECT count(*) FROM audit WHERE action = 'user.joined' AND target_id = {}", person.id);
    assert_eq!(bench.count(&theirs), 1);
    let used = format!("SELECT last_used_at - {} FROM invites", NOW.as_millis());
    assert_eq!(bench.count(&used), 0);
    // Whoever is refused uses up nothing.
    let taken = Some(("Ann@example.org".to_owned(), "hash".to_owned()));
    let refusal = refused(bench.one(join("Eve", taken)).await);
    assert_eq!(refusal.code, RejectionCode::EmailTaken);
    let outcome = bench.batch(vec![join("Gil", None), join("Guy", None)]).await;
    assert_eq!((code(&outcome[0]), code(&outcome[1])), (None, Some(RejectionCode::Gone)));
    let used = bench.store.invite(id).await.unwrap().unwrap().0.state.uses;
    assert_eq!(used, 2);
    assert_eq!(audited(&bench, "invite.created"), 1);
    bench.does(&home.admin, Command::RevokeInvite { invite: id }).await;
    bench.does(&home.admin, Command::RevokeInvite { invite: id }).await;
    assert_eq!(audited(&bench, "invite.revoked"), 1);
    bench.does(&home.admin, Command::RotateJoinCode { code: InviteCode::new("new-code") }).await;
    assert_eq!(audited(&bench, "join_code.rotated"), 1);
    assert_eq!(bench.store.account().await.unwrap().unwrap().join_code, "new-code");
}
