//! One breaker for each endpoint and model (AI-13).

use crate::config::Ai;
use crate::inference::breaker::{Breaker, Ended, Limits, Permit, Refused, State};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Endpoints that are remembered (count); over it those that are well are forgotten.
const MOST: usize = 1000;

/// An endpoint with its breaker, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerState {
    pub base_url: String,
    pub model: String,
    pub state: &'static str,
}

/// See the module.
pub(super) struct Breakers {
    limits: Limits,
    of: Mutex<HashMap<(String, String), Breaker>>,
}

impl Breakers {
    pub(super) fn new(ai: &Ai) -> Self {
        Self { limits: Limits::from(ai), of: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<(String, String), Breaker>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for one request.
    pub(super) fn admit(&self, endpoint: &(String, String)) -> Result<Permit, Refused> {
        let now = Instant::now();
        let mut of = self.locked();
        if of.len() >= MOST && !of.contains_key(endpoint) {
            of.retain(|_, breaker| breaker.state(now) != State::Closed);
        }
        of.entry(endpoint.clone()).or_insert_with(|| Breaker::new(self.limits)).admit(now)
    }

    /// Hears how it ended; gives for how long nobody is let through now, if that changed.
    pub(super) fn settle(
        &self,
        endpoint: &(String, String),
        permit: Permit,
        ended: Ended,
    ) -> Option<Result<(), Refused>> {
        let now = Instant::now();
        let mut of = self.locked();
        let breaker = of.get_mut(endpoint)?;
        let before = breaker.state(now);
        breaker.settle(permit, ended, now);
        (breaker.state(now) != before).then(|| breaker.look(now))
    }

    /// All of them.
    pub(super) fn states(&self) -> Vec<BreakerState> {
        let now = Instant::now();
        let state = |((base_url, model), breaker): (&(String, String), &Breaker)| BreakerState {
            base_url: base_url.clone(),
            model: model.clone(),
            state: breaker.state(now).as_str(),
        };
        let mut states: Vec<BreakerState> = self.locked().iter().map(state).collect();
        states.sort_unstable_by(|a, b| (&a.base_url, &a.model).cmp(&(&b.base_url, &b.model)));
        states
    }
}
