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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signing::Purpose;
    use crate::config::Secret;
    use tempfile::TempDir;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn in_dir(dir: &TempDir) -> Config {
        let mut config = Config::default();
        config.storage.data_dir = dir.path().to_owned();
        config.auth.key_overlap = Duration::from_secs(900);
        config
    }

    /// Proves AUTH-19.
    #[test]
    fn a_running_process_takes_over_what_is_rotated() {
        let dir = TempDir::new().expect("a directory");
        let (keys, mut supply) = Supply::open(&in_dir(&dir), at(0)).expect("keys");
        let signed = keys.sign(Purpose::AccessToken, b"old");
        assert_eq!(supply.refresh(&keys, at(0)), Ok(None), "its own key is nothing new");
        let rotated =
            KeyFile::of(dir.path()).rotate(at(1_000), Some(Duration::from_secs(900))).expect("rotated");
        assert_eq!(supply.refresh(&keys, at(1_000)), Ok(Some(rotated[0].key.id)));
        let anew = keys.sign(Purpose::AccessToken, b"new");
        let opens = |text: &str| keys.open(Purpose::AccessToken, text).is_ok();
        assert!(opens(&signed) && opens(&anew));
        assert_eq!(supply.refresh(&keys, at(900_999)), Ok(None));
        assert!(opens(&signed), "a millisecond is left");
        assert_eq!(supply.refresh(&keys, at(901_000)), Ok(None));
        assert!(!opens(&signed) && opens(&anew), "the overlap is over");
        // Another start sees the same.
        let (others, _) = Supply::open(&in_dir(&dir), at(901_000)).expect("keys");
        assert!(others.open(Purpose::AccessToken, &anew).is_ok());
        assert!(others.open(Purpose::AccessToken, &signed).is_err());

        let file = KeyFile::of(dir.path());
        fs::write(file.path(), "nonsense").expect("written");
        for _ in 0..2 {
            supply.refresh(&keys, at(901_000)).expect_err("it makes no sense");
            assert!(opens(&anew), "those there are go on");
        }
        fs::remove_file(file.path()).expect("removed");
        supply.refresh(&keys, at(901_000)).expect_err("it is gone");
        assert!(opens(&anew));
        file.rotate(at(902_000), None).expect("rotated");
        assert!(supply.refresh(&keys, at(902_000)).expect("read").is_some());
        assert!(!opens(&anew), "nothing old is accepted");
    }

    /// Two nodes with the same keys: the procedure of README.md leaves no moment in which one refuses what the other signed.
    ///
    /// Proves AUTH-19.
    #[test]
    fn nodes_rotate_one_after_the_other() {
        let dir = TempDir::new().expect("a directory");
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        let given = |name: &str, current: &str, previous: Option<&str>| {
            let path = |what: &str| dir.path().join(format!("{name}-{what}"));
            let mut config = in_dir(&dir);
            fs::write(path("current"), format!("{current}\n")).expect("written");
            config.secrets.signing_key_file = Some(path("current"));
            if let Some(previous) = previous {
                config.secrets.signing_key_previous = Some(Secret::new(previous));
            }
            Supply::open(&config, at(0)).expect("keys").0
        };
        let both_believe = |ann: &Keys, bob: &Keys| {
            let goes = |from: &Keys, to: &Keys| {
                to.open(Purpose::AccessToken, &from.sign(Purpose::AccessToken, b"x")).is_ok()
            };
            goes(ann, bob) && goes(bob, ann)
        };
        let steps = [(one.as_str(), None), (&one, Some(two.as_str())), (&two, Some(&one)), (&two, None)];
        let mut bob = given("bob", steps[0].0, steps[0].1);
        for (current, previous) in steps {
            let ann = given("ann", current, previous);
            assert!(both_believe(&ann, &bob), "ann is ahead");
            bob = given("bob", current, previous);
            assert!(both_believe(&ann, &bob));
        }
        assert!(!both_believe(&given("ann", &one, None), &given("bob", &two, None)));
        assert!(!dir.path().join("signing-keys").exists(), "nothing is made besides");
    }

    /// Proves AUTH-18.
    #[test]
    fn a_file_of_the_settings_is_looked_at_again() {
        let dir = TempDir::new().expect("a directory");
        let mut config = in_dir(&dir);
        let path = dir.path().join("key");
        config.secrets.signing_key_file = Some(path.clone());
        let complaint = |config: &Config| Supply::open(config, at(0)).expect_err("refused");
        assert!(complaint(&config).contains("secrets.signing_key_file"));
        fs::write(&path, "x".repeat(31)).expect("written");
        let short = complaint(&config);
        assert!(
            short.contains("secrets.signing_key is shorter than 32 bytes") && !short.contains("xx"),
            "{short}"
        );
        fs::write(&path, "x".repeat(32)).expect("written");
        let (keys, mut supply) = Supply::open(&config, at(0)).expect("keys");
        let signed = keys.sign(Purpose::AccessToken, b"x");
        fs::write(&path, "y".repeat(40)).expect("written");
        assert!(supply.refresh(&keys, at(1)).expect("read").is_some());
        assert!(keys.open(Purpose::AccessToken, &signed).is_err(), "no previous key is given");
        config.secrets.signing_key_file = None;
        config.secrets.signing_key_previous = Some(Secret::new("x".repeat(32)));
        assert!(complaint(&config).contains("secrets.signing_key isn't"));
    }
}
