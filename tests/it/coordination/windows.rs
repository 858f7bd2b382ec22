//! What a resuming client gets on both sides of every limit, and what several rooms in one request come to.

use crate::harness::{Ground, House, Listener, PASSWORD, PATIENCE, empty, missed, on_both};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use loadtest::client::Client;
use loadtest::socket::{Frame, Place, Recovery, Socket, Subscribed};
use loadtest::wire::Event;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The reason of a gap, and the events its cursor leads to.
async fn hole(house: &House, room: u64, joined: &Subscribed) -> (String, Vec<Event>) {
    let Recovery::Gap { reason, page } = &joined.recovery else { panic!("no gap: {joined:?}") };
    let log = house.admin.client.room_gap(room, page).await.expect("pages the gap");
    (reason.clone(), log.events)
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

on_both!(
    /// From memory, and from the store after a kill.
    ///
    /// Proves CONN-10.
    the_window_is_bounded_in_events,
    async |ground| {
        let mut house = House::open_with(ground, &["--set", "rooms.replay_events=8"]).await;
        let room = house.lobby;
        let mut ann = house.admin.connects().await;
        let mut head = 0;
        for n in 0..20 {
            head = ann.posts(room, &n.to_string()).await.seq;
        }
        for from in ["memory", "the store"] {
            for behind in [0, 1, 7, 8] {
                let joined = ann.joins(room, Some(head - behind)).await;
                assert_eq!(seqs(missed(&joined)), (head - behind + 1..=head).collect::<Vec<_>>(), "{from}");
            }
            for behind in [9, 10, head] {
                let joined = ann.joins(room, Some(head - behind)).await;
                assert_eq!(joined.head, head);
                let (reason, events) = hole(&house, room, &joined).await;
                assert_eq!(reason, "window_exceeded", "{from}");
                assert_eq!(seqs(&events), (head - behind + 1..=head).collect::<Vec<_>>(), "exactly the hole");
            }
            house.server.kill().expect("killed");
            house.server.restart().await.expect("restarted");
            ann = house.admin.connects().await;
        }
    }
);

on_both!(
    /// Proves CONN-10.
    the_window_is_bounded_in_time,
    async |ground| {
        let mut house = House::open_with(ground, &["--set", "rooms.replay_age_s=3"]).await;
        let room = house.lobby;
        let mut ann = house.admin.connects().await;
        let old = ann.posts(room, "old").await.seq;
        assert_eq!(missed(&ann.joins(room, Some(old - 1)).await).len(), 1, "young enough");
        let deadline = Instant::now() + PATIENCE;
        while matches!(ann.joins(room, Some(old - 1)).await.recovery, Recovery::Complete(_)) {
            assert!(Instant::now() < deadline, "it never gets old");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let new = ann.posts(room, "new").await.seq;
        assert_eq!(seqs(missed(&ann.joins(room, Some(old)).await)), [new], "what was missed is what counts");
        let joined = ann.joins(room, Some(old - 1)).await;
        let (reason, events) = hole(&house, room, &joined).await;
        assert_eq!((reason.as_str(), seqs(&events)), ("window_exceeded", vec![old, new]));
        house.server.kill().expect("killed");
        house.server.restart().await.expect("restarted");
        let joined = house.admin.connects().await.joins(room, Some(old - 1)).await;
        assert_eq!(hole(&house, room, &joined).await.0, "window_exceeded", "from the store as well");
    }
);

on_both!(
    /// Proves CONN-10.
    the_window_is_bounded_in_bytes,
    async |ground| {
        let limit = 8_192;
        let mut house = House::open_with(ground, &["--set", &format!("rooms.replay_bytes={limit}")]).await;
        let room = house.lobby;
        let mut ann = house.admin.connects().await;
        for _ in 0..20 {
            ann.posts(room, &"x".repeat(700)).await;
        }
        let log = house.admin.client.room_log(room, 0).await.expect("the log");
        let bytes = |after: u64| -> usize {
            log.events.iter().filter(|event| event.seq > after).map(|event| event.json.to_string().len()).sum()
        };
        // The first position from which all that was missed fits.
        let fits = (0..=log.head).find(|after| bytes(*after) <= limit).expect("nothing fits always");
        assert!(fits > 0 && fits < log.head, "the limit is in between");
        for from in ["memory", "the store"] {
            let joined = ann.joins(room, Some(fits)).await;
            assert_eq!(seqs(missed(&joined)), (fits + 1..=log.head).collect::<Vec<_>>(), "{from}");
            let joined = ann.joins(room, Some(fits - 1)).await;
            let (reason, events) = hole(&house, room, &joined).await;
            assert_eq!(reason, "window_exceeded", "{from}");
            assert_eq!(seqs(&events), (fits..=log.head).collect::<Vec<_>>());
            house.server.kill().expect("killed");
            house.server.restart().await.expect("restarted");
            ann = house.admin.connects().await;
        }
    }
);

/// Another log under the same numbers: nothing of the old one is continued, and its page begins at the beginning.
///
/// Proves CONN-10.
#[tokio::test]
async fn another_epoch_is_a_gap_from_the_beginning() {
    let (mut server, dir) = empty(Ground::Sqlite, &[]).await;
    let client = Client::new(&server.url()).expect("a client");
    let room = client.setup("House", "Ann", "ann@example.org", PASSWORD).await.expect("set up").room.id;
    let mut ann = Socket::connect(&server.url(), &client.credentials()).await.expect("connects");
    let head = ann.post(room, Uuid::new_v4(), "in the old log").await.expect("posted").seq;
    let epoch = ann.welcome().epoch.clone();
    server.kill().expect("killed");
    {
        let path = dir.path().join("data/hearth.db");
        assert!(path.exists(), "the database is at {}", path.display());
        let mut conn = SqliteConnection::establish(&path.display().to_string()).expect("opens");
        conn.batch_execute("UPDATE log_head SET epoch = randomblob(16)").expect("another log");
    }
    server.restart().await.expect("restarted");
    let mut ann = Socket::connect(&server.url(), &client.credentials()).await.expect("connects");
    assert_ne!(ann.welcome().epoch, epoch);
    let place = [Place { room_id: room, after: Some(head) }];
    let joined = ann.subscribe(&place, Some(&epoch)).await.expect("subscribes").pop().expect("one");
    let Recovery::Gap { reason, page } = &joined.recovery else { panic!("no gap: {joined:?}") };
    assert_eq!(reason, "epoch_changed");
    let log = client.room_gap(room, page).await.expect("pages");
    assert_eq!(seqs(&log.events), (1..=joined.head).collect::<Vec<_>>());
    assert_ne!(log.epoch, epoch);
    let new = ann.welcome().epoch.clone();
    let joined = ann.subscribe(&place, Some(&new)).await.expect("subscribes").pop().expect("one");
    assert!(missed(&joined).is_empty(), "with the new name it goes on");
}

on_both!(
    /// One reply for all, in the order asked, each room with what is true of it.
    ///
    /// Proves CONN-10.
    rooms_of_one_request_have_each_their_own_outcome,
    async |ground| {
        let house = House::open_with(ground, &["--set", "rooms.replay_events=3"]).await;
        let bob = house.joined_by("Bob").await;
        let mut heads = Vec::new();
        let mut ann = house.admin.connects().await;
        let mut rooms = Vec::new();
        for name in ["Here", "Behind", "Ahead", "Quiet"] {
            let room = house.closed_room(name, &[&bob]).await.id;
            let mut head = 0;
            for n in 0..5 {
                head = ann.posts(room, &n.to_string()).await.seq;
            }
            rooms.push(room);
            heads.push(head);
        }
        let foreign = house.closed_room("Not his", &[]).await.id;
        let mut bobs = bob.connects().await;
        let places = json!([
            { "room_id": rooms[0], "after": heads[0] - 3 },
            { "room_id": foreign, "after": 1 },
            { "room_id": rooms[1], "after": heads[1] - 4 },
            { "room_id": rooms[2], "after": heads[2] + 1 },
            { "room_id": rooms[3], "level": "badge" },
            { "room_id": 999_999 },
            { "room_id": house.lobby },
        ]);
        let epoch = bobs.socket.welcome().epoch.clone();
        let reply = bobs.asks("room.subscribe", json!({ "rooms": places, "epoch": epoch })).await;
        let entries = reply["rooms"].as_array().expect("entries");
        assert_eq!(entries.len(), 7);
        assert_eq!(entries[0]["recovery"], "complete");
        assert_eq!(entries[0]["events"].as_array().map(Vec::len), Some(3));
        assert_eq!((&entries[1]["room_id"], &entries[1]["error"]["code"]), (&json!(foreign), &json!("not_found")));
        assert_eq!((&entries[2]["recovery"], &entries[2]["reason"]), (&json!("gap"), &json!("window_exceeded")));
        assert_eq!((&entries[3]["recovery"], &entries[3]["reason"]), (&json!("gap"), &json!("ahead_of_head")));
        assert_eq!((&entries[4]["level"], &entries[4]["head"]), (&json!("badge"), &json!(heads[3])));
        assert_eq!(entries[5]["error"]["code"], "not_found");
        assert_eq!((&entries[6]["recovery"], &entries[6]["events"]), (&json!("complete"), &json!([])));
        // All that was granted is live, gaps too.
        for (room, head) in rooms[..3].iter().zip(&heads) {
            ann.posts(*room, "live").await;
            let event = bobs.hears().await;
            assert_eq!((event.room_id, event.seq), (*room, head + 1));
        }
    }
);

/// The two hundredth room is the last; those there are can be renewed.
#[tokio::test]
async fn a_socket_has_two_hundred_subscriptions() {
    let house = House::open(Ground::Sqlite).await;
    let mut ann = house.admin.connects().await;
    let mut rooms = vec![house.lobby];
    for n in 0..200 {
        let data = json!({ "kind": "closed", "name": format!("Room {n}") });
        let made = ann.asks("room.create", data).await;
        rooms.push(made["room"]["id"].as_u64().expect("an id"));
    }
    let places: Vec<Value> = rooms.iter().map(|room| json!({ "room_id": room })).collect();
    let all = json!({ "rooms": places });
    assert_eq!(ann.is_refused("room.subscribe", all).await, "invalid_payload", "201 at once");
    let reply = ann.asks("room.subscribe", json!({ "rooms": places[..200] })).await;
    let entries = reply["rooms"].as_array().expect("entries");
    assert!(entries.iter().all(|entry| entry["recovery"] == "complete"), "{reply}");
    let last = json!({ "room_id": rooms[200] });
    assert_eq!(ann.is_refused("room.subscribe", last.clone()).await, "invalid_payload", "one more");
    ann.asks("room.subscribe", places[7].clone()).await;
    ann.asks("room.unsubscribe", places[7].clone()).await;
    ann.asks("room.subscribe", last).await;
    house.metric_becomes("hearth_subscriptions", "", 200.0).await;
}

on_both!(subscribing_again_replaces, async |ground| {
    let house = House::open(ground).await;
    let room = house.lobby;
    let mut bob = house.joined_by("Bob").await.connects().await;
    for _ in 0..3 {
        bob.joins(room, None).await;
    }
    house.metric_becomes("hearth_subscriptions", "", 1.0).await;
    let mut ann = house.admin.connects().await;
    ann.posts(room, "once").await;
    ann.posts(room, "marker").await;
    let before = bob.frames_until("marker").await;
    let events = before.iter().filter(|frame| matches!(frame, Frame::Event(_))).count();
    assert_eq!(events, 1, "heard once: {before:?}");
});

/// A room whose queue is full refuses, and then nothing of it is heard any more.
#[tokio::test]
async fn a_refused_subscription_leaves_none() {
    let house = House::open_with(Ground::Sqlite, &["--set", "rooms.queue=1"]).await;
    let room = house.lobby;
    let mut bob = house.joined_by("Bob").await.connects().await;
    let mut refused = false;
    for round in 0..100 {
        bob.joins(room, None).await;
        // The post has the room's only place until it is on disk.
        let post = bob.socket.send_post(room, Uuid::new_v4(), &format!("round {round}")).await.expect("sent");
        let data = json!({ "room_id": room });
        let id = bob.socket.send("room.subscribe", &data).await.expect("sent");
        let (mut posted, mut outcome) = (false, None);
        while !posted || outcome.is_none() {
            match bob.next().await {
                Frame::Error { request_id, refusal } if request_id.as_deref() == Some(&id) => {
                    outcome = Some(Some(refusal.code.clone()));
                }
                frame if frame.answers(&id) => outcome = Some(None),
                Frame::Reply { request_id, .. } if request_id.as_deref() == Some(&post) => posted = true,
                Frame::Event(event) => assert_eq!(event.kind, "message.posted"),
                Frame::Signal { .. } => {}
                other => panic!("heard {other:?}"),
            }
        }
        if let Some(Some(code)) = outcome {
            assert_eq!(code, "overloaded");
            refused = true;
            break;
        }
    }
    assert!(refused, "the room took everything");
    house.metric_becomes("hearth_subscriptions", "", 0.0).await;
    house.metric_becomes("hearth_registry_entries", "listeners", 0.0).await;
    let end = bob.posts(room, "to nobody").await.seq;
    let joined = bob.joins(room, Some(end)).await;
    assert_eq!((joined.head, missed(&joined).len()), (end, 0));
}

/// Whoever has an answer has the place of what was asked back, too: one after the other fits into a queue of one.
#[tokio::test]
async fn an_answer_leaves_its_place_free() {
    let narrow = [
        "rooms.queue=1",
        "storage.commit_batch=1",
        "limits.messages=0",
        "limits.frames=0",
        "limits.subscriptions=0",
    ];
    let args: Vec<&str> = narrow.iter().flat_map(|one| ["--set", one]).collect();
    let house = House::open_with(Ground::Sqlite, &args).await;
    let room = house.lobby;
    let mut ann = house.admin.connects().await;
    for round in 0..300 {
        let body = format!("round {round}");
        let post = json!({ "room_id": room, "client_message_id": Uuid::new_v4(), "body": body });
        for (kind, data) in [
            ("message.post", post.clone()),
            ("message.post", post),
            ("room.subscribe", json!({ "room_id": room, "level": "badge" })),
            ("room.subscribe", json!({ "room_id": room, "after": round / 2 })),
            ("room.unsubscribe", json!({ "room_id": room })),
        ] {
            ann.asks(kind, data).await;
        }
    }
}

impl Listener {
    /// Subscribes and says the head: no event of the room may come before the reply.
    async fn enters(&mut self, room: u64) -> u64 {
        let id = self.socket.send("room.subscribe", &json!({ "room_id": room })).await.expect("sent");
        loop {
            match self.next().await {
                Frame::Reply { request_id, data } if request_id.as_deref() == Some(&id) => {
                    return data["head"].as_u64().expect("a head");
                }
                Frame::Signal { .. } => {}
                other => panic!("before the confirmation: {other:?}"),
            }
        }
    }

    /// Leaves, and hears what was under way.
    async fn exits(&mut self, room: u64, mut next: u64) {
        let id = self.socket.send("room.unsubscribe", &json!({ "room_id": room })).await.expect("sent");
        loop {
            match self.next().await {
                Frame::Event(event) => {
                    assert_eq!(event.seq, next);
                    next += 1;
                }
                frame if frame.answers(&id) => return,
                Frame::Signal { .. } => {}
                other => panic!("heard {other:?}"),
            }
        }
    }
}

on_both!(
    /// Two hundred joins into the middle of a thousand messages: nothing before the confirmation, then everything after
    /// it, each once.
    ///
    /// Proves CONN-01.
    a_confirmation_is_the_border,
    async |ground| {
        let house = House::open(ground).await;
        let room = house.lobby;
        let bob = house.joined_by("Bob").await;
        let mut joiners = Vec::new();
        for _ in 0..10 {
            joiners.push(bob.connects().await);
        }
        let mut poster = house.admin.connects().await;
        let posting = tokio::spawn(async move {
            for n in 0..1_000 {
                poster.posts(room, &n.to_string()).await;
            }
            // The last joiners may come behind the thousandth.
            loop {
                poster.posts(room, "more").await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let joins = joiners.into_iter().map(|mut joiner| {
            tokio::spawn(async move {
                for _ in 0..20 {
                    let head = joiner.enters(room).await;
                    for seq in head + 1..=head + 4 {
                        assert_eq!(joiner.hears().await.seq, seq);
                    }
                    joiner.exits(room, head + 5).await;
                }
            })
        });
        for join in joins.collect::<Vec<_>>() {
            join.await.expect("joined");
        }
        posting.abort();
    }
);

/// An event is encoded once however many hear it, and nobody is looked at who isn't in its room.
///
/// Proves CONN-20.
#[tokio::test]
async fn an_event_is_encoded_once_and_only_its_room_is_walked() {
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await;
    let other = house.closed_room("Elsewhere", &[&bob]).await.id;
    let mut here = Vec::new();
    for _ in 0..7 {
        here.push(bob.listens_to(house.lobby).await);
    }
    let mut elsewhere = Vec::new();
    for n in 0..10 {
        let mut listener = bob.connects().await;
        listener.joins(other, None).await;
        if n % 2 == 0 {
            listener.asks("room.subscribe", json!({ "room_id": house.lobby, "level": "badge" })).await;
        }
        elsewhere.push(listener);
    }
    let (encoded, handed) = (
        house.metric("hearth_events_encoded_total", "").await,
        house.metric("hearth_fanout_total", "").await,
    );
    let mut ann = house.admin.connects().await;
    for n in 0..30 {
        ann.posts(house.lobby, &n.to_string()).await;
    }
    for listener in &mut here {
        for n in 0..30 {
            assert_eq!(listener.hears_message().await, n.to_string());
        }
    }
    house.metric_becomes("hearth_events_encoded_total", "", encoded + 30.0).await;
    house.metric_becomes("hearth_fanout_total", "", handed + 7.0 * 30.0).await;
}
