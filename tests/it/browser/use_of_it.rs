//! Ways to use the page: with keys only, on a phone, with a reader of names instead of eyes.

use super::driver::{Driver, Screen};
use super::window::Window;
use crate::harness::{Ground, House, PASSWORD};
use fantoccini::key::Key;
use serde_json::json;

const TAB: char = '\u{e004}';

/// Things to act on that have no name to say.
const NAMELESS: &str = "
    const named = (one) => one.getAttribute('aria-label') || one.getAttribute('aria-labelledby')
      || one.labels?.length || one.textContent.trim() || one.querySelector('img[alt]:not([alt=\"\"])');
    return [...document.querySelectorAll('a[href], button, input, textarea, select, dialog, [role=listbox], [role=region]')]
      .filter((one) => !named(one)).map((one) => one.outerHTML.slice(0, 120))";

/// Text whose contrast with what is behind it is below 4.5 to 1, or 3 to 1 where it is large (WCAG 2.2, 1.4.3).
const FAINT: &str = "
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], [r2, g2, b2]) => [r * a + r2 * (1 - a), g * a + g2 * (1 - a), b * a + b2 * (1 - a)];
    const behind = (one) => {
      const layers = [];
      for (let at = one; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const light = (rgb) => {
      const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faint = [];
    for (const one of document.querySelectorAll('body *')) {
      const own = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
      if (!own || !one.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || one.closest('.visually-hidden')) continue;
      const style = getComputedStyle(one);
      const ground = behind(one);
      const [a, b] = [light(over(rgba(style.color), ground)), light(ground)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${one.className} ${one.textContent.trim().slice(0, 40)}`);
    }
    return faint";

pub(super) async fn is_accessible(window: &Window) {
    assert_eq!(window.asks(NAMELESS, &[]).await, json!([]));
    for scheme in ["dark", "light"] {
        window.prefers(scheme).await;
        assert_eq!(window.asks(FAINT, &[]).await, json!([]), "{scheme}");
    }
    let once = "const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
        return document.querySelectorAll('main').length === 1 && document.querySelectorAll('h1').length === 1
          && new Set(ids).size === ids.length && document.documentElement.lang !== '' && document.title !== ''";
    assert_eq!(
        window.asks(once, &[]).await,
        json!(true),
        "one main, one h1, ids unique, a language and a title"
    );
}

pub(super) async fn fits(window: &Window) {
    let script = "return [document.documentElement.scrollWidth, innerWidth]";
    let widths = window.asks(script, &[]).await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "wider than the screen: {widths}");
    assert_eq!(widths[1], json!(360));
}

/// From loading the page to a sent message without a pointer; focus stays, is kept in dialogs and comes back.
///
/// Proves WEB-04.
#[tokio::test]
async fn keys_are_enough() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await;
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.is_at("/sign-in").await;
    ann.is_in("input[name=email]").await;
    is_accessible(&ann).await;
    ann.types("ann@example.org").await;
    ann.presses(&[TAB]).await;
    ann.is_in("input[name=password]").await;
    ann.types(PASSWORD).await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.is_connected().await;
    ann.is_in("#composer").await;
    ann.types("Without a mouse").await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.hears("Without a mouse").await;
    ann.is_in("#composer").await;
    is_accessible(&ann).await;

    // A new page begins with the way past the sidebar.
    ann.asks("document.activeElement.blur(); document.body.tabIndex = -1; document.body.focus()", &[]).await;
    ann.presses(&[TAB]).await;
    ann.is_in(".skip").await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.is_in("#composer").await;

    // A dialog keeps the focus, whatever is pressed and whoever writes, and gives it back.
    ann.asks("document.getElementById('new-room').focus()", &[]).await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.is_in("dialog input[name=name]").await;
    is_accessible(&ann).await;
    for _ in 0..12 {
        ann.presses(&[TAB]).await;
        let inside = "return document.activeElement === document.body || document.activeElement.closest('dialog') !== null";
        assert_eq!(ann.asks(inside, &[]).await, json!(true));
    }
    ann.asks("document.querySelector('dialog input[name=name]').focus()", &[]).await;
    bob.listens_to(house.lobby).await.posts(house.lobby, "Hello from aside").await;
    ann.hears("Hello from aside").await;
    ann.is_in("dialog input[name=name]").await;
    ann.reads("#announcer", "Bob: Hello from aside").await;
    ann.presses(&[Key::Escape.into()]).await;
    ann.misses("dialog").await;
    ann.is_in("#new-room").await;

    // To another room by a few letters, and back to one's own last message.
    ann.presses_with(Key::Control.into(), 'k').await;
    ann.is_in("dialog input").await;
    is_accessible(&ann).await;
    ann.types("bob").await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.reads(".bar-title", "Bob").await;
    ann.is_in("#composer").await;
    ann.types("Privately").await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.hears("Privately").await;
    ann.presses(&[Key::Up.into()]).await;
    ann.is_in(".editor textarea").await;
    ann.presses(&[Key::Escape.into()]).await;
    ann.is_in("#composer").await;

    // A page that has nothing to write in has the focus itself.
    ann.asks("document.querySelector(\".page-link[href='/people']\").focus()", &[]).await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.is_at("/people").await;
    ann.is_in("#main").await;
    ann.is_content(&[]).await;
    ann.leaves().await;
}

/// On a phone nothing is wider than the screen, the rooms are in a drawer, and the message box can be used.
#[tokio::test]
async fn a_phone_is_wide_enough() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    let wide = "x".repeat(400);
    let address = format!("https://example.org/{}", "path/".repeat(80));
    bob.posts(house.lobby, &wide).await;
    bob.posts(house.lobby, &address).await;
    let phone = driver.window_on("phone", Screen::Phone).await;
    phone.opens(&house.url()).await;
    phone.is_at("/sign-in").await;
    fits(&phone).await;
    phone.signs_in("ann@example.org").await;
    phone.hears(&address).await;
    fits(&phone).await;
    phone.says("From the bus").await;
    phone.hears("From the bus").await;
    bob.frames_until("From the bus").await;
    let inside = "const { left, right, bottom } = document.querySelector('.send').getBoundingClientRect();
        return left >= 0 && right <= innerWidth && bottom <= innerHeight";
    assert_eq!(phone.asks(inside, &[]).await, json!(true), "the send button is on the screen");
    let hidden = "return !document.getElementById('sidebar').checkVisibility({ visibilityProperty: true })";
    assert_eq!(phone.asks(hidden, &[]).await, json!(true));
    for page in ["/people", "/bots", "/audit", "/settings"] {
        phone.clicks(".drawer-button").await;
        phone.clicks(&format!(".page-link[href='{page}']")).await;
        phone.is_at(page).await;
        phone.until("the drawer is closed", hidden, &[]).await;
        fits(&phone).await;
        is_accessible(&phone).await;
    }
    phone.clicks(".drawer-button").await;
    phone.sees("#sidebar").await;
    fits(&phone).await;
    phone.clicks(".room-link").await;
    phone.hears("From the bus").await;
    phone.is_content(&[]).await;
    phone.leaves().await;
}

/// A message found by its words opens where it was said, however long ago; the result leads back to the present.
#[tokio::test]
async fn what_was_said_is_found_again() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
    bob.posts(house.lobby, "The spare key is under the <b>third</b> stone").await;
    for number in 0..120 {
        bob.posts(house.lobby, &format!("Chatter {number}")).await;
    }
    let ann = driver.window("ann").await;
    ann.opens(&house.url()).await;
    ann.signs_in("ann@example.org").await;
    ann.hears("Chatter 119").await;
    ann.presses_with(Key::Control.into(), 'k').await;
    ann.is_in("dialog input").await;
    ann.types("spare stone").await;
    ann.presses(&[Key::Enter.into()]).await;
    ann.is_at("/search").await;
    ann.reads(".hit-body", "The spare key is under the <b>third</b> stone").await;
    is_accessible(&ann).await;
    ann.clicks(".hit").await;
    ann.sees(".message.linked").await;
    ann.reads(".message.linked", "The spare key").await;
    ann.clicks("#jump").await;
    ann.is_at(&format!("/rooms/{}", house.lobby)).await;
    ann.hears("Chatter 119").await;
    ann.is_content(&[]).await;
    ann.leaves().await;
}

/// One's name, the team's name, and the other devices.
///
/// Proves AUTH-13.
#[tokio::test]
async fn settings_take_effect_for_everybody_and_on_every_device() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let here = driver.window("here").await;
    let there = driver.window("there").await;
    for window in [&here, &there] {
        window.opens(&house.url()).await;
        window.signs_in("ann@example.org").await;
    }
    here.clicks(".page-link[href='/settings']").await;
    here.submits("#profile form", &[("name", "Ann of the Cliff")]).await;
    there.reads(".me-name", "Ann of the Cliff").await;
    here.submits("#account form", &[("name", "The Lantern")]).await;
    there.reads(".account-name", "The Lantern").await;
    is_accessible(&here).await;
    // The set-up of the house is a session, too.
    let count = "return document.querySelectorAll('#devices [data-session-id]').length === arguments[0]";
    here.until("three sessions", count, &[json!(3)]).await;
    here.clicks("#end-others").await;
    here.clicks(".dialog .danger").await;
    here.until("one session", count, &[json!(1)]).await;
    there.is_at("/sign-in").await;
    there.reads(".gate-lead", "You were signed out").await;
    here.is_connected().await;
    here.leaves().await;
    there.leaves().await;
}

/// A room is made, renamed and deleted in its dialog; who else is here sees each at once.
#[tokio::test]
async fn rooms_come_change_and_go() {
    let driver = Driver::start().await;
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await.id;
    let carl = house.joined_by("Carl").await.id;
    let ann = driver.window("ann").await;
    let looker = driver.window("bob").await;
    for (window, email) in [(&ann, "ann@example.org"), (&looker, "bob@example.org")] {
        window.opens(&house.url()).await;
        window.signs_in(email).await;
    }
    ann.clicks("#new-room").await;
    ann.clicks(".dialog input[value=closed]").await;
    ann.clicks(&format!(".dialog .choice[data-user-id='{bob}']")).await;
    ann.submits(".dialog form", &[("name", "Keepers")]).await;
    ann.reads(".bar-title", "Keepers").await;
    ann.reads(".bar-subtitle", "2 members").await;
    let link = format!(".room-link[data-room-id='{}']", ann.room().await);
    looker.reads(&link, "Keepers").await;
    looker.clicks(&link).await;
    looker.reads(".welcome", "Nothing has been said here yet").await;
    ann.clicks("#members-button").await;
    ann.sees(&format!("#members [data-user-id='{bob}']")).await;
    is_accessible(&ann).await;
    // Who comes or goes meanwhile takes nothing from what is being written.
    ann.clicks("#members form input").await;
    ann.types(" of").await;
    let add = "const room = /\\d+/.exec(location.pathname);
        return fetch(`/api/v1/rooms/${room}/members/${arguments[0]}`, { method: 'PUT' }).then(({ ok }) => ok)";
    assert_eq!(ann.asks(add, &[json!(carl)]).await, json!(true));
    ann.sees(&format!("#members [data-user-id='{carl}']")).await;
    ann.is_in("#members form input").await;
    let typed = "return document.querySelector('#members form input').value";
    assert_eq!(ann.asks(typed, &[]).await, json!("Keepers of"));
    ann.submits("#members form", &[("name", "Keepers of the lamp")]).await;
    looker.reads(".bar-title", "Keepers of the lamp").await;
    ann.clicks("#members .danger-text").await;
    ann.clicks(".dialog .danger").await;
    looker.misses(&link).await;
    looker.is_at(&format!("/rooms/{}", house.lobby)).await;
    looker.reads(".notice", "not there for you any more").await;
    ann.misses(&link).await;
    ann.is_content(&[]).await;
    looker.is_content(&[]).await;
    ann.leaves().await;
    looker.leaves().await;
}
