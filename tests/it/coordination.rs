//! The core: connect, store, order, resume, presence, typing. `cargo test --test it coordination` runs it alone (TEST-09).

mod badges;
mod cycles;
mod idempotency;
mod joining;
mod lifecycle;
mod presence;
mod typing;
mod windows;
