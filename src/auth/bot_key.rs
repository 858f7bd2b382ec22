//! Bot keys: `<user id>-<token>`, so that a bot is found by its id and its token compared in constant time.

use super::token::{self, Token, TokenHash};
use crate::domain::UserId;
use std::fmt;
use subtle::ConstantTimeEq;

/// A key somebody shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BotKey<'a> {
    pub bot: UserId,
    token: &'a str,
}

impl fmt::Debug for BotKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-***", self.bot)
    }
}

impl<'a> BotKey<'a> {
    /// Takes a key apart: a number, a dash, letters and digits; anything else is no key.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, token) = text.split_once('-')?;
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_number || !is_token {
            return None;
        }
        Some(Self { bot: UserId::new(id.parse().ok()?), token })
    }

    /// Whether the token is the one whose hash is stored.
    pub fn matches(&self, stored: &TokenHash) -> bool {
        token::hash(self.token).ct_eq(stored).into()
    }
}

/// The key of `bot`, to be shown once.
pub fn format(bot: UserId, token: &Token) -> String {
    format!("{bot}-{}", token.reveal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_its_own_hash_only() {
        let token = Token::random();
        let text = format(UserId::new(7), &token);
        let key = BotKey::parse(&text).expect("a key");
        assert_eq!(key.bot, UserId::new(7));
        assert!(key.matches(&token.hash()));
        assert!(!key.matches(&Token::random().hash()));
        assert_eq!(format!("{key:?}"), "7-***");
    }

    #[test]
    fn has_two_parts() {
        for text in ["", "7", "7-", "-x", "7-a-b", "x-a", "+7-a", "7-a b", "7-é", "99999999999999999999-a"] {
            assert!(BotKey::parse(text).is_none(), "{text}");
        }
    }
}
