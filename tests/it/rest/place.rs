//! A place where a server may stand: its data, and the command line that works on it.

use crate::harness::{Ground, PATIENCE, binary};
use crate::postgres;
use loadtest::server::{Options, Server};
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// A directory, and a PostgreSQL database besides when it stands on one.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) database: Option<String>,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// An empty place.
    pub(crate) fn new(ground: Ground) -> Self {
        let database = (ground == Ground::Postgres).then(postgres::database);
        Self { dir: TempDir::new().expect("a temporary directory"), database }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A server here.
    pub(crate) async fn serves(&self, args: &[&str]) -> Server {
        self.serves_among(&[], args).await
    }

    /// The same among these variables.
    pub(crate) async fn serves_among(&self, variables: &[(&str, &str)], args: &[&str]) -> Server {
        let mut options = Options::new(binary(), self.data());
        options.args = args.iter().map(|&arg| arg.to_owned()).collect();
        options.env =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        options.database_url.clone_from(&self.database);
        Server::start(options).await.expect("the server starts")
    }

    /// Runs the command line on this place.
    pub(crate) async fn runs(&self, args: &[&str]) -> Ended {
        self.runs_with_input(args, "").await
    }

    /// The same, with something to read.
    pub(crate) async fn runs_with_input(&self, args: &[&str], input: &str) -> Ended {
        let mut all: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        all.extend(["--data-dir".to_owned(), self.data().display().to_string()]);
        if let Some(url) = &self.database {
            all.extend(["--database".to_owned(), url.clone()]);
        }
        self.runs_bare(&all, input).await
    }

    /// Runs the binary in this directory with these arguments and nothing else, no environment either.
    pub(crate) async fn runs_bare<A: AsRef<std::ffi::OsStr>>(&self, args: &[A], input: &str) -> Ended {
        self.runs_among(&[], args, input).await
    }

    /// The same among these variables.
    pub(crate) async fn runs_among<A: AsRef<std::ffi::OsStr>>(
        &self,
        variables: &[(&str, &str)],
        args: &[A],
        input: &str,
    ) -> Ended {
        let mut child = Command::new(binary())
            .args(args)
            .env_clear()
            .envs(variables.iter().copied())
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        let mut stdin = child.stdin.take().expect("an input");
        // A command that doesn't read has ended before: nothing is lost.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("ends in time").expect("ran");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ended {
    /// It worked, and this is what it said.
    pub(crate) fn said(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It failed with 1 and one line that has all of these in it.
    pub(crate) fn complained(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "one line: {}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {}", self.err);
        }
    }
}
