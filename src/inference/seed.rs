//! The seed an answer is made with: of the question's id alone, the same on any build (AI-18). PROTOCOL.md publishes the algorithm.

use crate::domain::MessageId;
use sha2::{Digest, Sha256};

/// The first four bytes, big endian, of SHA-256 of the id in decimal.
pub fn stable_seed(message: MessageId) -> u32 {
    let digest: [u8; 32] = Sha256::digest(message.get().to_string()).into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by Python: `int.from_bytes(hashlib.sha256(str(id).encode()).digest()[:4], "big")`.
    const VECTORS: [(i64, u32); 7] = [
        (1, 1_803_989_619),
        (2, 3_564_330_554),
        (42, 1_934_056_628),
        (1240, 469_819_756),
        (65_535, 4_076_379_870),
        (9_007_199_254_740_991, 4_094_378_556),
        (9_223_372_036_854_775_807, 3_007_978_544),
    ];

    /// Proves AI-18.
    #[test]
    fn a_seed_is_what_it_is_published_to_be() {
        let protocol = include_str!("../../PROTOCOL.md");
        for (id, seed) in VECTORS {
            assert_eq!(stable_seed(MessageId::new(id)), seed, "{id}");
            assert!(protocol.contains(&format!("| {id} | {seed} |")), "PROTOCOL.md has no row for {id}");
        }
    }
}
