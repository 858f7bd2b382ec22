//! Names in a message.

use std::collections::HashSet;

/// How many different `@name` words a text has; counting stops once there are more than `enough`.
pub(super) fn distinct(text: &str, enough: u32) -> u32 {
    let mut names = HashSet::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        // In `me@example.org` nobody is mentioned.
        let begins = c == '@' && !before.is_some_and(char::is_alphanumeric);
        before = Some(c);
        if !begins {
            continue;
        }
        let rest = text.get(at + 1..).unwrap_or_default();
        let name =
            rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
        if !name.is_empty() {
            names.insert(name.to_lowercase());
        }
        if u32::try_from(names.len()).unwrap_or(u32::MAX) > enough {
            break;
        }
    }
    u32::try_from(names.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_once_and_addresses_not_at_all() {
        for (text, count) in [
            ("hello", 0),
            ("@ann", 1),
            ("@ann, @Ann and @bob!", 2),
            ("me@example.org @ @@ (@zoë)", 1),
            ("@a@b", 1),
        ] {
            assert_eq!(distinct(text, 20), count, "{text}");
        }
        let many: String = (0..5_000).map(|n| format!("@n{n} ")).collect();
        assert_eq!(distinct(&many, 20), 21, "counting stops early");
    }
}
