//! Assistants in the page: made, asked by a name from the list, seen and heard while they answer, stopped, asked again, and out of money.

use super::driver::{Driver, Screen};
use super::use_of_it::{fits, is_accessible};
use super::window::Window;
use crate::harness::upstream::script::{Gate, Script, refuses_the_key, says};
use crate::harness::upstream::{Ended, Upstream};
use crate::harness::{Ground, House, PATIENCE};
use crate::rest::caller::Caller;
use fantoccini::key::Key;
use serde_json::{Value, json};

/// Ann makes an assistant in the page and goes back to the lobby.
async fn makes_an_assistant(ann: &Window, house: &House, upstream: &Upstream) {
    ann.clicks(".page-link[href='/assistants']").await;
    ann.is_at("/assistants").await;
    let fields =
        [("name", "Helper"), ("model", "tiny"), ("base_url", &*upstream.url()), ("api_key", "sk-quiet")];
    ann.submits("#new-assistant form", &fields).await;
    ann.reads("#assistants .assistant", "Helper").await;
    ann.reads("#assistants .assistant", "with a key").await;
    // From the end of a long form to what came of it; the form is as it was.
    let there = "return document.activeElement.matches('#assistants .assistant .change')
        && document.querySelector('#new-assistant [name=name]').value === ''
        && document.querySelector('#new-assistant [name=prompt_price]').value === '0'";
    ann.until("it is at hand", there, &[]).await;
    ann.clicks(&format!(".room-link[data-room-id='{}']", house.lobby)).await;
    ann.sees("#composer").await;
}

async fn enters(driver: &Driver, house: &House, name: &'static str, screen: Screen) -> Window {
    let window = driver.window_on(name, screen).await;
    window.opens(&format!("{}/rooms/{}", house.url(), house.lobby)).await;
    window.signs_in(&format!("{name}@example.org")).await;
    if window.asks("return location.pathname", &[]).await != json!(format!("/rooms/{}", house.lobby)) {
        window.opens(&format!("{}/rooms/{}", house.url(), house.lobby)).await;
    }
    window.is_connected().await;
    window.sees("#composer").await;
    window
}

/// The last answer stands so, with this text.
async fn shows(window: &Window, state: &str, text: &str) {
    let script = "const last = [...document.querySelectorAll('.message[data-answer]')].at(-1);
        return last?.dataset.answer === arguments[0] && last.querySelector('.body').textContent === arguments[1]";
    window.until(&format!("an answer {state}: {text:?}"), script, &[json!(state), json!(text)]).await;
}

/// What those hear who don't look.
async fn aloud(window: &Window) -> String {
    let script =
        "return [...document.querySelectorAll('#answers p')].map((one) => one.textContent).join('|')";
    window.asks(script, &[]).await.as_str().expect("text").to_owned()
}

async fn asks(window: &Window, text: &str) {
    window.clicks("#composer").await;
    window.types(text).await;
    window.presses(&[Key::Enter.into()]).await;
}

/// Half an answer, until the test lets the rest come.
fn in_two(gate: &Gate) -> Script {
    says(["Grüße an ", "alle. Ein 世界-"])
        .then_waits_for(gate)
        .then_says(["Herd", " ist warm."])
        .then_usage(12, 5)
}

/// Proves AI-07, AI-08.
#[tokio::test]
async fn an_answer_is_seen_by_all_while_it_is_written() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    house.joined_by("Bob").await;
    let upstream = Upstream::start().await;
    let ann = enters(&driver, &house, "ann", Screen::Desktop).await;
    makes_an_assistant(&ann, &house, &upstream).await;

    // The list of names opens at the @, and takes the keys as long as it is open.
    ann.drafts("@he").await;
    ann.reads("#mentions [aria-selected=true] .role", "assistant").await;
    let active = "return document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.textContent.includes('Helper')";
    ann.until("the option is told", active, &[]).await;
    is_accessible(&ann).await;
    ann.presses(&[Key::Escape.into()]).await;
    ann.until("the list closed", "return document.getElementById('mentions').hidden", &[]).await;
    ann.types("l").await;
    ann.until("it stays closed", "return document.getElementById('mentions').hidden", &[]).await;
    ann.fills("#composer", "").await;
    ann.types("@he").await;
    ann.sees("#mentions").await;
    ann.presses(&[Key::Tab.into()]).await;
    assert_eq!(ann.value("#composer").await, "@Helper ");
    ann.is_in("#composer").await;

    let gate = Gate::new();
    upstream.answers(in_two(&gate));
    ann.types("what is a hearth?").await;
    ann.presses(&[Key::Enter.into()]).await;
    gate.is_reached().await;
    shows(&ann, "running", "Grüße an alle. Ein 世界-").await;
    ann.reads("#answers", "Helper is answering.").await;
    ann.reads("#answers", "Grüße an alle.").await;
    assert!(!aloud(&ann).await.contains("Ein"), "no half sentence");
    let piecemeal = "return document.querySelector('.message[data-answer] .body').closest('[aria-live], [role=log], [role=status]')";
    assert!(ann.asks(piecemeal, &[]).await.is_null(), "the text itself is not told piece by piece");
    is_accessible(&ann).await;

    // Who comes in the middle, and who comes back, sees the same.
    let bob = enters(&driver, &house, "bob", Screen::Phone).await;
    shows(&bob, "running", "Grüße an alle. Ein 世界-").await;
    bob.misses(".answer-stop").await;
    fits(&bob).await;
    is_accessible(&bob).await;
    ann.client.refresh().await.expect("reloads");
    shows(&ann, "running", "Grüße an alle. Ein 世界-").await;

    gate.opens();
    for window in [&ann, &bob] {
        shows(window, "done", "Grüße an alle. Ein 世界-Herd ist warm.").await;
        window.reads("#answers", "Ein 世界-Herd ist warm.").await;
        window.reads("#answers", "Helper has answered.").await;
        window.reads(".usage", "12 tokens read, 5 written").await;
    }
    ann.client.refresh().await.expect("reloads");
    shows(&ann, "done", "Grüße an alle. Ein 世界-Herd ist warm.").await;
    assert_eq!(upstream.requests().len(), 1);
    fits(&bob).await;
    ann.is_content(&[]).await;
    bob.is_content(&[]).await;
    ann.leaves().await;
    bob.leaves().await;
}

#[tokio::test]
async fn an_answer_is_stopped_by_its_button_and_asked_for_again() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let upstream = Upstream::start().await;
    let ann = enters(&driver, &house, "ann", Screen::Desktop).await;
    makes_an_assistant(&ann, &house, &upstream).await;

    upstream.answers(says(["It begins well"]).then_stalls());
    asks(&ann, "@Helper, go on and on").await;
    shows(&ann, "running", "It begins well").await;
    ann.presses(&[Key::Escape.into(), Key::Escape.into()]).await;
    ann.asks("document.querySelector('.scroller').focus()", &[]).await;
    ann.tabs_to(".answer-stop").await;
    ann.presses(&[Key::Escape.into()]).await;
    shows(&ann, "running", "It begins well").await;
    ann.sees(".answer-stop").await;
    assert_eq!(upstream.open(), 1, "Escape stops nothing");
    ann.presses(&[Key::Enter.into()]).await;
    shows(&ann, "cancelled", "It begins well").await;
    ann.reads(".answer-foot", "Stopped.").await;
    ann.reads("#answers", "Helper was stopped.").await;
    let (ended, _) = tokio::time::timeout(PATIENCE, upstream.ended(1)).await.expect("in time");
    assert_eq!(ended, Ended::HungUp);
    ann.is_in(".message[data-answer=cancelled]").await;

    // Once more, and this time the engine doesn't like the key.
    upstream.answers(refuses_the_key());
    ann.clicks(".answer-again").await;
    shows(&ann, "failed", "").await;
    ann.reads(".message[data-answer=failed] .answer-foot", "doesn’t accept the key").await;
    ann.reads("#answers", "Helper failed: Its engine doesn’t accept the key.").await;
    is_accessible(&ann).await;
    let stopped = "return document.querySelector('.message[data-answer=cancelled] .answer-again') === null";
    ann.until("only the last is asked for again", stopped, &[]).await;

    upstream.answers(says(["<b>Bold</b> & @everyone: https://example.org/x"]).then_usage(3, 4));
    ann.clicks(".message[data-answer=failed] .answer-again").await;
    shows(&ann, "done", "<b>Bold</b> & @everyone: https://example.org/x").await;
    let plain = "const body = document.querySelector('.message[data-answer=done] .body');
        return body.querySelectorAll('b, img, iframe').length === 0 && body.querySelector('a').rel.includes('noopener')";
    assert_eq!(ann.asks(plain, &[]).await, json!(true), "text is text");
    assert_eq!(upstream.requests().len(), 3);
    ann.is_content(&[]).await;
    ann.leaves().await;
}

/// Proves AI-12.
#[tokio::test]
async fn a_question_over_budget_says_so_and_is_asked_again() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let upstream = Upstream::start().await;
    let ann = enters(&driver, &house, "ann", Screen::Desktop).await;
    makes_an_assistant(&ann, &house, &upstream).await;
    let budget = async |tokens: &str, dollars: &str| {
        ann.clicks(".page-link[href='/assistants']").await;
        ann.sees("#budgets").await;
        ann.fills("[name=tokens_max]", tokens).await;
        ann.fills("[name=micros_max]", dollars).await;
        ann.clicks("form:has([name=tokens_max]) [type=submit]").await;
    };
    budget("10", "0.5").await;
    ann.reads("#budgets", "$0.5").await;
    is_accessible(&ann).await;
    ann.clicks(".room-link").await;
    asks(&ann, "@Helper, what does it cost?").await;
    ann.reads("[data-refused=budget_exceeded]", "the budget is used up").await;
    is_accessible(&ann).await;
    assert_eq!(upstream.requests().len(), 0, "nothing is spent");
    budget("", "").await;
    ann.reads("#budgets", "nothing limits").await;
    ann.clicks(".room-link").await;
    ann.clicks(".ask-retry").await;
    shows(&ann, "done", "Hello there.").await;
    ann.misses("[data-refused]").await;

    // The page knows what it was, and switches it off.
    ann.clicks(".page-link[href='/assistants']").await;
    ann.reads("#usage", "Ann").await;
    ann.picks("[name=by]", "model").await;
    ann.reads("#usage", "tiny").await;
    ann.clicks("#assistants .change").await;
    ann.sees("#assistant form").await;
    let key = "return document.querySelector('#assistant [name=api_key]').value + document.documentElement.outerHTML.includes('sk-quiet')";
    assert_eq!(ann.asks(key, &[]).await, json!("false"), "the key is never shown");
    // The key doesn't follow to another address by itself.
    let elsewhere = Upstream::start().await;
    ann.submits("#assistant form", &[("model", "smaller"), ("base_url", &*elsewhere.url())]).await;
    ann.reads("#assistant [data-field=api_key].wrong .field-note", "Key has to be given again").await;
    ann.submits("#assistant form", &[("base_url", &*upstream.url())]).await;
    ann.misses("dialog").await;
    ann.reads("#assistants .assistant", "smaller").await;
    ann.reads("#assistants .assistant", "with a key").await;
    ann.clicks("#assistants .switch").await;
    ann.sees("#assistants [data-state=off]").await;
    is_accessible(&ann).await;
    ann.clicks(".room-link").await;
    asks(&ann, "@Helper, are you there?").await;
    ann.reads("[data-refused=ai_unavailable]", "can’t be asked at present").await;
    ann.clicks(".page-link[href='/assistants']").await;
    ann.clicks("#assistants .remove").await;
    ann.clicks(".dialog .danger").await;
    ann.misses("#assistants .assistant").await;
    ann.is_content(&["422"]).await;
    ann.leaves().await;
}

/// Proves CORR-13.
#[tokio::test]
async fn settings_are_saved_by_themselves_and_hold_for_the_next_question() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let upstream = Upstream::start().await;
    let ann = enters(&driver, &house, "ann", Screen::Desktop).await;
    makes_an_assistant(&ann, &house, &upstream).await;
    ann.clicks(".page-link[href='/settings']").await;
    ann.sees("#preferences[data-state=saved]").await;
    let watches = "window.states = [];
        const panel = document.getElementById('preferences');
        new MutationObserver(() => window.states.push(panel.dataset.state)).observe(panel, { attributes: true });
        return true";
    ann.asks(watches, &[]).await;
    ann.fills("#preferences [name=language]", "Esperanto").await;
    ann.until("it was pending", "return window.states.includes('pending')", &[]).await;
    ann.reads("#preferences .pending", "Saved.").await;
    ann.client.refresh().await.expect("reloads");
    ann.sees("#preferences[data-state=saved]").await;
    assert_eq!(ann.value("#preferences [name=language]").await, "Esperanto");
    is_accessible(&ann).await;
    // Not a second later, but at once: the question waits for it.
    ann.fills("#preferences [name=instructions]", "Speak like a pirate").await;
    ann.clicks(".room-link").await;
    asks(&ann, "@Helper, ahoy?").await;
    let asked = upstream.is_asked().await;
    let question = asked.said_by("user").join("\n");
    assert!(question.contains("Esperanto") && question.contains("Speak like a pirate"), "{question}");
    shows(&ann, "done", "Hello there.").await;
    ann.is_content(&[]).await;
    ann.leaves().await;
}

/// Proves CORR-01, CORR-08.
#[tokio::test]
async fn dice_are_rolled_in_the_page_even_while_the_socket_sends_nothing() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bot = Caller::bot_of(&house, "Robot").await;
    let ann = enters(&driver, &house, "ann", Screen::Phone).await;
    let roll = json!({ "count": 2, "sides": 6 });
    let request = async |kind: &str, arguments: &Value| {
        let body = json!({ "user_id": house.admin.id, "room_id": house.lobby, "kind": kind, "arguments": arguments });
        let made = bot.post("/actions", body).await.expect(201);
        made["id"].as_str().expect("an id").to_owned()
    };
    let result = async |id: &str| {
        let seen = bot.get(&format!("/actions/{id}")).await.expect(200);
        (seen["state"].clone(), seen["result"].clone())
    };

    let first = request("dice.roll", &roll).await;
    ann.reads(".request-question", "Robot asks you to roll 2 dice.").await;
    ann.is_in("body, #main, #composer, .scroller").await;
    ann.reads("#announcer", "Robot asks you to roll 2 dice.").await;
    fits(&ann).await;
    is_accessible(&ann).await;
    ann.clicks(".request-roll").await;
    ann.sees("#requests [data-state=done] .die").await;
    ann.is_in(".request-dismiss").await;
    let (state, rolls) = result(&first).await;
    let faces = rolls["rolls"].as_array().expect("rolls").iter().map(|face| face.as_u64().expect("a number"));
    let faces: Vec<u64> = faces.collect();
    assert!(faces.len() == 2 && faces.iter().all(|face| (1..=6).contains(face)), "{faces:?}");
    assert_eq!(state, "done");
    let shown = "return [...document.querySelectorAll('.die')].map((die) => Number(die.textContent))";
    assert_eq!(ann.asks(shown, &[]).await, json!(faces));
    is_accessible(&ann).await;

    // From here on nothing gets out by the socket: whatever is sent breaks it.
    let second =
        request("choose", &json!({ "question": "Tea or coffee?", "options": ["Tea", "Coffee"] })).await;
    ann.reads("#requests [data-state=open] .request-question", "Tea or coffee?").await;
    let deaf =
        "window.sends = WebSocket.prototype.send; WebSocket.prototype.send = function () { this.close(); }";
    ann.asks(deaf, &[]).await;
    ann.clicks("#requests [data-state=open] .request-choice").await;
    ann.reads(&format!("#requests [data-request-id='{second}'][data-state=done]"), "Tea").await;
    assert_eq!(result(&second).await, (json!("done"), json!({ "choice": "Tea" })));
    ann.asks("WebSocket.prototype.send = window.sends", &[]).await;
    ann.is_connected().await;

    let third = request("door.open", &json!({})).await;
    ann.reads("#requests", "something that can’t be done here (door.open)").await;
    ann.sees(&format!("#requests [data-request-id='{third}'][data-state=failed]")).await;
    assert_eq!(result(&third).await, (json!("failed"), json!({ "error": "not_supported" })));
    ann.leaves().await;
}
