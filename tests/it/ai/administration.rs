//! Looking after assistants: by REST, and at the command line.

use super::scene::{KEY, Scene};
use crate::harness::upstream::Upstream;
use crate::harness::{Ground, House, PASSWORD, on_both};
use crate::rest::Caller;
use crate::rest::place::Place;
use serde_json::{Value, json};

/// Nothing is there.
const NOWHERE: &str = "http://127.0.0.1:9/v1";

on_both!(an_admin_makes_assistants_and_nobody_sees_their_keys, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
    let body = json!({
        "name": " Ada ", "base_url": "http://127.0.0.1:9/v1/", "model": "tiny", "api_key": "sk-very-secret",
        "instructions": "Be brief.", "temperature": 0.7, "tools": ["dice.roll"],
    });
    bob.post("/assistants", body.clone()).await.is_problem(403, "forbidden", None);
    let made = ann.post("/assistants", body).await.expect(201);
    let id = made["id"].as_u64().expect("an id");
    let whole = json!({
        "id": id, "name": "Ada", "model": "tiny", "enabled": true, "available": true, "base_url": NOWHERE,
        "has_key": true, "instructions": "Be brief.", "context_tokens": 8192, "output_tokens": 1024,
        "prompt_price": 0, "completion_price": 0, "temperature": 0.7, "tools": ["dice.roll"],
        "summarises": false, "paused_until": null,
    });
    assert_eq!(made, whole);
    assert_eq!(ann.get("/assistants").await.expect(200), json!({ "assistants": [whole], "next": null }));
    let seen = json!({ "id": id, "name": "Ada", "model": "tiny", "enabled": true, "available": true });
    assert_eq!(bob.get("/assistants").await.expect(200)["assistants"], json!([seen]));
    let path = format!("/assistants/{id}");
    let mut listener = house.admin.connects().await;
    let commons = listener.socket.welcome().rooms.iter().find(|room| room.kind == "commons");
    let commons = commons.expect("a commons").room_id;
    listener.joins(commons, None).await;
    let change = json!({ "name": "Eva", "api_key": null, "temperature": null, "enabled": false });
    let changed = ann.patch(&path, change).await.expect(200);
    assert_eq!((&changed["name"], &changed["has_key"]), (&json!("Eva"), &json!(false)));
    assert_eq!((&changed["temperature"], &changed["available"]), (&Value::Null, &json!(false)));
    assert_eq!((&changed["instructions"], &changed["enabled"]), (&json!("Be brief."), &json!(false)));
    let told = listener.hears().await;
    assert_eq!((&*told.kind, &told.json["data"]["user"]["name"]), ("user.updated", &json!("Eva")));
    let said = bob.post(&format!("/rooms/{}/messages", house.lobby), json!({ "body": "@Eva?" })).await;
    assert_eq!(said.expect(201)["runs"][0]["error"]["code"], "ai_unavailable");
    for (wrong, field) in [
        (json!({ "name": " " }), "name"),
        (json!({ "base_url": "ftp://x" }), "base_url"),
        (json!({ "base_url": "http://user:pass@x" }), "base_url"),
        (json!({ "model": "" }), "model"),
        (json!({ "api_key": "two words" }), "api_key"),
        (json!({ "context_tokens": 1 }), "context_tokens"),
        (json!({ "output_tokens": 8192 }), "output_tokens"),
        (json!({ "prompt_price": -1 }), "prompt_price"),
        (json!({ "temperature": 2.5 }), "temperature"),
        (json!({ "tools": ["rm"] }), "tools"),
        (json!({ "enabled": "yes" }), "enabled"),
    ] {
        ann.patch(&path, wrong).await.is_problem(422, "invalid_payload", Some(field));
    }
    for missing in ["name", "base_url", "model"] {
        let mut body = json!({ "name": "Ada", "base_url": NOWHERE, "model": "tiny" });
        body.as_object_mut().expect("an object").remove(missing);
        ann.post("/assistants", body).await.is_problem(422, "invalid_payload", Some(missing));
    }
    for other in [0, house.admin.id, 999_999] {
        ann.patch(&format!("/assistants/{other}"), json!({})).await.is_problem(404, "not_found", None);
        ann.delete(&format!("/assistants/{other}")).await.is_problem(404, "not_found", None);
    }
    ann.delete(&path).await.expect(204);
    ann.delete(&path).await.is_problem(404, "not_found", None);
    assert_eq!(ann.get("/assistants").await.expect(200)["assistants"], json!([]));
    let trail = ann.get("/audit?limit=100").await.expect(200).to_string();
    assert!(!trail.contains("sk-very-secret") && !house.log().contains("sk-very-secret"));
});

on_both!(
    /// Whoever may change an assistant's address doesn't get its key by that: it goes where it was given for, and the trail says who
    /// is asked from when on.
    a_key_does_not_follow_to_another_address,
    async |ground| {
        let scene = Scene::open(ground).await;
        let elsewhere = Upstream::start().await;
        let (ann, path) = (scene.ann(), format!("/assistants/{}", scene.ada));
        let shown = |upstream: &Upstream| -> Vec<Option<String>> {
            upstream.requests().iter().map(|asked| asked.headers.get("authorization").cloned()).collect()
        };
        scene.is_answered("are you there?").await;
        let moved = json!({ "base_url": elsewhere.url() });
        ann.patch(&path, moved.clone()).await.is_problem(422, "invalid_payload", Some("api_key"));
        // Nothing is changed, and nothing is lost.
        let ada = ann.get("/assistants").await.expect(200)["assistants"][0].clone();
        assert_eq!((&ada["base_url"], &ada["has_key"]), (&json!(scene.upstream.url()), &json!(true)));
        scene.is_answered("still there?").await;
        assert_eq!(shown(&scene.upstream), vec![Some(format!("Bearer {KEY}")); 2]);
        assert_eq!(elsewhere.requests().len(), 0);
        let without = json!({ "base_url": elsewhere.url(), "api_key": null });
        assert_eq!(ann.patch(&path, without).await.expect(200)["has_key"], json!(false));
        scene.is_answered("and now?").await;
        assert_eq!(shown(&elsewhere), [None], "the old key is nobody else's");
        // Without a key there is none to give again.
        let before = scene.upstream.url();
        ann.patch(&path, json!({ "base_url": before })).await.expect(200);
        let with = json!({ "base_url": elsewhere.url(), "api_key": "sk-another" });
        assert_eq!(ann.patch(&path, with).await.expect(200)["has_key"], json!(true));
        scene.is_answered("and now?").await;
        assert_eq!(shown(&elsewhere)[1..], [Some("Bearer sk-another".to_owned())]);

        let entries = ann.get("/audit?action=assistant.changed").await.expect(200)["entries"].clone();
        let origin = |upstream: &Upstream| upstream.url().trim_end_matches("/v1").to_owned();
        let (here, there) = (origin(&scene.upstream), origin(&elsewhere));
        let moves: Vec<Value> = entries.as_array().expect("a list").iter().map(|one| one["detail"].clone()).collect();
        let detail = |fields, from, to| json!({ "fields": fields, "from": from, "to": to });
        let made = [
            detail("base_url,api_key", &here, &there),
            detail("base_url", &there, &here),
            detail("base_url,api_key", &here, &there),
        ];
        assert_eq!(moves, made, "the latest first");
    }
);

on_both!(runs_are_asked_for_listed_and_stopped, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
    // An engine that takes its time: the first answer may be under way, the others wait.
    let engine = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base_url = format!("http://{}/v1", engine.local_addr().expect("an address"));
    let mut assistants = Vec::new();
    for name in ["Ada", "Eva", "Ida"] {
        let body = json!({ "name": name, "base_url": base_url, "model": "tiny" });
        assistants.push(ann.post("/assistants", body).await.expect(201)["id"].as_u64().expect("an id"));
    }
    let (room, message) = (house.lobby, bob.says(house.lobby, "what?").await);
    let path = format!("/rooms/{room}/runs");
    let mut runs = Vec::new();
    for assistant in &assistants {
        let body = json!({ "message_id": message, "assistant_id": assistant });
        let asked = bob.post(&path, body.clone()).await;
        let run = asked.expect(201);
        assert_eq!(asked.header("location"), Some(&*format!("/api/v1{path}/{}", run["id"])));
        assert_eq!((&run["prompt_id"], &run["assistant_id"]), (&json!(message), &json!(assistant)));
        let again = ann.post(&path, body).await.expect(200);
        assert_eq!((&again["id"], &again["duplicate"]), (&run["id"], &json!(true)));
        runs.push(run["id"].as_u64().expect("an id"));
    }
    let other = bob.says(room, "and that?").await;
    let busy = bob.post(&path, json!({ "message_id": other, "assistant_id": assistants[2] })).await;
    assert_eq!(busy.is_problem(409, "ai_busy", None)["run_id"], runs[2]);
    let first = ann.get(&format!("{path}?limit=2&state=open")).await.expect(200);
    let ids = |page: &Value| -> Vec<u64> {
        page["runs"].as_array().expect("runs").iter().map(|run| run["id"].as_u64().expect("an id")).collect()
    };
    assert_eq!(ids(&first), [runs[2], runs[1]]);
    let cursor = first["next"].as_str().expect("more");
    let rest = ann.get(&format!("{path}?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((ids(&rest), &rest["next"]), (vec![runs[0]], &Value::Null));
    let den = house.closed_room("Den", &[]).await.id;
    let foreign = ann.get(&format!("/rooms/{den}/runs?cursor={cursor}")).await;
    foreign.is_problem(422, "invalid_payload", Some("cursor"));
    ann.get(&format!("{path}?state=odd")).await.is_problem(422, "invalid_payload", Some("state"));
    bob.get(&format!("/rooms/{den}/runs")).await.is_problem(404, "not_found", None);
    ann.get(&format!("/rooms/{den}/runs/{}", runs[2])).await.is_problem(404, "not_found", None);
    // The last one waits behind the first: it ends at once.
    bob.delete(&format!("{path}/{}", runs[2])).await.expect(204);
    let over = bob.get(&format!("{path}/{}", runs[2])).await.expect(200);
    assert_eq!((&over["state"], &over["reason"]), (&json!("cancelled"), &json!("cancelled")));
    bob.delete(&format!("{path}/{}", runs[2])).await.expect(204);
    assert_eq!(ids(&ann.get(&format!("{path}?state=open")).await.expect(200)), [runs[1], runs[0]]);
    bob.delete(&format!("{path}/999999")).await.is_problem(404, "not_found", None);
    let further = json!({ "message_id": message, "assistant_id": assistants[2], "regenerates": runs[2] });
    let second = bob.post(&path, further.clone()).await.expect(201);
    assert_eq!(second["regenerates"], runs[2]);
    assert_eq!(bob.post(&path, further).await.expect(200)["id"], second["id"]);
});

on_both!(an_operator_adds_an_assistant_by_one_command, async |ground| {
    let place = Place::new(ground);
    let add = |url, more: &[&'static str]| -> Vec<&'static str> {
        let args = ["admin", "assistant", "add", "--name", "Ada", "--model", "tiny", "--base-url", url];
        [&args[..], more].concat()
    };
    place.runs(&add(NOWHERE, &[])).await.complained(&["admin"]);
    std::fs::write(place.dir.path().join("password"), PASSWORD).expect("written");
    let ann = ["admin", "create-user", "--name", "Ann", "--email", "ann@example.org", "--role", "admin"];
    place.runs(&[&ann[..], &["--password-file", "password"]].concat()).await.said();
    std::fs::write(place.dir.path().join("key"), "sk-very-secret\n").expect("written");
    let more = ["--api-key-file", "key", "--tools", "dice.roll,choose", "--context-tokens", "4096"];
    let said = place.runs(&add(NOWHERE, &more)).await.said();
    assert!(said.starts_with("made assistant Ada (id "), "{said}");
    place.runs(&add("nowhere", &[])).await.complained(&["base_url"]);
    for (wrong, part) in [
        (["--context-tokens", "5"], "context_tokens"),
        (["--api-key-file", "none"], "none"),
        (["--tools", "rm"], "tools"),
    ] {
        place.runs(&add(NOWHERE, &wrong)).await.complained(&[part]);
    }
    let server = place.serves(&[]).await;
    let nobody = Caller::nobody(&server.url());
    let begun = nobody.post("/sessions", json!({ "email": "ann@example.org", "password": PASSWORD })).await;
    let ann = nobody.with("cookie", &begun.cookie());
    let listed = ann.get("/assistants").await.expect(200);
    assert_eq!(listed["assistants"].as_array().map(Vec::len), Some(1));
    let ada = &listed["assistants"][0];
    assert_eq!((&ada["name"], &ada["has_key"]), (&json!("Ada"), &json!(true)));
    assert_eq!((&ada["context_tokens"], &ada["tools"]), (&json!(4096), &json!(["dice.roll", "choose"])));
    let entries = ann.get("/audit?action=assistant.created").await.expect(200)["entries"].clone();
    assert_eq!((&entries[0]["via"], &entries[0]["actor"]), (&json!("operator"), &Value::Null));
});
