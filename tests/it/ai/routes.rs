//! The routes of action requests: who may ask whom for what, and what a client hears that answers over HTTP.

use super::actions::Stage;
use crate::harness::{Ground, on_both};
use crate::rest::caller::Caller;
use serde_json::json;
use uuid::Uuid;

on_both!(
    /// Proves CORR-02, CORR-07.
    over_http_it_is_the_same,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let bob = stage.caller_of_bob();
        let carol = Caller::of(&stage.house.joined_by("Carol").await);
        let id = stage.asks(json!({})).await;
        let path = format!("/actions/{id}/result");
        // Thirty seconds, when nothing is said of it.
        let shown = stage.bot.get(&format!("/actions/{id}")).await.expect(200);
        let time = |name: &str| shown[name].as_str().expect("a time").parse::<chrono::DateTime<chrono::Utc>>().expect("a time");
        assert_eq!(time("deadline") - time("created_at"), chrono::TimeDelta::seconds(30), "{shown}");
        let done = json!({ "request_id": id, "status": "done", "result": { "rolls": [3] } });

        bob.post(&path, json!({ "status": "done" })).await.is_problem(400, "invalid_payload", Some("request_id"));
        let other = json!({ "request_id": Uuid::new_v4(), "status": "done" });
        bob.post(&path, other.clone()).await.is_problem(422, "invalid_payload", Some("request_id"));
        let odd = json!({ "request_id": id, "status": "perhaps" });
        bob.post(&path, odd).await.is_problem(422, "invalid_payload", Some("status"));
        let unknown = format!("/actions/{}/result", other["request_id"].as_str().expect("an id"));
        bob.post(&unknown, other).await.is_problem(404, "not_found", None);
        bob.post("/actions/7/result", done.clone()).await.is_problem(404, "not_found", None);
        let long = json!({ "request_id": id, "status": "done", "result": "x".repeat(4095) });
        bob.post(&path, long).await.is_problem(413, "too_large", Some("result"));
        carol.post(&path, done.clone()).await.is_problem(403, "forbidden", None);
        carol.get(&format!("/actions/{id}")).await.is_problem(404, "not_found", None);
        assert_eq!(stage.becomes(&id, "pending").await.get("result"), None, "nothing of it counts");

        let told = bob.post(&path, done.clone()).await.expect(200);
        assert_eq!(told, json!({ "request_id": id, "state": "done", "duplicate": false }));
        assert_eq!(stage.becomes(&id, "done").await["result"], json!({ "rolls": [3] }));
        let told = bob.post(&path, done.clone()).await.expect(200);
        assert_eq!(told, json!({ "request_id": id, "state": "done", "duplicate": true }));
        let mut client = stage.bob.connects().await;
        assert_eq!(client.asks("action.result", done).await["duplicate"], json!(true), "by the other way, too");

        // Whoever waits has it at once.
        let asked = stage.asks_and_waits(json!({ "timeout_ms": 300_000 }));
        let id = client.notices("action.request").await["data"]["request_id"].clone();
        let path = format!("/actions/{}/result", id.as_str().expect("an id"));
        bob.post(&path, json!({ "request_id": id, "status": "done", "result": [5] })).await.expect(200);
        assert_eq!(asked.await.expect("asked").expect(200)["result"], json!([5]));
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);

on_both!(
    /// Proves CORR-01.
    who_may_ask_whom,
    async |ground| {
        let stage = Stage::set(ground, &["--set", "actions.per_user=2", "--set", "actions.pending_max=3"]).await;
        let (bot, ann) = (&stage.bot, Caller::of(&stage.house.admin));
        let carol = stage.house.joined_by("Carol").await;
        let robot = stage.house.admin.client.create_bot("Other").await.expect("a bot");
        let asks = |more| stage.request(more);
        let den = stage.house.closed_room("Den", &[&carol]).await.id;
        let commons = {
            let socket = carol.connects().await;
            socket.socket.welcome().rooms.iter().find(|room| room.kind == "commons").expect("one").room_id
        };
        // The bot isn't there; Bob isn't there; nobody is there as it is the system's own.
        bot.post("/actions", asks(json!({ "room_id": den }))).await.is_problem(404, "not_found", None);
        ann.post("/actions", asks(json!({ "room_id": den }))).await.is_problem(404, "not_found", None);
        bot.post("/actions", asks(json!({ "room_id": commons }))).await.is_problem(404, "not_found", None);
        bot.post("/actions", asks(json!({ "room_id": null }))).await.is_problem(422, "invalid_payload", Some("room_id"));
        bot.post("/actions", asks(json!({ "user_id": 999_999 }))).await.is_problem(404, "not_found", None);
        bot.post("/actions", asks(json!({ "user_id": robot.id }))).await.is_problem(404, "not_found", None);
        stage.caller_of_bob().post("/actions", asks(json!({}))).await.is_problem(403, "forbidden", None);
        for (field, wrong) in [
            ("kind", json!("Dice Roll")),
            ("timeout_ms", json!(0)),
            ("timeout_ms", json!(300_001)),
            ("arguments", json!([1])),
        ] {
            let mut body = asks(json!({}));
            body[field] = wrong;
            bot.post("/actions", body).await.is_problem(422, "invalid_payload", Some(field));
        }
        let long = json!({ "arguments": { "a": "x".repeat(4096) } });
        bot.post("/actions", asks(long)).await.is_problem(413, "too_large", Some("arguments"));
        bot.post("/actions?wait=61", asks(json!({}))).await.is_problem(422, "invalid_payload", Some("wait"));
        assert_eq!(stage.house.metric("hearth_registry_entries", "\"actions\"").await, 0.0, "nothing was made");

        // Two of Bob, three of all.
        let first = stage.asks(json!({})).await;
        stage.asks(json!({})).await;
        bot.post("/actions", asks(json!({}))).await.is_problem(503, "overloaded", None);
        let of_carol = json!({ "user_id": carol.id, "room_id": null });
        ann.post("/actions", asks(of_carol.clone())).await.expect(201);
        ann.post("/actions", asks(of_carol.clone())).await.is_problem(503, "overloaded", None);
        let done = json!({ "request_id": first, "status": "done" });
        stage.caller_of_bob().post(&format!("/actions/{first}/result"), done).await.expect(200);
        ann.post("/actions", asks(of_carol)).await.expect(201);

        // What a program asks is in the audit trail (BOT-05).
        let page = ann.get("/audit?action=bot.acted&limit=1").await.expect(200);
        let entry = &page["entries"][0];
        assert_eq!((&entry["detail"]["command"], &entry["target"]["id"]), (&json!("action.request"), &json!(stage.bob.id)));
    }
);

on_both!(
    /// The wait is over before the request is: it goes on, and can be asked after.
    ///
    /// Proves CORR-12.
    a_wait_may_end_first,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let made = stage.bot.post("/actions?wait=1", stage.request(json!({}))).await.expect(201);
        let id = made["id"].as_str().expect("an id");
        let mut client = stage.bob.connects().await;
        assert_eq!(client.notices("action.request").await["data"]["request_id"], json!(id));
        client.asks("action.result", json!({ "request_id": id, "status": "done", "result": "heads" })).await;
        assert_eq!(stage.becomes(id, "done").await["result"], json!("heads"));
    }
);
