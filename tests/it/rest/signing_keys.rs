//! `hearth keys`, beside a server that runs.

use super::place::{Ended, Place};
use crate::harness::{Ground, on_both};
use crate::overload::becomes;
use std::fs;

/// The rows of `hearth keys`: id and use.
fn rows(ended: Ended) -> Vec<(String, String)> {
    let said = ended.said();
    let rows = said.lines().skip(1).map(|line| {
        let (id, rest) = line.split_once(' ').expect("an id");
        let usage = ["signs", "accepted until", "over"].into_iter().find(|usage| rest.contains(usage));
        (id.to_owned(), usage.unwrap_or_else(|| panic!("{line}")).to_owned())
    });
    rows.collect()
}

on_both!(
    /// Proves AUTH-19.
    keys_rotate_while_the_server_runs,
    async |ground| {
        let place = Place::new(ground);
        assert!(place.runs(&["keys", "show"]).await.said().contains("no signing keys yet"));
        let server = place.serves(&["--log-level", "debug"]).await;
        let log = || fs::read_to_string(server.log_path()).expect("a log");
        let first = rows(place.runs(&["keys", "show"]).await);
        assert_eq!(first.len(), 1);
        let rotated = rows(place.runs(&["keys", "rotate"]).await);
        let uses: Vec<&str> = rotated.iter().map(|(_, usage)| usage.as_str()).collect();
        assert_eq!(uses, ["signs", "accepted until"]);
        assert_eq!(rotated[1].0, first[0].0, "the old one is kept for a while");
        assert_eq!(rows(place.runs(&["keys", "show"]).await), rotated);
        let taken_over = |id: &str| log().lines().any(|line| line.contains("another signing key signs") && line.contains(id));
        becomes("the new key", async || taken_over(&rotated[0].0)).await;
        let alone = rows(place.runs(&["keys", "rotate", "--revoke-old"]).await);
        assert_eq!(alone.len(), 1, "nothing old is accepted");
        becomes("the newest key", async || taken_over(&alone[0].0)).await;

        // A file that makes no sense changes nothing and is told once.
        let path = place.data().join("signing-keys");
        let text = fs::read_to_string(&path).expect("keys");
        fs::write(&path, "nonsense").expect("written");
        becomes("the complaint", async || log().contains("the signing keys stay as they are")).await;
        fs::write(&path, &text).expect("written");
        let key = text.split('"').find(|piece| piece.len() == 43).expect("a key");
        place.runs(&["keys", "rotate"]).await.said();
        becomes("the next key", async || log().matches("another signing key signs").count() == 3).await;
        assert_eq!(log().matches("the signing keys stay as they are").count(), 1);
        assert!(!log().contains(key));
    }
);

/// Proves AUTH-19.
#[tokio::test]
async fn keys_of_the_settings_are_rotated_there() {
    let place = Place::new(Ground::Sqlite);
    for task in ["rotate", "show"] {
        let key = "k".repeat(40);
        let args = ["keys", task, "--data-dir", "data"];
        let ended = place.runs_among(&[("HEARTH_SECRETS__SIGNING_KEY", &key)], &args, "").await;
        ended.complained(&["secrets.signing_key", "README.md"]);
    }
}
