//! What people say of themselves, and what is said when somebody is sent away.

use super::rejection::Rejection;
use std::sync::Arc;

/// A longer text about a person: trimmed, at most [`Bio::MAX_CHARS`] characters, no control characters but line breaks and tabs.
/// It may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bio(Arc<str>);

impl Bio {
    /// Characters, not bytes.
    pub const MAX_CHARS: usize = 500;

    /// Checks the text; errors name `field`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        if text.chars().count() > Self::MAX_CHARS {
            return Err(Rejection::invalid(field, "is longer than 500 characters"));
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Rejection::invalid(field, "contains a control character"));
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
    fn a_bio_is_trimmed_and_bounded_in_characters() {
        assert_eq!(Bio::parse("bio", " a\nb ").map(|bio| bio.as_str().to_owned()), Ok("a\nb".to_owned()));
        assert!(Bio::parse("bio", "").is_ok());
        assert!(Bio::parse("bio", &"é".repeat(500)).is_ok());
        for wrong in ["a\0b", "a\u{7}b", &"é".repeat(501)] {
            assert_eq!(Bio::parse("bio", wrong).expect_err(wrong).field.as_deref(), Some("bio"));
        }
    }
}
