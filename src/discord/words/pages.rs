//! Answers of several lines: lists, a ticket's state, its judgement, figures.

use super::super::text::escape_within;
use super::{count, said};

/// One line of a list of tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketLine {
    pub number: i64,
    pub subject: String,
    pub status: String,
    pub priority: String,
    pub assignee: Option<String>,
    /// Where the reader can go on with it.
    pub thread: Option<u64>,
}

/// Lists of this many tickets at most fit into one message.
pub const LONGEST_LIST: usize = 10;

/// A person's open tickets; `more` are left out.
pub fn ticket_list(tickets: &[TicketLine], more: u64) -> String {
    if tickets.is_empty() {
        return "You have no open tickets. `/ticket new` opens one.".to_owned();
    }
    let mut lines: Vec<String> = tickets.iter().take(LONGEST_LIST).map(line).collect();
    if more > 0 {
        lines.push(format!("… and {}.", count(more, "more ticket")));
    }
    lines.join("\n")
}

fn line(ticket: &TicketLine) -> String {
    let subject = escape_within(&super::one_line(&ticket.subject), 80);
    let place = ticket.thread.map(|thread| format!(" <#{thread}>")).unwrap_or_default();
    format!("**#{}** {subject} ({}){place}", ticket.number, said(&ticket.status))
}

/// What the requester sees of a ticket; staff see the card.
pub fn ticket_state(ticket: &TicketLine, category: Option<&str>) -> String {
    let mut lines = vec![
        format!("**#{}** {}", ticket.number, said(&ticket.subject)),
        format!("Status: {}", said(&ticket.status)),
        format!("Priority: {}", said(&ticket.priority)),
    ];
    lines.extend(category.map(|category| format!("About: {}", said(&category.replace('_', " ")))));
    lines.push(match &ticket.assignee {
        Some(name) => format!("With: {}", said(name)),
        None => "With: nobody yet".to_owned(),
    });
    lines.extend(ticket.thread.map(|thread| format!("Thread: <#{thread}>")));
    lines.join("\n")
}

/// A judgement, for staff.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub category: Option<String>,
    pub priority: String,
    pub language: Option<String>,
    pub skills: Vec<String>,
    pub engine: String,
    pub model: Option<String>,
    /// From 0 to 1.
    pub confidence: Option<f32>,
    pub notes: Option<String>,
    pub suggested_reply: Option<String>,
}

pub fn judgement(ticket: i64, judged: &Judgement) -> String {
    let category = judged.category.as_deref().unwrap_or("not known").replace('_', " ");
    let skills =
        if judged.skills.is_empty() { "none recognized".to_owned() } else { judged.skills.join(", ") };
    let model = judged.model.as_deref().map(|model| format!(", {}", said(model))).unwrap_or_default();
    let sure = judged.confidence.map(|sure| format!(", {:.0} % sure", sure * 100.0)).unwrap_or_default();
    let mut lines = vec![
        format!("**#{ticket}**, judged by {}{model}{sure}", said(&judged.engine)),
        format!("Category: {}", said(&category)),
        format!("Priority: {}", said(&judged.priority)),
        format!("Skills: {}", said(&skills)),
    ];
    lines.extend(judged.language.as_deref().map(|language| format!("Language: {}", said(language))));
    let machine = [("Notes", &judged.notes), ("Suggested reply", &judged.suggested_reply)];
    for (name, text) in machine {
        if let Some(text) = text.as_deref().filter(|text| !text.trim().is_empty()) {
            lines.push(format!("{name} (a machine wrote this):\n{}", escape_within(text.trim(), 500)));
        }
    }
    lines.join("\n")
}

pub fn not_judged_yet(ticket: i64) -> String {
    format!("#{ticket} has not been judged yet. It is in the queue; look again in a moment.")
}

/// How the desk is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub new: u64,
    pub open: u64,
    pub pending: u64,
    /// Resolved in the last seven days.
    pub resolved_this_week: u64,
    pub unassigned: u64,
    /// Half of the first answers of the last seven days were faster.
    pub first_answer_minutes: Option<u64>,
    /// Name, open tickets, cap, whether away.
    pub staff: Vec<(String, i64, i32, bool)>,
}

pub fn figures(figures: &Figures) -> String {
    let mut lines = vec![
        format!(
            "**Tickets:** {} new, {} open, {} pending; {} unassigned",
            figures.new, figures.open, figures.pending, figures.unassigned
        ),
        format!("**Last 7 days:** {} resolved", figures.resolved_this_week),
    ];
    if let Some(minutes) = figures.first_answer_minutes {
        lines.push(format!("**First answer:** half of them within {}", count(minutes, "minute")));
    }
    for (name, open, cap, away) in figures.staff.iter().take(15) {
        let away = if *away { ", away" } else { "" };
        lines.push(format!("{}: {open} of {cap}{away}", escape_within(&super::one_line(name), 60)));
    }
    lines.join("\n")
}

/// Someone's skills: name, level, whether an admin has confirmed it.
pub fn skills_of(name: &str, skills: &[(String, i16, bool)]) -> String {
    if skills.is_empty() {
        return format!("{} has no skills yet. `/skills propose` proposes one.", said(name));
    }
    let mut lines = vec![format!("**{}**", said(name))];
    for (skill, level, confirmed) in skills.iter().take(25) {
        let waits = if *confirmed { "" } else { " (to be confirmed)" };
        lines.push(format!("{}: {level}{waits}", escape_within(&super::one_line(skill), 40)));
    }
    lines.join("\n")
}

/// All snippets by name.
pub fn snippet_list(names: &[String]) -> String {
    if names.is_empty() {
        return "There are no snippets yet. `/snippet save` keeps one.".to_owned();
    }
    let shown: Vec<String> =
        names.iter().take(40).map(|name| escape_within(&super::one_line(name), 40)).collect();
    let more = names.len().saturating_sub(shown.len());
    let more = if more == 0 { String::new() } else { format!(" … and {more} more") };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> TicketLine {
        TicketLine {
            number: 1001,
            subject: "It *burns*".into(),
            status: "open".into(),
            priority: "high".into(),
            assignee: Some("Bea".into()),
            thread: Some(5),
        }
    }

    #[test]
    fn tickets() {
        let other = TicketLine { number: 1002, thread: None, assignee: None, ..ticket() };
        insta::assert_snapshot!(ticket_list(&[ticket(), other.clone()], 3), @r"
        **#1001** It \*burns\* (open) <#5>
        **#1002** It \*burns\* (open)
        … and 3 more tickets.
        ");
        insta::assert_snapshot!(ticket_list(&[], 0), @"You have no open tickets. `/ticket new` opens one.");
        insta::assert_snapshot!(ticket_state(&ticket(), Some("feature_request")), @r"
        **#1001** It \*burns\*
        Status: open
        Priority: high
        About: feature request
        With: Bea
        Thread: <#5>
        ");
        insta::assert_snapshot!(ticket_state(&other, None), @r"
        **#1002** It \*burns\*
        Status: open
        Priority: high
        With: nobody yet
        ");
    }

    #[test]
    fn a_judgement() {
        let judged = Judgement {
            category: Some("billing".into()),
            priority: "high".into(),
            language: Some("en".into()),
            skills: vec!["billing".into()],
            engine: "gemini".into(),
            model: Some("gemini-3.5-flash-lite".into()),
            confidence: Some(0.82),
            notes: Some("Mentions a *refund*.".into()),
            suggested_reply: None,
        };
        insta::assert_snapshot!(judgement(1001, &judged), @r"
        **#1001**, judged by gemini, gemini-3.5-flash-lite, 82 % sure
        Category: billing
        Priority: high
        Skills: billing
        Language: en
        Notes (a machine wrote this):
        Mentions a \*refund\*.
        ");
        insta::assert_snapshot!(not_judged_yet(1001), @"#1001 has not been judged yet. It is in the queue; look again in a moment.");
    }

    #[test]
    fn the_figures() {
        let staff = vec![("Bea".into(), 3, 10, false), ("Cem".into(), 0, 5, true)];
        let all = Figures {
            new: 1,
            open: 4,
            pending: 2,
            resolved_this_week: 9,
            unassigned: 1,
            first_answer_minutes: Some(12),
            staff,
        };
        insta::assert_snapshot!(figures(&all), @"
        **Tickets:** 1 new, 4 open, 2 pending; 1 unassigned
        **Last 7 days:** 9 resolved
        **First answer:** half of them within 12 minutes
        Bea: 3 of 10
        Cem: 0 of 5, away
        ");
    }

    #[test]
    fn skills_and_snippets() {
        insta::assert_snapshot!(skills_of("Bea", &[("rust".into(), 4, true), ("billing".into(), 1, false)]), @"
        **Bea**
        rust: 4
        billing: 1 (to be confirmed)
        ");
        insta::assert_snapshot!(skills_of("Bea", &[]), @"Bea has no skills yet. `/skills propose` proposes one.");
        insta::assert_snapshot!(snippet_list(&["hello".into(), "re_fund".into()]), @r"hello, re\_fund");
        insta::assert_snapshot!(snippet_list(&[]), @"There are no snippets yet. `/snippet save` keeps one.");
    }

    #[test]
    fn the_longest_pages_fit_into_one_message() {
        let long = "x_".repeat(500);
        let line = TicketLine { subject: long.clone(), status: "pending".into(), ..ticket() };
        let skills: Vec<_> = (0..40).map(|_| (long.clone(), 3, false)).collect();
        let staff: Vec<_> = (0..40).map(|_| (long.clone(), 3, 10, true)).collect();
        let judged = Judgement {
            category: Some(long.clone()),
            skills: vec![long.clone()],
            notes: Some(long.clone()),
            suggested_reply: Some(long.clone()),
            ..Judgement::default()
        };
        for page in [
            ticket_list(&vec![line; 12], 30),
            skills_of(&long, &skills),
            figures(&Figures { staff, ..Figures::default() }),
            judgement(1, &judged),
            snippet_list(&vec![long; 100]),
        ] {
            assert!(page.chars().count() <= 2000, "{}", page.chars().count());
        }
    }
}
