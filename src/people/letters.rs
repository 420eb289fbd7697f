//! Mails about accounts, most of them with a link that is good once.
//!
//! What a link proves itself by is derived from a key and its row, and stored nowhere: who reads the database can follow no
//! link, and the mail can be made anew at each attempt to send it.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use subtle::ConstantTimeEq;

use super::secrets::{self, Secret};
use crate::ids::PersonId;
use crate::mail::token::{derive, hmac};
use crate::queue::{self, Tx};

mod sql;

/// Mails of a kind in an hour to one address that somebody merely asked for: nobody's inbox is filled by way of us.
pub const PER_HOUR: i64 = 3;
/// Wrong passwords that are taken with one link.
pub const TRIES: i32 = 5;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody signed up with this address.
    Confirm,
    /// Somebody did, and it has an account already.
    Exists,
    /// A new password may be chosen.
    Reset,
    /// The password is another one.
    Changed,
    /// Another's sign-in is to be added to the account.
    Link,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Exists => "exists",
            Self::Reset => "reset",
            Self::Changed => "changed",
            Self::Link => "link",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Confirm, Self::Exists, Self::Reset, Self::Changed, Self::Link]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// What counts together with it: mails that somebody can have sent to any address do not keep others from leaving.
    fn counted_with(self) -> Vec<String> {
        let kinds: &[Self] = match self {
            Self::Confirm | Self::Exists => &[Self::Confirm, Self::Exists],
            Self::Reset => &[Self::Reset],
            Self::Link => &[Self::Link],
            Self::Changed => &[],
        };
        kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
    }

    /// How long its link is good for; and how long the mail is worth sending.
    pub fn lifetime(self) -> TimeDelta {
        match self {
            Self::Confirm | Self::Exists => TimeDelta::hours(24),
            Self::Reset | Self::Link => TimeDelta::hours(1),
            Self::Changed => TimeDelta::days(5),
        }
    }
}

/// What a link is for. A link for one purpose is good for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What its letter says: whoever follows it reads the mail of that address.
    ByMail,
    /// Handed to a browser, and worth nothing without the account's password.
    WithPassword,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::ByMail => "by mail",
            Self::WithPassword => "with password",
        }
    }
}

/// Makes and checks the tokens in links. The first key makes them, all check.
#[derive(Clone)]
pub struct LetterKey {
    keys: Vec<[u8; 32]>,
}

impl std::fmt::Debug for LetterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LetterKey({} keys)", self.keys.len())
    }
}

impl LetterKey {
    /// Keys derive from the master secrets, newest first.
    pub fn new(masters: &[Vec<u8>]) -> Self {
        Self { keys: masters.iter().map(|m| derive(m, "account letters")).collect() }
    }

    /// `17.SIGNATURE`.
    pub(super) fn token(&self, purpose: Purpose, letter: &Row) -> Secret {
        let key = self.keys.first().copied().unwrap_or_default();
        Secret::of(format!("{}.{}", letter.id, signature(&key, purpose, letter)))
    }

    /// Compares in constant time.
    fn is_token(&self, given: &str, purpose: Purpose, letter: &Row) -> bool {
        self.keys.iter().fold(false, |valid, key| {
            valid | bool::from(signature(key, purpose, letter).as_bytes().ct_eq(given.as_bytes()))
        })
    }
}

/// Over everything that tells one letter from another: after a restore the same number may be another letter's.
fn signature(key: &[u8; 32], purpose: Purpose, letter: &Row) -> String {
    let Row { id, kind, address, created_at, .. } = letter;
    let at = created_at.timestamp_micros();
    secrets::encode(&hmac(
        key,
        format!("{}\n{id} {} {at} {address}", purpose.as_str(), kind.as_str()).as_bytes(),
    ))
}

/// A letter as it stands in the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) kind: Kind,
    pub(super) address: String,
    pub(super) person: Option<PersonId>,
    pub(super) name: Option<String>,
    pub(super) password_hash: Option<String>,
    /// Issuer and subject of the identity to be added.
    pub(super) external: Option<(String, String)>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) used_at: Option<DateTime<Utc>>,
    pub(super) sent_at: Option<DateTime<Utc>>,
}

/// A letter to be written.
pub(super) struct NewLetter<'a> {
    pub(super) kind: Kind,
    /// In canonical form.
    pub(super) address: &'a str,
    pub(super) person: Option<PersonId>,
    pub(super) name: Option<&'a str>,
    pub(super) password_hash: Option<&'a str>,
    pub(super) external: Option<(&'a str, &'a str)>,
}

impl<'a> NewLetter<'a> {
    pub(super) fn to(address: &'a str, kind: Kind, person: Option<PersonId>) -> Self {
        Self { kind, address, person, name: None, password_hash: None, external: None }
    }
}

/// Has a letter mailed. `None`: the address was sent as many as it gets in an hour. Whoever is only told afterwards that
/// something was done is told in any case.
pub(super) async fn write(
    tx: &mut Tx,
    letter: &NewLetter<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    if letter.kind != Kind::Changed {
        // Two who ask for one address at once are counted one after the other.
        sql::take_turn_for(tx, letter.address).await?;
        let (kinds, since) = (letter.kind.counted_with(), now - TimeDelta::hours(1));
        if sql::asked_since(tx, letter.address, &kinds, since).await? >= PER_HOUR {
            return Ok(None);
        }
    }
    let id = sql::insert(tx, letter, now).await?;
    queue::enqueue(tx, &queue::ACCOUNT_LETTER, id, now).await?;
    Ok(Some(id))
}

/// A letter that was just written.
pub(super) async fn written(tx: &mut Tx, id: i64) -> sqlx::Result<Row> {
    sql::find(&mut **tx, id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// What a mail says.
#[derive(Clone, Debug)]
pub struct Letter {
    pub address: String,
    pub kind: Kind,
    /// For its link, where it has one.
    pub token: Option<Secret>,
    pub asked_at: DateTime<Utc>,
}

/// The mail of a letter. `None`: it was sent, its time is over, or there is nobody to tell.
pub async fn letter(
    db: &PgPool,
    key: &LetterKey,
    id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Letter>> {
    let Some(row) = sql::find(db, id).await? else { return Ok(None) };
    if row.sent_at.is_some() || row.used_at.is_some() || row.expires_at <= now {
        return Ok(None);
    }
    let somebody = match row.person {
        Some(person) => super::person(db, person).await?.is_some_and(|p| p.active && p.id == person),
        None => row.kind == Kind::Confirm,
    };
    if !somebody {
        return Ok(None);
    }
    let token = match row.kind {
        Kind::Confirm | Kind::Reset | Kind::Link => Some(key.token(Purpose::ByMail, &row)),
        Kind::Exists | Kind::Changed => None,
    };
    Ok(Some(Letter { address: row.address, kind: row.kind, token, asked_at: row.created_at }))
}

/// Notes that a letter has left.
pub async fn sent(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::set_sent(tx, id, now).await
}

/// The letter of a link that is still good. `None` in every other case: which of them, the link's reader need not know.
pub(super) async fn open(
    db: &PgPool,
    key: &LetterKey,
    kind: Kind,
    purpose: Purpose,
    token: &SecretString,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Row>> {
    let Some((id, given)) = token.expose_secret().trim().split_once('.') else { return Ok(None) };
    let Ok(id) = id.parse() else { return Ok(None) };
    let row = sql::find(db, id).await?;
    Ok(row.filter(|row| {
        key.is_token(given, purpose, row) && row.kind == kind && row.used_at.is_none() && row.expires_at > now
    }))
}

/// Counts a password that is about to be compared: so that many at once do not get more tries. `None`: there were too many;
/// else how many are left.
pub(super) async fn count_try(db: &PgPool, id: i64) -> sqlx::Result<Option<i32>> {
    Ok(sql::count_try(db, id, TRIES).await?.map(|tries| TRIES - tries))
}

/// Uses a letter up, with the password it carried, and ends the person's or the address's others of that kind. False:
/// somebody was faster.
pub(super) async fn use_up(tx: &mut Tx, letter: &Row, now: DateTime<Utc>) -> sqlx::Result<bool> {
    if !sql::use_up(tx, letter.id, now).await? {
        return Ok(false);
    }
    sql::end_others(tx, letter.kind.as_str(), &letter.address, now).await?;
    Ok(true)
}

/// Ends the links of a person that is merged into another.
pub(super) async fn end_all(tx: &mut Tx, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::end_all(tx, person.0, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            id: 17,
            kind: Kind::Reset,
            address: "ada@example.net".into(),
            person: Some(PersonId(1)),
            name: None,
            password_hash: None,
            external: None,
            created_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            expires_at: DateTime::from_timestamp(1_790_003_600, 0).unwrap(),
            used_at: None,
            sent_at: None,
        }
    }

    fn key(masters: &[&[u8]]) -> LetterKey {
        LetterKey::new(&masters.iter().map(|m| m.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_token_is_good_for_its_letter_its_purpose_and_its_key() {
        let one = key(&[b"one"]);
        let token = one.token(Purpose::ByMail, &row());
        let (id, signature) = token.expose().split_once('.').unwrap();
        assert_eq!((id, signature.len()), ("17", 43));
        assert!(one.is_token(signature, Purpose::ByMail, &row()));
        assert!(key(&[b"two", b"one"]).is_token(signature, Purpose::ByMail, &row()), "an older key");
        assert!(!key(&[b"two"]).is_token(signature, Purpose::ByMail, &row()), "another key");
        assert!(!one.is_token(signature, Purpose::WithPassword, &row()), "another purpose");
        let other = |change: fn(&mut Row)| {
            let mut row = row();
            change(&mut row);
            one.is_token(signature, Purpose::ByMail, &row)
        };
        assert!(!other(|r| r.id = 18) && !other(|r| r.kind = Kind::Confirm));
        assert!(!other(|r| r.address = "eve@example.net".into()));
        assert!(!other(|r| r.created_at += TimeDelta::microseconds(1)));
        for wrong in ["", signature.split_at(42).0, &format!("{signature}=")] {
            assert!(!one.is_token(wrong, Purpose::ByMail, &row()), "{wrong}");
        }
    }
}
