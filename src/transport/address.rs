//! Where requests and upgrades come from: one way for both doors.

use crate::auth::address;
use crate::config::Config;
use actix_http::header::{HOST, HeaderMap, HeaderName, X_FORWARDED_FOR};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// What proxies add. With one of these a request was passed on, whether the proxy is ours or not.
const SIGNS_OF_A_PROXY: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// The address of whoever sends this, as far as the proxies named by `server.trusted_proxies` can be believed; none when the
/// kernel doesn't know the peer any more.
pub fn client_address(peer: Option<SocketAddr>, headers: &HeaderMap, config: &Config) -> Option<IpAddr> {
    // Whatever bytes the client wrote, what our proxy put behind them in the same line is read.
    let lines: Vec<Cow<'_, str>> =
        headers.get_all(X_FORWARDED_FOR).map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    Some(address::client(peer?.ip(), lines.iter().map(AsRef::as_ref), &config.server.trusted_proxies))
}

/// Whether this was sent on the machine itself, to the machine itself. What a proxy on this machine passes on comes from elsewhere, whether
/// it says so or not: a server that is told of a proxy believes nobody to be here.
pub(super) fn is_local(peer: Option<SocketAddr>, headers: &HeaderMap, config: &Config) -> bool {
    let is_here = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_behind = config.server.public_url.is_some()
        || !config.server.trusted_proxies.is_empty()
        || SIGNS_OF_A_PROXY.into_iter().any(|name| headers.contains_key(HeaderName::from_static(name)));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    is_here && !is_behind && host.is_some_and(is_local_name)
}

/// A proxy passes on the name that was typed, and so does a page that made its own name mean this machine.
fn is_local_name(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for name in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_local_name(name), "{name}");
        }
        for name in [
            "",
            "chat.example.org",
            "localhost.example.org:80",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "127.0.0.1.example.org",
            "x:localhost",
        ] {
            assert!(!is_local_name(name), "{name}");
        }
    }
}
