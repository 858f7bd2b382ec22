//! Those who try passwords and codes: few tries, nobody locked out, and nothing learned of who is here.

use super::Somebody;
use crate::harness::{Ground, House, PASSWORD, on_both};
use crate::rest::caller::{Answer, Caller};
use serde_json::{Value, json};

/// So slow that nothing comes back while a test runs.
const FEW: [&str; 10] = [
    "--set",
    "server.trusted_proxies=127.0.0.1",
    "--set",
    "metrics.token=for-tests",
    "--set",
    "limits.account_failures=3",
    "--set",
    "limits.address_failures=6",
    "--set",
    "limits.failure_window_s=600000",
];

fn from(house: &House, address: &str) -> Caller {
    Caller::nobody(&house.url()).with("x-forwarded-for", address)
}

async fn tries(caller: &Caller, email: &str, password: &str) -> Answer {
    caller.post("/sessions", json!({ "email": email, "password": password })).await
}

/// How many passwords were checked so far.
async fn checks(house: &House) -> f64 {
    let metrics =
        Caller::nobody(&house.url()).bearing("for-tests").sends("GET", "/metrics", None).await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("hearth_password_checks_total "));
    line.expect("the metric").parse().expect("a number")
}

/// What somebody learns from an answer.
fn learned(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut problem = answer.json();
    for unique in ["trace_id", "retry_after_ms"] {
        problem.as_object_mut().expect("an object").remove(unique);
    }
    (answer.status, problem, answer.header_names())
}

on_both!(
    /// Proves LIM-03.
    strangers_lock_nobody_out,
    async |ground| {
        let house = House::open_with(ground, &FEW).await;
        house.joined_by("Bob").await;
        let home = from(&house, "203.0.113.1");
        let at_home = Somebody::of(&house, &tries(&home, "bob@example.org", PASSWORD).await);
        // Each from an address of their own: the account has three tries for all of them.
        for n in 10..13 {
            let stranger = from(&house, &format!("203.0.113.{n}"));
            tries(&stranger, "bob@example.org", "guess").await.is_problem(401, "unauthenticated", None);
        }
        for n in 13..16 {
            let stranger = from(&house, &format!("203.0.113.{n}"));
            let refused = tries(&stranger, " BOB@example.org ", "guess").await;
            refused.is_problem(429, "rate_limited", None);
            assert!(refused.header("retry-after").expect("a wait").parse::<u64>().expect("seconds") > 1000);
            // Not even with the password: who guesses it doesn't learn that they did.
            tries(&stranger, "bob@example.org", PASSWORD).await.is_problem(429, "rate_limited", None);
            tries(&stranger, "ann@example.org", "guess").await.is_problem(401, "unauthenticated", None);
        }
        // Bob, where he signed in before, isn't concerned, however he mistypes.
        for _ in 0..2 {
            tries(&home, "bob@example.org", "typo").await.is_problem(401, "unauthenticated", None);
        }
        for _ in 0..10 {
            tries(&home, "bob@example.org", PASSWORD).await.expect(201);
        }
        at_home.calls.get("/me").await.expect(200);
        tries(&home, "bob@example.org", "typo").await.is_problem(401, "unauthenticated", None);
        tries(&home, "bob@example.org", PASSWORD).await.is_problem(429, "rate_limited", None);
    }
);

on_both!(
    /// Proves LIM-02, LIM-03.
    an_address_has_few_tries_of_whatever_it_tries,
    async |ground| {
        let house = House::open_with(ground, &FEW).await;
        let (guesser, other) = (from(&house, "2001:db8::1"), from(&house, "2001:db8:0:1::1"));
        let code = Caller::of(&house.admin).get("/account").await.expect(200)["join_code"].clone();
        let door = format!("/join/{}", code.as_str().expect("a code"));
        // What is right costs nothing.
        for _ in 0..10 {
            guesser.get(&door).await.expect(200);
        }
        for n in 0..2 {
            tries(&guesser, &format!("nobody{n}@example.org"), "guess").await.is_problem(401, "unauthenticated", None);
        }
        guesser.post("/tokens", json!({ "grant": "password", "email": "x@example.org", "password": "guess" })).await.is_problem(401, "unauthenticated", None);
        guesser.post("/transfers/look", json!({ "token": "guess" })).await.is_problem(404, "not_found", None);
        for n in 0..2 {
            guesser.get(&format!("/join/aaaa-bbbb-ccc{n}")).await.is_problem(404, "not_found", None);
        }
        // One network of 64 bits is one customer.
        let again = from(&house, "2001:db8::2:1");
        let newcomer = json!({ "name": "Eve", "email": "eve@example.org", "password": PASSWORD });
        for answer in [
            again.get("/join/aaaa-bbbb-cccc").await,
            again.get(&door).await,
            again.post("/transfers/redeem", json!({ "token": "guess" })).await,
            again.post(&door, newcomer).await,
            tries(&again, "ann@example.org", PASSWORD).await,
            again.post("/tokens", json!({ "grant": "password", "email": "ann@example.org", "password": PASSWORD })).await,
        ] {
            answer.is_problem(429, "rate_limited", None);
            assert!(answer.header("retry-after").is_some());
        }
        tries(&other, "ann@example.org", PASSWORD).await.expect(201);
        other.get(&door).await.expect(200);
    }
);

/// A known address, an unknown one, a closed account and no address at all are told the same, limited the same, and cost a check of a
/// password each.
#[tokio::test]
async fn nothing_tells_who_is_here() {
    let house = House::open_with(Ground::Sqlite, &FEW).await;
    let (bob, _) = (house.joined_by("Bob").await, house.joined_by("Cleo").await);
    let gone = json!({ "status": "deactivated" });
    Caller::of(&house.admin).patch(&format!("/users/{}", bob.id), gone).await.expect(200);
    let mut stories = Vec::new();
    for (n, (email, password)) in [
        ("cleo@example.org", "guess"),
        ("nobody@example.org", "guess"),
        ("bob@example.org", PASSWORD),
        ("no address", "guess"),
        ("a\u{0}b@example.org", "guess"),
    ]
    .into_iter()
    .enumerate()
    {
        let stranger = from(&house, &format!("203.0.113.{n}"));
        let before = checks(&house).await;
        let mut story = Vec::new();
        for _ in 0..5 {
            story.push(learned(&tries(&stranger, email, password).await));
        }
        let checks = checks(&house).await - before;
        assert!((checks - 3.0).abs() < 0.5, "{email:?}: {checks} checks");
        stories.push(story);
    }
    let statuses: Vec<u16> = stories[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    for story in &stories[1..] {
        assert_eq!(story, &stories[0]);
    }
    // Each try that the limits let through is in the audit trail, and no more.
    let trail = Caller::of(&house.admin).get("/audit?action=session.refused&limit=100").await.expect(200);
    let entries = trail["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 15, "{trail}");
    let about = |target: &Value| entries.iter().filter(|entry| entry["target"] == *target).count();
    assert_eq!(about(&json!({ "kind": "user", "id": bob.id })), 3);
    assert_eq!(about(&Value::Null), 9, "nobody's address is kept");
    assert!(!trail.to_string().contains("example.org"), "{trail}");
    assert_eq!(entries[14]["address"], "203.0.113.0");
}

/// Whoever finds an open session can't try passwords with it.
#[tokio::test]
async fn ones_own_password_is_not_guessed_either() {
    let house = House::open_with(Ground::Sqlite, &FEW).await;
    let ann = Caller::of(&house.admin);
    let changes = |current: &str| json!({ "current_password": current, "new_password": "another one" });
    for _ in 0..3 {
        assert_eq!(ann.put("/me/password", changes("guess")).await.status, 401);
    }
    ann.put("/me/password", changes(PASSWORD)).await.is_problem(429, "rate_limited", None);
    tries(&from(&house, "203.0.113.1"), "ann@example.org", PASSWORD).await.expect(201);
}
