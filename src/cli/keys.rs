//! `hearth keys`: the signing keys in the data directory, also while the server runs.

use crate::auth::signing::{self, KeyFile, StoredKey};
use crate::config::Config;
use crate::domain::Timestamp;
use chrono::Utc;
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Task {
    /// Make a new key that signs from now on; what the old one signed is accepted for auth.key_overlap_s.
    Rotate {
        /// The old keys may be known to somebody: nothing they signed is accepted any more.
        #[arg(long)]
        revoke_old: bool,
    },
    /// Which keys there are and how old; never the keys.
    Show,
}

pub(super) fn run(task: Task, config: &Config) -> Result<ExitCode, String> {
    if signing::is_given(config) {
        return Err("the signing keys come from secrets.signing_key: they are rotated where they are kept \
                    (README.md, Operations)"
            .to_owned());
    }
    let (file, overlap, now) =
        (KeyFile::of(&config.storage.data_dir), config.auth.key_overlap, Timestamp::from(Utc::now()));
    match task {
        Task::Rotate { revoke_old } => {
            if file.read()?.is_none() {
                return Err(format!(
                    "{}: name the data directory of the server with --data-dir",
                    nothing_in(config)
                ));
            }
            let keys = file.rotate(now, (!revoke_old).then_some(overlap))?;
            show(&keys, overlap, now);
        }
        Task::Show => match file.read()? {
            Some(keys) => show(&keys, overlap, now),
            None => println!("{} yet: the first start makes one", nothing_in(config)),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn nothing_in(config: &Config) -> String {
    format!("there are no signing keys in {}", config.storage.data_dir.display())
}

fn show(keys: &[StoredKey], overlap: Duration, now: Timestamp) {
    println!("{:<10} {:<26} {:<10} use", "id", "made", "age");
    for stored in keys {
        let usage = match stored.until(overlap) {
            None => "signs".to_owned(),
            Some(until) if now < until => format!("accepted until {until}"),
            Some(_) => "over".to_owned(),
        };
        let age = age(stored.created_at, now);
        println!("{:<10} {:<26} {age:<10} {usage}", stored.key.id.to_string(), stored.created_at.to_string());
    }
}

/// In the largest unit that fits.
fn age(from: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_millis().saturating_sub(from.as_millis()).max(0) / 1000;
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "min")];
    let fits = units.into_iter().find(|(unit, _)| seconds >= *unit);
    fits.map_or_else(|| format!("{seconds} s"), |(unit, name)| format!("{} {name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_at_a_glance() {
        let after = |seconds: i64| age(Timestamp::from_millis(0), Timestamp::from_millis(seconds * 1000));
        assert_eq!(
            [0, 59, 60, 3_700, 90_000, 864_000].map(after),
            ["0 s", "59 s", "1 min", "1 h", "1 d", "10 d"]
        );
        assert_eq!(age(Timestamp::from_millis(5), Timestamp::from_millis(0)), "0 s");
    }
}
