//! The loop breaker: token buckets that bound how much automatic mail leaves in an hour about one ticket, to one address and
//! to one domain. Where two machines answer each other, it ends after a few mails, and staff see that it did.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::Channel;
use crate::ids::{PersonId, TicketId};
use crate::queue::Tx;

mod sql;

/// What a bucket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LoopScope)]
pub enum Scope {
    /// To one address.
    Address,
    /// To all addresses of a domain.
    Domain,
    /// Notices about one ticket to one member of staff.
    Notices,
    /// About one ticket, to whoever is not staff.
    Ticket,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Address, Self::Domain, Self::Notices, Self::Ticket];

    /// The word under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Domain => "domain",
            Self::Notices => "notices",
            Self::Ticket => "ticket",
        }
    }
}

/// How many automatic mails an hour may have; 0: any number.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub per_ticket: i64,
    pub per_address: i64,
    pub per_domain: i64,
}

/// Notices tell staff what people write, so more of them are no loop; but an answering machine at staff's end is.
const NOTICES_PER_MAIL: i64 = 4;

/// A bucket that one mail takes a token from.
#[derive(Clone, Debug, PartialEq)]
struct Bucket {
    scope: Scope,
    subject: String,
    per_hour: i64,
}

/// An automatic mail that wants to leave.
#[derive(Clone, Copy, Debug)]
pub struct Automatic<'a> {
    pub ticket: TicketId,
    pub address: &'a str,
    /// The member of staff whom it tells of something; `None`: it goes outside.
    pub notice_to: Option<PersonId>,
}

/// Takes a token from every bucket the mail falls into. Where one is empty none is taken, and it is held back: `Some` says by
/// which. The first time is an event of the ticket.
pub async fn take(
    tx: &mut Tx,
    mail: Automatic<'_>,
    rates: Rates,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Scope>> {
    let buckets = buckets(mail, rates);
    let mut levels = Vec::new();
    // In one order for everybody, or two would wait for each other.
    for bucket in &buckets {
        let row = sql::lock(tx, bucket.scope.as_str(), &bucket.subject, bucket.per_hour, now).await?;
        levels.push((bucket, row.tripped, level(row.tokens, row.filled_at, bucket.per_hour, now)));
    }
    if let Some((empty, tripped, tokens)) = levels.iter().find(|(_, _, tokens)| *tokens < 1.0) {
        sql::trip(tx, empty.scope.as_str(), &empty.subject, *tokens, mail.ticket.0, now).await?;
        if !tripped {
            let data = json!({"scope": empty.scope, "per_hour": empty.per_hour});
            super::sql::insert_event(tx, mail.ticket.0, "loop_breaker", None, Channel::Email, &data, now)
                .await?;
        }
        return Ok(Some(empty.scope));
    }
    for (bucket, _, tokens) in levels {
        sql::fill(tx, bucket.scope.as_str(), &bucket.subject, tokens - 1.0, now).await?;
    }
    Ok(None)
}

fn buckets(mail: Automatic<'_>, rates: Rates) -> Vec<Bucket> {
    let bucket = |scope, subject: String, per_hour| Bucket { scope, subject, per_hour };
    let all = if let Some(PersonId(person)) = mail.notice_to {
        let per_hour = rates.per_ticket.saturating_mul(NOTICES_PER_MAIL);
        vec![bucket(Scope::Notices, format!("{} to {person}", mail.ticket), per_hour)]
    } else {
        let domain = mail.address.rsplit_once('@').map_or("", |(_, domain)| domain);
        vec![
            bucket(Scope::Address, mail.address.to_lowercase(), rates.per_address),
            bucket(Scope::Domain, domain.to_lowercase(), rates.per_domain),
            bucket(Scope::Ticket, mail.ticket.to_string(), rates.per_ticket),
        ]
    };
    all.into_iter().filter(|bucket| bucket.per_hour > 0).collect()
}

/// What is in a bucket now that held `tokens` at `filled_at`. Clocks of several processes may differ.
fn level(tokens: f64, filled_at: DateTime<Utc>, per_hour: i64, now: DateTime<Utc>) -> f64 {
    let full = f64::from(i32::try_from(per_hour).unwrap_or(i32::MAX));
    let hours = (now - filled_at).as_seconds_f64().max(0.0) / 3600.0;
    (tokens + hours * full).min(full)
}

/// A bucket that holds mail back.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = LoopBreaker)]
pub struct Tripped {
    pub id: i64,
    pub scope: Scope,
    /// Ticket number, ticket and recipient of notices, address, or domain.
    pub subject: String,
    pub tripped_at: DateTime<Utc>,
    /// The ticket whose mail was the first to be held back.
    pub ticket_id: Option<TicketId>,
}

/// The buckets that hold mail back, by number, at most `limit`.
pub async fn tripped(db: &sqlx::PgPool, after: i64, limit: i64) -> sqlx::Result<Vec<Tripped>> {
    sql::tripped(db, after, limit).await
}

/// How many buckets hold mail back, and since when the first of them does; `None`: none does.
pub async fn holding(db: &sqlx::PgPool) -> sqlx::Result<Option<(i64, DateTime<Utc>)>> {
    sql::holding(db).await
}

/// Fills a bucket again: a person has looked at it. `None`: it held nothing back.
pub async fn reset(tx: &mut Tx, id: i64, by: PersonId, now: DateTime<Utc>) -> sqlx::Result<Option<Tripped>> {
    let Some(reset) = sql::reset(tx, id).await? else { return Ok(None) };
    if let Some(ticket) = reset.ticket_id {
        let data = json!({"scope": reset.scope});
        super::sql::insert_event(tx, ticket.0, "loop_breaker_reset", Some(by.0), Channel::Web, &data, now)
            .await?;
    }
    Ok(Some(reset))
}

/// Forgets buckets that are full again.
pub async fn sweep(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    sql::remove_full(tx, now).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_bucket_fills_within_an_hour_and_never_overflows() {
        let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        for (tokens, minutes, want) in
            [(0.0, 0, 0.0), (0.0, 6, 1.0), (0.0, 60, 10.0), (9.0, 600, 10.0), (3.0, -60, 3.0)]
        {
            let now = start + TimeDelta::minutes(minutes);
            assert!((level(tokens, start, 10, now) - want).abs() < 1e-9, "{tokens} after {minutes}");
        }
    }

    #[test]
    fn a_rate_of_nought_is_no_bucket() {
        let mail = Automatic { ticket: TicketId(7), address: "Ada@Example.net", notice_to: None };
        let rates = Rates { per_ticket: 5, per_address: 10, per_domain: 0 };
        let names: Vec<_> =
            buckets(mail, rates).into_iter().map(|b| (b.scope, b.subject, b.per_hour)).collect();
        assert_eq!(
            names,
            [(Scope::Address, "ada@example.net".to_owned(), 10), (Scope::Ticket, "7".to_owned(), 5),]
        );
        let notice = Automatic { notice_to: Some(PersonId(3)), ..mail };
        let names: Vec<_> =
            buckets(notice, rates).into_iter().map(|b| (b.scope, b.subject, b.per_hour)).collect();
        assert_eq!(names, [(Scope::Notices, "7 to 3".to_owned(), 20)]);
        let off = Rates { per_ticket: 0, per_address: 0, per_domain: 0 };
        assert!(buckets(mail, off).is_empty() && buckets(notice, off).is_empty());
    }
}
