//! Action requests while the store can't be written: who waits is told in time, what is refused says so, and it goes on afterwards.

use super::actions::Stage;
use super::scene::{asks, assistant};
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Ground, House, on_both};
use crate::overload::{Hand, becomes};
use serde_json::json;
use std::time::{Duration, Instant};

/// Somebody else's hand on the requests alone: they can be read, not written.
fn hand_on_requests(house: &House) -> Hand {
    match Hand::beside(house) {
        Hand::Sqlite(_) => Hand::on_the_log(house),
        mut hand @ Hand::Postgres(_) => {
            hand.run("BEGIN; LOCK TABLE action_requests IN EXCLUSIVE MODE");
            hand
        }
    }
}

/// Two commits that fail make a server read-only, and it finds out soon that it needn't be any more.
const READ_ONLY: [&str; 8] = [
    "--set",
    "load.sample_ms=20",
    "--set",
    "load.probe_ms=50",
    "--set",
    "load.store_failures=2",
    "--set",
    "storage.patience_ms=500",
];

on_both!(
    /// That a deadline is over can't be noted: whoever waits is told all the same, and the row follows.
    ///
    /// Proves CORR-02.
    who_waits_is_told_though_it_cant_be_noted,
    async |ground| {
        let args = ["--set", "storage.patience_ms=500", "--set", "load.store_failures=0"];
        let stage = Stage::set(ground, &args).await;
        let mut client = stage.bob.connects().await;
        let asked = stage.asks_and_waits(json!({ "timeout_ms": 4_000 }));
        let id = client.notices("action.request").await["data"]["request_id"].clone();
        stage.becomes(id.as_str().expect("an id"), "running").await;
        let hand = hand_on_requests(&stage.house);
        asked.await.expect("asked").is_problem(504, "request_timeout", None);
        assert_eq!(stage.house.metric("hearth_action_results_total", "timeout").await, 0.0, "it isn't noted");
        // As it is kept until then, nothing else can come of it.
        let late = json!({ "request_id": id, "status": "done", "result": 6 });
        assert_eq!(client.is_refused("action.result", late.clone()).await, "unavailable");
        let shown = stage.bot.get(&format!("/actions/{}", id.as_str().expect("an id"))).await.expect(200);
        assert_eq!(shown["state"], "expired");
        drop(hand);
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
        stage.house.metric_becomes("hearth_action_results_total", "timeout", 1.0).await;
        assert_eq!(client.is_refused("action.result", late).await, "expired");
        let shown = stage.bot.get(&format!("/actions/{}", id.as_str().expect("an id"))).await.expect(200);
        assert_eq!((&shown["state"], shown.get("result")), (&json!("expired"), None));
        assert!(shown["ended_at"].is_string(), "{shown}");
    }
);

on_both!(
    /// A server that is read-only makes no requests and takes no results, whatever way they come; then it does again.
    ///
    /// Proves LIM-12.
    nothing_is_asked_or_answered_read_only,
    async |ground| {
        let stage = Stage::set(ground, &READ_ONLY).await;
        let mut client = stage.bob.connects().await;
        let id = stage.asks(json!({ "timeout_ms": 60_000 })).await;
        assert_eq!(client.notices("action.request").await["data"]["request_id"], json!(id));
        stage.becomes(&id, "running").await;
        let bob = stage.caller_of_bob();

        let hand = Hand::on_the_log(&stage.house);
        let path = format!("/rooms/{}/messages", stage.house.lobby);
        becomes("read_only", async || bob.post(&path, json!({ "body": "lost" })).await.json()["code"] == "read_only").await;
        // At once: nobody waits for a store that doesn't answer.
        stage.bot.post("/actions", stage.request(json!({}))).await.is_problem(503, "read_only", None);
        let done = json!({ "request_id": id, "status": "done", "result": [1] });
        assert_eq!(client.is_refused("action.result", done.clone()).await, "read_only");
        bob.post(&format!("/actions/{id}/result"), done.clone()).await.is_problem(503, "read_only", None);
        drop(hand);

        becomes("the level is normal", async || stage.house.metric("hearth_load_level", "").await < 0.5).await;
        let shown = stage.bot.get(&format!("/actions/{id}")).await.expect(200);
        assert_eq!(shown["state"], "running", "nothing refused was taken: {shown}");
        let told = client.asks("action.result", done).await;
        assert_eq!(told, json!({ "request_id": id, "state": "done" }));
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);

on_both!(
    /// An assistant that calls for an action then is told why nobody is asked, and goes on.
    ///
    /// Proves LIM-12.
    an_assistant_is_told_that_it_is_read_only,
    async |ground| {
        let stage = Stage::set(ground, &READ_ONLY).await;
        let upstream = Upstream::start().await;
        assistant(&stage.house, "Dora", &upstream.url(), json!({ "tools": ["dice.roll"] })).await;
        let gate = Gate::new();
        let calls = says([]).then_calls(0, ("call-1", "dice_roll"), ["{\"count\":2,", "\"sides\":6}"]);
        upstream.answers(calls.then_usage(20, 5).once(&gate)).answers(says(["No dice."]));
        let bob = stage.caller_of_bob();
        let asked = asks(&bob, stage.house.lobby, "@Dora roll two dice").await;
        gate.is_reached().await;
        let hand = Hand::on_the_log(&stage.house);
        let path = format!("/rooms/{}/messages", stage.house.lobby);
        becomes("read_only", async || bob.post(&path, json!({ "body": "lost" })).await.json()["code"] == "read_only").await;
        gate.opens();
        upstream.ended(2).await;
        let told = upstream.asked(2).json["messages"].to_string();
        assert!(told.contains("read_only"), "{told}");
        drop(hand);
        let run = format!("/rooms/{}/runs/{}", stage.house.lobby, asked.run);
        becomes("it has answered", async || bob.get(&run).await.expect(200)["state"] == "done").await;
    }
);

on_both!(
    /// The cleanup of the running server takes away what ended longer ago than it is kept; what is open stays.
    old_requests_are_taken_away,
    async |ground| {
        let stage = Stage::set(ground, &["--set", "cleanup.every_s=1", "--set", "actions.keep_s=1"]).await;
        let open = stage.asks(json!({ "timeout_ms": 60_000 })).await;
        let ended = stage.asks(json!({})).await;
        let began = Instant::now();
        let done = json!({ "request_id": ended, "status": "done" });
        stage.caller_of_bob().post(&format!("/actions/{ended}/result"), done).await.expect(200);
        becomes("gone", async || stage.bot.get(&format!("/actions/{ended}")).await.status == 404).await;
        assert!(began.elapsed() >= Duration::from_secs(1), "it is kept for a second");
        stage.house.metric_becomes("hearth_cleared_total", "action_requests", 1.0).await;
        stage.bot.get(&format!("/actions/{open}")).await.expect(200);
    }
);
