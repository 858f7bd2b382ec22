//! Runs that end, or are put down, while they wait for somebody's client: the request goes with the run, and what was used stays.

use super::scene::{Asked, Scene, asks, assistant};
use crate::harness::upstream::script::{Script, says};
use crate::harness::{Ground, Listener, PATIENCE, on_both};
use crate::rest::Caller;
use serde_json::{Value, json};

/// Finds out within a moment, leaves quickly, gives up soon; and no deadline of a request comes before the end of the test.
const SHORT: [&str; 6] = [
    "ai.checkpoint_ms=50",
    "ai.lease_s=2",
    "ai.heartbeat_s=1",
    "ai.drain_s=1",
    "ai.attempts=2",
    "actions.timeout_ms=200000",
];

/// The model wants dice to be rolled, and says nothing.
fn rolls() -> Script {
    says([]).then_calls(0, ("call-1", "dice_roll"), ["{\"count\":2,\"sides\":6}"]).then_usage(20, 5)
}

/// Has dice asked for: the run, and the request of Ann's client.
async fn has_dice_asked_for(scene: &Scene, client: &mut Listener) -> (Asked, Value) {
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
    scene.upstream.answers(rolls());
    let asked = asks(&scene.ann(), scene.lobby(), "@Dora roll two dice").await;
    (asked, client.notices("action.request").await["data"]["request_id"].clone())
}

/// How far a request is.
async fn state_of(calls: &Caller, request: &Value) -> Value {
    let path = format!("/actions/{}", request.as_str().expect("an id"));
    calls.get(&path).await.expect(200)["state"].clone()
}

/// The run goes on after a restart: one request is open, that of the new attempt.
async fn goes_on_with_one_request(scene: &Scene, first: &Value) -> Value {
    let mut client = scene.house.admin.connects().await;
    let mut second = first.clone();
    while second == *first {
        second = client.notices("action.request").await["data"]["request_id"].clone();
    }
    assert_eq!(state_of(&scene.ann(), first).await, "expired", "nobody waits for it");
    scene.house.metric_becomes("hearth_registry_entries", "\"actions\"", 1.0).await;
    let late = json!({ "request_id": first, "status": "done", "result": { "rolls": [1, 1] } });
    assert_eq!(client.is_refused("action.result", late).await, "expired");
    second
}

on_both!(
    /// Proves AI-14, AI-19, CORR-01.
    a_call_that_is_put_back_leaves_no_request_and_keeps_what_it_used,
    async |ground| {
        let mut scene = Scene::open_with(ground, &SHORT).await;
        let mut client = scene.house.admin.connects().await;
        let (asked, first) = has_dice_asked_for(&scene, &mut client).await;
        assert!(scene.house.server.terminate(PATIENCE).await.expect("ends").success());
        scene.upstream.answers(rolls());
        scene.house.server.restart().await.expect("starts again");
        assert_eq!(state_of(&scene.ann(), &first).await, "expired");
        let second = goes_on_with_one_request(&scene, &first).await;
        scene.upstream.answers(says(["You rolled 3 and 4."]).then_usage(40, 6));
        let result = json!({ "request_id": second, "status": "done", "result": { "rolls": [3, 4] } });
        let path = format!("/actions/{}/result", second.as_str().expect("an id"));
        scene.ann().post(&path, result).await.expect(200);
        let run = scene.run_becomes(asked.run, "ended", |run| run["ended_at"].is_string()).await;
        assert_eq!(run["state"], "done");
        let usage = &run["usage"];
        assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(80), &json!(16)), "{run}");
        assert_eq!(usage["estimated"], false);
        assert!(scene.upstream.asked(3).json.to_string().contains("rolls"));
    }
);

on_both!(
    /// Proves AI-14, CORR-01.
    a_crash_during_a_call_leaves_no_request,
    async |ground| {
        let mut scene = Scene::open_with(ground, &SHORT).await;
        let mut client = scene.house.admin.connects().await;
        let (asked, first) = has_dice_asked_for(&scene, &mut client).await;
        scene.run_becomes(asked.run, "noted", |run| run["usage"]["prompt_tokens"] == 20).await;
        scene.upstream.answers(rolls());
        scene.house.server.kill().expect("killed");
        scene.house.server.restart().await.expect("starts again");
        let second = goes_on_with_one_request(&scene, &first).await;
        // And this one kills whoever works at it, too.
        scene.run_becomes(asked.run, "noted", |run| run["usage"]["prompt_tokens"] == 40).await;
        scene.house.server.kill().expect("killed");
        scene.house.server.restart().await.expect("starts again");
        let run = scene.run_becomes(asked.run, "ended", |run| run["ended_at"].is_string()).await;
        assert_eq!((&run["state"], &run["reason"]), (&json!("failed"), &json!("dead_letter")));
        assert_eq!((&run["usage"]["prompt_tokens"], &run["usage"]["estimated"]), (&json!(40), &json!(true)), "{run}");
        assert_eq!(state_of(&scene.ann(), &second).await, "expired");
        scene.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);

on_both!(
    /// Who stops an answer that waits for them is asked no more, and their client hears of it.
    ///
    /// Proves CORR-01, CORR-10.
    a_request_ends_with_its_answer,
    async |ground| {
        let scene = Scene::open(ground).await;
        let mut client = scene.house.admin.connects().await;
        let (asked, request) = has_dice_asked_for(&scene, &mut client).await;
        client.asks("ai.stop", json!({ "room_id": scene.lobby(), "run_id": asked.run })).await;
        let ended = client.notices("action.ended").await["data"].clone();
        assert_eq!(ended, json!({ "request_id": request, "state": "expired" }));
        assert_eq!(state_of(&scene.ann(), &request).await, "expired");
        scene.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
        let late = json!({ "request_id": request, "status": "done", "result": { "rolls": [1, 1] } });
        assert_eq!(client.is_refused("action.result", late).await, "expired");
        let run = scene.run_becomes(asked.run, "ended", |run| run["ended_at"].is_string()).await;
        assert_eq!((&run["state"], &run["usage"]["prompt_tokens"]), (&json!("cancelled"), &json!(20)));
        assert_eq!(scene.house.metric("hearth_action_results_total", "\"withdrawn\"").await, 1.0);
        // What asks by itself is asked until its deadline.
        assert_eq!(scene.house.metric("hearth_action_results_total", "\"timeout\"").await, 0.0);
    }
);
