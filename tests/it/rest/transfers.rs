//! To another device, or back in, by a link: once, not for long, and never by a forged one.

use super::caller::{Answer, Caller};
use crate::harness::{Ground, House, Listener, PASSWORD, PATIENCE, Person, on_both};
use loadtest::socket::{Frame, Socket};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Instant;

/// Makes a link; what is answered.
async fn link_of(person: &Caller) -> Value {
    person.post("/transfers", json!({})).await.expect(201)
}

/// The token of a link, as the page reads it.
fn token_of(link: &Value) -> String {
    let url = link["url"].as_str().expect("a link");
    url.split_once("/transfer#").expect("a fragment").1.to_owned()
}

async fn redeems(nobody: &Caller, token: &str) -> Answer {
    nobody.post("/transfers/redeem", json!({ "token": token })).await
}

async fn looks(nobody: &Caller, token: &str) -> Answer {
    nobody.post("/transfers/look", json!({ "token": token })).await
}

async fn sessions_of(caller: &Caller) -> Vec<Value> {
    caller.get("/sessions").await.expect(200)["sessions"].as_array().expect("a list").clone()
}

on_both!(
    /// Proves AUTH-10.
    fifty_at_once_are_one,
    async |ground| {
        let house = House::open(ground).await;
        let bob = Caller::of(&house.joined_by("Bob").await);
        let link = link_of(&bob).await;
        let token = token_of(&link);
        let phones: Vec<_> = (0..50)
            .map(|_| {
                let (phone, token) = (Caller::nobody(&house.url()), token.clone());
                tokio::spawn(async move { redeems(&phone, &token).await })
            })
            .collect();
        let mut winners = Vec::new();
        for phone in phones {
            let answer = phone.await.expect("answered");
            match answer.status {
                201 => winners.push(answer),
                _ => {
                    answer.is_problem(410, "gone", None);
                    assert_eq!(answer.header("set-cookie"), None);
                }
            }
        }
        let [winner] = winners.as_slice() else { panic!("{} got in", winners.len()) };
        let made = winner.json();
        assert_eq!((&made["user"]["name"], &made["session"]["begun_by"]), (&json!("Bob"), &json!("transfer")));
        let phone = Caller::nobody(&house.url()).with("cookie", &winner.cookie());
        assert_eq!(phone.get("/me").await.expect(200)["name"], "Bob");
        assert_eq!(sessions_of(&bob).await.len(), 2, "one more");
        // For ever.
        redeems(&Caller::nobody(&house.url()), &token).await.is_problem(410, "gone", None);
        looks(&Caller::nobody(&house.url()), &token).await.is_problem(410, "gone", None);
        assert_eq!(sessions_of(&bob).await.len(), 2);
    }
);

on_both!(
    /// Proves AUTH-12.
    whoever_only_fetches_it_uses_nothing_up,
    async |ground| {
        let house = House::open(ground).await;
        let bob = house.joined_by("Bob").await;
        let (id, bob) = (bob.id, Caller::of(&bob));
        let link = link_of(&bob).await;
        let url = link["url"].as_str().expect("a link");
        assert!(url.starts_with(&format!("{}/transfer#htl.", house.url())), "{url}");
        assert_eq!(link["kind"], "device");
        assert_eq!(link["qr"].as_str(), hearth::transport::qr::svg(url).as_deref(), "the picture of this very link");
        let (nobody, token) = (Caller::nobody(&house.url()), token_of(&link));
        for _ in 0..3 {
            for method in ["GET", "HEAD"] {
                // What a preview sends: a browser keeps the fragment to itself.
                let page = nobody.sends(method, "/transfer", None).await;
                assert_eq!(page.status, 200);
                // And what a clumsy one might.
                nobody.sends(method, &format!("/transfer?{token}"), None).await;
                for path in ["/transfers", "/transfers/look", "/transfers/redeem"] {
                    let path = format!("/api/v1{path}?token={token}");
                    assert_eq!(nobody.sends(method, &path, None).await.status, 405);
                }
            }
            let seen = looks(&nobody, &token).await.expect(200);
            let expected = json!({
                "user": { "id": id, "name": "Bob" }, "account": { "name": "House" }, "kind": "device", "expires_at": link["expires_at"],
            });
            assert_eq!(seen, expected);
        }
        redeems(&nobody, &token).await.expect(201);
        assert!(!house.log().contains(&token), "it is in no log");
    }
);

on_both!(
    /// Whoever comes too late is in the audit trail, but nobody fills it with one link; what we never signed is no news.
    refused_links_are_noted_and_not_without_end,
    async |ground| {
        let house = House::open_with(ground, &["--set", "limits.account_failures=3"]).await;
        let (ann, bob) = (Caller::of(&house.admin), house.joined_by("Bob").await);
        let (id, bob) = (bob.id, Caller::of(&bob));
        let nobody = Caller::nobody(&house.url());
        let refused = async || {
            let page = ann.get("/audit?action=transfer.refused").await.expect(200);
            let entries = page["entries"].as_array().expect("entries").clone();
            entries.into_iter().map(|entry| (entry["actor"].clone(), entry["target"].clone(), entry["detail"].clone()))
                .collect::<Vec<_>>()
        };
        let replaced = token_of(&link_of(&bob).await);
        let token = token_of(&link_of(&bob).await);
        redeems(&nobody, &replaced).await.is_problem(410, "gone", None);
        assert_eq!(refused().await, [(Value::Null, Value::Null, json!({ "reason": "over" }))]);
        redeems(&nobody, &token).await.expect(201);
        for _ in 0..5 {
            redeems(&nobody, &token).await.is_problem(410, "gone", None);
            looks(&nobody, &token).await.is_problem(410, "gone", None);
            redeems(&nobody, "htl.forged").await.is_problem(404, "not_found", None);
        }
        let noted = refused().await;
        assert_eq!(noted.len(), 1 + 3, "{noted:?}");
        let (_, target, detail) = &noted[0];
        assert_eq!(target["kind"], "transfer");
        assert_eq!(detail, &json!({ "reason": "used", "for": id.to_string() }));
        let made = ann.get("/audit?action=transfer.redeemed").await.expect(200);
        assert_eq!(made["entries"][0]["target"], *target, "the very link");
    }
);

on_both!(
    /// No job has cleared anything away.
    ///
    /// Proves AUTH-11.
    an_expired_link_is_refused_without_any_job,
    async |ground| {
        let house =
            House::open_with(ground, &["--set", "auth.transfer_s=1", "--set", "cleanup.every_s=0"]).await;
        let (ann, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
        let token = token_of(&link_of(&ann).await);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = looks(&nobody, &token).await;
            match seen.status {
                200 => assert!(Instant::now() < deadline, "it never ends"),
                _ => break drop(seen.is_problem(410, "gone", None)),
            }
        }
        redeems(&nobody, &token).await.is_problem(410, "gone", None);
        assert_eq!(sessions_of(&ann).await.len(), 1);
        assert!(house.metric("hearth_cleared_total", "transfers").await < 0.5);
    }
);

on_both!(
    /// Proves AUTH-11.
    a_link_that_was_cleared_away_is_gone_all_the_same,
    async |ground| {
        let house =
            House::open_with(ground, &["--set", "auth.transfer_s=1", "--set", "cleanup.every_s=1"]).await;
        let (ann, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
        let bob = Caller::of(&house.joined_by("Bob").await);
        let first = token_of(&link_of(&ann).await);
        // The newest stays until there is a newer one.
        link_of(&bob).await;
        house.metric_becomes("hearth_cleared_total", "kind=\"transfers\"", 1.0).await;
        redeems(&nobody, &first).await.is_problem(410, "gone", None);
        looks(&nobody, &first).await.is_problem(410, "gone", None);
    }
);

#[tokio::test]
async fn what_we_never_signed_is_unknown() {
    let house = House::open(Ground::Sqlite).await;
    let other = House::open(Ground::Sqlite).await;
    let nobody = Caller::nobody(&house.url());
    let token = token_of(&link_of(&Caller::of(&house.admin)).await);
    let theirs = token_of(&link_of(&Caller::of(&other.admin)).await);
    let (signed, mac) = token.rsplit_once('.').expect("a signature");
    let (_, mac_of_theirs) = theirs.rsplit_once('.').expect("a signature");
    for forged in [
        String::new(),
        "x".to_owned(),
        "htl.x.x".to_owned(),
        theirs.clone(),
        format!("{signed}.{mac_of_theirs}"),
        format!("{signed}.{}", mac.to_lowercase()),
        format!("hat{}", token.strip_prefix("htl").expect("a kind")),
        format!("{token}="),
        format!(" {token}"),
        "x".repeat(10_000),
    ] {
        redeems(&nobody, &forged).await.is_problem(404, "not_found", None);
        looks(&nobody, &forged).await.is_problem(404, "not_found", None);
    }
    for body in [json!({}), json!({ "token": 1 }), json!({ "token": null })] {
        nobody.post("/transfers/redeem", body.clone()).await.is_problem(
            422,
            "invalid_payload",
            Some("token"),
        );
        nobody.post("/transfers/look", body).await.is_problem(422, "invalid_payload", Some("token"));
    }
    redeems(&nobody, &token).await.expect(201);
}

/// Signing in somebody who didn't want it is an attack as well.
///
/// Proves AUTH-02.
#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in() {
    let house = House::open(Ground::Sqlite).await;
    let token = token_of(&link_of(&Caller::of(&house.admin)).await);
    let nobody = Caller::nobody(&house.url());
    let form = format!(r#"{{"token":"{token}","x":"="}}"#).into_bytes();
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"] {
        for (header, value) in
            [("origin", "https://evil.test"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let victim = nobody.with(header, value);
            for path in ["/api/v1/transfers/redeem", "/api/v1/transfers/look"] {
                let answer = victim.sends("POST", path, Some((kind, form.clone()))).await;
                answer.is_problem(403, "forbidden", None);
                assert_eq!(answer.header("set-cookie"), None);
            }
        }
    }
    let own = nobody.with("origin", &house.url()).with("sec-fetch-site", "same-origin");
    redeems(&own, &token).await.expect(201);
}

// What the old device hears; what the new one starts from; how it goes again.
on_both!(
    /// Proves AUTH-13, AUTH-14.
    the_old_device_hears_of_the_new_one,
    async |ground| {
        let house = House::open(ground).await;
        let (room, bob) = (house.lobby, house.joined_by("Bob").await);
        let (desk, ann) = (Caller::of(&bob), Caller::of(&house.admin));
        ann.says(room, "one").await;
        let mut at_desk = bob.connects().await;
        let welcome = at_desk.socket.welcome().clone();
        let inbox = welcome.rooms.iter().find(|room| room.kind == "inbox").expect("an inbox").room_id;
        at_desk.joins(inbox, None).await;
        at_desk.joins(room, None).await;
        let head = welcome.rooms.iter().find(|one| one.room_id == room).expect("the lobby").head;
        desk.put(&format!("/rooms/{room}/read"), json!({ "seq": head })).await.expect(200);
        assert_eq!(at_desk.hears().await.kind, "read.marked");
        ann.says(room, "two").await;
        assert_eq!(at_desk.hears_message().await, "two");

        let token = token_of(&link_of(&desk).await);
        let phone = Caller::nobody(&house.url()).with("user-agent", "Phone/1.0");
        let answer = redeems(&phone, &token).await;
        let session = answer.expect(201)["session"].clone();
        let begun = at_desk.hears().await;
        assert_eq!((begun.kind.as_str(), begun.room_id), ("session.begun", inbox));
        let told = json!({
            "id": session["id"], "device": "Phone/1.0", "begun_by": "transfer", "created_at": session["created_at"],
        });
        assert_eq!(begun.json["data"]["session"], told);
        let listed = sessions_of(&desk).await;
        let entry = listed.iter().find(|one| one["id"] == session["id"]).expect("is listed");
        assert_eq!((&entry["device"], &entry["current"]), (&json!("Phone/1.0"), &json!(false)));

        // Nothing of the old socket is needed: all there is, how far it was read, and what comes after.
        let cookie = Credentials::Cookie(answer.cookie());
        let socket = Socket::connect(&house.url(), &cookie).await.expect("connects");
        let mut in_hand = Listener { socket };
        let rooms = in_hand.socket.welcome().rooms.clone();
        let ids = |rooms: &[loadtest::socket::WelcomeRoom]| -> HashSet<u64> { rooms.iter().map(|room| room.room_id).collect() };
        assert_eq!(ids(&rooms), ids(&welcome.rooms));
        let lobby = rooms.iter().find(|one| one.room_id == room).expect("the lobby");
        assert_eq!((lobby.head, lobby.read, lobby.unread), (head + 1, head, 1));
        let joined = in_hand.joins(room, Some(lobby.read)).await;
        let missed = crate::harness::missed(&joined);
        assert_eq!(missed.iter().map(|event| event.seq).collect::<Vec<_>>(), [head + 1]);
        drop(at_desk);
        ann.says(room, "three").await;
        assert_eq!(in_hand.hears_message().await, "three");

        desk.delete("/sessions").await.expect(204);
        let code = loop {
            match in_hand.socket.next().await {
                Err(loadtest::socket::SocketError::Closed { code, .. }) => break code,
                Ok(Frame::Signal { .. }) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, 4501);
        phone.with("cookie", &answer.cookie()).get("/me").await.is_problem(401, "token_revoked", None);
        assert_eq!(sessions_of(&desk).await.len(), 1);
    }
);

on_both!(an_admin_lets_somebody_back_in, async |ground| {
    let house = House::open(ground).await;
    let bob = house.joined_by("Bob").await;
    let (ann, desk, nobody) = (Caller::of(&house.admin), Caller::of(&bob), Caller::nobody(&house.url()));
    let door = format!("/users/{}/transfers", bob.id);
    let link = ann.post(&door, json!({})).await.expect(201);
    assert_eq!(link["kind"], "recovery");
    let token = token_of(&link);
    assert_eq!(looks(&nobody, &token).await.expect(200)["kind"], "recovery");
    let answer = redeems(&nobody, &token).await;
    let made = answer.expect(201);
    assert_eq!((&made["user"]["id"], &made["session"]["begun_by"]), (&json!(bob.id), &json!("recovery")));
    redeems(&nobody, &token).await.is_problem(410, "gone", None);
    // The other devices stay until the password is another.
    assert_eq!(sessions_of(&desk).await.len(), 2);
    let back = nobody.with("cookie", &answer.cookie());
    back.put("/me/password", json!({ "new_password": "another horse battery" })).await.expect(204);
    desk.get("/me").await.is_problem(401, "token_revoked", None);
    let sign_in = |password: &str| json!({ "email": "bob@example.org", "password": password });
    nobody.post("/sessions", sign_in(PASSWORD)).await.is_problem(401, "unauthenticated", None);
    let desk = nobody.post("/sessions", sign_in("another horse battery")).await;
    desk.expect(201);
    let desk = nobody.with("cookie", &desk.cookie());

    let robot = house.admin.client.create_bot("Robot").await.expect("a bot");
    let bot = Caller::nobody(&house.url()).bearing(&robot.key);
    for (who, user, status, code) in [
        (&desk, house.admin.id, 403, "forbidden"),
        (&desk, bob.id, 403, "forbidden"),
        (&bot, bob.id, 403, "forbidden"),
        (&nobody, bob.id, 401, "unauthenticated"),
        (&ann, house.admin.id, 403, "forbidden"),
        (&ann, robot.id, 403, "forbidden"),
        (&ann, 999_999, 404, "not_found"),
    ] {
        who.post(&format!("/users/{user}/transfers"), json!({})).await.is_problem(status, code, None);
    }
    bot.post("/transfers", json!({})).await.is_problem(403, "forbidden", None);
    nobody.post("/transfers", json!({})).await.is_problem(401, "unauthenticated", None);
});

on_both!(a_new_link_ends_the_one_before, async |ground| {
    let house = House::open(ground).await;
    let (ann, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
    let first = token_of(&link_of(&ann).await);
    let second = token_of(&link_of(&ann).await);
    assert_ne!(first, second);
    redeems(&nobody, &first).await.is_problem(410, "gone", None);
    redeems(&nobody, &second).await.expect(201);
    // Whoever signs the others out doesn't want them back by a link they made.
    let third = token_of(&link_of(&ann).await);
    ann.delete("/sessions").await.expect(204);
    redeems(&nobody, &third).await.is_problem(410, "gone", None);
});

/// Wherever the request says that it goes.
#[tokio::test]
async fn a_link_leads_to_us() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let base =
        |link: &Value| link["url"].as_str().expect("a link").split("/transfer#").next().map(str::to_owned);
    for (header, value) in
        [("host", "evil.test"), ("x-forwarded-host", "evil.test"), ("forwarded", "host=evil.test")]
    {
        assert_eq!(base(&link_of(&ann.with(header, value)).await), Some(house.url()), "{header}");
    }
    let here = ann.with("origin", "http://hearth.lan:8080").with("host", "hearth.lan:8080");
    assert_eq!(
        base(&link_of(&here).await).as_deref(),
        Some("http://hearth.lan:8080"),
        "where the browser is"
    );
    for (origin, host) in [("https://evil.test", "hearth.lan"), ("http://hearth.lan", "evil.test")] {
        let strange = ann.with("origin", origin).with("host", host);
        strange.post("/transfers", json!({})).await.is_problem(403, "forbidden", None);
    }
    let public = ["--public-url", "https://chat.example.org"];
    let (server, _dir) = crate::harness::empty(Ground::Sqlite, &public).await;
    let nobody = Caller::nobody(&server.url());
    let first =
        json!({ "account_name": "House", "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
    let ann = nobody.with("cookie", &nobody.post("/setup", first).await.cookie());
    for host in ["evil.test", "chat.example.org", "127.0.0.1"] {
        assert_eq!(base(&link_of(&ann.with("host", host)).await).as_deref(), Some(public[1]), "{host}");
    }
}

/// Whoever holds a link learns a name and nothing more by it.
#[tokio::test]
async fn no_answer_of_a_link_is_kept() {
    let house = House::open(Ground::Sqlite).await;
    let person: &Person = &house.admin;
    let made = Caller::of(person).post("/transfers", json!({})).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let token = token_of(&made.expect(201));
    let nobody = Caller::nobody(&house.url());
    assert_eq!(looks(&nobody, &token).await.header("cache-control"), Some("no-store"));
    assert_eq!(redeems(&nobody, &token).await.header("cache-control"), Some("no-store"));
}
