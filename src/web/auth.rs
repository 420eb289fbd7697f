//! Log-in by password, and the access token that every other request shows.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::State as Shared;
use super::error::Error;
use crate::ids::PersonId;
use crate::mail::token::derive;
use crate::people::{self, Person, Role};
use crate::tickets::read::Sight;

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
    /// The password's generation: changing it revokes every token.
    r#gen: i32,
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

    fn issue(&self, person: PersonId, generation: i32, now: DateTime<Utc>) -> anyhow::Result<String> {
        let (id, key) =
            self.keys.first().ok_or_else(|| anyhow::anyhow!("there is no key to sign tokens with"))?;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: person.to_string(),
            r#gen: generation,
            iat: now.timestamp(),
            exp: (now + self.lifetime).timestamp(),
        };
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::HS256) };
        Ok(encode(&header, &claims, &EncodingKey::from_secret(key))?)
    }

    /// Person and generation of a token that we signed and that has not expired at `now`.
    fn read(&self, token: &str, now: DateTime<Utc>) -> Option<(PersonId, i32)> {
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
        is_fresh.then_some((PersonId(claims.sub.parse().ok()?), claims.r#gen))
    }
}

/// Who makes the request: proven by a token, and read anew from the database.
pub(super) struct Caller {
    pub(super) person: Person,
}

impl Caller {
    /// Staff, or 403.
    pub(super) fn staff(&self) -> Result<&Person, Error> {
        if self.person.role.is_staff() { Ok(&self.person) } else { Err(Error::Forbidden) }
    }

    pub(super) fn sight(&self, moderators_see_all: bool) -> Sight {
        match self.person.role {
            Role::Admin => Sight::All,
            Role::Moderator if moderators_see_all => Sight::All,
            Role::Moderator => Sight::Moderator(self.person.id),
            Role::User => Sight::Requester(self.person.id),
        }
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Error> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let (scheme, token) = value.and_then(|v| v.split_once(' ')).ok_or(Error::Unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Error::Unauthorized);
        }
        let (person, generation) =
            state.tokens.read(token.trim(), state.clock.now()).ok_or(Error::Unauthorized)?;
        let current = people::current(&state.db, person, generation).await?;
        current.map(|c| Self { person: c.person }).ok_or(Error::Unauthorized)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    email: String,
    password: SecretString,
}

#[derive(Serialize)]
pub(super) struct LoggedIn {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    person: Me,
}

#[derive(Serialize)]
struct Me {
    id: PersonId,
    name: String,
    role: Role,
    email: Option<String>,
}

/// `POST /api/auth/login`
pub(super) async fn log_in(
    State(state): State<Shared>,
    body: Result<Json<LogIn>, JsonRejection>,
) -> Result<Json<LoggedIn>, Error> {
    let Json(body) = body?;
    let Some(found) = people::log_in(&state.db, &body.email, body.password).await? else {
        metrics::counter!("ticketd_logins_total", "outcome" => "refused").increment(1);
        return Err(Error::WrongLogin);
    };
    metrics::counter!("ticketd_logins_total", "outcome" => "done").increment(1);
    let token = state.tokens.issue(found.person.id, found.generation, state.clock.now())?;
    Ok(Json(LoggedIn {
        access_token: token,
        token_type: "Bearer",
        expires_in: state.tokens.lifetime.num_seconds(),
        person: Me {
            id: found.person.id,
            name: found.person.name,
            role: found.person.role,
            email: found.person.email,
        },
    }))
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
        assert_eq!(tokens.read(&token, now()), Some((PersonId(7), 3)));
        assert_eq!(tokens.read(&token, now() + TimeDelta::minutes(16)), None);
        let rotated = AccessTokens::new(&[b"two".to_vec(), b"one".to_vec()], 15);
        assert_eq!(rotated.read(&token, now()), Some((PersonId(7), 3)));
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
