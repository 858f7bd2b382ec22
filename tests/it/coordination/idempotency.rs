//! Sending again: nothing is doubled, nothing acked is lost.

use crate::harness::{Ground, House, on_both};
use loadtest::socket::Frame;
use serde_json::json;
use uuid::Uuid;

on_both!(
    /// Proves OPT-01, OPT-06.
    a_repeat_returns_the_original_and_a_different_body_is_a_conflict,
    async |ground| {
        let house = House::open(ground).await;
        let (room, id) = (house.lobby, Uuid::new_v4());
        let mut ann = house.admin.connects().await;
        let post = |body: &str| json!({ "room_id": room, "client_message_id": id, "body": body });
        let first = ann.asks("message.post", post("hi")).await;
        assert_eq!(first["client_message_id"], json!(id));
        assert!(first["id"].is_u64() && first["seq"].is_u64() && first["at"].is_string());
        assert_eq!(first.get("duplicate"), None);
        let again = ann.asks("message.post", post("hi")).await;
        assert_eq!(again["duplicate"], true);
        assert_eq!((&again["id"], &again["seq"], &again["at"]), (&first["id"], &first["seq"], &first["at"]));
        assert_eq!(ann.is_refused("message.post", post("ho")).await, "idempotency_conflict");

        // An edit doesn't change what was posted.
        let edit = json!({ "room_id": room, "message_id": first["id"], "version": 1, "body": "edited" });
        ann.asks("message.edit", edit).await;
        assert_eq!(ann.asks("message.post", post("hi")).await["id"], first["id"]);

        // Another author and another room are independent.
        let mut bob = house.joined_by("Bob").await.connects().await;
        assert_ne!(bob.asks("message.post", post("hi")).await["id"], first["id"]);
        let other = house.admin.client.create_room("open", "Other", &[]).await.expect("made").id;
        let elsewhere = json!({ "room_id": other, "client_message_id": id, "body": "hi" });
        assert_eq!(ann.asks("message.post", elsewhere).await.get("duplicate"), None);
    }
);

on_both!(
    /// Proves OPT-07, OPT-02.
    a_hundred_parallel_posts_are_one_message,
    async |ground| {
        let house = House::open(ground).await;
        let (room, id) = (house.lobby, Uuid::new_v4());
        let mut listener = house.admin.listens_to(room).await;
        let mut sockets = Vec::new();
        for _ in 0..10 {
            sockets.push(house.admin.connects().await);
        }
        let posts = sockets.into_iter().map(|mut socket| {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                for _ in 0..10 {
                    asked.push(socket.socket.send_post(room, id, "once").await.expect("sent"));
                }
                let mut acks = Vec::new();
                for id in asked {
                    acks.push(socket.socket.ack(&id).await.expect("answered"));
                }
                acks
            })
        });
        let posts: Vec<_> = posts.collect();
        let mut acks = Vec::new();
        for post in posts {
            acks.extend(post.await.expect("posted"));
        }
        assert_eq!(acks.len(), 100, "exactly one answer each");
        assert_eq!(acks.iter().filter(|ack| !ack.duplicate).count(), 1);
        assert!(acks.iter().all(|ack| (ack.id, ack.seq) == (acks[0].id, acks[0].seq)));
        listener.posts(room, "marker").await;
        let heard = listener.frames_until("marker").await;
        assert_eq!(heard.iter().filter(|frame| matches!(frame, Frame::Event(_))).count(), 1, "one broadcast");
        assert_eq!(house.admin.reads(room).await, ["once", "marker"]);
    }
);

on_both!(
    /// Proves OPT-04, OPT-11, OPT-13.
    killed_between_commit_and_ack_the_retry_finds_the_original,
    async |ground| {
        let mut house = House::open(ground).await;
        let room = house.lobby;
        let bob = house.joined_by("Bob").await;
        let mut hears = bob.listens_to(room).await;
        let mut ann = house.admin.connects().await;
        let acked = ann.posts(room, "acked").await;
        let id = Uuid::new_v4();
        ann.socket.send_post(room, id, "in doubt").await.expect("sent");
        // Bob hears it, so it is committed; Ann's connection is cut without her having looked for the ack.
        assert_eq!(hears.hears_message().await, "acked");
        assert_eq!(hears.hears_message().await, "in doubt");
        ann.socket.abort();
        house.server.kill().expect("killed");
        house.server.restart().await.expect("restarted");
        let mut ann = house.admin.connects().await;
        let retry = ann.socket.post(room, id, "in doubt").await.expect("answered");
        assert!(retry.duplicate);
        assert_eq!(retry.seq, acked.seq + 1);
        assert_eq!(bob.reads(room).await, ["acked", "in doubt"], "in another member's history, once");
    }
);

on_both!(edits_and_deletes_reach_everybody_and_are_safe_to_repeat, async |ground| {
    let house = House::open(ground).await;
    let room = house.lobby;
    let bob = house.joined_by("Bob").await;
    let mut hears = bob.listens_to(room).await;
    let mut ann = house.admin.connects().await;
    let message = ann.posts(room, "helo").await.id;
    hears.hears_message().await;
    let edit = |version: u32, body: &str| json!({ "room_id": room, "message_id": message, "version": version, "body": body });
    let edited = ann.asks("message.edit", edit(1, "hello")).await;
    assert_eq!(edited["version"], 2);
    assert_eq!(edited.get("duplicate"), None);
    let repeated = ann.asks("message.edit", edit(1, "hello")).await;
    assert_eq!((&repeated["id"], &repeated["duplicate"]), (&edited["id"], &json!(true)), "repeated");
    assert_eq!(ann.is_refused("message.edit", edit(1, "hallo")).await, "version_conflict");
    let event = hears.hears().await;
    assert_eq!((event.kind.as_str(), event.text("body")), ("message.edited", Some("hello")));
    assert_eq!(hears.is_refused("message.edit", edit(2, "mine")).await, "forbidden");
    assert_eq!(bob.reads(room).await, ["hello"]);
    let delete = json!({ "room_id": room, "message_id": message });
    assert!(ann.asks("message.delete", delete.clone()).await["seq"].is_u64());
    assert_eq!(ann.asks("message.delete", delete).await["duplicate"], true);
    assert_eq!(hears.hears().await.kind, "message.deleted");
    assert!(bob.reads(room).await.is_empty());
    assert_eq!(ann.is_refused("message.edit", edit(2, "x")).await, "not_found");
});
