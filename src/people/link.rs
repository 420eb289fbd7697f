//! Single-use codes that link a mail address to a person in Discord: mailed to the address, typed into Discord, so proof
//! on both sides.
//!
//! A code is derived from a key and its row, and stored nowhere: who reads the database cannot link anything.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use subtle::ConstantTimeEq;

use super::Role;
use crate::config::Config;
use crate::ids::PersonId;
use crate::mail::address;
use crate::mail::token::{derive, hmac};
use crate::queue::{self, Tx};

mod sql;

/// How long a code is good for. Its mail is tried as long ([`queue::LETTER`]).
pub const LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// Wrong codes that are taken; then a new one must be asked for.
pub const TRIES: i32 = 5;
/// Codes in an hour, for one person and for one address: nobody's inbox is filled by way of us.
pub const PER_HOUR: i64 = 3;

/// Why a code was not sent or not taken, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("that is not a mail address: type it as name@example.org")]
    NotAnAddress,
    #[error("that is our own address: type yours")]
    OwnAddress,
    #[error("that address is linked to you already: there is nothing to do")]
    AlreadyLinked,
    #[error(
        "{PER_HOUR} codes an hour are sent, to one address and for one person: look into your spam folder, or ask again in an hour"
    )]
    TooMany,
    #[error("there is no code to be typed: ask for one first")]
    NoCode,
    #[error("the code has expired after {} minutes: ask for another one", LIFETIME.num_minutes())]
    Expired,
    #[error("that is not the code: look at the newest mail and type it again (tries left: {left})")]
    Wrong { left: i32 },
    #[error("that was not the code {TRIES} times, so it is void: ask for another one")]
    TooManyTries,
    /// One of the two persons was switched off: linking must not be a way back.
    #[error("this account was switched off: an admin must switch it on before it can be linked")]
    Inactive,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes and checks codes. The first key makes them, all check.
#[derive(Clone)]
pub struct CodeKey {
    keys: Vec<[u8; 32]>,
}

impl std::fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeKey({} keys)", self.keys.len())
    }
}

/// A code as people read it, `XXXX-XXXX`. It does not show itself in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

/// Crockford's base32: no I, L, O and U, so that nothing is taken for something else.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 8;

impl CodeKey {
    /// Keys derive from the master secrets, newest first.
    pub fn new(masters: &[Vec<u8>]) -> Self {
        Self { keys: masters.iter().map(|m| derive(m, "link codes")).collect() }
    }

    fn code(&self, id: i64, address: &str) -> Code {
        let letters = letters(&self.keys.first().copied().unwrap_or_default(), id, address);
        let (first, second) = letters.split_at_checked(LENGTH / 2).unwrap_or((&letters, ""));
        Code(format!("{first}-{second}"))
    }

    /// Compares in constant time.
    fn is_code(&self, typed: &str, id: i64, address: &str) -> bool {
        let typed = read(typed);
        self.keys.iter().fold(false, |valid, key| {
            valid | bool::from(letters(key, id, address).as_bytes().ct_eq(typed.as_bytes()))
        })
    }
}

/// 40 bits: fifteen guesses an hour (five at each of three codes) do not find one.
fn letters(key: &[u8; 32], id: i64, address: &str) -> String {
    let tag = hmac(key, format!("{id} {address}").as_bytes());
    spell(tag.first_chunk().copied().unwrap_or_default())
}

/// 40 bits as eight letters.
pub(super) fn spell(bytes: [u8; 5]) -> String {
    let bits = bytes.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let letter = |n: usize| {
        let index = usize::try_from((bits >> (35 - 5 * n)) & 31).unwrap_or(0);
        char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
    };
    (0..LENGTH).map(letter).collect()
}

/// What was typed, without what does not matter: case, dashes, spaces, and letters that look like others.
pub(super) fn read(typed: &str) -> String {
    let read = typed.chars().filter(|c| c.is_alphanumeric()).map(|c| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    });
    // What is longer than a code is none, however long it is.
    read.take(3 * LENGTH).collect()
}

/// A code that is on its way.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In canonical form.
    pub address: String,
    pub expires_at: DateTime<Utc>,
}

/// Has a code mailed to an address. It ends the person's earlier ones. The answer tells nobody whether we know the address.
pub async fn ask(
    tx: &mut Tx,
    config: &Config,
    person: PersonId,
    address: &str,
    now: DateTime<Utc>,
) -> Result<Asked, LinkError> {
    let address = address::canonical(address);
    if !address::is_valid(&address) {
        return Err(LinkError::NotAnAddress);
    }
    if is_own(config, &address) {
        return Err(LinkError::OwnAddress);
    }
    // It stays one person until the transaction ends; whoever asks twice at once, and two who ask for one address, take turns.
    sql::hold(tx, person.0).await?;
    sql::take_turn_for(tx, person.0, &address).await?;
    if !super::person_in(tx, person).await?.is_some_and(|p| p.active) {
        return Err(LinkError::Inactive);
    }
    if sql::is_proven(tx, person.0, &address).await? {
        return Err(LinkError::AlreadyLinked);
    }
    if sql::most_asked(tx, person.0, &address, now - TimeDelta::hours(1)).await? >= PER_HOUR {
        return Err(LinkError::TooMany);
    }
    let expires_at = now + LIFETIME;
    let id = sql::insert(tx, person.0, &address, now, expires_at).await?;
    queue::enqueue(tx, &queue::LETTER, id, now).await?;
    Ok(Asked { address, expires_at })
}

/// What is mailed to a mailbox of ours becomes a ticket, for all of staff to read.
pub(super) fn is_own(config: &Config, address: &str) -> bool {
    let Some((local, domain)) = address::split(address) else { return false };
    let bare = local.split_once('+').map_or(local, |(bare, _)| bare);
    config.own_addresses().iter().any(|own| address::split(own) == Some((bare, domain)))
}

/// What the mail with a code says.
#[derive(Clone, Debug)]
pub struct Letter {
    pub address: String,
    pub code: Code,
    pub asked_at: DateTime<Utc>,
}

/// The mail with a code. `None`: it was sent, or the code is used, expired, or followed by a newer one.
pub async fn letter(db: &PgPool, key: &CodeKey, id: i64, now: DateTime<Utc>) -> sqlx::Result<Option<Letter>> {
    let row = sql::unsent(db, id, now).await?;
    Ok(row.map(|row| Letter {
        code: key.code(id, &row.address),
        address: row.address,
        asked_at: row.created_at,
    }))
}

/// Notes that the mail with a code has left.
pub async fn sent(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::set_sent(tx, id, now).await
}

/// Somebody typed the code that was mailed to an address. Only [`check`] makes one.
#[derive(Debug)]
pub struct Proven {
    person: PersonId,
    address: String,
}

/// Checks the code that a person typed, and uses it up. Until the transaction ends nobody else is linked or merged.
///
/// The caller commits on an error too: a wrong code counts against the tries in `tx`, and a rollback would give the try
/// back. What follows from a right one is in the same transaction, so a code is used up and the two are one, or neither.
pub async fn check(
    tx: &mut Tx,
    key: &CodeKey,
    person: PersonId,
    typed: &str,
    now: DateTime<Utc>,
) -> Result<Proven, LinkError> {
    // In this order everywhere: turns, identities, codes, tickets, persons. Then nobody waits for each other.
    sql::take_turn(tx).await?;
    super::merge::hold_alone(tx, &[person]).await?;
    if !super::person_in(tx, person).await?.is_some_and(|p| p.active) {
        return Err(LinkError::Inactive);
    }
    let code = sql::newest(tx, person.0).await?.ok_or(LinkError::NoCode)?;
    if code.used_at.is_some() {
        return Err(LinkError::NoCode);
    }
    if code.tries >= TRIES {
        return Err(LinkError::TooManyTries);
    }
    if code.expires_at <= now {
        return Err(LinkError::Expired);
    }
    if !key.is_code(typed, code.id, &code.address) {
        sql::count_try(tx, code.id).await?;
        let left = TRIES - code.tries - 1;
        return Err(if left > 0 { LinkError::Wrong { left } } else { LinkError::TooManyTries });
    }
    sql::use_up(tx, code.id, now).await?;
    Ok(Proven { person, address: code.address })
}

/// What a proven address makes of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Who it is from now on.
    pub person: PersonId,
    /// Who it was as well, and has to be merged into `person`.
    pub merged: Option<PersonId>,
    pub address: String,
}

/// Gives the proven address to the person, or says which two are one because it is somebody's already.
///
/// That somebody survives, with role, skills, password and history; unless the person in Discord was given the greater
/// role by an admin. Both sides are proven, so the greater of the two roles is rightly theirs, and nothing above it.
pub async fn join(tx: &mut Tx, proven: Proven, now: DateTime<Utc>) -> Result<Linked, LinkError> {
    let Proven { person, address } = proven;
    let owner = PersonId(sql::enter(tx, person.0, &address, now).await?);
    if owner != person {
        super::merge::hold_alone(tx, &[person, owner]).await?;
    }
    let roles = sql::granted(tx, person.0, owner.0).await?;
    let [Some(granted_person), Some(granted_owner)] = roles.map(|r| r.map(|role| Role::parse(&role))) else {
        return Err(LinkError::Inactive);
    };
    sql::verify(tx, person.0, &address, now).await?;
    if owner == person {
        return Ok(Linked { person, merged: None, address });
    }
    let (from, into) = if granted_person > granted_owner { (owner, person) } else { (person, owner) };
    Ok(Linked { person: into, merged: Some(from), address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(masters: &[&[u8]]) -> CodeKey {
        CodeKey::new(&masters.iter().map(|m| m.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_code_is_taken_however_it_is_typed() {
        let key = key(&[b"one"]);
        let code = key.code(7, "ada@example.net");
        let shown = code.expose();
        assert_eq!((shown.len(), shown.find('-')), (9, Some(4)), "{shown}");
        let plain = shown.replace('-', "");
        let looks_like = plain.replace('0', "o").replace('1', "l");
        let spaced: String = plain.chars().flat_map(|c| [c, ' ']).collect();
        for typed in [shown, &plain, &shown.to_lowercase(), &looks_like, &spaced, &format!(" `{shown}`\n")] {
            assert!(key.is_code(typed, 7, "ada@example.net"), "{typed}");
        }
    }

    #[test]
    fn no_other_code_is_taken() {
        let one = key(&[b"one"]);
        let shown = one.code(7, "ada@example.net").expose().to_owned();
        for typed in [
            "",
            "-",
            "0000-0000",
            shown.trim_end_matches(|c| c != '-'),
            &format!("{shown}0"),
            "ÄÖÜß-ÄÖÜß",
            &"0".repeat(1 << 20),
        ] {
            assert!(!one.is_code(typed, 7, "ada@example.net"), "{typed:.40}");
        }
        assert!(!one.is_code(&shown, 8, "ada@example.net"), "another row");
        assert!(!one.is_code(&shown, 7, "eve@example.net"), "another address");
        assert!(!key(&[b"two"]).is_code(&shown, 7, "ada@example.net"), "another key");
        assert!(key(&[b"two", b"one"]).is_code(&shown, 7, "ada@example.net"), "an older key");
    }

    #[test]
    fn a_code_and_its_key_do_not_show_themselves() {
        let key = key(&[b"one"]);
        let code = key.code(7, "ada@example.net");
        assert_eq!(format!("{code:?} {key:?}"), "Code(…) CodeKey(1 keys)");
    }
}
