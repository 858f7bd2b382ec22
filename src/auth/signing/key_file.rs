//! The file of signing keys in the data directory: made with the first start, rotated by `hearth keys rotate`.

use super::{Key, Retired, Ring};
use crate::auth::token::Token;
use crate::config::Secret;
use crate::domain::Timestamp;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in the data directory.
const NAME: &str = "signing-keys";
/// The longest file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// Keys that are kept (count): who rotates more often within one overlap loses the oldest.
const MAX_KEYS: usize = 8;

/// Where the keys of a data directory are.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

/// A key with its dates. The newest signs.
#[derive(Debug, Clone)]
pub struct StoredKey {
    pub key: Key,
    pub created_at: Timestamp,
    /// When another took its place.
    pub replaced_at: Option<Timestamp>,
    text: Secret,
}

#[derive(Serialize, Deserialize)]
struct Document {
    /// The newest first.
    keys: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_at: Option<String>,
}

impl KeyFile {
    /// The one in `data_dir`.
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join(NAME) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys, the newest first; none when there is no file. Refuses a file that others can read.
    pub fn read(&self) -> Result<Option<Vec<StoredKey>>, String> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.because(&error)),
        };
        let mode = file.metadata().map_err(|error| self.because(&error))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = self.path.display();
            return Err(format!("{path} can be read by others (its mode is {mode:03o}): chmod 600 {path}"));
        }
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| self.because(&error))?;
        let document: Document = serde_json::from_str(&text).map_err(|_why| self.broken())?;
        let keys: Option<Vec<StoredKey>> = document.keys.into_iter().map(Line::understood).collect();
        keys.filter(|keys| !keys.is_empty()).map(Some).ok_or_else(|| self.broken())
    }

    /// The keys, made when there are none.
    pub fn read_or_create(&self, now: Timestamp) -> Result<Vec<StoredKey>, String> {
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let _alone = self.lock()?;
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let keys = vec![StoredKey::fresh(now)?];
        self.write(&keys)?;
        Ok(keys)
    }

    /// Puts a fresh key in front. The others stay for `overlap` after they were replaced, or end at once.
    pub fn rotate(&self, now: Timestamp, overlap: Option<Duration>) -> Result<Vec<StoredKey>, String> {
        let _alone = self.lock()?;
        let mut keys = vec![StoredKey::fresh(now)?];
        if let (Some(overlap), Some(old)) = (overlap, self.read()?) {
            let old = old.into_iter().map(|key| key.replaced(now));
            keys.extend(old.filter(|key| key.counts_at(now, overlap)));
        }
        keys.truncate(MAX_KEYS);
        self.write(&keys)?;
        Ok(keys)
    }

    /// Two who write at once do so one after the other. The lock is on the folder, and gone when the file is dropped.
    fn lock(&self) -> Result<File, String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(self.folder());
        let folder = made.and_then(|()| File::open(self.folder()));
        let locked = folder.and_then(|folder| folder.lock().map(|()| folder));
        locked.map_err(|error| self.because(&error))
    }

    /// Puts a file with these keys in place of the old one: whoever reads sees one of the two, whatever dies.
    fn write(&self, keys: &[StoredKey]) -> Result<(), String> {
        let lines = keys.iter().map(Line::from).collect();
        let text =
            serde_json::to_string_pretty(&Document { keys: lines }).map_err(|error| error.to_string())?;
        let beside = self.path.with_extension("new");
        // What was left behind by one that was killed.
        drop(fs::remove_file(&beside));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let written = file.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
        let placed = written.and_then(|()| fs::rename(&beside, &self.path));
        let synced = placed.and_then(|()| File::open(self.folder())?.sync_all());
        synced.map_err(|error| self.because(&error))
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn because(&self, error: &io::Error) -> String {
        format!("signing keys can't be kept in {}: {error}", self.path.display())
    }

    /// What is wrong isn't said: it could quote a key.
    fn broken(&self) -> String {
        format!("{} doesn't hold signing keys; without it the next start makes new ones", self.path.display())
    }
}

impl StoredKey {
    fn new(text: String, created_at: Timestamp, replaced_at: Option<Timestamp>) -> Option<Self> {
        Some(Self { key: Key::new(&text)?, created_at, replaced_at, text: Secret::new(text) })
    }

    fn fresh(now: Timestamp) -> Result<Self, String> {
        let token = Token::random();
        Self::new(token.reveal().to_owned(), now, None).ok_or_else(|| "a key is too short".to_owned())
    }

    fn replaced(self, now: Timestamp) -> Self {
        Self { replaced_at: self.replaced_at.or(Some(now)), ..self }
    }

    /// When it stops being accepted, if it no longer signs.
    pub fn until(&self, overlap: Duration) -> Option<Timestamp> {
        self.replaced_at.map(|at| at.after(overlap))
    }

    fn counts_at(&self, now: Timestamp, overlap: Duration) -> bool {
        self.until(overlap).is_none_or(|until| now < until)
    }
}

/// The keys of a file that has some, for use.
pub(super) fn ring(keys: Vec<StoredKey>, overlap: Duration) -> Option<Ring> {
    let mut keys = keys.into_iter();
    let current = keys.next()?.key;
    let retired = keys.map(|stored| {
        // One without a date was replaced by hand; nobody knows when.
        let at = stored.replaced_at.unwrap_or(stored.created_at);
        Retired { until: Some(at.after(overlap)), key: stored.key }
    });
    Some(Ring { current, retired: retired.collect() })
}

impl Line {
    fn understood(self) -> Option<StoredKey> {
        let replaced_at = match self.replaced_at {
            Some(text) => Some(moment(&text)?),
            None => None,
        };
        StoredKey::new(self.key, moment(&self.created_at)?, replaced_at)
    }
}

impl From<&StoredKey> for Line {
    fn from(stored: &StoredKey) -> Self {
        Self {
            key: stored.text.reveal().to_owned(),
            created_at: stored.created_at.to_string(),
            replaced_at: stored.replaced_at.map(|at| at.to_string()),
        }
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| Timestamp::from(at.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ids(keys: &[StoredKey]) -> Vec<String> {
        keys.iter().map(|stored| stored.key.id.to_string()).collect()
    }

    #[test]
    fn is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = KeyFile::of(&dir.path().join("data"));
        assert!(file.read().expect("readable").is_none());
        let made: Vec<Vec<String>> = std::thread::scope(|scope| {
            let one = || {
                scope.spawn(|| {
                    ids(&KeyFile::of(&dir.path().join("data")).read_or_create(at(0)).expect("made"))
                })
            };
            let all: Vec<_> = (0..8).map(|_| one()).collect();
            all.into_iter().map(|one| one.join().expect("ended")).collect()
        });
        assert!(made.iter().all(|ids| *ids == made[0]), "all have the same: {made:?}");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(file.path()), mode(file.folder())), (0o600, 0o700));
        let left: Vec<_> = fs::read_dir(file.folder()).expect("a folder").collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn what_others_can_read_or_nobody_understands_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = KeyFile::of(dir.path());
        file.read_or_create(at(0)).expect("made");
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
            fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).expect("changed");
            let refused = file.read_or_create(at(0)).expect_err("refused");
            assert!(refused.contains("chmod 600") && refused.contains(&format!("{mode:o}")), "{refused}");
            file.rotate(at(1), Some(DAY)).expect_err("refused");
        }
        fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).expect("changed");
        for text in [
            "",
            "hunter2",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"key":"hunter2","created_at":"2026-01-01T00:00:00Z"}]}"#,
        ] {
            fs::write(file.path(), text).expect("written");
            let refused = file.read_or_create(at(0)).expect_err("refused");
            assert!(refused.contains("doesn't hold") && !refused.contains("hunter2"), "{refused}");
        }
    }

    /// Proves AUTH-19.
    #[test]
    fn rotating_keeps_the_old_ones_for_the_overlap() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = KeyFile::of(dir.path());
        let first = ids(&file.read_or_create(at(0)).expect("made"));
        let day = i64::try_from(DAY.as_millis()).expect("fits");
        let second = ids(&file.rotate(at(10), Some(DAY)).expect("rotated"));
        assert_eq!(second[1..], first);
        let keys = file.read().expect("readable").expect("there");
        assert_eq!(ids(&keys), second);
        assert_eq!(keys[1].until(DAY), Some(at(10 + day)));
        let ring = ring(keys, DAY).expect("keys");
        assert_eq!(ring.retired[0].until, Some(at(10 + day)));
        let third = ids(&file.rotate(at(day), Some(DAY)).expect("rotated"));
        assert_eq!(third[1..], second, "the oldest still counts");
        let fourth = ids(&file.rotate(at(10 + day), Some(DAY)).expect("rotated"));
        assert_eq!(fourth[1..], third[..2], "its time is over");
        assert_eq!(
            ids(&file.rotate(at(11 + day), None).expect("rotated")).len(),
            1,
            "nothing old is accepted"
        );
        for _ in 0..20 {
            file.rotate(at(12 + day), Some(DAY)).expect("rotated");
        }
        assert_eq!(file.read().expect("readable").expect("there").len(), MAX_KEYS);
    }
}
