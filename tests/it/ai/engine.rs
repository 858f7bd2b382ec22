//! A real engine behind a real assistant.

use super::scene::{Follower, asks, assistant};
use crate::harness::engine::Engine;
use crate::harness::{Ground, House};
use crate::rest::Caller;
use serde_json::json;

/// Proves AI-07, AI-14.
#[tokio::test]
async fn a_real_engine_answers_in_a_room() {
    let (engine, house) =
        (Engine::start().await, House::open_with(Ground::Sqlite, &["--set", "ai.coalesce_ms=0"]).await);
    let fields = json!({ "model": Engine::MODEL, "api_key": Engine::KEY, "context_tokens": 2048, "output_tokens": 24, "temperature": 0.0 });
    assistant(&house, "Tiny", &engine.url(), fields).await;
    let mut follower = Follower::of(&house.admin, house.lobby).await;
    let asked = asks(&Caller::of(&house.admin), house.lobby, "@Tiny wie geht's, 🙂?").await;
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!(end["state"], "done", "{end}\n{}", engine.log());
    let body = end["body"].as_str().expect("a text");
    assert!(body.split_whitespace().count() > 3, "{body}");
    assert!(follower.pieces[&asked.run] > 1, "it came in one piece");
    // It keeps to itself what it used while it streams: we count.
    assert_eq!((&end["usage"]["estimated"], &end["truncated"]), (&json!(true), &json!(true)));
    assert!(end["usage"]["completion_tokens"].as_u64() > Some(3), "{end}");
    // The same question, asked once more with another seed; a wrong key ends at once.
    let thief =
        assistant(&house, "Thief", &engine.url(), json!({ "model": Engine::MODEL, "api_key": "sk-wrong" }))
            .await;
    let asked = asks(&Caller::of(&house.admin), house.lobby, "@Thief?").await;
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!((&end["state"], &end["reason"]), (&json!("failed"), &json!("unauthorized")), "{thief}");
}
