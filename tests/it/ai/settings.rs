//! Settings: synced with a version, by either door, and heard on the other devices.

use crate::harness::{Ground, House, Listener, on_both};
use crate::rest::caller::Caller;
use serde_json::{Value, json};

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
