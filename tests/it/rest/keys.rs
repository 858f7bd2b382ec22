//! The `Idempotency-Key` header: what is made with it is made once, and answered alike as long as it is known.

use super::caller::Caller;
use crate::harness::{Ground, House, PATIENCE, on_both};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

const KEY: &str = "idempotency-key";

fn open(name: &str) -> Value {
    json!({ "kind": "open", "name": name })
}

async fn rooms(caller: &Caller) -> Vec<String> {
    let listed = caller.get("/rooms").await.expect(200);
    let names = listed["rooms"].as_array().expect("rooms").iter();
    names.filter_map(|room| room["name"].as_str().map(str::to_owned)).collect()
}

on_both!(
    /// Also after the room was renamed, and after it was deleted.
    ///
    /// Proves OPT-06, OPT-08.
    a_room_is_made_once_for_each_key,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let keyed = ann.with(KEY, "\"lamp room\"".replace(' ', "-").as_str());
        let first = keyed.post("/rooms", open("Lamp")).await;
        let made = first.expect(201);
        assert_eq!(first.header("idempotency-replayed"), None);
        let id = made["id"].as_u64().expect("an id");
        assert_eq!(ann.get(&format!("/rooms/{id}")).await.expect(200), made, "as it is read");
        // The same key without its quotation marks.
        let again = ann.with(KEY, "lamp-room");
        for change in [None, Some("renamed"), Some("deleted")] {
            match change {
                None => {}
                Some("renamed") => {
                    ann.patch(&format!("/rooms/{id}"), json!({ "name": "Light" })).await.expect(200);
                }
                Some(_) => assert_eq!(ann.delete(&format!("/rooms/{id}")).await.status, 204),
            }
            let repeat = again.post("/rooms", open("Lamp")).await;
            assert_eq!(repeat.expect(201), made, "{change:?}");
            assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
            assert_eq!(repeat.header("location"), first.header("location"));
        }
        again.post("/rooms", open("Lamps")).await.is_problem(409, "idempotency_conflict", None);
        again.post("/bots", json!({ "name": "Lamp" })).await.is_problem(409, "idempotency_conflict", None);
        // The key is Ann's alone; without a key each request is one of its own.
        let bob = Caller::of(&house.joined_by("Bob").await);
        bob.with(KEY, "lamp-room").post("/rooms", open("Bob's")).await.expect(201);
        for _ in 0..2 {
            ann.post("/rooms", open("Unkeyed")).await.expect(201);
        }
        assert_eq!(rooms(&ann).await, ["General", "Bob's", "Unkeyed", "Unkeyed"]);
    }
);

on_both!(what_is_no_key_is_refused_by_name, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    for wrong in ["", "\"\"", "\"open", "a b", "\"a\"b", "a\"b", &"x".repeat(256)] {
        let caller = ann.with(KEY, wrong);
        for (path, body) in [("/rooms", open("x")), ("/bots", json!({ "name": "x" }))] {
            caller.post(path, body).await.is_problem(422, "invalid_payload", Some("Idempotency-Key"));
        }
    }
    let both = ann.with(KEY, "one");
    let body = json!({ "kind": "open", "name": "x", "idempotency_key": "two" });
    both.post("/rooms", body).await.is_problem(422, "invalid_payload", Some("Idempotency-Key"));
    let path = format!("/rooms/{}/messages", house.lobby);
    let body = json!({ "body": "x", "client_message_id": Uuid::new_v4() });
    both.post(&path, body).await.is_problem(422, "invalid_payload", Some("Idempotency-Key"));
    assert_eq!(rooms(&ann).await, ["General"]);
    assert!(house.admin.reads(house.lobby).await.is_empty());
});

on_both!(
    /// A UUID is the `client_message_id`, for the socket too; any other key stands for one.
    ///
    /// Proves OPT-06.
    a_message_is_posted_once_for_each_key,
    async |ground| {
        let house = House::open(ground).await;
        let room = house.lobby;
        let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
        let path = format!("/rooms/{room}/messages");
        let id = Uuid::new_v4();
        let named = ann.with(KEY, &id.to_string());
        let first = named.post(&path, json!({ "body": "by its id" })).await.expect(201);
        assert_eq!(first["client_message_id"], json!(id));
        let mut socket = house.admin.connects().await;
        let again = socket.socket.post(room, id, "by its id").await.expect("answered");
        assert!(again.duplicate && json!(again.id) == first["id"]);
        let with_id = json!({ "body": "by its id", "client_message_id": id });
        assert_eq!(named.post(&path, with_id).await.expect(200)["id"], first["id"]);

        let keyed = ann.with(KEY, "\"order-7\"");
        let first = keyed.post(&path, json!({ "body": "by its key" })).await.expect(201);
        let repeat = keyed.post(&path, json!({ "body": "by its key" })).await;
        assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
        let repeat = repeat.expect(200);
        assert_eq!((&repeat["id"], &repeat["duplicate"]), (&first["id"], &json!(true)));
        keyed.post(&path, json!({ "body": "another" })).await.is_problem(409, "idempotency_conflict", None);
        bob.with(KEY, "order-7").post(&path, json!({ "body": "Bob's own" })).await.expect(201);
        let robot = Caller::bot_of(&house, "Robot").await.with(KEY, "order-7");
        let first = robot.post(&path, json!({ "body": "a bot's own" })).await.expect(201);
        assert_eq!(robot.post(&path, json!({ "body": "a bot's own" })).await.expect(200)["id"], first["id"]);
        let wanted = ["by its id", "by its key", "Bob's own", "a bot's own"];
        assert_eq!(house.admin.reads(room).await, wanted);
    }
);

/// Whether any file below holds these bytes.
fn is_anywhere_in(folder: &Path, wanted: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        let bytes = || std::fs::read(&path).unwrap_or_default();
        path.is_dir() && is_anywhere_in(&path, wanted)
            || bytes().windows(wanted.len()).any(|window| window == wanted.as_bytes())
    })
}

on_both!(
    /// Whoever asks again gets the code that is good, and no second one; what was taken back is over.
    ///
    /// Proves OPT-06.
    an_invitation_is_made_once_for_each_key,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let keyed = ann.with(KEY, "invite-1");
        let terms = json!({ "role": "guest", "room_ids": [house.lobby], "expires_in_s": 3600, "max_uses": 2 });
        let first = keyed.post("/invites", terms.clone()).await;
        assert_eq!(first.header("idempotency-replayed"), None);
        let made = first.expect(201);
        let repeat = keyed.post("/invites", terms.clone()).await;
        assert_eq!(repeat.expect(201), made);
        assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
        for (field, other) in
            [("role", json!("member")), ("room_ids", json!([])), ("expires_in_s", json!(3601)), ("max_uses", json!(3))]
        {
            let mut terms = terms.clone();
            terms[field] = other;
            keyed.post("/invites", terms).await.is_problem(409, "idempotency_conflict", None);
        }
        let count = async || ann.get("/invites").await.expect(200)["invites"].as_array().map_or(0, Vec::len);
        assert_eq!(count().await, 1);
        ann.with(KEY, "invite-2").post("/invites", terms.clone()).await.expect(201);
        assert_eq!(count().await, 2, "another key is another invitation");
        let noted = ann.get("/audit?action=invite.created").await.expect(200);
        assert_eq!(noted["entries"].as_array().map_or(0, Vec::len), 2, "what was not done again is not noted again");
        ann.delete(&format!("/invites/{}", made["id"])).await.expect(204);
        keyed.post("/invites", terms).await.is_problem(410, "gone", None);
        assert_eq!(count().await, 1);
    }
);

on_both!(
    /// The secret was shown once. A repetition makes no second bot and no second secret, and knows none.
    ///
    /// Proves OPT-06.
    a_bot_and_its_key_are_made_once_for_each_key,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let keyed = ann.with(KEY, "robot-1");
        let made = keyed.post("/bots", json!({ "name": "Robot" })).await.expect(201);
        let secret = made["key"].as_str().expect("a key").to_owned();
        let repeat = keyed.post("/bots", json!({ "name": "Robot" })).await;
        assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
        let mut known = made.clone();
        known.as_object_mut().expect("an object").retain(|name, _| !name.starts_with("key"));
        assert_eq!(repeat.expect(200), known);
        keyed.post("/bots", json!({ "name": "Other" })).await.is_problem(409, "idempotency_conflict", None);
        assert_eq!(ann.get("/bots").await.expect(200)["bots"].as_array().expect("bots").len(), 1);

        let nobody = Caller::nobody(&house.url());
        nobody.bearing(&secret).get("/me").await.expect(200);
        let path = format!("/bots/{}/key", made["id"]);
        let keyed = ann.with(KEY, "rotation-1");
        let rotated = keyed.post(&path, Value::Null).await.expect(201);
        let fresh = rotated["key"].as_str().expect("a key").to_owned();
        nobody.bearing(&secret).get("/me").await.is_problem(401, "token_revoked", None);
        let repeat = keyed.post(&path, Value::Null).await;
        assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
        assert_eq!(repeat.expect(200), json!({ "id": made["id"] }));
        nobody.bearing(&fresh).get("/me").await.expect(200);
        ann.with(KEY, "robot-1").post(&path, Value::Null).await.is_problem(409, "idempotency_conflict", None);
        if ground == Ground::Sqlite {
            let data = house.server.log_path().parent().expect("a folder").to_owned();
            for secret in [&secret, &fresh] {
                let token = secret.split_once('-').expect("two parts").1;
                assert!(!is_anywhere_in(&data, token), "a secret was stored");
            }
            assert!(is_anywhere_in(&data, "Robot"), "the folder that was searched is the right one");
        }
    }
);

on_both!(
    /// Over both doors at once: who comes second waits for the first and is told what came of it.
    ///
    /// Proves OPT-07.
    forty_parallel_requests_make_one_room,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin).with(KEY, "all-at-once");
        let mut asked = Vec::new();
        for _ in 0..10 {
            let mut socket = house.admin.connects().await;
            asked.push(tokio::spawn(async move {
                let mut ids = Vec::new();
                let data = json!({ "kind": "closed", "name": "One", "idempotency_key": "all-at-once" });
                for _ in 0..2 {
                    let said = socket.asks("room.create", data.clone()).await;
                    ids.push((said["room"]["id"].clone(), said["duplicate"] == true));
                }
                ids
            }));
            let ann = ann.clone();
            asked.push(tokio::spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..2 {
                    let answer = ann.post("/rooms", json!({ "kind": "closed", "name": "One" })).await;
                    let replayed = answer.header("idempotency-replayed") == Some("true");
                    ids.push((answer.expect(201)["id"].clone(), replayed));
                }
                ids
            }));
        }
        let mut told = Vec::new();
        for one in asked {
            told.extend(one.await.expect("asked"));
        }
        assert_eq!(told.len(), 40);
        assert!(told.iter().all(|(id, _)| *id == told[0].0), "{told:?}");
        assert_eq!(told.iter().filter(|(_, replayed)| !replayed).count(), 1);
        assert_eq!(rooms(&Caller::of(&house.admin)).await, ["General", "One"]);
    }
);

on_both!(
    /// Proves OPT-08, OPT-11.
    a_key_is_known_after_the_server_was_killed,
    async |ground| {
        let mut house = House::open(ground).await;
        let mut socket = house.admin.connects().await;
        let commons = socket.socket.welcome().rooms.iter().find(|room| room.kind == "commons");
        let commons = commons.expect("a commons").room_id;
        socket.joins(commons, None).await;
        let mut asker = house.admin.connects().await;
        let data = json!({ "kind": "open", "name": "Survivor", "idempotency_key": "k" });
        asker.socket.send("room.create", &data).await.expect("sent");
        // Committed, since it is heard of; the one who asked never looks for the answer.
        let listed = socket.hears().await;
        assert_eq!(listed.kind, "room.listed");
        house.server.kill().expect("killed");
        house.server.restart().await.expect("restarted");
        let ann = Caller::of(&house.admin);
        let repeat = ann.with(KEY, "k").post("/rooms", open("Survivor")).await;
        assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
        assert_eq!(repeat.expect(201)["id"], listed.json["data"]["room"]["id"]);
        assert_eq!(rooms(&ann).await, ["General", "Survivor"]);
    }
);

on_both!(
    /// Remembered as expired before it is forgotten: never done twice by surprise.
    ///
    /// Proves OPT-09.
    an_expired_key_says_so_until_it_is_forgotten,
    async |ground| {
        let short =
            ["idempotency.keep_s=1", "idempotency.remember_s=4", "idempotency.sweep_s=1", "idempotency.sweep_batch=1"];
        let args: Vec<&str> = short.iter().flat_map(|setting| ["--set", *setting]).collect();
        let house = House::open_with(ground, &args).await;
        let ann = Caller::of(&house.admin).with(KEY, "brief");
        let first = ann.post("/rooms", open("Brief")).await.expect(201)["id"].clone();
        let deadline = Instant::now() + PATIENCE;
        let mut expired = 0;
        let second = loop {
            assert!(Instant::now() < deadline, "it never ends");
            let answer = ann.post("/rooms", open("Brief")).await;
            match answer.status {
                201 if answer.header("idempotency-replayed").is_none() => break answer.expect(201),
                201 => assert_eq!(expired, 0, "an answer that was gone is back"),
                _ => {
                    answer.is_problem(409, "idempotency_expired", None);
                    // At once: later it may be forgotten between the two.
                    if expired == 0 {
                        ann.post("/rooms", open("Other")).await.is_problem(409, "idempotency_conflict", None);
                    }
                    expired += 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(expired > 0, "it was done again without a word");
        assert_ne!(second["id"], first);
        assert_eq!(rooms(&Caller::of(&house.admin)).await, ["General", "Brief", "Brief"]);
    }
);
