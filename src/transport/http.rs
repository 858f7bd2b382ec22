//! The REST API: bots and scripts, and the web client beside its socket (PROTOCOL.md section 4).

mod account;
mod around;
mod bots;
pub(super) mod call;
mod enter;
mod events;
mod idempotency;
mod messages;
mod people;
mod poll;
pub mod problem;
mod query;
mod rooms;
pub(super) mod route;
mod search;
mod sessions;
mod signing_in;
mod view;

pub use around::provenance;

use super::{assets, ops};
use crate::actors::bus::Bus;
use crate::auth::password::Hasher;
use crate::config::Config;
use crate::domain::{Rejection, RejectionCode, Timestamp};
use crate::storage::Store;
use actix_web::middleware::from_fn;
use actix_web::web;
use chrono::Utc;
use problem::{Answer, Problem};
use route::at;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What handlers work with; clones share it.
#[derive(Clone)]
pub struct State {
    pub store: Store,
    pub bus: Bus,
    pub config: Arc<Config>,
    pub hasher: Hasher,
    /// Long polls that may still wait.
    polls: Arc<Semaphore>,
}

impl State {
    /// Puts it together.
    pub fn new(store: Store, bus: Bus, config: Arc<Config>) -> Self {
        let hasher = Hasher::new(&config.auth);
        let polls = Arc::new(Semaphore::new(config.polling.waiting));
        Self { store, bus, config, hasher, polls }
    }

    /// Refuses what would last, on a server that is on its way out.
    fn must_stay(&self) -> Result<(), Rejection> {
        if self.bus.draining() {
            return Err(self.later(RejectionCode::Unavailable, "the server restarts"));
        }
        Ok(())
    }

    /// Refuses new work that costs a lot, while the server spares itself (CONN-22).
    fn must_have_room(&self) -> Result<(), Rejection> {
        if self.bus.load().refuses_new() {
            return Err(self.later(RejectionCode::Overloaded, "the server spares itself"));
        }
        Ok(())
    }

    fn later(&self, code: RejectionCode, why: &'static str) -> Rejection {
        self.bus.limits().later(code, why, Duration::ZERO)
    }
}

/// Adds everything that speaks HTTP: the API, the operators' pages, the web client.
pub fn configure(cfg: &mut web::ServiceConfig, state: State) {
    let all = web::scope("")
        .app_data(web::Data::new(state))
        .wrap(from_fn(around::around))
        .service(web::scope("/api/v1").configure(api).default_service(web::to(nowhere)))
        .configure(ops::configure)
        .configure(assets::configure)
        .default_service(web::to(nowhere));
    cfg.service(all);
}

fn api(cfg: &mut web::ServiceConfig) {
    cfg.service(at("/setup").get(enter::needs_setup).post(enter::set_up))
        .service(at("/join/{code}").get(enter::invitation).post(enter::join))
        .service(at("/sessions").get(sessions::list).post(enter::sign_in).delete(sessions::end_others))
        .service(at("/sessions/{session}").delete(sessions::end))
        .service(at("/account").get(account::show).patch(account::change))
        .service(at("/me").get(people::me).patch(people::change_me))
        .service(at("/users").get(people::list))
        .service(at("/rooms").get(rooms::list).post(rooms::create))
        .service(at("/rooms/{room}").get(rooms::show).patch(rooms::rename).delete(rooms::delete))
        .service(at("/rooms/{room}/members/{user}").put(rooms::add_member).delete(rooms::remove_member))
        .service(at("/rooms/{room}/messages").get(messages::history).post(messages::post))
        .service(at("/rooms/{room}/events").get(events::of_room))
        .service(at("/rooms/{room}/read").put(rooms::mark_read))
        .service(at("/messages/{message}").get(messages::show).patch(messages::edit).delete(messages::delete))
        .service(at("/events").get(poll::events))
        .service(at("/bots").get(bots::list).post(bots::create))
        .service(at("/bots/{user}").patch(bots::change))
        .service(at("/bots/{user}/key").post(bots::rotate))
        .service(at("/search").get(search::search));
}

async fn nowhere() -> Answer {
    Err(Problem::no_such_route())
}

/// The only clock of the REST side.
fn now() -> Timestamp {
    Utc::now().into()
}
