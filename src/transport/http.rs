//! The REST API: bots and scripts, and the web client beside its socket (PROTOCOL.md section 4).

mod account;
mod actions;
mod around;
mod assistants;
mod audit;
mod bots;
mod budgets;
pub(super) mod call;
mod enter;
mod events;
mod idempotency;
mod invites;
mod joining;
mod messages;
pub mod openapi;
mod ops_view;
mod password;
mod people;
mod poll;
pub mod problem;
mod proving;
mod query;
mod rooms;
pub(super) mod route;
mod runs;
mod search;
mod sessions;
mod settings;
mod shut_out;
mod signing_in;
mod summaries;
mod tokens;
mod transfers;
mod view;

pub use around::provenance;
pub use route::{Access, Listed};

use super::{assets, ops};
use crate::actors::bus::Bus;
use crate::actors::inference::InferenceHandle;
use crate::auth::password::Hasher;
use crate::auth::signing::Keys;
use crate::config::Config;
use crate::domain::{Action, Rejection, RejectionCode, Timestamp};
use crate::storage::Store;
use actix_web::middleware::from_fn;
use actix_web::web;
use chrono::Utc;
use problem::{Answer, Problem};
use route::{Anybody, Route, at};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Where the API is.
const API: &str = "/api/v1";

/// What handlers work with; clones share it.
#[derive(Clone)]
pub struct State {
    pub store: Store,
    pub bus: Bus,
    pub config: Arc<Config>,
    pub hasher: Hasher,
    /// Sign and open access tokens and links.
    pub keys: Keys,
    /// Where the server is reached, as far as it knows by itself.
    pub url: Arc<str>,
    /// Who makes the answers of assistants.
    pub thinking: InferenceHandle,
    /// When the process began to serve.
    pub since: Timestamp,
    /// Long polls that may still wait.
    polls: Arc<Semaphore>,
    /// Exports of the audit trail that may still begin.
    exports: Arc<Semaphore>,
}

impl State {
    /// Puts it together, for a server that listens on `address`.
    pub fn new(
        store: Store,
        bus: Bus,
        config: Arc<Config>,
        keys: Keys,
        thinking: InferenceHandle,
        address: SocketAddr,
    ) -> Self {
        let hasher = Hasher::new(&config.auth);
        let polls = Arc::new(Semaphore::new(config.polling.waiting));
        let exports = Arc::new(Semaphore::new(config.audit.exports));
        let url = config.server.url(address).into();
        Self { store, bus, config, hasher, keys, url, thinking, since: now(), polls, exports }
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
    let mut api = web::scope(API);
    for route in routes() {
        api = api.service(route);
    }
    let mut all = web::scope("")
        .app_data(web::Data::new(state))
        .wrap(from_fn(around::around))
        .service(api.default_service(web::to(nowhere)));
    for route in ops::routes().into_iter().chain(assets::routes()) {
        all = all.service(route);
    }
    cfg.service(all.default_service(web::to(nowhere)));
}

/// Every route there is, with whom it is for.
pub fn listed() -> Vec<Listed> {
    let api = routes();
    let others: Vec<Route> = ops::routes().into_iter().chain(assets::routes()).collect();
    api.iter()
        .flat_map(|route| route.listed(API))
        .chain(others.iter().flat_map(|route| route.listed("")))
        .collect()
}

/// The API.
fn routes() -> Vec<Route> {
    use Action::*;
    vec![
        at("/setup").get(Anybody, enter::needs_setup).post(Anybody, enter::set_up),
        at("/join/{code}").get(Anybody, joining::invitation).post(Anybody, joining::join),
        at("/sessions")
            .get(ReadSessions, sessions::list)
            .post(Anybody, enter::sign_in)
            .delete(EndSessions, sessions::end_others),
        at("/sessions/{session}").delete(EndSessions, sessions::end),
        at("/tokens").post(Anybody, tokens::grant),
        at("/account").get(ReadAccount, account::show).patch(ChangeAccount, account::change),
        at("/me").get(ReadMe, people::me).patch(ChangeMe, people::change_me),
        at("/me/settings").get(SyncSettings, settings::show).put(SyncSettings, settings::sync),
        at("/actions").post(RequestAction, actions::ask),
        at("/actions/{action}").get(ReadAction, actions::show),
        at("/actions/{action}/result").post(AnswerAction, actions::answer),
        at("/me/password").put(ChangePassword, password::change),
        at("/account/join-code").post(RotateJoinCode, invites::rotate_join_code),
        at("/transfers").post(CreateTransfer, transfers::create),
        at("/transfers/look").post(Anybody, transfers::look),
        at("/transfers/redeem").post(Anybody, transfers::redeem),
        at("/users").get(ReadUsers, people::list),
        at("/users/{user}").get(ReadUser, people::show).patch(ChangeUser, people::change),
        at("/users/{user}/ban").put(BanUser, people::ban).delete(BanUser, people::lift_ban),
        at("/users/{user}/transfers").post(CreateRecovery, transfers::recover),
        at("/bans").get(ReadBans, people::bans),
        at("/invites").get(ReadInvites, invites::list).post(CreateInvite, invites::create),
        at("/invites/{invite}").delete(RevokeInvite, invites::revoke),
        at("/rooms").get(ReadRooms, rooms::list).post(CreateRoom, rooms::create),
        at("/rooms/{room}")
            .get(ReadRoom, rooms::show)
            .patch(RenameRoom, rooms::rename)
            .delete(DeleteRoom, rooms::delete),
        at("/rooms/{room}/members/{user}")
            .put(AddMember, rooms::add_member)
            .delete(RemoveMember, rooms::remove_member),
        at("/rooms/{room}/messages").get(ReadMessages, messages::history).post(PostMessage, messages::post),
        at("/rooms/{room}/events").get(ReadEvents, events::of_room),
        at("/rooms/{room}/read").put(MarkRead, rooms::mark_read),
        at("/messages/{message}")
            .get(ReadMessages, messages::show)
            .patch(EditMessage, messages::edit)
            .delete(DeleteMessage, messages::delete),
        at("/events").get(ReadEvents, poll::events),
        at("/bots").get(ReadBots, bots::list).post(CreateBot, bots::create),
        at("/bots/{user}").patch(ChangeBot, bots::change).delete(RemoveBot, bots::remove),
        at("/bots/{user}/key").post(RotateBotKey, bots::rotate),
        at("/bots/{user}/keys/{key}").delete(RevokeBotKey, bots::revoke),
        at("/assistants").get(ReadAssistants, assistants::list).post(CreateAssistant, assistants::create),
        at("/assistants/{user}")
            .patch(ChangeAssistant, assistants::change)
            .delete(RemoveAssistant, assistants::remove),
        at("/rooms/{room}/runs").get(ReadRuns, runs::list).post(AskAssistant, runs::ask),
        at("/rooms/{room}/runs/{run}").get(ReadRuns, runs::show).delete(StopRun, runs::stop),
        at("/rooms/{room}/summaries")
            .get(ReadSummaries, summaries::list)
            .post(CreateSummary, summaries::begin),
        at("/ai/budgets").get(ReadBudgets, budgets::list).put(ChangeBudget, budgets::set),
        at("/ai/usage").get(ReadUsage, budgets::usage),
        at("/ops").get(ReadOps, ops_view::show),
        at("/audit").get(ReadAudit, audit::list),
        at("/audit/export").get(ExportAudit, audit::export),
        at("/search").get(Search, search::search),
        at("/openapi.json").get(Anybody, openapi::show),
    ]
}

async fn nowhere() -> Answer {
    Err(Problem::no_such_route())
}

/// The only clock of the REST side.
fn now() -> Timestamp {
    Utc::now().into()
}
