//! Keys of bots: how they are taken apart, when they end, and what they have nothing to do with: cookies.

use super::caller::Caller;
use crate::harness::{Ground, House, Listener, PATIENCE, on_both};
use crate::raw::dial;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use loadtest::socket::Socket;
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A bot of the house: its id, and the key it has.
struct Robot {
    id: u64,
    key_id: u64,
    key: String,
}

impl Robot {
    async fn of(ann: &Caller, body: Value) -> Self {
        Self::read(&ann.post("/bots", body).await.expect(201))
    }

    /// The same bot with another key.
    async fn rotated(&self, ann: &Caller, body: Value) -> Self {
        Self::read(&ann.post(&format!("/bots/{}/key", self.id), body).await.expect(201))
    }

    fn read(made: &Value) -> Self {
        let number = |name: &str| made[name].as_u64().unwrap_or_else(|| panic!("{name}: {made}"));
        Self {
            id: number("id"),
            key_id: number("key_id"),
            key: made["key"].as_str().expect("a key").to_owned(),
        }
    }

    fn calls(&self, house: &House) -> Caller {
        Caller::nobody(&house.url()).bearing(&self.key)
    }

    async fn connects(&self, house: &House) -> Listener {
        let credentials = Credentials::Bearer(self.key.clone());
        Listener { socket: Socket::connect(&house.url(), &credentials).await.expect("connects") }
    }
}

async fn closes(listener: &mut Listener) -> u16 {
    timeout(PATIENCE, listener.is_closed()).await.expect("closes in time")
}

/// That the socket is open: what it says is answered.
async fn is_open(listener: &mut Listener, room: u64) {
    listener.asks("room.unsubscribe", json!({ "room_id": room })).await;
}

fn key_ids(bots: &Value) -> Vec<u64> {
    bots["bots"][0]["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| key["id"].as_u64().expect("an id"))
        .collect()
}

on_both!(
    /// What isn't a bot's key opens nothing, however much of it is right.
    ///
    /// Proves BOT-01.
    only_a_whole_key_of_an_active_bot_opens,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let (one, other) = (
            Robot::of(&ann, json!({ "name": "One" })).await,
            Robot::of(&ann, json!({ "name": "Other" })).await,
        );
        let (id, token) = one.key.split_once('-').expect("two parts");
        assert_eq!((id, token.len()), (one.id.to_string().as_str(), 43));
        let nobody = Caller::nobody(&house.url());
        let human = house.admin.id;
        let wrong = [
            // Taken apart at the first dash; what follows is the token, whole.
            format!("{}-{token}", one.key),
            format!("{}-", one.id),
            format!("-{token}"),
            token.to_owned(),
            format!("{}-{}", one.id, &token[..42]),
            format!("{}-{token}x", one.id),
            format!("{}-{}", one.id, token.to_uppercase()),
            // Of another, of nobody, of a person.
            format!("{}-{token}", other.id),
            format!("999999-{token}"),
            format!("0-{token}"),
            format!("{human}-{token}"),
            format!("{human}-"),
        ];
        for wrong in &wrong {
            nobody.bearing(wrong).get("/me").await.is_problem(401, "token_invalid", None);
        }
        for (key, code) in [(&wrong[0], "token_invalid"), (&wrong[11], "token_invalid")] {
            let refused = Socket::connect(&house.url(), &Credentials::Bearer(key.clone())).await;
            let refused = refused.err().expect("refused").to_string();
            assert!(refused.contains("401") || refused.contains(code), "{refused}");
        }
        one.calls(&house).get("/me").await.expect(200);
        let mut open = one.connects(&house).await;
        ann.delete(&format!("/bots/{}", one.id)).await.expect(204);
        assert_eq!(closes(&mut open).await, 4502);
        one.calls(&house).get("/me").await.is_problem(401, "token_revoked", None);
        other.calls(&house).get("/me").await.expect(200);
        for path in [format!("/bots/{}", one.id), format!("/bots/{human}"), "/bots/999999".to_owned()] {
            ann.delete(&path).await.is_problem(404, "not_found", None);
        }
        let listed = ann.get("/bots").await.expect(200);
        assert_eq!(listed["bots"].as_array().map(Vec::len), Some(1));
    }
);

on_both!(
    /// The new key is good at once, the old one until the overlap is over: on REST, on sockets, for long polls.
    ///
    /// Proves BOT-04.
    a_key_is_rotated_with_an_overlap,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let old = Robot::of(&ann, json!({ "name": "Robot" })).await;
        let mut with_old = old.connects(&house).await;
        let head = old.calls(&house).get("/events?limit=500").await.expect(200)["next"].as_u64().expect("an id");
        // Long enough for all that is to be done within it on a busy machine.
        let new = old.rotated(&ann, json!({ "overlap_s": 8 })).await;
        let mut with_new = new.connects(&house).await;
        let listed = ann.get("/bots").await.expect(200);
        assert_eq!(key_ids(&listed), [old.key_id, new.key_id]);
        let ends = &listed["bots"][0]["keys"];
        assert!(ends[0]["expires_at"].is_string() && ends[1]["expires_at"].is_null(), "{ends}");
        is_open(&mut with_old, house.lobby).await;
        old.calls(&house).says(house.lobby, "still here").await;
        new.calls(&house).says(house.lobby, "already here").await;
        let poll = old.calls(&house).get(&format!("/events?after={}&wait=25", head + 1_000)).await;
        assert_eq!(poll.expect(200)["recovery"], "gap");
        let next = old.calls(&house).get(&format!("/events?after={head}&limit=500")).await.expect(200)["next"].clone();
        let waiting = timeout(Duration::from_secs(15), async {
            old.calls(&house).get(&format!("/events?after={next}&wait=25")).await
        });
        let (poll, code) = tokio::join!(waiting, closes(&mut with_old));
        poll.expect("it ends with the key").is_problem(401, "token_expired", None);
        assert_eq!(code, 4500);
        old.calls(&house).get("/me").await.is_problem(401, "token_expired", None);
        new.calls(&house).get("/me").await.expect(200);
        is_open(&mut with_new, house.lobby).await;
        assert_eq!(key_ids(&ann.get("/bots").await.expect(200)), [new.key_id]);
    }
);

on_both!(
    /// Proves BOT-04.
    a_key_expires,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let brief = Robot::of(&ann, json!({ "name": "Brief", "expires_in_s": 6 })).await;
        let lasting = Robot::of(&ann, json!({ "name": "Lasting" })).await;
        let mut open = brief.connects(&house).await;
        let mut other = lasting.connects(&house).await;
        brief.calls(&house).get("/me").await.expect(200);
        assert_eq!(closes(&mut open).await, 4500);
        brief.calls(&house).get("/me").await.is_problem(401, "token_expired", None);
        let refused = Socket::connect(&house.url(), &Credentials::Bearer(brief.key.clone())).await;
        assert!(refused.is_err());
        is_open(&mut other, house.lobby).await;
        // An overlap never makes a key last longer than it would have.
        let first = brief.rotated(&ann, json!({ "expires_in_s": 60 })).await;
        let second = first.rotated(&ann, json!({ "overlap_s": 3600 })).await;
        let keys = ann.get("/bots").await.expect(200)["bots"][0]["keys"].clone();
        assert_eq!(keys[0]["id"], json!(first.key_id));
        let at = |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().expect("a time")).expect("a time");
        assert!((at(&keys[0]["expires_at"]) - at(&keys[0]["created_at"])).num_seconds() <= 60, "{keys}");
        assert_eq!(keys[1]["id"], json!(second.key_id));
        for (body, field) in [
            (json!({ "overlap_s": 604_801 }), "overlap_s"),
            (json!({ "overlap_s": -1 }), "overlap_s"),
            (json!({ "expires_in_s": 0 }), "expires_in_s"),
            (json!({ "expires_in_s": 999_999_999 }), "expires_in_s"),
        ] {
            let path = format!("/bots/{}/key", brief.id);
            ann.post(&path, body).await.is_problem(422, "invalid_payload", Some(field));
        }
        let body = json!({ "name": "Never", "expires_in_s": 0 });
        ann.post("/bots", body).await.is_problem(422, "invalid_payload", Some("expires_in_s"));
    }
);

on_both!(
    /// That key and no other: once it is answered nothing more is heard by it.
    ///
    /// Proves BOT-04.
    a_key_is_taken_back_at_once,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let first = Robot::of(&ann, json!({ "name": "Robot" })).await;
        let second = first.rotated(&ann, json!({ "overlap_s": 3600 })).await;
        let (mut by_first, mut by_second) = (first.connects(&house).await, second.connects(&house).await);
        for listener in [&mut by_first, &mut by_second] {
            listener.joins(house.lobby, None).await;
        }
        let head = first.calls(&house).get("/events?limit=500").await.expect(200)["next"].clone();
        let poll = tokio::spawn({
            let robot = first.calls(&house);
            async move { robot.get(&format!("/events?after={head}&wait=25")).await }
        });
        house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
        ann.delete(&format!("/bots/{}/keys/{}", first.id, first.key_id)).await.expect(204);
        ann.says(house.lobby, "not for the first").await;
        let ended = timeout(Duration::from_secs(10), poll).await.expect("the poll ends at once").expect("polled");
        ended.is_problem(401, "token_revoked", None);
        loop {
            match by_first.socket.next().await {
                Ok(loadtest::socket::Frame::Event(event)) => panic!("heard {event:?}"),
                Ok(_) => {}
                Err(loadtest::socket::SocketError::Closed { code, .. }) => {
                    assert_eq!(code, 4501);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(by_second.hears_message().await, "not for the first");
        first.calls(&house).get("/me").await.is_problem(401, "token_revoked", None);
        second.calls(&house).get("/me").await.expect(200);
        // Once more, one that never was, and one of another bot.
        let other = Robot::of(&ann, json!({ "name": "Other" })).await;
        for (bot, key) in [(first.id, first.key_id), (first.id, 999_999), (first.id, other.key_id), (999_999, other.key_id)] {
            ann.delete(&format!("/bots/{bot}/keys/{key}")).await.is_problem(404, "not_found", None);
        }
        other.calls(&house).get("/me").await.expect(200);
        // Without an overlap the others end with the rotation.
        let third = second.rotated(&ann, Value::Null).await;
        assert_eq!(closes(&mut by_second).await, 4501);
        second.calls(&house).get("/me").await.is_problem(401, "token_revoked", None);
        let bare = ann.calls("POST", &format!("/bots/{}/key", third.id), None).await;
        third.calls(&house).get("/me").await.is_problem(401, "token_revoked", None);
        let last = Robot::read(&bare.expect(201));
        last.calls(&house).get("/me").await.expect(200);
    }
);

on_both!(
    /// So many that a bot can't grow more and more of them.
    living_keys_are_counted,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let mut robot = Robot::of(&ann, json!({ "name": "Robot" })).await;
        for _ in 0..9 {
            robot = robot.rotated(&ann, json!({ "overlap_s": 3600 })).await;
        }
        let path = format!("/bots/{}/key", robot.id);
        let many = json!({ "overlap_s": 3600 });
        ann.post(&path, many.clone()).await.is_problem(422, "invalid_payload", Some("overlap_s"));
        assert_eq!(key_ids(&ann.get("/bots").await.expect(200)).len(), 10);
        ann.delete(&format!("/bots/{}/keys/{}", robot.id, robot.key_id)).await.expect(204);
        let next = robot.rotated(&ann, many).await;
        assert_eq!(key_ids(&ann.get("/bots").await.expect(200)).len(), 10);
        let last = next.rotated(&ann, Value::Null).await;
        assert_eq!(key_ids(&ann.get("/bots").await.expect(200)), [last.key_id]);
    }
);

on_both!(
    /// Both shown: the key is what counts, for better and for worse, and the cookie is as if it weren't there.
    ///
    /// Proves BOT-02.
    a_key_and_a_cookie_have_nothing_of_each_other,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let robot = Robot::of(&ann, json!({ "name": "Robot" })).await;
        let both = ann.bearing(&robot.key);
        let elsewhere = |caller: &Caller| caller.with("origin", "https://evil.test").with("sec-fetch-site", "cross-site");
        let path = format!("/rooms/{}/messages", house.lobby);
        // The key needs no proof of where it comes from, also beside a cookie, and what is done is the bot's.
        let said = elsewhere(&both).post(&path, json!({ "body": "by the key" })).await.expect(201);
        assert_eq!(said["author"]["id"], json!(robot.id));
        assert_eq!(both.get("/me").await.expect(200)["id"], json!(robot.id));
        // The cookie is an admin's; the key isn't.
        for (method, path) in [("GET", "/audit"), ("GET", "/bots"), ("POST", "/bots"), ("PATCH", "/account"), ("GET", "/sessions")] {
            both.calls(method, path, Some(&json!({ "name": "x" }))).await.is_problem(403, "forbidden", None);
        }
        // Whatever stands in the header: the cookie isn't freed of its proof by it, nor asked in its place.
        for wrong in [&robot.key[..robot.key.len() - 1], "", "1-x", "x"] {
            for caller in [ann.bearing(wrong), elsewhere(&ann.bearing(wrong))] {
                caller.post(&path, json!({ "body": "forged" })).await.is_problem(401, "token_invalid", None);
                caller.patch("/account", json!({ "name": "forged" })).await.is_problem(401, "token_invalid", None);
            }
        }
        elsewhere(&ann).post(&path, json!({ "body": "forged" })).await.is_problem(403, "forbidden", None);
        assert_eq!(house.admin.reads(house.lobby).await, ["by the key"]);
        assert_eq!(ann.get("/account").await.expect(200)["name"], "House");
        let noted = ann.get("/audit?action=bot.acted").await.expect(200);
        assert_eq!((noted["entries"][0]["via"].as_str(), &noted["entries"][0]["credential_id"]), (Some("bot_key"), &json!(robot.key_id)));
    }
);

on_both!(
    /// Who floods is told to wait and stores nothing more; the others don't notice.
    ///
    /// Proves BOT-03.
    a_flooding_bot_is_alone_with_its_limit,
    async |ground| {
        let slow = ["--set", "limits.message_window_ms=6000000", "--set", "limits.bot_messages=6", "--set", "limits.messages=5"];
        let house = House::open_with(ground, &slow).await;
        let ann = Caller::of(&house.admin);
        let flood = Robot::of(&ann, json!({ "name": "Flood" })).await;
        let calm = Robot::of(&ann, json!({ "name": "Calm" })).await;
        let (flooding, quiet) = (flood.calls(&house), calm.calls(&house));
        let path = format!("/rooms/{}/messages", house.lobby);
        let (mut said, mut refused) = (0, 0);
        let mut by_socket = flood.connects(&house).await;
        for n in 0..40 {
            let answer = flooding.post(&path, json!({ "body": format!("flood {n}") })).await;
            if answer.status == 201 {
                said += 1;
            } else {
                let problem = answer.is_problem(429, "rate_limited", None);
                let wait_s: u64 = answer.header("retry-after").expect("a wait").parse().expect("seconds");
                assert_eq!(wait_s, problem["retry_after_ms"].as_u64().expect("a wait").div_ceil(1000));
                refused += 1;
            }
            let data = json!({ "room_id": house.lobby, "client_message_id": uuid::Uuid::new_v4(), "body": format!("more {n}") });
            match by_socket.socket.request("message.post", &data).await {
                Ok(_) => said += 1,
                Err(error) => assert_eq!((error.code(), { refused += 1; }), ("rate_limited", ())),
            }
            // In the middle of it.
            if n % 8 == 0 {
                quiet.says(house.lobby, &format!("calm {n}")).await;
                ann.says(house.lobby, &format!("Ann {n}")).await;
            }
        }
        assert_eq!((said, refused), (6, 74));
        let read = house.admin.reads(house.lobby).await;
        let of = |who: &str| read.iter().filter(|body| body.starts_with(who)).count();
        assert_eq!((of("flood") + of("more"), of("calm"), of("Ann")), (6, 5, 5));
        let noted = ann.get(&format!("/audit?actor={}&limit=100", flood.id)).await.expect(200);
        assert_eq!(noted["entries"].as_array().map(Vec::len), Some(6), "what is refused is no action");
    }
);

/// Whoever takes a key back and is gone before the answer has taken it back all the same, with what it was shown for.
///
/// Proves BOT-04.
#[tokio::test]
async fn a_key_that_is_taken_back_by_somebody_who_is_gone_closes_its_sockets() {
    let args = ["--workers", "1", "--set", "storage.patience_ms=20000"];
    let house = House::open_with(Ground::Sqlite, &args).await;
    let ann = Caller::of(&house.admin);
    for rotates in [false, true] {
        let robot = Robot::of(&ann, json!({ "name": "Robot" })).await;
        let mut listener = robot.connects(&house).await;
        let file = house.server.log_path().with_file_name("data").join("hearth.db");
        let mut other = SqliteConnection::establish(&file.display().to_string()).expect("opens");
        other.batch_execute("PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE").expect("the lock");
        let (method, what) = match rotates {
            false => ("DELETE", format!("keys/{}", robot.key_id)),
            true => ("POST", "key".to_owned()),
        };
        let Credentials::Cookie(cookie) = house.admin.credentials() else { panic!("a cookie") };
        let host = house.url().replacen("http://", "", 1);
        let request = format!(
            "{method} /api/v1/bots/{}/{what} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n",
            robot.id
        );
        let mut tcp = dial(&house.url()).await;
        // Another thread accepts: once something was answered here, this connection is with the one that serves.
        let hello = format!("GET /api/v1/me HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n");
        tcp.write_all(hello.as_bytes()).await.expect("sent");
        let mut begun = [0; 12];
        timeout(PATIENCE, tcp.read_exact(&mut begun)).await.expect("in time").expect("answered");
        assert_eq!(&begun, b"HTTP/1.1 200");
        tcp.write_all(request.as_bytes()).await.expect("sent");
        // By then the request was read, and waits for the lock.
        for _ in 0..3 {
            ann.get("/me").await.expect(200);
        }
        tcp.set_zero_linger().expect("to be cut");
        drop(tcp);
        for _ in 0..3 {
            ann.get("/me").await.expect(200);
        }
        other.batch_execute("ROLLBACK").expect("released");
        assert_eq!(closes(&mut listener).await, 4501, "rotates: {rotates}");
        robot.calls(&house).get("/me").await.is_problem(401, "token_revoked", None);
    }
}
