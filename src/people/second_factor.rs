//! The second factor: codes by an app (TOTP, RFC 6238), and recovery codes for when the app is lost.

use anyhow::{Context, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use totp_rs::{Builder, Totp};

use super::link::{read, spell};
use super::secrets::{self, Secret};
use super::sessions;
use crate::audit::{self, Actor};
use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

/// Recovery codes that one gets at a time.
pub const RECOVERY_CODES: usize = 10;
/// Wrong codes in [`LOOK_BACK`]; then none is looked at until that is over. Three codes of a million are good at a time.
const MOST_WRONG: i32 = 5;
const LOOK_BACK: TimeDelta = TimeDelta::minutes(15);
/// What apps show the codes under.
const ISSUER: &str = "ticketd";
/// Letters of a recovery code, without dashes: 80 bits.
const RECOVERY_LETTERS: usize = 16;

/// Why a code was not taken, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum SecondFactorError {
    #[error("there is a second factor already: switch it off before you set up another one")]
    AlreadyActive,
    #[error("there is no second factor: set one up first")]
    NotActive,
    #[error("that is not the code: wait for the next one and type it, or use a recovery code")]
    WrongCode,
    #[error(
        "that was not the code {MOST_WRONG} times: try again in {} minutes",
        LOOK_BACK.num_minutes()
    )]
    TooMany,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// What an app is given, shown this once.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Base32, to be typed.
    pub secret: Secret,
    /// `otpauth://`, to be shown as a picture.
    pub url: Secret,
}

/// Whether a second factor is asked for, and how many recovery codes are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub active: bool,
    pub recovery_codes_left: i64,
}

/// How it stands with a person's second factor.
pub async fn state(db: &PgPool, person: PersonId) -> sqlx::Result<State> {
    sql::state(db, person.0).await
}

/// Offers a second factor. It is not asked for until a first code was typed ([`confirm`]); offering again replaces the offer.
pub async fn enrol(
    db: &PgPool,
    person: PersonId,
    account: &str,
    now: DateTime<Utc>,
) -> Result<Enrolment, SecondFactorError> {
    let secret: [u8; 20] = rand::random();
    // A colon would end the account's name in the address.
    let totp = totp(&secret, &account.replace(':', " "))?;
    let url = totp.to_url().map_err(|e| anyhow!("cannot write the address of a second factor: {e}"))?;
    let mut tx = db.begin().await?;
    if !sql::offer(&mut tx, person.0, &secret, now).await? {
        return Err(SecondFactorError::AlreadyActive);
    }
    tx.commit().await?;
    Ok(Enrolment { secret: Secret::of(totp.secret().to_base32()), url: Secret::of(url) })
}

/// Takes the first code, switches the second factor on, and hands out recovery codes.
/// The session it is done in counts as one with a second factor.
pub async fn confirm(
    db: &PgPool,
    actor: Actor,
    person: PersonId,
    session: Option<i64>,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Secret>, SecondFactorError> {
    let mut tx = db.begin().await?;
    let factor = sql::locked(&mut tx, person.0).await?.ok_or(SecondFactorError::NotActive)?;
    if factor.confirmed_at.is_some() {
        return Err(SecondFactorError::AlreadyActive);
    }
    let checked = check_app(&mut tx, &factor, &read_digits(code), now).await;
    if let Err(error) = checked {
        // A wrong code counts.
        tx.commit().await?;
        return Err(error);
    }
    sql::activate(&mut tx, person.0, now).await?;
    let codes = hand_out(&mut tx, person).await?;
    if let Some(session) = session {
        sessions::note_second_factor(&mut tx, session).await?;
    }
    let subject = format!("person:{person}");
    audit::record(&mut tx, actor, "second_factor.enabled", &subject, &json!({}), now).await?;
    tx.commit().await?;
    Ok(codes)
}

/// Whether a person is asked for a code.
pub async fn is_active(tx: &mut Tx, person: PersonId) -> sqlx::Result<bool> {
    Ok(sql::locked(tx, person.0).await?.is_some_and(|factor| factor.confirmed_at.is_some()))
}

/// Checks a code by the app or a recovery code, and uses it up.
///
/// The caller commits on an error too: a wrong code counts in `tx`, and a rollback would give the try back.
pub async fn check(
    tx: &mut Tx,
    person: PersonId,
    code: &str,
    now: DateTime<Utc>,
) -> Result<(), SecondFactorError> {
    let factor = sql::locked(tx, person.0).await?.filter(|factor| factor.confirmed_at.is_some());
    let factor = factor.ok_or(SecondFactorError::NotActive)?;
    let recovery = read(code);
    if recovery.chars().count() == RECOVERY_LETTERS {
        refuse_many(&factor, now)?;
        if sql::use_recovery_code(tx, person.0, &secrets::hash(&recovery), now).await? {
            sql::forget_wrong(tx, person.0).await?;
            return Ok(());
        }
        sql::count_wrong(tx, person.0, now, now - LOOK_BACK).await?;
        return Err(SecondFactorError::WrongCode);
    }
    check_app(tx, &factor, &read_digits(code), now).await
}

/// Switches the second factor off. The caller has checked password and code.
pub async fn disable(tx: &mut Tx, person: PersonId) -> sqlx::Result<bool> {
    sql::remove(tx, person.0).await
}

/// Hands out recovery codes; those handed out before are void. The caller has checked a code.
pub async fn hand_out(tx: &mut Tx, person: PersonId) -> sqlx::Result<Vec<Secret>> {
    let codes: Vec<String> =
        (0..RECOVERY_CODES).map(|_| spell(rand::random()) + &spell(rand::random())).collect();
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| secrets::hash(code).to_vec()).collect();
    sql::replace_recovery_codes(tx, person.0, &hashes).await?;
    let shown = |code: &String| {
        let letters: Vec<char> = code.chars().collect();
        let parts: Vec<String> = letters.chunks(4).map(|part| part.iter().collect()).collect();
        Secret::of(parts.join("-"))
    };
    Ok(codes.iter().map(shown).collect())
}

/// What the tables of this part hold of one person becomes another's, unless that one has some.
pub(super) async fn take_over(tx: &mut Tx, from: PersonId, into: PersonId) -> sqlx::Result<()> {
    sql::take_over(tx, from.0, into.0).await
}

async fn check_app(
    tx: &mut Tx,
    factor: &sql::Factor,
    digits: &str,
    now: DateTime<Utc>,
) -> Result<(), SecondFactorError> {
    refuse_many(factor, now)?;
    let secret: [u8; 20] =
        factor.secret.as_slice().try_into().context("a second factor's secret has a wrong length")?;
    let time = u64::try_from(now.timestamp()).context("the clock is before 1970")?;
    let step = totp(&secret, "account")?.check(digits, time).and_then(|step| i64::try_from(step).ok());
    match step {
        // RFC 6238 §5.2: a code is good once. One that is older than the last one taken may have been seen as well.
        Some(step) if step > factor.last_step => Ok(sql::accept(tx, factor.person_id, step).await?),
        _ => {
            sql::count_wrong(tx, factor.person_id, now, now - LOOK_BACK).await?;
            Err(SecondFactorError::WrongCode)
        }
    }
}

fn refuse_many(factor: &sql::Factor, now: DateTime<Utc>) -> Result<(), SecondFactorError> {
    let recent = factor.wrong_since.is_some_and(|since| since > now - LOOK_BACK);
    if recent && factor.wrong >= MOST_WRONG { Err(SecondFactorError::TooMany) } else { Ok(()) }
}

/// Six digits, steps of 30 s, SHA-1, one step of leeway: what every app does.
fn totp(secret: &[u8; 20], account: &str) -> anyhow::Result<Totp> {
    let builder =
        Builder::new().with_secret(secret.to_vec()).with_account_name(account).with_issuer(Some(ISSUER));
    builder.build().map_err(|e| anyhow!("cannot make codes: {e}"))
}

/// Apps show the digits in groups.
fn read_digits(typed: &str) -> String {
    typed.chars().filter(|c| !c.is_whitespace() && *c != '-').take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, cut to six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let totp = totp(b"12345678901234567890", "ada@example.net").unwrap();
        for (time, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
        {
            assert_eq!(totp.check(code, time), Some(time / 30), "{time}");
            assert_eq!(totp.check(code, time + 30), Some(time / 30), "a step late");
            assert_eq!(totp.check(code, time + 61), None, "two steps late");
        }
        insta::assert_snapshot!(totp.to_url().unwrap(), @"otpauth://totp/ticketd:ada%40example.net?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=ticketd");
        assert_eq!(totp.check("", 59), None);
        assert_eq!(totp.check("28708２", 59), None);
        assert_eq!(read_digits(" 287 082\n"), "287082");
    }
}
