//! What administrators do, and what those it is done to see of it at once: roles, bans, invitations, bots, the audit trail.

use super::driver::{Driver, Screen};
use super::use_of_it::{fits, is_accessible};
use super::window::Window;
use crate::harness::{Ground, House, PASSWORD};
use serde_json::json;

async fn goes_to(window: &Window, path: &str) {
    window.clicks(&format!(".page-link[href='{path}']")).await;
    window.is_at(path).await;
}

/// Opens what there is about a person.
async fn looks_at(window: &Window, user: u64) {
    window.clicks(&format!("[data-user-id='{user}'] .person-more")).await;
    window.sees("#person").await;
}

async fn closes(window: &Window) {
    window.clicks("dialog .dialog-head .icon-button").await;
    window.misses("dialog").await;
}

/// A role changes what an open page shows, without loading it anew; the last administrator stays one.
#[tokio::test]
async fn a_role_changes_open_pages_and_the_last_administrator_stays() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await.id;
    let ann = driver.window("ann").await;
    let looker = driver.window("bob").await;
    for (window, email) in [(&ann, "ann@example.org"), (&looker, "bob@example.org")] {
        window.opens(&house.url()).await;
        window.signs_in(email).await;
    }
    goes_to(&looker, "/settings").await;
    looker.sees("#profile form").await;
    looker.misses("#account form").await;
    looker.asks("window.stays = true; return true", &[]).await;
    goes_to(&ann, "/people").await;
    looks_at(&ann, house.admin.id).await;
    ann.picks("#person select[name=role]", "member").await;
    ann.clicks("#person [type=submit]").await;
    ann.reads("#person .form-error", "the only administrator").await;
    is_accessible(&ann).await;
    closes(&ann).await;

    looks_at(&ann, bob).await;
    ann.picks("#person select[name=role]", "admin").await;
    ann.clicks("#person [type=submit]").await;
    ann.reads("#person .saved", "The role is changed").await;
    looker.sees("#account form").await;
    looker.sees(".page-link[href='/audit']").await;
    looker.reads(".notice", "an administrator").await;
    looker.is_connected().await;
    goes_to(&looker, "/people").await;
    looker.sees("#invite-link").await;
    ann.picks("#person select[name=role]", "member").await;
    ann.clicks("#person [type=submit]").await;
    looker.misses("#invite-link").await;
    looker.misses(".page-link[href='/audit']").await;
    looker.is_connected().await;
    looker.is_at("/people").await;
    assert_eq!(looker.asks("return window.stays ?? false", &[]).await, json!(true), "loaded anew");
    looker.clicks(".room-link").await;
    looker.says("Still here").await;
    looker.hears("Still here").await;
    ann.leaves().await;
    looker.leaves().await;
}

/// Who is banned sees that the account is closed and can't come back, until it is undone; the same for the deactivated.
#[tokio::test]
async fn accounts_are_closed_and_opened_again() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await.id;
    let ann = driver.window("ann").await;
    let looker = driver.window("bob").await;
    for (window, email) in [(&ann, "ann@example.org"), (&looker, "bob@example.org")] {
        window.opens(&house.url()).await;
        window.signs_in(email).await;
    }
    goes_to(&ann, "/people").await;
    let person = format!("#people [data-user-id='{bob}']");
    let banned = format!("#bans [data-user-id='{bob}']");
    let closed = format!("#closed-accounts [data-user-id='{bob}']");

    looks_at(&ann, bob).await;
    ann.clicks("#ban").await;
    ann.fills("#person input[name=reason]", "Sold lamp oil").await;
    ann.clicks("#person .form:not([hidden]) .danger").await;
    looker.reads("#gate h1", "Your account was closed").await;
    is_accessible(&looker).await;
    ann.reads("#person .saved", "Bob is banned").await;
    closes(&ann).await;
    ann.reads(&banned, "Sold lamp oil").await;
    ann.misses(&person).await;
    is_accessible(&ann).await;
    looker.clicks("#gate .button").await;
    looker.is_at("/sign-in").await;
    looker.submits("#gate form", &[("email", "bob@example.org"), ("password", PASSWORD)]).await;
    looker.sees(".form-error:not(:empty)").await;
    ann.clicks(&format!("{banned} button")).await;
    ann.clicks(".dialog .danger").await;
    ann.sees(&person).await;
    ann.misses(&banned).await;
    looker.clicks("#gate [type=submit]").await;
    looker.is_connected().await;

    looks_at(&ann, bob).await;
    ann.clicks("#deactivate").await;
    ann.clicks("#person .form:not([hidden]) .danger").await;
    looker.reads("#gate h1", "Your account was closed").await;
    ann.reads("#person .saved", "Bob is deactivated").await;
    closes(&ann).await;
    ann.misses(&person).await;
    looks_at(&ann, bob).await;
    ann.clicks("#reactivate").await;
    ann.reads("#person .saved", "Bob is back").await;
    closes(&ann).await;
    ann.sees(&person).await;
    ann.until("nobody closed", "return document.querySelector(arguments[0]) === null", &[json!(closed)])
        .await;
    looker.clicks("#gate .button").await;
    looker.signs_in("bob@example.org").await;
    ann.leaves().await;
    looker.leaves().await;
}

/// A guest comes in with a nickname and sees the rooms of the invitation, nothing else; then the link is used up.
///
/// Proves AUTH-17.
#[tokio::test]
async fn a_guest_comes_in_with_a_nickname() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let keepers = house.closed_room("Keepers", &[]).await.id;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    goes_to(&ann, "/people").await;
    ann.clicks("#new-invite").await;
    ann.clicks("#invite input[value=guest]").await;
    ann.clicks("#invite [type=submit]").await;
    ann.reads("#invite .wrong", "at least one room").await;
    is_accessible(&ann).await;
    ann.clicks(&format!("#invite [data-room-id='{keepers}'] input")).await;
    ann.clicks("#invite [type=submit]").await;
    let link = ann.value("#new-invite-link").await;
    closes(&ann).await;
    ann.reads("#invites [data-state=open]", "Guests, into Keepers").await;

    let gus = driver.window_on("gus", Screen::Phone).await;
    gus.opens(&link).await;
    gus.reads("#gate h1", "Join House").await;
    gus.misses("input[name=password]").await;
    fits(&gus).await;
    is_accessible(&gus).await;
    gus.submits("#gate form", &[("name", "Gus of the far side of the sea")]).await;
    gus.is_connected().await;
    let names = "return document.querySelector('.me-name').textContent";
    assert_eq!(gus.asks(names, &[]).await, json!("Gus of the far side"), "20 characters are let in");
    gus.until(
        "the one room",
        "return location.pathname === arguments[0]",
        &[json!(format!("/rooms/{keepers}"))],
    )
    .await;
    gus.says("Hello from outside").await;
    gus.hears("Hello from outside").await;
    let rooms = "return [...document.querySelectorAll('.room-link')].map((one) => one.querySelector('.room-name').textContent)";
    assert_eq!(gus.asks(rooms, &[]).await, json!(["Keepers"]));
    for page in ["/people", "/settings"] {
        gus.clicks(".drawer-button").await;
        goes_to(&gus, page).await;
        fits(&gus).await;
        is_accessible(&gus).await;
    }
    // Who has no password takes the session along by a link.
    gus.clicks("#another-device").await;
    gus.sees("#link-card[data-state=open] #qr").await;
    fits(&gus).await;
    is_accessible(&gus).await;
    gus.is_content(&[]).await;

    ann.clicks(".page-link[href='/settings']").await;
    goes_to(&ann, "/people").await;
    ann.reads("#invites [data-state=used]", "used 1 of 1 time").await;
    let late = driver.window("late").await;
    late.opens(&link).await;
    late.reads("#gate h1", "This invitation is over").await;
    is_accessible(&late).await;

    // An invitation that is withdrawn, and a standing link that is replaced, work no more.
    ann.clicks("#new-invite").await;
    ann.clicks("#invite [type=submit]").await;
    let withdrawn = ann.value("#new-invite-link").await;
    closes(&ann).await;
    ann.clicks("#invites [data-state=open] .button:last-child").await;
    ann.clicks(".dialog .danger").await;
    ann.misses("#invites [data-state=open]").await;
    late.opens(&withdrawn).await;
    late.reads("#gate h1", "This invitation is over").await;
    let standing = ann.value("#invite-link").await;
    ann.clicks("#rotate-join-code").await;
    ann.clicks(".dialog .danger").await;
    let script =
        "const { value } = document.getElementById('invite-link'); return value !== arguments[0] && value";
    let fresh = ann.until("another link", script, &[json!(standing)]).await;
    late.opens(&standing).await;
    late.reads("#gate h1", "This invitation does not work").await;
    late.opens(fresh.as_str().expect("a link")).await;
    late.reads("#gate h1", "Join House").await;
    for window in [ann, gus, late] {
        window.leaves().await;
    }
}

/// A bot's keys have ages and ends; the new one works beside the old for as long as was chosen, and revoked is revoked.
///
/// Proves BOT-04.
#[tokio::test]
async fn keys_of_a_bot_are_rotated_and_revoked() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    goes_to(&ann, "/bots").await;
    ann.submits(".scroll-page form", &[("name", "Night watch")]).await;
    let first = ann.value("#bot-key").await;
    ann.reads("#bots .key", "made just now").await;
    ann.reads("#bots .key", "never ends").await;
    ann.clicks("#bots .rotate").await;
    ann.picks("#rotate select[name=overlap_s]", "3600").await;
    is_accessible(&ann).await;
    ann.clicks("#rotate [type=submit]").await;
    let other =
        "const { value } = document.getElementById('bot-key'); return value !== arguments[0] && value";
    let second = ann.until("another key", other, &[json!(first)]).await.as_str().expect("text").to_owned();
    let two = "return document.querySelectorAll('#bots .key').length === 2";
    ann.until("two keys", two, &[]).await;
    is_accessible(&ann).await;
    let works = async |key: &str| {
        let bot = loadtest::client::Client::bot(&house.url(), key).expect("a client");
        bot.call::<serde_json::Value>(reqwest::Method::GET, "/me", &[], None).await.is_ok()
    };
    assert!(works(&first).await && works(&second).await, "both, for an hour");
    let ending = "return [...document.querySelectorAll('#bots .key')].find((one) => !one.textContent.includes('never ends')).dataset.keyId";
    let id = ann.asks(ending, &[]).await;
    ann.clicks(&format!("#bots [data-key-id='{}'] .revoke", id.as_str().expect("an id"))).await;
    ann.clicks(".dialog .danger").await;
    ann.until("one key", "return document.querySelectorAll('#bots .key').length === 1", &[]).await;
    assert!(!works(&first).await && works(&second).await, "only the new one");
    ann.clicks("#bots .remove").await;
    ann.clicks(".dialog .danger").await;
    ann.until("no bot", "return document.querySelector('#bots .bot') === null", &[]).await;
    assert!(!works(&second).await, "gone with its bot");
    ann.is_content(&[]).await;
    ann.leaves().await;
}

/// What happened is read as sentences, newest first, filtered by who, what and when, and taken along as JSON lines.
///
/// Proves AUD-03.
#[tokio::test]
async fn the_audit_trail_is_read_filtered_and_taken_along() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await.id;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    goes_to(&ann, "/people").await;
    looks_at(&ann, bob).await;
    ann.picks("#person select[name=role]", "admin").await;
    ann.clicks("#person [type=submit]").await;
    ann.reads("#person .saved", "The role is changed").await;
    closes(&ann).await;
    goes_to(&ann, "/audit").await;
    ann.reads("#audit .audit-entry", "Ann changed the role of Bob from member to admin").await;
    ann.sees("#audit .audit-entry[data-action='session.begun']").await;
    is_accessible(&ann).await;

    ann.picks("#audit-filters select[name=action]", "user.role_changed").await;
    ann.fills("#audit-filters input[name=target]", &format!("user:{bob}")).await;
    ann.clicks("#audit-filters [type=submit]").await;
    ann.reads("#audit-state", "One entry").await;
    ann.picks("#audit-filters select[name=actor]", &bob.to_string()).await;
    ann.clicks("#audit-filters [type=submit]").await;
    ann.reads("#audit-state", "Nothing like that").await;
    ann.picks("#audit-filters select[name=actor]", &house.admin.id.to_string()).await;
    ann.clicks("#audit-filters [type=submit]").await;
    ann.reads("#audit-state", "One entry").await;

    // What the button downloads is what is shown.
    let export = "return fetch(document.getElementById('audit-export').href).then(async (answer) => [answer.headers.get('content-type'), await answer.text()])";
    let export = ann.asks(export, &[]).await;
    assert!(export[0].as_str().is_some_and(|kind| kind.starts_with("application/x-ndjson")), "{export}");
    let lines: Vec<&str> = export[1].as_str().expect("text").lines().collect();
    assert_eq!(lines.len(), 1, "{export}");
    let entry: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!((&entry["action"], &entry["target"]["id"]), (&json!("user.role_changed"), &json!(bob)));
    ann.clicks("#audit-export").await;
    ann.is_at("/audit").await;
    goes_to(&ann, "/settings").await;
    goes_to(&ann, "/audit").await;
    ann.reads("#audit .audit-entry", "Ann exported this trail").await;
    ann.is_content(&[]).await;
    ann.leaves().await;
}
