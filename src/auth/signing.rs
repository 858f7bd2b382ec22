//! Signed text: what this server said itself, believed again without having been stored (AUTH-19).

mod key_file;
mod supply;

pub use key_file::{KeyFile, StoredKey};
pub use supply::{Supply, is_given};

use crate::domain::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A key is at least as long as what comes out of it (RFC 2104 section 3).
pub const MIN_KEY_BYTES: usize = 32;
/// The longest text that is looked at: what we sign is far shorter.
const MAX_TEXT_BYTES: usize = 2048;
/// The bytes of a key's id in front of the payload.
const ID_BYTES: usize = 4;

/// What a text was signed for. One that was signed for something else is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A program's access token.
    AccessToken,
    /// A link that takes somebody to another device, or back in.
    TransferLink,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AccessToken, Self::TransferLink];

    /// What the text begins with. The signature covers it, so that no text passes for one of another purpose.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::AccessToken => "hat",
            Self::TransferLink => "htl",
        }
    }
}

/// The text wasn't signed by us, for this, with a key that still counts. Which of these it was is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// What a key is called: it follows from the key, so that all who have the key call it the same, and tells nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One key, ready for use.
#[derive(Clone)]
pub struct Key {
    pub id: KeyId,
    /// Keyed and otherwise fresh: cloned for each signature.
    mac: Hmac<Sha256>,
}

impl Key {
    /// Takes the text of a key as it stands; none when it is too short.
    pub fn new(text: &str) -> Option<Self> {
        if text.len() < MIN_KEY_BYTES {
            return None;
        }
        let mac = Hmac::<Sha256>::new_from_slice(text.as_bytes()).ok()?;
        let named = mac.clone().chain_update("hearth key id").finalize().into_bytes();
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(named).for_each(|(to, from)| *to = from);
        Some(Self { id: KeyId(id), mac })
    }

    fn over(&self, signed: &str) -> Hmac<Sha256> {
        self.mac.clone().chain_update(signed)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-***", self.id)
    }
}

/// A key that no longer signs.
#[derive(Debug, Clone)]
pub struct Retired {
    pub key: Key,
    /// When it stops being accepted; as long as the settings have it when unset.
    pub until: Option<Timestamp>,
}

/// All keys of a moment.
#[derive(Debug, Clone)]
pub struct Ring {
    /// The one that signs.
    pub current: Key,
    /// Those that are accepted besides.
    pub retired: Vec<Retired>,
}

impl Ring {
    /// Without the keys whose time is over.
    #[must_use]
    fn at(mut self, now: Timestamp) -> Self {
        self.retired.retain(|retired| retired.until.is_none_or(|until| now < until));
        self
    }

    fn key(&self, id: &[u8]) -> Option<&Key> {
        let accepted = std::iter::once(&self.current).chain(self.retired.iter().map(|retired| &retired.key));
        accepted.into_iter().find(|key| key.id.0 == id)
    }
}

/// The keys of this process. Clones see the same ones, also after a rotation.
#[derive(Debug, Clone)]
pub struct Keys {
    ring: Arc<RwLock<Arc<Ring>>>,
}

impl Keys {
    /// With these keys, until others take their place.
    pub fn new(ring: Ring) -> Self {
        Self { ring: Arc::new(RwLock::new(Arc::new(ring))) }
    }

    /// `<prefix>.<payload>.<mac>`, both in base64url (RFC 4648 section 5) without padding. The payload can be read by whoever
    /// has the text.
    pub fn sign(&self, purpose: Purpose, payload: &[u8]) -> String {
        let ring = self.ring();
        let body = [ring.current.id.0.as_slice(), payload].concat();
        let signed = format!("{}.{}", purpose.prefix(), URL_SAFE_NO_PAD.encode(body));
        let mac = ring.current.over(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// The payload, when we signed the text for this purpose with a key that is still accepted. Compared in constant time.
    pub fn open(&self, purpose: Purpose, text: &str) -> Result<Vec<u8>, Invalid> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Invalid);
        }
        let (signed, mac) = text.rsplit_once('.').ok_or(Invalid)?;
        let (prefix, body) = signed.split_once('.').ok_or(Invalid)?;
        if prefix != purpose.prefix() {
            return Err(Invalid);
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_unreadable| Invalid);
        let (body, mac) = (decode(body)?, decode(mac)?);
        let (id, payload) = body.split_at_checked(ID_BYTES).ok_or(Invalid)?;
        let ring = self.ring();
        let key = ring.key(id).ok_or(Invalid)?;
        key.over(signed).verify_slice(&mac).map_err(|_forged| Invalid)?;
        Ok(payload.to_vec())
    }

    /// The keys of this moment.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, ring: Ring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(letter: char) -> Key {
        Key::new(&letter.to_string().repeat(MIN_KEY_BYTES)).expect("long enough")
    }

    fn keys(current: char, retired: &[char]) -> Keys {
        let retired = retired.iter().map(|letter| Retired { key: key(*letter), until: None }).collect();
        Keys::new(Ring { current: key(current), retired })
    }

    #[test]
    fn a_short_key_is_none() {
        assert!(Key::new(&"x".repeat(MIN_KEY_BYTES - 1)).is_none());
        assert_ne!(key('a').id, key('b').id);
        assert_eq!(key('a').id, key('a').id);
        assert_eq!(key('a').id.to_string().len(), 8);
    }

    /// HMAC-SHA-256 as others compute it: Python's `hmac.new(b"a" * 32, …, "sha256")`.
    #[test]
    fn the_text_is_what_it_is_said_to_be() {
        let text = keys('a', &[]).sign(Purpose::AccessToken, b"payload");
        assert_eq!(text, "hat.4OMwhHBheWxvYWQ.LeDNQhRRZUHofiBo2gNm7gVsDv8qENvRbervbhr5AMA");
    }

    #[test]
    fn no_purpose_passes_for_another() {
        let keys = keys('a', &[]);
        for purpose in Purpose::ALL {
            let text = keys.sign(purpose, b"payload");
            for other in Purpose::ALL {
                let opened = keys.open(other, &text);
                assert_eq!(opened.is_ok(), purpose == other, "{purpose:?} {other:?}");
                let renamed = text.replacen(purpose.prefix(), other.prefix(), 1);
                assert_eq!(keys.open(other, &renamed).is_ok(), purpose == other, "{purpose:?} {other:?}");
            }
        }
    }

    /// Proves AUTH-19.
    #[test]
    fn what_the_old_key_signed_is_accepted_until_its_time_is_over() {
        let old = keys('a', &[]);
        let signed = old.sign(Purpose::TransferLink, b"payload");
        let until = Timestamp::from_millis(1_000);
        let ring = Ring { current: key('b'), retired: vec![Retired { key: key('a'), until: Some(until) }] };
        old.replace(ring.clone().at(Timestamp::from_millis(999)));
        assert_eq!(old.open(Purpose::TransferLink, &signed).as_deref(), Ok(b"payload".as_slice()));
        let anew = old.sign(Purpose::TransferLink, b"payload");
        assert_ne!(anew, signed, "the new key signs");
        old.replace(ring.at(until));
        assert_eq!(old.open(Purpose::TransferLink, &signed), Err(Invalid));
        assert!(old.open(Purpose::TransferLink, &anew).is_ok());
        assert_eq!(keys('c', &[]).open(Purpose::TransferLink, &anew), Err(Invalid), "a stranger's key");
        assert!(keys('c', &['b']).open(Purpose::TransferLink, &anew).is_ok());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let shown = format!("{:?}", keys('q', &['z']));
        assert!(!shown.contains("qq") && !shown.contains("zz"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_signed_opens_and_nothing_else(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            with in "[A-Za-z0-9_.=-]",
        ) {
            let keys = keys('a', &['b']);
            let text = keys.sign(Purpose::AccessToken, &payload);
            prop_assert_eq!(keys.open(Purpose::AccessToken, &text), Ok(payload));
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(keys.open(Purpose::AccessToken, &changed).is_ok(), changed == text);
            prop_assert_eq!(keys.open(Purpose::AccessToken, &text[..at]), Err(Invalid));
            prop_assert_eq!(keys.open(Purpose::AccessToken, &format!("{text}{with}")), Err(Invalid));
        }

        #[test]
        fn any_text_is_survived(text in "\\PC*") {
            prop_assert_eq!(keys('a', &[]).open(Purpose::AccessToken, &text), Err(Invalid));
            prop_assert_eq!(keys('a', &[]).open(Purpose::AccessToken, &format!("hat.{text}.{text}")), Err(Invalid));
        }
    }
}
