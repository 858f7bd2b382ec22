//! One program alone doesn't fill what all need: action requests have rates and bounds for each that makes them.

use super::actions::Stage;
use super::scene::{asks, assistant};
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::says;
use crate::harness::{Ground, House, on_both};
use crate::rest::Caller;
use serde_json::json;

on_both!(
    /// A bot with nothing else to do makes as many as it may post messages, and no more: none of it is stored or shown to anybody.
    requests_count_like_messages,
    async |ground| {
        let flags = ["--set", "limits.bot_messages=5", "--set", "limits.message_window_ms=6000000"];
        let stage = Stage::of(House::open_with(ground, &flags).await).await;
        for _ in 0..4 {
            stage.asks(json!({})).await;
        }
        // In one bucket with its messages.
        stage.bot.says(stage.house.lobby, "asked").await;
        let refused = stage.bot.post("/actions", stage.request(json!({}))).await;
        let wait = refused.is_problem(429, "rate_limited", None)["retry_after_ms"].as_u64().expect("a wait");
        assert!((1_000_000..=1_200_000).contains(&wait), "{wait}");
        assert_eq!(stage.house.metric("hearth_registry_entries", "\"actions\"").await, 4.0);
        let trail = Caller::of(&stage.house.admin).get("/audit?action=bot.acted").await.expect(200);
        assert_eq!(trail["entries"].as_array().map(Vec::len), Some(5), "{trail}");
        // Others notice nothing.
        let ann = Caller::of(&stage.house.admin);
        ann.post("/actions", stage.request(json!({}))).await.expect(201);
        // Nothing is over so soon that it doesn't count as open.
        for short in [1, 999] {
            let brief = stage.request(json!({ "timeout_ms": short }));
            ann.post("/actions", brief).await.is_problem(422, "invalid_payload", Some("timeout_ms"));
        }
        ann.post("/actions", stage.request(json!({ "timeout_ms": 1000 }))).await.expect(201);
    }
);

on_both!(
    /// Twenty open ones of one person are enough for a bot, and however many bots there are, they leave places to assistants whose answers
    /// need them.
    places_are_left_to_others,
    async |ground| {
        let stage = Stage::of(House::open_with(ground, &[]).await).await;
        let long = || stage.request(json!({ "timeout_ms": 300_000 }));
        for _ in 0..20 {
            stage.bot.post("/actions", long()).await.expect(201);
        }
        let refused = stage.bot.post("/actions", long()).await.is_problem(503, "overloaded", None);
        assert!(refused["detail"].as_str().is_some_and(|why| why.contains("your requests")), "{refused}");
        // Of somebody else it may still ask, and what ends makes room.
        let ann = json!({ "user_id": stage.house.admin.id, "timeout_ms": 300_000 });
        stage.bot.post("/actions", stage.request(ann)).await.expect(201);
        for name in ["Golem", "Talos", "Klaatu"] {
            let bot = Caller::bot_of(&stage.house, name).await;
            for _ in 0..20 {
                bot.post("/actions", long()).await.expect(201);
            }
        }
        let fifth = Caller::bot_of(&stage.house, "Gort").await;
        fifth.post("/actions", long()).await.is_problem(503, "overloaded", None);

        // Bob asks an assistant, and it asks him back.
        let upstream = Upstream::start().await;
        let call = ("call-1", "dice_roll");
        upstream.answers(says([]).then_calls(0, call, ["{\"count\":2,", "\"sides\":6}"]).then_usage(20, 5));
        upstream.answers(says(["Five."]).then_usage(20, 5));
        let more = json!({ "tools": ["dice.roll"] });
        assistant(&stage.house, "Dora", &upstream.url(), more).await;
        let mut client = stage.bob.connects().await;
        asks(&stage.caller_of_bob(), stage.house.lobby, "@Dora roll two dice").await;
        let asked = loop {
            let request = client.notices("action.request").await["data"].clone();
            if request["from"]["name"] == "Dora" {
                break request["request_id"].clone();
            }
        };
        let result = json!({ "request_id": asked, "status": "done", "result": { "rolls": [2, 3] } });
        assert_eq!(client.asks("action.result", result).await["state"], "done");
        upstream.ended(2).await;
    }
);

on_both!(a_requester_has_so_many_of_all, async |ground| {
    let stage = Stage::of(House::open_with(ground, &["--set", "actions.per_requester=2"]).await).await;
    stage.asks(json!({})).await;
    let of_ann = stage.request(json!({ "user_id": stage.house.admin.id }));
    let made = stage.bot.post("/actions", of_ann.clone()).await.expect(201);
    stage.bot.post("/actions", of_ann.clone()).await.is_problem(503, "overloaded", None);
    stage.bot.post("/actions", stage.request(json!({}))).await.is_problem(503, "overloaded", None);
    let done = json!({ "request_id": made["id"], "status": "done" });
    let path = format!("/actions/{}/result", made["id"].as_str().expect("an id"));
    Caller::of(&stage.house.admin).post(&path, done).await.expect(200);
    stage.bot.post("/actions", of_ann).await.expect(201);
});
