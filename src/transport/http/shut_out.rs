//! Whoever comes from where somebody was banned is told so, and nothing else is done for them: programs by a problem, people by a page.

use super::State;
use super::problem::Problem;
use crate::domain::{Rejection, RejectionCode};
use crate::transport::client_address;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};

/// What machines ask outside of the API.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// It brings everything along: nothing else is given to whoever sees it.
const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>No entry</title>\n</head>\n<body>\n<main>\n\
    <h1>No entry</h1>\n<p>Somebody who used your internet address was banned here, so nothing is taken from it.</p>\n\
    <p>If you aren\u{2019}t meant, ask those who run this place to lift the ban, or come by another connection.</p>\n</main>\n</body>\n</html>\n";

/// Refuses what comes from a network that is shut out.
pub(super) fn check(request: &HttpRequest) -> Result<(), Problem> {
    let Some(state) = request.app_data::<web::Data<State>>() else { return Ok(()) };
    if state.bus.bans().is_empty() {
        return Ok(());
    }
    let from = client_address(request.peer_addr(), request.headers(), &state.config);
    if state.bus.bans().shut_out(from) {
        return Err(Rejection::banned().into());
    }
    Ok(())
}

/// What people see instead of the page they wanted.
pub(super) fn page(request: &HttpRequest, problem: &Problem) -> Option<HttpResponse> {
    let is_for_programs = request.path().starts_with("/api/") || PROBES.contains(&request.path());
    let is_for_people = problem.rejection.code == RejectionCode::Banned && !is_for_programs;
    is_for_people
        .then(|| HttpResponse::build(StatusCode::FORBIDDEN).content_type(ContentType::html()).body(PAGE))
}
