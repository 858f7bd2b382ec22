//! Reading JSON so that what is wrong has a name (CONN-14).

use crate::domain::Rejection;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Why JSON could not be read.
#[derive(Debug)]
pub enum JsonError {
    /// It isn't JSON at all.
    Syntax(Rejection),
    /// A field is missing or has the wrong shape; the rejection names it.
    Shape(Rejection),
}

impl From<JsonError> for Rejection {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax(rejection) | JsonError::Shape(rejection) => rejection,
        }
    }
}

/// Reads one JSON object of the given shape. `whole` names the value itself, for when it isn't JSON or no object.
pub fn read<T: DeserializeOwned>(text: &[u8], whole: &'static str) -> Result<T, JsonError> {
    if !text.trim_ascii_start().starts_with(b"{") {
        // serde would take an array for the fields in their order.
        serde_json::from_slice::<IgnoredAny>(text).map_err(|error| explain(".", &error, whole))?;
        return Err(JsonError::Shape(Rejection::invalid(whole, "is not an object")));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner(), whole)
    })?;
    reader.end().map_err(|error| explain(".", &error, whole))?;
    Ok(value)
}

/// An object within another: serde alone would take an array for the fields in their order.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

fn explain(path: &str, error: &serde_json::Error, whole: &'static str) -> JsonError {
    if !error.is_data() {
        return JsonError::Syntax(Rejection::invalid(whole, "is not valid JSON"));
    }
    let text = error.to_string();
    // serde reports a missing field at its parent and names it in backticks.
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let parent = if path == "." { None } else { Some(path) };
    let (field, problem) = match (missing, parent) {
        (Some(name), None) => (name.to_owned(), "is missing".to_owned()),
        (Some(name), Some(parent)) => (format!("{parent}.{name}"), "is missing".to_owned()),
        (None, parent) => {
            // What was found instead isn't said: it may be a password in the wrong place, and what is refused is logged.
            let wanted = text.rsplit_once(" at line ").and_then(|(text, _)| text.rsplit_once(", expected "));
            let problem =
                wanted.map_or("has the wrong shape".to_owned(), |(_, wanted)| format!("is not {wanted}"));
            (parent.unwrap_or(whole).to_owned(), problem)
        }
    };
    JsonError::Shape(Rejection::invalid(field, &problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only its shape matters here")]
        room_id: i64,
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only its shape matters here")]
        rooms: Vec<Object<Inner>>,
    }

    fn field_of(text: &str) -> String {
        let rejection = Rejection::from(read::<Outer>(text.as_bytes(), "data").expect_err("refused"));
        rejection.field.expect("names a field").into_owned()
    }

    #[test]
    fn names_the_field() {
        assert_eq!(field_of("{}"), "rooms");
        assert_eq!(field_of(r#"{"rooms":3}"#), "rooms");
        assert_eq!(field_of(r#"{"rooms":[{"room_id":1},{"room_id":"x"}]}"#), "rooms[1].room_id");
        assert_eq!(field_of(r#"{"rooms":[{}]}"#), "rooms[0].room_id");
        assert_eq!(field_of(r#"{"rooms":[{"room_id":1},[1]]}"#), "rooms[1]");
        assert_eq!(field_of(r#"{"rooms":[7]}"#), "rooms[0]");
        assert_eq!(field_of("{\"rooms"), "data");
        assert_eq!(field_of(r#"{"rooms":[]} x"#), "data");
    }

    #[test]
    fn an_array_is_no_object() {
        for (text, is_json) in [("[[]]", true), (" null", true), ("7", true), ("[", false), ("", false)] {
            let error = read::<Outer>(text.as_bytes(), "data").expect_err("refused");
            assert_eq!(matches!(error, JsonError::Shape(_)), is_json, "{text}");
            assert_eq!(Rejection::from(error).field.as_deref(), Some("data"), "{text}");
        }
    }

    #[test]
    fn what_was_found_is_not_repeated() {
        for (text, message) in [
            (r#"{"rooms":"hunter2"}"#, "rooms is not a sequence"),
            (r#"{"rooms":[["hunter2"]]}"#, "rooms[0] is not an object"),
            (
                r#"{"rooms":[{"room_id":"hunter2, expected hunter2 at line 7"}]}"#,
                "rooms[0].room_id is not i64",
            ),
            (r#"{"rooms":[{"room_id":1e99}]}"#, "rooms[0].room_id is not i64"),
            (r#""hunter2""#, "data is not an object"),
        ] {
            let rejection = Rejection::from(read::<Outer>(text.as_bytes(), "data").expect_err("refused"));
            assert_eq!(rejection.message, message);
        }
    }
}
