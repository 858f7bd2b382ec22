//! Assistants from outside: what they answer, and how it is told.

mod answers;
mod failing;
mod scene;
mod stopping;
mod streaming;
