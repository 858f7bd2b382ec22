//! `GET /ops`: what operators are shown of a server at work.

use super::caller::Caller;
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Ground, House, PATIENCE, on_both};
use hearth::domain::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn becomes(ann: &Caller, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ops = ann.get("/ops").await.expect(200);
        if is(&ops) {
            return ops;
        }
        assert!(Instant::now() < deadline, "{ops}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

on_both!(
    /// Who is being answered since when, how much waits, how long it can go on like this, and what went wrong last.
    ///
    /// Proves OBS-09, CORR-16, AI-03, AI-20, AI-21.
    operators_see_what_the_server_is_at,
    async |ground| {
        let house = House::open_with(ground, &["--set", "ai.workers=1"]).await;
        let ann = Caller::of(&house.admin);
        let ops = ann.get("/ops").await.expect(200);
        assert_eq!((&ops["version"], &ops["level"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("normal")));
        assert_eq!(ops["ai"]["sustainable_rate"], Value::Null, "nobody knows yet: {ops}");
        assert_eq!((&ops["ai"]["workers"], &ops["ai"]["running"]), (&json!(1), &json!([])));
        assert_eq!((&ops["actions"]["pending"], &ops["connections"]["open"]), (&json!(0), &json!(0)));

        let engine = Upstream::start().await;
        let gate = Gate::new();
        engine.answers(says(["Well"]).then_waits_for(&gate).then_says([", yes."]).then_usage(10, 2));
        let assistant = json!({ "name": "Sage", "base_url": engine.url(), "model": "test" });
        ann.post("/assistants", assistant).await.expect(201);
        let bob = house.joined_by("Bob").await;
        let path = format!("/rooms/{}/messages", house.lobby);
        let asked = Caller::of(&bob).post(&path, json!({ "body": "@Sage are you there?" })).await.expect(201);
        let run = asked["runs"][0]["run_id"].clone();
        gate.is_reached().await;
        let reached = Timestamp::from(chrono::Utc::now()).to_string();
        let second = ann.post(&path, json!({ "body": "@Sage and me?" })).await.expect(201);
        assert!(second["runs"][0]["run_id"].is_number(), "{second}");
        let socket = bob.connects().await;
        let ops = becomes(&ann, |ops| ops["ai"]["running"][0]["said_bytes"] == 4 && ops["ai"]["queued"] == 1).await;
        let running = &ops["ai"]["running"][0];
        assert_eq!((&running["run_id"], &running["room_id"]), (&run, &json!(house.lobby)), "{ops}");
        assert_eq!(running["asker_id"], json!(bob.id), "{ops}");
        let since = running["since"].as_str().expect("a time");
        assert!(since >= ops["since"].as_str().expect("a time") && since <= reached.as_str(), "{ops}, {reached}");
        assert!(ops["ai"]["oldest_s"].is_number() && ops["log"]["last_id"].as_u64() > Some(0), "{ops}");
        assert_eq!((&ops["connections"]["open"], &ops["connections"]["users"]), (&json!(1), &json!(1)), "{ops}");
        drop(socket);

        gate.opens();
        let ops = becomes(&ann, |ops| ops["ai"]["running"] == json!([]) && ops["ai"]["queued"] == 0).await;
        assert!(ops["ai"]["sustainable_rate"].as_f64() > Some(0.0), "{ops}");
        assert_eq!(ops["ai"]["breakers"], json!([{ "url": format!("{}/chat/completions", engine.url()), "model": "test", "state": "closed" }]));
        house.metric_becomes("hearth_ai_outcomes_total", "outcome=\"completed\"", 2.0).await;
        for (name, count) in [
            ("hearth_ai_requests_total", 2.0),
            ("hearth_ai_wait_seconds_count", 2.0),
            ("hearth_ai_dispatch_seconds_count", 2.0),
            ("hearth_ai_run_seconds_count", 2.0),
            ("hearth_ai_first_token_seconds_count", 2.0),
        ] {
            house.metric_becomes(name, "", count).await;
        }
        assert!(house.metric("hearth_ai_relay_seconds_count", "").await > 1.5);
        assert!(house.metric("hearth_ai_tokens_per_second_count", "").await > 1.5);

        // The engine goes; what is asked then fails, and that is seen.
        engine.always_answers(crate::harness::upstream::script::refuses_the_key());
        ann.post(&path, json!({ "body": "@Sage still there?" })).await.expect(201);
        let failed = |ops: &Value| ops["last_errors"].as_array().is_some_and(|all| all.iter().any(|last| last["class"] == "UPSTREAM"));
        becomes(&ann, failed).await;
        house.metric_becomes("hearth_ai_outcomes_total", "outcome=\"failed\"", 1.0).await;
        assert!(house.metric("hearth_errors_total", "class=\"UPSTREAM\"").await > 0.5);
        Caller::of(&bob).get("/ops").await.is_problem(403, "forbidden", None);
        let text = ann.get("/ops").await.text();
        assert!(!text.contains("are you there") && !text.contains("Well"), "nothing that was said: {text}");
    }
);

on_both!(
    /// What is asked of people's clients: how much waits, how it went, and how long it took.
    ///
    /// Proves OBS-09, CORR-04, CORR-16.
    operators_see_what_is_asked_of_people,
    async |ground| {
        let house = House::open(ground).await;
        let (ann, robot) = (Caller::of(&house.admin), Caller::bot_of(&house, "Robot").await);
        let bob = house.joined_by("Bob").await;
        let answers = Caller::of(&bob);
        let _two = [bob.connects().await, bob.connects().await];
        let asks = async |timeout: u64| {
            let request = json!({ "user_id": bob.id, "room_id": house.lobby, "kind": "dice.roll", "timeout_ms": timeout });
            robot.post("/actions", request).await.expect(201)["id"].as_str().expect("an id").to_owned()
        };
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(asks(60_000).await);
        }
        let began = Instant::now();
        let missed = asks(1_000).await;
        let ops = becomes(&ann, |ops| ops["actions"]["timeouts"] == 1).await;
        let waiting = json!({ "pending": 4, "done": 0, "failed": 0, "timeouts": 1, "late": 0, "latency_ms": null });
        assert_eq!(ops["actions"], waiting);
        assert_eq!((&ops["connections"]["open"], &ops["connections"]["users"]), (&json!(2), &json!(1)), "{ops}");

        let waited = began.elapsed();
        for (id, status) in asked.iter().zip(["done", "failed", "done"]) {
            let result = json!({ "request_id": id, "status": status });
            answers.post(&format!("/actions/{id}/result"), result).await.expect(200);
        }
        let late = json!({ "request_id": missed, "status": "done" });
        answers.post(&format!("/actions/{missed}/result"), late).await.is_problem(410, "expired", None);
        let seen = ann.get("/ops").await.expect(200)["actions"].clone();
        let counts = ["pending", "done", "failed", "timeouts", "late"].map(|name| seen[name].as_u64());
        assert_eq!(counts, [1, 2, 1, 1, 1].map(Some), "{seen}");
        let took = ["p50", "p90", "p99", "max"].map(|name| seen["latency_ms"][name].as_u64().expect("a number"));
        assert!(took.is_sorted(), "{seen}");
        // Both ends are cut to milliseconds.
        assert!(Duration::from_millis(took[0] + 1) >= waited, "each took that long at least: {seen}, {waited:?}");
        assert!(house.metric("hearth_action_seconds_sum", "").await >= waited.as_secs_f64() * 3.0 - 0.01);
    }
);
