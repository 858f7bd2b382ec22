//! Secrets by name: from the settings themselves (best the environment) or from a file each, as Docker, Kubernetes and systemd
//! hand them over (AUTH-18).

use super::secret::Secret;
use super::{Config, ConfigError};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest secret that is read from a file.
const MAX_BYTES: u64 = 16 * 1024;

/// What the server signs with. Each secret is given as text or as a file, never as both.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Secrets {
    /// Signs access tokens and links; at least 32 bytes. Made in the data directory when unset, except in production.
    pub signing_key: Option<Secret>,
    pub signing_key_file: Option<PathBuf>,
    /// Signs nothing any more, or not yet, and is accepted as long as it is here.
    pub signing_key_previous: Option<Secret>,
    pub signing_key_previous_file: Option<PathBuf>,
}

/// A secret that is there, and what it is called.
#[derive(Debug, Clone)]
pub enum Given {
    Text { name: &'static str, text: Secret },
    File { name: &'static str, path: PathBuf },
}

impl Given {
    fn new(name: &'static str, text: Option<&Secret>, path: Option<&PathBuf>) -> Option<Self> {
        match (text, path) {
            (_, Some(path)) => Some(Self::File { name, path: path.clone() }),
            (Some(text), None) => Some(Self::Text { name, text: text.clone() }),
            (None, None) => None,
        }
    }

    /// The key in the settings.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text { name, .. } | Self::File { name, .. } => name,
        }
    }

    /// The file it is read from.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Text { .. } => None,
        }
    }

    /// The secret, without the white space around it.
    pub fn read(&self) -> Result<Secret, String> {
        let secret = match self {
            Self::Text { text, .. } => Secret::new(text.reveal().trim()),
            // The path isn't said: the secret itself may stand there by mistake.
            Self::File { name, path } => {
                read(path).map_err(|why| format!("{name}_file: can't read the file: {why}"))?
            }
        };
        if secret.reveal().is_empty() {
            return Err(match self {
                Self::Text { name, .. } => format!("{name} is empty: give it a value, or leave it out"),
                Self::File { name, .. } => format!("{name}_file: the file is empty"),
            });
        }
        Ok(secret)
    }
}

/// Whoever may read the file was decided by who made it: Docker lets all users of a container read, and few may come in. But what
/// others can write, others choose.
fn read(path: &Path) -> Result<Secret, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if about.mode() & 0o022 != 0 {
        return Err(format!("others can write it (its mode is {:03o})", about.mode() & 0o777));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(Secret::new(text.trim()))
}

impl Secrets {
    /// The key that signs.
    pub fn current(&self) -> Option<Given> {
        Given::new("secrets.signing_key", self.signing_key.as_ref(), self.signing_key_file.as_ref())
    }

    /// The key that is accepted besides.
    pub fn previous(&self) -> Option<Given> {
        Given::new(
            "secrets.signing_key_previous",
            self.signing_key_previous.as_ref(),
            self.signing_key_previous_file.as_ref(),
        )
    }
}

/// Reads the secrets that are files and don't change while the server runs. Signing keys are read where they are used, again and again.
pub(super) fn resolve(config: &mut Config) -> Result<(), ConfigError> {
    let Config { secrets, storage, metrics, .. } = &*config;
    for (name, text, file) in [
        ("secrets.signing_key", &secrets.signing_key, &secrets.signing_key_file),
        ("secrets.signing_key_previous", &secrets.signing_key_previous, &secrets.signing_key_previous_file),
        ("storage.database", &storage.database, &storage.database_file),
        ("metrics.token", &metrics.token, &metrics.token_file),
    ] {
        if text.is_some() && file.is_some() {
            return Err(ConfigError::Contradiction(format!(
                "{name} and {name}_file are both set: leave one out"
            )));
        }
    }
    let database = Given::new("storage.database", None, storage.database_file.as_ref());
    let token = Given::new("metrics.token", None, metrics.token_file.as_ref());
    let read =
        |given: Option<Given>| given.map(|given| given.read()).transpose().map_err(ConfigError::Secret);
    let (database, token) = (read(database)?, read(token)?);
    config.storage.database = database.or(config.storage.database.take());
    config.metrics.token = token.or(config.metrics.token.take());
    Ok(())
}

impl Config {
    /// In production nothing is made up and nothing is open for want of a secret: all that are missing, by name.
    pub fn must_have_secrets(&self) -> Result<(), String> {
        let needed = [
            ("secrets.signing_key", self.secrets.current().is_some()),
            ("metrics.token", self.metrics.token.is_some()),
        ];
        let missing: Vec<String> = needed
            .into_iter()
            .filter(|(_, is_there)| self.server.production && !is_there)
            .map(|(name, _)| {
                let variable = name.to_ascii_uppercase().replace('.', "__");
                format!("{name} (HEARTH_{variable}, or a file named by HEARTH_{variable}_FILE)")
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("server.production is on, and these secrets are missing: {}", missing.join(", ")))
    }
}
