//! What somebody hostile tries at the edges: bytes that no browser sends, bodies that come after the end, links made before it.

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, House, PASSWORD, PATIENCE, on_both};
use crate::raw::{dial, upgrade};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is answered to these bytes.
async fn answers(url: &str, bytes: &[u8]) -> String {
    let mut tcp = dial(url).await;
    tcp.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("in time").expect("answered");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The proxy writes behind what the client wrote, in the same line: bytes that are no text there make nobody the proxy.
#[tokio::test]
async fn no_bytes_hide_where_somebody_is() {
    let flags = [
        "--set",
        "server.trusted_proxies=127.0.0.1",
        "--set",
        "limits.address_requests=4",
        "--set",
        "limits.request_window_ms=6000000",
    ];
    let (server, _dir) = crate::harness::empty(Ground::Sqlite, &flags).await;
    let url = server.url();
    let host = url.trim_start_matches("http://");
    let get = format!("GET /api/v1/setup HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    let shake = upgrade(&url, &Credentials::Anonymous);
    for (head, fine) in [(&get, "200"), (&shake, "401")].repeat(2) {
        let request = [head.as_bytes(), b"X-Forwarded-For: \xe9\xff, 192.0.2.1\r\n\r\n"].concat();
        let answer = answers(&url, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {fine}")), "{answer}");
    }
    for line in [&b"\xe9, 192.0.2.1"[..], b"\xff,192.0.2.1", b"192.0.2.1", b"127.0.0.1\xe9, 192.0.2.1"] {
        for head in [&get, &shake] {
            let request = [head.as_bytes(), b"X-Forwarded-For: ", line, b"\r\n\r\n"].concat();
            let answer = answers(&url, &request).await;
            assert!(answer.starts_with("HTTP/1.1 429"), "{line:?}: {answer}");
        }
    }
}

/// A path is the same however it is written.
#[tokio::test]
async fn no_spelling_of_a_path_goes_uncounted() {
    let flags = [
        "--set",
        "limits.exempt_loopback=false",
        "--set",
        "limits.address_requests=3",
        "--set",
        "limits.request_window_ms=6000000",
    ];
    let (server, _dir) = crate::harness::empty(Ground::Sqlite, &flags).await;
    let (url, host) = (server.url(), server.url().replace("http://", ""));
    let ask = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        answers(&url, request.as_bytes()).await.get(9..12).map(str::to_owned)
    };
    for path in ["/api/v1/setup", "/%61pi/v1/setup", "/ap%69/v1/setup"] {
        assert_eq!(ask(path).await.as_deref(), Some("200"), "{path}");
    }
    for path in ["/api/v1/setup", "/%61pi/v1/setup", "/%61%70%69/v1/%73etup"] {
        assert_eq!(ask(path).await.as_deref(), Some("429"), "{path}");
    }
}

/// What is no text at all proves no origin, and no credentials either.
#[tokio::test]
async fn a_handshake_of_no_text_is_refused() {
    let house = House::open(Ground::Sqlite).await;
    let head = upgrade(&house.url(), &house.admin.credentials());
    for (line, status) in
        [(&b"Origin: https://\xe9vil.test"[..], "403"), (b"Authorization: Bearer \xe9", "401")]
    {
        let answer = answers(&house.url(), &[head.as_bytes(), line, b"\r\n\r\n"].concat()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

/// Browsers add `Basic` by themselves, whoever's page is open: it is no proof of coming from ours.
#[tokio::test]
async fn only_a_bearer_goes_without_proof_of_its_origin() {
    let house = House::open(Ground::Sqlite).await;
    let nobody = Caller::nobody(&house.url());
    let ann = json!({ "email": "ann@example.org", "password": PASSWORD });
    let link = Caller::of(&house.admin).post("/transfers", json!({})).await.expect(201);
    let token = json!({ "token": link["url"].as_str().expect("a link").split_once('#').expect("a token").1 });
    for shown in ["Basic YW5uOng=", "Digest x", "", "Bearer", "bearerless x"] {
        let elsewhere = nobody.with("authorization", shown).with("origin", "https://evil.test");
        for (path, body) in [("/sessions", &ann), ("/transfers/redeem", &token)] {
            let answer = elsewhere.post(path, body.clone()).await;
            if shown == "Bearer" {
                continue;
            }
            answer.is_problem(403, "forbidden", None);
            assert_eq!(answer.header("set-cookie"), None, "{shown}");
        }
    }
}

on_both!(a_link_back_in_ends_with_the_right_to_make_it, async |ground| {
    let house = House::open(ground).await;
    let (ann, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
    let bob = house.joined_by("Bob").await;
    let door = format!("/users/{}/transfers", bob.id);
    let token = |link: Value| {
        let url = link["url"].as_str().expect("a link");
        json!({ "token": url.split_once('#').expect("a token").1 })
    };
    for (name, method, end, body) in [
        ("Cleo", "PATCH", "", json!({ "role": "member" })),
        ("Dora", "PATCH", "", json!({ "status": "deactivated" })),
        ("Eve", "PUT", "/ban", json!({})),
    ] {
        let other = house.joined_by(name).await;
        let path = format!("/users/{}", other.id);
        ann.patch(&path, json!({ "role": "admin" })).await.expect(200);
        let link = token(Caller::of(&other).post(&door, json!({})).await.expect(201));
        nobody.post("/transfers/look", link.clone()).await.expect(200);
        ann.calls(method, &format!("{path}{end}"), Some(&body)).await.expect(200);
        nobody.post("/transfers/redeem", link).await.is_problem(410, "gone", None);
    }
    // So it is when an admin sends away who used their account, and not when they just leave.
    let link = token(ann.post(&door, json!({})).await.expect(201));
    ann.delete("/sessions").await.expect(204);
    nobody.post("/transfers/redeem", link).await.is_problem(410, "gone", None);
    let link = token(ann.post(&door, json!({})).await.expect(201));
    ann.delete("/sessions/current").await.expect(204);
    nobody.post("/transfers/redeem", link).await.expect(201);
});

/// A request whose body is still to come, of somebody who is known already.
async fn begins(
    url: &str,
    path: &str,
    cookie: &str,
    body: &str,
    is_known: impl AsyncFn() -> bool,
) -> TcpStream {
    let host = url.trim_start_matches("http://");
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut tcp = dial(url).await;
    tcp.write_all(head.as_bytes()).await.expect("sent");
    while !is_known().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tcp
}

on_both!(no_key_of_a_bot_is_made_after_the_end, async |ground| {
    let house = House::open_with(ground, &["--set", "auth.touch_s=0"]).await;
    let (ann, url) = (Caller::of(&house.admin), house.url());
    let robot = ann.post("/bots", json!({ "name": "Robot" })).await.expect(201);
    let rotate = format!("/bots/{}/key", robot["id"]);
    for (path, body) in [("/bots", r#"{"name":"Sleeper"}"#), (&rotate, r#"{"overlap_s":60}"#)] {
        let sign_in = json!({ "email": "ann@example.org", "password": PASSWORD });
        let stolen = Caller::nobody(&url).post("/sessions", sign_in).await;
        let session = stolen.expect(201)["session"]["id"].clone();
        let used = async || {
            let listed = ann.get("/sessions").await.expect(200);
            let listed = listed["sessions"].as_array().expect("a list").clone();
            listed.into_iter().find(|one| one["id"] == session).expect("is listed")["last_active_at"].clone()
        };
        let before = used().await;
        // Who it is has been looked up once the session was touched.
        let mut tcp = begins(&url, path, &stolen.cookie(), body, async || used().await != before).await;
        ann.delete(&format!("/sessions/{session}")).await.expect(204);
        tcp.write_all(body.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("token_revoked"), "{answer}");
    }
    let bots = ann.get("/bots").await.expect(200);
    let keys: Vec<&Value> = bots["bots"]
        .as_array()
        .expect("bots")
        .iter()
        .flat_map(|bot| bot["keys"].as_array().expect("keys"))
        .collect();
    assert_eq!(keys.len(), 1, "{bots}");
});

/// A session ends while the store is busy noting that it is in use: whoever asks by it waits for nothing.
#[tokio::test]
async fn a_poll_of_a_session_that_ends_while_it_is_looked_up_hears_nothing() {
    let place = Place::new(Ground::Sqlite);
    let file = place.data().join("hearth.db");
    let server = place.serves(&["--set", "auth.touch_s=1"]).await;
    let house = House::furnished(server, place.dir).await;
    let ann = Caller::of(&house.admin);
    let sign_in = json!({ "email": "ann@example.org", "password": PASSWORD });
    let stolen = Caller::nobody(&house.url()).post("/sessions", sign_in).await;
    let session = stolen.expect(201)["session"]["id"].clone();
    let stolen = Caller::nobody(&house.url()).with("cookie", &stolen.cookie());
    let after = ann.get("/events?after=9007199254740991").await.expect(200)["next"].clone();
    // From now on its next use is noted; Ann's was just now, so that what she asks for comes first.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    ann.get("/me").await.expect(200);
    let mut busy = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    busy.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").expect("locked");
    let ends = {
        let (ann, path) = (ann.clone(), format!("/sessions/{session}"));
        tokio::spawn(async move { ann.delete(&path).await.expect(204) })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let poll = tokio::spawn(async move { stolen.get(&format!("/events?after={after}&wait=20")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    busy.batch_execute("ROLLBACK").expect("free");
    ends.await.expect("ended");
    ann.says(house.lobby, "not for them").await;
    poll.await.expect("answered").is_problem(401, "token_revoked", None);
}

/// The admin who bans is where they are, whatever their session last noted.
#[tokio::test]
async fn no_admin_shuts_themselves_out() {
    let house = House::open_with(Ground::Sqlite, &["--set", "server.trusted_proxies=127.0.0.1"]).await;
    let bob = house.joined_by("Bob").await;
    let (shared, nobody) = ("203.0.113.9", Caller::nobody(&house.url()));
    for address in [shared, "203.0.113.7"] {
        let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
        nobody.with("x-forwarded-for", address).post("/sessions", sign_in).await.expect(201);
    }
    let here = Caller::of(&house.admin).with("x-forwarded-for", shared);
    here.put(&format!("/users/{}/ban", bob.id), json!({})).await.expect(200);
    let bans = here.get("/bans").await.expect(200);
    assert_eq!(bans["bans"][0]["addresses"], json!(["203.0.113.7"]));
}

on_both!(lifting_a_ban_lets_nobody_in_who_was_out_before, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
    let path = format!("/users/{}", bob.id);
    ann.patch(&path, json!({ "status": "deactivated" })).await.expect(200);
    ann.put(&format!("{path}/ban"), json!({})).await.expect(200);
    assert_eq!(ann.delete(&format!("{path}/ban")).await.expect(200)["status"], "deactivated");
    let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
    let nobody = Caller::nobody(&house.url());
    nobody.post("/sessions", sign_in.clone()).await.is_problem(401, "unauthenticated", None);
    assert_eq!(ann.patch(&path, json!({ "status": "active" })).await.expect(200)["status"], "active");
    nobody.post("/sessions", sign_in).await.expect(201);
});

on_both!(a_poll_by_a_key_that_is_given_an_end_asks_again, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    let robot = house.admin.client.create_bot("Robot").await.expect("a bot");
    let its = Caller::nobody(&house.url()).bearing(&robot.key);
    let after = its.get("/events?after=9007199254740991").await.expect(200)["next"].clone();
    let poll = tokio::spawn(async move { its.get(&format!("/events?after={after}&wait=20")).await });
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    ann.post(&format!("/bots/{}/key", robot.id), json!({ "overlap_s": 60 })).await.expect(201);
    ann.says(house.lobby, "maybe not for it").await;
    let answer = poll.await.expect("answered").expect(200);
    assert_eq!(answer["events"], json!([]));
});

/// What is refused costs no hashing, so that it keeps nobody else from signing in.
#[tokio::test]
async fn a_password_that_may_not_be_set_is_not_hashed() {
    let flags = ["--set", "auth.hash_concurrency=1", "--set", "auth.hash_queue=0"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let bob = Caller::of(&house.joined_by("Bob").await);
    let invite = json!({ "role": "guest", "room_ids": [house.lobby] });
    let invite = Caller::of(&house.admin).post("/invites", invite).await.expect(201);
    let door = format!("/join/{}", invite["code"].as_str().expect("a code"));
    let guest = Caller::nobody(&house.url()).post(&door, json!({ "name": "Gus" })).await;
    let guest = Caller::nobody(&house.url()).with("cookie", &guest.cookie());
    for (who, status, code, field) in
        [(bob, 422, "invalid_payload", Some("current_password")), (guest, 403, "forbidden", None)]
    {
        let asked: Vec<_> = (0..30)
            .map(|_| {
                let who = who.clone();
                tokio::spawn(async move {
                    who.put("/me/password", json!({ "new_password": "another horse" })).await
                })
            })
            .collect();
        for answer in asked {
            answer.await.expect("answered").is_problem(status, code, field);
        }
    }
}
