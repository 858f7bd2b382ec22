//! Text that people give: message bodies and names, valid by construction.

use super::person::Role;
use super::rejection::Rejection;
use std::sync::Arc;

/// A message's text: not blank, no NUL (PostgreSQL can't hold one), at most [`MessageBody::MAX_BYTES`] bytes of UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBody(Arc<str>);

impl MessageBody {
    /// 16 KiB (LIM-05).
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Checks the text; errors name the field `body`.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        if text.len() > Self::MAX_BYTES {
            return Err(Rejection::too_large("body", Self::MAX_BYTES));
        }
        if text.trim().is_empty() {
            return Err(Rejection::invalid("body", "is blank"));
        }
        if text.contains('\0') {
            return Err(Rejection::invalid("body", "contains a NUL character"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// A name of a person, room or account: trimmed, 1 to [`Name::MAX_CHARS`] characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Arc<str>);

impl Name {
    /// Characters, not bytes: a name in any script may be equally long.
    pub const MAX_CHARS: usize = 100;
    /// The same for guests (AUTH-17).
    pub const MAX_NICKNAME_CHARS: usize = 20;

    /// Checks the text; errors name `field`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Rejection::invalid(field, "is blank"));
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(Rejection::invalid(field, "is longer than 100 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(Rejection::invalid(field, "contains a control character"));
        }
        Ok(Self(text.into()))
    }

    /// What a guest is called by: shorter, for there may be many of them. Errors name the field `name`.
    pub fn nickname(text: &str) -> Result<Self, Rejection> {
        let name = Self::parse("name", text)?;
        if name.as_str().chars().count() > Self::MAX_NICKNAME_CHARS {
            return Err(Rejection::invalid("name", "is longer than 20 characters"));
        }
        Ok(name)
    }

    /// The name of somebody of that role. Errors name the field `name`.
    pub fn of(role: Role, text: &str) -> Result<Self, Rejection> {
        if role == Role::Guest { Self::nickname(text) } else { Self::parse("name", text) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_bounded_in_bytes_and_not_blank() {
        assert!(MessageBody::parse(&"é".repeat(MessageBody::MAX_BYTES / 2)).is_ok());
        assert!(MessageBody::parse(&"é".repeat(MessageBody::MAX_BYTES / 2 + 1)).is_err());
        assert!(MessageBody::parse(" \n\t").is_err());
        assert!(MessageBody::parse("a\0b").is_err());
    }

    #[test]
    fn a_name_is_trimmed_and_bounded_in_characters() {
        assert_eq!(Name::parse("name", "  Zoë ").map(|name| name.as_str().to_owned()), Ok("Zoë".to_owned()));
        assert!(Name::parse("name", &"あ".repeat(100)).is_ok());
        assert!(Name::parse("name", &"あ".repeat(101)).is_err());
        assert!(Name::parse("name", "a\u{7}b").is_err());
    }
}
