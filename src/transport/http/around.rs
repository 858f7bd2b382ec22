//! Around every request: its trace id, where it came from, its error's body, its headers, its log line.

use super::State;
use super::problem::Problem;
use super::shut_out;
use crate::auth::origin::{self, Provenance};
use crate::domain::{Rejection, RoomId, UserId};
use crate::protocol::TraceId;
use crate::telemetry::metrics;
use crate::transport::client_address;
use crate::transport::headers::guard;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use std::time::{Duration, Instant};
use tracing::field::display;

/// Who asked, for the log line; known once the credentials were read.
#[derive(Clone, Copy)]
pub(super) struct Asker(pub(super) UserId);

/// Which room it was about, for the log line.
#[derive(Clone, Copy)]
pub(super) struct About(pub(super) RoomId);

/// The `Set-Cookie` that comes along with the answer, for a session in use.
pub(super) struct Renewal(pub(super) String);

/// The middleware.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let trace = text(request.headers(), &HeaderName::from_static("traceparent"))
        .and_then(TraceId::from_traceparent)
        .unwrap_or_else(TraceId::random);
    request.extensions_mut().insert(trace);
    let admitted = shut_out::check(request.request())
        .and_then(|()| check_origin(request.request()))
        .and_then(|()| check_load(request.request()));
    let answered = match admitted {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => request.error_response(problem),
    };
    let mut response = with_problem(answered, trace);
    dress(&mut response, trace);
    note(&response, trace, began.elapsed());
    Ok(response)
}

/// The header `name`, when it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn check_origin(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    if !origin::is_unsafe(request.method().as_str()) || shows_bearer(headers) {
        return Ok(());
    }
    let from = provenance(headers);
    let state = request.app_data::<web::Data<State>>();
    let public_url = state.and_then(|state| state.config.server.public_url.as_ref());
    Ok(origin::same_origin(from, public_url)?)
}

/// Whoever can set this is a program or a page of ours: browsers don't add it for other sites, as they do with `Basic`.
fn shows_bearer(headers: &HeaderMap) -> bool {
    let scheme = text(headers, &header::AUTHORIZATION).and_then(|value| value.split(' ').next());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

/// Whether this address may ask now, and whether what it asks for can be done at present. What the pages are made of and what
/// operators look at is always given.
fn check_load(request: &HttpRequest) -> Result<(), Problem> {
    let Some(state) = request.app_data::<web::Data<State>>() else { return Ok(()) };
    // As routes are found by it: another way to write the same path is no way around.
    if !request.match_info().as_str().starts_with("/api/") {
        return Ok(());
    }
    let limits = state.bus.limits();
    let from = client_address(request.peer_addr(), request.headers(), &state.config);
    if let Some(address) = from.and_then(|from| limits.address(from)) {
        limits.address_request(address, tokio::time::Instant::now())?;
    }
    if state.bus.load().is_read_only() && origin::is_unsafe(request.method().as_str()) {
        return Err(Rejection::read_only().into());
    }
    Ok(())
}

/// What the headers say about where a request comes from. An `Origin` that is no text is nobody's.
pub fn provenance(headers: &HeaderMap) -> Provenance<'_> {
    let shown = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    Provenance {
        sec_fetch_site: shown(&HeaderName::from_static("sec-fetch-site")),
        origin: shown(&header::ORIGIN),
        host: text(headers, &header::HOST),
    }
}

/// Gives an error its body.
fn with_problem(answered: ServiceResponse<BoxBody>, trace: TraceId) -> ServiceResponse<BoxBody> {
    let problem = match answered.response().error() {
        Some(error) => {
            error.as_error::<Problem>().cloned().unwrap_or_else(|| Problem::of_status(answered.status()))
        }
        None => return answered,
    };
    if !problem.is_counted {
        metrics::rejection(problem.rejection.code);
    }
    let (request, _) = answered.into_parts();
    let response = shut_out::page(&request, &problem).unwrap_or_else(|| problem.response(trace));
    ServiceResponse::new(request, response)
}

fn dress(response: &mut ServiceResponse<BoxBody>, trace: TraceId) {
    let state = response.request().app_data::<web::Data<State>>();
    let is_tls = state.is_some_and(|state| state.config.is_tls());
    let renewal = response.request().extensions_mut().remove::<Renewal>();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert(HeaderName::from_static("x-trace-id"), value);
    }
    guard(headers, is_tls);
    // An answer that signs in or out has the last word.
    if let (Some(Renewal(cookie)), false) = (renewal, headers.contains_key(header::SET_COOKIE))
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
}

/// Counts and logs: the route's pattern and never its path, which may hold a join code.
fn note(response: &ServiceResponse<BoxBody>, trace: TraceId, took: Duration) {
    let request = response.request();
    let pattern = request.match_pattern();
    let route = pattern.as_deref().unwrap_or("unmatched");
    let method = known_method(request.method());
    let status = response.status();
    metrics::http_request(route, method, status.as_u16(), took);
    let extensions = request.extensions();
    let user = extensions.get::<Asker>().map(|asker| display(asker.0));
    let room = extensions.get::<About>().map(|about| display(about.0));
    let took_ms = f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1000.0;
    // A full queue is said by the metrics; a line for each would be a flood when it hurts most.
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(trace_id = %trace, user.id = user, room.id = room, method, route, status = status.as_u16(), took_ms, "request failed");
    } else {
        tracing::debug!(trace_id = %trace, user.id = user, room.id = room, method, route, status = status.as_u16(), took_ms, "request answered");
    }
}

/// The method, from a closed set: anybody can invent one.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::http::nowhere;
    use crate::transport::http::route::{Anybody, at};
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use actix_web::{App, HttpResponse};

    async fn answer(request: TestRequest) -> (u16, serde_json::Value, Option<String>) {
        let here = at("/here").get(Anybody, || std::future::ready(HttpResponse::Ok().json("here")));
        let all = web::scope("").wrap(from_fn(around)).service(here).default_service(web::to(nowhere));
        let app = init_service(App::new().service(all)).await;
        let response = call_service(&app, request.to_request()).await;
        let status = response.status().as_u16();
        let trace = response.headers().get("x-trace-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        (status, read_body_json(response).await, trace)
    }

    /// Proves PROJ-06.
    #[actix_web::test]
    async fn every_error_is_a_problem_with_its_trace() {
        for (request, status, code) in [
            (TestRequest::get().uri("/nowhere"), 404, "not_found"),
            (TestRequest::delete().uri("/here"), 405, "method_not_allowed"),
            (
                TestRequest::post().uri("/here").insert_header(("origin", "https://evil.test")),
                403,
                "forbidden",
            ),
        ] {
            let (got, body, trace) = answer(request).await;
            assert_eq!(got, status);
            assert_eq!(body["code"], code);
            assert_eq!(body["trace_id"].as_str(), trace.as_deref());
        }
    }

    #[actix_web::test]
    async fn the_callers_trace_is_taken_over() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (status, _, trace) =
            answer(TestRequest::get().uri("/here").insert_header(("traceparent", parent))).await;
        assert_eq!((status, trace.as_deref()), (200, Some("4bf92f3577b34da6a3ce929d0e0e4736")));
    }
}
