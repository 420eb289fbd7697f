//! What staff wrote in answer to a notice: theirs goes to the requester, the notice never does.
//!
//! A notice has the machine's remarks and the reason of the choice, and mail programs quote it in every way there
//! is. So three things guard it: the answer ends at the line that says so; of what is quoted only that stays which
//! the requester can see anyway; and an answer that still repeats a remark is not sent. Neither is one with a quote of
//! something else: to drop it in silence would change what was said, to send it might tell what a mail program made
//! of a notice.

use crate::mail::compose::LOOP_HEADER;
use crate::mail::html;
use crate::mail::html_text::Line;
use crate::mail::reply::{header, intro};
use crate::tickets::{ANSWER_ABOVE, NewAttachment};

/// What of a ticket may be repeated to the requester, and what may not.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The conversation as the requester knows it.
    pub(super) public: String,
    /// Notes of the triage, reasons of the assignment.
    pub(super) remarks: Vec<String>,
    /// The notices that the author was sent.
    pub(super) notices: String,
}

/// Shorter lines of a remark are common words.
const SHORTEST_REMARK: usize = 20;

/// The answer in a staff member's mail, of which quote and signature are cut. The error says why it must not be sent.
pub(super) fn answer(visible: &str, known: &Known) -> Result<String, &'static str> {
    let (public, notices) = (squeezed(&known.public), squeezed(&known.notices));
    let mut kept: Vec<String> = Vec::new();
    let mut quotes_all = false;
    let mut quote = Quote::default();
    for line in visible.lines() {
        let is_quoted = line.trim_start().starts_with('>');
        if !is_quoted {
            std::mem::take(&mut quote).end()?;
        }
        if line.contains(ANSWER_ABOVE) {
            drop_introduction(&mut kept);
            // What stands right above the notice introduces it, in whatever words.
            kept.pop_if(|last| last.trim_end().ends_with(':'));
            if !is_quoted {
                break;
            }
            (quotes_all, quote.is_known) = (true, true);
        } else if is_quoted {
            let said = unquoted(line);
            let squeezed = squeezed(said);
            let is_public = !said.is_empty() && public.contains(&squeezed);
            if is_public {
                kept.push(format!("> {said}"));
            }
            let is_known = is_public || notices.contains(&squeezed);
            quote.is_known |= is_known && !said.is_empty();
            quote.is_strange |= !is_known;
        } else {
            kept.push(line.trim_end().to_owned());
        }
    }
    quote.end()?;
    drop_introduction(&mut kept);
    let is_quote = |line: &String| line.starts_with('>');
    let answers_below = !kept.iter().skip_while(|line| line.is_empty() || is_quote(line)).any(is_quote);
    if quotes_all && answers_below {
        // The notice whole, and one answer below it: what of it was meant does not show.
        kept.retain(|line| !is_quote(line));
    }
    if !kept.iter().any(|line| !line.is_empty() && !line.starts_with('>')) {
        return Err("nothing is written above the line");
    }
    if repeats(&kept, &known.remarks) {
        return Err("it repeats remarks that are for staff only");
    }
    Ok(without_gaps(&kept))
}

/// Lines that begin with `>`, one below the other.
#[derive(Debug, Default)]
struct Quote {
    /// Some of it stands in a notice or in the conversation.
    is_known: bool,
    /// Some of it stands in neither.
    is_strange: bool,
}

impl Quote {
    fn end(self) -> Result<(), &'static str> {
        if self.is_strange && !self.is_known {
            return Err(
                "lines that begin with > quote neither the notice nor the conversation: write them without the >",
            );
        }
        Ok(())
    }
}

/// Whether a file of a staff member's mail may go along with the answer. Some programs attach the mail they answer,
/// or put what follows a picture, the quoted notice too, into a part of its own.
pub(super) fn may_leave(file: &NewAttachment, known: &Known) -> bool {
    let content = String::from_utf8_lossy(&file.content.bytes);
    let text = match file.content_type.as_str() {
        "text/html" => html::to_text(&content),
        kind if kind.starts_with("text/") || kind.starts_with("message/") => content.into_owned(),
        _ => return true,
    };
    let is_notice = text.contains(ANSWER_ABOVE) || text.to_lowercase().contains(&LOOP_HEADER.to_lowercase());
    !is_notice && !repeats(&text.lines().map(str::to_owned).collect::<Vec<_>>(), &known.remarks)
}

/// Takes away what a mail program put between the answer and the notice: "On … wrote:", or the notice's header.
fn drop_introduction(kept: &mut Vec<String>) {
    let lines: Vec<Line> = kept.iter().map(|text| Line { text: text.clone(), ..Line::default() }).collect();
    let is_block = |at: &usize| header::is_block(lines.get(*at..).unwrap_or_default(), true);
    if let Some(start) = (0..lines.len()).find(is_block) {
        kept.truncate(start);
    }
    let drop_blank = |kept: &mut Vec<String>| while kept.pop_if(|line| line.trim().is_empty()).is_some() {};
    drop_blank(kept);
    while kept.pop_if(|line| header::is_divider(line) || header::is_rule(line)).is_some() {
        drop_blank(kept);
    }
    let introduces = |length: &usize| {
        let start = kept.len().saturating_sub(*length);
        let tail: Vec<&str> = kept.get(start..).unwrap_or_default().iter().map(String::as_str).collect();
        tail.len() == *length && intro::length(&tail, |_| true) == *length
    };
    if let Some(length) = (1..=intro::MAX_LINES).rev().find(introduces) {
        kept.truncate(kept.len() - length);
    }
}

/// Without the marks of quotes, of which a notice has some of its own.
fn unquoted(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '|'))
}

/// To compare by: line breaks and spaces are the mail program's.
fn squeezed(text: &str) -> String {
    let words: Vec<&str> = text.lines().map(unquoted).flat_map(str::split_whitespace).collect();
    words.join(" ").to_lowercase()
}

/// Whether a line of a remark stands in the answer, or a line of the answer in a remark.
fn repeats(kept: &[String], remarks: &[String]) -> bool {
    let said = squeezed(&kept.join("\n"));
    remarks.iter().any(|remark| {
        let whole = squeezed(remark);
        let mut lines = remark.lines().map(squeezed).filter(|line| line.chars().count() >= SHORTEST_REMARK);
        lines.any(|line| said.contains(&line))
            || kept
                .iter()
                .filter(|line| !line.starts_with('>'))
                .map(|line| squeezed(line))
                .any(|line| line.chars().count() >= SHORTEST_REMARK && whole.contains(&line))
    })
}

/// What was taken out leaves one blank line.
fn without_gaps(kept: &[String]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in kept {
        if !(line.is_empty() && lines.last().is_none_or(|last| last.is_empty())) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_staff_wrote_and_what_the_requester_knows_is_left() {
        let known = Known {
            public: "Hello,\n\nI was charged twice for the same invoice.".to_owned(),
            remarks: vec![
                "Rude.\nHe was rude to us on the phone.".to_owned(),
                "Bea: 1 of 1 skill (billing)".to_owned(),
            ],
            notices: "Priority: high\nNotes:\nHe was rude to us on the phone.".to_owned(),
        };
        let line = format!("--- {ANSWER_ABOVE} ---");
        let nothing = Err("nothing is written above the line");
        let strange = Err(
            "lines that begin with > quote neither the notice nor the conversation: write them without the >",
        );
        let remark = Err("it repeats remarks that are for staff only");
        for (visible, wanted) in [
            ("Done.", Ok("Done.")),
            ("Done.\n\n\n\nBye", Ok("Done.\n\nBye")),
            (&format!("Done.\n\n{line}\nHe was rude to us on the phone."), Ok("Done.")),
            (
                &format!("Done.\nOn Sat, 21 Nov 2026 at 10:00, Support\n<s@example.org> wrote:\n{line}"),
                Ok("Done."),
            ),
            (&format!("Done.\nSupport schrieb um 10 Uhr dies:\n> {line}\n> Why"), Ok("Done.")),
            (&format!("From: Support\nSent: today\nTo: Bea\nSubject: Re: x\n\n{line}\nx"), nothing),
            (
                "> | I was charged\n> | twice for\nYes.\n> Priority: high\nDone.",
                Ok("> I was charged\n> twice for\nYes.\nDone."),
            ),
            (&format!("> {line}\n> | I was charged\n\nDone."), Ok("Done.")),
            (
                &format!("> {line}\n> | I was charged\n\nYes.\n> | twice\nDone."),
                Ok("> I was charged\n\nYes.\n> twice\nDone."),
            ),
            ("> I was charged twice\nYes.", Ok("> I was charged twice\nYes.")),
            ("> I was charged twice", nothing),
            ("Run this:\n> net stop spooler\n> net start spooler\nThen retry.", strange),
            ("Run this:\n> net stop spooler", strange),
            ("Done.\n> Priority: high\n> Open: a link that the mail program made longer", Ok("Done.")),
            ("Done.\n> He was rude to us on the phone.", Ok("Done.")),
            ("FYI: he was rude\nto us  on the phone. Bye", remark),
            ("He was rude to us on the\nmoon", remark),
            ("Rude.", Ok("Rude.")),
            ("Why you:   Bea: 1 of 1 skill (billing)", remark),
            ("| a | table |\n| 1 | 2 |", Ok("| a | table |\n| 1 | 2 |")),
            ("-----Original Message-----", nothing),
            ("Done. This is what helps:", Ok("Done. This is what helps:")),
            ("", nothing),
        ] {
            assert_eq!(answer(visible, &known), wanted.map(str::to_owned), "{visible}");
        }
    }
}
