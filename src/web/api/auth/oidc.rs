//! Sign-in by another: the browser goes to the provider and comes back.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::session::refresh_cookie;
use super::{TOO_MANY_CODES, fault, lifetime, user_agent};
use crate::people::external::{self, PATIENCE, SignInError, SignedIn};
use crate::people::second_factor::SecondFactorError;
use crate::people::sessions::{self, Method};
use crate::queue;
use crate::web::State as Shared;
use crate::web::account_pages::{self, Page};
use crate::web::cookies::Cookie;
use crate::web::error::Error;
use crate::web::oidc::{OidcError, Provider};
use crate::web::request::{Client, Input, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(start)).routes(routes!(callback)).routes(routes!(link))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Start {
    /// The path to go to afterwards, on this server; left out: `/`.
    #[param(example = "/tickets")]
    return_to: Option<String>,
}

const LONGEST_PATH: usize = 500;

/// A path on this server and nothing else: browsers take `//host` and `/\host` for another server, and drop line ends and
/// tabs before they look.
fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= LONGEST_PATH
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

fn see_other(to: &str) -> Result<Response, Error> {
    let to = HeaderValue::from_str(to).map_err(|e| Error::Internal(e.into()))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response())
}

/// Begins a sign-in: the browser goes to the provider.
#[utoipa::path(
    get,
    path = "/api/auth/oidc/start",
    tag = "account",
    params(Start),
    responses(
        (status = 303, description = "To the provider"),
        (status = 404, description = "No provider is configured", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
        (status = 502, description = "The provider does not answer (a page for people)", body = String,
         content_type = "text/html"),
    )
)]
async fn start(State(state): State<Shared>, Params(query): Params<Start>) -> Result<Response, Error> {
    let provider = state.oidc.as_ref().ok_or(Error::NotFound)?;
    let return_to = query.return_to.unwrap_or_else(|| "/".to_owned());
    if !is_own_path(&return_to) {
        return Err(Error::BadRequest("return_to is a path on this server, such as /tickets".to_owned()));
    }
    let (now, http) = (state.clock.now(), &state.config.http);
    let (challenge, verifier) = Provider::pkce();
    let begin = external::begin(&state.db, verifier.secret(), &return_to, now).await?;
    let url = match provider.authorize_url(&begin, challenge, now).await {
        Ok(url) => url,
        Err(error) => return Ok(failed(provider, &error)),
    };
    let mut response = see_other(&url)?;
    let cookie = Cookie::SignIn.set(http, begin.browser.expose(), PATIENCE.num_seconds())?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// What the provider sends along; it may send more.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Callback {
    code: Option<String>,
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// Who sends it (RFC 9207).
    iss: Option<String>,
}

/// Ends a sign-in: the browser comes back from the provider. Answers are for people: the way back to where they began, or a
/// page that says what is wrong.
///
/// After a sign-in the refresh token is in a cookie: `POST /api/auth/refresh` gives the access token.
#[utoipa::path(
    get,
    path = "/api/auth/oidc/callback",
    tag = "account",
    params(Callback),
    responses(
        (status = 303, description = "Signed in: to where the sign-in began"),
        (status = 200, description = "There is an account with this address: a page that says how to link it", body = String,
         content_type = "text/html"),
        (status = 400, description = "It did not begin in this browser, or took too long (a page)", body = String,
         content_type = "text/html"),
        (status = 403, description = "The provider, or we, let this person not in (a page)", body = String,
         content_type = "text/html"),
        (status = 404, description = "No provider is configured", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
        (status = 502, description = "The provider does not answer as it should (a page)", body = String,
         content_type = "text/html"),
    )
)]
async fn callback(
    State(state): State<Shared>,
    Client(client): Client,
    headers: HeaderMap,
    query: Result<Query<Callback>, QueryRejection>,
) -> Result<Response, Error> {
    // What cannot be read comes from no provider, and is answered like what no sign-in belongs to.
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let provider = state.oidc.as_ref().ok_or(Error::NotFound)?;
    state.limits.log_in(client, query.state.as_deref().unwrap_or_default())?;
    let mut response = come_back(&state, provider, &headers, query).await?;
    let gone = Cookie::SignIn.set(&state.config.http, "", 0)?;
    response.headers_mut().append(header::SET_COOKIE, gone);
    Ok(response)
}

async fn come_back(
    state: &Shared,
    provider: &Provider,
    headers: &HeaderMap,
    query: Callback,
) -> Result<Response, Error> {
    let (http, now, name) = (&state.config.http, state.clock.now(), provider.name());
    let browser = Cookie::SignIn.read(http, headers);
    let returned = match query.state.zip(browser) {
        Some((token, browser)) => external::take(&state.db, &token, &browser, now).await?,
        None => None,
    };
    let Some(returned) = returned else {
        let why = "This sign-in did not begin in this browser, was finished already, or took more than ten minutes.";
        return Ok(Page::refusal(StatusCode::BAD_REQUEST, "Sign in again", why)
            .again(provider)
            .into_response());
    };
    if query.iss.as_deref().is_some_and(|iss| iss != provider.issuer()) {
        let why = "The answer came from another provider than the one that was asked.";
        return Ok(Page::refusal(StatusCode::BAD_REQUEST, "Sign in again", why)
            .again(provider)
            .into_response());
    }
    let Some(code) = query.code.filter(|_| query.error.is_none()) else {
        let why = match query.error.as_deref() {
            Some("access_denied") => format!("{name} says that you did not allow it."),
            _ => format!("{name} did not sign you in, and gives no reason that we know."),
        };
        return Ok(Page::refusal(StatusCode::FORBIDDEN, "Not signed in", &why)
            .again(provider)
            .into_response());
    };
    let visitor = match provider.visitor(code, returned.pkce_verifier, returned.nonce, now).await {
        Ok(visitor) => visitor,
        Err(error) => return Ok(failed(provider, &error)),
    };
    match external::sign_in(&state.db, &state.letter_key, &visitor, now).await {
        Ok(SignedIn::Person(person)) => {
            let mut tx = state.db.begin().await?;
            let agent = user_agent(headers);
            let begun = sessions::begin(&mut tx, person, Method::Oidc, agent, lifetime(state), now).await?;
            tx.commit().await?;
            metrics::counter!("ticketd_logins_total", "outcome" => "oidc").increment(1);
            let mut response = see_other(&returned.return_to)?;
            response.headers_mut().append(header::SET_COOKIE, refresh_cookie(state, &begun, now)?);
            Ok(response)
        }
        Ok(SignedIn::MustLink { token }) => {
            queue::ring(&state.db).await;
            Ok(account_pages::must_link(name, token.expose()).into_response())
        }
        Err(error) => match account_pages::refused(error) {
            Ok(page) => Ok(page.again(provider).into_response()),
            Err(error) => Err(error),
        },
    }
}

/// What is wrong with the provider is logged for who can mend it, and told to who cannot in a sentence.
fn failed(provider: &Provider, error: &OidcError) -> Response {
    let name = provider.name();
    let page = match error {
        OidcError::Refused(why) => Page::refusal(StatusCode::FORBIDDEN, "Not signed in", &format!("{why}.")),
        OidcError::Unbelievable(cause) => {
            tracing::warn!(error = format!("{cause:#}"), "a sign-in was refused: {error}");
            let why = format!("{name} sent an answer that we cannot believe. It was logged.");
            Page::refusal(StatusCode::FORBIDDEN, "Not signed in", &why)
        }
        OidcError::Unreachable(cause) => {
            tracing::warn!(error = format!("{cause:#}"), "a sign-in failed: {error}");
            let why =
                format!("{name} does not answer as it should. Try again, or log in with your password.");
            Page::refusal(StatusCode::BAD_GATEWAY, "Not signed in", &why)
        }
    };
    page.again(provider).into_response()
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Link {
    /// From the page that asked for it.
    #[schema(value_type = String)]
    token: SecretString,
    /// The account's.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// Where the account has a second factor.
    code: Option<String>,
}

/// Adds a sign-in by the provider to the account that has the same address, with the account's password. Then sign in again.
#[utoipa::path(
    post,
    path = "/api/auth/oidc/link",
    tag = "account",
    request_body = Link,
    responses(
        (status = 204, description = "It is added"),
        (status = 401, description = "A second factor is asked for", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
        (status = 403, description = "The person was switched off", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "This sign-in belongs to another account", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn link(
    State(state): State<Shared>,
    Client(client): Client,
    Input { value: body, .. }: Input<Link>,
) -> Result<StatusCode, Error> {
    state.limits.log_in(client, body.token.expose_secret())?;
    let (now, code) = (state.clock.now(), body.code.as_deref());
    external::link_with_password(&state.db, &state.letter_key, &body.token, body.password, code, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<SignInError> for Error {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Unusable | SignInError::Inactive | SignInError::TooMany => {
                Self::Refused(error.to_string())
            }
            SignInError::BadLink => fault("token", &error),
            SignInError::WrongPassword { .. } => fault("password", &error),
            SignInError::NeedsCode | SignInError::Code(SecondFactorError::WrongCode) => {
                Self::SecondFactor(error.to_string())
            }
            SignInError::Code(SecondFactorError::TooMany) => Self::TooMany(TOO_MANY_CODES),
            SignInError::Code(error) => error.into(),
            SignInError::Taken => Self::Conflict(error.to_string()),
            SignInError::Database(error) => error.into(),
            SignInError::Other(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_server() {
        for own in ["/", "/tickets/1042?x=1#y", "/a//b", "/%2F%2Fevil.example"] {
            assert!(is_own_path(own), "{own}");
        }
        for other in [
            "",
            "tickets",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/\n",
            "/a b",
            "/ä",
        ] {
            assert!(!is_own_path(other), "{other:?}");
        }
    }
}
