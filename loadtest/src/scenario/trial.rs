//! Trials as scenarios: `verify` without faults on any server, `crash` with all of them on servers of our own.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, to_value};

use super::{ScenarioError, Stage};
use crate::faults::Faults;
use crate::progress::Progress;
use crate::report::Report;
use crate::server::{self, Server};
use crate::trial::{self, DatabaseFaults, FaultKind, Options, Outcome, Plan, Stagehand};
use crate::world::{Admin, World};

/// What a trial's server is set to: short spans and small windows, so that seconds are enough to leave each of them.
const SETTINGS: [&str; 6] = [
    "presence.tick_ms=50",
    "presence.grace_ms=300",
    "typing.expiry_ms=1500",
    "rooms.replay_events=12",
    "socket.stall_ms=1000",
    "shutdown.spread_ms=200",
];
/// An outbox that fills with a few long messages, for every other plan.
const TIGHT: [&str; 3] =
    ["rooms.replay_bytes=16384", "socket.frame_bytes=17408", "socket.outbox_bytes=17408"];
/// `rooms.replay_events` above.
const WINDOW: u64 = 12;
/// A reply for many rooms replays what fits half an outbox.
const TIGHT_BYTES: u64 = 8_704;

/// Where a trial's own server stands: each run has a fresh data directory, or a fresh database.
pub struct Ground {
    pub binary: PathBuf,
    pub args: Vec<String>,
    /// Makes a fresh database and names its URL; SQLite without.
    pub database: Option<Box<dyn Fn() -> io::Result<String>>>,
    pub database_faults: Option<DatabaseFaults>,
    /// Is a C compiler there for the shim below the server?
    pub shim: bool,
}

impl Ground {
    /// SQLite in a temporary directory.
    pub fn sqlite(binary: impl Into<PathBuf>) -> Ground {
        let binary = binary.into();
        Ground { binary, args: Vec::new(), database: None, database_faults: None, shim: true }
    }

    /// The faults that can be staged here.
    pub fn kinds(&self) -> Vec<FaultKind> {
        let mut kinds = FaultKind::PROCESS.to_vec();
        if self.shim {
            kinds.push(FaultKind::ClockJump);
            // Below PostgreSQL is not the server's disk.
            if self.database.is_none() {
                kinds.extend([FaultKind::DiskFull, FaultKind::SlowSync]);
            }
        }
        if self.database_faults.is_some() {
            kinds.extend(FaultKind::DATABASE);
        }
        kinds
    }

    /// A random plan for this ground.
    pub fn plan(&self, options: &Options) -> Plan {
        self.fit(Plan::new(&Options { kinds: self.kinds(), ..options.clone() }))
    }

    /// The same plan, with the numbers its server here will have.
    pub fn fit(&self, mut plan: Plan) -> Plan {
        let options = &mut plan.options;
        options.window = WINDOW;
        options.tight = !options.posts_only && options.seed.is_multiple_of(2);
        if options.tight {
            options.window_bytes = TIGHT_BYTES;
        }
        plan
    }

    /// Carries a plan out on a fresh server. An error tells the end of the server's log.
    pub async fn run(&self, plan: &Plan, progress: Progress) -> Result<Outcome, ScenarioError> {
        let io = |what| move |source| ScenarioError::Io { what, source };
        // Declared before the server, so that it is removed after the server is gone.
        let home = tempfile::tempdir().map_err(io("a temporary directory"))?;
        let mut options = server::Options::new(&self.binary, home.path().join("data"));
        let tight = TIGHT.iter().filter(|_| plan.options.tight);
        let settings = SETTINGS.iter().chain(tight);
        options.args = settings.flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect();
        options.args.extend(self.args.iter().cloned());
        if let Some(database) = &self.database {
            options.database_url = Some(database().map_err(io("a fresh database"))?);
        }
        let wanted = plan.faults.iter().any(|fault| FaultKind::SHIM.contains(&fault.fault.kind()));
        let below = match wanted && self.shim {
            true => Some(Faults::new(&options.data_dir).map_err(io("the shim below the server"))?),
            false => None,
        };
        options.env.extend(below.iter().flat_map(Faults::env));
        let mut server = Server::start(options).await?;
        let world = World::open(&server.url(), &Admin::default()).await?;
        let database = self.database_faults.as_ref();
        let mut stagehand = Stagehand { server: &mut server, below: below.as_ref(), database };
        let outcome = trial::run(&world, plan, Some(&mut stagehand), progress).await;
        outcome.map_err(|error| ScenarioError::Died { error: Box::new(error.into()), log: server.log_tail() })
    }
}

/// `verify`: no faults, on the stage's server.
pub async fn verify(stage: &Stage, options: &Options) -> Result<(Report, Outcome), ScenarioError> {
    let plan = Plan::new(&Options { faults: 0, ..options.clone() });
    let outcome = trial::run(&stage.world, &plan, None, stage.progress).await?;
    let report = report("verify", &outcome);
    Ok((report, outcome))
}

/// What came of a trial.
pub fn report(name: &'static str, outcome: &Outcome) -> Report {
    let mut report = Report::new(name, outcome.seed);
    if let Ok(Value::Object(tally)) = to_value(&outcome.tally) {
        for (row, field) in ROWS {
            report.row(row, tally.get(field).cloned().unwrap_or_default(), "");
        }
    }
    report.measured("wall", outcome.elapsed.as_secs_f64(), "s");
    report.row("violations", outcome.violations.len(), "");
    report
}

/// A plan saved by an earlier run.
pub fn load(path: &Path) -> Result<Plan, ScenarioError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ScenarioError::Io { what: "reading the plan", source })?;
    serde_json::from_str(&text)
        .map_err(|error| ScenarioError::Refused(format!("{} is no plan: {error}", path.display())))
}

/// Saves a plan, to be replayed or shrunk.
pub fn save(plan: &Plan, path: &Path) -> Result<(), ScenarioError> {
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let text = serde_json::to_string_pretty(plan).map_err(io::Error::other)?;
        std::fs::write(path, text)
    };
    write().map_err(|source| ScenarioError::Io { what: "saving the plan", source })
}

/// A database of its own for each run, by `createdb`: `{}` in the URL stands for its name.
pub fn fresh_databases(template: String) -> Box<dyn Fn() -> io::Result<String>> {
    Box::new(move || {
        if !template.contains("{}") {
            return Ok(template.clone());
        }
        let name = format!("hearth_trial_{}", uuid::Uuid::new_v4().simple());
        let maintenance = format!("--maintenance-db={}", template.replace("{}", "postgres"));
        run("createdb", &[&maintenance, &name])?;
        Ok(template.replace("{}", &name))
    })
}

/// Restarts the database server of this data directory, or cuts its connections by a restart of them all.
pub fn database_faults(pg_ctl: PathBuf, data: PathBuf) -> DatabaseFaults {
    Box::new(move |kind| {
        let mode = if kind == FaultKind::DatabaseCut { "fast" } else { "immediate" };
        let mut restart = Command::new(&pg_ctl);
        restart.args(["restart", "--wait", "--mode", mode, "--log", "/dev/null", "--pgdata"]).arg(&data);
        as_owner(&mut restart, &data)?;
        finish(restart)
    })
}

/// PostgreSQL is run by whoever owns its data, and refuses root.
fn as_owner(command: &mut Command, data: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(data)?;
    // Without a /proc it is left to the operator to be the owner.
    let ours = std::fs::metadata("/proc/self").map_or(owner.uid(), |process| process.uid());
    if owner.uid() != ours {
        // Our own working directory may be closed to them.
        command.uid(owner.uid()).gid(owner.gid()).current_dir("/");
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command)
}

fn finish(mut command: Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(io::Error::other(format!("{}: {said}{told}", command.get_program().display())))
}

const ROWS: [(&str, &str); 13] = [
    ("acked posts", "acked"),
    ("attempts", "attempts"),
    ("found stored already", "duplicates"),
    ("other commands done", "deeds"),
    ("refused as others made it happen", "refused"),
    ("faults", "faults"),
    ("kills", "kills"),
    ("reconnects", "reconnects"),
    ("connections dropped on purpose", "drops"),
    ("asked to wait", "asked_to_wait"),
    ("events heard", "heard"),
    ("gaps", "gaps"),
    ("resyncs", "resyncs"),
];
