//! What is too large or makes no sense is said so, by both doors; what is left out of an answer is said in the answer.

use crate::harness::{Ground, House, on_both};
use crate::raw::Raw;
use crate::rest::caller::Caller;
use loadtest::lean::client_text;
use loadtest::socket::Frame;
use serde_json::json;
use uuid::Uuid;

/// Proves LIM-05.
#[tokio::test]
async fn what_is_too_large_is_refused_by_name() {
    let house = House::open(Ground::Sqlite).await;
    let calls = Caller::of(&house.admin);
    let mut ann = house.admin.listens_to(house.lobby).await;
    let path = format!("/rooms/{}/messages", house.lobby);
    let fits = "x".repeat(16 * 1024);
    let over = format!("{fits}x");
    ann.posts(house.lobby, &fits).await;
    let refused = ann.socket.post(house.lobby, Uuid::new_v4(), &over).await.expect_err("refused");
    let refusal = refused.refusal().expect("an error frame");
    assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("too_large", Some("body")));
    calls.post(&path, json!({ "body": over })).await.is_problem(413, "too_large", Some("body"));
    let huge = "x".repeat(256 * 1024);
    calls.post(&path, json!({ "body": huge })).await.is_problem(413, "too_large", Some("body"));
    calls.post("/rooms", json!({ "kind": "open", "name": "x".repeat(101) })).await.is_problem(
        422,
        "invalid_payload",
        Some("name"),
    );
    // One byte more than a frame may have ends the socket; the largest there may be doesn't.
    let padded = |length: usize| {
        let ping = r#"{"type":"ping"}"#;
        client_text(&format!("{ping}{}", " ".repeat(length - ping.len())))
    };
    let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
    raw.sends(&padded(64 * 1024)).await;
    let pong = raw.frame().await.expect("reads").expect("a frame");
    assert_eq!(pong.payload, br#"{"type":"pong"}"#);
    raw.sends(&padded(64 * 1024 + 1)).await;
    assert_eq!(raw.close_code().await, Some(1009));
    assert_eq!(house.admin.reads(house.lobby).await, [fits]);
}

/// Proves LIM-07.
#[tokio::test]
async fn each_invalid_frame_gets_an_error_and_the_last_one_a_close() {
    let house = House::open_with(Ground::Sqlite, &["--set", "socket.invalid_frames=4"]).await;
    let mut ann = house.admin.connects().await;
    for n in 0..4 {
        ann.socket.send_text(r#"{"type":"nonsense","request_id":"x"}"#.to_owned()).await.expect("sent");
        match ann.next().await {
            Frame::Error { request_id, refusal } => {
                assert_eq!(request_id.as_deref(), Some("x"));
                assert_eq!(
                    (refusal.code.as_str(), refusal.field.as_deref()),
                    ("invalid_payload", Some("type"))
                );
            }
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(ann.is_closed().await, 4504);
}

on_both!(
    /// Nothing is cut without a word: a limit over its cap is refused, a page says whether there is more.
    ///
    /// Proves LIM-09.
    what_is_left_out_is_said,
    async |ground| {
        let house = House::open(ground).await;
        let calls = Caller::of(&house.admin);
        let room = house.lobby;
        for n in 0..4 {
            calls.says(room, &format!("needle {n}")).await;
        }
        for (path, most) in [
            (format!("/rooms/{room}/messages?"), 100), (format!("/rooms/{room}/events?"), 500), ("/events?".into(), 500),
            ("/search?q=needle&".into(), 100), ("/rooms?".into(), 100), ("/users?".into(), 100),
        ] {
            calls.get(&format!("{path}limit={most}")).await.expect(200);
            let over = calls.get(&format!("{path}limit={}", most + 1)).await;
            over.is_problem(422, "invalid_payload", Some("limit"));
        }
        let page = calls.get(&format!("/rooms/{room}/messages?limit=3")).await.expect(200);
        assert!(page["messages"].as_array().expect("a list").len() == 3 && page["next"].is_string());
        for (limit, found, more) in [(3, 3, true), (4, 4, false), (100, 4, false)] {
            let page = calls.get(&format!("/search?q=needle&limit={limit}")).await.expect(200);
            assert_eq!(page["messages"].as_array().expect("a list").len(), found);
            assert_eq!(page["more"], more, "{limit}");
        }

        // `welcome` lists the first thousand rooms, and says that there are more.
        let mut ann = house.admin.connects().await;
        let more = async || {
            let mut raw = Raw::shake(&house.url(), &house.admin.credentials()).await;
            let welcome = raw.frame().await.expect("reads").expect("a welcome");
            let welcome: serde_json::Value = serde_json::from_slice(&welcome.payload).expect("JSON");
            let rooms = welcome["data"]["rooms"].as_array().expect("a list").len();
            (rooms, welcome["data"]["more_rooms"].clone())
        };
        let (rooms, none) = more().await;
        assert!(none.is_null());
        let mut asked = Vec::new();
        for n in rooms..=1000 {
            let data = json!({ "kind": "open", "name": format!("Room {n}") });
            asked.push(ann.socket.send("room.create", &data).await.expect("sent"));
            if asked.len() == 100 {
                for request in asked.drain(..) {
                    ann.socket.answer(&request).await.expect("made");
                }
            }
        }
        for request in asked {
            ann.socket.answer(&request).await.expect("made");
        }
        assert_eq!(more().await, (1000, json!(true)));
    }
);
