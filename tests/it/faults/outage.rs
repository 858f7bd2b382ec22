//! The database is locked, restarted, gone for a while, or its connection dies in the COMMIT: under the real server.

use super::Frail;
use crate::harness::{House, Listener, PASSWORD, PATIENCE, Person, binary};
use crate::postgres::Cluster;
use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection};
use loadtest::client::{Client, ClientError};
use loadtest::server::{Options, Server};
use loadtest::socket::{Frame, Socket};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// Posts by REST; a refusal has to be one of a store that doesn't answer: `unavailable`, or `read_only` once that has lasted.
async fn tries(who: &Person, room: u64, id: Uuid, body: &str) -> Option<bool> {
    match who.client.post_message(room, id, body).await {
        Ok(posted) => Some(posted.duplicate),
        Err(ClientError::Refused(refusal)) => {
            assert_eq!((refusal.status, refusal.retryable), (503, true));
            assert!(["unavailable", "read_only"].contains(&refusal.code.as_str()), "{}", refusal.code);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Repeats a post until it is acked.
async fn insists(who: &Person, room: u64, id: Uuid, body: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(duplicate) = tries(who, room, id, body).await {
            return duplicate;
        }
        assert!(Instant::now() < deadline, "{body} is never taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Proves TEST-03.
#[tokio::test]
async fn a_lock_that_lasts_is_unavailable_and_one_that_ends_is_not_noticed() {
    let Frail { house, file, .. } = Frail::open(&["--set", "storage.patience_ms=1000"]).await;
    let mut other = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    other.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    let id = Uuid::new_v4();
    assert_eq!(tries(&house.admin, house.lobby, id, "held").await, None);
    assert_eq!(house.admin.reads(house.lobby).await, [""; 0], "reading goes on");
    other.batch_execute("ROLLBACK").expect("released");
    assert_eq!(tries(&house.admin, house.lobby, id, "held").await, Some(false));
    drop(house);

    // Shorter than the patience: two hundred writers wait, and none is told.
    let Frail { house, file, .. } = Frail::open(&["--set", "storage.patience_ms=20000"]).await;
    let mut other = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    other.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    let writers = (0..200).map(|n| {
        let (client, lobby) = (house.admin.client.clone(), house.lobby);
        tokio::spawn(async move { client.post_message(lobby, Uuid::new_v4(), &n.to_string()).await })
    });
    let writers: Vec<_> = writers.collect();
    // The first batch meets the lock; the rest gathers behind it.
    house.metric_becomes("hearth_queue_depth", "commands", 200.0).await;
    other.batch_execute("ROLLBACK").expect("released");
    for writer in writers {
        writer.await.expect("ends").expect("posted");
    }
    assert!(!house.log().contains("is locked"), "{}", house.server.log_tail());
    house.metric_becomes("hearth_queue_depth", "commands", 0.0).await;
}

/// A house on a PostgreSQL of its own.
async fn on(cluster: &Cluster) -> House {
    let dir = TempDir::new().expect("a temporary directory");
    let mut options = Options::new(binary(), dir.path().join("data"));
    options.database_url = Some(cluster.database());
    // Without ticks: "last seen" would be one more commit that waits for the standby, and presence might be told before a resync.
    let flags = ["--set", "storage.patience_ms=1000", "--set", "presence.tick_ms=3600000"];
    options.args = flags.map(str::to_owned).to_vec();
    let server = Server::start(options).await.expect("the server starts");
    House::furnished(server, dir).await
}

/// Proves TEST-03, DB-10.
#[tokio::test]
async fn a_database_server_that_restarts_under_load_costs_nothing_acked() {
    const POSTERS: usize = 10;
    const EACH: usize = 100;
    let cluster = Arc::new(Cluster::of_its_own());
    let house = on(&cluster).await;
    let pid = house.server.pid();
    let mut posters = tokio::task::JoinSet::new();
    for poster in 0..POSTERS {
        let (client, id, lobby) = (house.admin.client.clone(), house.admin.id, house.lobby);
        posters.spawn(async move {
            let ann = Person { id, client };
            for n in 0..EACH {
                insists(&ann, lobby, Uuid::new_v4(), &format!("{poster}/{n}")).await;
            }
        });
    }
    for _ in 0..2 {
        let before = house.metric("hearth_events_committed_total", "message.posted").await;
        while house.metric("hearth_events_committed_total", "message.posted").await < before + 20.0 {
            assert!(!posters.is_empty(), "there is load left");
            if let Some(done) = posters.try_join_next() {
                done.expect("every message is taken in the end");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cluster = Arc::clone(&cluster);
        // Beside the posters, who go on meanwhile.
        let restarted = tokio::task::spawn_blocking(move || {
            cluster.stop();
            cluster.start();
        });
        restarted.await.expect("restarted");
    }
    while let Some(done) = posters.join_next().await {
        done.expect("every message is taken in the end");
    }
    let read = house.admin.reads(house.lobby).await;
    let different: BTreeSet<&String> = read.iter().collect();
    assert_eq!((read.len(), different.len()), (POSTERS * EACH, POSTERS * EACH), "each once");
    assert_eq!(house.server.pid(), pid, "all without a restart of ours");
}

/// Proves TEST-03.
#[tokio::test]
async fn a_database_server_that_is_gone_is_unavailable_until_it_is_back() {
    let cluster = Cluster::of_its_own();
    let house = on(&cluster).await;
    let id = Uuid::new_v4();
    cluster.stop();
    assert_eq!(tries(&house.admin, house.lobby, id, "hi").await, None);
    let refused = house.admin.client.history(house.lobby).await.expect_err("nothing to read from");
    assert_eq!(refused.code(), "unavailable", "{refused}");
    let ready =
        || async { reqwest::get(format!("{}/ready", house.url())).await.expect("answers").status().as_u16() };
    assert_eq!(ready().await, 503);
    cluster.start();
    insists(&house.admin, house.lobby, id, "hi").await;
    assert_eq!(house.admin.reads(house.lobby).await, ["hi"]);
    assert_eq!(ready().await, 200);
}

/// The commit is on the server's disk and waits for a standby that isn't there: whoever kills it now leaves us without
/// the answer.
///
/// Proves TEST-03.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_there_once() {
    let cluster = Cluster::of_its_own();
    let house = on(&cluster).await;
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    let id = Uuid::new_v4();
    let (client, lobby) = (house.admin.client.clone(), house.lobby);
    let posting = async move { client.post_message(lobby, id, "hi").await };
    let refused = loses_the_answer(&cluster, posting).await.expect_err("nobody knows");
    assert_eq!(refused.code(), "unavailable", "{refused}");
    // What the rooms remember may be behind: listeners are sent to the store.
    assert!(matches!(bob.next().await, Frame::Resync { .. }));
    assert!(
        insists(&house.admin, house.lobby, id, "hi").await,
        "it was committed: the original is the answer"
    );
    assert_eq!(house.admin.reads(house.lobby).await, ["hi"]);
}

/// Lets `request` commit, and kills the server's connection before it hears of that: the commit waits for a standby that isn't there.
async fn loses_the_answer<T: Send + 'static>(
    cluster: &Cluster,
    request: impl Future<Output = T> + Send + 'static,
) -> T {
    // Both in one statement each: neither may run in a transaction.
    cluster.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    cluster.run("postgres", "SELECT pg_reload_conf()");
    let url = cluster.url("postgres");
    // The setting is in effect once a commit of ours waits.
    let probed = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + PATIENCE;
        let mut conn = PgConnection::establish(&url).expect("connects");
        loop {
            let mut probe = PgConnection::establish(&url).expect("connects");
            let commit = std::thread::spawn(move || {
                drop(probe.batch_execute("CREATE TABLE probe (); DROP TABLE probe"))
            });
            // Somebody else's may wait before ours does: as long as ours runs.
            let mut killed = 0;
            while !commit.is_finished() {
                killed += kills_who_waits(&mut conn);
            }
            if killed > 0 {
                // Its end takes a moment: nobody else's is to be taken for it.
                while kills_who_waits(&mut conn) > 0 {}
                return conn;
            }
            assert!(Instant::now() < deadline, "no commit waits");
        }
    });
    let mut conn = probed.await.expect("probed");
    let request = tokio::spawn(request);
    let killed = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let count = kills_who_waits(&mut conn);
            if count > 0 {
                return count;
            }
            assert!(Instant::now() < deadline, "nobody commits");
        }
    });
    assert_eq!(killed.await.expect("found"), 1);
    let answer = request.await.expect("ends");
    cluster.run("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    cluster.run("postgres", "SELECT pg_reload_conf()");
    answer
}

/// Ends the connections whose commits wait for a standby; how many.
fn kills_who_waits(conn: &mut PgConnection) -> i64 {
    diesel::dsl::sql::<BigInt>(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    )
    .get_result(conn)
    .expect("a number")
}

/// Whoever signs out without an answer is signed out all the same, sockets and all; the others stay.
///
/// Proves AUTH-06.
#[tokio::test]
async fn a_sign_out_whose_answer_is_lost_closes_its_sockets() {
    let cluster = Cluster::of_its_own();
    let house = on(&cluster).await;
    let bob = house.joined_by("Bob").await;
    let phone = Client::new(&house.url()).expect("a client");
    phone.sign_in("bob@example.org", PASSWORD).await.expect("signs in");
    let socket = Socket::connect(&house.url(), &phone.credentials()).await.expect("connects");
    let (mut pocket, mut desk) = (Listener { socket }, bob.connects().await);
    let calls = bob.client.clone();
    let sign_out = async move { calls.call::<Value>(Method::DELETE, "/sessions", &[], None).await };
    let refused = loses_the_answer(&cluster, sign_out).await.expect_err("nobody knows");
    assert_eq!(refused.code(), "unavailable", "{refused}");
    assert_eq!(pocket.is_closed().await, 4501);
    assert_eq!(phone.me().await.expect_err("signed out").code(), "token_revoked");
    bob.client.me().await.expect("still signed in");
    desk.asks("presence.set", json!({ "state": "active" })).await;
}

/// Whoever is demoted, sent away or removed without an answer is so all the same, sockets and long polls and all; the others stay.
///
/// Proves AUTH-06, AUTH-15.
#[tokio::test]
async fn a_change_of_standing_whose_answer_is_lost_closes_its_sockets() {
    let cluster = Cluster::of_its_own();
    let house = on(&cluster).await;
    let (bob, cid, dan) =
        (house.joined_by("Bob").await, house.joined_by("Cid").await, house.joined_by("Dan").await);
    let bot = house.admin.client.create_bot("Robot").await.expect("made");
    let robot = Person { id: bot.id, client: Client::bot(&house.url(), &bot.key).expect("a client") };
    let mut desk = dan.connects().await;
    let user = |id: u64| format!("/users/{id}");
    for (who, method, path, body, code) in [
        (&bob, Method::PATCH, user(bob.id), Some(json!({ "role": "guest" })), 4004),
        (&bob, Method::PATCH, user(bob.id), Some(json!({ "status": "deactivated" })), 4502),
        (&cid, Method::PUT, format!("{}/ban", user(cid.id)), None, 4502),
        (&robot, Method::DELETE, format!("/bots/{}", robot.id), None, 4502),
    ] {
        let mut listener = who.connects().await;
        let (_, head) =
            house.admin.client.call::<Value>(Method::GET, "/events", &[], None).await.expect("events");
        let after = [("after", head["next"].to_string()), ("wait", "25".to_owned())];
        let poll = {
            let client = who.client.clone();
            tokio::spawn(async move { client.call::<Value>(Method::GET, "/events", &after, None).await })
        };
        house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
        let (calls, changed) = (house.admin.client.clone(), path.clone());
        let change = async move { calls.call::<Value>(method, &changed, &[], body.as_ref()).await };
        let refused = loses_the_answer(&cluster, change).await.expect_err("nobody knows");
        assert_eq!(refused.code(), "unavailable", "{path}: {refused}");
        assert_eq!(listener.is_closed().await, code, "{path}");
        let poll = tokio::time::timeout(Duration::from_secs(10), poll).await.expect("comes back soon");
        if let Ok((_, answer)) = poll.expect("ends") {
            assert_eq!(answer["events"], json!([]), "{path}");
        }
        if code == 4502 {
            assert_eq!(who.client.me().await.expect_err("gone").code(), "token_revoked", "{path}");
        }
    }
    dan.client.me().await.expect("nothing is different");
    desk.asks("presence.set", json!({ "state": "active" })).await;
}
