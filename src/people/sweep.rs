//! What is over goes: sessions, tokens, links and codes that can do nothing any more.

use chrono::{DateTime, TimeDelta, Utc};

use crate::queue::Tx;

mod sql;

/// Refresh tokens that were used: after that, one that is shown again is refused and ends nothing.
const USED_TOKENS: TimeDelta = TimeDelta::days(7);
/// Links and codes, so that people are told why theirs is not good any more.
const LINKS: TimeDelta = TimeDelta::days(7);

/// How much went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub sessions: u64,
    pub refresh_tokens: u64,
    pub letters: u64,
    pub oidc_logins: u64,
    pub link_codes: u64,
}

/// Removes what is over. A session is kept for so long after it ended (`None`: for ever): a token of it that is shown late is
/// still known, and refused.
pub async fn sweep(tx: &mut Tx, kept: Option<TimeDelta>, now: DateTime<Utc>) -> sqlx::Result<Swept> {
    let sessions = match kept {
        Some(kept) => sql::sessions(tx, now - kept).await?,
        None => 0,
    };
    Ok(Swept {
        sessions,
        refresh_tokens: sql::used_tokens(tx, now - USED_TOKENS).await?,
        letters: sql::letters(tx, now - LINKS).await?,
        oidc_logins: sql::oidc_logins(tx, now).await?,
        link_codes: sql::link_codes(tx, now - LINKS).await?,
    })
}
