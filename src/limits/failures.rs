//! Guessing: failed sign-ins by account and by address, wrong codes and links by address. Each attempt takes its place before it is
//! known how it ends, so that however many come at once no more get through, and gives it back when it succeeds.
//!
//! Strangers can't lock anybody out: where an account was signed in from before, its attempts are counted apart.

use super::{Address, Limits};
use crate::domain::{Rejection, UserId};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use tokio::time::Instant;

/// What an attempt took. Kept by one that fails.
#[derive(Debug)]
#[must_use = "an attempt that succeeded gives back what it took"]
pub struct Attempt {
    address: Option<Address>,
    account: Option<Account>,
}

/// Whose password is guessed, and where that is counted: half of a digest, so that no address of anybody is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Account(u128);

impl Account {
    fn of(kind: &str, who: &[u8], from: Option<Address>) -> Self {
        let mut digest = Sha256::new();
        digest.update(kind);
        digest.update(u64::try_from(who.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(who);
        if let Some(Address(bits)) = from {
            digest.update(bits.to_be_bytes());
        }
        let digest: [u8; 32] = digest.finalize().into();
        Self(digest.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte)))
    }
}

impl Limits {
    /// Somebody shows a code or a link that may be wrong.
    pub fn guess(&self, from: Option<IpAddr>, now: Instant) -> Result<Attempt, Rejection> {
        let address = from.and_then(|from| self.address(from));
        if let Some(address) = address {
            let taken = self.address_failures.take(address, 1, self.nanos(now));
            taken.map_err(|wait| Rejection::rate_limited("failed attempts from this address", wait))?;
        }
        Ok(Attempt { address, account: None })
    }

    /// The same attempt, with a password for the account of `email`, whether there is one or not. `familiar`: it was signed in from there before.
    pub fn for_account(
        &self,
        attempt: Attempt,
        email: &str,
        familiar: Option<IpAddr>,
        now: Instant,
    ) -> Result<Attempt, Rejection> {
        self.for_key(attempt, Account::of("email", email.as_bytes(), familiar.map(Address::of)), now)
    }

    /// The same attempt, with the password of somebody who is signed in.
    pub fn for_user(&self, attempt: Attempt, user: UserId, now: Instant) -> Result<Attempt, Rejection> {
        self.for_key(attempt, Account::of("user", &user.get().to_be_bytes(), None), now)
    }

    fn for_key(&self, attempt: Attempt, account: Account, now: Instant) -> Result<Attempt, Rejection> {
        match self.account_failures.take(account, 1, self.nanos(now)) {
            Ok(()) => Ok(Attempt { account: Some(account), ..attempt }),
            Err(wait) => {
                // It was not even tried.
                self.succeeded(attempt, now);
                Err(Rejection::rate_limited("failed attempts to sign in", wait))
            }
        }
    }

    /// Whether one more refusal of this link is worth telling: of one link there are as many as failed sign-ins of an account, whoever shows it.
    pub fn is_told_of(&self, link_hash: &[u8; 32], now: Instant) -> bool {
        let link = Account::of("link", link_hash, None);
        self.account_failures.take(link, 1, self.nanos(now)).is_ok()
    }

    /// The attempt was no guess: it counts for nothing.
    pub fn succeeded(&self, attempt: Attempt, now: Instant) {
        self.give_back(&attempt, now);
    }

    /// The same for one that could not even be tried. It isn't to be used any more.
    pub fn give_back(&self, Attempt { address, account }: &Attempt, now: Instant) {
        let now = self.nanos(now);
        if let Some(address) = *address {
            self.address_failures.give_back(address, 1, now);
        }
        if let Some(account) = *account {
            self.account_failures.give_back(account, 1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::domain::RejectionCode;
    use std::time::Duration;

    fn ip(n: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, n]))
    }

    fn tries(limits: &Limits, from: u8, email: &str, familiar: bool, now: Instant) -> Option<Attempt> {
        let attempt = limits.guess(ip(from), now).ok()?;
        limits.for_account(attempt, email, ip(from).filter(|_| familiar), now).ok()
    }

    fn limits() -> Limits {
        Limits::new(&config::Limits { account_failures: 3, address_failures: 5, ..config::Limits::default() })
    }

    #[tokio::test]
    async fn strangers_use_up_their_own_bucket_and_not_the_owners() {
        let (limits, now) = (limits(), Instant::now());
        let failed = (1..100).filter(|n| tries(&limits, *n, "ann@x", false, now).is_some()).count();
        assert_eq!(failed, 3, "all strangers together");
        assert!(tries(&limits, 1, "nobody@x", false, now).is_some(), "another account");
        for _ in 0..3 {
            assert!(tries(&limits, 200, "ann@x", true, now).is_some(), "where she was before");
        }
        assert!(tries(&limits, 200, "ann@x", true, now).is_none(), "and there not without end");
        assert!(tries(&limits, 201, "ann@x", true, now).is_some(), "each such address by itself");
    }

    #[tokio::test]
    async fn an_address_has_few_guesses_whatever_it_guesses() {
        let (limits, now) = (limits(), Instant::now());
        let tried = (0..100).filter(|n| tries(&limits, 1, &format!("{n}@x"), false, now).is_some()).count();
        assert_eq!(tried, 5);
        let refused = limits.guess(ip(1), now).expect_err("codes are counted with them");
        assert_eq!(refused.code, RejectionCode::RateLimited);
        let wait = refused.retry_after.expect("a wait");
        assert!(limits.guess(ip(1), now + wait - Duration::from_millis(1)).is_err());
        assert!(limits.guess(ip(1), now + wait).is_ok());
        assert!(limits.guess(ip(2), now).is_ok());
    }

    #[tokio::test]
    async fn who_succeeds_is_never_counted_and_who_was_not_tried_neither() {
        let (limits, now) = (limits(), Instant::now());
        for _ in 0..100 {
            let attempt = tries(&limits, 1, "ann@x", false, now).expect("admitted");
            limits.succeeded(attempt, now);
        }
        for _ in 0..3 {
            assert!(tries(&limits, 2, "ann@x", false, now).is_some());
        }
        for _ in 0..100 {
            assert!(tries(&limits, 1, "ann@x", false, now).is_none());
        }
        assert!(tries(&limits, 1, "bob@x", false, now).is_some(), "the address is as it was");
        let parallel: Vec<_> = (0..100).filter_map(|_| limits.guess(ip(9), now).ok()).collect();
        assert_eq!(parallel.len(), 5, "before any of them has ended");
    }

    #[tokio::test]
    async fn of_one_link_only_so_many_refusals_are_told() {
        let (limits, now) = (limits(), Instant::now());
        let told = |link: u8| (0..100).filter(|_| limits.is_told_of(&[link; 32], now)).count();
        assert_eq!((told(1), told(2), told(1)), (3, 3, 0));
        assert!(tries(&limits, 1, "ann@x", false, now).is_some(), "no account is the worse for it");
    }

    #[tokio::test]
    async fn what_is_signed_in_is_counted_apart_and_all_is_forgotten() {
        let (limits, now) = (limits(), Instant::now());
        let user = |now| limits.for_user(limits.guess(None, now).expect("no address"), UserId::new(1), now);
        assert_eq!((0..10).filter(|_| user(now).is_ok()).count(), 3);
        let email = tries(&limits, 1, "1", false, now);
        assert!(email.is_some());
        limits.sweep(now + Duration::from_secs(100_000));
        assert!(limits.reports().iter().all(|report| report.keys == 0), "{:?}", limits.reports());
    }
}
