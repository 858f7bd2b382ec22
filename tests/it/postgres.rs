//! One throw-away PostgreSQL for the whole run, a fresh database for each test.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct Cluster {
    directory: PathBuf,
    databases: AtomicU32,
    /// Starts this server once more, as the user who may.
    start: String,
    /// Stops it without a word of farewell.
    stop: String,
    as_root: bool,
    /// Waits for its input to close, which the end of this process brings about however it ends, and then stops the
    /// server and removes its files.
    _watchdog: Child,
}

/// The URL of a new, empty database.
pub(crate) fn database() -> String {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(start);
    cluster.database()
}

impl Cluster {
    /// A server of one's own, to be stopped and started again.
    pub(crate) fn of_its_own() -> Self {
        start()
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> String {
        let name = format!("hearth_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Runs statements as the server's owner.
    pub(crate) fn run(&self, database: &str, sql: &str) {
        let mut conn = PgConnection::establish(&self.url(database)).expect("connect to the test server");
        conn.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Ends the server as a crash would; what it flushed is recovered at the next start.
    pub(crate) fn stop(&self) {
        as_postgres(self.as_root, &self.stop);
    }

    /// Starts the server again and waits until it takes connections.
    pub(crate) fn start(&self) {
        as_postgres(self.as_root, &self.start);
    }

    /// The server crashes, recovers from its log and is back.
    pub(crate) fn crash(&self) {
        self.stop();
        self.start();
    }

    /// Every other connection is cut.
    pub(crate) fn cut(&self) {
        let others = "pid <> pg_backend_pid() AND backend_type = 'client backend'";
        self.run(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"),
        );
    }

    /// A socket in its own directory: no port to fight over.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://hearth@/{database}?host={}", self.directory.display())
    }
}

fn start() -> Cluster {
    let directory = tempfile::Builder::new().prefix("hearth-pg-").tempdir().expect("a directory").keep();
    let binaries = binaries();
    let as_root = run("id", &["-u"]).trim() == "0";
    if as_root {
        run("chown", &["postgres", &directory.display().to_string()]);
    }
    let (bin, dir) = (binaries.display(), directory.display());
    let init = format!(
        "{bin}/initdb --pgdata {dir}/data --username hearth --auth trust --encoding UTF8 \
         --locale C.UTF-8 --no-sync"
    );
    let settings = format!(
        "-c listen_addresses= -c unix_socket_directories={dir} -c max_connections=200 -c shared_buffers=64MB"
    );
    // Where its translations are installed it speaks German, unless a session asks otherwise.
    let start =
        format!("LANGUAGE=de {bin}/pg_ctl start --wait --pgdata {dir}/data --log {dir}/log -o '{settings}'");
    as_postgres(as_root, &init);
    as_postgres(as_root, &start);
    let immediate = format!("{bin}/pg_ctl stop --mode immediate --pgdata {dir}/data");
    let stop = if as_root { format!("su postgres -c '{immediate}'") } else { immediate.clone() };
    let watchdog = Command::new("sh")
        .arg("-c")
        .arg(format!("trap '' INT TERM HUP; read _; {stop}; rm -rf {dir}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("start the watchdog");
    Cluster { directory, databases: AtomicU32::new(0), start, stop: immediate, as_root, _watchdog: watchdog }
}

/// Where initdb is: Debian's place for the newest version, or the search path.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = found.into_iter().rev().chain(std::env::split_paths(&path));
    places.find(|place| place.join("initdb").exists() && place.join("pg_ctl").exists()).expect(
        "these tests need a PostgreSQL server: install postgresql, or put initdb and pg_ctl on the PATH",
    )
}

/// PostgreSQL refuses to run as root.
fn as_postgres(as_root: bool, command: &str) {
    if as_root {
        run("su", &["postgres", "-c", command])
    } else {
        run("sh", &["-c", command])
    };
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
