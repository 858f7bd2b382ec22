//! Coming in and going out: first run, invitation, sign-in, sessions, and the cookie of it all.

use super::caller::{Answer, Caller};
use crate::harness::{Ground, House, Listener, PASSWORD, empty, on_both};
use loadtest::socket::{Frame, Socket, SocketError};
use loadtest::wire::Credentials;
use serde_json::{Value, json};

fn somebody(name: &str, email: &str) -> Value {
    json!({ "account_name": "House", "name": name, "email": email, "password": PASSWORD })
}

fn is_guarded(answer: &Answer, tls: bool) {
    let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", answer.text()));
    let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
    for wanted in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(attributes.contains(&wanted), "{wanted}: {cookie}");
    }
    assert_eq!(attributes.contains(&"Secure"), tls, "{cookie}");
    assert_eq!(cookie.starts_with("__Host-"), tls, "{cookie}");
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(answer.header("strict-transport-security").is_some(), tls);
}

/// Proves AUTH-01.
#[tokio::test]
async fn every_set_cookie_is_guarded() {
    for tls in [false, true] {
        // Without a span to save touches in, every use of a session renews it.
        let mut args = vec!["--set", "auth.touch_s=0"];
        args.extend(if tls { &["--public-url", "https://chat.example.org"][..] } else { &[] });
        let (server, _dir) = empty(Ground::Sqlite, &args).await;
        let nobody = Caller::nobody(&server.url());
        let set_up = nobody.post("/setup", somebody("Ann", "ann@example.org")).await;
        set_up.expect(201);
        is_guarded(&set_up, tls);
        let ann = nobody.with("cookie", &set_up.cookie());
        let used = ann.get("/account").await;
        is_guarded(&used, tls);
        assert_eq!(used.cookie(), set_up.cookie(), "the same session, longer");
        let code = used.expect(200)["join_code"].as_str().expect("a code").to_owned();
        let joined = nobody.post(&format!("/join/{code}"), somebody("Bob", "bob@example.org")).await;
        joined.expect(201);
        is_guarded(&joined, tls);
        let signed_in = nobody.post("/sessions", somebody("", "ann@example.org")).await;
        signed_in.expect(201);
        is_guarded(&signed_in, tls);
        assert_ne!(signed_in.cookie(), set_up.cookie());
        let signed_out = ann.delete("/sessions/current").await;
        signed_out.expect(204);
        is_guarded(&signed_out, tls);
        assert!(signed_out.header("set-cookie").expect("a cookie").contains("Max-Age=0"));
        assert!(signed_out.cookie().ends_with('='), "nothing is left in it");
    }
}

on_both!(
    /// Proves DB-13.
    parallel_first_runs_are_one,
    async |ground| {
        let (server, _dir) = empty(ground, &[]).await;
        let nobody = Caller::nobody(&server.url());
        assert_eq!(nobody.get("/setup").await.expect(200), json!({ "needed": true }));
        let runs: Vec<_> = (0..8)
            .map(|n| {
                let nobody = nobody.clone();
                tokio::spawn(async move {
                    nobody.post("/setup", somebody("Ann", &format!("ann{n}@example.org"))).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        for run in runs {
            let answer = run.await.expect("answered");
            match answer.status {
                201 => winners.push(answer),
                _ => drop(answer.is_problem(409, "already_set_up", None)),
            }
        }
        let [winner] = winners.as_slice() else { panic!("{} first runs", winners.len()) };
        let made = winner.json();
        assert_eq!(
            (&made["account"]["name"], &made["user"]["role"], &made["room"]["name"]),
            (&json!("House"), &json!("admin"), &json!("General"))
        );
        assert_eq!(nobody.get("/setup").await.expect(200), json!({ "needed": false }));
        let people = nobody.with("cookie", &winner.cookie()).get("/users").await.expect(200);
        assert_eq!(people["users"].as_array().map(Vec::len), Some(1));
    }
);

on_both!(one_joins_by_the_code, async |ground| {
    let house = House::open(ground).await;
    let nobody = Caller::nobody(&house.url());
    let code = Caller::of(&house.admin).get("/account").await.expect(200)["join_code"].clone();
    let door = format!("/join/{}", code.as_str().expect("a code"));
    assert_eq!(
        nobody.get(&door).await.expect(200),
        json!({ "account": { "name": "House" }, "role": "member" })
    );
    for wrong in ["/join/x", "/join/%00", "/join/aaaa-bbbb-cccc"] {
        nobody.get(wrong).await.is_problem(404, "not_found", None);
        nobody.post(wrong, somebody("Bob", "bob@example.org")).await.is_problem(404, "not_found", None);
    }
    let joined = nobody.post(&door, somebody("Bob", "Bob@Example.org")).await;
    let user = joined.expect(201)["user"].clone();
    assert_eq!((&user["role"], &user["email"]), (&json!("member"), &json!("bob@example.org")));
    let bob = nobody.with("cookie", &joined.cookie());
    assert_eq!(bob.get("/me").await.expect(200), user);
    assert_eq!(bob.get("/account").await.expect(200).get("join_code"), None, "for admins");
    for taken in ["bob@example.org", " BOB@example.org "] {
        nobody.post(&door, somebody("Rob", taken)).await.is_problem(409, "email_taken", Some("email"));
    }
    let long = "x".repeat(257);
    for (field, wrong) in [
        ("name", " "),
        ("name", "a\u{7}b"),
        ("email", "bob"),
        ("email", "a b@example.org"),
        ("password", "seven77"),
        ("password", &long),
    ] {
        let mut newcomer = somebody("Eve", "eve@example.org");
        newcomer[field] = json!(wrong);
        nobody.post(&door, newcomer.clone()).await.is_problem(422, "invalid_payload", Some(field));
        newcomer.as_object_mut().expect("an object").remove(field);
        nobody.post(&door, newcomer).await.is_problem(422, "invalid_payload", Some(field));
    }
    // Joining twice at once with one address makes one user.
    let twice = [0, 1].map(|_| {
        let (nobody, door) = (nobody.clone(), door.clone());
        tokio::spawn(async move { nobody.post(&door, somebody("Eve", "eve@example.org")).await.status })
    });
    let mut statuses = Vec::new();
    for one in twice {
        statuses.push(one.await.expect("answered"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
});

on_both!(a_wrong_password_and_an_unknown_address_get_the_same_answer, async |ground| {
    let house = House::open(ground).await;
    let nobody = Caller::nobody(&house.url());
    let tries = async |email: &str, password: &str| {
        let answer = nobody.post("/sessions", json!({ "email": email, "password": password })).await;
        let mut problem = answer.is_problem(401, "unauthenticated", None);
        problem.as_object_mut().expect("an object").remove("trace_id");
        (problem, answer.header_names())
    };
    let wrong = tries("ann@example.org", "wrong password").await;
    for (email, password) in [
        ("nobody@example.org", PASSWORD),
        ("no address", PASSWORD),
        ("", ""),
        ("ann@example.org", ""),
        ("ann@example.org\0", PASSWORD),
    ] {
        assert_eq!(tries(email, password).await, wrong, "{email:?}");
    }
    let right = json!({ "email": " ANN@example.org ", "password": PASSWORD });
    let answer = nobody.post("/sessions", right).await.expect(201);
    assert_eq!(
        (&answer["user"]["id"], &answer["session"]["current"]),
        (&json!(house.admin.id), &json!(true))
    );
});

on_both!(
    /// Proves AUTH-15.
    a_session_that_is_ended_hears_nothing_more,
    async |ground| {
        let house = House::open(ground).await;
        let room = house.lobby;
        let bob = house.joined_by("Bob").await;
        let here = Caller::of(&bob);
        let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
        let phone = Caller::nobody(&house.url()).with("user-agent", "Phone/1.0");
        let answer = phone.post("/sessions", sign_in).await;
        let session = answer.expect(201)["session"]["id"].as_u64().expect("an id");
        let cookie = answer.cookie();
        let phone = phone.with("cookie", &cookie);

        let listed = here.get("/sessions").await.expect(200);
        let sessions = listed["sessions"].as_array().expect("a list");
        let of = |id: u64| sessions.iter().find(|one| one["id"] == id).expect("is listed");
        assert_eq!((sessions.len(), &listed["next"]), (2, &Value::Null));
        assert_eq!((&of(session)["device"], &of(session)["current"]), (&json!("Phone/1.0"), &json!(false)));
        let other = sessions.iter().find(|one| one["current"] == true).expect("this one");
        assert!(other["created_at"].is_string() && other["last_active_at"].is_string());

        let socket = Socket::connect(&house.url(), &Credentials::Cookie(cookie)).await.expect("connects");
        let mut pocket = Listener { socket };
        pocket.joins(room, None).await;
        let mut desk = bob.listens_to(room).await;
        let path = format!("/sessions/{session}");
        Caller::of(&house.admin).delete(&path).await.is_problem(404, "not_found", None);
        here.delete("/sessions/x").await.is_problem(404, "not_found", None);
        here.delete(&path).await.expect(204);
        Caller::of(&house.admin).says(room, "Bob's phone is lost").await;
        loop {
            match pocket.socket.next().await {
                Err(SocketError::Closed { code, .. }) => break assert_eq!(code, 4501),
                Ok(Frame::Signal { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(desk.hears_message().await, "Bob's phone is lost", "the others stay");
        phone.get("/me").await.is_problem(401, "token_revoked", None);
        here.delete(&path).await.is_problem(404, "not_found", None);
        assert_eq!(here.get("/sessions").await.expect(200)["sessions"].as_array().map(Vec::len), Some(1));
        here.delete("/sessions/current").await.expect(204);
        assert_eq!(desk.is_closed().await, 4501);
        here.get("/me").await.is_problem(401, "token_revoked", None);
    }
);
