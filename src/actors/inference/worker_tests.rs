//! Workers and what they depend on when something fails, waits or ends, by the clock of the simulation.

use super::{InferenceHandle, Pool, summaries, upkeep};
use crate::actors::actions::Actions;
use crate::actors::simulation::{Ground, House};
use crate::config::Ai;
use crate::domain::run::reason;
use crate::domain::{
    Ack, AssistantTerms, BaseUrl, Command, Enrolment, MessageBody, Name, Origin, Person, Principal, RoomId,
    RunId, RunState,
};
use crate::inference::ContentFilter;
use crate::inference::filter::{Side, Verdict};
use crate::protocol::TraceId;
use crate::storage::{Run, simulated};
use actix_rt::Arbiter;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Fails at poison until it is healed, and refuses what is unspeakable.
#[derive(Default)]
struct Fragile {
    failed: AtomicUsize,
    healed: AtomicBool,
}

impl ContentFilter for Fragile {
    fn check(&self, text: &str, _: Side) -> Verdict {
        if text.contains("poison") && !self.healed.load(Ordering::Relaxed) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            // Without the panic hook: it is meant.
            std::panic::resume_unwind(Box::new("poisoned"));
        }
        if text.contains("unspeakable") { Verdict::Refuse } else { Verdict::Pass }
    }

    fn undecided(&self, _: &str, _: Side) -> usize {
        0
    }
}

struct Scene {
    house: House,
    thinking: InferenceHandle,
    ada: Person,
    room: RoomId,
}

impl Scene {
    /// One worker, and an engine at that address. Ada may have dice rolled.
    async fn set(house: House, filter: Arc<Fragile>, engine: &str, change: impl FnOnce(&mut Ai)) -> Self {
        let mut config = (*house.config).clone();
        config.ai.workers = 1;
        change(&mut config.ai);
        let (bus, store) = (house.bus.clone(), house.store.clone());
        let arbiter = Arbiter::current();
        let thinking = Pool::start(bus.clone(), store, config.into(), filter, &arbiter).expect("starts");
        let base_url = BaseUrl::parse(&format!("http://{engine}/v1")).expect("an address");
        let mut terms = Box::new(AssistantTerms::new(base_url, "m").expect("a model"));
        terms.tools = vec!["dice.roll".into()];
        let name = Name::parse("name", "Ada").expect("a name");
        let enrolment = Enrolment::OperatorsAssistant { name, terms };
        let made = bus.enrol(enrolment, Origin::SYSTEM, TraceId::random()).await;
        let Ok(Ack::Enrolled { person: ada, .. }) = made else { panic!("{made:?}") };
        // Open to all.
        let room = house.rooms[0];
        Self { house, thinking, ada, room }
    }

    async fn asks(&self, text: &str) -> RunId {
        let body = MessageBody::parse(&format!("@Ada {text}")).expect("a body");
        let command =
            Command::PostMessage { room: self.room, client_message_id: Uuid::new_v4(), body, settings: None };
        let ann = Principal::of_system(self.house.people[0].clone());
        match self.house.bus.submit(ann, command, TraceId::random()).await {
            Ok(Ack::Posted { runs, .. }) => runs[0].outcome.clone().expect("admitted").run,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a run is over, though it may be read in vain.
    async fn sees_it_over(&self, run: RunId) {
        for _ in 0..10_000_000 {
            if let Ok(Some(run)) = self.house.store.run(self.room, run).await
                && !run.state.is_open()
            {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("it goes on");
    }

    async fn sees_the_end(&self, run: RunId) -> Run {
        self.sees_it_over(run).await;
        self.house.store.run(self.room, run).await.expect("read").expect("there")
    }
}

/// What fails every time it is worked at is given up after as often as may be tried, and the one worker goes on with what comes next.
///
/// Proves AI-22, CORR-10.
#[test]
fn a_run_at_which_a_worker_fails_is_given_up_and_holds_up_nobody() {
    let lived = Ground::new().run(1, |house| async move {
        let filter = Arc::new(Fragile::default());
        // Nobody listens there.
        let scene = Scene::set(house, Arc::clone(&filter), "127.0.0.1:9", |_| ()).await;
        let poisoned = scene.asks("poison").await;
        let end = scene.sees_the_end(poisoned).await;
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Failed, Some(reason::DEAD_LETTER)));
        let took = end.ended_at.expect("ended").as_millis() - end.created_at.as_millis();
        let lease = scene.house.config.ai.lease.as_millis();
        assert!(
            u128::try_from(took).expect("later") < lease,
            "nobody had to find out by its lease: {took} ms"
        );
        let attempts = scene.house.config.ai.attempts;
        assert_eq!(end.attempts, i64::from(attempts));
        assert_eq!(filter.failed.load(Ordering::Relaxed), usize::try_from(attempts).expect("few"));

        filter.healed.store(true, Ordering::Relaxed);
        let next = scene.asks("and now?").await;
        let end = scene.sees_the_end(next).await;
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Failed, Some("connect")));
        assert_eq!((scene.thinking.under_way(), scene.ada.name.as_ref()), (0, "Ada"));
    });
    assert!(lived.is_ok());
}

/// What is worked at here isn't taken for left behind, even if that it is alive couldn't be noted for as long as the lease.
///
/// Proves AI-23.
#[test]
fn nobody_takes_over_what_they_work_at() {
    let lived = Ground::new().run(1, |house| async move {
        let engine = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = engine.local_addr().expect("bound").to_string();
        let scene = Scene::set(house, Arc::default(), &address, |ai| {
            ai.lease = Duration::from_secs(1);
            (ai.heartbeat, ai.checkpoint) = (Duration::from_secs(120), Duration::from_secs(120));
            (ai.first_token_timeout, ai.retries) = (Duration::from_secs(60), 0);
        })
        .await;
        let run = scene.asks("anybody there?").await;
        let end = scene.sees_the_end(run).await;
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Failed, Some("first_token_timeout")));
        assert_eq!(end.attempts, 1, "it was taken once");
    });
    assert!(lived.is_ok());
}

/// Each time it is worked at, what it is about may be read in vain: that says nothing of the run, which has one attempt only.
///
/// Proves AI-22.
#[test]
fn trouble_with_reading_counts_against_no_run() {
    let lived = Ground::new().run(1, |house| async move {
        // Nobody listens there, and nobody is asked.
        let scene = Scene::set(house, Arc::default(), "127.0.0.1:9", |ai| ai.attempts = 1).await;
        for _ in 0..20 {
            let run = scene.asks("the unspeakable").await;
            simulated::trouble(true);
            scene.sees_it_over(run).await;
            simulated::trouble(false);
            let end = scene.sees_the_end(run).await;
            assert_eq!((end.state, end.reason.as_deref()), (RunState::Failed, Some("content_filter")));
        }
    });
    assert!(lived.is_ok());
}

/// Upkeep that fails begins anew, as often as it fails.
#[test]
fn upkeep_that_fails_begins_anew() {
    let lived = Ground::new().run(1, |_| async {
        let begun = AtomicUsize::new(0);
        let work = || async {
            if begun.fetch_add(1, Ordering::Relaxed) < 3 {
                // Without the panic hook: it is meant.
                std::panic::resume_unwind(Box::new("poisoned"));
            }
        };
        upkeep::steadily(work).await;
        assert_eq!(begun.load(Ordering::Relaxed), 4);
    });
    assert!(lived.is_ok());
}

/// Says these one after the other, each to a request of its own: what it was asked.
fn engine(listener: TcpListener, answers: Vec<String>) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let serve = |answer: String| {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut heard = BufReader::new(stream.try_clone().expect("another handle"));
            let (mut line, mut length) = (String::new(), 0);
            while line != "\r\n" {
                line.clear();
                heard.read_line(&mut line).expect("a head");
                if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = said.trim().parse().expect("a number");
                }
            }
            let mut body = vec![0; length];
            heard.read_exact(&mut body).expect("a body");
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(format!("{head}{answer}data: [DONE]\n\n").as_bytes()).expect("said");
            String::from_utf8(body).expect("text")
        };
        answers.into_iter().map(serve).collect()
    })
}

/// Nobody acts on what an answer calls: it waits for half a minute each time, but for no more than a minute in all.
///
/// Proves CORR-01.
#[test]
fn an_answer_waits_a_minute_for_all_its_calls() {
    let lived = Ground::new().run(1, |house| async move {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("bound").to_string();
        let rolls = |id: &str| {
            let function = json!({ "name": "dice_roll", "arguments": "{\"count\":1,\"sides\":6}" });
            let calls = json!([{ "index": 0, "id": id, "function": function }]);
            let delta =
                json!({ "choices": [{ "delta": { "tool_calls": calls }, "finish_reason": "tool_calls" }] });
            format!("data: {delta}\n\n")
        };
        let says = json!({ "choices": [{ "delta": { "content": "Never mind." }, "finish_reason": "stop" }] });
        let answers = vec![rolls("a"), rolls("b"), rolls("c"), format!("data: {says}\n\n")];
        let engine = engine(listener, answers);
        let scene = Scene::set(house, Arc::default(), &address, |ai| {
            // The clock here doesn't wait for the kernel.
            let long = Duration::from_secs(100_000_000);
            (ai.connect_timeout, ai.first_token_timeout) = (long, long);
            (ai.idle_timeout, ai.total_timeout) = (long, long);
        })
        .await;
        Actions::start(scene.house.bus.rooms());
        let run = scene.asks("roll").await;
        let end = scene.sees_the_end(run).await;
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Done, None));
        let asked = engine.join().expect("served");
        let count = |text: &str| asked[3].matches(text).count();
        assert_eq!((count("request_timeout"), count("there is no time left")), (2, 1), "{}", asked[3]);
    });
    assert!(lived.is_ok());
}

/// The next look for rooms to sum up is an hour away: when the process leaves, it isn't waited for.
///
/// Proves SUM-02.
#[test]
fn who_looks_for_rooms_to_sum_up_wakes_to_leave() {
    let lived = Ground::new().run(1, |house| async move {
        let hour = |ai: &mut Ai| ai.summary_every = Duration::from_secs(3600);
        let scene = Scene::set(house, Arc::default(), "127.0.0.1:9", hour).await;
        let looking = actix_rt::spawn(summaries::run(Arc::clone(&scene.thinking.shared)));
        sleep(Duration::from_secs(60)).await;
        assert!(!looking.is_finished(), "it waits for its hour");
        scene.thinking.stop();
        timeout(Duration::from_secs(1), looking).await.expect("within a second").expect("ran");
    });
    assert!(lived.is_ok());
}
