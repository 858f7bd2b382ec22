//! Stopping answers, asking again, and what is taken away meanwhile.

use super::scene::{Asked, Follower, Scene, asks, assistant, is_refused};
use crate::harness::upstream::script::{Gate, Script, says};
use crate::harness::{Ground, on_both};
use crate::rest::Caller;
use loadtest::socket::Frame;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Says something, and goes on when the test lets it.
fn begins(gate: &Gate) -> Script {
    says(["so ", "far"]).then_waits_for(gate).then_says([" and more"])
}

on_both!(
    /// Proves AI-14, AI-18, CORR-10.
    the_asker_stops_an_answer_and_what_was_said_stays,
    async |ground| {
        // Its signs of life, by which a worker hears of it as well, come every ten seconds.
        let scene = Scene::open_with(ground, &["ai.checkpoint_ms=60000"]).await;
        scene.upstream.answers(begins(&Gate::new()));
        let bob = scene.house.joined_by("Bob").await;
        let cleo = Caller::of(&scene.house.joined_by("Cleo").await);
        let mut follower = scene.follows().await;
        let (calls, lobby) = (Caller::of(&bob), scene.lobby());
        let Asked { run, message, prompt } = asks(&calls, lobby, "@Ada what?").await;
        follower.hears_said(run, "so far").await;
        let path = format!("/rooms/{lobby}/runs/{run}");
        cleo.delete(&path).await.is_problem(403, "forbidden", None);
        let busy = is_refused(&calls, lobby, "@Ada and this?").await;
        assert_eq!((&busy["code"], &busy["run_id"], &busy["retryable"]), (&json!("ai_busy"), &json!(run), &json!(true)));

        let stopped = Instant::now();
        calls.delete(&path).await.expect(202);
        let closed = scene.upstream.closed(1).await;
        assert!(closed.duration_since(stopped) < Duration::from_secs(6), "the engine is let go at once");
        let end = follower.hears_the_end(run).await;
        assert_eq!((&end["state"], &end["reason"], &end["body"]), (&json!("cancelled"), &json!("cancelled"), &json!("so far")));
        // It worked, so it costs; it didn't say how much.
        assert_eq!(end["usage"]["estimated"], true);
        assert!(end["usage"]["prompt_tokens"].as_u64() > Some(10) && end["usage"]["completion_tokens"].as_u64() > Some(0), "{end}");
        let kept = scene.message(message).await;
        assert_eq!((&kept["body"], &kept["run"]["state"]), (&json!("so far"), &json!("cancelled")));
        calls.delete(&path).await.expect(204);

        // And once more: another answer, with another seed, once.
        let body = json!({ "message_id": prompt, "assistant_id": scene.ada, "regenerates": run });
        let again = calls.post(&format!("/rooms/{lobby}/runs"), body.clone()).await.expect(201);
        let second = again["id"].as_u64().expect("an id");
        assert_eq!(follower.hears_the_end(second).await["body"], "Hello there.");
        let repeated = calls.post(&format!("/rooms/{lobby}/runs"), body).await.expect(200);
        assert_eq!((&repeated["id"], &repeated["duplicate"]), (&json!(second), &json!(true)));
        let seeds: Vec<Value> = scene.upstream.requests().iter().map(|asked| asked.json["seed"].clone()).collect();
        assert!(seeds.len() == 2 && seeds[0] != seeds[1], "{seeds:?}");
    }
);

on_both!(
    /// Proves CORR-10.
    others_stop_it_and_it_is_said_why,
    async |ground| {
        let scene = Scene::open(ground).await;
        let bob = Caller::of(&scene.house.joined_by("Bob").await);
        let mut follower = scene.follows().await;
        // An admin.
        scene.upstream.answers(begins(&Gate::new()));
        let asked = asks(&bob, scene.lobby(), "@Ada one?").await;
        follower.hears_said(asked.run, "so far").await;
        let mut listener = scene.house.admin.connects().await;
        let told = listener.asks("ai.stop", json!({ "room_id": scene.lobby(), "run_id": asked.run })).await;
        assert_eq!(told["run_id"], asked.run);
        let end = follower.hears_the_end(asked.run).await;
        assert_eq!((&end["state"], &end["reason"]), (&json!("cancelled"), &json!("stopped_by_admin")));

        // Who deletes the answer.
        scene.upstream.answers(begins(&Gate::new()));
        let asked = asks(&bob, scene.lobby(), "@Ada two?").await;
        follower.hears_said(asked.run, "so far").await;
        scene.ann().delete(&format!("/messages/{}", asked.message)).await.expect(204);
        let end = follower.hears_the_end(asked.run).await;
        assert_eq!((&end["state"], &end["reason"], &end["body"]), (&json!("cancelled"), &json!("deleted"), &Value::Null));
        scene.upstream.closed(2).await;
        scene.ann().get(&format!("/messages/{}", asked.message)).await.is_problem(404, "not_found", None);

        // What waits ends at once, and no engine hears of it.
        let gate = Gate::new();
        scene.upstream.answers(begins(&gate));
        let first = asks(&bob, scene.lobby(), "@Ada three?").await;
        let second = scene.asks("four?").await;
        scene.ann().delete(&format!("/rooms/{}/runs/{}", scene.lobby(), second.run)).await.expect(204);
        let end = follower.hears_the_end(second.run).await;
        assert_eq!((&end["state"], &end["body"], &end["usage"]["prompt_tokens"]), (&json!("cancelled"), &json!("…"), &json!(0)));
        gate.opens();
        assert_eq!(follower.hears_the_end(first.run).await["state"], "done");
        assert_eq!(scene.upstream.requests().len(), 3);
    }
);

on_both!(
    /// Whoever writes an answer hears at once that it ended by another's doing, and what they say meanwhile is told nobody.
    ///
    /// Proves AI-05, AI-08.
    what_ended_is_told_no_further,
    async |ground| {
        // Nobody hears it by a sign of life.
        let scene = Scene::open_with(ground, &["ai.checkpoint_ms=60000", "ai.checkpoint_bytes=100000"]).await;
        let body = json!({ "kind": "closed", "name": "Den", "members": [scene.ada] });
        let made = scene.ann().post("/rooms", body).await.expect(201);
        let den = made["id"].as_u64().expect("an id");
        let talks = || says(["word "]).then_says_every(Duration::from_millis(20), vec!["word "; 400]);

        let mut follower = Follower::of(&scene.house.admin, den).await;
        scene.upstream.answers(talks());
        let asked = scene.asks_in(den, "one?").await;
        follower.hears_said_more_than(asked.run, 20).await;
        scene.ann().delete(&format!("/messages/{}", asked.message)).await.expect(204);
        let mut is_deleted = false;
        while !follower.ended.contains_key(&asked.run) {
            let frame = follower.next().await;
            is_deleted |= matches!(&frame, Frame::Event(event) if event.kind == "message.deleted");
            let is_delta = matches!(&frame, Frame::Signal { kind, .. } if kind == "ai.delta");
            assert!(!(is_deleted && is_delta), "{frame:?}");
        }
        scene.upstream.closed(1).await;

        scene.upstream.answers(talks());
        let asked = scene.asks_in(den, "two?").await;
        follower.hears_said_more_than(asked.run, 20).await;
        scene.ann().delete(&format!("/rooms/{den}/members/{}", scene.ada)).await.expect(204);
        let end = follower.hears_the_end(asked.run).await;
        assert_eq!((&end["state"], &end["reason"]), (&json!("cancelled"), &json!("assistant_gone")));
        scene.upstream.closed(2).await;
        // The follower minds that nothing of it comes after its end.
        scene.ann().post(&format!("/rooms/{den}/messages"), json!({ "body": "silence" })).await.expect(201);
        follower.hears_message("silence").await;
        let newcomer = Follower::of(&scene.house.admin, den).await;
        assert!(newcomer.said.is_empty(), "{:?}", newcomer.said);
    }
);

/// Whoever may not read the room any more isn't answered; who was removed while the answer came gets no more than is there.
///
/// Proves AI-16, CORR-10.
#[tokio::test]
async fn who_is_gone_is_answered_no_more() {
    let scene = Scene::open_with(Ground::Sqlite, &["ai.workers=1"]).await;
    let bob = scene.house.joined_by("Bob").await;
    let body = json!({ "kind": "closed", "name": "Den", "members": [bob.id, scene.ada] });
    let made = scene.ann().post("/rooms", body).await.expect(201);
    let den = made["room"]["id"].as_u64().or_else(|| made["id"].as_u64()).expect("an id");
    let gate = Gate::new();
    scene.upstream.answers(begins(&gate));
    let mut follower = scene.follows().await;
    let first = scene.asks("hold on").await;
    follower.hears_said(first.run, "so far").await;
    let asked = asks(&Caller::of(&bob), den, "@Ada what?").await;
    scene.ann().delete(&format!("/rooms/{den}/members/{}", bob.id)).await.expect(204);
    gate.opens();
    follower.hears_the_end(first.run).await;
    let began = Instant::now();
    let run = loop {
        let run = scene.run(den, asked.run).await;
        if run["ended_at"].is_string() {
            break run;
        }
        assert!(began.elapsed() < crate::harness::PATIENCE, "{run}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((&run["state"], &run["reason"]), (&json!("cancelled"), &json!("asker_gone")));
    assert_eq!(scene.upstream.requests().len(), 1, "nobody was asked");
}

on_both!(
    /// Proves AI-23.
    however_often_it_is_asked_there_is_one_answer,
    async |ground| {
        let scene = Scene::open(ground).await;
        let (ann, lobby) = (scene.ann(), scene.lobby());
        let gate = Gate::new();
        scene.upstream.answers(begins(&gate));
        let id = uuid::Uuid::new_v4();
        let body = json!({ "body": "@Ada what?", "client_message_id": id });
        let path = format!("/rooms/{lobby}/messages");
        let first = ann.post(&path, body.clone()).await.expect(201);
        let again = ann.post(&path, body.clone()).await.expect(200);
        assert_eq!((&again["id"], &again["runs"][0]["run_id"]), (&first["id"], &first["runs"][0]["run_id"]));
        let ask = json!({ "message_id": first["id"], "assistant_id": scene.ada });
        let asked = ann.post(&format!("/rooms/{lobby}/runs"), ask.clone()).await.expect(200);
        assert_eq!((&asked["id"], &asked["duplicate"]), (&first["runs"][0]["run_id"], &json!(true)));
        gate.opens();
        let run = asked["id"].as_u64().expect("an id");
        scene.run_becomes(run, "done", |run| run["state"] == "done").await;
        ann.post(&path, body).await.expect(200);
        ann.post(&format!("/rooms/{lobby}/runs"), ask).await.expect(200);
        let runs = ann.get(&format!("/rooms/{lobby}/runs")).await.expect(200);
        assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
        assert_eq!(scene.upstream.requests().len(), 1);
    }
);

on_both!(
    /// A post whose reply was lost is repeated: it says again why nobody was asked, and asks once somebody can be.
    ///
    /// Proves AI-23.
    a_repeated_post_asks_whom_it_asked_in_vain,
    async |ground| {
        let scene = Scene::open(ground).await;
        let (ann, gate) = (scene.ann(), Gate::new());
        scene.upstream.answers(begins(&gate));
        let mut follower = scene.follows().await;
        let first = scene.asks("what?").await;
        let body = json!({ "body": "@Ada, and then?", "client_message_id": uuid::Uuid::new_v4() });
        let path = format!("/rooms/{}/messages", scene.lobby());
        let posted = ann.post(&path, body.clone()).await.expect(201);
        assert_eq!(posted["runs"][0]["error"]["code"], "ai_busy", "{posted}");
        let again = ann.post(&path, body.clone()).await.expect(200);
        assert_eq!((&again["id"], &again["runs"][0]), (&posted["id"], &posted["runs"][0]), "{again}");
        gate.opens();
        follower.hears_the_end(first.run).await;
        let again = ann.post(&path, body.clone()).await.expect(200);
        assert_eq!((&again["id"], &again["duplicate"]), (&posted["id"], &json!(true)), "{again}");
        let run = again["runs"][0]["run_id"].as_u64().unwrap_or_else(|| panic!("asked: {again}"));
        assert_eq!(follower.hears_the_end(run).await["body"], "Hello there.");
        let last = ann.post(&path, body).await.expect(200);
        assert_eq!(last["runs"], again["runs"]);
        assert_eq!(scene.upstream.requests().len(), 2);
    }
);

/// What an assistant says asks nobody, and nobody hears of an `@everyone` in it.
///
/// Proves AI-16.
#[tokio::test]
async fn what_it_says_asks_nobody() {
    let scene = Scene::open(Ground::Sqlite).await;
    assistant(&scene.house, "Bot", &scene.upstream.url(), json!({})).await;
    scene.upstream.answers(says(["@Bot and @Ada, @everyone: answer me"]));
    let mut follower = scene.follows().await;
    let asked = scene.asks("what?").await;
    assert_eq!(follower.hears_the_end(asked.run).await["body"], "@Bot and @Ada, @everyone: answer me");
    let done = scene.is_answered("more?").await;
    assert_eq!(done["body"], "Hello there.");
    assert_eq!(scene.upstream.requests().len(), 2, "those that a person asked");
}
