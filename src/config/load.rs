//! Reading: defaults, under the file, under the environment, under flags.

use super::{Config, check, keys, secrets};
use config::builder::DefaultState;
use config::{ConfigBuilder, File, FileFormat};
use std::path::PathBuf;
use thiserror::Error;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "hearth.toml";
/// Environment variables of ours begin so; `__` stands between section and name.
const PREFIX: &str = "HEARTH_";
/// Variables of the test suite and of the command line, no keys.
const OTHER_VARIABLES: [&str; 2] = ["HEARTH_TEST_", "HEARTH_CONFIG"];

/// Where settings come from, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; without it `hearth.toml` in the working directory, if there is one.
    pub file: Option<PathBuf>,
    /// The environment, all of it; an empty variable counts as unset.
    pub environment: Vec<(String, String)>,
    /// Flags and `--set key=value`.
    pub flags: Vec<(String, String)>,
}

/// Why the settings can't be used; the text is for the operator.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{origin}: there is no setting `{key}`{}", suggestion.as_ref().map_or(String::new(), |key| format!("; did you mean `{key}`?")))]
    UnknownKey { origin: String, key: String, suggestion: Option<String> },
    #[error("can't read the settings: {}", without_quotation(.0))]
    Unreadable(#[from] config::ConfigError),
    #[error("the settings contradict each other: {0}")]
    Contradiction(String),
    #[error("{0}")]
    Secret(String),
}

/// Reads and checks.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let known = keys::known();
    let mut builder = config::Config::builder();
    let default_file = PathBuf::from(DEFAULT_FILE);
    let file = sources.file.as_ref().or_else(|| default_file.exists().then_some(&default_file));
    if let Some(path) = file {
        let file = File::from(path.as_path()).format(FileFormat::Toml);
        let alone = config::Config::builder().add_source(file.clone()).build()?;
        let mut found = Vec::new();
        keys::collect("", &alone.try_deserialize()?, &mut found);
        for key in found {
            must_be_known(&path.display().to_string(), &key, &known)?;
        }
        builder = builder.add_source(file);
    }
    for (name, value) in sources.environment.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if OTHER_VARIABLES.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        let key =
            if rest == "LOG" { "log.level".to_owned() } else { rest.to_ascii_lowercase().replace("__", ".") };
        builder = set(builder, &format!("environment variable {name}"), &key, value, &known)?;
    }
    for (key, value) in &sources.flags {
        builder = set(builder, "--set", key, value, &known)?;
    }
    let mut config: Config = builder.build()?.try_deserialize()?;
    secrets::resolve(&mut config)?;
    check::check(&config).map_err(ConfigError::Contradiction)?;
    Ok(config)
}

/// Where a file can't be understood, and not the line, which may have a secret in it.
fn without_quotation(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::FileParse { uri, cause } => {
            let file = uri.as_deref().unwrap_or("the file");
            format!("{file}: {}", cause.to_string().lines().next().unwrap_or_default())
        }
        error => error.to_string(),
    }
}

fn set(
    builder: ConfigBuilder<DefaultState>,
    origin: &str,
    key: &str,
    value: &str,
    known: &[String],
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    must_be_known(origin, key, known)?;
    Ok(builder.set_override(key, value)?)
}

fn must_be_known(origin: &str, key: &str, known: &[String]) -> Result<(), ConfigError> {
    if known.iter().any(|one| one == key) {
        return Ok(());
    }
    Err(ConfigError::UnknownKey {
        origin: origin.to_owned(),
        key: key.to_owned(),
        suggestion: keys::closest(key, known).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn with_flags(flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load(&Sources { flags: pairs(flags), ..Sources::default() })
    }

    fn message(result: Result<Config, ConfigError>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn later_sources_win() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"[server]\nlisten = \"127.0.0.1:1\"\nbacklog = 1\nworkers = 1\n").expect("written");
        let config = load(&Sources {
            file: Some(file.path().to_owned()),
            environment: pairs(&[
                ("HEARTH_SERVER__BACKLOG", "2"),
                ("HEARTH_SERVER__WORKERS", "2"),
                ("HEARTH_LOG", "debug"),
                ("HEARTH_STORAGE__DATABASE", ""),
                ("HOME", "/root"),
            ]),
            flags: pairs(&[("server.workers", "3"), ("heartbeat.interval_ms", "500")]),
        })
        .expect("valid");
        assert_eq!(config.server.listen.port(), 1);
        assert_eq!(config.server.backlog, 2);
        assert_eq!(config.server.workers, Some(3));
        assert_eq!(config.heartbeat.interval, Duration::from_millis(500));
        assert_eq!(config.log.level, "debug");
        assert!(config.storage.database.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_with_a_suggestion() {
        let wrong = message(with_flags(&[("heartbeat.interval", "5")]));
        assert_eq!(
            wrong,
            "--set: there is no setting `heartbeat.interval`; did you mean `heartbeat.interval_ms`?"
        );
        let environment = pairs(&[("HEARTH_SOCKET__OUTBOX_BYTE", "5")]);
        let wrong = message(load(&Sources { environment, ..Sources::default() }));
        assert!(
            wrong.contains("HEARTH_SOCKET__OUTBOX_BYTE") && wrong.contains("`socket.outbox_bytes`"),
            "{wrong}"
        );
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"[server]\nlistn = \"127.0.0.1:1\"\n").expect("written");
        let wrong = message(load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }));
        assert!(wrong.contains("`server.listn`") && wrong.contains("`server.listen`"), "{wrong}");
    }

    #[test]
    fn contradictions_say_what_to_do() {
        for (flags, part) in [
            (&[("heartbeat.interval_ms", "35000")][..], "lower the first or raise the second"),
            (&[("socket.frame_bytes", "1024")], "raise it to 17408 or more"),
            (&[("socket.outbox_bytes", "65535")], "can't hold one frame"),
            (&[("rooms.replay_bytes", "2000000")], "doesn't fit into socket.outbox_bytes"),
            (&[("http.body_bytes", "1000")], "raise it to 17408 or more"),
            (&[("typing.expiry_ms", "1000")], "typing.throttle_ms has to be shorter"),
            (&[("shutdown.drain_ms", "5000")], "shutdown.spread_ms is longer"),
            (&[("storage.write_queue", "100")], "storage.commit_batch is larger"),
            (&[("rooms.queue", "0")], "rooms.queue is 0"),
            (&[("limits.frame_window_ms", "0")], "limits.frame_window_ms is 0"),
            (&[("limits.mentions", "10")], "one message would be too much"),
            (&[("auth.key_overlap_s", "899")], "auth.key_overlap_s (899) is shorter"),
            (&[("auth.transfer_s", "90000")], "auth.key_overlap_s (86400) is shorter"),
            (
                &[("metrics.token", "x"), ("metrics.token_file", "y")],
                "metrics.token and metrics.token_file are both set",
            ),
            (&[("storage.database", "mysql://x")], "has to begin with postgres://"),
        ] {
            let text = message(with_flags(flags));
            assert!(text.contains(part), "{flags:?}: {text}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        let text = message(with_flags(&[("rooms.queue", "many")]));
        assert!(text.contains("rooms.queue"), "{text}");
        let text = message(with_flags(&[("log.format", "yaml")]));
        assert!(text.contains("text or json"), "{text}");
        let text = message(with_flags(&[("server.public_url", "chat")]));
        assert!(text.contains("http://"), "{text}");
    }

    /// Proves AUTH-18.
    #[test]
    fn a_line_that_cant_be_understood_isnt_quoted() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"[secrets]\nsigning_key = \"hunter2\n").expect("written");
        let text = message(load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }));
        assert!(text.contains("line 2") && text.contains(&file.path().display().to_string()), "{text}");
        assert!(!text.contains("hunter2") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = with_flags(&[
            ("storage.database", "postgres://u:hunter2@h/d"),
            ("metrics.token", "hunter2"),
            ("secrets.signing_key", "hunter2"),
            ("secrets.signing_key_previous", "hunter2"),
        ]);
        let text = format!("{:?}", config.expect("valid"));
        assert!(!text.contains("hunter2"), "{text}");
    }
}
