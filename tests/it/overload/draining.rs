//! How the server leaves (OPS-01): nobody new, everybody told when to come back, nothing acked lost, and in time whatever happens.

use super::sockets::{answer, sent_away};
use super::{Hand, becomes};
use crate::harness::{Ground, House, PASSWORD, on_both};
use crate::raw::{Raw, dial};
use crate::rest::caller::Caller;
use loadtest::socket::SocketError;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// The cost of ending besides the drain, on a busy machine.
const SLACK: Duration = Duration::from_secs(15);

fn terminate(house: &House) {
    let pid = house.server.pid().expect("runs");
    assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("kills").success());
}

on_both!(
    /// Proves OPS-01.
    under_load_nothing_acked_is_lost_and_everybody_is_spread,
    async |ground| {
        let flags = ["--set", "shutdown.spread_ms=5000", "--set", "shutdown.drain_ms=15000"];
        let mut house = House::open_with(ground, &flags).await;
        let mut writers = Vec::new();
        for writer in 0..8 {
            let mut listener = house.admin.connects().await;
            let room = house.lobby;
            writers.push(tokio::spawn(async move {
                let mut acked = Vec::new();
                for n in 0.. {
                    let body = format!("{writer}:{n}");
                    match listener.socket.post(room, Uuid::new_v4(), &body).await {
                        Ok(_) => acked.push(body),
                        Err(SocketError::Closed { code, reason }) => return (acked, code, reason),
                        Err(error) => panic!("{error}"),
                    }
                }
                unreachable!("it ends by being closed")
            }));
        }
        becomes("load", async || house.metric("hearth_events_committed_total", "message.posted").await > 40.0).await;
        let began = Instant::now();
        let ended = house.server.terminate(Duration::from_secs(15) + SLACK).await.expect("ends in time");
        assert!(ended.success(), "{ended:?}");
        assert!(began.elapsed() < Duration::from_secs(15) + SLACK);
        let (mut acked, mut delays) = (Vec::new(), BTreeSet::new());
        for writer in writers {
            let (own, code, reason) = writer.await.expect("ran");
            assert_eq!(code, 1012);
            let delay: u64 = reason.strip_prefix("restart;delay_ms=").expect("a hint").parse().expect("a number");
            assert!(delay <= 5000, "{delay}");
            delays.insert(delay);
            acked.extend(own);
        }
        assert!(delays.len() >= 7, "each has their own: {delays:?}");
        house.server.restart().await.expect("comes back");
        let stored: Vec<String> = house.admin.reads(house.lobby).await;
        let unique: BTreeSet<&String> = stored.iter().collect();
        assert_eq!(unique.len(), stored.len(), "nothing is doubled");
        for body in &acked {
            assert!(unique.contains(body), "{body} was acked and is lost");
        }
    }
);

/// As long as somebody takes their leave, requests are answered: not ready, nobody new, no long polls.
///
/// Proves OPS-01.
#[tokio::test]
async fn while_it_leaves_nothing_new_begins() {
    let flags = [
        "--set",
        "socket.linger_ms=4000",
        "--set",
        "shutdown.spread_ms=1000",
        "--set",
        "shutdown.drain_ms=8000",
    ];
    let mut house = House::open_with(Ground::Sqlite, &flags).await;
    let calls = Caller::of(&house.admin);
    let after = calls.get("/events?limit=500").await.expect(200)["next"].as_u64().expect("an id");
    // It is told to go and doesn't.
    let mut stuck = Raw::connect(&house.url(), &house.admin.credentials()).await;
    let poll = {
        let calls = calls.clone();
        tokio::spawn(async move { calls.get(&format!("/events?after={after}&wait=25")).await })
    };
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    terminate(&house);
    assert_eq!(stuck.goodbye().await.0, 1012);
    let ready = calls.sends("GET", "/ready", None).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["failed"], json!(["drain"]));
    let (status, wait) = sent_away(&answer(&house.url(), &house.admin.credentials()).await);
    assert_eq!(status, 503);
    assert!(wait >= 1);
    let refused = calls.get(&format!("/events?after={after}&wait=25")).await;
    refused.is_problem(503, "unavailable", None);
    assert_eq!(poll.await.expect("polled").expect(200)["events"], json!([]), "answered, not cut");
    calls.get(&format!("/events?after={after}")).await.expect(200);
    let posted = calls.says(house.lobby, "a last word").await;
    let ended = house.server.terminate(Duration::from_secs(8) + SLACK).await.expect("ends in time");
    assert!(ended.success(), "{ended:?}");
    house.server.restart().await.expect("comes back");
    assert!(posted > after);
    assert_eq!(house.admin.reads(house.lobby).await, ["a last word"]);
}

/// A request that never ends doesn't keep the server.
///
/// Proves OPS-01.
#[tokio::test]
async fn a_request_that_is_stuck_does_not_hold_it_up() {
    let flags = [
        "--set",
        "shutdown.spread_ms=500",
        "--set",
        "shutdown.drain_ms=1000",
        "--set",
        "http.body_timeout_ms=120000",
    ];
    let mut house = House::open_with(Ground::Sqlite, &flags).await;
    let mut tcp = dial(&house.url()).await;
    let head = "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    tcp.write_all(head.as_bytes()).await.expect("sent");
    // Somebody else's answer says that this one has been read.
    Caller::of(&house.admin).get("/me").await.expect(200);
    let ended = house.server.terminate(Duration::from_secs(3) + SLACK).await;
    ended.expect("ends in time");
    drop(tcp);
}

on_both!(
    /// A store that doesn't answer doesn't keep the server either; what wasn't acked may be lost, what was isn't.
    ///
    /// Proves OPS-01.
    a_store_that_is_stuck_does_not_hold_it_up,
    async |ground| {
        let flags = [
            "--set", "shutdown.spread_ms=500", "--set", "shutdown.drain_ms=1000", "--set", "storage.patience_ms=120000",
            "--set", "storage.statement_timeout_s=120",
        ];
        let mut house = House::open_with(ground, &flags).await;
        let calls = Caller::of(&house.admin);
        calls.says(house.lobby, "acked").await;
        let hand = Hand::on_the_log(&house);
        let path = format!("/rooms/{}/messages", house.lobby);
        let waiting = tokio::spawn({
            let nobody = Caller::of(&house.admin);
            async move { nobody.post(&path, json!({ "body": "in vain" })).await.status }
        });
        house.metric_becomes("hearth_queue_depth", "commands", 1.0).await;
        let ended = house.server.terminate(Duration::from_secs(3) + SLACK).await.expect("ends in time");
        assert_eq!(ended.code(), Some(75), "it was cut off and says so");
        drop(hand);
        drop(waiting.await);
        house.server.restart().await.expect("comes back");
        let said = house.admin.client.sign_in("ann@example.org", PASSWORD).await;
        said.expect("signs in");
        assert_eq!(house.admin.reads(house.lobby).await.first().map(String::as_str), Some("acked"));
    }
);
