//! Rates of users, bots, addresses and sockets: who is over one is told so, nothing is stored, nobody else notices.

use crate::harness::{Ground, House, Listener, on_both};
use crate::rest::caller::Caller;
use loadtest::socket::{Frame, SocketError};
use loadtest::wire::Refusal;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// So slow that nothing comes back while a test runs.
const SLOW: [&str; 2] = ["--set", "limits.message_window_ms=6000000"];

fn refusal(error: &SocketError) -> &Refusal {
    error.refusal().unwrap_or_else(|| panic!("{error}"))
}

async fn refused(listener: &mut Listener, room: u64, id: Uuid, body: &str) -> Refusal {
    refusal(&listener.socket.post(room, id, body).await.expect_err("refused")).clone()
}

on_both!(
    /// Proves LIM-01, LIM-02, LIM-03.
    ten_messages_by_either_door_and_no_more,
    async |ground| {
        let house = House::open_with(ground, &[&SLOW[..], &["--set", "limits.messages=10"]].concat()).await;
        let bob = house.joined_by("Bob").await;
        let calls = Caller::of(&house.admin);
        let mut ann = house.admin.listens_to(house.lobby).await;
        let first = ann.posts(house.lobby, "0").await;
        for n in 1..5 {
            ann.posts(house.lobby, &n.to_string()).await;
        }
        for n in 5..8 {
            calls.says(house.lobby, &n.to_string()).await;
        }
        // Editing and deleting count, too.
        let path = format!("/messages/{}", first.id);
        let edited = calls.with("if-match", "1").patch(&path, json!({ "body": "zero" })).await;
        edited.expect(200);
        let last = calls.says(house.lobby, "last").await;

        let refused = refused(&mut ann, house.lobby, Uuid::new_v4(), "over").await;
        assert_eq!((refused.code.as_str(), refused.retryable), ("rate_limited", true));
        let wait = refused.retry_after_ms.expect("a wait");
        assert!((500_000..=600_000).contains(&wait), "{wait}");
        let messages = format!("/rooms/{}/messages", house.lobby);
        let answer = calls.post(&messages, json!({ "body": "over" })).await;
        let problem = answer.is_problem(429, "rate_limited", None);
        let wait_ms = problem["retry_after_ms"].as_u64().expect("a wait");
        let wait_s: u64 = answer.header("retry-after").expect("a header").parse().expect("seconds");
        assert_eq!(wait_s, wait_ms.div_ceil(1000), "rounded up");
        calls.delete(&path).await.is_problem(429, "rate_limited", None);

        let mut bob = bob.listens_to(house.lobby).await;
        bob.posts(house.lobby, "not my business").await;
        let expected = ["zero", "1", "2", "3", "4", "5", "6", "7", "last", "not my business"];
        assert_eq!(house.admin.reads(house.lobby).await, expected, "nothing refused was stored");
        assert!(last > first.id);
        house.metric_becomes("hearth_limited_total", "limit=\"messages\"", 3.0).await;
    }
);

/// A bot has a number of its own.
///
/// Proves LIM-01.
#[tokio::test]
async fn a_bot_may_say_more() {
    let flags = ["--set", "limits.messages=2", "--set", "limits.bot_messages=6"];
    let house = House::open_with(Ground::Sqlite, &[&SLOW[..], &flags].concat()).await;
    let robot = Caller::bot_of(&house, "Robot").await;
    let ann = Caller::of(&house.admin);
    for (caller, most) in [(ann, 2), (robot, 6)] {
        for n in 0..most {
            caller.says(house.lobby, &n.to_string()).await;
        }
        let path = format!("/rooms/{}/messages", house.lobby);
        caller.post(&path, json!({ "body": "x" })).await.is_problem(429, "rate_limited", None);
    }
}

on_both!(
    /// An outbox that is larger than the limit gets through: who waits as long as told succeeds, once each.
    ///
    /// Proves LIM-03.
    a_client_that_waits_as_told_gets_everything_through,
    async |ground| {
        let flags = ["--set", "limits.messages=3", "--set", "limits.message_window_ms=300"];
        let house = House::open_with(ground, &flags).await;
        let mut ann = house.admin.listens_to(house.lobby).await;
        let mut waits = 0;
        for n in 0..12 {
            let id = Uuid::new_v4();
            // Each is sent twice, as after a lost connection.
            for _ in 0..2 {
                while let Err(error) = ann.socket.post(house.lobby, id, &n.to_string()).await {
                    let wait = refusal(&error).retry_after_ms.expect("a wait");
                    assert!((1..=100).contains(&wait), "{wait}");
                    waits += 1;
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        let expected: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(house.admin.reads(house.lobby).await, expected);
        assert!(waits < 100, "told a wait that is long enough");
    }
);

on_both!(
    /// Proves LIM-06.
    the_same_text_again_and_again_is_refused_but_never_a_retry,
    async |ground| {
        let house = House::open_with(ground, &["--set", "limits.repeats=5"]).await;
        let calls = Caller::of(&house.admin);
        let mut ann = house.admin.listens_to(house.lobby).await;
        let mut ids = Vec::new();
        for text in ["spam", "ham", "spam"] {
            for _ in 0..5 {
                let id = Uuid::new_v4();
                ann.socket.post(house.lobby, id, text).await.expect("posted");
                ids.push(id);
            }
        }
        let over = refused(&mut ann, house.lobby, Uuid::new_v4(), "spam").await;
        assert_eq!((over.code.as_str(), over.retryable), ("duplicate_message", false));
        let path = format!("/rooms/{}/messages", house.lobby);
        calls.post(&path, json!({ "body": "spam" })).await.is_problem(409, "duplicate_message", None);
        // Every one of them may be repeated, the long forgotten first ones as well, and it changes nothing.
        for id in ids.iter().chain(&ids) {
            let text = if ids[5..10].contains(id) { "ham" } else { "spam" };
            if text == "spam" {
                let ack = ann.socket.post(house.lobby, *id, text).await.expect("a retry");
                assert!(ack.duplicate);
            }
        }
        let again = json!({ "body": "spam", "client_message_id": ids[0] });
        assert_eq!(calls.post(&path, again).await.expect(200)["duplicate"], true);
        let stolen = refused(&mut ann, house.lobby, ids[5], "spam").await;
        assert_eq!(stolen.code, "idempotency_conflict", "said with another text: the store knows");
        ann.posts(house.lobby, "eggs").await;
        assert_eq!(house.admin.reads(house.lobby).await.len(), 16);
        let elsewhere = house.closed_room("Elsewhere", &[]).await.id;
        ann.posts(elsewhere, "spam").await;
    }
);

/// Proves LIM-06.
#[tokio::test]
async fn a_flood_of_mentions_is_refused() {
    let flags = ["--set", "limits.mentions=40", "--set", "limits.mention_window_s=6000"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let calls = Caller::of(&house.admin);
    let path = format!("/rooms/{}/messages", house.lobby);
    let names = |from: u32, to: u32| (from..to).map(|n| format!("@name{n} ")).collect::<String>();
    let post = async |body: String| calls.post(&path, json!({ "body": body })).await;
    post(names(0, 21)).await.is_problem(422, "invalid_payload", Some("body"));
    let first = post(names(0, 20)).await.expect(201)["id"].as_u64().expect("an id");
    let edit = json!({ "body": names(0, 21) });
    let edited = calls.with("if-match", "1").patch(&format!("/messages/{first}"), edit).await;
    edited.is_problem(422, "invalid_payload", Some("body"));
    post(names(0, 20)).await.expect(201);
    post(names(0, 1)).await.is_problem(429, "rate_limited", None);
    post("nobody".to_owned()).await.expect(201);
}

/// Proves LIM-02, LIM-03.
#[tokio::test]
async fn requests_are_counted_by_user_and_by_address() {
    let slow = ["--set", "limits.request_window_ms=6000000"];
    let by_user = ["--set", "limits.user_requests=30", "--set", "limits.address_requests=0"];
    let house = House::open_with(Ground::Sqlite, &[&slow[..], &by_user].concat()).await;
    let bob = house.joined_by("Bob").await;
    let (ann, bob) = (Caller::of(&house.admin), Caller::of(&bob));
    let mut fine = 0;
    let over = loop {
        let answer = ann.get("/me").await;
        if answer.status != 200 {
            break answer;
        }
        fine += 1;
        assert!(fine <= 30, "more than there may be");
    };
    over.is_problem(429, "rate_limited", None);
    assert!(fine > 20, "{fine}");
    bob.get("/me").await.expect(200);
    ann.post(&format!("/rooms/{}/messages", house.lobby), json!({ "body": "x" })).await.is_problem(
        429,
        "rate_limited",
        None,
    );
    assert!(house.admin.connects().await.socket.welcome().epoch.len() > 8, "the socket is another door");

    let by_address = ["--set", "limits.address_requests=30", "--set", "limits.exempt_loopback=false"];
    let house = House::open_with(Ground::Sqlite, &[&slow[..], &by_address].concat()).await;
    let nobody = Caller::nobody(&house.url());
    let mut answered = 0;
    while nobody.get("/setup").await.status == 200 {
        answered += 1;
        assert!(answered <= 30, "more than there may be");
    }
    nobody.get("/setup").await.is_problem(429, "rate_limited", None);
    Caller::of(&house.admin).get("/me").await.is_problem(429, "rate_limited", None);
    match house.admin.tries_to_connect().await.err() {
        Some(SocketError::Refused(refusal)) => assert_eq!(refusal.status, 429),
        other => panic!("{other:?}"),
    }
    for path in ["/", "/health", "/ready"] {
        assert_eq!(nobody.sends("GET", path, None).await.status, 200, "{path} is always given");
    }
}

/// Other changes, and subscriptions, have limits of their own.
///
/// Proves LIM-02.
#[tokio::test]
async fn other_commands_are_counted_apart() {
    let flags = [
        "--set",
        "limits.commands=5",
        "--set",
        "limits.command_window_ms=6000000",
        "--set",
        "limits.subscriptions=5",
        "--set",
        "limits.frame_window_ms=6000000",
    ];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    for _ in 0..5 {
        ann.asks("read.mark", json!({ "room_id": house.lobby, "seq": 1 })).await;
    }
    let mark = json!({ "room_id": house.lobby, "seq": 1 });
    assert_eq!(ann.is_refused("read.mark", mark.clone()).await, "rate_limited");
    let answer =
        Caller::of(&house.admin).put(&format!("/rooms/{}/read", house.lobby), json!({ "seq": 1 })).await;
    answer.is_problem(429, "rate_limited", None);
    ann.posts(house.lobby, "messages go on").await;
    for _ in 0..4 {
        ann.joins(house.lobby, None).await;
    }
    assert_eq!(ann.is_refused("room.subscribe", json!({ "room_id": house.lobby })).await, "rate_limited");
    ann.posts(house.lobby, "and so does the subscription").await;
    ann.frames_until("and so does the subscription").await;
}

/// Proves LIM-03, CONN-16.
#[tokio::test]
async fn a_socket_that_floods_is_told_and_then_closed() {
    let flags = ["--set", "limits.frames=10", "--set", "limits.frame_window_ms=6000000"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut ann = house.admin.connects().await;
    for _ in 0..30 {
        ann.socket.send_text(r#"{"type":"ping"}"#.to_owned()).await.expect("sent");
    }
    for n in 0..20 {
        match ann.next().await {
            Frame::Pong if n < 10 => {}
            Frame::Error { refusal, .. } => {
                assert_eq!(refusal.code, "rate_limited");
                assert!(refusal.retry_after_ms.is_some_and(|wait| wait > 1000), "{refusal:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ann.is_closed().await, 4002);
    house.admin.connects().await;
}

/// Whoever opens the page, joins and types is far within every limit.
#[tokio::test]
async fn the_defaults_are_roomy_enough_for_people() {
    let defaults = hearth::config::Config::default().limits;
    let own = |key: &str, value: u32| ["--set".to_owned(), format!("limits.{key}={value}")];
    let flags: Vec<String> = [
        own("messages", defaults.messages),
        own("commands", defaults.commands),
        own("repeats", defaults.repeats),
        own("mentions", defaults.mentions),
        own("frames", defaults.frames),
        own("subscriptions", defaults.subscriptions),
        own("user_requests", defaults.user_requests),
    ]
    .concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut ann = house.admin.connects().await;
    for path in ["/me", "/account", "/users", "/rooms", "/sessions"].repeat(10) {
        Caller::of(&house.admin).get(path).await.expect(200);
    }
    for n in 0..8 {
        ann.joins(house.lobby, None).await;
        for _ in 0..5 {
            ann.asks("typing.start", json!({ "room_id": house.lobby })).await;
            ann.asks("typing.stop", json!({ "room_id": house.lobby })).await;
        }
        let ack = ann.posts(house.lobby, &format!("message {n} for @bob")).await;
        ann.asks("read.mark", json!({ "room_id": house.lobby, "seq": ack.seq })).await;
    }
}
