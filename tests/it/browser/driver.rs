//! Chromium under chromedriver: one driver process for a test, one fresh profile for each person.

use super::window::Window;
use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long chromedriver may take to listen. A cold start reads a lot from disk.
const START: Duration = Duration::from_secs(60);

/// What every session is started with: no first-run pages, no talk with anybody but the server under test.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--lang=en-GB",
    "--window-size=1200,860",
];

/// What one looks at the page with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Screen {
    Desktop,
    /// 360 × 740 with touch.
    Phone,
}

/// A running chromedriver. Dropping it ends its browsers and removes their profiles.
pub(crate) struct Driver {
    child: Child,
    port: u16,
    chromium: PathBuf,
    profiles: TempDir,
}

impl Driver {
    /// Starts chromedriver on a port of its own choice.
    pub(crate) async fn start() -> Self {
        let chromedriver = find(&["chromedriver"], "chromium-driver");
        let chromium = find(&["chromium", "chromium-browser", "google-chrome"], "chromium");
        let profiles = TempDir::new().expect("a directory for profiles");
        let log = profiles.path().join("chromedriver.log");
        let out = std::fs::File::create(&log).expect("a log file");
        let mut command = Command::new(&chromedriver);
        command.arg("--port=0").env("TMPDIR", profiles.path());
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
        // A group of its own, so that its browsers can be ended with it.
        command.process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", chromedriver.display()));
        let mut driver = Self { child, port: 0, chromium, profiles };
        driver.port = port_named_in(&log).await;
        driver
    }

    /// Opens a browser that has never been here.
    pub(crate) async fn window(&self, name: &'static str) -> Window {
        self.window_on(name, Screen::Desktop).await
    }

    /// The same, on a screen of that kind.
    pub(crate) async fn window_on(&self, name: &'static str, screen: Screen) -> Window {
        let profile = self.profiles.path().join(name);
        let mut args: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        args.push(format!("--user-data-dir={}", profile.display()));
        let mut options = json!({ "binary": self.chromium, "args": args });
        if let (Screen::Phone, Some(options)) = (screen, options.as_object_mut()) {
            let metrics = json!({ "width": 360, "height": 740, "pixelRatio": 2.0, "touch": true });
            options.insert("mobileEmulation".to_owned(), json!({ "deviceMetrics": metrics }));
        }
        let mut capabilities = Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&url).await;
        let client = client.unwrap_or_else(|error| panic!("chromium does not start: {error}"));
        let session = client.session_id().await.expect("a session").expect("with an id");
        Window::new(name, client, format!("{url}/session/{session}"))
    }
}

impl Driver {
    /// Kills the browser of that name with everything it has, in the middle of whatever it does. Its profile stays.
    pub(crate) fn kills(&self, name: &'static str) {
        let profile = format!("--user-data-dir={}", self.profiles.path().join(name).display());
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc").expect("processes") {
            let path = entry.expect("an entry").path();
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let is_it = command.split(|byte| *byte == 0).any(|arg| arg == profile.as_bytes());
            if let (true, Some(pid)) = (is_it, path.file_name()) {
                drop(Command::new("kill").arg("-KILL").arg(pid).stderr(Stdio::null()).status());
                killed += 1;
            }
        }
        assert!(killed > 0, "{name} has no browser");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        // Whatever of it is gone already needs no killing.
        drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        drop(self.child.wait());
    }
}

/// The first of these programs on PATH or where Debian has it. Missing is a failure: a browser test that is skipped
/// proves nothing.
fn find(names: &[&str], package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/lib/chromium", "/usr/local/bin", "/snap/bin"].map(PathBuf::from))
        .collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{} is not installed: apt-get install {package} (or run bin/test)", names.join(" or "))
        })
}

/// chromedriver says which port it took.
async fn port_named_in(log: &Path) -> u16 {
    let deadline = Instant::now() + START;
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let named = text.split("started successfully on port ").nth(1);
        let digits = named.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        if let Some(port) = digits.and_then(|digits| digits.parse().ok()) {
            return port;
        }
        assert!(Instant::now() < deadline, "chromedriver does not listen: {text}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// An entry of the browser's console.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) source: String,
    pub(crate) message: String,
}

impl Complaint {
    /// Entries that are warnings or worse.
    pub(crate) fn of(log: &Value) -> Vec<Self> {
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let entries = log["value"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
            .map(|entry| Self { source: text(entry, "source"), message: text(entry, "message") })
            .collect()
    }
}
