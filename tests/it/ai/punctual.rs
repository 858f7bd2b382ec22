//! Results that come before the deadline count, however long the store takes.

use super::actions::{Stage, pipelined};
use crate::harness::Ground;
use crate::raw::Raw;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A result waits behind another that the store doesn't take for a while; meanwhile its deadline passes.
///
/// Proves CORR-01, CORR-06.
#[tokio::test]
async fn a_result_that_came_in_time_counts_however_late_it_is_stored() {
    let stage = Stage::set(Ground::Sqlite, &["--set", "storage.patience_ms=30000"]).await;
    let long = stage.asks(json!({ "timeout_ms": 60_000 })).await;
    let short = stage.asks(json!({ "timeout_ms": 10_000 })).await;
    let over = Instant::now() + Duration::from_millis(10_500);
    let mut raw = Raw::connect(&stage.house.url(), &stage.bob.credentials()).await;
    let file = stage.house.server.options().data_dir.join("hearth.db");
    let mut other = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    other.batch_execute("PRAGMA busy_timeout = 1000; BEGIN IMMEDIATE").expect("the lock");
    let done = |id: &String| json!({ "request_id": id, "status": "done", "result": 1 });
    let results: Vec<Value> = [&long, &short].map(done).into();
    let answers = tokio::spawn(async move { pipelined(&mut raw, &results).await });
    stage.house.metric_becomes("hearth_queue_depth", "\"action_results\"", 2.0).await;
    assert!(Instant::now() + Duration::from_secs(1) < over, "too slow to come in time");
    tokio::time::sleep_until(over.into()).await;
    other.batch_execute("ROLLBACK").expect("released");
    assert_eq!(answers.await.expect("answered"), ["done", "done"]);
    assert_eq!(stage.becomes(&short, "done").await["result"], json!(1));
    // And what nobody answers is still over in time.
    let third = stage.asks(json!({ "timeout_ms": 100 })).await;
    stage.becomes(&third, "expired").await;
    stage.house.metric_becomes("hearth_registry_entries", "\"actions\"", 0.0).await;
}
