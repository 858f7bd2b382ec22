//! Strange requests, thousands of them, drawn from the description of the API by schemathesis: none is answered with 5xx, with a status or a
//! shape that isn't described, or without asking who it is.

use super::caller::Caller;
use crate::harness::{Ground, House, PASSWORD, Person, on_both};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// Requests per route and phase; the others follow from the description.
const EXAMPLES: &str = "6";
/// Draws the same requests each time.
const SEED: &str = "7";
/// A run takes half a minute; on a busy machine more. Longer than this it hangs.
const HANGS: Duration = Duration::from_secs(400);

/// Operations that may end what the others need, oneself: they are called afterwards, in runs of their own.
const ENDING: [&str; 2] = ["endSession", "changeUser"];

/// Beside the build, where `bin/test` puts it.
fn tool() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let tool = target.join("schemathesis/bin/schemathesis");
    assert!(tool.exists(), "{} is missing: bin/test installs it", tool.display());
    tool
}

/// What there is to ask for: names of parameters with values that exist.
fn settings(session: &str, known: &[(&str, Value)]) -> String {
    let mut dictionaries = String::new();
    let mut parameters = String::from("[parameters]\n");
    for (index, (parameter, values)) in known.iter().enumerate() {
        dictionaries += &format!("[dictionaries.d{index}]\nvalues = {values}\n");
        parameters += &format!("\"{parameter}\" = {{ dictionary = \"d{index}\", probability = 0.7 }}\n");
    }
    let token = session.split_once('=').expect("a cookie").1;
    format!(
        r#"
[auth.openapi.session]
api_key = "{token}"
[generation]
with-security-parameters = false
database = "none"
[checks.positive_data_acceptance]
# What hangs on what is there (an address that is taken, somebody who left) no schema can say.
enabled = false
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 422]
# An assistant that is switched off, or whose engine fails, is 503, as the document says; other errors of the server aren't in it.
[[operations]]
include-operation-id = "askAssistant"
checks.not_a_server_error.enabled = false
[[operations]]
include-operation-id = "createSummary"
checks.not_a_server_error.enabled = false
[warnings]
fail-on = ["missing_auth", "dictionary_mismatch"]
{dictionaries}{parameters}"#
    )
}

fn cookie_of(person: &Person) -> String {
    match person.credentials() {
        Credentials::Cookie(cookie) => cookie,
        other => panic!("{other:?}"),
    }
}

async fn runs(house: &House, settings: &str, phases: &str, which: &[&str]) {
    let dir = tempfile::TempDir::new().expect("a directory");
    let file = dir.path().join("settings.toml");
    std::fs::write(&file, settings).expect("written");
    let mut command = Command::new(tool());
    command.arg("--config-file").arg(&file).arg("run").arg(format!("{}/api/v1/openapi.json", house.url()));
    command.args(["--phases", phases, "--no-color", "--continue-on-failure"]);
    command.args(["--max-examples", EXAMPLES, "--seed", SEED]).args(which);
    command.current_dir(dir.path()).kill_on_drop(true);
    let ran = tokio::time::timeout(HANGS, command.output()).await.expect("ends in time").expect("runs");
    let told = String::from_utf8_lossy(&ran.stdout);
    let told: Vec<String> = told.lines().map(|line| line.chars().take(400).collect()).collect();
    assert!(ran.status.success(), "{}\n{}", told.join("\n"), String::from_utf8_lossy(&ran.stderr));
    // A run that asked for nothing found nothing, either.
    let is_full = |line: &String| line.contains(" generated, ") && line.contains(" passed");
    assert!(told.iter().any(is_full), "{}", told.join("\n"));
}

on_both!(strange_requests_get_answers_that_are_described, async |ground| {
    // What is drawn at random finds the same on either; the corners of what may be stored don't.
    let phases = match ground {
        Ground::Sqlite => "examples,coverage,fuzzing,stateful",
        Ground::Postgres => "coverage",
    };
    let house =
        House::open_with(ground, &["--set", "polling.wait_ms=1000", "--set", "actions.wait_s=1"]).await;
    let ann = Caller::of(&house.admin);
    let code = ann.get("/account").await.expect(200)["join_code"].as_str().expect("a code").to_owned();
    let mut users = vec![house.admin.id];
    for name in ["Bob", "Cleo", "Eve"] {
        users.push(house.joined_by(name).await.id);
        users.push(house.admin.client.create_bot(name).await.expect("a bot").id);
    }
    let (mut rooms, mut messages) = (vec![house.lobby], Vec::new());
    for kind in ["open", "closed"].repeat(5) {
        let room = house.admin.client.create_room(kind, "Room", &[]).await.expect("a room").id;
        rooms.push(room);
        for _ in 0..3 {
            messages.push(ann.says(room, "hello").await);
        }
    }
    let known = [
        ("path.code", json!([code])),
        ("path.room", json!(rooms)),
        ("path.message", json!(messages)),
        ("path.user", json!(users)),
        ("header.If-Match", json!(["1"])),
    ];
    let but: Vec<&str> = ENDING.iter().flat_map(|name| ["--exclude-operation-id", name]).collect();
    runs(&house, &settings(&cookie_of(&house.admin), &known), phases, &but).await;
    if ground == Ground::Postgres {
        return;
    }

    // Somebody to whom nothing strange was done yet; the code to join by may be another one by now.
    let code = ann.get("/account").await.expect(200)["join_code"].as_str().expect("a code").to_owned();
    let nobody = Caller::nobody(&house.url());
    let eva = json!({ "name": "Eva", "email": "eva@example.org", "password": PASSWORD });
    let eva = nobody.post(&format!("/join/{code}"), eva).await;
    let (_, cookie) = (eva.expect(201), eva.cookie());
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let sign_in = json!({ "email": "eva@example.org", "password": PASSWORD });
        let begun = nobody.post("/sessions", sign_in).await.expect(201);
        sessions.push(begun["session"]["id"].to_string());
    }
    runs(
        &house,
        &settings(&cookie, &[("path.session", json!(sessions))]),
        phases,
        &["--include-operation-id", ENDING[0]],
    )
    .await;
    runs(
        &house,
        &settings(&cookie_of(&house.admin), &known[3..4]),
        phases,
        &["--include-operation-id", ENDING[1]],
    )
    .await;
});
