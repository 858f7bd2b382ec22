//! Who sends this: credentials from headers, and whose they are. One way for REST and the WebSocket.

use super::access::AccessToken;
use super::bot_key::BotKey;
use super::cookie::SessionCookie;
use super::signing::Keys;
use super::token;
use crate::config::Auth;
use crate::domain::{Origin, Person, Principal, Rejection, RejectionCode, Role, SessionId, Timestamp, Via};
use crate::storage::{BotKeyState, KnownKey, SessionKey, SessionState, Store, StoreError};
use std::net::IpAddr;

/// What a request brings to be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing.
    None,
    /// Something that can't be right.
    Malformed,
    /// A session's token.
    Session(SessionToken<'a>),
    /// An API client's access token.
    Access(AccessToken<'a>),
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
    /// Where they are, as far as it is known.
    pub address: Option<IpAddr>,
    /// The session's use was just noted, and a cookie's life made longer with it.
    pub renewed: bool,
    /// When the session ends if it isn't used again; none for bots.
    pub expires_at: Option<Timestamp>,
    /// When these credentials end, however much they are used: an access token does, and a bot's key may.
    pub ends_at: Option<Timestamp>,
}

impl Identity {
    /// The session, if there is one.
    pub const fn session(&self) -> Option<SessionId> {
        match self.via {
            Via::Session(session) => Some(session),
            Via::BotKey(_) | Via::Nobody | Via::Operator | Via::System => None,
        }
    }
}

impl Identity {
    /// Who acts, for what is done on their behalf.
    pub fn principal(&self) -> Principal {
        let origin = Origin { via: self.via, address: self.address };
        Principal { person: self.person.clone(), origin }
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
        match AccessToken::parse(text) {
            Some(token) => Self::Access(token),
            None => BotKey::parse(text).map_or(Self::Malformed, Self::BotKey),
        }
    }
}

/// Finds out whose `credentials` are, who come from `address`. What was shown and doesn't hold is told apart (AUTH-08): only who
/// had it once learns that it is over. A session in use is noted as such, not more often than `auth.touch`.
pub async fn identify(
    store: &Store,
    auth: &Auth,
    keys: &Keys,
    credentials: Credentials<'_>,
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<Identity, Rejection> {
    match credentials {
        Credentials::None => Err(unauthenticated()),
        Credentials::Malformed => Err(token_invalid()),
        Credentials::Session(token) => {
            let key = SessionKey::Token(token::hash(token.0));
            by_session(store, auth, key, address, now).await
        }
        Credentials::Access(token) => by_access_token(store, auth, keys, token, address, now).await,
        Credentials::BotKey(key) => by_bot_key(store, key, address, now).await,
    }
}

async fn by_session(
    store: &Store,
    auth: &Auth,
    key: SessionKey,
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<Identity, Rejection> {
    let (session, person) = match store.session(key, now).await.map_err(refusal)? {
        SessionState::Living(session, person) => (session, person),
        SessionState::Expired => return Err(token_expired()),
        SessionState::Revoked => return Err(token_revoked()),
        SessionState::Unknown => return Err(token_invalid()),
    };
    // Using an access token keeps nothing alive: refreshing does.
    let longer = match key {
        SessionKey::Token(_) => Some(now.after(auth.session)),
        SessionKey::Id(_) => None,
    };
    let mut renewed = false;
    if session.last_active_at.after(auth.touch) <= now {
        match store.touch_session(key, address, now, longer).await {
            Ok(()) => renewed = true,
            // It is in use all the same; the next request tries again.
            Err(error) => tracing::warn!(%error, "could not note that a session is in use"),
        }
    }
    let expires_at = longer.filter(|_| renewed).unwrap_or(session.expires_at);
    let via = Via::Session(session.id);
    Ok(Identity { person, via, address, renewed, expires_at: Some(expires_at), ends_at: None })
}

async fn by_access_token(
    store: &Store,
    auth: &Auth,
    keys: &Keys,
    token: AccessToken<'_>,
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<Identity, Rejection> {
    let (session, ends_at) = token.read(keys).ok_or_else(token_invalid)?;
    if ends_at <= now {
        return Err(token_expired());
    }
    let identity = by_session(store, auth, SessionKey::Id(session), address, now).await;
    // We signed for it: a session that isn't there any more was there.
    let identity = identity.map_err(|rejection| match rejection.code {
        RejectionCode::TokenInvalid => token_revoked(),
        _ => rejection,
    })?;
    Ok(Identity { ends_at: Some(ends_at), ..identity })
}

async fn by_bot_key(
    store: &Store,
    key: BotKey<'_>,
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<Identity, Rejection> {
    let Some((person, keys)) = store.bot_keys_of(key.bot, now).await.map_err(refusal)? else {
        return Err(token_invalid());
    };
    // Every hash is compared, so that time doesn't tell which one fits.
    let fits =
        |fitting, stored: &KnownKey| if key.matches(&stored.hash) { Some(stored.clone()) } else { fitting };
    // Keys are for programs: people have none, whatever is stored.
    let fitting = keys.iter().fold(None, fits).filter(|_| matches!(person.role, Role::Bot | Role::Assistant));
    match fitting.map(|key| (key.state(now), key)) {
        Some((BotKeyState::Living, key)) => {
            let via = Via::BotKey(key.id);
            Ok(Identity { person, via, address, renewed: false, expires_at: None, ends_at: key.expires_at })
        }
        Some((BotKeyState::Expired, _)) => Err(token_expired()),
        Some((BotKeyState::Revoked, _)) => Err(token_revoked()),
        None => Err(token_invalid()),
    }
}

/// What was shown is nobody's.
pub fn token_invalid() -> Rejection {
    Rejection::new(RejectionCode::TokenInvalid, "these credentials are nobody's")
}

/// What was shown is over.
pub fn token_expired() -> Rejection {
    Rejection::new(RejectionCode::TokenExpired, "these credentials have expired")
}

/// What was shown was taken back.
pub fn token_revoked() -> Rejection {
    Rejection::new(RejectionCode::TokenRevoked, "these credentials were taken back")
}

/// There are no credentials, or a wrong password; which of the two is nobody's business.
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
    fn an_access_token_is_known_by_its_beginning() {
        for shown in [
            from(Some("hearth_session=abc"), Some("Bearer hat.abc.def"), &[]),
            from(None, None, &["hearth.v1.json", "bearer.hat.abc.def"]),
        ] {
            assert!(matches!(shown, Credentials::Access(_)), "{shown:?}");
            assert!(!shown.rides_on_cookie() && !format!("{shown:?}").contains("abc"));
        }
        assert_eq!(from(None, Some("Bearer htl.abc.def"), &[]), Credentials::Malformed);
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
