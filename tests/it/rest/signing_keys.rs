//! `hearth keys`, beside a server that runs.

use super::caller::{Answer, Caller};
use super::place::{Ended, Place};
use crate::harness::{Ground, PASSWORD, on_both};
use crate::overload::becomes;
use crate::raw::Raw;
use loadtest::server::Server;
use loadtest::wire::Credentials;
use serde_json::{Value, json};
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
        assert!(place.runs(&["keys", "show"]).await.said().contains("no signing keys in"));
        // Whoever mistyped the directory would go on with the old key and not know it.
        place.runs(&["keys", "rotate", "--revoke-old"]).await.complained(&["no signing keys in", "--data-dir"]);
        assert!(!place.data().join("signing-keys").exists());
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
        // At once: half a file would be another complaint.
        let put = |text: &str| {
            let beside = place.dir.path().join("keys-beside");
            fs::write(&beside, text).expect("written");
            fs::set_permissions(&beside, fs::metadata(&path).expect("there").permissions()).expect("changed");
            fs::rename(&beside, &path).expect("renamed");
        };
        put("nonsense");
        becomes("the complaint", async || log().contains("the signing keys stay as they are")).await;
        put(&text);
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

/// What somebody holds that a key of this moment signed: an access token and a transfer link.
struct Holds {
    access: String,
    link: String,
}

impl Holds {
    async fn of(ann: &Caller, url: &str) -> Self {
        let grant = json!({ "grant": "password", "email": "ann@example.org", "password": PASSWORD });
        let tokens = Caller::nobody(url).post("/tokens", grant).await.expect(201);
        let link = ann.post("/transfers", Value::Null).await.expect(201);
        let link = link["url"].as_str().and_then(|url| url.split_once('#')).expect("a token").1.to_owned();
        Self { access: tokens["access_token"].as_str().expect("a token").to_owned(), link }
    }

    /// Both doors take the token, and the link still leads in.
    async fn is_accepted(&self, url: &str) {
        self.signs_in(url).await;
        self.looks(url).await.expect(200);
    }

    async fn signs_in(&self, url: &str) {
        let bearer = Caller::nobody(url).bearing(&self.access);
        assert_eq!(bearer.get("/me").await.expect(200)["email"], "ann@example.org");
        Raw::connect(url, &Credentials::Bearer(self.access.clone())).await;
    }

    async fn looks(&self, url: &str) -> Answer {
        Caller::nobody(url).post("/transfers/look", json!({ "token": self.link })).await
    }

    async fn is_refused(&self, url: &str) {
        Caller::nobody(url).bearing(&self.access).get("/me").await.is_problem(401, "token_invalid", None);
        self.looks(url).await.is_problem(404, "not_found", None);
    }
}

async fn rotates(place: &Place, server: &Server, flags: &[&str]) {
    let rotated = rows(place.runs(&[&["keys", "rotate"], flags].concat()).await);
    let log = || fs::read_to_string(server.log_path()).expect("a log");
    let told = |line: &str| line.contains("another signing key signs") && line.contains(&rotated[0].0);
    becomes("the new key", async || log().lines().any(told)).await;
}

on_both!(
    /// Proves AUTH-19.
    what_was_signed_before_a_rotation_holds_through_the_window,
    async |ground| {
        let place = Place::new(ground);
        let mut server = place.serves(&["--log-level", "debug"]).await;
        let url = server.url();
        let nobody = Caller::nobody(&url);
        let first = json!({ "account_name": "House", "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
        let ann = nobody.with("cookie", &nobody.post("/setup", first).await.cookie());
        let before = Holds::of(&ann, &url).await;
        before.is_accepted(&url).await;
        rotates(&place, &server, &[]).await;
        before.is_accepted(&url).await;
        // Over a restart, too.
        server.restart().await.expect("comes back");
        before.is_accepted(&url).await;
        // The newest link takes the place of the one before.
        let after = Holds::of(&ann, &url).await;
        before.signs_in(&url).await;
        after.is_accepted(&url).await;
        rotates(&place, &server, &["--revoke-old"]).await;
        before.is_refused(&url).await;
        after.is_refused(&url).await;
        // Sessions of browsers aren't signed and go on.
        ann.get("/me").await.expect(200);
        Holds::of(&ann, &url).await.is_accepted(&url).await;
    }
);

/// The window ends by itself, while the server runs.
///
/// Proves AUTH-19.
#[tokio::test]
async fn after_the_window_the_old_key_is_over() {
    let place = Place::new(Ground::Sqlite);
    let short = ["auth.key_overlap_s=6", "auth.access_token_s=6", "auth.transfer_s=6"];
    let flags: Vec<&str> = short.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = place.serves(&[&["--log-level", "debug"], flags.as_slice()].concat()).await;
    let url = server.url();
    let nobody = Caller::nobody(&url);
    let first =
        json!({ "account_name": "House", "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
    let ann = nobody.with("cookie", &nobody.post("/setup", first).await.cookie());
    let before = Holds::of(&ann, &url).await;
    rotates(&place, &server, &flags).await;
    // Expired or signed by nobody: over either way, and the link says which.
    becomes("the end of the window", async || before.looks(&url).await.status == 404).await;
    Holds::of(&ann, &url).await.is_accepted(&url).await;
}
