//! Where people stumble: forms that are refused, pages that are loaded anew, links that lead nowhere, doors that are shut.

use super::driver::{Driver, Screen};
use super::use_of_it::{fits, is_accessible};
use super::window::Window;
use crate::harness::{Ground, House, PASSWORD, Person, empty};
use fantoccini::key::Key;
use reqwest::Method;
use serde_json::{Value, json};

async fn asks(person: &Person, method: Method, path: &str, body: Value) -> Value {
    let (_, answer) = person.client.call::<Value>(method, path, &[], Some(&body)).await.expect("an answer");
    answer
}

/// Opens the rooms on a phone, and waits until they have slid in.
async fn opens_the_drawer(window: &Window) {
    window.clicks(".drawer-button").await;
    let is_there = "return document.getElementById('sidebar').getBoundingClientRect().left === 0";
    window.until("the drawer", is_there, &[]).await;
}

/// Whoever comes second to the first run is sent on, and a form that is refused says why in the words of the page, and leaves the focus where it was.
#[tokio::test]
async fn a_form_that_is_refused_says_why_and_keeps_the_focus() {
    let driver = Driver::start().await;
    let (server, _dir) = empty(Ground::Sqlite, &[]).await;
    let first =
        [("account_name", "House"), ("name", "Ann"), ("email", "ann@example.org"), ("password", PASSWORD)];
    let ann = driver.window("ann").await;
    let late = driver.window("late").await;
    for window in [&ann, &late] {
        window.opens(&server.url()).await;
        window.is_at("/setup").await;
    }
    ann.submits("#gate form", &first).await;
    ann.is_connected().await;
    late.submits("#gate form", &first).await;
    late.is_at("/sign-in").await;
    late.reads(".gate-lead", "Somebody was faster").await;
    is_accessible(&late).await;

    late.fills("#gate input[name=email]", "ann@example.org").await;
    late.fills("#gate input[name=password]", "a wrong password").await;
    late.tabs_to("#gate [type=submit]").await;
    late.presses(&[Key::Enter.into()]).await;
    late.reads("#gate .form-error", "Email or password is not right.").await;
    late.is_in("#gate [type=submit]").await;

    for path in ["/join/%zz", "/join/nobodys-code"] {
        late.opens(&format!("{}{path}", server.url())).await;
        late.reads("#gate h1", "This invitation does not work").await;
    }
    ann.clicks(".page-link[href='/people']").await;
    let link = ann.value("#invite-link").await;
    late.opens(&link).await;
    late.submits("#gate form", &[("name", "   "), ("email", "late@example.org"), ("password", PASSWORD)])
        .await;
    late.reads("#gate [data-field=name] .field-note", "Your name is blank.").await;
    late.is_in("#gate input[name=name]").await;
    late.submits("#gate form", &[("name", "Late")]).await;
    late.is_connected().await;
    late.misses(".notice span").await;
    // Opened once more, the invitation is nothing for who is in.
    late.opens(&link).await;
    late.is_connected().await;
    late.reads(".notice", "You are in already, as Late").await;
    late.clicks(".page-link[href='/settings']").await;
    late.tabs_to("#profile [type=submit]").await;
    late.presses(&[Key::Enter.into()]).await;
    late.reads("#profile .saved", "Saved.").await;
    late.is_in("#profile [type=submit]").await;
    ann.leaves().await;
    late.leaves().await;
}

/// What a page shows doesn't depend on whether it was loaded first; and filters that make no sense are told where they stand.
#[tokio::test]
async fn pages_of_administrators_are_whole_when_loaded_first() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    house.closed_room("Attic", &[]).await;
    asks(&house.admin, Method::POST, "/invites", json!({ "role": "guest", "room_ids": [house.lobby] })).await;
    let ann = driver.window("ann").await;
    ann.opens(&format!("{}/people", house.url())).await;
    ann.submits("#gate form", &[("email", "ann@example.org"), ("password", PASSWORD)]).await;
    for _ in 0..2 {
        ann.reads("#invites .invite", "Guests, into General").await;
        ann.opens(&format!("{}/people", house.url())).await;
    }
    ann.opens(&format!("{}/settings", house.url())).await;
    assert_eq!(ann.value("#account input[name=name]").await, "House");

    // The closed room comes first on the list, but the bot could not post there.
    ann.opens(&format!("{}/bots", house.url())).await;
    ann.sees(".room-link").await;
    ann.submits(".scroll-page form", &[("name", "Lamp")]).await;
    ann.reads("#bot-example", &format!("/rooms/{}/messages", house.lobby)).await;

    ann.opens(&format!("{}/audit", house.url())).await;
    ann.sees("#audit .audit-entry").await;
    ann.fills("#audit-filters input[name=target]", "Ann").await;
    ann.clicks("#audit-filters [type=submit]").await;
    ann.reads("#audit-filters [data-field=target] .field-note", "Write a kind, or a kind with a number")
        .await;
    ann.is_in("#audit-filters input[name=target]").await;
    ann.fills("#audit-filters input[name=target]", "user").await;
    let times = "for (const [name, value] of [['since', '2026-02-02T00:00'], ['until', '2026-01-01T00:00']]) document.querySelector(`#audit-filters [name=${name}]`).value = value; return true";
    ann.asks(times, &[]).await;
    ann.clicks("#audit-filters [type=submit]").await;
    ann.reads("#audit-filters [data-field=until] .field-note", "This is before \u{201c}From\u{201d}.").await;
    ann.is_in("#audit-filters input[name=until]").await;
    is_accessible(&ann).await;
    ann.asks("for (const name of ['since', 'until']) document.querySelector(`#audit-filters [name=${name}]`).value = ''; return true", &[]).await;
    ann.clicks("#audit-filters [type=submit]").await;
    ann.sees("#audit .audit-entry[data-action='user.joined']").await;
    ann.leaves().await;
}

/// A guest without a password is warned: there is no way back.
#[tokio::test]
async fn a_guest_is_asked_before_leaving_for_good() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let terms = json!({ "role": "guest", "room_ids": [house.lobby] });
    let invite = asks(&house.admin, Method::POST, "/invites", terms).await;
    let gus = driver.window_on("gus", Screen::Phone).await;
    gus.opens(invite["url"].as_str().expect("a link")).await;
    gus.submits("#gate form", &[("name", "Gus")]).await;
    gus.is_connected().await;
    opens_the_drawer(&gus).await;
    gus.clicks("#sign-out").await;
    gus.reads("dialog", "Sign out for good, Gus?").await;
    fits(&gus).await;
    is_accessible(&gus).await;
    gus.presses(&[Key::Escape.into()]).await;
    gus.misses("dialog").await;
    gus.is_connected().await;
    gus.clicks("#sign-out").await;
    gus.clicks("dialog .danger").await;
    gus.is_at("/sign-in").await;
    // Who has a password isn't asked.
    gus.signs_in("ann@example.org").await;
    opens_the_drawer(&gus).await;
    gus.clicks("#sign-out").await;
    gus.is_at("/sign-in").await;
    gus.leaves().await;
}

/// What people see from where somebody was banned: in the page that is open, and instead of it. The browser is behind a proxy that says where it is,
/// as no address of the machine itself is ever banned.
#[tokio::test]
async fn people_at_a_banned_address_are_told_so() {
    let driver = Driver::start().await;
    let house = House::open_with(Ground::Sqlite, &["--set", "server.trusted_proxies=127.0.0.1"]).await;
    let id = house.joined_by("Bob").await.id;
    let bob = driver.window("bob").await;
    bob.comes_from("203.0.113.7").await;
    bob.opens(&house.url()).await;
    bob.signs_in("bob@example.org").await;
    let neighbour = driver.window_on("neighbour", Screen::Phone).await;
    neighbour.comes_from("203.0.113.7").await;
    neighbour.opens(&house.url()).await;
    neighbour.is_at("/sign-in").await;

    asks(&house.admin, Method::PUT, &format!("/users/{id}/ban"), json!({})).await;
    bob.reads("#gate h1", "Your account was closed").await;
    bob.clicks("#gate .button").await;
    bob.reads("#gate h1", "You can\u{2019}t come in from here").await;
    is_accessible(&bob).await;
    // Whoever was about to sign in there doesn't lose what is written.
    neighbour.submits("#gate form", &[("email", "ann@example.org"), ("password", PASSWORD)]).await;
    neighbour.reads("#gate .form-error", "Nobody is let in from the address").await;
    assert_eq!(neighbour.value("#gate input[name=email]").await, "ann@example.org");
    for window in [&bob, &neighbour] {
        for path in ["", "/sign-in", "/settings", "/nowhere"] {
            window.opens(&format!("{}{path}", house.url())).await;
            window.reads("h1", "No entry").await;
        }
        assert_eq!(window.asks("return document.scripts.length", &[]).await, json!(0));
        is_accessible(window).await;
    }
    fits(&neighbour).await;
    neighbour.comes_from("203.0.113.8").await;
    neighbour.opens(&house.url()).await;
    neighbour.is_at("/sign-in").await;

    asks(&house.admin, Method::DELETE, &format!("/users/{id}/ban"), json!({})).await;
    bob.opens(&house.url()).await;
    bob.signs_in("bob@example.org").await;
    bob.leaves().await;
    neighbour.leaves().await;
}
