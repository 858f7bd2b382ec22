//! The outbox: written with the message or not at all, leased to one at a time, and bounded.

use super::bench::{Bench, Home, NOW, accepted, by, name, post};
use super::contracts;
use hearth::domain::{Ack, Command, Enrolment, NewRoomKind, Person, RoomId, Timestamp, WebhookUrl};
use hearth::storage::{Leased, OutboxDepth, Settled};
use std::time::Duration;
use uuid::Uuid;

contracts!(
    rows_come_with_their_message_or_not_at_all,
    a_row_belongs_to_one_until_its_lease_ends,
    dead_letters_stay_apart_and_the_oldest_go,
    what_is_gone_is_told_to_nobody,
    who_was_removed_is_told_nothing,
    a_malformed_row_is_given_up_and_holds_up_nobody,
    an_answer_is_kept_until_it_is_posted,
);

async fn robot(bench: &Bench, home: &Home, called: &str, key: u8) -> Person {
    let url = WebhookUrl::parse("http://127.0.0.1:1/").unwrap();
    let by = home.admin.clone();
    bench
        .enrolled(Enrolment::Bot {
            by,
            name: name(called),
            key_hash: [key; 32],
            webhook: Some(url),
            expires_in: None,
            key: None,
        })
        .await
}

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

async fn leases(bench: &Bench, now: Timestamp, limit: usize) -> Vec<Leased> {
    bench.store.lease_outbox(now, now.after(Duration::from_secs(60)), limit).await.unwrap().rows
}

/// Proves DB-09, DB-08.
async fn rows_come_with_their_message_or_not_at_all(bench: Bench) {
    let home = bench.home().await;
    let room = home.general;
    bench.posts(&home.admin, room, "@Robot before there is one").await;
    let robot = robot(&bench, &home, "Robot", 1).await;
    assert_eq!(bench.store.outbox_due().await.unwrap(), None);
    let id = Uuid::new_v4();
    let write = |body: &str| by(&home.admin, post(room, id, body));
    // One batch: the first post counts, its repetition doesn't, and neither does one that is refused.
    let outcome = bench
        .batch(vec![
            write("@Robot"),
            write("@Robot"),
            write("@Robot otherwise"),
            by(&home.admin, post(RoomId::new(999), Uuid::new_v4(), "@Robot")),
            by(&robot, post(room, Uuid::new_v4(), "@Robot talks to itself")),
        ])
        .await;
    let Ack::Posted { position, .. } = accepted(outcome.into_iter().next().unwrap()).0 else { panic!() };
    assert_eq!(bench.store.outbox_due().await.unwrap(), Some(NOW));
    let rows = leases(&bench, NOW, 10).await;
    assert_eq!(rows.iter().map(|row| (row.event, row.bot)).collect::<Vec<_>>(), [(position.id, robot.id)]);

    // The statement that writes the row fails: the message isn't there either.
    let broken = if bench.is_sqlite() {
        "CREATE TRIGGER explode BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'boom'); END"
    } else {
        "CREATE FUNCTION explode() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'boom'; END $$;
         CREATE TRIGGER explode BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION explode()"
    };
    let messages = bench.count("SELECT count(*) FROM messages");
    let events = bench.count("SELECT count(*) FROM events");
    bench.sql(broken).unwrap();
    let failed = bench.one(by(&home.admin, post(room, Uuid::new_v4(), "@Robot?"))).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(bench.count("SELECT count(*) FROM messages"), messages);
    assert_eq!(bench.count("SELECT count(*) FROM events"), events);
    assert_eq!(bench.count("SELECT count(*) FROM outbox"), 1);
}

/// Two nodes on PostgreSQL, two handles on SQLite: nobody is told twice at once, and nothing is left behind.
///
/// Proves DB-09.
async fn a_row_belongs_to_one_until_its_lease_ends(bench: Bench) {
    let home = bench.home().await;
    robot(&bench, &home, "Robot", 1).await;
    for _ in 0..20 {
        bench.posts(&home.admin, home.general, "@Robot").await;
    }
    let other = if bench.is_sqlite() { bench.store.clone() } else { super::bench::open(&bench.options) };
    let until = later(60);
    let (mut all, theirs) =
        tokio::join!(async { bench.store.lease_outbox(NOW, until, 12).await.unwrap().rows }, async {
            other.lease_outbox(NOW, until, 12).await.unwrap().rows
        },);
    all.extend(theirs);
    all.extend(leases(&bench, NOW, 100).await);
    let mut ids: Vec<i64> = all.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((all.len(), ids.len()), (20, 20), "each once");
    assert_eq!(leases(&bench, later(59), 100).await, []);
    bench.store.settle_outbox(&all[0], Settled::Done).await.unwrap();
    let again = Settled::Again { at: later(100), error: "x".to_owned() };
    bench.store.settle_outbox(&all[1], again).await.unwrap();
    // Whoever held the rest died.
    let mut abandoned = leases(&bench, later(60), 100).await;
    assert_eq!(abandoned.len(), 18);
    assert!(abandoned.iter().all(|row| row.attempts == 2), "{abandoned:?}");
    // It didn't die, it was slow: what it says now is too late.
    bench.store.settle_outbox(&all[2], Settled::Done).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM outbox"), 19);
    let mine = abandoned.remove(0);
    bench.store.settle_outbox(&mine, Settled::Done).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM outbox"), 18);
    assert_eq!(bench.store.outbox_due().await.unwrap(), Some(later(100)));
    if !bench.is_sqlite() {
        other.close().await;
    }
}

/// Proves LIM-11.
async fn dead_letters_stay_apart_and_the_oldest_go(bench: Bench) {
    let home = bench.home().await;
    robot(&bench, &home, "Robot", 1).await;
    for _ in 0..5 {
        bench.posts(&home.admin, home.general, "@Robot").await;
    }
    for (at, row) in leases(&bench, NOW, 4).await.iter().enumerate() {
        let dead = Settled::Dead { at: later(u64::try_from(at).unwrap()), error: "status 404".to_owned() };
        bench.store.settle_outbox(row, dead).await.unwrap();
    }
    let depth = bench.store.outbox_depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (1, 4));
    assert_eq!(leases(&bench, later(1_000_000_000), 10).await.len(), 1, "the dead rest");
    bench.store.prune_outbox(1).await.unwrap();
    assert_eq!(bench.store.outbox_depth().await.unwrap().dead, 1);
    let youngest = later(3).as_millis();
    assert_eq!(bench.count(&format!("SELECT count(*) FROM outbox WHERE dead_at = {youngest}")), 1);
}

/// Proves DB-21.
async fn what_is_gone_is_told_to_nobody(bench: Bench) {
    let home = bench.home().await;
    let bot = robot(&bench, &home, "Robot", 1).await.id;
    let message = bench.posts(&home.admin, home.general, "@Robot").await.id;
    let direct = bench.creates(&home.admin, NewRoomKind::Direct, None, &[bot]).await.id;
    let other = bench.posts(&home.admin, direct, "hi").await.id;
    let told = bench.store.webhook(message, bot).await.unwrap().unwrap();
    assert_eq!((told.body.as_str(), told.room_name.as_deref()), ("@Robot", Some("General")));
    bench.does(&home.admin, Command::DeleteMessage { room: home.general, message }).await;
    assert!(bench.store.webhook(message, bot).await.unwrap().is_none());
    assert!(bench.store.webhook(other, bot).await.unwrap().is_some());
    bench.sql("UPDATE users SET status = 'deactivated' WHERE role = 'bot'").unwrap();
    assert!(bench.store.webhook(other, bot).await.unwrap().is_none());
    assert!(bench.store.bots(NOW).await.unwrap().is_empty());
    assert!(bench.store.bot(bot, NOW).await.unwrap().is_none());
    assert_eq!(bench.people(None, 10).await.len(), 1);
}

/// A bot that was a member when the message was posted, and isn't when it is to be told.
async fn who_was_removed_is_told_nothing(bench: Bench) {
    let home = bench.home().await;
    let bot = robot(&bench, &home, "Robot", 1).await.id;
    let den = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[bot]).await.id;
    let message = bench.posts(&home.admin, den, "@Robot").await.id;
    assert_eq!(leases(&bench, NOW, 10).await.len(), 1);
    assert!(bench.store.webhook(message, bot).await.unwrap().is_some());
    bench.does(&home.admin, Command::RemoveMember { room: den, user: bot }).await;
    assert!(bench.store.webhook(message, bot).await.unwrap().is_none());
    // Everybody but guests is in an open room, without a row that says so.
    let message = bench.posts(&home.admin, home.general, "@Robot").await.id;
    assert!(bench.store.webhook(message, bot).await.unwrap().is_some());
}

/// Proves DB-09.
async fn a_malformed_row_is_given_up_and_holds_up_nobody(bench: Bench) {
    let home = bench.home().await;
    let robot = robot(&bench, &home, "Robot", 1).await;
    for _ in 0..3 {
        bench.posts(&home.admin, home.general, "@Robot").await;
    }
    bench
        .sql("UPDATE outbox SET payload = 'a strange hand' WHERE id = (SELECT min(id) FROM outbox)")
        .unwrap();
    let taken = bench.store.lease_outbox(NOW, later(60), 10).await.unwrap();
    assert_eq!(taken.malformed.len(), 1);
    assert_eq!(taken.rows.iter().map(|row| row.bot).collect::<Vec<_>>(), [robot.id; 2]);
    assert_eq!(bench.store.outbox_depth().await.unwrap(), OutboxDepth { waiting: 2, dead: 1 });
    assert_eq!(bench.store.outbox_due().await.unwrap(), Some(later(60)), "those two, when the lease is over");
    let again = bench.store.lease_outbox(later(60), later(120), 10).await.unwrap();
    assert_eq!((again.rows.len(), again.malformed), (2, vec![]), "the dead one rests");
}

/// Proves DB-09.
async fn an_answer_is_kept_until_it_is_posted(bench: Bench) {
    let home = bench.home().await;
    robot(&bench, &home, "Robot", 1).await;
    bench.posts(&home.admin, home.general, "@Robot").await;
    let row = leases(&bench, NOW, 1).await.remove(0);
    assert_eq!(row.answer, None);
    let kept =
        Settled::Answered { at: later(5), answer: "On it".to_owned(), error: "rate_limited".to_owned() };
    bench.store.settle_outbox(&row, kept).await.unwrap();
    let row = leases(&bench, later(5), 1).await.remove(0);
    assert_eq!((row.answer.as_deref(), row.attempts), (Some("On it"), 1), "attempts of its own");
    let again = Settled::Again { at: later(9), error: "rate_limited".to_owned() };
    bench.store.settle_outbox(&row, again).await.unwrap();
    let row = leases(&bench, later(9), 1).await.remove(0);
    assert_eq!((row.answer.as_deref(), row.attempts), (Some("On it"), 2));
}
