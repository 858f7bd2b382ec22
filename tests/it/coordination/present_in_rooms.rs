//! Who has a room open, in one order with what is said there.

use crate::harness::{Ground, House, Listener, Person, on_both};
use diesel::connection::{Connection, SimpleConnection};
use diesel::pg::PgConnection;
use loadtest::socket::Frame;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A room's people as one socket is told of them; what makes no sense fails.
struct Attendance {
    names: Option<BTreeSet<u64>>,
    count: u64,
    joined: Vec<u64>,
    left: Vec<u64>,
}

fn ids(list: &Value) -> Vec<u64> {
    let id = |one: &Value| one.as_u64().or_else(|| one["id"].as_u64()).expect("an id");
    list.as_array().map(|list| list.iter().map(id).collect()).unwrap_or_default()
}

impl Attendance {
    /// Begins with the snapshot of a subscription.
    fn of(snapshot: &Value) -> Self {
        let names = snapshot.get("present").map(|present| ids(present).into_iter().collect::<BTreeSet<_>>());
        let count = snapshot["present_count"].as_u64().expect("a count");
        assert!(names.as_ref().is_none_or(|names| names.len() as u64 == count), "{snapshot}");
        Self { names, count, joined: Vec::new(), left: Vec::new() }
    }

    fn take(&mut self, data: &Value) {
        self.count = data["count"].as_u64().expect("a count");
        if let Some(present) = data.get("present") {
            self.names = Some(ids(present).into_iter().collect());
        } else if data.get("joined").is_some() {
            let names = self.names.as_mut().expect("changes follow a list");
            for user in ids(&data["left"]) {
                assert!(names.remove(&user), "{user} left twice: {data}");
                self.left.push(user);
            }
            for user in ids(&data["joined"]) {
                assert!(names.insert(user), "{user} joined twice: {data}");
                self.joined.push(user);
            }
        } else {
            self.names = None;
        }
        assert!(self.names.as_ref().is_none_or(|names| names.len() as u64 == self.count), "{data}");
    }

    /// Takes what a frame says of it.
    fn see(&mut self, frame: &Frame) {
        if let Frame::Signal { kind, json } = frame
            && kind == "room.presence"
        {
            self.take(&json["data"]);
        }
    }

    fn has(&self, user: u64) -> bool {
        self.names.as_ref().is_some_and(|names| names.contains(&user))
    }
}

/// Subscribes, and folds from the snapshot on.
async fn attends(person: &Person, room: u64) -> (Listener, Attendance) {
    let mut listener = person.connects().await;
    let snapshot = listener.joins(room, None).await.room;
    (listener, Attendance::of(&snapshot))
}

/// Listens until the attendance is as wanted.
async fn until(listener: &mut Listener, attendance: &mut Attendance, wanted: impl Fn(&Attendance) -> bool) {
    while !wanted(attendance) {
        let frame = listener.next().await;
        attendance.see(&frame);
    }
}

on_both!(
    /// Proves CONN-02.
    nobody_hears_of_themselves_before_they_are_in,
    async |ground| {
        let house = House::open(ground).await;
        let other = house.admin.client.create_room("open", "Other", &[]).await.expect("makes a room").id;
        let mut people = Vec::new();
        for n in 0..6 {
            people.push(house.joined_by(&format!("Guest{n}")).await);
        }
        let (mut ann, mut attendance) = attends(&house.admin, house.lobby).await;
        let everybody: BTreeSet<u64> = people.iter().map(|one| one.id).chain([house.admin.id]).collect();
        let mut joins = Vec::new();
        for person in people {
            let (lobby, room) = (house.lobby, other);
            joins.push(tokio::spawn(async move {
                let mut listener = person.connects().await;
                let rooms = json!({ "rooms": [{ "room_id": lobby }, { "room_id": room }] });
                let asked = listener.socket.send("room.subscribe", &rooms).await.expect("sent");
                let reply = match listener.next().await {
                    Frame::Reply { request_id, data } if request_id.as_deref() == Some(&asked) => data,
                    other => panic!("before the confirmation: {other:?}"),
                };
                let mut attendance = Attendance::of(&reply["rooms"][0]["room"]);
                // One's own joined may follow; folded, everybody has the same people in the end.
                let me = person.id;
                while !attendance.has(me) {
                    match listener.next().await {
                        Frame::Signal { kind, json } if json["room_id"] == json!(lobby) => {
                            assert_eq!(kind, "room.presence");
                            attendance.take(&json["data"]);
                        }
                        _ => {}
                    }
                }
                listener
            }));
        }
        let mut open = Vec::new();
        for join in joins {
            open.push(join.await.expect("joins"));
        }
        until(&mut ann, &mut attendance, |at| at.names.as_ref() == Some(&everybody)).await;
        assert!(attendance.left.is_empty());
    }
);

/// One reply answers for several rooms: as long as one of them can't be loaded, the others' people hear nothing of it.
///
/// Proves CONN-02.
#[tokio::test]
async fn others_hear_of_a_join_only_when_it_is_confirmed() {
    let database = crate::postgres::database();
    let house = House::open_on(&database, &[]).await;
    let (bob, cleo) = (house.joined_by("Bob").await, house.joined_by("Cleo").await);
    let other = house.admin.client.create_room("open", "Other", &[]).await.expect("makes a room").id;
    let (mut ann, mut attendance) = attends(&house.admin, house.lobby).await;
    until(&mut ann, &mut attendance, |at| at.count == 1).await;
    let (mut tab, mut marker) = (bob.connects().await, cleo.connects().await);
    let mut keeper = PgConnection::establish(&database).expect("connects");
    keeper.batch_execute("BEGIN; LOCK TABLE rooms IN ACCESS EXCLUSIVE MODE").expect("locked");
    let rooms = json!({ "rooms": [{ "room_id": house.lobby }, { "room_id": other }] });
    let asked = tab.socket.send("room.subscribe", &rooms).await.expect("sent");
    house.metric_becomes("hearth_subscriptions", "", 2.0).await;
    marker.joins(house.lobby, None).await;
    until(&mut ann, &mut attendance, |at| at.has(cleo.id)).await;
    assert!(!attendance.has(bob.id), "he was first, and has no answer yet");
    keeper.batch_execute("ROLLBACK").expect("let go");
    tab.socket.answer(&asked).await.expect("confirmed");
    until(&mut ann, &mut attendance, |at| at.has(bob.id)).await;
}

on_both!(
    /// Proves CONN-04.
    tabs_that_come_and_go_are_one_joined_and_one_left,
    async |ground| {
        let house = House::open_with(ground, &["--set", "presence.grace_ms=2500"]).await;
        let (room, bob, cleo) = (house.lobby, house.joined_by("Bob").await, house.joined_by("Cleo").await);
        let (mut ann, mut attendance) = attends(&house.admin, room).await;
        let mut tabs = Vec::new();
        for _ in 0..3 {
            tabs.push(bob.listens_to(room).await);
        }
        for _ in 0..5 {
            for tab in tabs.drain(..) {
                tab.socket.abort();
            }
            for _ in 0..3 {
                tabs.push(bob.listens_to(room).await);
            }
        }
        // Leaving the room is no different from closing the tab.
        for _ in 0..3 {
            tabs[0].asks("room.unsubscribe", json!({ "room_id": room })).await;
            tabs[0].joins(room, None).await;
        }
        // Cleo comes after all of that, and her grace is over after any of Bob's.
        let marker = cleo.listens_to(room).await;
        until(&mut ann, &mut attendance, |at| at.has(cleo.id)).await;
        marker.socket.abort();
        until(&mut ann, &mut attendance, |at| at.left.contains(&cleo.id)).await;
        assert_eq!(attendance.joined.iter().filter(|user| **user == bob.id).count(), 1, "{:?}", attendance.joined);
        assert_eq!(attendance.left, [cleo.id]);
        drop(tabs);
        until(&mut ann, &mut attendance, |at| at.left.len() == 2).await;
        assert_eq!(attendance.left, [cleo.id, bob.id]);
        assert_eq!(attendance.count, 1);
    }
);

on_both!(
    /// Proves CONN-08.
    who_posts_without_a_socket_has_joined_before,
    async |ground| {
        let house = House::open_with(ground, &["--set", "presence.grace_ms=300"]).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let (mut ann, mut attendance) = attends(&house.admin, room).await;
        for body in ["one", "two"] {
            bob.client.post_message(room, Uuid::new_v4(), body).await.expect("posted");
            for frame in ann.frames_until(body).await {
                attendance.see(&frame);
            }
            assert!(attendance.has(bob.id), "told before the message");
            until(&mut ann, &mut attendance, |at| at.left.contains(&bob.id)).await;
            attendance.left.clear();
        }
        assert_eq!(attendance.joined.iter().filter(|user| **user == bob.id).count(), 2);
    }
);

/// Reads one stream to its end: nobody speaks or types who isn't there, nobody types on after their message.
async fn in_order(ann: &mut Listener, attendance: &mut Attendance, end: &str) -> usize {
    let (mut typing, mut messages) = (BTreeSet::new(), 0);
    loop {
        let frame = ann.next().await;
        attendance.see(&frame);
        match &frame {
            Frame::Event(event) if event.kind == "message.posted" => {
                let author = event.json["data"]["author"]["id"].as_u64().expect("an author");
                if event.text("body") == Some(end) {
                    return messages;
                }
                assert!(attendance.has(author), "{author} speaks and isn't there: {}", event.json);
                assert!(!typing.contains(&author), "{author} types on after their message");
                messages += 1;
            }
            Frame::Signal { kind, json } if kind == "typing" => {
                let user = json["data"]["user"]["id"].as_u64().expect("a user");
                if json["data"]["typing"] == true {
                    assert!(attendance.has(user), "{user} types and isn't there");
                    assert!(typing.insert(user), "{user} began twice");
                } else {
                    assert!(typing.remove(&user), "{user} ended twice");
                }
            }
            _ => {}
        }
    }
}

on_both!(
    /// People come, type, post by both doors and go, with graces shorter than all of that.
    ///
    /// Proves CONN-06, CONN-08, TYPE-05.
    messages_typing_and_presence_are_one_order,
    async |ground| {
        let flags = ["--set", "presence.grace_ms=20", "--set", "presence.tick_ms=10", "--set", "typing.throttle_ms=1"];
        let house = House::open_with(ground, &flags).await;
        let room = house.lobby;
        let (mut first, mut at_first) = attends(&house.admin, room).await;
        let (mut second, mut at_second) = attends(&house.admin, room).await;
        let mut busy = Vec::new();
        for n in 0..4_u64 {
            let person = house.joined_by(&format!("Busy{n}")).await;
            busy.push(tokio::spawn(async move {
                for round in 0..12_u64 {
                    let mut tab = person.connects().await;
                    tab.joins(room, None).await;
                    tab.asks("typing.start", json!({ "room_id": room })).await;
                    tab.posts(room, "by socket").await;
                    tab.asks("typing.start", json!({ "room_id": room })).await;
                    if (round + n) % 3 == 0 {
                        tab.socket.close().await.expect("closes");
                    } else {
                        tab.socket.abort();
                    }
                    if (round + n) % 2 == 0 {
                        person.client.post_message(room, Uuid::new_v4(), "by REST").await.expect("posted");
                    }
                }
            }));
        }
        for one in busy {
            one.await.expect("done");
        }
        house.admin.client.post_message(room, Uuid::new_v4(), "the end").await.expect("posted");
        for (listener, attendance) in [(&mut first, &mut at_first), (&mut second, &mut at_second)] {
            assert_eq!(in_order(listener, attendance, "the end").await, 4 * 12 + 4 * 6);
            until(listener, attendance, |at| at.count == 1).await;
        }
    }
);

on_both!(
    /// Proves CONN-06.
    a_crowd_is_told_by_its_number_only,
    async |ground| {
        let flags = ["--set", "presence.names_up_to=4", "--set", "presence.grace_ms=100"];
        let house = House::open_with(ground, &flags).await;
        let room = house.lobby;
        let (mut ann, mut attendance) = attends(&house.admin, room).await;
        let mut crowd = Vec::new();
        for n in 0..6 {
            crowd.push(house.joined_by(&format!("One{n}")).await.listens_to(room).await);
        }
        until(&mut ann, &mut attendance, |at| at.count == 7).await;
        assert_eq!(attendance.names, None, "too many to name");
        let (_late, seen_late) = attends(&house.admin, room).await;
        assert_eq!((seen_late.names, seen_late.count), (None, 7));
        let stays = crowd.pop().expect("one");
        drop(crowd);
        until(&mut ann, &mut attendance, |at| at.count == 2).await;
        let named = attendance.names.as_ref().expect("few enough to be named again");
        assert!(named.contains(&house.admin.id), "{named:?}");
        drop(stays);
        until(&mut ann, &mut attendance, |at| at.count == 1).await;
        assert!(attendance.has(house.admin.id));
    }
);

on_both!(
    /// Proves CONN-08.
    who_is_removed_has_left,
    async |ground| {
        let house = House::open_with(ground, &["--set", "presence.grace_ms=3600000"]).await;
        let bob = house.joined_by("Bob").await;
        let room = house.closed_room("Secret", &[&bob]).await.id;
        let (mut ann, mut attendance) = attends(&house.admin, room).await;
        let _tab = bob.listens_to(room).await;
        until(&mut ann, &mut attendance, |at| at.has(bob.id)).await;
        ann.asks("member.remove", json!({ "room_id": room, "user_id": bob.id })).await;
        until(&mut ann, &mut attendance, |at| !at.has(bob.id)).await;
        assert_eq!(attendance.left, [bob.id], "without a grace");
    }
);
