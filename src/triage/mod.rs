//! Judging tickets: Gemini where it is configured and answers, else the offline engine, at once.
//!
//! The model proposes; code decides. A judgement is stored whole, and written only to fields no person has set.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::{Config, Engine as Configured};
use crate::crash;
use crate::ids::TicketId;
use crate::people;
use crate::queue::{self, Claimed, Done, JobError};
use crate::tickets::{TriageRecord, changes};

mod categories;
pub mod gemini;
pub mod offline;
pub mod predict;
pub mod prompt;
pub mod question;
mod untrusted;

use gemini::{Gemini, GeminiError};
use question::{Engine, Judgement, Label, Question};

/// Judges tickets.
#[derive(Clone, Debug)]
pub struct Triage {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    /// `None`: not configured, or switched off.
    pub gemini: Option<Arc<Gemini>>,
}

/// A ticket that the offline engine judged in Gemini's stead is judged again while it is younger than this.
const JUDGE_AGAIN_FOR: TimeDelta = TimeDelta::hours(24);
/// The first pause before that; it doubles with the ticket's age.
const JUDGE_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(5);

impl Triage {
    /// The client for the configured Gemini; `None` where the offline engine is to decide.
    pub fn client(config: &Config) -> anyhow::Result<Option<Arc<Gemini>>> {
        let Some(section) = &config.gemini else { return Ok(None) };
        if config.triage.engine == Some(Configured::Offline) {
            return Ok(None);
        }
        let settings = gemini::Settings {
            base_url: section.base_url.clone(),
            model: section.model.clone(),
            thinking_level: section.thinking_level.clone(),
            api_key: section.key()?,
            timeout: section.timeout,
        };
        Ok(Some(Arc::new(Gemini::new(settings)?)))
    }

    /// Judges one ticket.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let ticket = TicketId(job.subject);
        let Some(subject) = changes::triage_subject(&self.db, ticket).await? else {
            return Err(JobError::Fail(anyhow::anyhow!("there is no ticket #{ticket}")));
        };
        let is_again = subject.judged_by.is_some();
        if is_again && (subject.touched || subject.judged_by.as_deref() == Some(Engine::Gemini.as_str())) {
            return job.done(self.db.begin().await?).await;
        }
        let question = Question {
            subject: subject.subject,
            body: subject.body,
            categories: self.config.triage.categories.iter().map(|c| categories::label(c)).collect(),
            skills: people::skills(&self.db).await?.into_iter().map(label).collect(),
        };
        let begun = Instant::now();
        let (judgement, fallback) = self.judge(&question).await?;
        if is_again && judgement.engine == Engine::Offline {
            // Still no Gemini: nothing new to say.
            return self.finish(job, ticket, subject.created_at, None).await;
        }
        let took_ms = i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX);
        let again = fallback.is_some();
        let record = record(judgement, fallback, took_ms);
        metrics::counter!("ticketd_triages_total", "engine" => record.engine).increment(1);
        metrics::histogram!("ticketd_triage_seconds", "engine" => record.engine)
            .record(begun.elapsed().as_secs_f64());
        crash::point("triage.judged");
        let done = self.finish(job, ticket, subject.created_at, Some((&record, again))).await?;
        crash::point("triage.committed");
        tracing::info!(
            ticket.id = ticket.0,
            engine = record.engine,
            confidence = record.confidence,
            took_ms = record.took_ms,
            fallback_reason = record.fallback_reason,
            "ticket #{ticket} triaged by {}",
            record.engine
        );
        Ok(done)
    }

    async fn finish(
        &self,
        job: &Claimed,
        ticket: TicketId,
        created_at: DateTime<Utc>,
        record: Option<(&TriageRecord, bool)>,
    ) -> Result<Done, JobError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let again = record.is_none_or(|(_, again)| again);
        if let Some((record, _)) = record {
            changes::record_triage(&mut tx, ticket, record, now)
                .await
                .map_err(|e| JobError::Retry(e.into()))?;
        }
        let age = now - created_at;
        if again && self.gemini.is_some() && age < JUDGE_AGAIN_FOR {
            let at = now + age.max(JUDGE_AGAIN_AFTER);
            queue::enqueue_all(&mut tx, &[(&queue::TRIAGE, ticket.0, at)], now).await?;
        }
        job.done(tx).await
    }

    /// A judgement, and why it is not Gemini's although Gemini is configured.
    async fn judge(&self, question: &Question) -> Result<(Judgement, Option<String>), JobError> {
        let Some(gemini) = &self.gemini else { return Ok((self.offline(question).await?, None)) };
        let reason = if self.over_budget().await? {
            "the daily token budget is used up".to_owned()
        } else {
            let boundary = format!("{:032x}", rand::random::<u128>());
            match gemini.judge(self.clock.now(), question, &boundary).await {
                Ok(judgement) => return Ok((judgement, None)),
                Err(error) => {
                    metrics::counter!("ticketd_gemini_failures_total", "kind" => kind(&error)).increment(1);
                    tracing::warn!(error = %error, "Gemini did not judge; the offline engine does");
                    error.to_string()
                }
            }
        };
        Ok((self.offline(question).await?, Some(reason)))
    }

    async fn offline(&self, question: &Question) -> Result<Judgement, JobError> {
        let question = question.clone();
        let work = tokio::task::spawn_blocking(move || offline::judge(&question));
        work.await.map_err(|e| JobError::Retry(anyhow::Error::from(e).context("the offline engine failed")))
    }

    async fn over_budget(&self) -> Result<bool, JobError> {
        let budget = self.config.gemini.as_ref().map_or(0, |g| g.daily_token_budget);
        if budget == 0 {
            return Ok(false);
        }
        let midnight = self.clock.now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        Ok(changes::tokens_since(&self.db, midnight).await? >= budget)
    }
}

fn kind(error: &GeminiError) -> &'static str {
    match error {
        GeminiError::Busy { .. } => "busy",
        GeminiError::Refused { .. } => "refused",
        GeminiError::Blocked { .. } => "blocked",
        GeminiError::Open { .. } => "open",
        GeminiError::Unusable { .. } => "unusable",
        GeminiError::Unavailable { .. } => "unavailable",
    }
}

fn label(skill: people::Skill) -> Label {
    Label { slug: skill.slug, name: skill.name, aliases: skill.aliases, description: skill.description }
}

fn record(judgement: Judgement, fallback_reason: Option<String>, took_ms: i32) -> TriageRecord {
    TriageRecord {
        engine: judgement.engine.as_str(),
        model: judgement.model,
        prompt_version: judgement.prompt_version,
        category: judgement.category,
        priority: judgement.priority,
        language: judgement.language,
        skills: judgement.skills,
        notes: judgement.notes,
        suggested_reply: judgement.suggested_reply,
        confidence: judgement.confidence,
        discarded: judgement.discarded,
        fallback_reason,
        tokens_in: judgement.tokens_in,
        tokens_out: judgement.tokens_out,
        took_ms,
    }
}
