//! What a server was told or told itself in confidence, so that its log can be searched for all of it when it is gone.
//!
//! Off unless somebody listens: then every client notes the passwords, addresses, cookies and keys that go over its wire.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Fields of requests and answers that hold a secret.
const FIELDS: [&str; 12] = [
    "email",
    "password",
    "current_password",
    "new_password",
    "key",
    "token",
    "access_token",
    "refresh_token",
    "join_code",
    "webhook_url",
    "qr",
    "url",
];
/// Shorter texts may stand in a log by chance; no password is shorter.
const MIN_CHARS: usize = 8;

static LISTENING: AtomicBool = AtomicBool::new(false);
static TOLD: LazyLock<Mutex<HashMap<String, BTreeSet<String>>>> = LazyLock::new(Mutex::default);

fn told() -> MutexGuard<'static, HashMap<String, BTreeSet<String>>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on what is confidential is noted, in the whole process.
pub fn listen() {
    LISTENING.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub fn is_listening() -> bool {
    LISTENING.load(Ordering::Relaxed)
}

/// Notes a secret of the server at `base`.
pub fn note(base: &str, secret: &str) {
    let secret = secret.trim();
    // One line is looked for at a time.
    if is_listening() && secret.chars().count() >= MIN_CHARS && !secret.contains(char::is_control) {
        told().entry(base.trim_end_matches('/').to_owned()).or_default().insert(secret.to_owned());
    }
}

/// Notes what is confidential in a body.
pub fn overhear(base: &str, body: &[u8]) {
    if !is_listening() {
        return;
    }
    if let Ok(value) = serde_json::from_slice(body) {
        walk(base, &value);
    }
}

/// Notes the values in a `Cookie` or `Set-Cookie` header.
pub fn overhear_cookie(base: &str, header: &str) {
    // What follows the first pair of a `Set-Cookie` is no secret, and too short.
    for (_, value) in header.split(';').filter_map(|pair| pair.trim().split_once('=')) {
        if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            note(base, value);
        }
    }
}

/// Notes a bot's key: what stands after its number.
pub fn overhear_key(base: &str, key: &str) {
    note(base, key.split_once('-').map_or(key, |(_, token)| token));
}

fn walk(base: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| FIELDS.contains(&name.as_str())) {
                    Some(text) => field(base, name, text),
                    None => walk(base, value),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| walk(base, value)),
        _ => {}
    }
}

fn field(base: &str, name: &str, text: &str) {
    match name {
        "key" => overhear_key(base, text),
        // Of our own links the end is the secret; others we don't know.
        "url" => {
            let secret = text.split_once("/join/").or_else(|| text.split_once("/transfer#"));
            secret.into_iter().for_each(|(_, secret)| note(base, secret));
        }
        "qr" => {}
        // Without a path or query it is only where somebody is.
        "webhook_url" => {
            let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
            rest.split_once(['/', '?']).into_iter().for_each(|(_, secret)| note(base, secret));
        }
        _ => note(base, text),
    }
}

/// The lines of a log that have something in them that the server at `base` should keep to itself, and forgets what that was.
pub fn leaks(base: &str, mut log: &File) -> io::Result<Vec<String>> {
    let Some(secrets) = told().remove(base) else { return Ok(Vec::new()) };
    log.rewind()?;
    // Somebody else's search: it takes all texts at once and is fast also where we are compiled for debugging.
    let mut grep = Command::new("grep");
    grep.args(["--text", "--fixed-strings", "--line-number", "--max-count=20"]);
    grep.args(secrets.iter().flat_map(|secret| ["-e", secret]));
    let found = grep.env("LC_ALL", "C").stdin(log.try_clone()?).stderr(Stdio::null()).output()?;
    if found.status.code().is_none_or(|code| code > 1) {
        return Err(io::Error::other("grep failed"));
    }
    Ok(String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_told_is_found_in_a_log_and_nothing_else() {
        listen();
        let base = "http://confidential.test";
        overhear(
            base,
            br#"{"user":{"email":"ann@example.org"},"bots":[{"key":"7-abcdefghijk","name":"somebody"}]}"#,
        );
        overhear(base, br#"{"url":"https://x/join/abcd-efgh","webhook_url":"http://host/hook?token=s3cret","code":"not_found"}"#);
        overhear_cookie(base, "hearth_session=0123456789; Path=/; Max-Age=2592000");
        note(base, "short");
        let log = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file
        };
        let secrets = ["ann@example.org", "abcdefghijk", "abcd-efgh", "hook?token=s3cret", "0123456789"];
        let text = format!("fine: 7-*** not_found somebody short Path\n{}\n\u{0}end", secrets.join("\n"));
        let found = leaks(base, &log(&text)).unwrap();
        assert_eq!(found.len(), secrets.len(), "{found:?}");
        assert_eq!(found[0], "2:ann@example.org");
        assert!(leaks(base, &log(&text)).unwrap().is_empty(), "forgotten");
        note(base, "nowhere to be found");
        assert!(leaks(base, &log(&text)).unwrap().is_empty());
    }
}
