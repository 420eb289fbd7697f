//! From TOML and environment to typed values, with errors a person can act on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use toml::{Table, Value};

const PREFIX: &str = "TICKETD_";

/// The variables that speak to ticketd.
pub(super) fn environment() -> BTreeMap<String, String> {
    #[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
    std::env::vars()
        .filter(|(name, _)| name.starts_with(PREFIX) && name.contains("__") || name == "TICKETD_DATA_DIR")
        .collect()
}

/// The folders of `PATH`.
pub fn search_path() -> Vec<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// Where systemd put this service's credentials (`LoadCredential=`).
pub fn credentials_folder() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// A secret as it is written in the configuration (or the environment), else the content of its file.
///
/// A relative path is looked for among systemd's credentials first.
pub(super) fn secret(
    what: &str,
    written: Option<&SecretString>,
    file: Option<&Path>,
) -> anyhow::Result<Option<SecretString>> {
    if let Some(written) = written {
        return Ok(Some(written.clone()));
    }
    let Some(file) = file else { return Ok(None) };
    let path = match credentials_folder() {
        Some(folder) if file.is_relative() && folder.join(file).exists() => folder.join(file),
        _ => file.to_owned(),
    };
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("{what}: cannot read {} (must be readable by the user ticketd runs as)", path.display())
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("{what}: {} is empty", path.display());
    }
    Ok(Some(text.to_owned().into()))
}

/// Parses TOML, lays the environment over it and fills `T`.
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    environment: BTreeMap<String, String>,
) -> anyhow::Result<T> {
    let mut table: Table = text.parse().map_err(|error| toml_fault(text, &error))?;
    let mut from_environment = Vec::new();
    for (name, value) in environment {
        let path: Vec<String> = name.trim_start_matches(PREFIX).split("__").map(str::to_lowercase).collect();
        let shown = set(&mut table, &path, Value::String(value)).with_context(|| name.clone())?;
        from_environment.push((shown, path));
    }
    // A variable is text; where a number or a switch is wanted, serde says so, and the text is read as one.
    for _ in 0..=from_environment.len() {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let shown: Vec<String> = error.path().to_string().split('.').map(str::to_owned).collect();
        let path = from_environment.iter().find(|(known, _)| *known == shown).map(|(_, path)| path);
        let Some((path, value)) = path.and_then(|path| Some((path, reread(&table, path)?))) else {
            return Err(explain(&error));
        };
        set(&mut table, path, value)?;
    }
    Err(anyhow!("the environment's {PREFIX} variables cannot be read"))
}

/// One line on what is wrong with a TOML document, and where.
pub fn toml_fault(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = |end: usize| text.bytes().take(end).filter(|b| *b == b'\n').count();
    let line = error.span().map_or(0, |span| before(span.start)) + 1;
    anyhow!("line {line}: {}", error.message().replace('\n', ", "))
}

/// Beyond it a judgement would outlive its job's lease, and the ticket would wait for nothing.
pub const LONGEST_GEMINI_TIMEOUT: Duration = Duration::from_secs(90);

pub(super) fn gemini_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let timeout = duration(deserializer)?;
    if timeout.is_zero() || timeout > LONGEST_GEMINI_TIMEOUT {
        return Err(serde::de::Error::custom(format!(
            "{timeout:?} is not between a moment and {LONGEST_GEMINI_TIMEOUT:?}, the longest a judgement may take"
        )));
    }
    Ok(timeout)
}

/// Seconds as a number, or text such as "20s", "2m".
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(u64),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => return Ok(Duration::from_secs(seconds)),
        Written::Text(text) => text,
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: Option<u64> = digits.trim().parse().ok();
    let unit = match text.strip_prefix(digits).map(str::trim) {
        Some("ms") => Some(1),
        Some("s" | "") => Some(1_000),
        Some("m" | "min") => Some(60_000),
        _ => None,
    };
    match number.zip(unit) {
        Some((number, unit)) => Ok(Duration::from_millis(number.saturating_mul(unit))),
        None => Err(serde::de::Error::custom(format!("`{text}` is not a time such as \"20s\""))),
    }
}

/// Sets a value by path; a mailbox is addressed by its name. Returns the path as serde writes it: `mailbox[0]`.
fn set(table: &mut Table, path: &[String], value: Value) -> anyhow::Result<Vec<String>> {
    let Some((first, rest)) = path.split_first() else { return Ok(Vec::new()) };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Ok(vec![first.clone()]);
    }
    let (step, behind) = match table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => (first.clone(), set(inner, rest, value)?),
        Value::Array(list) => {
            let Some((name, rest)) = rest.split_first() else { return Ok(Vec::new()) };
            let tables = list.iter_mut().filter_map(Value::as_table_mut).enumerate();
            let Some((index, entry)) = tables.into_iter().find(|(_, entry)| is_named(entry, name)) else {
                bail!("there is no {first} named `{name}`");
            };
            (format!("{first}[{index}]"), set(entry, rest, value)?)
        }
        // What is wrong with it is said where the whole is read.
        _ => return Ok(Vec::new()),
    };
    Ok(std::iter::once(step).chain(behind).collect())
}

fn is_named(entry: &Table, name: &str) -> bool {
    entry.get("name").and_then(Value::as_str).is_some_and(|known| known.eq_ignore_ascii_case(name))
}

fn reread(table: &Table, path: &[String]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut inner = table;
    let mut parents = parents.iter();
    while let Some(parent) = parents.next() {
        inner = match inner.get(parent)? {
            Value::Array(list) => {
                let name = parents.next()?;
                list.iter().filter_map(Value::as_table).find(|entry| is_named(entry, name))?
            }
            other => other.as_table()?,
        };
    }
    let text = inner.get(last)?.as_str()?;
    let integer = text.parse().map(Value::Integer).ok();
    let switch = || text.parse().map(Value::Boolean).ok();
    let list =
        || text.contains(',').then(|| Value::Array(text.split(',').map(|t| t.trim().into()).collect()));
    integer.or_else(switch).or_else(list)
}

/// Keys and names may be written with line ends in them.
pub(super) fn in_one_line(error: &anyhow::Error) -> anyhow::Error {
    let text: String = format!("{error:#}").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    anyhow!(text)
}

/// One line: the key, what is wrong with it, and the nearest key there is.
fn explain(error: &serde_path_to_error::Error<toml::de::Error>) -> anyhow::Error {
    let path = error.path().to_string();
    let message = error.inner().message().replace('\n', " ");
    if let Some(rest) = message.strip_prefix("unknown field `") {
        // The key itself may hold what quotes it.
        let (unknown, known) = rest.rsplit_once("`, expected ").unwrap_or((rest, ""));
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let nearest = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown)));
        return match nearest {
            Some(nearest) => anyhow!("unknown key `{path}`: did you mean `{nearest}`?"),
            None => anyhow!("unknown key `{path}`"),
        };
    }
    if path == "." { anyhow!("{message}") } else { anyhow!("`{path}`: {message}") }
}
