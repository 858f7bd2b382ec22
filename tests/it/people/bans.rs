//! Bans: the account, its sessions, the public addresses they were used from, and the way back.

use super::Somebody;
use super::somebody::{ends, settles};
use crate::harness::{Ground, House, PASSWORD, PATIENCE, on_both};
use crate::raw::{dial, upgrade};
use crate::rest::caller::{Answer, Caller};
use loadtest::server::{Options, Server};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const BEHIND_A_PROXY: [&str; 2] = ["--set", "server.trusted_proxies=127.0.0.1"];

/// Somebody who calls from this address.
fn from(url: &str, address: &str) -> Caller {
    Caller::nobody(url).with("x-forwarded-for", address)
}

/// What a handshake from this address is answered.
async fn handshake(url: &str, address: &str) -> String {
    let mut tcp = dial(url).await;
    let request = format!("{}X-Forwarded-For: {address}\r\n\r\n", upgrade(url, &Credentials::Anonymous));
    tcp.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("in time").expect("answered");
    String::from_utf8(answer).expect("text")
}

async fn is_shut_out(url: &str, address: &str) {
    let caller = from(url, address);
    caller.get("/setup").await.is_problem(403, "banned", None);
    caller
        .post("/sessions", json!({ "email": "ann@example.org", "password": PASSWORD }))
        .await
        .is_problem(403, "banned", None);
    for page in ["/", "/sign-in", "/nowhere", "/static/main.js"] {
        let answer = caller.sends("GET", page, None).await;
        assert_eq!(answer.status, 403, "{page}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(answer.text().contains("banned"), "{}", answer.text());
        assert!(!answer.text().contains("<script"));
    }
    for probe in ["/health", "/ready", "/metrics"] {
        caller.sends("GET", probe, None).await.is_problem(403, "banned", None);
    }
    let answer = handshake(url, address).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(r#""code":"banned""#), "{answer}");
}

async fn is_let_in(url: &str, address: &str) {
    from(url, address).get("/setup").await.expect(200);
    assert_eq!(from(url, address).sends("GET", "/", None).await.status, 200);
    assert!(handshake(url, address).await.starts_with("HTTP/1.1 401"));
}

fn addresses(bans: &Answer) -> Value {
    bans.expect(200)["bans"][0]["addresses"].clone()
}

on_both!(who_is_banned_is_shut_out_with_their_own_addresses_and_no_others, async |ground| {
    let house = House::open_with(ground, &BEHIND_A_PROXY).await;
    let (url, admin, bob) = (house.url(), Caller::of(&house.admin), house.joined_by("Bob").await);
    let shared = "203.0.113.9";
    let sign_in = |email: &str| json!({ "email": email, "password": PASSWORD });
    from(&url, shared).post("/sessions", sign_in("ann@example.org")).await.expect(201);
    let nobodys =
        ["10.0.0.5", "192.168.1.1", "100.64.0.1", "169.254.0.1", "127.0.0.1", "fd00::1", "fe80::1", "::1"];
    let theirs = ["203.0.113.7", "2001:db8:1:2:3::4"];
    for address in nobodys.iter().chain(&theirs).chain(&[shared]) {
        from(&url, address).post("/sessions", sign_in("bob@example.org")).await.expect(201);
    }
    let mut listener = bob.listens_to(house.lobby).await;
    let ban = format!("/users/{}/ban", bob.id);
    let banned = admin.put(&ban, json!({ "reason": "  spam " })).await.expect(200);
    assert_eq!(banned["status"], "banned");
    admin.says(house.lobby, "he is gone").await;
    assert_eq!(ends(&mut listener).await, (4502, Vec::new()));
    Caller::of(&bob).get("/me").await.is_problem(401, "token_revoked", None);
    Caller::nobody(&url).post("/sessions", sign_in("bob@example.org")).await.is_problem(
        401,
        "unauthenticated",
        None,
    );

    let bans = admin.get("/bans").await;
    assert_eq!(addresses(&bans), json!(["2001:db8:1:2::/64", "203.0.113.7"]));
    let listed = bans.expect(200)["bans"][0].clone();
    assert_eq!((&listed["user"]["name"], &listed["reason"]), (&json!("Bob"), &json!("spam")));
    assert_eq!(listed["banned_by"]["id"], house.admin.id);
    for address in ["203.0.113.7", "2001:db8:1:2::99", "::ffff:203.0.113.7"] {
        is_shut_out(&url, address).await;
    }
    for address in nobodys.iter().chain(&[shared, "203.0.113.8", "2001:db8:1:3::4"]) {
        is_let_in(&url, address).await;
    }
    // The same again changes nothing, and the status has no other way back.
    admin.put(&ban, json!({})).await.expect(200);
    assert_eq!(admin.get("/bans").await.expect(200)["bans"].as_array().map(Vec::len), Some(1));
    for status in ["active", "deactivated"] {
        let path = format!("/users/{}", bob.id);
        admin.patch(&path, json!({ "status": status })).await.is_problem(
            422,
            "invalid_payload",
            Some("status"),
        );
    }
    let lifted = admin.delete(&ban).await.expect(200);
    assert_eq!(lifted["status"], "active");
    is_let_in(&url, "203.0.113.7").await;
    is_let_in(&url, "2001:db8:1:2::99").await;
    assert_eq!(admin.get("/bans").await.expect(200), json!({ "bans": [], "next": null }));
    let back = Somebody::signs_in(&house, &from(&url, "203.0.113.7"), "bob@example.org").await;
    assert_eq!(back.rooms().await, [house.lobby]);
    admin.delete(&ban).await.expect(200);
    let told = Caller::of(&house.admin).get("/events?limit=500").await.expect(200)["events"].clone();
    let kinds: Vec<&str> =
        told.as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect();
    let times = |kind: &str| kinds.iter().filter(|told| **told == kind).count();
    assert_eq!((times("user.left"), times("user.joined")), (1, 3), "Ann, Bob, and Bob again");
});

/// Whoever is there already under another name doesn't stay.
#[tokio::test]
async fn a_ban_closes_what_is_open_from_there() {
    let flags = [&BEHIND_A_PROXY[..], &["--set", "metrics.token=for-tests"]].concat();
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let (url, admin) = (house.url(), Caller::of(&house.admin));
    let (bob, rob) = (house.joined_by("Bob").await, house.joined_by("Rob").await);
    let (there, elsewhere) = ("203.0.113.7", "203.0.113.8");
    // A guest, who doesn't hear that somebody left: that comes with the commit, a moment before the network is shut out.
    admin.patch(&format!("/users/{}", rob.id), json!({ "role": "guest" })).await.expect(200);
    admin.put(&format!("/rooms/{}/members/{}", house.lobby, rob.id), json!({})).await.expect(204);
    let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
    from(&url, there).post("/sessions", sign_in).await.expect(201);
    let mut sockets = Vec::new();
    for address in [there, elsewhere] {
        let mut tcp = dial(&url).await;
        let head = format!("{}X-Forwarded-For: {address}\r\n\r\n", upgrade(&url, &rob.credentials()));
        tcp.write_all(head.as_bytes()).await.expect("sent");
        let mut begun = [0; 12];
        timeout(PATIENCE, tcp.read_exact(&mut begun)).await.expect("in time").expect("answered");
        assert_eq!(&begun, b"HTTP/1.1 101");
        sockets.push(tcp);
    }
    let robs = Caller::of(&rob).with("x-forwarded-for", there);
    let after = robs.get("/events?after=9007199254740991").await.expect(200)["next"].clone();
    let poll = tokio::spawn(async move { robs.get(&format!("/events?after={after}&wait=20")).await });
    let operator = Caller::nobody(&url).bearing("for-tests");
    while !operator.sends("GET", "/metrics", None).await.text().contains("\nhearth_polls_waiting 1") {
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    admin.put(&format!("/users/{}/ban", bob.id), json!({})).await.expect(200);
    poll.await.expect("answered").is_problem(403, "banned", None);
    admin.says(house.lobby, "they are gone").await;
    let mut heard = Vec::new();
    timeout(PATIENCE, sockets[0].read_to_end(&mut heard)).await.expect("it is closed").expect("read");
    // A close frame with 4502, and nothing after it.
    assert!(heard.windows(2).any(|code| code == 4502_u16.to_be_bytes()), "{heard:?}");
    from(&url, elsewhere).get("/setup").await.expect(200);
    let mut more = [0; 64 * 1024];
    let open = timeout(std::time::Duration::from_millis(500), async {
        while sockets[1].read(&mut more).await.expect("read") > 0 {}
    });
    assert!(open.await.is_err(), "the other one stays");
}

/// What a ban shuts out stays so over a restart, and until each ban that names it is lifted.
#[tokio::test]
async fn a_ban_outlives_the_process() {
    let mut house = House::open_with(Ground::Sqlite, &BEHIND_A_PROXY).await;
    let url = house.url();
    let mut bans = Vec::new();
    for name in ["Bob", "Rob"] {
        let who = house.joined_by(name).await;
        let sign_in =
            json!({ "email": format!("{}@example.org", name.to_lowercase()), "password": PASSWORD });
        from(&url, "203.0.113.7").post("/sessions", sign_in).await.expect(201);
        bans.push(format!("/users/{}/ban", who.id));
    }
    for ban in &bans {
        Caller::of(&house.admin).put(ban, json!({})).await.expect(200);
    }
    house.server.restart().await.expect("restarts");
    let (url, admin) = (house.url(), Caller::of(&house.admin));
    is_shut_out(&url, "203.0.113.7").await;
    admin.delete(&bans[0]).await.expect(200);
    is_shut_out(&url, "203.0.113.7").await;
    admin.delete(&bans[1]).await.expect(200);
    is_let_in(&url, "203.0.113.7").await;
}

/// Another process on the same database learns of it by itself.
#[tokio::test]
async fn another_node_hears_of_a_ban() {
    let database = crate::postgres::database();
    let house = House::open_on(&database, &BEHIND_A_PROXY).await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let mut options = Options::new(crate::harness::binary(), directory.path().join("data"));
    options.args = BEHIND_A_PROXY.map(str::to_owned).to_vec();
    options.database_url = Some(database);
    let other = Server::start(options).await.expect("the other starts");
    let bob = house.joined_by("Bob").await;
    let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
    from(&house.url(), "203.0.113.7").post("/sessions", sign_in).await.expect(201);
    let there = from(&other.url(), "203.0.113.7");
    there.get("/setup").await.expect(200);
    let ban = format!("/users/{}/ban", bob.id);
    Caller::of(&house.admin).put(&ban, json!({})).await.expect(200);
    settles(403, async || there.get("/setup").await).await.is_problem(403, "banned", None);
    Caller::of(&house.admin).delete(&ban).await.expect(200);
    settles(200, async || there.get("/setup").await).await;
}
