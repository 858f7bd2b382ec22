//! The audit trail: written with what it tells of, never changed, kept for its time, read by index.

use super::bench::{Bench, accepted, by, name, post};
use super::contracts;
use hearth::domain::{Ack, AuditAction, Command, NewRoomKind, Role, Timestamp, UserId};
use hearth::storage::{AuditEntry, AuditFilter, AuditPlace, StoreError};
use uuid::Uuid;

contracts!(
    entries_never_change,
    old_entries_go_at_their_time_and_not_before,
    an_action_stands_or_falls_with_its_entry,
    a_bots_batch_is_noted_whole_and_once,
    pages_and_pieces_have_each_entry_once,
    the_trail_is_read_by_index,
);

/// What a database gives for "from 1 to n".
fn series(bench: &Bench, n: i64) -> String {
    if bench.is_sqlite() {
        format!("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {n})")
    } else {
        format!("WITH s (n) AS (SELECT generate_series(1, {n}))")
    }
}

async fn trail(bench: &Bench) -> Vec<AuditEntry> {
    bench.store.audit(AuditFilter::default(), None, 100_000).await.unwrap()
}

/// Neither by what is meant to change rows nor by what takes their place.
///
/// Proves AUD-02.
async fn entries_never_change(bench: Bench) {
    bench.home().await;
    let before = trail(&bench).await;
    assert_eq!(before.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["user.joined"]);
    let id = before[0].place.id;
    let row = "id, at, via, action";
    let mut attempts = vec![
        "UPDATE audit SET action = 'nothing'".to_owned(),
        "UPDATE audit SET id = id + 1".to_owned(),
        "UPDATE audit SET at = 0".to_owned(),
        "DELETE FROM audit".to_owned(),
        format!(
            "INSERT INTO audit ({row}) VALUES ({id}, 0, 'system', 'x') ON CONFLICT (id) DO UPDATE SET action = 'x'"
        ),
        format!("INSERT INTO audit ({row}) VALUES ({id}, 0, 'system', 'x')"),
    ];
    if bench.is_sqlite() {
        for verb in ["INSERT OR REPLACE", "REPLACE"] {
            attempts.push(format!("{verb} INTO audit ({row}) VALUES ({id}, 0, 'system', 'x')"));
        }
        attempts.push("UPDATE OR REPLACE audit SET action = 'x'".to_owned());
    } else {
        attempts.push("TRUNCATE audit".to_owned());
        attempts.push("TRUNCATE audit, users CASCADE".to_owned());
        attempts.push(format!(
            "MERGE INTO audit USING (SELECT 1) AS one ON audit.id = {id} WHEN MATCHED THEN DELETE"
        ));
    }
    for sql in attempts {
        let refused = bench.sql(&sql).expect_err(&sql).to_string();
        assert!(refused.contains("audit"), "{sql}: {refused}");
        assert_eq!(trail(&bench).await, before, "{sql}");
    }
}

/// To the millisecond, a few at a time, and none that the database keeps by itself.
///
/// Proves AUD-02.
async fn old_entries_go_at_their_time_and_not_before(bench: Bench) {
    bench.home().await;
    let day = 24 * 3600 * 1000;
    let today = chrono::Utc::now().timestamp_millis();
    let cutoff = today - 400 * day;
    let ages = [cutoff - day, cutoff - 2, cutoff - 1, cutoff, cutoff + 1, today - 31 * day, today - 29 * day];
    for at in ages {
        bench.sql(&format!("INSERT INTO audit (at, via, action) VALUES ({at}, 'system', 'old')")).unwrap();
    }
    let ats = async || -> Vec<i64> {
        let left = trail(&bench).await.into_iter().filter(|entry| entry.action == "old");
        let mut ats: Vec<i64> = left.map(|entry| entry.place.at.as_millis()).collect();
        ats.sort_unstable();
        ats
    };
    let trim = |before: i64, batch| bench.store.trim_audit(Timestamp::from_millis(before), batch);
    assert_eq!(trim(cutoff, 2).await, Ok(2));
    assert_eq!(ats().await, ages[2..], "the oldest first");
    assert_eq!(trim(cutoff, 2).await, Ok(1));
    assert_eq!(trim(cutoff, 2).await, Ok(0));
    assert_eq!(ats().await, ages[3..], "one that is as old as may be stays");
    // Whatever is asked, the database keeps the last thirty days, and the asker isn't left with an error.
    assert_eq!(trim(today + day, 100).await, Ok(3));
    assert_eq!(ats().await, ages[6..]);
}

/// Proves AUD-01.
async fn an_action_stands_or_falls_with_its_entry(bench: Bench) {
    let home = bench.home().await;
    let (denied, fine) = (
        bench.creates(&home.admin, NewRoomKind::Open, Some("Denied"), &[]).await.id,
        bench.creates(&home.admin, NewRoomKind::Open, Some("Fine"), &[]).await.id,
    );
    let trap = if bench.is_sqlite() {
        format!(
            "CREATE TRIGGER trap BEFORE INSERT ON audit WHEN new.room_id = {denied}
             BEGIN SELECT RAISE(ABORT, 'trap'); END"
        )
    } else {
        format!(
            "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trap''; END';
             CREATE TRIGGER trap BEFORE INSERT ON audit FOR EACH ROW WHEN (new.room_id = {denied})
             EXECUTE FUNCTION trap()"
        )
    };
    bench.sql(&trap).unwrap();
    let rename = |room| by(&home.admin, Command::RenameRoom { room, name: name("Renamed") });
    let outcome = bench.batch(vec![rename(denied), rename(fine)]).await;
    let [first, second] = <[_; 2]>::try_from(outcome).unwrap();
    assert!(matches!(first, Err(StoreError::Conflict(_) | StoreError::Corrupt(_))), "{first:?}");
    accepted(second);
    let renamed = "SELECT count(*) FROM rooms WHERE name = 'Renamed'";
    assert_eq!(bench.count(renamed), 1, "what can't be noted isn't done");
    let noted = trail(&bench).await;
    let noted: Vec<_> = noted.iter().filter(|entry| entry.action == "room.renamed").collect();
    assert_eq!((noted.len(), noted[0].room), (1, Some(fine)));
    assert_eq!(noted[0].detail, r#"{"from":"Fine","to":"Renamed"}"#);
}

/// Proves BOT-05.
async fn a_bots_batch_is_noted_whole_and_once(bench: Bench) {
    let home = bench.home().await;
    let robot = bench.enrolled(super::people::bot(&home.admin, 1)).await;
    let posts: Vec<Command> =
        (0..1_200).map(|n: i32| post(home.general, Uuid::new_v4(), &n.to_string())).collect();
    let writes = || {
        let mut writes: Vec<_> = posts.iter().map(|post| by(&robot, post.clone())).collect();
        writes.push(by(&home.admin, post(home.general, Uuid::new_v4(), "people's posts are not noted")));
        writes
    };
    let mut ids = Vec::new();
    for (ack, _) in bench.batch(writes()).await.into_iter().map(accepted) {
        let Ack::Posted { position, .. } = ack else { panic!("{ack:?}") };
        ids.push(position.id.get());
    }
    ids.pop();
    // A repetition does nothing, and is no action.
    bench.batch(writes()).await.into_iter().for_each(|verdict| drop(accepted(verdict)));
    let filter = AuditFilter { action: Some(AuditAction::BotActed), ..AuditFilter::default() };
    let noted = bench.store.audit_up_to(filter, None, i64::MAX, 10_000).await.unwrap();
    let targets: Vec<i64> = noted
        .iter()
        .map(|entry| {
            let (kind, id) = entry.target.as_ref().unwrap();
            assert_eq!((kind.as_str(), entry.room), ("message", Some(home.general)));
            assert_eq!((entry.actor, entry.person.as_ref()), (Some(robot.id), Some(&robot)));
            assert_eq!(entry.detail, r#"{"command":"message.post"}"#);
            *id
        })
        .collect();
    assert_eq!(targets, ids);
}

/// Whatever the filter: paged newest first or oldest first, each entry comes once, also where many have the same time.
///
/// Proves AUD-03.
async fn pages_and_pieces_have_each_entry_once(bench: Bench) {
    bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let start = 1_700_000_000_000_i64;
    let sql = format!(
        "INSERT INTO audit (at, actor_id, via, credential_id, action, target_kind, target_id, room_id)
         {} SELECT {start} + (n * 7919) % 40, 1 + n % 3, 'session', n, CASE n % 5 WHEN 0 THEN 'room.deleted'
         ELSE 'bot.acted' END, CASE n % 4 WHEN 0 THEN 'room' ELSE 'message' END, n % 11, n % 6 FROM s",
        series(&bench, 300)
    );
    bench.sql(&sql).unwrap();
    let all = trail(&bench).await;
    assert_eq!(all.len(), 302);
    assert!(all.is_sorted_by(|newer, older| newer.place > older.place));
    let at = |n| Some(Timestamp::from_millis(start + n));
    let filters = [
        AuditFilter::default(),
        AuditFilter { actor: Some(bob.id), ..AuditFilter::default() },
        AuditFilter { action: Some(AuditAction::RoomDeleted), ..AuditFilter::default() },
        AuditFilter { target: Some(("room", None)), ..AuditFilter::default() },
        AuditFilter { target: Some(("message", Some(5))), ..AuditFilter::default() },
        AuditFilter { since: at(10), until: at(20), ..AuditFilter::default() },
        AuditFilter {
            actor: Some(bob.id),
            action: Some(AuditAction::BotActed),
            target: Some(("message", None)),
            since: at(3),
            until: at(33),
        },
        AuditFilter { actor: Some(UserId::new(999)), ..AuditFilter::default() },
    ];
    for filter in filters {
        let fits = |entry: &&AuditEntry| {
            filter.actor.is_none_or(|actor| entry.actor == Some(actor))
                && filter.action.is_none_or(|action| entry.action == action.as_str())
                && filter.target.is_none_or(|(kind, id)| {
                    entry.target.as_ref().is_some_and(|is| is.0 == kind && id.is_none_or(|id| id == is.1))
                })
                && filter.since.is_none_or(|since| entry.place.at >= since)
                && filter.until.is_none_or(|until| entry.place.at < until)
        };
        let expected: Vec<AuditEntry> = all.iter().filter(fits).cloned().collect();
        let mut pages = Vec::new();
        let mut place: Option<AuditPlace> = None;
        loop {
            let page = bench.store.audit(filter.clone(), place, 7).await.unwrap();
            let Some(last) = page.last() else { break };
            place = Some(last.place);
            pages.extend(page);
        }
        assert_eq!(pages, expected, "{filter:?}");
        let newest = all.iter().map(|entry| entry.place.id).max().unwrap() - 10;
        let mut pieces = Vec::new();
        let mut place = None;
        loop {
            let piece = bench.store.audit_up_to(filter.clone(), place, newest, 7).await.unwrap();
            let Some(last) = piece.last() else { break };
            place = Some(last.place);
            pieces.extend(piece);
        }
        pieces.reverse();
        let expected: Vec<_> = expected.into_iter().filter(|entry| entry.place.id <= newest).collect();
        assert_eq!(pieces, expected, "{filter:?}");
    }
}

/// Proves AUD-03.
async fn the_trail_is_read_by_index(bench: Bench) {
    bench.home().await;
    let sql = format!(
        "INSERT INTO audit (at, actor_id, via, action, target_kind, target_id)
         {} SELECT 1700000000000 + n, n % 400, 'session', 'action.' || (n % 400), 'kind' || (n % 400), n % 800 FROM s",
        series(&bench, 20_000)
    );
    bench.sql(&sql).unwrap();
    bench.sql("ANALYZE").unwrap();
    let columns =
        "SELECT audit.*, users.name FROM audit LEFT OUTER JOIN users ON audit.actor_id = users.id WHERE";
    let before = "at <= 1700000010000 AND (at < 1700000010000 OR audit.id < 9000)";
    let newest = "ORDER BY at DESC, audit.id DESC LIMIT 21";
    let after = "at >= 1700000010000 AND (at > 1700000010000 OR audit.id > 9000)";
    for (filter, index) in [
        ("1 = 1", "audit_at"),
        ("at >= 1700000001000 AND at < 1700000002000", "audit_at"),
        ("actor_id = 7", "audit_actor_id"),
        ("action = 'action.3'", "audit_action"),
        ("target_kind = 'kind3'", "audit_target_kind"),
        ("target_kind = 'kind3' AND target_id = 403", "audit_target"),
    ] {
        for sql in [
            format!("{columns} {filter} {newest}"),
            format!("{columns} {filter} AND {before} {newest}"),
            format!("{columns} {filter} AND audit.id <= 19000 AND {after} ORDER BY at, audit.id LIMIT 25"),
        ] {
            let plan = bench.plan(&sql);
            assert!(plan.contains(index), "{sql}: {plan}");
            for slow in ["SCAN audit\n", "Seq Scan on audit", "TEMP B-TREE"] {
                assert!(!plan.contains(slow), "{sql}: {plan}");
            }
            // PostgreSQL may sort the few that a rare value has; never the whole trail.
            assert!(index != "audit_at" || !plan.contains("Sort"), "{sql}: {plan}");
        }
    }
    let old = bench.plan("SELECT id FROM audit WHERE at < 1700000000100 ORDER BY at, id LIMIT 500");
    assert!(old.contains("audit_at") && !old.contains("Sort") && !old.contains("TEMP"), "{old}");
}
