//! What a person does with the page and sees on it. Every wait is for a state, with a deadline.

use super::driver::Complaint;
use crate::harness::{PASSWORD, PATIENCE};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(30);
/// A page that lost its line comes back at a random moment within half a minute (static/socket.js).
const RETURN: Duration = Duration::from_secs(60);

/// A message as a window shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: Option<u64>,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) state: String,
}

/// Somebody's browser. Its name is for messages about failures.
pub(crate) struct Window {
    name: &'static str,
    pub(crate) client: Client,
    session: String,
}

impl Window {
    pub(crate) fn new(name: &'static str, client: Client, session: String) -> Self {
        Self { name, client, session }
    }

    /// Goes to an address as if it were typed.
    pub(crate) async fn opens(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{} opens {url}: {error}", self.name));
    }

    /// What a script returns.
    pub(crate) async fn asks(&self, script: &str, args: &[Value]) -> Value {
        let answer = self.client.execute(script, args.to_vec()).await;
        answer.unwrap_or_else(|error| panic!("{}: {script}: {error}", self.name))
    }

    /// Waits until a script returns something that is true.
    pub(crate) async fn until(&self, what: &str, script: &str, args: &[Value]) -> Value {
        self.until_within(PATIENCE, what, script, args).await
    }

    async fn until_within(&self, patience: Duration, what: &str, script: &str, args: &[Value]) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            // A page that is just being replaced has no answer yet.
            let answer = self.client.execute(script, args.to_vec()).await.unwrap_or_default();
            if !matches!(answer, Value::Null | Value::Bool(false)) {
                return answer;
            }
            if Instant::now() > deadline {
                panic!("{} waits in vain: {what}\n{}", self.name, self.looks().await);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The page in words, for messages about failures.
    async fn looks(&self) -> String {
        let script = "return `${location.href}\n${document.body.innerText}`";
        match self.client.execute(script, Vec::new()).await {
            Ok(text) => text.as_str().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits for something that can be seen.
    pub(crate) async fn sees(&self, css: &str) {
        let script = "const one = document.querySelector(arguments[0]);
            return Boolean(one && one.checkVisibility({ visibilityProperty: true }))";
        self.until(css, script, &[json!(css)]).await;
    }

    /// Waits until the first element has this text somewhere in it.
    pub(crate) async fn reads(&self, css: &str, text: &str) {
        let script =
            "return document.querySelector(arguments[0])?.textContent.includes(arguments[1]) ?? false";
        self.until(&format!("{css} reads {text:?}"), script, &[json!(css), json!(text)]).await;
    }

    /// Waits until there is no such element.
    pub(crate) async fn misses(&self, css: &str) {
        self.until(
            &format!("no {css}"),
            "return document.querySelector(arguments[0]) === null",
            &[json!(css)],
        )
        .await;
    }

    /// Waits until the address has this path.
    pub(crate) async fn is_at(&self, path: &str) {
        let script = "return location.pathname === arguments[0] && document.readyState === 'complete'";
        self.until(&format!("the address {path}"), script, &[json!(path)]).await;
    }

    /// Clicks what may still be on its way.
    pub(crate) async fn clicks(&self, css: &str) {
        self.sees(css).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let clicked = match self.client.find(Locator::Css(css)).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match clicked {
                Ok(()) => return,
                Err(error) if Instant::now() > deadline => {
                    panic!("{} clicks {css}: {error}\n{}", self.name, self.looks().await)
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Fills in the form that is open and sends it.
    pub(crate) async fn submits(&self, form: &str, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            let css = format!("{form} input[name={name}]");
            self.sees(&css).await;
            let field = self.client.find(Locator::Css(&css)).await.expect("the field is there");
            field.clear().await.expect("the field can be emptied");
            field.send_keys(value).await.unwrap_or_else(|error| panic!("{} fills {css}: {error}", self.name));
        }
        self.clicks(&format!("{form} [type=submit]")).await;
    }

    /// Takes one of the choices of a `select`.
    pub(crate) async fn picks(&self, css: &str, value: &str) {
        self.field(css).await.select_by_value(value).await.expect("there is such a choice");
    }

    /// Replaces what is written in a field.
    pub(crate) async fn fills(&self, css: &str, text: &str) {
        let field = self.field(css).await;
        field.clear().await.expect("the field can be emptied");
        field.send_keys(text).await.unwrap_or_else(|error| panic!("{} fills {css}: {error}", self.name));
    }

    async fn field(&self, css: &str) -> fantoccini::elements::Element {
        self.sees(css).await;
        self.client.find(Locator::Css(css)).await.expect("it is there")
    }

    /// What stands in a field once there is something.
    pub(crate) async fn value(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.value || null";
        let value = self.until(&format!("something in {css}"), script, &[json!(css)]).await;
        value.as_str().expect("text").to_owned()
    }

    /// What the QR codes on the screen say, read from its picture.
    pub(crate) async fn codes(&self) -> Vec<String> {
        let picture = self.client.screenshot().await.expect("a picture");
        let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("of a size")];
        let frame = reader.next_frame(&mut pixels).expect("pixels");
        let (width, samples) = (frame.width as usize, frame.color_type.samples());
        // Green is most of what the eye, and a camera, takes for brightness.
        let light = |x: usize, y: usize| pixels[(y * width + x) * samples + usize::from(samples > 2)];
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, frame.height as usize, light);
        image.detect_grids().iter().filter_map(|grid| grid.decode().ok()).map(|(_, text)| text).collect()
    }

    /// Signs in on the sign-in page and waits for the connection.
    pub(crate) async fn signs_in(&self, email: &str) {
        self.is_at("/sign-in").await;
        self.submits("#gate form", &[("email", email), ("password", PASSWORD)]).await;
        self.is_connected().await;
    }

    pub(crate) async fn is_connected(&self) {
        let css = "#connection[data-state=connected]";
        let script = "return document.querySelector(arguments[0])?.checkVisibility({ visibilityProperty: true }) ?? false";
        self.until_within(RETURN, css, script, &[json!(css)]).await;
    }

    /// Presses keys one after another, wherever the focus is.
    pub(crate) async fn presses(&self, keys: &[char]) {
        let mut actions = KeyActions::new("keys".to_owned());
        for &value in keys {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.client.perform_actions(actions).await.expect("keys can be pressed");
    }

    /// Holds one key while pressing another.
    pub(crate) async fn presses_with(&self, held: char, value: char) {
        let actions = KeyActions::new("keys".to_owned())
            .then(KeyAction::Down { value: held })
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value })
            .then(KeyAction::Up { value: held });
        self.client.perform_actions(actions).await.expect("keys can be pressed");
    }

    /// Types text wherever the focus is.
    pub(crate) async fn types(&self, text: &str) {
        let keys: Vec<char> = text.chars().collect();
        self.presses(&keys).await;
    }

    /// Goes on with the Tab key until this has the focus.
    pub(crate) async fn tabs_to(&self, css: &str) {
        let is_there = "return document.activeElement?.matches(arguments[0]) ?? false";
        for _ in 0..60 {
            if self.asks(is_there, &[json!(css)]).await == json!(true) {
                return;
            }
            self.presses(&['\u{e004}']).await;
        }
        panic!("{} never gets to {css} by the Tab key\n{}", self.name, self.looks().await);
    }

    /// Waits until this has the focus.
    pub(crate) async fn is_in(&self, css: &str) {
        let script = "return document.activeElement?.matches(arguments[0]) ?? false";
        self.until(&format!("the focus in {css}"), script, &[json!(css)]).await;
    }

    /// Writes into the message box without sending.
    pub(crate) async fn drafts(&self, text: &str) {
        self.clicks("#composer").await;
        self.types(text).await;
    }

    /// Writes a message and sends it with Enter.
    pub(crate) async fn says(&self, text: &str) {
        self.drafts(text).await;
        self.presses(&['\u{e007}']).await;
        self.until(
            &format!("its own {text:?}"),
            "return [...document.querySelectorAll('.message .body')].some((body) => body.textContent === arguments[0])",
            &[json!(text)],
        )
        .await;
    }

    /// Waits for a message that the server has.
    pub(crate) async fn hears(&self, text: &str) {
        self.finds(text, "sent").await;
    }

    /// Waits for a message in a state.
    pub(crate) async fn finds(&self, text: &str, state: &str) {
        let script = "return [...document.querySelectorAll(`.message[data-state=${arguments[1]}]`)]
            .some((row) => row.querySelector('.body').textContent === arguments[0]
              && (arguments[1] !== 'sent' || row.dataset.id !== undefined))";
        self.until(&format!("{text:?} as {state}"), script, &[json!(text), json!(state)]).await;
    }

    /// Waits until no message has this text.
    pub(crate) async fn loses(&self, text: &str) {
        let script = "return [...document.querySelectorAll('.message .body')]
            .every((body) => body.textContent !== arguments[0])";
        self.until(&format!("{text:?} gone"), script, &[json!(text)]).await;
    }

    /// Opens the menu of a message and takes something from it.
    pub(crate) async fn chooses(&self, text: &str, act: &str) {
        let script = "const row = [...document.querySelectorAll('.message')]
            .find((one) => one.querySelector('.body').textContent === arguments[0]);
            return row?.dataset.id ?? null";
        let id = self.until(text, script, &[json!(text)]).await;
        let id = id.as_str().expect("an id");
        self.clicks(&format!(".message[data-id='{id}'] .message-menu")).await;
        self.clicks(&format!("#menu [data-act={act}]")).await;
    }

    /// Every message on the page, in order.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let script = "let author = '';
            return [...document.querySelectorAll('.message')].map((row) => {
              author = row.querySelector('.author')?.textContent ?? author;
              return [row.dataset.id ?? null, author, row.querySelector('.body').textContent, row.dataset.state];
            })";
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = self.asks(script, &[]).await;
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| Row {
            id: row[0].as_str().and_then(|id| id.parse().ok()),
            author: text(&row[1]),
            body: text(&row[2]),
            state: text(&row[3]),
        })
        .collect()
    }

    /// The room that is open.
    pub(crate) async fn room(&self) -> u64 {
        let script = "return /^\\/rooms\\/(\\d+)/.exec(location.pathname)?.[1] ?? null";
        let room = self.until("a room", script, &[]).await;
        room.as_str().and_then(|id| id.parse().ok()).expect("a number")
    }

    /// From here on notes every moment in which a message is on the page twice, or, where nobody writes, is on its
    /// way to be sent.
    pub(crate) async fn watches_for_phantoms(&self, writes: bool) {
        let script = "window.phantoms = [];
            const writes = arguments[0];
            const look = () => {
              const bodies = [...document.querySelectorAll('.message .body')].map((body) => body.textContent);
              const twice = bodies.filter((body, at) => bodies.indexOf(body) !== at);
              const foreign = writes ? [] : [...document.querySelectorAll('.message:not([data-state=sent]) .body')];
              window.phantoms.push(...twice, ...foreign.map((body) => body.textContent));
            };
            new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
            look();
            return true";
        self.asks(script, &[json!(writes)]).await;
    }

    /// The messages that were where they should not be. Says so when the page was loaded anew since the watch began.
    pub(crate) async fn phantoms(&self) -> Value {
        self.asks("return window.phantoms ?? 'the page was reloaded'", &[]).await
    }

    /// What chromedriver can do beyond the standard.
    async fn commands(&self, path: &str, body: Value) -> Value {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = http.post(format!("{}/{path}", self.session)).json(&body).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("is JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer
    }

    /// Chooses between the light and the dark colours.
    pub(crate) async fn prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let body = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.commands("goog/cdp/execute", body).await;
        let script = "return matchMedia(`(prefers-color-scheme: ${arguments[0]})`).matches";
        self.until(scheme, script, &[json!(scheme)]).await;
    }

    /// From here on asks as a proxy would pass it on for somebody at that address.
    pub(crate) async fn comes_from(&self, address: &str) {
        let headers = json!({ "X-Forwarded-For": address });
        self.commands("goog/cdp/execute", json!({ "cmd": "Network.enable", "params": {} })).await;
        let body = json!({ "cmd": "Network.setExtraHTTPHeaders", "params": { "headers": headers } });
        self.commands("goog/cdp/execute", body).await;
    }

    /// What the console complained about since the last look.
    pub(crate) async fn complaints(&self) -> Vec<Complaint> {
        let log = self.commands("se/log", json!({ "type": "browser" })).await;
        assert!(log["value"].is_array(), "no console log: {log}");
        Complaint::of(&log)
    }

    /// Fails when the console has anything to complain about but who is not signed in, and what `known` says.
    pub(crate) async fn is_content(&self, known: &[&str]) {
        // Asking who one is, before one is anybody, is answered 401.
        let expected = |complaint: &Complaint| {
            complaint.source == "network"
                && (complaint.message.contains("/api/v1/me") && complaint.message.contains("401")
                    || known.iter().any(|text| complaint.message.contains(text)))
        };
        let unexpected: Vec<Complaint> =
            self.complaints().await.into_iter().filter(|complaint| !expected(complaint)).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:#?}", self.name);
    }

    /// Closes the browser.
    pub(crate) async fn leaves(self) {
        self.client.close().await.unwrap_or_else(|error| panic!("{} leaves: {error}", self.name));
    }
}
