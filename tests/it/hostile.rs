//! Clients that mean no good, or just are broken: each ends as PROTOCOL.md says, and memory stays flat.

use crate::harness::{Ground, House, PATIENCE};
use crate::raw::{Raw, dial, upgrade};
use loadtest::lean::client_text;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use uuid::Uuid;

/// The server's resident memory.
fn rss(house: &House) -> u64 {
    house.server.usage().expect("the server runs").rss
}

const MIB: u64 = 1024 * 1024;

/// Each way to break the protocol has its close code, and what was declared is never buffered.
#[tokio::test]
async fn broken_frames_have_their_close_codes() {
    let house = House::open(Ground::Sqlite).await;
    let credentials = house.admin.credentials();
    let before = rss(&house);
    let long = "x".repeat(10_000_000);
    let mut utf8 = client_text("text");
    utf8.truncate(6);
    utf8.extend([0xFF, 0xFE, b'a', b'b']);
    let cases: [(&str, Vec<u8>, u16); 8] = [
        ("a frame of 10 MB", client_text(&long), 1009),
        ("an unmasked frame", b"\x81\x02{}".to_vec(), 1002),
        ("invalid UTF-8", utf8, 1007),
        ("a huge declared length", vec![0x81, 0xFF, 0x00, 0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 1009),
        ("reserved bits", vec![0xC1, 0x80, 0, 0, 0, 0], 1002),
        ("binary", vec![0x82, 0x80, 0, 0, 0, 0], 1003),
        ("a fragmented ping", vec![0x09, 0x80, 0, 0, 0, 0], 1002),
        ("a close of one byte", vec![0x88, 0x81, 0, 0, 0, 0, 3], 1002),
    ];
    for round in 0..3 {
        for (what, bytes, code) in &cases {
            let mut raw = Raw::connect(&house.url(), &credentials).await;
            raw.sends(bytes).await;
            assert_eq!(raw.close_code().await, Some(*code), "{what}, round {round}");
        }
    }
    house.metric_becomes("hearth_connections", "", 0.0).await;
    let grown = rss(&house).saturating_sub(before);
    assert!(grown < 16 * MIB, "24 broken sockets cost {grown} bytes");
}

/// A fragmented message is bounded as a whole, not only fragment by fragment.
#[tokio::test]
async fn fragments_are_bounded_together() {
    let house = House::open(Ground::Sqlite).await;
    let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
    let mut fragment = client_text(&"x".repeat(40_000));
    fragment[0] = 0x01;
    raw.sends(&fragment).await;
    fragment[0] = 0x00;
    raw.sends(&fragment).await;
    assert_eq!(raw.close_code().await, Some(1009));
}

/// Pings are answered with their payload, also between the fragments of a message; a goodbye is returned.
#[tokio::test]
async fn control_frames_are_answered() {
    let house = House::open(Ground::Sqlite).await;
    let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
    let text = json!({ "type": "ping" }).to_string();
    let (head, tail) = text.split_at(5);
    let mut first = client_text(head);
    first[0] = 0x01;
    let mut ping = client_text("payload");
    ping[0] = 0x89;
    let mut last = client_text(tail);
    last[0] = 0x80;
    raw.sends(&[first, ping, last].concat()).await;
    let pong = raw.frame().await.expect("reads").expect("a frame");
    assert_eq!((pong.opcode, pong.payload.as_slice()), (0xA, b"payload".as_slice()));
    let pong = raw.frame().await.expect("reads").expect("a frame");
    assert_eq!(pong.payload, br#"{"type":"pong"}"#);
    raw.sends(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await;
    assert_eq!(raw.close_code().await, Some(1000));
    assert!(raw.is_cut(PATIENCE).await, "the server closes first");
}

/// A handshake that dribbles in is ended by the server, and costs nobody else anything.
#[tokio::test]
async fn a_slow_loris_is_cut_off() {
    let house = House::open_with(Ground::Sqlite, &["--set", "http.head_timeout_ms=2000"]).await;
    let before = rss(&house);
    let request = upgrade(&house.url(), &house.admin.credentials());
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut tcp = dial(&house.url()).await;
        tcp.write_all(&request.as_bytes()[..40]).await.expect("sent");
        slow.push(tcp);
    }
    let began = Instant::now();
    let mut ann = house.admin.listens_to(house.lobby).await;
    ann.posts(house.lobby, "unimpressed").await;
    assert_eq!(ann.hears_message().await, "unimpressed");
    for tcp in &mut slow {
        let mut answer = Vec::new();
        let left = Duration::from_secs(15).saturating_sub(began.elapsed());
        timeout(left, tcp.read_to_end(&mut answer)).await.expect("ended by the server").ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    let grown = rss(&house).saturating_sub(before);
    assert!(grown < 16 * MIB, "100 slow handshakes cost {grown} bytes");
}

/// A peer that subscribes and never reads: it is told to resync, then let go with 4001; nobody else waits, and its
/// backlog is bounded however much is said.
#[tokio::test]
async fn a_peer_that_never_reads_is_let_go() {
    let flags = ["--set", "socket.outbox_bytes=262144", "--set", "socket.stall_ms=500"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let bob = house.joined_by("Bob").await;
    let mut deaf = Raw::connect(&house.url(), &bob.credentials()).await;
    deaf.says(&json!({ "type": "room.subscribe", "request_id": "s", "data": { "room_id": house.lobby } }))
        .await;
    assert!(deaf.frame().await.expect("reads").is_some(), "the reply");
    let mut ann = house.admin.listens_to(house.lobby).await;
    let body = "y".repeat(16_000);
    ann.posts(house.lobby, "warm").await;
    let before = rss(&house);
    let mut sent = 0;
    while house.metric("hearth_slow_consumers_total", "").await < 1.0 {
        assert!(sent < 4_000, "64 MB later it is still there");
        for _ in 0..25 {
            ann.socket.send_post(house.lobby, Uuid::new_v4(), &body).await.expect("sent");
            sent += 1;
        }
        for _ in 0..25 {
            // Her own events: she reads, so she hears each of them.
            while !matches!(ann.next().await, loadtest::socket::Frame::Event(_)) {}
        }
    }
    let grown = rss(&house).saturating_sub(before);
    assert!(grown < 48 * MIB, "a deaf peer cost {grown} bytes after {sent} messages of 16 kB");
    house.metric_becomes("hearth_connections", "", 1.0).await;
    ann.posts(house.lobby, "the end").await;
    let last = ann.frames_until("the end").await;
    assert!(
        !last.iter().any(|frame| matches!(frame, loadtest::socket::Frame::Resync { .. })),
        "Ann missed nothing"
    );
    assert!(deaf.is_cut(Duration::from_secs(20)).await);
}

/// Requests for rooms that don't exist load nothing that stays.
#[tokio::test]
async fn rooms_that_are_not_there_leave_nothing() {
    let house = House::open(Ground::Sqlite).await;
    let mut ann = house.admin.connects().await;
    for room in 1_000..1_200 {
        assert_eq!(ann.is_refused("room.subscribe", json!({ "room_id": room })).await, "not_found");
    }
    house.metric_becomes("hearth_rooms", "", 0.0).await;
}

/// A peer that floods pings and never reads the pongs: small frames are bounded, too.
#[tokio::test]
async fn a_flood_of_pings_costs_little() {
    let house = House::open_with(Ground::Sqlite, &["--set", "socket.stall_ms=500"]).await;
    let before = rss(&house);
    let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
    let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(10_000);
    for _ in 0..500 {
        if raw.tcp.write_all(&pings).await.is_err() {
            break;
        }
    }
    house.metric_becomes("hearth_connections", "", 0.0).await;
    let grown = rss(&house).saturating_sub(before);
    assert!(grown < 24 * MIB, "a flood of pings cost {grown} bytes");
}
