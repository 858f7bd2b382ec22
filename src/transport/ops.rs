//! What operators and their machines ask: alive, ready, how much.

use super::address::is_local;
use super::http::State;
use super::http::call::Visit;
use super::http::problem::Answer;
use super::http::route::{Anybody, Route, at};
use crate::domain::{Rejection, RejectionCode};
use crate::limits::Level;
use crate::telemetry::metrics;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// A database that takes longer to say it lives isn't ready.
const HEALTH_WAIT: Duration = Duration::from_secs(2);

/// The routes of operators. None knows users: the numbers are for the machine itself, or for who has their token.
pub(super) fn routes() -> Vec<Route> {
    vec![
        at("/health").get(Anybody, health),
        at("/ready").get(Anybody, ready),
        at("/metrics").get(Anybody, show_metrics),
    ]
}

/// The process lives, whatever else may be (OBS-01).
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "alive": true }))
}

/// Whether work should be sent here (OBS-01), and what the database is set to (DB-01).
async fn ready(visit: Visit) -> HttpResponse {
    let state = &visit.state;
    let mut failed = Vec::new();
    let health = tokio::time::timeout(HEALTH_WAIT, state.store.health()).await;
    let mut database = json!(null);
    match health {
        Ok(Ok(health)) => {
            if !health.pending.is_empty() {
                failed.push("migrations");
            }
            if !health.writer_alive {
                failed.push("writer");
            }
            let settings: BTreeMap<_, _> = health.settings.into_iter().collect();
            database = json!({ "kind": health.database, "settings": settings });
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database is not healthy");
            failed.push("database");
        }
        Err(_elapsed) => failed.push("database"),
    }
    if state.bus.pending() >= state.config.storage.write_queue {
        failed.push("write_queue");
    }
    let level = state.bus.load().level();
    if level >= Level::RefuseNew {
        failed.push("load");
    }
    if state.bus.draining() {
        failed.push("drain");
    }
    let mut response =
        if failed.is_empty() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(json!({ "ready": failed.is_empty(), "failed": failed, "level": level.as_str(), "database": database }))
}

async fn show_metrics(request: HttpRequest, visit: Visit) -> Answer {
    may_read_metrics(&request, &visit.state)?;
    for (registry, entries) in visit.state.bus.registries().await {
        metrics::registry(registry, entries);
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics::render()))
}

/// With a token whoever has it; without one the machine itself, as long as it isn't behind a proxy.
fn may_read_metrics(request: &HttpRequest, state: &State) -> Result<(), Rejection> {
    let Some(token) = &state.config.metrics.token else {
        if is_local(request.peer_addr(), request.headers(), &state.config) {
            return Ok(());
        }
        return Err(Rejection::forbidden("metrics are for this machine only, or need a token"));
    };
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    if shown.as_bytes().ct_eq(token.reveal().as_bytes()).into() {
        Ok(())
    } else {
        Err(Rejection::new(RejectionCode::Unauthenticated, "metrics need the token"))
    }
}
