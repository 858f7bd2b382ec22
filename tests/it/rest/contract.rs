//! Every answer that a test is given has to be one that the description of the API (`GET /openapi.json`) knows: its status, its type, its
//! fields, all of them.

use super::caller::{Answer, Caller};
use crate::harness::{Ground, House};
use serde_json::Value;
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| hearth::transport::http::openapi::document().expect("the description is JSON"));

/// Holds an answer against the description. What was asked of no route is answered 404 or 405, which isn't a route's.
pub(super) fn holds(method: &str, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let status = answer.status.to_string();
    // A cookie that rides on another site's request, say, is refused before there is a route.
    let described = operation["responses"].get(&status);
    let described =
        described.unwrap_or_else(|| panic!("{method} {path}: {status} isn't described: {answer:?}"));
    let described = followed(described);
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let is_required = followed(header)["required"] == true;
        assert!(!is_required || answer.header(name).is_some(), "{method} {path}: {status} without {name}");
    }
    let Some(content) = described.get("content") else {
        assert!(answer.body.is_empty(), "{method} {path}: {status} has a body: {answer:?}");
        return;
    };
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let schema =
        content.get(kind).unwrap_or_else(|| panic!("{method} {path}: {status} isn't described as {kind:?}"));
    if method == "HEAD" {
        return;
    }
    if kind == "application/x-ndjson" {
        for line in answer.text().lines() {
            let value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            fits(&value, &schema["schema"])
                .unwrap_or_else(|wrong| panic!("{method} {path}: {wrong}\n{line}"));
        }
    } else if kind.ends_with("json")
        && let Err(wrong) = fits(&answer.json(), &schema["schema"])
    {
        panic!("{method} {path}: {status}: {wrong}\n{}", answer.text());
    }
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or(path);
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let of = |pattern: &str| {
        pattern.split('/').count() == path.split('/').count()
            && pattern
                .split('/')
                .zip(path.split('/'))
                .all(|(ours, theirs)| ours == theirs || (ours.starts_with('{') && !theirs.is_empty()))
    };
    // A path without parts of its own comes first: it names one thing.
    let exact = paths.get(path);
    let found = exact.or_else(|| paths.iter().find(|(pattern, _)| of(pattern)).map(|(_, path)| path))?;
    found.get(&method)
}

/// What a reference leads to.
fn followed(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => followed(DOCUMENT.pointer(&reference[1..]).expect("leads somewhere")),
        None => value,
    }
}

/// Whether a value is what a schema says. Objects have no field that isn't named; of JSON Schema only what the description uses is
/// known, and all else is an error.
fn fits(value: &Value, schema: &'static Value) -> Result<(), String> {
    let schema = followed(schema);
    for (keyword, rule) in schema.as_object().expect("a schema") {
        match keyword.as_str() {
            "type" => {
                let allowed = rule.as_array().map_or_else(|| vec![rule], |types| types.iter().collect());
                if !allowed.iter().any(|kind| is_of(value, kind.as_str().expect("a type"))) {
                    return Err(format!("{value} is no {rule}"));
                }
            }
            "const" if value != rule => return Err(format!("{value} isn't {rule}")),
            "enum" if !rule.as_array().expect("a list").contains(value) => {
                return Err(format!("{value} is none of {rule}"));
            }
            "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                return Err(format!("{value} is below {rule}"));
            }
            "oneOf" => {
                let fitting = rule.as_array().expect("a list").iter().filter(|one| fits(value, one).is_ok());
                if fitting.count() != 1 {
                    return Err(format!("{value} is not one of {rule}"));
                }
            }
            "items" => {
                for (index, one) in value.as_array().into_iter().flatten().enumerate() {
                    fits(one, rule).map_err(|wrong| format!("[{index}]: {wrong}"))?;
                }
            }
            "required" => {
                let missing = |name: &&Value| value.get(name.as_str().expect("a name")).is_none();
                let missing = rule.as_array().expect("a list").iter().find(missing);
                if let (Some(name), true) = (missing, value.is_object()) {
                    return Err(format!("{name} is missing"));
                }
            }
            "properties" => {
                for (name, one) in value.as_object().into_iter().flatten() {
                    let schema = rule.get(name).ok_or_else(|| format!("{name} isn't described"))?;
                    fits(one, schema).map_err(|wrong| format!("{name}: {wrong}"))?;
                }
            }
            "const"
            | "enum"
            | "minimum"
            | "maximum"
            | "minLength"
            | "maxLength"
            | "pattern"
            | "format"
            | "description"
            | "examples"
            | "additionalProperties" => {}
            other => panic!("the tests don't know what {other} means in a schema"),
        }
    }
    Ok(())
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the tests don't know the type {other}"),
    }
}

#[tokio::test]
async fn the_server_gives_the_description_that_the_tests_hold_it_to() {
    let house = House::open(Ground::Sqlite).await;
    let served = Caller::nobody(&house.url()).get("/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert!(served.expect(200) == *DOCUMENT, "the server is of another build");
}

#[test]
fn what_is_not_described_is_noticed() {
    let me = serde_json::json!({ "id": 1, "name": "Ann", "role": "admin", "email": null, "bio": "", "created_at": "now" });
    let schema = &DOCUMENT["components"]["schemas"]["Me"];
    assert_eq!(fits(&me, schema), Ok(()));
    for (field, wrong) in [
        ("id", serde_json::json!(0)),
        ("id", serde_json::json!("1")),
        ("role", serde_json::json!("king")),
        ("name", Value::Null),
        ("secret", serde_json::json!("x")),
    ] {
        let mut me = me.clone();
        me[field] = wrong;
        assert!(fits(&me, schema).is_err(), "{me}");
    }
    let mut less = me;
    less.as_object_mut().expect("an object").remove("email");
    assert!(fits(&less, schema).is_err());
}
