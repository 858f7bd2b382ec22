//! What operators see: alive, ready, and the log.

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, House, PASSWORD, PATIENCE, empty};
use crate::raw::Raw;
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;

async fn ready(url: &str) -> (u16, Value) {
    let answer = Caller::nobody(url).sends("GET", "/ready", None).await;
    let said = answer.json();
    assert_eq!(said["ready"], answer.status == 200);
    (answer.status, said)
}

/// Waits until `/ready` names these as failed, and that `/health` is well all the while.
async fn becomes(url: &str, failed: &Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, said) = ready(url).await;
        assert_eq!(Caller::nobody(url).sends("GET", "/health", None).await.status, 200, "the process lives");
        if said["failed"] == *failed {
            let expected = if failed == &json!([]) { 200 } else { 503 };
            return assert_eq!(status, expected);
        }
        assert!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Proves OBS-01, DB-01.
#[tokio::test]
async fn a_server_that_leaves_or_lacks_its_schema_is_not_ready() {
    let flags = ["--set", "socket.linger_ms=20000"];
    let mut house = House::open_with(Ground::Sqlite, &flags).await;
    let (status, said) = ready(&house.url()).await;
    assert_eq!((status, &said["failed"], &said["database"]["kind"]), (200, &json!([]), &json!("sqlite")));
    let settings = &said["database"]["settings"];
    for setting in ["journal_mode", "busy_timeout", "foreign_keys", "synchronous"] {
        assert!(settings[setting].is_string(), "{setting}: {said}");
    }
    let file = house.server.log_path().with_file_name("data").join("hearth.db");
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("connects");
    conn.batch_execute("PRAGMA busy_timeout = 5000; CREATE TABLE kept AS SELECT * FROM __diesel_schema_migrations; DELETE FROM __diesel_schema_migrations").expect("takes the versions away");
    becomes(&house.url(), &json!(["migrations"])).await;
    conn.batch_execute("INSERT INTO __diesel_schema_migrations SELECT * FROM kept; DROP TABLE kept")
        .expect("puts them back");
    becomes(&house.url(), &json!([])).await;

    // A client that doesn't take its leave keeps the server from ending, for a while.
    let mut stubborn = Raw::connect(&house.url(), &house.admin.credentials()).await;
    let pid = house.server.pid().expect("runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    becomes(&house.url(), &json!(["drain"])).await;
    assert_eq!(stubborn.close_code().await, Some(1012));
    drop(stubborn);
    let ended = house.server.terminate(PATIENCE).await.expect("ends");
    assert!(ended.success(), "{ended:?}");
}

/// Proves OBS-01.
#[tokio::test]
async fn a_server_whose_database_is_gone_is_not_ready() {
    let place = Place::new(Ground::Postgres);
    let server = place.serves(&[]).await;
    becomes(&server.url(), &json!([])).await;
    let url = place.database.as_deref().expect("a database");
    let (before, after) = url.split_once("@/").expect("a URL");
    let (name, rest) = after.split_once('?').expect("a host");
    let mut other = PgConnection::establish(&format!("{before}@/postgres?{rest}")).expect("connects");
    // One after the other: together they were one transaction, and who came back before its end was let in.
    other.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).expect("shut");
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    other.batch_execute(&cut).expect("cut");
    becomes(&server.url(), &json!(["database"])).await;
    let refused = Caller::nobody(&server.url()).get("/setup").await;
    refused.is_problem(503, "unavailable", None);
    other.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).expect("opened");
    becomes(&server.url(), &json!([])).await;
}

/// Proves OBS-02.
#[tokio::test]
async fn each_line_of_the_log_is_an_object_that_says_whom_and_what_it_is_about() {
    let flags = ["--log-format", "json", "--log-level", "info,hearth=debug"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let bob = house.joined_by("Bob").await;
    let bob_calls = Caller::of(&bob);
    let path = format!("/rooms/{}/messages", house.lobby);
    let posted = bob_calls.post(&path, json!({ "body": "hello" })).await;
    let trace = posted.header("x-trace-id").expect("a trace").to_owned();
    let message = posted.expect(201)["id"].clone();
    let refused = bob_calls.post(&path, json!({ "body": " " })).await;
    let refused = refused.header("x-trace-id").expect("a trace").to_owned();
    let mut socket = bob.connects().await;
    let key = Uuid::new_v4();
    let post = json!({ "type": "message.post", "request_id": "my request", "data": { "room_id": house.lobby, "client_message_id": key, "body": "hi" } });
    socket.socket.send_text(post.to_string()).await.expect("sent");
    let said = socket.socket.answer("my request").await.expect("answered");

    let lines: Vec<Value> = house
        .log()
        .lines()
        // Standard output is in the same file.
        .filter(|line| !line.starts_with("Hearth is ready"))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
    let of = |wanted: &dyn Fn(&Value) -> bool| {
        lines.iter().find(|line| wanted(line)).unwrap_or_else(|| panic!("{}", house.log()))
    };
    let is_about = |line: &Value, message: Option<&Value>| {
        assert_eq!(line["user.id"], json!(bob.id.to_string()), "{line}");
        assert_eq!(line["room.id"], json!(house.lobby.to_string()), "{line}");
        assert_eq!(line["message.id"].as_str(), message.map(Value::to_string).as_deref(), "{line}");
        assert!(line["trace_id"].as_str().is_some_and(|trace| trace.len() == 32));
    };
    let request = of(&|line| line["trace_id"] == json!(trace) && line["route"].is_string());
    is_about(request, None);
    assert_eq!(
        (&request["route"], &request["status"]),
        (&json!("/api/v1/rooms/{room}/messages"), &json!(201))
    );
    is_about(of(&|line| line["trace_id"] == json!(trace) && line["command"].is_string()), Some(&message));
    let refusal = of(&|line| line["trace_id"] == json!(refused));
    is_about(refusal, None);
    assert_eq!(refusal["status"], 422);
    is_about(
        of(&|line| line["request_id"] == "my request" && line["command"].is_string()),
        Some(&said["id"]),
    );
    for line in &lines {
        // One type for each field, or an index of the log refuses half of the lines.
        for id in ["user.id", "room.id", "conn.id", "message.id", "trace_id", "request_id"] {
            assert!(line[id].is_string() || line[id].is_null(), "{id}: {line}");
        }
    }
}

/// A request that nobody is known by has a line too, and a path that anybody made up isn't in it.
#[tokio::test]
async fn a_made_up_path_is_not_in_the_log() {
    let (server, _dir) = empty(Ground::Sqlite, &["--log-format", "json"]).await;
    let nobody = Caller::nobody(&server.url());
    nobody.sends("GET", "/made-up-by-nobody", None).await.is_problem(404, "not_found", None);
    let wrong = json!({ "email": "made-up@example.org", "password": PASSWORD });
    nobody.with("cookie", "hearth_session=madeup").post("/sessions", wrong).await.is_problem(
        401,
        "unauthenticated",
        None,
    );
    let log = std::fs::read_to_string(server.log_path()).expect("a log");
    assert!(log.contains("\"route\":\"unmatched\"") && log.contains("/api/v1/sessions"), "{log}");
    assert!(!log.contains("made-up") && !log.contains("madeup"), "{log}");
}
