//! How fast the addresses of one domain are written to. Big providers slow down, and then refuse, who sends many mails at
//! once; what they ask for is kept, by all processes together.

use chrono::{DateTime, TimeDelta, Utc};

use crate::queue::Tx;

mod sql;

/// How long a domain is left alone that said that it gets too much.
pub const HOLD: TimeDelta = TimeDelta::minutes(5);
/// A minute's share of this many parts may leave at once.
const BURST_PARTS: i32 = 6;

/// Books a place for one mail to a domain. `Some`: not before then, and why; nothing was booked.
///
/// `per_minute` is by GCRA, the generic cell rate algorithm (ITU-T I.371); 0: any number.
pub async fn book(
    tx: &mut Tx,
    domain: &str,
    per_minute: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(DateTime<Utc>, String)>> {
    let domain = domain.to_lowercase();
    let held = sql::lock(tx, &domain).await?;
    let Some(row) = held else {
        if per_minute > 0 {
            sql::insert(tx, &domain, now + interval(per_minute)).await?;
        }
        return Ok(None);
    };
    if let Some(until) = row.held_until.filter(|until| *until > now) {
        return Ok(Some((until, row.reason.unwrap_or_default())));
    }
    if per_minute <= 0 {
        return Ok(None);
    }
    match place(row.next_at, per_minute, now) {
        Ok(next_at) => {
            sql::set_next(tx, &domain, next_at).await?;
            Ok(None)
        }
        Err(at) => Ok(Some((at, format!("more than {per_minute} mails a minute (mail.domain_per_minute)")))),
    }
}

/// The domain asked for less: it is left alone for a while.
pub async fn hold(tx: &mut Tx, domain: &str, reason: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    let reason: String = reason.chars().take(300).collect();
    sql::hold(tx, &domain.to_lowercase(), &reason, now + HOLD, now).await
}

/// Forgets what is over.
pub async fn sweep(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    sql::remove_over(tx, now).await
}

fn interval(per_minute: i64) -> TimeDelta {
    TimeDelta::milliseconds(60_000 / per_minute.clamp(1, 60_000))
}

/// When the next mail would leave after this one, if they left evenly; or when this one may leave.
fn place(
    next_at: DateTime<Utc>,
    per_minute: i64,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, DateTime<Utc>> {
    let at_once = i32::try_from(per_minute).unwrap_or(i32::MAX) / BURST_PARTS;
    let allowed = next_at - interval(per_minute) * at_once;
    if allowed > now { Err(allowed) } else { Ok(next_at.max(now) + interval(per_minute)) }
}

/// Whether a 4xx answer says that the domain gets too much, and not that something is wrong with this one mail or with the
/// server. There is no code for it that all use, so the usual words count (Gmail's 421 4.7.28, Microsoft's 4.7.500 and
/// 4.7.650, Yahoo's TSS04, Postfix's "too many").
pub fn is_about_pace(answer: &str) -> bool {
    let answer = answer.to_lowercase();
    // Too many log-ins are the affair of our own mail server, which no other domain knows of.
    let is_own = answer.contains("login") || answer.contains("authenticat");
    !is_own && PACE.iter().any(|words| answer.contains(words))
}

const PACE: &[&str] = &[
    "4.7.28",
    "4.7.500",
    "4.7.650",
    "4.5.3",
    "rate limit",
    "rate-limit",
    "ratelimit",
    "unusual rate",
    "sending rate",
    "message rate",
    " rate that",
    " rate of",
    "too many",
    "too much",
    "too fast",
    "throttl",
    "slow down",
    "tss04",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_evenly() {
        let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let mut next = start;
        let mut now = start;
        let mut waited = Vec::new();
        for _ in 0..14 {
            match place(next, 60, now) {
                Ok(then) => next = then,
                Err(at) => {
                    waited.push((at - start).num_seconds());
                    now = at;
                    next = place(next, 60, now).unwrap();
                }
            }
        }
        assert_eq!(waited, [1, 2, 3], "eleven at once, then one a second");
    }

    #[test]
    fn which_answers_ask_for_less() {
        for (answer, want) in [
            ("transient error (421): 4.7.28 Gmail has detected an unusual rate of mail", true),
            ("421 Too many concurrent SMTP connections", true),
            ("450 4.7.26 rate limited", true),
            ("452 4.5.3 too many recipients", true),
            ("421 4.7.0 [TSS04] Messages temporarily deferred", true),
            ("421 4.3.2 service shutting down", false),
            ("454 4.7.0 Too many login attempts, please try again later", false),
            ("450 please write to the corporate office", false),
            ("451 4.7.1 greylisted, try again", false),
            ("450 4.2.1 mailbox busy", false),
            ("452 4.2.2 mailbox full", false),
            ("451 try again", false),
            ("", false),
        ] {
            assert_eq!(is_about_pace(answer), want, "{answer}");
        }
    }
}
