//! Invitations: counted exactly, over when they are over, and what guests have to bring along.

use super::{Somebody, settles};
use crate::harness::{Ground, House, PASSWORD, on_both};
use crate::rest::caller::Caller;
use serde_json::{Value, json};

async fn invites(house: &House, terms: Value) -> Value {
    Caller::of(&house.admin).post("/invites", terms).await.expect(201)
}

fn code(invite: &Value) -> String {
    invite["code"].as_str().expect("a code").to_owned()
}

fn newcomer(n: usize) -> Value {
    json!({ "name": "New", "email": format!("new{n}@example.org"), "password": PASSWORD })
}

on_both!(fifty_at_once_and_three_come_in, async |ground| {
    let house = House::open(ground).await;
    let invite = invites(&house, json!({ "role": "guest", "max_uses": 3 })).await;
    let door = format!("/join/{}", code(&invite));
    let nobody = Caller::nobody(&house.url());
    let joins: Vec<_> = (0..50)
        .map(|n| {
            let (nobody, door) = (nobody.clone(), door.clone());
            tokio::spawn(async move { nobody.post(&door, json!({ "name": format!("Guest {n}") })).await })
        })
        .collect();
    let mut came_in = 0;
    for join in joins {
        let answer = join.await.expect("answered");
        match answer.status {
            201 => came_in += 1,
            _ => drop(answer.is_problem(410, "gone", None)),
        }
    }
    assert_eq!(came_in, 3);
    let admin = Caller::of(&house.admin);
    let listed = admin.get("/invites").await.expect(200)["invites"].clone();
    assert_eq!((&listed[0]["uses"], &listed[0]["max_uses"]), (&json!(3), &json!(3)));
    let users = admin.get("/users").await.expect(200)["users"].as_array().map(Vec::len);
    assert_eq!(users, Some(4), "nobody else was made");
    nobody.get(&door).await.is_problem(410, "gone", None);
});

on_both!(an_invitation_is_for_what_it_says, async |ground| {
    let house = House::open(ground).await;
    let (admin, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
    let den = house.closed_room("Den", &[]).await.id;
    let plain = invites(&house, json!({})).await;
    for (field, expected) in [
        ("role", json!("member")),
        ("room_ids", json!([])),
        ("expires_at", Value::Null),
        ("max_uses", Value::Null),
        ("uses", json!(0)),
    ] {
        assert_eq!(plain[field], expected, "{field}");
    }
    assert_eq!(plain["created_by"]["id"], house.admin.id);
    let link = format!("{}/join/{}", house.url(), code(&plain));
    assert_eq!(plain["url"], json!(link));
    let shown = nobody.get(&format!("/join/{}", code(&plain))).await.expect(200);
    assert_eq!(shown, json!({ "account": { "name": "House" }, "role": "member" }));

    let both = invites(&house, json!({ "role": "member", "room_ids": [den, house.lobby, den] })).await;
    assert_eq!(both["room_ids"], json!([house.lobby, den]));
    let bob = Somebody::joins(&house, &code(&both), newcomer(1)).await;
    assert_eq!(bob.rooms().await, [house.lobby, den]);
    let guests = invites(&house, json!({ "role": "guest", "room_ids": [house.lobby] })).await;
    let gus = Somebody::joins(&house, &code(&guests), json!({ "name": "Gus" })).await;
    assert_eq!(gus.calls.get("/me").await.expect(200)["role"], "guest");
    assert_eq!(gus.rooms().await, [house.lobby], "an open room, by its row");

    // A member brings an address, whoever taken.
    for (body, status, problem, field) in [
        (json!({ "name": "X" }), 422, "invalid_payload", "email"),
        (json!({ "name": "X", "email": "x@example.org" }), 422, "invalid_payload", "password"),
        (newcomer(1), 409, "email_taken", "email"),
    ] {
        let door = format!("/join/{}", code(&plain));
        nobody.post(&door, body).await.is_problem(status, problem, Some(field));
    }
    for (terms, field) in [
        (json!({ "role": "admin" }), "role"),
        (json!({ "role": "queen" }), "role"),
        (json!({ "room_ids": [999] }), "room_ids"),
        (json!({ "max_uses": 0 }), "max_uses"),
        (json!({ "expires_in_s": 0 }), "expires_in_s"),
    ] {
        admin.post("/invites", terms).await.is_problem(422, "invalid_payload", Some(field));
    }
    let inbox = admin.get("/events?limit=500").await.expect(200)["events"][1]["room_id"].clone();
    admin.post("/invites", json!({ "room_ids": [inbox] })).await.is_problem(
        422,
        "invalid_payload",
        Some("room_ids"),
    );
    for who in [&bob.calls, &gus.calls] {
        who.get("/invites").await.is_problem(403, "forbidden", None);
        who.post("/invites", json!({})).await.is_problem(403, "forbidden", None);
    }

    // Taken back, run out, unknown.
    let id = plain["id"].as_u64().expect("an id");
    for _ in 0..2 {
        admin.delete(&format!("/invites/{id}")).await.expect(204);
    }
    admin.delete("/invites/999").await.is_problem(404, "not_found", None);
    let short = invites(&house, json!({ "expires_in_s": 1 })).await;
    let listed = admin.get("/invites?limit=2").await.expect(200);
    assert_eq!(listed["invites"][0]["id"], short["id"], "the newest first");
    let next = listed["next"].as_str().expect("more").to_owned();
    let rest = admin.get(&format!("/invites?limit=2&cursor={next}")).await.expect(200);
    assert_eq!(
        (&rest["invites"][0]["id"], &rest["next"]),
        (&both["id"], &Value::Null),
        "without those taken back"
    );
    for ended in [&plain, &short] {
        let door = format!("/join/{}", code(ended));
        settles(410, async || nobody.get(&door).await).await.is_problem(410, "gone", None);
        nobody.post(&door, newcomer(9)).await.is_problem(410, "gone", None);
    }
    for wrong in ["/join/aaaa-bbbb-cccc", "/join/%00", "/join/x'y"] {
        nobody.get(wrong).await.is_problem(404, "not_found", None);
        nobody.post(wrong, newcomer(9)).await.is_problem(404, "not_found", None);
    }
});

on_both!(the_standing_code_can_be_changed, async |ground| {
    let house = House::open(ground).await;
    let (admin, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
    let old = code_of(&admin.get("/account").await.expect(200));
    let new = code_of(&admin.post("/account/join-code", json!({})).await.expect(200));
    assert_ne!(old, new);
    assert!(new.len() >= 14, "nobody guesses it: {new}");
    assert_eq!(code_of(&admin.get("/account").await.expect(200)), new);
    nobody.get(&format!("/join/{old}")).await.is_problem(404, "not_found", None);
    nobody.post(&format!("/join/{old}"), newcomer(1)).await.is_problem(404, "not_found", None);
    let bob = Somebody::joins(&house, &new, newcomer(1)).await;
    bob.calls.post("/account/join-code", json!({})).await.is_problem(403, "forbidden", None);
});

fn code_of(account: &Value) -> String {
    account["join_code"].as_str().expect("a code").to_owned()
}

on_both!(
    /// Proves AUTH-17.
    a_guest_says_a_name_of_one_to_twenty_characters,
    async |ground| {
        let house = House::open(ground).await;
        let invite = invites(&house, json!({ "role": "guest" })).await;
        let (door, nobody) = (format!("/join/{}", code(&invite)), Caller::nobody(&house.url()));
        for wrong in ["", "  ", "a\u{0}b", "a\u{7}b", "a\nb", "123456789012345678901", &"é".repeat(21)] {
            nobody.post(&door, json!({ "name": wrong })).await.is_problem(422, "invalid_payload", Some("name"));
        }
        for wrong in [json!({}), json!({ "name": null }), json!({ "name": 7 })] {
            nobody.post(&door, wrong).await.is_problem(422, "invalid_payload", Some("name"));
        }
        for fine in ["x", "  Zoë  ", &"é".repeat(20)] {
            let guest = Somebody::joins(&house, &code(&invite), json!({ "name": fine })).await;
            let me = guest.calls.get("/me").await.expect(200);
            assert_eq!((&me["name"], &me["email"]), (&json!(fine.trim()), &Value::Null));
            // Later, too, and a socket that is open outlives it.
            let mut socket = guest.connects().await;
            let long = json!({ "name": "123456789012345678901" });
            guest.calls.patch("/me", long).await.is_problem(422, "invalid_payload", Some("name"));
            assert_eq!(socket.asks("presence.set", json!({ "state": "active" })).await, json!({}));
        }
        // With an address and a password they may sign in again.
        let whole = json!({ "name": "Gus", "email": "gus@example.org", "password": PASSWORD });
        Somebody::joins(&house, &code(&invite), whole).await;
        let back = Somebody::signs_in(&house, &nobody, "gus@example.org").await;
        assert_eq!(back.calls.get("/me").await.expect(200)["role"], "guest");
        let half = json!({ "name": "Gus", "email": "gus2@example.org" });
        nobody.post(&door, half).await.is_problem(422, "invalid_payload", Some("password"));
    }
);

/// Wherever the request says that it goes: the admin hands the link on.
#[tokio::test]
async fn an_invitation_leads_to_us() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let base = |invite: &Value| {
        let url = invite["url"].as_str()?;
        let (base, shown) = url.split_once("/join/").expect("a way in");
        assert_eq!(shown, code(invite));
        Some(base.to_owned())
    };
    let listed = async |by: &Caller| base(&by.get("/invites").await.expect(200)["invites"][0]);
    for (header, value) in
        [("host", "evil.test"), ("x-forwarded-host", "evil.test"), ("forwarded", "host=evil.test")]
    {
        let forged = ann.with(header, value);
        let made = forged.post("/invites", json!({})).await.expect(201);
        assert_eq!(base(&made), Some(house.url()), "{header}");
        assert_eq!(listed(&forged).await, None, "{header}: nobody knows");
    }
    let here = ann.with("origin", "http://hearth.lan:8080").with("host", "hearth.lan:8080");
    let made = here.post("/invites", json!({})).await.expect(201);
    assert_eq!(base(&made).as_deref(), Some("http://hearth.lan:8080"), "where the browser is");
    let before = ann.get("/invites").await.expect(200)["invites"].as_array().map(Vec::len);
    for (origin, host) in [("https://evil.test", "hearth.lan"), ("http://hearth.lan", "evil.test")] {
        let strange = ann.with("origin", origin).with("host", host);
        strange.post("/invites", json!({})).await.is_problem(403, "forbidden", None);
        strange.get("/invites").await.is_problem(403, "forbidden", None);
    }
    assert_eq!(ann.get("/invites").await.expect(200)["invites"].as_array().map(Vec::len), before);

    let public = ["--public-url", "https://chat.example.org"];
    let (server, _dir) = crate::harness::empty(Ground::Sqlite, &public).await;
    let nobody = Caller::nobody(&server.url());
    let first =
        json!({ "account_name": "House", "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
    let ann = nobody.with("cookie", &nobody.post("/setup", first).await.cookie());
    for host in ["evil.test", "chat.example.org", "127.0.0.1"] {
        let ann = ann.with("host", host);
        let made = ann.post("/invites", json!({})).await.expect(201);
        assert_eq!(base(&made).as_deref(), Some(public[1]), "{host}");
        assert_eq!(listed(&ann).await.as_deref(), Some(public[1]), "{host}");
    }
}
