//! The REST API described (OpenAPI 3.1), for people and programs: `GET /openapi.json`.
//!
//! The parts, `openapi/*.json`, say of each route what only it does. What follows from where the route is registered is added here, so
//! that it can't be wrong: its action, whose credentials it takes, and the refusals that all such routes share.

use super::problem::Answer;
use super::route::{Access, Listed};
use super::{API, events, listed};
use crate::domain::Rejection;
use serde_json::{Map, Value, json};
use std::future::{Ready, ready};
use std::sync::LazyLock;

const PARTS: [&str; 13] = [
    include_str!("openapi/base.json"),
    include_str!("openapi/entering.json"),
    include_str!("openapi/sessions.json"),
    include_str!("openapi/people.json"),
    include_str!("openapi/rooms.json"),
    include_str!("openapi/messages.json"),
    include_str!("openapi/events.json"),
    include_str!("openapi/bots.json"),
    include_str!("openapi/actions.json"),
    include_str!("openapi/assistants.json"),
    include_str!("openapi/summaries.json"),
    include_str!("openapi/audit.json"),
    include_str!("openapi/operators.json"),
];

static TEXT: LazyLock<Option<String>> = LazyLock::new(|| match document() {
    Ok(document) => Some(document.to_string()),
    Err(error) => {
        tracing::error!(%error, "the description of the API can't be read");
        None
    }
});

/// `GET /openapi.json`
pub(super) fn show() -> Ready<Answer> {
    let text = TEXT.clone().ok_or_else(Rejection::internal);
    ready(text.map(events::json).map_err(Into::into))
}

/// The document.
pub fn document() -> Result<Value, serde_json::Error> {
    let mut document = json!({});
    for part in PARTS {
        merge(&mut document, serde_json::from_str(part)?);
    }
    refusals(&mut document);
    for route in listed().iter().filter(|route| route.path.starts_with(API)) {
        complete(&mut document, route);
    }
    Ok(document)
}

/// Takes over what `more` has, object by object.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// The responses that parts refer to are refusals: each is a problem with its trace.
fn refusals(document: &mut Value) {
    let found = document.pointer_mut("/components/responses").and_then(Value::as_object_mut);
    for refusal in found.into_iter().flat_map(Map::values_mut) {
        let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        merge(refusal, json!({ "headers": trace(), "content": { "application/problem+json": problem } }));
    }
}

fn trace() -> Value {
    json!({ "x-trace-id": { "$ref": "#/components/headers/TraceId" } })
}

/// Adds what follows from the route.
fn complete(document: &mut Value, route: &Listed) {
    let Some(path) = document.pointer_mut("/paths").and_then(|paths| paths.get_mut(&route.path)) else {
        return;
    };
    let parts = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parts: Vec<Value> =
        parts.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })).collect();
    let in_path = !parts.is_empty();
    if in_path && let Some(path) = path.as_object_mut() {
        path.insert("parameters".to_owned(), parts.into());
    }
    let Some(operation) = path.get_mut(route.method.to_lowercase()) else { return };
    let mut refusals =
        vec![("403", "Forbidden"), ("429", "TooMany"), ("500", "Defect"), ("503", "Unavailable")];
    match route.access {
        Access::Anybody => merge(operation, json!({ "security": [] })),
        Access::Allowed(action) => {
            let security = json!([{ "session": [] }, { "bearer": [] }]);
            merge(operation, json!({ "security": security, "x-action": format!("{action:?}") }));
            refusals.push(("401", "Unauthenticated"));
        }
    }
    if in_path {
        refusals.push(("404", "NotFound"));
    }
    if operation.get("requestBody").is_some() {
        refusals.extend([("400", "Unreadable"), ("413", "TooLarge"), ("422", "Invalid")]);
    }
    if operation.get("parameters").is_some() {
        refusals.push(("422", "Invalid"));
    }
    for (status, name) in refusals {
        // What a part says of it is more to the point.
        if operation.pointer(&format!("/responses/{status}/$ref")).is_some() {
            continue;
        }
        let refusal = json!({ "$ref": format!("#/components/responses/{name}") });
        merge(operation, json!({ "responses": { status: refusal } }));
    }
    let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
    for answer in answers.into_iter().flat_map(Map::values_mut).filter(|answer| answer.get("$ref").is_none())
    {
        merge(answer, json!({ "headers": trace() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AuditAction, AuditTarget, RejectionCode};
    use crate::transport::{assets, ops};
    use std::collections::BTreeSet;

    fn described() -> Value {
        document().expect("the parts are JSON")
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = described();
        let mut operations = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                if method != "parameters" {
                    let action =
                        operation.get("x-action").map(|action| action.as_str().expect("text").to_owned());
                    operations.insert((method.to_uppercase(), path.clone(), action));
                }
            }
        }
        // The pages of the client are for browsers.
        let pages: Vec<Listed> = assets::routes().iter().flat_map(|route| route.listed("")).collect();
        assert!(!ops::routes().is_empty());
        let routes: BTreeSet<_> = listed()
            .into_iter()
            .filter(|route| route.method != "HEAD" && !pages.contains(route))
            .map(|Listed { method, path, access }| {
                let action = match access {
                    Access::Anybody => None,
                    Access::Allowed(action) => Some(format!("{action:?}")),
                };
                (method.to_owned(), path, action)
            })
            .collect();
        assert_eq!(operations, routes);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name() {
        let document = described();
        fn references(value: &Value, into: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| references(value, into));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, into)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for name in document["components"]["schemas"].as_object().expect("schemas").keys() {
            assert!(found.contains(&format!("#/components/schemas/{name}")), "nothing refers to {name}");
        }
        let mut names = BTreeSet::new();
        let tags: Vec<&Value> =
            document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                if method != "parameters" {
                    let name = operation["operationId"].as_str().expect("a name");
                    assert!(names.insert(name.to_owned()), "{name} names two");
                    assert!(operation["summary"].is_string(), "{method} {path}");
                    assert!(tags.contains(&&operation["tags"][0]), "{method} {path}");
                }
            }
        }
    }

    #[test]
    fn the_filter_has_every_action() {
        let actions = described()["components"]["schemas"]["AuditAction"]["enum"].clone();
        let wanted: Vec<&str> = AuditAction::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(actions, json!(wanted));
        let target = described()["components"]["parameters"]["audit_target"]["schema"]["pattern"].clone();
        assert!(target.to_string().contains(&AuditTarget::KINDS.join("|")), "{target}");
    }

    #[test]
    fn the_problem_has_every_code() {
        let codes = described()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].clone();
        let wanted = RejectionCode::ALL.map(RejectionCode::as_str);
        assert_eq!(codes, json!(wanted));
    }
}
