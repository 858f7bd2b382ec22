//! What is said while it is said: whoever listens, whenever they came and however often they lost their socket, has each byte once.

use super::scene::{Follower, PLACEHOLDER, Scene, asks, assistant};
use crate::harness::upstream::script::{Gate, Script, says};
use crate::harness::{Ground, House, PATIENCE, Person, on_both};
use crate::rest::Caller;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

on_both!(
    /// Proves AI-08.
    who_comes_in_the_middle_has_all_of_it,
    async |ground| {
        let scene = Scene::open(ground).await;
        let (first, second) = (Gate::new(), Gate::new());
        let script = says(["Stra", "ße 🙂 ", "日本"]).then_waits_for(&first).then_says(["語 "]).then_waits_for(&second);
        scene.upstream.answers(script.then_says(["ende"]));
        let mut follower = scene.follows().await;
        let asked = scene.asks("what?").await;
        follower.hears_said(asked.run, "Straße 🙂 日本").await;

        let bob = scene.house.joined_by("Bob").await;
        let mut newcomer = bob.connects().await;
        let subscribed = newcomer.joins(scene.lobby(), None).await;
        let stream = json!({ "run_id": asked.run, "message_id": asked.message, "state": "running", "text": "Straße 🙂 日本" });
        assert_eq!(subscribed.room["streams"], json!([stream]));
        newcomer.socket.close().await.expect("closes");
        let mut newcomer = Follower::of(&bob, scene.lobby()).await;
        assert_eq!(newcomer.said[&asked.run], "Straße 🙂 日本");

        first.opens();
        newcomer.hears_said(asked.run, "Straße 🙂 日本語 ").await;
        // Gone while more is said, and back before the end.
        let again = bob.connects().await;
        newcomer.goes_on_by(again).await;
        assert_eq!(newcomer.said[&asked.run], "Straße 🙂 日本語 ");
        second.opens();
        for listening in [&mut follower, &mut newcomer] {
            let end = listening.hears_the_end(asked.run).await;
            assert_eq!((&end["body"], &end["state"]), (&json!("Straße 🙂 日本語 ende"), &json!("done")));
        }
        // Who comes after it finds it over.
        let late = scene.house.admin.connects().await.joins(scene.lobby(), None).await;
        assert!(late.room["streams"].as_array().is_none_or(Vec::is_empty), "{}", late.room);
    }
);

/// What has come is stored as it comes, so that whoever can't listen reads it.
///
/// Proves AI-07.
#[tokio::test]
async fn what_was_said_is_stored_meanwhile() {
    let settings = ["ai.checkpoint_ms=50"];
    let scene = Scene::open_with(Ground::Sqlite, &settings).await;
    let gate = Gate::new();
    scene.upstream.answers(says(["so ", "far ✓"]).then_waits_for(&gate).then_says(["."]));
    let asked = scene.asks("what?").await;
    scene.run_becomes(asked.run, "stored in part", |run| run["text"] == "so far ✓").await;
    let message = scene.message(asked.message).await;
    assert_eq!((&message["body"], &message["run"]["text"]), (&json!(PLACEHOLDER), &json!("so far ✓")));
    gate.opens();
    scene.run_becomes(asked.run, "done", |run| run["state"] == "done" && run.get("text").is_none()).await;
    assert_eq!(scene.message(asked.message).await["body"], "so far ✓.");
}

/// Proves AI-07.
#[tokio::test]
async fn pieces_that_come_at_once_are_told_together() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.coalesce_ms=30000"]).await;
    let words: Vec<String> = (0..200).map(|word| format!("{word} ")).collect();
    let gate = Gate::new();
    let first = says(["first "]).then_waits_for(&gate);
    scene.upstream.answers(first.then_says(words.iter().map(String::as_str)));
    let mut follower = scene.follows().await;
    let asked = scene.asks("count").await;
    follower.hears_said(asked.run, "first ").await;
    gate.opens();
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!(end["body"], format!("first {}", words.concat()));
    assert!(follower.pieces[&asked.run] <= 3, "told in {} pieces", follower.pieces[&asked.run]);
}

/// Who can't take a piece is told to subscribe anew, and then has it: there is never a hole.
///
/// Proves AI-07, AI-08.
#[tokio::test]
async fn a_slow_reader_comes_anew_and_has_no_hole() {
    let flags = [
        "socket.outbox_bytes=524288",
        "socket.stall_ms=600000",
        "heartbeat.dead_after_ms=600000",
        "presence.lease_ms=700000",
        "typing.throttle_ms=0",
    ];
    let scene = Scene::open_with(Ground::Sqlite, &flags).await;
    let gate = Gate::new();
    let more = "mehr ✓ ".repeat(300);
    scene.upstream.answers(says(["a ", "ß "]).then_waits_for(&gate).then_says([more.as_str()]));
    let bob = scene.house.joined_by("Bob").await;
    let mut slow = Follower::of(&bob, scene.lobby()).await;
    let mut quick = scene.follows().await;
    let asked = scene.asks("what?").await;
    slow.hears_said(asked.run, "a ß ").await;
    quick.hears_said(asked.run, "a ß ").await;

    // Until it can't take signals any more, but before its events are too many.
    let eve = scene.house.joined_by("Eve").await;
    let mut typist = eve.listens_to(scene.lobby()).await;
    let body = "y".repeat(16_000);
    let began = Instant::now();
    while scene.house.metric("hearth_signals_dropped_total", "").await < 0.5 {
        assert!(began.elapsed() < PATIENCE * 3, "it takes all");
        for _ in 0..4 {
            scene
                .house
                .admin
                .client
                .post_message(scene.lobby(), Uuid::new_v4(), &body)
                .await
                .expect("posted");
            quick.hears_message(&body).await;
            typist.hears_message().await;
        }
        for kind in ["typing.start", "typing.stop"] {
            typist.asks(kind, json!({ "room_id": scene.lobby() })).await;
        }
    }
    gate.opens();
    let whole = format!("a ß {more}");
    let end = quick.hears_the_end(asked.run).await;
    assert_eq!(end["body"], whole);
    while !slow.ended.contains_key(&asked.run) {
        slow.next().await;
    }
    assert_eq!(slow.ended[&asked.run]["body"], whole);
    assert!(slow.resyncs >= 1, "what it couldn't take was a piece");
}

/// An answer of random words of all kinds of letters, with pauses.
fn rambles(random: &mut StdRng, topic: &str) -> (Script, String) {
    let words = ["a", "ß ", "日本語", "🙂🙂", " ", "\n", "word ", "é", "…", "long words take longer "];
    let mut whole = format!("{topic}:");
    let mut script = says([whole.as_str()]);
    for _ in 0..random.random_range(20..60) {
        let word = words[random.random_range(0..words.len())];
        whole.push_str(word);
        script = script.then_pauses(Duration::from_millis(random.random_range(0..25))).then_says([word]);
    }
    (script, whole)
}

/// Comes, goes and comes back at random until all these runs have ended.
async fn comes_and_goes(person: Person, room: u64, runs: Vec<u64>, mut random: StdRng) -> Follower {
    let mut follower = Follower::of(&person, room).await;
    let began = Instant::now();
    while !runs.iter().all(|run| follower.ended.contains_key(run)) {
        assert!(began.elapsed() < PATIENCE * 2, "heard the ends of {:?} only", follower.ended.keys());
        let frames = random.random_range(1..25);
        for _ in 0..frames {
            if tokio::time::timeout(Duration::from_millis(150), follower.next()).await.is_err() {
                break;
            }
        }
        match random.random_range(0..4) {
            0 => {
                let socket = person.connects().await;
                follower.goes_on_by(socket).await;
            }
            1 => tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await,
            _ => {}
        }
    }
    follower
}

/// Many listen to many answers at once, and lose their sockets all the time.
///
/// Proves AI-07, AI-08.
#[tokio::test]
async fn nobody_misses_or_hears_twice_whatever_becomes_of_their_socket() {
    const LISTENERS: usize = 8;
    const ASSISTANTS: usize = 5;
    let seed: u64 =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene =
        Scene::open_with(Ground::Sqlite, &["ai.workers=8", "ai.coalesce_ms=10", "ai.user_queue=50"]).await;
    let House { admin, .. } = &scene.house;
    // In one room they answer one after the other, so there are several rooms, and somebody listens to each.
    let mut rooms = vec![scene.lobby()];
    for name in ["Attic", "Den", "Yard"] {
        rooms.push(admin.client.create_room("open", name, &[]).await.expect("a room").id);
    }
    for at in 1..ASSISTANTS {
        assistant(&scene.house, &format!("Bot{at}"), &scene.upstream.url(), json!({})).await;
    }
    let mut wanted = std::collections::HashMap::new();
    let mut runs = vec![Vec::new(); rooms.len()];
    let mut scripts = Vec::new();
    let ann = Caller::of(admin);
    let start = Gate::new();
    for at in 0..ASSISTANTS {
        for room in 0..rooms.len() {
            scripts.push((at, room, rambles(&mut random, &format!("topic-{at}-{room}."))));
        }
    }
    let by_topic: Vec<(String, Script)> = scripts
        .iter()
        .map(|(at, room, (script, _))| (format!("topic-{at}-{room}."), script.clone().once(&start)))
        .collect();
    scene.upstream.always_answers_by(move |asked| {
        // Earlier questions are in the prompt, too: the last one is meant.
        let said = asked.said_by("user").concat();
        let last = by_topic.iter().max_by_key(|(topic, _)| said.rfind(topic.as_str()));
        last.expect("a topic").1.clone()
    });
    for (at, room, (_, whole)) in scripts {
        let name = if at == 0 { "Ada".to_owned() } else { format!("Bot{at}") };
        let asked = asks(&ann, rooms[room], &format!("@{name} about topic-{at}-{room}.")).await;
        runs[room].push(asked.run);
        wanted.insert(asked.run, whole);
    }
    let mut listeners = Vec::new();
    for at in 0..LISTENERS {
        let person = scene.house.joined_by(&format!("Listener{at}")).await;
        let room = at % rooms.len();
        let random = StdRng::seed_from_u64(random.random());
        let runs = runs[room].clone();
        listeners.push(tokio::spawn(comes_and_goes(person, rooms[room], runs, random)));
    }
    start.opens();
    for listener in listeners {
        let follower = listener.await.unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
        for (run, end) in &follower.ended {
            assert_eq!(end["state"], "done", "SEED={seed}: {end}");
            assert_eq!(end["body"], json!(wanted[run].trim_end_matches('\0')), "SEED={seed}");
        }
    }
}
