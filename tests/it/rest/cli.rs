//! The command line: what it refuses and how it says so, the schema, people.

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, PASSWORD, on_both};
use serde_json::json;
use std::net::TcpListener;

/// Wrong settings end with one line that names them.
#[tokio::test]
async fn what_is_wrong_is_named() {
    let place = Place::new(Ground::Sqlite);
    for (args, parts) in [
        (&["--set", "heartbeat.interval=5"][..], &["heartbeat.interval", "heartbeat.interval_ms"][..]),
        (&["serve", "--set", "nonsense=1"], &["nonsense"]),
        (&["--set", "rooms.queue=many"], &["rooms.queue"]),
        (&["--set", "rooms.queue=0"], &["rooms.queue"]),
        (&["--set", "heartbeat.interval_ms=50000"], &["heartbeat.interval_ms", "heartbeat.dead_after_ms"]),
        (&["--listen", "nowhere"], &["server.listen"]),
        (&["--public-url", "ftp://x"], &["server.public_url"]),
        (&["--workers", "x"], &["server.workers"]),
        (&["--log-format", "yaml"], &["log.format"]),
        (&["--log-level", "a=b=c"], &["log.level"]),
        (&["--database", "mysql://u:hunter2@x"], &["storage.database", "postgres://"]),
        (&["--config", "none.toml"], &["none.toml"]),
    ] {
        let ended = place.runs_bare(args, "").await;
        ended.complained(parts);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    }
    for (args, part) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["--set", "x"], "key=value"),
        (&["migrate"], "status"),
        (&["admin", "create-user", "--name", "Ann"], "--email"),
    ] {
        let ended = place.runs_bare(args, "").await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    let left: Vec<_> = std::fs::read_dir(place.dir.path()).expect("a folder").collect();
    assert!(left.is_empty(), "who refuses to start leaves nothing: {left:?}");
}

/// An address that is taken, and a data directory that is none.
#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let place = Place::new(Ground::Sqlite);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    place.runs(&["--listen", &address]).await.complained(&[&address, "--listen"]);

    std::fs::write(place.dir.path().join("file"), "").expect("written");
    for args in [
        &["--data-dir", "file", "--listen", "127.0.0.1:0"][..],
        &["--data-dir", "file/below", "--listen", "127.0.0.1:0"],
        &["migrate", "status", "--data-dir", "file"],
    ] {
        place.runs_bare(args, "").await.complained(&["file"]);
    }
    std::fs::create_dir(place.dir.path().join("odd")).expect("made");
    std::fs::write(
        place.dir.path().join("odd/hearth.db"),
        "no database, but a text that is long enough".repeat(100),
    )
    .expect("written");
    place
        .runs_bare(&["--data-dir", "odd", "--listen", "127.0.0.1:0"], "")
        .await
        .complained(&["not a database"]);

    let nowhere = "postgres://hearth:hunter2@127.0.0.1:9/none";
    let ended = place
        .runs_bare(
            &["--database", nowhere, "--set", "storage.patience_ms=500", "--listen", "127.0.0.1:0"],
            "",
        )
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("127.0.0.1") && !ended.err.contains("hunter2"), "{}", ended.err);
}

on_both!(
    /// Proves DB-16.
    the_schema_goes_forward_and_back,
    async |ground| {
        let place = Place::new(ground);
        let before = place.runs(&["migrate", "status"]).await;
        assert_eq!(before.code, Some(1), "{before:?}");
        assert!(before.out.contains("pending "), "{before:?}");
        let pending = before.out.matches("pending ").count();
        let applied = place.runs(&["migrate", "run"]).await.said();
        assert_eq!(applied.matches("applied ").count(), pending);
        assert_eq!(place.runs(&["migrate", "run"]).await.said(), "nothing to do\n");
        assert_eq!(place.runs(&["migrate", "status"]).await.said(), applied);
        assert!(place.runs(&["migrate", "revert"]).await.said().starts_with("reverted "));
        let behind = place.runs(&["migrate", "status"]).await;
        assert_eq!((behind.code, behind.out.matches("pending ").count()), (Some(1), 1), "{behind:?}");
        place.runs(&["migrate", "run"]).await.said();
        // The server needs no command for it.
        place.runs(&["migrate", "revert"]).await.said();
        drop(place.serves(&[]).await);
        assert_eq!(place.runs(&["migrate", "status"]).await.said(), applied);
    }
);

/// Proves DB-07.
#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let place = Place::new(Ground::Sqlite);
    let mut server = place.serves(&[]).await;
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["migrate", "run"],
        &["migrate", "revert"],
        &["migrate", "status"],
        &["admin", "create-user", "--name", "Ann", "--email", "ann@example.org"],
        &["admin", "reset-password", "--email", "ann@example.org"],
    ] {
        place.runs(args).await.complained(&["hearth.db", "another process", "--data-dir"]);
    }
    assert_eq!(
        Caller::nobody(&server.url()).sends("GET", "/ready", None).await.status,
        200,
        "the first is unharmed"
    );
    server.kill().expect("killed");
    place.runs(&["migrate", "status"]).await.said();
}

on_both!(an_operator_makes_the_first_user_and_gives_new_passwords, async |ground| {
    let place = Place::new(ground);
    let ann = ["admin", "create-user", "--name", "Ann", "--email", "Ann@example.org", "--role", "admin"];
    let said = place.runs(&ann).await.said();
    assert!(said.starts_with("made admin Ann (id "), "{said}");
    let password =
        said.lines().find_map(|line| line.strip_prefix("password: ")).expect("a password").to_owned();
    place.runs(&ann).await.complained(&["address"]);
    let bob = ["admin", "create-user", "--name", "Bob", "--email", "bob@example.org", "--password-file", "-"];
    place.runs_with_input(&bob, "short\n").await.complained(&["password", "8 characters"]);
    let said = place.runs_with_input(&bob, &format!("{PASSWORD}\nanother line\n")).await.said();
    assert!(said.contains("member Bob") && !said.contains(PASSWORD), "{said}");
    for (wrong, part) in [(["Eve", "no address"], "email"), (["", "eve@example.org"], "name")] {
        let args = ["admin", "create-user", "--name", wrong[0], "--email", wrong[1]];
        place.runs(&args).await.complained(&[part]);
    }

    let mut server = place.serves(&[]).await;
    let signs_in = async |url: &str, email: &str, password: &str| {
        Caller::nobody(url).post("/sessions", json!({ "email": email, "password": password })).await
    };
    let as_ann = signs_in(&server.url(), "ann@example.org", &password).await;
    assert_eq!(as_ann.expect(201)["user"]["role"], "admin");
    let ann_calls = Caller::nobody(&server.url()).with("cookie", &as_ann.cookie());
    assert_eq!(ann_calls.get("/account").await.expect(200)["name"], "Hearth");
    assert_eq!(ann_calls.get("/rooms").await.expect(200)["rooms"][0]["name"], "General");
    assert_eq!(ann_calls.get("/setup").await.expect(200), json!({ "needed": false }));
    let as_bob = signs_in(&server.url(), "bob@example.org", PASSWORD).await;
    as_bob.expect(201);
    server.kill().expect("killed");

    std::fs::write(place.dir.path().join("password"), "a new password\r\nmore").expect("written");
    let file = place.dir.path().join("password").display().to_string();
    let reset = ["admin", "reset-password", "--email", "BOB@example.org", "--password-file", &file];
    let said = place.runs(&reset).await.said();
    assert!(said.contains("bob@example.org") && !said.contains("a new password"), "{said}");
    place
        .runs(&["admin", "reset-password", "--email", "nobody@example.org"])
        .await
        .complained(&["nobody@example.org"]);
    place
        .runs(&["admin", "reset-password", "--email", "bob@example.org", "--password-file", "none"])
        .await
        .complained(&["none"]);
    server.restart().await.expect("comes back");
    let bob_calls = Caller::nobody(&server.url()).with("cookie", &as_bob.cookie());
    bob_calls.get("/me").await.is_problem(401, "token_revoked", None);
    signs_in(&server.url(), "bob@example.org", PASSWORD).await.is_problem(401, "unauthenticated", None);
    signs_in(&server.url(), "bob@example.org", "a new password").await.expect(201);
    ann_calls.get("/me").await.expect(200);
});
