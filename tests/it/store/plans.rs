//! What the store asks of the tables of assistants, as it asks it: nothing goes through all runs there ever were, for they are never
//! taken away.

use super::asking::{Scene, ask};
use super::bench::{Bench, NOW, by, post};
use super::contracts;
use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use hearth::domain::{
    Ack, ActionId, ActionKind, Command, MessageId, NewAction, Principal, RoomId, RunId, RunState, Usage,
    UserId,
};
use hearth::storage::{ActionBounds, HistoryPage, News, Progress, UsageBy};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

contracts!(nothing_goes_through_all_that_is_over);

/// The statements of connections to these databases, by a part of their addresses.
static HEARD: Mutex<Vec<(String, BTreeSet<String>)>> = Mutex::new(Vec::new());

fn heard<T>(look: impl FnOnce(&mut Vec<(String, BTreeSet<String>)>) -> T) -> T {
    look(&mut HEARD.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Listens to a connection.
struct Ear {
    address: String,
}

impl Instrumentation for Ear {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => url.clone_into(&mut self.address),
            InstrumentationEvent::StartQuery { query, .. } => heard(|heard| {
                let of = heard.iter_mut().find(|(address, _)| self.address.contains(address));
                if let Some((_, statements)) = of {
                    let text = query.to_string().replace('`', "\"");
                    let text = text.split(" -- binds").next().unwrap_or_default();
                    statements.insert(text.split_whitespace().collect::<Vec<_>>().join(" "));
                }
            }),
            _ => {}
        }
    }
}

/// Opens the store anew, and hears what it says from then on.
async fn overheard(bench: Bench) -> (Bench, String) {
    let address = bench.address();
    heard(|heard| heard.push((address.clone(), BTreeSet::new())));
    set_default_instrumentation(|| Some(Box::new(Ear { address: String::new() }))).unwrap();
    (bench.reopened().await, address)
}

/// Partial indexes, of which only little is ever there.
const SMALL: [&str; 9] = [
    "runs_open",
    "runs_running",
    "runs_one_open",
    "runs_one_at_work",
    "runs_one_summary",
    "runs_one_by_itself",
    "action_requests_user_id",
    "action_requests_deadline",
    "run_terms_pkey",
];
const TABLES: [&str; 4] = ["runs", "action_requests", "spending", "summaries"];

/// The steps of a plan that go through a whole table, or through an index of all its rows.
fn slow(plan: &str, is_sqlite: bool) -> Vec<String> {
    let is_small = |step: &str| step.split([' ', '\n']).any(|word| SMALL.contains(&word));
    let lines: Vec<&str> = plan.lines().collect();
    let is_slow = |(at, line): (usize, &&str)| {
        let line = line.trim().trim_start_matches("-> ");
        if is_sqlite {
            let of = line.strip_prefix("SCAN ")?.split(' ').next()?;
            let is_ours = TABLES.contains(&of) || ["r", "o", "told"].contains(&of);
            return (is_ours && !is_small(line)).then(|| line.to_owned());
        }
        let is_on = |table: &&str| line.contains(&format!(" on {table} "));
        let is_whole = line.contains("Seq Scan")
            || line.contains("Index") && !lines.get(at + 1).is_some_and(|next| next.contains("Index Cond"));
        (is_whole && TABLES.iter().any(is_on) && !line.starts_with("Bitmap") && !is_small(line))
            .then(|| line.to_owned())
    };
    lines.iter().enumerate().filter_map(is_slow).collect()
}

/// Much that is over.
fn fills(scene: &Scene) {
    let (room, ada, bob) = (scene.room, scene.ada.id, scene.bob.id);
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    let id = if scene.bench.is_sqlite() { "randomblob(16)" } else { "decode(md5(CAST(i AS TEXT)), 'hex')" };
    for sql in [
        format!(
            "INSERT INTO runs (kind, room_id, assistant_id, asker_id, prompt_id, message_id, state, reason, next_attempt_at, model,
                               created_at, ended_at)
             {many} SELECT 'answer', {room}, {ada}, {bob}, 1000000 + 2 * i, 1000001 + 2 * i, 'done', NULL, 0, 'tiny', i, i FROM n"
        ),
        format!("INSERT INTO spending (scope, scope_id, period) {many} SELECT 'room', i, '2020-01-01' FROM n"),
        format!(
            "INSERT INTO summaries (room_id, start_id, end_id, run_id, body, created_at, whole)
             {many} SELECT {room}, -i, -i, (SELECT max(id) FROM runs), 'so', 0, i % 2 = 0 FROM n"
        ),
        format!(
            "INSERT INTO action_requests (id, requester_id, user_id, room_id, kind, arguments, state, created_at, deadline, ended_at)
             {many} SELECT {id}, {ada}, {bob}, {room}, 'choose', '{{}}', 'done', 0, i, i FROM n"
        ),
        if scene.bench.is_sqlite() { "SELECT 1".to_owned() } else { "ANALYZE".to_owned() },
    ] {
        scene.bench.sql(&sql).unwrap();
    }
}

/// Everything that is done with runs and what belongs to them.
async fn all_of_it(scene: &Scene) {
    let (bench, store, room) = (&scene.bench, &scene.bench.store, scene.room);
    let (holder, lease) = (Uuid::new_v4(), NOW.after(Duration::from_secs(30)));
    scene.budgets(hearth::domain::Scope::Account, Some(1_000_000), None).await;
    let id = Uuid::new_v4();
    for _ in 0..2 {
        bench.does(&scene.bob, post(room, id, "@Ada, what?")).await;
    }
    let run = store.waiting_runs(10).await.unwrap()[0].run;
    scene.takes(run, holder).await.expect("taken");
    let news = News { partial: "so".into(), first_token_at: None, prompt_tokens: 1 };
    for news in [Some(news), None] {
        store.renew_runs(holder, vec![Progress { run, news }], lease).await.unwrap();
    }
    store.return_run(run, holder, NOW, NOW, true, Usage::default()).await.unwrap();
    scene.takes(run, holder).await.expect("taken");
    let late = NOW.after(Duration::from_secs(60));
    assert_eq!(store.orphaned_runs(holder, late, true, lease, 10).await.unwrap().len(), 1);
    bench.does(&scene.ada, scene.end(run, holder, RunState::Interrupted, "so")).await;
    let ended = store.run(room, run).await.unwrap().expect("it stays");
    let again = Command::AskAssistant {
        room,
        assistant: scene.ada.id,
        message: ended.prompt,
        regenerates: Some(run),
        settings: None,
    };
    let second = scene.started(&scene.bob, again).await;
    bench.does(&scene.bob, Command::StopRun { room, run: second.run }).await;
    let first = MessageId::new(bench.posts(&scene.bob, room, "this").await.id.get());
    for who in [&scene.ada, &scene.bob, &scene.ada] {
        let begin = Command::Summarise { room, assistant: scene.ada.id, start: first, end: first };
        let (Ack::Summarising { run, duplicate }, _) = bench.does(who, begin).await else { panic!("begun") };
        if !duplicate {
            scene.takes(run, holder).await.expect("taken");
            bench.does(&scene.ada, scene.end(run, holder, RunState::Done, "That.")).await;
        }
    }
    let answer = ended.message.expect("its message");
    bench.does(&scene.ann, Command::DeleteMessage { room, message: answer }).await;
    store.summaries(room, i64::MAX, 10).await.unwrap();
    store.summary_until(room, MessageId::new(i64::MAX)).await.unwrap();
    store.summed_up_until(room).await.unwrap();
    store.is_said_between(room, first, first).await.unwrap();
    store.history(room, HistoryPage::Newest, 10).await.unwrap();
    store.run_depth().await.unwrap();
    for only_open in [true, false] {
        store.runs_of_room(room, RunId::new(i64::MAX), only_open, 10).await.unwrap();
    }
    for by in [UsageBy::User, UsageBy::Room, UsageBy::Assistant, UsageBy::Model] {
        store.usage(by, NOW, lease, 10).await.unwrap();
    }
    store.spending(NOW, 10).await.unwrap();
    let new = NewAction {
        by: Principal::of_system(scene.ada.clone()),
        user: scene.bob.id,
        room: Some(room),
        run: Some(run),
        kind: ActionKind::parse("choose").unwrap(),
        arguments: "{}".into(),
        timeout: Duration::from_secs(1),
    };
    let bounds = ActionBounds { per_pair: 10, per_requester: 10, per_user: 10, all: 10 };
    let action = ActionId::from(Uuid::new_v4());
    store.add_action(action, new, bounds, NOW).await.unwrap().unwrap();
    store.mark_actions(vec![(action, true)]).await.unwrap();
    store.open_actions(10).await.unwrap();
    store.expire_actions(late, 10).await.unwrap();
    store.trim_actions(NOW, 1).await.unwrap();
    let den = scene.closed(&[scene.bob.id, scene.ada.id]).await;
    ends_with_its_place(scene, den, scene.ada.id).await;
}

async fn ends_with_its_place(scene: &Scene, den: RoomId, ada: UserId) {
    let message = scene.bench.posts(&scene.bob, den, "what?").await.id;
    scene.started(&scene.bob, ask(den, ada, message)).await;
    let away = by(&scene.ann, Command::RemoveMember { room: den, user: ada });
    scene.bench.one(away).await.unwrap();
    scene.bench.does(&scene.ann, Command::RemoveAssistant { assistant: ada }).await;
}

async fn nothing_goes_through_all_that_is_over(bench: Bench) {
    let (bench, address) = overheard(bench).await;
    let scene = Scene::set(bench).await;
    fills(&scene);
    all_of_it(&scene).await;
    let said = heard(|heard| {
        let at = heard.iter().position(|(of, _)| *of == address).expect("heard");
        heard.swap_remove(at).1
    });
    let is_asked = |text: &&String| {
        let is_question = ["SELECT", "UPDATE", "DELETE"].iter().any(|verb| text.starts_with(verb));
        let is_of =
            |table: &&str| text.contains(&format!("\"{table}\"")) || text.contains(&format!("FROM {table} "));
        is_question && TABLES.iter().any(is_of)
    };
    let asked: Vec<&String> = said.iter().filter(is_asked).collect();
    assert!(asked.len() > 40, "{asked:#?}");
    for known in
        ["FROM runs r ", "\"runs\".\"prompt_id\" = ", "\"runs\".\"lease_until\" < ", "GROUP BY asker_id"]
    {
        assert!(asked.iter().any(|text| text.contains(known)), "{known}: {asked:#?}");
    }
    let mut wrong = Vec::new();
    for text in asked {
        let plan = scene.bench.plan(text);
        let slow = slow(&plan, scene.bench.is_sqlite());
        // What is open is found among what is open.
        let is_of_open =
            text.contains("state IN ('queued', 'running')") || text.contains("state = 'running'");
        let is_long = is_of_open && (plan.contains("runs_room_id") || plan.contains("runs_created_at"));
        if !slow.is_empty() || is_long {
            wrong.push(format!("{text}\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
