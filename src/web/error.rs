//! Errors as people and programs get them: problem details (RFC 9457), never a cause from inside.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::database;
use crate::files::FilesError;
use crate::mail::decode::one_line;
use crate::tickets::TicketError;

/// What a handler answers where it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error("log in first: send `Authorization: Bearer` with a token from POST /api/auth/login")]
    Unauthorized,
    #[error("address or password is wrong")]
    WrongLogin,
    /// A refresh token that is not good any more.
    #[error("{0}")]
    LogInEnded(String),
    /// Password right, code missing or wrong.
    #[error("{0}")]
    SecondFactor(String),
    #[error("your role does not allow that")]
    Forbidden,
    /// Staff who have to set up a second factor, or to log in with it.
    #[error(
        "a second factor is asked of staff here: set one up by POST /api/auth/me/second-factor, or log in with its code"
    )]
    SecondFactorRequired,
    /// Not for anybody, or not from there.
    #[error("{0}")]
    Refused(String),
    /// An API token that was not made for this; empty: no API token is.
    #[error("{}", out_of_scope(.0))]
    OutOfScope(&'static str),
    #[error("this path does not take that method")]
    WrongMethod,
    /// Fields of a body that are wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<Fault>),
    #[error("it was changed since you read it: read it again, and repeat your change")]
    Stale,
    /// Not a fault: the request was done before, and this was its answer.
    #[error("it was answered before")]
    Answered(Box<Response>),
    #[error("this Idempotency-Key was used for another request: take a fresh one")]
    KeyReused,
    /// Seconds to wait.
    #[error("too many requests: try again in {0} s")]
    TooMany(u64),
    #[error("there is nothing here, or nothing that you may see")]
    NotFound,
    #[error("{0}")]
    Conflict(String),
    #[error("the request has more bytes than are taken")]
    TooLarge,
    #[error("send JSON, and say so: `Content-Type: application/json`")]
    NotJson,
    /// What we need is out of reach; it was logged.
    #[error("{0}")]
    Unavailable(&'static str),
    #[error("something went wrong on our side; it has been logged")]
    Internal(#[from] anyhow::Error),
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::WrongLogin | Self::LogInEnded(_) | Self::SecondFactor(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden | Self::OutOfScope(_) | Self::SecondFactorRequired | Self::Refused(_) => {
                StatusCode::FORBIDDEN
            }
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Answered(answer) => answer.status(),
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(error) if is_database_away(error) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a program must tell from the status alone.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::SecondFactor(_) => "/problems/second-factor",
        Error::SecondFactorRequired => "/problems/second-factor-required",
        _ => "about:blank",
    }
}

fn out_of_scope(scope: &str) -> String {
    if scope.is_empty() {
        "API tokens are not for this: log in".to_owned()
    } else {
        format!("your API token lacks the scope {scope}")
    }
}

/// One field of a body that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where: `skills[1].level`; empty: the body as a whole.
    pub field: String,
    /// What is wrong, and what is taken instead.
    pub detail: String,
}

fn list(faults: &[Fault]) -> String {
    let said = |fault: &Fault| match fault.field.as_str() {
        "" => fault.detail.clone(),
        field => format!("{field}: {}", fault.detail),
    };
    faults.iter().map(said).collect::<Vec<_>>().join("; ")
}

fn is_database_away(error: &anyhow::Error) -> bool {
    database::refusal(error).is_some()
        || error.chain().any(|cause| {
            matches!(
                cause.downcast_ref::<sqlx::Error>(),
                Some(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
            )
        })
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<FilesError> for Error {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Database(error) => error.into(),
            FilesError::Gone => Self::NotFound,
            error if error.may_pass() => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "files cannot be reached"
                );
                Self::Unavailable("files cannot be stored or read at the moment: try again later")
            }
            error => Self::Internal(error.into()),
        }
    }
}

impl From<TicketError> for Error {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Unknown(_) | TicketError::Deleted(_) | TicketError::NoParticipant => Self::NotFound,
            TicketError::Stale(_) => Self::Stale,
            TicketError::WrongStatus(..)
            | TicketError::Merged(..)
            | TicketError::Raced
            | TicketError::Taken(_)
            | TicketError::Unassigned(_)
            | TicketError::AtCap { .. }
            | TicketError::IntoItself
            | TicketError::OutOfReach(_)
            | TicketError::RequesterStays
            | TicketError::TooManyUploads
            | TicketError::RatingClosed
            | TicketError::TooLate => Self::Conflict(error.to_string()),
            TicketError::FileTooLarge(_) => Self::TooLarge,
            TicketError::EmptyReply
            | TicketError::EmptySubject
            | TicketError::NotStaff
            | TicketError::NoAddress
            | TicketError::UnknownMessage(_)
            | TicketError::UnknownUpload(_)
            | TicketError::TooManyFiles(_)
            | TicketError::FilesTooLarge(_)
            | TicketError::NotATag(_)
            | TicketError::TooManyTags(_)
            | TicketError::UnknownSkill => Self::BadRequest(error.to_string()),
            TicketError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Answered(answer) = self {
            return *answer;
        }
        let status = self.status();
        if let Self::Internal(error) = &self {
            tracing::error!(error = format!("{error:#}"), "a request failed");
        }
        let detail = match &self {
            Self::Internal(error) if is_database_away(error) => {
                "the database cannot be used at the moment: try again later".to_owned()
            }
            error => error.to_string(),
        };
        let mut body = Problem::new(status, detail);
        kind(&self).clone_into(&mut body.r#type);
        if let Self::Invalid(faults) = &self {
            body.errors.clone_from(faults);
        }
        let mut response = body.into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized | Self::WrongLogin | Self::LogInEnded(_) | Self::SecondFactor(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooMany(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
    }
}

/// What went wrong, as programs and people read it (RFC 9457): `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Kinds that a program must tell apart have a path of their own; others are `about:blank`.
    #[schema(example = "about:blank")]
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status again.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
    /// Fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<Fault>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: String) -> Self {
        Self {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail,
            errors: Vec::new(),
        }
    }
}

/// More characters than any reason of ours has.
const LONGEST: usize = 1000;

/// A reason may cite what was sent: in one line, and no more of it than can be read.
fn readable(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.detail = readable(&self.detail);
        for fault in &mut self.errors {
            (fault.field, fault.detail) = (readable(&fault.field), readable(&fault.detail));
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// No such path.
pub(super) async fn not_found() -> Error {
    Error::NotFound
}

/// The path takes other methods.
pub(super) async fn method_not_allowed() -> Error {
    Error::WrongMethod
}

/// A handler panicked: logged, and answered like any other failure.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
pub(super) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let said = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
    tracing::error!(panic = said.unwrap_or("unknown"), "a request's handler panicked");
    let detail = "something went wrong on our side; it has been logged";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail.to_owned()).into_response()
}
