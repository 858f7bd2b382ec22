//! Bots that are told of messages: where to, and by which words.

use super::rejection::Rejection;
use std::fmt;
use std::sync::Arc;

/// Where a bot is told of messages. It may carry a secret, so it shows itself as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Arc<str>);

impl WebhookUrl {
    /// Bytes, more than any address needs.
    pub const MAX_BYTES: usize = 2048;

    /// Checks the text: `http` or `https`, with a host; errors name the field `webhook_url`.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        let wrong = |problem| Err(Rejection::invalid("webhook_url", problem));
        if text.len() > Self::MAX_BYTES {
            return wrong("is longer than 2048 bytes");
        }
        let lower = text.to_ascii_lowercase();
        let rest = ["http://", "https://"].iter().find_map(|scheme| lower.strip_prefix(scheme));
        let Some(rest) = rest else { return wrong("has to begin with http:// or https://") };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return wrong("has no host");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return wrong("contains a space or a control character");
        }
        Ok(Self(text.into()))
    }

    /// The address, for the one place that calls it and the admins who set it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which of `names` are mentioned in `body`, by index: `@Name` in any case, at word borders. Where several names fit one place, the
/// longest counts.
pub fn mentioned(body: &str, names: &[&str]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for start in ats(body) {
        let fits = names.iter().enumerate().filter_map(|(at, name)| {
            let end = mention_end(body, start, name)?;
            Some((end, at))
        });
        let fits: Vec<(usize, usize)> = fits.collect();
        let longest = fits.iter().map(|(end, _)| *end).max();
        found.extend(fits.into_iter().filter(|(end, _)| Some(*end) == longest).map(|(_, at)| at));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// `body` without the mentions of `name`, trimmed.
pub fn without_mention(body: &str, name: &str) -> String {
    let mut rest = String::with_capacity(body.len());
    let mut from = 0;
    for start in ats(body) {
        if start < from {
            continue;
        }
        if let Some(end) = mention_end(body, start, name) {
            rest.push_str(body.get(from..start).unwrap_or_default());
            from = end;
        }
    }
    rest.push_str(body.get(from..).unwrap_or_default());
    rest.trim().to_owned()
}

/// Where an `@` stands that no word runs into.
fn ats(body: &str) -> impl Iterator<Item = usize> {
    body.match_indices('@').map(|(at, _)| at).filter(|at| {
        let before = body.get(..*at).and_then(|before| before.chars().next_back());
        !before.is_some_and(is_of_word)
    })
}

/// Where the mention of `name` that begins at `start` ends, if there is one.
fn mention_end(body: &str, start: usize, name: &str) -> Option<usize> {
    let mut rest = body.get(start..)?.strip_prefix('@')?.chars();
    for wanted in name.chars() {
        let given = rest.next()?;
        if given != wanted && !given.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    let end = body.len() - rest.as_str().len();
    (!name.is_empty() && !rest.next().is_some_and(is_of_word)).then_some(end)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_checked_and_hidden() {
        for fine in ["http://a", " https://user:pw@example.org:8/x?y#z ", "HTTPS://[::1]:1/"] {
            let url = WebhookUrl::parse(fine).expect("fine");
            assert_eq!(url.reveal(), fine.trim());
            assert_eq!(format!("{url:?}"), "***");
        }
        for wrong in
            ["", "ftp://a", "example.org", "http://", "http:///x", "http://:80", "http://u@/", "http://a b"]
        {
            let rejection = WebhookUrl::parse(wrong).expect_err("wrong");
            assert_eq!(rejection.field.as_deref(), Some("webhook_url"), "{wrong}");
        }
        assert!(WebhookUrl::parse(&format!("http://a/{}", "x".repeat(2048))).is_err());
    }

    #[test]
    fn a_mention_stands_alone_and_the_longest_name_wins() {
        let names = ["Bot", "Bot Two", "Zoë", "bot"];
        let said = |body| mentioned(body, &names);
        assert_eq!(said("hey @bot"), [0, 3]);
        assert_eq!(said("@BOT TWO, please"), [1]);
        assert_eq!(said("@bot two @Bot!"), [0, 1, 3]);
        assert_eq!(said("ask @ZOË."), [2]);
        for nobody in ["bot", "@both", "a@bot", "@ bot", "@bot_2", "@", "", "@Bo"] {
            assert_eq!(said(nobody), [0; 0], "{nobody}");
        }
        assert_eq!(without_mention(" @Bot  deploy @bot now, @both ", "Bot"), "deploy  now, @both");
        assert_eq!(without_mention("@Bot", "Bot"), "");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(body in "(@|b|ot|Bot| |é|\\PC){0,30}", name in "[a-zA-Zé ]{1,6}") {
            let hit = mentioned(&body, &[&name]);
            let rest = without_mention(&body, &name);
            if hit.is_empty() {
                prop_assert_eq!(rest, body.trim());
            } else {
                prop_assert!(rest.len() < body.len());
            }
            let around = format!("{}: @{}!", "x", name.to_uppercase());
            if name.to_uppercase().to_lowercase() == name.to_lowercase() {
                prop_assert_eq!(mentioned(&around, &[&name]), [0usize]);
            }
        }
    }
}
