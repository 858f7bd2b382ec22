//! Who are you: passwords, sessions, bot keys, signed text, and whether a request came from our own pages.

pub mod access;
pub mod address;
pub mod bot_key;
pub mod cookie;
pub mod email;
pub mod identity;
pub mod join_code;
pub mod origin;
pub mod password;
pub mod signing;
pub mod token;
