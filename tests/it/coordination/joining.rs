//! Joining, order and resuming.

use crate::harness::{Ground, House, missed, on_both};
use crate::raw::Raw;
use loadtest::lean::client_text;
use loadtest::socket::{Frame, Recovery};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

on_both!(
    /// Proves CONN-01, CONN-11.
    joins_while_messages_are_posted,
    async |ground| {
        let house = House::open(ground).await;
        let bob = house.joined_by("Bob").await;
        let room = house.lobby;
        let mut poster = house.admin.connects().await;
        let posting = tokio::spawn(async move {
            for round in 0..50 {
                let mut asked = Vec::new();
                for n in 0..20 {
                    let body = format!("{round}/{n}");
                    asked.push(poster.socket.send_post(room, Uuid::new_v4(), &body).await.expect("sent"));
                }
                for id in asked {
                    poster.socket.ack(&id).await.expect("acked");
                }
            }
            poster.posts(room, "the end").await
        });
        let bob = Arc::new(bob);
        let mut joins = Vec::new();
        for _ in 0..10 {
            let bob = Arc::clone(&bob);
            joins.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut listener = bob.connects().await;
                for _ in 0..20 {
                    // Each time at the head: what follows has to follow on.
                    let joined = listener.joins(room, None).await;
                    let mut next = joined.head + 1;
                    for _ in 0..3 {
                        if next > 1_000 {
                            break;
                        }
                        let event = listener.hears().await;
                        if event.seq < next {
                            continue; // heard before the room was joined again
                        }
                        assert_eq!(event.seq, next, "contiguous from the confirmed head on");
                        next += 1;
                        seen.push((event.seq, event.id));
                    }
                }
                let mut last = listener.joins(room, None).await.head;
                let heard = listener.asks("room.unsubscribe", json!({ "room_id": room })).await;
                assert_eq!(heard["room_id"], room);
                let joined = listener.joins(room, Some(last)).await;
                for event in missed(&joined) {
                    assert_eq!(event.seq, last + 1);
                    last = event.seq;
                }
                assert_eq!(last, joined.head);
                seen
            }));
        }
        let end = posting.await.expect("posted");
        let log = house.admin.client.room_log(room, 0).await.expect("the log");
        assert_eq!((log.head, log.events.len() as u64), (end.seq, end.seq));
        for join in joins {
            for (seq, id) in join.await.expect("joined") {
                let event = &log.events[seq as usize - 1];
                assert_eq!((event.seq, event.id), (seq, id));
            }
        }
        let (_, head) = house.admin.client.history(room).await.expect("history");
        let confirmed = house.admin.connects().await.joins(room, None).await.head;
        assert_eq!((head, confirmed), (end.seq, end.seq), "one head in every answer");
    }
);

on_both!(
    /// Proves CONN-05, CONN-07.
    every_subscriber_hears_the_same_order,
    async |ground| {
        // Nobody reads before all are there, and a socket that isn't read answers no ping.
        let flags = ["--set", "heartbeat.dead_after_ms=600000", "--set", "presence.lease_ms=700000"];
        let house = House::open_with(ground, &flags).await;
        let room = house.lobby;
        let poster = house.joined_by("Poster").await;
        let mut listeners = Vec::new();
        for n in 0..25 {
            let person = if n == 0 { None } else { Some(house.joined_by(&format!("P{n}")).await) };
            let person = person.as_ref().unwrap_or(&house.admin);
            for _ in 0..20 {
                listeners.push(person.listens_to(room).await);
            }
        }
        let start = house.admin.client.room_log(room, 0).await.expect("the log").head;
        let mut poster = poster.connects().await;
        let message = poster.posts(room, "first").await.id;
        // A hundred in a second, whatever becomes of those before.
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut asked = Vec::new();
        for n in 1..300 {
            pace.tick().await;
            asked.push(poster.socket.send_post(room, Uuid::new_v4(), &format!("m{n}")).await.expect("sent"));
            let of = json!({ "room_id": room, "message_id": message, "version": 1, "body": "edited" });
            if n == 100 || n == 200 {
                let kind = if n == 100 { "message.edit" } else { "message.delete" };
                asked.push(poster.socket.send(kind, &of).await.expect("sent"));
            }
        }
        for id in asked {
            poster.socket.answer(&id).await.expect("done");
        }
        let log = house.admin.client.room_log(room, start).await.expect("the log").events;
        assert_eq!(log.len(), 302);
        let heard: Vec<_> = listeners
            .into_iter()
            .map(|mut listener| {
                let count = log.len();
                tokio::spawn(async move {
                    let mut heard = Vec::with_capacity(count);
                    while heard.len() < count {
                        heard.push(listener.hears().await);
                    }
                    heard
                })
            })
            .collect();
        assert_eq!(heard.len(), 500);
        for heard in heard {
            assert_eq!(heard.await.expect("heard"), log, "the same events, in the same order, to the letter");
        }
        let seqs: Vec<u64> = log.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (start + 1..=start + 302).collect::<Vec<_>>());
        assert!(log.is_sorted_by_key(|event| event.id));
    }
);

on_both!(
    /// Proves CONN-03.
    two_tabs_at_the_same_moment_both_listen,
    async |ground| {
        let house = House::open(ground).await;
        let room = house.lobby;
        let (mut one, mut two, mut three) =
            tokio::join!(house.admin.listens_to(room), house.admin.listens_to(room), house.admin.listens_to(room));
        let mut bob = house.joined_by("Bob").await.connects().await;
        bob.posts(room, "first").await;
        for listener in [&mut one, &mut two, &mut three] {
            assert_eq!(listener.hears_message().await, "first");
        }
        two.socket.close().await.expect("closes");
        three.socket.abort();
        bob.posts(room, "second").await;
        assert_eq!(one.hears_message().await, "second");
    }
);

on_both!(
    /// Proves CONN-09.
    a_drop_and_a_restart_leave_no_gap,
    async |ground| {
        let mut house = House::open(ground).await;
        let room = house.lobby;
        let bob = house.joined_by("Bob").await;
        let mut listener = bob.listens_to(room).await;
        let mut poster = house.admin.connects().await;
        let first = poster.posts(room, "heard live").await;
        assert_eq!(listener.hears().await.seq, first.seq);
        listener.socket.abort();
        for n in 0..10 {
            poster.posts(room, &format!("missed {n}")).await;
        }
        let mut back = bob.connects().await;
        let joined = back.joins(room, Some(first.seq)).await;
        let seqs: Vec<u64> = missed(&joined).iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (first.seq + 1..=first.seq + 10).collect::<Vec<_>>());
        let last = poster.posts(room, "live again").await;
        assert_eq!(back.hears().await.seq, last.seq);
        let epoch = back.socket.welcome().epoch.clone();

        house.server.kill().expect("killed");
        house.server.restart().await.expect("restarted");
        let mut after = bob.connects().await;
        assert_eq!(after.socket.welcome().epoch, epoch, "the same log");
        let joined = after.joins(room, Some(first.seq)).await;
        assert_eq!(missed(&joined).len(), 11, "the store remembers what memory forgot");
        let mut poster = house.admin.connects().await;
        let next = poster.posts(room, "after the restart").await;
        assert_eq!(next.seq, last.seq + 1, "the sequence goes on");
        assert_eq!(after.hears().await.seq, next.seq);
    }
);

on_both!(a_gap_is_never_silent, async |ground| {
    let house = House::open_with(ground, &["--set", "rooms.replay_events=5"]).await;
    let room = house.lobby;
    let mut ann = house.admin.connects().await;
    let first = ann.posts(room, "0").await.seq;
    for n in 1..=6 {
        ann.posts(room, &n.to_string()).await;
    }
    assert_eq!(missed(&ann.joins(room, Some(first + 1)).await).len(), 5, "within the window");
    let joined = ann.joins(room, Some(first)).await;
    let Recovery::Gap { reason, page } = joined.recovery else { panic!("no gap: {joined:?}") };
    assert_eq!(reason, "window_exceeded");
    let log = house.admin.client.room_gap(room, &page).await.expect("pages the gap");
    assert_eq!(log.events.first().map(|event| event.seq), Some(first + 1));
    assert_eq!(log.events.last().map(|event| event.seq), Some(joined.head));

    let ahead = ann.joins(room, Some(joined.head + 1)).await;
    assert!(matches!(ahead.recovery, Recovery::Gap { reason, .. } if reason == "ahead_of_head"));
    let data = json!({ "room_id": room, "after": first, "epoch": Uuid::new_v4() });
    let foreign = ann.asks("room.subscribe", data).await;
    assert_eq!((&foreign["recovery"], &foreign["reason"]), (&json!("gap"), &json!("epoch_changed")));
});

on_both!(what_one_may_not_see_is_not_found_and_not_heard, async |ground| {
    let house = House::open(ground).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let room = house.closed_room("Secret", &[&bob]).await.id;
    let mut outsider = eve.listens_to(house.lobby).await;
    let data = json!({ "room_id": room });
    assert_eq!(outsider.is_refused("room.subscribe", data.clone()).await, "not_found");
    let post = json!({ "room_id": room, "client_message_id": Uuid::new_v4(), "body": "let me in" });
    assert_eq!(outsider.is_refused("message.post", post).await, "not_found");
    let mut ann = house.admin.listens_to(room).await;
    let mut member = bob.listens_to(room).await;
    ann.posts(room, "just us").await;
    assert_eq!(member.hears_message().await, "just us");
    // Removed, he hears that and nothing after it.
    ann.asks("member.remove", json!({ "room_id": room, "user_id": bob.id })).await;
    assert_eq!(member.hears().await.kind, "member.removed");
    ann.posts(room, "without him").await;
    ann.posts(house.lobby, "marker").await;
    member.joins(house.lobby, None).await;
    ann.posts(house.lobby, "second marker").await;
    assert!(member.frames_until("second marker").await.iter().all(|frame| match frame {
        Frame::Event(event) => event.room_id != room,
        _ => true,
    }));
    let only: Vec<Frame> = outsider.frames_until("second marker").await;
    assert!(only.iter().all(|frame| match frame {
        Frame::Event(event) => event.room_id == house.lobby,
        Frame::Signal { json, .. } => json["room_id"] == json!(house.lobby),
        _ => false,
    }));
});

on_both!(
    /// What one socket sends stays in its order, also while the room is only being loaded.
    pipelined_posts_to_a_sleeping_room_stay_in_order,
    async |ground| {
        let house = House::open_with(ground, &["--set", "rooms.idle_ms=30"]).await;
        let room = house.lobby;
        let mut expected = Vec::new();
        for round in 0..15 {
            let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
            house.metric_becomes("hearth_rooms", "", 0.0).await;
            let mut burst = Vec::new();
            for n in 0..100 {
                let body = format!("{round}/{n}");
                let data = json!({ "room_id": room, "client_message_id": Uuid::new_v4(), "body": body });
                burst.extend(client_text(&json!({ "type": "message.post", "data": data }).to_string()));
                expected.push(body);
            }
            raw.sends(&burst).await;
            for _ in 0..100 {
                raw.frame().await.expect("reads").expect("an answer");
            }
        }
        assert_eq!(house.admin.reads(room).await, expected);
    }
);
