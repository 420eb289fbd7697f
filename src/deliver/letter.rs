//! Mails with a code that links an address to a person in Discord, and mails about accounts.
//!
//! Nothing of them is stored: code or link, and with it the mail, is made anew from its row at each attempt, under the same
//! Message-ID and date. So a second copy, after a crash or a lost answer, is the same mail.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::mailer::Mailer;
use super::words;
use crate::clock::Clock;
use crate::config::{Config, Mailbox};
use crate::crash;
use crate::mail::compose::{self, Automatic, Outgoing};
use crate::mail::token::Signer;
use crate::people::letters::{self, Kind, LetterKey};
use crate::people::link::{self, CodeKey};
use crate::people::secrets::Secret;
use crate::queue::{self, Claimed, Done, JobError};
use crate::tickets::outbox::Attempt;

/// A code is good for minutes, and the lease of such a job is short.
const LONGEST_TRY: Duration = Duration::from_secs(90);

/// Mails codes and links.
#[derive(Clone, Debug)]
pub struct Letters {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub signer: Signer,
    pub key: CodeKey,
    pub letter_key: LetterKey,
    pub mailer: Arc<Mailer>,
}

/// A mail as it is to be written.
struct Letter {
    address: String,
    subject: String,
    text: String,
    asked_at: DateTime<Utc>,
}

impl Letters {
    /// Mails one code or letter, if there is still reason to.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let about_account = *job.kind == queue::ACCOUNT_LETTER;
        let letter = if about_account { self.account_letter(job).await? } else { self.code(job).await? };
        let Some(letter) = letter else {
            return job.done(self.db.begin().await?).await;
        };
        let mailbox = self.config.default_mailbox().context("no mailbox is configured to send from")?;
        let prefix = if about_account { 'a' } else { 'l' };
        let address = letter.address.clone();
        let content = match compose::compose(&self.outgoing(prefix, job.subject, letter, mailbox)) {
            Ok(content) => content,
            Err(_unwritable) => return self.give_up(job, "its address cannot be written").await,
        };
        crash::point("letter.composed");
        let name = format!("{}-{}", job.kind.name.replace('_', "-"), job.subject);
        // RFC 3834 §3.3: the null reverse-path, so that nothing answers it.
        let attempt =
            self.mailer.send_within(LONGEST_TRY, &mailbox.name, "", &address, &name, &content).await;
        crash::point("letter.sent");
        match attempt {
            Attempt::Sent { .. } => {
                let (mut tx, now) = (self.db.begin().await?, self.clock.now());
                if about_account {
                    letters::sent(&mut tx, job.subject, now).await?;
                } else {
                    link::sent(&mut tx, job.subject, now).await?;
                }
                let done = job.done(tx).await?;
                tracing::info!(letter.id = job.subject, "the {} {} was mailed", what(job), job.subject);
                Ok(done)
            }
            // People mistype addresses: nobody must act.
            Attempt::Permanent { answer } => {
                self.give_up(job, &format!("the server refused it ({})", code_of(&answer))).await
            }
            Attempt::Temporary { .. } | Attempt::Network { .. } if job.is_last(self.clock.now()) => {
                self.give_up(job, "the server did not take it in time").await
            }
            Attempt::Temporary { answer } => Err(JobError::Retry(anyhow!("not now ({})", code_of(&answer)))),
            Attempt::Network { error } => Err(JobError::Retry(anyhow!("{error}"))),
        }
    }

    async fn code(&self, job: &Claimed) -> sqlx::Result<Option<Letter>> {
        let letter = link::letter(&self.db, &self.key, job.subject, self.clock.now()).await?;
        Ok(letter.map(|letter| Letter {
            subject: words::CODE_SUBJECT.to_owned(),
            text: words::code(letter.code.expose(), link::LIFETIME.num_minutes()),
            address: letter.address,
            asked_at: letter.asked_at,
        }))
    }

    async fn account_letter(&self, job: &Claimed) -> sqlx::Result<Option<Letter>> {
        let letter = letters::letter(&self.db, &self.letter_key, job.subject, self.clock.now()).await?;
        Ok(letter.map(|letter| {
            let base = self.config.http.base_url();
            let link = |page: &str| {
                let token = letter.token.as_ref().map(Secret::expose).unwrap_or_default();
                format!("{base}/account/{page}?token={token}")
            };
            let hours = letter.kind.lifetime().num_hours();
            let provider = self.config.oidc.as_ref().map_or("another service", |oidc| oidc.name.as_str());
            let (subject, text) = match letter.kind {
                Kind::Confirm => (words::CONFIRM_SUBJECT, words::confirm(&link("confirm"), hours)),
                Kind::Exists => (words::EXISTS_SUBJECT, words::exists(&base)),
                Kind::Reset => (words::RESET_SUBJECT, words::reset(&link("reset"), hours)),
                Kind::Changed => (words::CHANGED_SUBJECT, words::changed(&base)),
                Kind::Link => (words::LINK_SUBJECT, words::link(&link("link"), provider, hours)),
            };
            Letter { address: letter.address, subject: subject.to_owned(), text, asked_at: letter.asked_at }
        }))
    }

    /// Who waits for it asks for another one.
    async fn give_up(&self, job: &Claimed, why: &str) -> Result<Done, JobError> {
        let done = job.done(self.db.begin().await?).await?;
        tracing::warn!(
            letter.id = job.subject,
            why,
            "the {} {} was not mailed: {why}",
            what(job),
            job.subject
        );
        Ok(done)
    }

    fn outgoing(&self, prefix: char, id: i64, letter: Letter, mailbox: &Mailbox) -> Outgoing {
        Outgoing {
            from_name: words::sender_name(None),
            from: mailbox.address.clone(),
            to_name: String::new(),
            to: letter.address,
            reply_to: mailbox.address.clone(),
            subject: letter.subject,
            text: letter.text,
            html: None,
            attachments: Vec::new(),
            message_id: self.signer.letter_id(prefix, id, &mailbox.address),
            in_reply_to: None,
            references: Vec::new(),
            automatic: Some(Automatic::Generated),
            loop_mark: self.signer.loop_mark(&mailbox.address),
            date: letter.asked_at,
        }
    }
}

fn what(job: &Claimed) -> &'static str {
    if *job.kind == queue::ACCOUNT_LETTER { "letter" } else { "code" }
}

/// The codes in front of a server's answer (RFC 5321 §4.2, RFC 3463): the rest may name the address.
fn code_of(answer: &str) -> String {
    let is_code = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let codes: Vec<&str> = answer.split_whitespace().filter(is_code).take(2).collect();
    if codes.is_empty() { "no code".to_owned() } else { codes.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_the_codes_are_kept() {
        assert_eq!(code_of("permanent error (550): 5.1.1 <ada@example.net> is unknown"), "5.1.1");
        assert_eq!(code_of("550 5.1.1 <ada@example.net> is unknown"), "550 5.1.1");
        assert_eq!(code_of("go away, ada@example.net"), "no code");
    }
}
