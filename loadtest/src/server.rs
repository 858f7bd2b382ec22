//! The real server as a child process: started, killed without mercy, stopped politely, brought back.

mod error;
mod usage;

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use error::ServerError;
pub use usage::Usage;

use crate::confidential;
use crate::pin;

const POLL: Duration = Duration::from_millis(20);
/// Another process may take the free port between our look and the server's bind.
const STARTS: usize = 3;
/// Ports that are looked at before there is none.
const PORT_TRIES: usize = 1000;
/// The ports that servers are given.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 20_000;
/// A signing key as the server makes it.
const SIGNING_KEY_CHARS: usize = 43;

/// Many play many roles from one address here, faster than people do: rate limits are off unless the arguments say otherwise.
const UNLIMITED: [(&str, &str); 10] = [
    ("HEARTH_LIMITS__MESSAGES", "0"),
    ("HEARTH_LIMITS__BOT_MESSAGES", "0"),
    ("HEARTH_LIMITS__COMMANDS", "0"),
    ("HEARTH_LIMITS__SETTINGS", "0"),
    ("HEARTH_LIMITS__REPEATS", "0"),
    ("HEARTH_LIMITS__MENTIONS", "0"),
    ("HEARTH_LIMITS__FRAMES", "0"),
    ("HEARTH_LIMITS__SUBSCRIPTIONS", "0"),
    ("HEARTH_LIMITS__USER_REQUESTS", "0"),
    ("HEARTH_LIMITS__ACCOUNT_FAILURES", "0"),
];

/// What a report says of that.
pub const LIMITS_OFF: &str = "off";

/// How to start the server.
#[derive(Debug, Clone)]
pub struct Options {
    pub binary: PathBuf,
    pub data_dir: PathBuf,
    /// `postgres://…`; SQLite in the data directory without.
    pub database_url: Option<String>,
    /// 0 picks a free one; restarts keep it.
    pub port: u16,
    /// Appended to the command line.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The core it runs on; any without.
    pub core: Option<usize>,
    /// Standard output and error are appended here; `server.log` beside the data directory without.
    pub log: Option<PathBuf>,
    /// How long until `/ready` has to say 200.
    pub ready_within: Duration,
}

impl Options {
    pub fn new(binary: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Options {
        Options {
            binary: binary.into(),
            data_dir: data_dir.into(),
            database_url: None,
            port: 0,
            args: Vec::new(),
            env: Vec::new(),
            core: None,
            log: None,
            ready_within: Duration::from_secs(30),
        }
    }
}

/// A running server, or one that was killed and can be brought back. Dropping it kills it.
pub struct Server {
    options: Options,
    port: u16,
    log: PathBuf,
    /// The log, also after its directory is gone.
    written: Option<File>,
    child: Option<Child>,
}

impl Server {
    /// Starts the server and waits until it is ready.
    pub async fn start(options: Options) -> Result<Server, ServerError> {
        let log = options.log.clone().unwrap_or_else(|| options.data_dir.with_extension("server.log"));
        let mut tries = 0;
        loop {
            tries += 1;
            let port = if options.port == 0 { free_port()? } else { options.port };
            let mut server =
                Server { options: options.clone(), port, log: log.clone(), written: None, child: None };
            match server.restart().await {
                Ok(()) => return Ok(server),
                Err(ServerError::Exited { .. }) if options.port == 0 && tries < STARTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the process again on the same data and port, and waits until it is ready. Kills one still running.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.kill()?;
        self.child = Some(self.spawn()?);
        self.written = File::open(&self.log).ok();
        self.wait_ready().await?;
        self.note_confidential();
        Ok(())
    }

    fn spawn(&self) -> Result<Child, ServerError> {
        let out = self.open_log()?;
        let err = out.try_clone().map_err(|e| ServerError::io(&self.log, e))?;
        let mut command = Command::new(&self.options.binary);
        command.args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"]);
        command.arg(&self.options.data_dir);
        if let Some(url) = &self.options.database_url {
            command.args(["--database", url]);
        }
        command.args(&self.options.args).envs(UNLIMITED).envs(self.options.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        // Before it starts, so that its number of threads follows.
        let _held = match self.options.core {
            Some(core) => Some(pin::Held::on(core).map_err(|e| ServerError::io(&self.options.binary, e))?),
            None => None,
        };
        command.spawn().map_err(|e| ServerError::io(&self.options.binary, e))
    }

    fn open_log(&self) -> Result<File, ServerError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|e| ServerError::io(&self.log, e))
    }

    async fn wait_ready(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + self.options.ready_within;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let url = format!("{}/ready", self.url());
        let mut last = "nothing yet".to_owned();
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                self.child = None;
                return Err(ServerError::Exited { status, log: self.log_tail() });
            }
            match http.get(&url).send().await {
                Ok(response) if response.status().as_u16() == 200 => return Ok(()),
                Ok(response) => {
                    last = format!("{}: {}", response.status(), response.text().await.unwrap_or_default())
                }
                Err(error) => last = error.to_string(),
            }
            sleep(POLL).await;
        }
        Err(ServerError::NotReady { last, log: self.log_tail() })
    }

    /// The secrets the server was started with or made for itself.
    fn note_confidential(&self) {
        let base = self.url();
        let given = self.options.args.iter().filter_map(|arg| arg.split_once('='));
        let named = given.chain(self.options.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for (name, value) in named {
            let name = name.to_ascii_lowercase();
            if ["token", "signing_key", "signing_key_previous"].iter().any(|end| name.ends_with(end)) {
                confidential::note(&base, value);
            }
        }
        let keys = std::fs::read_to_string(self.options.data_dir.join("signing-keys")).unwrap_or_default();
        let keys = keys.split('"').filter(|piece| piece.len() == SIGNING_KEY_CHARS);
        keys.for_each(|key| confidential::note(&base, key));
    }

    /// `kill -9`. Returns when the process is gone; harmless when it is gone already.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child
            .kill()
            .and_then(|()| child.wait())
            .map(drop)
            .map_err(|e| ServerError::io(&self.options.binary, e))
    }

    /// `kill -TERM`, and waits for a clean end. Kills when there is none `within`.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, ServerError> {
        let pid = self.pid().ok_or(ServerError::NotRunning)?;
        let kill = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        kill.map_err(|e| ServerError::io(Path::new("kill"), e))?;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                self.child = None;
                return Ok(status);
            }
            sleep(POLL).await;
        }
        self.kill()?;
        Err(ServerError::DidNotStop { within, log: self.log_tail() })
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        match &mut self.child {
            Some(child) => child.try_wait().map_err(|e| ServerError::io(&self.options.binary, e)),
            None => Err(ServerError::NotRunning),
        }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// CPU and memory so far.
    pub fn usage(&self) -> Option<Usage> {
        self.pid().and_then(|pid| Usage::of(pid).ok())
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log, for messages about failures.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(30)).copied().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to tell; a process that cannot be killed is gone.
        drop(self.kill());
        let Some(written) = self.written.take().filter(|_| confidential::is_listening()) else { return };
        let leaked = confidential::leaks(&self.url(), &written);
        if std::thread::panicking() {
            return;
        }
        match leaked {
            Ok(lines) => assert!(lines.is_empty(), "secrets are in the log:\n{}", lines.join("\n")),
            Err(error) => panic!("the log can't be searched for secrets: {error}"),
        }
    }
}

/// A port that nobody listens at. The kernel gives none of these out by itself, and they are given in turn: nobody takes one by chance
/// before a server listens there, or while that is down.
pub fn free_port() -> Result<u16, ServerError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin at different places.
    let first = std::process::id().wrapping_mul(97);
    let next = |_| {
        let place = first.wrapping_add(u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(PORTS);
        FIRST_PORT + u16::try_from(place).unwrap_or_default()
    };
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found = (0..PORT_TRIES).map(next).find(is_free);
    found.ok_or_else(|| ServerError::io(Path::new("127.0.0.1"), ErrorKind::AddrInUse.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_at_once_says_why() {
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("server");
        // Written by somebody else: what a child of another test has open for writing isn't run.
        let text = "#!/bin/sh\necho \"no such option: $6\" >&2\nexit 3\n";
        let write = ["-c", "printf %s \"$1\" > \"$0\""];
        assert!(Command::new("sh").args(write).arg(&script).arg(text).status().unwrap().success());
        let mut permissions = std::fs::metadata(&script).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&script, permissions).unwrap();
        let options =
            Options { args: vec!["--nonsense".to_owned()], ..Options::new(script, home.path().join("data")) };
        match Server::start(options).await {
            Err(ServerError::Exited { status, log }) => {
                assert_eq!(status.code(), Some(3));
                assert!(log.contains("no such option: --nonsense"), "{log}");
            }
            other => panic!("{:?}", other.map(|server| server.port()).map_err(|error| error.to_string())),
        }
    }
}
