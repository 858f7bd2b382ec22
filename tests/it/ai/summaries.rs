//! Summaries: asked for, and by themselves; once, however many look; stopped by budgets, failures and the end of the process.

use super::scene::no_midnight_soon;
use crate::harness::engine::Engine;
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{Gate, is_broken, is_silent, says};
use crate::harness::{Ground, House, PATIENCE, on_both};
use crate::postgres;
use crate::rest::Caller;
use hearth::domain::{MessageId, Role, Timestamp};
use hearth::inference::prompt::{self, Brief, Line, Settings};
use hearth::inference::{Message, tokens};
use loadtest::server::{Options, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a summary is asked for with, and nothing else.
const TASK: &str = "Sum up the messages in room_data";

pub(super) struct Scene {
    pub(super) house: House,
    pub(super) upstream: Upstream,
    pub(super) ada: u64,
}

impl Scene {
    /// A house with Ada, who sums up by herself if `by_herself`: from 2,000 bytes on, half of her window.
    pub(super) async fn open(ground: Ground, by_herself: bool, settings: &[&str]) -> Self {
        let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
        Self::within(House::open_with(ground, &flags).await, by_herself).await
    }

    async fn within(house: House, by_herself: bool) -> Self {
        let upstream = Upstream::start().await;
        // A number in each, so that one can be told from the next.
        upstream.always_answers_by(|asked| {
            let text = if is_summary(asked.said_by("user")[0]) { "They met." } else { "Indeed." };
            let nth = format!(" {}", asked.number);
            says([text, &nth]).then_usage(10, 2)
        });
        let ada = assistant(&house, "Ada", &upstream.url(), by_herself).await;
        Self { house, upstream, ada }
    }

    pub(super) fn ann(&self) -> Caller {
        Caller::of(&self.house.admin)
    }

    pub(super) fn path(&self, rest: &str) -> String {
        format!("/rooms/{}{rest}", self.house.lobby)
    }

    /// Says so many things, each a good seventh of what Ada begins to sum up at; their ids.
    pub(super) async fn talks(&self, count: usize) -> Vec<u64> {
        let mut said = Vec::new();
        for nth in 0..count {
            said.push(
                self.ann().says(self.house.lobby, &format!("number {nth} {}", "blah,".repeat(40))).await,
            );
        }
        said
    }

    pub(super) async fn summaries(&self) -> Vec<Value> {
        let page = self.ann().get(&self.path("/summaries")).await.expect(200);
        page["summaries"].as_array().expect("a list").clone()
    }

    /// Waits for so many summaries, the latest first.
    pub(super) async fn summaries_become(&self, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let found = self.summaries().await;
            if found.len() == count {
                return found;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{count} wanted: {found:?}\n{}",
                self.house.server.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn runs(&self) -> Vec<Value> {
        let page = self.ann().get(&self.path("/runs")).await.expect(200);
        page["runs"].as_array().expect("a list").clone()
    }

    /// Waits until a run is over.
    pub(super) async fn ends(&self, run: &Value) -> Value {
        let began = Instant::now();
        loop {
            let seen = self.ann().get(&self.path(&format!("/runs/{}", run["id"]))).await.expect(200);
            if seen["ended_at"].is_string() {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "not over: {seen}\n{}", self.house.server.log_tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Requests for summaries up to now.
    pub(super) fn asked_for(&self) -> usize {
        self.upstream.requests().iter().filter(|asked| is_summary(asked.said_by("user")[0])).count()
    }

    async fn outcomes_become(&self, outcome: &str, least: f64) {
        let began = Instant::now();
        let labels = format!("outcome=\"{outcome}\"");
        while self.house.metric("hearth_ai_summaries_total", &labels).await < least {
            assert!(began.elapsed() < PATIENCE, "never {outcome}\n{}", self.house.server.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_summary(prompt: &str) -> bool {
    prompt.contains(TASK)
}

async fn assistant(house: &House, name: &str, url: &str, summarises: bool) -> u64 {
    let body = json!({ "name": name, "base_url": url, "model": "parrot", "context_tokens": 4000, "output_tokens": 200,
        "prompt_price": 1_000_000, "completion_price": 1_000_000, "summarises": summarises });
    let made = Caller::of(&house.admin).post("/assistants", body).await.expect(201);
    made["id"].as_u64().expect("an id")
}

on_both!(
    /// What was said is told to the assistant, what it says is its message, and a stretch is summed up once.
    a_summary_that_is_asked_for_is_a_message,
    async |ground| {
        let scene = Scene::open(ground, false, &[]).await;
        let (ann, path) = (scene.ann(), scene.path("/summaries"));
        assert_eq!(ann.post(&path, json!({})).await.expect(422)["field"], "after", "nothing was said");
        let said = scene.talks(3).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["They", " met."]).then_usage(10, 2).once(&gate));
        let run = ann.post(&path, json!({})).await.expect(201);
        assert_eq!((&run["kind"], &run["assistant_id"]), (&json!("summary"), &json!(scene.ada)));
        assert_eq!(run["asker_id"], json!(scene.house.admin.id));
        gate.is_reached().await;
        // While it is made, it is the same one for everybody.
        let bob = Caller::of(&scene.house.joined_by("Bob").await);
        let again = bob.post(&path, json!({ "after": 0 })).await.expect(200);
        assert_eq!((&again["id"], &again["duplicate"]), (&run["id"], &json!(true)));
        gate.opens();
        let ended = scene.ends(&run).await;
        assert_eq!((&ended["state"], &ended["truncated"]), (&json!("done"), &json!(false)), "{ended}");
        let message = ann.get(&format!("/messages/{}", run["message_id"])).await.expect(200);
        assert_eq!((&message["body"], &message["author"]["id"]), (&json!("They met."), &json!(scene.ada)));
        let prompt = scene.upstream.asked(1).said_by("user")[0].to_owned();
        assert!(is_summary(&prompt), "{prompt}");
        for nth in 0..3 {
            assert!(prompt.contains(&format!("number {nth} blah")), "{prompt}");
        }
        let [kept] = &scene.summaries_become(1).await[..] else { panic!("one") };
        assert_eq!((&kept["start_id"], &kept["end_id"]), (&json!(said[0]), &json!(said[2])));
        assert_eq!((&kept["body"], &kept["whole"]), (&json!("They met."), &json!(true)));
        // The summary itself says nothing new, and who asks for the same stretch gets what there is.
        assert_eq!(ann.post(&path, json!({})).await.expect(422)["field"], "after");
        let again = bob.post(&path, json!({ "after": 0, "before": said[1] })).await.expect(200);
        assert_eq!((&again["id"], &again["duplicate"]), (&run["id"], &json!(true)));

        // Part of what comes then isn't about the whole; the rest goes on where the first ended, and knows it.
        let more = scene.talks(3).await;
        let part = ann.post(&path, json!({ "after": more[0], "before": more[2] })).await.expect(201);
        scene.ends(&part).await;
        assert_eq!(scene.summaries_become(2).await[0]["whole"], json!(false));
        let rest = ann.post(&path, json!({ "assistant_id": scene.ada })).await.expect(201);
        assert_eq!(rest["prompt_id"], json!(more[2]));
        scene.ends(&rest).await;
        let prompt = scene.upstream.asked(3).said_by("user")[0].to_owned();
        assert!(prompt.contains("\"summary\":\"They met.\""), "{prompt}");
        let prompt = scene.upstream.asked(2).said_by("user")[0].to_owned();
        assert!(!prompt.contains("\"summary\":") && !prompt.contains("number 0 "), "{prompt}");

        // The list goes on where it ended.
        let page = ann.get(&format!("{path}?limit=2")).await.expect(200);
        assert_eq!(page["summaries"][0]["run_id"], rest["id"]);
        let next = page["next"].as_str().expect("more").to_owned();
        let page = ann.get(&format!("{path}?limit=2&cursor={next}")).await.expect(200);
        assert_eq!((&page["summaries"][0]["run_id"], &page["next"]), (&run["id"], &Value::Null));
        // Who deletes what was said takes the summaries along that know it.
        ann.delete(&format!("/messages/{}", said[1])).await.expect(204);
        let left: Vec<_> = scene.summaries().await.iter().map(|summary| summary["run_id"].clone()).collect();
        assert_eq!(left, [part["id"].clone()], "it begins later");
    }
);

on_both!(who_sums_up_has_to_be_clear, async |ground| {
    let scene = Scene::open(ground, false, &[]).await;
    let (ann, path) = (scene.ann(), scene.path("/summaries"));
    scene.talks(1).await;
    let eve = assistant(&scene.house, "Eve", &scene.upstream.url(), false).await;
    assert_eq!(ann.post(&path, json!({})).await.expect(422)["field"], "assistant_id");
    let nobody = json!({ "assistant_id": scene.house.admin.id });
    assert_eq!(ann.post(&path, nobody).await.expect(404)["code"], "not_found");
    ann.patch(&format!("/assistants/{eve}"), json!({ "enabled": false })).await.expect(200);
    let off = json!({ "assistant_id": eve });
    assert_eq!(ann.post(&path, off).await.expect(503)["code"], "ai_unavailable");
    let run = ann.post(&path, json!({})).await.expect(201);
    assert_eq!(run["assistant_id"], json!(scene.ada));
    // A closed room without one, and a closed room of others.
    let den = scene.house.closed_room("Den", &[]).await.id;
    ann.says(den, "alone").await;
    let missing = ann.post(&format!("/rooms/{den}/summaries"), json!({})).await.expect(422);
    assert_eq!(missing["field"], "assistant_id");
    let bob = Caller::of(&scene.house.joined_by("Bob").await);
    bob.post(&format!("/rooms/{den}/summaries"), json!({})).await.expect(404);
    bob.get(&format!("/rooms/{den}/summaries")).await.expect(404);
});

/// Settings with which rooms are looked for all the time.
const SOON: [&str; 2] = ["ai.summary_every_ms=50", "ai.summary_keep=2"];

on_both!(
    /// Of ten long messages eight aren't among the newest, and are more than the threshold; nobody asked, so nothing is posted. What an answer isn't told any more it knows by the summary, and each summary by the one before.
    a_long_room_is_summed_up_by_itself,
    async |ground| {
        let settings = [SOON[0], SOON[1], "ai.history_messages=3"];
        let scene = Scene::open(ground, true, &settings).await;
        let said = scene.talks(10).await;
        let [first] = &scene.summaries_become(1).await[..] else { panic!("one") };
        assert_eq!(first["start_id"], json!(said[0]));
        assert_eq!(first["whole"], json!(true));
        let [run] = &scene.runs().await[..] else { panic!("one run") };
        assert_eq!((&run["kind"], &run["asker_id"], &run["message_id"]), (&json!("summary"), &Value::Null, &Value::Null));
        assert_eq!(scene.house.admin.reads(scene.house.lobby).await.len(), 10, "nothing is posted");
        scene.talks(10).await;
        let found = scene.summaries_become(2).await;
        let end = first["end_id"].as_u64().expect("an id");
        assert!(found[0]["start_id"].as_u64().expect("an id") > end);
        let prompt = scene.upstream.asked(2).said_by("user")[0].to_owned();
        assert!(prompt.contains("\"summary\":\"They met. 1\""), "{prompt}");
        // An answer is told the three messages before the question, and the latest summary.
        let asked = scene.upstream.requests().len() + 1;
        let body = json!({ "body": "@Ada what happened?" });
        scene.ann().post(&scene.path("/messages"), body).await.expect(201);
        scene.upstream.ended(asked).await;
        let prompt = scene.upstream.asked(asked).said_by("user")[0].to_owned();
        assert!(!is_summary(&prompt), "{prompt}");
        assert!(prompt.contains("\"summary\":\"They met. 2\"") && prompt.contains("number 9 "), "{prompt}");
        assert!(!prompt.contains("number 6 "), "{prompt}");
    }
);

/// What other counts take for few tokens: a character of Chinese is a quarter of one, or one, but three when the vocabulary lacks it.
/// A room of them is summed up.
///
/// Proves SUM-01.
#[tokio::test]
async fn a_room_that_others_count_as_short_isnt_passed_over() {
    // From 1,000 on, far from as many as are told at a time.
    let scene = Scene::open(Ground::Sqlite, true, &[SOON[0], SOON[1], "ai.summary_percent=25"]).await;
    // Six of them aren't among the newest: 990 bytes in 330 characters, and about 500 of what is written around.
    for _ in 0..8 {
        scene.ann().says(scene.house.lobby, &"你好世界今天天气很好吗".repeat(5)).await;
    }
    scene.summaries_become(1).await;
}

/// The real engine counts whole prompts with its own template and tokenizer, to which most words are nothing but bytes: never more
/// than a scheduler counts for what a line of a room adds.
///
/// Proves SUM-01.
#[tokio::test]
async fn a_real_engine_never_counts_more_than_a_scheduler() {
    let engine = Engine::start().await;
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let count = async |history: &[Line]| {
        let question = line("");
        let settings = Settings::default();
        let brief = Brief {
            instructions: "Be brief.",
            room: None,
            history,
            summary: None,
            question: &question,
            settings: &settings,
            window: 100_000,
            max_output: 100,
            reserved: 0,
        };
        let prompt = prompt::build(&brief).expect("fits");
        assert_eq!((prompt.told, prompt.truncated), (history.len(), false));
        let messages: Vec<Value> = prompt
            .messages
            .iter()
            .map(|message| match message {
                Message::System(text) => json!({ "role": "system", "content": text }),
                Message::User(text) => json!({ "role": "user", "content": text }),
                other => panic!("{other:?}"),
            })
            .collect();
        let body =
            json!({ "model": Engine::MODEL, "max_tokens": 8, "temperature": 0.0, "messages": messages });
        let asking =
            client.post(format!("{}/chat/completions", engine.url())).bearer_auth(Engine::KEY).json(&body);
        let told: Value = asking.send().await.expect("answers").json().await.expect("JSON");
        let count = |name: &str| {
            let count = told["usage"][name].as_u64().unwrap_or_else(|| panic!("{told}: {}", engine.log()));
            usize::try_from(count).expect("a count")
        };
        // What an answer is counted with when an engine keeps that to itself; the last token says that it ends.
        let answer = told["choices"][0]["message"]["content"].as_str().expect("text");
        assert!(count("completion_tokens") <= tokens::estimate(answer) + 1, "{answer:?}: {told}");
        let texts = messages.iter().filter_map(|message| message["content"].as_str());
        (count("prompt_tokens"), texts.map(tokens::most).sum::<usize>())
    };
    // What is said around the messages by the engine's template, as far as we know it.
    let around = tokens::of_messages(&[Message::System(String::new()), Message::User(String::new())]);
    let (_, without) = count(&[]).await;
    for text in [
        "",
        "The quick brown fox jumps over the lazy dog.",
        "你好，世界！今天天气很好。",
        "👩‍👩‍👧‍👦 🏳️‍🌈 🙂🙂🙂",
        "d41d8cd98f00b204e9800998ecf8427e 3.14159265358979 2026-11-21T13:00:00.000Z",
        "fn main() { let x = &mut [0u8; 32]; println!(\"{:?}\", x); }",
        "\t\t  \n\n   indentation\r\n\u{1}\u{7f}\u{200b}",
        "Donaudampfschifffahrtsgesellschaftskapitän Привет مرحبا שלום",
        "getUserNameByEmailAddress aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ= XKQZJVWB xkqzjvwb",
    ] {
        let line = line(text);
        let (counted, told) = count(std::slice::from_ref(&line)).await;
        assert!(counted <= told + around, "{text:?}: {counted} tokens, and {told} at most");
        let most = prompt::most(&line);
        assert!(told - without <= most && prompt::cost(&line) <= most, "{text:?}");
    }
}

fn line(text: &str) -> Line {
    Line {
        id: MessageId::new(1),
        author: "Ann".to_owned(),
        role: Role::Member,
        at: Timestamp::from_millis(0),
        text: text.to_owned(),
    }
}

/// Nothing runs, and the next look is an hour away: it isn't waited for, though answers might be for a minute.
#[tokio::test]
async fn a_process_that_only_waits_to_sum_up_ends_at_once() {
    let slow = ["ai.summary_every_ms=3600000", "ai.drain_s=60", "shutdown.drain_ms=90000"];
    let mut scene = Scene::open(Ground::Sqlite, true, &slow).await;
    scene.talks(1).await;
    let ended = scene.house.server.terminate(PATIENCE).await.expect("ends");
    assert!(ended.success(), "{ended}");
}

/// Two processes look at the same rooms all the time: each stretch is asked for once.
///
/// Proves SUM-03.
#[tokio::test]
async fn two_processes_make_one_summary() {
    let url = postgres::database();
    let flags: Vec<&str> = SOON.iter().flat_map(|setting| ["--set", *setting]).collect();
    let scene = Scene::within(House::open_on(&url, &flags).await, true).await;
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut options = Options::new(crate::harness::binary(), dir.path().join("data"));
    options.args = scene.house.server.options().args.clone();
    options.env = scene.house.server.options().env.clone();
    options.database_url = Some(url);
    let other = Server::start(options).await.expect("the other starts");
    for round in 1..=4 {
        scene.talks(9).await;
        let began = Instant::now();
        while scene.summaries().await.len() < round {
            assert!(
                began.elapsed() < PATIENCE,
                "{round}\n{}\n{}",
                scene.house.server.log_tail(),
                other.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Both looked often enough by now.
    let mut found = scene.summaries().await;
    let runs = scene.runs().await;
    assert!(runs.iter().all(|run| run["state"] != "failed"), "{runs:?}");
    assert_eq!(scene.asked_for(), runs.len(), "one request for each");
    found.reverse();
    let ends = |summary: &Value, name: &str| summary[name].as_u64().expect("an id");
    for pair in found.windows(2) {
        assert!(ends(&pair[0], "end_id") < ends(&pair[1], "start_id"), "they don't overlap: {found:?}");
    }
    assert!(found.iter().all(|summary| summary["whole"] == true), "{found:?}");
}

/// A summary is tried again like an answer, counted like one, and let go after the last attempt; then it rests.
///
/// Proves SUM-04.
#[tokio::test]
async fn a_summary_is_retried_and_in_the_end_let_go() {
    let settings = [SOON[0], SOON[1], "ai.retries=1", "ai.backoff_ms=10", "ai.attempts=1"];
    let mut scene = Scene::open(Ground::Sqlite, true, &settings).await;
    scene.upstream.answers(is_broken());
    scene.talks(10).await;
    scene.summaries_become(1).await;
    assert_eq!(scene.asked_for(), 2, "the first attempt failed");
    scene.house.metric_becomes("hearth_ai_retries_total", "", 1.0).await;
    assert!(scene.house.metric("hearth_ai_failures_total", "").await >= 1.0);
    scene.house.metric_becomes("hearth_ai_runs_total", "state=\"done\"", 1.0).await;

    // The process dies over the next one, which was its last attempt.
    scene.upstream.answers(is_silent());
    scene.talks(10).await;
    let began = Instant::now();
    while scene.asked_for() < 3 {
        assert!(began.elapsed() < PATIENCE, "{}", scene.house.server.log_tail());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.house.server.kill().expect("killed");
    scene.house.server.restart().await.expect("starts again");
    let run = scene.runs().await[0].clone();
    let ended = scene.ends(&run).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("dead_letter")), "{ended}");
    scene.house.metric_becomes("hearth_ai_runs_total", "reason=\"dead_letter\"", 1.0).await;
    scene.outcomes_become("rests", 3.0).await;
    assert_eq!((scene.asked_for(), scene.summaries().await.len()), (3, 1));
}

on_both!(
    /// While a summary that began by itself hangs at the engine, questions of its room are answered.
    ///
    /// Proves AI-04.
    a_summary_by_itself_holds_up_nobody,
    async |ground| {
        let settings = [SOON[0], SOON[1], "ai.workers=2", "ai.room_queue=1"];
        let scene = Scene::open(ground, true, &settings).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["They", " met."]).then_usage(10, 2).once(&gate));
        scene.talks(10).await;
        gate.is_reached().await;
        let runs = scene.runs().await;
        assert_eq!((runs.len(), &runs[0]["kind"]), (1, &json!("summary")), "{runs:?}");
        for _ in 0..2 {
            let body = json!({ "body": "@Ada, who?" });
            let asked = scene.ann().post(&scene.path("/messages"), body).await.expect(201);
            let run = json!({ "id": asked["runs"][0]["run_id"] });
            assert!(run["id"].is_u64(), "{asked}");
            assert_eq!(scene.ends(&run).await["state"], "done");
        }
        assert!(scene.summaries().await.is_empty(), "it still hangs");
        gate.opens();
        scene.summaries_become(1).await;
    }
);

on_both!(
    /// What begins by itself counts against the room and the account, and against nobody. Over the budget it doesn't begin, and when
    /// there is room again it does.
    ///
    /// Proves SUM-05.
    a_summary_stops_at_the_budget,
    async |ground| {
        no_midnight_soon().await;
        let scene = Scene::open(ground, true, &SOON).await;
        let ann = scene.ann();
        let room = scene.house.lobby;
        let budget = |scope: &str, id: u64, most: Value| json!({ "scope": scope, "scope_id": id, "tokens_max": most, "micros_max": null });
        ann.put("/ai/budgets", budget("room", room, json!(3999))).await.expect(200);
        scene.talks(10).await;
        scene.outcomes_become("over_budget", 2.0).await;
        assert_eq!((scene.asked_for(), scene.runs().await.len()), (0, 0));
        let refused = ann.post(&scene.path("/summaries"), json!({})).await.expect(402);
        assert_eq!(refused["code"], "budget_exceeded");
        // The account's is as good; one of a user's isn't asked about.
        ann.put("/ai/budgets", budget("account", 0, json!(3999))).await.expect(200);
        ann.put("/ai/budgets", budget("user", 0, json!(0))).await.expect(200);
        ann.put("/ai/budgets", budget("room", room, json!(4012))).await.expect(200);
        let before = scene.house.metric("hearth_ai_summaries_total", "outcome=\"over_budget\"").await;
        scene.outcomes_become("over_budget", before + 2.0).await;
        assert_eq!(scene.asked_for(), 0);
        ann.put("/ai/budgets", budget("account", 0, Value::Null)).await.expect(200);
        scene.summaries_become(1).await;
        let usage = ann.get("/ai/usage").await.expect(200);
        let spent: Vec<(&str, u64)> = usage["spending"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (one["scope"].as_str().expect("a scope"), one["spent_tokens"].as_u64().expect("a number")))
            .collect();
        assert!(spent.contains(&("room", 12)) && spent.contains(&("account", 12)), "{usage}");
        assert!(spent.iter().all(|(scope, _)| *scope != "user"), "{usage}");
        // Twelve were used, and that many less are left: the next one is one too many.
        ann.put("/ai/budgets", budget("room", room, json!(4011))).await.expect(200);
        let before = scene.house.metric("hearth_ai_summaries_total", "outcome=\"over_budget\"").await;
        scene.talks(10).await;
        scene.outcomes_become("over_budget", before + 2.0).await;
        assert_eq!(scene.asked_for(), 1);
    }
);
