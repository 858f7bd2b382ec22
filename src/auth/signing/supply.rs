//! Where the signing keys come from: the settings, or the file in the data directory; and noticing that they changed.

use super::key_file::{self, KeyFile};
use super::{Key, KeyId, Keys, MIN_KEY_BYTES, Retired, Ring};
use crate::config::{Config, Given};
use crate::domain::Timestamp;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Gives the keys, and gives them again when they were rotated.
#[derive(Debug)]
pub struct Supply {
    origin: Origin,
    overlap: Duration,
    /// The files as they were when they were read last.
    seen: Vec<Option<Stamp>>,
}

#[derive(Debug)]
enum Origin {
    Settings { current: Given, previous: Option<Given> },
    DataDir(KeyFile),
}

/// What differs when a file was changed or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let of = fs::metadata(path).ok()?;
        Some(Self {
            inode: (of.dev(), of.ino()),
            size: of.size(),
            modified: (of.mtime(), of.mtime_nsec()),
            changed: (of.ctime(), of.ctime_nsec()),
        })
    }
}

/// Whether the settings have the signing key, so that there is none in the data directory.
pub fn is_given(config: &Config) -> bool {
    config.secrets.current().is_some()
}

impl Supply {
    /// The keys as the settings want them, made when they want that.
    pub fn open(config: &Config, now: Timestamp) -> Result<(Keys, Self), String> {
        let origin = match (config.secrets.current(), config.secrets.previous()) {
            (Some(current), previous) => Origin::Settings { current, previous },
            (None, Some(_)) => {
                return Err("secrets.signing_key_previous is set, but secrets.signing_key isn't".to_owned());
            }
            (None, None) => Origin::DataDir(KeyFile::of(&config.storage.data_dir)),
        };
        let mut supply = Self { origin, overlap: config.auth.key_overlap, seen: Vec::new() };
        let seen = supply.stamps();
        let ring = match &supply.origin {
            Origin::DataDir(file) => key_file::ring(file.read_or_create(now)?, supply.overlap),
            Origin::Settings { current, previous } => Some(from_settings(current, previous.as_ref())?),
        };
        // Making the file changes it: it is looked at once more, which does no harm.
        supply.seen = seen;
        let ring = ring.ok_or("there is no signing key")?;
        Ok((Keys::new(ring.at(now)), supply))
    }

    /// Looks whether the keys were rotated, and forgets those whose time is over; the id of the key that signs from now on, when that
    /// is another one. Whatever can't be read leaves the keys as they are.
    pub fn refresh(&mut self, keys: &Keys, now: Timestamp) -> Result<Option<KeyId>, String> {
        let stamps = self.stamps();
        let before = keys.ring();
        if stamps == self.seen {
            if before.retired.iter().any(|retired| retired.until.is_some_and(|until| until <= now)) {
                keys.replace(Ring::clone(&before).at(now));
            }
            return Ok(None);
        }
        let ring = match &self.origin {
            Origin::DataDir(file) => {
                let stored = file.read()?.ok_or_else(|| format!("{} is gone", file.path().display()))?;
                key_file::ring(stored, self.overlap).ok_or("there is no signing key")?
            }
            Origin::Settings { current, previous } => from_settings(current, previous.as_ref())?,
        };
        self.seen = stamps;
        let current = ring.current.id;
        keys.replace(ring.at(now));
        Ok((current != before.current.id).then_some(current))
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.files().iter().map(|path| Stamp::of(path)).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        match &self.origin {
            Origin::DataDir(file) => vec![file.path().to_owned()],
            Origin::Settings { current, previous } => {
                std::iter::once(current).chain(previous).filter_map(Given::file).map(Path::to_owned).collect()
            }
        }
    }
}

/// The previous key is accepted as long as it is there: only who took it out of service knows since when.
fn from_settings(current: &Given, previous: Option<&Given>) -> Result<Ring, String> {
    let key = |given: &Given| {
        let text = given.read()?;
        Key::new(text.reveal()).ok_or_else(|| {
            format!(
                "{} is shorter than {MIN_KEY_BYTES} bytes: `openssl rand -base64 48` makes a good one",
                given.name()
            )
        })
    };
    let retired = previous.map(key).transpose()?.map(|key| Retired { key, until: None });
    Ok(Ring { current: key(current)?, retired: retired.into_iter().collect() })
}
