//! The networks that are shut out, in memory: every request is looked at before anything else is done for it.

use super::bus::Bus;
use super::hub::HubMsg;
use crate::domain::Network;
use crate::storage::{Store, StoreError};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How long a ban made by another process may go unnoticed.
const EVERY: Duration = Duration::from_secs(3);

/// As the store had them last. As many as there are rows: bounded by the addresses of a ban and by what admins do.
#[derive(Debug, Default)]
pub struct Bans {
    networks: RwLock<HashSet<Network>>,
    /// One reads at a time, so that nothing older takes the place of something newer.
    reading: tokio::sync::Mutex<()>,
}

impl Bans {
    /// Whether anybody is shut out at all.
    pub fn is_empty(&self) -> bool {
        self.networks.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether nothing is taken from this address.
    pub fn shut_out(&self, address: Option<IpAddr>) -> bool {
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        address.and_then(Network::of).is_some_and(|network| networks.contains(&network))
    }

    /// Reads them anew; whether there are some that weren't there before.
    pub async fn load(&self, store: &Store) -> Result<bool, StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        let networks = store.banned_networks().await?;
        let mut known = self.networks.write().unwrap_or_else(PoisonError::into_inner);
        let has_more = !networks.is_subset(&known);
        *known = networks;
        Ok(has_more)
    }
}

impl Bus {
    /// Reads the bans anew after one was made or lifted. It is done even if whoever asked for it goes.
    pub async fn learn_bans(&self) {
        let bus = self.clone();
        let load = actix_rt::spawn(async move { bus.keep_up_with_bans().await });
        if let Ok(Err(error)) = load.await {
            tracing::warn!(%error, "bans can't be read; tried again soon");
        }
    }

    /// Reads the bans anew. Whoever is connected from a network that is shut out now is sent away.
    async fn keep_up_with_bans(&self) -> Result<(), StoreError> {
        if self.bans().load(self.rooms().store()).await? {
            for hub in self.rooms().hubs() {
                hub.tell(HubMsg::ShutOut(Arc::clone(self.bans())));
            }
            // Wakes the long polls, which look whether it is theirs.
            self.rooms().committed(Arc::from([]));
            self.settled().await;
        }
        Ok(())
    }
}

/// Keeps up with what other processes do, and with what couldn't be read when it was done.
pub async fn watch(bus: Bus) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = bus.keep_up_with_bans().await {
            tracing::debug!(%error, "bans can't be read");
        }
    }
}
