//! What is counted where it happens: sockets and their ends, frames, limits, queues, tokens, and errors by whose they are.

use super::caller::Caller;
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{refuses_the_key, says};
use crate::harness::{Ground, House, on_both};
use crate::overload::{Hand, becomes};
use serde_json::{Value, json};
use uuid::Uuid;

/// Proves OBS-05.
#[tokio::test]
async fn sockets_and_frames_are_counted_to_their_end() {
    let flags = ["--set", "limits.frames=12", "--set", "limits.frame_window_ms=6000000"];
    let more = ["--set", "limits.message_window_ms=6000000", "--set", "limits.messages=2"];
    let house = House::open_with(Ground::Sqlite, &[flags, more].concat()).await;
    let bob = house.joined_by("Bob").await;
    let mut socket = bob.connects().await;
    house.metric_becomes("hearth_connections", "", 1.0).await;
    assert!(house.metric("hearth_connections_closed_total", "").await < 0.5);
    let before = house.metric("hearth_bytes_out_total", "").await;
    for body in ["one", "two"] {
        socket.posts(house.lobby, body).await;
    }
    let third = json!({ "room_id": house.lobby, "client_message_id": Uuid::new_v4(), "body": "three" });
    assert_eq!(socket.is_refused("message.post", third).await, "rate_limited");
    assert_eq!(socket.is_refused("message.past", json!({})).await, "invalid_payload");
    for (kind, count) in [("message.post", 3.0), ("invalid", 1.0), ("refused", 0.0)] {
        house.metric_becomes("hearth_frames_in_total", &format!("type=\"{kind}\""), count).await;
    }
    // Two replies and two refusals, each of more than fifty bytes.
    assert!(house.metric("hearth_bytes_out_total", "").await > before + 200.0);
    house.metric_becomes("hearth_errors_total", "class=\"VALIDATION\"", 1.0).await;
    house.metric_becomes("hearth_errors_total", "class=\"RLIMIT\"", 1.0).await;
    house.metric_becomes("hearth_limited_total", "limit=\"messages\"", 1.0).await;

    // Twelve frames, and one more.
    for _ in 0..8 {
        socket.asks("presence.set", json!({ "state": "active" })).await;
    }
    assert_eq!(socket.is_refused("presence.set", json!({ "state": "active" })).await, "rate_limited");
    house.metric_becomes("hearth_frames_in_total", "type=\"refused\"", 1.0).await;
    house.metric_becomes("hearth_errors_total", "class=\"RLIMIT\"", 2.0).await;
    socket.socket.close().await.expect("closes");
    house.metric_becomes("hearth_connections", "", 0.0).await;
    house.metric_becomes("hearth_connections_closed_total", "code=\"normal\"", 1.0).await;
    bob.connects().await.socket.abort();
    house.metric_becomes("hearth_connections_closed_total", "", 2.0).await;
    house.metric_becomes("hearth_connections", "", 0.0).await;
}

on_both!(
    /// A store that is held makes commands wait, and then it is the server's error; an engine that fails and a client that doesn't
    /// answer are somebody else's. Each time the last one is the one that is shown.
    ///
    /// Proves OBS-05, OBS-07, OBS-09.
    queues_tokens_and_errors_are_counted_by_whose_they_are,
    async |ground| {
        let flags =
            ["--set", "storage.patience_ms=12000", "--set", "load.store_failures=0", "--set", "limits.repeats=0"];
        let house = House::open_with(ground, &flags).await;
        let ann = Caller::of(&house.admin);
        let path = format!("/rooms/{}/messages", house.lobby);
        let errors = async |class: &str| house.metric("hearth_errors_total", &format!("class=\"{class}\"")).await;
        let last = async |class: &str| {
            let labels = format!("class=\"{class}\"");
            let at = house.metric("hearth_last_error_timestamp_seconds", &labels).await;
            let ops = ann.get("/ops").await.expect(200);
            let all = ops["last_errors"].as_array().expect("a list").clone();
            let one = all.iter().find(|one| one["class"] == class).unwrap_or_else(|| panic!("{ops}")).clone();
            let shown = one["at"].as_str().expect("a time").parse::<chrono::DateTime<chrono::Utc>>().expect("a time");
            assert_eq!(shown.timestamp() as f64, at, "both say when");
            one["code"].clone()
        };

        let engine = Upstream::start().await;
        engine.answers(says(["Well."]).then_usage(40, 3)).answers(refuses_the_key());
        let assistant = json!({ "name": "Sage", "base_url": engine.url(), "model": "test" });
        ann.post("/assistants", assistant).await.expect(201);
        ann.post(&path, json!({ "body": "@Sage are you there?" })).await.expect(201);
        for (kind, count) in [("prompt", 40.0), ("completion", 3.0)] {
            house.metric_becomes("hearth_ai_tokens_total", &format!("kind=\"{kind}\""), count).await;
        }
        assert!(errors("UPSTREAM").await < 0.5 && errors("SERVER").await < 0.5);
        engine.ended(1).await;
        house.metric_becomes("hearth_ai_outcomes_total", "\"completed\"", 1.0).await;
        ann.post(&path, json!({ "body": "@Sage and now?" })).await.expect(201);
        house.metric_becomes("hearth_errors_total", "class=\"UPSTREAM\"", 1.0).await;
        assert_eq!(last("UPSTREAM").await, "unauthorized");
        // Bob's client doesn't answer.
        let bob = house.joined_by("Bob").await;
        let request = json!({ "user_id": bob.id, "room_id": house.lobby, "kind": "dice.roll", "timeout_ms": 1000 });
        ann.post("/actions?wait=30", request).await.is_problem(504, "request_timeout", None);
        house.metric_becomes("hearth_errors_total", "class=\"UPSTREAM\"", 2.0).await;
        assert_eq!(last("UPSTREAM").await, "request_timeout");
        assert!(errors("SERVER").await < 0.5, "nothing of it is ours");

        // What waits for the store is read every five seconds; once it can be written all goes through.
        // They stay open to the end: one that runs out would be the last error.
        let request = json!({ "user_id": bob.id, "room_id": house.lobby, "kind": "dice.roll", "timeout_ms": 120_000 });
        let id = ann.post("/actions", request.clone()).await.expect(201)["id"].as_str().expect("an id").to_owned();
        let hand = Hand::on_the_log(&house);
        let calls = |count: usize, caller: &Caller, path: &str, body: Value| -> Vec<_> {
            let call = |_| {
                let (caller, path, body) = (caller.clone(), path.to_owned(), body.clone());
                tokio::spawn(async move { caller.post(&path, body).await.status })
            };
            (0..count).map(call).collect()
        };
        let queues = async |name: &str| ann.get("/ops").await.expect(200)["queues"][name].as_u64().expect("a number");
        let mut waiting = calls(3, &ann, &path, json!({ "body": "waits" }));
        becomes("posts wait", async || queues("commands").await == 3).await;
        waiting.extend(calls(3, &ann, "/actions", request));
        becomes("requests wait behind them", async || queues("writer").await >= 3).await;
        let result = json!({ "request_id": id, "status": "done" });
        waiting.extend(calls(1, &Caller::of(&bob), &format!("/actions/{id}/result"), result));
        house.metric_becomes("hearth_queue_depth", "\"commands\"", 3.0).await;
        house.metric_becomes("hearth_queue_depth", "\"action_results\"", 1.0).await;
        assert!(house.metric("hearth_queue_depth", "\"writer\"").await > 2.5);
        drop(hand);
        for call in waiting {
            assert!([200, 201].contains(&call.await.expect("ran")));
        }
        for queue in ["commands", "writer", "action_results"] {
            house.metric_becomes("hearth_queue_depth", queue, 0.0).await;
        }

        let hand = Hand::on_the_log(&house);
        let fails = ann.post(&path, json!({ "body": "fails" })).await;
        fails.is_problem(503, "unavailable", None);
        drop(hand);
        assert!((errors("SERVER").await - 1.0).abs() < 0.5, "once");
        assert_eq!((last("SERVER").await, last("UPSTREAM").await), (json!("unavailable"), json!("request_timeout")));
        // Nobody is there who takes a bot's webhook.
        ann.post("/bots", json!({ "name": "Hook", "webhook_url": "http://127.0.0.1:1/" })).await.expect(201);
        ann.post(&path, json!({ "body": "@Hook?" })).await.expect(201);
        becomes("that is counted", async || errors("UPSTREAM").await > 2.5).await;
        assert_eq!(last("UPSTREAM").await, "delivery_failed");
    }
);
