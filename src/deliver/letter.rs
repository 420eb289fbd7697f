//! The mail with a code that links its address to a person in Discord.
//!
//! Nothing of it is stored: the code, and with it the mail, is made anew from its row at each attempt, under the same
//! Message-ID and date. So a second copy, after a crash or a lost answer, is the same mail.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use sqlx::PgPool;

use super::mailer::Mailer;
use super::words;
use crate::clock::Clock;
use crate::config::{Config, Mailbox};
use crate::crash;
use crate::mail::compose::{self, Automatic, Outgoing};
use crate::mail::token::Signer;
use crate::people::link::{self, CodeKey, Letter};
use crate::queue::{Claimed, Done, JobError};
use crate::tickets::outbox::Attempt;

/// The code is good for minutes, and its job's lease is short.
const LONGEST_TRY: Duration = Duration::from_secs(90);

/// Mails codes.
#[derive(Clone, Debug)]
pub struct Letters {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub signer: Signer,
    pub key: CodeKey,
    pub mailer: Arc<Mailer>,
}

impl Letters {
    /// Mails one code, if it is still good.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let Some(letter) = link::letter(&self.db, &self.key, job.subject, self.clock.now()).await? else {
            return job.done(self.db.begin().await?).await;
        };
        let mailbox = self.config.default_mailbox().context("no mailbox is configured to send from")?;
        let content = match compose::compose(&self.outgoing(job.subject, &letter, mailbox)) {
            Ok(content) => content,
            Err(_unwritable) => return self.give_up(job, "its address cannot be written").await,
        };
        crash::point("letter.composed");
        let name = format!("letter-{}", job.subject);
        // RFC 3834 §3.3: the null reverse-path, so that nothing answers it.
        let attempt =
            self.mailer.send_within(LONGEST_TRY, &mailbox.name, "", &letter.address, &name, &content).await;
        crash::point("letter.sent");
        match attempt {
            Attempt::Sent { .. } => {
                let mut tx = self.db.begin().await?;
                link::sent(&mut tx, job.subject, self.clock.now()).await?;
                let done = job.done(tx).await?;
                tracing::info!(code.id = job.subject, "the code {} was mailed", job.subject);
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

    /// Who waits for the code asks for another one.
    async fn give_up(&self, job: &Claimed, why: &str) -> Result<Done, JobError> {
        let done = job.done(self.db.begin().await?).await?;
        tracing::warn!(code.id = job.subject, why, "the code {} was not mailed: {why}", job.subject);
        Ok(done)
    }

    fn outgoing(&self, id: i64, letter: &Letter, mailbox: &Mailbox) -> Outgoing {
        Outgoing {
            from_name: words::sender_name(None),
            from: mailbox.address.clone(),
            to_name: String::new(),
            to: letter.address.clone(),
            reply_to: mailbox.address.clone(),
            subject: words::CODE_SUBJECT.to_owned(),
            text: words::code(letter.code.expose(), link::LIFETIME.num_minutes()),
            attachments: Vec::new(),
            message_id: self.signer.letter_id(id, &mailbox.address),
            in_reply_to: None,
            references: Vec::new(),
            automatic: Some(Automatic::Generated),
            loop_mark: self.signer.loop_mark(&mailbox.address),
            date: letter.asked_at,
        }
    }
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
