//! The calls that ticketd makes to Discord, each under a deadline, each error sorted by what to do about it.
//!
//! Calls go through serenity and its rate limiter. Two kinds go directly, with a loop of our own for "too many requests":
//! files, because serenity can't number more than one without its own builders, and the first answer to an interaction, because
//! serenity would keep a rate limit for each one for ever, and three seconds leave nothing to wait for. With
//! `discord.api_base` all of them go directly: serenity's rate limiter ignores it.

mod calls;
mod download;
mod error;
mod send;
mod things;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use serde_json::Value;
use serenity::http::{Http, HttpBuilder};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::Discord;
pub use download::DownloadError;
pub use error::{ApiError, Refusal};
use send::{Call, Direct};
pub use things::{Application, Channel, Guild, Kind, Me, Member, Overwrite, Role, Tag, ThreadChange};

pub use super::message::{Answer, File, Message};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one try; serenity's own client would wait for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(15);
/// Less than the pause after which the gateway looks again.
const REFUSED_FOR: Duration = Duration::from_mins(9);
/// For a call with all its tries and waits.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// Discord takes the first answer for three seconds.
const ANSWER_DEADLINE: Duration = Duration::from_millis(2500);

/// The client. One for the whole process, because it knows which routes are used up.
pub struct Api {
    http: Arc<Http>,
    direct: Direct,
    is_direct: bool,
    deadline: Duration,
    application: OnceCell<u64>,
    /// When Discord last refused the token: ten thousand refused calls in ten minutes get the address banned.
    refused: Mutex<Option<(Instant, ApiError)>>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("is_direct", &self.is_direct).finish_non_exhaustive()
    }
}

impl Api {
    /// Fails on a token or an authority that can't be used at all; nothing is sent yet.
    pub fn new(config: &Discord) -> anyhow::Result<Self> {
        let token = config.token()?;
        let token = token.expose_secret().trim();
        serenity::utils::token::validate(token).or_else(|error| match config.api_base {
            Some(_) => Ok(()), // a proxy may hold the token
            None if config.connect_addr.is_some() => Ok(()),
            None => Err(error).context("discord: this is no bot's token: copy it from the portal's page Bot"),
        })?;
        let client = client(config)?;
        let mut http = HttpBuilder::new(token).client(client.clone());
        if let Some(base) = &config.api_base {
            http = http.proxy(base.trim_end_matches('/')).ratelimiter_disabled(true);
        }
        Ok(Self {
            http: Arc::new(http.build()),
            direct: Direct::new(client, config.api_base.as_deref(), token)?,
            is_direct: config.api_base.is_some(),
            deadline: CALL_DEADLINE,
            application: OnceCell::new(),
            refused: Mutex::default(),
        })
    }

    /// Another deadline for each call with all its tries and waits.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// For the gateway: the same client, the same rate limits.
    pub fn http(&self) -> Arc<Http> {
        Arc::clone(&self.http)
    }

    /// After a refused token nothing is asked for a while: nothing but a new token changes the answer.
    async fn call(&self, call: Call<'_>) -> Result<Value, ApiError> {
        let known = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, error)) = known.filter(|(at, _)| at.elapsed() < REFUSED_FOR) {
            return Err(error);
        }
        let result = self.call_now(call).await;
        if let Err(error @ ApiError::Unauthorized(_)) = &result {
            let now = (Instant::now(), error.clone());
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        result
    }

    async fn call_now(&self, call: Call<'_>) -> Result<Value, ApiError> {
        if self.is_direct || !call.files.is_empty() {
            return self.call_directly(call, self.deadline).await;
        }
        // Boxed: serenity's future is 20 KB, and would be a part of every future that awaits this one.
        within(self.deadline, Box::pin(send::by_serenity(&self.http, call))).await
    }

    async fn call_directly(&self, call: Call<'_>, deadline: Duration) -> Result<Value, ApiError> {
        within(deadline, Box::pin(self.direct.call(call, Instant::now() + deadline))).await
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result,
        Err(_elapsed) => Err(ApiError::Unreachable(format!("no answer within {deadline:?}"))),
    }
}

fn client(config: &Discord) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .use_rustls_tls()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TRY_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(file) = &config.ca_file {
        let pem = std::fs::read(file)
            .with_context(|| format!("discord: cannot read ca_file {}", file.display()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("discord: ca_file {} must be PEM", file.display()))?;
        anyhow::ensure!(!authorities.is_empty(), "discord: ca_file {} holds no certificate", file.display());
        builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    if let Some(address) = config.connect_addr {
        // A proxy of the system would look discord.com up for itself.
        builder = builder.resolve("discord.com", address).no_proxy();
    }
    if config.api_base.as_deref().is_some_and(|base| base.starts_with("http://")) {
        builder = builder.no_proxy(); // a loopback address
    }
    builder.build().context("discord: make an HTTP client")
}
