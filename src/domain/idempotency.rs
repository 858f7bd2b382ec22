//! The name a caller gives a request, so that repeating it is harmless.

use super::rejection::Rejection;
use std::sync::Arc;

/// A key: 1 to [`IdempotencyKey::MAX_BYTES`] visible ASCII characters, unique among one user's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The longest key.
    pub const MAX_BYTES: usize = 255;

    /// Checks the text; errors name `field`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        if text.is_empty() {
            return Err(Rejection::invalid(field, "is empty"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Rejection::invalid(field, "is longer than 255 characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Rejection::invalid(field, "has something else in it than visible ASCII characters"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_bounded() {
        for text in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "!~", &"x".repeat(255)] {
            assert_eq!(
                IdempotencyKey::parse("key", text).map(|key| key.as_str().to_owned()),
                Ok(text.to_owned())
            );
        }
        for text in ["", " ", "a b", "é", "a\u{7f}", "a\0", &"x".repeat(256)] {
            let rejection = IdempotencyKey::parse("key", text).expect_err(text);
            assert_eq!(rejection.field.as_deref(), Some("key"));
        }
    }
}
