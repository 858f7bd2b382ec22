//! The web client: files in the binary, and one page for every path of the app.

use super::headers::PAGE_POLICY;
use super::http::problem::{Answer, Problem};
use super::http::route::{Anybody, Route, at};
use actix_web::http::header::{self, ContentType, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};
use std::borrow::Cow;
use std::fmt::Write;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Files;

/// The page of the app; its script reads the path.
const PAGE: &str = "index.html";

/// The paths of the app. A reload or a shared link brings the page and not a 404.
const PAGES: [&str; 13] = [
    "/",
    "/setup",
    "/sign-in",
    "/transfer",
    "/join/{code}",
    "/rooms/{room:\\d+}",
    "/rooms/{room:\\d+}/@{message:\\d+}",
    "/people",
    "/bots",
    "/assistants",
    "/audit",
    "/search",
    "/settings",
];

/// The client's routes.
pub(super) fn routes() -> Vec<Route> {
    let pages = PAGES.into_iter().map(|path| at(path).get(Anybody, page));
    pages.chain([at("/static/{path:.+}").get(Anybody, file)]).collect()
}

async fn page(request: HttpRequest) -> Answer {
    serve(&request, PAGE)
}

async fn file(request: HttpRequest) -> Answer {
    serve(&request, request.match_info().get("path").unwrap_or_default())
}

fn serve(request: &HttpRequest, path: &str) -> Answer {
    let Some(EmbeddedFile { data, metadata }) = Files::get(path) else {
        return Err(Problem::no_such_route());
    };
    let etag = etag(&metadata.sha256_hash());
    let known = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|one| names(one, &etag));
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, etag))
        // Files keep their names from release to release, so the browser asks each time.
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)));
    if is_known {
        return Ok(response.finish());
    }
    response.insert_header((header::CONTENT_TYPE, content_type(path, metadata.mimetype())));
    Ok(response.body(match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    }))
}

/// The strong validator of a file: half of its hash is plenty.
fn etag(hash: &[u8; 32]) -> String {
    let mut etag = String::from("\"");
    for byte in hash.iter().take(16) {
        // Writing to a String can't fail.
        let _infallible = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

/// Whether an entry of `If-None-Match` names `etag`, compared weakly (RFC 9110 section 13.1.2).
fn names(entry: &str, etag: &str) -> bool {
    let entry = entry.trim();
    entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == etag
}

fn content_type(path: &str, guess: &str) -> String {
    let guess = match path.rsplit_once('.') {
        Some((_, "js" | "mjs")) => "text/javascript",
        Some((_, "webmanifest")) => "application/manifest+json",
        _ if guess.is_empty() => return ContentType::octet_stream().to_string(),
        _ => guess,
    };
    if guess.starts_with("text/") { format!("{guess}; charset=utf-8") } else { guess.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};

    fn configure(cfg: &mut web::ServiceConfig) {
        for route in routes() {
            cfg.service(route);
        }
    }

    #[actix_web::test]
    async fn pages_and_files_are_found_and_the_rest_is_not() {
        let app = init_service(App::new().configure(configure)).await;
        for path in ["/", "/sign-in", "/join/abc", "/rooms/12", "/rooms/12/@34", "/static/main.js"] {
            let request = TestRequest::get().uri(path).to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).expect("a policy");
            assert!(policy.to_str().expect("text").contains("frame-ancestors 'none'"));
        }
        for path in ["/static/", "/static/../Cargo.toml", "/static/none.js", "/rooms/x", "/nothing"] {
            let request = TestRequest::get().uri(path).to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[actix_web::test]
    async fn a_known_file_is_not_sent_again() {
        let app = init_service(App::new().configure(configure)).await;
        let ask =
            |etag: &str| TestRequest::get().uri("/").insert_header(("if-none-match", etag)).to_request();
        let first = call_service(&app, ask("\"x\"")).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers().get("content-type").expect("a type"), "text/html; charset=utf-8");
        let etag = first.headers().get("etag").and_then(|etag| etag.to_str().ok()).expect("an etag");
        let again = call_service(&app, ask(&format!("\"x\", W/{etag}"))).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers().get("etag").expect("an etag"), etag);
    }

    #[test]
    fn scripts_are_scripts() {
        assert_eq!(content_type("a/main.js", ""), "text/javascript; charset=utf-8");
        assert_eq!(content_type("manifest.webmanifest", ""), "application/manifest+json");
        assert_eq!(content_type("icon.svg", "image/svg+xml"), "image/svg+xml");
    }
}
