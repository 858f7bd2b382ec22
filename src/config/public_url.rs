//! The address people type into their browser, when it isn't the one we listen on.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `http://` or `https://` and a host, nothing after it; kept as an origin (RFC 6454: lower case, no default port).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl {
    origin: String,
}

impl PublicUrl {
    /// `https://chat.example.org`, as browsers put it into `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it begins with `https://`.
    pub fn is_tls(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let lower = url.trim().to_ascii_lowercase();
        let (scheme, rest) = lower
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or("the public URL has to begin with http:// or https://")?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err("the public URL has to end after the host and port".to_owned());
        }
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let host = host.strip_suffix(default_port).unwrap_or(host);
        Ok(Self { origin: format!("{scheme}://{host}") })
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.origin
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_as_an_origin() {
        let origin = |url: &str| PublicUrl::try_from(url.to_owned()).map(|url| url.origin);
        assert_eq!(origin("https://Chat.Example.org:443/"), Ok("https://chat.example.org".into()));
        assert_eq!(origin("http://[::1]:8080"), Ok("http://[::1]:8080".into()));
        for wrong in ["chat.example.org", "ftp://x", "https://", "https://x/chat", "https://ann@x"] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
