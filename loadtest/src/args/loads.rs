//! The options of the loads, each with what it becomes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use loadtest::baseline::Mode;
use loadtest::scenario::crowd::Crowd;
use loadtest::scenario::cycles::Cycles;
use loadtest::scenario::fanout::{Fanout, Load};
use loadtest::scenario::history::History;
use loadtest::scenario::idle::Idle;
use loadtest::scenario::mixed::{Habits, Mixed};
use loadtest::scenario::posts::Posts;
use loadtest::scenario::replay::Replay;
use loadtest::scenario::rooms::Rooms;
use loadtest::scenario::search::Search;
use loadtest::scenario::seed::Seed;
use loadtest::scenario::slow::Slow;
use loadtest::scenario::storm::{How, Storm};
use loadtest::scenario::stream::Stream;

use super::{count, huge, large, small};

#[derive(Debug, ClapArgs)]
pub(crate) struct Again {
    /// Runs so often, each on a server of its own with --spawn; shows the median, the least and the most
    #[arg(long, default_value_t = 1, value_parser = small)]
    pub(super) runs: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BaselineMode {
    /// Writes each message at once
    Plain,
    /// Writes what was readable in one turn of its loop together
    Coalescing,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BaselineArgs {
    /// Does the same with a bare epoll loop and reports the ratio; without a value `coalescing` for --saturated, `plain` else
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true)]
    baseline: Option<Option<BaselineMode>>,
}

impl BaselineArgs {
    fn mode(&self, usual: Mode) -> Option<Mode> {
        self.baseline.map(|mode| match mode {
            Some(BaselineMode::Plain) => Mode::Plain,
            Some(BaselineMode::Coalescing) => Mode::Coalescing,
            None => usual,
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StormArgs {
    /// Subscribed clients; 10,000 with --drop, else 5,000
    #[arg(long, short = 'n', value_parser = large)]
    clients: Option<usize>,
    /// Connections of one user; the server allows 20 by default
    #[arg(long, default_value_t = 10, value_parser = large)]
    sockets_per_user: usize,
    #[arg(long, default_value_t = 5, value_parser = small)]
    rooms: usize,
    /// kill -9 instead of SIGTERM
    #[arg(long, conflicts_with = "drop")]
    kill: bool,
    /// The server stays: the clients drop their sockets all at once and resume
    #[arg(long)]
    pub(super) drop: bool,
    /// Messages posted while the clients come back
    #[arg(long, default_value_t = 200, value_parser = count)]
    messages: usize,
    /// Everybody has to be back within so many seconds
    #[arg(long, default_value_t = 120)]
    back_within: u64,
    #[command(flatten)]
    pub(super) again: Again,
}

impl StormArgs {
    pub(crate) fn options(&self) -> Storm {
        let how = match (self.drop, self.kill) {
            (true, _) => How::Drop,
            (false, true) => How::Kill,
            (false, false) => How::Terminate,
        };
        let sockets = self.clients.unwrap_or(if self.drop { 10_000 } else { 5_000 });
        Storm {
            crowd: Crowd { sockets, per_user: self.sockets_per_user, at_once: 64 },
            rooms: self.rooms,
            how,
            messages: self.messages,
            back_within: Duration::from_secs(self.back_within),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CrowdArgs {
    /// Connections
    #[arg(long, short = 'n', default_value_t = 1_000, value_parser = large)]
    sockets: usize,
    /// Connections of one user; the server allows 20 by default
    #[arg(long, default_value_t = 20, value_parser = large)]
    sockets_per_user: usize,
    /// Handshakes at once
    #[arg(long, default_value_t = 64, value_parser = small)]
    at_once: usize,
}

impl CrowdArgs {
    fn options(&self) -> Crowd {
        Crowd { sockets: self.sockets, per_user: self.sockets_per_user, at_once: self.at_once }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    #[arg(long, default_value_t = 1_000, value_parser = large)]
    messages: usize,
    /// Messages before the measuring begins
    #[arg(long, default_value_t = 100, value_parser = count)]
    warm: usize,
    /// Posts per second; 0 keeps one message in flight
    #[arg(long, default_value_t = 0, conflicts_with = "saturated")]
    rate: u32,
    /// As many as go through
    #[arg(long)]
    saturated: bool,
    /// With --saturated: so many messages are on their way at any time
    #[arg(long, default_value_t = 256, value_parser = large, requires = "saturated")]
    window: usize,
    /// Users who post in turn, on a socket each; 64 with --saturated, else 1
    #[arg(long, value_parser = small)]
    posters: Option<usize>,
    /// Bytes of a body
    #[arg(long, default_value_t = 100, value_parser = large)]
    size: usize,
    #[command(flatten)]
    baseline: BaselineArgs,
    #[command(flatten)]
    pub(super) again: Again,
}

impl FanoutArgs {
    pub(crate) fn options(&self) -> Fanout {
        let load = match (self.saturated, self.rate) {
            (true, _) => Load::Saturated(self.window),
            (false, 0) => Load::OneInFlight,
            (false, rate) => Load::Rate(rate),
        };
        let usual = if self.saturated { Mode::Coalescing } else { Mode::Plain };
        Fanout {
            crowd: self.crowd.options(),
            messages: self.messages,
            warm: self.warm,
            load,
            posters: self.posters.unwrap_or(if self.saturated { 64 } else { 1 }),
            size: self.size,
            baseline: self.baseline.mode(usual),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RoomsArgs {
    #[arg(long, default_value_t = 200, value_parser = large)]
    rooms: usize,
    /// Sockets in each room
    #[arg(long, default_value_t = 10, value_parser = small)]
    members: usize,
    /// Connections of one user, each in another room; the server allows 20 by default
    #[arg(long, default_value_t = 20, value_parser = small)]
    sockets_per_user: usize,
    /// Seconds that are measured
    #[arg(long, short = 't', default_value_t = 10)]
    seconds: u64,
    /// Seconds before
    #[arg(long, default_value_t = 2)]
    warm: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 100, value_parser = large)]
    size: usize,
    #[command(flatten)]
    baseline: BaselineArgs,
    #[command(flatten)]
    pub(super) again: Again,
}

impl RoomsArgs {
    pub(crate) fn options(&self) -> Rooms {
        Rooms {
            rooms: self.rooms,
            members: self.members,
            per_user: self.sockets_per_user,
            at_once: 64,
            warm: Duration::from_secs(self.warm),
            time: Duration::from_secs(self.seconds.max(1)),
            size: self.size,
            baseline: self.baseline.mode(Mode::Plain),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PostsArgs {
    /// Users with one post in flight each
    #[arg(long, short = 'c', default_value_t = 64, value_parser = large)]
    clients: usize,
    #[arg(long, default_value_t = 10, value_parser = small)]
    rooms: usize,
    /// Seconds that are measured
    #[arg(long, short = 't', default_value_t = 10)]
    seconds: u64,
    /// Seconds before
    #[arg(long, default_value_t = 1)]
    warm: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 100, value_parser = large)]
    size: usize,
    #[command(flatten)]
    pub(super) again: Again,
}

impl PostsArgs {
    pub(crate) fn options(&self) -> Posts {
        Posts {
            clients: self.clients,
            rooms: self.rooms,
            warm: Duration::from_secs(self.warm),
            time: Duration::from_secs(self.seconds.max(1)),
            size: self.size,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Events each client missed; over 1,000 events or 256 KiB the server answers with a gap
    #[arg(long, default_value_t = 500, value_parser = large)]
    events: usize,
    /// How often each client resumes
    #[arg(long, default_value_t = 5, value_parser = small)]
    rounds: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 100, value_parser = large)]
    size: usize,
    #[command(flatten)]
    pub(super) again: Again,
}

impl ReplayArgs {
    pub(crate) fn options(&self) -> Replay {
        Replay { crowd: self.crowd.options(), events: self.events, rounds: self.rounds, size: self.size }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SeededArgs {
    /// Messages there are, half of them in one room; posted first
    #[arg(long, default_value_t = 1_000_000, value_parser = huge)]
    messages: usize,
    /// Rooms of the other half
    #[arg(long, default_value_t = 100, value_parser = small)]
    rooms: usize,
    /// Keeps the data of the spawned server in this directory; when it was seeded already it is used as it is
    #[arg(long, visible_alias = "keep", value_name = "DIR", requires = "spawn")]
    pub(super) data: Option<PathBuf>,
    /// Requests of each kind, one after the other
    #[arg(long, default_value_t = 500, value_parser = large)]
    samples: usize,
    #[command(flatten)]
    pub(super) again: Again,
}

impl SeededArgs {
    fn seed(&self) -> Seed {
        Seed { messages: self.messages, rooms: self.rooms }
    }

    pub(crate) fn history(&self) -> History {
        History { seed: self.seed(), dir: self.data.clone(), samples: self.samples }
    }

    pub(crate) fn search(&self) -> Search {
        Search { seed: self.seed(), dir: self.data.clone(), samples: self.samples }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct MixedArgs {
    #[arg(long, default_value_t = 1_000, value_parser = large)]
    people: usize,
    /// The biggest has everybody, the second half of them, the third a third …
    #[arg(long, default_value_t = 60, value_parser = small)]
    rooms: usize,
    /// How long the day takes
    #[arg(long, short = 't', default_value_t = 120)]
    seconds: u64,
    /// What each person does in it, in bursts of about five
    #[arg(long, default_value_t = 40, value_parser = count)]
    posts: usize,
    /// Read marks of a person
    #[arg(long, default_value_t = 20, value_parser = count)]
    reads: usize,
    /// Pages of history a person looks at
    #[arg(long, default_value_t = 10, value_parser = count)]
    pages: usize,
    #[arg(long, default_value_t = 3, value_parser = count)]
    searches: usize,
    /// How often a person loses the connection
    #[arg(long, default_value_t = 3, value_parser = count)]
    drops: usize,
    #[command(flatten)]
    pub(super) again: Again,
}

impl MixedArgs {
    pub(crate) fn options(&self) -> Mixed {
        Mixed {
            people: self.people,
            rooms: self.rooms,
            time: Duration::from_secs(self.seconds.max(1)),
            habits: Habits {
                posts: self.posts,
                reads: self.reads,
                pages: self.pages,
                searches: self.searches,
                drops: self.drops,
            },
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Rooms each connection is subscribed to
    #[arg(long, default_value_t = 5, value_parser = small)]
    rooms: usize,
    /// How long everyone stays
    #[arg(long, short = 't', default_value_t = 30)]
    seconds: u64,
    #[command(flatten)]
    pub(super) again: Again,
}

impl IdleArgs {
    pub(crate) fn options(&self) -> Idle {
        Idle { crowd: self.crowd.options(), rooms: self.rooms, seconds: self.seconds }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CyclesArgs {
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = large)]
    cycles: usize,
    /// Cycles before the start is measured
    #[arg(long, default_value_t = 1_000, value_parser = large)]
    warm: usize,
    /// Sockets at once
    #[arg(long, default_value_t = 32, value_parser = small)]
    at_once: usize,
}

impl CyclesArgs {
    pub(crate) fn options(&self) -> Cycles {
        Cycles { cycles: self.cycles, warm: self.warm, at_once: self.at_once }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SlowArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Messages of each phase
    #[arg(long, default_value_t = 200, value_parser = large)]
    messages: usize,
    /// Messages per second
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// How often each phase is repeated
    #[arg(long, default_value_t = 3, value_parser = small)]
    rounds: usize,
}

impl SlowArgs {
    pub(crate) fn options(&self) -> Slow {
        Slow { crowd: self.crowd.options(), messages: self.messages, rate: self.rate, rounds: self.rounds }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StreamArgs {
    /// Answers at once, each in a room of its own
    #[arg(long, short = 'n', default_value_t = 100, value_parser = small)]
    streams: usize,
    /// Tokens per second of each
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// How long each is; before and after it there are posts without streams, together as long
    #[arg(long, short = 't', default_value_t = 20)]
    seconds: u64,
    /// Sockets in each of the rooms
    #[arg(long, default_value_t = 1, value_parser = small)]
    listeners: usize,
    /// Posts per second in other rooms, all along
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    posts: u32,
    #[command(flatten)]
    pub(super) again: Again,
}

impl StreamArgs {
    pub(crate) fn options(&self) -> Stream {
        Stream {
            streams: self.streams,
            rate: self.rate,
            time: Duration::from_secs(self.seconds.max(1)),
            listeners: self.listeners,
            posts: self.posts,
        }
    }
}
