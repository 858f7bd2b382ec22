//! Who sends this: credentials from headers, and whose they are. One way for REST and the WebSocket.

use super::bot_key::BotKey;
use super::cookie::SessionCookie;
use super::token;
use crate::config::Auth;
use crate::domain::{Person, Rejection, RejectionCode, SessionId, Timestamp};
use crate::storage::{Store, StoreError};

/// What a request brings to be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing.
    None,
    /// Something that can't be right.
    Malformed,
    /// A session's token.
    Session(SessionToken<'a>),
    /// A bot's key.
    BotKey(BotKey<'a>),
}

/// The token in a cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionToken<'a>(&'a str);

/// Somebody known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub person: Person,
    pub via: Via,
    /// The session's life was just made longer, so its cookie's should be too.
    pub renewed: bool,
    /// When the session ends if it isn't used again; none for bots.
    pub expires_at: Option<Timestamp>,
}

/// How somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Session(SessionId),
    BotKey,
}

impl Identity {
    /// The session, if there is one.
    pub const fn session(&self) -> Option<SessionId> {
        match self.via {
            Via::Session(session) => Some(session),
            Via::BotKey => None,
        }
    }
}

impl<'a> SessionToken<'a> {
    /// The text, for the cookie.
    pub const fn reveal(self) -> &'a str {
        self.0
    }
}

impl std::fmt::Debug for SessionToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl<'a> Credentials<'a> {
    /// Takes them from the headers `Cookie` and `Authorization` and the offered WebSocket subprotocols. Who names credentials
    /// explicitly means those: a wrong `Authorization` is never made good by a cookie that the browser added.
    pub fn from_headers(
        cookie: SessionCookie,
        cookies: Option<&'a str>,
        authorization: Option<&'a str>,
        subprotocols: &[&'a str],
    ) -> Self {
        if let Some(authorization) = authorization {
            return match authorization.split_once(' ') {
                Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Self::key(key.trim()),
                _ => Self::Malformed,
            };
        }
        if let Some(key) = subprotocols.iter().find_map(|offer| offer.strip_prefix("bearer.")) {
            return Self::key(key);
        }
        match cookies.and_then(|cookies| cookie.find(cookies)) {
            Some(token) => Self::Session(SessionToken(token)),
            None => Self::None,
        }
    }

    /// Whether the browser added them by itself, on behalf of whichever page is open.
    pub const fn rides_on_cookie(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    fn key(text: &'a str) -> Self {
        BotKey::parse(text).map_or(Self::Malformed, Self::BotKey)
    }
}

/// Finds out whose `credentials` are; `None` when they are missing, wrong, expired or revoked. A session in use is
/// noted as such, not more often than `auth.touch`.
pub async fn identify(
    store: &Store,
    auth: &Auth,
    credentials: Credentials<'_>,
    now: Timestamp,
) -> Result<Option<Identity>, Rejection> {
    match credentials {
        Credentials::None | Credentials::Malformed => Ok(None),
        Credentials::Session(token) => by_session(store, auth, token, now).await,
        Credentials::BotKey(key) => {
            let found = store.bot_key(key.bot, now).await.map_err(refusal)?;
            // Every hash is compared, so that time doesn't tell which one fits.
            let fits = |hashes: &[[u8; 32]]| hashes.iter().fold(false, |fits, hash| key.matches(hash) | fits);
            let owner = found.filter(|(_, hashes)| fits(hashes));
            Ok(owner.map(|(person, _)| Identity {
                person,
                via: Via::BotKey,
                renewed: false,
                expires_at: None,
            }))
        }
    }
}

async fn by_session(
    store: &Store,
    auth: &Auth,
    token: SessionToken<'_>,
    now: Timestamp,
) -> Result<Option<Identity>, Rejection> {
    let token_hash = token::hash(token.0);
    let found = store.session(token_hash, now).await.map_err(refusal)?;
    let Some((session, person)) = found else { return Ok(None) };
    let mut renewed = false;
    if session.last_active_at.after(auth.touch) <= now {
        match store.touch_session(token_hash, now, now.after(auth.session)).await {
            Ok(()) => renewed = true,
            // It is in use all the same; the next request tries again.
            Err(error) => tracing::warn!(%error, "could not note that a session is in use"),
        }
    }
    let expires_at = if renewed { now.after(auth.session) } else { session.expires_at };
    let via = Via::Session(session.id);
    Ok(Some(Identity { person, via, renewed, expires_at: Some(expires_at) }))
}

/// There are no credentials, or wrong ones; which of the two is nobody's business.
pub fn unauthenticated() -> Rejection {
    Rejection::new(RejectionCode::Unauthenticated, "please sign in")
}

/// What an asker is told when the store fails; the log gets the incident.
pub fn refusal(error: StoreError) -> Rejection {
    match error {
        StoreError::Full => Rejection::overloaded(),
        StoreError::Unavailable(_) | StoreError::DiskFull(_) | StoreError::OutcomeUnknown(_) => {
            tracing::warn!(%error, "the store did not answer");
            Rejection::unavailable()
        }
        error => {
            tracing::error!(%error, "the store failed");
            Rejection::internal()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn from<'a>(
        cookies: Option<&'a str>,
        authorization: Option<&'a str>,
        subprotocols: &[&'a str],
    ) -> Credentials<'a> {
        let cookie = SessionCookie { tls: false, lifetime: Duration::from_secs(1) };
        Credentials::from_headers(cookie, cookies, authorization, subprotocols)
    }

    #[test]
    fn an_authorization_header_never_falls_back_to_the_cookie() {
        let cookie = Some("hearth_session=abc");
        assert!(matches!(from(cookie, None, &[]), Credentials::Session(_)));
        assert_eq!(from(cookie, Some("Bearer nonsense"), &[]), Credentials::Malformed);
        assert_eq!(from(cookie, Some("Basic YTpi"), &[]), Credentials::Malformed);
        assert_eq!(from(cookie, Some(""), &[]), Credentials::Malformed);
        assert!(matches!(from(cookie, Some("bearer 7-abc"), &[]), Credentials::BotKey(_)));
        assert!(matches!(from(cookie, None, &["hearth.v1.json", "bearer.7-abc"]), Credentials::BotKey(_)));
        assert_eq!(from(cookie, None, &["hearth.v1.json", "bearer.x"]), Credentials::Malformed);
        assert!(matches!(from(cookie, None, &["hearth.v1.json"]), Credentials::Session(_)));
        assert_eq!(from(None, None, &[]), Credentials::None);
    }

    #[test]
    fn no_secret_is_shown() {
        for credentials in
            [from(Some("hearth_session=hunter2"), None, &[]), from(None, Some("Bearer 7-hunter2"), &[])]
        {
            assert!(!format!("{credentials:?}").contains("hunter2"));
        }
    }
}
