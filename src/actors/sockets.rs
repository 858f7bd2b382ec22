//! How many sockets there are, of this process, of each address and of each user.

use crate::domain::UserId;
use crate::limits::Address;
use dashmap::DashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts, shared by all worker threads.
#[derive(Debug, Default)]
pub struct Sockets {
    all: AtomicUsize,
    by_address: DashMap<Address, usize>,
    by_user: DashMap<UserId, usize>,
}

/// A place for a socket whose owner isn't known yet; dropping it counts down.
#[derive(Debug)]
pub struct SocketPlace {
    sockets: Arc<Sockets>,
    address: Option<Address>,
}

/// One counted socket; dropping it counts down.
#[derive(Debug)]
pub struct SocketPermit {
    place: SocketPlace,
    user: UserId,
}

/// Why a socket is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    OfProcess,
    OfAddress,
    OfUser,
}

impl Sockets {
    /// Counts a socket from `address`, within the limits of the process and of each address; 0 of those means no limit.
    pub fn reserve(
        self: &Arc<Self>,
        address: Option<Address>,
        limit: usize,
        per_address: usize,
    ) -> Result<SocketPlace, TooMany> {
        if self.all.fetch_add(1, Ordering::AcqRel) >= limit {
            self.all.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany::OfProcess);
        }
        let address = address.filter(|_| per_address > 0);
        if let Some(address) = address
            && !count_up(&self.by_address, address, per_address)
        {
            self.all.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany::OfAddress);
        }
        Ok(SocketPlace { sockets: Arc::clone(self), address })
    }

    /// Users with at least one socket.
    pub fn users(&self) -> usize {
        self.by_user.len()
    }

    /// Sockets of this process.
    pub fn count(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }
}

impl SocketPlace {
    /// The socket is the user's, who may have `per_user`.
    pub fn of(self, user: UserId, per_user: usize) -> Result<SocketPermit, TooMany> {
        if count_up(&self.sockets.by_user, user, per_user) {
            Ok(SocketPermit { place: self, user })
        } else {
            Err(TooMany::OfUser)
        }
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.sockets.all.fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = self.address {
            count_down(&self.sockets.by_address, address);
        }
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        count_down(&self.place.sockets.by_user, self.user);
    }
}

fn count_up<K: Eq + Hash>(counts: &DashMap<K, usize>, key: K, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    let mut own = counts.entry(key).or_insert(0);
    let fits = *own < limit;
    *own += usize::from(fits);
    fits
}

fn count_down<K: Copy + Eq + Hash>(counts: &DashMap<K, usize>, key: K) {
    if let Some(mut own) = counts.get_mut(&key) {
        *own -= 1;
    }
    counts.remove_if(&key, |_, own| *own == 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::limits::Limits;

    #[test]
    fn counts_up_to_the_limits_and_down_to_nothing() {
        let sockets = Arc::new(Sockets::default());
        let (ann, bob) = (UserId::new(1), UserId::new(2));
        let admit = |user| sockets.reserve(None, 3, 0).and_then(|place| place.of(user, 2));
        let first = admit(ann).expect("admitted");
        let _second = admit(ann).expect("admitted");
        assert_eq!(admit(ann).err(), Some(TooMany::OfUser));
        let _third = admit(bob).expect("admitted");
        assert_eq!(admit(bob).err(), Some(TooMany::OfProcess));
        drop(first);
        drop(admit(bob).expect("admitted again"));
        drop((_second, _third));
        assert_eq!(sockets.count(), 0);
        assert!(sockets.by_user.is_empty());
    }

    #[tokio::test]
    async fn an_address_has_its_own_count() {
        let limits = Limits::new(&config::Limits::default());
        let [here, there] = [1, 2].map(|n| limits.address([192, 0, 2, n].into()));
        let sockets = Arc::new(Sockets::default());
        let one = sockets.reserve(here, 9, 1).expect("admitted");
        assert_eq!(sockets.reserve(here, 9, 1).err(), Some(TooMany::OfAddress));
        let other = sockets.reserve(there, 9, 1).expect("admitted");
        let unlimited = sockets.reserve(here, 9, 0).expect("admitted");
        drop((one, other, unlimited));
        assert_eq!(sockets.count(), 0);
        assert!(sockets.by_address.is_empty());
    }
}
