//! The closed set of keys, and the one somebody may have meant.

use super::Config;
use serde_json::Value;

/// Every key there is, `section.name`.
pub(super) fn known() -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(value) = serde_json::to_value(Config::default()) {
        collect("", &value, &mut keys);
    }
    keys
}

/// The keys of the leaves of `value`, in the order they stand.
pub(super) fn collect(prefix: &str, value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                collect(&key, field, keys);
            }
        }
        _ => keys.push(prefix.to_owned()),
    }
}

/// The known key most like `wrong`, if one is like it at all. A name without its section counts as its key.
pub(super) fn closest<'a>(wrong: &str, known: &'a [String]) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    let likeness = |key: &str| {
        let name = key.rsplit('.').next().unwrap_or(key);
        strsim::normalized_levenshtein(&wrong, key).max(strsim::normalized_levenshtein(&wrong, name))
    };
    known
        .iter()
        .map(|key| (likeness(key), key.as_str()))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = known();
        let meant = |wrong: &str| closest(wrong, &known);
        assert_eq!(meant("heartbeat.interval"), Some("heartbeat.interval_ms"));
        assert_eq!(meant("server.listn"), Some("server.listen"));
        assert_eq!(meant("listen"), Some("server.listen"));
        assert_eq!(meant("socket.outbox"), Some("socket.outbox_bytes"));
        assert_eq!(meant("HEARTBEAT.interval_ms"), Some("heartbeat.interval_ms"));
        assert_eq!(meant("soket.x"), None);
        assert_eq!(meant("zzzzzzzz"), None);
    }
}
