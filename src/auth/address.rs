//! Where a request comes from, when proxies stand in front: what they say is believed as far as they are ours.

use crate::config::TrustedProxies;
use std::net::{IpAddr, SocketAddr};

/// The address of whoever asks. `forwarded_for` are the values of all `X-Forwarded-For` lines, in their order: each proxy adds the address
/// it was called from at the end, so they are read from there, and the first one that is no proxy of ours is who asked; what stands before
/// it anybody can have written. Where an entry makes no sense, it is the last of ours that is known.
///
/// `Forwarded` (RFC 7239) is not read: a proxy that only knows one of the two headers passes on the other as its caller wrote it.
pub fn client<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &TrustedProxies,
) -> IpAddr {
    let mut known = peer.to_canonical();
    for entry in forwarded_for.rev().flat_map(|line| line.rsplit(',')) {
        if !trusted.contain(known) {
            return known;
        }
        match address(entry.trim()) {
            Some(address) => known = address,
            None => return known,
        }
    }
    known
}

/// An address, maybe in brackets, maybe with a port, as proxies write it.
fn address(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted(text: &str) -> TrustedProxies {
        serde_json::from_value(serde_json::Value::from(text)).expect("valid")
    }

    fn from(peer: &str, lines: &[&str], proxies: &str) -> String {
        client(peer.parse().expect("an address"), lines.iter().copied(), &trusted(proxies)).to_string()
    }

    #[test]
    fn the_last_that_is_no_proxy_of_ours_asked() {
        let ours = "10.0.0.0/8, ::1";
        for (peer, lines, client) in [
            // Nobody speaks for them.
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // One proxy, several, over several lines.
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1", "10.0.0.3, 10.0.0.2"], "192.0.2.1"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            // What the client itself wrote stands before.
            ("10.0.0.1", &["127.0.0.1, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["127.0.0.1", "192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            // A peer that is no proxy says nothing.
            ("192.0.2.9", &["127.0.0.1"], "192.0.2.9"),
            ("127.0.0.1", &["192.0.2.1"], "127.0.0.1"),
            // Ports and brackets.
            ("10.0.0.1", &["192.0.2.1:1234"], "192.0.2.1"),
            ("10.0.0.1", &["[2001:db8::1]:1234"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            // Garbage ends it at the last known of ours.
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1,"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1, garbage, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["192.0.2.1 10.0.0.2"], "10.0.0.1"),
            // Only ours: the first.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(from(peer, lines, ours), client, "{peer} {lines:?}");
        }
        assert_eq!(from("10.0.0.1", &["192.0.2.1"], ""), "10.0.0.1", "nobody is trusted");
    }

    proptest! {
        /// Whatever a client writes before, the proxy's own entry decides.
        #[test]
        fn nobody_chooses_their_own_address(written in "[ -~]{0,60}", in_line in any::<bool>()) {
            let lines =
                if in_line { vec![format!("{written}, 192.0.2.1")] } else { vec![written, "192.0.2.1".to_owned()] };
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(from("10.0.0.1", &lines, "10.0.0.0/8"), "192.0.2.1");
        }
    }
}
