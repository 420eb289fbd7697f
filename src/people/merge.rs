//! Two persons become one.

use chrono::{DateTime, Utc};

use super::{access, api_tokens, external, letters, second_factor};
use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

/// Waits until nobody enters anything for one of these persons any more ([`super::by_address`], [`super::by_discord`]), and
/// lets nobody begin until the transaction ends.
pub async fn hold_alone(tx: &mut Tx, people: &[PersonId]) -> sqlx::Result<()> {
    let ids: Vec<i64> = people.iter().map(|p| p.0).collect();
    sql::hold_alone(tx, &ids).await
}

/// Moves everything that `from` is in this module's tables to `into`; `from` stays behind, inactive, as history that
/// points to the survivor.
///
/// Rights: the granted role is the survivor's, and the role by Discord the greater of the two, which the next action in
/// Discord sets anew. So nobody gets more than the greater of what the two had, and each of the two was proven by whoever
/// merges them: the one by acting in Discord, the other by a code that was mailed to its address. An admin who entered
/// somebody by mail address meant whoever reads that mail, although nobody had verified it yet. Skills, password and second
/// factor stay with the survivor, and are taken over only where there are none; who signs in by another still does. Sessions,
/// API tokens and links of `from` end. A password proves nothing by itself, so none may be set for an address that nobody has
/// verified, but by an admin.
///
/// The caller has moved what points to `from` elsewhere: tickets are locked before persons.
pub async fn merge(tx: &mut Tx, from: PersonId, into: PersonId, now: DateTime<Utc>) -> sqlx::Result<()> {
    if from == into {
        return Ok(());
    }
    super::lock(tx, &[from, into]).await?;
    sql::move_identities(tx, from.0, into.0).await?;
    sql::move_skills(tx, from.0, into.0).await?;
    sql::move_credentials(tx, from.0, into.0).await?;
    second_factor::take_over(tx, from, into).await?;
    external::take_over(tx, from, into).await?;
    access::end_sessions(tx, from, None, now).await?;
    api_tokens::revoke_all(tx, from, now).await?;
    letters::end_all(tx, from, now).await?;
    sql::move_codes_and_snippets(tx, from.0, into.0).await?;
    sql::move_hours(tx, from.0, into.0).await?;
    sql::unite(tx, from.0, into.0).await?;
    sql::retire(tx, from.0, into.0).await
}
