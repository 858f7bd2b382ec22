//! Budgets through the door: however many ask at once.

use super::scene::{Scene, no_midnight_soon};
use crate::harness::upstream::script::says;
use crate::harness::{Ground, House, on_both};
use crate::rest::Caller;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Rooms, and bots in each.
const ROOMS: usize = 5;
const EACH: usize = 10;

on_both!(
    /// Fifty ask at once, and there is enough for seven.
    ///
    /// Proves AI-15.
    many_at_once_never_overspend,
    async |ground| {
        let house = House::open_with(ground, &["--set", "ai.hops=1000"]).await;
        let ann = Caller::of(&house.admin);
        // An engine that takes its time.
        let engine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base_url = format!("http://{}/v1", engine.local_addr().expect("an address"));
        let body = json!({
            "name": "Ada", "base_url": base_url, "model": "tiny", "context_tokens": 1000, "output_tokens": 200,
            "prompt_price": 1_000_000, "completion_price": 2_000_000,
        });
        let ada = ann.post("/assistants", body).await.expect(201)["id"].as_u64().expect("an id");
        let most = 7 * 1200 + 1199;
        let set = ann.put("/ai/budgets", json!({ "scope": "account", "micros_max": most })).await.expect(200);
        let account = json!({ "scope": "account", "scope_id": 0, "tokens_max": null, "micros_max": most });
        assert_eq!(set["budgets"], json!([account]));
        let mut questions = Vec::new();
        for room in 0..ROOMS {
            let room = ann.post("/rooms", json!({ "kind": "open", "name": format!("Room {room}") })).await;
            let room = room.expect(201)["id"].as_u64().expect("an id");
            for bot in 0..EACH {
                let bot = Caller::bot_of(&house, &format!("Robot {room} {bot}")).await;
                let message = bot.says(room, "what?").await;
                questions.push((bot, room, message));
            }
        }
        let asked = questions.iter().map(|(bot, room, message)| async move {
            bot.post(&format!("/rooms/{room}/runs"), json!({ "message_id": message, "assistant_id": ada })).await
        });
        let answers = join_all(asked).await;
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            refused.is_problem(402, "budget_exceeded", None);
        }
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 7);
        let usage = ann.get("/ai/usage").await.expect(200);
        let all = usage["spending"].as_array().expect("a list");
        let account = all.iter().find(|one| one["scope"] == "account").expect("the account's");
        let number = |name: &str| account[name].as_i64().expect("a number");
        let used = number("spent_micros") + number("reserved_micros");
        assert!((1..=most).contains(&used), "{account}");
        assert_eq!(usage["usage"].as_array().map(Vec::len), Some(7), "seven of them asked");
        // Who mentions it hears so, too; the message is posted all the same.
        let bob = Caller::of(&house.joined_by("Bob").await);
        let path = format!("/rooms/{}/messages", house.lobby);
        let runs = bob.post(&path, json!({ "body": "@Ada?" })).await.expect(201)["runs"].clone();
        assert_eq!((&runs[0]["assistant_id"], &runs[0]["error"]["code"]), (&json!(ada), &json!("budget_exceeded")));
        // Without a budget it answers.
        let none = json!({ "scope": "account", "tokens_max": null, "micros_max": null });
        assert_eq!(ann.put("/ai/budgets", none).await.expect(200)["budgets"], json!([]));
        let runs = bob.post(&path, json!({ "body": "@Ada!" })).await.expect(201)["runs"].clone();
        assert!(runs[0]["run_id"].is_u64(), "{runs}");
    }
);

on_both!(what_is_wrong_with_a_budget_is_named, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    for (wrong, field) in [
        (json!({}), "scope"),
        (json!({ "scope": "house" }), "scope"),
        (json!({ "scope": "user", "scope_id": -1 }), "scope_id"),
        (json!({ "scope": "user", "scope_id": 999_999, "tokens_max": 1 }), "scope_id"),
        (json!({ "scope": "room", "scope_id": 999_999, "tokens_max": 1 }), "scope_id"),
        (json!({ "scope": "account", "scope_id": 1 }), "scope_id"),
        (json!({ "scope": "account", "tokens_max": -1 }), "tokens_max"),
        (json!({ "scope": "account", "micros_max": 1_u64 << 60 }), "micros_max"),
    ] {
        ann.put("/ai/budgets", wrong).await.is_problem(422, "invalid_payload", Some(field));
    }
    for (query, field) in [
        ("by=color", "by"),
        ("from=yesterday", "from"),
        ("to=x", "to"),
        ("from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ] {
        ann.get(&format!("/ai/usage?{query}")).await.is_problem(422, "invalid_payload", Some(field));
    }
    for by in ["user", "room", "assistant", "model"] {
        let usage = ann.get(&format!("/ai/usage?by={by}")).await.expect(200);
        assert_eq!(usage["usage"], Value::Array(vec![]));
    }
});

on_both!(
    /// An engine that claims to have used more than there can be is counted by ourselves, and the next question is answered.
    ///
    /// Proves AI-14.
    absurd_claims_stop_nobody,
    async |ground| {
        no_midnight_soon().await;
        let scene = Scene::open(ground).await;
        let largest = [u64::MAX, i64::MAX as u64, 1 << 52];
        for claimed in largest {
            scene.upstream.answers(says(["Hello", " there."]).then_usage(claimed, claimed));
        }
        let mut used = 0;
        for honest in [false, false, false, true] {
            let end = scene.is_answered("what?").await;
            assert_eq!((&end["state"], &end["body"]), (&json!("done"), &json!("Hello there.")), "{end}");
            let usage = &end["usage"];
            assert_eq!(usage["estimated"], json!(!honest), "{end}");
            used += usage["prompt_tokens"].as_u64().expect("a number");
            used += usage["completion_tokens"].as_u64().expect("a number");
            assert!(used < 10_000, "{end}");
        }
        let usage = scene.ann().get("/ai/usage").await.expect(200);
        for of in usage["spending"].as_array().expect("a list") {
            assert_eq!((&of["spent_tokens"], &of["reserved_tokens"]), (&json!(used), &json!(0)), "{usage}");
            assert_eq!(of["reserved_micros"], 0, "{usage}");
        }
    }
);
