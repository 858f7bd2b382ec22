//! What changes something has to come from our own pages, when it comes with a cookie.

use super::caller::Caller;
use crate::harness::{Ground, House, PASSWORD, empty};
use serde_json::json;

/// Every unsafe route of PROTOCOL.md section 4, with ids that nothing has.
fn unsafe_routes() -> Vec<(String, String)> {
    routes().into_iter().filter(|(method, _)| method != "GET").collect()
}

/// Every route of PROTOCOL.md section 4, with ids that nothing has.
pub(super) fn routes() -> Vec<(String, String)> {
    let document = include_str!("../../../PROTOCOL.md");
    let section = document.split("\n## ").find(|section| section.starts_with("4. REST")).expect("a section");
    let mut routes = Vec::new();
    let is_route =
        |line: &&str| line.strip_prefix("| `").is_some_and(|cell| cell.starts_with(char::is_uppercase));
    for row in section.lines().filter(is_route) {
        let cell = row.split(" | ").next().expect("a cell").trim_start_matches("| ");
        let entries: Vec<&str> = cell.split(", ").map(|entry| entry.trim_matches('`')).collect();
        for entry in &entries {
            // `PUT`, `DELETE /path`: a method without a path means the next one's.
            let path = entries.iter().rev().find_map(|entry| entry.split_once(' ')).expect("a path").1;
            let (method, path) = entry.split_once(' ').unwrap_or((entry, path));
            routes.push((method.to_owned(), with_ids(path)));
        }
    }
    routes
}

fn with_ids(path: &str) -> String {
    let mut filled = String::new();
    for (at, piece) in path.split('{').enumerate() {
        match piece.split_once('}') {
            Some((_, rest)) if at > 0 => filled.extend(["999999", rest]),
            _ => filled.push_str(piece),
        }
    }
    filled
}

/// Proves AUTH-02.
#[tokio::test]
async fn every_unsafe_route_refuses_other_sites() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let routes = unsafe_routes();
    assert!(routes.len() >= 17, "{routes:?}");
    for (method, path) in &routes {
        for (header, value) in [
            ("origin", "https://evil.test"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let answer = ann.with(header, value).calls(method, path, Some(&json!({}))).await;
            answer.is_problem(403, "forbidden", None);
        }
        let own = ann.with("origin", &house.url()).with("sec-fetch-site", "same-origin");
        let answer = own.calls(method, path, Some(&json!({}))).await;
        assert_ne!(answer.status, 403, "{method} {path}: {}", answer.text());
        assert_ne!(answer.status, 405, "{method} {path}");
    }
}

/// Proves AUTH-02.
#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let path = format!("/api/v1/rooms/{}/messages", house.lobby);
    let form = br#"{"body":"forged","x":"="}"#.to_vec();
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"] {
        for from in [
            &[("origin", "https://evil.test")][..],
            &[("origin", "null")],
            &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
        ] {
            let victim = from.iter().fold(ann.clone(), |victim, (name, value)| victim.with(name, value));
            let answer = victim.sends("POST", &path, Some((kind, form.clone()))).await;
            answer.is_problem(403, "forbidden", None);
        }
    }
    // Nor does reading, whose answer other sites don't get to see.
    ann.with("origin", "https://evil.test").get(&format!("/rooms/{}", house.lobby)).await.expect(200);
    assert_eq!(house.admin.reads(house.lobby).await, Vec::<String>::new());
    ann.with("origin", &house.url()).says(house.lobby, "mine").await;
    ann.with("sec-fetch-site", "none").says(house.lobby, "mine too").await;
    assert_eq!(house.admin.reads(house.lobby).await, ["mine", "mine too"]);
}

/// Proves AUTH-02.
#[tokio::test]
async fn the_page_behind_the_proxy_is_ours() {
    let (server, _dir) = empty(Ground::Sqlite, &["--public-url", "https://chat.example.org"]).await;
    let nobody = Caller::nobody(&server.url());
    let first =
        json!({ "account_name": "House", "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
    let ann = nobody.with("cookie", &nobody.post("/setup", first).await.cookie());
    for (origin, status) in [
        ("https://chat.example.org", 200),
        ("http://chat.example.org", 403),
        ("https://example.org", 403),
        ("https://chat.example.org.evil.test", 403),
    ] {
        assert_eq!(ann.with("origin", origin).patch("/me", json!({})).await.status, status, "{origin}");
    }
}

/// Whoever shows a key is no page of another site; and a wrong one isn't made good by a cookie.
#[tokio::test]
async fn a_bearer_needs_no_origin_and_gets_no_help_from_a_cookie() {
    let house = House::open(Ground::Sqlite).await;
    let robot = Caller::bot_of(&house, "Robot").await;
    robot
        .with("origin", "https://elsewhere.test")
        .with("sec-fetch-site", "cross-site")
        .says(house.lobby, "hi")
        .await;
    let ann = Caller::of(&house.admin);
    ann.get("/me").await.expect(200);
    for wrong in ["Bearer 1-wrong", "Bearer ", "Basic YW5uOng=", "", "1-wrong"] {
        let confused = ann.with("authorization", wrong);
        confused.get("/me").await.is_problem(401, "token_invalid", None);
        confused.post(&format!("/rooms/{}/messages", house.lobby), json!({ "body": "x" })).await.is_problem(
            401,
            "token_invalid",
            None,
        );
    }
    assert_eq!(house.admin.reads(house.lobby).await, ["hi"]);
}
