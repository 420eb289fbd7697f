//! Answers that are written often, by name.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

const LONGEST_NAME: usize = 32;
const LONGEST_BODY: usize = 10_000;

/// One answer to be used again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Snippet {
    pub name: String,
    pub body: String,
    /// Who wrote it last; `None`: that person is gone.
    pub updated_by: Option<String>,
    pub updated_at: DateTime<Utc>,
}

/// Why a snippet was not saved, and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum SnippetError {
    #[error("`{0}` cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit")]
    Name(String),
    #[error("it is empty: write what it shall say")]
    Empty,
    #[error("it is {0} characters long: at most {LONGEST_BODY} are taken")]
    TooLong(usize),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A name in the form in which it is kept. Case and surrounding space do not matter.
fn named(name: &str) -> Result<String, SnippetError> {
    let lower = name.trim().to_lowercase();
    let shaped = lower.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    if lower.is_empty() || lower.len() > LONGEST_NAME || !shaped || lower.starts_with(['-', '_']) {
        // What is shown again is short, and has no line of its own.
        let shown = name.trim().chars().filter(|c| !c.is_control()).take(LONGEST_NAME + 1).collect();
        return Err(SnippetError::Name(shown));
    }
    Ok(lower)
}

/// All of them, by name.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<Snippet>> {
    sql::find(db, "", i64::MAX).await
}

/// Those whose name begins with this, by name.
pub async fn find(db: &PgPool, prefix: &str, limit: i64) -> sqlx::Result<Vec<Snippet>> {
    if prefix.contains('\0') {
        return Ok(Vec::new());
    }
    sql::find(db, &prefix.trim().to_lowercase(), limit).await
}

/// One of them. `None`: there is none of that name.
pub async fn get(db: &PgPool, name: &str) -> sqlx::Result<Option<Snippet>> {
    match named(name) {
        Ok(name) => sql::get(db, &name).await,
        Err(_) => Ok(None),
    }
}

/// Enters it, or changes the one of that name. Returns the name it is kept under. The caller has checked that `by` is staff.
pub async fn save(
    db: &PgPool,
    name: &str,
    body: &str,
    by: PersonId,
    now: DateTime<Utc>,
) -> Result<String, SnippetError> {
    let mut tx = db.begin().await?;
    let name = save_in(&mut tx, name, body, by, now).await?;
    tx.commit().await?;
    Ok(name)
}

/// As [`save`], in a transaction of the caller's.
pub async fn save_in(
    tx: &mut Tx,
    name: &str,
    body: &str,
    by: PersonId,
    now: DateTime<Utc>,
) -> Result<String, SnippetError> {
    let name = named(name)?;
    let body = body.trim().replace('\0', "");
    if body.is_empty() {
        return Err(SnippetError::Empty);
    }
    let length = body.chars().count();
    if length > LONGEST_BODY {
        return Err(SnippetError::TooLong(length));
    }
    sql::save(tx, &name, &body, by.0, now).await?;
    Ok(name)
}

/// Takes it away. False: there is none of that name.
pub async fn remove(db: &PgPool, name: &str) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let found = remove_in(&mut tx, name).await?;
    tx.commit().await?;
    Ok(found)
}

/// As [`remove`], in a transaction of the caller's.
pub async fn remove_in(tx: &mut Tx, name: &str) -> sqlx::Result<bool> {
    match named(name) {
        Ok(name) => sql::remove(tx, &name).await,
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for (typed, kept) in [("refund", "refund"), (" Refund-2 ", "refund-2"), ("0_a", "0_a")] {
            assert_eq!(named(typed).unwrap(), kept);
        }
        for typed in ["", " ", "-a", "_a", "two words", "größe", "a/b", "a\0b", &"a".repeat(33)] {
            let refused = named(typed).unwrap_err().to_string();
            assert!(
                refused.ends_with("1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit"),
                "{refused}"
            );
        }
        insta::assert_snapshot!(named("two\nwords").unwrap_err(), @"`twowords` cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit");
    }
}
