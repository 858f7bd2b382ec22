//! Assistants from outside: what they answer and how it is told, who looks after them, what they may use, and what people's clients are
//! asked to do.

mod accounting;
mod actions;
mod administration;
mod answers;
mod budgets;
mod crashing;
mod elsewhere;
mod engine;
mod expiry;
mod failing;
mod fair;
mod fast;
mod filtering;
mod flooding;
mod forgetting;
mod measured;
mod prompts;
mod punctual;
mod routes;
mod scene;
mod settings;
mod stopping;
mod streaming;
mod stuck;
mod summaries;
mod tools;
mod withdrawn;
