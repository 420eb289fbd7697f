//! Accounts: signing up, logging in, and what people do about their own.

use axum::http::{HeaderMap, header};
use chrono::TimeDelta;
use utoipa_axum::router::OpenApiRouter;

use crate::people::accounts::AccountError;
use crate::people::second_factor::SecondFactorError;
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};

mod me;
pub(super) mod oidc;
mod password;
mod second_factor;
pub(super) mod session;
mod sign_up;
pub(super) mod tokens;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(session::router())
        .merge(sign_up::router())
        .merge(password::router())
        .merge(oidc::router())
        .merge(me::router())
        .merge(second_factor::router())
        .merge(tokens::router())
}

/// What the client calls itself.
fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// How long a log-in lasts.
fn lifetime(state: &Shared) -> TimeDelta {
    TimeDelta::days(state.config.auth.refresh_days)
}

fn fault(field: &str, detail: &dyn ToString) -> Error {
    Error::Invalid(vec![Fault { field: field.to_owned(), detail: detail.to_string() }])
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::SignUpOff | AccountError::Inactive => Self::Refused(error.to_string()),
            AccountError::NotAnAddress | AccountError::OwnAddress => fault("email", &error),
            AccountError::Name => fault("name", &error),
            AccountError::BadLink => fault("token", &error),
            AccountError::WeakPassword(_)
            | AccountError::WrongPassword
            | AccountError::NotTheChosenPassword { .. } => fault("password", &error),
            AccountError::NoPassword | AccountError::HasAccount => Self::Conflict(error.to_string()),
            AccountError::SecondFactor(error) => error.into(),
            AccountError::Database(error) => error.into(),
            AccountError::Other(error) => error.into(),
        }
    }
}

/// Codes are looked at again after so many seconds.
const TOO_MANY_CODES: u64 = 15 * 60;

impl From<SecondFactorError> for Error {
    fn from(error: SecondFactorError) -> Self {
        match error {
            SecondFactorError::AlreadyActive | SecondFactorError::NotActive => {
                Self::Conflict(error.to_string())
            }
            SecondFactorError::WrongCode => fault("code", &error),
            SecondFactorError::TooMany => Self::TooMany(TOO_MANY_CODES),
            SecondFactorError::Database(error) => error.into(),
            SecondFactorError::Other(error) => error.into(),
        }
    }
}
