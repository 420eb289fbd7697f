//! Looks every minute at all that may be late or broken, and raises or clears alarms.
//!
//! It takes no input and keeps no state of its own: what it finds is in the tables, and what it found before is the open
//! alarms. So whatever was missed while the daemon was down is found by the first look after.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::alarms::{self, Alarm};
use crate::clock::Clock;
use crate::config::{Config, Engine};
use crate::database;
use crate::ingest::{self, ledger};
use crate::queue::{self, Claimed, Done, JobError, Kind};
use crate::store::disk;
use crate::tickets::{changes, loops, outbox};

/// Looks at everything.
#[derive(Clone, Debug)]
pub struct Watch {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
}

/// What this looks at. Other alarms are raised and cleared by who is in the trouble.
const WATCHED: [&str; 10] = [
    alarms::SILENT,
    alarms::SMTP,
    alarms::DISCORD,
    alarms::QUARANTINE,
    alarms::DEAD_LETTERS,
    alarms::LOOP_BREAKER,
    alarms::GEMINI,
    alarms::CLOCK,
    alarms::DISK,
    alarms::BACKLOG,
];
/// Trouble that was not seen for this long is over: what comes and goes within it is told once.
const QUIET: TimeDelta = TimeDelta::minutes(5);
/// The same for the clock and the disk of another machine than ours. It looks for itself, but of the looks, which all
/// machines share, it may not get one for a while.
const QUIET_ELSEWHERE: TimeDelta = TimeDelta::hours(1);
/// A server that restarts, and a quota by the minute, are nobody's business.
const PASSES: TimeDelta = TimeDelta::minutes(10);
/// So many attempts are no bad luck.
const TRIES: i64 = 3;
/// What can't be read again is told of, but not for ever.
const BEYOND_HELP: TimeDelta = TimeDelta::days(1);
/// A ticket is judged again for so long ([`crate::triage`]); what was before is history.
const JUDGED_AGAIN: TimeDelta = TimeDelta::days(1);
/// From here on one-time codes fail, and mail servers and Discord take our times for wrong.
const MUCH_TOO_FAR: i64 = 300;
/// The work that people wait for.
const WORK: [&Kind; 4] = [&queue::INGEST, &queue::TRIAGE, &queue::ASSIGN, &queue::DELIVER];
/// A disk that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trouble {
    kind: &'static str,
    subject: String,
    reason: String,
}

impl Trouble {
    fn new(kind: &'static str, subject: &str, reason: String) -> Self {
        Self { kind, subject: subject.to_owned(), reason }
    }
}

impl Watch {
    /// One look.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let machine = machine();
        let mut found = self.database(now).await?;
        found.extend(self.clocks(&machine).await?);
        found.extend(self.disks(&machine).await?);
        // In one order for everybody, or two would wait for each other.
        found.sort();
        let open = alarms::open(&self.db).await?;
        let mut tx = self.db.begin().await?;
        for trouble in &found {
            alarms::raise(&mut tx, trouble.kind, &trouble.subject, &trouble.reason, now).await?;
        }
        for alarm in over(&open, &found, &machine, now) {
            alarms::clear(&mut tx, &alarm.kind, &alarm.subject, now).await?;
        }
        let done = job.done(tx).await?;
        queue::ring(&self.db).await;
        Ok(done)
    }

    /// What the tables tell.
    async fn database(&self, now: DateTime<Utc>) -> Result<Vec<Trouble>, JobError> {
        let mut found = self.sources(now).await?;
        found.extend(self.smtp(now).await?);
        let quarantined = ledger::quarantined(&self.db, now - BEYOND_HELP).await?;
        found.extend(quarantine(&quarantined));
        for (kind, count) in queue::backlog(&self.db).await?.dead {
            found.push(dead_letters(&kind, count));
        }
        if let Some((count, since)) = loops::holding(&self.db).await? {
            found.push(loop_breaker(count, since));
        }
        found.extend(self.gemini(now).await?);
        let minutes = self.config.alarms.backlog_minutes;
        if minutes > 0
            && let Some(late) = queue::late(&self.db, &WORK, now - TimeDelta::minutes(minutes)).await?
        {
            found.push(backlog(late, now));
        }
        Ok(found)
    }

    /// What is to be read and is not. Where reading a mailbox fails, its reader tells.
    async fn sources(&self, now: DateTime<Utc>) -> Result<Vec<Trouble>, JobError> {
        let minutes = self.config.alarms.silent_minutes;
        let mut found = Vec::new();
        for health in ingest::health(&self.db).await? {
            let is_discord = health.name == ingest::DISCORD && self.config.discord.is_some();
            if let (true, Some(since), Some(error)) = (is_discord, health.failing_since, &health.last_error) {
                if now - since >= PASSES {
                    found.push(Trouble::new(alarms::DISCORD, "gateway", error.clone()));
                }
                continue;
            }
            let is_read = self.config.mailbox(&health.name).is_some_and(|mailbox| mailbox.imap.is_some());
            let Some(checked_at) = health.checked_at.filter(|_| is_read && health.last_error.is_none())
            else {
                continue;
            };
            if minutes > 0 && now - checked_at > TimeDelta::minutes(minutes) {
                found.push(silent(&health.name, checked_at));
            }
        }
        Ok(found)
    }

    async fn smtp(&self, now: DateTime<Utc>) -> Result<Vec<Trouble>, JobError> {
        let Some(default) = self.config.default_mailbox() else { return Ok(Vec::new()) };
        let names: Vec<String> = self.config.mailbox.iter().map(|mailbox| mailbox.name.clone()).collect();
        let stuck = outbox::stuck(&self.db, &names, &default.name).await?;
        let stuck = stuck.into_iter().filter(|s| s.attempts >= TRIES && now - s.since >= PASSES);
        Ok(stuck.map(|stuck| smtp(&stuck)).collect())
    }

    async fn gemini(&self, now: DateTime<Utc>) -> Result<Option<Trouble>, JobError> {
        if self.config.gemini.is_none() || self.config.triage.engine == Some(Engine::Offline) {
            return Ok(None);
        }
        let fallbacks = changes::fallbacks(&self.db, now - JUDGED_AGAIN).await?;
        Ok(fallbacks.filter(|f| now - f.since >= PASSES).map(|f| gemini(&f)))
    }

    async fn clocks(&self, machine: &str) -> Result<Option<Trouble>, JobError> {
        let limit = self.config.alarms.clock_seconds;
        if limit == 0 {
            return Ok(None);
        }
        let theirs = database::now(&self.db).await?;
        let ahead = (self.clock.now() - theirs).num_seconds();
        Ok((ahead.abs() > limit).then(|| Trouble::new(alarms::CLOCK, machine, skew(ahead))))
    }

    async fn disks(&self, machine: &str) -> Result<Vec<Trouble>, JobError> {
        let limit = self.config.alarms.disk_free_percent;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let config = Arc::clone(&self.config);
        let looking = tokio::task::spawn_blocking(move || disk::rooms(&config));
        let rooms = match tokio::time::timeout(PATIENCE, looking).await {
            Ok(looked) => looked.context("looking at the disks failed")??,
            // What else is wrong is told all the same.
            Err(_elapsed) => {
                tracing::warn!("a disk does not say how full it is");
                return Ok(Vec::new());
            }
        };
        let full = rooms.iter().filter(|room| room.free_percent < limit);
        Ok(full.map(|room| nearly_full(room, limit, machine)).collect())
    }
}

/// The name by which people know this machine.
pub fn machine() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "this machine".to_owned())
}

/// The open alarms that nobody has seen a reason for in a while.
fn over<'a>(open: &'a [Alarm], found: &[Trouble], machine: &str, now: DateTime<Utc>) -> Vec<&'a Alarm> {
    let is_found = |alarm: &Alarm| found.iter().any(|t| t.kind == alarm.kind && t.subject == alarm.subject);
    let quiet = |alarm: &Alarm| {
        let is_of_a_machine = [alarms::CLOCK, alarms::DISK].contains(&alarm.kind.as_str());
        let is_ours = alarm.subject.split_whitespace().next() == Some(machine);
        if is_of_a_machine && !is_ours { QUIET_ELSEWHERE } else { QUIET }
    };
    let mut over: Vec<&Alarm> = open
        .iter()
        .filter(|alarm| WATCHED.contains(&alarm.kind.as_str()) && !is_found(alarm))
        .filter(|alarm| now - alarm.last_seen_at >= quiet(alarm))
        .collect();
    over.sort_by_key(|alarm| (&alarm.kind, &alarm.subject));
    over
}

fn silent(mailbox: &str, checked_at: DateTime<Utc>) -> Trouble {
    let at = time(checked_at);
    let reason = format!(
        "it was last read to its end at {at}, and nothing failed since: its reader waits for a server that says nothing, or no \
         process reads it; restart ticketd, and look at its log"
    );
    Trouble::new(alarms::SILENT, mailbox, reason)
}

fn smtp(stuck: &outbox::Stuck) -> Trouble {
    let (mails, attempts, since) = (counted(stuck.mails, "mail"), stuck.attempts, time(stuck.since));
    let reason = format!(
        "{mails} could not be sent in {attempts} attempts since {since}, and no other was: `ticketd deliveries list` says why, \
         `ticketd doctor` tries the log-in"
    );
    Trouble::new(alarms::SMTP, &stuck.mailbox, reason)
}

fn quarantine(rows: &[(String, i64)]) -> Option<Trouble> {
    let total: i64 = rows.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return None;
    }
    let each: Vec<String> = rows.iter().map(|(mailbox, count)| format!("{mailbox}: {count}")).collect();
    let reason = format!(
        "{} could not be taken in ({}): `ticketd ledger list --fate quarantined` says why, `ticketd ledger replay` reads them \
         again",
        counted(total, "message"),
        each.join(", ")
    );
    Some(Trouble::new(alarms::QUARANTINE, "ledger", reason))
}

fn dead_letters(kind: &str, count: i64) -> Trouble {
    let reason = format!(
        "{} of the kind `{kind}` failed for good: `ticketd jobs list --failed` says why, `ticketd jobs retry` and `cancel` end it",
        counted(count, "job")
    );
    Trouble::new(alarms::DEAD_LETTERS, kind, reason)
}

fn loop_breaker(count: i64, since: DateTime<Utc>) -> Trouble {
    let reason = format!(
        "automatic mail to {} is held back since {}: two machines may be answering each other; see the tickets' events, and \
         GET and DELETE /api/admin/loop-breakers to let it go",
        if count == 1 { "one address or ticket".to_owned() } else { format!("{count} addresses or tickets") },
        time(since)
    );
    Trouble::new(alarms::LOOP_BREAKER, "automatic mail", reason)
}

fn gemini(fallbacks: &changes::Fallbacks) -> Trouble {
    let reason = format!(
        "the offline engine judged {} in its stead since {}: {}",
        counted(fallbacks.tickets, "ticket"),
        time(fallbacks.since),
        fallbacks.reason
    );
    Trouble::new(alarms::GEMINI, "triage", reason)
}

fn backlog(late: queue::Late, now: DateTime<Utc>) -> Trouble {
    let reason = format!(
        "{} should have been begun, the oldest {} minutes ago: `ticketd jobs list` shows them; see whether the machine and \
         PostgreSQL are busy, and what the log says",
        counted(late.jobs, "job"),
        (now - late.oldest_due).num_minutes()
    );
    Trouble::new(alarms::BACKLOG, "jobs", reason)
}

/// What to do about a clock that is so many seconds ahead of the database's.
pub fn skew(ahead: i64) -> String {
    let (by, way) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
    let worse = if by > MUCH_TOO_FAR { ", so far that one-time codes and log-ins fail" } else { "" };
    format!(
        "this machine's clock is {by} s {way} PostgreSQL's{worse}: have both set by NTP (`timedatectl set-ntp true`)"
    )
}

fn nearly_full(room: &disk::Room, limit: i64, machine: &str) -> Trouble {
    Trouble::new(alarms::DISK, &format!("{machine} {}", room.key), full(room, limit))
}

/// What to do about a disk with less than `limit` percent left.
pub fn full(room: &disk::Room, limit: i64) -> String {
    format!(
        "{} % are left of the disk under {} ({}), less than alarms.disk_free_percent = {limit}: free some space or give it a larger one",
        room.free_percent,
        room.path.display(),
        room.key
    )
}

fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        "2026-11-21T09:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
    }

    fn alarm(kind: &str, subject: &str, seen: i64) -> Alarm {
        Alarm {
            id: 1,
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            reason: String::new(),
            raised_at: at(0),
            last_seen_at: at(seen),
            told_at: None,
            cleared_at: None,
        }
    }

    #[test]
    fn an_alarm_is_over_when_its_trouble_was_not_seen_for_a_while_by_who_can_see_it() {
        let open = [
            alarm(alarms::QUARANTINE, "ledger", 0),
            alarm(alarms::BACKLOG, "jobs", 1),
            alarm(alarms::GEMINI, "triage", 0),
            alarm(alarms::MAILBOX, "support", 0),
            alarm(alarms::CLOCK, "here", 0),
            alarm(alarms::CLOCK, "there", 0),
            alarm(alarms::DISK, "here data_dir", 0),
            alarm(alarms::DISK, "there data_dir", 0),
        ];
        let found = [Trouble::new(alarms::GEMINI, "triage", String::new())];
        let over = |minute| -> Vec<String> {
            let over = super::over(&open, &found, "here", at(minute));
            over.iter().map(|alarm| format!("{} {}", alarm.kind, alarm.subject)).collect()
        };
        assert_eq!(over(4), [""; 0], "it may come back");
        assert_eq!(over(5), ["clock here", "disk here data_dir", "quarantine ledger"]);
        let all = ["backlog jobs", "clock here", "clock there", "disk here data_dir", "disk there data_dir"];
        assert_eq!(over(60), [all.as_slice(), &["quarantine ledger"]].concat());
    }

    #[test]
    fn each_reason_says_what_to_do() {
        let rows = [("sales".to_owned(), 1), ("support".to_owned(), 2)];
        let stuck = outbox::Stuck { mailbox: "support".to_owned(), mails: 1, attempts: 7, since: at(0) };
        let fallbacks = changes::Fallbacks { tickets: 3, since: at(0), reason: "Gemini is busy".to_owned() };
        let late = queue::Late { jobs: 20, oldest_due: at(0) };
        let room = disk::Room { key: "data_dir", path: "/var/lib/ticketd".into(), free_percent: 3 };
        let all = [
            Some(silent("support", at(0))),
            Some(smtp(&stuck)),
            quarantine(&rows),
            quarantine(&[]),
            Some(dead_letters("ingest", 1)),
            Some(loop_breaker(1, at(0))),
            Some(gemini(&fallbacks)),
            Some(backlog(late, at(17))),
            Some(Trouble::new(alarms::CLOCK, "here", skew(-61))),
            Some(Trouble::new(alarms::CLOCK, "here", skew(301))),
            Some(nearly_full(&room, 10, "here")),
        ];
        let all: Vec<String> =
            all.iter().flatten().map(|t| format!("{}, {}: {}", t.kind, t.subject, t.reason)).collect();
        insta::assert_snapshot!(all.join("\n"), @"
        silent, support: it was last read to its end at 2026-11-21 09:00 UTC, and nothing failed since: its reader waits for a server that says nothing, or no process reads it; restart ticketd, and look at its log
        smtp, support: 1 mail could not be sent in 7 attempts since 2026-11-21 09:00 UTC, and no other was: `ticketd deliveries list` says why, `ticketd doctor` tries the log-in
        quarantine, ledger: 3 messages could not be taken in (sales: 1, support: 2): `ticketd ledger list --fate quarantined` says why, `ticketd ledger replay` reads them again
        dead_letters, ingest: 1 job of the kind `ingest` failed for good: `ticketd jobs list --failed` says why, `ticketd jobs retry` and `cancel` end it
        loop_breaker, automatic mail: automatic mail to one address or ticket is held back since 2026-11-21 09:00 UTC: two machines may be answering each other; see the tickets' events, and GET and DELETE /api/admin/loop-breakers to let it go
        gemini, triage: the offline engine judged 3 tickets in its stead since 2026-11-21 09:00 UTC: Gemini is busy
        backlog, jobs: 20 jobs should have been begun, the oldest 17 minutes ago: `ticketd jobs list` shows them; see whether the machine and PostgreSQL are busy, and what the log says
        clock, here: this machine's clock is 61 s behind PostgreSQL's: have both set by NTP (`timedatectl set-ntp true`)
        clock, here: this machine's clock is 301 s ahead of PostgreSQL's, so far that one-time codes and log-ins fail: have both set by NTP (`timedatectl set-ntp true`)
        disk, here data_dir: 3 % are left of the disk under /var/lib/ticketd (data_dir), less than alarms.disk_free_percent = 10: free some space or give it a larger one
        ");
    }
}
