//! What the mail standards mean. Pure: bytes in, values out; knows nothing of tickets, sockets or the database.

pub mod address;
pub mod authentication;
pub mod base_subject;
pub mod body;
pub mod bounce;
pub mod classify;
pub mod compose;
pub mod decode;
pub mod fields;
pub mod forward;
pub mod html;
pub mod html_text;
pub mod markdown;
pub mod mime;
pub mod parse;
#[cfg(test)]
mod properties;
pub mod reading;
pub mod reply;
pub mod token;
