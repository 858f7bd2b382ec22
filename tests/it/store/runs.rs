//! Answers under way: whose turn it is, who works at it, who stops it, and how it ends, once.

use super::asking::{Scene, TOKENS, ask};
use super::bench::{Bench, NOW, accepted, by, kinds};
use super::contracts;
use diesel::connection::SimpleConnection;
use hearth::domain::{
    Ack, ActionId, ActionKind, ActionState, AssistantChange, Command, EventBody, MessageBody, NewAction,
    Person, Principal, RejectionCode, Role, RoomId, RunEnded, RunId, RunState, Usage,
};
use hearth::storage::{ActionBounds, HistoryPage, News, Progress, RunDepth, RunTerms};
use std::time::Duration;
use uuid::Uuid;

contracts!(
    a_rooms_answers_keep_their_order,
    what_waits_is_counted_and_dated,
    of_two_holders_one_takes_it,
    those_who_may_stop_it,
    whoever_works_at_it_is_told_to_stop,
    its_holder_ends_it_once,
    an_open_answer_is_not_edited,
    a_deleted_answer_ends,
    what_an_assistant_says_ends_with_it,
    a_change_breaks_no_open_answer,
    what_was_left_is_taken_over,
    what_speaks_nowhere_waits_for_nobody,
    what_somebody_else_writes_at_is_passed_over,
    what_it_asked_of_clients_ends_with_it,
);

/// How it ended, as everybody is told.
fn ended(body: &EventBody) -> &RunEnded {
    match body {
        EventBody::AnswerEnded { run } => run,
        other => panic!("{other:?}"),
    }
}

/// Proves AI-04, AI-14.
async fn a_rooms_answers_keep_their_order(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, store) = (&scene.bench, &scene.bench.store);
    let den = scene.closed(&[scene.bob.id, scene.ada.id]).await;
    let first = scene.asks(&scene.bob).await.run;
    let second = scene.asks(&scene.ann).await.run;
    let message = bench.posts(&scene.bob, den, "what?").await.id;
    let elsewhere = scene.started(&scene.bob, ask(den, scene.ada.id, message)).await.run;
    let waiting = async || -> Vec<_> {
        store.waiting_runs(10).await.unwrap().into_iter().map(|waiting| waiting.run).collect()
    };
    assert_eq!(waiting().await, [first, elsewhere]);
    assert_eq!(store.waiting_runs(1).await.unwrap().len(), 1);
    let holder = Uuid::new_v4();
    scene.takes(first, holder).await.expect("taken");
    assert_eq!(waiting().await, [elsewhere], "one at a time");
    assert!(scene.takes(second, holder).await.is_none(), "nor by force");
    // Whoever comes back goes on before those who asked later, even if it has to wait.
    let later = NOW.after(Duration::from_secs(60));
    let used = Usage { prompt: 20, completion: 5, estimated: false };
    assert!(store.return_run(first, holder, NOW, later, true, used).await.unwrap());
    let next = store.waiting_runs(10).await.unwrap()[0];
    assert_eq!((next.run, next.due), (first, later));
    assert!(
        !store.return_run(first, holder, NOW, later, true, used).await.unwrap(),
        "it isn't theirs any more"
    );
    // It goes on with what it used, and that counts whatever comes of it.
    assert_eq!(scene.takes(first, holder).await.expect("taken").used, used);
    assert!(store.return_run(first, holder, NOW, later, true, used).await.unwrap());
    bench.does(&scene.bob, Command::StopRun { room: scene.room, run: first }).await;
    assert_eq!(store.run(scene.room, first).await.unwrap().unwrap().usage, used);
    assert_eq!(waiting().await, [second, elsewhere]);
    assert_eq!(store.run_depth().await.unwrap().queued, 2);
}

/// Proves AI-02, AI-21.
async fn what_waits_is_counted_and_dated(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, store) = (&scene.bench, &scene.bench.store);
    let second = |n| NOW.after(Duration::from_secs(n));
    let asks = async |who: &Person, at| {
        let message = bench.posts(who, scene.room, "what?").await.id;
        let write = by(who, scene.ask(message));
        match accepted(store.submit(vec![write], at).unwrap().await.unwrap().pop().unwrap()).0 {
            Ack::Asked(started) => started.run,
            ack => panic!("{ack:?}"),
        }
    };
    let is = async |queued, running, oldest| {
        assert_eq!(store.run_depth().await.unwrap(), RunDepth { queued, running, oldest });
    };
    is(0, 0, None).await;
    let first = asks(&scene.bob, second(1)).await;
    let other = asks(&scene.ann, second(61)).await;
    is(2, 0, Some(second(1))).await;
    // What is worked at doesn't wait.
    let holder = Uuid::new_v4();
    scene.takes(first, holder).await.expect("taken");
    is(1, 1, Some(second(61))).await;
    bench.does(&scene.ada, scene.end(first, holder, RunState::Done, "that")).await;
    bench.does(&scene.ann, Command::StopRun { room: scene.room, run: other }).await;
    is(0, 0, None).await;
}

/// Proves AI-23.
async fn of_two_holders_one_takes_it(bench: Bench) {
    let scene = Scene::set(bench).await;
    let other = super::bench::open;
    for _ in 0..10 {
        let run = scene.asks(&scene.bob).await.run;
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let (a, b) = tokio::join!(scene.takes(run, one), scene.takes(run, two));
        assert!(a.is_some() != b.is_some());
        let holder = if a.is_some() { one } else { two };
        let task = a.or(b).expect("one of them");
        assert_eq!((task.run, task.attempts, &task.assistant), (run, 1, &scene.ada));
        scene.bench.does(&scene.ada, scene.end(run, holder, RunState::Done, "that")).await;
    }
    if scene.bench.is_sqlite() {
        return;
    }
    // Two processes, too.
    let second = other(&scene.bench.options);
    for _ in 0..10 {
        let run = scene.asks(&scene.bob).await.run;
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let lease = NOW.after(Duration::from_secs(30));
        let (a, b) = tokio::join!(scene.takes(run, one), second.take_run(run, two, NOW, lease));
        let b = b.unwrap();
        assert!(a.is_some() != b.is_some());
        let holder = if a.is_some() { one } else { two };
        scene.bench.does(&scene.ada, scene.end(run, holder, RunState::Done, "that")).await;
    }
}

async fn those_who_may_stop_it(bench: Bench) {
    let scene = Scene::set(bench).await;
    let bench = &scene.bench;
    let (cora, eve) = (bench.person("Cora", Role::Member).await, bench.person("Eve", Role::Member).await);
    let room = bench.creates(&cora, hearth::domain::NewRoomKind::Open, Some("Hers"), &[]).await.id;
    let stops = [(&scene.bob, "cancelled"), (&scene.ann, "stopped_by_admin"), (&cora, "stopped_by_admin")];
    for (who, reason) in stops {
        let message = bench.posts(&scene.bob, room, "what?").await.id;
        let started = scene.started(&scene.bob, ask(room, scene.ada.id, message)).await;
        let stop = || Command::StopRun { room, run: started.run };
        for other in [&eve, &scene.ada] {
            assert_eq!(bench.refuses(other, stop()).await.code, RejectionCode::Forbidden);
        }
        let wrong = Command::StopRun { room: scene.room, run: started.run };
        assert_eq!(bench.refuses(who, wrong).await.code, RejectionCode::NotFound);
        let (_, events) = bench.does(who, stop()).await;
        let end = ended(&events[0].event.body);
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Cancelled, Some(reason)));
        assert_eq!(end.body.as_deref(), Some("…"), "nothing was said");
        assert_eq!(bench.does(who, stop()).await.0, Ack::Unchanged);
    }
    assert_eq!(bench.count("SELECT CAST(sum(reserved_tokens) AS BIGINT) FROM spending"), 0);
}

/// Proves AI-05.
async fn whoever_works_at_it_is_told_to_stop(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, store, room) = (&scene.bench, &scene.bench.store, scene.room);
    let run = scene.asks(&scene.bob).await.run;
    let holder = Uuid::new_v4();
    scene.takes(run, holder).await.expect("taken");
    let lease = NOW.after(Duration::from_secs(60));
    let progress = |text: &str| Progress {
        run,
        news: Some(News { partial: text.into(), first_token_at: Some(NOW), prompt_tokens: 0 }),
    };
    let renewed = store.renew_runs(holder, vec![progress("so f\0ar")], lease).await.unwrap();
    assert!(renewed.stopping.is_empty() && renewed.lost.is_empty());
    let lost = store.renew_runs(Uuid::new_v4(), vec![progress("mine")], lease).await.unwrap();
    assert_eq!(lost.lost, [run]);
    for _ in 0..2 {
        let (ack, events) = bench.does(&scene.bob, Command::StopRun { room, run }).await;
        assert_eq!((ack, events.len()), (Ack::RunStopping { room, run }, 0));
    }
    let shown = store.run(room, run).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.stopping, &*shown.partial), (RunState::Running, true, "so far"));
    let renewed = store.renew_runs(holder, vec![progress("so far so")], lease).await.unwrap();
    assert_eq!(renewed.stopping, [run]);
    bench.does(&scene.ada, scene.end(run, holder, RunState::Cancelled, "so far so")).await;
    let renewed = store.renew_runs(holder, vec![progress("so far so good")], lease).await.unwrap();
    assert_eq!(renewed.lost, [run], "nothing is said after the end");
    let page = store.history(room, HistoryPage::Newest, 1).await.unwrap();
    assert_eq!((&*page.messages[0].body, page.messages[0].version), ("so far so", 1));
}

/// Proves AI-05, AI-14.
async fn its_holder_ends_it_once(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, ada) = (&scene.bench, &scene.ada);
    let started = scene.asks(&scene.bob).await;
    let (run, holder) = (started.run, Uuid::new_v4());
    let done = || scene.end(run, holder, RunState::Done, "that");
    assert_eq!(bench.does(ada, done()).await.0, Ack::Unchanged, "nobody has it");
    scene.takes(run, holder).await.expect("taken");
    for other in [&scene.ann, &scene.bob] {
        assert_eq!(bench.refuses(other, done()).await.code, RejectionCode::Forbidden);
    }
    let stranger = scene.end(run, Uuid::new_v4(), RunState::Done, "this");
    assert_eq!(bench.does(ada, stranger).await.0, Ack::Unchanged);
    for open in [RunState::Queued, RunState::Running] {
        assert_eq!(bench.does(ada, scene.end(run, holder, open, "this")).await.0, Ack::Unchanged);
    }
    let (_, events) = bench.does(ada, done()).await;
    assert_eq!(kinds(&events), ["ai.ended"]);
    let end = ended(&events[0].event.body);
    assert_eq!((end.state, end.body.as_deref(), end.cost_micros), (RunState::Done, Some("that"), 120));
    for after in [RunState::Done, RunState::Failed, RunState::Cancelled, RunState::Interrupted] {
        let (ack, events) = bench.does(ada, scene.end(run, holder, after, "more")).await;
        assert_eq!((ack, events.len()), (Ack::Unchanged, 0));
    }
    let kept = bench.store.run(scene.room, run).await.unwrap().unwrap();
    assert_eq!(
        (kept.state, kept.usage.prompt, kept.usage.completion, kept.cost_micros),
        (RunState::Done, 100, 10, 120)
    );
    assert_eq!(bench.count("SELECT count(*) FROM messages WHERE body = 'that' AND version = 1"), 1);
    // What is said on top of the longest message isn't lost silently.
    let next = scene.asks(&scene.bob).await.run;
    scene.takes(next, holder).await.expect("taken");
    let long = "ä".repeat(MessageBody::MAX_BYTES);
    let (_, events) = bench.does(ada, scene.end(next, holder, RunState::Done, &long)).await;
    let end = ended(&events[0].event.body);
    assert_eq!((end.truncated, end.body.as_deref().map(str::len)), (true, Some(MessageBody::MAX_BYTES)));
}

async fn an_open_answer_is_not_edited(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, room) = (&scene.bench, scene.room);
    let started = scene.asks(&scene.bob).await;
    let edit = || Command::EditMessage {
        room,
        message: started.message,
        version: 1,
        body: MessageBody::parse("mine").unwrap(),
    };
    let busy = bench.refuses(&scene.ann, edit()).await;
    assert_eq!((busy.code, busy.run), (RejectionCode::AiBusy, Some(started.run)));
    // Who may not edit it learns nothing of it.
    assert_eq!(bench.refuses(&scene.bob, edit()).await.code, RejectionCode::Forbidden);
    let guest = bench.person("Guy", Role::Guest).await;
    assert_eq!(bench.refuses(&guest, edit()).await.code, RejectionCode::NotFound);
    bench.does(&scene.bob, Command::StopRun { room, run: started.run }).await;
    assert!(matches!(bench.does(&scene.ann, edit()).await.0, Ack::Edited { version: 2, .. }));
}

/// Proves AI-14.
async fn a_deleted_answer_ends(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, room) = (&scene.bench, scene.room);
    let queued = scene.asks(&scene.bob).await;
    let (_, events) = bench.does(&scene.ann, Command::DeleteMessage { room, message: queued.message }).await;
    assert_eq!(kinds(&events), ["message.deleted", "ai.ended"]);
    let end = ended(&events[1].event.body);
    assert_eq!((end.reason.as_deref(), &end.body), (Some("deleted"), &None));
    let running = scene.asks(&scene.bob).await;
    let holder = Uuid::new_v4();
    scene.takes(running.run, holder).await.expect("taken");
    let (_, events) = bench.does(&scene.ann, Command::DeleteMessage { room, message: running.message }).await;
    assert_eq!(kinds(&events), ["message.deleted"]);
    assert!(bench.store.run(room, running.run).await.unwrap().unwrap().stopping);
    let (_, events) =
        bench.does(&scene.ada, scene.end(running.run, holder, RunState::Cancelled, "said")).await;
    assert_eq!(ended(&events[0].event.body).body, None, "what was deleted isn't said again");
    assert_eq!(bench.count("SELECT CAST(sum(reserved_tokens) AS BIGINT) FROM spending"), 0);
    assert_eq!(bench.count("SELECT count(*) FROM messages WHERE body = 'said'"), 0);
}

async fn what_an_assistant_says_ends_with_it(bench: Bench) {
    let scene = Scene::set(bench).await;
    let bench = &scene.bench;
    let (queued, holder) = (scene.asks(&scene.ann).await.run, Uuid::new_v4());
    let den = scene.closed(&[scene.bob.id, scene.ada.id]).await;
    let lair = scene.closed(&[scene.bob.id, scene.ada.id]).await;
    let asks = async |who: &Person, room: RoomId| {
        let message = bench.posts(who, room, "what?").await.id;
        scene.started(who, ask(room, scene.ada.id, message)).await.run
    };
    let (inside, within) = (asks(&scene.bob, den).await, asks(&scene.bob, lair).await);
    scene.takes(queued, holder).await.expect("taken");
    let news = News { partial: "so far".into(), first_token_at: None, prompt_tokens: 0 };
    let progress = Progress { run: queued, news: Some(news) };
    bench.store.renew_runs(holder, vec![progress], NOW.after(Duration::from_secs(9))).await.unwrap();

    let (_, events) = bench.does(&scene.ann, Command::DeleteRoom { room: lair }).await;
    assert_eq!(kinds(&events)[..2], ["ai.ended", "room.deleted"]);
    assert_eq!(ended(&events[0].event.body).id, within);
    let removal = Command::RemoveMember { room: den, user: scene.ada.id };
    let (_, events) = bench.does(&scene.ann, removal).await;
    assert_eq!(kinds(&events)[..2], ["ai.ended", "member.removed"]);
    assert_eq!(ended(&events[0].event.body).id, inside);

    let removal = Command::RemoveAssistant { assistant: scene.ada.id };
    let (_, events) = bench.does(&scene.ann, removal).await;
    assert_eq!(kinds(&events), ["ai.ended", "user.left"]);
    let end = ended(&events[0].event.body);
    assert_eq!((end.id, end.body.as_deref()), (queued, Some("so far")));
    assert_eq!(end.reason.as_deref(), Some("assistant_gone"));
    assert_eq!(bench.count("SELECT count(*) FROM runs WHERE state IN ('queued', 'running')"), 0);
    assert_eq!(bench.count("SELECT CAST(sum(reserved_tokens) AS BIGINT) FROM spending"), 0);
    let late = bench.refuses(&scene.ada, scene.end(queued, holder, RunState::Done, "more")).await;
    assert_eq!(late.code, RejectionCode::TokenRevoked);
}

/// A change counts for what begins after it, and what was used counts for the model that was asked.
///
/// Proves AI-14, AI-15.
async fn a_change_breaks_no_open_answer(bench: Bench) {
    let scene = Scene::set(bench).await;
    let bench = &scene.bench;
    let (running, waiting) = (scene.asks(&scene.bob).await.run, scene.asks(&scene.ann).await.run);
    let holder = Uuid::new_v4();
    assert_eq!(scene.takes(running, holder).await.expect("taken").engine.model, "tiny");
    let change = AssistantChange {
        model: Some("large".into()),
        context_tokens: Some(TOKENS * 10),
        output_tokens: Some(TOKENS * 2),
        enabled: Some(false),
        ..AssistantChange::default()
    };
    scene.changes(change).await;
    bench.does(&scene.ada, scene.end(running, holder, RunState::Done, "that")).await;
    assert_eq!(scene.state(running).await, RunState::Done);
    let engine = scene.takes(waiting, holder).await.expect("still asked").engine;
    assert_eq!(engine.model, "large");
    // It uses no more than was set aside for it.
    assert!(engine.context_tokens <= TOKENS && engine.output_tokens < engine.context_tokens);
    bench.does(&scene.ada, scene.end(waiting, holder, RunState::Done, "this")).await;
    for (run, model) in [(running, "tiny"), (waiting, "large")] {
        assert_eq!(bench.store.run(scene.room, run).await.unwrap().unwrap().model, model);
    }
    assert_eq!(scene.refused(&scene.bob).await.code, RejectionCode::AiUnavailable);
}

/// Proves AI-23.
async fn what_was_left_is_taken_over(bench: Bench) {
    let scene = Scene::set(bench).await;
    let store = &scene.bench.store;
    let (run, old, new) = (scene.asks(&scene.bob).await.run, Uuid::new_v4(), Uuid::new_v4());
    scene.takes(run, old).await.expect("taken");
    let second = |n| NOW.after(Duration::from_secs(n));
    assert!(
        store.orphaned_runs(new, second(29), false, second(90), 10).await.unwrap().is_empty(),
        "it lives"
    );
    // Whoever gives a sign of life keeps it, with news or without.
    let news = News { partial: "so".into(), first_token_at: None, prompt_tokens: 0 };
    for (news, lease) in [(Some(news), 40), (None, 50)] {
        store.renew_runs(old, vec![Progress { run, news }], second(lease)).await.unwrap();
        assert!(
            store.orphaned_runs(new, second(lease - 1), false, second(90), 10).await.unwrap().is_empty(),
            "it lives"
        );
    }
    let orphans = store.orphaned_runs(new, second(51), false, second(90), 10).await.unwrap();
    assert_eq!((orphans.len(), orphans[0].run, orphans[0].partial.as_str()), (1, run, "so"));
    assert!(store.orphaned_runs(old, second(51), false, second(90), 10).await.unwrap().is_empty(), "once");
    // Whoever had it has nothing to say any more.
    let late = scene.end(run, old, RunState::Done, "late");
    assert_eq!(scene.bench.does(&scene.ada, late).await.0, Ack::Unchanged);
    let gone = scene.end(run, new, RunState::Interrupted, "");
    scene.bench.does(&scene.ada, gone).await;
    assert_eq!(scene.state(run).await, RunState::Interrupted);
    assert_eq!(scene.bench.count("SELECT count(*) FROM messages WHERE body = '…'"), 1);
}

/// A summary that begins by itself goes on beside the answers of its room, and takes none of their places.
///
/// Proves AI-04.
async fn what_speaks_nowhere_waits_for_nobody(mut bench: Bench) {
    bench.options.runs = RunTerms { room_queue: 2, ..RunTerms::DEFAULT };
    let scene = Scene::set(bench.reopened().await).await;
    let (bench, store) = (&scene.bench, &scene.bench.store);
    let first = bench.posts(&scene.bob, scene.room, "this").await.id;
    let waiting = async || -> Vec<_> {
        store.waiting_runs(10).await.unwrap().into_iter().map(|waiting| waiting.run).collect()
    };
    let begins = async |at: hearth::domain::EventId| {
        let at = hearth::domain::MessageId::new(at.get());
        let begin = Command::Summarise { room: scene.room, assistant: scene.ada.id, start: at, end: at };
        match bench.does(&scene.ada, begin).await.0 {
            Ack::Summarising { run, duplicate: false } => run,
            ack => panic!("{ack:?}"),
        }
    };
    let holder = Uuid::new_v4();
    let summary = begins(first).await;
    scene.takes(summary, holder).await.expect("taken");
    let (asked, next) = (scene.asks(&scene.bob).await.run, scene.asks(&scene.ann).await.run);
    let third = bench.person("Cora", Role::Member).await;
    assert_eq!(scene.refused(&third).await.code, RejectionCode::AiQueueFull);
    assert_eq!(waiting().await, [asked]);
    scene.takes(asked, holder).await.expect("beside the summary");
    assert!(scene.takes(next, holder).await.is_none(), "one speaks at a time");
    assert!(waiting().await.is_empty());
    bench.does(&scene.ada, scene.end(summary, holder, RunState::Done, "That.")).await;
    assert!(waiting().await.is_empty());
    bench.does(&scene.ann, Command::StopRun { room: scene.room, run: next }).await;
    // And the other way round, while somebody is answered.
    let second = bench.posts(&scene.bob, scene.room, "more").await.id;
    let summary = begins(second).await;
    assert_eq!(waiting().await, [summary]);
    scene.takes(summary, holder).await.expect("beside the answer");
    assert_eq!(store.run_depth().await.unwrap().running, 2);
}

/// Signs of life wait for no other transaction, whatever order it writes at runs in; what it holds is neither lost nor noted.
///
/// Proves AI-23.
async fn what_somebody_else_writes_at_is_passed_over(bench: Bench) {
    if bench.is_sqlite() {
        // One writes at a time.
        return;
    }
    let scene = Scene::set(bench).await;
    let store = &scene.bench.store;
    let den = scene.closed(&[scene.bob.id, scene.ada.id]).await;
    let message = scene.bench.posts(&scene.bob, den, "what?").await.id;
    let (holder, lease) = (Uuid::new_v4(), NOW.after(Duration::from_secs(90)));
    let one = scene.asks(&scene.bob).await.run;
    let two = scene.started(&scene.bob, ask(den, scene.ada.id, message)).await.run;
    for run in [one, two] {
        scene.takes(run, holder).await.expect("taken");
    }
    let gone = RunId::new(i64::MAX);
    let life = |text: &str| {
        let news = News { partial: text.into(), first_token_at: None, prompt_tokens: 0 };
        [(one, Some(news.clone())), (two, Some(news)), (gone, None)]
            .map(|(run, news)| Progress { run, news })
            .to_vec()
    };
    let mut other = scene.bench.postgres();
    other.batch_execute(&format!("BEGIN; SELECT 1 FROM runs WHERE id = {two} FOR UPDATE")).unwrap();
    let renewed = store.renew_runs(holder, life("so"), lease).await.unwrap();
    assert_eq!((renewed.lost, renewed.passed), (vec![gone], vec![two]));
    other.batch_execute("COMMIT").unwrap();
    let partial = async |room, run| store.run(room, run).await.unwrap().expect("a run").partial;
    assert_eq!((partial(scene.room, one).await.as_str(), partial(den, two).await.as_str()), ("so", ""));
    let renewed = store.renew_runs(holder, life("so far"), lease).await.unwrap();
    assert_eq!((renewed.lost, renewed.passed), (vec![gone], vec![]));
    assert_eq!(partial(den, two).await, "so far");
}

/// Put back, taken over or ended: nothing is left open that nobody waits for, and what isn't the run's stays.
///
/// Proves CORR-01.
async fn what_it_asked_of_clients_ends_with_it(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, store) = (&scene.bench, &scene.bench.store);
    let asks = async |run| {
        let new = NewAction {
            by: Principal::of_system(scene.ada.clone()),
            user: scene.bob.id,
            room: Some(scene.room),
            run,
            kind: ActionKind::parse("dice.roll").unwrap(),
            arguments: "{}".into(),
            timeout: Duration::from_secs(60),
        };
        let bounds = ActionBounds { per_pair: 10, per_requester: 10, per_user: 10, all: 10 };
        store.add_action(ActionId::new_v4(), new, bounds, NOW).await.unwrap().expect("made").id
    };
    let state = async |id| store.action(id).await.unwrap().expect("there").state;
    let other = asks(None).await;
    let run = scene.asks(&scene.bob).await.run;
    let (one, two, lease) = (Uuid::new_v4(), Uuid::new_v4(), NOW.after(Duration::from_secs(30)));

    scene.takes(run, one).await.expect("taken");
    let first = asks(Some(run)).await;
    assert_eq!(state(first).await, ActionState::Pending);
    assert!(!store.return_run(run, two, NOW, NOW, true, Usage::default()).await.unwrap());
    assert_eq!(state(first).await, ActionState::Pending, "it isn't theirs to put back");
    assert!(store.return_run(run, one, NOW, NOW, true, Usage::default()).await.unwrap());
    assert_eq!(state(first).await, ActionState::Expired);

    scene.takes(run, one).await.expect("taken");
    let second = asks(Some(run)).await;
    let later = lease.after(Duration::from_secs(60));
    let left =
        store.orphaned_runs(two, later, false, later.after(Duration::from_secs(30)), 10).await.unwrap();
    assert_eq!(left.iter().map(|orphan| orphan.run).collect::<Vec<_>>(), [run]);
    assert_eq!(state(second).await, ActionState::Expired);

    let third = asks(Some(run)).await;
    bench.does(&scene.ada, scene.end(run, two, RunState::Done, "that")).await;
    assert_eq!(state(third).await, ActionState::Expired);
    assert_eq!(state(other).await, ActionState::Pending);
}
