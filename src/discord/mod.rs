//! Discord, as far as it knows nothing of tickets in the database: limits, texts, cards, command definitions, what comes in as
//! our own types, and the calls that go out.
//!
//! Serenity is named here and at the gateway (`sources::discord`) only.

pub mod api;
pub mod card;
pub mod catalogue;
pub mod check;
pub mod custom_id;
pub mod message;
pub mod request;
pub mod said;
pub mod text;
pub mod words;

use chrono::{DateTime, Utc};

/// The first moment of Discord's ids: 2015-01-01T00:00:00Z, in milliseconds.
const EPOCH_MS: i64 = 1_420_070_400_000;

/// When the thing with this id was made: ids of Discord sort by time and hold it
/// (<https://docs.discord.com/developers/reference#snowflakes>).
pub fn created_at(id: u64) -> DateTime<Utc> {
    let milliseconds = i64::try_from(id >> 22).unwrap_or(i64::MAX).saturating_add(EPOCH_MS);
    DateTime::from_timestamp_millis(milliseconds).unwrap_or(DateTime::UNIX_EPOCH)
}

/// The smallest id a thing made at that time can have: where reading begins.
pub fn first_id_at(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis().saturating_sub(EPOCH_MS)).unwrap_or(0) << 22
}

/// Ids in JSON are texts, because JavaScript can't hold them as numbers; numbers are read, too.
mod snowflake {
    use serde::de::{Deserializer, Error, Visitor};

    struct Read;

    impl Visitor<'_> for Read {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an id")
        }

        fn visit_u64<E: Error>(self, id: u64) -> Result<u64, E> {
            Ok(id)
        }

        fn visit_str<E: Error>(self, id: &str) -> Result<u64, E> {
            id.parse().map_err(E::custom)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Read)
    }

    /// One id in JSON, for lists and options.
    #[derive(Clone, Copy, Debug, serde::Deserialize)]
    #[serde(transparent)]
    pub(super) struct Id(#[serde(deserialize_with = "deserialize")] pub(super) u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_their_time() {
        // The example of Discord's reference.
        assert_eq!(created_at(175_928_847_299_117_063).to_rfc3339(), "2016-04-30T11:18:25.796+00:00");
        assert_eq!(first_id_at(created_at(175_928_847_299_117_063)), 175_928_847_299_117_063 >> 22 << 22);
        assert_eq!(first_id_at(DateTime::UNIX_EPOCH), 0);
        assert!(created_at(u64::MAX) > created_at(1));
    }
}
