//! What is counted of answers whose engine doesn't say it, or says half of it.

use super::scene::Scene;
use crate::harness::Ground;
use crate::harness::upstream::script::says;
use serde_json::json;

/// What a model thinks is written and paid for, even if nobody sees it and the answer is stopped.
///
/// Proves AI-14.
#[tokio::test]
async fn thoughts_are_paid_for() {
    let scene = Scene::open(Ground::Sqlite).await;
    let mut follower = scene.follows().await;
    scene.upstream.answers(says([]).then_thinks(["let me see, "; 50]).then_says(["so"]).then_stalls());
    let asked = scene.asks("what?").await;
    follower.hears_said(asked.run, "so").await;
    scene.ann().delete(&format!("/rooms/{}/runs/{}", scene.lobby(), asked.run)).await.expect(202);
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!(end["usage"]["estimated"], true);
    assert!(end["usage"]["completion_tokens"].as_u64() >= Some(150), "{end}");
}

/// Each request that was read is paid for, though only the last was answered.
///
/// Proves AI-14.
#[tokio::test]
async fn what_was_read_in_vain_is_paid_for() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.backoff_ms=1", "ai.retries=2"]).await;
    let mut follower = scene.follows().await;
    scene.upstream.answers(says([]).then_stalls());
    let asked = scene.asks("what?").await;
    scene.upstream.is_asked().await;
    scene.ann().delete(&format!("/rooms/{}/runs/{}", scene.lobby(), asked.run)).await.expect(202);
    let once = follower.hears_the_end(asked.run).await["usage"]["prompt_tokens"].as_u64().expect("a number");
    assert!(once > 0);

    let in_vain = || says([]).then_hangs_up();
    scene.upstream.answers(in_vain()).answers(in_vain()).answers(says(["so"]).then_usage(7, 3));
    let asked = scene.asks("what?").await;
    let end = follower.hears_the_end(asked.run).await;
    let (prompt, completion) = (&end["usage"]["prompt_tokens"], &end["usage"]["completion_tokens"]);
    assert!(prompt.as_u64() >= Some(2 * once + 7), "{prompt} is less than twice {once}");
    assert_eq!((completion, &end["usage"]["estimated"]), (&json!(3), &json!(true)));
}

/// Of an engine that counts only what it wrote, what it read isn't free.
///
/// Proves AI-14.
#[tokio::test]
async fn half_of_the_usage_is_none() {
    let scene = Scene::open(Ground::Sqlite).await;
    let usage = json!({ "choices": [], "usage": { "completion_tokens": 1 } });
    scene.upstream.answers(says(["so it is"]).then_finishes("stop").then_chunk(usage));
    let end = scene.is_answered("what?").await;
    assert_eq!(end["usage"]["estimated"], true);
    assert!(end["usage"]["prompt_tokens"].as_u64() > Some(10), "{end}");
    assert!(end["usage"]["completion_tokens"].as_u64() > Some(1), "{end}");
}
