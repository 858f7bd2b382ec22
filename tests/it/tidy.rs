//! The architecture as a test: which part may import which, how long a file may be, that each says what it is for.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Source {
    path: String,
    text: String,
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder is readable") {
        let path = entry.expect("entry is readable").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&Path::new(ROOT).join(folder), &mut paths);
    }
    assert!(!paths.is_empty(), "nothing found in {folders:?}");
    paths
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("file is readable"),
            path: path.strip_prefix(ROOT).expect("below the root").display().to_string(),
        })
        .collect()
}

/// The part of the house a file belongs to: `src/actors/hub.rs` and `src/actors.rs` are both `actors`.
fn part(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    inner.split(['/', '.']).next().unwrap_or(inner)
}

/// Lines of code outside comments and of the tests at the end of a file.
fn code(source: &Source) -> impl Iterator<Item = &str> {
    let end = source.text.find("#[cfg(test)]\nmod tests {").unwrap_or(source.text.len());
    source.text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn dependencies_point_one_way() {
    // What each part may use of the house.
    let allowed: &[(&str, &[&str])] = &[
        ("domain", &["domain"]),
        ("protocol", &["domain", "protocol"]),
        ("storage", &["domain", "storage"]),
        ("config", &["config", "domain", "storage"]),
        ("telemetry", &["config", "domain", "protocol", "telemetry"]),
        ("auth", &["auth", "config", "domain", "storage"]),
        ("limits", &["config", "domain", "limits"]),
        ("inference", &["config", "domain", "inference"]),
        (
            "actors",
            &[
                "actors",
                "auth",
                "config",
                "domain",
                "inference",
                "limits",
                "protocol",
                "storage",
                "telemetry",
            ],
        ),
        (
            "transport",
            &[
                "actors",
                "auth",
                "config",
                "domain",
                "inference",
                "limits",
                "protocol",
                "storage",
                "telemetry",
                "transport",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let Some((_, uses)) = allowed.iter().find(|(name, _)| *name == part(&source.path)) else { continue };
        for line in code(&source) {
            for used in
                line.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next())
            {
                let used = used.unwrap_or_default();
                if !used.is_empty() && !uses.contains(&used) {
                    wrong.push(format!("{} uses {used}: {line}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_part() {
    let homes: &[(&str, &[&str])] = &[
        ("diesel", &["storage"]),
        ("r2d2", &["storage"]),
        ("actix::", &["actors", "transport", "app"]),
        ("actix_rt", &["actors", "transport", "app", "cli", "main"]),
        ("actix_web", &["auth", "transport", "app"]),
        // The log names it to keep it quiet.
        ("actix_http", &["transport", "app", "telemetry"]),
        ("clap", &["cli", "main"]),
        ("reqwest", &["actors", "inference"]),
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let here = part(&source.path);
        for (library, parts) in homes {
            if parts.contains(&here) {
                continue;
            }
            for line in code(&source).filter(|line| line.contains(library)) {
                wrong.push(format!("{} knows {library}: {line}", source.path));
            }
        }
        if here == "domain" {
            for library in ["serde", "tokio", "std::io", "std::fs", "Utc::now", "Instant::now", "SystemTime"]
            {
                for line in code(&source).filter(|line| line.contains(library)) {
                    wrong.push(format!("{} knows {library}: {line}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let all = sources(&["src", "loadtest/src", "tests"]);
    let mut lengths: Vec<usize> = Vec::new();
    for source in &all {
        let lines = source.text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", source.path);
        assert!(source.text.starts_with("//! "), "{} doesn't begin with //!", source.path);
        assert!(
            !source.text.contains(concat!("#[", "allow(")),
            "{} allows where it should expect",
            source.path
        );
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let p90 = lengths[lengths.len() * 9 / 10];
    assert!(p90 < 400, "nine in ten files are under 400 lines, not {p90}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| {
        let folder = Path::new(ROOT).join("migrations").join(database);
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("folder is readable")
            .map(|entry| entry.expect("entry is readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}
