//! Assistants as they are shown, and their terms.

use super::people::{PersonRow, person};
use crate::domain::{ApiKey, AssistantTerms, BaseUrl, Person, Prices, Role, Status, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{assistants, users};
use diesel::prelude::*;
use std::fmt::Display;

/// An active assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssistantView {
    pub person: Person,
    pub terms: AssistantTerms,
    /// Its engine failed too often: it isn't asked before.
    pub paused_until: Option<Timestamp>,
}

#[derive(Queryable)]
struct Row {
    id: i64,
    base_url: String,
    api_key: Option<String>,
    model: String,
    instructions: String,
    context_tokens: i64,
    output_tokens: i64,
    prompt_price: i64,
    completion_price: i64,
    temperature_milli: Option<i64>,
    tools: String,
    summarises: bool,
    enabled: bool,
    paused_until: Option<i64>,
}

type Columns = (
    assistants::user_id,
    assistants::base_url,
    assistants::api_key,
    assistants::model,
    assistants::instructions,
    assistants::context_tokens,
    assistants::output_tokens,
    assistants::prompt_price,
    assistants::completion_price,
    assistants::temperature_milli,
    assistants::tools,
    assistants::summarises,
    assistants::enabled,
    assistants::paused_until,
);

const COLUMNS: Columns = (
    assistants::user_id,
    assistants::base_url,
    assistants::api_key,
    assistants::model,
    assistants::instructions,
    assistants::context_tokens,
    assistants::output_tokens,
    assistants::prompt_price,
    assistants::completion_price,
    assistants::temperature_milli,
    assistants::tools,
    assistants::summarises,
    assistants::enabled,
    assistants::paused_until,
);

impl Store {
    /// Active assistants by id.
    pub async fn assistants(&self) -> Result<Vec<AssistantView>, StoreError> {
        self.read(|conn| assistants(conn, None)).await
    }

    /// An active assistant.
    pub async fn assistant(&self, assistant: UserId) -> Result<Option<AssistantView>, StoreError> {
        self.read(move |conn| Ok(assistants(conn, Some(assistant))?.pop())).await
    }
}

fn assistants(conn: &mut Conn, only: Option<UserId>) -> Result<Vec<AssistantView>, StoreError> {
    let (least, most) = only.map_or((i64::MIN, i64::MAX), |id| (id.get(), id.get()));
    let query = assistants::table
        .inner_join(users::table)
        .filter(users::role.eq(Role::Assistant.as_str()))
        .filter(users::status.eq(Status::Active.as_str()))
        .filter(users::id.between(least, most))
        .order(users::id)
        .select(((users::id, users::name, users::role), COLUMNS));
    let rows: Vec<(PersonRow, Row)> = on!(conn, |c| query.load(c))?;
    rows.into_iter()
        .map(|(of, row)| {
            let paused_until = row.paused_until.map(Timestamp::from_millis);
            Ok(AssistantView { person: person(of)?, terms: row.try_into()?, paused_until })
        })
        .collect()
}

/// What is known of an assistant's model.
pub(in crate::storage) fn terms(
    conn: &mut Conn,
    assistant: UserId,
) -> Result<Option<AssistantTerms>, StoreError> {
    let query = assistants::table.find(assistant.get()).select(COLUMNS);
    let row: Option<Row> = on!(conn, |c| query.first(c)).optional()?;
    row.map(AssistantTerms::try_from).transpose()
}

impl TryFrom<Row> for AssistantTerms {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        fn nonsense<E>(what: &'static str, of: impl Display) -> impl FnOnce(E) -> StoreError {
            move |_rejection| StoreError::nonsense(what, of)
        }
        let id = row.id;
        let key = row.api_key.map(|key| ApiKey::parse(&key)).transpose();
        Ok(Self {
            base_url: BaseUrl::parse(&row.base_url).map_err(nonsense("assistants.base_url", id))?,
            api_key: key.map_err(nonsense("assistants.api_key", id))?,
            model: row.model.into(),
            instructions: row.instructions.into(),
            context_tokens: row.context_tokens,
            output_tokens: row.output_tokens,
            prices: Prices { prompt: row.prompt_price, completion: row.completion_price },
            temperature_milli: row.temperature_milli,
            tools: row.tools.split(',').filter(|tool| !tool.is_empty()).map(Into::into).collect(),
            summarises: row.summarises,
            enabled: row.enabled,
        })
    }
}
