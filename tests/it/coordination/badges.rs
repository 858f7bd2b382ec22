//! Rooms that are followed by badge: how they stand, at most once per second, and always as the store counts.

use crate::harness::{Ground, House, Listener, PATIENCE, Person, missed, on_both};
use crate::raw::Raw;
use loadtest::socket::Frame;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Head, read mark and unread messages.
type Standing = (u64, u64, u64);

fn standing(json: &Value) -> Standing {
    let number = |field: &str| json[field].as_u64().unwrap_or_else(|| panic!("no {field} in {json}"));
    (number("head"), number("read"), number("unread"))
}

/// How a room stands for somebody, as REST says.
async fn counted(person: &Person, room: u64) -> Standing {
    let (status, body) = person
        .client
        .call::<Value>(reqwest::Method::GET, &format!("/rooms/{room}"), &[], None)
        .await
        .expect("called");
    assert_eq!(status, 200, "{body}");
    standing(&body)
}

impl Listener {
    /// Follows a room by badge.
    async fn follows(&mut self, room: u64) -> Standing {
        let entry = self.asks("room.subscribe", json!({ "room_id": room, "level": "badge" })).await;
        assert_eq!((&entry["level"], &entry["room"]["id"]), (&json!("badge"), &json!(room)));
        assert!(entry.get("events").is_none() && entry.get("recovery").is_none(), "{entry}");
        standing(&entry)
    }

    /// The room of that name in `welcome`.
    fn room_called(&self, name: &str) -> Option<u64> {
        let rooms = &self.socket.welcome().rooms;
        rooms.iter().find(|room| room.name.as_deref() == Some(name)).map(|room| room.room_id)
    }

    /// The next badge.
    async fn sees(&mut self) -> (u64, Standing) {
        match self.next().await {
            Frame::Signal { kind, json } if kind == "badge" => {
                (json["room_id"].as_u64().expect("a room"), standing(&json["data"]))
            }
            other => panic!("heard {other:?}"),
        }
    }

    /// Waits for the badge that says `wanted`.
    async fn sees_at_last(&mut self, wanted: Standing) -> usize {
        for n in 1.. {
            let (_, seen) = self.sees().await;
            if seen == wanted {
                return n;
            }
            assert!(seen.0 <= wanted.0, "{seen:?} is beyond {wanted:?}");
        }
        unreachable!()
    }
}

on_both!(a_badge_follows_what_is_said_read_and_deleted, async |ground| {
    let house = House::open_with(ground, &["--set", "rooms.badge_ms=100"]).await;
    let room = house.lobby;
    let bob = house.joined_by("Bob").await;
    let mut ann = house.admin.connects().await;
    let (mut desk, mut phone) = (bob.connects().await, bob.connects().await);
    assert_eq!(desk.follows(room).await, counted(&bob, room).await);
    let first = ann.posts(room, "one").await;
    let second = ann.posts(room, "two").await;
    let read = desk.follows(room).await.1;
    assert_eq!(phone.follows(room).await, (second.seq, read, 2));
    let mut loud = ann.posts(room, "three").await;
    for tab in [&mut desk, &mut phone] {
        tab.sees_at_last((loud.seq, read, 3)).await;
    }
    // His own message is none to read.
    loud = phone.posts(room, "mine").await;
    desk.sees_at_last((loud.seq, read, 3)).await;
    phone.sees_at_last((loud.seq, read, 3)).await;
    ann.asks("message.delete", json!({ "room_id": room, "message_id": first.id })).await;
    desk.sees_at_last((loud.seq + 1, read, 2)).await;
    // Read on the phone, by REST, seen at the desk.
    bob.client
        .call::<Value>(
            reqwest::Method::PUT,
            &format!("/rooms/{room}/read"),
            &[],
            Some(&json!({ "seq": second.seq })),
        )
        .await
        .expect("marked");
    desk.sees_at_last((loud.seq + 1, second.seq, 1)).await;
    assert_eq!(counted(&bob, room).await, (loud.seq + 1, second.seq, 1));
});

on_both!(a_burst_is_one_badge, async |ground| {
    let house = House::open_with(ground, &["--set", "rooms.badge_ms=400"]).await;
    let room = house.lobby;
    let mut bob = house.joined_by("Bob").await.connects().await;
    let (_, read, unread) = bob.follows(room).await;
    let mut ann = house.admin.connects().await;
    let began = Instant::now();
    let mut last = 0;
    for n in 0..200 {
        last = ann.posts(room, &n.to_string()).await.seq;
    }
    let badges = bob.sees_at_last((last, read, unread + 200)).await;
    let most = began.elapsed().as_millis() / 400 + 2;
    assert!(badges as u128 <= most, "{badges} badges where {most} fit");
});

on_both!(levels_change_in_place_and_without_a_gap, async |ground| {
    let house = House::open_with(ground, &["--set", "rooms.badge_ms=50"]).await;
    let room = house.lobby;
    let mut bob = house.joined_by("Bob").await.connects().await;
    let mut ann = house.admin.connects().await;
    let posting = tokio::spawn(async move {
        for n in 0..400 {
            ann.posts(room, &n.to_string()).await;
        }
        ann.posts(room, "the end").await.seq
    });
    let mut heard = bob.joins(room, None).await.head;
    for _ in 0..20 {
        // The socket's own order: what was sent before the reply came before it, and nothing after it.
        let data = json!({ "room_id": room, "level": "badge" });
        let id = bob.socket.send("room.subscribe", &data).await.expect("sent");
        loop {
            match bob.next().await {
                Frame::Event(event) => {
                    assert_eq!(event.seq, heard + 1);
                    heard = event.seq;
                }
                frame if frame.answers(&id) => break,
                // Who has the room open.
                Frame::Signal { kind, .. } if kind == "room.presence" => {}
                other => panic!("heard {other:?}"),
            }
        }
        let data = json!({ "room_id": room, "after": heard, "epoch": bob.socket.welcome().epoch });
        let id = bob.socket.send("room.subscribe", &data).await.expect("sent");
        let reply = loop {
            match bob.next().await {
                Frame::Signal { kind, .. } if kind == "badge" => {}
                frame if frame.answers(&id) => break frame,
                other => panic!("heard {other:?} while following by badge"),
            }
        };
        let Frame::Reply { data, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(data["recovery"], "complete");
        for event in data["events"].as_array().expect("events") {
            assert_eq!(event["seq"], json!(heard + 1));
            heard += 1;
        }
        assert_eq!(data["head"], json!(heard));
    }
    let end = posting.await.expect("posted");
    while heard < end {
        let event = bob.hears().await;
        assert_eq!(event.seq, heard + 1);
        heard = event.seq;
    }
});

on_both!(a_membership_that_ends_ends_the_badge, async |ground| {
    let house = House::open_with(ground, &["--set", "rooms.badge_ms=50"]).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let room = house.closed_room("Den", &[&bob]).await.id;
    let mut bobs = bob.connects().await;
    bobs.follows(room).await;
    let mut outsider = eve.connects().await;
    let data = json!({ "room_id": room, "level": "badge" });
    assert_eq!(outsider.is_refused("room.subscribe", data.clone()).await, "not_found");
    house.metric_becomes("hearth_subscriptions", "", 1.0).await;
    let mut ann = house.admin.connects().await;
    ann.asks("member.remove", json!({ "room_id": room, "user_id": bob.id })).await;
    house.metric_becomes("hearth_subscriptions", "", 0.0).await;
    house.metric_becomes("hearth_registry_entries", "listeners", 0.0).await;
    assert_eq!(bobs.is_refused("room.subscribe", data).await, "not_found");
    // The same with the room itself.
    let lobby = house.closed_room("Hall", &[&bob]).await.id;
    bobs.follows(lobby).await;
    house
        .admin
        .client
        .call::<()>(reqwest::Method::DELETE, &format!("/rooms/{lobby}"), &[], None)
        .await
        .expect("deleted");
    house.metric_becomes("hearth_subscriptions", "", 0.0).await;
});

on_both!(a_new_name_reaches_who_follows_by_badge, async |ground| {
    let house = House::open(ground).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let room = house.closed_room("Den", &[&bob]).await.id;
    let mut socket = bob.connects().await;
    let mut outsider = eve.connects().await;
    for listener in [&mut socket, &mut outsider] {
        let rooms = &listener.socket.welcome().rooms;
        let inbox = rooms.iter().find(|room| room.kind == "inbox").expect("an inbox").room_id;
        listener.joins(inbox, None).await;
    }
    socket.follows(room).await;
    let path = format!("/rooms/{room}");
    let renamed = json!({ "name": "Lair" });
    let (status, _) = house
        .admin
        .client
        .call::<Value>(reqwest::Method::PATCH, &path, &[], Some(&renamed))
        .await
        .expect("called");
    assert_eq!(status, 200);
    let event = socket.hears().await;
    assert_eq!(event.kind, "membership.granted");
    let told = &event.json["data"]["room"];
    assert_eq!((&told["id"], &told["kind"], &told["name"]), (&json!(room), &json!("closed"), &json!("Lair")));
    // It is no new membership: what he follows stays.
    house.metric_becomes("hearth_registry_entries", "followers", 1.0).await;
    assert_eq!(bob.connects().await.room_called("Lair"), Some(room));
    outsider.asks("room.create", json!({ "kind": "direct", "members": [bob.id] })).await;
    let first = outsider.hears().await;
    assert_eq!(first.json["data"]["room"]["kind"], "direct", "nothing of what isn't hers: {first:?}");
});

/// The last state gets through to a socket that didn't take the ones before.
#[tokio::test]
async fn a_badge_that_did_not_fit_is_sent_again() {
    let flags = [
        "--set",
        "rooms.badge_ms=20",
        "--set",
        "socket.outbox_bytes=262144",
        "--set",
        "socket.stall_ms=60000",
        // However long it takes until the kernel's buffers are full.
        "--set",
        "heartbeat.dead_after_ms=600000",
        "--set",
        "presence.lease_ms=700000",
    ];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let bob = house.joined_by("Bob").await;
    let quiet = house.closed_room("Quiet", &[&bob]).await.id;
    let mut raw = Raw::connect(&house.url(), &bob.credentials()).await;
    let places = json!([{ "room_id": house.lobby }, { "room_id": quiet, "level": "badge" }]);
    raw.says(&json!({ "type": "room.subscribe", "request_id": "s", "data": { "rooms": places } })).await;
    assert!(raw.frame().await.expect("reads").is_some(), "the reply");
    let mut ann = house.admin.connects().await;
    let body = "y".repeat(16_000);
    // He reads nothing: what is full of the lobby's events has no room for badges.
    while house.metric("hearth_registry_entries", "badges_waiting").await < 1.0 {
        for _ in 0..4 {
            ann.posts(house.lobby, &body).await;
        }
        ann.posts(quiet, "one more").await;
        assert!(house.metric("hearth_connections", "").await > 1.0, "he is still there");
        assert!(house.metric("hearth_resyncs_total", "").await < 1.0, "dropped before the events are");
    }
    let last = ann.posts(quiet, "the last").await.seq;
    let wanted = counted(&bob, quiet).await;
    assert_eq!(wanted.0, last);
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the last badge never came");
        let frame = raw.frame().await.expect("reads").expect("a frame");
        let json: Value = serde_json::from_slice(&frame.payload).expect("JSON");
        if json["type"] == "badge" && standing(&json["data"]) == wanted {
            break;
        }
    }
    house.metric_becomes("hearth_registry_entries", "badges_waiting", 0.0).await;
}

on_both!(
    /// Anything in any order: once it is quiet, the last badge is what `GET /rooms/{id}` counts.
    at_rest_every_badge_is_the_recount,
    async |ground| {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
        let mut rng = StdRng::seed_from_u64(seed);
        let house = House::open_with(ground, &["--set", "rooms.badge_ms=20", "--set", "rooms.idle_ms=50"]).await;
        let people = [house.joined_by("Bob").await, house.joined_by("Eve").await, house.joined_by("Fay").await];
        let mut rooms = vec![house.lobby];
        for name in ["One", "Two"] {
            rooms.push(house.closed_room(name, &people.each_ref()).await.id);
        }
        let mut sockets = Vec::new();
        let mut seen: Vec<HashMap<u64, Standing>> = Vec::new();
        for person in &people {
            let mut listener = person.connects().await;
            let mut first = HashMap::new();
            for room in &rooms {
                first.insert(*room, listener.follows(*room).await);
            }
            sockets.push(listener);
            seen.push(first);
        }
        let mut voices = Vec::new();
        for person in &people {
            voices.push(person.connects().await);
        }
        let mut posted: Vec<(u64, usize, u64)> = Vec::new();
        for _ in 0..150 {
            let who = rng.random_range(0..people.len());
            let room = *rooms.choose(&mut rng).expect("a room");
            match rng.random_range(0..10) {
                0 | 1 => {
                    let (head, ..) = counted(&people[who], room).await;
                    let seq = rng.random_range(0..=head);
                    voices[who].asks("read.mark", json!({ "room_id": room, "seq": seq })).await;
                }
                2 if !posted.is_empty() => {
                    let (room, who, id) = posted.swap_remove(rng.random_range(0..posted.len()));
                    voices[who].asks("message.delete", json!({ "room_id": room, "message_id": id })).await;
                }
                3 => {
                    // Another level and back: what is seen begins anew.
                    sockets[who].passes_over_badges(room, &mut seen[who]).await;
                }
                _ => {
                    let ack = voices[who].posts(room, "x").await;
                    posted.push((room, who, ack.id));
                }
            }
        }
        for (n, person) in people.iter().enumerate() {
            for room in &rooms {
                let wanted = counted(person, *room).await;
                let deadline = Instant::now() + Duration::from_secs(10);
                while seen[n][room] != wanted {
                    assert!(Instant::now() < deadline, "SEED={seed}: {:?}, counted {wanted:?}", seen[n][room]);
                    let (of, badge) = sockets[n].sees().await;
                    seen[n].insert(of, badge);
                }
            }
        }
    }
);

impl Listener {
    /// Subscribes in full and by badge again, with what is told meanwhile.
    async fn passes_over_badges(&mut self, room: u64, seen: &mut HashMap<u64, Standing>) {
        for level in ["full", "badge"] {
            let data = json!({ "room_id": room, "level": level });
            let id = self.socket.send("room.subscribe", &data).await.expect("sent");
            loop {
                match self.next().await {
                    Frame::Signal { kind, json } if kind == "badge" => {
                        seen.insert(json["room_id"].as_u64().expect("a room"), standing(&json["data"]));
                    }
                    Frame::Reply { request_id, data } if request_id.as_deref() == Some(&id) => {
                        if level == "badge" {
                            seen.insert(room, standing(&data));
                        }
                        break;
                    }
                    Frame::Event(_) | Frame::Signal { .. } => {}
                    other => panic!("heard {other:?}"),
                }
            }
        }
    }
}

/// Badges count among the subscriptions of a socket, and a level that is refused leaves what there was.
#[tokio::test]
async fn badges_count_among_the_subscriptions() {
    let house = House::open_with(Ground::Sqlite, &["--set", "socket.subscriptions=2"]).await;
    let (one, two) = (house.closed_room("One", &[]).await.id, house.closed_room("Two", &[]).await.id);
    let mut ann = house.admin.connects().await;
    ann.follows(house.lobby).await;
    ann.follows(one).await;
    let third = json!({ "room_id": two, "level": "badge" });
    assert_eq!(ann.is_refused("room.subscribe", third.clone()).await, "invalid_payload");
    let joined = ann.joins(one, Some(1)).await;
    assert_eq!(missed(&joined).len() as u64, joined.head - 1);
    ann.asks("room.unsubscribe", json!({ "room_id": house.lobby })).await;
    ann.asks("room.subscribe", third).await;
    house.metric_becomes("hearth_registry_entries", "followers", 1.0).await;
    house.metric_becomes("hearth_registry_entries", "places", 1.0).await;
    let typing = json!({ "room_id": two });
    assert_eq!(
        ann.is_refused("typing.start", typing).await,
        "invalid_payload",
        "not on screen, not typed in"
    );
}
