//! Passwords: argon2id, on threads of their own, so many at a time and no more.

use crate::config::Auth;
use crate::domain::Rejection;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Checked in place of a hash when nobody has the address, so that time doesn't tell. No password fits.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password somebody chose: 8 to 256 characters of whatever kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    const MIN_CHARS: usize = 8;
    const MAX_CHARS: usize = 256;

    /// Checks the length; errors name the field `password`.
    pub fn parse(text: String) -> Result<Self, Rejection> {
        let chars = text.chars().count();
        if chars < Self::MIN_CHARS {
            return Err(Rejection::invalid("password", "is shorter than 8 characters"));
        }
        if chars > Self::MAX_CHARS {
            return Err(Rejection::invalid("password", "is longer than 256 characters"));
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Hashes and checks. Clones share the same permits.
#[derive(Debug, Clone)]
pub struct Hasher {
    /// Who may wait or run: `hash_concurrency` and `hash_queue` together.
    admitted: Arc<Semaphore>,
    /// Who runs.
    running: Arc<Semaphore>,
}

impl Hasher {
    /// With the numbers of `auth`.
    pub fn new(auth: &Auth) -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(auth.hash_concurrency.saturating_add(auth.hash_queue))),
            running: Arc::new(Semaphore::new(auth.hash_concurrency)),
        }
    }

    /// The hash to store, in PHC format with its salt and parameters.
    pub async fn hash(&self, password: Password) -> Result<String, Rejection> {
        self.run(move || hash_now(&password)).await?
    }

    /// Whether `password` is the one behind `hash`; without a hash it takes as long and says no.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Rejection> {
        self.run(move || {
            let matches = verify_now(&password, hash.as_deref().unwrap_or(NOBODYS));
            matches && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let Ok(admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            return Err(Rejection::overloaded());
        };
        let Ok(running) = Arc::clone(&self.running).acquire_owned().await else {
            return Err(Rejection::overloaded());
        };
        // The permits go along: an asker who hangs up doesn't make room before the work is done.
        let permits: [OwnedSemaphorePermit; 2] = [admitted, running];
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permits);
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "password hashing failed");
            Rejection::internal()
        })
    }
}

/// The hash of `password`, computed on this thread: for the command line.
pub fn hash_now(password: &Password) -> Result<String, Rejection> {
    let hashed = argon2().and_then(|argon2| {
        let hash: PasswordHash = argon2.hash_password(password.0.as_bytes()).ok()?;
        Some(hash.to_string())
    });
    hashed.ok_or_else(|| {
        tracing::error!("password hashing failed");
        Rejection::internal()
    })
}

fn verify_now(password: &str, hash: &str) -> bool {
    argon2().is_some_and(|argon2| argon2.verify_password(password.as_bytes(), hash).is_ok())
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_length() {
        for wrong in ["", "1234567", &"x".repeat(257)] {
            let rejection = Password::parse(wrong.to_owned()).expect_err("refused");
            assert_eq!(rejection.field.as_deref(), Some("password"));
        }
        assert!(Password::parse("ééééééé8".to_owned()).is_ok());
        assert!(Password::parse("é".repeat(256)).is_ok());
    }

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let hasher = Hasher::new(&Auth::default());
        let password = Password::parse("correct horse".to_owned()).expect("valid");
        let hash = hasher.hash(password).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify("correct horse".to_owned(), Some(hash.clone())).await, Ok(true));
        assert_eq!(hasher.verify("wrong horse".to_owned(), Some(hash)).await, Ok(false));
        assert_eq!(hasher.verify("correct horse".to_owned(), None).await, Ok(false));
        assert!(PasswordHash::new(NOBODYS).is_ok(), "the stand-in has to cost as much");
    }

    #[tokio::test]
    async fn too_many_at_once_are_told_to_come_back() {
        let hasher = Hasher::new(&Auth { hash_concurrency: 1, hash_queue: 0, ..Auth::default() });
        let (first, second) =
            tokio::join!(hasher.verify("x".to_owned(), None), hasher.verify("x".to_owned(), None));
        assert_eq!(first, Ok(false));
        assert_eq!(second, Err(Rejection::overloaded()));
    }
}
