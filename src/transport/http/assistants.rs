//! Assistants: who there is to ask, and for admins what is behind them. The key to an engine is taken and never shown.

use super::call::{Call, created, nothing, ok};
use super::problem::{Answer, Problem};
use crate::auth::identity::refusal;
use crate::domain::{
    Ack, Action, ApiKey, AssistantChange, AssistantTerms, BaseUrl, Command, Enrolment, Name, Rejection, Role,
    UserId,
};
use crate::storage::{AssistantView, StoreError};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What an assistant is to be. Missing is as it is, or as usual; a null takes the key and the temperature away.
#[derive(Default, Deserialize)]
struct Fields {
    name: Option<String>,
    base_url: Option<String>,
    model: Option<String>,
    #[serde(default, deserialize_with = "given")]
    api_key: Option<Option<String>>,
    instructions: Option<String>,
    context_tokens: Option<i64>,
    output_tokens: Option<i64>,
    prompt_price: Option<i64>,
    completion_price: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    temperature: Option<Option<f64>>,
    tools: Option<Vec<String>>,
    summarises: Option<bool>,
    enabled: Option<bool>,
}

/// Tells a null from a missing field.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl Fields {
    fn change(self) -> Result<(Option<Name>, AssistantChange), Rejection> {
        let key = |key: Option<String>| key.map(|key| ApiKey::parse(&key)).transpose();
        let heat = |heat: Option<f64>| heat.map(thousandths).transpose();
        let name = self.name.map(|name| Name::parse("name", &name)).transpose()?;
        let change = AssistantChange {
            base_url: self.base_url.map(|url| BaseUrl::parse(&url)).transpose()?,
            api_key: self.api_key.map(key).transpose()?,
            model: self.model.map(|model| AssistantTerms::model(&model)).transpose()?,
            instructions: self.instructions.map(Arc::from),
            context_tokens: self.context_tokens,
            output_tokens: self.output_tokens,
            prompt_price: self.prompt_price,
            completion_price: self.completion_price,
            temperature_milli: self.temperature.map(heat).transpose()?,
            tools: self.tools.map(|tools| tools.into_iter().map(Arc::from).collect()),
            summarises: self.summarises,
            enabled: self.enabled,
        };
        Ok((name, change))
    }
}

fn thousandths(heat: f64) -> Result<i64, Rejection> {
    let wrong = || Rejection::invalid("temperature", "is not between 0 and 2");
    if !(0.0..=2.0).contains(&heat) {
        return Err(wrong());
    }
    // Digits are the one way from such a number to a whole one that can't go wrong unseen.
    format!("{:.0}", heat * 1000.0).parse().map_err(|_no_number| wrong())
}

/// An assistant, as everybody sees it.
#[derive(Serialize)]
struct View<'a> {
    id: i64,
    name: &'a str,
    model: &'a str,
    enabled: bool,
    /// Whether it can be asked now.
    available: bool,
    #[serde(flatten)]
    inside: Option<Inside<'a>>,
}

/// The rest, for admins.
#[derive(Serialize)]
struct Inside<'a> {
    base_url: &'a str,
    has_key: bool,
    instructions: &'a str,
    context_tokens: i64,
    output_tokens: i64,
    prompt_price: i64,
    completion_price: i64,
    temperature: Option<f64>,
    tools: &'a [Arc<str>],
    summarises: bool,
    paused_until: Option<String>,
}

impl<'a> View<'a> {
    fn new(assistant: &'a AssistantView, inside: bool) -> Self {
        let AssistantView { person, terms, paused_until } = assistant;
        let paused_until = paused_until.filter(|until| *until > super::now());
        let heat = terms.temperature_milli.and_then(|heat| i32::try_from(heat).ok());
        Self {
            id: person.id.get(),
            name: &person.name,
            model: &terms.model,
            enabled: terms.enabled,
            available: terms.enabled && paused_until.is_none(),
            inside: inside.then(|| Inside {
                base_url: terms.base_url.as_str(),
                has_key: terms.api_key.is_some(),
                instructions: &terms.instructions,
                context_tokens: terms.context_tokens,
                output_tokens: terms.output_tokens,
                prompt_price: terms.prices.prompt,
                completion_price: terms.prices.completion,
                temperature: heat.map(|heat| f64::from(heat) / 1000.0),
                tools: &terms.tools,
                summarises: terms.summarises,
                paused_until: paused_until.map(|until| until.to_string()),
            }),
        }
    }
}

/// `GET /assistants`
pub(super) async fn list(call: Call) -> Answer {
    let store = &call.state.store;
    let mut assistants = store.assistants().await.map_err(refusal)?;
    if call.me().role == Role::Guest {
        // Guests know those they share a room with.
        let mut known = Vec::new();
        for assistant in assistants {
            let near = store.person_known_to(call.me(), assistant.person.id).await.map_err(refusal)?;
            known.extend(near.map(|_profile| assistant));
        }
        assistants = known;
    }
    let inside = call.may(Action::ChangeAssistant);
    let assistants: Vec<_> = assistants.iter().map(|assistant| View::new(assistant, inside)).collect();
    ok(&json!({ "assistants": assistants, "next": null }))
}

/// `POST /assistants`
pub(super) async fn create(mut call: Call) -> Answer {
    let (name, change) = call.read::<Fields>().await?.change()?;
    let missing = |field: &'static str| move || Rejection::invalid(field, "is missing");
    let name = name.ok_or_else(missing("name"))?;
    let base_url = change.base_url.clone().ok_or_else(missing("base_url"))?;
    let model = change.model.clone().ok_or_else(missing("model"))?;
    let mut terms = AssistantTerms::new(base_url, &model)?;
    terms.take(change)?;
    terms.check()?;
    let enrolment = Enrolment::Assistant { by: call.me().clone(), name, terms: Box::new(terms) };
    let origin = call.identity.principal().origin;
    let ack = call.state.bus.enrol(enrolment, origin, call.trace).await.map_err(Problem::counted)?;
    let Ack::Enrolled { person, .. } = ack else { return Err(Rejection::internal().into()) };
    created(&View::new(&find(&call, person.id).await?, true))
}

/// `PATCH /assistants/{id}`
pub(super) async fn change(mut call: Call) -> Answer {
    let assistant = call.user()?;
    let (name, change) = call.read::<Fields>().await?.change()?;
    call.submit(Command::UpdateAssistant { assistant, name, change: Box::new(change) }).await?;
    ok(&View::new(&find(&call, assistant).await?, true))
}

/// `DELETE /assistants/{id}`
pub(super) async fn remove(call: Call) -> Answer {
    let assistant = call.user()?;
    call.submit(Command::RemoveAssistant { assistant }).await?;
    call.state.bus.settled().await;
    nothing()
}

async fn find(call: &Call, assistant: UserId) -> Result<AssistantView, Problem> {
    // It is done, but what came of it may be out of reach.
    let lost = |error: StoreError| Problem::from(refusal(error)).after_commit();
    let found = call.state.store.assistant(assistant).await.map_err(lost)?;
    Ok(found.ok_or_else(|| Rejection::not_found("assistant"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_is_kept_in_thousandths() {
        for (heat, kept) in [(0.0, 0), (0.7, 700), (0.0004, 0), (1.2345, 1234), (2.0, 2000)] {
            assert_eq!(thousandths(heat), Ok(kept), "{heat}");
        }
        for wrong in [-0.1, 2.001, f64::NAN, f64::INFINITY] {
            assert_eq!(thousandths(wrong).expect_err("refused").field.as_deref(), Some("temperature"));
        }
    }

    #[test]
    fn a_null_isnt_nothing() {
        let fields: Fields = serde_json::from_str(r#"{"api_key": null}"#).expect("a change");
        let (_, change) = fields.change().expect("fine");
        assert_eq!((change.api_key, change.temperature_milli), (Some(None), None));
    }
}
