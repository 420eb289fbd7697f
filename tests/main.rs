//! ticketd from outside: a person writes mail, a person gets mail. One binary, so that one PostgreSQL, one Dovecot and
//! one SMTP server serve all tests.

mod harness;

mod architecture;
mod gemini_client;

mod day_of_one_email;
