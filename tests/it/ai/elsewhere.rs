//! Action requests where two processes share a database: whichever one asks, and whichever one a client is connected to.

use super::crashing::{on_two, second_beside};
use super::scene::Follower;
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Listener, PATIENCE};
use crate::rest::caller::{Answer, Caller};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use loadtest::socket::Frame;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Has the client asked: the request as it is when there is a result, or after 25 s.
fn asks_and_waits(bot: &Caller, user: u64, room: u64) -> tokio::task::JoinHandle<Answer> {
    let body = json!({ "user_id": user, "room_id": room, "kind": "dice.roll",
        "arguments": { "count": 2, "sides": 6 }, "timeout_ms": 200_000 });
    let bot = bot.clone();
    tokio::spawn(async move { bot.post("/actions?wait=25", body).await })
}

/// Waits until a process knows of so many requests.
async fn knows_of(url: &str, count: usize) {
    let began = Instant::now();
    loop {
        let text = reqwest::get(format!("{url}/metrics")).await.expect("metrics").text().await.expect("text");
        let known = |line: &str| line.starts_with("hearth_registry_entries") && line.contains("\"actions\"");
        if text.lines().any(|line| known(line) && line.ends_with(&format!(" {count}"))) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it never hears of it");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn is_asked(client: &mut Listener) -> Value {
    client.notices("action.request").await["data"]["request_id"].clone()
}

fn result(id: &Value, result: Value) -> Value {
    json!({ "request_id": id, "status": "done", "result": result })
}

/// Signs of life pass over an answer that somebody else writes at; how far it was by then is noted with the next, though nothing more
/// is said.
#[tokio::test]
async fn what_was_passed_over_is_noted_later() {
    let settings = ["ai.checkpoint_ms=100", "ai.idle_timeout_ms=200000", "ai.first_token_timeout_ms=200000"];
    let (scene, database) = on_two(&settings).await;
    let lobby = scene.lobby();
    let den = scene.house.admin.client.create_room("open", "Den", &[]).await.expect("a room").id;
    let mut begun = Vec::new();
    for room in [lobby, den] {
        let gate = Gate::new();
        scene.upstream.answers(says([]).then_waits_for(&gate).then_says(["so far"]).then_stalls());
        let run = scene.asks_in(room, "what?").await.run;
        scene.upstream.is_asked().await;
        begun.push((room, run, gate));
    }
    let mut other = PgConnection::establish(&database).expect("connects");
    let lock = format!("BEGIN; SELECT 1 FROM runs WHERE id = {} FOR UPDATE", begun[0].1);
    other.batch_execute(&lock).expect("the lock");
    for (room, run, gate) in &begun {
        let mut follower = Follower::of(&scene.house.admin, *room).await;
        gate.opens();
        follower.hears_said(*run, "so far").await;
    }
    let is_noted = async |(room, run): (u64, u64)| {
        let began = Instant::now();
        while scene.run(room, run).await["text"] != "so far" {
            assert!(began.elapsed() < PATIENCE, "never noted\n{}", scene.house.server.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Where it is noted of the second, it was to be of the first as well.
    is_noted((den, begun[1].1)).await;
    assert_eq!(scene.run(lobby, begun[0].1).await["text"], "");
    other.batch_execute("COMMIT").expect("released");
    is_noted((lobby, begun[0].1)).await;
}

/// Proves CORR-01, CORR-09.
#[tokio::test]
async fn clients_of_another_process_are_asked_and_answer() {
    let (scene, database) = on_two(&[]).await;
    let bot = Caller::bot_of(&scene.house, "Robot").await;
    let two = second_beside(scene, database).await;
    let (house, room) = (&two.scene.house, two.scene.lobby());
    let calls = Caller::of(&two.there);

    // Asked by one, answered at the other.
    let mut there = two.there.connects().await;
    let asked = asks_and_waits(&bot, house.admin.id, room);
    let id = is_asked(&mut there).await;
    let began = Instant::now();
    assert_eq!(there.asks("action.result", result(&id, json!([6, 6]))).await["state"], "done");
    assert_eq!(asked.await.expect("asked").expect(200)["result"], json!([6, 6]));
    assert!(began.elapsed() < Duration::from_secs(15), "not at the deadline");
    house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;

    // A client of the one has it; when it goes, that of the other is asked.
    let mut here = house.admin.connects().await;
    here.asks("presence.set", json!({ "state": "active" })).await;
    let asked = asks_and_waits(&bot, house.admin.id, room);
    let id = is_asked(&mut here).await;
    knows_of(&two.second.url(), 1).await;
    here.socket.abort();
    assert_eq!(is_asked(&mut there).await, id);
    // Answered by another way, it is taken away.
    let path = format!("/actions/{}/result", id.as_str().expect("an id"));
    Caller::of(&house.admin).post(&path, result(&id, json!([1, 1]))).await.expect(200);
    assert_eq!(asked.await.expect("asked").expect(200)["result"], json!([1, 1]));
    let ended = there.notices("action.ended").await["data"].clone();
    assert_eq!(ended, json!({ "request_id": id, "state": "done" }));
    let again = calls.post(&path, result(&id, json!([2, 2]))).await.expect(200);
    assert_eq!((&again["state"], &again["duplicate"]), (&json!("done"), &json!(true)));
    house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
}

/// Asks for something, and waits until a client that this process knows has it: the request.
async fn is_with(bot: &Caller, client: &mut Listener, user: u64, room: u64) -> Value {
    let body = json!({ "user_id": user, "room_id": room, "kind": "dice.roll",
        "arguments": { "count": 2, "sides": 6 }, "timeout_ms": 200_000 });
    let made = bot.post("/actions", body).await.expect(201)["id"].clone();
    assert_eq!(is_asked(client).await, made);
    let (path, began) = (format!("/actions/{}", made.as_str().expect("an id")), Instant::now());
    while bot.get(&path).await.expect(200)["state"] != "running" {
        assert!(began.elapsed() < PATIENCE, "nobody notes who has it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    made
}

/// What a client of one process has is left to it by the other, which may look between that it is made and that it is noted who has it,
/// but hardly each time.
///
/// Proves CORR-09.
#[tokio::test]
async fn what_a_client_has_is_asked_of_no_other() {
    const TIMES: usize = 6;
    let (scene, database) = on_two(&[]).await;
    let bot = Caller::bot_of(&scene.house, "Robot").await;
    let two = second_beside(scene, database).await;
    let (house, room) = (&two.scene.house, two.scene.lobby());
    let (mut here, mut there) = (house.admin.connects().await, two.there.connects().await);
    there.joins(room, None).await;
    for _ in 0..TIMES {
        let id = is_with(&bot, &mut here, house.admin.id, room).await;
        knows_of(&two.second.url(), 1).await;
        assert_eq!(here.asks("action.result", result(&id, json!([1, 2]))).await["state"], "done");
        knows_of(&two.second.url(), 0).await;
    }
    Caller::of(&two.there).says(room, "that's all").await;
    let frames = there.frames_until("that's all").await;
    let asked =
        frames.iter().filter(|frame| matches!(frame, Frame::Signal { kind, .. } if kind == "action.request"));
    assert!(asked.count() < TIMES, "{frames:?}");
}

/// Who had a request is gone together with its process: the client that comes to another is asked, and it counts.
///
/// Proves CORR-09.
#[tokio::test]
async fn what_a_client_of_a_dead_process_had_is_asked_again() {
    let (scene, database) = on_two(&[]).await;
    let bot = Caller::bot_of(&scene.house, "Robot").await;
    let mut two = second_beside(scene, database).await;
    let (user, room) = (two.there.id, two.scene.lobby());
    // The other looks as long as there is somebody it could ask.
    let present = two.there.connects().await;
    let mut here = two.scene.house.admin.connects().await;
    let first = is_with(&bot, &mut here, user, room).await;
    // Whoever knows of the second looked when the first was noted to be with a client.
    let second = is_with(&bot, &mut here, user, room).await;
    knows_of(&two.second.url(), 2).await;
    present.socket.abort();
    two.scene.house.server.kill().expect("killed");
    let mut there = two.there.connects().await;
    let mut asked = [is_asked(&mut there).await, is_asked(&mut there).await];
    asked.sort_by_key(|id| *id != first);
    assert_eq!(asked, [first.clone(), second]);
    assert_eq!(there.asks("action.result", result(&first, json!([3, 4]))).await["state"], "done");
}
