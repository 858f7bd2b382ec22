//! Who is here.

use crate::harness::{Ground, House, Listener, on_both};
use serde_json::{Value, json};

/// The commons of a connected person.
fn commons(listener: &Listener) -> u64 {
    let rooms = &listener.socket.welcome().rooms;
    rooms.iter().find(|room| room.kind == "commons").expect("everybody sees the commons").room_id
}

/// Waits for a change of `user` and returns all that was told of them up to it.
async fn state_of(listener: &mut Listener, user: u64) -> String {
    loop {
        let signal = listener.notices("presence").await;
        let users = signal["data"]["users"].as_array().expect("users").clone();
        if let Some(change) = users.iter().find(|change| change["id"] == json!(user)) {
            return change["state"].as_str().expect("a state").to_owned();
        }
    }
}

on_both!(
    /// Proves PRES-02.
    ten_tabs_are_one_user_who_comes_once_and_goes_once,
    async |ground| {
        let house = House::open_with(ground, &["--set", "presence.grace_ms=300"]).await;
        let bob = house.joined_by("Bob").await;
        let mut ann = house.admin.connects().await;
        let commons = commons(&ann);
        ann.joins(commons, None).await;
        let (mut a, mut b, mut c, mut d, mut e) = tokio::join!(
            bob.connects(), bob.connects(), bob.connects(), bob.connects(), bob.connects());
        let (f, g, h, i, j) = tokio::join!(
            bob.connects(), bob.connects(), bob.connects(), bob.connects(), bob.connects());
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        for tab in [&mut a, &mut b, &mut c, &mut d, &mut e] {
            tab.joins(house.lobby, None).await;
        }
        let room = ann.asks("room.subscribe", json!({ "room_id": commons })).await;
        let online: &Value = &room["room"]["online"];
        assert!(online.as_array().expect("who is online").contains(&json!(bob.id)));
        for tab in [a, b, c, d, e, f, g, h, i] {
            tab.socket.close().await.expect("closes");
        }
        // Nine of ten are gone; what is told next of Bob is that he left, after the tenth.
        house.metric_becomes("hearth_connections", "", 2.0).await;
        j.socket.abort();
        assert_eq!(state_of(&mut ann, bob.id).await, "offline");
        let room = ann.asks("room.subscribe", json!({ "room_id": commons })).await;
        assert!(!room["room"]["online"].as_array().expect("online").contains(&json!(bob.id)));
    }
);
