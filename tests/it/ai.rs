//! Assistants from outside: who looks after them, what they may use, and what people's clients are asked to do.

mod actions;
mod administration;
mod budgets;
mod expiry;
mod fast;
mod routes;
mod settings;
mod summaries;
