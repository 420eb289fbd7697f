//! ticketd from outside: a person writes mail, a person gets mail. One binary, so that one PostgreSQL, one Dovecot and
//! one SMTP server serve all tests.

#![expect(unreachable_pub, reason = "a test binary has no outside; `pub` marks what the harness offers")]
#![expect(clippy::panic, reason = "a failed expectation of a test is a panic")]

mod harness;

mod accounts;
mod admin_operations;
mod admin_people;
mod admin_skills;
mod alarms;
mod api;
mod architecture;
mod assignment;
mod attachments;
mod backup;
mod commands;
mod crash_points;
mod csat;
mod daemon;
mod day_of_one_email;
mod dead_letters;
mod discord_calls;
mod discord_commands;
mod discord_day;
mod discord_gateway;
mod discord_threads;
mod doctor;
mod email_threads;
mod envelopes;
mod fake_discord;
mod file_store;
mod gemini_client;
mod hostile_mail;
mod idempotency;
mod imap_source;
mod kill;
mod linking;
mod loop_breaker;
mod machines;
mod mail_out;
mod mailbox_alarms;
mod mailbox_oauth;
mod maildir_source;
mod memory;
mod merge_split;
mod oidc;
mod outages;
mod protection;
mod queue_promises;
mod reader_lock;
mod reload;
mod replies;
mod reports;
mod retention;
mod rights_matrix;
mod server_sent_events;
mod settings;
mod staff_answers;
mod staff_by_mail;
mod staff_tools;
mod taken_in_once;
mod takeover;
mod ticket_actions;
mod tickets_list;
mod tickets_search;
mod tickets_web;
#[cfg(feature = "otel")]
mod traces;
mod triage;
mod upgrade;
mod webhooks;
mod working_hours;
