//! Engines that fail in each way there is: what is kept, what is said, what is tried again, and that the chat goes on.

use super::scene::{Scene, asks, assistant, is_refused};
use crate::harness::upstream::Unconnectable;
use crate::harness::upstream::script::{
    Gate, Script, answers_whole, finds_it_too_long, is_broken, is_busy_for, is_silent, knows_no_such_model,
    refuses, refuses_the_key, says, says_at_once,
};
use crate::harness::{Ground, PATIENCE, on_both};
use crate::rest::Caller;
use serde_json::json;
use std::time::{Duration, Instant};

/// Waits that fit a test; the breaker stays out of it.
const HASTY: [&str; 9] = [
    "ai.connect_timeout_ms=1000",
    "ai.first_token_timeout_ms=1500",
    "ai.idle_timeout_ms=1500",
    "ai.total_timeout_ms=5000",
    "ai.retries=1",
    "ai.backoff_ms=10",
    "ai.backoff_max_ms=1400",
    "ai.breaker_samples=1000",
    "ai.user_queue=50",
];

/// What comes of an engine that does this: state, reason, body, and how often it was asked.
type Case = (&'static str, Script, &'static str, Option<&'static str>, &'static str, usize);

fn cases() -> Vec<Case> {
    let part = || says(["so ", "far"]);
    let failed =
        |name, script, reason, asked| -> Case { (name, script, "failed", Some(reason), "…", asked) };
    let broke_off =
        |name, script, reason| -> Case { (name, script, "interrupted", Some(reason), "so far", 1) };
    vec![
        failed("silent", is_silent(), "first_token_timeout", 2),
        failed("its head and no more", says([]).then_stalls(), "first_token_timeout", 2),
        broke_off("stalls", part().then_stalls(), "idle_timeout"),
        broke_off("only comments", part().then_only_comments(Duration::from_millis(50)), "idle_timeout"),
        broke_off("hangs up", part().then_hangs_up(), "dropped"),
        broke_off("resets", part().then_pauses(Duration::from_millis(100)).then_resets(), "dropped"),
        broke_off("fails in the stream", part().then_fails("server_error"), "upstream_error"),
        broke_off("no JSON", part().then_data("{"), "malformed"),
        broke_off("filtered there", part().then_finishes("content_filter"), "content_filter"),
        failed("hangs up at once", says([]).then_hangs_up(), "dropped", 2),
        failed("fails in the stream at once", says([]).then_fails("server_error"), "upstream_error", 2),
        failed("says nothing", says([]), "malformed", 1),
        failed("says blanks", says([" ", "\n"]), "malformed", 1),
        failed("an empty stream", answers_whole(200, "text/event-stream", ""), "dropped", 2),
        failed("a web page", answers_whole(200, "text/html", "<html>Sign in</html>"), "malformed", 1),
        failed("the key", refuses_the_key(), "unauthorized", 1),
        failed("the model", knows_no_such_model(), "model_not_found", 1),
        failed("the account", refuses(429, "insufficient_quota"), "quota_exhausted", 1),
        failed("too long", finds_it_too_long(), "context_too_long", 2),
        failed("broken", is_broken(), "overloaded", 2),
        failed("busy for long", is_busy_for("100"), "rate_limited", 1),
    ]
}

on_both!(
    /// Proves AI-05, AI-09, AI-10, AI-11, AI-12, AI-14, CORR-10.
    each_failure_has_its_end,
    async |ground| {
        let scene = Scene::open_with(ground, &HASTY).await;
        let mut follower = scene.follows().await;
        for (name, script, state, reason, body, asked_times) in cases() {
            let before = scene.upstream.requests().len();
            scene.upstream.always_answers(script);
            let asked = scene.asks(name).await;
            let end = follower.hears_the_end(asked.run).await;
            let seen = (end["state"].as_str(), end["reason"].as_str(), end["body"].as_str());
            assert_eq!(seen, (Some(state), reason, Some(body)), "{name}: {end}");
            assert_eq!(scene.upstream.requests().len() - before, asked_times, "{name}");
            let run = scene.run(scene.lobby(), asked.run).await;
            assert_eq!((run["state"].as_str(), run["reason"].as_str()), (Some(state), reason), "{name}");
            let passes = ["_timeout", "dropped", "upstream_error", "overloaded", "rate_limited"];
            let is_retryable = reason.map(|reason| passes.iter().any(|name| reason.ends_with(name)));
            assert_eq!((end["retryable"].as_bool(), run["retryable"].as_bool()), (is_retryable, is_retryable), "{name}");
            let tokens = (run["usage"]["prompt_tokens"].as_u64(), run["usage"]["completion_tokens"].as_u64());
            match state {
                // Something was read and written, and is paid for.
                "interrupted" => assert!(tokens.0 > Some(10) && tokens.1 > Some(0), "{name}: {run}"),
                _ if name != "says blanks" => assert_eq!(tokens.1, Some(0), "{name}: {run}"),
                _ => {}
            }
            if ["unauthorized", "model_not_found", "overloaded"].contains(&reason.unwrap_or_default()) {
                assert_eq!(tokens.0, Some(0), "{name}: nobody read it");
            }
        }
        // Each can be asked anew, and the conversation is free.
        scene.upstream.always_answers(says(["fine"]).then_usage(7, 3));
        let end = scene.is_answered("and now?").await;
        assert_eq!((&end["state"], &end["usage"]["completion_tokens"]), (&json!("done"), &json!(3)));
        let runs = scene.ann().get(&format!("/rooms/{}/runs?state=open", scene.lobby())).await.expect(200);
        assert_eq!(runs["runs"], json!([]));
    }
);

/// Proves AI-09.
#[tokio::test]
async fn what_broke_off_can_be_asked_for_again() {
    let scene = Scene::open_with(Ground::Sqlite, &HASTY).await;
    scene.upstream.answers(says(["half"]).then_hangs_up()).answers(says(["whole"]));
    let mut follower = scene.follows().await;
    let asked = scene.asks("what?").await;
    assert_eq!(follower.hears_the_end(asked.run).await["state"], "interrupted");
    let ask = json!({ "message_id": asked.prompt, "assistant_id": scene.ada, "regenerates": asked.run });
    let again = scene.ann().post(&format!("/rooms/{}/runs", scene.lobby()), ask).await.expect(201);
    let end = follower.hears_the_end(again["id"].as_u64().expect("an id")).await;
    assert_eq!(end["body"], "whole");
    assert_eq!(scene.message(asked.message).await["body"], "half", "what was said stays");
}

/// Proves AI-10.
#[tokio::test]
async fn an_answer_that_never_ends_is_ended() {
    let scene = Scene::open_with(Ground::Sqlite, &HASTY).await;
    let endless = vec!["word "; 100];
    scene.upstream.answers(says(["word "]).then_says_every(Duration::from_millis(100), endless));
    let end = scene.is_answered("what?").await;
    assert_eq!((&end["state"], &end["reason"]), (&json!("interrupted"), &json!("total_timeout")));
    assert_eq!(end["retryable"], false, "it would only take as long again");
    scene.upstream.closed(1).await;

    let nowhere = Unconnectable::start().await;
    assistant(&scene.house, "Nemo", &nowhere.url(), json!({})).await;
    let mut follower = scene.follows().await;
    let asked = asks(&scene.ann(), scene.lobby(), "@Nemo?").await;
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!((&end["state"], &end["reason"]), (&json!("failed"), &json!("connect")));
    assert_eq!(end["usage"]["prompt_tokens"], 0, "nobody read it");
}

/// Each wait has its own setting, whatever the others are: here they are longer than anybody waits for.
///
/// Proves AI-10.
#[tokio::test]
async fn each_wait_is_by_its_own_setting() {
    let nowhere = Unconnectable::start().await;
    let cases = [
        (
            "connect",
            ["connect_timeout_ms=300", "first_token_timeout_ms=60000", "idle_timeout_ms=60000"],
            None,
        ),
        (
            "first_token_timeout",
            ["connect_timeout_ms=400", "first_token_timeout_ms=400", "idle_timeout_ms=60000"],
            Some(is_silent()),
        ),
        (
            "idle_timeout",
            ["connect_timeout_ms=60000", "first_token_timeout_ms=60000", "idle_timeout_ms=400"],
            Some(says(["so ", "far"]).then_stalls()),
        ),
    ];
    for (reason, waits, script) in cases {
        let mut settings = vec!["ai.retries=0".to_owned()];
        settings.extend(waits.iter().map(|wait| format!("ai.{wait}")));
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let scene = Scene::open_with(Ground::Sqlite, &settings).await;
        let url = if script.is_some() { scene.upstream.url() } else { nowhere.url() };
        assistant(&scene.house, "Nemo", &url, json!({})).await;
        scene.upstream.always_answers(script.unwrap_or_else(is_silent));
        let mut follower = scene.follows().await;
        let asked = asks(&scene.ann(), scene.lobby(), "@Nemo?").await;
        assert_eq!(follower.hears_the_end(asked.run).await["reason"], reason);
    }
}

/// Those who wait for one engine don't come back all at once: each wait is another, and none is longer than it may be.
///
/// Proves AI-11.
#[tokio::test]
async fn waits_between_attempts_are_at_random() {
    let settings =
        ["ai.retries=10", "ai.backoff_ms=1000", "ai.backoff_max_ms=1000", "ai.breaker_samples=1000"];
    let scene = Scene::open_with(Ground::Sqlite, &settings).await;
    scene.upstream.always_answers(is_broken());
    assert_eq!(scene.is_answered("what?").await["reason"], "overloaded");
    let requests = scene.upstream.requests();
    assert_eq!(requests.len(), 11);
    let waits: Vec<Duration> = requests.windows(2).map(|two| two[1].at - two[0].at).collect();
    // Of ten waits between nothing and a second, the shortest is almost surely short, and the longest isn't.
    assert!(waits.iter().any(|wait| *wait < Duration::from_millis(900)), "no jitter: {waits:?}");
    assert!(waits.iter().any(|wait| *wait > Duration::from_millis(200)), "no waiting: {waits:?}");
}

/// Proves AI-11, AI-18.
#[tokio::test]
async fn who_says_when_to_come_back_is_asked_then() {
    let scene = Scene::open_with(Ground::Sqlite, &HASTY).await;
    scene.upstream.answers(is_busy_for("1")).answers(says(["now"]));
    assert_eq!(scene.is_answered("what?").await["body"], "now");
    let requests = scene.upstream.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1), "asked too soon");
    assert_eq!(requests[0].json, requests[1].json, "the same question, with the same seed");
    // A connection refused is tried again, too.
    assert!(scene.house.metric("hearth_ai_retries_total", "rate_limited").await >= 1.0);
    // One that gives it all at once is as good.
    scene.upstream.answers(says_at_once("at once", 5, 2));
    let end = scene.is_answered("and?").await;
    assert_eq!((&end["body"], &end["usage"]["prompt_tokens"]), (&json!("at once"), &json!(5)));
    // So is one that counts nothing: we count.
    scene.upstream.answers(says(["some words that count"]));
    let end = scene.is_answered("and?").await;
    assert_eq!((&end["state"], &end["usage"]["estimated"]), (&json!("done"), &json!(true)));
    assert!(
        end["usage"]["prompt_tokens"].as_u64() > Some(50)
            && end["usage"]["completion_tokens"].as_u64() >= Some(4),
        "{end}"
    );
    assert!(end["usage"]["cost_micros"].as_u64() > Some(50), "{end}");
}

on_both!(
    /// Proves AI-12, AI-13.
    an_engine_that_fails_is_left_alone_and_comes_back_by_itself,
    async |ground| {
        let settings = ["ai.retries=0", "ai.breaker_samples=2", "ai.breaker_cooldown_ms=1500", "ai.breaker_cooldown_max_ms=1500"];
        let scene = Scene::open_with(ground, &settings).await;
        let bob = Caller::of(&scene.house.joined_by("Bob").await);
        scene.upstream.always_answers(is_broken());
        for _ in 0..2 {
            assert_eq!(scene.is_answered("what?").await["reason"], "overloaded");
        }
        let opened = Instant::now();
        let before = scene.upstream.requests().len();
        let refused = is_refused(&bob, scene.lobby(), "@Ada and me?").await;
        assert_eq!((&refused["code"], &refused["retryable"]), (&json!("ai_unavailable"), &json!(true)));
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 1500), "{refused}");
        let known = bob.get("/assistants").await.expect(200);
        assert_eq!(known["assistants"][0]["available"], false);
        // The chat goes on; what was said to nobody is there.
        assert_eq!(scene.house.admin.reads(scene.lobby()).await.last().map(String::as_str), Some("@Ada and me?"));
        scene.house.metric_becomes("hearth_ai_breakers", "\"open\"", 1.0).await;
        assert_eq!(scene.upstream.requests().len(), before, "nobody asks it");
        scene.upstream.always_answers(says(["well again"]));
        let available = async || bob.get("/assistants").await.expect(200)["assistants"][0]["available"] == true;
        while !available().await {
            assert!(opened.elapsed() < PATIENCE, "it stays closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(opened.elapsed() > Duration::from_millis(700));
        assert_eq!(scene.is_answered("now?").await["body"], "well again");
        assert_eq!(scene.is_answered("and now?").await["body"], "well again");
        scene.house.metric_becomes("hearth_ai_breakers", "\"open\"", 0.0).await;
        assert!(scene.house.metric("hearth_ai_runs_total", "overloaded").await >= 2.0);
    }
);

/// Questions that wait when the engine is found to fail don't reach it any more, and of those that come once it may be well again one
/// probes for all.
///
/// Proves AI-12, AI-13.
#[tokio::test]
async fn what_waits_for_an_engine_that_fails_is_not_sent_and_one_probes() {
    let settings = [
        "ai.retries=0",
        "ai.breaker_samples=2",
        "ai.breaker_cooldown_ms=1500",
        "ai.breaker_cooldown_max_ms=1500",
    ];
    let scene = Scene::open_with(Ground::Sqlite, &settings).await;
    let other = scene.house.admin.client.create_room("open", "Other", &[]).await.expect("a room").id;
    let gate = Gate::new();
    scene.upstream.always_answers(is_broken().once(&gate));
    let mut follower = scene.follows().await;
    let mut runs = Vec::new();
    for name in ["Bob", "Cleo", "Dan", "Eve"] {
        let calls = Caller::of(&scene.house.joined_by(name).await);
        runs.push(asks(&calls, scene.lobby(), "@Ada?").await.run);
    }
    gate.opens();
    for (run, reason) in runs.iter().zip(["overloaded", "overloaded", "breaker_open", "breaker_open"]) {
        let end = follower.hears_the_end(*run).await;
        assert_eq!((&end["state"], &end["reason"]), (&json!("failed"), &json!(reason)));
    }
    assert_eq!(scene.upstream.requests().len(), 2, "nobody asks it");

    let probing = Gate::new();
    scene.upstream.always_answers(says(["well again"]).once(&probing));
    let began = Instant::now();
    while scene.ann().get("/assistants").await.expect(200)["assistants"][0]["available"] != true {
        assert!(began.elapsed() < PATIENCE, "it stays closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let probe = scene.asks("are you well?").await;
    probing.is_reached().await;
    let meanwhile = scene.asks_in(other, "and?").await;
    let began = Instant::now();
    let end = loop {
        let run = scene.run(other, meanwhile.run).await;
        if run["ended_at"].is_string() {
            break run;
        }
        assert!(began.elapsed() < PATIENCE, "{run}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((&end["reason"], scene.upstream.requests().len()), (&json!("breaker_open"), 3), "one probes");
    probing.opens();
    assert_eq!(follower.hears_the_end(probe.run).await["body"], "well again");
    assert_eq!(scene.is_answered("and now?").await["body"], "well again");
}

/// Somebody's hand in the database makes one assistant's runs unworkable: they end as dead letters, and others are answered meanwhile.
///
/// Proves AI-22.
#[tokio::test]
async fn a_poisoned_run_ends_and_holds_up_nobody() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.workers=1", "ai.attempts=2"]).await;
    let sick = assistant(&scene.house, "Sick", &scene.upstream.url(), json!({})).await;
    let other = scene.house.admin.client.create_room("open", "Other", &[]).await.expect("a room").id;
    let mut hand = crate::overload::Hand::beside(&scene.house);
    hand.run(&format!("UPDATE assistants SET base_url = 'nonsense' WHERE user_id = {sick}"));
    let mut follower = scene.follows().await;
    let poisoned = asks(&scene.ann(), scene.lobby(), "@Sick what?").await;
    let well = scene.asks_in(other, "and you?").await;
    let end = follower.hears_the_end(poisoned.run).await;
    assert_eq!((&end["state"], &end["reason"]), (&json!("failed"), &json!("dead_letter")));
    let began = Instant::now();
    while scene.run(other, well.run).await["state"] != "done" {
        assert!(began.elapsed() < PATIENCE, "the other waits for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The same room, too.
    assert_eq!(scene.is_answered("and here?").await["state"], "done");
}

/// The lock of a conversation is free after each kind of end, and names who has it before.
///
/// Proves AI-06, CORR-10, CORR-11.
#[tokio::test]
async fn one_answer_at_a_time_and_nothing_else_waits_for_it() {
    let scene = Scene::open(Ground::Sqlite).await;
    let bob = scene.house.joined_by("Bob").await;
    let (calls, path) = (Caller::of(&bob), format!("/rooms/{}/runs", scene.lobby()));
    let mut follower = scene.follows().await;
    let ends: [fn(&Gate) -> Script; 3] = [
        |gate| says(["a"]).then_waits_for(gate).then_says(["b"]),
        |gate| says(["a"]).then_waits_for(gate).then_hangs_up(),
        |gate| refuses_the_key().once(gate),
    ];
    for (script, state) in ends.iter().zip(["done", "interrupted", "failed"]) {
        let gate = Gate::new();
        scene.upstream.answers(script(&gate));
        let asked = asks(&calls, scene.lobby(), "@Ada?").await;
        gate.is_reached().await;
        let busy = is_refused(&calls, scene.lobby(), "@Ada??").await;
        assert_eq!((&busy["code"], &busy["run_id"]), (&json!("ai_busy"), &json!(asked.run)));
        let ask = json!({ "message_id": asked.prompt, "assistant_id": scene.ada, "regenerates": asked.run });
        assert_eq!(calls.post(&path, ask).await.is_problem(409, "ai_busy", None)["run_id"], asked.run);
        // Whoever asked may be gone, and the room goes on.
        let mut listener = bob.listens_to(scene.lobby()).await;
        listener.posts(scene.lobby(), "on the fast path").await;
        listener.asks("typing.start", json!({ "room_id": scene.lobby() })).await;
        listener.socket.abort();
        follower.hears_message("on the fast path").await;
        assert_eq!(scene.run(scene.lobby(), asked.run).await["state"], "running");
        gate.opens();
        assert_eq!(follower.hears_the_end(asked.run).await["state"], state);
    }
    let asked = asks(&calls, scene.lobby(), "@Ada?").await;
    assert_eq!(follower.hears_the_end(asked.run).await["body"], "Hello there.");
}
