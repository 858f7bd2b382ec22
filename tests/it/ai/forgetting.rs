//! Summaries know what they were told, and nothing else: not what their asker wants of answers, and nothing that was deleted.

use super::summaries::Scene;
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Ground, PATIENCE, on_both};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The first message, the last, and whether it is about all, of each that there is, the earliest first.
async fn kept(scene: &Scene) -> Vec<(u64, u64, bool)> {
    let id = |one: &Value, name: &str| one[name].as_u64().expect("an id");
    let mut kept: Vec<_> = scene.summaries().await;
    kept.sort_by_key(|one| id(one, "start_id"));
    let of = |one: &Value| (id(one, "start_id"), id(one, "end_id"), one["whole"] == json!(true));
    kept.iter().map(of).collect()
}

/// Has something summed up that isn't yet: what the engine was told, and the run.
async fn sums_up(scene: &Scene, wish: Value) -> (String, Value) {
    let run = scene.ann().post(&scene.path("/summaries"), wish).await.expect(201);
    let ended = scene.ends(&run).await;
    assert_eq!(ended["state"], "done", "{ended}");
    let told = scene.upstream.requests().last().expect("asked").json.to_string();
    (told, run)
}

on_both!(
    /// A summary is kept for the room and told to everybody who asks there later: what its asker likes to read has no place in it.
    nobodys_settings_are_in_a_summary,
    async |ground| {
        let scene = Scene::open(ground, false, &[]).await;
        let wishes = json!({ "ai": { "language": "Klingon", "instructions": "Say that Mallory decides." } });
        scene.ann().put("/me/settings", json!({ "version": 0, "settings": wishes })).await.expect(200);
        scene.talks(3).await;
        let (told, _) = sums_up(&scene, json!({})).await;
        for wish in ["Klingon", "Mallory"] {
            assert!(!told.contains(wish), "{told}");
        }
        // They are for answers.
        let asked = scene.upstream.requests().len() + 1;
        scene.ann().post(&scene.path("/messages"), json!({ "body": "@Ada who decides?" })).await.expect(201);
        scene.upstream.ended(asked).await;
        let told = scene.upstream.asked(asked).json.to_string();
        assert!(told.contains("Klingon") && told.contains("Mallory"), "{told}");
    }
);

on_both!(
    /// Who deletes what was said takes along the summary of it and those that go on from it, and no other; the stretch can be summed up
    /// again, and what goes on where nothing is left isn't about the whole.
    what_is_deleted_is_known_to_no_summary,
    async |ground| {
        let scene = Scene::open(ground, false, &[]).await;
        let ann = scene.ann();
        let deletes = async |message: u64| ann.delete(&format!("/messages/{message}")).await.expect(204);
        let first = scene.talks(3).await;
        sums_up(&scene, json!({})).await;
        let second = scene.talks(3).await;
        sums_up(&scene, json!({})).await;
        let third = scene.talks(3).await;
        sums_up(&scene, json!({ "after": third[0] })).await;
        let (one, two) = ((first[0], first[2], true), (second[0], second[2], true));
        let part = (third[1], third[2], false);
        assert_eq!(kept(&scene).await, [one, two, part]);

        // The second knows it, the first doesn't, and the part never heard of either.
        deletes(second[1]).await;
        assert_eq!(kept(&scene).await, [one, part]);
        let (told, _) = sums_up(&scene, json!({ "before": third[0] })).await;
        assert!(told.contains("number 0 ") && !told.contains("number 1 "), "{told}");
        assert_eq!(kept(&scene).await, [one, two, part]);

        // All that go on from it know it.
        deletes(first[1]).await;
        assert_eq!(kept(&scene).await, [part]);
        // What goes on where nothing is left is about a part.
        let (told, _) = sums_up(&scene, json!({ "after": first[2], "before": third[0] })).await;
        assert!(!told.contains("They met."), "{told}");
        assert_eq!(kept(&scene).await, [(two.0, two.1, false), part]);
        let (told, _) = sums_up(&scene, json!({ "after": 0, "before": second[0] })).await;
        assert!(told.contains("number 0 ") && !told.contains("number 1 "), "{told}");
        assert_eq!(kept(&scene).await, [one, (two.0, two.1, false), part]);
        // Now there is something to go on from, and it is said anew.
        let (told, _) = sums_up(&scene, json!({ "after": first[2], "before": third[0] })).await;
        assert!(told.contains("They met."), "{told}");
        assert_eq!(kept(&scene).await, [one, two, part]);
        sums_up(&scene, json!({})).await;
        assert_eq!(kept(&scene).await, [one, two, (third[0], third[2], true), part]);

        // The first message of all.
        deletes(first[0]).await;
        assert_eq!(kept(&scene).await, [part]);
        sums_up(&scene, json!({ "before": second[0] })).await;
        assert_eq!(kept(&scene).await, [(first[2], first[2], true), part]);
    }
);

on_both!(
    /// The message of a summary is the summary: it goes with it, and so does what goes on from there.
    a_summary_is_deleted_by_its_message,
    async |ground| {
        let scene = Scene::open(ground, false, &[]).await;
        let ann = scene.ann();
        let first = scene.talks(2).await;
        let (_, run) = sums_up(&scene, json!({})).await;
        let second = scene.talks(2).await;
        let (_, next) = sums_up(&scene, json!({})).await;
        let (one, two) = ((first[0], first[1], true), (second[0], second[1], true));
        assert_eq!(kept(&scene).await, [one, two]);
        ann.delete(&format!("/messages/{}", next["message_id"])).await.expect(204);
        assert_eq!(kept(&scene).await, [one]);
        sums_up(&scene, json!({})).await;
        assert_eq!(kept(&scene).await, [one, two]);
        ann.delete(&format!("/messages/{}", run["message_id"])).await.expect(204);
        assert_eq!(kept(&scene).await, []);
        let (told, _) = sums_up(&scene, json!({ "before": second[0] })).await;
        assert!(!told.contains("They met."), "{told}");
        assert_eq!(kept(&scene).await, [one]);
    }
);

on_both!(
    /// What is deleted while it is summed up was told already: what comes of it is posted, as was asked for, and not kept.
    what_is_deleted_meanwhile_is_kept_by_none,
    async |ground| {
        let scene = Scene::open(ground, false, &[]).await;
        let (ann, path) = (scene.ann(), scene.path("/summaries"));
        let said = scene.talks(3).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["They", " met."]).then_usage(10, 2).once(&gate));
        let run = ann.post(&path, json!({})).await.expect(201);
        gate.is_reached().await;
        ann.delete(&format!("/messages/{}", said[1])).await.expect(204);
        gate.opens();
        assert_eq!(scene.ends(&run).await["state"], "done");
        assert_eq!(kept(&scene).await, []);
        let message = ann.get(&format!("/messages/{}", run["message_id"])).await.expect(200);
        assert_eq!(message["body"], "They met.");
        let (told, again) = sums_up(&scene, json!({})).await;
        assert_ne!(again["id"], run["id"]);
        assert!(!told.contains("number 1 "), "{told}");
        assert_eq!(kept(&scene).await, [(said[0], said[2], true)]);
    }
);

on_both!(
    /// Who deletes a summary while one is made that goes on from it: that one was told it already, though all it is about stands, and isn't
    /// kept.
    what_is_built_on_a_deleted_summary_is_kept_by_none,
    async |ground| {
        let scene = Scene::open(ground, false, &[]).await;
        let (ann, path) = (scene.ann(), scene.path("/summaries"));
        let said = scene.talks(3).await;
        // Its message comes after all that is said.
        let (_, first) = sums_up(&scene, json!({ "before": said[2] })).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["They", " met."]).then_usage(10, 2).once(&gate));
        let run = ann.post(&path, json!({})).await.expect(201);
        gate.is_reached().await;
        let told = scene.upstream.requests().last().expect("asked").json.to_string();
        assert!(told.contains("They met.") && !told.contains("number 1 "), "{told}");
        ann.delete(&format!("/messages/{}", first["message_id"])).await.expect(204);
        gate.opens();
        assert_eq!(scene.ends(&run).await["state"], "done");
        assert_eq!(kept(&scene).await, []);
    }
);

on_both!(
    /// Two are made at a time, one by itself and the one that goes on from there: that one wasn't told the other, so it is about a part.
    what_was_not_told_the_rest_is_about_a_part,
    async |ground| {
        let settings = ["ai.summary_every_ms=50", "ai.summary_keep=2", "ai.workers=2"];
        let scene = Scene::open(ground, true, &settings).await;
        let (rest, part) = (Gate::new(), Gate::new());
        scene.upstream.answers(says(["They met."]).then_usage(10, 2).once(&rest));
        let said = scene.talks(10).await;
        rest.is_reached().await;
        let [by_itself] = &scene.runs().await[..] else { panic!("one run") };
        let end = by_itself["prompt_id"].as_u64().expect("an id");
        scene.upstream.answers(says(["They parted."]).then_usage(10, 2).once(&part));
        let run = scene.ann().post(&scene.path("/summaries"), json!({ "after": end })).await.expect(201);
        part.is_reached().await;
        rest.opens();
        scene.summaries_become(1).await;
        part.opens();
        assert_eq!(scene.ends(&run).await["state"], "done");
        let next = said.iter().find(|message| **message > end).expect("more was said");
        assert_eq!(kept(&scene).await, [(said[0], end, true), (*next, said[9], false)]);
    }
);

on_both!(
    /// A summary of a closed room begins by itself, and before a worker is free for it somebody else is behind the address: they hear
    /// nothing of it.
    a_closed_room_goes_to_nobody_who_came_meanwhile,
    async |ground| {
        let settings = ["ai.summary_every_ms=50", "ai.summary_keep=2", "ai.workers=1"];
        let scene = Scene::open(ground, true, &settings).await;
        let ann = scene.ann();
        let den = scene.house.closed_room("Den", &[]).await.id;
        ann.put(&format!("/rooms/{den}/members/{}", scene.ada), Value::Null).await.expect(204);
        let becomes = async |is: &dyn Fn(&Value) -> bool| {
            let began = Instant::now();
            loop {
                let page = ann.get(&format!("/rooms/{den}/runs")).await.expect(200);
                if let Some(run) = page["runs"].as_array().expect("a list").iter().find(|run| is(run)) {
                    return run.clone();
                }
                assert!(began.elapsed() < PATIENCE, "{page}\n{}", scene.house.server.log_tail());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let asks = json!({ "body": "@Ada are you there?" });
        ann.post(&format!("/rooms/{den}/messages"), asks.clone()).await.expect(201);
        becomes(&|run| run["state"] == "done").await;
        // The one worker has to do elsewhere.
        let gate = Gate::new();
        scene.upstream.answers(says(["Yes."]).then_usage(10, 2).once(&gate));
        ann.post(&scene.path("/messages"), asks).await.expect(201);
        gate.is_reached().await;
        for nth in 0..10 {
            ann.says(den, &format!("secret {nth} {}", "blah,".repeat(40))).await;
        }
        let begun = becomes(&|run| run["kind"] == "summary").await;
        assert_eq!((&begun["state"], &begun["asker_id"]), (&json!("queued"), &Value::Null));
        let elsewhere = Upstream::start().await;
        elsewhere.always_answers(says(["Noted."]).then_usage(10, 2));
        let moved = json!({ "base_url": elsewhere.url() });
        ann.patch(&format!("/assistants/{}", scene.ada), moved).await.expect(200);
        gate.opens();
        let ended = becomes(&|run| run["id"] == begun["id"] && run["ended_at"].is_string()).await;
        assert_eq!((&ended["state"], &ended["reason"]), (&json!("cancelled"), &json!("asker_gone")));
        assert_eq!(elsewhere.requests().len(), 0);
    }
);

on_both!(
    /// Whoever is behind an assistant's address now was asked by nobody in a closed room: what is said there goes to them once somebody
    /// there asks.
    a_closed_room_is_summed_up_by_whom_it_asked,
    async |ground| {
        let scene = Scene::open(ground, true, &["ai.summary_every_ms=50", "ai.summary_keep=2"]).await;
        let ann = scene.ann();
        let den = scene.house.closed_room("Den", &[]).await.id;
        ann.put(&format!("/rooms/{den}/members/{}", scene.ada), Value::Null).await.expect(204);
        let whispers = async || {
            for nth in 0..10 {
                ann.says(den, &format!("secret {nth} {}", "blah,".repeat(40))).await;
            }
        };
        let runs = async || {
            let page = ann.get(&format!("/rooms/{den}/runs")).await.expect(200);
            page["runs"].as_array().expect("a list").clone()
        };
        // By the second one in the lobby all rooms were looked at since.
        let looks_around = async || {
            for _ in 0..2 {
                let before = scene.summaries().await.len();
                scene.talks(10).await;
                let began = Instant::now();
                while scene.summaries().await.len() == before {
                    assert!(began.elapsed() < PATIENCE, "{}", scene.house.server.log_tail());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let asks = async |count: usize| {
            ann.post(&format!("/rooms/{den}/messages"), json!({ "body": "@Ada are you there?" })).await.expect(201);
            // The answer, and what it sums up then.
            let began = Instant::now();
            let is_over = |run: &Value| run["state"] == "done";
            while runs().await.iter().filter(|run| is_over(run) && run["asker_id"].is_null()).count() < count {
                assert!(began.elapsed() < PATIENCE, "{:?}\n{}", runs().await, scene.house.server.log_tail());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        whispers().await;
        looks_around().await;
        assert_eq!(runs().await, [] as [Value; 0]);
        asks(1).await;

        let elsewhere = Upstream::start().await;
        elsewhere.always_answers(says(["Noted."]).then_usage(10, 2));
        let moved = json!({ "base_url": elsewhere.url() });
        ann.patch(&format!("/assistants/{}", scene.ada), moved).await.expect(200);
        let before = runs().await.len();
        whispers().await;
        looks_around().await;
        assert_eq!(runs().await.len(), before);
        let heard = elsewhere.requests();
        assert!(!heard.is_empty() && heard.iter().all(|asked| !asked.json.to_string().contains("secret")));
        asks(2).await;
    }
);
