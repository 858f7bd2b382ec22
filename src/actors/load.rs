//! How heavily the process is loaded, and what it does about it: signals are left out first, then new sockets are refused;
//! a store that can't be written makes commands `read_only`. What was accepted is never dropped (CONN-22, LIM-12).

use super::bus::Bus;
use super::hub::HubMsg;
use crate::config;
use crate::domain::RoomId;
use crate::limits::{Level, Pressure, Reading};
use crate::storage::StoreError;
use crate::telemetry::{metrics, process};
use dashmap::DashSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// What everybody may ask; shared by all threads.
pub struct Load {
    /// A [`Pressure`], as a number.
    pressure: AtomicU8,
    /// Failed commits in a row.
    failures: AtomicU32,
    read_only: AtomicBool,
    /// Failed commits in a row that make it read-only; 0: none do.
    most_failures: u32,
    /// Rooms whose subscribers missed a signal that nothing makes up for: one per room in memory at most.
    stale: DashSet<RoomId>,
}

impl Load {
    /// No load.
    pub fn new(config: &config::Load) -> Self {
        Self {
            pressure: AtomicU8::new(0),
            failures: AtomicU32::new(0),
            read_only: AtomicBool::new(false),
            most_failures: config.store_failures,
            stale: DashSet::new(),
        }
    }

    fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Some,
            _ => Pressure::Much,
        }
    }

    fn set_pressure(&self, pressure: Pressure) {
        let number = match pressure {
            Pressure::None => 0,
            Pressure::Some => 1,
            Pressure::Much => 2,
        };
        self.pressure.store(number, Ordering::Release);
    }

    /// The level, as operators see it.
    pub fn level(&self) -> Level {
        self.pressure().level(!self.is_read_only())
    }

    /// Whether signals are left out.
    pub fn sheds_signals(&self) -> bool {
        self.pressure() >= Pressure::Some
    }

    /// Whether a signal that nothing makes up for is left out; if so the room's subscribers resync once the load is over.
    pub fn sheds_vital(&self, room: RoomId) -> bool {
        let sheds = self.sheds_signals();
        if sheds {
            self.stale.insert(room);
        }
        sheds
    }

    /// Whether new sockets are refused.
    pub fn refuses_new(&self) -> bool {
        self.pressure() >= Pressure::Much
    }

    /// Whether nothing is written.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// A commit failed. A defect or a full queue says nothing about the store's health.
    pub fn store_failed(&self, error: &StoreError) {
        if !error.is_transient() || matches!(error, StoreError::Full) || self.most_failures == 0 {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if failures >= self.most_failures {
            self.read_only.store(true, Ordering::Release);
        }
    }

    /// A commit was done.
    pub fn store_worked(&self) {
        self.failures.store(0, Ordering::Release);
        self.read_only.store(false, Ordering::Release);
    }
}

/// Looks at memory and queues.
pub struct Watch {
    bus: Bus,
    soft: u64,
    hard: u64,
    told: Level,
}

impl Watch {
    /// Has looked once: who is asked from here on says how it is.
    pub fn begin(bus: Bus) -> Self {
        let config = &bus.rooms().config().load;
        let limit = process::memory_limit().unwrap_or(u64::MAX);
        let mark = |bytes: u64, percent: u64| if bytes > 0 { bytes } else { limit / 100 * percent };
        let (soft, hard) = (mark(config.memory_soft_bytes, 70), mark(config.memory_hard_bytes, 85));
        let mut watch = Self { bus, soft, hard, told: Level::Normal };
        watch.look();
        watch
    }

    /// Goes on for as long as the process lives.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(self.bus.rooms().config().load.sample);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let (writes, hubs) = self.bus.fills();
        let memory = process::resident_memory();
        let reading = Reading { memory, memory_soft: self.soft, memory_hard: self.hard, writes, hubs };
        let load = self.bus.load();
        load.set_pressure(reading.pressure(load.pressure()));
        if !load.sheds_signals() {
            make_up(&self.bus);
        }
        let level = load.level();
        if level != self.told {
            tell(self.told, level, &reading);
            self.told = level;
        }
    }
}

/// Those who missed what nothing makes up for subscribe again, and get it with the snapshot.
fn make_up(bus: &Bus) {
    let stale = &bus.load().stale;
    let rooms: Vec<RoomId> = stale.iter().map(|room| *room).collect();
    for room in rooms {
        stale.remove(&room);
        for hub in bus.rooms().hubs() {
            hub.tell(HubMsg::StartAnew { room });
        }
    }
}

fn tell(from: Level, to: Level, reading: &Reading) {
    let number = Level::ALL.iter().position(|level| *level == to).unwrap_or_default();
    metrics::load_level(to.as_str(), u8::try_from(number).unwrap_or_default());
    let Reading { memory, writes, hubs, .. } = *reading;
    let (from, level) = (from.as_str(), to.as_str());
    if to == Level::Normal {
        tracing::info!(level, from, memory, writes, hubs, "the load is over");
    } else {
        tracing::warn!(level, from, memory, writes, hubs, "the level of load changed");
    }
}

/// Tries a store that failed until it can be written again: nobody else would find out.
pub async fn probe(bus: Bus) {
    let mut tick = tokio::time::interval(bus.rooms().config().load.probe);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !bus.load().is_read_only() {
            continue;
        }
        match bus.rooms().store().probe().await {
            Ok(()) => bus.load().store_worked(),
            Err(error) => tracing::debug!(%error, "the store still can't be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> StoreError {
        StoreError::Unavailable("gone".to_owned())
    }

    /// Proves LIM-12.
    #[test]
    fn failed_commits_in_a_row_make_it_read_only_and_one_done_ends_it() {
        let load = Load::new(&config::Load::default());
        for _ in 0..2 {
            load.store_failed(&gone());
            load.store_failed(&gone());
            assert_eq!(load.level(), Level::Normal);
            load.store_worked();
        }
        for _ in 0..10 {
            load.store_failed(&StoreError::Full);
            load.store_failed(&StoreError::Conflict("a defect".to_owned()));
        }
        assert_eq!(load.level(), Level::Normal);
        for _ in 0..3 {
            load.store_failed(&gone());
        }
        assert_eq!(load.level(), Level::ReadOnly);
        assert!(!load.refuses_new() && !load.sheds_signals(), "all else goes on");
        load.store_worked();
        assert_eq!(load.level(), Level::Normal);
        let never = Load::new(&config::Load { store_failures: 0, ..config::Load::default() });
        (0..100).for_each(|_| never.store_failed(&gone()));
        assert_eq!(never.level(), Level::Normal);
    }

    #[test]
    fn what_was_left_out_is_remembered() {
        let load = Load::new(&config::Load::default());
        let room = RoomId::new(1);
        assert!(!load.sheds_vital(room) && load.stale.is_empty());
        load.set_pressure(Pressure::Some);
        assert!(load.sheds_vital(room) && load.sheds_vital(room));
        assert_eq!(load.stale.len(), 1);
    }
}
