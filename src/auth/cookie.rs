//! The session cookie (AUTH-01): out of reach for scripts, for other sites and, with TLS, for the wire.

use super::token::Token;
use crate::config::Config;
use std::time::Duration;

/// With TLS the `__Host-` prefix makes browsers insist on `Secure`, `Path=/` and no `Domain` (RFC 6265bis 4.1.3.2).
const OVER_TLS: &str = "__Host-hearth";
/// Without TLS a browser would refuse a `Secure` cookie.
const PLAIN: &str = "hearth_session";

/// How the cookie looks on this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCookie {
    pub tls: bool,
    /// How long the browser keeps it.
    pub lifetime: Duration,
}

impl SessionCookie {
    /// As the settings want it.
    pub fn of(config: &Config) -> Self {
        Self { tls: config.is_tls(), lifetime: config.auth.session }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        if self.tls { OVER_TLS } else { PLAIN }
    }

    /// The `Set-Cookie` that signs in.
    pub fn set(self, token: &Token) -> String {
        self.with(token.reveal(), self.lifetime)
    }

    /// The `Set-Cookie` that keeps a session in use for another lifetime.
    pub fn renew(self, presented: &str) -> String {
        self.with(presented, self.lifetime)
    }

    /// The `Set-Cookie` that signs out.
    pub fn clear(self) -> String {
        self.with("", Duration::ZERO)
    }

    fn with(self, value: &str, lifetime: Duration) -> String {
        let secure = if self.tls { "; Secure" } else { "" };
        let (name, seconds) = (self.name(), lifetime.as_secs());
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// The token in a `Cookie` header: letters and digits, as we make them.
    pub fn find(self, header: &str) -> Option<&str> {
        header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.name())
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// Proves AUTH-01.
    #[test]
    fn every_set_cookie_is_guarded() {
        let token = Token::random();
        for tls in [false, true] {
            let cookie = SessionCookie { tls, lifetime: MONTH };
            for header in [cookie.set(&token), cookie.renew("abc"), cookie.clear()] {
                let attributes: Vec<&str> = header.split("; ").skip(1).collect();
                assert!(attributes.contains(&"HttpOnly"), "{header}");
                assert!(attributes.contains(&"SameSite=Lax"), "{header}");
                assert!(attributes.contains(&"Path=/"), "{header}");
                assert_eq!(attributes.contains(&"Secure"), tls, "{header}");
                assert_eq!(header.starts_with("__Host-"), tls, "{header}");
                assert!(!header.contains("Domain"), "{header}");
            }
            assert!(cookie.set(&token).contains("Max-Age=2592000"));
            assert!(cookie.clear().contains("Max-Age=0"));
        }
    }

    #[test]
    fn is_found_among_others() {
        let cookie = SessionCookie { tls: false, lifetime: MONTH };
        assert_eq!(cookie.find("a=b; hearth_session=abc123; c=d"), Some("abc123"));
        for none in ["", "hearth_session", "hearth_session=", "x_hearth_session=abc", "hearth_session=a b"] {
            assert_eq!(cookie.find(none), None, "{none}");
        }
        assert_eq!(SessionCookie { tls: true, ..cookie }.find("hearth_session=abc"), None);
    }
}
