//! Access tokens: what an API client shows with each request. Signed, so that nothing of them is stored; they hold for as long as
//! they say, and only while their session lives.

use super::signing::{Keys, Purpose};
use crate::domain::{SessionId, Timestamp};
use std::fmt;

/// A token somebody shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessToken<'a>(&'a str);

impl fmt::Debug for AccessToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hat.***")
    }
}

impl<'a> AccessToken<'a> {
    /// Whether `text` wants to be one; whether it is, the keys know.
    pub fn parse(text: &'a str) -> Option<Self> {
        text.starts_with("hat.").then_some(Self(text))
    }

    /// Whose session it is for, and until when it holds; none when we didn't make it.
    pub fn read(self, keys: &Keys) -> Option<(SessionId, Timestamp)> {
        let payload = keys.open(Purpose::AccessToken, self.0).ok()?;
        let (session, expires_at) = payload.split_first_chunk::<8>()?;
        let session = SessionId::new(i64::from_be_bytes(*session));
        let expires_at = i64::from_be_bytes(expires_at.try_into().ok()?);
        Some((session, Timestamp::from_millis(expires_at)))
    }
}

/// A token for `session` that holds until `expires_at`.
pub fn issue(keys: &Keys, session: SessionId, expires_at: Timestamp) -> String {
    let payload = [session.get().to_be_bytes(), expires_at.as_millis().to_be_bytes()].concat();
    keys.sign(Purpose::AccessToken, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signing::{Key, Ring};

    fn keys(letter: &str) -> Keys {
        Keys::new(Ring { current: Key::new(&letter.repeat(64)).expect("long enough"), retired: Vec::new() })
    }

    #[test]
    fn says_whose_it_is_and_until_when() {
        let (session, until) = (SessionId::new(7), Timestamp::from_millis(1_800_000_000_007));
        let text = issue(&keys("a"), session, until);
        let token = AccessToken::parse(&text).expect("one of ours");
        assert_eq!(token.read(&keys("a")), Some((session, until)));
        assert_eq!(token.read(&keys("b")), None, "signed by somebody else");
        assert_eq!(format!("{token:?}"), "hat.***");
        assert!(AccessToken::parse("7-abc").is_none());
    }

    #[test]
    fn what_is_signed_for_something_else_is_none() {
        let keys = keys("a");
        for payload in [&b""[..], &[0; 8], &[0; 15], &[0; 17]] {
            let text = keys.sign(Purpose::AccessToken, payload);
            assert_eq!(AccessToken::parse(&text).expect("looks like one").read(&keys), None);
        }
        let link = keys.sign(Purpose::TransferLink, &[0; 16]);
        let renamed = link.replacen("htl.", "hat.", 1);
        assert_eq!(AccessToken::parse(&renamed).expect("looks like one").read(&keys), None);
    }
}
