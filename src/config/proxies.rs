//! The proxies in front of the server, whose word on where a request comes from is believed.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Addresses and networks. Empty: nobody's word is believed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Texts", into = "Vec<String>")]
pub struct TrustedProxies(Vec<IpNet>);

/// A list in the file; the environment and flags have one text, with commas between.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    List(Vec<String>),
    One(String),
}

impl TrustedProxies {
    /// Whether a proxy of ours has this address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Texts> for TrustedProxies {
    type Error = String;

    fn try_from(texts: Texts) -> Result<Self, Self::Error> {
        let texts = match texts {
            Texts::List(list) => list,
            Texts::One(text) => text.split(',').map(str::to_owned).collect(),
        };
        texts
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address.to_canonical())),
        Err(_) => text.parse().ok(),
    };
    let network: IpNet =
        network.ok_or_else(|| format!("{text} is neither an address nor a network like 10.0.0.0/8"))?;
    if network.prefix_len() == 0 {
        return Err(format!("{text} is everybody: name the proxies"));
    }
    Ok(network)
}

impl From<TrustedProxies> for Vec<String> {
    fn from(proxies: TrustedProxies) -> Self {
        proxies.0.iter().map(IpNet::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(text: &str) -> Result<TrustedProxies, String> {
        TrustedProxies::try_from(Texts::One(text.to_owned()))
    }

    #[test]
    fn are_addresses_and_networks() {
        let some = proxies("10.0.0.0/8, ::1,192.0.2.7, 2001:db8::/32").expect("valid");
        let trusts = |address: &str| some.contain(address.parse().expect("an address"));
        assert!(["10.255.0.1", "::1", "192.0.2.7", "::ffff:10.0.0.1", "2001:db8::9"].into_iter().all(trusts));
        assert!(!["11.0.0.1", "127.0.0.1", "192.0.2.8", "::2", "2001:db9::1"].into_iter().any(trusts));
        assert!(proxies("").expect("valid").is_empty());
        let list =
            TrustedProxies::try_from(Texts::List(vec!["::1".into(), "10.0.0.0/8".into()])).expect("valid");
        assert_eq!(Vec::from(list), ["::1/128", "10.0.0.0/8"]);
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0", "0.0.0.0/0", "::/0", "10.0.0.1;10.0.0.2"] {
            assert!(proxies(wrong).is_err(), "{wrong}");
        }
    }
}
