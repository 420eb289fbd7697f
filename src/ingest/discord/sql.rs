//! The statements of what comes in by Discord.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;

use super::Arrived;
use crate::queue::Tx;

pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) thread_id: Option<i64>,
    pub(super) message_id: Option<i64>,
}

/// Ledger rows and payloads of what is new; what the ledger has already is left out.
pub(super) async fn keep(tx: &mut Tx, batch: &[Arrived], now: DateTime<Utc>) -> sqlx::Result<Vec<Kept>> {
    let names: Vec<String> = batch.iter().map(|a| a.name.clone()).collect();
    let kinds: Vec<String> = batch.iter().map(|a| a.kind.as_str().to_owned()).collect();
    let threads: Vec<Option<i64>> = batch.iter().map(|a| a.thread.map(|t| t.0)).collect();
    let messages: Vec<Option<i64>> =
        batch.iter().map(|a| a.message.and_then(|m| i64::try_from(m).ok())).collect();
    let payloads: Vec<Value> = batch.iter().map(|a| a.payload.clone()).collect();
    let tokens: Vec<Option<String>> = batch.iter().map(|a| a.token.clone()).collect();
    sqlx::query_as!(
        Kept,
        r#"WITH given AS (
             SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[], $5::JSONB[], $6::TEXT[])
               WITH ORDINALITY AS g (name, kind, thread_id, message_id, payload, token, n)
           ), ledger AS (
             INSERT INTO inbound (source, mailbox, name, received_at, acted)
             SELECT 'discord', 'discord', name, $7, TRUE FROM (SELECT DISTINCT ON (name) name, n FROM given ORDER BY name, n) d
             ORDER BY n
             ON CONFLICT ON CONSTRAINT inbound_name_once DO NOTHING RETURNING id, name
           )
           INSERT INTO discord_payloads (inbound_id, kind, thread_id, message_id, payload, token)
           SELECT DISTINCT ON (l.id) l.id, g.kind, g.thread_id, g.message_id, g.payload, g.token
           FROM ledger l JOIN given g ON g.name = l.name ORDER BY l.id, g.n
           RETURNING inbound_id AS id, kind, thread_id, message_id"#,
        &names,
        &kinds,
        &threads as &[Option<i64>],
        &messages as &[Option<i64>],
        &payloads,
        &tokens as &[Option<String>],
        now
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) struct Row {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) payload: Value,
    pub(super) received_at: DateTime<Utc>,
}

impl Row {
    /// Of the files that are to be fetched.
    pub(super) fn bytes(&self) -> u64 {
        let files =
            self.payload.get("attachments").and_then(Value::as_array).filter(|_| self.kind == "message");
        let sizes = files.into_iter().flatten().filter_map(|file| file.get("size")?.as_u64());
        sizes.fold(0, u64::saturating_add)
    }
}

/// What was said in a thread and not understood yet, in the order it was said.
pub(super) async fn unheard(db: &PgPool, thread: i64, limit: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT i.id, p.kind, p.payload, i.received_at
           FROM discord_payloads p JOIN inbound i ON i.id = p.inbound_id
           WHERE p.thread_id = $1 AND i.fate IS NULL
           ORDER BY CASE p.kind WHEN 'message' THEN 0 ELSE 1 END, p.message_id, i.id LIMIT $2"#,
        thread,
        limit
    )
    .fetch_all(db)
    .await
}

pub(in crate::ingest) struct Asked {
    pub(in crate::ingest) payload: Value,
    pub(in crate::ingest) token: Option<String>,
    pub(in crate::ingest) fate: Option<String>,
    pub(in crate::ingest) received_at: DateTime<Utc>,
}

/// One interaction.
pub(in crate::ingest) async fn asked(db: &PgPool, id: i64) -> sqlx::Result<Option<Asked>> {
    sqlx::query_as!(
        Asked,
        "SELECT p.payload, p.token, i.fate, i.received_at
         FROM discord_payloads p JOIN inbound i ON i.id = p.inbound_id WHERE i.id = $1 AND p.kind = 'interaction'",
        id
    )
    .fetch_optional(db)
    .await
}

/// Gives a row its fate, once; its token has served. False: it has one already.
pub(in crate::ingest) async fn settle(
    tx: &mut Tx,
    id: i64,
    fate: &str,
    reason: Option<&str>,
    ticket: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let settled = sqlx::query!(
        "WITH served AS (UPDATE discord_payloads SET token = NULL WHERE inbound_id = $1 AND token IS NOT NULL)
         UPDATE inbound SET fate = $2, reason = $3, ticket_id = $4, handled_at = $5 WHERE id = $1 AND fate IS NULL",
        id,
        fate,
        reason,
        ticket,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(settled.rows_affected() == 1)
}
