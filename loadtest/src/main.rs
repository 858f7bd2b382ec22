//! `loadtest`: puts a server under load, or mistreats it, and says what came of it.

mod args;
mod crash;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadtest::baseline::{self, Launcher};
use loadtest::pin::{self, Cores};
use loadtest::progress::Progress;
use loadtest::report::Report;
use loadtest::scenario::{self, ScenarioError, Stage};
use loadtest::server::{self, Options, Server};
use loadtest::world::{Admin, World};
use tokio::task::LocalSet;

use args::{Args, Scenario};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            drop(writeln!(io::stderr(), "loadtest: {error} (seed {})", args.target.seed));
            ExitCode::from(2)
        }
    }
}

/// True when all promises were kept.
fn run(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    if let Scenario::Broadcaster = args.scenario {
        baseline::serve(io::BufReader::new(io::stdin()), &mut io::stdout())?;
        return Ok(true);
    }
    let cores = if args.target.pin { Some(Cores::first_two()?) } else { None };
    if let Some(cores) = cores {
        pin::to(cores.load)?;
    }
    // One thread: the other cores are for the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (report, kept) = LocalSet::new().block_on(&runtime, play(args, cores))?;
    let Some(report) = report else { return Ok(kept) };
    let mut out = io::stdout().lock();
    if args.target.json {
        report.write_json(&mut out)?;
    } else {
        report.write_table(&mut out)?;
    }
    Ok(kept)
}

/// Plays it as often as wanted.
async fn play(args: &Args, cores: Option<Cores>) -> Result<(Option<Report>, bool), ScenarioError> {
    let target = &args.target;
    if args.scenario.ends_servers() && target.spawn.is_none() {
        return Err(ScenarioError::Refused("this ends servers: name a binary with --spawn".to_owned()));
    }
    let progress = if target.quiet { Progress::silent() } else { Progress::stderr() };
    if let (Scenario::Crash(crash), Some(binary)) = (&args.scenario, &target.spawn) {
        return Ok((None, crash::play(crash, target, binary, progress).await?));
    }
    let runs = args.scenario.runs();
    let (mut all, mut all_kept) = (None::<Report>, true);
    for run in 1..=runs {
        if runs > 1 {
            progress.say(format_args!("run {run} of {runs}"));
        }
        let (mut report, kept) = once(args, cores, progress).await?;
        all_kept &= kept;
        if target.spawn.is_some() {
            report.row("rate limits of the server", server::LIMITS_OFF, "");
            let mut set = args.scenario.settings();
            set.extend(target.server_args.iter().cloned());
            report.row("arguments of the server", set.join(" "), "");
        }
        report.row("pinned", pinned(cores, target.spawn.is_some()), "");
        match &mut all {
            Some(all) => all.merge(report),
            None => all = Some(report),
        }
    }
    Ok((all, all_kept))
}

fn pinned(cores: Option<Cores>, spawned: bool) -> String {
    match cores {
        None => "no".to_owned(),
        Some(Cores { server, load }) if spawned => format!("server core {server}, load core {load}"),
        Some(Cores { load, .. }) => format!("load core {load}"),
    }
}

/// One run, on a server of its own with `--spawn`.
async fn once(
    args: &Args,
    cores: Option<Cores>,
    progress: Progress,
) -> Result<(Report, bool), ScenarioError> {
    let target = &args.target;
    // Declared before the server, so that it is removed after the server is gone.
    let home =
        tempfile::tempdir().map_err(|source| ScenarioError::Io { what: "a temporary directory", source })?;
    let core = cores.map(|cores| cores.server);
    let place = args.scenario.data().unwrap_or(home.path());
    std::fs::create_dir_all(place)
        .map_err(|source| ScenarioError::Io { what: "making the directory of the data", source })?;
    let mut server = match &target.spawn {
        Some(binary) => Some(spawn(args, binary, place, core, progress).await?),
        None => None,
    };
    let url = server.as_ref().map_or_else(|| target.url.clone(), Server::url);
    args::check_url(&url, target.anywhere).map_err(ScenarioError::Refused)?;
    let admin = Admin { email: target.email.clone(), password: target.password.clone() };
    let world = World::open(&url, &admin).await?;
    let pid = server.as_ref().and_then(Server::pid).or(target.pid);
    if pid.is_none() {
        progress.say("no --pid: the server's CPU and memory will be missing");
    }
    let baseline =
        Launcher::itself().map_err(|source| ScenarioError::Io { what: "finding itself", source })?;
    let stage = Stage { world, pid, progress, seed: target.seed, baseline: Launcher { core, ..baseline } };
    let played = tokio::time::timeout(Duration::from_secs(target.within), async {
        match (&args.scenario, &mut server) {
            (Scenario::Verify(trial), _) => verify(&stage, &trial.options(target)).await,
            (Scenario::Storm(storm), server) => storm.options().run(&stage, server.as_mut()).await,
            (Scenario::Fanout(fanout), _) => fanout.options().run(&stage).await,
            (Scenario::Rooms(rooms), _) => rooms.options().run(&stage).await,
            (Scenario::Replay(replay), _) => replay.options().run(&stage).await,
            (Scenario::History(seeded), server) => seeded.history().run(&stage, server.as_mut()).await,
            (Scenario::Search(seeded), _) => seeded.search().run(&stage).await,
            (Scenario::Mixed(mixed), _) => mixed.options().run(&stage).await,
            (Scenario::Posts(posts), _) => posts.options().run(&stage).await,
            (Scenario::Idle(idle), _) => idle.options().run(&stage).await,
            (Scenario::Cycles(cycles), _) => cycles.options().run(&stage).await,
            (Scenario::Slow(slow), _) => slow.options().run(&stage).await,
            (Scenario::Stream(stream), _) => stream.options().run(&stage).await,
            (Scenario::Crash(_) | Scenario::Broadcaster, _) => {
                Err(ScenarioError::Refused("this needs --spawn".to_owned()))
            }
        }
    });
    let played =
        played.await.unwrap_or_else(|_| Err(ScenarioError::Late { what: "the end of the run".to_owned() }));
    if let (Some(server), Ok((_, false)) | Err(_)) = (&server, &played) {
        progress.say(format_args!("the server's log ends:\n{}", server.log_tail()));
    }
    played
}

async fn spawn(
    args: &Args,
    binary: &Path,
    home: &Path,
    core: Option<usize>,
    progress: Progress,
) -> Result<Server, ScenarioError> {
    let target = &args.target;
    progress.say(format_args!("starting {}", binary.display()));
    let mut options = Options::new(binary, home.join("data"));
    if let Some(url) = &target.database {
        if args.scenario.data().is_some() && url.contains("{}") {
            let problem = "--data names what is kept, and {} a fresh database: name the one that is kept";
            return Err(ScenarioError::Refused(problem.to_owned()));
        }
        let fresh = scenario::trial::fresh_databases(url.clone());
        let url = fresh().map_err(|source| ScenarioError::Io { what: "making a database", source })?;
        options.database_url = Some(url);
    }
    options.args = args.scenario.settings().into_iter().flat_map(|set| ["--set".to_owned(), set]).collect();
    // What the operator says comes last and counts.
    options.args.extend(target.server_args.iter().cloned());
    options.core = core;
    Ok(Server::start(options).await?)
}

/// A trial without faults; violations go to standard error.
async fn verify(stage: &Stage, options: &loadtest::trial::Options) -> Result<(Report, bool), ScenarioError> {
    let (report, outcome) = scenario::trial::verify(stage, options).await?;
    if !outcome.is_ok() {
        // The exit code says it too.
        drop(writeln!(io::stderr(), "{outcome}"));
    }
    Ok((report, outcome.is_ok()))
}
