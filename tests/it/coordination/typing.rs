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
        let flags = ["--set", "typing.throttle_ms=3000000", "--set", "typing.expiry_ms=3600000"];
        let house = House::open_with(ground, &flags).await;
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
        assert_eq!(told, [true, false], "the repeats are swallowed, the stop is not");
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

on_both!(
    /// Proves TYPE-04.
    a_start_within_the_throttle_is_told_when_it_is_over,
    async |ground| {
        let house = House::open(ground).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let (mut first, mut second) = (bob.listens_to(room).await, bob.listens_to(room).await);
        first.asks("typing.start", json!({ "room_id": room })).await;
        first.asks("typing.stop", json!({ "room_id": room })).await;
        second.asks("typing.start", json!({ "room_id": room })).await;
        for typing in [true, false, true] {
            assert_eq!(ann.notices("typing").await["data"]["typing"], typing);
        }
    }
);

on_both!(
    /// Proves TYPE-04.
    the_throttle_is_the_users_whatever_their_sockets,
    async |ground| {
        let flags = ["--set", "typing.throttle_ms=3000000", "--set", "typing.expiry_ms=3600000"];
        let house = House::open_with(ground, &flags).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        for _ in 0..5 {
            let mut tab = bob.listens_to(room).await;
            tab.asks("typing.start", json!({ "room_id": room })).await;
            tab.asks("typing.stop", json!({ "room_id": room })).await;
            tab.socket.abort();
        }
        bob.listens_to(room).await.posts(room, "marker").await;
        let frames = ann.frames_until("marker").await;
        let told: Vec<bool> = typing(&frames).iter().map(|data| data["typing"] == true).collect();
        assert_eq!(told, [true, false]);
    }
);

on_both!(
    /// Proves TYPE-01.
    two_of_one_name_are_two,
    async |ground| {
        let house = House::open(ground).await;
        let (room, bob, other) = (house.lobby, house.joined_by("Bob").await, house.joined_by("Other").await);
        let name = json!({ "name": "Bob" });
        other.client.call::<Value>(reqwest::Method::PATCH, "/me", &[], Some(&name)).await.expect("renamed");
        let mut ann = house.admin.listens_to(room).await;
        let mut tabs = [bob.listens_to(room).await, other.listens_to(room).await];
        for tab in &mut tabs {
            tab.asks("typing.start", json!({ "room_id": room })).await;
        }
        for user in [bob.id, other.id] {
            assert_eq!(ann.notices("typing").await["data"]["user"], json!({ "id": user, "name": "Bob" }));
        }
        let snapshot = house.admin.connects().await.joins(room, None).await.room;
        assert_eq!(snapshot["typing"].as_array().expect("typists").len(), 2);
    }
);

on_both!(
    /// Proves TYPE-06.
    a_start_from_before_the_message_is_ignored,
    async |ground| {
        let house = House::open(ground).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let (mut tab, mut other) = (bob.listens_to(room).await, bob.listens_to(room).await);
        let seq = tab.posts(room, "said").await.seq;
        ann.frames_until("said").await;
        other.asks("typing.start", json!({ "room_id": room, "after": seq - 1 })).await;
        let snapshot = house.joined_by("Late").await.connects().await.joins(room, None).await.room;
        assert_eq!(snapshot["typing"], json!([]));
        tab.asks("typing.start", json!({ "room_id": room, "after": seq })).await;
        let told = ann.notices("typing").await;
        assert_eq!((&told["data"]["typing"], &told["at_seq"]), (&json!(true), &json!(seq)));
        assert_eq!(tab.is_refused("typing.start", json!({ "room_id": room, "after": -1 })).await, "invalid_payload");
    }
);

on_both!(
    /// Proves TYPE-03, TYPE-07, LIM-04.
    a_hundred_connections_lost_while_typing_leave_no_ghost,
    async |ground| {
        let house = House::open_with(ground, &["--set", "typing.expiry_ms=3600000"]).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let mut ann = house.admin.listens_to(room).await;
        let began = std::time::Instant::now();
        for _ in 0..100 {
            let mut tab = bob.listens_to(room).await;
            tab.asks("typing.start", json!({ "room_id": room })).await;
            tab.socket.abort();
        }
        house.metric_becomes("hearth_subscriptions", "", 1.0).await;
        let seconds = usize::try_from(began.elapsed().as_secs()).expect("few");
        ann.posts(room, "marker").await;
        let frames = ann.frames_until("marker").await;
        let told: Vec<bool> = typing(&frames).iter().map(|data| data["typing"] == true).collect();
        assert!(told.len() <= 2 * (seconds + 1), "{} signals in {seconds} s", told.len());
        for pair in told.chunks(2) {
            assert_eq!(pair, [true, false], "{told:?}");
        }
        let moved = |frame: &&Frame| matches!(frame, Frame::Signal { kind, .. } if kind == "room.presence");
        assert!(frames.iter().filter(moved).count() <= 2, "Ann and Bob joined, nobody left");
        let snapshot = house.admin.connects().await.joins(room, None).await.room;
        assert_eq!(snapshot["typing"], json!([]));
    }
);
