//! A strange hand in the database, under the real server and under `hearth verify`.

use super::Frail;
use crate::harness::binary;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use std::path::Path;
use std::process::{Command, Output};

fn damage(file: &Path, sql: &str) {
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("patient");
    conn.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Proves DB-15.
#[tokio::test]
async fn the_server_repairs_and_counts_what_drifts() {
    let Frail { house, file, .. } = Frail::open(&["--set", "reconcile.every_s=1"]).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    ann.posts(house.lobby, "walrus").await;
    assert_eq!(ann.hears_message().await, "walrus");
    damage(
        &file,
        "UPDATE rooms SET last_seq = 0 WHERE kind = 'open'; INSERT INTO search (search) VALUES ('delete-all')",
    );
    house.metric_becomes("hearth_drift_repaired_total", "room_head", 1.0).await;
    house.metric_becomes("hearth_drift_repaired_total", "search", 1.0).await;
    house.metric_becomes("hearth_drift_total", "hole", 0.0).await;
    assert_eq!(house.metric("hearth_drift_total", "room_head").await, 1.0);
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    assert_eq!(bob.posts(house.lobby, "it goes on").await.seq, 3, "no seq twice, no hole");
    let found = crate::rest::caller::Caller::of(&house.admin).get("/search?q=walrus").await.expect(200);
    assert_eq!(found["messages"].as_array().map(Vec::len), Some(1));
}

/// Proves DB-15.
#[tokio::test]
async fn verify_tells_and_repairs() {
    let Frail { mut house, file, .. } = Frail::open(&["--set", "reconcile.every_s=0"]).await;
    house.admin.listens_to(house.lobby).await.posts(house.lobby, "walrus").await;
    let verify = |more: &[&str]| -> (Option<i32>, String) {
        let dir = file.parent().expect("a directory");
        let done: Output = Command::new(binary())
            .arg("verify")
            .arg("--data-dir")
            .arg(dir)
            .args(more)
            .output()
            .expect("runs");
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let (code, said) = verify(&[]);
    assert!(code == Some(1) && said.contains("held by another process"), "{said}");
    house.server.kill().expect("killed");
    let (code, said) = verify(&[]);
    assert_eq!(code, Some(0), "{said}");
    damage(&file, "UPDATE rooms SET last_seq = 9 WHERE kind = 'open'");
    let line = |said: &str| -> String {
        let line = said.lines().find(|line| line.starts_with("room_head")).expect("a line");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (code, said) = verify(&[]);
    assert_eq!((code, line(&said)), (Some(1), format!("room_head 1 0 {}", house.lobby)), "{said}");
    let (code, said) = verify(&["--repair"]);
    assert_eq!((code, line(&said)), (Some(0), format!("room_head 1 1 {}", house.lobby)), "{said}");
    let (code, said) = verify(&[]);
    assert_eq!((code, line(&said)), (Some(0), "room_head 0 0".to_owned()), "{said}");
}
