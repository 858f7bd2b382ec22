//! Secrets by name: where they come from, what is said when one is missing, and that nothing of them is ever said.

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, on_both};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Each has this in it, and nothing that is said may.
const MARK: &str = "hunter2";

fn key() -> String {
    format!("{MARK}-{}", "k".repeat(40))
}

on_both!(
    /// Proves AUTH-18.
    production_starts_with_every_secret_or_not_at_all,
    async |ground| {
        let place = Place::new(ground);
        let (key, token) = (key(), format!("{MARK}-token"));
        let (all, none) = (["HEARTH_SECRETS__SIGNING_KEY", "HEARTH_METRICS__TOKEN"], [""; 0]);
        let mut serve = vec!["--production".to_owned(), "--listen".to_owned(), "127.0.0.1:0".to_owned()];
        serve.extend(["--data-dir".to_owned(), place.data().display().to_string()]);
        if let Some(url) = &place.database {
            serve.extend(["--database".to_owned(), url.clone()]);
        }
        for (given, missing) in [(&none[..], &all[..]), (&all[..1], &all[1..]), (&all[1..], &all[..1])] {
            let values = [(all[0], key.as_str()), (all[1], token.as_str())];
            let values: Vec<_> = values.into_iter().filter(|(name, _)| given.contains(name)).collect();
            let ended = place.runs_among(&values, &serve, "").await;
            ended.complained(&[&["server.production"], missing].concat());
            for name in given {
                assert!(!ended.err.contains(name), "{name} is there: {}", ended.err);
            }
            assert!(!ended.err.contains(MARK), "{}", ended.err);
        }
        assert!(!place.data().join("signing-keys").exists(), "nothing is made up");
        assert!(!place.data().join("hearth.db").exists(), "who refuses to start leaves no database");

        let files: Vec<String> = [("key", &key), ("token", &token)]
            .map(|(name, text)| {
                let path = place.dir.path().join(name);
                fs::write(&path, format!("{text}\n")).expect("written");
                path.display().to_string()
            })
            .into();
        let variables = [
            ("HEARTH_SERVER__PRODUCTION", "true"),
            ("HEARTH_SECRETS__SIGNING_KEY_FILE", files[0].as_str()),
            ("HEARTH_METRICS__TOKEN_FILE", &files[1]),
        ];
        let server = place.serves_among(&variables, &["--log-level", "trace"]).await;
        let nobody = Caller::nobody(&server.url());
        nobody.sends("GET", "/metrics", None).await.is_problem(401, "unauthenticated", None);
        assert_eq!(nobody.bearing(&token).sends("GET", "/metrics", None).await.status, 200);
        assert!(!place.data().join("signing-keys").exists(), "nothing is made up");
        let log = fs::read_to_string(server.log_path()).expect("a log");
        assert!(log.contains(" TRACE ") && !log.contains(MARK));
    }
);

on_both!(
    /// Proves AUTH-18.
    without_production_a_key_is_made_for_its_owner,
    async |ground| {
        let place = Place::new(ground);
        let mut server = place.serves(&[]).await;
        let path = place.data().join("signing-keys");
        let made = fs::read_to_string(&path).expect("keys");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(place.data()).expect("there").mode() & 0o777, 0o700);
        // Of a machine's own, where others may work on the same database.
        let log = fs::read_to_string(server.log_path()).expect("a log");
        let is_warned = log.lines().any(|line| line.contains("WARN") && line.contains("secrets.signing_key"));
        assert_eq!(is_warned, ground == Ground::Postgres, "{log}");
        server.restart().await.expect("comes back");
        assert_eq!(fs::read_to_string(&path).expect("keys"), made, "the same as before");
        server.kill().expect("killed");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("changed");
        let ended = place.runs(&["serve", "--listen", "127.0.0.1:0"]).await;
        ended.complained(&["signing-keys", "644", "chmod 600"]);
    }
);

/// Proves AUTH-18.
#[tokio::test]
async fn what_is_wrong_with_a_secret_is_named_and_not_shown() {
    let place = Place::new(Ground::Sqlite);
    let file = |name: &str, text: &str, mode: u32| {
        let path = place.dir.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("changed");
        path.display().to_string()
    };
    let (key, short) = (key(), format!("{MARK}-short"));
    let empty = file("empty", " \n", 0o600);
    let open = file("open", &key, 0o622);
    let url = file("url", &format!("postgres://u:{MARK}@127.0.0.1:9/none"), 0o444);
    let broken = file("broken.toml", &format!("[secrets]\nsigning_key = \"{key}\n"), 0o600);
    let nested = file("nested.toml", &format!("secrets = \"{key}\"\n"), 0o600);
    for (variables, parts) in [
        (&[("HEARTH_SECRETS__SIGNING_KEY", short.as_str())][..], &["secrets.signing_key", "32 bytes"][..]),
        (
            &[("HEARTH_SECRETS__SIGNING_KEY", &key), ("HEARTH_SECRETS__SIGNING_KEY_PREVIOUS", &short)],
            &["secrets.signing_key_previous", "32 bytes"],
        ),
        (
            &[("HEARTH_SECRETS__SIGNING_KEY_PREVIOUS", &key)],
            &["secrets.signing_key_previous", "secrets.signing_key"],
        ),
        (&[("HEARTH_SECRETS__SIGNING_KEY", " ")], &["secrets.signing_key", "empty"]),
        (&[("HEARTH_SECRETS__SIGNING_KEY_FILE", &empty)], &["secrets.signing_key_file", "empty"]),
        (&[("HEARTH_SECRETS__SIGNING_KEY_FILE", &open)], &["secrets.signing_key_file", "622"]),
        // The secret itself where its file should be.
        (&[("HEARTH_SECRETS__SIGNING_KEY_FILE", &key)], &["secrets.signing_key_file", "No such file"]),
        (&[("HEARTH_STORAGE__DATABASE_FILE", &key)], &["storage.database_file", "No such file"]),
        (&[("HEARTH_STORAGE__DATABASE_FILE", &open)], &["storage.database_file"]),
        (&[("HEARTH_METRICS__TOKEN_FILE", &empty)], &["metrics.token_file", "empty"]),
        (
            &[("HEARTH_SECRETS__SIGNING_KEY", &key), ("HEARTH_SECRETS__SIGNING_KEY_FILE", &open)],
            &["secrets.signing_key", "secrets.signing_key_file", "both"],
        ),
        (
            &[("HEARTH_STORAGE__DATABASE", "postgres://x"), ("HEARTH_STORAGE__DATABASE_FILE", &url)],
            &["storage.database", "both"],
        ),
        (&[("HEARTH_STORAGE__DATABASE", &key)], &["storage.database", "postgres://"]),
        (&[("HEARTH_STORAGE__DATABASE_FILE", &url), ("HEARTH_STORAGE__PATIENCE_MS", "500")], &["127.0.0.1"]),
        (&[("HEARTH_SECRETS__SIGNING_KEYS", &key)], &["HEARTH_SECRETS__SIGNING_KEYS", "secrets.signing_key"]),
        (&[("HEARTH_SECRETS", &key)], &["HEARTH_SECRETS"]),
        (&[("HEARTH_CONFIG", &broken)], &["broken.toml", "line 2"]),
        (&[("HEARTH_CONFIG", &nested)], &["nested.toml", "`secrets`"]),
    ] {
        let args = ["--listen", "127.0.0.1:0", "--data-dir", "data", "--log-level", "trace"];
        let ended = place.runs_among(variables, &args, "").await;
        assert_eq!(ended.code, Some(1), "{variables:?}: {ended:?}");
        let told = format!("{}{}", ended.out, ended.err);
        for part in parts {
            assert!(told.contains(part), "{variables:?}: {part} is not in {told}");
        }
        assert!(!told.contains(MARK), "{variables:?}: {told}");
    }
    // Nor does who asks for help see what stands in the environment.
    let variables = [
        ("HEARTH_SECRETS__SIGNING_KEY", key.as_str()),
        ("HEARTH_STORAGE__DATABASE", &key),
        ("HEARTH_METRICS__TOKEN", &key),
    ];
    for args in [
        &["--help"][..],
        &["keys", "--help"],
        &["serve", "--help"],
        &["nonsense"],
        &["keys", "show"],
        &["keys", "rotate"],
    ] {
        let ended = place.runs_among(&variables, args, "").await;
        assert!(!format!("{}{}", ended.out, ended.err).contains(MARK), "{ended:?}");
    }
}
