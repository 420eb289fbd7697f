//! The statement of what a user of Discord is.

use sqlx::PgPool;

use super::Granted;
use crate::ids::PersonId;
use crate::people::Role;

pub(super) async fn granted(db: &PgPool, user: &str) -> sqlx::Result<Option<Granted>> {
    let row = sqlx::query!(
        "SELECT p.id, p.granted_role, p.active FROM identities i JOIN persons p ON p.id = i.person_id
         WHERE i.channel = 'discord' AND i.address = $1",
        user
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Granted { id: PersonId(r.id), granted: Role::parse(&r.granted_role), active: r.active }))
}
