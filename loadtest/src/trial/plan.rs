//! What a trial will do, drawn from its seed before it starts, so that the same seed does the same again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// The size of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    /// Posting clients.
    pub clients: usize,
    /// Listening clients, each in all rooms.
    pub listeners: usize,
    pub rooms: usize,
    /// Posts over all clients.
    pub messages: usize,
    /// SIGKILLs over the run.
    pub kills: usize,
    /// A socket sends up to so many posts before it waits for their acks.
    pub burst: usize,
    /// A client waits up to so long between bursts.
    pub pause: Duration,
    /// A listener drops its connection after about so many events.
    pub drop_after: usize,
    /// After the last post everybody has so long to hear the rest.
    pub catch_up: Duration,
    /// The whole run has to be over by then.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            clients: 20,
            listeners: 6,
            rooms: 10,
            messages: 5_000,
            kills: 5,
            burst: 5,
            pause: Duration::from_millis(20),
            drop_after: 400,
            catch_up: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
        }
    }
}

/// How a client posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A person on the WebSocket.
    Socket,
    /// A person's cookie on REST.
    Rest,
    /// A bot's key on REST.
    BotRest,
    /// A bot's key on the WebSocket.
    BotSocket,
}

impl Door {
    /// Of five clients three are on the socket, one is on REST and one is a bot, on either in turn.
    fn of(client: usize) -> Door {
        match (client % 5, client / 5 % 2) {
            (3, _) => Door::Rest,
            (4, 0) => Door::BotRest,
            (4, _) => Door::BotSocket,
            _ => Door::Socket,
        }
    }

    pub fn is_bot(self) -> bool {
        matches!(self, Door::BotRest | Door::BotSocket)
    }

    pub fn is_socket(self) -> bool {
        matches!(self, Door::Socket | Door::BotSocket)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPost {
    pub id: Uuid,
    /// Index among the trial's rooms.
    pub room: usize,
    pub body: String,
}

/// Posts sent together after a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    pub pause: Duration,
    pub posts: Vec<PlannedPost>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// For each client its door and what it posts.
    pub clients: Vec<(Door, Vec<Burst>)>,
    /// Counts of acks at which the server is killed, ascending.
    pub kills: Vec<usize>,
    /// A seed for each listener's moods.
    pub listeners: Vec<u64>,
}

impl Plan {
    pub fn new(options: &Options) -> Plan {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let clients = options.clients.max(1);
        let share =
            |client: usize| options.messages / clients + usize::from(client < options.messages % clients);
        let plans =
            (0..clients).map(|client| (Door::of(client), bursts(&mut rng, options, client, share(client))));
        let clients = plans.collect();
        // Away from both ends, where there is little in flight.
        let (first, last) = (options.messages / 20, options.messages - options.messages / 20);
        let mut kills: Vec<usize> =
            (0..options.kills).map(|_| rng.random_range(first..last.max(first + 1))).collect();
        kills.sort_unstable();
        let listeners = (0..options.listeners).map(|_| rng.random()).collect();
        Plan { clients, kills, listeners }
    }
}

fn bursts(rng: &mut StdRng, options: &Options, client: usize, mut left: usize) -> Vec<Burst> {
    let mut bursts = Vec::new();
    let mut number = 0;
    while left > 0 {
        let size = rng.random_range(1..=options.burst.max(1)).min(left);
        let pause = options.pause.mul_f64(rng.random::<f64>());
        let mut posts = Vec::with_capacity(size);
        for _ in 0..size {
            number += 1;
            posts.push(PlannedPost {
                id: uuid::Builder::from_random_bytes(rng.random()).into_uuid(),
                room: rng.random_range(0..options.rooms.max(1)),
                body: body(rng, client, number),
            });
        }
        left -= size;
        bursts.push(Burst { pause, posts });
    }
    bursts
}

/// Mostly short, sometimes long, with what JSON and databases like to trip over.
fn body(rng: &mut StdRng, client: usize, number: usize) -> String {
    const SPICES: [&str; 6] =
        ["", " \"quoted\" \\ back", " äöü 漢字", " 🦀👩‍👩‍👧", "\nsecond line\ttab", " <b>&amp;</b> '; --"];
    let spice = SPICES.get(rng.random_range(0..SPICES.len())).copied().unwrap_or_default();
    let padding = if rng.random_bool(0.05) { rng.random_range(500..4_000) } else { rng.random_range(0..60) };
    format!("{client}/{number}{spice} {}", "x".repeat(padding)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_is_the_same_plan() {
        let options = Options { messages: 500, ..Options::default() };
        assert_eq!(Plan::new(&options), Plan::new(&options));
        assert_ne!(Plan::new(&options), Plan::new(&Options { seed: 2, ..options.clone() }));
    }

    #[test]
    fn a_plan_is_as_large_as_asked() {
        let options = Options { messages: 503, ..Options::default() };
        let plan = Plan::new(&options);
        let posts: Vec<&PlannedPost> =
            plan.clients.iter().flat_map(|(_, bursts)| bursts).flat_map(|burst| &burst.posts).collect();
        assert_eq!(posts.len(), 503);
        assert_eq!(posts.iter().map(|post| post.id).collect::<HashSet<_>>().len(), 503);
        assert!(posts.iter().all(|post| post.room < 10 && !post.body.is_empty() && post.body.len() < 16_384));
        assert_eq!((plan.clients.len(), plan.kills.len(), plan.listeners.len()), (20, 5, 6));
        assert!(plan.kills.is_sorted() && plan.kills.iter().all(|&at| (25..478).contains(&at)));
    }

    #[test]
    fn every_door_is_used() {
        let doors: Vec<Door> = Plan::new(&Options::default()).clients.iter().map(|(door, _)| *door).collect();
        let count = |wanted: Door| doors.iter().filter(|door| **door == wanted).count();
        assert_eq!([Door::Socket, Door::Rest, Door::BotRest, Door::BotSocket].map(count), [12, 4, 2, 2]);
    }

    #[test]
    fn the_smallest_plans_are_plans() {
        for messages in [0, 1, 2] {
            let options = Options { messages, clients: 0, rooms: 0, burst: 0, ..Options::default() };
            assert_eq!(Plan::new(&options).clients.len(), 1);
        }
    }
}
