//! Many ask at once: what waits is bounded, each room is served in its order, and no room holds up another.

use super::scene::{Follower, Scene, asks, is_refused, summons};
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Ground, PATIENCE, Person, on_both};
use crate::rest::Caller;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// These people, with their calls.
async fn people(scene: &Scene, count: usize) -> Vec<(Person, Caller)> {
    let mut people = Vec::new();
    for at in 0..count {
        let person = scene.house.joined_by(&format!("Person{at}")).await;
        let calls = Caller::of(&person);
        people.push((person, calls));
    }
    people
}

async fn room(scene: &Scene, name: &str) -> u64 {
    scene.house.admin.client.create_room("open", name, &[]).await.expect("a room").id
}

on_both!(
    /// Proves AI-01.
    a_slow_engine_in_one_room_holds_up_no_other,
    async |ground| {
        let scene = Scene::open_with(ground, &["ai.workers=2"]).await;
        let (gate, other) = (Gate::new(), room(&scene, "Other").await);
        scene.upstream.answers(says(["slow"]).then_waits_for(&gate));
        let mut here = scene.follows().await;
        let slow = scene.asks("what?").await;
        here.hears_said(slow.run, "slow").await;
        let mut there = Follower::of(&scene.house.admin, other).await;
        for _ in 0..3 {
            let quick = scene.asks_in(other, "what?").await;
            assert_eq!(there.hears_the_end(quick.run).await["body"], "Hello there.");
        }
        gate.opens();
        assert_eq!(here.hears_the_end(slow.run).await["body"], "slow");
    }
);

on_both!(
    /// Proves AI-02, AI-21.
    a_full_queue_says_so_at_once,
    async |ground| {
        let settings = ["ai.workers=1", "ai.queue=3", "ai.room_queue=2", "ai.user_queue=2"];
        let scene = Scene::open_with(ground, &settings).await;
        let (people, other) = (people(&scene, 3).await, room(&scene, "Other").await);
        let gate = Gate::new();
        scene.upstream.always_answers(says(["so"]).then_waits_for(&gate));
        let lobby = scene.lobby();
        let mut follower = scene.follows().await;
        let first = asks(&people[0].1, lobby, "@Ada one?").await;
        follower.hears_said(first.run, "so").await;
        let second = asks(&people[1].1, lobby, "@Ada two?").await;
        let is_full = |refused: &Value| {
            assert_eq!((&refused["code"], &refused["retryable"]), (&json!("ai_queue_full"), &json!(true)));
            assert!(refused["retry_after_ms"].as_u64() > Some(0), "{refused}");
        };
        // The room's, then all.
        is_full(&is_refused(&people[2].1, lobby, "@Ada three?").await);
        let third = asks(&people[2].1, other, "@Ada three?").await;
        is_full(&is_refused(&people[0].1, other, "@Ada four?").await);
        let prompt = scene.ann().says(other, "nobody in particular").await;
        let ask = json!({ "message_id": prompt, "assistant_id": scene.ada });
        let refused = scene.ann().post(&format!("/rooms/{other}/runs"), ask.clone()).await;
        refused.is_problem(429, "ai_queue_full", None);
        // It is seen from outside.
        scene.house.metric_becomes("hearth_ai_runs_open", "\"queued\"", 2.0).await;
        scene.house.metric_becomes("hearth_ai_runs_open", "\"running\"", 1.0).await;
        let began = Instant::now();
        while scene.house.metric("hearth_ai_oldest_seconds", "").await <= 0.0 {
            assert!(began.elapsed() < PATIENCE, "nothing ages");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gate.opens();
        for run in [first.run, second.run] {
            follower.hears_the_end(run).await;
        }
        let mut there = Follower::of(&scene.house.admin, other).await;
        let began = Instant::now();
        while scene.run(other, third.run).await["state"] != "done" {
            assert!(began.elapsed() < PATIENCE, "never done");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // There is room again.
        let asked = scene.ann().post(&format!("/rooms/{other}/runs"), ask).await.expect(201);
        there.hears_the_end(asked["id"].as_u64().expect("an id")).await;
    }
);

/// Two rooms, one of them flooded before the other asks, and one worker: whoever asks in the other waits for at most the answer
/// under way and one more.
///
/// Proves AI-04.
#[tokio::test]
async fn a_flooded_room_waits_for_itself() {
    let settings = ["ai.workers=1", "ai.room_queue=20", "ai.user_queue=20"];
    let scene = Scene::open_with(Ground::Sqlite, &settings).await;
    let (people, other) = (people(&scene, 8).await, room(&scene, "Other").await);
    let gate = Gate::new();
    scene.upstream.always_answers(says(["so"]).then_waits_for(&gate));
    let mut follower = scene.follows().await;
    let mut flood = Vec::new();
    for (_, calls) in &people {
        flood.push(asks(calls, scene.lobby(), "@Ada flood?").await.run);
    }
    follower.hears_said(flood[0], "so").await;
    let quiet: Vec<u64> = vec![
        asks(&people[0].1, other, "@Ada one?").await.run,
        asks(&people[1].1, other, "@Ada two?").await.run,
    ];
    gate.opens();
    for run in &flood {
        follower.hears_the_end(*run).await;
    }
    let mut starts = HashMap::new();
    for run in &flood {
        starts.insert(
            *run,
            scene.run(scene.lobby(), *run).await["started_at"].as_str().expect("a time").to_owned(),
        );
    }
    for run in &quiet {
        starts.insert(*run, scene.run(other, *run).await["started_at"].as_str().expect("a time").to_owned());
    }
    let mut order: Vec<u64> = starts.keys().copied().collect();
    order.sort_by_key(|run| (starts[run].clone(), *run));
    let place = |run: &u64| order.iter().position(|other| other == run).expect("there");
    assert!(place(&quiet[0]) <= 2, "waited for {} of the others", place(&quiet[0]));
    assert!(place(&quiet[1]) <= place(&quiet[0]) + 3, "by turns: {order:?} {quiet:?}");
    // In each room in the order of asking, as the engine saw it.
    let in_order: Vec<u64> = order.iter().copied().filter(|run| flood.contains(run)).collect();
    assert_eq!(in_order, flood);
    assert!(place(&quiet[0]) < place(&quiet[1]));
}

/// However many workers there are, answers of a room follow each other, in the order of asking.
///
/// Proves AI-04.
#[tokio::test]
async fn answers_of_a_room_keep_their_order() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.workers=4"]).await;
    let people = people(&scene, 6).await;
    scene.upstream.always_answers_by(|asked| {
        // The later, the quicker.
        says(["so"]).after(Duration::from_millis(200 / asked.number as u64))
    });
    let mut follower = scene.follows().await;
    let mut runs = Vec::new();
    for (_, calls) in &people {
        runs.push(asks(calls, scene.lobby(), "@Ada?").await.run);
    }
    let mut ended = Vec::new();
    while ended.len() < runs.len() {
        follower.next().await;
        let new = runs.iter().find(|run| follower.ended.contains_key(run) && !ended.contains(*run));
        ended.extend(new);
    }
    assert_eq!(ended, runs);
    // As the engine saw it: that one begins may be heard before the end of the one before, which is in the log by then.
    let requests = scene.upstream.requests();
    assert_eq!(requests.len(), runs.len());
    for (number, next) in (1..).zip(&requests[1..]) {
        assert!(scene.upstream.ended(number).await.1 <= next.at, "two at once");
    }
}

/// One person asks in as many rooms as there are workers: one of these stays free for others, and the last of their questions waits.
///
/// Proves AI-04.
#[tokio::test]
async fn nobody_has_all_workers() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.workers=4", "ai.user_queue=8"]).await;
    let (people, gate) = (people(&scene, 2).await, Gate::new());
    let slow = gate.clone();
    scene.upstream.always_answers_by(move |asked| match asked.json.to_string().contains("take your time") {
        true => says(["slow"]).then_waits_for(&slow),
        false => says(["quick"]),
    });
    let mut taken = Vec::new();
    for nth in 0..4 {
        let room = room(&scene, &format!("Room{nth}")).await;
        taken.push((room, asks(&people[0].1, room, "@Ada take your time").await.run));
    }
    for _ in 0..3 {
        scene.upstream.is_asked().await;
    }
    let mut follower = scene.follows().await;
    let quick = asks(&people[1].1, scene.lobby(), "@Ada now?").await;
    assert_eq!(follower.hears_the_end(quick.run).await["body"], "quick");
    let (last, run) = taken[3];
    assert_eq!(scene.run(last, run).await["state"], "queued", "with a worker that has nothing to do");
    let mut there = Follower::of(&scene.house.admin, last).await;
    gate.opens();
    assert_eq!(there.hears_the_end(run).await["body"], "slow");
}

/// Twenty questions a second of engines that take half a second: what waits stays bounded, all are told something at once, and what
/// can be kept up is seen.
///
/// Proves AI-03.
#[tokio::test]
async fn twenty_questions_a_second_are_borne() {
    const SECONDS: u64 = 4;
    let settings = ["ai.workers=4", "ai.queue=16", "ai.user_queue=16", "ai.room_queue=16"];
    let scene = Scene::open_with(Ground::Sqlite, &settings).await;
    scene.upstream.always_answers(says(["so"]).after(Duration::from_millis(500)));
    let mut rooms = Vec::new();
    for at in 0..10 {
        rooms.push(room(&scene, &format!("Room{at}")).await);
    }
    // More conversations than may wait: it isn't one answer at a time in each that bounds it.
    let people = people(&scene, 8).await;
    let ann = scene.ann();
    let (began, mut asked, mut refused, mut most) = (Instant::now(), 0, 0, 0);
    for at in 0..20 * SECONDS {
        tokio::time::sleep_until((began + Duration::from_millis(at * 50)).into()).await;
        let at = at as usize;
        let (_, run) = summons(&people[at % people.len()].1, rooms[at % rooms.len()], "@Ada?").await;
        match run["error"]["code"].as_str() {
            None => asked += 1,
            Some("ai_queue_full" | "ai_busy") => refused += 1,
            other => panic!("{other:?}: {run}"),
        }
        most = most.max(scene.upstream.open());
        let waiting = ann.get("/ops").await.expect(200)["ai"]["queued"].as_u64().expect("a number");
        assert!(waiting <= 16, "{waiting} wait");
    }
    assert!(asked >= 20 && refused > 0, "{asked} {refused}");
    assert!(most <= 4 + 4, "no more than there are workers, and connections that are kept: {most}");
    scene.house.metric_becomes("hearth_ai_runs_open", "\"queued\"", 0.0).await;
    let deadline = Instant::now() + PATIENCE;
    while scene.house.metric("hearth_ai_runs_total", "\"done\"").await < f64::from(asked) - 0.5 {
        assert!(Instant::now() < deadline, "not all are answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rate = scene.house.metric("hearth_ai_sustainable_rate", "").await;
    assert!((0.5..8.5).contains(&rate), "four workers at half a second make eight a second at best: {rate}");
    // It is what all workers do together, at the pace of late.
    let seconds = scene.house.metric("hearth_ai_run_seconds_sum", "").await
        / scene.house.metric("hearth_ai_run_seconds_count", "").await;
    assert!(
        (2.0..=6.0).contains(&(rate * seconds)),
        "{rate} a second at {seconds} s each: not of four workers"
    );
}
