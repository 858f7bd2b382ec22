//! A real language model behind an OpenAI-compatible API: `bin/engine`, with a key.

use crate::harness::PATIENCE;
use loadtest::server::free_port;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// It starts a Python with everything in it: on a busy machine that takes longer than anything of ours may.
const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// The engine. Dropped, it is killed.
pub(crate) struct Engine {
    port: u16,
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Engine {
    /// Who asks without it is refused.
    pub(crate) const KEY: &str = "sk-engine-s3cret";
    /// The name of the model.
    pub(crate) const MODEL: &str = "tiny";

    /// Starts it, and waits until it answers.
    pub(crate) async fn start() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        let installed = read(&target.join("engine/installed.txt")) == read(&root.join("tests/engine.txt"))
            && read(&target.join("engine/tiny_model.py")) == read(&root.join("tests/engine/tiny_model.py"));
        assert!(installed, "the engine is missing below {}: bin/engine --install", target.display());
        // Somebody else may be given the port before the engine takes it.
        for _ in 0..3 {
            let port = free_port().expect("a port");
            let log = tempfile::NamedTempFile::new().expect("a file");
            let mut command = Command::new(root.join("bin/engine"));
            command.arg(port.to_string()).args(["--api_key", Self::KEY]).env("CARGO_TARGET_DIR", target);
            let output = || Stdio::from(log.reopen().expect("the file"));
            command.stdin(Stdio::null()).stdout(output()).stderr(output()).kill_on_drop(true);
            let process = command.spawn().expect("bin/engine starts");
            let mut engine = Self { port, process, log };
            if engine.is_ready().await {
                return engine;
            }
        }
        panic!("the engine finds no port");
    }

    /// What a client takes for `base_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// What it and its Python wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("its log")
    }

    /// Whether it answers in the end; false when somebody has its port.
    async fn is_ready(&mut self) -> bool {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let began = Instant::now();
        while began.elapsed() < STARTS_WITHIN {
            if let Some(status) = self.process.try_wait().expect("a process") {
                assert!(
                    self.log().contains("address already in use"),
                    "it ended with {status}: {}",
                    self.log()
                );
                return false;
            }
            let models = client.get(format!("{}/models", self.url())).bearer_auth(Self::KEY).send().await;
            if models.is_ok_and(|models| models.status() == 200) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the engine isn't ready in time: {}", self.log());
    }
}
