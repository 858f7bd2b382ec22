//! Every refusal has one shape, and a trace that the log knows.

use super::caller::Caller;
use crate::harness::{Ground, House};
use crate::raw::dial;
use loadtest::socket::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Proves PROJ-06.
#[tokio::test]
async fn every_refusal_over_rest_is_a_problem() {
    let house = House::open(Ground::Sqlite).await;
    let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
    let nobody = Caller::nobody(&house.url());
    let messages = format!("/rooms/{}/messages", house.lobby);
    let raw = async |caller: &Caller, text: &[u8]| {
        let path = format!("/api/v1{messages}");
        caller.sends("POST", &path, Some(("application/json", text.to_vec()))).await
    };
    for unreadable in
        [&b"{"[..], b"", b"{\"body\":\"\xff\"}", b"{\"body\":\"\\ud800\"}", b"{\"body\":\"x\"} x"]
    {
        raw(&ann, unreadable).await.is_problem(400, "invalid_payload", Some("body"));
    }
    for shapeless in [&b"[]"[..], b"7", b"\"x\""] {
        let answer = raw(&ann, shapeless).await;
        assert!([400, 422].contains(&answer.status), "{}", answer.text());
        answer.is_problem(answer.status, "invalid_payload", answer.json()["field"].as_str());
    }
    raw(&ann, &vec![b' '; 256 * 1024 + 1]).await.is_problem(413, "too_large", Some("body"));
    nobody.get("/me").await.is_problem(401, "unauthenticated", None);
    nobody.with("cookie", "hearth_session=wrong").get("/me").await.is_problem(401, "token_invalid", None);
    bob.get("/bots").await.is_problem(403, "forbidden", None);
    bob.patch("/account", json!({ "name": "Bob's" })).await.is_problem(403, "forbidden", None);
    for nowhere in ["/", "/nowhere", "/rooms/x", "/rooms/1/2/3", "/rooms/99999999999999999999", "/messages/0"]
    {
        ann.get(nowhere).await.is_problem(404, "not_found", None);
    }
    for nowhere in
        ["/nowhere", "/static/none.js", "/static/../Cargo.toml", "/static/%2e%2e/Cargo.toml", "/api", "/ws/x"]
    {
        nobody.sends("GET", nowhere, None).await.is_problem(404, "not_found", None);
    }
    for (method, path, allow) in [
        ("DELETE", "/me", "GET, HEAD, PATCH"),
        ("PUT", "/rooms", "GET, HEAD, POST"),
        ("GET", "/bots/1/key", "POST"),
        ("BREW", "/me", "GET, HEAD, PATCH"),
    ] {
        let answer = ann.calls(method, path, None).await;
        answer.is_problem(405, "method_not_allowed", None);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    nobody.sends("POST", "/health", None).await.is_problem(405, "method_not_allowed", None);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("before=-1", "before"),
        ("after=x", "after"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("before=1&after=1", "after"),
    ] {
        ann.get(&format!("{messages}?{query}")).await.is_problem(422, "invalid_payload", Some(field));
    }
    let id = ann.says(house.lobby, "first").await;
    let edit = |caller: &Caller, version: &str| caller.with("if-match", version);
    let (path, body) = (format!("/messages/{id}"), json!({ "body": "second" }));
    ann.patch(&path, body.clone()).await.is_problem(422, "invalid_payload", Some("If-Match"));
    edit(&ann, "x").patch(&path, body.clone()).await.is_problem(422, "invalid_payload", Some("If-Match"));
    let edited = edit(&ann, "\"1\"").patch(&path, body.clone()).await;
    assert_eq!((&edited.expect(200)["version"], edited.header("etag")), (&json!(2), Some("\"2\"")));
    let stale = edit(&ann, "1").patch(&path, json!({ "body": "third" })).await;
    assert_eq!(stale.is_problem(409, "version_conflict", None)["version"], 2);
    edit(&bob, "2").patch(&path, body).await.is_problem(403, "forbidden", None);
}

/// Proves PROJ-06.
#[tokio::test]
async fn every_refusal_over_the_socket_is_the_same_object() {
    let house = House::open(Ground::Sqlite).await;
    let mut ann = house.admin.connects().await;
    let room = house.lobby;
    for (text, code, field) in [
        (r#"{"type":"message.pots","request_id":"x"}"#.to_owned(), "invalid_payload", Some("type")),
        (
            json!({ "type": "read.mark", "request_id": "x", "data": { "room_id": room, "seq": 99 } })
                .to_string(),
            "invalid_payload",
            Some("seq"),
        ),
        (
            json!({ "type": "read.mark", "request_id": "x", "data": { "room_id": 99, "seq": 1 } })
                .to_string(),
            "not_found",
            None,
        ),
    ] {
        ann.socket.send_text(text.clone()).await.expect("sent");
        let Frame::Error { request_id, refusal } = ann.next().await else { panic!("no refusal") };
        assert_eq!(request_id.as_deref(), Some("x"));
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), (code, field), "{text}");
        assert!(!refusal.message.is_empty() && !refusal.retryable && refusal.retry_after_ms.is_none());
        assert!(refusal.trace_id.is_some_and(|trace| trace.len() == 32));
    }
}

/// Proves PROJ-06.
#[tokio::test]
async fn every_answer_has_the_trace_of_the_caller_or_one_of_its_own() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let ours = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{ours}-00f067aa0ba902b7-01");
    for path in ["/api/v1/me", "/api/v1/nowhere", "/health", "/static/main.js", "/", "/metrics"] {
        let answer = ann.with("traceparent", &parent).sends("GET", path, None).await;
        assert_eq!(answer.header("x-trace-id"), Some(ours), "{path}");
    }
    let mut seen = std::collections::HashSet::new();
    for wrong in [
        "",
        "00",
        "00-0-0-0",
        &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        &parent[..54],
        &parent.replace("4bf", "4BF"),
        &parent.replace("00-4", "ff-4"),
    ] {
        let answer = ann.with("traceparent", wrong).get("/me").await;
        let trace = answer.header("x-trace-id").expect("a trace").to_owned();
        assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace}");
        assert!(trace != ours && seen.insert(trace), "{wrong}");
    }
}

/// Proves DB-03.
#[tokio::test]
async fn who_is_too_many_is_told_when_to_come_back() {
    let house =
        House::open_with(Ground::Sqlite, &["--set", "polling.waiting=1", "--set", "rooms.queue=1"]).await;
    let ann = Caller::of(&house.admin);
    let last = ann.get("/events?limit=500").await.expect(200)["next"].as_u64().expect("an id");
    let path = format!("/events?after={last}&wait=20");
    let first = tokio::spawn({
        let (ann, path) = (ann.clone(), path.clone());
        async move { ann.get(&path).await }
    });
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    let second = ann.get(&path).await;
    second.is_problem(503, "overloaded", None);
    assert_eq!(second.header("retry-after"), Some("1"));

    // A room that takes one command at a time: whoever finds it busy is told so, and nothing of theirs is stored.
    let posts: Vec<_> = (0..40)
        .map(|n| {
            let (ann, room) = (ann.clone(), house.lobby);
            tokio::spawn(async move {
                let answer =
                    ann.post(&format!("/rooms/{room}/messages"), json!({ "body": format!("{n}") })).await;
                if answer.status != 201 {
                    answer.is_problem(503, "overloaded", None);
                    return None;
                }
                answer.json()["body"].as_str().map(str::to_owned)
            })
        })
        .collect();
    let mut stored = Vec::new();
    for post in posts {
        stored.extend(post.await.expect("answered"));
    }
    assert!(!stored.is_empty() && stored.len() < 40, "{} of 40", stored.len());
    let mut history = house.admin.reads(house.lobby).await;
    history.sort();
    stored.sort();
    assert_eq!(history, stored);
    first.await.expect("polled").expect(200);
}

/// A body that doesn't come is not waited for.
#[tokio::test]
async fn a_body_that_stops_halfway_is_refused() {
    let house = House::open_with(Ground::Sqlite, &["--set", "http.body_timeout_ms=200"]).await;
    let loadtest::wire::Credentials::Cookie(cookie) = house.admin.credentials() else { panic!("no cookie") };
    let mut tcp = dial(&house.url()).await;
    let head = format!(
        "POST /api/v1/rooms/{}/messages HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{{",
        house.lobby
    );
    tcp.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(crate::harness::PATIENCE, tcp.read_to_end(&mut answer)).await;
    read.expect("is answered in time").expect("reads");
    let answer = String::from_utf8(answer).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    let problem: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["code"], "invalid_payload");
}
