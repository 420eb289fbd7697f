//! What HTTP says where a change is refused: 404 for what is not there, 409 for what cannot be as things stand, and for the
//! rest which field is wrong.

use crate::ingest::ledger::ReplayError;
use crate::people::SkillError;
use crate::people::catalogue::CatalogueError;
use crate::people::directory::DirectoryError;
use crate::people::hours::HoursError;
use crate::people::snippets::SnippetError;
use crate::settings::SettingError;
use crate::tickets::outbox::CancelError;
use crate::tickets::skills::RemoveError;
use crate::web::error::{Error, Fault};

fn wrong(field: &str, detail: &impl std::fmt::Display) -> Error {
    Error::Invalid(vec![Fault { field: field.to_owned(), detail: detail.to_string() }])
}

fn conflict(detail: &impl std::fmt::Display) -> Error {
    Error::Conflict(detail.to_string())
}

impl From<DirectoryError> for Error {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Unknown(_) => Self::NotFound,
            DirectoryError::Merged(..) | DirectoryError::LastAdmin | DirectoryError::Taken(_) => {
                conflict(&error)
            }
            DirectoryError::NotAnAddress | DirectoryError::OwnAddress => wrong("email", &error),
            DirectoryError::Name => wrong("name", &error),
            DirectoryError::Cap => wrong("cap", &error),
            DirectoryError::Database(error) => error.into(),
        }
    }
}

impl From<HoursError> for Error {
    fn from(error: HoursError) -> Self {
        match error {
            HoursError::Zone(_) => wrong("time_zone", &error),
            HoursError::NoInterval
            | HoursError::TooManyIntervals
            | HoursError::Order
            | HoursError::Overlap => wrong("intervals", &error),
            HoursError::PeriodOrder | HoursError::Past | HoursError::TooLong => wrong("until", &error),
            HoursError::Note => wrong("note", &error),
            HoursError::TooManyPeriods | HoursError::NotStaff => conflict(&error),
            HoursError::Database(error) => error.into(),
        }
    }
}

impl From<SkillError> for Error {
    fn from(error: SkillError) -> Self {
        match error {
            SkillError::Unknown(_) => wrong("skills", &error),
            SkillError::Level => wrong("level", &error),
            SkillError::NotStaff | SkillError::Confirmed { .. } => conflict(&error),
            SkillError::Database(error) => error.into(),
        }
    }
}

impl From<CatalogueError> for Error {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Unknown(_) => Self::NotFound,
            CatalogueError::Exists(_) | CatalogueError::AliasTaken { .. } => conflict(&error),
            CatalogueError::Slug(_) => wrong("slug", &error),
            CatalogueError::Name => wrong("name", &error),
            CatalogueError::TooManyAliases => wrong("aliases", &error),
            CatalogueError::Description => wrong("description", &error),
            CatalogueError::Database(error) => error.into(),
        }
    }
}

impl From<RemoveError> for Error {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Unknown(_) => Self::NotFound,
            RemoveError::InUse { .. } => conflict(&error),
            RemoveError::Database(error) => error.into(),
        }
    }
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::Unknown(_) => Self::NotFound,
            SettingError::Value(_) => wrong("value", &error),
            SettingError::Database(error) => error.into(),
        }
    }
}

impl From<SnippetError> for Error {
    fn from(error: SnippetError) -> Self {
        match error {
            SnippetError::Name(_) => wrong("name", &error),
            SnippetError::Empty | SnippetError::TooLong(_) => wrong("body", &error),
            SnippetError::Database(error) => error.into(),
        }
    }
}

impl From<CancelError> for Error {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Unknown(_) => Self::NotFound,
            CancelError::Needed(_) => conflict(&error),
            CancelError::Database(error) => error.into(),
        }
    }
}

impl From<ReplayError> for Error {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unknown(_) => Self::NotFound,
            ReplayError::NotQuarantined(_)
            | ReplayError::Removed(..)
            | ReplayError::NoBytes(_)
            | ReplayError::Discord(_) => conflict(&error),
            ReplayError::Database(error) => error.into(),
        }
    }
}
