//! Who is here.

use crate::harness::{Ground, House, Listener, Person, on_both};
use crate::raw::Raw;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The commons of a connected person.
fn commons(listener: &Listener) -> u64 {
    let rooms = &listener.socket.welcome().rooms;
    rooms.iter().find(|room| room.kind == "commons").expect("everybody sees the commons").room_id
}

/// The next changes that are told, as users and states.
async fn changes(listener: &mut Listener) -> Vec<(u64, String)> {
    let signal = listener.notices("presence").await;
    let users = signal["data"]["users"].as_array().expect("users").clone();
    let one = |change: &Value| {
        (change["id"].as_u64().expect("an id"), change["state"].as_str().expect("a state").to_owned())
    };
    users.iter().map(one).collect()
}

/// Waits for a change of `user`.
async fn state_of(listener: &mut Listener, user: u64) -> String {
    loop {
        if let Some((_, state)) = changes(listener).await.into_iter().find(|(id, _)| *id == user) {
            return state;
        }
    }
}

/// All that is told of `user` until another has a state: proof of absence without a sleep.
async fn told_until(listener: &mut Listener, user: u64, other: u64, state: &str) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let changes = changes(listener).await;
        told.extend(changes.iter().filter(|(id, _)| *id == user).map(|(_, state)| state.clone()));
        if changes.contains(&(other, state.to_owned())) {
            return told;
        }
    }
}

/// A user as `GET /users` has them.
async fn listed(house: &House, user: u64) -> Value {
    let (_, answer) =
        house.admin.client.call::<Value>(Method::GET, "/users", &[], None).await.expect("users");
    let users = answer["users"].as_array().expect("users").clone();
    users.into_iter().find(|one| one["id"] == json!(user)).expect("is a user")
}

/// What every view says of the user: they agree, because they have one source.
async fn seen_everywhere(house: &House, listener: &mut Listener, user: u64) -> String {
    let room = commons(listener);
    let snapshot = listener.asks("room.subscribe", json!({ "room_id": room })).await;
    let is_in = |list: &str| snapshot["room"][list].as_array().expect("a list").contains(&json!(user));
    let state = match (is_in("online"), is_in("away"), is_in("signed_out")) {
        (true, false, false) => "online",
        (true, true, false) => "away",
        (false, false, true) => "signed_out",
        (false, false, false) => "offline",
        lists => panic!("in contradictory lists: {lists:?}"),
    };
    assert_eq!(listed(house, user).await["presence"], state);
    state.to_owned()
}

/// A house whose hubs beat often, with a listener in the commons.
async fn watched(ground: Ground, grace_ms: u64) -> (House, Person, Listener) {
    let grace = format!("presence.grace_ms={grace_ms}");
    let house = House::open_with(ground, &["--set", &grace, "--set", "heartbeat.interval_ms=400"]).await;
    let bob = house.joined_by("Bob").await;
    let mut ann = house.admin.connects().await;
    let commons = commons(&ann);
    ann.joins(commons, None).await;
    (house, bob, ann)
}

on_both!(
    /// Proves PRES-02, PRES-07.
    ten_tabs_are_one_user_who_comes_once_and_goes_once,
    async |ground| {
        let (house, bob, mut ann) = watched(ground, 300).await;
        let (mut a, mut b, mut c, mut d, mut e) = tokio::join!(
            bob.connects(), bob.connects(), bob.connects(), bob.connects(), bob.connects());
        let (f, g, h, i, j) = tokio::join!(
            bob.connects(), bob.connects(), bob.connects(), bob.connects(), bob.connects());
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        for tab in [&mut a, &mut b, &mut c, &mut d, &mut e] {
            tab.joins(house.lobby, None).await;
        }
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "online");
        for tab in [a, b, c, d, e, f, g, h, i] {
            tab.socket.close().await.expect("closes");
        }
        // Nine of ten are gone; what is told next of Bob is that he left, after the tenth.
        house.metric_becomes("hearth_connections", "", 2.0).await;
        j.socket.abort();
        assert_eq!(state_of(&mut ann, bob.id).await, "offline");
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "offline");
    }
);

on_both!(
    /// Proves PRES-04, PRES-07.
    away_offline_and_signed_out_are_told_apart_in_every_view,
    async |ground| {
        let (house, bob, mut ann) = watched(ground, 200).await;
        let mut tab = bob.connects().await;
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        for _ in 0..3 {
            assert_eq!(tab.asks("presence.set", json!({ "state": "away" })).await, json!({}));
        }
        assert_eq!(state_of(&mut ann, bob.id).await, "away");
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "away");
        let other = bob.connects().await;
        assert_eq!(state_of(&mut ann, bob.id).await, "online", "one of two is looked at");
        other.socket.abort();
        assert_eq!(state_of(&mut ann, bob.id).await, "away");
        tab.asks("presence.set", json!({ "state": "active" })).await;
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "online");
        assert_eq!(tab.is_refused("presence.set", json!({ "state": "asleep" })).await, "invalid_payload");
        tab.socket.abort();
        assert_eq!(state_of(&mut ann, bob.id).await, "offline");
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "offline");

        // With a grace that never ends: who signs out is gone at once all the same.
        let (house, bob, mut ann) = watched(ground, 3_600_000).await;
        let (mut tab, _other) = (bob.connects().await, bob.connects().await);
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        bob.client.call::<Value>(Method::DELETE, "/sessions/current", &[], None).await.ok();
        assert_eq!(tab.is_closed().await, 4501);
        drop((tab, _other));
        assert_eq!(state_of(&mut ann, bob.id).await, "signed_out");
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "signed_out");

        // A client that closes first and signs out then is no different.
        let cleo = house.joined_by("Cleo").await;
        assert_eq!(ann.hears().await.kind, "user.joined");
        let tab = cleo.connects().await;
        assert_eq!(state_of(&mut ann, cleo.id).await, "online");
        tab.socket.close().await.expect("closes");
        house.metric_becomes("hearth_connections", "", 1.0).await;
        cleo.client.call::<Value>(Method::DELETE, "/sessions/current", &[], None).await.ok();
        assert_eq!(state_of(&mut ann, cleo.id).await, "signed_out");
    }
);

on_both!(
    /// Proves PRES-03.
    a_socket_that_dies_without_a_close_is_offline_without_its_help,
    async |ground| {
        let flags = [
            "--set", "heartbeat.interval_ms=500", "--set", "heartbeat.dead_after_ms=4000",
            "--set", "presence.grace_ms=200", "--set", "socket.linger_ms=100",
        ];
        let house = House::open_with(ground, &flags).await;
        let bob = house.joined_by("Bob").await;
        let mut ann = house.admin.connects().await;
        let commons = commons(&ann);
        ann.joins(commons, None).await;
        // Connected, and then as silent as a pulled cable.
        let _mute = Raw::connect(&house.url(), &bob.credentials()).await;
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        assert_eq!(state_of(&mut ann, bob.id).await, "offline");
    }
);

on_both!(
    /// Proves PRES-05.
    who_comes_back_within_the_grace_never_left,
    async |ground| {
        let (house, bob, mut ann) = watched(ground, 5_000).await;
        let (cleo, dora) = (house.joined_by("Cleo").await, house.joined_by("Dora").await);
        for _ in 0..2 {
            assert_eq!(ann.hears().await.kind, "user.joined");
        }
        let (first, marker) = (bob.connects().await, cleo.connects().await);
        assert_eq!(told_until(&mut ann, bob.id, cleo.id, "online").await.len(), 1);
        first.socket.abort();
        house.metric_becomes("hearth_connections", "", 2.0).await;
        // The server has seen him go, and a tick has passed before he is back.
        let _dora = dora.connects().await;
        assert!(told_until(&mut ann, bob.id, dora.id, "online").await.is_empty());
        let _second = bob.connects().await;
        // Cleo goes after Bob did, and so does her grace.
        marker.socket.abort();
        let told = told_until(&mut ann, bob.id, cleo.id, "offline").await;
        assert!(told.is_empty(), "{told:?}");
    }
);

on_both!(
    /// Proves PRES-08.
    after_a_kill_nobody_is_there_until_they_are_back,
    async |ground| {
        let (mut house, bob, mut ann) = watched(ground, 3_600_000).await;
        let _tab = bob.connects().await;
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        house.server.restart().await.expect("killed and brought back");
        for user in [house.admin.id, bob.id] {
            assert_eq!(listed(&house, user).await["presence"], "offline", "no ghost");
        }
        let mut ann = house.admin.connects().await;
        let commons = commons(&ann);
        ann.joins(commons, None).await;
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "offline");
        let (_one, _two) = (bob.connects().await, bob.connects().await);
        assert_eq!(state_of(&mut ann, bob.id).await, "online");
        assert_eq!(seen_everywhere(&house, &mut ann, bob.id).await, "online");
    }
);

/// Waits until the user was seen at another time than `before`.
async fn seen_after(house: &House, user: u64, before: &Value) -> Value {
    let deadline = Instant::now() + crate::harness::PATIENCE;
    loop {
        let seen = listed(house, user).await["last_seen_at"].clone();
        if seen != *before {
            return seen;
        }
        assert!(Instant::now() < deadline, "still {before}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Talks for so long that another second has begun: what is written is exact to the second.
async fn talks_for_a_while(person: &Person, listener: &mut Listener, room: u64) {
    let end = Instant::now() + Duration::from_millis(1_200);
    while Instant::now() < end {
        listener.posts(room, "on and on").await;
        person.client.me().await.expect("REST counts, too");
        listener.asks("presence.set", json!({ "state": "away" })).await;
        listener.asks("presence.set", json!({ "state": "active" })).await;
    }
}

on_both!(
    /// Proves DB-20.
    last_seen_is_written_once_per_span_and_when_one_goes,
    async |ground| {
        let flags = ["--set", "presence.last_seen_s=3600", "--set", "presence.grace_ms=100", "--set", "auth.touch_s=0"];
        let mut house = House::open_with(ground, &flags).await;
        let bob = house.joined_by("Bob").await;
        assert_eq!(listed(&house, bob.id).await["last_seen_at"], Value::Null);
        let mut tab = bob.connects().await;
        let first = seen_after(&house, bob.id, &Value::Null).await;
        talks_for_a_while(&bob, &mut tab, house.lobby).await;
        assert_eq!(listed(&house, bob.id).await["last_seen_at"], first, "whatever the traffic");
        tab.socket.abort();
        let last = seen_after(&house, bob.id, &first).await;
        assert!(last.as_str() > first.as_str(), "{first} {last}");

        let before = listed(&house, house.admin.id).await["last_seen_at"].clone();
        let mut ann = house.admin.connects().await;
        talks_for_a_while(&house.admin, &mut ann, house.lobby).await;
        assert_eq!(listed(&house, house.admin.id).await["last_seen_at"], before, "seen by REST not an hour ago");
        assert!(house.server.terminate(Duration::from_secs(15)).await.expect("ends").success());
        house.server.restart().await.expect("comes back");
        let after = listed(&house, house.admin.id).await["last_seen_at"].clone();
        assert!(after.as_str() > before.as_str(), "noted on the way out: {before} {after}");
    }
);
