//! What must be in no log: passwords, addresses, cookies, keys, codes, and what people say. Every other test looks for what it used, too:
//! the harness searches each server's log when it ends.

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, PASSWORD, on_both};
use crate::overload::becomes;
use crate::raw::{Raw, dial, upgrade};
use loadtest::client::Client;
use loadtest::confidential;
use loadtest::server::Server;
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Stands in everything that a person or an operator chose.
const MARK: &str = "hunter2";

fn person(name: &str) -> Value {
    json!({ "account_name": "House", "name": name, "email": format!("{name}@example.org"), "password": PASSWORD })
}

fn log(server: &Server) -> String {
    fs::read_to_string(server.log_path()).expect("a log")
}

/// The status of the answer to these bytes; none when there is no answer.
async fn raw(url: &str, request: &str) -> Option<u16> {
    let mut tcp = dial(url).await;
    tcp.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    tcp.read_exact(&mut head).await.ok()?;
    std::str::from_utf8(&head).ok()?.rsplit(' ').next()?.parse().ok()
}

async fn no_secret_is_in_the_log(ground: Ground, format: &str) {
    let mut place = Place::new(ground);
    if let Some(url) = &mut place.database {
        // The test server trusts everybody, so the password is ours to choose.
        *url = url.replacen("hearth@", "hearth:postgres-hunter2@", 1);
    }
    let settings = [
        "--log-level",
        "trace",
        "--log-format",
        format,
        "--set",
        "auth.touch_s=0",
        "--set",
        "metrics.token=metrics-hunter2",
    ];
    let server = place
        .serves_among(&[("HEARTH_SECRETS__SIGNING_KEY", &format!("{MARK}{}", "k".repeat(32)))], &settings)
        .await;
    let url = server.url();
    let nobody = Caller::nobody(&url);
    // Coming in, rightly and wrongly.
    let first = nobody.post("/setup", person("ann")).await;
    let room = first.expect(201)["room"]["id"].as_u64().expect("an id");
    nobody.post("/setup", person("eve")).await.is_problem(409, "already_set_up", None);
    let ann = nobody.with("cookie", &first.cookie());
    let code = ann.get("/account").await.expect(200)["join_code"].as_str().expect("a code").to_owned();
    let door = format!("/join/{code}");
    nobody.get(&door).await.expect(200);
    nobody.sends("GET", &door, None).await;
    let joined = nobody.post(&door, person("bob")).await;
    nobody.post(&door, person("bob")).await.is_problem(409, "email_taken", Some("email"));
    for email in ["bob@example.org", "nobody@example.org", "hunter2@example.org@example.org"] {
        let wrong = json!({ "email": email, "password": "wrong-hunter2" });
        nobody.post("/sessions", wrong).await.is_problem(401, "unauthenticated", None);
    }
    for body in [
        r#"{"email":"hunter2@example.org","password":"hunter2-hunter2"#,
        r#"{"email":["hunter2@example.org"],"password":{"hunter2":"hunter2"}}"#,
        r#""hunter2@example.org""#,
        r#"{"email":"hunter2@example.org","password":"hunter2\u0000\ud800"}"#,
    ] {
        for path in ["/api/v1/sessions", "/api/v1/setup", &format!("/api/v1{door}")] {
            let answer =
                nobody.sends("POST", path, Some(("application/json", body.as_bytes().to_vec()))).await;
            assert!((400..500).contains(&answer.status), "{path} {body}: {}", answer.status);
        }
    }
    let again = nobody.post("/sessions", person("bob")).await;

    // Bots, their keys, and where they are called.
    let made = ann.post("/bots", json!({ "name": "Robot" })).await.expect(201);
    let key = made["key"].as_str().expect("a key").to_owned();
    let rotated = ann.post(&format!("/bots/{}/key", made["id"]), json!({})).await.expect(201);
    let new_key = rotated["key"].as_str().expect("a key").to_owned();
    let robot = nobody.bearing(&new_key);
    assert_eq!(nobody.bearing(&key).get("/me").await.status, 401);
    assert_eq!(nobody.bearing("1-hunter2").get("/me").await.status, 401);
    for authorization in
        ["Basic YW5uOmh1bnRlcjI=", "hunter2", "Bearer hunter2 hunter2", "Bearer 99999999999999999999-hunter2"]
    {
        assert_eq!(nobody.with("authorization", authorization).get("/me").await.status, 401);
    }
    nobody.bearing("metrics-hunter2").sends("GET", "/metrics", None).await;
    nobody.bearing("metrics-hunter2x").sends("GET", "/metrics", None).await;
    let hook = "http://user-hunter2:pass-hunter2@127.0.0.1:9/path-hunter2?token=hunter2#hunter2";
    ann.post("/bots", json!({ "name": "Hook", "webhook_url": hook })).await.expect(201);
    for wrong in ["ftp://hunter2", "http://hunter2 hunter2", "https://:80/hunter2"] {
        let refused = ann.post("/bots", json!({ "name": "Wrong", "webhook_url": wrong })).await;
        refused.is_problem(422, "invalid_payload", Some("webhook_url"));
    }
    ann.says(room, "@Hook said in confidence").await;
    let message = robot.says(room, "said in confidence").await;
    ann.get("/search?q=confidence").await.expect(200);
    let stale = json!({ "body": "said in confidence, too" });
    let stale = robot.with("if-match", "9").patch(&format!("/messages/{message}"), stale).await;
    stale.is_problem(409, "version_conflict", None);

    // In a URL they open nothing, and are as secret there.
    let joined_token = joined.cookie();
    let token = joined_token.split_once('=').expect("a pair").1.to_owned();
    for query in ["token", "session", "access_token", "ticket", "authorization", "hearth_session", "key"] {
        for secret in [&token, &new_key] {
            nobody.get(&format!("/me?{query}={secret}")).await.is_problem(401, "unauthenticated", None);
            let request = upgrade(&url, &Credentials::Anonymous);
            let request = request.replacen("GET /ws", &format!("GET /ws?{query}={secret}"), 1);
            assert_eq!(raw(&url, &format!("{request}\r\n")).await, Some(401), "{query}");
        }
    }
    for path in
        ["/api/v1", "/api/v1/join", "/api/v1/rooms", "/api/v1/sessions", "/static", "/rooms", "/ws", ""]
    {
        for secret in [&token, &new_key, &code] {
            nobody.sends("GET", &format!("{path}/{secret}"), None).await;
            let request = upgrade(&url, &Credentials::Anonymous).replacen(
                "GET /ws",
                &format!("GET {path}/{secret}"),
                1,
            );
            raw(&url, &format!("{request}\r\n")).await.expect("an answer");
        }
    }
    // What is no HTTP at all.
    let cookie = format!("Cookie: {joined_token}\r\nAuthorization: Bearer {new_key}\r\n");
    for request in [
        format!("GET /{token} HTTP/9.9\r\n{cookie}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{cookie}no colon {token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{cookie}Content-Length: {token}\r\n\r\n"),
        format!("{token} / HTTP/1.1\r\nHost: {token}\r\n{cookie}\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\nTraceparent: {token}\r\nIdempotency-Key: {token}\r\n{cookie}\r\n"
        ),
        format!("{token}\r\n{token}\r\n\r\n"),
    ] {
        raw(&url, &request).await;
    }

    // Sockets, with frames that are right and wrong.
    for credentials in [Credentials::Cookie(joined_token.clone()), Credentials::Bearer(new_key.clone())] {
        let mut socket = Raw::connect(&url, &credentials).await;
        let id = uuid::Uuid::new_v4();
        for frame in [
            json!({ "type": "message.post", "data": { "room_id": room, "client_message_id": id, "body": "said in confidence" } }),
            json!({ "type": "message.post", "data": { "body": "said in confidence" } }),
            json!({ "type": "hunter2", "request_id": "hunter2", "data": { "token": token } }),
            json!({ "type": "room.subscribe", "data": { "room_id": "hunter2" } }),
            json!("hunter2"),
        ] {
            socket.says(&frame).await;
            assert!(socket.frame().await.expect("reads").is_some());
        }
    }
    // The key as a second protocol, where headers can't be set; and a wrong one.
    for (key, status) in [(new_key.as_str(), 101), ("hunter2", 401)] {
        let request = upgrade(&url, &Credentials::Anonymous);
        let request = request.replacen("hearth.v1.json", &format!("hearth.v1.json, bearer.{key}"), 1);
        assert_eq!(raw(&url, &format!("{request}\r\n")).await, Some(status));
    }
    let client = Client::bot(&url, &new_key).expect("a client");
    client.feed(0, Duration::ZERO, None).await.expect("polled");
    nobody.with("cookie", &again.cookie()).delete("/sessions/current").await.expect(204);
    nobody.with("cookie", &again.cookie()).get("/me").await;
    becomes("the webhook", async || log(&server).contains("outcome")).await;

    let mut secrets: Vec<String> =
        [PASSWORD, MARK, "example.org", "said in confidence", &code].map(str::to_owned).into();
    for secret in [first.cookie(), joined.cookie(), again.cookie(), key, new_key] {
        secrets.push(secret.split(['=', '-']).nth(1).expect("two parts").to_owned());
    }
    let log = log(&server);
    drop(server);
    let is_talkative = log.contains("request answered") && log.contains("TRACE");
    assert!(is_talkative, "the log is as talkative as can be");
    assert_eq!(log.lines().filter(|line| line.starts_with('{')).count() > 100, format == "json");
    for secret in secrets {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&secret)).collect();
        assert!(lines.is_empty(), "{secret}: {lines:#?}");
    }
}

on_both!(
    /// Proves OBS-03, AUTH-03, AUTH-18.
    no_secret_is_in_the_log_whatever_is_logged,
    async |ground| {
        no_secret_is_in_the_log(ground, "text").await;
    }
);

on_both!(
    /// Proves OBS-03, AUTH-03, AUTH-18.
    no_secret_is_in_a_log_for_machines,
    async |ground| {
        no_secret_is_in_the_log(ground, "json").await;
    }
);

/// The harness finds what is in a log: a server whose log repeats a password fails the test that used it.
///
/// Proves OBS-03.
#[tokio::test]
async fn the_harness_searches_every_log() {
    let place = Place::new(Ground::Sqlite);
    let server = place.serves(&[]).await;
    let (url, path) = (server.url(), server.log_path().to_owned());
    let first = Caller::nobody(&url).post("/setup", person("ann")).await;
    let client = Client::new(&url).expect("a client");
    client.sign_in("ann@example.org", PASSWORD).await.expect("signed in");
    let key = Caller::nobody(&url)
        .with("cookie", &first.cookie())
        .post("/bots", json!({ "name": "Robot" }))
        .await
        .expect(201);
    let key = key["key"].as_str().and_then(|key| key.split('-').nth(1)).expect("a key").to_owned();
    let cookies = [first.cookie(), cookie_of(&client)]
        .map(|cookie| cookie.split_once('=').expect("a pair").1.to_owned());
    let signing = fs::read_to_string(place.data().join("signing-keys")).expect("keys");
    let signing = signing.split('"').find(|piece| piece.len() == 43).expect("a key").to_owned();
    let secrets =
        [vec![PASSWORD.to_owned(), "ann@example.org".to_owned(), key, signing], cookies.into()].concat();
    let text = format!("{}\n{}\n", log(&server), secrets.join("\n"));
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opens");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    let found = confidential::leaks(&url, &fs::File::open(&path).expect("opens")).expect("searched");
    assert_eq!(found.len(), secrets.len(), "{found:?}");
    for (secret, line) in secrets.iter().zip(found) {
        assert!(line.ends_with(secret), "{secret}: {line}");
    }
}

fn cookie_of(client: &Client) -> String {
    match client.credentials() {
        Credentials::Cookie(cookie) => cookie,
        other => panic!("{other:?}"),
    }
}
