//! Who is typing.

use crate::harness::{Ground, House, on_both};
use loadtest::socket::Frame;
use serde_json::{Value, json};

fn typing(frames: &[Frame]) -> Vec<&Value> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Signal { kind, json } if kind == "typing" => Some(&json["data"]),
            _ => None,
        })
        .collect()
}

on_both!(
    /// Proves TYPE-01, TYPE-04, TYPE-05.
    typing_is_told_to_the_others_once_and_ends_with_the_message,
    async |ground| {
        let house = House::open(ground).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let mut first_tab = bob.listens_to(room).await;
        let mut second_tab = bob.listens_to(room).await;
        for _ in 0..20 {
            assert_eq!(first_tab.asks("typing.start", json!({ "room_id": room })).await, json!({}));
        }
        let late = house.joined_by("Late").await.connects().await;
        let mut late = late;
        let snapshot = late.joins(room, None).await.room;
        assert_eq!(snapshot["typing"], json!([{ "id": bob.id, "name": "Bob" }]), "who comes later sees it, too");
        first_tab.posts(room, "what I typed").await;
        let frames = ann.frames_until("what I typed").await;
        let told = typing(&frames);
        assert_eq!(told.len(), 2, "one start for twenty, one end: {told:?}");
        assert_eq!(told[0], &json!({ "user": { "id": bob.id, "name": "Bob" }, "typing": true }));
        assert_eq!(told[1]["typing"], false, "before the message, not after it");
        for tab in [&mut first_tab, &mut second_tab] {
            let frames = tab.frames_until("what I typed").await;
            assert!(typing(&frames).is_empty(), "never told to the typist");
        }
        ann.posts(room, "marker").await;
        assert!(typing(&ann.frames_until("marker").await).is_empty(), "nothing is left to be told");
    }
);

on_both!(
    /// Proves TYPE-04.
    a_stop_always_gets_through,
    async |ground| {
        let house = House::open(ground).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let mut tab = bob.listens_to(room).await;
        for _ in 0..5 {
            tab.asks("typing.start", json!({ "room_id": room })).await;
            tab.asks("typing.stop", json!({ "room_id": room })).await;
        }
        tab.posts(room, "marker").await;
        let frames = ann.frames_until("marker").await;
        let told: Vec<bool> = typing(&frames).iter().map(|data| data["typing"] == true).collect();
        assert_eq!(told, [true, false], "the repeats within a second are swallowed, the stop is not");
    }
);

on_both!(
    /// Proves TYPE-02, TYPE-03.
    typing_ends_by_itself_and_with_the_socket,
    async |ground| {
        let house = House::open_with(ground, &["--set", "typing.expiry_ms=400", "--set", "typing.throttle_ms=10"]).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let mut tab = bob.listens_to(room).await;
        tab.asks("typing.start", json!({ "room_id": room })).await;
        assert_eq!(ann.notices("typing").await["data"]["typing"], true);
        assert_eq!(ann.notices("typing").await["data"]["typing"], false, "expired");

        let house = House::open_with(ground, &["--set", "typing.expiry_ms=3600000"]).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let mut tab = bob.listens_to(room).await;
        tab.asks("typing.start", json!({ "room_id": room })).await;
        assert_eq!(ann.notices("typing").await["data"]["typing"], true);
        tab.socket.abort();
        assert_eq!(ann.notices("typing").await["data"]["typing"], false, "gone with its socket");
    }
);
