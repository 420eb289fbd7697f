//! What a user of Discord is, apart from what Discord says of them.

use sqlx::PgPool;

use super::Role;
use crate::ids::PersonId;

mod sql;

/// A person in Discord, without the role that their roles there give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub id: PersonId,
    /// What an admin made of them.
    pub granted: Role,
    pub active: bool,
}

/// The person behind a user of Discord, if it is known; in one look.
pub async fn granted_by_discord(db: &PgPool, user: u64) -> sqlx::Result<Option<Granted>> {
    sql::granted(db, &user.to_string()).await
}
