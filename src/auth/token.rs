//! Unguessable text, and the hash of it that is stored.

use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};
use std::fmt;

/// 43 of 62 characters are worth 256 bits.
const CHARS: usize = 43;

/// SHA-256 of a token. The token has 256 bits of chance, so nothing slower is needed.
pub type TokenHash = [u8; 32];

/// A secret somebody carries. Letters and digits only, so that it can be one part of a cookie or a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A fresh one.
    pub fn random() -> Self {
        Self(Alphanumeric.sample_string(&mut rand::rng(), CHARS))
    }

    /// The text, for the one who may carry it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored in its place.
    pub fn hash(&self) -> TokenHash {
        hash(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The hash of a token that somebody shows.
pub fn hash(presented: &str) -> TokenHash {
    Sha256::digest(presented.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_long_and_hidden() {
        let token = Token::random();
        assert_eq!(token.reveal().len(), CHARS);
        assert_ne!(token, Token::random());
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(token.hash(), hash(token.reveal()));
    }
}
