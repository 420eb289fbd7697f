//! Every sentence that people read from us in Discord, and in the mails of `/link`. Each refusal says what to do instead.
//!
//! Names and texts come as they are stored; they are made harmless here.

mod answers;
mod pages;
mod refusals;
mod threads;

pub use answers::*;
pub use pages::*;
pub use refusals::*;
pub use threads::*;

use super::text::{escape_within, one_line};

/// A name, subject or other short text of somebody else's, inside a sentence of ours.
fn said(text: &str) -> String {
    let text = escape_within(&one_line(text), 200);
    if text.is_empty() { "?".to_owned() } else { text }
}

/// `1 ticket`, `3 tickets`.
fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
