//! Answers of webhooks that can't be posted yet are kept, and the bot isn't asked again; deliveries that nobody can make are given up.

use super::Frail;
use super::courier::{HASTY, bot};
use super::receiver::{Deed, Receiver};
use crate::harness::{Ground, House, Listener, PATIENCE, on_both};
use crate::rest::caller::Caller;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Somebody else's connection to the file.
fn strange_hand(file: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("patient");
    conn
}

/// Waits until as many deliveries ended so, or more.
async fn at_least(house: &House, outcome: &str, count: f64) {
    let deadline = Instant::now() + PATIENCE;
    while house.metric("hearth_deliveries_total", outcome).await < count {
        assert!(Instant::now() < deadline, "{outcome} {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks the bot for something else: it is told of that next, and of nothing before.
async fn is_told_of_nothing_but(house: &House, receiver: &mut Receiver, body: &str) {
    let asked = Caller::of(&house.admin).says(house.lobby, body).await;
    assert_eq!(receiver.is_told().await.event_id(), asked, "nothing was told twice");
}

async fn hears_until(listener: &mut Listener, body: &str) {
    while listener.hears_message().await != body {}
}

on_both!(
    /// Proves DB-09.
    an_answer_that_is_refused_for_now_is_kept_and_the_bot_asked_once,
    async |ground| {
        let more = [
            "limits.bot_messages=1",
            "limits.message_window_ms=600000",
            "outbox.backoff_max_s=1",
            "outbox.attempts=30",
        ];
        let more: Vec<&str> = more.iter().flat_map(|setting| ["--set", setting]).collect();
        let mut house = House::open_with(ground, &[&HASTY[..], &more].concat()).await;
        let mut receiver = Receiver::that([Deed::says("one"), Deed::says("two")]).await;
        bot(&house, "Robot", &receiver.url()).await;
        let mut ann = house.admin.listens_to(house.lobby).await;
        for n in ["one", "two"] {
            let asked = ann.posts(house.lobby, &format!("@Robot {n}")).await.id;
            assert_eq!(receiver.is_told().await.event_id(), asked);
            if n == "one" {
                hears_until(&mut ann, n).await;
            }
        }
        // The second try comes of what the first one left.
        at_least(&house, "retried", 2.0).await;
        // It outlives the server, whose successor counts anew what bots may say.
        house.server.kill().expect("killed");
        house.server.restart().await.expect("starts");
        house.metric_becomes("hearth_outbox_waiting", "", 0.0).await;
        at_least(&house, "done", 1.0).await;
        assert_eq!(house.admin.reads(house.lobby).await, ["@Robot one", "one", "@Robot two", "two"]);
        is_told_of_nothing_but(&house, &mut receiver, "@Robot three").await;
    }
);

/// The store is locked from the moment the bot has its request: neither the answer nor what became of the delivery can be written.
///
/// Proves DB-09.
#[tokio::test]
async fn a_busy_store_gets_the_answer_later_and_the_bot_is_asked_once() {
    let flags =
        ["storage.patience_ms=100", "outbox.backoff_ms=20", "outbox.timeout_ms=10000", "outbox.lease_s=60"];
    let flags: Vec<&str> = flags.iter().flat_map(|setting| ["--set", setting]).collect();
    let Frail { house, file, .. } = Frail::open(&flags).await;
    let go = Arc::new(Notify::new());
    let mut receiver = Receiver::that([Deed::SaysWhen(Arc::clone(&go), "on it".to_owned())]).await;
    bot(&house, "Robot", &receiver.url()).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    let asked = ann.posts(house.lobby, "@Robot").await.id;
    assert_eq!(receiver.is_told().await.event_id(), asked);
    let mut other = strange_hand(&file);
    other.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    go.notify_one();
    let deadline = Instant::now() + PATIENCE;
    while !house.log().contains("a delivery can't be settled") {
        assert!(Instant::now() < deadline, "{}", house.server.log_tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.batch_execute("ROLLBACK").expect("released");
    hears_until(&mut ann, "on it").await;
    house.metric_becomes("hearth_deliveries_total", "done", 1.0).await;
    is_told_of_nothing_but(&house, &mut receiver, "@Robot next").await;
    assert_eq!(house.admin.reads(house.lobby).await, ["@Robot", "on it", "@Robot next"]);
}

on_both!(
    /// Proves LIM-11.
    a_delivery_whose_attempts_never_end_is_given_up,
    async |ground| {
        let flags = ["outbox.attempts=1", "outbox.timeout_ms=2000", "outbox.lease_s=4", "outbox.poll_ms=100"];
        let flags: Vec<&str> = flags.iter().flat_map(|setting| ["--set", setting]).collect();
        let mut house = House::open_with(ground, &flags).await;
        let mut receiver = Receiver::that([Deed::IsSilent]).await;
        bot(&house, "Robot", &receiver.url()).await;
        let asked = Caller::of(&house.admin).says(house.lobby, "@Robot").await;
        assert_eq!(receiver.is_told().await.event_id(), asked);
        // As if that had brought the server down.
        house.server.kill().expect("killed");
        house.server.restart().await.expect("starts");
        house.metric_becomes("hearth_deliveries_total", "dead", 1.0).await;
        house.metric_becomes("hearth_outbox_dead", "", 1.0).await;
        is_told_of_nothing_but(&house, &mut receiver, "@Robot once more").await;
        house.metric_becomes("hearth_deliveries_total", "done", 1.0).await;
    }
);

/// Proves DB-09.
#[tokio::test]
async fn a_malformed_row_is_counted_and_the_others_are_delivered() {
    let Frail { house, file, .. } = Frail::open(&HASTY).await;
    let mut receiver = Receiver::that([]).await;
    bot(&house, "Robot", &receiver.url()).await;
    let calls = Caller::of(&house.admin);
    let event = calls.says(house.lobby, "hello").await;
    let row = format!("({event}, 'webhook', 'a strange hand', 0, 0)");
    strange_hand(&file)
        .batch_execute(&format!(
            "INSERT INTO outbox (event_id, topic, payload, next_attempt_at, created_at) VALUES {row}"
        ))
        .expect("inserted");
    is_told_of_nothing_but(&house, &mut receiver, "@Robot").await;
    house.metric_becomes("hearth_deliveries_total", "malformed", 1.0).await;
    house.metric_becomes("hearth_deliveries_total", "done", 1.0).await;
    house.metric_becomes("hearth_outbox_dead", "", 1.0).await;
}
