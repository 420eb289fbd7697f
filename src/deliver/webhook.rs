//! Events to the servers that want to be told of them: signed POSTs (<https://www.standardwebhooks.com>), tried for a day.
//!
//! A receiver may get an event twice, under the same `webhook-id`, and events in another order than they happened in: the
//! ticket in it has a version.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use serde_json::json;
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::crash;
use crate::ids::{WebhookDeliveryId, WebhookId};
use crate::mail::token::hmac;
use crate::queue::{self, Claimed, Done, JobError};
use crate::tickets::feed::Told;
use crate::tickets::webhooks::{self, Next, Outgoing, Try};

pub mod guard;

use guard::{Refused, Resolver};

/// For one try, from the look-up of the name to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries at once for one webhook, in one process: a slow one leaves places for others.
const AT_ONCE: usize = 2;
/// Of an answer's body so much is let through, for the sake of servers that want to finish; it is not looked at.
const LONGEST_ANSWER: usize = 1024;

/// Sends events.
#[derive(Clone, Debug)]
pub struct Webhooks {
    db: PgPool,
    clock: Clock,
    allowed: Arc<[IpNet]>,
    client: reqwest::Client,
    in_hand: Arc<Mutex<HashMap<WebhookId, usize>>>,
}

/// A place for one try. It is free again when this is dropped.
struct Place {
    webhook: WebhookId,
    in_hand: Arc<Mutex<HashMap<WebhookId, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        match in_hand.get_mut(&self.webhook) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                in_hand.remove(&self.webhook);
            }
        }
    }
}

impl Webhooks {
    /// Fails on an authority that cannot be used.
    pub fn new(config: &Config, db: PgPool, clock: Clock) -> anyhow::Result<Self> {
        let allowed: Arc<[IpNet]> = config.webhooks.allowed_networks.clone().into();
        let client = client(&config.webhooks, &allowed)?;
        Ok(Self { db, clock, allowed, client, in_hand: Arc::default() })
    }

    /// Sends one delivery, or says why not.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let id = WebhookDeliveryId(job.subject);
        let Some(mut out) = webhooks::outgoing(&self.db, id, now).await? else {
            return self.drop_delivery(job, id).await;
        };
        match out.state.as_str() {
            "waiting" => {}
            "failed" => {
                webhooks::begin_anew(&self.db, &out, job.created_at).await?;
                (out.since, out.attempts) = (job.created_at, 0);
            }
            _ => return job.done(self.db.begin().await?).await,
        }
        // Whoever asks for a ping wants to know how things stand now.
        if out.event.is_some() {
            if !out.active {
                return self.drop_delivery(job, id).await;
            }
            if let Some(until) = out.held_until.filter(|until| *until > now) {
                return self.later(job, until, now).await;
            }
        }
        let Some(_place) = self.place(out.webhook) else {
            let waiting = webhooks::waiting(&self.db, out.webhook, 200).await?;
            // Spread, or all of them would ask again at once.
            let pause = TimeDelta::milliseconds(500 + waiting * 250);
            return self.later(job, now + pause, now).await;
        };
        let begun = Instant::now();
        let answer = self.post(&out, now).await;
        crash::point("webhook.sent");
        let took_ms = i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX);
        self.conclude(job, &out, answer, took_ms).await
    }

    async fn drop_delivery(&self, job: &Claimed, id: WebhookDeliveryId) -> Result<Done, JobError> {
        let mut tx = self.db.begin().await?;
        webhooks::drop_delivery(&mut tx, id).await?;
        job.done(tx).await
    }

    fn place(&self, webhook: WebhookId) -> Option<Place> {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let count = in_hand.entry(webhook).or_default();
        if *count >= AT_ONCE {
            return None;
        }
        *count += 1;
        Some(Place { webhook, in_hand: Arc::clone(&self.in_hand) })
    }

    /// Not now, and nothing went wrong: the job is entered anew.
    async fn later(&self, job: &Claimed, at: DateTime<Utc>, now: DateTime<Utc>) -> Result<Done, JobError> {
        let spread = (at - now).max(TimeDelta::seconds(1)).num_milliseconds() / 4;
        let at = at + TimeDelta::milliseconds(rand::random_range(0..=spread));
        let mut tx = self.db.begin().await?;
        queue::enqueue_all(&mut tx, &[(&queue::WEBHOOK, job.subject, at)], now).await?;
        job.done(tx).await
    }

    /// The status of the answer, or why there is none.
    async fn post(&self, out: &Outgoing, now: DateTime<Utc>) -> Result<u16, String> {
        let url = guard::check(&out.url, &self.allowed).map_err(|refused| refused.to_string())?;
        let (id, body) = message(out).map_err(|error| error.to_string())?;
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("user-agent", concat!("ticketd/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.timestamp().to_string())
            .header("webhook-signature", signature(&out.keys(), &id, now.timestamp(), &body))
            .body(body);
        let mut answer = request.send().await.map_err(|error| why(&error))?;
        let mut read = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            read += chunk.len();
            if read > LONGEST_ANSWER {
                break;
            }
        }
        Ok(answer.status().as_u16())
    }

    async fn conclude(
        &self,
        job: &Claimed,
        out: &Outgoing,
        answer: Result<u16, String>,
        took_ms: i32,
    ) -> Result<Done, JobError> {
        let now = self.clock.now();
        let status = answer.as_ref().ok().copied();
        let arrived = status.is_some_and(|status| (200..300).contains(&status));
        let error = match (&answer, status) {
            _ if arrived => None,
            (Err(error), _) => Some(error.clone()),
            (Ok(status), _) => Some(format!("the receiver answered with HTTP status {status}")),
        };
        let attempt = Try { status, error, took_ms };
        let outcome = if arrived { "sent" } else { "missed" };
        metrics::counter!("ticketd_webhooks_total", "outcome" => outcome).increment(1);
        let mut tx = self.db.begin().await?;
        if arrived {
            webhooks::arrived(&mut tx, out, &attempt, now).await?;
            return match job.done(tx).await {
                // Cancelled or given to another worker meanwhile: what happened is written down all the same.
                Err(JobError::Late) => {
                    let mut tx = self.db.begin().await?;
                    webhooks::arrived(&mut tx, out, &attempt, now).await?;
                    tx.commit().await?;
                    Err(JobError::Late)
                }
                done => done,
            };
        }
        let next = webhooks::missed(&mut tx, out, &attempt, status == Some(410), now).await?;
        if next == Next::SwitchedOff {
            let done = job.done(tx).await?;
            tracing::warn!(webhook.id = out.webhook.0, "the webhook {} is switched off", out.webhook);
            return Ok(done);
        }
        tx.commit().await?;
        let error = anyhow!(attempt.error.unwrap_or_default());
        match next {
            Next::Again { not_before } => {
                let pause = queue::WEBHOOK.pause_after(out.attempts + 1, rand::random());
                let held = not_before.and_then(|at| (at - now).to_std().ok()).unwrap_or_default();
                Err(JobError::RetryAfter(pause.max(held), error))
            }
            Next::Failed | Next::SwitchedOff => Err(JobError::Fail(error)),
        }
    }
}

fn client(config: &config::Webhooks, allowed: &Arc<[IpNet]>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .use_rustls_tls()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        // A proxy would look the name up for itself.
        .no_proxy()
        // A connection that stays open was checked long ago.
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(Resolver { allowed: Arc::clone(allowed) }));
    if let Some(file) = &config.ca_file {
        let pem = std::fs::read(file)
            .with_context(|| format!("webhooks: cannot read ca_file {}", file.display()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("webhooks: ca_file {} must be PEM", file.display()))?;
        anyhow::ensure!(!authorities.is_empty(), "webhooks: ca_file {} holds no certificate", file.display());
        builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    builder.build().context("webhooks: make an HTTP client")
}

/// What is sent, under its id, which is the same at every attempt.
fn message(out: &Outgoing) -> anyhow::Result<(String, String)> {
    let (id, told) = match &out.event {
        Some(event) => (format!("event_{}", event.id), event.told()),
        None => (format!("ping_{}", out.id), ping(out.created_at)),
    };
    Ok((id, serde_json::to_string(&told)?))
}

fn ping(created_at: DateTime<Utc>) -> Told {
    let (r#type, channel) = ("ping".to_owned(), "web".to_owned());
    Told { id: None, r#type, created_at, ticket: None, actor_id: None, channel, data: json!({}) }
}

/// One signature by each key: a receiver that knows any of them can verify.
fn signature(keys: &[Vec<u8>], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let each = keys.iter().map(|key| format!("v1,{}", STANDARD.encode(hmac(key, signed.as_bytes()))));
    each.collect::<Vec<_>>().join(" ")
}

/// Why there is no answer, without the address: it may hold a secret.
fn why(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut root = None;
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return refused.to_string();
        }
        root = Some(cause.to_string());
        source = cause.source();
    }
    if error.is_timeout() {
        return format!("the receiver did not answer within {} s", TIMEOUT.as_secs());
    }
    let root: String = root.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    if error.is_connect() {
        format!("cannot connect to the receiver: {root}")
    } else {
        format!("the receiver broke off: {root}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            &[key.clone(), b"other".to_vec()],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        let (first, second) = signed.split_once(' ').unwrap();
        assert_eq!(first, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(second.starts_with("v1,") && second.len() == first.len(), "{second}");
    }
}
