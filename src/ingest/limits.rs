//! Which files of a mail or message are taken. Pure.

use crate::config::Attachments;
use crate::queue::room;
use crate::tickets::uploads;

/// So many names are said of the files that were left out.
const NAMES: usize = 10;
/// A longer name is cut where it is said.
const LONGEST_NAME: usize = 80;

/// What the limits leave of some files, in their order, and what staff should know of the rest.
pub(super) struct Taken<T> {
    pub(super) files: Vec<T>,
    pub(super) left_out: Option<String>,
}

/// What the files of one message from Discord have together, in bytes: they may leave in one mail.
pub(super) const OF_A_MESSAGE: u64 = uploads::LARGEST as u64;

/// Takes files up to the limits, and so many bytes together; `of` says name and size of one. A file that is left out does not
/// count.
pub(super) fn within<T>(
    limits: &Attachments,
    together: u64,
    files: Vec<T>,
    of: impl Fn(&T) -> (Option<String>, u64),
) -> Taken<T> {
    let most_bytes = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX);
    let (mut taken, mut bytes) = (Vec::new(), 0u64);
    let (mut too_large, mut too_many, mut too_much) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let (name, size) = of(&file);
        if size > most_bytes {
            too_large.push(name);
        } else if taken.len() >= limits.max_count {
            too_many.push(name);
        } else if bytes.saturating_add(size) > together {
            too_much.push(name);
        } else {
            bytes += size;
            taken.push(file);
        }
    }
    let mut said = Vec::new();
    if !too_large.is_empty() {
        let limit = format!("larger than {most_bytes} bytes (attachments.max_bytes)");
        said.push(sentence(&too_large, &limit));
    }
    if !too_many.is_empty() {
        let limit = format!("more than the {} that are taken (attachments.max_count)", limits.max_count);
        said.push(sentence(&too_many, &limit));
    }
    if !too_much.is_empty() {
        said.push(sentence(&too_much, &format!("more than {together} bytes with the others of the message")));
    }
    Taken { files: taken, left_out: (!said.is_empty()).then(|| said.join("; ")) }
}

/// Of messages with so many bytes of files: how many are worked on at once (one at least), and their bytes.
pub(super) fn at_once(sizes: impl Iterator<Item = u64>) -> (usize, i64) {
    let (mut count, mut bytes) = (0, 0u64);
    for size in sizes {
        let more = bytes.saturating_add(size.min(OF_A_MESSAGE));
        if count > 0 && more > room::MOST as u64 {
            break;
        }
        (count, bytes) = (count + 1, more);
    }
    (count, i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn sentence(names: &[Option<String>], why: &str) -> String {
    let count = names.len();
    let mut said: Vec<String> = names.iter().take(NAMES).map(|name| shown(name.as_deref())).collect();
    if count > NAMES {
        said.push(format!("and {} more", count - NAMES));
    }
    let (files, were) = if count == 1 { ("file", "was") } else { ("files", "were") };
    format!("{count} {files} {were} left out, {why}: {}", said.join(", "))
}

/// Names are safe to show ([`crate::mail::body::filename`]), but may be long.
fn shown(name: Option<&str>) -> String {
    let name = name.unwrap_or("(no name)");
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(limits: (usize, usize, u64), files: &[(&str, u64)]) -> String {
        let together = limits.2;
        let limits = Attachments { max_bytes: limits.0, max_count: limits.1, ..Attachments::default() };
        let of = |file: &(&str, u64)| (Some(file.0.to_owned()).filter(|name| !name.is_empty()), file.1);
        let taken = within(&limits, together, files.to_vec(), of);
        let names: Vec<&str> = taken.files.iter().map(|file| file.0).collect();
        format!("{}: {}", names.join(" "), taken.left_out.unwrap_or_default())
    }

    #[test]
    fn messages_are_worked_on_as_far_as_their_files_fit_and_one_at_least() {
        const MIB: u64 = 1 << 20;
        assert_eq!(at_once([].into_iter()), (0, 0));
        assert_eq!(at_once([0, 0, 0].into_iter()), (3, 0));
        assert_eq!(at_once([20 * MIB, 12 * MIB, 1].into_iter()), (2, 32 << 20));
        assert_eq!(
            at_once([u64::MAX, 8 * MIB].into_iter()),
            (1, 25 << 20),
            "the rest of the first is left out"
        );
    }

    #[test]
    fn what_is_left_out_is_said_with_its_reason() {
        insta::assert_snapshot!(left_out((10, 2, 100), &[("a", 10), ("b", 0)]), @"a b:");
        insta::assert_snapshot!(left_out((10, 2, 100), &[("a", 11), ("b", 1), ("", 11), ("c", 1), ("d", 1)]), @"b c: 2 files were left out, larger than 10 bytes (attachments.max_bytes): a, (no name); 1 file was left out, more than the 2 that are taken (attachments.max_count): d");
        insta::assert_snapshot!(left_out((10, 0, 100), &[("a", 1)]), @": 1 file was left out, more than the 0 that are taken (attachments.max_count): a");
        insta::assert_snapshot!(left_out((10, 9, 12), &[("a", 10), ("b", 3), ("c", 2)]), @"a c: 1 file was left out, more than 12 bytes with the others of the message: b");
        let many: Vec<_> = (0..12).map(|_| ("x", 1)).collect();
        insta::assert_snapshot!(left_out((10, 0, 100), &many), @": 12 files were left out, more than the 0 that are taken (attachments.max_count): x, x, x, x, x, x, x, x, x, x, and 2 more");
        let long = "ä".repeat(200);
        insta::assert_snapshot!(left_out((0, 1, 100), &[(&long, 1)]), @": 1 file was left out, larger than 0 bytes (attachments.max_bytes): ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää…");
    }
}
