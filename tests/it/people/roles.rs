//! Roles and deactivation: what changes at once, what stays, and that an admin is always left.

use super::Somebody;
use super::somebody::ends;
use crate::harness::{Ground, House, PASSWORD, Person, on_both};
use crate::rest::caller::Caller;
use serde_json::{Value, json};

fn at(person: &Person) -> String {
    format!("/users/{}", person.id)
}

on_both!(
    /// Proves AUTH-06, AUTH-15, AUTH-16.
    another_role_holds_from_the_answer_on,
    async |ground| {
        let house = House::open(ground).await;
        let (admin, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
        let den = house.closed_room("Den", &[&bob]).await.id;
        let commons = Caller::of(&bob).get("/events?limit=500").await.expect(200)["events"].clone();
        let commons = commons.as_array().expect("events").iter().find(|event| event["type"] == "user.joined");
        let commons = commons.expect("Bob joined")["room_id"].as_u64().expect("a room");
        let mut ann = house.admin.listens_to(commons).await;
        let mut open = bob.listens_to(house.lobby).await;
        let mut closed = bob.listens_to(den).await;
        let head = Caller::of(&bob).get("/events?after=9007199254740991").await.expect(200)["next"].clone();

        let guest = admin.patch(&at(&bob), json!({ "role": "guest" })).await.expect(200);
        assert_eq!((&guest["role"], &guest["status"]), (&json!("guest"), &json!("active")));
        admin.says(house.lobby, "not for guests").await;
        admin.says(den, "for members of the den").await;
        for listener in [&mut open, &mut closed] {
            let (code, heard) = ends(listener).await;
            assert_eq!(code, 4004);
            assert!(heard.iter().all(|event| !event.contains("not for guests")), "{heard:?}");
        }
        let told = ann.hears().await;
        assert_eq!((told.kind.as_str(), &told.json["data"]["user"]["role"]), ("user.updated", &json!("guest")));

        let mut back = bob.connects().await;
        let welcome = Caller::of(&bob).get("/rooms").await.expect(200);
        let rooms: Vec<_> = welcome["rooms"].as_array().expect("rooms").iter().map(|room| &room["id"]).collect();
        assert_eq!(rooms, [&json!(den)], "what one was added to by name stays");
        assert_eq!(back.is_refused("room.subscribe", json!({ "room_id": house.lobby })).await, "not_found");
        assert_eq!(back.is_refused("room.subscribe", json!({ "room_id": commons })).await, "not_found");
        let calls = Caller::of(&bob);
        calls.get(&format!("/rooms/{}", house.lobby)).await.is_problem(404, "not_found", None);
        let since = calls.get(&format!("/events?after={head}")).await.expect(200);
        let rooms: Vec<&Value> = since["events"].as_array().expect("events").iter().map(|event| &event["room_id"]).collect();
        assert!(rooms.iter().all(|room| **room == json!(den)), "{since}");
        assert!(!rooms.is_empty());

        admin.patch(&at(&bob), json!({ "role": "member" })).await.expect(200);
        assert_eq!(back.is_closed().await, 4004);
        let mut back = bob.listens_to(house.lobby).await;
        admin.says(house.lobby, "for all of us").await;
        assert_eq!(back.hears_message().await, "for all of us");
        let lobby = calls.get(&format!("/rooms/{}", house.lobby)).await.expect(200);
        assert_eq!(lobby["unread"], 2, "they go on where they were: {lobby}");
        // The same again changes nothing: nobody is sent away.
        admin.patch(&at(&bob), json!({ "role": "member", "status": "active" })).await.expect(200);
        admin.says(house.lobby, "still here").await;
        assert_eq!(back.hears_message().await, "still here");
    }
);

/// A long poll that began under another role isn't answered with what was for that one.
#[tokio::test]
async fn a_poll_under_way_ends_with_the_role() {
    let house = House::open(Ground::Sqlite).await;
    let (admin, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
    let head = Caller::of(&bob).get("/events?after=9007199254740991").await.expect(200)["next"].clone();
    let poll = Caller::of(&bob);
    let poll =
        tokio::spawn(async move { poll.get(&format!("/events?after={head}&wait=20")).await.expect(200) });
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    admin.patch(&at(&bob), json!({ "role": "guest" })).await.expect(200);
    let answer = poll.await.expect("answered");
    assert_eq!(answer["events"], json!([]), "{answer}");
}

on_both!(
    /// Proves AUTH-06.
    the_last_admin_is_left,
    async |ground| {
        let house = House::open(ground).await;
        let (ann, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
        for change in [
            json!({ "role": "member" }),
            json!({ "role": "guest" }),
            json!({ "status": "deactivated" }),
            json!({ "role": "admin", "status": "deactivated" }),
        ] {
            ann.patch(&at(&house.admin), change).await.is_problem(409, "last_admin", None);
        }
        ann.put(&format!("{}/ban", at(&house.admin)), json!({})).await.is_problem(403, "forbidden", None);
        ann.get("/me").await.expect(200);
        // Whoever sends the other away first stays; never both.
        ann.patch(&at(&bob), json!({ "role": "admin" })).await.expect(200);
        let bob_calls = Caller::of(&bob);
        let (anns, bobs) = (at(&house.admin), at(&bob));
        for _ in 0..10 {
            let demoted = json!({ "role": "member" });
            let (first, second) = tokio::join!(ann.patch(&bobs, demoted.clone()), bob_calls.patch(&anns, demoted));
            let (winner, loser) = match (first.status, second.status) {
                (200, 403 | 409) => (&ann, &bobs),
                (403 | 409, 200) => (&bob_calls, &anns),
                both => panic!("{both:?}"),
            };
            winner.patch(loser, json!({ "role": "admin" })).await.expect(200);
        }
        let gone = json!({ "status": "deactivated" });
        let (ban, leave) = (format!("{anns}/ban"), ann.patch(&bobs, gone));
        let (first, second) = tokio::join!(leave, bob_calls.put(&ban, json!({})));
        let winner = match (first.status, second.status) {
            (200, 401 | 403 | 409) => &ann,
            (401 | 403 | 409, 200) => &bob_calls,
            both => panic!("{both:?}"),
        };
        winner.get("/bans").await.expect(200);
    }
);

on_both!(
    /// Proves AUTH-06, AUTH-15.
    who_is_deactivated_is_out_and_comes_back_as_they_were,
    async |ground| {
        let house = House::open(ground).await;
        let (admin, bob, cleo) =
            (Caller::of(&house.admin), house.joined_by("Bob").await, house.joined_by("Cleo").await);
        let den = house.closed_room("Den", &[&bob]).await.id;
        let calls = Caller::of(&bob);
        let said = calls.says(den, "I was here").await;
        let mut listener = bob.listens_to(den).await;
        let listed = async |who: &Caller, query: &str| -> Vec<(u64, Value)> {
            let users = who.get(&format!("/users{query}")).await.expect(200)["users"].clone();
            let users = users.as_array().expect("users").clone();
            users.iter().map(|user| (user["id"].as_u64().expect("an id"), user["status"].clone())).collect()
        };
        assert_eq!(listed(&admin, "").await.len(), 3);

        let gone = admin.patch(&at(&bob), json!({ "status": "deactivated" })).await.expect(200);
        assert_eq!((&gone["status"], &gone["role"]), (&json!("deactivated"), &json!("member")));
        admin.says(den, "he is gone").await;
        let (code, heard) = ends(&mut listener).await;
        assert_eq!((code, heard), (4502, Vec::<String>::new()));
        calls.get("/me").await.is_problem(401, "token_revoked", None);
        assert!(bob.tries_to_connect().await.is_err());
        let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
        let nobody = Caller::nobody(&house.url());
        nobody.post("/sessions", sign_in.clone()).await.is_problem(401, "unauthenticated", None);
        assert!(listed(&Caller::of(&cleo), "").await.iter().all(|(id, _)| *id != bob.id));
        assert!(listed(&admin, "?status=all").await.contains(&(bob.id, json!("deactivated"))));
        Caller::of(&cleo).get("/users?status=all").await.is_problem(403, "forbidden", None);
        admin.get("/users?status=x").await.is_problem(422, "invalid_payload", Some("status"));
        let shown = Caller::of(&cleo).get(&at(&bob)).await.expect(200);
        assert_eq!((&shown["status"], &shown["name"]), (&json!("deactivated"), &json!("Bob")));
        assert_eq!(admin.get(&format!("/messages/{said}")).await.expect(200)["body"], "I was here");
        let told = Caller::of(&cleo).get("/events?limit=500").await.expect(200)["events"].clone();
        let last = told.as_array().expect("events").last().expect("an event").clone();
        assert_eq!((&last["type"], &last["data"]), (&json!("user.left"), &json!({ "user_id": bob.id })));

        admin.patch(&at(&bob), json!({ "status": "active" })).await.expect(200);
        calls.get("/me").await.is_problem(401, "token_revoked", None);
        let back = Somebody::of(&house, &nobody.post("/sessions", sign_in).await);
        assert_eq!(back.rooms().await, [house.lobby, den]);
        let told = Caller::of(&cleo).get("/events?limit=500").await.expect(200)["events"].clone();
        let last = told.as_array().expect("events").last().expect("an event").clone();
        assert_eq!((&last["type"], &last["data"]["user"]["id"]), (&json!("user.joined"), &json!(bob.id)));
        assert!(listed(&Caller::of(&cleo), "").await.iter().any(|(id, _)| *id == bob.id));
    }
);

on_both!(a_bot_stays_a_bot_and_a_deactivated_ones_key_opens_nothing, async |ground| {
    let house = House::open(ground).await;
    let admin = Caller::of(&house.admin);
    let bot = house.admin.client.create_bot("Robot").await.expect("a bot");
    let (robot, path) = (Caller::nobody(&house.url()).bearing(&bot.key), format!("/users/{}", bot.id));
    for role in ["admin", "member", "guest"] {
        admin.patch(&path, json!({ "role": role })).await.is_problem(403, "forbidden", None);
    }
    for role in ["bot", "assistant", "queen"] {
        let path = at(&house.admin);
        admin.patch(&path, json!({ "role": role })).await.is_problem(422, "invalid_payload", Some("role"));
    }
    for status in ["banned", "queen"] {
        admin.patch(&path, json!({ "status": status })).await.is_problem(
            422,
            "invalid_payload",
            Some("status"),
        );
    }
    admin.put(&format!("{path}/ban"), json!({})).await.is_problem(403, "forbidden", None);
    admin.patch("/users/999", json!({ "role": "member" })).await.is_problem(404, "not_found", None);
    robot.get("/me").await.expect(200);
    admin.patch(&path, json!({ "status": "deactivated" })).await.expect(200);
    robot.get("/me").await.is_problem(401, "token_revoked", None);
    admin.patch(&path, json!({ "status": "active" })).await.expect(200);
    robot.get("/me").await.is_problem(401, "token_revoked", None);
    let key = admin.post(&format!("/bots/{}/key", bot.id), json!({})).await.expect(201)["key"].clone();
    let robot = Caller::nobody(&house.url()).bearing(key.as_str().expect("a key"));
    robot.get("/me").await.expect(200);
    let bob = Caller::of(&house.joined_by("Bob").await);
    bob.patch(&path, json!({ "status": "deactivated" })).await.is_problem(403, "forbidden", None);
});

on_both!(one_says_something_about_oneself, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
    let calls = Caller::of(&bob);
    assert_eq!(calls.get("/me").await.expect(200)["bio"], "");
    let longest = "é".repeat(500);
    for bio in ["Likes\nwalruses", longest.as_str(), ""] {
        let me = calls.patch("/me", json!({ "bio": bio })).await.expect(200);
        assert_eq!((&me["bio"], &me["name"]), (&json!(bio), &json!("Bob")));
        assert_eq!(ann.get(&at(&bob)).await.expect(200)["bio"], bio);
    }
    for wrong in ["é".repeat(501), "a\0b".to_owned(), "a\u{1b}b".to_owned()] {
        calls.patch("/me", json!({ "bio": wrong })).await.is_problem(422, "invalid_payload", Some("bio"));
    }
    let both = calls.patch("/me", json!({ "name": "Robert", "bio": "!" })).await.expect(200);
    assert_eq!((&both["name"], &both["bio"]), (&json!("Robert"), &json!("!")));
});
