//! How devices come in and go: by a code that is read from the screen, by an administrator's link, with a new password,
//! and out again from elsewhere.

use super::driver::{Driver, Screen};
use super::use_of_it::{fits, is_accessible};
use super::window::Window;
use crate::harness::{Ground, House, PASSWORD};
use crate::rest::Caller;
use fantoccini::key::Key;
use serde_json::json;

/// From here on the page knows that it was never loaded anew.
async fn stays(window: &Window) {
    window.asks("window.stays = true; return true", &[]).await;
}

async fn stayed(window: &Window) {
    assert_eq!(
        window.asks("return window.stays ?? false", &[]).await,
        json!(true),
        "the page was loaded anew"
    );
}

async fn goes_to(window: &Window, path: &str) {
    window.clicks(&format!(".page-link[href='{path}']")).await;
    window.is_at(path).await;
}

/// How many devices are on the list.
const DEVICES: &str =
    "return document.querySelectorAll('#devices [data-session-id]').length === arguments[0]";

/// A new device comes in by the code on the old one's screen; the old one is told, and can send it away.
///
/// Proves AUTH-07, AUTH-12, AUTH-13, AUTH-14.
#[tokio::test]
async fn a_device_comes_in_by_a_code_that_is_seen_and_goes_when_it_is_revoked() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = Caller::of(&house.joined_by("Bob").await);
    let old = driver.window("old").await;
    old.opens(&house.url()).await;
    old.signs_in("ann@example.org").await;
    bob.says(house.lobby, "Seen on the old device").await;
    old.hears("Seen on the old device").await;
    let read = "return fetch(`/api/v1/rooms/${arguments[0]}`).then((room) => room.json()).then(({ unread }) => unread === 0)";
    old.until("it is read", read, &[json!(house.lobby)]).await;
    goes_to(&old, "/settings").await;
    // The set-up of the house is a session, too.
    old.until("two sessions", DEVICES, &[json!(2)]).await;
    stays(&old).await;

    // What a camera sees is what can be copied.
    old.clicks("#another-device").await;
    old.sees("#link-card[data-state=open] #qr").await;
    let link = old.value("#transfer-link").await;
    let loaded = "const { complete, naturalWidth } = document.getElementById('qr'); return complete && naturalWidth > 0";
    old.until("the picture", loaded, &[]).await;
    assert_eq!(old.codes().await, [link.as_str()]);
    old.reads("#link-left", "Valid for").await;
    is_accessible(&old).await;
    let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
    old.prefers("dark").await;
    assert_eq!(
        (old.asks(dark, &[]).await, old.codes().await),
        (json!(true), vec![link.clone()]),
        "in the dark, too"
    );

    // A preview of the link, or who only looks at it, uses nothing up.
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        assert!(http.request(method, &link).send().await.expect("an answer").status().is_success());
    }
    let new = driver.window_on("new", Screen::Phone).await;
    bob.says(house.lobby, "Not read yet").await;
    for _ in 0..2 {
        new.opens("about:blank").await;
        new.opens(&link).await;
        new.reads("#gate h1", "Sign in to House").await;
        new.reads(".gate-lead", "As Ann").await;
        assert_eq!(new.asks("return location.pathname + location.hash", &[]).await, json!("/transfer"));
    }
    fits(&new).await;
    is_accessible(&new).await;
    old.sees("#link-card[data-state=open]").await;
    new.clicks("#gate [type=submit]").await;
    new.is_connected().await;

    // The old device hears of it by itself, wherever it looks.
    old.sees("#link-card[data-state=used]").await;
    old.reads("#link-state", "is signed in as you now").await;
    old.misses("#qr").await;
    old.reads(".notice", "A device signed in as you by a link from another device").await;
    old.until("three sessions", DEVICES, &[json!(3)]).await;
    is_accessible(&old).await;
    old.clicks("#transfer .icon-button").await;

    // The new one begins with the rooms as they are: what was read on the old device is read.
    new.hears("Not read yet").await;
    new.hears("Seen on the old device").await;
    let border = "return document.querySelector('.new-line')?.nextElementSibling?.textContent.includes('Not read yet') ?? false";
    new.until("the line above what is new", border, &[]).await;

    // The link is used up, and says so.
    let late = driver.window("late").await;
    late.opens(&link).await;
    late.reads("#gate h1", "used up").await;
    is_accessible(&late).await;
    late.clicks("#gate .button").await;
    late.is_at("/sign-in").await;

    // Signed out from elsewhere: it is told, it doesn't ask. From the click to the sign-in page, by one clock.
    let watch = "window.asked = performance.getEntriesByType('resource').length;
        window.gone = new Promise((done) => new MutationObserver(() => {
          if (document.getElementById('gate')) done([Date.now(), performance.getEntriesByType('resource').slice(window.asked).map(({ name }) => new URL(name).pathname)]);
        }).observe(document.body, { subtree: true, childList: true }));
        return true";
    new.asks(watch, &[]).await;
    let script = "const id = [...document.querySelectorAll('#devices [data-session-id]')].filter((one) => one.textContent.includes('by a link'))[0].dataset.sessionId;
        document.addEventListener('click', () => { window.clicked ??= Date.now(); }, { capture: true });
        return id";
    let session = old.asks(script, &[]).await;
    old.clicks(&format!("#devices [data-session-id='{}'] button", session.as_str().expect("an id"))).await;
    new.is_at("/sign-in").await;
    new.reads(".gate-lead", "You were signed out").await;
    let gone = new.asks("return window.gone", &[]).await;
    let clicked = old.asks("return window.clicked", &[]).await;
    let took = gone[0].as_f64().expect("a time") - clicked.as_f64().expect("a time");
    println!("signed out {took} ms after the click");
    // A page that asked from time to time, or that waited for the heartbeat (25 s), would have found out otherwise.
    assert_eq!(gone[1].as_array().and_then(|paths| paths.first()), Some(&json!("/api/v1/me")), "{gone}");
    assert!(took < 25_000.0, "{took} ms");
    old.until("two sessions", DEVICES, &[json!(2)]).await;
    stayed(&old).await;
    old.is_content(&[]).await;
    for window in [old, new, late] {
        window.leaves().await;
    }
}

/// A link that is opened where somebody else is signed in says whose it is, and signs them out only when they go on.
#[tokio::test]
async fn a_link_says_who_is_signed_in_already() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await;
    let (_, made) = bob
        .client
        .call::<serde_json::Value>(reqwest::Method::POST, "/transfers", &[], Some(&json!({})))
        .await
        .expect("a link");
    let link = made["url"].as_str().expect("a link").to_owned();
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    ann.opens(&link).await;
    ann.reads("#signed-in-as", "You are signed in here as Ann").await;
    is_accessible(&ann).await;
    ann.clicks(".gate-foot .link-button").await;
    ann.is_connected().await;
    ann.reads(".me-name", "Ann").await;
    ann.opens(&link).await;
    ann.reads("#gate h1", "Sign in to House").await;
    // Another link in the same tab is another fragment: the page doesn't load anew by itself.
    ann.asks("location.hash = 'not-a-token'", &[]).await;
    ann.reads("#gate h1", "This link does not work").await;
    ann.opens("about:blank").await;
    ann.opens(&link).await;
    ann.clicks("#gate [type=submit]").await;
    ann.is_connected().await;
    ann.reads(".me-name", "Bob").await;
    let rest =
        house.admin.client.call::<serde_json::Value>(reqwest::Method::GET, "/sessions", &[], None).await;
    let sessions = rest.expect("sessions").1["sessions"].as_array().map_or(0, Vec::len);
    assert_eq!(sessions, 1, "the session that Ann had here is ended, not lost");
    ann.leaves().await;
}

/// Who forgot the password is let back in by an administrator's link, chooses another, and is signed out everywhere else.
///
/// Proves AUTH-06.
#[tokio::test]
async fn an_administrator_lets_back_in_who_forgot_the_password() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await.id;
    let elsewhere = driver.window("elsewhere").await;
    let ann = driver.window("ann").await;
    for (window, email) in [(&elsewhere, "bob@example.org"), (&ann, "ann@example.org")] {
        window.opens(&house.url()).await;
        window.signs_in(email).await;
    }
    goes_to(&ann, "/people").await;
    ann.clicks(&format!(".person[data-user-id='{bob}'] .person-more")).await;
    ann.clicks("#make-recovery").await;
    ann.sees("#link-card[data-state=open] #qr").await;
    let link = ann.value("#transfer-link").await;
    let shown = "document.getElementById('qr').scrollIntoView(); const { complete, naturalWidth } = document.getElementById('qr'); return complete && naturalWidth > 0";
    ann.until("the picture", shown, &[]).await;
    assert_eq!(ann.codes().await, [link.as_str()]);
    is_accessible(&ann).await;

    let forgetful = driver.window("forgetful").await;
    forgetful.opens(&link).await;
    forgetful.reads("#gate h1", "Choose a new password").await;
    is_accessible(&forgetful).await;
    forgetful.submits("#gate form", &[("new_password", "short")]).await;
    forgetful.sees("#gate .field.wrong").await;
    forgetful.submits("#gate form", &[("new_password", "a better one this time")]).await;
    forgetful.is_connected().await;
    forgetful.reads(".me-name", "Bob").await;
    elsewhere.is_at("/sign-in").await;
    elsewhere.reads(".gate-lead", "You were signed out").await;
    elsewhere.submits("#gate form", &[("email", "bob@example.org"), ("password", PASSWORD)]).await;
    elsewhere.reads(".form-error", "not right").await;
    elsewhere
        .submits("#gate form", &[("email", "bob@example.org"), ("password", "a better one this time")])
        .await;
    elsewhere.is_connected().await;
    for window in [ann, forgetful, elsewhere] {
        window.leaves().await;
    }
}

/// With a new password the other devices are signed out, and the page says so; a wrong old one changes nothing.
///
/// Proves AUTH-06.
#[tokio::test]
async fn a_new_password_signs_the_other_devices_out() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let here = driver.window("here").await;
    let there = driver.window("there").await;
    for window in [&here, &there] {
        window.opens(&house.url()).await;
        window.signs_in("ann@example.org").await;
    }
    goes_to(&here, "/settings").await;
    here.fills("#profile textarea[name=bio]", "Keeps the lamp").await;
    here.submits("#profile form", &[("name", "Ann")]).await;
    here.reads("#profile .saved", "Saved").await;
    here.submits("#password form", &[("current_password", "wrong"), ("new_password", "nothing like before")])
        .await;
    here.reads("#password .wrong", "not your current password").await;
    is_accessible(&here).await;
    here.submits("#password form", &[("current_password", PASSWORD)]).await;
    here.reads("#password .saved", "signed out").await;
    there.is_at("/sign-in").await;
    there.reads(".gate-lead", "You were signed out").await;
    here.until("one session", DEVICES, &[json!(1)]).await;
    here.is_connected().await;
    there.submits("#gate form", &[("email", "ann@example.org"), ("password", "nothing like before")]).await;
    there.is_connected().await;
    // What Ann says of herself is read on the page of people.
    goes_to(&there, "/people").await;
    there.clicks(&format!(".person[data-user-id='{}'] .person-more", house.admin.id)).await;
    there.reads("#person .person-bio", "Keeps the lamp").await;
    here.leaves().await;
    there.leaves().await;
}

/// The pages are worked with keys alone: each dialog takes the focus, keeps it and gives it back.
///
/// Proves WEB-04.
#[tokio::test]
async fn keys_are_enough_for_devices_and_people() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await.id;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    for (page, button, dialog) in [
        ("/settings", "#another-device".to_owned(), "#transfer"),
        ("/people", format!("[data-user-id='{bob}'] .person-more"), "#person"),
        ("/people", "#new-invite".to_owned(), "#invite"),
        ("/people", "#rotate-join-code".to_owned(), "dialog"),
    ] {
        ann.asks(
            "document.querySelector(arguments[0]).focus()",
            &[json!(format!(".page-link[href='{page}']"))],
        )
        .await;
        ann.presses(&[Key::Enter.into()]).await;
        ann.is_at(page).await;
        ann.sees(&button).await;
        ann.tabs_to(&button).await;
        ann.presses(&[Key::Enter.into()]).await;
        ann.sees(dialog).await;
        for _ in 0..14 {
            ann.presses(&[Key::Tab.into()]).await;
            let inside = "return document.activeElement === document.body || document.activeElement.closest('dialog') !== null";
            assert_eq!(ann.asks(inside, &[]).await, json!(true), "{dialog} keeps the focus");
        }
        ann.presses(&[Key::Escape.into()]).await;
        ann.misses("dialog").await;
        ann.is_in(&button).await;
    }
    // A role is changed, and what says so is heard.
    ann.presses(&[Key::Escape.into()]).await;
    ann.asks(
        "document.querySelector(arguments[0]).focus()",
        &[json!(format!("[data-user-id='{bob}'] .person-more"))],
    )
    .await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.tabs_to("#person select[name=role]").await;
    ann.types("g").await;
    ann.tabs_to("#person [type=submit]").await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.reads("#person .saved[role=status]", "The role is changed").await;
    let inside = "return document.activeElement.closest('dialog') !== null";
    ann.until("the focus in the dialog", inside, &[]).await;
    ann.presses(&[Key::Escape.into()]).await;
    ann.reads(&format!("#people [data-user-id='{bob}'] .person-state"), "guest").await;
    ann.is_content(&[]).await;
    ann.leaves().await;
}
