//! The binary alone, in an empty directory, serves the whole client.

use super::caller::{Answer, Caller};
use crate::harness::{Ground, PATIENCE, binary, empty};
use std::collections::{HashSet, VecDeque};
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Starts a copy of the binary in an empty directory, with no environment; where it says to go.
async fn alone(dir: &TempDir) -> (Child, String) {
    let copy = dir.path().join("hearth");
    std::fs::copy(binary(), &copy).expect("copied");
    let mut command = Command::new(copy);
    command
        .args(["--listen", "127.0.0.1:0"])
        .env_clear()
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = loop {
        match command.spawn() {
            Ok(child) => break child,
            // What another test starts just now has the copy open for writing until it is a program of its own.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("starts: {error}"),
        }
    };
    let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
    let line =
        timeout(PATIENCE, lines.next_line()).await.expect("says so in time").expect("reads").expect("a line");
    let url = line.strip_prefix("Hearth is ready: open ").unwrap_or_else(|| panic!("{line}")).to_owned();
    (child, url)
}

/// What a file of the client asks for.
fn references(path: &str, text: &str) -> Vec<String> {
    let quoted: Vec<&str> = text.split(['"', '\'', '(', ')', '`']).collect();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for piece in quoted {
        let is_file =
            [".js", ".css", ".svg", ".webmanifest", ".woff2", ".png"].iter().any(|end| piece.ends_with(end));
        if !is_file || piece.contains(char::is_whitespace) {
            continue;
        }
        if piece.starts_with("/static/") {
            found.push(piece.to_owned());
        } else if piece.starts_with("./") || piece.starts_with("../") {
            let mut parts: Vec<&str> = folder.split('/').collect();
            for part in piece.split('/') {
                match part {
                    "." => {}
                    ".." => drop(parts.pop()),
                    name => parts.push(name),
                }
            }
            found.push(parts.join("/"));
        }
    }
    found
}

fn mime(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        _ => "text/html; charset=utf-8",
    }
}

fn is_well_dressed(path: &str, answer: &Answer) {
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(answer.header("content-type"), Some(mime(path)), "{path}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let policy = answer.header("content-security-policy").expect("a policy");
    let mut directives = policy.split("; ");
    for wanted in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(directives.clone().any(|directive| directive == wanted), "{wanted}: {policy}");
    }
    assert!(!directives.any(|directive| directive.contains("unsafe") || directive.contains('*')), "{policy}");
}

/// Proves OPS-16.
#[tokio::test]
async fn the_binary_alone_is_the_whole_client() {
    let dir = TempDir::new().expect("a directory");
    let (mut server, url) = alone(&dir).await;
    let nobody = Caller::nobody(&url);
    let mut open = VecDeque::from(["/".to_owned()]);
    let mut seen = HashSet::new();
    while let Some(path) = open.pop_front() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = nobody.sends("GET", &path, None).await;
        is_well_dressed(&path, &answer);
        let etag = answer.header("etag").expect("an etag").to_owned();
        let again = nobody.with("if-none-match", &etag).sends("GET", &path, None).await;
        assert_eq!(
            (again.status, again.body.len(), again.header("etag")),
            (304, 0, Some(etag.as_str())),
            "{path}"
        );
        open.extend(references(&path, &answer.text()));
    }
    let modules =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/static/view")).expect("a folder").count();
    let views = seen.iter().filter(|path| path.starts_with("/static/view/")).count();
    assert_eq!(views, modules, "every module is found by following the imports: {seen:?}");
    for end in [".css", ".svg", ".webmanifest"] {
        assert!(seen.iter().any(|path| path.ends_with(end)), "{end}: {seen:?}");
    }
    let page = nobody.sends("GET", "/", None).await.text();
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
    assert!(
        page.split("<script").skip(1).all(|script| script.contains(" src=")),
        "the policy forbids inline scripts"
    );
    server.start_kill().expect("killed");
    let mut left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["data", "hearth"], "it left its data and nothing else");
}

/// A shared link or a reload brings the page; what is no page of the app doesn't.
#[tokio::test]
async fn the_paths_of_the_app_bring_the_page() {
    let (server, _dir) = empty(Ground::Sqlite, &[]).await;
    let nobody = Caller::nobody(&server.url());
    let page = nobody.sends("GET", "/", None).await;
    for path in
        ["/setup", "/sign-in", "/join/abcd-efgh-ijkl", "/rooms/1", "/rooms/1/@2", "/people", "/bots", "/?x=1"]
    {
        let answer = nobody.sends("GET", path, None).await;
        is_well_dressed(path.split('?').next().expect("a path"), &answer);
        assert_eq!(answer.body, page.body, "{path}");
    }
    let head = nobody.sends("HEAD", "/", None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for path in ["/rooms/x", "/rooms/1/2", "/index.html", "/static/", "/static/index.html/x"] {
        assert_eq!(nobody.sends("GET", path, None).await.status, 404, "{path}");
    }
}
