//! What values make sense: checked in the file, and when an admin changes a setting while ticketd runs.

use std::ops::RangeInclusive;

use anyhow::bail;

use super::Config;

/// Ten years: what is meant to be for ever is longer than anybody remembers, and time still adds up.
pub(super) const LONGEST_DAYS: i64 = 3650;
const LARGEST_CAP: i64 = 10_000;
/// An hour: whoever waits longer for an answer writes again.
const LONGEST_UNDO: i64 = 3600;
const MOST_CATEGORIES: usize = 100;
const LONGEST_CATEGORY: usize = 64;

impl Config {
    /// The rules of the values that may change while ticketd runs.
    pub(crate) fn check_rules(&self) -> anyhow::Result<()> {
        let assignment = &self.assignment;
        within("assignment", "cap_default", assignment.cap_default.into(), 0..=LARGEST_CAP)?;
        within("assignment", "reopen_days", assignment.reopen_days, 0..=LONGEST_DAYS)?;
        within("assignment", "close_after_days", assignment.close_after_days, 0..=LONGEST_DAYS)?;
        within("mail", "undo_seconds", self.mail.undo_seconds, 0..=LONGEST_UNDO)?;
        self.retention.check(assignment.reopen_days)?;
        check_categories(&self.triage.categories)
    }
}

pub(super) fn within(section: &str, key: &str, value: i64, range: RangeInclusive<i64>) -> anyhow::Result<()> {
    if !range.contains(&value) {
        bail!("{section}: {key} is {value}: give a number from {} to {}", range.start(), range.end());
    }
    Ok(())
}

fn check_categories(categories: &[String]) -> anyhow::Result<()> {
    if categories.is_empty() {
        bail!("triage: categories is empty: give at least one");
    }
    if categories.len() > MOST_CATEGORIES {
        bail!("triage: categories has {} entries: at most {MOST_CATEGORIES} are taken", categories.len());
    }
    for (index, category) in categories.iter().enumerate() {
        let length = category.chars().count();
        if category.trim() != category || length == 0 || category.chars().any(char::is_control) {
            bail!("triage: categories: entry {} is empty, or begins or ends with space", index + 1);
        }
        if length > LONGEST_CATEGORY {
            bail!("triage: categories: entry {} is longer than {LONGEST_CATEGORY} characters", index + 1);
        }
        if categories.iter().take(index).any(|other| other == category) {
            bail!("triage: categories: `{category}` is named twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_value_that_makes_no_sense_is_refused_with_what_does() {
        let said = |text: &str| match Config::parse(text, BTreeMap::new()) {
            Ok(_) => "taken".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        insta::assert_snapshot!(said("[assignment]\ncap_default = -1"), @"assignment: cap_default is -1: give a number from 0 to 10000");
        insta::assert_snapshot!(said("[assignment]\nclose_after_days = 9000000000000"), @"assignment: close_after_days is 9000000000000: give a number from 0 to 3650");
        insta::assert_snapshot!(said("[mail]\nundo_seconds = 3601"), @"mail: undo_seconds is 3601: give a number from 0 to 3600");
        insta::assert_snapshot!(said("[retention]\nraw_mail_days = -1"), @"retention: raw_mail_days is -1: give a number from 0 to 3650");
        insta::assert_snapshot!(said("[retention]\nclosed_ticket_days = 10"), @"retention: closed_ticket_days is 10, but an answer reopens a closed ticket for assignment.reopen_days = 14: give at least as many, or 0 to keep tickets for ever");
        insta::assert_snapshot!(said("[triage]\ncategories = []"), @"triage: categories is empty: give at least one");
        insta::assert_snapshot!(said("[triage]\ncategories = [\"a\", \" b\"]"), @"triage: categories: entry 2 is empty, or begins or ends with space");
        insta::assert_snapshot!(said("[triage]\ncategories = [\"a\", \"b\", \"a\"]"), @"triage: categories: `a` is named twice");
        insta::assert_snapshot!(said("[assignment]\nreopen_days = 0\n[mail]\nundo_seconds = 0"), @"taken");
    }
}
