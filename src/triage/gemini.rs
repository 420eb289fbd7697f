//! The thin client of Gemini: one question, one judgement, within one deadline. It decides nothing about tickets: what
//! to ask and what counts as an answer is in [`crate::triage::prompt`]; whoever calls it falls back to the offline
//! engine on any [`GeminiError`].
//!
//! The key travels in a header only, and no error carries a URL, a body or anything else from the wire.

mod breaker;
mod status;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use crate::triage::prompt::{self, Refusal};
use crate::triage::question::{Judgement, Question};
use breaker::{Breaker, Outcome};

/// Tries of one request inside one call, for what passes by itself. Waiting longer is the job queue's business.
const TRIES: u32 = 3;
/// Before the second try; doubled before each further one (google-genai 3.4.0 begins with one second too).
const BACKOFF: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A judgement has a few hundred bytes, thoughts included a few thousand.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The quota of a day begins anew at midnight Pacific time, which is 07:00 or 08:00 UTC
/// (<https://ai.google.dev/gemini-api/docs/rate-limits>); the later one is right all year.
const DAILY_RESET_HOUR_UTC: u32 = 8;

/// What a call cost: tokens in, tokens out, as far as Gemini said.
type Tokens = (Option<i32>, Option<i32>);

/// Where and how to ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://generativelanguage.googleapis.com`, or a proxy or a test's stand-in for it.
    pub base_url: String,
    pub model: String,
    /// Unset unless configured: models differ in what they take.
    pub thinking_level: Option<String>,
    pub api_key: SecretString,
    /// For one judgement as a whole: every try, wait and slow body in it.
    pub timeout: Duration,
}

/// Why there is no judgement. The texts are for staff and logs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GeminiError {
    /// Too many requests, or the quota of the day is gone.
    #[error("Gemini is busy{}", if *.per_day { ": the quota of the day is used up" } else { "" })]
    Busy { retry_after: Option<Duration>, per_day: bool },
    /// Asking again is no use until someone changes the configuration.
    #[error("Gemini refused the request with HTTP status {status}: {reason}")]
    Refused { status: u16, reason: String },
    /// Gemini won't judge this ticket.
    #[error("Gemini gave no judgement: blocked ({reason})")]
    Blocked { reason: String, tokens_in: Option<i32>, tokens_out: Option<i32> },
    /// It answered twice, and neither answer could be read.
    #[error("Gemini gave no usable judgement: {reason}")]
    Unusable { reason: String, tokens_in: Option<i32>, tokens_out: Option<i32> },
    /// No answer, or none of Gemini's.
    #[error("Gemini can't be reached: {reason}")]
    Unavailable { reason: String },
    /// Not asked: too much went wrong lately.
    #[error("Gemini is not asked until {until}")]
    Open { until: DateTime<Utc> },
}

/// The client. One for the whole process, because it knows how Gemini has been doing.
#[derive(Debug)]
pub struct Gemini {
    client: Client,
    generate: Url,
    describe: Url,
    settings: Settings,
    backoff: Duration,
    breaker: Breaker,
}

impl Gemini {
    /// Fails on a base URL, model or key that can't be used at all; nothing is sent yet.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let base = Url::parse(&settings.base_url).context("base_url of [gemini] is not a URL")?;
        ensure!(matches!(base.scheme(), "http" | "https"), "base_url of [gemini] must begin with https://");
        let plain = base.query().is_none() && base.username().is_empty() && base.password().is_none();
        ensure!(plain, "base_url of [gemini] must have no query and no login in it");
        let model = settings.model.trim().trim_start_matches("models/");
        let named = !model.is_empty()
            && !model.starts_with('.')
            && model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        ensure!(named, "model of [gemini] is not a model name");

        let key = settings.api_key.expose_secret().trim();
        let Ok(mut key) = HeaderValue::from_str(key) else {
            bail!("the API key of [gemini] has characters that no key has")
        };
        ensure!(!key.is_empty(), "the API key of [gemini] is empty");
        key.set_sensitive(true);

        let mut builder = Client::builder()
            .default_headers(HeaderMap::from_iter([("x-goog-api-key".parse()?, key)]))
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .timeout(settings.timeout)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("ticketd/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            // A proxy of the environment can't reach our own loopback.
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().context("could not set up the HTTP client for Gemini")?,
            generate: endpoint(&base, &format!("{model}:generateContent"))?,
            describe: endpoint(&base, model)?,
            settings,
            backoff: BACKOFF,
            breaker: Breaker::default(),
        })
    }

    /// The same client with another first wait between tries: tests have no second to lose.
    #[must_use]
    pub fn with_backoff(self, backoff: Duration) -> Self {
        Self { backoff, ..self }
    }

    /// Asks for a judgement. `boundary` is random and fresh for each call.
    ///
    /// # Errors
    /// Any [`GeminiError`]; all but `Blocked` and `Unusable` also count against the circuit breaker.
    pub async fn judge(
        &self,
        now: DateTime<Utc>,
        question: &Question,
        boundary: &str,
    ) -> Result<Judgement, GeminiError> {
        let lease = TimeDelta::from_std(self.settings.timeout).unwrap_or(TimeDelta::MAX);
        self.breaker.admit(now, lease).map_err(|until| GeminiError::Open { until })?;

        let started = Instant::now();
        let body = prompt::request(question, boundary, self.settings.thinking_level.as_deref());
        let deadline = started + self.settings.timeout;
        // Time-outs of single reads never end a body that drips: the whole exchange has one deadline.
        let result = match timeout_at(deadline, self.converse(&body, question, deadline)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(GeminiError::Unavailable { reason: "no complete answer in time".into() }),
        };
        let took = TimeDelta::from_std(started.elapsed()).unwrap_or(TimeDelta::MAX);
        let now = now.checked_add_signed(took).unwrap_or(now);
        self.breaker.record(now, outcome(now, &result));
        result
    }

    /// Whether key and model are good, for `ticketd doctor`: what Google calls the model. Asks even when the circuit is
    /// open.
    pub async fn check(&self) -> Result<String, GeminiError> {
        let deadline = Instant::now() + self.settings.timeout;
        let model = match timeout_at(deadline, self.send(Method::GET, &self.describe, None, deadline)).await {
            Ok(model) => model?,
            Err(_elapsed) => {
                return Err(GeminiError::Unavailable { reason: "no complete answer in time".into() });
            }
        };
        let methods = model.get("supportedGenerationMethods").and_then(Value::as_array);
        if methods.is_some_and(|methods| methods.iter().all(|method| method != "generateContent")) {
            let reason = "the model does not generate content: check model in [gemini]".into();
            return Err(GeminiError::Refused { status: 200, reason });
        }
        let name = model.get("displayName").and_then(Value::as_str).unwrap_or(&self.settings.model);
        Ok(name.chars().filter(|c| c.is_alphanumeric() || " ._-()".contains(*c)).take(100).collect())
    }

    /// One exchange, and a second one if the answer can't be used as it is.
    async fn converse(
        &self,
        body: &Value,
        question: &Question,
        deadline: Instant,
    ) -> Result<Judgement, GeminiError> {
        let answer = self.send(Method::POST, &self.generate, Some(body), deadline).await?;
        let spent = prompt::tokens(&answer);
        let first = prompt::read(&answer, question).map(|judgement| self.signed(judgement));
        let complaint = match &first {
            Ok(judgement) => prompt::complaint(judgement),
            Err(Refusal::Unusable(reason)) => Some(reason.clone()),
            Err(Refusal::Blocked(_)) => None,
        };
        let Some(complaint) = complaint else {
            return first.map_err(|refusal| no_judgement(refusal, spent));
        };
        // What is half good stays in hand: a repair that hangs may not use up the whole deadline.
        let deadline = deadline - self.settings.timeout / 10;
        let again = prompt::repaired(body, &complaint);
        let repair =
            timeout_at(deadline, self.send(Method::POST, &self.generate, Some(&again), deadline)).await;
        match repair {
            Ok(Ok(answer)) => self.better(first, &answer, question, spent),
            // The service failed the second time only: the first answer says all there is to say.
            Ok(Err(_)) | Err(_) => first.map_err(|refusal| no_judgement(refusal, spent)),
        }
    }

    /// The better one of a first reading and a repaired answer, at the cost of both.
    fn better(
        &self,
        first: Result<Judgement, Refusal>,
        repaired: &Value,
        question: &Question,
        spent: Tokens,
    ) -> Result<Judgement, GeminiError> {
        let (tokens_in, tokens_out) = sum(spent, prompt::tokens(repaired));
        let second = prompt::read(repaired, question).map(|judgement| self.signed(judgement));
        let better = match (first, second) {
            (Ok(first), Ok(second)) if first.discarded.len() < second.discarded.len() => first,
            (_, Ok(second)) => second,
            (Ok(first), Err(_)) => first,
            (Err(_), Err(refusal)) => return Err(no_judgement(refusal, (tokens_in, tokens_out))),
        };
        Ok(Judgement { tokens_in, tokens_out, ..better })
    }

    /// A response need not say which model it is from.
    fn signed(&self, judgement: Judgement) -> Judgement {
        if judgement.model.is_empty() {
            Judgement { model: self.settings.model.clone(), ..judgement }
        } else {
            judgement
        }
    }

    /// Sends until there is an answer, a refusal, no try left or no time for a further wait.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
        deadline: Instant,
    ) -> Result<Value, GeminiError> {
        let mut tried = 0;
        loop {
            let error = match self.exchange(method.clone(), url, body).await {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(reason)) => GeminiError::Unavailable { reason },
            };
            tried += 1;
            // Full seconds would make every worker come back at once: between half the wait and all of it.
            let pause = self.backoff.saturating_mul(1 << (tried - 1)).mul_f64(rand::random_range(0.5..=1.0));
            if tried >= TRIES || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(tried, %error, pause_ms = pause.as_millis(), "Gemini failed, trying again");
            sleep(pause).await;
        }
    }

    async fn exchange(&self, method: Method, url: &Url, body: Option<&Value>) -> Result<Value, Failure> {
        let mut request = self.client.request(method, url.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        if status::is_passing(status) {
            return Err(Failure::Passing(format!("it answered with HTTP status {status}")));
        }
        // Counted as it comes and after decompression: a length that was promised says nothing.
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                let reason = "the answer is too big to be one".into();
                return Err(Failure::Final(GeminiError::Unavailable { reason }));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status != 200 {
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            return Err(Failure::Final(status::read(status, retry_after, &bytes)));
        }
        // A body that isn't JSON was cut short or isn't Gemini's; what the model wrote is a string inside of it.
        serde_json::from_slice(&bytes).map_err(|_error| Failure::Passing("the answer is not JSON".into()))
    }
}

/// What one exchange can end in, other than an answer.
enum Failure {
    Passing(String),
    Final(GeminiError),
}

/// In our own words: reqwest's have the URL in them.
fn failure(error: &reqwest::Error) -> Failure {
    if error.is_timeout() && !error.is_connect() {
        let reason = "no complete answer in time".into();
        return Failure::Final(GeminiError::Unavailable { reason });
    }
    let reason = if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the connection was lost"
    };
    Failure::Passing(reason.to_owned())
}

fn no_judgement(refusal: Refusal, (tokens_in, tokens_out): Tokens) -> GeminiError {
    match refusal {
        Refusal::Blocked(reason) => GeminiError::Blocked { reason, tokens_in, tokens_out },
        Refusal::Unusable(reason) => GeminiError::Unusable { reason, tokens_in, tokens_out },
    }
}

fn sum(one: Tokens, other: Tokens) -> Tokens {
    let add = |a: Option<i32>, b: Option<i32>| match (a, b) {
        (None, b) => b,
        (a, None) => a,
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
    };
    (add(one.0, other.0), add(one.1, other.1))
}

/// What the circuit breaker learns from a call.
fn outcome(now: DateTime<Utc>, result: &Result<Judgement, GeminiError>) -> Outcome {
    let Err(error) = result else { return Outcome::Answered };
    match error {
        GeminiError::Blocked { .. } | GeminiError::Unusable { .. } => Outcome::Answered,
        GeminiError::Refused { .. } => Outcome::Refused,
        GeminiError::Unavailable { .. } | GeminiError::Open { .. } => Outcome::Failed,
        GeminiError::Busy { retry_after, per_day } => {
            let told = retry_after.and_then(|wait| now.checked_add_signed(TimeDelta::from_std(wait).ok()?));
            let reset = per_day.then(|| daily_reset(now));
            told.max(reset).map_or(Outcome::Failed, |until| Outcome::Closed { until })
        }
    }
}

fn daily_reset(now: DateTime<Utc>) -> DateTime<Utc> {
    let reset = NaiveTime::from_hms_opt(DAILY_RESET_HOUR_UTC, 0, 0).unwrap_or_default();
    let today = now.date_naive().and_time(reset).and_utc();
    if today > now { today } else { today + TimeDelta::days(1) }
}

fn endpoint(base: &Url, last: &str) -> anyhow::Result<Url> {
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut path) => {
            path.pop_if_empty().extend(["v1beta", "models", last]);
        }
        Err(()) => bail!("base_url of [gemini] can't have a path"),
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
