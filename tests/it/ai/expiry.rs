//! Deadlines of action requests: who waits is told, nothing is left, and what comes later changes nothing.

use super::actions::Stage;
use crate::harness::{Ground, on_both};
use serde_json::json;
use std::time::{Duration, Instant};

on_both!(
    /// Proves CORR-02, CORR-03, CORR-12.
    nobody_answers_in_time,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let mut client = stage.bob.connects().await;
        let began = Instant::now();
        let asked = stage.asks_and_waits(json!({ "timeout_ms": 3_000 }));
        let request = client.notices("action.request").await["data"].clone();
        let id = request["request_id"].as_str().expect("an id").to_owned();
        assert_eq!(stage.bot.get(&format!("/actions/{id}")).await.expect(200)["ended_at"], json!(null));
        asked.await.expect("asked").is_problem(504, "request_timeout", None);
        assert!(began.elapsed() >= Duration::from_secs(3), "not before its time");
        let shown = stage.bot.get(&format!("/actions/{id}")).await.expect(200);
        assert_eq!((&shown["state"], shown.get("result")), (&json!("expired"), None));
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
        assert_eq!(stage.house.metric("hearth_action_results_total", "timeout").await, 1.0);

        // Late, by either way: told so, counted, and nothing changes.
        let late = json!({ "request_id": id, "status": "done", "result": 4 });
        assert_eq!(client.is_refused("action.result", late.clone()).await, "expired");
        let bob = stage.caller_of_bob();
        bob.post(&format!("/actions/{id}/result"), late).await.is_problem(410, "expired", None);
        assert_eq!(stage.house.metric("hearth_action_results_total", "late").await, 2.0);
        assert_eq!(stage.house.metric("hearth_action_results_total", "done").await, 0.0);
        assert_eq!(stage.bot.get(&format!("/actions/{id}")).await.expect(200), shown);
    }
);

on_both!(
    /// Deadlines come in the order of time, whatever the order of asking, and each takes only its own.
    ///
    /// Proves CORR-02.
    each_deadline_is_its_own,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let mut client = stage.bob.connects().await;
        let long = stage.asks_and_waits(json!({ "timeout_ms": 20_000 }));
        let kept = client.notices("action.request").await["data"]["request_id"].clone();
        let started = Instant::now();
        let short: Vec<_> =
            [900u64, 300, 600].iter().map(|ms| (*ms, stage.asks_and_waits(json!({ "timeout_ms": ms })))).collect();
        for (ms, asked) in short {
            asked.await.expect("asked").is_problem(504, "request_timeout", None);
            assert!(started.elapsed() >= Duration::from_millis(ms));
        }
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 1.0).await;
        client.asks("action.result", json!({ "request_id": kept, "status": "done", "result": 1 })).await;
        assert_eq!(long.await.expect("asked").expect(200)["result"], json!(1));
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);

on_both!(
    /// What was asked before a restart can be answered after it, until its deadline; nobody has to wait for it.
    ///
    /// Proves CORR-02, CORR-03, CORR-12.
    requests_outlive_the_server,
    async |ground| {
        let mut stage = Stage::set(ground, &[]).await;
        let short = stage.asks(json!({ "timeout_ms": 1_500 })).await;
        let long = stage.asks(json!({ "timeout_ms": 60_000 })).await;
        stage.house.server.kill().expect("killed");
        stage.house.server.restart().await.expect("up again");
        let deadline = Instant::now() + crate::harness::PATIENCE;
        loop {
            let shown = stage.bot.get(&format!("/actions/{short}")).await.expect(200);
            if shown["state"] == "expired" && shown["ended_at"] != json!(null) {
                break;
            }
            assert!(Instant::now() < deadline, "{shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The one that is left is offered to whoever comes.
        let mut client = stage.bob.connects().await;
        let request = client.notices("action.request").await["data"].clone();
        assert_eq!(request["request_id"], json!(long));
        let done = json!({ "request_id": long, "status": "failed", "result": "no dice" });
        assert_eq!(client.asks("action.result", done).await, json!({ "request_id": long, "state": "failed" }));
        let shown = stage.bot.get(&format!("/actions/{long}")).await.expect(200);
        assert_eq!((&shown["state"], &shown["result"]), (&json!("failed"), &json!("no dice")));
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);
