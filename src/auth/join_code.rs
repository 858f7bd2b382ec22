//! The code in an invitation link.

use rand::distr::{Alphanumeric, SampleString};

/// A fresh code, `xxxx-xxxx-xxxx`: 71 bits, still short enough to be read out.
pub fn random() -> String {
    let part = || Alphanumeric.sample_string(&mut rand::rng(), 4);
    [part(), part(), part()].join("-")
}
