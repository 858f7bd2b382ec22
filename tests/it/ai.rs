//! Assistants from outside: who looks after them, and what they may use.

mod administration;
mod budgets;
mod summaries;
