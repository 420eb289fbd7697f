//! Log-in, refresh, log-out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{TOO_MANY_CODES, lifetime, user_agent};
use crate::ids::PersonId;
use crate::people::access::By;
use crate::people::accounts::{self, LogInError};
use crate::people::second_factor::SecondFactorError;
use crate::people::sessions::{self, Begun, RefreshError};
use crate::people::{self, Person, Role};
use crate::web::State as Shared;
use crate::web::cookies::{self, Cookie};
use crate::web::error::{Error, Problem};
use crate::web::request::{Client, Input};
use crate::web::rights;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(log_in)).routes(routes!(refresh)).routes(routes!(log_out))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    #[schema(example = "ada@example.org")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// Where a second factor is asked for: a code by the app, or a recovery code.
    code: Option<String>,
    /// For pages in a browser: the refresh token comes as a cookie that scripts can't read, and not in the answer.
    #[serde(default)]
    cookie: bool,
}

#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// To be sent as `Authorization: Bearer`.
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: i64,
    /// Good for one `POST /api/auth/refresh`; absent where it came as a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// When the log-in ends, however often it is refreshed.
    session_expires_at: DateTime<Utc>,
    person: Who,
}

#[derive(Serialize, ToSchema)]
struct Who {
    id: PersonId,
    name: String,
    role: Role,
    email: Option<String>,
}

/// Logs in with address and password.
///
/// Where the account has a second factor, the answer without `code` is 401 with the type `/problems/second-factor`.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "account",
    request_body = LogIn,
    responses(
        (status = 200, description = "An access token, and a refresh token to get the next one", body = LoggedIn),
        (status = 401, description = "Address or password is wrong, which one is not said; or `code` is missing or wrong",
         body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`cookie` was asked for by a page of another site", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn log_in(
    State(state): State<Shared>,
    Client(client): Client,
    headers: HeaderMap,
    Input { value: body, .. }: Input<LogIn>,
) -> Result<Response, Error> {
    if body.cookie {
        cookies::check_own_page(&state.config.http, &headers)?;
    }
    state.limits.log_in(client, &body.email)?;
    let now = state.clock.now();
    let given = accounts::LogIn {
        email: &body.email,
        password: body.password,
        code: body.code.as_deref(),
        user_agent: user_agent(&headers),
        lifetime: lifetime(&state),
    };
    let count = |outcome| metrics::counter!("ticketd_logins_total", "outcome" => outcome).increment(1);
    match accounts::log_in(&state.db, given, now).await {
        Ok(found) => {
            count("done");
            answer(&state, &found.begun, found.person, body.cookie, now)
        }
        Err(error) => {
            count("refused");
            Err(error.into())
        }
    }
}

impl From<LogInError> for Error {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::Wrong => Self::WrongLogin,
            LogInError::SecondFactor | LogInError::Code(SecondFactorError::WrongCode) => {
                Self::SecondFactor(error.to_string())
            }
            LogInError::Code(SecondFactorError::TooMany) => Self::TooMany(TOO_MANY_CODES),
            LogInError::Code(error) => error.into(),
            LogInError::Database(error) => error.into(),
            LogInError::Other(error) => error.into(),
        }
    }
}

fn answer(
    state: &Shared,
    begun: &Begun,
    person: Person,
    as_cookie: bool,
    now: DateTime<Utc>,
) -> Result<Response, Error> {
    let refresh_token = begun.refresh_token.expose();
    let body = LoggedIn {
        access_token: state.tokens.issue(begun.person, begun.session, now)?,
        token_type: "Bearer",
        expires_in: state.tokens.lifetime().num_seconds(),
        refresh_token: (!as_cookie).then(|| refresh_token.to_owned()),
        session_expires_at: begun.expires_at,
        person: Who { id: person.id, name: person.name, role: person.role, email: person.email },
    };
    let mut response = Json(body).into_response();
    if as_cookie {
        response.headers_mut().append(header::SET_COOKIE, refresh_cookie(state, begun, now)?);
    }
    Ok(response)
}

/// The refresh token as a cookie that lasts as long as the session.
pub(in crate::web) fn refresh_cookie(
    state: &Shared,
    begun: &Begun,
    now: DateTime<Utc>,
) -> Result<axum::http::HeaderValue, Error> {
    let seconds = (begun.expires_at - now).num_seconds();
    Cookie::Refresh.set(&state.config.http, begun.refresh_token.expose(), seconds)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// The one that came last.
    #[schema(value_type = String, format = Password)]
    refresh_token: SecretString,
}

/// A refresh token, and how it came.
enum Shown {
    InBody(String),
    AsCookie(String),
}

impl Shown {
    fn token(&self) -> &str {
        match self {
            Self::InBody(token) | Self::AsCookie(token) => token,
        }
    }
}

/// The refresh token of a request: in its body, or, where there is no body, in the cookie of a page of ours.
async fn shown(state: &Shared, request: Request) -> Result<Option<Shown>, Error> {
    let headers = request.headers().clone();
    if let Some(body) = optional_body::<Refresh>(state, request).await? {
        return Ok(Some(Shown::InBody(body.refresh_token.expose_secret().to_owned())));
    }
    let Some(token) = Cookie::Refresh.read(&state.config.http, &headers) else { return Ok(None) };
    cookies::check_own_page(&state.config.http, &headers)?;
    Ok(Some(Shown::AsCookie(token)))
}

async fn optional_body<T: DeserializeOwned>(state: &Shared, request: Request) -> Result<Option<T>, Error> {
    let (parts, body) = request.into_parts();
    let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let again = Request::from_parts(parts, bytes.into());
    Ok(Some(Input::<T>::from_request(again, state).await?.value))
}

/// Gets the next access token.
///
/// Each refresh token is good once, and the answer holds the next one. One that is shown a second time was copied: the log-in
/// then ends for everybody who holds a token of it. Without a body the token is taken from the cookie, and the next one is
/// set as cookie.
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "account",
    request_body = inline(Option<Refresh>),
    responses(
        (status = 200, description = "An access token, and the next refresh token", body = LoggedIn),
        (status = 401, description = "The log-in has ended", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The cookie was sent by a page of another site", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn refresh(State(state): State<Shared>, request: Request) -> Result<Response, Error> {
    // Nobody guesses 256 bits: what all requests of an address are limited to is enough.
    let shown = shown(&state, request).await?.ok_or(Error::Unauthorized)?;
    let now = state.clock.now();
    let begun = match sessions::refresh(&state.db, shown.token(), now).await {
        Ok(begun) => begun,
        Err(RefreshError::Database(error)) => return Err(error.into()),
        Err(error @ (RefreshError::Ended | RefreshError::Reused)) => {
            let mut response = Error::LogInEnded(error.to_string()).into_response();
            if let Shown::AsCookie(_) = shown {
                let gone = Cookie::Refresh.set(&state.config.http, "", 0)?;
                response.headers_mut().append(header::SET_COOKIE, gone);
            }
            return Ok(response);
        }
    };
    let person = people::person(&state.db, begun.person).await?.ok_or(Error::Unauthorized)?;
    answer(&state, &begun, person, matches!(shown, Shown::AsCookie(_)), now)
}

/// Logs out: the session of the access token, of the refresh token in the body, or of the cookie ends at once.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "account",
    request_body = inline(Option<Refresh>),
    responses(
        (status = 204, description = "The log-in has ended"),
        (status = 401, description = "Nothing was shown that says which", body = Problem,
         content_type = "application/problem+json"),
        (status = 403, description = "An API token was shown: those are revoked at `/api/auth/me/tokens`", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn log_out(State(state): State<Shared>, request: Request) -> Result<Response, Error> {
    let headers = request.headers().clone();
    let shown = shown(&state, request).await?;
    let now = state.clock.now();
    if shown.is_none() || headers.contains_key(header::AUTHORIZATION) {
        let caller = rights::authenticate(&state, &headers).await;
        match (caller.map(|c| (c.person, c.by)), &shown) {
            (Ok((person, By::Session(session))), _) => {
                let mut tx = state.db.begin().await?;
                sessions::revoke(&mut tx, person, session, now).await?;
                tx.commit().await?;
            }
            (Ok((_, By::Token { .. })), None) => return Err(Error::OutOfScope("")),
            (Err(error), None) => return Err(error),
            // An access token that has ended does not keep the refresh token from being thrown away.
            (Ok(_) | Err(_), Some(_)) => {}
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(shown) = shown {
        let mut tx = state.db.begin().await?;
        sessions::revoke_by_token(&mut tx, shown.token(), now).await?;
        tx.commit().await?;
        if let Shown::AsCookie(_) = shown {
            let gone = Cookie::Refresh.set(&state.config.http, "", 0)?;
            response.headers_mut().append(header::SET_COOKIE, gone);
        }
    }
    Ok(response)
}
