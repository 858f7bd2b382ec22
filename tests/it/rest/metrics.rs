//! `/metrics`: text that Prometheus understands, the names of the document, for those who may.

use super::caller::Caller;
use crate::harness::upstream::Upstream;
use crate::harness::upstream::script::{is_broken, says};
use crate::harness::{Ground, House, empty};
use hearth::telemetry::catalog::{Kind, METRICS};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A metric as the text describes it.
#[derive(Debug, Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    /// Name with suffix, and the label names and values.
    samples: Vec<(String, Vec<(String, String)>)>,
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

/// `name="value",…` with `\\`, `\"` and `\n` escaped.
fn labels(text: &str) -> Vec<(String, String)> {
    let (mut labels, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {rest}"));
        assert!(is_name(name) && !name.contains(':'), "{name}");
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("no end: {after}")) {
                (at, '"') => break at,
                (_, '\\') => {
                    let (_, escaped) = chars.next().expect("something escaped");
                    assert!(['\\', '"', 'n'].contains(&escaped), "{after}");
                    value.push(escaped);
                }
                (_, plain) => value.push(plain),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &after[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("no comma: {rest}"));
        }
    }
    let names: HashSet<_> = labels.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), labels.len(), "{text}");
    labels
}

/// The exposition format 0.0.4, strictly.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut series, mut current) = (HashSet::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a word");
            let (name, rest) = rest.split_once(' ').expect("a name");
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "{name}: described after its samples");
            name.clone_into(&mut current);
            let place = match word {
                "HELP" => &mut family.help,
                "TYPE" => &mut family.kind,
                other => panic!("{other}"),
            };
            assert!(place.replace(rest.to_owned()).is_none(), "{name}: {word} twice");
            continue;
        }
        let (id, value) = line.rsplit_once(' ').expect("a value");
        value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(series.insert(id.to_owned()), "{id} is there twice");
        let (name, labelled) = match id.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect("a brace"))),
            None => (id, Vec::new()),
        };
        assert!(is_name(name), "{line}");
        let family = families.get_mut(&current).expect("is described before");
        let suffixes: &[&str] =
            if family.kind.as_deref() == Some("histogram") { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.iter().any(|suffix| name == format!("{current}{suffix}")), "{name} under {current}");
        family.samples.push((name.to_owned(), labelled));
    }
    families
}

/// Answers that come and that fail, requests that are done, failed, too late and answered twice: whatever counts by a label counts.
async fn programs_are_used(house: &House, bob: u64, answers: &Caller) {
    let (ann, engine) = (Caller::of(&house.admin), Upstream::start().await);
    let sage = json!({ "name": "Sage", "base_url": engine.url(), "model": "tiny-7b" });
    ann.post("/assistants", sage).await.expect(201);
    let path = format!("/rooms/{}/messages", house.lobby);
    let scripts = [("completed", says(["Well."]).then_usage(1234, 5)), ("failed", is_broken())];
    for (outcome, script) in scripts {
        engine.always_answers(script);
        ann.post(&path, json!({ "body": "@Sage?" })).await.expect(201);
        house.metric_becomes("hearth_ai_outcomes_total", &format!("\"{outcome}\""), 1.0).await;
    }
    let asks = async |timeout: u64| {
        let request =
            json!({ "user_id": bob, "room_id": house.lobby, "kind": "dice.roll", "timeout_ms": timeout });
        ann.post("/actions", request).await.expect(201)["id"].as_str().expect("an id").to_owned()
    };
    let short = asks(1_000).await;
    house.metric_becomes("hearth_action_results_total", "timeout", 1.0).await;
    let (done, failed) = (asks(60_000).await, asks(60_000).await);
    for (id, as_what, status) in
        [(&done, "done", 200), (&done, "done", 200), (&failed, "failed", 200), (&short, "done", 410)]
    {
        let result = json!({ "request_id": id, "status": as_what });
        answers.post(&format!("/actions/{id}/result"), result).await.expect(status);
    }
}

/// Proves OBS-05, OBS-06.
#[tokio::test]
async fn the_endpoint_has_the_metrics_of_the_document() {
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await;
    let mut listener = bob.listens_to(house.lobby).await;
    let ann = Caller::of(&house.admin);
    let message = ann.says(house.lobby, "a message").await;
    listener.hears_message().await;
    ann.get(&format!("/messages/{message}")).await.expect(200);
    ann.get("/nowhere").await.is_problem(404, "not_found", None);
    ann.sends("GET", "/%22%5C%0A{x=\"1\"}", None).await.is_problem(404, "not_found", None);
    ann.calls("BREW\u{21}", "/me", None).await.is_problem(405, "method_not_allowed", None);
    programs_are_used(&house, bob.id, &Caller::of(&bob)).await;
    let answer = Caller::nobody(&house.url()).sends("GET", "/metrics", None).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let families = parse(&answer.text());
    let names: BTreeSet<&str> = families.keys().map(String::as_str).collect();
    assert_eq!(names, METRICS.iter().map(|metric| metric.name).collect::<BTreeSet<_>>());
    for metric in METRICS {
        let family = &families[metric.name];
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(
            (family.kind.as_deref(), family.help.as_deref()),
            (Some(kind), Some(metric.help)),
            "{}",
            metric.name
        );
        assert!(!family.samples.is_empty(), "{}", metric.name);
        for (sample, labels) in &family.samples {
            let found: BTreeSet<&str> =
                labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le").collect();
            assert_eq!(found, metric.labels.iter().copied().collect(), "{sample}");
            for (name, value) in
                labels.iter().filter(|(name, _)| !["le", "status", "version"].contains(&name.as_str()))
            {
                // Names of things and patterns of routes: no number is anybody's id.
                let is_closed =
                    !value.bytes().any(|byte| byte.is_ascii_digit()) || value.starts_with("/api/v1");
                let is_nobodys = !["Bob", "Sage", "tiny"].iter().any(|one| value.contains(one));
                assert!(is_closed && is_nobodys, "{sample}: {name}={value}");
                assert!(!value.contains(&format!("/{message}")), "{sample}: {name}={value}");
            }
        }
    }
}

#[tokio::test]
async fn only_this_machine_reads_the_metrics() {
    let (server, _dir) = empty(Ground::Sqlite, &[]).await;
    let nobody = Caller::nobody(&server.url());
    let read = async |caller: &Caller| caller.sends("GET", "/metrics", None).await;
    assert_eq!(read(&nobody).await.status, 200);
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        read(&nobody.with(header, "127.0.0.1")).await.is_problem(403, "forbidden", None);
    }
}

#[tokio::test]
async fn with_a_token_whoever_has_it_reads_the_metrics() {
    let (server, _dir) = empty(Ground::Sqlite, &["--set", "metrics.token=open-sesame"]).await;
    let nobody = Caller::nobody(&server.url());
    let read = async |caller: &Caller| caller.sends("GET", "/metrics", None).await;
    assert_eq!(read(&nobody.bearing("open-sesame")).await.status, 200);
    assert_eq!(read(&nobody.bearing("open-sesame").with("x-forwarded-for", "192.0.2.1")).await.status, 200);
    for wrong in ["", "open", "open-sesame2", "Open-sesame"] {
        read(&nobody.bearing(wrong)).await.is_problem(401, "unauthenticated", None);
    }
    read(&nobody).await.is_problem(401, "unauthenticated", None);
    let document = json!({ "alive": true });
    assert_eq!(
        nobody.sends("GET", "/health", None).await.expect(200),
        document,
        "the rest is as open as before"
    );
}

/// Frames are counted by their type both ways, and handshakes by what came of them and how long that took.
///
/// Proves OBS-05, OBS-08.
#[tokio::test]
async fn frames_and_handshakes_are_counted_by_what_they_are() {
    let house = House::open_with(Ground::Sqlite, &["--set", "socket.per_user=2"]).await;
    let bob = house.joined_by("Bob").await;
    let mut listener = bob.listens_to(house.lobby).await;
    let mut ann = house.admin.connects().await;
    for number in 0..3 {
        let id = uuid::Uuid::new_v4();
        ann.socket.post(house.lobby, id, &format!("message {number}")).await.expect("posts");
        listener.hears_message().await;
    }
    let out = "hearth_frames_out_total";
    for (kind, count) in [("message.posted", 3.0), ("welcome", 2.0), ("reply", 4.0)] {
        house.metric_becomes(out, &format!("type=\"{kind}\""), count).await;
    }
    assert!((house.metric("hearth_frames_in_total", "type=\"message.post\"").await - 3.0).abs() < 0.5);

    let nobody = loadtest::wire::Credentials::Bearer("1-nonsense".to_owned());
    let refused = loadtest::socket::Socket::connect(&house.url(), &nobody).await;
    assert!(refused.is_err(), "nobody knows it");
    let took = house.metric("hearth_handshake_seconds_sum", "outcome=\"refused\"").await;
    assert!(took > 0.0, "to refuse takes a while, too");
    let second = house.admin.connects().await;
    let third = loadtest::socket::Socket::connect(&house.url(), &house.admin.client.credentials()).await;
    assert!(third.is_err(), "it is one too many");
    let outcomes = "hearth_connections_total";
    assert!((house.metric("hearth_connection_attempts_total", "").await - 5.0).abs() < 0.5);
    for (outcome, count) in [("accepted", 3.0), ("token_invalid", 1.0), ("too_many_connections", 1.0)] {
        house.metric_becomes(outcomes, &format!("outcome=\"{outcome}\""), count).await;
    }
    for (outcome, count) in [("accepted", 3.0), ("refused", 2.0)] {
        house
            .metric_becomes("hearth_handshake_seconds_count", &format!("outcome=\"{outcome}\""), count)
            .await;
        let took = house.metric("hearth_handshake_seconds_sum", &format!("outcome=\"{outcome}\"")).await;
        assert!(took > 0.0, "{outcome}: they took a while");
    }
    drop((second, ann));
}

/// Each error is of the class of who can do something about it, and says when the last one was.
///
/// Proves OBS-07.
#[tokio::test]
async fn errors_are_counted_by_whose_they_are() {
    let house = House::open_with(
        Ground::Sqlite,
        &["--set", "limits.message_window_ms=6000000", "--set", "limits.messages=5"],
    )
    .await;
    let ann = Caller::of(&house.admin);
    let errors = "hearth_errors_total";
    let before = house.metric(errors, "class=\"VALIDATION\"").await;
    ann.get("/messages/999999").await.is_problem(404, "not_found", None);
    house.metric_becomes(errors, "class=\"VALIDATION\"", before + 1.0).await;
    assert!(house.metric("hearth_last_error_timestamp_seconds", "class=\"VALIDATION\"").await > 1e9);
    let path = format!("/rooms/{}/messages", house.lobby);
    let mut refused = 0.0;
    for number in 0..20 {
        let answer = ann.post(&path, json!({ "body": format!("message {number}") })).await;
        refused += f64::from(u8::from(answer.status == 429));
    }
    assert!(refused > 0.0);
    house.metric_becomes(errors, "class=\"RLIMIT\"", refused).await;
    for class in ["SERVER", "UPSTREAM"] {
        assert!(house.metric(errors, &format!("class=\"{class}\"")).await < 0.5, "{class}");
        let last = house.metric("hearth_last_error_timestamp_seconds", &format!("class=\"{class}\"")).await;
        assert!(last < 0.5, "{class}: never");
    }
}
