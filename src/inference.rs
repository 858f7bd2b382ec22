//! What a model is told and what it says: prompts, the exchange with an OpenAI-compatible endpoint, and when to give it up.

pub mod chat;
pub mod failure;
pub mod retry;
pub mod seed;
pub mod sse;

pub use chat::{FinishReason, Message, Piece, Request, Tool, ToolCall, Usage};
pub use failure::Failure;
pub use seed::stable_seed;
