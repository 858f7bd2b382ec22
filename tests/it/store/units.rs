//! One request is one unit of work: however much it changes, it commits once.

use super::bench::{Bench, NOW, accepted, by, name, post, renamed};
use super::contracts;
use super::sessions::{begin, change, session};
use hearth::domain::{
    Ack, Command, Enrolment, NewRoomKind, PasswordProof, Person, Role, RoomId, SessionChange, UserId, Via,
    WebhookUrl,
};
use hearth::storage::Write;
use uuid::Uuid;

contracts!(each_request_commits_once, what_is_refused_or_repeated_writes_nothing);

/// Commits since the last look.
struct Commits<'a> {
    bench: &'a Bench,
    seen: u64,
}

impl Commits<'_> {
    fn more(&mut self) -> u64 {
        let now = self.bench.store.stats().commits;
        now - std::mem::replace(&mut self.seen, now)
    }
}

/// Proves DB-11.
async fn each_request_commits_once(bench: Bench) {
    let home = bench.home().await;
    let mut people: Vec<UserId> = Vec::new();
    let mut commits = Commits { bench: &bench, seen: bench.store.stats().commits };
    for n in 0..20 {
        people.push(bench.person(&format!("p{n}"), Role::Member).await.id);
        assert_eq!(commits.more(), 1, "user, inbox, read marks, events");
    }
    let webhook = WebhookUrl::parse("http://127.0.0.1:1/").ok();
    let by_admin = home.admin.clone();
    let robot = Enrolment::Bot {
        by: by_admin,
        name: name("Robot"),
        key_hash: [1; 32],
        webhook,
        expires_in: None,
        key: None,
    };
    let robot: Person = bench.enrolled(robot).await;
    assert_eq!(commits.more(), 1, "user, key, webhook");
    people.push(robot.id);
    let den = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &people).await.id;
    assert_eq!(commits.more(), 1, "a room with all its members");
    assert_eq!(bench.count(&format!("SELECT count(*) FROM memberships WHERE room_id = {den}")), 22);
    let message = bench.posts(&home.admin, den, "@Robot").await;
    assert_eq!(commits.more(), 1, "event, message, search, heads, outbox");
    let does = [
        Command::MarkRead { room: den, seq: message.seq },
        Command::EditMessage { room: den, message: message.id, version: 1, body: body("x") },
        Command::DeleteMessage { room: den, message: message.id },
        Command::RemoveMember { room: den, user: people[0] },
        Command::AddMember { room: den, user: people[0] },
        Command::RenameRoom { room: den, name: name("Lair") },
        Command::UpdateBot { bot: robot.id, name: Some(name("Golem")), webhook: Some(None) },
        renamed("Anna"),
        Command::UpdateAccount { name: Some(name("Inc")), settings: Some("{}".to_owned()) },
        Command::DeleteRoom { room: den },
    ];
    for command in does {
        let kind = command.kind();
        bench.does(&home.admin, command).await;
        assert_eq!(commits.more(), 1, "{kind}");
    }
    // Many requests at once are one commit, too.
    let writes: Vec<Write> =
        (0..300).map(|n| by(&home.admin, post(home.general, Uuid::new_v4(), &n.to_string()))).collect();
    bench.batch(writes).await.into_iter().for_each(|verdict| drop(accepted(verdict)));
    assert_eq!(commits.more(), 1);

    let begin = |token| begin(session(home.admin.id, token));
    drop(accepted(bench.one(begin(9)).await));
    assert_eq!(commits.more(), 1);
    let admin = hearth::domain::Principal::of_system(home.admin.clone());
    let rotated = bench.store.rotate_bot_key(admin, robot.id, super::people::next(2), NOW).await;
    assert!(matches!(rotated.unwrap(), hearth::storage::Rotation::Done { .. }));
    assert_eq!(commits.more(), 1, "the old keys end with the new one's begin");
    drop(accepted(bench.one(begin(8)).await));
    commits.more();
    let (user, proof) = (home.admin.id, PasswordProof::Operator);
    let password_hash = "hash2".to_owned();
    let set = SessionChange::SetPassword { user, password_hash, proof, keep: None };
    drop(accepted(bench.one(change(set, Via::Operator)).await));
    assert_eq!(commits.more(), 1, "the sessions end with the old password");
    // Reading commits nothing.
    bench.store.reconcile(true).await.unwrap();
    bench.store.bots(NOW).await.unwrap();
    assert_eq!(commits.more(), 0);
}

async fn what_is_refused_or_repeated_writes_nothing(bench: Bench) {
    let home = bench.home().await;
    let id = Uuid::new_v4();
    bench.does(&home.admin, post(home.general, id, "hi")).await;
    let events = bench.count("SELECT count(*) FROM events");
    let (ack, _) = bench.does(&home.admin, post(home.general, id, "hi")).await;
    assert!(matches!(ack, Ack::Posted { duplicate: true, .. }));
    bench.refuses(&home.admin, post(RoomId::new(999), Uuid::new_v4(), "hi")).await;
    let bot = Command::UpdateBot { bot: home.admin.id, name: Some(name("X")), webhook: Some(None) };
    bench.refuses(&home.admin, bot).await;
    let bob = bench.person("Bob", Role::Member).await;
    let events_with_bob = bench.count("SELECT count(*) FROM events");
    assert_eq!(events_with_bob - events, 2);
    let bot = Command::UpdateBot { bot: bob.id, name: None, webhook: None };
    assert_eq!(bench.refuses(&bob, bot).await.code, hearth::domain::RejectionCode::Forbidden);
    assert_eq!(bench.count("SELECT count(*) FROM events"), events_with_bob);
}

fn body(text: &str) -> hearth::domain::MessageBody {
    hearth::domain::MessageBody::parse(text).unwrap()
}
