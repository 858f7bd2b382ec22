//! Who may come in and as what: roles, deactivation, bans, invitations, guests, and those who try passwords.

mod abuse;
mod bans;
mod guests;
mod invites;
mod roles;
mod somebody;

use somebody::{Somebody, settles};
