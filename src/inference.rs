//! What a model is told and what it says: prompts, the exchange with an OpenAI-compatible endpoint, and when to give it up.

pub mod breaker;
pub mod chat;
pub mod failure;
pub mod filter;
pub mod prompt;
pub mod retry;
pub mod seed;
pub mod sse;
pub mod tokens;
pub mod upstream;

#[cfg(test)]
mod double;

pub use breaker::Breaker;
pub use chat::{FinishReason, Message, Piece, Request, Tool, ToolCall, Usage};
pub use failure::Failure;
pub use filter::{ContentFilter, Sieve};
pub use seed::stable_seed;
pub use upstream::{Answer, Endpoint, Upstream};
