//! Comings and goings of every kind: whatever way a socket ends, nothing of it stays in any registry.

use crate::harness::{Ground, House, Person};
use crate::raw::{Raw, dial, upgrade};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Every registry there is, by its label.
const REGISTRIES: [&str; 12] = [
    "sockets",
    "users",
    "peers",
    "audiences",
    "places",
    "followers",
    "badges_waiting",
    "joins_pending",
    "rooms",
    "listeners",
    "typing",
    "presence",
];

/// How a cycle ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Goodbye,
    Reset,
    Silence,
    InTheHandshake,
    BehindTheHandshake,
    WhileSubscribing,
}

const ENDS: [End; 6] = [
    End::Goodbye,
    End::Reset,
    End::Silence,
    End::InTheHandshake,
    End::BehindTheHandshake,
    End::WhileSubscribing,
];

fn reset(tcp: &TcpStream) {
    tcp.set_zero_linger().expect("no linger");
}

async fn cycle(house: &House, person: &Person, rooms: [u64; 2], end: End) {
    let (url, credentials) = (house.url(), person.credentials());
    let request = upgrade(&url, &credentials);
    match end {
        End::InTheHandshake => {
            let mut tcp = dial(&url).await;
            tcp.write_all(&request.as_bytes()[..request.len() / 2]).await.expect("sent");
            reset(&tcp);
            return;
        }
        End::BehindTheHandshake => {
            let mut tcp = dial(&url).await;
            tcp.write_all(format!("{request}\r\n").as_bytes()).await.expect("sent");
            reset(&tcp);
            return;
        }
        _ => {}
    }
    let mut raw = Raw::connect(&url, &credentials).await;
    let places = json!([{ "room_id": rooms[0] }, { "room_id": rooms[1], "level": "badge" }]);
    raw.says(&json!({ "type": "room.subscribe", "request_id": "s", "data": { "rooms": places } })).await;
    if matches!(end, End::WhileSubscribing) {
        reset(&raw.tcp);
        return;
    }
    assert!(raw.frame().await.expect("reads").is_some(), "the reply");
    raw.says(&json!({ "type": "typing.start", "data": { "room_id": rooms[0] } })).await;
    match end {
        End::Goodbye => {
            raw.sends(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await;
            assert_eq!(raw.close_code().await, Some(1000));
        }
        End::Silence => assert_eq!(raw.close_code().await, Some(4000)),
        _ => reset(&raw.tcp),
    }
}

/// Proves CONN-17, CONN-18.
#[tokio::test]
async fn whatever_way_sockets_end_nothing_of_them_stays() {
    let flags = [
        "--set",
        "heartbeat.interval_ms=600",
        "--set",
        "heartbeat.dead_after_ms=2000",
        "--set",
        "presence.grace_ms=100",
        "--set",
        "rooms.idle_ms=200",
        "--set",
        "socket.linger_ms=100",
        "--set",
        "typing.expiry_ms=300",
        "--set",
        "typing.throttle_ms=50",
        "--set",
        "socket.per_user=1000",
    ];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut people = Vec::new();
    for n in 0..10 {
        people.push(house.joined_by(&format!("P{n}")).await);
    }
    let rooms = [house.lobby, house.closed_room("Den", &people.iter().collect::<Vec<_>>()).await.id];
    for registry in REGISTRIES {
        house.metric_becomes("hearth_registry_entries", &format!("\"{registry}\""), 0.0).await;
    }
    // The gauges do rise.
    let mut one = people[0].connects().await;
    one.joins(rooms[0], None).await;
    one.asks("room.subscribe", json!({ "room_id": rooms[1], "level": "badge" })).await;
    one.asks("typing.start", json!({ "room_id": rooms[0] })).await;
    // Somebody has to answer the pings.
    let one = tokio::spawn(async move { while one.socket.next().await.is_ok() {} });
    for (registry, entries) in [
        ("sockets", 1.0),
        ("users", 1.0),
        ("peers", 1.0),
        ("audiences", 1.0),
        ("places", 1.0),
        ("followers", 1.0),
        ("listeners", 2.0),
        ("presence", 1.0),
        ("rooms", 2.0),
    ] {
        house.metric_becomes("hearth_registry_entries", &format!("\"{registry}\""), entries).await;
    }
    one.abort();
    let cycles = (0..1_500).map(|n| cycle(&house, &people[n % people.len()], rooms, ENDS[n % ENDS.len()]));
    stream::iter(cycles).buffer_unordered(40).collect::<()>().await;
    for registry in REGISTRIES {
        house.metric_becomes("hearth_registry_entries", &format!("\"{registry}\""), 0.0).await;
    }
    house.metric_becomes("hearth_connections", "", 0.0).await;
    house.metric_becomes("hearth_subscriptions", "", 0.0).await;
    // Six ways, and each was gone.
    assert!(house.metric("hearth_connections_closed_total", "heartbeat_lost").await >= 250.0);
    let mut ann = house.admin.listens_to(rooms[0]).await;
    ann.posts(rooms[0], "all is well").await;
    let heard = tokio::time::timeout(Duration::from_secs(10), ann.hears_message()).await;
    assert_eq!(heard.expect("in time"), "all is well");
}
