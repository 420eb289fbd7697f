//! How much of what is dear or dangerous one client may ask for: log-ins, mails, tickets. Kept in memory by each process.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use crate::config::Limits as Config;
use crate::ids::PersonId;

/// At most so many at once, and as many again each minute; `None`: no limit.
struct Limit<K: Hash + Eq + Clone> {
    limiter: Option<DefaultKeyedRateLimiter<K>>,
    checks: AtomicU32,
}

/// Files of 25 MB at once, and how long one waits for its turn.
const UPLOADS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);
/// Keys that were not seen for a while are forgotten after so many checks: the table stays as small as what goes on.
const FORGET_EVERY: u32 = 10_000;

impl<K: Hash + Eq + Clone> Limit<K> {
    fn per_minute(number: u32) -> Self {
        let limiter = NonZeroU32::new(number).map(|n| RateLimiter::keyed(Quota::per_minute(n)));
        Self { limiter, checks: AtomicU32::new(0) }
    }

    fn check(&self, key: &K) -> Result<(), Error> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            Error::TooMany(wait.as_secs() + 1)
        })
    }
}

/// One client: an IPv4 address, or the /64 network of an IPv6 address, which is one household's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Household([u8; 16]);

impl From<IpAddr> for Household {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => {
                let mut octets = v6.octets();
                octets.iter_mut().skip(8).for_each(|octet| *octet = 0);
                Self(octets)
            }
        }
    }
}

/// A mail address that somebody typed, known or not.
type Account = [u8; 32];

fn account_key(kind: &str, name: &str) -> Account {
    Sha256::digest(format!("{kind} {name}")).into()
}

/// Every limit of this process.
pub struct Limits {
    requests: Limit<Household>,
    log_ins: Limit<Household>,
    accounts: Limit<Account>,
    letters: Limit<Household>,
    tickets: Limit<PersonId>,
    /// Files that are on their way in: each is whole in memory.
    uploads: Arc<Semaphore>,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limits")
    }
}

impl Limits {
    pub fn new(config: &Config) -> Self {
        Self {
            requests: Limit::per_minute(config.requests_per_address),
            log_ins: Limit::per_minute(config.log_ins_per_address),
            accounts: Limit::per_minute(config.log_ins_per_account),
            letters: Limit::per_minute(config.letters_per_address),
            tickets: Limit::per_minute(config.tickets_per_person),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
        }
    }

    /// Any request.
    pub(super) fn request(&self, client: IpAddr) -> Result<(), Error> {
        self.requests.check(&client.into())
    }

    /// A proof of who somebody is: password, code, refresh token. `account` is the address that was typed.
    pub(super) fn log_in(&self, client: IpAddr, account: &str) -> Result<(), Error> {
        self.log_ins.check(&client.into())?;
        self.accounts.check(&account_key("address", &crate::mail::address::canonical(account)))
    }

    /// The same of somebody who is logged in: strangers cannot use their tries up.
    pub(super) fn own_proof(&self, client: IpAddr, person: PersonId) -> Result<(), Error> {
        self.log_ins.check(&client.into())?;
        self.accounts.check(&account_key("person", &person.to_string()))
    }

    /// Something that has us send a mail to an address that anybody can type.
    pub(super) fn letter(&self, client: IpAddr) -> Result<(), Error> {
        self.letters.check(&client.into())
    }

    /// A place for a file on its way in, held until it is stored.
    pub(super) async fn upload(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.uploads).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Error::TooMany(PATIENCE.as_secs()))
    }

    /// A new ticket, or something said by who is no staff.
    pub(super) fn ticket(&self, person: PersonId) -> Result<(), Error> {
        self.tickets.check(&person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_limited_and_others_are_not() {
        let limits = Limits::new(&Config { letters_per_address: 2, ..Config::default() });
        let ask = |address: &str| limits.letter(address.parse().unwrap()).is_ok();
        assert!(ask("192.0.2.1") && ask("192.0.2.1") && !ask("192.0.2.1"));
        assert!(!ask("::ffff:192.0.2.1"), "the same address in another dress");
        assert!(ask("192.0.2.2"));
        assert!(ask("2001:db8::1") && ask("2001:db8::2") && !ask("2001:db8::3"), "one /64 is one household");
        assert!(ask("2001:db8:0:1::1"));
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = Limits::new(&Config { tickets_per_person: 0, ..Config::default() });
        assert!((0..1000).all(|_| limits.ticket(PersonId(1)).is_ok()));
    }
}
