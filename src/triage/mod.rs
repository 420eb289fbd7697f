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
use crate::settings::Settings;
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
    pub settings: Settings,
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
        // What staff asks for is done, whoever judged before; what people have set stays all the same.
        let is_again = subject.judged_by.is_some() && !subject.asked;
        if is_again && (subject.touched || subject.judged_by.as_deref() == Some(Engine::Gemini.as_str())) {
            return job.done(self.db.begin().await?).await;
        }
        let settings = self.settings.current().await;
        let question = Question {
            subject: subject.subject,
            body: subject.body,
            categories: settings.triage.categories.iter().map(|c| categories::label(c)).collect(),
            skills: people::skills(&self.db).await?.into_iter().map(label).collect(),
        };
        let begun = Instant::now();
        let (judgement, fallback) = self.judge(&question).await?;
        let again = fallback.as_ref().is_some_and(|f| f.may_pass).then_some(subject.created_at);
        if is_again && judgement.engine == Engine::Offline && (again.is_some() || fallback.is_none()) {
            // Still no Gemini: nothing new to say.
            return self.finish(job, ticket, None, again).await;
        }
        let took_ms = i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX);
        let record = record(judgement, fallback.map(|f| f.reason), is_again, took_ms);
        metrics::counter!("ticketd_triages_total", "engine" => record.engine).increment(1);
        metrics::histogram!("ticketd_triage_seconds", "engine" => record.engine)
            .record(begun.elapsed().as_secs_f64());
        crash::point("triage.judged");
        let done = self.finish(job, ticket, Some(&record), again).await?;
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

    /// Writes the judgement, if there is one; `again` is when the ticket was opened, if it is to be judged once more.
    async fn finish(
        &self,
        job: &Claimed,
        ticket: TicketId,
        record: Option<&TriageRecord>,
        again: Option<DateTime<Utc>>,
    ) -> Result<Done, JobError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(record) = record {
            changes::record_triage(&mut tx, ticket, record, now)
                .await
                .map_err(|e| JobError::Retry(e.into()))?;
        }
        if let Some(age) = again.map(|created_at| now - created_at).filter(|age| *age < JUDGE_AGAIN_FOR) {
            let at = now + age.max(JUDGE_AGAIN_AFTER);
            queue::enqueue_all(&mut tx, &[(&queue::TRIAGE, ticket.0, at)], now).await?;
        }
        job.done(tx).await
    }

    /// A judgement, and why it is not Gemini's although Gemini is configured.
    async fn judge(&self, question: &Question) -> Result<(Judgement, Option<Fallback>), JobError> {
        let Some(gemini) = &self.gemini else { return Ok((self.offline(question).await?, None)) };
        if self.over_budget().await? {
            let reason = "the daily token budget is used up".to_owned();
            return Ok((self.offline(question).await?, Some(Fallback { reason, may_pass: true })));
        }
        let boundary = format!("{:032x}", rand::random::<u128>());
        let error = match gemini.judge(self.clock.now(), question, &boundary).await {
            Ok(judgement) => return Ok((judgement, None)),
            Err(error) => error,
        };
        metrics::counter!("ticketd_gemini_failures_total", "kind" => kind(&error)).increment(1);
        tell(&error);
        // What the answer cost counts, although it is of no use.
        let (may_pass, tokens_in, tokens_out) = match &error {
            GeminiError::Blocked { tokens_in, tokens_out, .. }
            | GeminiError::Unusable { tokens_in, tokens_out, .. } => (false, *tokens_in, *tokens_out),
            GeminiError::Busy { .. }
            | GeminiError::Refused { .. }
            | GeminiError::Unavailable { .. }
            | GeminiError::Open { .. } => (true, None, None),
        };
        let judgement = Judgement { tokens_in, tokens_out, ..self.offline(question).await? };
        Ok((judgement, Some(Fallback { reason: error.to_string(), may_pass })))
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

/// Why the judgement is not Gemini's.
struct Fallback {
    reason: String,
    /// Gemini may judge this ticket later. Where it answered and the answer was no judgement, asking again would only
    /// cost the same once more.
    may_pass: bool,
}

/// A refusal passes by nothing but a person's hand; the rest we have degraded for.
fn tell(error: &GeminiError) {
    if matches!(error, GeminiError::Refused { .. }) {
        tracing::error!(error = %error, "Gemini did not judge; the offline engine does");
    } else {
        tracing::warn!(error = %error, "Gemini did not judge; the offline engine does");
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

fn record(
    judgement: Judgement,
    fallback_reason: Option<String>,
    is_again: bool,
    took_ms: i32,
) -> TriageRecord {
    TriageRecord {
        is_again,
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
