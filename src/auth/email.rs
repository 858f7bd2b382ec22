//! E-mail addresses: what people sign in with.

use crate::domain::Rejection;

/// The longest address (RFC 5321 leaves 254 between the brackets of a path).
const MAX_BYTES: usize = 254;

/// The address as it is stored and looked up: trimmed, lower case. Errors name the field `email`. Whether it can be
/// reached only a message would tell, so the check stays simple.
pub fn normalise(text: &str) -> Result<String, Rejection> {
    let email = text.trim().to_lowercase();
    if email.is_empty() {
        return Err(Rejection::invalid("email", "is blank"));
    }
    if email.len() > MAX_BYTES {
        return Err(Rejection::invalid("email", "is longer than 254 bytes"));
    }
    if email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Rejection::invalid("email", "contains a space or control character"));
    }
    match email.split_once('@') {
        Some((local, host)) if !local.is_empty() && !host.is_empty() && !host.contains('@') => Ok(email),
        _ => Err(Rejection::invalid("email", "is not of the form name@host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_trimmed_lower_case_and_has_one_at() {
        assert_eq!(normalise(" Ann@Example.ORG "), Ok("ann@example.org".to_owned()));
        let long = format!("{}@x", "a".repeat(253));
        for wrong in ["", " ", "ann", "@x", "ann@", "a@b@c", "a b@c", "a\u{7}@c", "a\0@c", &long] {
            let rejection = normalise(wrong).expect_err(wrong);
            assert_eq!(rejection.field.as_deref(), Some("email"), "{wrong}");
        }
    }
}
