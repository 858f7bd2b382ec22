//! Query parameters, read so that a wrong one is named.

use crate::auth::identity::refusal;
use crate::domain::Rejection;
use crate::storage::StoreError;
use actix_web::web;
use std::str::FromStr;

/// Ids and positions are below 2^53, so that every client can hold them.
const MOST: i64 = (1 << 53) - 1;

/// The parameters of one request. Unknown ones are ignored, of repeated ones the first counts.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query string apart.
    pub(super) fn parse(text: &str) -> Result<Self, Rejection> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text);
        pairs
            .map(|pairs| Self(pairs.into_inner()))
            .map_err(|_unreadable| Rejection::invalid("query", "can't be understood"))
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of another type, `what` for people.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, Rejection> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_unreadable| Rejection::invalid(name, &format!("is not {what}")))
            })
            .transpose()
    }

    /// A number that isn't negative.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<i64>, Rejection> {
        match self.parsed::<i64>(name, "a number")? {
            Some(number) if number < 0 => Err(Rejection::invalid(name, "is negative")),
            Some(number) if number > MOST => Err(Rejection::invalid(name, "is beyond any there may be")),
            number => Ok(number),
        }
    }

    /// `limit`, from 1 to `most`; `usual` without it.
    pub(super) fn limit(&self, usual: u32, most: u32) -> Result<u32, Rejection> {
        match self.parsed::<u32>("limit", "a number")? {
            None => Ok(usual),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(Rejection::invalid("limit", &format!("is not between 1 and {most}"))),
        }
    }
}

/// Loads a page and one entry more, to see whether there are more.
pub(super) async fn one_more<T, F>(
    limit: u32,
    load: impl FnOnce(usize) -> F,
) -> Result<(Vec<T>, bool), Rejection>
where
    F: Future<Output = Result<Vec<T>, StoreError>>,
{
    let limit = usize::try_from(limit).unwrap_or_default();
    let mut found = load(limit.saturating_add(1)).await.map_err(refusal)?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(result: Result<impl Sized, Rejection>) -> String {
        result.err().and_then(|rejection| rejection.field).expect("a field").into_owned()
    }

    #[test]
    fn wrong_parameters_are_named() {
        let query = Query::parse("limit=500&after=x&before=-1&q=a%20b&q=c").expect("a query");
        assert_eq!(query.text("q"), Some("a b"));
        assert_eq!(query.limit(50, 500), Ok(500));
        assert_eq!(field(query.limit(50, 100)), "limit");
        assert_eq!(field(query.number("after")), "after");
        assert_eq!(field(query.number("before")), "before");
        assert_eq!(query.number("around"), Ok(None));
        let query = Query::parse("after=9007199254740991&before=9007199254740992").expect("a query");
        assert_eq!(query.number("after"), Ok(Some(9_007_199_254_740_991)));
        assert_eq!(field(query.number("before")), "before");
        assert_eq!(Query::parse("").expect("empty").limit(50, 100), Ok(50));
    }
}
