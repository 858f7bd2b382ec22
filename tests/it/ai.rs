//! Assistants, and what people's clients are asked to do.

mod actions;
mod expiry;
mod fast;
mod routes;
mod settings;
