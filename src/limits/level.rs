//! The levels of load, and the pure rule by which one follows from the other (LIM-12).

/// How far the process spares itself; each level includes those before it, but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Normal,
    /// Typing and presence aren't told.
    ShedSignals,
    /// No new sockets, long polls and sign-ins besides.
    RefuseNew,
    /// The store takes no writes: they are refused, all else goes on.
    ReadOnly,
}

impl Level {
    /// Every level, the closed set of `/ready` and the metrics.
    pub const ALL: [Self; 4] = [Self::Normal, Self::ShedSignals, Self::RefuseNew, Self::ReadOnly];

    /// The name in `/ready`, the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ShedSignals => "shed_signals",
            Self::RefuseNew => "refuse_new",
            Self::ReadOnly => "read_only",
        }
    }
}

/// What presses on the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    None,
    Some,
    Much,
}

/// What was measured. Fills are in thousandths of what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Resident bytes; none where the system doesn't tell.
    pub memory: Option<u64>,
    pub memory_soft: u64,
    pub memory_hard: u64,
    /// Commands waiting for the writer.
    pub writes: u64,
    /// Messages waiting for the fullest hub.
    pub hubs: u64,
}

/// From this fill of a queue on the pressure is some.
const QUEUE_SOFT: u64 = 500;
/// From this fill on it is much.
const QUEUE_HARD: u64 = 900;
/// A level is left only below this part of its mark, so that it doesn't flap.
const LEAVE: u64 = 900;

impl Reading {
    /// The pressure, after it was `before`.
    pub fn pressure(&self, before: Pressure) -> Pressure {
        let soft = self.share(self.memory_soft, QUEUE_SOFT);
        let hard = self.share(self.memory_hard, QUEUE_HARD);
        let reached = |share: u64, level: Pressure| share >= if before >= level { LEAVE } else { 1000 };
        if reached(hard, Pressure::Much) {
            Pressure::Much
        } else if reached(soft, Pressure::Some) {
            Pressure::Some
        } else {
            Pressure::None
        }
    }

    /// How close the closest is to its mark, in thousandths of the mark.
    fn share(&self, memory: u64, queue: u64) -> u64 {
        let of = |amount: u64, mark: u64| amount.saturating_mul(1000).checked_div(mark).unwrap_or_default();
        let memory = self.memory.map_or(0, |resident| of(resident, memory));
        memory.max(of(self.writes, queue)).max(of(self.hubs, queue))
    }
}

/// `amount` in thousandths of `most`.
pub(crate) fn fill(amount: usize, most: usize) -> u64 {
    u64::try_from(amount.saturating_mul(1000).checked_div(most).unwrap_or_default()).unwrap_or(u64::MAX)
}

impl Pressure {
    /// The level it makes, when the store can or can't be written.
    pub const fn level(self, writable: bool) -> Level {
        match self {
            _ if !writable => Level::ReadOnly,
            Self::None => Level::Normal,
            Self::Some => Level::ShedSignals,
            Self::Much => Level::RefuseNew,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALM: Reading =
        Reading { memory: Some(10), memory_soft: 1000, memory_hard: 2000, writes: 0, hubs: 0 };

    /// Proves LIM-10, LIM-12.
    #[test]
    fn each_level_is_reached_and_left_again() {
        let at = |memory, before| Reading { memory: Some(memory), ..CALM }.pressure(before);
        assert_eq!(at(999, Pressure::None), Pressure::None);
        assert_eq!(at(1000, Pressure::None), Pressure::Some);
        assert_eq!(at(900, Pressure::Some), Pressure::Some, "not at once");
        assert_eq!(at(899, Pressure::Some), Pressure::None);
        assert_eq!(at(2000, Pressure::None), Pressure::Much);
        assert_eq!(at(1800, Pressure::Much), Pressure::Much);
        assert_eq!(at(1799, Pressure::Much), Pressure::Some);
        assert_eq!(at(10, Pressure::Much), Pressure::None);
        let queue = |writes, before| Reading { writes, ..CALM }.pressure(before);
        assert_eq!(queue(499, Pressure::None), Pressure::None);
        assert_eq!(queue(500, Pressure::None), Pressure::Some);
        assert_eq!(queue(900, Pressure::None), Pressure::Much);
        assert_eq!(Reading { hubs: 900, ..CALM }.pressure(Pressure::None), Pressure::Much);
        assert_eq!(Pressure::Much.level(false), Level::ReadOnly);
        assert_eq!(Reading { memory: None, ..CALM }.pressure(Pressure::Much), Pressure::None);
    }

    proptest! {
        /// More load never makes a lower level, and the same reading twice is the same level: it can't flap by itself.
        #[test]
        fn it_is_steady_and_follows_the_load(
            memory in 0_u64..3_000, more in 0_u64..1_000, writes in 0_u64..1_000, before in 0_usize..3,
        ) {
            let before = [Pressure::None, Pressure::Some, Pressure::Much][before];
            let reading = Reading { memory: Some(memory), writes, ..CALM };
            let after = reading.pressure(before);
            prop_assert_eq!(reading.pressure(after), after);
            let heavier = Reading { memory: Some(memory + more), ..reading };
            prop_assert!(heavier.pressure(before) >= after);
        }
    }
}
