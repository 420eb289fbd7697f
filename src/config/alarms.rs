//! The section `[alarms]`: from when on something is late, or nearly full.

use serde::Deserialize;

use super::rules::within;

/// A week: what waits for longer is nobody's alarm any more.
const LONGEST_MINUTES: i64 = 7 * 24 * 60;

/// Of each, 0: it is not watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alarms {
    /// Work that was due so long ago and is not begun.
    pub backlog_minutes: i64,
    /// A mailbox that was not read for so long, although nothing failed.
    pub silent_minutes: i64,
    /// Less is left of the disk under `data_dir` or the attachments.
    pub disk_free_percent: i64,
    /// Our clock and the database's differ by more.
    pub clock_seconds: i64,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { backlog_minutes: 15, silent_minutes: 30, disk_free_percent: 10, clock_seconds: 60 }
    }
}

impl Alarms {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        within("alarms", "backlog_minutes", self.backlog_minutes, 0..=LONGEST_MINUTES)?;
        within("alarms", "silent_minutes", self.silent_minutes, 0..=LONGEST_MINUTES)?;
        within("alarms", "disk_free_percent", self.disk_free_percent, 0..=100)?;
        within("alarms", "clock_seconds", self.clock_seconds, 0..=3600)
    }
}
