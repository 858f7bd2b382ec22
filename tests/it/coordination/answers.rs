//! Each command gets one answer: an ack or an error, whatever else goes on and however the socket ends.

use crate::harness::{Ground, House, PATIENCE, on_both};
use crate::raw::Raw;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Instant;
use uuid::Uuid;

/// A command of any kind, good or bad. Posts are noted with their ids.
fn command(random: &mut StdRng, name: &str, room: u64, me: u64, posts: &mut Vec<Uuid>) -> Value {
    let frame = |kind: &str, data: Value| json!({ "type": kind, "request_id": name, "data": data });
    match random.random_range(0..11) {
        0..=3 => {
            let id = Uuid::new_v4();
            posts.push(id);
            frame("message.post", json!({ "room_id": room, "client_message_id": id, "body": id }))
        }
        4 => match posts.choose(random) {
            Some(id) => {
                frame("message.post", json!({ "room_id": room, "client_message_id": id, "body": id }))
            }
            None => frame("ping.pong", json!({})),
        },
        5 => frame("message.post", json!({ "room_id": 0, "client_message_id": Uuid::new_v4(), "body": "x" })),
        6 => frame("message.edit", json!({ "room_id": room, "message_id": 1, "version": 1, "body": "x" })),
        7 => frame("message.delete", json!({ "room_id": room, "message_id": 999_999 })),
        8 => frame("room.subscribe", json!({ "rooms": [{ "room_id": room, "after": 0 }, { "room_id": 0 }] })),
        9 => frame("read.mark", json!({ "room_id": room, "seq": 1 })),
        _ => frame("room.create", json!({ "kind": "direct", "members": [me] })),
    }
}

/// Reads until everything in `wanted` was answered, or the socket ended; how often each was answered.
async fn answers(raw: &mut Raw, wanted: usize) -> HashMap<String, usize> {
    let mut answers: HashMap<String, usize> = HashMap::new();
    while answers.len() < wanted {
        let Ok(Some(frame)) = raw.frame().await else { break };
        if frame.opcode != 1 {
            continue;
        }
        let frame: Value = serde_json::from_slice(&frame.payload).expect("JSON");
        if let ("reply" | "error", Some(name)) =
            (frame["type"].as_str().expect("a type"), frame["request_id"].as_str())
        {
            *answers.entry(name.to_owned()).or_default() += 1;
        }
    }
    answers
}

on_both!(
    /// Thirty sockets pipeline commands; of each three one stays, one says goodbye and one is cut off in the middle. Who stays is
    /// answered once for each command; nobody twice; and what was posted is there once, when it is repeated.
    ///
    /// Proves OPT-02, OPT-04.
    each_command_is_answered_once,
    async |ground| {
        let house = House::open_with(ground, &["--set", "socket.invalid_frames=1000"]).await;
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        let mut random = StdRng::seed_from_u64(seed);
        let room = house.lobby;
        let mut posts = Vec::new();
        for round in 0..30 {
            let mut raw = Raw::connect(&house.url(), &house.admin.credentials()).await;
            let count = random.random_range(1..40);
            for number in 0..count {
                let name = format!("{round}-{number}");
                raw.says(&command(&mut random, &name, room, house.admin.id, &mut posts)).await;
            }
            match round % 3 {
                0 => {
                    // What comes after it is an answer too many to one of those before.
                    raw.says(&json!({ "type": "read.mark", "request_id": "last", "data": { "room_id": 0, "seq": 1 } }))
                        .await;
                    let told = answers(&mut raw, count + 1).await;
                    assert_eq!(told.len(), count + 1, "SEED={seed}, round {round}");
                    raw.says(&json!({ "type": "read.mark", "request_id": "end", "data": { "room_id": 0, "seq": 1 } }))
                        .await;
                    let more = answers(&mut raw, 1).await;
                    assert_eq!(more.keys().collect::<Vec<_>>(), ["end"], "SEED={seed}, round {round}");
                    assert!(told.values().all(|&times| times == 1), "SEED={seed}, round {round}: {told:?}");
                }
                1 => {
                    // A masked close frame with code 1000; its mask is zero.
                    raw.sends(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await;
                    let told = answers(&mut raw, usize::MAX).await;
                    assert!(told.len() <= count && told.values().all(|&times| times == 1), "SEED={seed}: {told:?}");
                }
                _ => drop(raw),
            }
        }
        // Nobody holds on to those who went without an answer.
        house.metric_becomes("hearth_queue_depth", "commands", 0.0).await;
        let mut ann = house.admin.connects().await;
        let deadline = Instant::now() + PATIENCE + PATIENCE;
        for id in &posts {
            assert!(Instant::now() < deadline, "SEED={seed}: repeating takes too long");
            ann.socket.post(room, *id, &id.to_string()).await.unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
        }
        let mut read = house.admin.reads(room).await;
        let mut wanted: Vec<String> = posts.iter().map(Uuid::to_string).collect();
        read.sort();
        wanted.sort();
        assert_eq!(read, wanted, "SEED={seed}: each post once");
    }
);
