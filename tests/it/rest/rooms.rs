//! Rooms and who is in them, and how far somebody has read.

use super::caller::Caller;
use crate::harness::{Ground, House, on_both};
use serde_json::{Value, json};
use std::collections::HashSet;

fn ids(list: &Value) -> Vec<u64> {
    list.as_array().expect("a list").iter().map(|entry| entry["id"].as_u64().expect("an id")).collect()
}

async fn rooms_of(caller: &Caller) -> Vec<u64> {
    ids(&caller.get("/rooms").await.expect(200)["rooms"])
}

on_both!(rooms_are_made_renamed_and_deleted_by_those_who_may, async |ground| {
    let house = House::open(ground).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let (ann, bob_calls, eve_calls) = (Caller::of(&house.admin), Caller::of(&bob), Caller::of(&eve));
    let made = bob_calls.post("/rooms", json!({ "kind": "open", "name": "Garden" })).await;
    let garden = made.expect(201);
    let path = format!("/rooms/{}", garden["id"]);
    assert_eq!(made.header("location"), Some(format!("/api/v1{path}").as_str()));
    assert_eq!(
        (&garden["created_by"], &garden["head"], &garden["unread"]),
        (&json!(bob.id), &json!(1), &json!(0))
    );
    assert_eq!(bob_calls.get(&path).await.expect(200), garden);
    let id = garden["id"].as_u64().expect("an id");
    assert!(rooms_of(&eve_calls).await.contains(&id), "everybody is in it");

    let den = json!({ "kind": "closed", "name": "Den", "members": [house.admin.id] });
    let den = bob_calls.post("/rooms", den).await.expect(201)["id"].as_u64().expect("an id");
    let inside = format!("/rooms/{den}");
    assert!(rooms_of(&ann).await.contains(&den) && !rooms_of(&eve_calls).await.contains(&den));
    let members = ids(&ann.get(&inside).await.expect(200)["members"]);
    assert_eq!(members, [house.admin.id, bob.id]);
    for answer in [
        eve_calls.get(&inside).await,
        eve_calls.get(&format!("{inside}/messages")).await,
        eve_calls.get(&format!("{inside}/events")).await,
        eve_calls.patch(&inside, json!({ "name": "Mine" })).await,
        eve_calls.delete(&inside).await,
    ] {
        answer.is_problem(404, "not_found", None);
    }

    eve_calls.patch(&path, json!({ "name": "Mine" })).await.is_problem(403, "forbidden", None);
    eve_calls.delete(&path).await.is_problem(403, "forbidden", None);
    bob_calls.patch(&path, json!({ "name": "" })).await.is_problem(422, "invalid_payload", Some("name"));
    assert_eq!(bob_calls.patch(&path, json!({ "name": " Orchard " })).await.expect(200)["name"], "Orchard");
    assert_eq!(ann.patch(&path, json!({ "name": "Meadow" })).await.expect(200)["head"], 3);
    let message = eve_calls.says(id, "so green").await;
    bob_calls.delete(&path).await.expect(204);
    for answer in [
        bob_calls.get(&path).await,
        bob_calls.delete(&path).await,
        eve_calls.get(&format!("/messages/{message}")).await,
        eve_calls.post(&format!("{path}/messages"), json!({ "body": "?" })).await,
    ] {
        answer.is_problem(404, "not_found", None);
    }
    assert!(!rooms_of(&ann).await.contains(&id));
});

on_both!(a_direct_room_is_found_again_by_its_people, async |ground| {
    let house = House::open(ground).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let direct = |members: &[u64]| json!({ "kind": "direct", "members": members });
    let (ann, bob_calls) = (Caller::of(&house.admin), Caller::of(&bob));
    let three = ann.post("/rooms", direct(&[bob.id, eve.id])).await.expect(201);
    assert_eq!(ids(&three["members"]), [house.admin.id, bob.id, eve.id]);
    for (caller, members) in [
        (&ann, vec![eve.id, bob.id, eve.id, house.admin.id]),
        (&bob_calls, vec![house.admin.id, eve.id]),
        (&Caller::of(&eve), vec![bob.id, house.admin.id]),
    ] {
        assert_eq!(caller.post("/rooms", direct(&members)).await.expect(200)["id"], three["id"]);
    }
    let two = ann.post("/rooms", direct(&[bob.id])).await.expect(201);
    assert_ne!(two["id"], three["id"], "a part of the people is another room");
    assert_ne!(bob_calls.post("/rooms", direct(&[])).await.expect(201)["id"], two["id"], "a note to oneself");
    let path = format!("/rooms/{}", three["id"]);
    assert_eq!(ids(&bob_calls.get(&path).await.expect(200)["members"]).len(), 3);
    ann.patch(&path, json!({ "name": "Trio" })).await.is_problem(403, "forbidden", None);
    ann.delete(&format!("{path}/members/{}", eve.id)).await.is_problem(403, "forbidden", None);
    // Made at the same moment by both sides, it is still one.
    let dan = house.joined_by("Dan").await;
    let both = [(Caller::of(&dan), bob.id), (bob_calls, dan.id)].map(|(caller, other)| {
        let body = direct(&[other]);
        tokio::spawn(async move { caller.post("/rooms", body).await })
    });
    let mut made = Vec::new();
    for one in both {
        let answer = one.await.expect("answered");
        made.push((answer.status, answer.json()["id"].clone()));
    }
    made.sort_by_key(|(status, _)| *status);
    assert_eq!((made[0].0, made[1].0), (200, 201));
    assert_eq!(made[0].1, made[1].1);
});

on_both!(members_come_and_go, async |ground| {
    let house = House::open(ground).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let (ann, bob_calls, eve_calls) = (Caller::of(&house.admin), Caller::of(&bob), Caller::of(&eve));
    let den = house.closed_room("Den", &[&bob]).await.id;
    let of = |user: u64| format!("/rooms/{den}/members/{user}");
    eve_calls.put(&of(eve.id), Value::Null).await.is_problem(404, "not_found", None);
    for _ in 0..2 {
        bob_calls.put(&of(eve.id), Value::Null).await.expect(204);
    }
    eve_calls.says(den, "thanks").await;
    bob_calls.delete(&of(eve.id)).await.is_problem(403, "forbidden", None);
    for _ in 0..2 {
        ann.delete(&of(eve.id)).await.expect(204);
    }
    eve_calls.get(&format!("/rooms/{den}")).await.is_problem(404, "not_found", None);
    bob_calls.delete(&of(bob.id)).await.expect(204);
    assert_eq!(ids(&ann.get(&format!("/rooms/{den}")).await.expect(200)["members"]), [house.admin.id]);
    bob_calls.put(&of(999_999), Value::Null).await.is_problem(404, "not_found", None);
    ann.put(&of(999_999), Value::Null).await.is_problem(422, "invalid_payload", Some("user_id"));
});

on_both!(who_comes_new_has_nothing_to_catch_up_on, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    let den = house.closed_room("Den", &[]).await.id;
    for room in [house.lobby, den] {
        ann.says(room, "long ago").await;
    }
    let place = async |caller: &Caller, room: u64| {
        let room = caller.get(&format!("/rooms/{room}")).await.expect(200);
        [&room["read"], &room["head"], &room["unread"]].map(|number| number.as_i64().expect("a number"))
    };
    let bob = house.joined_by("Bob").await;
    let robot = Caller::bot_of(&house, "Robot").await;
    for caller in [&Caller::of(&bob), &robot] {
        assert_eq!(place(caller, house.lobby).await, [2, 2, 0]);
    }
    let bob_calls = Caller::of(&bob);
    ann.put(&format!("/rooms/{den}/members/{}", bob.id), Value::Null).await.expect(204);
    ann.says(den, "welcome").await;
    ann.says(house.lobby, "Bob is here").await;
    // Up to the head before the event of having been added.
    assert_eq!(place(&bob_calls, den).await, [2, 4, 1]);
    assert_eq!(place(&bob_calls, house.lobby).await, [2, 3, 1]);
    let socket = bob.connects().await;
    let room = socket.socket.welcome().rooms.iter().find(|room| room.room_id == den).expect("is listed");
    assert_eq!((room.read, room.head, room.unread), (2, 4, 1), "the socket says the same");
});

on_both!(reading_over_rest_is_heard_on_the_other_devices, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
    let inbox = {
        let socket = bob.connects().await;
        let rooms = &socket.socket.welcome().rooms;
        rooms.iter().find(|room| room.kind == "inbox").expect("an inbox").room_id
    };
    let mut phone = bob.listens_to(inbox).await;
    for n in 0..3 {
        ann.says(house.lobby, &n.to_string()).await;
    }
    let path = format!("/rooms/{}/read", house.lobby);
    let desk = Caller::of(&bob);
    let read = |read: u64, unread: u64| json!({ "room_id": house.lobby, "read": read, "unread": unread });
    assert_eq!(desk.put(&path, json!({ "seq": 3 })).await.expect(200), read(3, 1));
    let heard = phone.hears().await;
    assert_eq!(
        (heard.kind.as_str(), &heard.json["data"]),
        ("read.marked", &json!({ "room_id": house.lobby, "read": 3 }))
    );
    assert_eq!(desk.put(&path, json!({ "seq": 2 })).await.expect(200), read(3, 1), "never back");
    assert_eq!(desk.put(&path, json!({ "seq": 4 })).await.expect(200), read(4, 0));
    assert_eq!(phone.hears().await.json["data"]["read"], 4, "going back was no event");
});

on_both!(lists_are_paged_while_they_change, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    let mut made = vec![house.lobby];
    for n in 0..8 {
        made.push(house.admin.client.create_room("open", &format!("Room {n}"), &[]).await.expect("made").id);
    }
    let (mut seen, mut next, mut deleted) = (Vec::new(), Value::Null, HashSet::new());
    loop {
        let cursor = next.as_str().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = ann.get(&format!("/rooms?limit=3{cursor}")).await.expect(200);
        seen.extend(ids(&page["rooms"]));
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
        // The first that was seen goes, and the last that wasn't.
        let gone = [seen.first(), made.iter().rev().find(|room| !deleted.contains(*room))];
        for room in gone.into_iter().flatten().copied().collect::<HashSet<_>>() {
            if deleted.insert(room) {
                ann.delete(&format!("/rooms/{room}")).await.expect(204);
            }
        }
        house.admin.client.create_room("open", "Late", &[]).await.expect("made");
    }
    let unique: HashSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "{seen:?}");
    assert!(made.iter().all(|room| deleted.contains(room) || unique.contains(room)), "{seen:?}");

    for n in 0..4 {
        house.joined_by(&format!("User{n}")).await;
    }
    let first = ann.get("/users?limit=3").await.expect(200);
    let cursor = first["next"].as_str().expect("more").to_owned();
    house.joined_by("Late").await;
    let second = ann.get(&format!("/users?limit=3&cursor={cursor}")).await.expect(200);
    let people = [ids(&first["users"]), ids(&second["users"])].concat();
    assert_eq!((people.len(), second["next"].is_null()), (6, true));
    assert!(people.is_sorted_by(|one, other| one < other));
    // A cursor is of its list.
    ann.get(&format!("/rooms?cursor={cursor}")).await.is_problem(422, "invalid_payload", Some("cursor"));
    for list in ["/rooms", "/users"] {
        for (query, field) in [("limit=101", "limit"), ("limit=-1", "limit"), ("cursor=AAAA", "cursor")] {
            ann.get(&format!("{list}?{query}")).await.is_problem(422, "invalid_payload", Some(field));
        }
    }
});
