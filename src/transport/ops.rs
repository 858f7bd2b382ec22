//! What operators and their machines ask: alive, ready, how much.

use super::http::State;
use super::http::call::Visit;
use super::http::problem::Answer;
use super::http::route::at;
use crate::domain::{Rejection, RejectionCode};
use crate::telemetry::metrics;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use subtle::ConstantTimeEq;

/// Adds the routes outside `/api/v1`.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(at("/health").get(health))
        .service(at("/ready").get(ready))
        .service(at("/metrics").get(show_metrics));
}

/// The process lives, whatever else may be (OBS-01).
#[expect(clippy::unused_async, reason = "handlers are async")]
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "alive": true }))
}

/// Whether work should be sent here (OBS-01).
async fn ready(visit: Visit) -> HttpResponse {
    let failed = failed_checks(&visit.state).await;
    let mut response =
        if failed.is_empty() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(json!({ "ready": failed.is_empty(), "failed": failed }))
}

#[expect(clippy::unused_async, reason = "handlers are async")]
async fn show_metrics(request: HttpRequest, visit: Visit) -> Answer {
    may_read_metrics(&request, &visit.state)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics::render()))
}

/// With a token whoever has it; without one the machine itself. What a proxy on this machine passes on comes from
/// elsewhere.
fn may_read_metrics(request: &HttpRequest, state: &State) -> Result<(), Rejection> {
    let Some(token) = &state.config.metrics.token else {
        let is_passed_on = ["forwarded", "x-forwarded-for", "x-real-ip"]
            .into_iter()
            .any(|name| request.headers().contains_key(HeaderName::from_static(name)));
        return match request.peer_addr() {
            Some(peer) if peer.ip().to_canonical().is_loopback() && !is_passed_on => Ok(()),
            _ => Err(Rejection::forbidden("metrics are for this machine only, or need a token")),
        };
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
