//! What assistants call while they answer: the client of whoever asked is asked to act, and the answer goes on with what came of it.

use super::scene::{Scene, asks, assistant};
use crate::harness::upstream::script::{Script, finds_it_too_long, says};
use crate::harness::{Ground, on_both};
use crate::rest::Caller;
use serde_json::{Value, json};

/// The model wants dice to be rolled.
fn rolls() -> Script {
    says([]).then_calls(0, ("call-1", "dice_roll"), ["{\"count\":2,", "\"sides\":6}"]).then_usage(20, 5)
}

/// The names of the functions that a request offers.
fn offered(request: &Value) -> Vec<&str> {
    let tools = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    tools.iter().filter_map(|tool| tool["function"]["name"].as_str()).collect()
}

on_both!(
    /// Proves AI-16, CORR-01.
    an_assistant_has_dice_rolled_by_whoever_asked,
    async |ground| {
        let scene = Scene::open(ground).await;
        assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
        let bob = scene.house.joined_by("Bob").await;
        let mut client = bob.connects().await;
        let mut follower = scene.follows().await;
        scene.upstream.answers(rolls()).answers(says(["You rolled 3 and 4."]).then_usage(40, 6));
        let asked = asks(&Caller::of(&bob), scene.lobby(), "@Dora roll two dice").await;

        let request = client.notices("action.request").await["data"].clone();
        assert_eq!((&request["kind"], &request["arguments"]), (&json!("dice.roll"), &json!({ "count": 2, "sides": 6 })));
        assert_eq!((&request["from"]["name"], &request["from"]["role"]), (&json!("Dora"), &json!("assistant")));
        let result = json!({ "request_id": request["request_id"], "status": "done", "result": { "rolls": [3, 4] } });
        assert_eq!(client.asks("action.result", result).await["state"], "done");

        let end = follower.hears_the_end(asked.run).await;
        assert_eq!((&end["state"], &end["body"]), (&json!("done"), &json!("You rolled 3 and 4.")));
        assert_eq!((&end["usage"]["prompt_tokens"], &end["usage"]["completion_tokens"]), (&json!(60), &json!(11)));
        let (first, second) = (scene.upstream.asked(1).json, scene.upstream.asked(2).json);
        assert_eq!(offered(&first), ["dice_roll"], "what the admin allows, and nothing else");
        let told = second["messages"].as_array().expect("messages");
        let [.., call, outcome] = told.as_slice() else { panic!("{second}") };
        assert_eq!(call["tool_calls"][0]["function"]["name"], "dice_roll");
        assert_eq!((&outcome["role"], &outcome["tool_call_id"]), (&json!("tool"), &json!("call-1")));
        let content = outcome["content"].as_str().expect("text");
        assert!(content.contains("rolls") && content.starts_with("<data>"), "{content}");
    }
);

/// Engines that give both calls of a turn the same index, whole, each with an id of its own.
///
/// Proves CORR-01.
#[tokio::test]
async fn two_calls_of_one_index_are_two() {
    let scene = Scene::open(Ground::Sqlite).await;
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
    let mut client = scene.house.admin.connects().await;
    let mut follower = scene.follows().await;
    let call = |id: &str, sides: u8| {
        let arguments = json!({ "count": 1, "sides": sides }).to_string();
        let call = json!({ "index": 0, "id": id, "type": "function",
            "function": { "name": "dice_roll", "arguments": arguments } });
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }] })
    };
    let both =
        says([]).then_chunk(call("call-1", 6)).then_chunk(call("call-2", 8)).then_finishes("tool_calls");
    scene.upstream.answers(both).answers(says(["Five and seven."]));
    client.asks("presence.set", json!({ "state": "active" })).await;
    let asked = asks(&scene.ann(), scene.lobby(), "@Dora roll two dice").await;
    for (sides, rolled) in [(6, 5), (8, 7)] {
        let request = client.notices("action.request").await["data"].clone();
        assert_eq!(request["arguments"], json!({ "count": 1, "sides": sides }));
        let result =
            json!({ "request_id": request["request_id"], "status": "done", "result": { "rolls": [rolled] } });
        client.asks("action.result", result).await;
    }
    assert_eq!(follower.hears_the_end(asked.run).await["body"], "Five and seven.");
    let second = scene.upstream.asked(2).json;
    let told = second["messages"].as_array().expect("messages");
    let [.., calls, one, other] = told.as_slice() else { panic!("{second}") };
    assert_eq!(calls["tool_calls"].as_array().map(Vec::len), Some(2), "{calls}");
    for (outcome, id, rolled) in [(one, "call-1", "5"), (other, "call-2", "7")] {
        assert_eq!(outcome["tool_call_id"], id);
        assert!(outcome["content"].as_str().is_some_and(|text| text.contains(rolled)), "{outcome}");
    }
}

/// Proves AI-16.
#[tokio::test]
async fn nothing_is_called_that_is_not_offered() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.retries=0"]).await;
    let mut follower = scene.follows().await;
    // Ada has no tools, whatever she is made to say.
    scene.upstream.answers(rolls());
    let asked = scene.asks("roll two dice").await;
    assert_eq!(follower.hears_the_end(asked.run).await["state"], "failed");
    assert!(offered(&scene.upstream.asked(1).json).is_empty());

    // A program has no client that could be asked.
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll", "choose"] })).await;
    scene.upstream.answers(says(["No dice."]));
    let robot = Caller::bot_of(&scene.house, "Robot").await;
    let asked = asks(&robot, scene.lobby(), "@Dora roll two dice").await;
    assert_eq!(follower.hears_the_end(asked.run).await["state"], "done");
    assert!(offered(&scene.upstream.asked(2).json).is_empty());
}

/// Of what there is only what the admin allows this assistant: nobody's client hears of anything else.
///
/// Proves AI-16.
#[tokio::test]
async fn what_is_allowed_to_others_is_not_called() {
    let scene = Scene::open_with(Ground::Sqlite, &["actions.timeout_ms=200"]).await;
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
    let _client = scene.house.admin.connects().await;
    let mut follower = scene.follows().await;
    let chooses = says([]).then_calls(0, ("call-1", "choose"), [r#"{"question":"?","options":["a","b"]}"#]);
    scene.upstream.answers(chooses).answers(says(["I can't."]));
    let asked = asks(&scene.ann(), scene.lobby(), "@Dora let me choose").await;
    assert_eq!(follower.hears_the_end(asked.run).await["body"], "I can't.");
    let told = scene.upstream.asked(2).json["messages"].as_array().expect("messages").clone();
    let outcome = told.last().expect("what came of it");
    let content = outcome["content"].as_str().expect("text");
    assert!(outcome["role"] == "tool" && content.contains("there is no such tool"), "{outcome}");
}

#[tokio::test]
async fn an_answer_goes_on_when_nobody_acts() {
    let scene = Scene::open_with(Ground::Sqlite, &["actions.timeout_ms=100"]).await;
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
    let mut follower = scene.follows().await;
    scene.upstream.answers(rolls()).answers(says(["You didn't roll."]));
    let asked = asks(&scene.ann(), scene.lobby(), "@Dora roll two dice").await;
    assert_eq!(follower.hears_the_end(asked.run).await["body"], "You didn't roll.");
    let second = scene.upstream.asked(2).json.to_string();
    assert!(second.contains("request_timeout"), "{second}");
}

/// What is too long is shortened before anything is called, and counted as it was sent; once something was called nothing is asked for
/// again.
///
/// Proves AI-14, CORR-01.
#[tokio::test]
async fn what_was_called_is_not_called_again_when_it_gets_too_long() {
    let scene = Scene::open(Ground::Sqlite).await;
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
    let terms = json!({ "context_tokens": 4000, "output_tokens": 400 });
    assistant(&scene.house, "Emma", &scene.upstream.url(), terms).await;
    let mut client = scene.house.admin.connects().await;
    let mut follower = scene.follows().await;
    scene.upstream.answers(rolls()).answers(finds_it_too_long());
    client.asks("presence.set", json!({ "state": "active" })).await;
    let asked = asks(&scene.ann(), scene.lobby(), "@Dora roll two dice").await;
    let request = client.notices("action.request").await["data"]["request_id"].clone();
    let result = json!({ "request_id": request, "status": "done", "result": { "rolls": [3, 4] } });
    client.asks("action.result", result).await;
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!((&end["state"], &end["reason"]), (&json!("failed"), &json!("context_too_long")));
    assert_eq!(scene.upstream.requests().len(), 2);
    assert_eq!(end["usage"]["prompt_tokens"], 20, "who refuses has read nothing");

    for n in 0..12 {
        scene.ann().says(scene.lobby(), &format!("{n}: {}", "so many words ".repeat(70))).await;
    }
    scene.upstream.answers(finds_it_too_long()).answers(says(["Shorter."]));
    let asked = asks(&scene.ann(), scene.lobby(), "@Emma and now?").await;
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!((&end["body"], &end["truncated"]), (&json!("Shorter."), &json!(true)), "{end}");
    let sizes: Vec<usize> =
        scene.upstream.requests()[2..].iter().map(|asked| asked.json["messages"].to_string().len()).collect();
    let [whole, half] = sizes.as_slice() else { panic!("{sizes:?}") };
    assert!(half * 3 < whole * 2, "{sizes:?}");
    let used = end["usage"]["prompt_tokens"].as_u64().expect("a number");
    assert!(used > 10 && used <= 4000 / 2 - 400 / 2, "as it was sent the second time: {used}");
}

#[tokio::test]
async fn calls_without_end_have_one() {
    let scene = Scene::open_with(Ground::Sqlite, &["actions.timeout_ms=50"]).await;
    assistant(&scene.house, "Dora", &scene.upstream.url(), json!({ "tools": ["dice.roll"] })).await;
    let mut follower = scene.follows().await;
    scene.upstream.always_answers(rolls());
    let asked = asks(&scene.ann(), scene.lobby(), "@Dora roll two dice").await;
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!((&end["state"], &end["reason"]), (&json!("failed"), &json!("too_many_calls")));
    assert_eq!(scene.upstream.requests().len(), 4, "the first, and one more for each round");
    assert_eq!(end["usage"]["prompt_tokens"], 80, "all of them are paid for");
}
