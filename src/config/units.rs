//! Spans of time in the unit that the key's name ends in.

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $from:path, $into:ident) => {
        $(#[$doc])*
        pub(super) mod $name {
            use serde::{Deserialize, Deserializer, Serializer};
            use std::time::Duration;

            pub(in crate::config) fn serialize<S: Serializer>(
                span: &Duration,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(u64::try_from(span.$into()).unwrap_or(u64::MAX))
            }

            pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Duration, D::Error> {
                u64::deserialize(deserializer).map($from)
            }
        }
    };
}

unit! {
    /// Keys that end in `_ms`.
    millis, Duration::from_millis, as_millis
}
unit! {
    /// Keys that end in `_s`.
    seconds, Duration::from_secs, as_secs
}
