//! What every answer tells browsers to refuse: other origins, other types, frames, plain text.

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Pages run what comes from us and nothing inline; nobody frames them.
pub(super) const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";
/// What is no page runs nothing, should a browser ever take it for one.
const DATA_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds what the answer doesn't say itself.
pub(super) fn guard(headers: &mut HeaderMap, is_tls: bool) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, DATA_POLICY),
        // Paths and addresses of invitations are nobody else's business.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if is_tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
}
