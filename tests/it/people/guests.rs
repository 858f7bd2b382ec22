//! Guests: they know the rooms they were added to, the people there, and nothing else, by whichever door.

use super::Somebody;
use super::somebody::ends;
use crate::harness::{Ground, House, on_both};
use crate::rest::caller::Caller;
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<u64> {
    list.as_array().expect("a list").iter().map(|one| one["id"].as_u64().expect("an id")).collect()
}

/// All events that somebody may see, by room.
async fn rooms_heard(calls: &Caller) -> Vec<u64> {
    let told = calls.get("/events?limit=500").await.expect(200);
    let mut rooms: Vec<u64> = told["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["room_id"].as_u64().expect("a room"))
        .collect();
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}

on_both!(
    /// Proves AUTH-16.
    a_guest_sees_their_rooms_and_the_people_there,
    async |ground| {
        let house = House::open(ground).await;
        let (admin, bob, cleo) =
            (Caller::of(&house.admin), house.joined_by("Bob").await, house.joined_by("Cleo").await);
        let den = house.closed_room("Den", &[&bob]).await.id;
        let attic = house.closed_room("Attic", &[&cleo]).await.id;
        let gus = Somebody::guest(&house, "Gus", &[den]).await;
        let gil = Somebody::guest(&house, "Gil", &[den]).await;
        let lone = Somebody::guest(&house, "Lone", &[]).await;
        for room in [den, attic, house.lobby] {
            admin.says(room, &format!("walrus in {room}")).await;
        }
        let hidden = admin.says(attic, "hidden").await;
        assert_eq!(gus.rooms().await, [den]);
        assert_eq!(lone.rooms().await, [0; 0]);

        // People.
        let users = gus.calls.get("/users").await.expect(200);
        assert_eq!(ids(&users["users"]), [house.admin.id, bob.id, gus.id, gil.id]);
        assert_eq!(ids(&lone.calls.get("/users").await.expect(200)["users"]), [lone.id]);
        for (who, status) in [(house.admin.id, 200), (gus.id, 200), (gil.id, 200), (cleo.id, 404), (lone.id, 404), (999, 404)] {
            assert_eq!(gus.calls.get(&format!("/users/{who}")).await.status, status, "{who}");
        }
        assert_eq!(Caller::of(&cleo).get(&format!("/users/{}", lone.id)).await.status, 200);
        let page = gus.calls.get("/users?limit=2").await.expect(200);
        let next = page["next"].as_str().expect("more");
        let rest = gus.calls.get(&format!("/users?limit=2&cursor={next}")).await.expect(200);
        assert_eq!((ids(&rest["users"]), &rest["next"]), (vec![gus.id, gil.id], &Value::Null));

        // Messages, events, search.
        let found = gus.calls.get("/search?q=walrus").await.expect(200)["messages"].clone();
        let rooms: Vec<&Value> = found.as_array().expect("messages").iter().map(|one| &one["room_id"]).collect();
        assert_eq!(rooms, [&json!(den)]);
        gus.calls.get(&format!("/messages/{hidden}")).await.is_problem(404, "not_found", None);
        let heard = rooms_heard(&gus.calls).await;
        assert_eq!(heard.len(), 2, "the den and the inbox: {heard:?}");
        let lines = rooms_heard(&admin).await;
        let commons = {
            let told = admin.get("/events?limit=500").await.expect(200);
            let joined = told["events"].as_array().expect("events").iter().find(|event| event["type"] == "user.joined");
            joined.expect("somebody joined")["room_id"].as_u64().expect("a room")
        };
        assert!(lines.contains(&commons) && !heard.contains(&commons));

        // Each room that isn't theirs, by both doors.
        let mut socket = gus.connects().await;
        for room in [attic, house.lobby, commons, 999] {
            for (method, path, body) in [
                ("GET", String::new(), None),
                ("GET", "/messages".to_owned(), None),
                ("GET", "/events".to_owned(), None),
                ("POST", "/messages".to_owned(), Some(json!({ "body": "x" }))),
                ("PUT", "/read".to_owned(), Some(json!({ "seq": 1 }))),
                ("DELETE", format!("/members/{}", gus.id), None),
            ] {
                let path = format!("/rooms/{room}{path}");
                let answer = gus.calls.calls(method, &path, body.as_ref()).await;
                answer.is_problem(404, "not_found", None);
            }
            for (kind, data) in [
                ("room.subscribe", json!({ "room_id": room })),
                ("room.subscribe", json!({ "room_id": room, "level": "badge" })),
                ("message.post", json!({ "room_id": room, "client_message_id": uuid::Uuid::new_v4(), "body": "x" })),
                ("read.mark", json!({ "room_id": room, "seq": 1 })),
                ("member.remove", json!({ "room_id": room, "user_id": gus.id })),
            ] {
                assert_eq!(socket.is_refused(kind, data).await, "not_found", "{kind} {room}");
            }
        }
        // In their own room they talk, and look after nothing.
        let mut bobs = bob.listens_to(den).await;
        gus.calls.says(den, "hello").await;
        assert_eq!(bobs.hears_message().await, "hello");
        for (method, path, body) in [
            ("PATCH", format!("/rooms/{den}"), Some(json!({ "name": "Mine" }))),
            ("DELETE", format!("/rooms/{den}"), None),
            ("PUT", format!("/rooms/{den}/members/{}", cleo.id), None),
            ("DELETE", format!("/rooms/{den}/members/{}", bob.id), None),
            ("POST", "/rooms".to_owned(), Some(json!({ "kind": "closed", "name": "Mine" }))),
            ("PATCH", "/account".to_owned(), Some(json!({ "name": "Mine" }))),
            ("PATCH", format!("/users/{}", bob.id), Some(json!({ "role": "guest" }))),
            ("PUT", format!("/users/{}/ban", bob.id), Some(json!({}))),
            ("GET", "/bans".to_owned(), None),
            ("GET", "/invites".to_owned(), None),
            ("GET", "/users?status=all".to_owned(), None),
        ] {
            gus.calls.calls(method, &path, body.as_ref()).await.is_problem(403, "forbidden", None);
        }
        for (kind, data) in [
            ("room.create", json!({ "kind": "closed", "name": "Mine" })),
            ("member.add", json!({ "room_id": den, "user_id": cleo.id })),
            ("member.remove", json!({ "room_id": den, "user_id": bob.id })),
        ] {
            assert_eq!(socket.is_refused(kind, data).await, "forbidden", "{kind}");
        }
    }
);

on_both!(
    /// Proves AUTH-16, AUTH-15.
    a_guest_who_is_removed_hears_and_sees_nothing_more,
    async |ground| {
        let house = House::open(ground).await;
        let (admin, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
        let den = house.closed_room("Den", &[&bob]).await.id;
        // Of open rooms members are members anyway; a guest is one by name there, too.
        for (room, others) in [(den, 1), (house.lobby, 2)] {
            let gus = Somebody::guest(&house, "Gus", &[room]).await;
            let mut full = gus.listens_to(room).await;
            let mut ann = house.admin.listens_to(room).await;
            assert!(ids(&gus.calls.get("/users").await.expect(200)["users"]).len() > others);
            let path = format!("/rooms/{room}/members/{}", gus.id);
            admin.delete(&path).await.expect(204);
            admin.says(room, "not for Gus").await;
            assert_eq!(ann.hears().await.kind, "member.removed");
            assert_eq!(full.hears().await.kind, "member.removed", "the last they hear is why");
            assert_eq!(full.is_refused("room.subscribe", json!({ "room_id": room })).await, "not_found");
            gus.calls.get(&format!("/rooms/{room}/messages")).await.is_problem(404, "not_found", None);
            assert_eq!(gus.rooms().await, [0; 0]);
            assert_eq!(ids(&gus.calls.get("/users").await.expect(200)["users"]), [gus.id]);
            assert!(gus.calls.get("/search?q=Gus").await.expect(200)["messages"] == json!([]));
            // And back.
            admin.put(&path, json!({})).await.expect(204);
            admin.put(&path, json!({})).await.expect(204);
            full.joins(room, None).await;
            admin.says(room, "for Gus").await;
            assert_eq!(full.hears_message().await, "for Gus");
            // They may leave by themselves.
            gus.calls.delete(&path).await.expect(204);
            assert_eq!(gus.rooms().await, [0; 0]);
        }
        let path = format!("/rooms/{}/members/{}", house.lobby, bob.id);
        for method in ["PUT", "DELETE"] {
            admin.calls(method, &path, None).await.is_problem(403, "forbidden", None);
        }
    }
);

/// What a guest is told of who is there comes from their rooms alone.
///
/// Proves AUTH-16.
#[tokio::test]
async fn a_guest_hears_of_people_in_their_rooms_only() {
    let house = House::open(Ground::Sqlite).await;
    let cleo = house.joined_by("Cleo").await;
    let den = house.closed_room("Den", &[]).await.id;
    let gus = Somebody::guest(&house, "Gus", &[den]).await;
    let mut socket = gus.listens_to(den).await;
    let _cleo = cleo.listens_to(house.lobby).await;
    house.joined_by("Dan").await;
    let mut ann = house.admin.listens_to(den).await;
    ann.posts(den, "the end").await;
    for frame in socket.frames_until("the end").await {
        let text = format!("{frame:?}");
        assert!(!text.contains("Cleo") && !text.contains("Dan"), "{text}");
    }
    // Made a member, they come back to everything.
    let admin = Caller::of(&house.admin);
    admin.patch(&format!("/users/{}", gus.id), json!({ "role": "member" })).await.expect(200);
    assert_eq!(ends(&mut socket).await.0, 4004);
    assert_eq!(gus.rooms().await, [house.lobby, den]);
    assert_eq!(ids(&gus.calls.get("/users").await.expect(200)["users"]).len(), 4);
}
