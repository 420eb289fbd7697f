//! The statements that remove what is over.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

pub(super) async fn sessions(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!("DELETE FROM sessions WHERE expires_at < $1 OR revoked_at < $1", before);
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn used_tokens(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!("DELETE FROM refresh_tokens WHERE used_at < $1", before);
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn letters(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!("DELETE FROM account_letters WHERE expires_at < $1", before);
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn oidc_logins(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!("DELETE FROM oidc_logins WHERE expires_at < $1", before);
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn link_codes(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!("DELETE FROM link_codes WHERE expires_at < $1", before);
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}
