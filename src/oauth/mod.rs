//! Access tokens for mailboxes (OAuth 2.0, RFC 6749 §6), and the refresh tokens they come from.
//!
//! Owns `oauth_grants`. An access token lives in memory only. Each process renews its own at 80 % of its life, or once when a
//! mail server refuses it; of all processes one asks the token server at a time. A new refresh token is committed,
//! encrypted, before the access token that came with it is used. Where the server refuses a grant, nobody asks again until
//! the file, the client secret or the process is another one, or an admin wants it.
//!
//! Knows no mail server and no ticket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::sync::OwnedMutexGuard;

use crate::alarms;
use crate::clock::Clock;
use crate::config::OAuth;
use crate::crash;
use crate::queue::{self, Tx};

mod exchange;
mod seal;
mod sql;

use exchange::{Denied, Exchange, Granted};
use seal::Seal;

/// How long one process has the right to ask: longer than the longest exchange.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How often, and for how long, another process waits for that right.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: usize = 50;
/// Of an access token's life this much passes before there is another one.
const RENEWED_AFTER_PERCENT: i32 = 80;
/// Pauses after a failure double up to this.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(1);
const LONGEST_PAUSE_S: i64 = 300;
/// How often a new refresh token is tried to be stored before it is kept in memory for the next attempt.
const STORING_TRIES: usize = 3;

/// What a mailbox logs in by, as it is configured.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The mailbox's name in the configuration.
    mailbox: String,
    config: OAuth,
}

/// An access token, and how long it is good for.
#[derive(Clone, Debug)]
pub struct AccessToken {
    pub secret: SecretString,
    /// From then on there is another one.
    pub renew_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Tells the tokens of this process apart.
    number: u64,
}

impl AccessToken {
    /// Whether it is that one, and no other has taken its place.
    pub fn is_same(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// Why there is no access token. None of the texts holds a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The token server refuses the grant: somebody must act.
    #[error("{0}")]
    Refused(String),
    /// The token server can't be asked, or not now.
    #[error("{0}")]
    Unavailable(String),
    /// Our own side: the database.
    #[error(transparent)]
    Storage(#[from] anyhow::Error),
}

impl From<sqlx::Error> for TokenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(anyhow::Error::from(error).context("the database does not answer"))
    }
}

/// The tokens of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    db: PgPool,
    clock: Clock,
    seal: Seal,
    exchange: Exchange,
    /// A refusal of before is tried once more.
    started_at: DateTime<Utc>,
    held: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Held>>>>,
    /// Access tokens so far.
    count: AtomicU64,
}

type Key = [u8; 32];

/// What this process knows of a grant.
#[derive(Debug, Default)]
struct Held {
    token: Option<AccessToken>,
    /// A token was given up because a mail server refused it, and none was accepted since.
    forced: bool,
    failures: u32,
    /// Why the last renewal failed, and until when none is tried.
    pausing: Option<(DateTime<Utc>, String)>,
    /// A new refresh token that could not be stored, and what it followed.
    unsaved: Option<(i32, SecretString)>,
}

/// The files behind a grant, as they are now.
struct Read {
    key: Key,
    refresh_token: SecretString,
    client_secret: Option<SecretString>,
}

impl Grant {
    /// What `mailbox` is configured to log in by.
    pub fn new(mailbox: &str, config: &OAuth) -> Self {
        Self { mailbox: mailbox.to_owned(), config: config.clone() }
    }

    /// Whether its files can be read.
    pub fn check(&self) -> anyhow::Result<()> {
        self.read().map(drop)
    }

    fn read(&self) -> anyhow::Result<Read> {
        let refresh_token = self.config.refresh_token(&self.mailbox)?;
        let client_secret = self.config.client_secret(&self.mailbox)?;
        let mut hash = Sha256::new();
        let OAuth { token_url, client_id, scope, .. } = &self.config;
        for part in
            [token_url, client_id, scope.as_deref().unwrap_or_default(), refresh_token.expose_secret()]
        {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Ok(Read { key: hash.finalize().into(), refresh_token, client_secret })
    }
}

impl Tokens {
    /// Tokens at rest are encrypted with keys that derive from the master secrets, newest first.
    pub fn new(db: &PgPool, clock: &Clock, masters: &[Vec<u8>]) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Shared {
            db: db.clone(),
            clock: clock.clone(),
            seal: Seal::new(masters),
            exchange: Exchange::new()?,
            started_at: clock.now(),
            held: Mutex::default(),
            count: AtomicU64::new(0),
        })))
    }

    /// A token to log in with: the one in hand, or another one where its time has come.
    pub async fn token(&self, grant: &Grant) -> Result<AccessToken, TokenError> {
        let read = grant.read().map_err(|error| TokenError::Unavailable(format!("{error:#}")))?;
        let mut held = self.held(read.key).lock_owned().await;
        let now = self.0.clock.now();
        if let Some(token) = held.token.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.clone());
        }
        let still_good = held.token.clone().filter(|token| now < token.expires_at);
        if let Some((_, reason)) = held.pausing.as_ref().filter(|(until, _)| now < *until) {
            return still_good.ok_or_else(|| TokenError::Unavailable(reason.clone()));
        }
        let (tokens, grant) = (self.clone(), grant.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "what the token server gives must be stored even where nobody waits for it any more"
        )]
        let renewing = tokio::spawn(async move {
            let renewed = tokens.renew(&mut held, &grant, &read).await;
            tokens.note(&mut held, &renewed);
            renewed
        });
        let renewed = renewing.await.unwrap_or_else(|error| {
            Err(TokenError::Storage(anyhow::Error::from(error).context("renewing an access token failed")))
        });
        match (renewed, still_good) {
            (Err(TokenError::Unavailable(_) | TokenError::Storage(_)), Some(token)) => Ok(token),
            (renewed, _) => renewed,
        }
    }

    /// A mail server took this one.
    pub async fn accepted(&self, grant: &Grant, token: &AccessToken) {
        let Ok(read) = grant.read() else { return };
        let mut held = self.held(read.key).lock_owned().await;
        if held.token.as_ref().is_some_and(|known| known.is_same(token)) {
            held.forced = false;
        }
    }

    /// A mail server refused this one. True: there is, or may be, another one to try. Only once, until one is accepted: a
    /// server that takes no token at all must not have us ask for one each time.
    pub async fn refused(&self, grant: &Grant, token: &AccessToken) -> bool {
        let Ok(read) = grant.read() else { return false };
        let mut held = self.held(read.key).lock_owned().await;
        match &held.token {
            Some(known) if !known.is_same(token) => true,
            _ if held.forced => false,
            _ => {
                held.forced = true;
                held.token = None;
                true
            }
        }
    }

    /// The token server is asked again, although it refused.
    pub async fn forgive(&self, tx: &mut Tx, grant: &Grant) -> anyhow::Result<()> {
        let read = grant.read()?;
        Ok(sql::forgive(tx, &read.key).await?)
    }

    fn held(&self, key: Key) -> Arc<tokio::sync::Mutex<Held>> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(held.entry(key).or_default())
    }

    /// Notes what came of a renewal.
    fn note(&self, held: &mut OwnedMutexGuard<Held>, renewed: &Result<AccessToken, TokenError>) {
        match renewed {
            Ok(token) => {
                held.token = Some(token.clone());
                held.failures = 0;
                held.pausing = None;
            }
            Err(TokenError::Refused(_)) => {
                held.token = None;
                held.pausing = None;
            }
            Err(TokenError::Unavailable(reason)) => {
                let doubled = FIRST_PAUSE * 2_i32.saturating_pow(held.failures.min(16));
                let longest = doubled.min(TimeDelta::seconds(LONGEST_PAUSE_S));
                // Between half of it and all of it, so that many processes do not come back at once.
                let pause = longest * rand::random_range(500..=1000) / 1000;
                held.failures = held.failures.saturating_add(1);
                held.pausing = Some((self.0.clock.now() + pause, reason.clone()));
            }
            Err(TokenError::Storage(_)) => {}
        }
    }

    async fn renew(&self, held: &mut Held, grant: &Grant, read: &Read) -> Result<AccessToken, TokenError> {
        let shared = &self.0;
        let mark = shared.seal.mark(read.client_secret.as_ref());
        if let Some(row) = sql::find(&shared.db, &read.key).await?
            && let Some(reason) = self.is_parked(&row, &mark)
        {
            alarms::report(&shared.db, alarms::OAUTH, &grant.mailbox, &reason, shared.clock.now()).await?;
            return Err(TokenError::Refused(reason));
        }
        let row = self.hold(grant, read).await?;
        if let Some(reason) = self.is_parked(&row, &mark) {
            sql::let_go(&shared.db, &read.key, row.generation).await?;
            return Err(TokenError::Refused(reason));
        }
        let refresh_token = self.refresh_token(held, grant, read, &row);
        let asked = shared.exchange.refresh(&grant.config, read.client_secret.as_ref(), &refresh_token).await;
        match asked {
            Ok(granted) => {
                crash::point("oauth.granted");
                self.granted(held, grant, read, row.generation, granted).await
            }
            Err(Denied::Unavailable(reason)) => {
                sql::let_go(&shared.db, &read.key, row.generation).await?;
                Err(TokenError::Unavailable(format!(
                    "the token server of mailbox {} gives no access token: {reason}",
                    grant.mailbox
                )))
            }
            Err(Denied::Refused(code)) => {
                let reason = refusal(&grant.mailbox, &code);
                let now = shared.clock.now();
                let mut tx = shared.db.begin().await?;
                if !sql::refused(&mut tx, &read.key, row.generation, &mark, &reason, now).await? {
                    return Err(overtaken());
                }
                alarms::raise(&mut tx, alarms::OAUTH, &grant.mailbox, &reason, now).await?;
                tx.commit().await?;
                queue::ring(&shared.db).await;
                Err(TokenError::Refused(reason))
            }
        }
    }

    /// Why nobody asks the server at the moment.
    fn is_parked(&self, row: &sql::Row, mark: &[u8]) -> Option<String> {
        let is_recent = row.refused_at.is_some_and(|at| at >= self.0.started_at);
        let is_same = row.refused_with.as_deref() == Some(mark);
        row.refused_reason.clone().filter(|_| is_recent && is_same)
    }

    /// Waits for the right to ask.
    async fn hold(&self, grant: &Grant, read: &Read) -> Result<sql::Row, TokenError> {
        let (db, clock) = (&self.0.db, &self.0.clock);
        sql::enter(db, &read.key, &grant.mailbox, clock.now()).await?;
        for _ in 0..LOOKS {
            let now = clock.now();
            if let Some(row) = sql::hold(db, &read.key, now + LEASE, now).await? {
                return Ok(row);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(TokenError::Unavailable(
            "another process asks the token server and does not come to an end".to_owned(),
        ))
    }

    /// The newest one there is.
    fn refresh_token(&self, held: &Held, grant: &Grant, read: &Read, row: &sql::Row) -> SecretString {
        if let Some((_, token)) =
            held.unsaved.as_ref().filter(|(generation, _)| *generation == row.generation)
        {
            return token.clone();
        }
        let Some(sealed) = &row.refresh_token else { return read.refresh_token.clone() };
        self.0.seal.open(sealed, &read.key).unwrap_or_else(|| {
            tracing::warn!(
                mailbox = grant.mailbox,
                "the stored refresh token of mailbox {} can't be decrypted, so the one in the file is used: was \
                 auth.secret_file changed without keeping the old one in auth.previous_secret_files?",
                grant.mailbox
            );
            read.refresh_token.clone()
        })
    }

    /// Stores what must not be lost, then gives the token out.
    async fn granted(
        &self,
        held: &mut Held,
        grant: &Grant,
        read: &Read,
        generation: i32,
        granted: Granted,
    ) -> Result<AccessToken, TokenError> {
        held.unsaved = granted.refresh_token.clone().map(|token| (generation, token));
        let mut tries = 1;
        while let Err(error) = self.store(grant, read, generation, granted.refresh_token.as_ref()).await {
            if tries >= STORING_TRIES || !matches!(error, TokenError::Storage(_)) {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(LOOK).await;
        }
        held.unsaved = None;
        let now = self.0.clock.now();
        tracing::debug!(mailbox = grant.mailbox, "mailbox {} has a new access token", grant.mailbox);
        Ok(AccessToken {
            secret: granted.access_token,
            renew_at: now + granted.life * RENEWED_AFTER_PERCENT / 100,
            expires_at: now + granted.life,
            number: self.0.count.fetch_add(1, Ordering::Relaxed),
        })
    }

    async fn store(
        &self,
        grant: &Grant,
        read: &Read,
        generation: i32,
        refresh_token: Option<&SecretString>,
    ) -> Result<(), TokenError> {
        let shared = &self.0;
        let sealed = refresh_token.map(|token| shared.seal.close(token, &read.key)).transpose()?;
        let now = shared.clock.now();
        let mut tx = shared.db.begin().await?;
        if !sql::renewed(&mut tx, &read.key, generation, sealed.as_deref(), now).await? {
            return Err(overtaken());
        }
        let cleared = alarms::clear(&mut tx, alarms::OAUTH, &grant.mailbox, now).await?;
        tx.commit().await.context("a new refresh token can't be stored")?;
        if cleared {
            queue::ring(&shared.db).await;
        }
        Ok(())
    }
}

fn overtaken() -> TokenError {
    TokenError::Unavailable("another process renewed the token at the same moment".to_owned())
}

/// What to do about each code.
fn refusal(mailbox: &str, code: &str) -> String {
    let remedy = match code.split(',').next().unwrap_or_default() {
        "invalid_grant" | "interaction_required" | "consent_required" => {
            "it was revoked or has expired: put a new one into oauth.refresh_token_file"
        }
        "invalid_client" | "unauthorized_client" => "check oauth.client_id and oauth.client_secret_file",
        "invalid_scope" => "check oauth.scope",
        _ => "check oauth.token_url, oauth.client_id and oauth.scope",
    };
    format!("the token server refuses the refresh token of mailbox {mailbox} ({code}): {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        insta::assert_snapshot!(refusal("support", "invalid_grant, AADSTS700082"), @"the token server refuses the refresh token of mailbox support (invalid_grant, AADSTS700082): it was revoked or has expired: put a new one into oauth.refresh_token_file");
        insta::assert_snapshot!(refusal("support", "invalid_client"), @"the token server refuses the refresh token of mailbox support (invalid_client): check oauth.client_id and oauth.client_secret_file");
        insta::assert_snapshot!(refusal("support", "invalid_scope"), @"the token server refuses the refresh token of mailbox support (invalid_scope): check oauth.scope");
    }
}
