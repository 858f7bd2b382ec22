//! What is counted and measured of answers: by how they ended, for whom, how long, and whose time it was.

use super::scene::{Follower, Scene, asks, assistant};
use crate::harness::upstream::script::{Gate, Script, is_silent, refuses_the_key, says};
use crate::harness::{Ground, on_both};
use crate::rest::Caller;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

on_both!(
    /// Each way to end is counted as what it was, and so is what was used on the way.
    ///
    /// Proves AI-21.
    each_end_is_counted_as_what_it_was,
    async |ground| {
        let settings = [
            "ai.connect_timeout_ms=1000", "ai.first_token_timeout_ms=2000", "ai.idle_timeout_ms=2000", "ai.retries=0",
            "ai.breaker_samples=1000",
        ];
        let scene = Scene::open_with(ground, &settings).await;
        let bob = Caller::of(&scene.house.joined_by("Bob").await);
        let part = || says(["so ", "far"]);
        let cases: [(&str, Script, &str); 6] = [
            ("completed", says(["Well."]).then_usage(30, 4), "done"),
            ("timed_out", is_silent(), "failed"),
            ("timed_out", part().then_stalls(), "interrupted"),
            ("interrupted", part().then_hangs_up(), "interrupted"),
            ("failed", refuses_the_key(), "failed"),
            // It never falls silent: that would be another end.
            ("cancelled", part().then_says_every(Duration::from_millis(50), vec![" more"; 400]), "cancelled"),
        ];
        let mut wanted = BTreeMap::from([("completed", 0), ("timed_out", 0), ("interrupted", 0), ("failed", 0), ("cancelled", 0)]);
        let (mut follower, mut prompt, mut completion) = (scene.follows().await, 0.0, 0.0);
        let mut asked_for = 0;
        for (outcome, script, state) in cases {
            scene.upstream.answers(script);
            let asked = scene.asks(outcome).await;
            asked_for += 1;
            *wanted.entry(outcome).or_insert(0) += 1;
            if outcome == "cancelled" {
                follower.hears_said_more_than(asked.run, 5).await;
                // One that waits is cancelled, too.
                let waits = asks(&bob, scene.lobby(), "@Ada and I?").await;
                asked_for += 1;
                *wanted.entry(outcome).or_insert(0) += 1;
                for (calls, run, status) in [(&bob, waits.run, 204), (&scene.ann(), asked.run, 202)] {
                    calls.delete(&format!("/rooms/{}/runs/{run}", scene.lobby())).await.expect(status);
                }
                assert_eq!(follower.hears_the_end(waits.run).await["state"], state);
            }
            let end = follower.hears_the_end(asked.run).await;
            assert_eq!(end["state"], state, "{outcome}: {end}");
            prompt += end["usage"]["prompt_tokens"].as_f64().expect("a number");
            completion += end["usage"]["completion_tokens"].as_f64().expect("a number");
            // After each: what is counted twice isn't made up for by what isn't counted at all.
            for (outcome, count) in &wanted {
                let label = format!("outcome=\"{outcome}\"");
                scene.house.metric_becomes("hearth_ai_outcomes_total", &label, f64::from(*count)).await;
            }
            scene.house.metric_becomes("hearth_ai_requests_total", "", f64::from(asked_for)).await;
        }
        assert!(prompt > 50.0 && completion > 5.0, "{prompt} {completion}");
        scene.house.metric_becomes("hearth_ai_tokens_total", "\"prompt\"", prompt).await;
        scene.house.metric_becomes("hearth_ai_tokens_total", "\"completion\"", completion).await;
    }
);

/// An engine that thinks and pauses: its time is in what waited and what it took, and in nothing that is ours.
///
/// Proves AI-20, AI-21.
#[tokio::test]
async fn what_is_ours_is_measured_apart_from_the_engine() {
    const THINKS: Duration = Duration::from_secs(3);
    let scene = Scene::open_with(Ground::Sqlite, &["ai.workers=1"]).await;
    let bob = Caller::of(&scene.house.joined_by("Bob").await);
    let slow = says(["so "]).then_pauses(THINKS).then_says(["far"]).then_usage(1000, 40).after(THINKS);
    scene.upstream.answers(slow).answers(says(["quick"]).then_usage(10, 0));
    let mut follower = scene.follows().await;
    let first = scene.asks("what?").await;
    scene.upstream.is_asked().await;
    let second = asks(&bob, scene.lobby(), "@Ada and I?").await;
    for run in [first.run, second.run] {
        assert_eq!(follower.hears_the_end(run).await["state"], "done");
    }
    scene.house.metric_becomes("hearth_ai_run_seconds_count", "", 2.0).await;
    let sum = async |name: &str| {
        assert!(scene.house.metric(&format!("hearth_ai_{name}_count"), "").await > 0.5, "{name}");
        scene.house.metric(&format!("hearth_ai_{name}_sum"), "").await
    };
    let thinks = THINKS.as_secs_f64();
    for (ours, most) in [("dispatch_seconds", thinks - 0.5), ("relay_seconds", thinks - 0.5)] {
        let seconds = sum(ours).await;
        assert!(seconds < most, "{ours} has the engine's time in it: {seconds}");
    }
    for (whole, least) in
        [("first_token_seconds", thinks), ("run_seconds", thinks * 2.0), ("wait_seconds", thinks * 2.0 - 1.0)]
    {
        let seconds = sum(whole).await;
        assert!(seconds >= least, "{whole} misses the engine's time: {seconds}");
    }
    // Forty tokens in six seconds or a little more; of the other answer nobody knows.
    let speed = sum("tokens_per_second").await;
    assert!((0.5..=40.0 / (thinks * 2.0)).contains(&speed), "{speed}");
}

/// What a run used, in the order of the sums.
fn used(run: &Value) -> [u64; 4] {
    let number = |name: &str| run["usage"][name].as_u64().unwrap_or_else(|| panic!("{run}"));
    let failed = u64::from(run["state"] == "failed");
    [failed, number("prompt_tokens"), number("completion_tokens"), number("cost_micros")]
}

on_both!(
    /// What runs used is summed up by whoever asked, wherever, and by whatever answered, however they ended: it is what the runs
    /// themselves say.
    ///
    /// Proves AI-14.
    what_was_used_is_shown_for_whom_where_and_by_what,
    async |ground| {
        let scene = Scene::open_with(ground, &["ai.retries=0", "ai.breaker_samples=1000"]).await;
        let (bob, eve) = (scene.house.joined_by("Bob").await, scene.house.joined_by("Eve").await);
        let other = scene.house.admin.client.create_room("open", "Other", &[]).await.expect("a room").id;
        let crow = json!({ "model": "crow", "prompt_price": 3_000_000, "completion_price": 5_000_000 });
        assistant(&scene.house, "Cora", &scene.upstream.url(), crow).await;
        let mut followers = [scene.follows().await, Follower::of(&bob, other).await];
        let part = || says(["so ", "far"]);
        let cases: [(&crate::harness::Person, usize, &str, Script, &str); 5] = [
            (&bob, 0, "@Ada", says(["Well."]).then_usage(30, 4), "done"),
            (&bob, 1, "@Cora", part().then_hangs_up(), "interrupted"),
            (&eve, 1, "@Ada", part().then_waits_for(&Gate::new()), "cancelled"),
            (&eve, 0, "@Cora", says([" "]).then_usage(50, 3), "failed"),
            (&eve, 0, "@Cora", says(["Yes."]).then_usage(70, 6), "done"),
        ];
        let rooms = [scene.lobby(), other];
        // By each way of summing up: the id or name, and what was used.
        let mut wanted: BTreeMap<&str, BTreeMap<String, [u64; 5]>> = BTreeMap::new();
        for (who, room, name, script, state) in cases {
            scene.upstream.answers(script);
            let asked = asks(&Caller::of(who), rooms[room], &format!("{name} what?")).await;
            if state == "cancelled" {
                followers[room].hears_said(asked.run, "so far").await;
                scene.ann().delete(&format!("/rooms/{}/runs/{}", rooms[room], asked.run)).await.expect(202);
            }
            followers[room].hears_the_end(asked.run).await;
            let run = scene.run(rooms[room], asked.run).await;
            assert_eq!(run["state"], state, "{run}");
            assert!(used(&run)[1..].iter().all(|count| *count > 0), "it worked, so it costs: {run}");
            let model = if name == "@Ada" { "parrot" } else { "crow" };
            let keys = [
                ("user", who.id.to_string()),
                ("room", rooms[room].to_string()),
                ("assistant", run["assistant_id"].to_string()),
                ("model", model.to_owned()),
            ];
            for (by, key) in keys {
                let sums = wanted.entry(by).or_default().entry(key).or_default();
                for (sum, more) in sums.iter_mut().zip([1].into_iter().chain(used(&run))) {
                    *sum += more;
                }
            }
        }
        for (by, wanted) in wanted {
            let told = scene.ann().get(&format!("/ai/usage?by={by}")).await.expect(200);
            let sums: BTreeMap<String, [u64; 5]> = told["usage"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|one| {
                    let key = one["model"].as_str().map_or_else(|| one["id"].to_string(), str::to_owned);
                    let number = |name: &str| one[name].as_u64().unwrap_or_else(|| panic!("{one}"));
                    (key, ["runs", "failed", "prompt_tokens", "completion_tokens", "cost_micros"].map(number))
                })
                .collect();
            assert_eq!(sums, wanted, "by {by}");
        }
    }
);
