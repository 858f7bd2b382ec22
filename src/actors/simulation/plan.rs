//! What happens in a simulation, drawn from its seed before it begins.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Devices of a house; device `n` is of user `n % 3`.
pub(super) const DEVICES: usize = 5;
/// Rooms of a house, the commons apart.
pub(super) const ROOMS: usize = 3;

pub(super) struct Plan {
    pub(super) steps: Vec<(Duration, Step)>,
}

/// Devices and rooms are meant by their place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Connect(usize),
    /// The connection is lost without a goodbye.
    Lose(usize),
    /// Says goodbye.
    Close(usize),
    /// Subscribes where it left off, or at the head when it forgets.
    Join {
        device: usize,
        room: usize,
        forget: bool,
    },
    /// Subscribes to all rooms at once, where it left off.
    JoinAll(usize),
    Part {
        device: usize,
        room: usize,
    },
    /// A repeat sends the last post of the device again.
    Post {
        device: usize,
        room: usize,
        large: bool,
        repeat: bool,
    },
    /// Edits or deletes the device's last acknowledged message.
    Change {
        device: usize,
        delete: bool,
    },
    Read {
        device: usize,
        room: usize,
    },
    Type {
        device: usize,
        room: usize,
        on: bool,
    },
    /// Adds or removes the device's user in the closed room, by the admin.
    Member {
        device: usize,
        add: bool,
    },
    /// Doesn't read for a while.
    Deaf {
        device: usize,
        deaf: bool,
    },
    Nonsense(usize),
    /// The store fails now and then from here on, or no more.
    Trouble(bool),
    /// This actor fails after so many pieces of work.
    Fail(&'static str, u32),
    /// Nothing but time.
    Wait,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut steps: Vec<(Duration, Step)> = (0..DEVICES)
            .flat_map(|device| [Step::Connect(device), Step::JoinAll(device)])
            .map(|step| (Duration::from_millis(rng.random_range(0..5)), step))
            .collect();
        // Half of the seeds are about order alone, without failures.
        let calm = rng.random_bool(0.5);
        for _ in 0..rng.random_range(40..140) {
            let pause = match rng.random_range(0..100) {
                0..70 => rng.random_range(0..6),
                70..92 => rng.random_range(5..300),
                92..99 => rng.random_range(300..4_000),
                _ => rng.random_range(10_000..40_000),
            };
            steps.push((Duration::from_millis(pause), step(&mut rng, calm)));
        }
        Self { steps }
    }
}

fn step(rng: &mut StdRng, calm: bool) -> Step {
    let device = rng.random_range(0..DEVICES);
    let room = rng.random_range(0..ROOMS);
    match rng.random_range(0..100) {
        0..8 => Step::Connect(device),
        8..13 => Step::Lose(device),
        13..15 => Step::Close(device),
        15..23 => Step::Join { device, room, forget: rng.random_bool(0.2) },
        23..28 => Step::JoinAll(device),
        28..31 => Step::Part { device, room },
        31..59 => Step::Post { device, room, large: rng.random_bool(0.3), repeat: rng.random_bool(0.15) },
        59..66 => Step::Change { device, delete: rng.random_bool(0.4) },
        66..69 => Step::Read { device, room },
        69..79 => Step::Type { device, room, on: rng.random_bool(0.7) },
        79..83 => Step::Member { device, add: rng.random_bool(0.6) },
        83..88 => Step::Deaf { device, deaf: rng.random_bool(0.4) },
        88..90 => Step::Nonsense(device),
        90..94 if !calm => Step::Trouble(rng.random_bool(0.6)),
        94..99 if !calm => {
            const ACTORS: [&str; 6] = ["room", "hub", "sequencer", "connection", "presence", "announce"];
            Step::Fail(ACTORS[rng.random_range(0..ACTORS.len())], rng.random_range(0..12))
        }
        _ => Step::Wait,
    }
}
