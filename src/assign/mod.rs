//! Who gets a ticket: candidates in, choice and reasons out.
//!
//! [`choose`] is pure and says everything: every candidate with its score parts and verdict. The stage makes
//! assignments take turns, so that two of them never fill the same place.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use crate::clock::Clock;
use crate::crash;
use crate::ids::{PersonId, TicketId};
use crate::people::{self, Role, StaffMember};
use crate::queue::{self, Claimed, Done, JobError};
use crate::settings::Settings;
use crate::tickets::{self, AssignmentRecord, Outcome, changes};

/// Assigns tickets.
#[derive(Clone, Debug)]
pub struct Assign {
    pub db: PgPool,
    pub clock: Clock,
    pub settings: Settings,
}

/// A staff member with the load they carry now.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub member: StaffMember,
    pub load: i64,
    pub cap: i64,
}

/// Why someone was chosen or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Chosen,
    /// Fits, but another fits better.
    Outscored,
    NoSkill,
    Away,
    AtCap,
    /// Fits, and is not at work now: comes after everybody who is.
    OffHours,
    /// An admin: asked only when no moderator fits.
    Fallback,
}

/// A candidate as it is kept: score parts and verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    pub person_id: PersonId,
    pub name: String,
    pub role: Role,
    pub verdict: Verdict,
    /// The required skills this person has, with level 1 to 5.
    pub skills: Vec<(String, i32)>,
    /// Rarity-weighted share of the required skills, times level: 0 to 1.
    pub coverage: f64,
    pub load: i64,
    pub cap: i64,
    pub off_hours: bool,
    /// `coverage - load / cap`.
    pub score: f64,
}

/// The choice with its reason.
#[derive(Clone, Debug)]
pub struct Choice {
    pub outcome: Outcome,
    pub assignee: Option<PersonId>,
    pub reason: String,
    pub judged: Vec<Judged>,
}

const HIGHEST_LEVEL: f64 = 5.0;

#[expect(clippy::cast_precision_loss, reason = "counts of tickets and people are small")]
fn share(part: i64, whole: i64) -> f64 {
    if whole <= 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// A skill counts the more, the fewer moderators have it: 1 for one that all have, growing with its rarity.
fn weights(required: &[String], candidates: &[Candidate]) -> BTreeMap<String, f64> {
    let moderators = candidates.iter().filter(|c| c.member.role == Role::Moderator).count();
    let weight = |skill: &String| {
        let having = candidates
            .iter()
            .filter(|c| c.member.role == Role::Moderator && c.member.skills.iter().any(|(s, _)| s == skill))
            .count();
        let (all, having) = (i64::try_from(moderators).unwrap_or(0), i64::try_from(having).unwrap_or(0));
        1.0 + share(all + 1, having + 1).ln()
    };
    required.iter().map(|skill| (skill.clone(), weight(skill))).collect()
}

fn judge(candidate: &Candidate, weights: &BTreeMap<String, f64>) -> Judged {
    let member = &candidate.member;
    let skills: Vec<(String, i32)> =
        member.skills.iter().filter(|(slug, _)| weights.contains_key(slug)).cloned().collect();
    let total: f64 = weights.values().sum();
    let covered: f64 = skills
        .iter()
        .map(|(slug, level)| weights.get(slug).copied().unwrap_or(0.0) * f64::from(*level) / HIGHEST_LEVEL)
        .sum();
    // Sums of fractions end a hair above 1.
    let coverage = if total > 0.0 { (covered / total).min(1.0) } else { 0.0 };
    let verdict = if member.role == Role::Admin {
        Verdict::Fallback
    } else if skills.is_empty() {
        Verdict::NoSkill
    } else if member.away {
        Verdict::Away
    } else if candidate.load >= candidate.cap {
        Verdict::AtCap
    } else if !member.at_work {
        Verdict::OffHours
    } else {
        Verdict::Outscored
    };
    Judged {
        person_id: member.id,
        name: member.name.clone(),
        role: member.role,
        verdict,
        skills,
        coverage,
        load: candidate.load,
        cap: candidate.cap,
        off_hours: !member.at_work,
        score: coverage - share(candidate.load, candidate.cap),
    }
}

/// Chooses. Who fits and is at work comes first, then who fits and is off hours, then an admin. Ties go to who was assigned
/// longest ago, then to the lower id: the same input gives the same choice.
pub fn choose(required: &[String], candidates: &[Candidate]) -> Choice {
    let weights = weights(required, candidates);
    let mut judged: Vec<Judged> = candidates.iter().map(|c| judge(c, &weights)).collect();
    let last_assigned = |person: PersonId| -> Option<DateTime<Utc>> {
        candidates.iter().find(|c| c.member.id == person).and_then(|c| c.member.last_assigned_at)
    };
    let best_of = |verdict: Verdict| {
        let fitting = judged.iter().filter(|j| j.verdict == verdict);
        let best = fitting.min_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| last_assigned(a.person_id).cmp(&last_assigned(b.person_id)))
                .then_with(|| a.person_id.cmp(&b.person_id))
        });
        best.map(|j| j.person_id)
    };
    let best = best_of(Verdict::Outscored).or_else(|| best_of(Verdict::OffHours));
    let is_away = |person: PersonId| candidates.iter().any(|c| c.member.id == person && c.member.away);
    let admin = judged
        .iter()
        .filter(|j| j.role == Role::Admin)
        .min_by_key(|j| (is_away(j.person_id), j.off_hours, j.load, last_assigned(j.person_id), j.person_id))
        .map(|j| j.person_id);
    let (outcome, assignee) = match (best, admin) {
        (Some(moderator), _) => (Outcome::Matched, Some(moderator)),
        (None, Some(admin)) => (Outcome::Fallback, Some(admin)),
        (None, None) => (Outcome::Unassigned, None),
    };
    let reason = reason(required, &judged, outcome, assignee);
    for one in &mut judged {
        if Some(one.person_id) == assignee {
            one.verdict = Verdict::Chosen;
        }
    }
    judged.sort_by(|a, b| {
        (b.verdict == Verdict::Chosen)
            .cmp(&(a.verdict == Verdict::Chosen))
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| a.person_id.cmp(&b.person_id))
    });
    Choice { outcome, assignee, reason, judged }
}

/// One line people read: "Bea: 2 of 2 skills (billing, rust), 3 of 10 open; Cem was away".
fn reason(required: &[String], judged: &[Judged], outcome: Outcome, assignee: Option<PersonId>) -> String {
    let chosen = judged.iter().find(|j| Some(j.person_id) == assignee);
    let named = |verdict: Verdict| -> Vec<&str> {
        let others = judged.iter().filter(|j| Some(j.person_id) != assignee);
        others.filter(|j| j.verdict == verdict).map(|j| j.name.as_str()).collect()
    };
    let mut absent = Vec::new();
    let causes = [(Verdict::Away, "away"), (Verdict::AtCap, "at cap"), (Verdict::OffHours, "off hours")];
    for (verdict, said) in causes {
        let names = named(verdict);
        if let Some((last, others)) = names.split_last() {
            let (list, verb) = if others.is_empty() {
                ((*last).to_owned(), "was")
            } else {
                (format!("{} and {last}", others.join(", ")), "were")
            };
            absent.push(format!("{list} {verb} {said}"));
        }
    }
    let head = match (chosen, outcome) {
        (Some(chosen), Outcome::Matched | Outcome::Manual) => {
            let slugs: Vec<&str> = chosen.skills.iter().map(|(slug, _)| slug.as_str()).collect();
            format!(
                "{}: {} of {} {} ({}), {} of {} open{}",
                chosen.name,
                slugs.len(),
                required.len(),
                if required.len() == 1 { "skill" } else { "skills" },
                slugs.join(", "),
                chosen.load,
                chosen.cap,
                if chosen.off_hours { ", off hours as all who fit" } else { "" }
            )
        }
        (Some(admin), _) => format!("{}, an admin, because {}", admin.name, nobody_fits(required, judged)),
        (None, _) => format!("nobody: {}, and there is no admin", nobody_fits(required, judged)),
    };
    if outcome == Outcome::Matched && !absent.is_empty() {
        format!("{head}; {}", absent.join("; "))
    } else if absent.is_empty() {
        head
    } else {
        format!("{head} ({})", absent.join("; "))
    }
}

fn nobody_fits(required: &[String], judged: &[Judged]) -> String {
    let moderators: Vec<&Judged> = judged.iter().filter(|j| j.role == Role::Moderator).collect();
    let skilled: Vec<&&Judged> = moderators.iter().filter(|j| !j.skills.is_empty()).collect();
    let all = |verdict: Verdict| skilled.iter().all(|j| j.verdict == verdict);
    if required.is_empty() {
        "no required skill was recognized".to_owned()
    } else if moderators.is_empty() {
        "there is no moderator".to_owned()
    } else if skilled.is_empty() {
        format!("no moderator has {}", required.join(" or "))
    } else if all(Verdict::Away) {
        format!("all who have {} are away", required.join(" or "))
    } else if all(Verdict::AtCap) {
        format!("all who have {} are at their cap", required.join(" or "))
    } else {
        format!("all who have {} are away or at their cap", required.join(" or "))
    }
}

/// Whether a ticket that is looked at again stays where it is.
fn stays(ticket: &tickets::Locked, choice: &Choice, candidates: &[Candidate]) -> bool {
    if (ticket.outcome, choice.outcome) == (Some(Outcome::Unassigned), Outcome::Unassigned) {
        return true;
    }
    let Some(holder) = ticket.assignee.filter(|_| ticket.assignee_active) else { return false };
    let is_there = || {
        let holds = |c: &&Candidate| c.member.id == holder && c.member.role == Role::Admin;
        candidates.iter().find(holds).is_some_and(|c| !c.member.away)
    };
    // Nobody fits as before: admins do not pass it round.
    let still_fallback = (ticket.outcome, choice.outcome) == (Some(Outcome::Fallback), Outcome::Fallback);
    choice.assignee == Some(holder) || (still_fallback && is_there())
}

impl Assign {
    /// Assigns one ticket, if nobody has it and no person decided.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let ticket = TicketId(job.subject);
        let now = self.clock.now();
        let default_cap = self.settings.current().await.assignment.cap_default;
        let mut tx = self.db.begin().await?;
        let _turn = changes::take_turn_assigning(&mut tx).await?;
        let locked = match tickets::lock(&mut tx, ticket).await {
            // It needs nobody any more.
            Err(tickets::TicketError::Deleted(_) | tickets::TicketError::Merged(..)) => {
                return job.done(tx).await;
            }
            Err(error @ tickets::TicketError::Unknown(_)) => return Err(JobError::Fail(error.into())),
            locked => locked.map_err(|e| JobError::Retry(e.into()))?,
        };
        if !changes::wants_assignment(&mut tx, &locked).await? {
            return job.done(tx).await;
        }
        let required = changes::required_skills(&mut tx, ticket).await?;
        let candidates = candidates(&mut tx, &locked, default_cap, now).await?;
        let choice = choose(&required, &candidates);
        if stays(&locked, &choice, &candidates) {
            // Nobody needs to be told.
            return job.done(tx).await;
        }
        let record = AssignmentRecord {
            outcome: choice.outcome,
            assignee: choice.assignee,
            reason: choice.reason,
            candidates: serde_json::to_value(&choice.judged).map_err(|e| JobError::Fail(e.into()))?,
        };
        crash::point("assign.before_record");
        changes::record_assignment(&mut tx, &locked, &record, now)
            .await
            .map_err(|e| JobError::Retry(e.into()))?;
        let done = job.done(tx).await?;
        crash::point("assign.committed");
        metrics::counter!("ticketd_assignments_total", "outcome" => choice.outcome.as_str()).increment(1);
        match choice.outcome {
            Outcome::Unassigned => tracing::error!(
                ticket.id = ticket.0,
                "ticket #{ticket} is unassigned: no moderator fits and there is no admin (`ticketd admin create`)"
            ),
            outcome => tracing::info!(
                ticket.id = ticket.0,
                person.id = choice.assignee.map(|a| a.0),
                outcome = outcome.as_str(),
                "ticket #{ticket} assigned"
            ),
        }
        Ok(done)
    }

    /// Looks again at tickets that fell back or stayed unassigned.
    pub async fn look_again(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let waiting = changes::waiting_for_someone(&mut tx, now).await?;
        let jobs: Vec<_> = waiting.iter().map(|ticket| (&queue::ASSIGN, ticket.0, now)).collect();
        queue::enqueue_all(&mut tx, &jobs, now).await?;
        job.done(tx).await
    }
}

async fn candidates(
    tx: &mut queue::Tx,
    ticket: &tickets::Locked,
    default_cap: i32,
    now: DateTime<Utc>,
) -> Result<Vec<Candidate>, JobError> {
    let mut loads: BTreeMap<PersonId, i64> = changes::loads(tx).await?.into_iter().collect();
    // The ticket itself is no load on the one who may keep it.
    if let Some(load) = ticket.assignee.and_then(|a| loads.get_mut(&a)) {
        *load -= 1;
    }
    let staff = people::staff(tx, now).await?;
    Ok(staff
        .into_iter()
        .map(|member| Candidate {
            load: loads.get(&member.id).copied().unwrap_or(0),
            cap: member.cap.unwrap_or(default_cap).into(),
            member,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn person(id: i64, name: &str, skills: &[(&str, i32)], load: i64) -> Candidate {
        let skills = skills.iter().map(|(slug, level)| ((*slug).to_owned(), *level)).collect();
        let member = StaffMember {
            id: PersonId(id),
            name: name.to_owned(),
            role: Role::Moderator,
            away: false,
            at_work: true,
            cap: None,
            last_assigned_at: None,
            skills,
        };
        Candidate { member, load, cap: 10 }
    }

    fn admin(id: i64, name: &str, load: i64) -> Candidate {
        let mut candidate = person(id, name, &[], load);
        candidate.member.role = Role::Admin;
        candidate
    }

    fn away(mut candidate: Candidate) -> Candidate {
        candidate.member.away = true;
        candidate
    }

    fn off_hours(mut candidate: Candidate) -> Candidate {
        candidate.member.at_work = false;
        candidate
    }

    fn assigned_at(mut candidate: Candidate, hour: u32) -> Candidate {
        candidate.member.last_assigned_at = Utc.with_ymd_and_hms(2026, 11, 21, hour, 0, 0).single();
        candidate
    }

    fn said(required: &[&str], candidates: &[Candidate]) -> String {
        let required: Vec<String> = required.iter().map(|s| (*s).to_owned()).collect();
        let choice = choose(&required, candidates);
        format!("{}: {}", choice.outcome.as_str(), choice.reason)
    }

    #[test]
    fn the_choice_and_its_reason() {
        let bea = || person(1, "Bea", &[("rust", 5), ("billing", 5)], 3);
        let cem = || person(2, "Cem", &[("rust", 5)], 0);
        let dora = || admin(9, "Dora", 2);
        let full = || person(4, "Finn", &[("rust", 5)], 10);
        insta::assert_snapshot!(said(&["billing", "rust"], &[bea(), away(cem()), dora()]), @"matched: Bea: 2 of 2 skills (rust, billing), 3 of 10 open; Cem was away");
        insta::assert_snapshot!(said(&["rust"], &[bea(), cem(), dora()]), @"matched: Cem: 1 of 1 skill (rust), 0 of 10 open");
        insta::assert_snapshot!(said(&["wine"], &[bea(), cem(), dora()]), @"fallback: Dora, an admin, because no moderator has wine");
        insta::assert_snapshot!(said(&[], &[bea(), dora()]), @"fallback: Dora, an admin, because no required skill was recognized");
        insta::assert_snapshot!(said(&["rust"], &[full(), dora()]), @"fallback: Dora, an admin, because all who have rust are at their cap (Finn was at cap)");
        insta::assert_snapshot!(said(&["rust"], &[away(cem()), full(), dora()]), @"fallback: Dora, an admin, because all who have rust are away or at their cap (Cem was away; Finn was at cap)");
        insta::assert_snapshot!(said(&["rust"], &[dora(), admin(8, "Eli", 1)]), @"fallback: Eli, an admin, because there is no moderator");
        insta::assert_snapshot!(said(&["rust"], &[]), @"unassigned: nobody: there is no moderator, and there is no admin");
    }

    #[test]
    fn who_is_off_hours_comes_after_everybody_at_work_and_before_an_admin() {
        let bea = || person(1, "Bea", &[("rust", 1)], 9);
        let cem = || off_hours(person(2, "Cem", &[("rust", 5)], 0));
        let dan = || off_hours(person(3, "Dan", &[("rust", 4)], 0));
        let (dora, eli) = (|| admin(8, "Dora", 0), || admin(9, "Eli", 5));
        insta::assert_snapshot!(said(&["rust"], &[bea(), cem(), dora()]), @"matched: Bea: 1 of 1 skill (rust), 9 of 10 open; Cem was off hours");
        insta::assert_snapshot!(said(&["rust"], &[away(bea()), cem(), dan(), dora()]), @"matched: Cem: 1 of 1 skill (rust), 0 of 10 open, off hours as all who fit; Bea was away; Dan was off hours");
        insta::assert_snapshot!(said(&["rust"], &[away(cem()), off_hours(dora()), eli()]), @"fallback: Eli, an admin, because all who have rust are away (Cem was away)");
        insta::assert_snapshot!(said(&["wine"], &[cem(), off_hours(dora())]), @"fallback: Dora, an admin, because no moderator has wine");
    }

    #[test]
    fn a_rare_skill_outweighs_a_common_one() {
        let staff = [
            person(1, "Ann", &[("common", 5)], 0),
            person(2, "Bob", &[("common", 5)], 0),
            person(3, "Cat", &[("rare", 5)], 0),
        ];
        assert_eq!(choose(&["common".into(), "rare".into()], &staff).assignee, Some(PersonId(3)));
    }

    #[test]
    fn ties_go_to_who_was_assigned_longest_ago_and_never_before_that() {
        let at = |id, hour| assigned_at(person(id, "P", &[("rust", 3)], 1), hour);
        assert_eq!(choose(&["rust".into()], &[at(1, 9), at(2, 8), at(3, 10)]).assignee, Some(PersonId(2)));
        let never = person(4, "P", &[("rust", 3)], 1);
        assert_eq!(choose(&["rust".into()], &[at(1, 9), never]).assignee, Some(PersonId(4)));
    }

    #[test]
    fn load_relative_to_the_cap_counts_against_skill() {
        let mut busy = person(1, "Busy", &[("rust", 5)], 3);
        busy.cap = 4;
        let fresh = person(2, "Fresh", &[("rust", 3)], 0);
        assert_eq!(choose(&["rust".into()], &[busy, fresh]).assignee, Some(PersonId(2)));
    }

    #[test]
    fn everyone_who_was_looked_at_is_kept() {
        let choice = choose(
            &["rust".into()],
            &[person(1, "A", &[("rust", 1)], 0), person(2, "B", &[], 0), admin(3, "C", 0)],
        );
        let verdicts: Vec<_> = choice.judged.iter().map(|j| (j.name.as_str(), j.verdict)).collect();
        assert_eq!(verdicts, [("A", Verdict::Chosen), ("B", Verdict::NoSkill), ("C", Verdict::Fallback)]);
    }
}
