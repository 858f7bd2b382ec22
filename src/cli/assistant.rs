//! `hearth admin assistant`: assistants from the command line.

use super::admin::{first_line, said};
use crate::domain::{ApiKey, AssistantChange, AssistantTerms, BaseUrl, Enrolment, Name};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Make an assistant of a model that is served by an OpenAI-compatible engine (Ollama, llama.cpp, vLLM, …).
    Add(Add),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// What it is called, and mentioned by.
    #[arg(long)]
    name: String,
    /// Where its engine is: what comes before /chat/completions, as http://127.0.0.1:11434/v1.
    #[arg(long)]
    base_url: String,
    /// As the engine calls it.
    #[arg(long)]
    model: String,
    /// A file with the engine's key in its first line, - for standard input; never an argument, which everybody on the machine could read.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// What it is told before all else.
    #[arg(long)]
    instructions: Option<String>,
    /// Tokens that prompt and answer have together.
    #[arg(long, default_value_t = AssistantTerms::CONTEXT_TOKENS)]
    context_tokens: i64,
    /// Tokens of an answer.
    #[arg(long, default_value_t = AssistantTerms::OUTPUT_TOKENS)]
    output_tokens: i64,
    /// What a million tokens of prompt cost, in micro-dollars.
    #[arg(long, default_value_t = 0)]
    prompt_price: i64,
    /// What a million tokens of answer cost, in micro-dollars.
    #[arg(long, default_value_t = 0)]
    completion_price: i64,
    /// What it may ask people's clients to do: dice.roll, choose; with commas.
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// It sums up long rooms by itself.
    #[arg(long)]
    summarises: bool,
}

impl Task {
    /// The assistant to be made.
    pub(super) fn enrolment(self) -> Result<Enrolment, String> {
        let Self::Add(add) = self;
        let name = Name::parse("name", &add.name).map_err(said)?;
        let base_url = BaseUrl::parse(&add.base_url).map_err(said)?;
        let mut terms = AssistantTerms::new(base_url, &add.model).map_err(said)?;
        let key = add.api_key_file.map(|path| first_line("the key", &path)).transpose()?;
        let more = AssistantChange {
            api_key: Some(key.map(|key| ApiKey::parse(&key)).transpose().map_err(said)?),
            instructions: add.instructions.map(Into::into),
            context_tokens: Some(add.context_tokens),
            output_tokens: Some(add.output_tokens),
            prompt_price: Some(add.prompt_price),
            completion_price: Some(add.completion_price),
            tools: Some(add.tools.into_iter().map(Into::into).collect()),
            summarises: Some(add.summarises),
            ..AssistantChange::default()
        };
        terms.take(more).map_err(said)?;
        terms.check().map_err(said)?;
        Ok(Enrolment::OperatorsAssistant { name, terms: Box::new(terms) })
    }
}
