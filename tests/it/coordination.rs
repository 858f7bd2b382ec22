//! The core: connect, store, order, resume, presence, typing. `cargo test --test it coordination` runs it alone (TEST-09).

mod answers;
mod badges;
mod cycles;
mod idempotency;
mod joining;
mod lifecycle;
mod outliving;
mod presence;
mod present_in_rooms;
mod reading;
mod typing;
mod windows;
