//! Action requests: one result resolves each, to the right waiter, whichever socket it was offered to.

use crate::harness::{Ground, House, Person, on_both};
use crate::raw::Raw;
use crate::rest::caller::{Answer, Caller};
use loadtest::lean::client_text;
use loadtest::socket::Frame;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A bot and a person in the lobby.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) bot: Caller,
    pub(super) bob: Person,
}

impl Stage {
    pub(super) async fn set(ground: Ground, args: &[&str]) -> Self {
        // What is awaited here may be short, and much at a time.
        let roomy = ["--set", "actions.timeout_min_ms=1", "--set", "actions.per_pair=100"];
        Self::of(House::open_with(ground, &[&roomy[..], args].concat()).await).await
    }

    /// The same in a house that is as it is.
    pub(super) async fn of(house: House) -> Self {
        let bot = Caller::bot_of(&house, "Robot").await;
        let bob = house.joined_by("Bob").await;
        Self { house, bot, bob }
    }

    /// A request of Bob's client, with `more` fields.
    pub(super) fn request(&self, more: Value) -> Value {
        let mut body = json!({
            "user_id": self.bob.id,
            "room_id": self.house.lobby,
            "kind": "dice.roll",
            "arguments": { "count": 2, "sides": 6 },
        });
        let fields = more.as_object().expect("fields").clone();
        body.as_object_mut().expect("fields").extend(fields);
        body
    }

    /// Makes one; its id.
    pub(super) async fn asks(&self, more: Value) -> String {
        let made = self.bot.post("/actions", self.request(more)).await.expect(201);
        assert_eq!(made["state"], "pending");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Makes one and waits for its result.
    pub(super) fn asks_and_waits(&self, more: Value) -> JoinHandle<Answer> {
        let (bot, body) = (self.bot.clone(), self.request(more));
        tokio::spawn(async move { bot.post("/actions?wait=30", body).await })
    }

    pub(super) fn caller_of_bob(&self) -> Caller {
        Caller::of(&self.bob)
    }

    /// Waits until the request is in a state.
    pub(super) async fn becomes(&self, id: &str, state: &str) -> Value {
        let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let shown = self.bot.get(&format!("/actions/{id}")).await.expect(200);
            if shown["state"] == state {
                return shown;
            }
            assert!(std::time::Instant::now() < deadline, "{shown} doesn't become {state}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn result(id: &Value, result: Value) -> Value {
    json!({ "request_id": id, "status": "done", "result": result })
}

on_both!(
    /// Three wait at once and are answered in another order: each gets its own, once, and what is polled follows.
    ///
    /// Proves CORR-01, CORR-12.
    each_waiter_gets_its_own_result,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let mut client = stage.bob.connects().await;
        let mut waiting = HashMap::new();
        let mut offered = Vec::new();
        for n in 0..3 {
            let asked = stage.asks_and_waits(json!({ "arguments": { "n": n } }));
            let request = client.notices("action.request").await["data"].clone();
            assert_eq!(request["arguments"], json!({ "n": n }));
            assert_eq!((&request["kind"], &request["room_id"]), (&json!("dice.roll"), &json!(stage.house.lobby)));
            assert_eq!((&request["from"]["name"], &request["from"]["role"]), (&json!("Robot"), &json!("bot")));
            assert!(request["deadline"].is_string());
            let id = request["request_id"].as_str().expect("an id").to_owned();
            waiting.insert(id.clone(), (n, asked));
            offered.push(request["request_id"].clone());
        }
        stage.becomes(offered[1].as_str().expect("an id"), "running").await;
        assert_eq!(stage.house.metric("hearth_registry_entries", "\"actions\"").await, 3.0);
        for id in [&offered[2], &offered[0], &offered[1]] {
            let text = id.as_str().expect("an id");
            let (n, asked) = waiting.remove(text).expect("asked");
            let told = client.asks("action.result", result(id, json!({ "rolls": [n] }))).await;
            assert_eq!(told, json!({ "request_id": id, "state": "done" }));
            let answer = asked.await.expect("asked").expect(200);
            assert_eq!((&answer["id"], &answer["result"]), (id, &json!({ "rolls": [n] })));
            // Once more is acked as such, by either way, and changes nothing (CORR-05's server side).
            let told = client.asks("action.result", result(id, json!("another"))).await;
            assert_eq!(told, json!({ "request_id": id, "state": "done", "duplicate": true }));
            let shown = stage.caller_of_bob().get(&format!("/actions/{text}")).await.expect(200);
            assert_eq!((&shown["state"], &shown["result"]), (&json!("done"), &json!({ "rolls": [n] })));
        }
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);

on_both!(
    /// The rows are read without a pause meanwhile, as for other processes on the same database: each request is offered once, nobody is
    /// told of its end but by the answer, each waiter gets what was said, and each is counted.
    ///
    /// Proves CORR-01, CORR-04.
    what_the_rows_say_meanwhile_changes_nothing,
    async |ground| {
        const ASKERS: u64 = 8;
        const ROUNDS: u64 = 12;
        let args = ["--set", "actions.poll_ms=1", "--set", "limits.user_requests=0"];
        let stage = Arc::new(Stage::set(ground, &args).await);
        let mut client = stage.bob.connects().await;
        let mut tasks: Vec<_> = (0..ASKERS)
            .map(|asker| {
                let stage = Arc::clone(&stage);
                tokio::spawn(async move {
                    for round in 0..ROUNDS {
                        let arguments = json!({ "asker": asker, "round": round });
                        let asked = stage.asks_and_waits(json!({ "arguments": arguments.clone() })).await;
                        assert_eq!(asked.expect("asked").expect(200)["result"], arguments);
                    }
                })
            })
            .collect();
        for _ in 0..ASKERS * ROUNDS {
            let request = match client.next().await {
                Frame::Signal { kind, json } if kind == "action.request" => json["data"].clone(),
                other => panic!("heard {other:?}"),
            };
            let id = request["request_id"].clone();
            let path = format!("/actions/{}/result", id.as_str().expect("an id"));
            let (bob, body) = (stage.caller_of_bob(), result(&id, request["arguments"].clone()));
            tasks.push(tokio::spawn(async move {
                let told = bob.post(&path, body).await.expect(200);
                assert_eq!(told, json!({ "request_id": id, "state": "done", "duplicate": false }));
            }));
        }
        for task in tasks {
            task.await.expect("each was answered, once");
        }
        let count = (ASKERS * ROUNDS) as f64;
        assert_eq!(stage.house.metric("hearth_action_results_total", "\"done\"").await, count);
        assert_eq!(stage.house.metric("hearth_registry_entries", "\"actions\"").await, 0.0);
        client.joins(stage.house.lobby, None).await;
        client.posts(stage.house.lobby, "that was all").await;
        let frames = client.frames_until("that was all").await;
        let of_action = |frame: &&Frame| matches!(frame, Frame::Signal { kind, .. } if kind.starts_with("action."));
        assert_eq!(frames.iter().find(of_action).map(|frame| format!("{frame:?}")), None);
    }
);

on_both!(
    /// Proves CORR-04, CORR-16.
    results_are_counted_and_timed,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let mut client = stage.bob.connects().await;
        for (n, status) in ["done", "failed", "done"].into_iter().enumerate() {
            let id = stage.asks(json!({})).await;
            assert_eq!(client.notices("action.request").await["data"]["request_id"], json!(id));
            assert_eq!(stage.house.metric("hearth_registry_entries", "\"actions\"").await, 1.0);
            let told = client.asks("action.result", json!({ "request_id": id, "status": status })).await;
            assert_eq!(told["state"], status);
            assert_eq!(stage.becomes(&id, status).await["result"], json!(null));
            assert_eq!(stage.house.metric("hearth_action_seconds_count", "").await, (n + 1) as f64);
        }
        // It may be over before it is told that it was made.
        let made = stage.bot.post("/actions", stage.request(json!({ "timeout_ms": 50 }))).await.expect(201);
        stage.becomes(made["id"].as_str().expect("an id"), "expired").await;
        stage.house.metric_becomes("hearth_action_results_total", "\"timeout\"", 1.0).await;
        assert_eq!(stage.house.metric("hearth_action_results_total", "\"done\"").await, 2.0);
        assert_eq!(stage.house.metric("hearth_action_results_total", "\"failed\"").await, 1.0);
        assert_eq!(stage.house.metric("hearth_action_seconds_count", "").await, 3.0);
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);

on_both!(
    /// The socket that was used last is asked; when it is killed the next one is, and the one who waits notices nothing.
    ///
    /// Proves CORR-01.
    another_socket_takes_over,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let mut first = stage.bob.connects().await;
        let mut second = stage.bob.connects().await;
        first.asks("presence.set", json!({ "state": "active" })).await;
        let asked = stage.asks_and_waits(json!({}));
        let id = first.notices("action.request").await["data"]["request_id"].clone();
        let text = id.as_str().expect("an id").to_owned();
        stage.becomes(&text, "running").await;
        // Nobody else has it: what the other socket gets first is the answer to its own.
        assert_eq!(second.asks("presence.set", json!({ "state": "away" })).await, json!({}));
        first.socket.abort();
        let again = second.notices("action.request").await;
        assert_eq!(again["data"]["request_id"], id);
        // The last one goes, too: it waits for whoever comes.
        second.socket.abort();
        stage.becomes(&text, "pending").await;
        let mut third = stage.bob.connects().await;
        assert_eq!(third.notices("action.request").await["data"]["request_id"], id);
        stage.becomes(&text, "running").await;
        third.asks("action.result", result(&id, json!([6, 6]))).await;
        assert_eq!(asked.await.expect("asked").expect(200)["result"], json!([6, 6]));
        // What is over is offered to nobody.
        let mut fourth = stage.bob.connects().await;
        assert_eq!(fourth.asks("presence.set", json!({ "state": "active" })).await, json!({}));
        let next = stage.asks(json!({})).await;
        assert_eq!(fourth.notices("action.request").await["data"]["request_id"], json!(next));
    }
);

on_both!(
    /// A socket that was told to close and is still there is asked for nothing: another one is.
    ///
    /// Proves CORR-01.
    a_socket_on_its_way_out_is_passed_over,
    async |ground| {
        let stage = Stage::set(ground, &["--set", "socket.invalid_frames=1"]).await;
        let mut client = stage.bob.connects().await;
        // Used last. It reads that it is over, and doesn't hang up.
        let mut raw = Raw::connect(&stage.house.url(), &stage.bob.credentials()).await;
        raw.says(&json!({ "type": "nonsense" })).await;
        assert!(raw.close_code().await.is_some(), "it is told");
        let id = stage.asks(json!({ "timeout_ms": 60_000 })).await;
        assert_eq!(client.notices("action.request").await["data"]["request_id"], json!(id));
        stage.becomes(&id, "running").await;
        drop(raw);
    }
);

on_both!(
    /// Results of one request come by both ways at once, eight at a time: one is applied, and all are told the same end.
    ///
    /// Proves CORR-07, CORR-09.
    both_ways_at_once_apply_one,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let bob = stage.caller_of_bob();
        let mut sockets = Vec::new();
        for _ in 0..4 {
            sockets.push(stage.bob.connects().await);
        }
        for round in 0..6 {
            let asked = stage.asks_and_waits(json!({}));
            // Whichever was used last.
            let id = {
                let nexts = sockets.iter_mut().map(|socket| Box::pin(socket.notices("action.request")));
                futures_util::future::select_all(nexts).await.0["data"]["request_id"].clone()
            };
            let path = format!("/actions/{}/result", id.as_str().expect("an id"));
            let by_http = futures_util::future::join_all((0..4).map(|n| {
                let (bob, path, body) = (bob.clone(), path.clone(), result(&id, json!(format!("http {n}"))));
                async move { (format!("http {n}"), bob.post(&path, body).await.expect(200)) }
            }));
            let by_socket = futures_util::future::join_all(sockets.iter_mut().enumerate().map(|(n, socket)| {
                let body = result(&id, json!(format!("socket {n}")));
                async move { (format!("socket {n}"), socket.asks("action.result", body).await) }
            }));
            let (http, socket) = tokio::join!(by_http, by_socket);
            let told: Vec<_> = http.into_iter().chain(socket).collect();
            assert!(told.iter().all(|(_, told)| told["state"] == "done"), "{told:?}");
            let first: Vec<_> = told.iter().filter(|(_, told)| told["duplicate"] != json!(true)).collect();
            assert_eq!(first.len(), 1, "round {round}: {told:?}");
            let answer = asked.await.expect("asked").expect(200);
            assert_eq!(answer["result"], json!(first[0].0), "round {round}");
            assert_eq!(stage.house.metric("hearth_action_results_total", "\"done\"").await, f64::from(round + 1));
        }
    }
);

/// Sends results in one write and reads until each is answered: `done`, `duplicate` or the code of the refusal, in order of sending.
pub(super) async fn pipelined(raw: &mut Raw, results: &[Value]) -> Vec<String> {
    let frame = |(n, data): (usize, &Value)| {
        client_text(
            &json!({ "type": "action.result", "request_id": n.to_string(), "data": data }).to_string(),
        )
    };
    let bytes: Vec<u8> = results.iter().enumerate().flat_map(frame).collect();
    raw.sends(&bytes).await;
    let mut answers = vec![String::new(); results.len()];
    while answers.iter().any(String::is_empty) {
        let frame = raw.frame().await.expect("reads").expect("the socket is open");
        let json: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        let Some(n) = json["request_id"].as_str().and_then(|n| n.parse::<usize>().ok()) else { continue };
        assert!(answers[n].is_empty(), "{n} is answered twice");
        answers[n] = match json["type"].as_str() {
            Some("error") => json["error"]["code"].as_str().expect("a code").to_owned(),
            _ if json["data"]["duplicate"] == json!(true) => "duplicate".to_owned(),
            _ => json["data"]["state"].as_str().expect("a state").to_owned(),
        };
    }
    answers
}

on_both!(
    /// Results in one burst: in order the first counts; over the mailbox the sender is told, nothing is dropped in silence, and it can be
    /// said again.
    ///
    /// Proves CORR-06.
    the_mailbox_is_small_and_in_order,
    async |ground| {
        let stage = Stage::set(ground, &[]).await;
        let mut raw = Raw::connect(&stage.house.url(), &stage.bob.credentials()).await;
        let (before, id) = (stage.asks(json!({})).await, stage.asks(json!({})).await);
        // While the first is on its way to the store, the others wait in their order.
        let mut results = vec![result(&json!(before), json!("before"))];
        results.extend((0..20).map(|n| result(&json!(id), json!(n))));
        let answers = pipelined(&mut raw, &results).await;
        assert_eq!(answers[..2], ["done", "done"]);
        assert!(answers[2..].iter().all(|answer| answer == "duplicate"), "{answers:?}");
        assert_eq!(stage.becomes(&id, "done").await["result"], json!(0), "the first one sent");

        let stage = Stage::set(ground, &["--set", "actions.results=3"]).await;
        let mut raw = Raw::connect(&stage.house.url(), &stage.bob.credentials()).await;
        let mut results = Vec::new();
        for n in 0..40 {
            results.push(result(&json!(stage.asks(json!({})).await), json!(n)));
        }
        let answers = pipelined(&mut raw, &results).await;
        let refused = answers.iter().filter(|answer| *answer == "overloaded").count();
        assert!(refused > 0 && refused < results.len(), "{answers:?}");
        assert!(answers.iter().all(|answer| answer == "overloaded" || answer == "done"), "{answers:?}");
        assert_eq!(stage.house.metric("hearth_action_results_total", "\"overloaded\"").await, refused as f64);
        assert_eq!(stage.house.metric("hearth_registry_entries", "\"actions\"").await, refused as f64);
        for (answer, again) in answers.iter().zip(&results).filter(|(answer, _)| *answer == "overloaded") {
            assert_eq!(pipelined(&mut raw, std::slice::from_ref(again)).await, ["done"], "after {answer}");
        }
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
        stage.house.metric_becomes("hearth_queue_depth", "\"action_results\"", 0.0).await;
    }
);

on_both!(
    /// Eighty calls wait for results while posts are pipelined without a pause: every result is handled, and posts are acked meanwhile.
    ///
    /// Proves CORR-15.
    results_pass_while_the_slow_path_is_full,
    async |ground| {
        let args = ["--set", "limits.messages=0", "--set", "limits.user_requests=0", "--set", "limits.repeats=0"];
        let stage = Stage::set(ground, &args).await;
        let mut client = stage.bob.connects().await;
        let waiting: Vec<_> = (0..80).map(|n| stage.asks_and_waits(json!({ "arguments": { "n": n } }))).collect();
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let mut poster = stage.house.admin.connects().await;
        let lobby = stage.house.lobby;
        let posting = tokio::spawn(async move {
            let mut acked = 0;
            while !*stopped.borrow_and_update() {
                let mut asked = Vec::new();
                for _ in 0..20 {
                    let id = Uuid::new_v4();
                    asked.push(poster.socket.send_post(lobby, id, &id.to_string()).await.expect("sent"));
                }
                for one in asked {
                    poster.socket.ack(&one).await.expect("acked");
                    acked += 1;
                }
            }
            acked
        });
        for _ in 0..80 {
            let request = client.notices("action.request").await["data"].clone();
            let told = client.asks("action.result", result(&request["request_id"], request["arguments"].clone())).await;
            assert_eq!(told["state"], "done");
        }
        for (n, asked) in waiting.into_iter().enumerate() {
            assert_eq!(asked.await.expect("asked").expect(200)["result"], json!({ "n": n }));
        }
        stop.send(true).expect("still posting");
        assert!(posting.await.expect("posted") > 0);
        stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
    }
);
