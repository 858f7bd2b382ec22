//! Whether a handshake is let in at all, before anything is read from the store (CONN-21).

use crate::actors::Bus;
use crate::actors::sockets::{SocketPlace, TooMany};
use crate::config::Config;
use crate::domain::{Rejection, RejectionCode};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What an admitted handshake holds.
pub(super) struct Entry {
    /// Its place among the sockets.
    pub(super) place: SocketPlace,
    /// Its turn to read from the store, until its welcome is out.
    pub(super) turn: OwnedSemaphorePermit,
}

/// Lets a handshake in, or sends it away with a delay of its own, so that those sent away together don't come back so.
pub(super) async fn enter(bus: &Bus, config: &Config, from: Option<IpAddr>) -> Result<Entry, Rejection> {
    let (limits, now) = (bus.limits(), Instant::now());
    let later = |why| limits.later(RejectionCode::Overloaded, why, Duration::ZERO);
    must_stay(bus)?;
    if bus.load().refuses_new() {
        return Err(later("the server spares itself"));
    }
    let address = from.and_then(|ip| limits.address(ip));
    if let Some(address) = address {
        limits.address_request(address, now)?;
    }
    let place = bus
        .sockets()
        .reserve(address, config.socket.per_instance, config.limits.address_sockets)
        .map_err(|too_many| match too_many {
            TooMany::OfAddress => limits.later(
                RejectionCode::RateLimited,
                "too many connections from this address",
                Duration::ZERO,
            ),
            TooMany::OfProcess | TooMany::OfUser => later("the server has all the connections it can take"),
        })?;
    // After what is an address's own, so that none uses up what is for all.
    limits.handshake(now)?;
    let turn = bus.admission().enter().await;
    // It may have waited for a while.
    must_stay(bus)?;
    let turn = turn.ok_or_else(|| later("too many connect at once"))?;
    Ok(Entry { place, turn })
}

/// Nothing begins on a server that is on its way out.
fn must_stay(bus: &Bus) -> Result<(), Rejection> {
    if bus.draining() {
        return Err(bus.limits().later(RejectionCode::Unavailable, "the server restarts", Duration::ZERO));
    }
    Ok(())
}
