//! What a browser said and nobody answered: lost answers, cut lines, crashed browsers, refusals and conflicts.

use super::driver::Driver;
use super::line::{Line, State};
use super::window::Window;
use crate::harness::{Ground, House, PASSWORD};
use crate::rest::Caller;
use serde_json::{Value, json};

/// How many entries the browser's outbox has on record.
const RECORDED: &str = "return new Promise((resolve) => {
    const open = indexedDB.open('hearth', 1);
    open.onsuccess = () => {
      const all = open.result.transaction('outbox').objectStore('outbox').getAll();
      all.onsuccess = () => resolve(all.result.flatMap(({ entries }) => entries).length);
    };
  })";

async fn records(window: &Window, count: usize) {
    let script = RECORDED.replace(".length)", ".length === arguments[0])");
    window.until(&format!("{count} on record"), &script, &[json!(count)]).await;
}

/// Ann's window on a line of its own, signed in.
async fn ann_on_a_line(driver: &Driver, house: &House) -> (Window, Line) {
    let line = Line::to(house.server.port()).await;
    let ann = driver.window("ann").await;
    ann.opens(&line.url()).await;
    ann.signs_in("ann@example.org").await;
    (ann, line)
}

async fn is_apart(window: &Window) {
    window.sees("#connection:not([data-state=connected])").await;
}

/// Remembers the element of a message, to tell it from another with the same text.
async fn marks(window: &Window, text: &str) {
    let script = "const row = [...document.querySelectorAll('.message')]
        .find((one) => one.querySelector('.body').textContent === arguments[0]);
        row.marked = true;
        return true";
    window.asks(script, &[json!(text)]).await;
}

async fn is_marked(window: &Window, text: &str) {
    let script = "return [...document.querySelectorAll('.message')]
        .find((one) => one.querySelector('.body').textContent === arguments[0])?.marked ?? false";
    assert_eq!(window.asks(script, &[json!(text)]).await, json!(true), "{text:?} is another element");
}

/// Replaces the text in the editor that is open and saves it.
async fn edits(window: &Window, text: &str, wanted: &str) {
    window.chooses(text, "edit").await;
    window.is_in(".editor textarea").await;
    window.asks("document.activeElement.select()", &[]).await;
    window.types(wanted).await;
    window.presses(&['\u{e007}']).await;
    window.misses(".editor").await;
}

async fn deletes(window: &Window, text: &str) {
    window.chooses(text, "delete").await;
    window.clicks(".dialog .danger").await;
    window.loses(text).await;
}

/// Waits until the room reads so on the server.
async fn comes_to(house: &House, wanted: &[&str]) {
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    loop {
        let read = house.admin.reads(house.lobby).await;
        if read == wanted {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{read:?} in place of {wanted:?}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

/// The answers to a message, an edit and a deletion are lost. With the next connection they are repeated, and nothing is
/// doubled, in conflict, or another element on the page.
///
/// Proves OPT-01, OPT-04, OPT-12.
#[tokio::test]
async fn lost_answers_are_asked_for_again() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let (ann, line) = ann_on_a_line(&driver, &house).await;
    ann.says("To be changed").await;
    ann.hears("To be changed").await;
    ann.says("To be gone").await;
    ann.hears("To be gone").await;
    ann.watches_for_phantoms(true).await;
    line.is(State::Deaf);
    ann.says("In doubt").await;
    marks(&ann, "In doubt").await;
    ann.finds("In doubt", "pending").await;
    comes_to(&house, &["To be changed", "To be gone", "In doubt"]).await;
    edits(&ann, "To be changed", "Changed").await;
    comes_to(&house, &["Changed", "To be gone", "In doubt"]).await;
    deletes(&ann, "To be gone").await;
    line.is(State::Cut);
    is_apart(&ann).await;
    line.is(State::Whole);
    ann.is_connected().await;
    ann.hears("In doubt").await;
    is_marked(&ann, "In doubt").await;
    records(&ann, 0).await;
    comes_to(&house, &["Changed", "In doubt"]).await;
    ann.misses(".editor").await;
    ann.misses(".message-foot").await;
    let shown: Vec<String> = ann.rows().await.into_iter().map(|row| row.body).collect();
    assert_eq!(shown, ["Changed", "In doubt"]);
    assert_eq!(ann.phantoms().await, json!([]));
    let log = house.admin.client.feed(0, std::time::Duration::ZERO, None).await.expect("the log");
    let count = |kind: &str| log.events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("message.posted"), count("message.edited"), count("message.deleted")), (3, 1, 1));
    ann.leaves().await;
}

/// A message, an edit and a deletion wait when the whole browser is killed. The next one on the same profile sends them, once.
///
/// Proves OPT-03.
#[tokio::test]
async fn what_waits_survives_a_killed_browser() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let (ann, line) = ann_on_a_line(&driver, &house).await;
    ann.says("To be changed").await;
    ann.hears("To be changed").await;
    ann.says("To be gone").await;
    ann.hears("To be gone").await;
    line.is(State::Cut);
    is_apart(&ann).await;
    ann.says("Written in the dark").await;
    ann.finds("Written in the dark", "pending").await;
    edits(&ann, "To be changed", "Changed").await;
    deletes(&ann, "To be gone").await;
    records(&ann, 3).await;
    driver.kills("ann");
    line.is(State::Whole);
    let ann = driver.window("ann").await;
    ann.opens(&line.url()).await;
    // Chromium may have lost the cookie, which it writes down later.
    let place = "return document.querySelector('#connection[data-state=connected]') ? 'in' : location.pathname === '/sign-in' && document.querySelector('#gate form') ? 'out' : false";
    if ann.until("a page", place, &[]).await == json!("out") {
        ann.submits("#gate form", &[("email", "ann@example.org"), ("password", PASSWORD)]).await;
    }
    ann.is_connected().await;
    ann.hears("Written in the dark").await;
    ann.hears("Changed").await;
    ann.loses("To be gone").await;
    records(&ann, 0).await;
    comes_to(&house, &["Changed", "Written in the dark"]).await;
    let log = house.admin.client.feed(0, std::time::Duration::ZERO, None).await.expect("the log");
    let count = |kind: &str| log.events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("message.posted"), count("message.edited"), count("message.deleted")), (3, 1, 1));
    ann.leaves().await;
}

/// Apart from the server one goes on writing and changing, survives a reload of what can be reloaded, and in the end both sides
/// show the same.
///
/// Proves WEB-09.
#[tokio::test]
async fn apart_one_goes_on_writing_and_comes_together_again() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = Caller::of(&house.joined_by("Bob").await);
    let (ann, line) = ann_on_a_line(&driver, &house).await;
    ann.says("Before").await;
    ann.hears("Before").await;
    line.is(State::Cut);
    is_apart(&ann).await;
    let placeholder =
        "return document.getElementById('composer').placeholder === 'Sent once the connection is back'";
    ann.until("it says that it waits", placeholder, &[]).await;
    for text in ["One", "Two", "Three"] {
        ann.says(text).await;
        ann.finds(text, "pending").await;
    }
    ann.reads(".message[data-state=pending] .message-foot", "Waiting to be sent").await;
    edits(&ann, "Before", "Long before").await;
    ann.finds("Long before", "sent").await;
    ann.reads(".message.changing .message-foot", "Waiting to be saved").await;
    bob.says(house.lobby, "Where is Ann?").await;
    line.is(State::Whole);
    ann.is_connected().await;
    for text in ["Long before", "Where is Ann?", "One", "Two", "Three"] {
        ann.hears(text).await;
    }
    comes_to(&house, &["Long before", "Where is Ann?", "One", "Two", "Three"]).await;
    ann.misses(".message-foot").await;
    let shown: Vec<String> = ann.rows().await.into_iter().map(|row| row.body).collect();
    assert_eq!(shown, house.admin.reads(house.lobby).await);
    ann.leaves().await;
}

/// The server's version stands above, one's own text is kept below, and can be saved over it.
///
/// Proves OPT-12.
#[tokio::test]
async fn a_conflict_shows_theirs_and_keeps_mine() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let (ann, line) = ann_on_a_line(&driver, &house).await;
    ann.says("Original").await;
    ann.hears("Original").await;
    let id = ann.rows().await[0].id.expect("an id");
    line.is(State::Cut);
    is_apart(&ann).await;
    edits(&ann, "Original", "Mine").await;
    ann.finds("Mine", "sent").await;
    let elsewhere = Caller::of(&house.admin).with("if-match", "1");
    elsewhere.patch(&format!("/messages/{id}"), json!({ "body": "Theirs" })).await.expect(200);
    line.is(State::Whole);
    ann.is_connected().await;
    ann.sees(".message.conflict .editor").await;
    ann.reads(".message.conflict .body", "Theirs").await;
    let text = "return document.querySelector('.editor textarea').value === 'Mine'";
    ann.until("my text is kept", text, &[]).await;
    ann.reads(".editor-note", "changed meanwhile").await;
    comes_to(&house, &["Theirs"]).await;
    ann.clicks(".editor .primary").await;
    comes_to(&house, &["Mine"]).await;
    ann.hears("Mine").await;
    ann.misses(".editor").await;
    ann.leaves().await;
}

/// What the server will not have goes back into the composer with the reason, and the room is as the server has it.
///
/// Proves OPT-10.
#[tokio::test]
async fn a_refused_message_goes_back_to_its_writer() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let (ann, _line) = ann_on_a_line(&driver, &house).await;
    ann.says("Accepted").await;
    ann.hears("Accepted").await;
    // No keyboard has this character, but a paste may.
    let paste = "const area = document.getElementById('composer');
        area.focus();
        area.value = 'with a \\u0000 in it';
        area.dispatchEvent(new InputEvent('input', { bubbles: true }));
        area.form.requestSubmit();
        return area.value";
    assert_eq!(ann.asks(paste, &[]).await, json!(""));
    ann.reads("#composer-note", "Not sent: The text contains a NUL character.").await;
    let text = "return document.getElementById('composer').value === 'with a \\u0000 in it'";
    ann.until("the text is back", text, &[]).await;
    ann.is_in("#composer").await;
    ann.misses(".message:not([data-state=sent])").await;
    records(&ann, 0).await;
    let shown: Vec<String> = ann.rows().await.into_iter().map(|row| row.body).collect();
    assert_eq!(shown, house.admin.reads(house.lobby).await);
    // It can be mended and sent.
    ann.asks("document.getElementById('composer').select()", &[]).await;
    ann.types("without it").await;
    ann.presses(&['\u{e007}']).await;
    ann.hears("without it").await;
    comes_to(&house, &["Accepted", "without it"]).await;
    ann.leaves().await;
}

/// Two tabs of one browser: each shows what the other writes once, and neither sends what the other has in its outbox.
///
/// Proves OPT-05.
#[tokio::test]
async fn a_second_tab_shows_each_message_once() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let (ann, line) = ann_on_a_line(&driver, &house).await;
    let first = ann.client.window().await.expect("a tab");
    let second = ann.client.new_window(true).await.expect("a tab").handle;
    ann.client.switch_to_window(second.clone()).await.expect("switches");
    ann.opens(&line.url()).await;
    ann.is_connected().await;
    ann.watches_for_phantoms(false).await;
    ann.client.switch_to_window(first.clone()).await.expect("switches");
    ann.watches_for_phantoms(true).await;
    let mut wanted = Vec::new();
    for number in 0..12 {
        // In the middle the line goes, and what is written then waits in the first tab's outbox while the second comes back, too.
        if number == 6 {
            line.is(State::Cut);
            is_apart(&ann).await;
        }
        let text = format!("Message {number}");
        ann.says(&text).await;
        wanted.push(text);
    }
    line.is(State::Whole);
    ann.is_connected().await;
    ann.hears("Message 11").await;
    assert_eq!(ann.phantoms().await, json!([]));
    ann.client.switch_to_window(second).await.expect("switches");
    ann.is_connected().await;
    ann.hears("Message 11").await;
    let shown: Vec<String> = ann.rows().await.into_iter().map(|row| row.body).collect();
    assert_eq!(shown, wanted);
    assert_eq!(ann.phantoms().await, json!([]));
    assert_eq!(house.admin.reads(house.lobby).await, wanted);
    ann.leaves().await;
}

/// With a message in flight here and another in a second tab: what was on record is gone, and neither puts it back.
#[tokio::test]
async fn signing_out_leaves_nothing_behind() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let (ann, line) = ann_on_a_line(&driver, &house).await;
    let first = ann.client.window().await.expect("a tab");
    let second = ann.client.new_window(true).await.expect("a tab").handle;
    ann.client.switch_to_window(second.clone()).await.expect("switches");
    ann.opens(&line.url()).await;
    ann.is_connected().await;
    line.is(State::Deaf);
    ann.says("In the other tab").await;
    ann.client.switch_to_window(first).await.expect("switches");
    ann.says("On its way").await;
    ann.finds("On its way", "pending").await;
    records(&ann, 2).await;
    ann.clicks("#sign-out").await;
    ann.client.accept_alert().await.expect("asks whether to lose it");
    ann.is_at("/sign-in").await;
    ann.client.switch_to_window(second).await.expect("switches");
    // That tab hasn't heard of it on its line, and goes on.
    ann.says("Written too late").await;
    assert_eq!(ann.asks(RECORDED, &[]).await, json!(0));
    let drafts = "return sessionStorage.getItem('hearth.drafts')";
    ann.client.close_window().await.expect("closes");
    ann.client.switch_to_window(ann.client.windows().await.expect("tabs").remove(0)).await.expect("switches");
    assert_eq!(ann.asks(drafts, &[]).await, Value::Null);
    assert_eq!(ann.asks(RECORDED, &[]).await, json!(0));
    ann.leaves().await;
}
