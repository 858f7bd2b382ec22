//! From the printed address to a conversation of two people and a bot that survives a crash of the server.

use super::driver::Driver;
use super::window::{Row, Window};
use crate::harness::{Ground, PASSWORD, empty};
use fantoccini::key::Key;
use loadtest::client::Client;
use loadtest::server::Server;
use serde_json::json;
use std::process::Command;

/// What the browser says in its console while the server is away.
const OUTAGE: [&str; 4] = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_SOCKET", "WebSocket"];

/// The address that the server printed.
fn printed_address(server: &Server) -> String {
    let log = std::fs::read_to_string(server.log_path()).expect("the log is readable");
    let line = log.lines().find_map(|line| line.strip_prefix("Hearth is ready: open "));
    line.unwrap_or_else(|| panic!("no address in {log}")).trim().to_owned()
}

/// Sends a signal to the server.
fn signal(server: &Server, signal: &str) {
    let pid = server.pid().expect("it runs").to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
}

/// Ann does the first run, sees the first room, and has the link to invite others on her clipboard.
async fn first_run(ann: &Window, address: &str) -> String {
    ann.opens(address).await;
    ann.is_at("/setup").await;
    let fields = [
        ("account_name", "The Lighthouse"),
        ("name", "Ann"),
        ("email", "ann@example.org"),
        ("password", PASSWORD),
    ];
    ann.submits("#gate form", &fields).await;
    ann.is_connected().await;
    ann.sees(".room-link[aria-current=page]").await;
    ann.reads(".account-name", "The Lighthouse").await;
    // The empty room says what comes next.
    ann.reads(".welcome", "the first one here").await;
    ann.clicks("#invite-link + button").await;
    ann.reads("#invite-link + button", "Copied").await;
    // What was copied is what can be pasted.
    ann.clicks("#composer").await;
    ann.presses_with(Key::Control.into(), 'v').await;
    let script = "return document.getElementById('composer').value || null";
    let link = ann.until("the pasted link", script, &[]).await.as_str().expect("text").to_owned();
    ann.presses_with(Key::Control.into(), 'a').await;
    ann.presses(&[Key::Delete.into()]).await;
    assert!(link.starts_with(&format!("{address}/join/").replace("//join", "/join")), "{link}");
    link
}

/// Bob follows the link, makes his account and is in the same room.
async fn joins(bob: &Window, link: &str) {
    bob.opens(link).await;
    bob.reads("#gate h1", "The Lighthouse").await;
    bob.submits("#gate form", &[("name", "Bob"), ("email", "bob@example.org"), ("password", PASSWORD)]).await;
    bob.is_connected().await;
    bob.sees(".room-link[aria-current=page]").await;
}

/// Who is here, and who is writing.
async fn presence_and_typing(ann: &Window, bob: &Window) {
    ann.clicks(".page-link[href='/people']").await;
    let script = "return [...document.querySelectorAll('.person')]
        .some((one) => one.textContent.includes('Bob') && one.querySelector('.person-state').textContent.includes('online'))";
    ann.until("Bob online", script, &[]).await;
    ann.clicks(".room-link").await;
    bob.drafts("Let me th").await;
    ann.reads("#typing", "Bob is typing").await;
    assert_eq!(bob.asks("return document.getElementById('typing').textContent", &[]).await, json!(""));
    bob.types("ink").await;
    bob.presses(&[Key::Enter.into()]).await;
    ann.hears("Let me think").await;
    let silent = "return document.getElementById('typing').textContent === ''";
    ann.until("nobody typing", silent, &[]).await;
}

/// Ann makes a bot, and the example in the page is run as it stands.
async fn a_bot_speaks(ann: &Window) {
    ann.clicks(".page-link[href='/bots']").await;
    ann.submits(".scroll-page form", &[("name", "Night watch")]).await;
    ann.sees("#bot-key").await;
    let example = ann.asks("return document.getElementById('bot-example').textContent", &[]).await;
    let example = example.as_str().expect("text");
    let key = ann.asks("return document.getElementById('bot-key').value", &[]).await;
    assert!(example.contains(key.as_str().expect("text")), "{example}");
    let output = Command::new("sh").args(["-c", example]).env("no_proxy", "*").output().expect("a shell");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && answer.contains("Hello from Night watch"), "{example}\n{answer}");
    ann.clicks(".room-link").await;
}

/// The server dies and comes back; what is written meanwhile waits and is sent by itself.
async fn an_outage(server: &mut Server, ann: &Window, bob: &Window) {
    server.kill().expect("killed");
    ann.sees("#connection:not([data-state=connected])").await;
    bob.sees("#connection:not([data-state=connected])").await;
    ann.says("Written in the dark").await;
    ann.finds("Written in the dark", "pending").await;
    bob.drafts("Half a thou").await;
    server.restart().await.expect("it comes back");
    bob.types("ght").await;
    bob.presses(&[Key::Enter.into()]).await;
    ann.is_connected().await;
    bob.is_connected().await;
    for text in ["Written in the dark", "Half a thought"] {
        ann.hears(text).await;
        bob.hears(text).await;
    }
    // This time the message is on its way when the server dies, and nobody knows whether it arrived.
    signal(server, "-STOP");
    bob.says("Into the void").await;
    bob.finds("Into the void", "pending").await;
    server.restart().await.expect("it comes back");
    bob.is_connected().await;
    ann.is_connected().await;
    bob.hears("Into the void").await;
    ann.hears("Into the void").await;
}

/// Bob starts a direct conversation; Ann is told and answers.
async fn a_direct_conversation(ann: &Window, bob: &Window) -> u64 {
    bob.clicks("#new-direct").await;
    bob.clicks(".dialog .choice").await;
    bob.clicks(".dialog [type=submit]").await;
    bob.reads(".bar-title", "Ann").await;
    bob.says("Between the two of us").await;
    let room = bob.room().await;
    let link = format!(".room-link[data-room-id='{room}']");
    ann.reads(&format!("{link} .unread"), "1").await;
    ann.clicks(&link).await;
    ann.hears("Between the two of us").await;
    ann.says("Of course").await;
    bob.hears("Of course").await;
    room
}

/// What the server holds, as rows.
async fn history(client: &Client, room: u64) -> Vec<(Option<u64>, String)> {
    let (messages, _) = client.history(room).await.expect("history");
    messages.into_iter().map(|message| (Some(message.id), message.body)).collect()
}

async fn shows(window: &Window) -> Vec<(Option<u64>, String)> {
    let rows = window.rows().await;
    assert!(rows.iter().all(|row| row.state == "sent"), "{rows:#?}");
    rows.into_iter().map(|Row { id, body, .. }| (id, body)).collect()
}

/// First run, invitation, conversation, bot, crash, edit, delete, sign-out and sign-in, in three windows.
///
/// Proves TEST-02, OPT-05, OPT-13, WEB-02.
#[tokio::test]
async fn two_people_and_a_bot_talk_through_a_crash() {
    let driver = Driver::start().await;
    let (mut server, _dir) = empty(Ground::Sqlite, &["--set", "presence.grace_ms=500"]).await;
    let ann = driver.window("ann").await;
    let bob = driver.window("bob").await;

    let link = first_run(&ann, &printed_address(&server)).await;
    joins(&bob, &link).await;
    let lobby = ann.room().await;
    assert_eq!(bob.room().await, lobby);

    for (speaker, listener, text) in [
        (&ann, &bob, "Welcome, Bob"),
        (&bob, &ann, "Thank you"),
        (&ann, &bob, "Did you find it?"),
        (&bob, &ann, "At once: <b>no</b> & \"yes\" 🔥"),
    ] {
        speaker.says(text).await;
        listener.hears(text).await;
    }
    presence_and_typing(&ann, &bob).await;
    a_bot_speaks(&ann).await;
    ann.hears("Hello from Night watch").await;
    bob.hears("Hello from Night watch").await;

    // Ann's second tab looks on; from here on no window may show anything twice, not for a moment.
    let first = ann.client.window().await.expect("a window");
    let second = ann.client.new_window(true).await.expect("a tab").handle;
    ann.client.switch_to_window(second.clone()).await.expect("switches");
    ann.opens(&format!("{}/rooms/{lobby}", server.url())).await;
    ann.hears("Hello from Night watch").await;
    ann.watches_for_phantoms(false).await;
    ann.client.switch_to_window(first.clone()).await.expect("switches");
    ann.watches_for_phantoms(true).await;
    bob.watches_for_phantoms(true).await;

    ann.says("Seen in both tabs").await;
    an_outage(&mut server, &ann, &bob).await;

    ann.chooses("Did you find it?", "edit").await;
    ann.is_in(".editor textarea").await;
    ann.presses_with(Key::Control.into(), 'a').await;
    ann.types("Did you find the way?").await;
    ann.presses(&[Key::Enter.into()]).await;
    bob.hears("Did you find the way?").await;
    bob.sees(".message .edited").await;
    ann.chooses("Welcome, Bob", "delete").await;
    ann.clicks(".dialog .danger").await;
    bob.loses("Welcome, Bob").await;
    ann.loses("Welcome, Bob").await;

    let rest = Client::new(&server.url()).expect("a client");
    rest.sign_in("bob@example.org", PASSWORD).await.expect("signs in");
    let stored = history(&rest, lobby).await;
    let bodies: Vec<&str> = stored.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(
        bodies[..5],
        [
            "Thank you",
            "Did you find the way?",
            "At once: <b>no</b> & \"yes\" 🔥",
            "Let me think",
            "Hello from Night watch"
        ]
    );
    assert_eq!(bodies.len(), 9, "{bodies:?}");
    assert_eq!(shows(&bob).await, stored);
    assert_eq!(bob.phantoms().await, json!([]));
    for tab in [second, first] {
        ann.client.switch_to_window(tab).await.expect("switches");
        ann.loses("Welcome, Bob").await;
        assert_eq!(shows(&ann).await, stored);
        assert_eq!(ann.phantoms().await, json!([]));
    }

    let direct = a_direct_conversation(&ann, &bob).await;

    bob.clicks("#sign-out").await;
    bob.is_at("/sign-in").await;
    ann.clicks(".page-link[href='/people']").await;
    let script = "return [...document.querySelectorAll('.person')]
        .some((one) => one.textContent.includes('Bob') && one.querySelector('.person-state').textContent.includes('signed out'))";
    ann.until("Bob signed out", script, &[]).await;
    bob.signs_in("bob@example.org").await;
    bob.clicks(&format!(".room-link[data-room-id='{direct}']")).await;
    bob.hears("Of course").await;
    assert_eq!(shows(&bob).await, history(&rest, direct).await);
    bob.clicks(&format!(".room-link[data-room-id='{lobby}']")).await;
    bob.hears("Into the void").await;
    assert_eq!(shows(&bob).await, stored);

    ann.is_content(&OUTAGE).await;
    bob.is_content(&OUTAGE).await;
    ann.leaves().await;
    bob.leaves().await;
}

/// A server that is there but does not answer: the message fails visibly and with a way on, and the answer that comes
/// late after all settles it, once.
///
/// Proves OPT-02.
#[tokio::test]
async fn a_message_without_an_answer_fails_and_can_be_sent_again() {
    let driver = Driver::start().await;
    let house = crate::harness::House::open(Ground::Sqlite).await;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    ann.watches_for_phantoms(true).await;
    signal(&house.server, "-STOP");
    ann.says("Anybody there?").await;
    ann.finds("Anybody there?", "pending").await;
    ann.finds("Anybody there?", "failed").await;
    ann.sees(".message .retry").await;
    ann.sees(".message .take-back").await;
    ann.reads("#announcer", "A message was not sent").await;
    ann.clicks(".message .retry").await;
    signal(&house.server, "-CONT");
    ann.hears("Anybody there?").await;
    ann.says("Good").await;
    ann.hears("Good").await;
    assert_eq!(house.admin.reads(house.lobby).await, ["Anybody there?", "Good"]);
    assert_eq!(ann.phantoms().await, json!([]));
    ann.leaves().await;
}

/// A tab that is closed while its message waits: the next one sends it.
#[tokio::test]
async fn what_was_not_sent_survives_the_tab() {
    let driver = Driver::start().await;
    let mut house = crate::harness::House::open(Ground::Sqlite).await;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    house.server.kill().expect("killed");
    ann.sees("#connection:not([data-state=connected])").await;
    ann.says("Do not forget me").await;
    ann.finds("Do not forget me", "pending").await;
    let blank = ann.client.new_window(true).await.expect("a tab").handle;
    ann.client.close_window().await.expect("closes");
    ann.client.switch_to_window(blank).await.expect("switches");
    house.server.restart().await.expect("it comes back");
    ann.opens(&format!("{}/rooms/{}", house.url(), house.lobby)).await;
    ann.hears("Do not forget me").await;
    let client = Client::new(&house.url()).expect("a client");
    client.sign_in("ann@example.org", PASSWORD).await.expect("signs in");
    assert_eq!(client.history(house.lobby).await.expect("history").0.len(), 1);
    ann.leaves().await;
}
