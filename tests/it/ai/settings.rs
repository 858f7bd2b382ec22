//! Settings: synced with a version, by either door, and heard on the other devices.

use super::scene::{Scene, asks};
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Ground, House, Listener, on_both};
use crate::rest::caller::Caller;
use serde_json::{Value, json};
use uuid::Uuid;

fn inbox(listener: &Listener) -> u64 {
    let rooms = &listener.socket.welcome().rooms;
    rooms.iter().find(|room| room.kind == "inbox").expect("an inbox").room_id
}

on_both!(
    /// Proves CORR-13.
    settings_have_a_version_by_either_door,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let mut other = house.admin.connects().await;
        let inbox = inbox(&other);
        other.joins(inbox, None).await;
        let mut socket = house.admin.connects().await;
        assert_eq!(ann.get("/me/settings").await.expect(200), json!({ "version": 0, "settings": {} }));

        let first = json!({ "version": 0, "settings": { "tone": "terse", "nested": { "b": [1, null], "a": "x\"y" } } });
        assert_eq!(socket.asks("settings.sync", first.clone()).await, json!({ "version": 1 }));
        let heard = other.hears().await;
        assert_eq!((heard.kind.as_str(), &heard.json["data"]["version"]), ("settings.synced", &json!(1)));
        assert_eq!(heard.json["data"]["settings"], first["settings"], "the very content");
        // The answer was lost: the same again, its keys in another order even, changes nothing.
        let again = json!({ "version": 0, "settings": { "nested": { "a": "x\"y", "b": [1, null] }, "tone": "terse" } });
        assert_eq!(socket.asks("settings.sync", again.clone()).await, json!({ "version": 1, "duplicate": true }));
        assert_eq!(ann.put("/me/settings", again).await.expect(200), json!({ "version": 1, "duplicate": true }));

        // Another content on an old version is a conflict that names the current one.
        let late = json!({ "version": 0, "settings": { "tone": "florid" } });
        assert_eq!(socket.is_refused("settings.sync", late.clone()).await, "version_conflict");
        let problem = ann.put("/me/settings", late).await.is_problem(409, "version_conflict", None);
        assert_eq!(problem["version"], json!(1));
        let ahead = json!({ "version": 7, "settings": {} });
        ann.put("/me/settings", ahead).await.is_problem(409, "version_conflict", None);

        let second = json!({ "version": 1, "settings": { "tone": "florid" } });
        assert_eq!(ann.put("/me/settings", second).await.expect(200), json!({ "version": 2, "duplicate": false }));
        assert_eq!(other.hears().await.json["data"], json!({ "version": 2, "settings": { "tone": "florid" } }));
        let now = ann.get("/me/settings").await.expect(200);
        assert_eq!(now, json!({ "version": 2, "settings": { "tone": "florid" } }));

        // They are each user's own.
        let bob = Caller::of(&house.joined_by("Bob").await);
        assert_eq!(bob.get("/me/settings").await.expect(200)["version"], json!(0));
    }
);

on_both!(
    /// Proves CORR-13.
    settings_are_an_object_of_four_kibibytes,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let sized = |bytes: usize| json!({ "version": 0, "settings": { "a": "x".repeat(bytes - 8) } });
        ann.put("/me/settings", sized(4097)).await.is_problem(413, "too_large", Some("settings"));
        let mut socket = house.admin.connects().await;
        assert_eq!(socket.is_refused("settings.sync", sized(4097)).await, "too_large");
        for wrong in [json!([1]), json!("text"), json!(null), json!(7)] {
            let body = json!({ "version": 0, "settings": wrong });
            ann.put("/me/settings", body).await.is_problem(422, "invalid_payload", Some("settings"));
        }
        let negative = json!({ "version": -1, "settings": {} });
        ann.put("/me/settings", negative).await.is_problem(422, "invalid_payload", Some("version"));
        ann.put("/me/settings", sized(4096)).await.expect(200);
        let kept = ann.get("/me/settings").await.expect(200);
        assert_eq!(kept["settings"]["a"].as_str().map(str::len), Some(4088));

        // Of syncs that race on one version one wins, and the others learn where it stands.
        let race = |n: usize| {
            let ann = ann.clone();
            async move { ann.put("/me/settings", json!({ "version": 1, "settings": { "n": n } })).await }
        };
        let answers = futures_util::future::join_all((0..8).map(race)).await;
        let won: Vec<Value> = answers.iter().filter(|one| one.status == 200).map(|one| one.json()).collect();
        assert_eq!(won, [json!({ "version": 2, "duplicate": false })]);
        for lost in answers.iter().filter(|one| one.status != 200) {
            assert_eq!(lost.is_problem(409, "version_conflict", None)["version"], json!(2));
        }
    }
);

on_both!(
    /// Settings that are changed while a question waits are none of its business, and a question that names others than those there
    /// are asks nobody, whichever door it comes by.
    ///
    /// Proves CORR-13.
    a_question_is_answered_by_the_settings_it_named,
    async |ground| {
        let scene = Scene::open_with(ground, &["ai.workers=1"]).await;
        let bob = scene.house.joined_by("Bob").await;
        let (calls, lobby) = (Caller::of(&bob), scene.lobby());
        let mut socket = bob.connects().await;
        let wish = |version: u64, language: &str| json!({ "version": version, "settings": { "ai": { "language": language } } });
        socket.asks("settings.sync", wish(0, "Esperanto")).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["Hold"]).then_waits_for(&gate));
        let first = scene.asks("hold the line").await;
        gate.is_reached().await;
        let post = |version: u64| {
            let id = Uuid::new_v4();
            json!({ "room_id": lobby, "client_message_id": id, "body": "@Ada what?", "settings_version": version })
        };
        let posted = socket.asks("message.post", post(1)).await;
        let run = posted["runs"][0]["run_id"].as_u64().unwrap_or_else(|| panic!("{posted}"));
        assert_eq!(socket.asks("settings.sync", wish(1, "Volapük")).await, json!({ "version": 2 }));
        gate.opens();
        scene.run_becomes(first.run, "done", |run| run["state"] == "done").await;
        let seen = scene.run_becomes(run, "done", |run| run["state"] == "done").await;
        assert_eq!(seen["settings_version"], json!(1), "{seen}");
        let prompt = scene.upstream.asked(2).said_by("user").join("\n");
        assert!(prompt.contains("Esperanto") && !prompt.contains("Volapük"), "{prompt}");

        // By each door: the message stands, and says why nobody is asked.
        let stale = socket.asks("message.post", post(1)).await;
        let named = json!({ "body": "@Ada what?", "settings_version": 1 });
        let by_rest = calls.post(&format!("/rooms/{lobby}/messages"), named).await.expect(201);
        for told in [stale, by_rest] {
            let error = &told["runs"][0]["error"];
            assert_eq!((&error["code"], &error["version"]), (&json!("settings_conflict"), &json!(2)), "{told}");
        }
        let message = calls.says(lobby, "something to ask about").await;
        let mut ask = json!({ "room_id": lobby, "message_id": message, "assistant_id": scene.ada, "settings_version": 1 });
        assert_eq!(socket.is_refused("ai.ask", ask.clone()).await, "settings_conflict");
        ask.as_object_mut().expect("fields").remove("room_id");
        let path = format!("/rooms/{lobby}/runs");
        let problem = calls.post(&path, ask.clone()).await.is_problem(409, "settings_conflict", None);
        assert_eq!(problem["version"], json!(2));
        assert_eq!(scene.upstream.requests().len(), 2, "nobody was asked");
        ask["settings_version"] = json!(2);
        let asked = calls.post(&path, ask).await.expect(201);
        assert_eq!(asked["settings_version"], json!(2));
        let run = asked["id"].as_u64().expect("an id");
        scene.run_becomes(run, "done", |run| run["state"] == "done").await;
        // Who says nothing of settings is answered by what is there.
        let asked = asks(&calls, lobby, "@Ada and now?").await;
        scene.run_becomes(asked.run, "done", |run| run["settings_version"] == 2 && run["state"] == "done").await;
        for request in [3, 4] {
            assert!(scene.upstream.asked(request).said_by("user").join("\n").contains("Volapük"));
        }
    }
);

on_both!(
    /// Each change stays in the log: ten within ten seconds, by either door, and who waits as told goes on.
    settings_are_changed_ten_times_and_no_more,
    async |ground| {
        let flags = ["--set", "limits.settings=10", "--set", "limits.settings_window_ms=600000"];
        let house = House::open_with(ground, &flags).await;
        let ann = Caller::of(&house.admin);
        let mut socket = house.admin.connects().await;
        let nth = |n: usize| json!({ "version": n, "settings": { "n": n } });
        for n in 0..5 {
            ann.put("/me/settings", nth(n)).await.expect(200);
        }
        for n in 5..10 {
            assert_eq!(socket.asks("settings.sync", nth(n)).await["version"], json!(n + 1));
        }
        let refused = ann.put("/me/settings", nth(10)).await.is_problem(429, "rate_limited", None);
        let wait = refused["retry_after_ms"].as_u64().expect("a wait");
        assert!((30_000..=60_000).contains(&wait), "{wait}");
        assert_eq!(socket.is_refused("settings.sync", nth(10)).await, "rate_limited");
        assert_eq!(ann.get("/me/settings").await.expect(200)["version"], json!(10), "nothing was stored");
        // Everything else goes on, and others do.
        ann.says(house.lobby, "still here").await;
        let bob = Caller::of(&house.joined_by("Bob").await);
        bob.put("/me/settings", nth(0)).await.expect(200);
        house.metric_becomes("hearth_limited_total", "limit=\"settings\"", 2.0).await;
        let defaults = hearth::config::Config::default().limits;
        assert_eq!((defaults.settings, defaults.settings_window.as_secs()), (10, 10));
    }
);
