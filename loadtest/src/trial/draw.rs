//! Draws a plan from its seed: the same seed is the same plan.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fault::{Fault, FaultKind};
use super::options::Options;
use super::plan::{Action, Door, Plan, PlannedDevice, PlannedFault, PlannedPost, PlannedRoom, Step};

/// Rooms that may be made on the way.
const SLOTS: usize = 3;
/// Listeners that are a second device of an acting user.
const SECOND_DEVICES: usize = 2;

impl Plan {
    pub fn new(options: &Options) -> Plan {
        let mut draw = Draw { rng: StdRng::seed_from_u64(options.seed), options, posts: 0 };
        let clients = options.clients.max(1);
        let users = clients + options.listeners.saturating_sub(draw.second_devices());
        let bots = (0..clients).filter(|client| client % 5 == 4).collect();
        let rooms = (0..options.rooms.max(1)).map(|room| draw.room(room, users)).collect();
        let mut devices: Vec<PlannedDevice> = (0..clients).map(|client| draw.client(client, users)).collect();
        devices.extend((0..options.listeners).map(|listener| draw.listener(listener)));
        let slots = if options.posts_only { 0 } else { SLOTS };
        let mut plan =
            Plan { options: options.clone(), rooms, slots, bots, users, devices, faults: Vec::new() };
        plan.faults = draw.faults(plan.weight());
        plan
    }
}

struct Draw<'a> {
    rng: StdRng,
    options: &'a Options,
    posts: usize,
}

impl Draw<'_> {
    fn second_devices(&self) -> usize {
        if self.options.posts_only { 0 } else { SECOND_DEVICES.min(self.options.listeners) }
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end.max(1))
    }

    /// Every third room is closed, with most people in it.
    fn room(&mut self, room: usize, users: usize) -> PlannedRoom {
        let closed = !self.options.posts_only && room % 3 == 2;
        let members = (0..users).filter(|_| closed && self.rng.random_bool(0.7)).collect();
        PlannedRoom { closed, members }
    }

    fn client(&mut self, client: usize, users: usize) -> PlannedDevice {
        let clients = self.options.clients.max(1);
        let mut left = self.options.actions / clients + usize::from(client < self.options.actions % clients);
        let door = match (client % 5, client / 5 % 2) {
            (3, _) | (4, 0) => Door::Rest,
            _ => Door::Socket,
        };
        let mut steps = Vec::new();
        while left > 0 {
            let action = self.action(client, users, left);
            left -= action.weight().min(left);
            steps.push(Step { pause_ms: self.pause(), action });
        }
        PlannedDevice {
            user: client,
            door,
            listens: door == Door::Socket && !self.options.posts_only,
            narrow: client.is_multiple_of(3),
            drop_after: 0,
            mood: self.rng.random(),
            steps,
        }
    }

    /// A second device acts a little, the others look after themselves.
    fn listener(&mut self, listener: usize) -> PlannedDevice {
        let second = listener < self.second_devices();
        let user =
            if second { listener } else { self.options.clients.max(1) + listener - self.second_devices() };
        let count = match (self.options.posts_only, second) {
            (true, _) => 0,
            (false, true) => self.options.actions / 25,
            (false, false) => self.options.actions / 50,
        };
        let steps = (0..count)
            .map(|_| {
                let action = match self.below(10) {
                    0..=3 => self.mark(),
                    4..=5 if second => self.edit(),
                    6 => Action::Typing { room: self.any_room(), on: self.rng.random_bool(0.7) },
                    7 => Action::Stall { ms: self.rng.random_range(100..1_200) },
                    _ => self.leap(),
                };
                Step { pause_ms: self.pause().saturating_mul(8), action }
            })
            .collect();
        PlannedDevice {
            user,
            door: Door::Socket,
            listens: true,
            narrow: listener.is_multiple_of(2),
            drop_after: self.options.drop_after,
            mood: self.rng.random(),
            steps,
        }
    }

    fn pause(&mut self) -> u64 {
        self.rng.random_range(0..=self.options.pause_ms)
    }

    /// Any room there may ever be.
    fn any_room(&mut self) -> usize {
        let slots = if self.options.posts_only { 0 } else { SLOTS };
        self.below(self.options.rooms.max(1) + slots)
    }

    /// A closed room of the beginning, if there is one.
    fn closed_room(&mut self) -> usize {
        let closed = self.options.rooms / 3;
        if closed == 0 { 0 } else { self.below(closed) * 3 + 2 }
    }

    fn slot(&mut self) -> usize {
        self.options.rooms.max(1) + self.below(SLOTS)
    }

    fn mark(&mut self) -> Action {
        Action::Mark { room: self.any_room(), percent: self.rng.random_range(20..=100) }
    }

    fn edit(&mut self) -> Action {
        Action::Edit { pick: self.rng.random_range(0..1_000), body: self.body("edited") }
    }

    fn leap(&mut self) -> Action {
        Action::Leap { rude: self.rng.random_bool(0.5), away_ms: self.rng.random_range(0..600) }
    }

    fn action(&mut self, client: usize, users: usize, left: usize) -> Action {
        if self.options.posts_only {
            return self.post(client, left);
        }
        match self.below(100) {
            0..=44 => self.post(client, left),
            45..=47 => Action::Again { pick: self.rng.random_range(0..1_000) },
            48 => Action::Reuse { pick: self.rng.random_range(0..1_000) },
            49..=58 => self.edit(),
            59..=62 => Action::Delete { pick: self.rng.random_range(0..1_000) },
            63..=66 => Action::Add { room: self.closed_room(), user: self.below(users) },
            67..=69 => Action::Remove { room: self.closed_room(), user: self.below(users) },
            70 => Action::Leave { room: self.closed_room() },
            71..=72 => Action::Create { room: self.slot(), name: self.name() },
            73..=74 => Action::Rename { room: self.any_room(), name: self.name() },
            75 => Action::DeleteRoom { room: self.slot() },
            76..=83 => self.mark(),
            84..=91 => Action::Typing { room: self.any_room(), on: self.rng.random_bool(0.75) },
            92..=97 => self.leap(),
            _ => Action::Stall { ms: self.rng.random_range(100..1_200) },
        }
    }

    fn post(&mut self, client: usize, left: usize) -> Action {
        let size = self.rng.random_range(1..=self.options.burst.max(1)).min(left);
        let posts = (0..size).map(|_| {
            self.posts += 1;
            // The same words twice are two messages.
            let body = if self.rng.random_bool(0.05) {
                "the same again".to_owned()
            } else {
                self.body(&format!("{client}/{}", self.posts))
            };
            PlannedPost {
                id: uuid::Builder::from_random_bytes(self.rng.random()).into_uuid(),
                room: self.any_room(),
                body,
            }
        });
        Action::Post(posts.collect())
    }

    fn name(&mut self) -> String {
        format!("w{:08x} äöü \"&\"", self.rng.random::<u32>())
    }

    /// Mostly short, sometimes long, with a word nobody else has and what JSON and databases like to trip over.
    fn body(&mut self, about: &str) -> String {
        const SPICES: [&str; 6] =
            ["", " \"quoted\" \\ back", " äöü 漢字", " 🦀👩‍👩‍👧", " ' ; --tab\t", " <b>&amp;</b> '; --"];
        let spice = SPICES.get(self.below(SPICES.len())).copied().unwrap_or_default();
        let word = self.rng.random::<u32>();
        let long = about.contains('/') && self.rng.random_bool(0.1);
        let padding = self.rng.random_range(if long { 500..8_000 } else { 0..40 });
        format!("w{word:08x} {about}{spice} {}", "x".repeat(padding)).trim_end().to_owned()
    }

    /// Away from both ends, where there is little in flight.
    fn faults(&mut self, weight: usize) -> Vec<PlannedFault> {
        let (first, last) = (weight / 20, weight - weight / 20);
        let kinds = &self.options.kinds;
        let count = if kinds.is_empty() { 0 } else { self.options.faults };
        let mut faults = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.rng.random_range(first..last.max(first + 1));
            let drawn = self.rng.random_range(0..kinds.len().max(1));
            let fault = match kinds.get(drawn) {
                None | Some(FaultKind::Kill) => Fault::Kill,
                Some(FaultKind::Restart) => Fault::Restart,
                Some(FaultKind::Freeze) => Fault::Freeze { ms: self.rng.random_range(100..3_000) },
                Some(FaultKind::ClockJump) => {
                    Fault::ClockJump { seconds: self.rng.random_range(-3_600..3_600) }
                }
                Some(FaultKind::DiskFull) => Fault::DiskFull { ms: self.rng.random_range(50..800) },
                Some(FaultKind::SlowSync) => Fault::SlowSync {
                    each_ms: self.rng.random_range(20..200),
                    ms: self.rng.random_range(200..1_000),
                },
                Some(FaultKind::DatabaseRestart) => Fault::DatabaseRestart,
                Some(FaultKind::DatabaseCut) => Fault::DatabaseCut,
            };
            faults.push(PlannedFault { at, fault });
        }
        faults.sort_by_key(|fault| fault.at);
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn posts(plan: &Plan) -> Vec<&PlannedPost> {
        let steps = plan.devices.iter().flat_map(|device| &device.steps);
        let posts = steps.filter_map(|step| match &step.action {
            Action::Post(posts) => Some(posts),
            _ => None,
        });
        posts.flatten().collect()
    }

    #[test]
    fn the_same_seed_is_the_same_plan() {
        let options = Options { actions: 500, ..Options::default() };
        assert_eq!(Plan::new(&options), Plan::new(&options));
        assert_ne!(Plan::new(&options), Plan::new(&Options { seed: 2, ..options.clone() }));
    }

    #[test]
    fn a_plan_of_posts_is_as_large_as_asked() {
        let options = Options { actions: 503, ..Options::kills() };
        let plan = Plan::new(&options);
        let posts = posts(&plan);
        assert_eq!((posts.len(), plan.posts(), plan.weight()), (503, 503, 503));
        assert_eq!(posts.iter().map(|post| post.id).collect::<HashSet<_>>().len(), 503);
        assert!(posts.iter().all(|post| post.room < 10 && !post.body.is_empty() && post.body.len() < 16_384));
        assert_eq!((plan.devices.len(), plan.faults.len(), plan.users), (26, 5, 26));
        assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
        assert!(plan.faults.iter().all(|fault| (25..478).contains(&fault.at) && fault.fault == Fault::Kill));
    }

    #[test]
    fn every_action_and_fault_is_drawn() {
        let kinds = [FaultKind::PROCESS.as_slice(), &FaultKind::SHIM, &FaultKind::DATABASE].concat();
        let options = Options { actions: 4_000, faults: 200, kinds, ..Options::default() };
        let plan = Plan::new(&options);
        let steps = plan.devices.iter().flat_map(|device| &device.steps);
        let actions: HashSet<_> = steps.map(|step| std::mem::discriminant(&step.action)).collect();
        assert_eq!(actions.len(), 15);
        let faults: HashSet<_> =
            plan.faults.iter().map(|fault| std::mem::discriminant(&fault.fault)).collect();
        assert_eq!(faults.len(), 8);
        let doors = plan.devices.iter().filter(|device| device.door == Door::Rest).count();
        assert_eq!((doors, plan.bots.len(), plan.users), (2, 1, 11));
    }

    #[test]
    fn a_plan_survives_being_saved() {
        let plan = Plan::new(&Options::default());
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn the_smallest_plans_are_plans() {
        for actions in [0, 1, 2] {
            let options =
                Options { actions, clients: 0, rooms: 0, burst: 0, listeners: 0, ..Options::default() };
            assert_eq!(Plan::new(&options).devices.len(), 1);
        }
    }
}
