//! Requests that must not be done twice: `Idempotency-Key`. The answer is stored in the transaction that did what was asked,
//! so the same key gets the same answer again, also after a crash between the two, and nothing is done a second time.
//!
//! Owns `idempotency_keys`.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::State as Shared;
use super::error::Error;
use super::request::Caller;
use crate::queue::{self, Tx};

mod sql;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How long a key is remembered. Each new one sweeps out a few old ones.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// One request, and the key it carries, if any.
#[derive(Clone, Debug)]
pub(super) struct Once {
    key: Option<String>,
    hasher: Sha256,
}

impl Once {
    pub(super) fn of(request: &Request) -> Result<Self, Error> {
        let key = match request.headers().get(KEY) {
            None => None,
            Some(value) => {
                let key = value.to_str().ok().filter(|k| (1..=255).contains(&k.len()));
                let fault =
                    || Error::BadRequest("Idempotency-Key has 1 to 255 visible ASCII characters".into());
                Some(key.ok_or_else(fault)?.to_owned())
            }
        };
        let mut hasher = Sha256::new();
        hasher.update(request.method().as_str());
        hasher.update(b" ");
        hasher.update(request.uri().to_string());
        hasher.update(b"\n");
        Ok(Self { key, hasher })
    }

    pub(super) fn with(mut self, body: &[u8]) -> Self {
        self.hasher.update(body);
        self
    }

    /// Ends the handler with the answer that was given to this key before ([`Error::Answered`]). The same key on another request
    /// is refused.
    pub(super) async fn replay(&self, state: &Shared, caller: &Caller) -> Result<(), Error> {
        match self.answered(state, caller).await? {
            Some(answer) => Err(Error::Answered(Box::new(answer))),
            None => Ok(()),
        }
    }

    async fn answered(&self, state: &Shared, caller: &Caller) -> Result<Option<Response>, Error> {
        let Some(key) = &self.key else { return Ok(None) };
        let Some(stored) = sql::find(&state.db, caller.person.0, key).await? else { return Ok(None) };
        if stored.created_at + KEPT < state.clock.now() {
            return Ok(None);
        }
        if stored.request_hash != self.hasher.clone().finalize().to_vec() {
            return Err(Error::KeyReused);
        }
        let status = u16::try_from(stored.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
        let status = status.unwrap_or(StatusCode::OK);
        let mut answer = answer(status, stored.body);
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(Some(answer))
    }

    /// Commits what was done together with its answer, and rings for the jobs that follow. Where another request with the
    /// same key was quicker, nothing of this one stays, and that one's answer is given.
    pub(super) async fn commit<T: Serialize>(
        &self,
        mut tx: Tx,
        state: &Shared,
        caller: &Caller,
        status: StatusCode,
        body: &T,
    ) -> Result<Response, Error> {
        let text = serde_json::to_string(body).map_err(anyhow::Error::from)?;
        if let Some(key) = &self.key {
            let hash = self.hasher.clone().finalize().to_vec();
            let stored = sql::Stored {
                request_hash: hash,
                status: status.as_u16().into(),
                body: text.clone(),
                created_at: state.clock.now(),
            };
            if !sql::insert(&mut tx, caller.person.0, key, &stored, stored.created_at - KEPT).await? {
                tx.rollback().await?;
                let other = self.answered(state, caller).await?;
                return other
                    .ok_or_else(|| Error::Conflict("another request has this key: try again".to_owned()));
            }
        }
        tx.commit().await?;
        queue::ring(&state.db).await;
        Ok(answer(status, text))
    }
}

fn answer(status: StatusCode, body: String) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    if status == StatusCode::NO_CONTENT {
        status.into_response()
    } else {
        (status, kind, body).into_response()
    }
}
