//! Action requests where two processes share a database: whichever one asks, and whichever one a client is connected to.

use super::crashing::{on_two, second_beside};
use crate::harness::{Listener, PATIENCE};
use crate::rest::caller::{Answer, Caller};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Has the client asked: the request as it is when there is a result, or after 25 s.
fn asks_and_waits(bot: &Caller, user: u64, room: u64) -> tokio::task::JoinHandle<Answer> {
    let body = json!({ "user_id": user, "room_id": room, "kind": "dice.roll",
        "arguments": { "count": 2, "sides": 6 }, "timeout_ms": 200_000 });
    let bot = bot.clone();
    tokio::spawn(async move { bot.post("/actions?wait=25", body).await })
}

/// Waits until a process knows of a request.
async fn knows_of_one(url: &str) {
    let began = Instant::now();
    loop {
        let text = reqwest::get(format!("{url}/metrics")).await.expect("metrics").text().await.expect("text");
        let known = |line: &str| line.starts_with("hearth_registry_entries") && line.contains("\"actions\"");
        if text.lines().any(|line| known(line) && line.ends_with(" 1")) {
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
    knows_of_one(&two.second.url()).await;
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
