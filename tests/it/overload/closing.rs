//! Every close code that can come about, and how a reader that falls behind gets there.

use super::{Hand, becomes};
use crate::harness::{Ground, House};
use crate::raw::Raw;
use hearth::protocol::CloseCode;
use loadtest::lean::client_text;
use loadtest::socket::SocketError;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// The rows of the table of close codes: number, name.
fn documented() -> BTreeMap<u16, String> {
    let document = include_str!("../../../PROTOCOL.md");
    let section = document.split("\n### ").find(|section| section.starts_with("2.4 Close codes"));
    let rows = section.expect("a section").lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.parse().ok()?, cells.next()?.replace(' ', "_")))
    });
    rows.filter(|(code, _)| (1000..5000).contains(code)).collect()
}

/// Proves CONN-16.
#[test]
fn the_table_is_the_code() {
    let reserved = [CloseCode::GoingAway, CloseCode::UnsupportedProtocol];
    let mut documented = documented();
    for code in CloseCode::ALL {
        match documented.remove(&code.code()) {
            Some(name) => assert_eq!(name, code.name()),
            None => assert!(reserved.contains(&code), "{} is not in the table", code.code()),
        }
    }
    assert!(documented.is_empty(), "only in the table: {documented:?}");
}

/// Each is provoked with its reason, the whole table.
///
/// Proves CONN-16, LIM-05, LIM-07.
#[tokio::test]
async fn every_close_code_can_be_provoked() {
    let flags = [
        "--set",
        "limits.frames=100",
        "--set",
        "limits.frame_window_ms=6000000",
        "--set",
        "socket.per_user=2",
        "--set",
        "socket.stall_ms=3000",
        "--set",
        "socket.outbox_bytes=262144",
    ];
    let mut house = House::open_with(Ground::Sqlite, &flags).await;
    let mut seen = BTreeMap::new();
    let mut by_bytes = async |house: &House, bytes: Vec<u8>| {
        let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
        raw.sends(&bytes).await;
        let (code, reason) = raw.goodbye().await;
        seen.insert(code, reason);
    };
    let mut utf8 = client_text("text");
    utf8.truncate(6);
    utf8.extend([0xFF, 0xFE, b'a', b'b']);
    by_bytes(&house, vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await;
    by_bytes(&house, b"\x81\x02{}".to_vec()).await;
    by_bytes(&house, vec![0x82, 0x80, 0, 0, 0, 0]).await;
    by_bytes(&house, utf8).await;
    by_bytes(&house, client_text(&"x".repeat(65_537))).await;
    by_bytes(&house, client_text("{}").repeat(20)).await;
    by_bytes(&house, client_text(r#"{"type":"ping"}"#).repeat(201)).await;
    house.metric_becomes("hearth_connections", "", 0.0).await;

    let mut note = |ended: (u16, String)| seen.insert(ended.0, ended.1);
    // One socket more than a user may have.
    let open = (house.admin.connects().await, house.admin.connects().await);
    note(closed(house.admin.tries_to_connect().await.err().expect("one too many")));
    drop(open);
    // Signed out elsewhere.
    let bob = house.joined_by("Bob").await;
    let mut socket = bob.connects().await.socket;
    bob.client.call::<()>(Method::DELETE, "/sessions/current", &[], None).await.expect("signed out");
    note(closed(socket.next().await.expect_err("ended")));
    // Made a guest, then sent away.
    let cleo = house.joined_by("Cleo").await;
    let path = format!("/users/{}", cleo.id);
    for change in [json!({ "role": "guest" }), json!({ "status": "deactivated" })] {
        let mut socket = cleo.connects().await.socket;
        crate::rest::Caller::of(&house.admin).patch(&path, change).await.expect(200);
        note(closed(socket.next().await.expect_err("ended")));
    }
    // The welcome can't be read.
    let mut hand = Hand::beside(&house);
    hand.run("ALTER TABLE rooms RENAME TO hidden");
    note(closed(house.admin.tries_to_connect().await.err().expect("no welcome")));
    hand.run("ALTER TABLE hidden RENAME TO rooms");
    becomes("a welcome", async || house.admin.tries_to_connect().await.is_ok()).await;
    // Reads nothing of what it asks for.
    let deaf = house.joined_by("Eve").await;
    let mut deaf = Raw::connect(&house.url(), &deaf.credentials()).await;
    deaf.says(&json!({ "type": "room.subscribe", "data": { "room_id": house.lobby } })).await;
    let body = "y".repeat(16_000);
    while house.metric("hearth_resyncs_total", "").await < 0.5 {
        for _ in 0..20 {
            house.admin.client.post_message(house.lobby, Uuid::new_v4(), &body).await.expect("posted");
        }
    }
    house.metric_becomes("hearth_slow_consumers_total", "", 1.0).await;
    note(deaf.goodbye().await);
    // The server goes.
    let mut socket = house.admin.connects().await.socket;
    house.server.terminate(Duration::from_secs(20)).await.expect("ends");
    let restart = closed(socket.next().await.expect_err("ended"));
    note((restart.0, restart.1.split(';').next().expect("a word").to_owned()));

    // Silence, and a session that runs out.
    let flags = ["--set", "heartbeat.interval_ms=500", "--set", "heartbeat.dead_after_ms=4000"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    note(Raw::connect(&house.url(), &house.admin.credentials()).await.goodbye().await);
    let flags = ["--set", "auth.session_s=2", "--set", "heartbeat.interval_ms=500"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut socket = house.admin.connects().await.socket;
    note(closed(socket.next().await.expect_err("ended")));

    let reasons = CloseCode::ALL.map(|code| (code.code(), code.reason().to_owned()));
    let mut expected: BTreeMap<u16, String> = reasons.into_iter().collect();
    expected.retain(|code, _| documented().contains_key(code));
    assert_eq!(seen, expected);
}

fn closed(error: SocketError) -> (u16, String) {
    match error {
        SocketError::Closed { code, reason } => (code, reason),
        other => panic!("no close frame: {other}"),
    }
}

/// A reader that falls behind loses signals first, then its subscription with a `room.resync`, then the socket. All the while
/// the others hear each message before the next is posted; what that costs them is measured by `loadtest slow`.
///
/// Proves LIM-08, CONN-19.
#[tokio::test]
async fn a_slow_reader_loses_signals_then_the_room_then_the_socket() {
    let flags = [
        "--set",
        "socket.outbox_bytes=524288",
        "--set",
        "socket.stall_ms=10000",
        // However long it takes until the kernel's buffers are full.
        "--set",
        "heartbeat.dead_after_ms=600000",
        "--set",
        "presence.lease_ms=700000",
        "--set",
        "typing.throttle_ms=0",
    ];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let mut deaf = Raw::connect(&house.url(), &bob.credentials()).await;
    deaf.says(&json!({ "type": "room.subscribe", "data": { "room_id": house.lobby } })).await;
    assert!(deaf.frame().await.expect("reads").is_some(), "the reply");
    let mut typist = eve.listens_to(house.lobby).await;
    let mut other = house.joined_by("Fay").await.listens_to(house.lobby).await;
    let body = "y".repeat(16_000);
    let stage = async || {
        let signals = house.metric("hearth_signals_dropped_total", "").await > 0.5;
        let resync = house.metric("hearth_resyncs_total", "").await > 0.5;
        let closed = house.metric("hearth_slow_consumers_total", "").await > 0.5;
        (signals, resync, closed)
    };
    let mut stages = vec![(false, false, false)];
    let mut messages = 0;
    while stages.last() != Some(&(true, true, true)) {
        if !stages.contains(&(true, true, false)) {
            // A few at a time: a kernel gives a peer up that takes nothing for half a minute.
            for _ in 0..4 {
                house.admin.client.post_message(house.lobby, Uuid::new_v4(), &body).await.expect("posted");
                assert_eq!(other.hears_message().await, body);
                messages += 1;
            }
            assert!(messages < 4_000, "64 MB later it is still there: {stages:?}");
            for kind in ["typing.start", "typing.stop"] {
                typist.asks(kind, json!({ "room_id": house.lobby })).await;
            }
        }
        let now = stage().await;
        if stages.last() != Some(&now) {
            stages.push(now);
        }
    }
    let each = [(false, false, false), (true, false, false), (true, true, false), (true, true, true)];
    assert_eq!(stages, each);
    loop {
        match deaf.frame().await.expect("reads") {
            Some(frame) if frame.opcode == 8 => {
                assert_eq!(frame.payload[..2], 4001_u16.to_be_bytes());
                break;
            }
            Some(_) => {}
            None => panic!("cut without a word"),
        }
    }
    typist.posts(house.lobby, "the end").await;
    typist.frames_until("the end").await;
}
