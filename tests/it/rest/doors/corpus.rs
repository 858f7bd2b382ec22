//! What is asked of both doors, and what has to come of it.

use super::{Ask, World};
use serde_json::{Value, json};
use uuid::Uuid;

/// Why it is refused: code and field; none when it isn't.
type Expected = Option<(&'static str, Option<&'static str>)>;

/// Who asks for what, and what comes of it.
pub(super) type Case = (&'static str, Ask, Expected);

pub(super) const FINE: Expected = None;

fn wrong(field: &'static str) -> Expected {
    Some(("invalid_payload", Some(field)))
}

pub(super) const fn no(code: &'static str) -> Expected {
    Some((code, None))
}

fn post(room: i64, body: &str) -> Ask {
    Ask::Post { room, key: json!(Uuid::new_v4()), body: json!(body) }
}

pub(super) fn posts(world: &World) -> Vec<Case> {
    let den = world.den;
    let with = |body: Value| Ask::Post { room: den, key: json!(Uuid::new_v4()), body };
    let keyed = |key: Value, body: &str| Ask::Post { room: den, key, body: json!(body) };
    let known = json!(Uuid::new_v4());
    let most = "é".repeat(8192);
    vec![
        ("Ann", post(den, "plain"), FINE),
        ("Bob", post(den, "👋🏽 👩‍👩‍👧 \u{202e}x\n\ttab"), FINE),
        ("Cleo", post(den, " padded "), FINE),
        ("Robot", post(world.house.lobby as i64, "beep"), FINE),
        ("Bob", post(den, &most), FINE),
        ("Bob", post(den, &format!("{most}x")), Some(("too_large", Some("body")))),
        ("Bob", post(den, ""), wrong("body")),
        ("Bob", post(den, " \n\u{a0}\t"), wrong("body")),
        ("Bob", post(den, "a\0b"), wrong("body")),
        ("Bob", with(json!(7)), wrong("body")),
        ("Bob", with(json!(["x"])), wrong("body")),
        ("Bob", with(Value::Null), wrong("body")),
        ("Bob", keyed(json!("no uuid"), "x"), wrong("client_message_id")),
        ("Bob", keyed(json!(1), "x"), wrong("client_message_id")),
        ("Bob", keyed(known.clone(), "once"), FINE),
        ("Bob", keyed(known.clone(), "once"), FINE),
        ("Bob", keyed(known.clone(), "twice"), no("idempotency_conflict")),
        ("Cleo", keyed(known, "twice"), FINE),
        ("Eve", post(den, "let me in"), no("not_found")),
        ("Robot", post(den, "let me in"), no("not_found")),
        ("Ann", post(999_999, "x"), no("not_found")),
        ("Ann", post(0, "x"), no("not_found")),
        ("Ann", post(-1, "x"), no("not_found")),
        ("Ann", post(i64::MAX, "x"), no("not_found")),
        ("Ann", post(world.commons, "x"), no("forbidden")),
    ]
}

/// Of Ann's, Bob's and a deleted message.
pub(super) fn changes(ann: i64, bob: i64, gone: i64) -> Vec<Case> {
    let edit = |message, version, body: &str| Ask::Edit { message, version, body: json!(body) };
    let delete = |message| Ask::Delete { message };
    vec![
        ("Bob", edit(bob, 1, "better"), FINE),
        ("Bob", edit(bob, 1, "better"), FINE),
        ("Bob", edit(bob, 1, "another"), no("version_conflict")),
        ("Ann", edit(bob, 1, "better"), no("version_conflict")),
        ("Ann", edit(bob, 2, "best"), FINE),
        ("Bob", edit(bob, 9, "ahead"), no("version_conflict")),
        ("Bob", edit(bob, 0, "zero"), no("version_conflict")),
        ("Bob", edit(bob, -1, "negative"), no("version_conflict")),
        ("Bob", edit(ann, 1, "mine"), no("forbidden")),
        ("Cleo", edit(ann, 7, "mine"), no("forbidden")),
        ("Eve", edit(ann, 1, "mine"), no("not_found")),
        ("Bob", edit(bob, 3, " "), wrong("body")),
        ("Bob", edit(bob, 3, "a\0b"), wrong("body")),
        ("Bob", edit(bob, 3, &"x".repeat(16_385)), Some(("too_large", Some("body")))),
        ("Bob", Ask::Edit { message: bob, version: 3, body: json!({}) }, wrong("body")),
        ("Bob", Ask::Edit { message: bob, version: 3, body: Value::Null }, wrong("body")),
        ("Bob", edit(gone, 1, "risen"), no("not_found")),
        ("Bob", edit(999_999, 1, "x"), no("not_found")),
        ("Bob", edit(-1, 1, "x"), no("not_found")),
        ("Bob", delete(ann), no("forbidden")),
        ("Eve", delete(ann), no("not_found")),
        ("Bob", delete(999_999), no("not_found")),
        ("Bob", delete(0), no("not_found")),
        ("Bob", delete(gone), FINE),
        ("Ann", delete(bob), FINE),
        ("Bob", delete(bob), FINE),
    ]
}

pub(super) fn rooms(world: &World) -> Vec<Case> {
    let (bob, cleo) = (world.people["Bob"].id, world.people["Cleo"].id);
    let long = "あ".repeat(101);
    let many: Vec<u64> = (1..=101).collect();
    let keyed = |name: &str, key: Value| json!({ "kind": "open", "name": name, "idempotency_key": key });
    let cases = [
        ("Bob", json!({ "kind": "open", "name": "Garden 🌱" }), FINE),
        ("Bob", json!({ "kind": "open", "name": " trimmed ", "members": [], "unknown": 1 }), FINE),
        ("Bob", json!({ "kind": "closed", "name": "Cellar", "members": [cleo, cleo, bob] }), FINE),
        ("Bob", json!({ "kind": "closed", "name": "Alone" }), FINE),
        ("Bob", json!({ "kind": "direct", "members": [cleo] }), FINE),
        ("Cleo", json!({ "kind": "direct", "members": [bob, cleo] }), FINE),
        ("Bob", json!({ "kind": "direct" }), FINE),
        ("Bob", json!({ "kind": "direct", "name": "us", "members": [cleo] }), wrong("name")),
        ("Bob", json!({ "kind": "attic", "name": "x" }), wrong("kind")),
        ("Bob", json!({ "kind": "inbox", "name": "x" }), wrong("kind")),
        ("Bob", json!({ "kind": 1, "name": "x" }), wrong("kind")),
        ("Bob", json!({ "name": "x" }), wrong("kind")),
        ("Bob", json!({ "kind": "open" }), wrong("name")),
        ("Bob", json!({ "kind": "open", "name": " " }), wrong("name")),
        ("Bob", json!({ "kind": "open", "name": long }), wrong("name")),
        ("Bob", json!({ "kind": "closed", "name": "a\0b" }), wrong("name")),
        ("Bob", json!({ "kind": "closed", "name": "a\nb" }), wrong("name")),
        ("Bob", json!({ "kind": "closed", "name": 1 }), wrong("name")),
        ("Bob", json!({ "kind": "open", "name": "x", "members": [cleo] }), wrong("members")),
        ("Bob", json!({ "kind": "closed", "name": "x", "members": [999_999] }), wrong("members")),
        ("Bob", json!({ "kind": "closed", "name": "x", "members": [-1] }), wrong("members")),
        ("Bob", json!({ "kind": "direct", "members": [0] }), wrong("members")),
        ("Bob", json!({ "kind": "closed", "name": "x", "members": many }), wrong("members")),
        ("Bob", json!({ "kind": "closed", "name": "x", "members": 1 }), wrong("members")),
        ("Bob", json!({ "kind": "closed", "name": "x", "members": [bob, "x"] }), wrong("members[1]")),
        ("Robot", json!({ "kind": "open", "name": "x" }), no("forbidden")),
        ("Bob", keyed("Once", json!("k1")), FINE),
        ("Bob", keyed("Once", json!("k1")), FINE),
        ("Bob", keyed("Twice", json!("k1")), no("idempotency_conflict")),
        ("Cleo", keyed("Twice", json!("k1")), FINE),
        ("Bob", keyed(" ", json!("k2")), wrong("name")),
        ("Bob", keyed("Refused before", json!("k2")), FINE),
        ("Bob", json!({ "kind": "direct", "members": [cleo], "idempotency_key": "k3" }), FINE),
        ("Bob", json!({ "kind": "direct", "members": [cleo], "idempotency_key": "k3" }), FINE),
        ("Bob", keyed("x", json!("")), wrong("idempotency_key")),
        ("Bob", keyed("x", json!("a b")), wrong("idempotency_key")),
        ("Bob", keyed("x", json!("é")), wrong("idempotency_key")),
        ("Bob", keyed("x", json!("x".repeat(256))), wrong("idempotency_key")),
        ("Bob", keyed("x", json!(7)), wrong("idempotency_key")),
    ];
    cases.map(|(who, body, expected)| (who, Ask::Create(body), expected)).into()
}

pub(super) fn members(world: &World) -> Vec<Case> {
    let (den, pair, lobby) = (world.den, world.pair, world.house.lobby as i64);
    let id = |who: &str| world.people[who].id as i64;
    let (add, remove) = (|room, user| Ask::Add { room, user }, |room, user| Ask::Remove { room, user });
    let mark = |room, seq: Value| Ask::Mark { room, seq };
    vec![
        ("Bob", mark(den, json!(3)), FINE),
        ("Bob", mark(den, json!(2)), FINE),
        ("Bob", mark(den, json!(0)), FINE),
        ("Bob", mark(den, json!(999)), wrong("seq")),
        ("Bob", mark(den, json!(-1)), wrong("seq")),
        ("Bob", mark(den, json!("3")), wrong("seq")),
        ("Bob", mark(den, json!(1.5)), wrong("seq")),
        ("Bob", mark(den, Value::Null), wrong("seq")),
        ("Eve", mark(den, json!(1)), no("not_found")),
        ("Eve", mark(-5, json!(1)), no("not_found")),
        ("Cleo", add(den, id("Eve")), FINE),
        ("Cleo", add(den, id("Eve")), FINE),
        ("Eve", post(den, "thank you"), FINE),
        ("Bob", remove(den, id("Eve")), no("forbidden")),
        ("Eve", remove(den, id("Eve")), FINE),
        ("Eve", remove(den, id("Eve")), no("not_found")),
        ("Eve", add(den, id("Eve")), no("not_found")),
        ("Ann", remove(den, id("Eve")), FINE),
        ("Ann", add(den, 999_999), wrong("user_id")),
        ("Ann", add(den, -1), wrong("user_id")),
        ("Ann", remove(den, 999_999), FINE),
        ("Ann", remove(den, -1), FINE),
        ("Ann", add(lobby, id("Eve")), no("forbidden")),
        ("Ann", remove(lobby, id("Eve")), no("forbidden")),
        ("Ann", add(pair, id("Eve")), no("forbidden")),
        ("Eve", add(pair, id("Eve")), no("not_found")),
        ("Ann", add(999_999, id("Eve")), no("not_found")),
    ]
}
