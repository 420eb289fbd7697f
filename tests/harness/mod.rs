//! The world around ticketd: a real PostgreSQL, Dovecot and SMTP server, a fake Gemini and a fake
//! Discord, and people who write mail.

pub mod admin;
pub mod ask;
pub mod browser;
pub mod certificates;
pub mod children;
pub mod daemon;
pub mod desk;
pub mod discord;
pub mod dovecot;
pub mod gemini;
pub mod imap_script;
pub mod ledger;
pub mod logs;
pub mod mail;
pub mod members;
pub mod oidc;
pub mod online;
pub mod postgres;
pub mod program;
pub mod receiver;
pub mod seen;
pub mod small_disk;
pub mod smtp;
pub mod token_server;
pub mod wait;
