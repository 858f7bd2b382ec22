//! How far one has read: the same number for everybody who counts, on every device.

use crate::harness::{Ground, House, Listener, Person, on_both};
use loadtest::socket::Frame;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// A repeatable source of chance (xorshift).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

fn inbox(listener: &Listener) -> u64 {
    let rooms = &listener.socket.welcome().rooms;
    rooms.iter().find(|room| room.kind == "inbox").expect("everybody has an inbox").room_id
}

/// A room as its reader sees it by REST: how far they have read, and what is left.
async fn reads(person: &Person, room: u64) -> (u64, u64) {
    let path = format!("/rooms/{room}");
    let (_, room) = person.client.call::<Value>(Method::GET, &path, &[], None).await.expect("the room");
    (room["read"].as_u64().expect("read"), room["unread"].as_u64().expect("unread"))
}

/// What is left, counted anew from the messages that are there.
async fn recounted(person: &Person, room: u64, read: u64) -> u64 {
    let (path, mut unread) = (format!("/rooms/{room}/messages"), 0);
    let mut query = vec![("limit", "100".to_owned())];
    loop {
        let (_, page) = person.client.call::<Value>(Method::GET, &path, &query, None).await.expect("a page");
        let messages = page["messages"].as_array().expect("messages");
        let is_unread = |message: &&Value| {
            message["seq"].as_u64() > Some(read) && message["author"]["id"] != json!(person.id)
        };
        unread += messages.iter().filter(is_unread).count() as u64;
        match page["next"].as_str() {
            Some(next) => query = vec![("limit", "100".to_owned()), ("cursor", next.to_owned())],
            None => return unread,
        }
    }
}

/// What the reader's inbox says last of the room.
async fn last_marked(person: &Person, inbox: u64, room: u64) -> u64 {
    let log = person.client.room_log(inbox, 0).await.expect("the inbox");
    let marks = log.events.iter().filter(|event| event.kind == "read.marked");
    let of_room = marks.filter(|event| event.json["data"]["room_id"] == json!(room));
    of_room.filter_map(|event| event.json["data"]["read"].as_u64()).next_back().unwrap_or_default()
}

/// One device does what people do, in an order of its own.
async fn lives(person: Arc<Person>, room: u64, head: Arc<AtomicU64>, mut chance: Chance) {
    let mut device = person.listens_to(room).await;
    let mut own: Vec<(u64, u64)> = Vec::new();
    for n in 0..30 {
        match chance.below(10) {
            0..=3 => {
                let ack = device.posts(room, &format!("number {n}")).await;
                head.fetch_max(ack.seq, Ordering::Relaxed);
                own.push((ack.id, 1));
            }
            4 if !own.is_empty() => {
                let index = usize::try_from(chance.below(own.len() as u64)).expect("small");
                let (message_id, version) = own[index];
                let edit = json!({ "room_id": room, "message_id": message_id, "version": version, "body": "better" });
                device.asks("message.edit", edit).await;
                own[index].1 += 1;
            }
            5 | 6 if !own.is_empty() => {
                let index = usize::try_from(chance.below(own.len() as u64)).expect("small");
                let (message_id, _) = own.swap_remove(index);
                device.asks("message.delete", json!({ "room_id": room, "message_id": message_id })).await;
            }
            _ => {
                let seq = chance.below(head.load(Ordering::Relaxed) + 1);
                device.asks("read.mark", json!({ "room_id": room, "seq": seq })).await;
            }
        }
    }
}

on_both!(
    /// The seed comes from `SEED`; a failure prints it.
    ///
    /// Proves PRES-06.
    unread_is_what_a_recount_gives_whatever_several_devices_did,
    async |ground| {
        for seed in seed()..seed() + 3 {
            let house = House::open(ground).await;
            let bob = Arc::new(house.joined_by("Bob").await);
            let cleo = Arc::new(house.joined_by("Cleo").await);
            let (room, head) = (house.lobby, Arc::new(AtomicU64::new(1)));
            let mut devices = Vec::new();
            for (n, person) in [&bob, &bob, &cleo, &cleo].into_iter().enumerate() {
                let chance = Chance::new(seed * 10 + n as u64);
                devices.push(tokio::spawn(lives(Arc::clone(person), room, Arc::clone(&head), chance)));
            }
            for device in devices {
                device.await.unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
            }
            for person in [&bob, &cleo] {
                let (read, unread) = reads(person, room).await;
                assert_eq!(unread, recounted(person, room, read).await, "SEED={seed}, read {read}");
                let mut phone = person.connects().await;
                let entry = phone.socket.welcome().rooms.iter().find(|entry| entry.room_id == room);
                assert_eq!(entry.map(|entry| (entry.read, entry.unread)), Some((read, unread)), "SEED={seed}");
                // The answer to a mark counts in its own transaction.
                let again = phone.asks("read.mark", json!({ "room_id": room, "seq": read })).await;
                assert_eq!(again, json!({ "room_id": room, "read": read, "unread": unread }), "SEED={seed}");
                let inbox = inbox(&phone);
                assert_eq!(last_marked(person, inbox, room).await, read, "SEED={seed}");

                // Reading on one device clears the others.
                phone.joins(inbox, None).await;
                let mut desk = person.listens_to(room).await;
                let end = desk.posts(room, "mine, and so not unread").await.seq;
                let marked = desk.asks("read.mark", json!({ "room_id": room, "seq": end })).await;
                assert_eq!(marked["unread"], 0);
                let heard = phone.hears().await;
                assert_eq!((heard.kind.as_str(), &heard.json["data"]["read"]), ("read.marked", &json!(end)));
                assert_eq!(reads(person, room).await, (end, 0));
            }
        }
    }
);

on_both!(
    /// Killed in the middle of read marks again and again: mark and event are one, and what was answered or heard is kept.
    ///
    /// Proves PRES-01.
    a_kill_leaves_read_mark_and_event_both_or_neither,
    async |ground| {
        let mut house = House::open(ground).await;
        let bob = house.joined_by("Bob").await;
        let room = house.lobby;
        let mut ann = house.admin.connects().await;
        for n in 0..200 {
            ann.socket.send_post(room, Uuid::new_v4(), &format!("number {n}")).await.expect("sent");
        }
        ann.posts(room, "the last").await;
        let mut chance = Chance::new(seed());
        let mut from = 1;
        for _ in 0..4 {
            let mut desk = bob.connects().await;
            let mut phone = bob.connects().await;
            let inbox = inbox(&phone);
            phone.joins(inbox, None).await;
            let marks: Vec<u64> = (from..from + 50).collect();
            for seq in &marks {
                desk.socket.send("read.mark", &json!({ "room_id": room, "seq": seq })).await.expect("sent");
            }
            // After some of them were heard of elsewhere, and others are under way.
            let mut heard = 0;
            for _ in 0..=chance.below(8) {
                heard = phone.hears().await.json["data"]["read"].as_u64().expect("read");
            }
            house.server.kill().expect("killed");
            let mut answered = 0;
            while let Ok(Ok(frame)) = tokio::time::timeout(Duration::from_secs(5), desk.socket.next()).await {
                if let Frame::Reply { data, .. } = frame {
                    answered = data["read"].as_u64().expect("read");
                }
            }
            while let Ok(Ok(frame)) = tokio::time::timeout(Duration::from_secs(5), phone.socket.next()).await {
                if let Frame::Event(event) = frame {
                    heard = event.json["data"]["read"].as_u64().expect("read");
                }
            }
            house.server.restart().await.expect("comes back");
            let (read, unread) = reads(&bob, room).await;
            assert_eq!(last_marked(&bob, inbox, room).await, read, "one without the other");
            assert!(read >= answered && read >= heard, "read {read}, answered {answered}, heard {heard}");
            assert_eq!(unread, recounted(&bob, room, read).await);
            from = read.max(from) + 1;
        }
    }
);
