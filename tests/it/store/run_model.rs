//! Any order of taking, renewing, returning, stopping and ending: a run only does what its states allow, and is paid for once.

use super::asking::{MICROS, Scene, TOKENS};
use super::bench::{Bench, NOW};
use hearth::domain::{Ack, Command, RunState, Usage};
use hearth::storage::{News, Progress};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;
use uuid::Uuid;

/// What somebody does to the run; holders are named by number.
#[derive(Debug, Clone)]
enum Deed {
    Take(usize),
    Renew(usize, &'static str),
    Return(usize),
    End(usize, RunState),
    Stop,
    /// The lease runs out, and somebody takes over.
    TakeOver(usize),
}

/// What the run should be.
#[derive(Debug)]
struct Model {
    state: RunState,
    holder: Option<usize>,
    stopping: bool,
    ends: usize,
    attempts: i64,
}

/// Proves AI-05.
#[test]
fn sqlite() {
    check(40, Bench::on_sqlite);
}

/// Proves AI-05.
#[test]
fn postgres() {
    check(10, Bench::on_postgres);
}

fn check(cases: u32, bench: fn() -> Bench) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 50, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = TestRunner::new(config).run(&prop::collection::vec(deed(), 1..25), |deeds| {
        runtime.block_on(follow(bench(), &deeds));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn deed() -> impl Strategy<Value = Deed> {
    let who = 0..3_usize;
    let state = prop::sample::select(RunState::ALL.to_vec());
    prop_oneof![
        4 => who.clone().prop_map(Deed::Take),
        3 => (who.clone(), prop::sample::select(vec!["", "so", "so far"])).prop_map(|(who, text)| Deed::Renew(who, text)),
        2 => who.clone().prop_map(Deed::Return),
        3 => (who.clone(), state).prop_map(|(who, state)| Deed::End(who, state)),
        1 => Just(Deed::Stop),
        1 => who.prop_map(Deed::TakeOver),
    ]
}

async fn follow(bench: Bench, deeds: &[Deed]) {
    let scene = Scene::set(bench).await;
    let (store, room) = (&scene.bench.store, scene.room);
    let holders: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
    let before = scene
        .bench
        .count("SELECT CAST(coalesce(sum(spent_tokens), 0) AS BIGINT) FROM spending WHERE scope = 'account'");
    let run = scene.asks(&scene.bob).await.run;
    let mut model = Model { state: RunState::Queued, holder: None, stopping: false, ends: 0, attempts: 0 };
    let mut used = 0;
    for deed in deeds {
        let is_theirs = |who: &usize| model.state == RunState::Running && model.holder == Some(*who);
        let lease = NOW.after(Duration::from_secs(30));
        match deed {
            Deed::Take(who) => {
                let task = scene.takes(run, holders[*who]).await;
                assert_eq!(task.is_some(), model.state == RunState::Queued, "{deed:?} {model:?}");
                if let Some(task) = task {
                    model.attempts += 1;
                    assert_eq!(task.attempts, model.attempts);
                    (model.state, model.holder) = (RunState::Running, Some(*who));
                }
            }
            Deed::Renew(who, text) => {
                let news = News { partial: (*text).into(), first_token_at: None, prompt_tokens: 0 };
                let news = (!text.is_empty()).then_some(news);
                let renewed =
                    store.renew_runs(holders[*who], vec![Progress { run, news }], lease).await.unwrap();
                assert_eq!(renewed.lost.is_empty(), is_theirs(who), "{deed:?} {model:?}");
                assert_eq!(!renewed.stopping.is_empty(), is_theirs(who) && model.stopping);
            }
            Deed::Return(who) => {
                let returned =
                    store.return_run(run, holders[*who], NOW, NOW, true, Usage::default()).await.unwrap();
                assert_eq!(returned, is_theirs(who), "{deed:?} {model:?}");
                if returned {
                    (model.state, model.holder) = (RunState::Queued, None);
                }
            }
            Deed::End(who, state) => {
                let is_end = is_theirs(who) && !state.is_open();
                let (ack, events) =
                    scene.bench.does(&scene.ada, scene.end(run, holders[*who], *state, "that")).await;
                assert_eq!((ack != Ack::Unchanged, events.len()), (is_end, usize::from(is_end)), "{model:?}");
                if is_end {
                    assert!(model.state.may_become(*state));
                    (model.state, model.holder) = (*state, None);
                    (model.ends, used) = (model.ends + 1, 110);
                }
            }
            Deed::Stop => {
                let (ack, events) = scene.bench.does(&scene.bob, Command::StopRun { room, run }).await;
                match model.state {
                    RunState::Queued => {
                        assert_eq!(events.len(), 1);
                        (model.state, model.ends) = (RunState::Cancelled, model.ends + 1);
                    }
                    RunState::Running => {
                        assert_eq!(ack, Ack::RunStopping { room, run });
                        model.stopping = true;
                    }
                    _ => assert_eq!((ack, events.len()), (Ack::Unchanged, 0)),
                }
            }
            Deed::TakeOver(who) => {
                let late = NOW.after(Duration::from_secs(31));
                let orphans = store.orphaned_runs(holders[*who], late, false, lease, 10).await.unwrap();
                assert_eq!(orphans.len(), usize::from(model.state == RunState::Running));
                if let Some(orphan) = orphans.first() {
                    assert_eq!((orphan.run, orphan.stopping), (run, model.stopping));
                    model.holder = Some(*who);
                }
            }
        }
        let stored = store.run(room, run).await.unwrap().expect("it stays");
        assert_eq!(stored.state, model.state, "{deed:?}");
        let reserved = if model.state.is_open() { (TOKENS, MICROS) } else { (0, 0) };
        let sum = |what: &str| {
            scene
                .bench
                .count(&format!("SELECT CAST(sum({what}) AS BIGINT) FROM spending WHERE scope = 'account'"))
        };
        assert_eq!((sum("reserved_tokens"), sum("reserved_micros")), reserved, "{deed:?}");
        assert_eq!(sum("spent_tokens"), before + used, "{deed:?}");
    }
    assert!(model.ends <= 1);
}
