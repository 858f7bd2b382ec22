//! Who owns moving state: rooms, connections, hubs, the sequencer, presence. Asks go down the street only; upward it is
//! fire and forget.

pub mod bus;
pub mod census;
pub mod connection;
pub mod hub;
pub mod outbox;
pub mod peer;
pub mod presence;
pub mod registry;
pub mod reply;
pub mod room;
pub mod sequencer;
pub mod sockets;
pub mod turn;
pub mod watch;

pub use bus::{Bus, Ended};
