//! Assistants, and what people's clients are asked to do.

mod actions;
mod expiry;
mod routes;
mod settings;
