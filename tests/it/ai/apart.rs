//! Action requests with two processes on one database: the rows are common to both, those who wait aren't.

use super::actions::Stage;
use crate::harness::{House, PASSWORD, Person};
use crate::postgres;
use crate::rest::caller::Caller;
use loadtest::client::Client;
use loadtest::server::{Options, Server};
use serde_json::json;

/// Whoever waits has the result by the deadline, though another process took it; and what came too late for that one comes too late
/// for all.
///
/// Proves CORR-01, CORR-09.
#[tokio::test]
async fn a_result_that_another_process_took_is_found() {
    let url = postgres::database();
    let house = House::open_on(&url, &[]).await;
    let bot = Caller::bot_of(&house, "Robot").await;
    let bob = house.joined_by("Bob").await;
    let stage = Stage { house, bot, bob };
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut options = Options::new(crate::harness::binary(), dir.path().join("data"));
    options.args = stage.house.server.options().args.clone();
    options.database_url = Some(url);
    let other = Server::start(options).await.expect("the other starts");
    let client = Client::new(&other.url()).expect("a client");
    client.sign_in("bob@example.org", PASSWORD).await.expect("signs in");
    let there = Caller::of(&Person { id: stage.bob.id, client });

    let mut client = stage.bob.connects().await;
    let asked = stage.asks_and_waits(json!({ "timeout_ms": 3_000 }));
    let id = client.notices("action.request").await["data"]["request_id"].clone();
    let path = format!("/actions/{}/result", id.as_str().expect("an id"));
    let done = json!({ "request_id": id, "status": "done", "result": { "rolls": [5] } });
    assert_eq!(there.post(&path, done.clone()).await.expect(200)["duplicate"], json!(false));
    let here = client.asks("action.result", json!({ "request_id": id, "status": "failed" })).await;
    assert_eq!((&here["state"], &here["duplicate"]), (&json!("done"), &json!(true)), "one is applied");
    let answer = asked.await.expect("asked").expect(200);
    assert_eq!((&answer["state"], &answer["result"]), (&json!("done"), &json!({ "rolls": [5] })));
    stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    assert_eq!(stage.house.metric("hearth_action_results_total", "timeout").await, 0.0, "nobody was late");

    let asked = stage.asks_and_waits(json!({ "timeout_ms": 200 }));
    let id = client.notices("action.request").await["data"]["request_id"].clone();
    asked.await.expect("asked").is_problem(504, "request_timeout", None);
    let path = format!("/actions/{}/result", id.as_str().expect("an id"));
    there.post(&path, json!({ "request_id": id, "status": "done" })).await.is_problem(410, "expired", None);
}
