//! Faults of disk and clock below the real server: a C shim under its system calls, switched while it runs.
//!
//! Linux with a C compiler (`cc`) only. What the shim does not know of (memory that is mapped, `io_uring`) isn't hit.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

const SOURCE: &str = include_str!("../shim/faults.c");

/// Numbers of the errors a disk gives, on Linux.
const EIO: i64 = 5;
const ENOSPC: i64 = 28;

/// The words of the control file, as in `faults.c`.
const WRITE_ERRNO: u64 = 0;
const SYNC_ERRNO: u64 = 1;
const SYNC_DELAY_MS: u64 = 2;
const CLOCK_OFFSET_MS: u64 = 3;
const STEP: u64 = 4;
const STEP_ERRNO: u64 = 5;
const STEPS_SEEN: u64 = 6;
const WORDS: u64 = 8;
const WORD_BYTES: u64 = 8;

/// What a failing step of the disk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// No space left (`ENOSPC`).
    Full,
    /// The device doesn't do it (`EIO`).
    Io,
}

impl DiskError {
    fn errno(self) -> i64 {
        match self {
            Self::Full => ENOSPC,
            Self::Io => EIO,
        }
    }
}

/// The faults of one server's data directory and clock. They outlive the process: a restarted server, given the same
/// [`Faults::env`], meets them again. Dropping removes shim and control file.
#[derive(Debug)]
pub struct Faults {
    home: TempDir,
    data_dir: PathBuf,
    control: File,
}

impl Faults {
    /// Compiles the shim for the files under `data_dir`, which need not exist yet, but its parent does. No fault is on.
    pub fn new(data_dir: &Path) -> io::Result<Faults> {
        let home = tempfile::Builder::new().prefix("hearth-faults-").tempdir()?;
        let source = home.path().join("faults.c");
        std::fs::write(&source, SOURCE)?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(home.path().join("faults.so"))
            .arg(&source)
            .arg("-ldl")
            .output()?;
        if !built.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&built.stderr).into_owned()));
        }
        let parent = data_dir.parent().unwrap_or_else(|| Path::new("/")).canonicalize()?;
        let name = data_dir.file_name().ok_or_else(|| io::Error::other("a data directory has a name"))?;
        let control =
            OpenOptions::new().read(true).write(true).create_new(true).open(home.path().join("control"))?;
        control.set_len(WORDS * WORD_BYTES)?;
        let faults = Faults { data_dir: parent.join(name), control, home };
        // Counting costs a look at each descriptor: only while asked for.
        faults.set(STEPS_SEEN, -1)?;
        Ok(faults)
    }

    /// What the server has to be started with.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), text(self.home.path().join("faults.so"))),
            ("FAULTS_DIR".to_owned(), text(self.data_dir.clone())),
            ("FAULTS_CONTROL".to_owned(), text(self.home.path().join("control"))),
        ]
    }

    /// Each write, truncation and allocation fails for want of space, until it is switched off.
    pub fn disk_full(&self, on: bool) -> io::Result<()> {
        self.set(WRITE_ERRNO, if on { ENOSPC } else { 0 })
    }

    /// Each write fails with an I/O error, until it is switched off.
    pub fn io_error(&self, on: bool) -> io::Result<()> {
        self.set(WRITE_ERRNO, if on { EIO } else { 0 })
    }

    /// Each fsync and fdatasync fails with an I/O error, until it is switched off.
    pub fn sync_error(&self, on: bool) -> io::Result<()> {
        self.set(SYNC_ERRNO, if on { EIO } else { 0 })
    }

    /// Each fsync and fdatasync takes so much longer; zero ends it.
    pub fn slow_fsync(&self, delay: Duration) -> io::Result<()> {
        let ms = i64::try_from(delay.as_millis()).map_err(io::Error::other)?;
        self.set(SYNC_DELAY_MS, ms)
    }

    /// Moves the server's wall clock by so many milliseconds from the true time. Monotonic clocks go on as they do.
    pub fn clock_offset(&self, ms: i64) -> io::Result<()> {
        self.set(CLOCK_OFFSET_MS, ms)
    }

    /// The `n`-th step (write, truncation or sync, counted from 1) from now on fails, once. Counts the steps, too.
    pub fn fail_step(&self, n: u32, error: DiskError) -> io::Result<()> {
        self.set(STEP_ERRNO, error.errno())?;
        self.set(STEPS_SEEN, 0)?;
        self.set(STEP, n.into())
    }

    /// Counts steps from zero on, and lets all of them pass.
    pub fn count_steps(&self) -> io::Result<()> {
        self.set(STEP, 0)?;
        self.set(STEPS_SEEN, 0)
    }

    /// How many steps were attempted since counting began.
    pub fn steps(&self) -> io::Result<u32> {
        u32::try_from(self.get(STEPS_SEEN)?.max(0)).map_err(io::Error::other)
    }

    /// Ends all faults.
    pub fn clear(&self) -> io::Result<()> {
        for word in [WRITE_ERRNO, SYNC_ERRNO, SYNC_DELAY_MS, CLOCK_OFFSET_MS, STEP] {
            self.set(word, 0)?;
        }
        self.set(STEPS_SEEN, -1)
    }

    fn set(&self, word: u64, value: i64) -> io::Result<()> {
        self.control.write_all_at(&value.to_ne_bytes(), word * WORD_BYTES)
    }

    fn get(&self, word: u64) -> io::Result<i64> {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, word * WORD_BYTES)?;
        Ok(i64::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `script` with the shim below it.
    fn sh(faults: &Faults, script: &str) -> (bool, String) {
        let output = Command::new("sh").args(["-c", script]).envs(faults.env()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    fn now(faults: &Faults) -> i64 {
        sh(faults, "date +%s").1.trim().parse().unwrap()
    }

    #[test]
    fn only_files_of_the_data_directory_are_hit_and_only_while_a_fault_is_on() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let faults = Faults::new(&data).unwrap();
        std::fs::create_dir(&data).unwrap();
        let (inside, outside) = (data.join("file"), place.path().join("data.log"));
        // The libc's own buffered output isn't hit; `dd` calls `write` itself.
        let append = |path: &Path| {
            format!("echo text | dd oflag=append conv=notrunc status=none of={}", path.display())
        };
        assert!(sh(&faults, &append(&inside)).0);
        faults.disk_full(true).unwrap();
        let (written, said) = sh(&faults, &append(&inside));
        assert!(!written && said.contains("No space left"), "{said}");
        assert!(sh(&faults, &append(&outside)).0);
        faults.io_error(true).unwrap();
        assert!(sh(&faults, &append(&inside)).1.contains("nput/output error"));
        faults.clear().unwrap();
        assert!(sh(&faults, &append(&inside)).0);
        assert_eq!(std::fs::read_to_string(&inside).unwrap(), "text\ntext\n");
    }

    #[test]
    fn one_step_fails_and_is_counted() {
        let place = tempfile::tempdir().unwrap();
        let faults = Faults::new(&place.path().join("data")).unwrap();
        std::fs::create_dir(place.path().join("data")).unwrap();
        let file = place.path().join("data/file");
        let script = format!("for n in 1 2 3 4; do echo $n >> {}; done", file.display());
        faults.fail_step(3, DiskError::Full).unwrap();
        sh(&faults, &script);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n4\n");
        assert_eq!(faults.steps().unwrap(), 4);
        faults.count_steps().unwrap();
        sh(&faults, &script);
        assert_eq!(faults.steps().unwrap(), 4);
    }

    #[test]
    fn the_clock_jumps_and_syncs_fail() {
        let place = tempfile::tempdir().unwrap();
        let faults = Faults::new(&place.path().join("data")).unwrap();
        std::fs::create_dir(place.path().join("data")).unwrap();
        let truth = now(&faults);
        faults.clock_offset(-3_600_500).unwrap();
        let jumped = truth - now(&faults);
        assert!((3_500..=3_601).contains(&jumped), "{jumped}");
        faults.clear().unwrap();
        assert!(now(&faults) >= truth);
        let file = place.path().join("data/file");
        std::fs::write(&file, "x").unwrap();
        let sync = format!("sync {}", file.display());
        assert!(sh(&faults, &sync).0);
        faults.sync_error(true).unwrap();
        assert!(!sh(&faults, &sync).0);
    }
}
