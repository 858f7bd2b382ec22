//! Errors as `application/problem+json` (RFC 9457).

use crate::domain::{Rejection, RejectionCode};
use crate::protocol::TraceId;
use crate::protocol::error::{ErrorObject, http_status};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;

/// What a handler answers with.
pub type Answer = Result<HttpResponse, Problem>;

/// A rejection on its way out. It gets its body where the trace id is known: in `around`.
#[derive(Debug, Clone)]
pub struct Problem {
    pub rejection: Rejection,
    status: StatusCode,
    allow: Option<Box<str>>,
    /// Whether the metrics know of it: the bus counts what it refuses.
    pub(super) is_counted: bool,
}

impl Problem {
    /// A refusal of the bus.
    pub fn counted(rejection: Rejection) -> Self {
        Self { is_counted: true, ..rejection.into() }
    }

    /// The request could not be read at all: 400 in place of 422.
    pub fn unreadable(rejection: Rejection) -> Self {
        Self { status: StatusCode::BAD_REQUEST, ..rejection.into() }
    }

    /// Why what is done already can't be told. A refusal that promises that nothing was stored becomes one that doesn't.
    pub fn after_commit(self) -> Self {
        match self.rejection.code {
            RejectionCode::Overloaded | RejectionCode::NotFound => Rejection::unavailable().into(),
            _ => self,
        }
    }

    /// There is nothing here.
    pub fn no_such_route() -> Self {
        Rejection::not_found("page").into()
    }

    /// There is something here, for the methods in `allow`.
    pub fn wrong_method(allow: String) -> Self {
        let rejection = Rejection::new(RejectionCode::MethodNotAllowed, "this is not done here");
        Self { allow: Some(allow.into()), ..rejection.into() }
    }

    /// What the framework refused by itself.
    pub fn of_status(status: StatusCode) -> Self {
        let unreadable = || Rejection::new(RejectionCode::InvalidPayload, "the request can't be understood");
        match status {
            StatusCode::NOT_FOUND => Self::no_such_route(),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Rejection::new(RejectionCode::TooLarge, "the request is too large").into()
            }
            status if status.is_client_error() => Self::unreadable(unreadable()),
            _ => Rejection::internal().into(),
        }
    }

    /// The answer, with everything a client needs to do better.
    pub fn response(&self, trace: TraceId) -> HttpResponse {
        let error = ErrorObject::from(&self.rejection);
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: error.message,
            code: error.code,
            retryable: error.retryable,
            trace_id: trace.to_string(),
            field: error.field,
            retry_after_ms: error.retry_after_ms,
            version: error.version,
            run_id: error.run_id,
        };
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
        if let Some(wait) = self.rejection.retry_after {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, &**allow));
        }
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    retryable: bool,
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<i64>,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let status = StatusCode::from_u16(http_status(rejection.code));
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            rejection,
            allow: None,
            is_counted: false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;

    /// Proves PROJ-06.
    #[test]
    fn says_all_there_is_to_say() {
        let trace = TraceId::random();
        let response = Problem::from(Rejection::overloaded()).response(trace);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(RETRY_AFTER).expect("a wait"), "1");
        let body = response.into_body().try_into_bytes().expect("in memory");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["code"], "overloaded");
        assert_eq!(body["retryable"], true);
        assert_eq!(body["status"], 503);
        assert_eq!(body["title"], "Service Unavailable");
        assert_eq!(body["retry_after_ms"], 1000);
        assert_eq!(body["trace_id"], trace.to_string());
    }

    #[test]
    fn what_is_committed_is_never_said_to_be_not_stored() {
        let after = |rejection: Rejection| Problem::from(rejection).after_commit().rejection.code;
        for rejection in [Rejection::overloaded(), Rejection::not_found("bot"), Rejection::unavailable()] {
            assert_eq!(after(rejection), RejectionCode::Unavailable);
        }
        assert_eq!(after(Rejection::internal()), RejectionCode::Internal);
    }
}
