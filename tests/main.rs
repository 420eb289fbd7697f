//! ticketd from outside: a person writes mail, a person gets mail. One binary, so that one PostgreSQL, one Dovecot and
//! one SMTP server serve all tests.

#![expect(unreachable_pub, reason = "a test binary has no outside; `pub` marks what the harness offers")]
#![expect(clippy::panic, reason = "a failed expectation of a test is a panic")]

mod harness;

mod architecture;
mod gemini_client;

mod crash_points;
mod day_of_one_email;
mod queue_promises;

mod api;
mod assignment;
mod commands;
mod daemon;
mod replies;
mod triage;
