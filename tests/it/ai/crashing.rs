//! Processes that die or leave while answers are made: nothing is lost, nothing comes twice, and everybody sees the same.

use super::answers::seed;
use super::scene::{Follower, Scene, asks};
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{Gate, is_silent, says};
use crate::harness::{Ground, House, PASSWORD, PATIENCE, Person, on_both};
use crate::rest::Caller;
use loadtest::client::Client;
use loadtest::server::{Options, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Another process finds out within a moment.
const SHORT: [&str; 3] = ["ai.checkpoint_ms=50", "ai.lease_s=2", "ai.heartbeat_s=1"];

/// What is set aside for runs, over all scopes.
async fn reserved(calls: &Caller) -> u64 {
    let usage = calls.get("/ai/usage").await.expect(200);
    let of = |one: &Value| one["reserved_tokens"].as_u64().unwrap_or_else(|| panic!("{usage}"));
    usage["spending"].as_array().expect("a list").iter().map(of).sum()
}

on_both!(
    /// Proves AI-08, AI-09, AI-14, AI-23.
    an_answer_is_interrupted_by_a_crash_and_keeps_what_was_said,
    async |ground| {
        let mut scene = Scene::open_with(ground, &SHORT).await;
        scene.upstream.answers(says(["half ✓ "]).then_stalls());
        let mut follower = scene.follows().await;
        let asked = scene.asks("what?").await;
        follower.hears_said(asked.run, "half ✓ ").await;
        scene.run_becomes(asked.run, "stored", |run| run["text"] == "half ✓ ").await;
        assert!(reserved(&scene.ann()).await > 0);

        scene.house.server.kill().expect("killed");
        scene.house.server.restart().await.expect("starts again");
        let run = scene.run_becomes(asked.run, "ended", |run| run["ended_at"].is_string()).await;
        assert_eq!((&run["state"], &run["reason"]), (&json!("interrupted"), &json!("lease_lost")));
        assert!(run["usage"]["prompt_tokens"].as_u64() > Some(10) && run["usage"]["estimated"] == true, "{run}");
        assert_eq!(scene.message(asked.message).await["body"], "half ✓ ");
        assert_eq!(reserved(&scene.ann()).await, 0, "it is settled");
        // Who was there all along sees the same.
        let socket = scene.house.admin.connects().await;
        follower.goes_on_by(socket).await;
        assert_eq!(follower.hears_the_end(asked.run).await["body"], "half ✓ ");
        assert_eq!(scene.upstream.requests().len(), 1, "nobody asked again by themselves");

        let ask = json!({ "message_id": asked.prompt, "assistant_id": scene.ada, "regenerates": asked.run });
        let again = scene.ann().post(&format!("/rooms/{}/runs", scene.lobby()), ask).await.expect(201);
        let end = follower.hears_the_end(again["id"].as_u64().expect("an id")).await;
        assert_eq!((&end["state"], &end["body"]), (&json!("done"), &json!("Hello there.")));
        assert_eq!(reserved(&scene.ann()).await, 0);
    }
);

on_both!(
    /// Proves AI-18, AI-19, AI-22, AI-23.
    what_waited_or_said_nothing_goes_on_after_a_crash,
    async |ground| {
        let mut scene = Scene::open_with(ground, &[SHORT[0], SHORT[1], SHORT[2], "ai.workers=1"]).await;
        let bob = Caller::of(&scene.house.joined_by("Bob").await);
        scene.upstream.answers(is_silent());
        let first = scene.asks("first?").await;
        scene.upstream.is_asked().await;
        let second = asks(&bob, scene.lobby(), "@Ada second?").await;
        scene.house.server.kill().expect("killed");
        scene.house.server.restart().await.expect("starts again");
        let mut follower = scene.follows().await;
        for (run, attempts) in [(first.run, 2), (second.run, 1)] {
            let seen = scene.run_becomes(run, "done", |run| run["state"] == "done").await;
            assert!(seen["message_id"].is_u64(), "{attempts}: {seen}");
        }
        assert_eq!(scene.upstream.requests().len(), 3, "the first was asked for again, nothing else twice");
        let seeds: Vec<Value> = scene.upstream.requests().iter().map(|asked| asked.json["seed"].clone()).collect();
        assert_eq!(seeds, [seed(first.prompt), seed(first.prompt), seed(second.prompt)], "whoever asks, and when");
        for message in [first.message, second.message] {
            assert_eq!(scene.message(message).await["body"], "Hello there.");
        }
        scene.ann().says(scene.lobby(), "that's all").await;
        follower.hears_message("that's all").await;
        let bodies = scene.house.admin.reads(scene.lobby()).await;
        assert_eq!(bodies.iter().filter(|body| *body == "Hello there.").count(), 2, "{bodies:?}");
    }
);

/// What kills each process that takes it is given up.
///
/// Proves AI-22.
#[tokio::test]
async fn what_kills_whoever_takes_it_is_given_up() {
    let mut scene = Scene::open_with(Ground::Sqlite, &[SHORT[0], SHORT[1], SHORT[2], "ai.attempts=2"]).await;
    scene.upstream.always_answers(is_silent());
    let asked = scene.asks("what?").await;
    for _ in 0..2 {
        scene.upstream.is_asked().await;
        scene.house.server.kill().expect("killed");
        scene.house.server.restart().await.expect("starts again");
    }
    let run = scene.run_becomes(asked.run, "ended", |run| run["ended_at"].is_string()).await;
    assert_eq!((&run["state"], &run["reason"]), (&json!("failed"), &json!("dead_letter")));
    assert_eq!(scene.upstream.requests().len(), 2);
    scene.upstream.always_answers(says(["free"]));
    assert_eq!(scene.is_answered("and now?").await["body"], "free");
    assert_eq!(reserved(&scene.ann()).await, 0);
}

on_both!(
    /// Proves AI-19.
    who_leaves_ends_what_it_began,
    async |ground| {
        let mut scene = Scene::open_with(ground, &SHORT).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["so "]).then_waits_for(&gate).then_says(["it ends"]));
        let mut follower = scene.follows().await;
        let asked = scene.asks("what?").await;
        follower.hears_said(asked.run, "so ").await;
        let leaves = async {
            // Told to come back: it is on its way out.
            follower.listener.is_closed().await;
            gate.opens();
        };
        let (ended, ()) = tokio::join!(scene.house.server.terminate(PATIENCE), leaves);
        assert!(ended.expect("ends").success());
        scene.house.server.restart().await.expect("starts again");
        assert_eq!(scene.run(scene.lobby(), asked.run).await["state"], "done");
        assert_eq!(scene.message(asked.message).await["body"], "so it ends");
        assert_eq!(scene.upstream.requests().len(), 1);
    }
);

on_both!(
    /// Proves AI-19.
    who_leaves_puts_down_what_takes_too_long,
    async |ground| {
        let mut scene = Scene::open_with(ground, &[SHORT[0], SHORT[1], SHORT[2], "ai.workers=2", "ai.drain_s=1"]).await;
        let bob = Caller::of(&scene.house.joined_by("Bob").await);
        let other = scene.house.admin.client.create_room("open", "Other", &[]).await.expect("a room").id;
        scene.upstream.answers(says(["half"]).then_stalls()).answers(is_silent());
        let mut follower = scene.follows().await;
        let half = scene.asks("what?").await;
        follower.hears_said(half.run, "half").await;
        let silent = scene.asks_in(other, "what?").await;
        scene.upstream.is_asked().await;
        scene.upstream.is_asked().await;
        let waits = asks(&bob, scene.lobby(), "@Ada and then?").await;
        assert!(scene.house.server.terminate(PATIENCE).await.expect("ends").success());
        scene.upstream.closed(1).await;
        scene.upstream.closed(2).await;
        scene.house.server.restart().await.expect("starts again");
        let run = scene.run_becomes(half.run, "ended", |run| run["ended_at"].is_string()).await;
        assert_eq!((&run["state"], &run["reason"]), (&json!("interrupted"), &json!("server_stopped")));
        assert_eq!(scene.message(half.message).await["body"], "half");
        scene.run_becomes(waits.run, "done", |run| run["state"] == "done").await;
        let began = Instant::now();
        while scene.run(other, silent.run).await["state"] != "done" {
            assert!(began.elapsed() < PATIENCE, "lost");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(scene.upstream.requests().len(), 4);
    }
);

/// Who is on the way out takes nothing new, whoever gets free; what it leaves is answered after the start.
///
/// Proves AI-19.
#[tokio::test]
async fn who_leaves_begins_nothing_new() {
    let mut scene = Scene::open_with(Ground::Sqlite, &[SHORT[0], SHORT[1], SHORT[2], "ai.workers=1"]).await;
    let gate = Gate::new();
    scene.upstream.answers(says(["so "]).then_waits_for(&gate).then_says(["it ends"])).answers(is_silent());
    let mut follower = scene.follows().await;
    let asked = scene.asks("what?").await;
    follower.hears_said(asked.run, "so ").await;
    let other = scene.house.admin.client.create_room("open", "Other", &[]).await.expect("a room").id;
    let waits = scene.asks_in(other, "and here?").await;
    let leaves = async {
        follower.listener.is_closed().await;
        gate.opens();
    };
    let (ended, ()) = tokio::join!(scene.house.server.terminate(PATIENCE), leaves);
    assert!(ended.expect("ends").success());
    assert_eq!(scene.upstream.requests().len(), 1, "nothing new");
    scene.house.server.restart().await.expect("starts again");
    assert_eq!(scene.message(asked.message).await["body"], "so it ends");
    let asked: Vec<usize> =
        vec![scene.upstream.is_asked().await.number, scene.upstream.is_asked().await.number];
    assert_eq!((asked, &scene.run(other, waits.run).await["state"]), (vec![1, 2], &json!("running")));
}

/// However often a server is started anew in good order, a question isn't given up for it.
///
/// Proves AI-19, AI-22.
#[tokio::test]
async fn leaving_in_good_order_counts_for_nothing() {
    let settings = [SHORT[0], SHORT[1], SHORT[2], "ai.attempts=2", "ai.drain_s=0"];
    let mut scene = Scene::open_with(Ground::Sqlite, &settings).await;
    scene.upstream.always_answers(is_silent());
    let asked = scene.asks("what?").await;
    for _ in 0..2 {
        scene.upstream.is_asked().await;
        assert!(scene.house.server.terminate(PATIENCE).await.expect("ends").success());
        scene.house.server.restart().await.expect("starts again");
    }
    // A crash is one attempt, and there is one more.
    scene.upstream.is_asked().await;
    scene.house.server.kill().expect("killed");
    scene.upstream.always_answers(says(["at last"]));
    scene.house.server.restart().await.expect("starts again");
    let run = scene.run_becomes(asked.run, "ended", |run| run["ended_at"].is_string()).await;
    assert_eq!((&run["state"], &run["reason"]), (&json!("done"), &Value::Null));
    assert_eq!(scene.message(asked.message).await["body"], "at last");
}

/// Two processes on one database. The first has the answer in hand before the second is there.
pub(super) struct Two {
    pub(super) scene: Scene,
    pub(super) second: Server,
    /// Ann, at the second.
    pub(super) there: Person,
    _directory: tempfile::TempDir,
}

pub(super) async fn second_beside(scene: Scene, database: String) -> Two {
    let directory = tempfile::TempDir::new().expect("a directory");
    let mut options = Options::new(crate::harness::binary(), directory.path().join("data"));
    options.args = scene.house.server.options().args.clone();
    options.env.push(("HEARTH_LOG".to_owned(), "info,hearth=debug".to_owned()));
    options.database_url = Some(database);
    let second = Server::start(options).await.expect("the second starts");
    let client = Client::new(&second.url()).expect("a client");
    client.sign_in("ann@example.org", PASSWORD).await.expect("signs in");
    let there = Person { id: scene.house.admin.id, client };
    Two { scene, second, there, _directory: directory }
}

pub(super) async fn on_two(settings: &[&str]) -> (Scene, String) {
    let database = crate::postgres::database();
    let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    (Scene::in_house(House::open_on(&database, &flags).await).await, database)
}

/// Proves AI-09, AI-22.
#[tokio::test]
async fn another_process_ends_what_a_dead_one_began() {
    let (scene, database) = on_two(&SHORT).await;
    scene.upstream.answers(says(["half"]).then_stalls());
    let mut follower = scene.follows().await;
    let asked = scene.asks("what?").await;
    follower.hears_said(asked.run, "half").await;
    scene.run_becomes(asked.run, "stored", |run| run["text"] == "half").await;
    let mut two = second_beside(scene, database).await;
    let room = two.scene.lobby();
    let mut there = Follower::of(&two.there, room).await;
    let path = format!("/rooms/{room}/runs/{}", asked.run);
    let calls = Caller::of(&two.there);
    // As long as the first lives, it is the first's, however long it takes.
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_millis(2500) {
        assert_eq!(calls.get(&path).await.expect(200)["state"], "running");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    two.scene.house.server.kill().expect("killed");
    let end = there.hears_the_end(asked.run).await;
    assert_eq!(
        (&end["state"], &end["reason"], &end["body"]),
        (&json!("interrupted"), &json!("lease_lost"), &json!("half"))
    );
    let asked = asks(&calls, room, "@Ada and now?").await;
    assert_eq!(there.hears_the_end(asked.run).await["state"], "done");
    assert_eq!(reserved(&calls).await, 0);
    drop(two.second);
}

/// Proves CORR-10.
#[tokio::test]
async fn an_answer_is_stopped_by_way_of_another_process() {
    let (scene, database) = on_two(&["ai.checkpoint_ms=500"]).await;
    scene.upstream.answers(says(["half"]).then_stalls());
    let mut follower = scene.follows().await;
    let asked = scene.asks("what?").await;
    follower.hears_said(asked.run, "half").await;
    let two = second_beside(scene, database).await;
    let (calls, upstream): (Caller, &Upstream) = (Caller::of(&two.there), &two.scene.upstream);
    let stopped = Instant::now();
    calls.delete(&format!("/rooms/{}/runs/{}", two.scene.lobby(), asked.run)).await.expect(202);
    let closed = upstream.closed(1).await;
    assert!(closed.duration_since(stopped) < Duration::from_secs(8), "{:?}", closed.duration_since(stopped));
    let end = follower.hears_the_end(asked.run).await;
    assert_eq!(
        (&end["state"], &end["reason"], &end["body"]),
        (&json!("cancelled"), &json!("cancelled"), &json!("half"))
    );
}
