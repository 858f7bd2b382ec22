//! The broadcaster as a child process.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::Options;
use super::wire::Hello;
use crate::lean::client_text;
use crate::pin;

/// Lines before the one with the address: a wrapper may have something to say.
const LINES: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("starting the broadcaster: {0}")]
    Start(#[from] io::Error),
    #[error("the broadcaster said no address")]
    NoAddress,
}

/// How a broadcaster is started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program and its arguments; it has to call [`super::serve`].
    pub command: Vec<OsString>,
    /// The core it runs on.
    pub core: Option<usize>,
}

/// A running broadcaster; dropping it ends it.
pub struct Baseline {
    child: Child,
    address: SocketAddr,
}

impl Launcher {
    /// This executable, by its own subcommand.
    pub fn itself() -> io::Result<Launcher> {
        Ok(Launcher { command: vec![std::env::current_exe()?.into(), "broadcaster".into()], core: None })
    }

    pub fn start(&self, options: Options) -> Result<Baseline, BaselineError> {
        let (program, args) = self.command.split_first().ok_or(BaselineError::NoAddress)?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let held = self.core.map(pin::Held::on).transpose()?;
        // From here on it is ended when something fails.
        let mut baseline =
            Baseline { child: command.spawn()?, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        drop(held);
        if let Some(input) = &mut baseline.child.stdin {
            writeln!(input, "{}", serde_json::to_string(&options).map_err(io::Error::from)?)?;
        }
        let output = baseline.child.stdout.take().ok_or(BaselineError::NoAddress)?;
        for line in BufReader::new(output).lines().take(LINES) {
            if let Some(address) = line?.strip_prefix("listening ").and_then(|text| text.parse().ok()) {
                baseline.address = address;
                return Ok(baseline);
            }
        }
        Err(BaselineError::NoAddress)
    }
}

impl Baseline {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first frame of a connection that listens to a room, or only posts there.
    pub fn hello(room: usize, listens: bool) -> Vec<u8> {
        client_text(&Hello { room, listens }.text())
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // A process that cannot be killed is gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
