//! Each requirement has its test: `tests/TRACEABILITY.md` lists them with what is expected, and is held against the code. Write its last
//! column anew with `TRACEABILITY=write cargo test --test it traceability`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One row of the document.
struct Row {
    id: String,
    expected: String,
    tests: String,
}

fn document() -> PathBuf {
    Path::new(ROOT).join("tests/TRACEABILITY.md")
}

fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    text.lines()
        .filter(|line| line.starts_with("| ") && line.contains('-') && !line.starts_with("| ---"))
        .filter_map(|line| {
            let [id, expected, tests]: [String; 3] = Vec::try_into(cells(line)).ok()?;
            is_requirement(&id).then_some(Row { id, expected, tests })
        })
        .collect()
}

fn is_requirement(id: &str) -> bool {
    id.split_once('-').is_some_and(|(family, number)| {
        family.len() >= 2
            && family.chars().all(|c| c.is_ascii_uppercase())
            && number.len() == 2
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_link = path.symlink_metadata().is_ok_and(|of| of.file_type().is_symlink());
        if path.is_dir() && !is_link {
            files(&path, found);
        } else if !is_link && path.extension().is_some_and(|kind| kind == "rs" || kind == "mjs") {
            found.push(path);
        }
    }
}

/// For each requirement the tests that say they prove it.
fn proofs() -> BTreeMap<String, Vec<String>> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "loadtest/src"] {
        files(&Path::new(ROOT).join(folder), &mut paths);
    }
    paths.sort();
    let mut proofs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        let place = path.strip_prefix(ROOT).expect("inside").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("readable");
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let comment = line.trim_start();
            let is_comment = comment.starts_with("///") || comment.starts_with("//");
            let Some((_, ids)) = comment.split_once("Proves ").filter(|_| is_comment) else { continue };
            // The list may go over the end of the line.
            let rest = lines[index + 1..]
                .iter()
                .map(|line| line.trim_start())
                .take_while(|line| !ids.contains('.') && line.starts_with("//"));
            let ids = rest.fold(ids.to_owned(), |ids, line| ids + " " + line.trim_start_matches('/'));
            let ids = ids.split('.').next().unwrap_or_default();
            // Of a whole module, or of the test that comes next.
            let name = match comment.starts_with("//!") {
                true => Some("all of it".to_owned()),
                false => lines[index + 1..].iter().take(12).find_map(|line| name_of(line)),
            };
            let name = name.unwrap_or_else(|| panic!("{place}:{} proves {ids}, but what does?", index + 1));
            for id in ids.split([',', ' ']).filter(|id| !id.is_empty()) {
                assert!(is_requirement(id), "{place}:{}: {id} is no requirement", index + 1);
                proofs.entry(id.to_owned()).or_default().push(format!("`{place}` {name}"));
            }
        }
    }
    proofs
}

/// The test a line begins: `fn name(`, `name, async |ground|` of a macro, or `test('name'`.
fn name_of(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some((_, rest)) = line.split_once("fn ") {
        return Some(rest.split(['(', '<']).next()?.to_owned());
    }
    if let Some((_, rest)) = line.split_once("test('") {
        return Some(rest.split('\'').next()?.replace('|', "/"));
    }
    let name = line.split(',').next()?;
    let is_name = line.contains(',') && !name.is_empty();
    (is_name && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then(|| name.to_owned())
}

fn render(rows: &[Row], proofs: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    rows.iter()
        .map(|row| {
            let tests = proofs.get(&row.id).map(|tests| tests.join(", ")).unwrap_or_default();
            format!("| {} | {} | {tests} |", row.id, row.expected)
        })
        .collect()
}

/// Proves TEST-08.
#[test]
fn every_requirement_has_its_test_and_the_table_says_which() {
    let text = fs::read_to_string(document()).expect("the document");
    let (rows, proofs) = (rows(&text), proofs());
    for id in proofs.keys() {
        assert!(rows.iter().any(|row| row.id == *id), "{id} is proven, but not in tests/TRACEABILITY.md");
    }
    for row in &rows {
        let is_measured = row.expected.contains("(measured by `");
        assert!(is_measured || proofs.contains_key(&row.id), "{} is proven by no test", row.id);
        assert!(!row.expected.is_empty(), "{}: what is expected?", row.id);
    }
    let fresh = render(&rows, &proofs);
    if std::env::var("TRACEABILITY").is_ok_and(|how| how == "write") {
        let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("| ---")).collect();
        let text = format!("{}\n| --- | --- | --- |\n{}\n", head.join("\n"), fresh.join("\n"));
        fs::write(document(), text).expect("written");
        return;
    }
    let stale: Vec<&str> = rows
        .iter()
        .zip(&fresh)
        .filter(|(row, fresh)| format!("| {} | {} | {} |", row.id, row.expected, row.tests) != **fresh)
        .map(|(row, _)| row.id.as_str())
        .collect();
    assert!(stale.is_empty(), "tests/TRACEABILITY.md is stale for {stale:?}; see the module for the command");
}
