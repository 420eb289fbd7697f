//! Access tokens: what a log-in gives, and every other request shows.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use crate::ids::PersonId;
use crate::mail::token::derive;

const ISSUER: &str = "ticketd";
const AUDIENCE: &str = "ticketd-api";

/// Makes and reads access tokens (JWT, HS256 only). The first key signs, all verify.
#[derive(Clone)]
pub struct AccessTokens {
    keys: Vec<(String, [u8; 32])>,
    lifetime: TimeDelta,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    /// The session: ending it ends every token of it.
    sid: i64,
    iat: i64,
    exp: i64,
}

impl AccessTokens {
    /// Keys derive from the master secrets, newest first.
    pub fn new(masters: &[Vec<u8>], minutes: i64) -> Self {
        let key = |master: &Vec<u8>| {
            let id = derive(master, "access token key id");
            let [a, b, c, d, ..] = id;
            let name = format!("{:08x}", u32::from_be_bytes([a, b, c, d]));
            (name, derive(master, "access tokens"))
        };
        Self { keys: masters.iter().map(key).collect(), lifetime: TimeDelta::minutes(minutes) }
    }

    /// A token for one session of a person.
    pub fn issue(&self, person: PersonId, session: i64, now: DateTime<Utc>) -> anyhow::Result<String> {
        let (id, key) =
            self.keys.first().ok_or_else(|| anyhow::anyhow!("there is no key to sign tokens with"))?;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: person.to_string(),
            sid: session,
            iat: now.timestamp(),
            exp: (now + self.lifetime).timestamp(),
        };
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::HS256) };
        Ok(encode(&header, &claims, &EncodingKey::from_secret(key))?)
    }

    /// How long a token is good.
    pub fn lifetime(&self) -> TimeDelta {
        self.lifetime
    }

    /// The session of a token that we signed and that has not expired at `now`.
    pub(super) fn read(&self, token: &str, now: DateTime<Utc>) -> Option<i64> {
        let id = decode_header(token).ok()?.kid?;
        let (_, key) = self.keys.iter().find(|(known, _)| *known == id)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Our clock decides, not the crate's.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, &DecodingKey::from_secret(key), &validation).ok()?.claims;
        let is_fresh = claims.exp > now.timestamp() && claims.iat <= now.timestamp() + 60;
        is_fresh.then_some(claims.sid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_lifetime_and_its_keys() {
        let tokens = AccessTokens::new(&[b"one".to_vec()], 15);
        let token = tokens.issue(PersonId(7), 3, now()).unwrap();
        assert_eq!(tokens.read(&token, now()), Some(3));
        assert_eq!(tokens.read(&token, now() + TimeDelta::minutes(16)), None);
        let rotated = AccessTokens::new(&[b"two".to_vec(), b"one".to_vec()], 15);
        assert_eq!(rotated.read(&token, now()), Some(3));
        let foreign = AccessTokens::new(&[b"two".to_vec()], 15);
        assert_eq!(foreign.read(&token, now()), None);
    }

    #[test]
    fn a_forged_token_is_not_read() {
        let tokens = AccessTokens::new(&[b"one".to_vec()], 15);
        let token = tokens.issue(PersonId(7), 3, now()).unwrap();
        let [header, claims, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{header}.{claims}."),
            format!("{header}.{}.{signature}", claims.replacen('a', "b", 1)),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(tokens.read(&forged, now()), None, "{forged}");
        }
    }
}
