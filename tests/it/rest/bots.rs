//! Bots: who makes them, what they may, and the keys that open for them.

use super::caller::Caller;
use crate::harness::{Ground, House, Listener, on_both};
use loadtest::socket::Socket;
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::time::Duration;

on_both!(an_admin_makes_bots_and_sees_their_keys_once, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
    let made = ann.post("/bots", json!({ "name": " Robot " })).await.expect(201);
    assert_eq!((&made["name"], &made["role"]), (&json!("Robot"), &json!("bot")));
    let (id, key) = (made["id"].as_u64().expect("an id"), made["key"].as_str().expect("a key").to_owned());
    assert!(key.starts_with(&format!("{id}-")) && made["created_at"].is_string());
    let listed = ann.get("/bots").await.expect(200);
    assert_eq!(
        listed,
        json!({
            "bots": [{
                "id": id, "name": "Robot", "created_at": made["created_at"], "webhook_url": null,
                "keys": [{ "id": made["key_id"], "created_at": made["created_at"], "expires_at": null }],
            }],
            "next": null,
        })
    );
    let token = key.split_once('-').expect("two parts").1;
    assert!(!listed.to_string().contains(token));
    let nobody = Caller::nobody(&house.url());
    let robot = nobody.bearing(&key);
    let rotate = format!("/bots/{id}/key");
    for caller in [&bob, &robot] {
        caller.get("/bots").await.is_problem(403, "forbidden", None);
        caller.post("/bots", json!({ "name": "Mine" })).await.is_problem(403, "forbidden", None);
        caller.post(&rotate, Value::Null).await.is_problem(403, "forbidden", None);
        caller.patch("/account", json!({ "name": "Mine" })).await.is_problem(403, "forbidden", None);
    }
    nobody.get("/bots").await.is_problem(401, "unauthenticated", None);
    for wrong in [json!({}), json!({ "name": " " }), json!({ "name": 1 })] {
        ann.post("/bots", wrong).await.is_problem(422, "invalid_payload", Some("name"));
    }
    for nobody in [0, 999_999, house.admin.id] {
        ann.post(&format!("/bots/{nobody}/key"), Value::Null).await.is_problem(404, "not_found", None);
    }
});

on_both!(a_bot_posts_reads_and_listens, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    let robot = Caller::bot_of(&house, "Robot").await;
    let me = robot.get("/me").await.expect(200);
    assert_eq!((&me["name"], &me["role"], &me["email"]), (&json!("Robot"), &json!("bot"), &Value::Null));
    let den = house.closed_room("Den", &[]).await.id;
    robot.get(&format!("/rooms/{den}")).await.is_problem(404, "not_found", None);
    let after = robot.get("/events?limit=500").await.expect(200)["next"].as_u64().expect("an id");
    let poll = tokio::spawn({
        let robot = robot.clone();
        async move { robot.get(&format!("/events?after={after}&wait=20")).await.expect(200) }
    });
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    let asked = ann.says(house.lobby, "Robot?").await;
    let heard = poll.await.expect("polled");
    assert_eq!(
        (&heard["events"][0]["id"], &heard["events"][0]["data"]["body"]),
        (&json!(asked), &json!("Robot?"))
    );
    let answer = robot.says(house.lobby, "Beep.").await;
    let history = ann.get(&format!("/rooms/{}/messages", house.lobby)).await.expect(200);
    assert_eq!(history["messages"][1]["author"], json!({ "id": me["id"], "name": "Robot", "role": "bot" }));
    robot
        .with("if-match", "1")
        .patch(&format!("/messages/{answer}"), json!({ "body": "Boop." }))
        .await
        .expect(200);
    robot.delete(&format!("/messages/{asked}")).await.is_problem(403, "forbidden", None);
    ann.put(&format!("/rooms/{den}/members/{}", me["id"]), Value::Null).await.expect(204);
    robot.says(den, "Beep here, too.").await;
    robot.get("/sessions").await.is_problem(403, "forbidden", None);
    robot.delete("/sessions/current").await.is_problem(403, "forbidden", None);
});

on_both!(a_rotated_key_ends_the_old_one, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    let bot = house.admin.client.create_bot("Robot").await.expect("a bot");
    let nobody = Caller::nobody(&house.url());
    let old = nobody.bearing(&bot.key);
    let socket =
        Socket::connect(&house.url(), &Credentials::Bearer(bot.key.clone())).await.expect("connects");
    let mut open = Listener { socket };
    let rotated = ann.post(&format!("/bots/{}/key", bot.id), Value::Null).await.expect(201);
    assert_eq!(rotated["id"], json!(bot.id));
    let new = nobody.bearing(rotated["key"].as_str().expect("a key"));
    old.get("/me").await.is_problem(401, "token_revoked", None);
    new.get("/me").await.expect(200);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), open.is_closed()).await, Ok(4501));
    let token = bot.key.split_once('-').expect("two parts").1;
    let zero = format!("0-{token}");
    let hers = format!("{}-{token}", house.admin.id);
    for wrong in [
        "",
        "1-",
        "-x",
        "1-a-b",
        "x-a",
        "1",
        "99999999999999999999-a",
        &zero,
        &hers,
        &format!("{}x", bot.key),
    ] {
        nobody.bearing(wrong).get("/me").await.is_problem(401, "token_invalid", None);
    }
});
