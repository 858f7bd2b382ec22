//! Summaries in the store: a stretch is begun once, however many begin it at once, and kept once.

use super::asking::Scene;
use super::bench::{Bench, NOW, accepted, by};
use super::contracts;
use hearth::domain::{Ack, Command, MessageId, RunId, RunState};
use hearth::storage::Verdict;
use std::collections::HashSet;
use uuid::Uuid;

contracts!(schedulers_that_race_begin_one, one_that_came_to_nothing_rests);

async fn said(scene: &Scene, count: usize) -> Vec<MessageId> {
    let mut said = Vec::new();
    for nth in 0..count {
        said.push(scene.bench.posts(&scene.bob, scene.room, &format!("number {nth}")).await.id);
    }
    said.into_iter().map(|id| MessageId::new(id.get())).collect()
}

fn summarise(scene: &Scene, start: MessageId, end: MessageId) -> Command {
    Command::Summarise { room: scene.room, assistant: scene.ada.id, start, end }
}

/// Some saw a message that others saw deleted, so they begin a little apart; and somebody asks for one at the same time.
///
/// Proves SUM-03.
async fn schedulers_that_race_begin_one(bench: Bench) {
    let scene = Scene::set(bench).await;
    let said = said(&scene, 5).await;
    let mut racing = Vec::new();
    for nth in 0..20 {
        let command = summarise(&scene, said[nth % 2], said[3]);
        racing.push(scene.bench.store.submit(vec![by(&scene.ada, command)], NOW).unwrap());
    }
    let (mut begun, mut runs) = (0, HashSet::new());
    for outcome in racing {
        match outcome.await.unwrap().pop().unwrap() {
            Ok(Verdict::Accepted { ack: Ack::Summarising { run, duplicate }, events }) => {
                begun += usize::from(!duplicate);
                runs.insert(run);
                assert!(events.is_empty(), "nothing is posted");
            }
            result => panic!("{:?}", accepted(result)),
        }
    }
    assert_eq!((begun, runs.len()), (1, 1));
    // Whoever asks for the same stretch gets the same run, too.
    let run: RunId = runs.into_iter().next().unwrap();
    let (ack, _) = scene.bench.does(&scene.bob, summarise(&scene, said[0], said[4])).await;
    assert_eq!(ack, Ack::Summarising { run, duplicate: true });
    // And when it is over it stays the only one.
    let holder = Uuid::new_v4();
    scene.takes(run, holder).await.expect("taken");
    scene.bench.does(&scene.ada, scene.end(run, holder, RunState::Done, "They met.")).await;
    for start in [said[0], said[1]] {
        let (ack, _) = scene.bench.does(&scene.ada, summarise(&scene, start, said[4])).await;
        assert_eq!(ack, Ack::Summarising { run, duplicate: true });
    }
    assert_eq!(scene.bench.count("SELECT COUNT(*) FROM summaries"), 1);
    assert_eq!(scene.bench.count("SELECT COUNT(*) FROM runs WHERE kind = 'summary'"), 1);
    // The database itself keeps no second one of the stretch, and takes none at the same time, whatever the code may do.
    let kept = "INSERT INTO summaries (room_id, start_id, end_id, run_id, body, created_at, whole)
                SELECT room_id, start_id, end_id, run_id, 'again', 0, whole FROM summaries";
    assert!(scene.bench.sql(kept).is_err(), "one for each stretch");
    let twice = "INSERT INTO runs (kind, room_id, assistant_id, prompt_id, start_id, state, next_attempt_at, model, created_at)
                 SELECT 'summary', room_id, assistant_id, prompt_id, start_id + 1, 'queued', 0, 'm', 0 FROM runs WHERE kind = 'summary'";
    scene.bench.sql(twice).unwrap();
    let again = twice.replace("start_id + 1", "start_id + 2") + " AND state = 'queued'";
    assert!(scene.bench.sql(&again).is_err(), "one by itself at a time");
}

/// Proves SUM-04.
async fn one_that_came_to_nothing_rests(bench: Bench) {
    let scene = Scene::set(bench).await;
    let said = said(&scene, 2).await;
    let (ack, _) = scene.bench.does(&scene.ada, summarise(&scene, said[0], said[1])).await;
    let Ack::Summarising { run, duplicate: false } = ack else { panic!("{ack:?}") };
    let holder = Uuid::new_v4();
    scene.takes(run, holder).await.expect("taken");
    scene.bench.does(&scene.ada, scene.end(run, holder, RunState::Failed, "")).await;
    let (ack, _) = scene.bench.does(&scene.ada, summarise(&scene, said[0], said[1])).await;
    assert_eq!(ack, Ack::Unchanged);
    // Somebody who asks doesn't have to wait.
    let (ack, events) = scene.bench.does(&scene.bob, summarise(&scene, said[0], said[1])).await;
    assert!(matches!(ack, Ack::Summarising { duplicate: false, .. }), "{ack:?}");
    assert_eq!(events.len(), 1, "its message");
}
