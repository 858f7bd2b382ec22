//! A program that calls the server and says exactly what it is told: no cookie jar, no redirects.

use super::contract;
use crate::harness::{House, PATIENCE, Person};
use loadtest::confidential;
use loadtest::wire::Credentials;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Somebody's calls, or nobody's.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    base: String,
    /// Sent along with everything.
    headers: Vec<(String, String)>,
}

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Caller {
    /// Nobody in particular.
    pub(crate) fn nobody(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE + PATIENCE)
            // Sooner than the server closes what nobody uses: no request is on its way to a connection that ends.
            .pool_idle_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self { http, base: base.to_owned(), headers: Vec::new() }
    }

    /// This person.
    pub(crate) fn of(person: &Person) -> Self {
        let nobody = Self::nobody(person.client.base());
        match person.credentials() {
            Credentials::Cookie(cookie) => nobody.with("cookie", &cookie),
            Credentials::Bearer(key) => nobody.bearing(&key),
            Credentials::Anonymous => nobody,
        }
    }

    /// A new bot of the house.
    pub(crate) async fn bot_of(house: &House, name: &str) -> Self {
        let bot = house.admin.client.create_bot(name).await.expect("a bot");
        Self::nobody(&house.url()).bearing(&bot.key)
    }

    /// The same with a bot's key.
    pub(crate) fn bearing(&self, key: &str) -> Self {
        self.with("authorization", &format!("Bearer {key}"))
    }

    /// The same with one header more.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut more = self.clone();
        more.headers.push((name.to_owned(), value.to_owned()));
        more
    }

    /// Any request, to any path.
    pub(crate) async fn sends(&self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.note_confidential(body.as_ref().map(|(_, body)| body.as_slice()));
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        confidential::overhear(&self.base, &body);
        for cookie in headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok()) {
            confidential::overhear_cookie(&self.base, cookie);
        }
        let answer = Answer { status, headers, body: body.to_vec() };
        contract::holds(method.as_str(), path, &answer);
        answer
    }

    /// What is sent and should be in no log.
    fn note_confidential(&self, body: Option<&[u8]>) {
        for (name, value) in &self.headers {
            match name.as_str() {
                "cookie" => confidential::overhear_cookie(&self.base, value),
                "authorization" => {
                    confidential::overhear_key(&self.base, value.trim_start_matches("Bearer "))
                }
                _ => {}
            }
        }
        body.into_iter().for_each(|body| confidential::overhear(&self.base, body));
    }

    /// A call of the API.
    pub(crate) async fn calls(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.sends(method, &format!("/api/v1{path}"), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.calls("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.calls("POST", path, Some(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.calls("PUT", path, Some(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.calls("PATCH", path, Some(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.calls("DELETE", path, None).await
    }

    /// Posts a message; its id.
    pub(crate) async fn says(&self, room: u64, body: &str) -> u64 {
        let answer = self.post(&format!("/rooms/{room}/messages"), serde_json::json!({ "body": body })).await;
        answer.expect(201)["id"].as_u64().expect("an id")
    }
}

impl Answer {
    /// The body as JSON; null when there is none.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    /// The body, when the status is the wanted one.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// A header, when it is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} is there twice");
        Some(value.to_str().expect("text"))
    }

    /// The names of its headers, ascending.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    /// The cookie that came along, as it is to be sent back.
    pub(crate) fn cookie(&self) -> String {
        let set = self.header("set-cookie").expect("a cookie");
        set.split(';').next().expect("a pair").to_owned()
    }

    /// Says that it is a refusal as PROTOCOL.md section 5 describes it, with this code and field; the problem.
    pub(crate) fn is_problem(&self, status: u16, code: &str, field: Option<&str>) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{problem}");
        let object = problem.as_object().expect("an object");
        for key in object.keys() {
            let known = [
                "type",
                "title",
                "status",
                "detail",
                "code",
                "retryable",
                "trace_id",
                "field",
                "retry_after_ms",
                "version",
                "run_id",
            ];
            assert!(known.contains(&key.as_str()), "{problem}");
        }
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"].as_str(), title);
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(object.get("field").and_then(Value::as_str), field, "{problem}");
        let when_known = matches!(
            code,
            "rate_limited" | "overloaded" | "unavailable" | "read_only" | "ai_busy" | "ai_queue_full"
        );
        // An assistant that is switched off comes back when it comes back.
        let is_retryable = when_known || code == "ai_unavailable";
        assert_eq!(problem["retryable"], is_retryable);
        assert!(object.contains_key("retry_after_ms") == when_known || code == "ai_unavailable", "{problem}");
        assert_eq!(self.header("retry-after").is_some(), object.contains_key("retry_after_ms"));
        let has_version = matches!(code, "version_conflict" | "settings_conflict");
        assert_eq!(object.contains_key("version"), has_version, "{problem}");
        assert_eq!(object.contains_key("run_id"), code == "ai_busy", "{problem}");
        assert_eq!(problem["trace_id"].as_str(), self.header("x-trace-id"), "{problem}");
        problem
    }
}
