//! The code in an invitation link.

use rand::distr::{Alphanumeric, SampleString};

/// A fresh code, `xxxx-xxxx-xxxx`: 71 bits, still short enough to be read out.
pub fn random() -> String {
    let part = || Alphanumeric.sample_string(&mut rand::rng(), 4);
    [part(), part(), part()].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every character of every code is drawn: none follows from the others or from the code before.
    #[test]
    fn nothing_of_a_code_is_known_before() {
        let codes: Vec<String> = (0..3000).map(|_| random()).collect();
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len(), "no code comes twice");
        for at in 0..14 {
            let drawn: HashSet<u8> =
                codes.iter().filter_map(|code| code.as_bytes().get(at).copied()).collect();
            if matches!(at, 4 | 9) {
                assert_eq!(drawn, HashSet::from([b'-']));
            } else {
                // Of 62 characters one is missing with a chance of less than one in 10^18.
                assert_eq!(drawn.len(), 62, "character {at}");
            }
        }
        let repeats = |a: &str, b: &str| a.bytes().zip(b.bytes()).filter(|(a, b)| a == b).count();
        for pair in codes.windows(2) {
            assert!(repeats(&pair[0], &pair[1]) < 10, "{pair:?}");
        }
        assert!(codes.iter().all(|code| code.len() == 14));
    }
}
