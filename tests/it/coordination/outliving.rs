//! What is repeated long after: no cache has to remember it, and no change since then makes it happen again.

use crate::harness::{Ground, House, PATIENCE, on_both};
use crate::rest::Caller;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

on_both!(
    /// Ten sockets and ten REST callers, a person's and a bot's requests among them: one row, one broadcast for each author.
    ///
    /// Proves OPT-07.
    a_hundred_parallel_posts_over_both_doors_are_one_message,
    async |ground| {
        let house = House::open(ground).await;
        let (room, id) = (house.lobby, Uuid::new_v4());
        let mut listener = house.joined_by("Bob").await.listens_to(room).await;
        let person = Caller::of(&house.admin);
        let mut asked = Vec::new();
        for _ in 0..10 {
            let mut socket = house.admin.connects().await;
            asked.push(tokio::spawn(async move {
                let mut told = Vec::new();
                for _ in 0..5 {
                    let ack = socket.socket.post(room, id, "once").await.expect("answered");
                    told.push((ack.id, ack.duplicate));
                }
                told
            }));
            let person = person.clone();
            asked.push(tokio::spawn(async move {
                let mut told = Vec::new();
                for _ in 0..5 {
                    let body = json!({ "body": "once", "client_message_id": id });
                    let answer = person.post(&format!("/rooms/{room}/messages"), body).await;
                    let duplicate = answer.status == 200;
                    let said = answer.expect(if duplicate { 200 } else { 201 });
                    told.push((said["id"].as_u64().expect("an id"), duplicate));
                }
                told
            }));
        }
        let mut told = Vec::new();
        for one in asked {
            told.extend(one.await.expect("asked"));
        }
        assert_eq!(told.len(), 100);
        assert!(told.iter().all(|(id, _)| *id == told[0].0));
        assert_eq!(told.iter().filter(|(_, duplicate)| !duplicate).count(), 1);
        assert_eq!(listener.hears_message().await, "once");
        // A bot that uses the same id is somebody else.
        let robot = Caller::bot_of(&house, "Robot").await;
        let body = json!({ "body": "once", "client_message_id": id });
        robot.post(&format!("/rooms/{room}/messages"), body).await.expect(201);
        assert_eq!(listener.hears_message().await, "once");
        assert_eq!(house.admin.reads(room).await, ["once", "once"]);
    }
);

/// Repeats the post over both doors: told what came of it the first time.
async fn is_known(house: &House, room: u64, id: Uuid, wanted: u64, when: &str) {
    let mut socket = house.admin.connects().await;
    let ack = socket.socket.post(room, id, "once").await.unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!((ack.id, ack.duplicate), (wanted, true), "{when}");
    let body = json!({ "body": "once", "client_message_id": id });
    let path = format!("/rooms/{room}/messages");
    let said = Caller::of(&house.admin).post(&path, body).await.expect(200);
    assert_eq!((&said["id"], &said["duplicate"]), (&json!(wanted), &json!(true)), "{when}");
    let other = json!({ "body": "other", "client_message_id": id });
    let answer = Caller::of(&house.admin).post(&path, other).await;
    answer.is_problem(409, "idempotency_conflict", None);
}

on_both!(
    /// After the room was evicted, the message edited, the server restarted, the message deleted, its author gone from the
    /// room, and the room itself deleted.
    ///
    /// Proves OPT-08.
    a_post_is_known_whatever_happened_since,
    async |ground| {
        let mut house = House::open_with(ground, &["--set", "rooms.idle_ms=100"]).await;
        let bob = house.joined_by("Bob").await;
        let made = json!({ "kind": "closed", "name": "Den", "members": [house.admin.id] });
        let made = Caller::of(&bob).post("/rooms", made).await.expect(201);
        let room = made["id"].as_u64().expect("an id");
        let id = Uuid::new_v4();
        let mut ann = house.admin.connects().await;
        let posted = ann.socket.post(room, id, "once").await.expect("posted").id;
        ann.socket.abort();
        house.metric_becomes("hearth_rooms", "", 0.0).await;
        is_known(&house, room, id, posted, "evicted").await;
        let mut ann = house.admin.connects().await;
        let edit = json!({ "room_id": room, "message_id": posted, "version": 1, "body": "edited" });
        ann.asks("message.edit", edit).await;
        is_known(&house, room, id, posted, "edited").await;
        house.server.kill().expect("killed");
        house.server.restart().await.expect("restarted");
        is_known(&house, room, id, posted, "restarted").await;
        let mut ann = house.admin.connects().await;
        ann.asks("message.delete", json!({ "room_id": room, "message_id": posted })).await;
        is_known(&house, room, id, posted, "deleted").await;
        ann.asks("member.remove", json!({ "room_id": room, "user_id": house.admin.id })).await;
        let refused = ann.socket.post(room, Uuid::new_v4(), "new").await.expect_err("refused");
        assert_eq!(refused.code(), "not_found");
        is_known(&house, room, id, posted, "left").await;
        assert_eq!(Caller::of(&bob).delete(&format!("/rooms/{room}")).await.status, 204);
        is_known(&house, room, id, posted, "room deleted").await;
        assert_eq!(ann.socket.post(room, Uuid::new_v4(), "new").await.expect_err("refused").code(), "not_found");
    }
);

on_both!(
    /// Each is committed, its answer is not looked for, the server is killed; then all are repeated, over both doors.
    ///
    /// Proves OPT-11, OPT-12.
    edits_deletes_and_marks_are_repeated_after_a_kill,
    async |ground| {
        let mut house = House::open(ground).await;
        let room = house.lobby;
        let bob = house.joined_by("Bob").await;
        let mut ann = house.admin.connects().await;
        let edited = ann.posts(room, "helo").await.id;
        let deleted = ann.posts(room, "oops").await;
        let den = house.closed_room("Den", &[]).await.id;
        let edit = json!({ "room_id": room, "message_id": edited, "version": 1, "body": "hello" });
        let delete = json!({ "room_id": room, "message_id": deleted.id });
        let mark = json!({ "room_id": room, "seq": deleted.seq });
        let add = json!({ "room_id": den, "user_id": bob.id });
        let commands =
            [("read.mark", &mark), ("member.add", &add), ("message.edit", &edit), ("message.delete", &delete)];
        for (kind, data) in commands {
            ann.socket.send(kind, data).await.expect("sent");
        }
        // All are in the log before the end.
        let deadline = Instant::now() + PATIENCE;
        let log = loop {
            assert!(Instant::now() < deadline, "not all of it happens");
            let log = house.admin.client.feed(0, Duration::ZERO, None).await.expect("the log");
            let happened = |kind: &str| log.events.iter().any(|event| event.kind == kind);
            if ["read.marked", "member.added", "message.edited", "message.deleted"].into_iter().all(happened) {
                break log;
            }
        };
        house.server.kill().expect("killed");
        house.server.restart().await.expect("restarted");
        let mut ann = house.admin.connects().await;
        let caller = Caller::of(&house.admin);
        for _ in 0..2 {
            for (kind, data) in commands {
                let said = ann.asks(kind, data.clone()).await;
                match kind {
                    "read.mark" => assert_eq!(said["read"], json!(deleted.seq)),
                    // An edit of a message that still stands says where it stands.
                    "message.edit" => assert_eq!((&said["duplicate"], &said["version"]), (&json!(true), &json!(2))),
                    _ => assert_eq!(said["duplicate"], true, "{kind}: {said}"),
                }
            }
            let said = caller.with("if-match", "1").patch(&format!("/messages/{edited}"), json!({ "body": "hello" })).await;
            let said = said.expect(200);
            assert_eq!((&said["duplicate"], &said["version"]), (&json!(true), &json!(2)));
            assert_eq!(caller.delete(&format!("/messages/{}", deleted.id)).await.status, 204);
            assert_eq!(caller.put(&format!("/rooms/{den}/members/{}", bob.id), Value::Null).await.status, 204);
            // Marks never go back.
            let back = caller.put(&format!("/rooms/{room}/read"), json!({ "seq": 1 })).await.expect(200);
            assert_eq!(back["read"], json!(deleted.seq));
        }
        let after = house.admin.client.feed(0, Duration::ZERO, None).await.expect("the log");
        assert_eq!(after.events.len(), log.events.len(), "nothing happened twice");
        assert_eq!(house.admin.reads(room).await, ["hello"]);
    }
);
