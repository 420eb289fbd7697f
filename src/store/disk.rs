//! How much room is left where we write.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::statvfs::statvfs;

use crate::config::Config;

/// The room in one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The key of the configuration that leads there.
    pub key: &'static str,
    pub path: PathBuf,
    pub free_percent: i64,
}

/// The room under every folder that the configuration names, each file system once. It may take long where one is remote.
pub fn rooms(config: &Config) -> anyhow::Result<Vec<Room>> {
    let mut folders = vec![("data_dir", config.data_dir.clone())];
    if config.attachments.s3.is_none() {
        folders.push(("attachments.path", config.attachments.folder(&config.data_dir)));
    }
    let (mut rooms, mut seen) = (Vec::new(), Vec::new());
    for (key, path) in folders {
        // What is not made yet will lie in the nearest folder that is there.
        let Some(there) = path.ancestors().find(|folder| folder.exists()) else { continue };
        let device = there.metadata().with_context(|| format!("cannot look at {}", there.display()))?.dev();
        if !seen.contains(&device) {
            seen.push(device);
            rooms.push(Room { key, path: path.clone(), free_percent: free_percent(there)? });
        }
    }
    Ok(rooms)
}

/// What is left to us, who are not root.
fn free_percent(folder: &Path) -> anyhow::Result<i64> {
    let stats = statvfs(folder)
        .with_context(|| format!("cannot ask how full the disk under {} is", folder.display()))?;
    // A file system that counts no blocks has no end.
    let percent = stats.blocks_available().saturating_mul(100).checked_div(stats.blocks()).unwrap_or(100);
    Ok(i64::try_from(percent).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn two_folders_on_one_disk_are_one_room_even_before_they_are_made() {
        let folder = std::env::temp_dir().join("ticketd-not-made").join("deeper");
        let text = format!("data_dir = {:?}", folder.display().to_string());
        let rooms = rooms(&Config::parse(&text, BTreeMap::new()).unwrap()).unwrap();
        assert_eq!(rooms.len(), 1);
        let room = rooms.first().unwrap();
        assert_eq!((room.key, &room.path), ("data_dir", &folder));
        assert!((0..=100).contains(&room.free_percent), "{room:?}");
    }
}
