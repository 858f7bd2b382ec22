//! What every answer tells browsers to refuse, whatever was asked and however it ended.

use super::caller::{Answer, Caller};
use super::origins::routes;
use crate::harness::{Ground, House, PATIENCE, empty};
use crate::raw::{dial, upgrade};
use loadtest::wire::Credentials;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The directives of a policy that hold for every answer.
const EVERYWHERE: [&str; 3] = ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"];

/// Looks at the headers of an answer to `what`.
fn is_guarded(what: &str, header: impl Fn(&str) -> Option<String>, is_tls: bool) {
    let policy = header("content-security-policy").unwrap_or_else(|| panic!("{what}: no policy"));
    for wanted in EVERYWHERE {
        assert!(policy.split("; ").any(|directive| directive == wanted), "{what}: {wanted}: {policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"),
        "{what}: {policy}"
    );
    for (name, value) in [
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(header(name).as_deref(), Some(value), "{what}: {name}");
    }
    let transport = header("strict-transport-security");
    assert_eq!(transport.as_deref(), is_tls.then_some("max-age=31536000"), "{what}");
}

fn answer_is_guarded(what: &str, answer: &Answer, is_tls: bool) {
    is_guarded(what, |name| answer.header(name).map(str::to_owned), is_tls);
    let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert_eq!(
        policy.contains("script-src 'self'"),
        is_page || what.contains("/static/") || answer.status == 304,
        "{what}"
    );
    // What is personal isn't kept by browsers and proxies; what pages are made of is asked for again.
    let kept = answer.header("cache-control").expect("a rule");
    assert_eq!(kept, if policy.contains("script-src 'self'") { "no-cache" } else { "no-store" }, "{what}");
}

/// The head of what the server answers to these bytes, as lines.
async fn raw(url: &str, request: &str) -> (u16, Vec<String>) {
    let mut tcp = dial(url).await;
    tcp.write_all(request.as_bytes()).await.expect("sent");
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = timeout(PATIENCE, tcp.read(&mut buffer)).await.expect("in time").expect("reads");
        assert!(read > 0, "no answer to {request}");
        text.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let head = text.split("\r\n\r\n").next().expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.split("\r\n").skip(1).map(str::to_owned).collect())
}

async fn every_answer_of(url: &str, ann: &Caller, is_tls: bool) {
    let nobody = Caller::nobody(url);
    let routes = routes();
    assert!(routes.len() > 30, "{routes:?}");
    for (method, path) in &routes {
        let sign_out = method == "DELETE" && path == "/sessions";
        for (who, caller) in
            [("nobody", &nobody), ("ann", ann), ("another site", &ann.with("origin", "https://evil.test"))]
        {
            if who == "ann" && sign_out {
                continue;
            }
            let body = (method != "GET").then(|| json!({}));
            let answer = caller.calls(method, path, body.as_ref()).await;
            answer_is_guarded(&format!("{method} {path} by {who}: {}", answer.status), &answer, is_tls);
        }
        let answer = ann.calls("BREW", path, None).await;
        answer_is_guarded(&format!("BREW {path}: {}", answer.status), &answer, is_tls);
    }
    for path in [
        "/",
        "/setup",
        "/sign-in",
        "/join/abcd-efgh-ijkl",
        "/rooms/1",
        "/rooms/1/@2",
        "/people",
        "/bots",
        "/search",
        "/settings",
        "/static/main.js",
        "/static/none.js",
        "/health",
        "/ready",
        "/metrics",
        "/nowhere",
        "/api/v1/nowhere",
        "/api/v2",
        "/%00",
        "/..%2f",
        "/ws",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let answer = nobody.sends(method, path, None).await;
            let what = format!("{method} {path}: {}", answer.status);
            is_guarded(&what, |name| answer.header(name).map(str::to_owned), is_tls);
            if method == "GET" && answer.status == 200 {
                answer_is_guarded(&what, &answer, is_tls);
                if let Some(etag) = answer.header("etag") {
                    let again = nobody.with("if-none-match", etag).sends("GET", path, None).await;
                    answer_is_guarded(&format!("again {path}: {}", again.status), &again, is_tls);
                    assert_eq!(again.status, 304);
                }
            }
        }
    }
    for (kind, body) in [("application/json", b"{".to_vec()), ("text/plain", vec![b'x'; 300_000])] {
        let answer = ann.sends("POST", "/api/v1/rooms", Some((kind, body))).await;
        answer_is_guarded(&format!("a body of {kind}: {}", answer.status), &answer, is_tls);
    }
    let handshake = upgrade(url, &Credentials::Anonymous);
    for (change, status) in [
        (("", ""), 401),
        (("GET /ws", "GET /wss"), 404),
        (("hearth.v1.json", "other"), 400),
        (("Version: 13", "Version: 12"), 400),
    ] {
        let (got, lines) = raw(url, &format!("{}\r\n", handshake.replace(change.0, change.1))).await;
        assert_eq!(got, status, "{change:?}");
        let header = |name: &str| {
            let mut found = lines
                .iter()
                .filter_map(|line| line.split_once(": "))
                .filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.to_owned())
        };
        is_guarded(&format!("{change:?}"), header, is_tls);
    }
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let house = House::open(Ground::Sqlite).await;
    every_answer_of(&house.url(), &Caller::of(&house.admin), false).await;
}

/// Behind TLS browsers are told never to come without it again.
#[tokio::test]
async fn every_answer_is_guarded_behind_tls() {
    let (server, _dir) = empty(Ground::Sqlite, &["--public-url", "https://chat.example.org"]).await;
    let nobody = Caller::nobody(&server.url());
    let first = json!({ "account_name": "House", "name": "Ann", "email": "ann@example.org", "password": crate::harness::PASSWORD });
    let ann = nobody.with("cookie", &nobody.post("/setup", first).await.cookie());
    every_answer_of(&server.url(), &ann, true).await;
}
