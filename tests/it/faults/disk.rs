//! The disk is full, or fails: on SQLite, below the real server.

use super::Frail;
use crate::harness::{Listener, PATIENCE, Person};
use crate::overload::becomes;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use loadtest::client::ClientError;
use loadtest::faults::DiskError;
use loadtest::socket::Frame;
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Posts by REST; a refusal has to be one that says to try again.
async fn tries(who: &Person, room: u64, id: Uuid, body: &str) -> Option<bool> {
    match who.client.post_message(room, id, body).await {
        Ok(posted) => Some(posted.duplicate),
        Err(ClientError::Refused(refusal)) => {
            assert_eq!((refusal.status, refusal.retryable), (503, true));
            // After some failures in a row it isn't even tried.
            assert!(["unavailable", "read_only"].contains(&refusal.code.as_str()), "{refusal:?}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Posts until it is accepted: a server that has become read-only finds out by itself that it can write again.
async fn goes_on(who: &Person, room: u64, id: Uuid, body: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(duplicate) = tries(who, room, id, body).await {
            return duplicate;
        }
        assert!(Instant::now() < deadline, "{body} is refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Bodies heard, whose seqs have to be without a hole, until `last` was heard; resubscribes when told to.
async fn hears_all(listener: &mut Listener, room: u64, mut head: u64, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.last().map(String::as_str) != Some(last) {
        let events = match listener.next().await {
            Frame::Event(event) => vec![event],
            Frame::Resync { .. } => crate::harness::missed(&listener.joins(room, Some(head)).await).to_vec(),
            Frame::Signal { .. } => Vec::new(),
            other => panic!("heard {other:?}"),
        };
        for event in events {
            assert_eq!(event.seq, head + 1, "no hole, no repetition");
            head = event.seq;
            heard.push(event.json["data"]["body"].as_str().unwrap_or_default().to_owned());
        }
    }
    heard
}

/// Proves TEST-03, DB-10.
#[tokio::test]
async fn a_full_disk_refuses_what_it_cant_keep_and_goes_on_with_space() {
    let Frail { house, faults, .. } = Frail::open(&[]).await;
    let (ann, pid) = (&house.admin, house.server.pid());
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    let head = ann.client.room(house.lobby).await.expect("the room").head;
    assert_eq!(tries(ann, house.lobby, Uuid::new_v4(), "before").await, Some(false));
    faults.disk_full(true).expect("full");
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(tries(ann, house.lobby, *id, &n.to_string()).await, None);
    }
    // Who only reads doesn't notice.
    assert_eq!(ann.reads(house.lobby).await, ["before"]);
    assert!(house.log().contains("no space left"), "{}", house.server.log_tail());
    faults.disk_full(false).expect("space");
    for (n, id) in ids.iter().enumerate() {
        assert!(!goes_on(ann, house.lobby, *id, &n.to_string()).await, "it was not half there");
    }
    let expected: Vec<String> =
        std::iter::once("before".to_owned()).chain((0..20).map(|n| n.to_string())).collect();
    assert_eq!(hears_all(&mut bob, house.lobby, head, "19").await, expected);
    assert_eq!(ann.reads(house.lobby).await, expected);
    assert_eq!(house.server.pid(), pid, "all without a restart");
}

/// A sync that fails in COMMIT leaves open whether the disk has it: rooms are loaded anew, and repeating settles it.
///
/// Proves TEST-03.
#[tokio::test]
async fn a_sync_that_fails_leaves_the_outcome_open_and_repeating_settles_it() {
    let Frail { mut house, faults, .. } = Frail::open(&[]).await;
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    let head = house.admin.client.room(house.lobby).await.expect("the room").head;
    let id = Uuid::new_v4();
    faults.sync_error(true).expect("syncs fail");
    assert_eq!(tries(&house.admin, house.lobby, id, "once").await, None);
    // Said after the answer.
    becomes("the log says so", async || house.log().contains("outcome of a commit is unknown")).await;
    faults.sync_error(false).expect("syncs work");
    goes_on(&house.admin, house.lobby, id, "once").await;
    assert!(!goes_on(&house.admin, house.lobby, Uuid::new_v4(), "afterwards").await);
    assert_eq!(hears_all(&mut bob, house.lobby, head, "afterwards").await, ["once", "afterwards"]);
    house.server.restart().await.expect("comes back after a kill");
    assert_eq!(house.admin.reads(house.lobby).await, ["once", "afterwards"]);
}

/// Proves DB-08, DB-10.
#[tokio::test]
async fn a_failure_at_any_step_of_a_post_leaves_all_or_nothing() {
    let Frail { mut house, faults, file } = Frail::open(&[]).await;
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    let ann = &house.admin;
    let head = ann.client.room(house.lobby).await.expect("the room").head;
    faults.count_steps().expect("counts");
    assert_eq!(tries(ann, house.lobby, Uuid::new_v4(), "counted").await, Some(false));
    let steps = faults.steps().expect("counted");
    assert!(steps >= 5, "a post writes frames and syncs: {steps}");
    let mut expected = vec!["counted".to_owned()];
    let mut failed = 0;
    for step in 1..=steps {
        for error in [DiskError::Full, DiskError::Io] {
            let (id, body) = (Uuid::new_v4(), format!("{error:?} at {step}"));
            faults.fail_step(step, error).expect("armed");
            let first = tries(ann, house.lobby, id, &body).await;
            failed += i32::from(first.is_none());
            faults.clear().expect("cleared");
            let again = goes_on(ann, house.lobby, id, &body).await;
            if first.is_some() {
                assert!(again, "{body}: what was acked is there");
            }
            expected.push(body);
        }
    }
    assert!(failed > 0, "the faults were met");
    let last = expected.last().expect("some").clone();
    assert_eq!(hears_all(&mut bob, house.lobby, head, &last).await, expected);
    house.server.restart().await.expect("comes back after a kill");
    assert_eq!(house.admin.reads(house.lobby).await, expected);
    house.server.kill().expect("killed");
    is_whole(&file, expected.len());
}

/// Each message has its event, its search entry, and the file is sound.
fn is_whole(file: &Path, messages: usize) {
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    conn.batch_execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
        .expect("search is whole");
    let check = |sql: &str, conn: &mut SqliteConnection| -> String {
        use diesel::RunQueryDsl;
        diesel::dsl::sql::<diesel::sql_types::Text>(sql).get_result(conn).expect("an answer")
    };
    assert_eq!(check("PRAGMA integrity_check", &mut conn), "ok");
    let count = messages.to_string();
    for table in ["messages", "events WHERE kind = 'message.posted'"] {
        assert_eq!(
            check(&format!("SELECT CAST(count(*) AS TEXT) FROM {table}"), &mut conn),
            count,
            "{table}"
        );
    }
}
