//! The command line.

mod loads;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};
use loadtest::trial;
use loadtest::world::Admin;

use loads::{
    CyclesArgs, FanoutArgs, IdleArgs, MixedArgs, PostsArgs, ReplayArgs, RoomsArgs, SeededArgs, SlowArgs,
    StormArgs, StreamArgs,
};

/// Loads a Hearth server, or kills it, and says what came of it. Exit code 1: a promise was broken; 2: the run failed.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "The server and the output")]
pub(crate) struct Target {
    /// The server to load
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Start this binary on a temporary data directory instead
    #[arg(long, global = true, value_name = "HEARTH")]
    pub(crate) spawn: Option<PathBuf>,
    /// The database of a spawned server (postgres://…); `{}` in it is the name of a fresh one, made by createdb
    #[arg(long, global = true, requires = "spawn")]
    pub(crate) database: Option<String>,
    /// A further argument of a spawned server; repeatable
    #[arg(long = "server-arg", global = true, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) server_args: Vec<String>,
    /// The server's process, to read its CPU and memory
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// An admin of the server; made when the server waits for its first run
    #[arg(long, global = true, default_value_t = Admin::default().email)]
    pub(crate) email: String,
    #[arg(long, global = true, env = "LOADTEST_PASSWORD", hide_env_values = true, default_value_t = Admin::default().password)]
    pub(crate) password: String,
    /// Where the plan is drawn from; random when absent
    #[arg(long, global = true, default_value_t = rand::random::<u32>().into(), hide_default_value = true)]
    pub(crate) seed: u64,
    /// One JSON line instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress on standard error
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// The whole run has to be over within so many seconds
    #[arg(long, global = true, default_value_t = 900)]
    pub(crate) within: u64,
    /// A spawned server on the first core, this on the second
    #[arg(long, global = true)]
    pub(crate) pin: bool,
    /// Load a server that is not on this machine
    #[arg(long, global = true)]
    pub(crate) anywhere: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Uses rooms of its own as people and bots do, then checks every promise of the protocol
    Verify(Trial),
    /// The same while servers are killed, frozen, restarted, out of disk … (needs --spawn)
    Crash(Crash),
    /// Thousands of clients lose their server at once and come back (needs --spawn, but with --drop)
    Storm(StormArgs),
    /// One room, many receivers: deliveries per server CPU second
    Fanout(FanoutArgs),
    /// Many small rooms in which everyone sends again when their own message comes back
    Rooms(RoomsArgs),
    /// Clients that were away resume with a cursor: events per second and per CPU second
    Replay(ReplayArgs),
    /// Pages of a long history, and coming back to its rooms
    History(SeededArgs),
    /// Words in a long history
    Search(SeededArgs),
    /// A day of a team, compressed: people who come, listen, write in bursts, look things up, drop out and leave
    Mixed(MixedArgs),
    /// Acked posts per second and their latency
    Posts(PostsArgs),
    /// Connections that do nothing: memory and CPU of each
    Idle(IdleArgs),
    /// Sockets that come and go in every way: nothing of them may stay (needs the server's process)
    Cycles(CyclesArgs),
    /// Readers that stall among those that don't: what they cost the others
    Slow(SlowArgs),
    /// Answers of an assistant, streamed into many rooms at once: how long pieces are on their way, and what a stream costs
    Stream(StreamArgs),
    /// The epoll loop that --baseline compares with; options come as JSON on standard input
    #[command(hide = true)]
    Broadcaster,
}

impl Scenario {
    /// How often it is to be run.
    pub(crate) fn runs(&self) -> usize {
        match self {
            Scenario::Fanout(fanout) => fanout.again.runs,
            Scenario::Rooms(rooms) => rooms.again.runs,
            Scenario::Storm(storm) => storm.again.runs,
            Scenario::Replay(replay) => replay.again.runs,
            Scenario::Mixed(mixed) => mixed.again.runs,
            Scenario::History(seeded) | Scenario::Search(seeded) => seeded.again.runs,
            Scenario::Posts(posts) => posts.again.runs,
            Scenario::Idle(idle) => idle.again.runs,
            Scenario::Stream(stream) => stream.again.runs,
            _ => 1,
        }
    }
}

impl Scenario {
    /// Where a spawned server has its data; a temporary directory without.
    pub(crate) fn data(&self) -> Option<&Path> {
        match self {
            Scenario::History(seeded) | Scenario::Search(seeded) => seeded.data.as_deref(),
            _ => None,
        }
    }

    /// Does it end the servers it loads?
    pub(crate) fn ends_servers(&self) -> bool {
        matches!(self, Scenario::Crash(_)) || matches!(self, Scenario::Storm(storm) if !storm.drop)
    }

    /// How a spawned server is set for it besides: where many connect within a moment, that isn't what is measured.
    pub(crate) fn settings(&self) -> Vec<String> {
        match self {
            Scenario::Idle(_) | Scenario::Fanout(_) | Scenario::Rooms(_) | Scenario::Replay(_) => {
                vec!["limits.handshakes=0".to_owned()]
            }
            Scenario::Stream(stream) => stream.options().settings(),
            _ => Vec::new(),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Trial {
    /// Devices that act
    #[arg(long, default_value_t = trial::Options::default().clients, value_parser = small)]
    clients: usize,
    /// Devices that mostly listen
    #[arg(long, default_value_t = trial::Options::default().listeners, value_parser = small)]
    listeners: usize,
    #[arg(long, default_value_t = trial::Options::default().rooms, value_parser = small)]
    rooms: usize,
    /// Posts, edits, deletes, joins, drops and so on, over all clients
    #[arg(long, default_value_t = trial::Options::default().actions, value_parser = large)]
    actions: usize,
    /// Nothing but posts
    #[arg(long)]
    posts_only: bool,
    /// A socket sends up to so many posts before it waits for their acks
    #[arg(long, default_value_t = trial::Options::default().burst, value_parser = small)]
    burst: usize,
    /// A client waits up to so many milliseconds between actions
    #[arg(long, default_value_t = trial::Options::default().pause_ms)]
    pause_ms: u64,
    /// A listener drops its connection after about so many events
    #[arg(long, default_value_t = trial::Options::default().drop_after, value_parser = large)]
    drop_after: usize,
    /// After the last action everybody has so many seconds to hear the rest
    #[arg(long, default_value_t = 20)]
    catch_up: u64,
}

impl Trial {
    pub(crate) fn options(&self, target: &Target) -> trial::Options {
        trial::Options {
            seed: target.seed,
            clients: self.clients,
            listeners: self.listeners,
            rooms: self.rooms,
            actions: self.actions,
            posts_only: self.posts_only,
            burst: self.burst,
            pause_ms: self.pause_ms,
            drop_after: self.drop_after,
            catch_up_ms: self.catch_up.saturating_mul(1_000),
            deadline_ms: target.within.saturating_mul(1_000),
            ..trial::Options::default()
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Crash {
    #[command(flatten)]
    trial: Trial,
    /// How many faults each plan has
    #[arg(long, default_value_t = trial::Options::default().faults, value_parser = count)]
    faults: usize,
    /// Runs a plan for each of these seeds, one after the other
    #[arg(long, value_name = "FIRST..LAST", value_parser = range)]
    pub(crate) seeds: Option<RangeInclusive<u64>>,
    /// Runs this saved plan
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pub(crate) plan: Option<PathBuf>,
    /// Leaves parts of this failing plan out for as long as it fails; writes the rest beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "plan"])]
    pub(crate) shrink: Option<PathBuf>,
    /// So many runs at most while shrinking
    #[arg(long, default_value_t = 120, value_parser = large)]
    pub(crate) runs: usize,
    /// A smaller plan counts as good after so many runs that did not fail
    #[arg(long, default_value_t = 3, value_parser = small)]
    pub(crate) each: usize,
    /// Where failing plans go
    #[arg(long, value_name = "DIR", default_value = "failing-plans")]
    pub(crate) save: PathBuf,
    /// No faults of disk and clock: they need Linux and a C compiler
    #[arg(long)]
    pub(crate) no_shim: bool,
    /// Also restarts the database server, by this pg_ctl
    #[arg(long, value_name = "FILE", requires = "pg_data")]
    pub(crate) pg_ctl: Option<PathBuf>,
    /// The data directory of the database server
    #[arg(long, value_name = "DIR", requires = "pg_ctl")]
    pub(crate) pg_data: Option<PathBuf>,
}

impl Crash {
    pub(crate) fn options(&self, target: &Target) -> trial::Options {
        trial::Options { faults: self.faults, ..self.trial.options(target) }
    }
}

fn small(text: &str) -> Result<usize, String> {
    bounded(text, 1_000)
}

fn large(text: &str) -> Result<usize, String> {
    bounded(text, 1_000_000)
}

fn huge(text: &str) -> Result<usize, String> {
    bounded(text, 100_000_000)
}

fn count(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { large(text) }
}

/// `3..7`, both included.
fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..").ok_or("two numbers with .. between them")?;
    match (first.parse(), last.trim_start_matches('=').parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("two numbers with .. between them, the smaller one first".to_owned()),
    }
}

fn bounded(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("a number from 1 to {most}")),
    }
}

/// Loads go to this machine unless the operator says otherwise.
pub(crate) fn check_url(url: &str, anywhere: bool) -> Result<(), String> {
    let local = ["http://127.0.0.1", "http://localhost"].iter().any(|base| {
        let rest = url.strip_prefix(base);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    if local || anywhere {
        Ok(())
    } else {
        Err(format!("{url} is not this machine; --anywhere loads it all the same"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_may_stand_behind_the_scenario() {
        let line =
            "loadtest crash --faults 2 --seeds 3..9 --spawn /x/hearth --seed 7 --server-arg --rate --json";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        assert!(
            matches!(&args.scenario, Scenario::Crash(crash) if crash.options(&args.target).faults == 2 && crash.seeds == Some(3..=9))
        );
        assert_eq!((args.target.seed, args.target.server_args), (7, vec!["--rate".to_owned()]));
    }

    #[test]
    fn only_this_machine_is_loaded_unasked() {
        assert!(check_url("http://127.0.0.1:8080", false).is_ok());
        assert!(check_url("http://localhost", false).is_ok());
        assert!(check_url("http://127.0.0.1.example.com", false).is_err());
        assert!(check_url("http://example.com", false).is_err());
        assert!(check_url("http://example.com", true).is_ok());
    }
}
