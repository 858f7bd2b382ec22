//! Budgets: set aside before, settled after, never more than there is.

use super::asking::{MICROS, Scene, TOKENS, ask, new_assistant};
use super::bench::{Bench, NOW, accepted, by, code};
use super::contracts;
use hearth::domain::run::CALL_ROUNDS;
use hearth::domain::{
    Ack, AssistantChange, AssistantTerms, Budget, Command, Person, RejectionCode, Role, RoomId, RunEnd,
    RunId, RunState, Scope, Timestamp, Usage, UserId,
};
use hearth::storage::{Engine, RunTerms, SpendingView, UsageBy, Verdict};
use std::time::Duration;
use uuid::Uuid;

contracts!(
    many_at_once_never_overspend,
    what_is_set_aside_comes_back,
    a_period_ends,
    what_may_call_sets_aside_for_each_request,
    ones_own_budget_comes_before_everybodys,
    a_budget_is_set_and_taken_away,
    what_was_used_is_summed_up,
    absurd_claims_stop_nobody,
    no_change_spends_more_than_was_set_aside,
);

async fn spent(scene: &Scene, scope: Scope) -> SpendingView {
    let all = scene.bench.store.spending(NOW, 100).await.unwrap();
    let nothing = SpendingView {
        scope,
        period: scope.period(NOW),
        spent_tokens: 0,
        spent_micros: 0,
        reserved_tokens: 0,
        reserved_micros: 0,
    };
    all.into_iter().find(|one| one.scope == scope).unwrap_or(nothing)
}

/// Proves AI-15.
async fn many_at_once_never_overspend(mut bench: Bench) {
    bench.options.runs = RunTerms { queue: 1000, room_queue: 100, user_queue: 100, ..RunTerms::DEFAULT };
    let scene = Scene::set(bench.reopened().await).await;
    let bench = &scene.bench;
    let fitting = 7;
    for (scope, tokens, micros) in [
        (Scope::Account, Some(TOKENS * fitting + 1), None),
        (Scope::Room(scene.room), None, Some(MICROS * (fitting + 1) - 1)),
    ] {
        scene.budgets(scope, tokens, micros).await;
        let mut assistants = Vec::new();
        for nth in 0..50 {
            assistants.push(new_assistant(bench, &scene.ann, &format!("Ada {nth} {}", scope.kind())).await);
        }
        let message = bench.posts(&scene.bob, scene.room, "what?").await.id;
        let asked: Vec<_> = assistants
            .iter()
            .map(|assistant| by(&scene.bob, ask(scene.room, assistant.id, message)))
            .map(|write| bench.store.submit(vec![write], NOW).unwrap())
            .collect();
        let (mut admitted, mut refused) = (0, 0);
        for outcome in asked {
            match outcome.await.unwrap().pop().unwrap() {
                Ok(Verdict::Accepted { ack: Ack::Asked(_), .. }) => admitted += 1,
                result => {
                    assert_eq!(code(&result), Some(RejectionCode::BudgetExceeded));
                    refused += 1;
                }
            }
        }
        assert_eq!((admitted, refused), (fitting, 50 - fitting));
        let account = spent(&scene, scope).await;
        assert_eq!((account.reserved_tokens, account.spent_tokens), (TOKENS * fitting, 0));
        for run in bench
            .store
            .runs_of_room(scene.room, hearth::domain::RunId::new(i64::MAX), true, 100)
            .await
            .unwrap()
        {
            bench.does(&scene.ann, Command::StopRun { room: scene.room, run: run.id }).await;
        }
        scene.budgets(scope, None, None).await;
    }
}

/// Proves AI-14, AI-15.
async fn what_is_set_aside_comes_back(bench: Bench) {
    let scene = Scene::set(bench).await;
    let scopes = [Scope::User(scene.bob.id), Scope::Room(scene.room), Scope::Account];
    let mut runs = 0;
    for state in [RunState::Done, RunState::Failed, RunState::Cancelled, RunState::Interrupted] {
        let (run, holder) = (scene.asks(&scene.bob).await.run, Uuid::new_v4());
        for scope in scopes {
            let set_aside = spent(&scene, scope).await;
            assert_eq!((set_aside.reserved_tokens, set_aside.reserved_micros), (TOKENS, MICROS));
        }
        scene.takes(run, holder).await.expect("taken");
        scene.bench.does(&scene.ada, scene.end(run, holder, state, "that")).await;
        runs += 1;
        for scope in scopes {
            let settled = spent(&scene, scope).await;
            assert_eq!((settled.reserved_tokens, settled.reserved_micros), (0, 0), "{state:?}");
            assert_eq!((settled.spent_tokens, settled.spent_micros), (110 * runs, 120 * runs), "{state:?}");
        }
    }
    // What never began cost nothing.
    let run = scene.asks(&scene.bob).await.run;
    scene.bench.does(&scene.bob, Command::StopRun { room: scene.room, run }).await;
    let settled = spent(&scene, Scope::Account).await;
    assert_eq!((settled.reserved_tokens, settled.spent_tokens), (0, 110 * runs));
}

/// Proves AI-15.
async fn a_period_ends(bench: Bench) {
    let scene = Scene::set(bench).await;
    let bench = &scene.bench;
    // One answer fits, and only one.
    scene.budgets(Scope::Room(scene.room), Some(TOKENS), None).await;
    let day = Duration::from_secs(24 * 3600);
    let asks = async |who: &Person, at: Timestamp| {
        let message = bench.posts(who, scene.room, "what?").await.id;
        let write = by(who, scene.ask(message));
        bench.store.submit(vec![write], at).unwrap().await.unwrap().pop().unwrap()
    };
    let (Ack::Asked(first), _) = accepted(asks(&scene.bob, NOW).await) else { panic!("asked") };
    assert_eq!(code(&asks(&scene.ann, NOW).await), Some(RejectionCode::BudgetExceeded));
    let tomorrow = NOW.after(day);
    accepted(asks(&scene.ann, tomorrow).await);
    // Whatever ends tomorrow was of today.
    let holder = Uuid::new_v4();
    scene.takes(first.run, holder).await.expect("taken");
    let end = by(&scene.ada, scene.end(first.run, holder, RunState::Done, "that"));
    accepted(bench.store.submit(vec![end], tomorrow).unwrap().await.unwrap().pop().unwrap());
    let of = |spending: Vec<SpendingView>| {
        let of_room = spending.into_iter().find(|one| one.scope == Scope::Room(scene.room)).expect("spent");
        (of_room.spent_tokens, of_room.reserved_tokens)
    };
    assert_eq!(of(bench.store.spending(NOW, 100).await.unwrap()), (110, 0));
    assert_eq!(of(bench.store.spending(tomorrow, 100).await.unwrap()), (0, TOKENS));
    assert_eq!(bench.count("SELECT count(*) FROM spending WHERE scope = 'room'"), 2);
}

/// Each round of calls is a request more, and all of them together use no more than was set aside, whatever is changed meanwhile.
///
/// Proves AI-15.
async fn what_may_call_sets_aside_for_each_request(bench: Bench) {
    let scene = Scene::set(bench).await;
    let tools = |names: &[&str]| AssistantChange {
        tools: Some(names.iter().map(|name| (*name).into()).collect()),
        ..AssistantChange::default()
    };
    let requests = 1 + i64::from(CALL_ROUNDS);
    // What it may use: prompt and answer of each request.
    let (holder, uses) = (Uuid::new_v4(), |engine: &Engine| {
        engine.context_tokens * if engine.tools.is_empty() { 1 } else { requests }
    });
    let ends = async |run: RunId| {
        scene.bench.does(&scene.ada, scene.end(run, holder, RunState::Done, "that")).await;
    };
    scene.changes(tools(&["dice.roll"])).await;
    // What fits once doesn't fit as often as it may ask.
    scene.budgets(Scope::Account, Some(TOKENS * requests - 1), None).await;
    assert_eq!(scene.refused(&scene.bob).await.code, RejectionCode::BudgetExceeded);
    scene.budgets(Scope::Account, None, None).await;
    let run = scene.asks(&scene.bob).await.run;
    let account = spent(&scene, Scope::Account).await;
    let set_aside = (TOKENS * requests, MICROS * requests);
    assert_eq!((account.reserved_tokens, account.reserved_micros), set_aside);
    let engine = scene.takes(run, holder).await.expect("taken").engine;
    assert_eq!((engine.tools.len(), engine.context_tokens, uses(&engine)), (1, TOKENS, set_aside.0));
    ends(run).await;

    let run = scene.asks(&scene.bob).await.run;
    let larger = AssistantChange { context_tokens: Some(TOKENS * 10), ..AssistantChange::default() };
    scene.changes(larger).await;
    let engine = scene.takes(run, holder).await.expect("taken").engine;
    assert!(uses(&engine) <= TOKENS * requests, "{engine:?}");
    ends(run).await;

    let smaller = AssistantChange { context_tokens: Some(TOKENS), ..tools(&[]) };
    scene.changes(smaller).await;
    let run = scene.asks(&scene.bob).await.run;
    scene.changes(tools(&["dice.roll"])).await;
    let engine = scene.takes(run, holder).await.expect("taken").engine;
    assert!(uses(&engine) <= TOKENS, "{engine:?}");
    ends(run).await;
}

/// Proves AI-15.
async fn ones_own_budget_comes_before_everybodys(bench: Bench) {
    let scene = Scene::set(bench).await;
    let everybody = Scope::User(UserId::new(0));
    scene.budgets(everybody, Some(0), None).await;
    assert_eq!(scene.refused(&scene.bob).await.code, RejectionCode::BudgetExceeded);
    scene.budgets(Scope::User(scene.bob.id), Some(TOKENS), None).await;
    let run = scene.asks(&scene.bob).await.run;
    scene.bench.does(&scene.bob, Command::StopRun { room: scene.room, run }).await;
    assert_eq!(scene.refused(&scene.ann).await.code, RejectionCode::BudgetExceeded);
    scene.budgets(everybody, None, None).await;
    scene.asks(&scene.ann).await;
}

async fn a_budget_is_set_and_taken_away(bench: Bench) {
    let scene = Scene::set(bench).await;
    let bench = &scene.bench;
    let set = |scope, tokens| Command::SetBudget { scope, budget: Budget { tokens, micros: None } };
    let audited = || bench.count("SELECT count(*) FROM audit WHERE action = 'budget.changed'");
    bench.does(&scene.ann, set(Scope::User(scene.bob.id), Some(5))).await;
    bench.does(&scene.ann, set(Scope::User(scene.bob.id), Some(5))).await;
    assert_eq!(audited(), 1, "nothing happened the second time");
    bench.does(&scene.ann, set(Scope::User(scene.bob.id), Some(6))).await;
    let all = bench.store.budgets(10).await.unwrap();
    assert_eq!((all.len(), all[0].scope, all[0].budget.tokens), (1, Scope::User(scene.bob.id), Some(6)));
    bench.does(&scene.ann, set(Scope::User(scene.bob.id), None)).await;
    assert!(bench.store.budgets(10).await.unwrap().is_empty());
    assert_eq!(audited(), 3);
    let refused = async |who: &Person, scope| bench.refuses(who, set(scope, Some(1))).await;
    assert_eq!(refused(&scene.bob, Scope::Account).await.code, RejectionCode::Forbidden);
    assert_eq!(refused(&scene.ada, Scope::Account).await.code, RejectionCode::Forbidden);
    for nobody in [Scope::User(UserId::new(999)), Scope::Room(RoomId::new(999))] {
        assert_eq!(refused(&scene.ann, nobody).await.field.as_deref(), Some("scope_id"));
    }
}

/// Proves AI-14.
async fn what_was_used_is_summed_up(bench: Bench) {
    let scene = Scene::set(bench).await;
    let bench = &scene.bench;
    let eve = bench.person("Eve", Role::Member).await;
    for (who, state) in
        [(&scene.bob, RunState::Done), (&scene.bob, RunState::Failed), (&eve, RunState::Cancelled)]
    {
        let (run, holder) = (scene.asks(who).await.run, Uuid::new_v4());
        scene.takes(run, holder).await.expect("taken");
        bench.does(&scene.ada, scene.end(run, holder, state, "that")).await;
    }
    let (from, to) = (NOW, NOW.after(Duration::from_secs(1)));
    let by_user = bench.store.usage(UsageBy::User, from, to, 10).await.unwrap();
    let told: Vec<_> = by_user
        .iter()
        .map(|used| {
            (used.id, used.runs, used.failed, used.prompt_tokens, used.completion_tokens, used.cost_micros)
        })
        .collect();
    assert_eq!(
        told,
        [(Some(scene.bob.id.get()), 2, 1, 200, 20, 240), (Some(eve.id.get()), 1, 0, 100, 10, 120)]
    );
    for (by, id) in [(UsageBy::Room, scene.room.get()), (UsageBy::Assistant, scene.ada.id.get())] {
        let used = bench.store.usage(by, from, to, 10).await.unwrap();
        assert_eq!((used.len(), used[0].id, used[0].runs, used[0].cost_micros), (1, Some(id), 3, 360));
    }
    let used = bench.store.usage(UsageBy::Model, from, to, 10).await.unwrap();
    assert_eq!((used[0].id, used[0].model.as_deref(), used[0].runs), (None, Some("tiny"), 3));
    assert!(bench.store.usage(UsageBy::User, to, to, 10).await.unwrap().is_empty());
}

fn used(run: RunId, room: RoomId, holder: Uuid, usage: Usage) -> Command {
    let end = RunEnd {
        state: RunState::Done,
        text: "that".into(),
        reason: None,
        truncated: false,
        usage,
        first_token_at: None,
    };
    Command::EndRun { room, run, holder, end }
}

/// Whatever an engine claims to have used, it is stored as far as it can be believed, and whatever comes after it ends.
///
/// Proves AI-14.
async fn absurd_claims_stop_nobody(bench: Bench) {
    let scene = Scene::set(bench).await;
    let dear = Some(AssistantTerms::MAX_PRICE);
    scene
        .changes(AssistantChange { prompt_price: dear, completion_price: dear, ..AssistantChange::default() })
        .await;
    for (prompt, completion) in
        [(i64::MAX, i64::MAX), (i64::MAX, 1), (i64::MIN, -1), (1 << 52, 1 << 52), (100, 10)]
    {
        let (run, holder) = (scene.asks(&scene.bob).await.run, Uuid::new_v4());
        scene.takes(run, holder).await.expect("taken");
        let usage = Usage { prompt, completion, estimated: false };
        scene.bench.does(&scene.ada, used(run, scene.room, holder, usage)).await;
        let stored = scene.bench.store.run(scene.room, run).await.unwrap().expect("it stays");
        assert_eq!(stored.state, RunState::Done);
        assert!((0..=Usage::MOST).contains(&stored.usage.prompt), "{:?}", stored.usage);
        assert_eq!(stored.usage.estimated, prompt != 100, "{:?}", stored.usage);
        for scope in [Scope::User(scene.bob.id), Scope::Room(scene.room), Scope::Account] {
            let now = spent(&scene, scope).await;
            assert_eq!((now.reserved_tokens, now.reserved_micros), (0, 0), "{prompt}");
        }
    }
    // Nor does what is there already, however it came.
    let full = format!("UPDATE spending SET spent_tokens = {0}, spent_micros = {0}", i64::MAX);
    scene.bench.sql(&full).unwrap();
    let (run, holder) = (scene.asks(&scene.bob).await.run, Uuid::new_v4());
    scene.takes(run, holder).await.expect("taken");
    scene.bench.does(&scene.ada, scene.end(run, holder, RunState::Done, "that")).await;
    let now = spent(&scene, Scope::Account).await;
    assert_eq!((now.spent_tokens, now.reserved_tokens), (Budget::MOST, 0));
    for by in [UsageBy::User, UsageBy::Room, UsageBy::Assistant, UsageBy::Model] {
        let sums = scene.bench.store.usage(by, NOW, NOW.after(Duration::from_secs(1)), 10).await.unwrap();
        assert_eq!((sums.len(), sums[0].runs), (1, 6));
    }
}

/// What is changed about an assistant between the question and the answer: as much as an engine may be made to work, and as dear as it
/// may become.
fn changes() -> Vec<AssistantChange> {
    let nothing = AssistantChange::default;
    let tools = Some(vec!["dice.roll".into()]);
    vec![
        AssistantChange { tools: tools.clone(), ..nothing() },
        AssistantChange { tools: Some(Vec::new()), ..nothing() },
        AssistantChange { context_tokens: Some(4 * TOKENS), ..nothing() },
        AssistantChange { context_tokens: Some(4 * TOKENS), output_tokens: Some(800), ..nothing() },
        AssistantChange { output_tokens: Some(900), ..nothing() },
        AssistantChange { output_tokens: Some(1), ..nothing() },
        AssistantChange { context_tokens: Some(300), ..nothing() },
        AssistantChange { prompt_price: Some(9_000_000), completion_price: Some(9_000_000), ..nothing() },
        AssistantChange {
            context_tokens: Some(8 * TOKENS),
            output_tokens: Some(2 * TOKENS),
            prompt_price: Some(9_000_000),
            completion_price: Some(9_000_000),
            tools,
            ..nothing()
        },
    ]
}

/// Whatever is changed, and whenever, what a run uses is within what was set aside for it, as long as its engine keeps to the window.
///
/// Proves AI-15.
async fn no_change_spends_more_than_was_set_aside(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, holder) = (&scene.bench, Uuid::new_v4());
    let nothing = AssistantChange::default;
    for (prompt, completion, tools) in
        [(1_000_000, 2_000_000, vec![]), (2_000_000, 1_000_000, vec!["choose".into()])]
    {
        for change in changes() {
            // All before it starts; some of it only then; and once asked for by a release that noted nothing of it.
            for (before, meanwhile, is_noted) in [
                (change.clone(), nothing(), true),
                (nothing(), change.clone(), true),
                (change.clone(), nothing(), false),
            ] {
                let as_before = AssistantChange {
                    context_tokens: Some(TOKENS),
                    output_tokens: Some(200),
                    prompt_price: Some(prompt),
                    completion_price: Some(completion),
                    tools: Some(tools.clone()),
                    ..nothing()
                };
                scene.changes(as_before).await;
                let was = spent(&scene, Scope::Account).await;
                let run = scene.asks(&scene.bob).await.run;
                let most = spent(&scene, Scope::Account).await;
                if !is_noted {
                    bench.sql(&format!("DELETE FROM run_terms WHERE run_id = {run}")).unwrap();
                }
                scene.changes(before).await;
                let engine = scene.takes(run, holder).await.expect("taken").engine;
                scene.changes(meanwhile).await;
                assert!(0 < engine.output_tokens && engine.output_tokens < engine.context_tokens);
                let requests = if engine.tools.is_empty() { 1 } else { 4 };
                let once = Usage {
                    prompt: engine.context_tokens - engine.output_tokens,
                    completion: engine.output_tokens,
                    estimated: false,
                };
                let all = (0..requests).fold(Usage::default(), |all, _| all.plus(once));
                bench.does(&scene.ada, used(run, scene.room, holder, all)).await;
                let now = spent(&scene, Scope::Account).await;
                let tokens = now.spent_tokens - was.spent_tokens;
                assert!((1..=most.reserved_tokens).contains(&tokens), "{change:?}: {tokens} {most:?}");
                let micros = now.spent_micros - was.spent_micros;
                assert!(!is_noted || micros <= most.reserved_micros, "{change:?}: {micros} {most:?}");
                assert_eq!((now.reserved_tokens, now.reserved_micros), (0, 0));
            }
        }
    }
    assert_eq!(bench.count("SELECT count(*) FROM run_terms"), 0, "they go with the run");
}
