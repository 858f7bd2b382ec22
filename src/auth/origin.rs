//! Whether a request came from our own pages (AUTH-02): the cookie rides along with anything a browser sends, so what
//! changes something has to prove where it comes from.

use crate::config::PublicUrl;
use crate::domain::Rejection;

/// What a browser says about where a request comes from. Programs that are no browsers say nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Provenance<'a> {
    /// `Sec-Fetch-Site` (W3C Fetch Metadata).
    pub sec_fetch_site: Option<&'a str>,
    /// `Origin` (RFC 6454).
    pub origin: Option<&'a str>,
    /// `Host`.
    pub host: Option<&'a str>,
}

/// Whether requests of this method change something (RFC 9110 section 9.2.1 names the safe ones).
pub fn is_unsafe(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Refuses what another site sent: unsafe methods without an `Authorization` header, and WebSocket upgrades.
pub fn same_origin(from: Provenance<'_>, public_url: Option<&PublicUrl>) -> Result<(), Rejection> {
    if from.sec_fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(Rejection::forbidden("this came from another site"));
    }
    match from.origin {
        Some(origin) if !is_ours(origin, from.host, public_url) => {
            Err(Rejection::forbidden("this came from another origin"))
        }
        _ => Ok(()),
    }
}

/// What a link begins with that somebody else will open: the configured address, or the one that the asker's own browser shows. Of that one both
/// `Origin` and `Host` have to speak, as they do whenever a page of ours asks; no page of another can make them. A `Host` by itself proves nothing:
/// whoever sends no `Origin` is no browser, and gets `own`, where the server listens.
pub fn of_links(
    from: Provenance<'_>,
    public_url: Option<&PublicUrl>,
    own: &str,
) -> Result<String, Rejection> {
    // Once more for those who come with an `Authorization` header and weren't asked.
    same_origin(from, public_url)?;
    Ok(match (public_url, from.origin) {
        (Some(url), _) => url.origin().to_owned(),
        (None, Some(origin)) => {
            let origin = PublicUrl::try_from(origin.to_owned());
            origin.map_err(|_unreadable| Rejection::forbidden("this came from another origin"))?.into()
        }
        (None, None) => own.to_owned(),
    })
}

fn is_ours(origin: &str, host: Option<&str>, public_url: Option<&PublicUrl>) -> bool {
    let Ok(origin) = PublicUrl::try_from(origin.to_owned()) else { return false };
    let scheme = if origin.is_tls() { "https" } else { "http" };
    // A proxy that ends TLS passes on the host and not the scheme, so the origin's own scheme is taken.
    let here = host.and_then(|host| PublicUrl::try_from(format!("{scheme}://{host}")).ok());
    here.is_some_and(|here| here == origin) || public_url == Some(&origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(site: Option<&str>, origin: Option<&str>, host: &str) -> bool {
        let public = PublicUrl::try_from("https://chat.example.org".to_owned()).expect("valid");
        let from = Provenance { sec_fetch_site: site, origin, host: Some(host) };
        same_origin(from, Some(&public)).is_ok()
    }

    /// Proves AUTH-02.
    #[test]
    fn only_our_own_pages_change_things() {
        let host = "127.0.0.1:8080";
        for (site, origin, expected) in [
            (None, None, true),
            (Some("same-origin"), None, true),
            (Some("none"), None, true),
            (Some("same-site"), None, false),
            (Some("cross-site"), None, false),
            (Some("cross-site"), Some("http://127.0.0.1:8080"), false),
            (None, Some("http://127.0.0.1:8080"), true),
            (Some("same-origin"), Some("http://127.0.0.1:8080"), true),
            (None, Some("https://chat.example.org"), true),
            (None, Some("https://CHAT.example.org:443"), true),
            (None, Some("http://chat.example.org"), false),
            (None, Some("http://127.0.0.1:8081"), false),
            (None, Some("http://127.0.0.1"), false),
            (None, Some("https://chat.example.org.evil.test"), false),
            (None, Some("https://evil.test/https://chat.example.org"), false),
            (Some("same-origin"), Some("https://evil.test"), false),
            (None, Some("null"), false),
            (None, Some(""), false),
        ] {
            assert_eq!(allowed(site, origin, host), expected, "{site:?} {origin:?}");
        }
        assert!(allowed(None, Some("https://behind.proxy"), "behind.proxy"));
        assert!(allowed(None, Some("http://LOCALHOST"), "localhost:80"));
    }

    #[test]
    fn no_link_leads_to_a_forged_host() {
        let public = PublicUrl::try_from("https://chat.example.org".to_owned()).expect("valid");
        let link = |public: Option<&PublicUrl>, origin, host| {
            let from = Provenance { sec_fetch_site: None, origin, host };
            of_links(from, public, "http://127.0.0.1:8080").ok()
        };
        let here = |url: &str| Some(url.to_owned());
        for host in [None, Some("evil.test"), Some("chat.example.org"), Some("evil.test/x"), Some("")] {
            assert_eq!(link(None, None, host), here("http://127.0.0.1:8080"), "{host:?}");
            assert_eq!(link(Some(&public), None, host), here("https://chat.example.org"), "{host:?}");
            let from_public = link(Some(&public), Some("https://chat.example.org"), host);
            assert_eq!(from_public, here("https://chat.example.org"), "{host:?}");
        }
        for (origin, host, expected) in [
            ("http://hearth.lan:8080", "hearth.lan:8080", here("http://hearth.lan:8080")),
            ("https://Hearth.lan", "hearth.lan:443", here("https://hearth.lan")),
            ("http://hearth.lan:8080", "evil.test", None),
            ("http://evil.test", "hearth.lan:8080", None),
            ("http://hearth.lan:8081", "hearth.lan:8080", None),
            ("null", "hearth.lan:8080", None),
        ] {
            assert_eq!(link(None, Some(origin), Some(host)), expected, "{origin} {host}");
        }
        assert_eq!(link(Some(&public), Some("http://evil.test"), Some("hearth.lan")), None);
        let strange =
            Provenance { sec_fetch_site: Some("cross-site"), origin: None, host: Some("hearth.lan") };
        assert!(of_links(strange, None, "http://127.0.0.1:8080").is_err());
    }

    #[test]
    fn safe_methods_are_the_known_ones() {
        assert!(["POST", "PUT", "PATCH", "DELETE", "BREW"].into_iter().all(is_unsafe));
        assert!(!["GET", "HEAD", "OPTIONS"].into_iter().any(is_unsafe));
    }
}
