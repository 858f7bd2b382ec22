//! Who owns moving state: rooms, connections, hubs, the sequencer, presence. Asks go down the street only; upward it is
//! fire and forget.

pub mod actions;
pub mod admission;
pub mod answers;
pub mod bans;
pub mod bus;
pub mod cleaner;
pub mod clock;
pub mod connection;
pub mod courier;
pub mod ending;
pub mod hub;
pub mod inference;
pub mod load;
pub mod outbox;
pub mod peer;
pub mod presence;
pub mod reconciler;
pub mod registries;
pub mod registry;
pub mod reply;
pub mod room;
pub mod sequencer;
#[cfg(test)]
pub(crate) mod simulation;
pub mod sockets;
pub mod turn;
pub mod watch;

pub use bus::Bus;
pub use ending::Ended;
