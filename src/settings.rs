//! What an admin sets while ticketd runs: the configuration file's values, and over them those that were set otherwise.
//!
//! Owns `settings`. A change is seen at once in the process that made it, and within [`FRESH_FOR`] in every other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::audit::{self, Actor};
use crate::clock::Clock;
use crate::config::Config;
use crate::ids::PersonId;
use crate::queue::{self, Tx};

mod sql;

/// How long what was read of the database is taken for what is there.
pub const FRESH_FOR: TimeDelta = TimeDelta::seconds(5);
/// How long a look may take. Whoever asks has something better to do, and the last known values are good enough.
const PATIENCE: Duration = Duration::from_secs(1);

/// A setting that may change while ticketd runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    CapDefault,
    ModeratorsSeeAll,
    ReopenDays,
    CloseAfterDays,
    UndoSeconds,
    Acknowledge,
    Categories,
    Signup,
}

impl Key {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::CapDefault,
        Self::ModeratorsSeeAll,
        Self::ReopenDays,
        Self::CloseAfterDays,
        Self::UndoSeconds,
        Self::Acknowledge,
        Self::Categories,
        Self::Signup,
    ];

    /// Section and key, as in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::CapDefault => "assignment.cap_default",
            Self::ModeratorsSeeAll => "assignment.moderators_see_all",
            Self::ReopenDays => "assignment.reopen_days",
            Self::CloseAfterDays => "assignment.close_after_days",
            Self::UndoSeconds => "mail.undo_seconds",
            Self::Acknowledge => "mail.acknowledge",
            Self::Categories => "triage.categories",
            Self::Signup => "auth.signup",
        }
    }

    /// The setting of that name.
    pub fn named(name: &str) -> Result<Self, SettingError> {
        Self::ALL.into_iter().find(|key| key.name() == name).ok_or_else(|| {
            SettingError::Unknown(name.chars().filter(|c| !c.is_control()).take(LONGEST_SHOWN).collect())
        })
    }

    fn read(self, config: &Config) -> Value {
        match self {
            Self::CapDefault => json!(config.assignment.cap_default),
            Self::ModeratorsSeeAll => json!(config.assignment.moderators_see_all),
            Self::ReopenDays => json!(config.assignment.reopen_days),
            Self::CloseAfterDays => json!(config.assignment.close_after_days),
            Self::UndoSeconds => json!(config.mail.undo_seconds),
            Self::Acknowledge => json!(config.mail.acknowledge),
            Self::Categories => json!(config.triage.categories),
            Self::Signup => json!(config.auth.signup),
        }
    }

    /// Lays a value over the configuration, if it is one that the file might have, too.
    fn lay_over(self, config: &mut Config, value: &Value) -> Result<(), SettingError> {
        let mut changed = config.clone();
        match self {
            Self::CapDefault => self.put(&mut changed.assignment.cap_default, value)?,
            Self::ModeratorsSeeAll => self.put(&mut changed.assignment.moderators_see_all, value)?,
            Self::ReopenDays => self.put(&mut changed.assignment.reopen_days, value)?,
            Self::CloseAfterDays => self.put(&mut changed.assignment.close_after_days, value)?,
            Self::UndoSeconds => self.put(&mut changed.mail.undo_seconds, value)?,
            Self::Acknowledge => self.put(&mut changed.mail.acknowledge, value)?,
            Self::Categories => self.put(&mut changed.triage.categories, value)?,
            Self::Signup => self.put(&mut changed.auth.signup, value)?,
        }
        changed.check_rules().map_err(|fault| SettingError::Value(format!("{fault:#}")))?;
        *config = changed;
        Ok(())
    }

    fn put<T: DeserializeOwned>(self, place: &mut T, value: &Value) -> Result<(), SettingError> {
        *place = serde_json::from_value(value.clone())
            .map_err(|fault| SettingError::Value(format!("{}: {fault}", self.name())))?;
        Ok(())
    }
}

/// What of an unknown name is shown again.
const LONGEST_SHOWN: usize = 64;

/// Why a setting was not changed, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error(
        "there is no setting `{0}` that may change while ticketd runs: {known}",
        known = Key::ALL.map(Key::name).join(", ")
    )]
    Unknown(String),
    /// The text names the key and what it takes.
    #[error("{0}")]
    Value(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A setting as it is, and as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Setting {
    pub key: &'static str,
    /// What counts.
    pub value: Value,
    /// What the file says, or leaves at its default.
    pub default: Value,
    /// `None`: it is as in the file.
    pub changed: Option<Change>,
}

/// By whom and when a setting was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = SettingChange)]
pub struct Change {
    /// `None`: by a command on the server.
    pub by: Option<PersonId>,
    pub by_name: Option<String>,
    pub at: DateTime<Utc>,
}

/// The configuration as it counts now. Cheap to clone; clones share what they have read.
#[derive(Clone)]
pub struct Settings(Arc<Inner>);

struct Inner {
    db: PgPool,
    clock: Clock,
    file: Arc<Config>,
    known: Mutex<Known>,
    /// Whoever reads is alone with it: what was read earlier never replaces what was read later.
    reading: tokio::sync::Mutex<()>,
}

struct Known {
    config: Arc<Config>,
    /// `None`: it must be read anew.
    read_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings")
    }
}

impl Settings {
    /// Nothing is read yet; until the database answers, the file counts.
    pub fn new(db: &PgPool, clock: &Clock, file: &Arc<Config>) -> Self {
        let known = Mutex::new(Known { config: Arc::clone(file), read_at: None });
        let (db, clock, file) = (db.clone(), clock.clone(), Arc::clone(file));
        Self(Arc::new(Inner { db, clock, file, known, reading: tokio::sync::Mutex::new(()) }))
    }

    /// The file's configuration with what was set since laid over it. Where the database does not answer, as it was last
    /// known.
    pub async fn current(&self) -> Arc<Config> {
        if let Some(config) = self.fresh() {
            return config;
        }
        let _alone = self.0.reading.lock().await;
        if let Some(config) = self.fresh() {
            return config;
        }
        self.read().await
    }

    /// As it was known last, without a look: for use inside a transaction, before which [`Settings::current`] was asked. A
    /// look takes a connection of its own.
    pub fn known(&self) -> Arc<Config> {
        Arc::clone(&self.0.known.lock().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Reads at once what this process has just committed.
    pub async fn refresh(&self) {
        let _alone = self.0.reading.lock().await;
        self.read().await;
    }

    fn fresh(&self) -> Option<Arc<Config>> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        // The system's clock may have been set back meanwhile.
        let age = (self.0.clock.now() - known.read_at?).abs();
        (age < FRESH_FOR).then(|| Arc::clone(&known.config))
    }

    async fn read(&self) -> Arc<Config> {
        let found = tokio::time::timeout(PATIENCE, sql::values(&self.0.db)).await;
        let rows = match found {
            Ok(Ok(rows)) => Some(rows),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the settings cannot be read; they stay as they were");
                None
            }
            Err(_elapsed) => None,
        };
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = rows {
            known.config = Arc::new(laid_over(&self.0.file, &rows));
        }
        // After a failure too: not everybody who asks shall wait for a database that is away.
        known.read_at = Some(self.0.clock.now());
        Arc::clone(&known.config)
    }

    /// Every setting, as it is in the database now.
    pub async fn list(&self) -> sqlx::Result<Vec<Setting>> {
        let rows = sql::all(&self.0.db).await?;
        let values: Vec<_> = rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
        let current = laid_over(&self.0.file, &values);
        let setting = |key: Key| {
            let changed = rows.iter().find(|row| row.key == key.name());
            Setting {
                key: key.name(),
                value: key.read(&current),
                default: key.read(&self.0.file),
                changed: changed.map(|row| Change {
                    by: row.by.map(PersonId),
                    by_name: row.by_name.clone(),
                    at: row.at,
                }),
            }
        };
        Ok(Key::ALL.into_iter().map(setting).collect())
    }

    /// One setting, as it is in the database now.
    pub async fn get(&self, name: &str) -> Result<Setting, SettingError> {
        let key = Key::named(name)?;
        let setting = self.list().await?.into_iter().find(|setting| setting.key == key.name());
        setting.ok_or_else(|| SettingError::Unknown(key.name().to_owned()))
    }

    /// Sets a value. The caller commits and then calls [`Settings::refresh`].
    pub async fn set(
        &self,
        tx: &mut Tx,
        name: &str,
        value: &Value,
        actor: Actor,
        now: DateTime<Utc>,
    ) -> Result<(), SettingError> {
        let key = Key::named(name)?;
        let mut config = self.0.file.as_ref().clone();
        key.lay_over(&mut config, value)?;
        // As it was understood: 3 and 3.0 are one value.
        let value = key.read(&config);
        let before = self.before(tx, key).await?;
        if before == value && sql::is_set(tx, key.name()).await? {
            return Ok(());
        }
        sql::set(tx, key.name(), &value, actor.person.map(|p| p.0), now).await?;
        follow(tx, key, now).await?;
        let data = json!({"from": before, "to": value});
        Ok(audit::record(tx, actor, "setting.changed", &subject(key), &data, now).await?)
    }

    /// Goes back to what the file says. False: it is as in the file. The caller commits and then calls
    /// [`Settings::refresh`].
    pub async fn unset(
        &self,
        tx: &mut Tx,
        name: &str,
        actor: Actor,
        now: DateTime<Utc>,
    ) -> Result<bool, SettingError> {
        let key = Key::named(name)?;
        let before = self.before(tx, key).await?;
        if !sql::unset(tx, key.name()).await? {
            return Ok(false);
        }
        follow(tx, key, now).await?;
        let data = json!({"from": before, "to": key.read(&self.0.file)});
        audit::record(tx, actor, "setting.unset", &subject(key), &data, now).await?;
        Ok(true)
    }

    async fn before(&self, tx: &mut Tx, key: Key) -> sqlx::Result<Value> {
        let stored = sql::value(tx, key.name()).await?;
        Ok(stored.unwrap_or_else(|| key.read(&self.0.file)))
    }
}

/// With another cap somebody may fit now whom nobody fit before.
async fn follow(tx: &mut Tx, key: Key, now: DateTime<Utc>) -> sqlx::Result<()> {
    if key == Key::CapDefault {
        queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    }
    Ok(())
}

fn subject(key: Key) -> String {
    format!("setting:{}", key.name())
}

/// What does not fit (another version wrote it, or a person by hand) is left out.
fn laid_over(file: &Config, rows: &[(String, Value)]) -> Config {
    let mut config = file.clone();
    for (name, value) in rows {
        let laid = Key::named(name).and_then(|key| key.lay_over(&mut config, value));
        if let Err(fault) = laid {
            tracing::debug!(key = name, %fault, "a setting does not count");
        }
    }
    config
}

/// Two persons became one: what `from` set was set by `into`.
pub async fn take_over(tx: &mut Tx, from: PersonId, into: PersonId) -> sqlx::Result<()> {
    sql::take_over(tx, from.0, into.0).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_setting_takes_what_the_file_takes_and_nothing_else() {
        let file = Config::parse("[assignment]\ncap_default = 4", BTreeMap::new()).unwrap();
        let said = |name: &str, value: Value| {
            let mut config = file.clone();
            match Key::named(name).and_then(|key| key.lay_over(&mut config, &value).map(|()| key)) {
                Ok(key) => format!("taken: {}", key.read(&config)),
                Err(refused) => refused.to_string(),
            }
        };
        insta::assert_snapshot!(said("assignment.cap_default", json!(7)), @"taken: 7");
        insta::assert_snapshot!(said("mail.acknowledge", json!(false)), @"taken: false");
        insta::assert_snapshot!(said("triage.categories", json!(["hosting", "mail"])), @r#"taken: ["hosting","mail"]"#);
        insta::assert_snapshot!(said("assignment.cap_default", json!("ten")), @r#"assignment.cap_default: invalid type: string "ten", expected i32"#);
        insta::assert_snapshot!(said("assignment.cap_default", json!(-1)), @"assignment: cap_default is -1: give a number from 0 to 10000");
        insta::assert_snapshot!(said("mail.undo_seconds", json!(null)), @"mail.undo_seconds: invalid type: null, expected i64");
        insta::assert_snapshot!(said("triage.categories", json!([])), @"triage: categories is empty: give at least one");
        insta::assert_snapshot!(said("http.listen", json!("x")), @"there is no setting `http.listen` that may change while ticketd runs: assignment.cap_default, assignment.moderators_see_all, assignment.reopen_days, assignment.close_after_days, mail.undo_seconds, mail.acknowledge, triage.categories, auth.signup");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_counts() {
        let file = Config::parse("", BTreeMap::new()).unwrap();
        let rows = [
            ("assignment.cap_default", json!(-3)),
            ("assignment.reopen_days", json!(2)),
            ("not.known", json!(1)),
            ("mail.undo_seconds", json!(0)),
        ];
        let config = laid_over(&file, &rows.map(|(name, value)| (name.to_owned(), value)));
        let (assignment, undo) = (&config.assignment, config.mail.undo_seconds);
        assert_eq!((assignment.cap_default, assignment.reopen_days, undo), (10, 2, 0));
    }
}
