//! The levels of load, each reached with the real server and left again: what is given up first, and what never.

use super::sockets::{answer, sent_away};
use super::{Hand, becomes};
use crate::harness::{Ground, House, Listener, PASSWORD, missed, on_both};
use crate::rest::caller::Caller;
use loadtest::socket::Frame;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// What `/ready` says: whether, why not, and the level.
async fn ready(house: &House) -> (u16, Vec<String>, String) {
    let answer = Caller::nobody(&house.url()).sends("GET", "/ready", None).await;
    let json = answer.json();
    let failed = json["failed"].as_array().expect("a list");
    let failed = failed.iter().map(|one| one.as_str().expect("text").to_owned()).collect();
    (answer.status, failed, json["level"].as_str().expect("a level").to_owned())
}

async fn level_becomes(house: &House, level: &str) {
    becomes(level, async || ready(house).await.2 == level).await;
}

fn commons(listener: &Listener) -> u64 {
    let rooms = &listener.socket.welcome().rooms;
    rooms.iter().find(|room| room.kind == "commons").expect("a commons").room_id
}

async fn shows_online(house: &House, user: u64) -> bool {
    let users = Caller::of(&house.admin).get("/users").await.expect(200);
    let users = users["users"].as_array().expect("a list").clone();
    users.iter().any(|one| one["id"] == user && one["presence"] == "online")
}

const QUICK: [&str; 4] = ["--set", "load.sample_ms=20", "--set", "load.probe_ms=50"];

on_both!(
    /// The queue of writes fills up because the store is stuck: signals go first, then newcomers; what was accepted is in the
    /// log in the end, and nobody is left with stale presence.
    ///
    /// Proves CONN-22, LIM-12.
    signals_go_first_then_newcomers_and_never_an_accepted_message,
    async |ground| {
        let flags = [
            "--set", "storage.write_queue=40", "--set", "storage.commit_batch=4", "--set", "storage.patience_ms=60000",
            "--set", "presence.grace_ms=100",
        ];
        let house = House::open_with(ground, &[&QUICK[..], &flags].concat()).await;
        let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
        let mut ann = house.admin.listens_to(house.lobby).await;
        let commons = commons(&ann);
        ann.joins(commons, None).await;
        becomes("Ann online", async || shows_online(&house, house.admin.id).await).await;
        assert_eq!(ready(&house).await, (200, Vec::new(), "normal".to_owned()));
        let mut cat = eve.listens_to(house.lobby).await;

        let hand = Hand::on_the_log(&house);
        let mut asked = Vec::new();
        for n in 0..24 {
            asked.push(ann.socket.send_post(house.lobby, Uuid::new_v4(), &n.to_string()).await.expect("sent"));
        }
        level_becomes(&house, "shed_signals").await;
        assert_eq!(ready(&house).await.0, 200, "work may still come");
        // Newcomers are let in, but nobody is told of them, nor who types.
        let mut newcomer = bob.listens_to(house.lobby).await;
        becomes("Bob online", async || shows_online(&house, bob.id).await).await;
        assert_eq!(newcomer.asks("typing.start", json!({ "room_id": house.lobby })).await, json!({}));
        assert_eq!(cat.asks("typing.start", json!({ "room_id": house.lobby })).await, json!({}));

        for n in 24..38 {
            asked.push(ann.socket.send_post(house.lobby, Uuid::new_v4(), &n.to_string()).await.expect("sent"));
        }
        level_becomes(&house, "refuse_new").await;
        assert_eq!(ready(&house).await.0, 503);
        assert!(ready(&house).await.1.contains(&"load".to_owned()));
        let (status, wait) = sent_away(&answer(&house.url(), &bob.credentials()).await);
        assert_eq!(status, 503);
        assert!(wait >= 1);
        let (calls, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
        calls.get("/events?after=1&wait=25").await.is_problem(503, "overloaded", None);
        let sign_in = json!({ "email": "ann@example.org", "password": PASSWORD });
        nobody.post("/sessions", sign_in).await.is_problem(503, "overloaded", None);
        calls.get("/rooms").await.expect(200);

        drop(hand);
        for request in &asked {
            ann.socket.ack(request).await.expect("accepted, so stored");
        }
        level_becomes(&house, "normal").await;
        assert_eq!(ready(&house).await, (200, Vec::new(), "normal".to_owned()));
        bob.connects().await;
        let expected: Vec<String> = (0..38).map(|n| n.to_string()).collect();
        assert_eq!(house.admin.reads(house.lobby).await, expected);
        // All messages in order, nobody types, and the commons have to be joined anew.
        let mut bodies = Vec::new();
        let mut resync = false;
        while bodies.len() < 38 || !resync {
            match ann.next().await {
                Frame::Event(event) if event.kind == "message.posted" => {
                    bodies.push(event.text("body").expect("a body").to_owned());
                }
                Frame::Resync { room_id, .. } if room_id == commons => resync = true,
                // Who has the room open wasn't told either.
                Frame::Resync { room_id, from } if room_id == house.lobby => {
                    let joined = ann.joins(house.lobby, Some(from - 1)).await;
                    let missed = missed(&joined).iter().filter(|event| event.kind == "message.posted");
                    bodies.extend(missed.map(|event| event.text("body").expect("a body").to_owned()));
                }
                Frame::Signal { kind, json } if kind == "typing" => panic!("not shed: {json}"),
                Frame::Signal { json, .. } if !resync => {
                    assert!(!json.to_string().contains(&format!("\"id\":{},", bob.id)), "not shed: {json}");
                }
                _ => {}
            }
        }
        assert_eq!(bodies, expected);
        let online = ann.joins(commons, None).await.room["online"].clone();
        assert!(online.as_array().expect("a list").contains(&json!(bob.id)), "{online}");
        assert!(house.metric("hearth_load_changes_total", "refuse_new").await >= 1.0);
        assert!((house.metric("hearth_load_level", "").await).abs() < 0.5);
        let log = house.log();
        assert!(log.contains("the level of load changed") && log.contains("the load is over"), "said once each");
    }
);

/// Memory over its marks: the level is there from the start, and what is stored and asked goes on.
///
/// Proves LIM-10, LIM-12.
#[tokio::test]
async fn memory_over_its_mark_sheds_before_the_process_dies() {
    let soft = ["--set", "load.memory_soft_bytes=1", "--set", "load.memory_hard_bytes=1000000000000"];
    let mut house = House::open_with(Ground::Sqlite, &[&QUICK[..], &soft].concat()).await;
    level_becomes(&house, "shed_signals").await;
    let bob = house.joined_by("Bob").await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    let mut typist = bob.listens_to(house.lobby).await;
    typist.asks("typing.start", json!({ "room_id": house.lobby })).await;
    typist.posts(house.lobby, "marker").await;
    let heard = ann.frames_until("marker").await;
    // But for the author's presence, which belongs to the message.
    let shed = |frame: &Frame| matches!(frame, Frame::Signal { kind, .. } if kind != "room.presence");
    assert!(!heard.iter().any(shed), "{heard:?}");
    house.metric_becomes("hearth_load_level", "", 1.0).await;

    // Over the other mark it is never ready: nobody new is sent to it.
    let hard = ["--set", "load.memory_soft_bytes=1", "--set", "load.memory_hard_bytes=2"];
    let mut options = house.server.options().clone();
    options.port = house.server.port();
    options.args.extend([&QUICK[..], &hard].concat().iter().map(|&arg| arg.to_owned()));
    house.server.kill().expect("killed");
    let url = format!("{}/ready", house.url());
    let said = becomes("refuse_new", async || match reqwest::get(&url).await {
        Ok(answer) => {
            answer.status() == 503 && answer.text().await.is_ok_and(|text| text.contains("refuse_new"))
        }
        Err(_) => false,
    });
    tokio::select! {
        started = loadtest::server::Server::start(options) => panic!("{:?}", started.map(|server| server.port())),
        () = said => {}
    }
}

/// Memory that is needed for a while only: the level comes with it and goes with it. Each password that is checked takes 19 MiB.
///
/// Proves LIM-10, LIM-12.
#[tokio::test]
async fn memory_that_is_given_back_ends_the_level() {
    let mut house = House::open(Ground::Sqlite).await;
    let usual = house.server.usage().expect("runs").rss;
    let mut options = house.server.options().clone();
    options.port = house.server.port();
    let soft = format!("load.memory_soft_bytes={}", usual + 16 * 1024 * 1024);
    options.args.extend([&QUICK[..], &["--set", &soft]].concat().iter().map(|&arg| arg.to_owned()));
    house.server.kill().expect("killed");
    house.server = loadtest::server::Server::start(options).await.expect("starts again");
    level_becomes(&house, "normal").await;
    let nobody = Caller::nobody(&house.url());
    let wrong = json!({ "email": "ann@example.org", "password": "nothing like it" });
    let tries = futures_util::future::join_all((0..40).map(|_| nobody.post("/sessions", wrong.clone())));
    let (answers, ()) = futures_util::future::join(tries, level_becomes(&house, "shed_signals")).await;
    for answer in answers {
        answer.is_problem(401, "unauthenticated", None);
    }
    level_becomes(&house, "normal").await;
    assert!(house.metric("hearth_load_changes_total", "\"normal\"").await >= 1.0);
}

on_both!(
    /// A store that can't be written: commands are refused as `read_only`, all else goes on, and it ends by itself.
    ///
    /// Proves LIM-12, CONN-22.
    a_store_that_fails_makes_it_read_only_until_it_works,
    async |ground| {
        let flags = ["--set", "load.store_failures=2", "--set", "storage.patience_ms=100"];
        let house = House::open_with(ground, &[&QUICK[..], &flags].concat()).await;
        let bob = house.joined_by("Bob").await;
        let calls = Caller::of(&house.admin);
        let mut ann = house.admin.listens_to(house.lobby).await;
        let before = ann.posts(house.lobby, "before").await;
        ann.hears_message().await;
        let path = format!("/rooms/{}/messages", house.lobby);

        let hand = Hand::on_the_log(&house);
        becomes("read_only", async || {
            calls.post(&path, json!({ "body": "lost" })).await.json()["code"] == "read_only"
        })
        .await;
        let problem = calls.post(&path, json!({ "body": "lost" })).await.is_problem(503, "read_only", None);
        assert_eq!(problem["retry_after_ms"], 5000);
        for (kind, data) in [
            ("message.post", json!({ "room_id": house.lobby, "client_message_id": Uuid::new_v4(), "body": "lost" })),
            ("message.edit", json!({ "room_id": house.lobby, "message_id": before.id, "version": 1, "body": "x" })),
            ("message.delete", json!({ "room_id": house.lobby, "message_id": before.id })),
            ("read.mark", json!({ "room_id": house.lobby, "seq": 1 })),
            ("room.create", json!({ "kind": "open", "name": "x" })),
        ] {
            assert_eq!(ann.is_refused(kind, data).await, "read_only", "{kind}");
        }
        calls.patch("/me", json!({ "name": "Anna" })).await.is_problem(503, "read_only", None);
        level_becomes(&house, "read_only").await;
        assert_eq!(ready(&house).await.0, 503);

        // Reading, joining, replay and signals go on.
        calls.get(&path).await.expect(200);
        calls.get("/search?q=before").await.expect(200);
        let mut newcomer = bob.connects().await;
        let joined = newcomer.joins(house.lobby, Some(before.seq - 1)).await;
        assert_eq!(crate::harness::missed(&joined).len(), 1);
        newcomer.asks("typing.start", json!({ "room_id": house.lobby })).await;
        assert_eq!(ann.notices("typing").await["data"]["typing"], true);

        drop(hand);
        level_becomes(&house, "normal").await;
        ann.posts(house.lobby, "after").await;
        assert_eq!(house.admin.reads(house.lobby).await, ["before", "after"], "nothing refused was stored");
    }
);

on_both!(
    /// The way to the store is stuck and full: commands are refused at once with a wait, heartbeats and typing are answered, and
    /// what was accepted is stored once the store works again.
    ///
    /// Proves CONN-23, DB-03.
    with_the_way_to_the_store_full_the_rest_is_answered,
    async |ground| {
        let flags = [
            "--set", "storage.write_queue=8", "--set", "storage.commit_batch=4", "--set", "storage.patience_ms=60000",
            "--set", "rooms.queue=64",
        ];
        let house = House::open_with(ground, &[&QUICK[..], &flags].concat()).await;
        let mut ann = house.admin.listens_to(house.lobby).await;
        let path = format!("/rooms/{}/messages", house.lobby);
        let hand = Hand::on_the_log(&house);
        let posts: Vec<_> = (0..30)
            .map(|n| {
                let (calls, path) = (Caller::of(&house.admin), path.clone());
                tokio::spawn(async move { calls.post(&path, json!({ "body": n.to_string() })).await })
            })
            .collect();
        let full = async || house.metric("hearth_rejections_total", "overloaded").await > 21.5;
        becomes("a full queue", full).await;
        let soon = Duration::from_secs(10);
        let mark = json!({ "room_id": house.lobby, "seq": 1 });
        let refused = timeout(soon, ann.is_refused("read.mark", mark)).await.expect("at once");
        assert_eq!(refused, "overloaded");
        let typing = timeout(soon, ann.asks("typing.start", json!({ "room_id": house.lobby }))).await;
        assert_eq!(typing.expect("at once"), Value::Object(Default::default()));
        ann.socket.send_text(r#"{"type":"ping"}"#.to_owned()).await.expect("sent");
        let pong = timeout(soon, async { while ann.next().await != Frame::Pong {} }).await;
        pong.expect("at once");
        drop(hand);
        let (mut stored, mut refused) = (0, 0);
        for post in posts {
            let answer = post.await.expect("ran");
            if answer.status == 201 {
                stored += 1;
            } else {
                answer.is_problem(503, "overloaded", None);
                refused += 1;
            }
        }
        assert_eq!((stored, refused), (8, 22));
        assert_eq!(house.admin.reads(house.lobby).await.len(), 8, "refused means not stored");
    }
);
