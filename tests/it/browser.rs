//! The web client in a real browser against the real server: what newcomers do, through crashes, tabs and keyboards.
//!
//! Proves TEST-06.

mod access;
mod administration;
mod assistants;
mod driver;
mod line;
mod story;
mod stumbling;
mod uncertain;
mod use_of_it;
mod window;
