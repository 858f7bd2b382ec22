//! How many sockets there are, of this process and of each user.

use crate::domain::UserId;
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts, shared by all worker threads.
#[derive(Debug, Default)]
pub struct Sockets {
    all: AtomicUsize,
    by_user: DashMap<UserId, usize>,
}

/// One counted socket; dropping it counts down.
#[derive(Debug)]
pub struct SocketPermit {
    sockets: Arc<Sockets>,
    user: UserId,
}

/// Why a socket is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    OfProcess,
    OfUser,
}

impl Sockets {
    /// Counts a socket of `user`, within both limits.
    pub fn admit(
        self: &Arc<Self>,
        user: UserId,
        limit: usize,
        per_user: usize,
    ) -> Result<SocketPermit, TooMany> {
        if self.all.fetch_add(1, Ordering::AcqRel) >= limit {
            self.all.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany::OfProcess);
        }
        let mut own = self.by_user.entry(user).or_insert(0);
        if *own >= per_user {
            self.all.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany::OfUser);
        }
        *own += 1;
        Ok(SocketPermit { sockets: Arc::clone(self), user })
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

impl Drop for SocketPermit {
    fn drop(&mut self) {
        self.sockets.all.fetch_sub(1, Ordering::AcqRel);
        if let Some(mut own) = self.sockets.by_user.get_mut(&self.user) {
            *own -= 1;
        }
        self.sockets.by_user.remove_if(&self.user, |_, own| *own == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_the_limits_and_down_to_nothing() {
        let sockets = Arc::new(Sockets::default());
        let (ann, bob) = (UserId::new(1), UserId::new(2));
        let first = sockets.admit(ann, 3, 2).expect("admitted");
        let _second = sockets.admit(ann, 3, 2).expect("admitted");
        assert_eq!(sockets.admit(ann, 3, 2).err(), Some(TooMany::OfUser));
        let _third = sockets.admit(bob, 3, 2).expect("admitted");
        assert_eq!(sockets.admit(bob, 3, 2).err(), Some(TooMany::OfProcess));
        drop(first);
        drop(sockets.admit(bob, 3, 2).expect("admitted again"));
        drop((_second, _third));
        assert_eq!(sockets.count(), 0);
        assert!(sockets.by_user.is_empty());
    }
}
