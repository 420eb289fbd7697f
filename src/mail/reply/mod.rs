//! The visible reply: what the writer wrote, without the mail it answers and without signature. When in doubt a
//! line stays: losing what a customer wrote is worse than showing what is known.

pub mod header;
pub mod intro;
pub mod signature;

use super::base_subject::{Prefix, prefix};
use super::html_text::{self, Line, Mark};
use super::parse::Mail;

/// Longer text is shown as it is; nobody wrote it.
const MAX_TEXT: usize = 1024 * 1024;
/// More lines than this are not taken apart.
const MAX_LINES: usize = 20_000;
/// A text after cited mail of at most so many lines is a closing, which leaves the mail a plain answer.
const CLOSING_LINES: usize = 3;

/// The visible part of a mail. First mails and forwards are not cut; if nothing is left, all is shown.
pub fn visible(mail: &Mail) -> String {
    let has_own_text = mail.html.is_none() || !mail.text.trim().is_empty() && !is_made_from_html(mail);
    if mail.text.len() > MAX_TEXT || prefix(&mail.subject) == Some(Prefix::Forward) || !is_answer(mail) {
        return mail.text.trim_matches('\n').to_owned();
    }
    let lines = match &mail.html {
        Some(html) if !has_own_text => html_text::lines(html),
        _ => text_lines(&mail.text),
    };
    if lines.len() > MAX_LINES {
        return mail.text.trim_matches('\n').to_owned();
    }
    cut(lines).unwrap_or_else(|| mail.text.trim_matches('\n').to_owned())
}

fn is_made_from_html(mail: &Mail) -> bool {
    // The text is the HTML's where the mail had no text of its own: only then do both agree to the letter.
    mail.html.as_deref().is_some_and(|html| super::html::to_text(html) == mail.text)
}

/// Whether the mail answers another one: by its ids, its subject, or because it was sent to an address that only a
/// mail of ours can have told (a plus address names the conversation). No subject at all says nothing.
fn is_answer(mail: &Mail) -> bool {
    let plus = mail.to.iter().chain(&mail.cc).map(|mailbox| mailbox.address.as_str());
    !mail.in_reply_to.is_empty()
        || !mail.references.is_empty()
        || prefix(&mail.subject) == Some(Prefix::Reply)
        || plus
            .chain(mail.delivered_to.iter().map(String::as_str))
            .any(|address| super::address::split(address).is_some_and(|(local, _)| local.contains('+')))
}

/// Plain text as lines; `>` at the start marks cited mail.
fn text_lines(text: &str) -> Vec<Line> {
    text.split('\n')
        .map(|line| {
            let text = line.trim_end().replace('\u{a0}', " ");
            let start = text.trim_start();
            let is_quote = start.starts_with('>') && !start.starts_with(">:");
            Line { mark: if is_quote { Mark::Quote } else { Mark::Plain }, text }
        })
        .collect()
}

/// What a line is in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Text,
    Quote,
    Intro,
    Signature,
}

/// The kept lines; `None` if cutting would leave nothing.
fn cut(mut lines: Vec<Line>) -> Option<String> {
    let mut kinds: Vec<Kind> = lines.iter().map(kind_of_mark).collect();
    let limit = end_of_own_text(&lines, &kinds);
    if let Some(limit) = limit {
        lines.truncate(limit);
        kinds.truncate(limit);
    }
    mark_intros(&lines, &mut kinds);
    if let Some(limit) = unmarked_quote(&lines, &kinds) {
        lines.truncate(limit);
        kinds.truncate(limit);
    }
    signature::mark(&lines, &mut |at| set(&mut kinds, at, Kind::Signature));
    drop_quotes(&mut kinds, &lines);
    let kept = kept(&lines, &kinds);
    (!kept.is_empty()).then_some(kept)
}

fn set(kinds: &mut [Kind], at: usize, kind: Kind) {
    if let Some(slot) = kinds.get_mut(at) {
        *slot = kind;
    }
}

fn kind_of_mark(line: &Line) -> Kind {
    match line.mark {
        Mark::Quote => Kind::Quote,
        Mark::Intro => Kind::Intro,
        Mark::Signature => Kind::Signature,
        Mark::Cut | Mark::Rule => Kind::Blank,
        Mark::Plain | Mark::Indented if line.text.trim().is_empty() => Kind::Blank,
        Mark::Plain | Mark::Indented => Kind::Text,
    }
}

fn has_text(kinds: &[Kind]) -> bool {
    kinds.contains(&Kind::Text)
}

/// Where the first thing stands that ends what the writer wrote: a divider of a mail program, a header block, a
/// line to write above. It must have text before it.
fn end_of_own_text(lines: &[Line], kinds: &[Kind]) -> Option<usize> {
    (0..lines.len()).find(|at| {
        let Some(line) = lines.get(*at) else { return false };
        if !(line.mark == Mark::Cut || line.mark == Mark::Plain || line.mark == Mark::Indented) {
            return false;
        }
        let before = kinds.get(..*at).unwrap_or_default();
        let begins = line.mark == Mark::Cut
            || header::is_divider(&line.text)
            || header::is_block(lines.get(*at..).unwrap_or_default(), follows_rule(lines, *at));
        begins && has_text(before)
    })
}

/// Whether the last line with something on it before `at` is a ruled line.
fn follows_rule(lines: &[Line], at: usize) -> bool {
    let before = lines.get(..at).unwrap_or_default();
    before
        .iter()
        .rev()
        .take(4)
        .find(|line| line.mark == Mark::Rule || !line.text.trim().is_empty())
        .is_some_and(|line| line.mark == Mark::Rule || header::is_rule(&line.text))
}

/// Marks the lines that introduce cited mail, wrapped ones too.
fn mark_intros(lines: &[Line], kinds: &mut [Kind]) {
    let mut at = 0;
    while at < lines.len() {
        let length = intro_length(lines, kinds, at);
        for offset in 0..length {
            set(kinds, at + offset, Kind::Intro);
        }
        at += length.max(1);
    }
}

fn intro_length(lines: &[Line], kinds: &[Kind], at: usize) -> usize {
    if kinds.get(at) != Some(&Kind::Text) {
        return 0;
    }
    let window: Vec<&str> = lines
        .get(at..)
        .unwrap_or_default()
        .iter()
        .zip(kinds.get(at..).unwrap_or_default())
        .take(intro::MAX_LINES)
        .take_while(|(_, kind)| **kind == Kind::Text)
        .map(|(line, _)| line.text.as_str())
        .collect();
    let rest = lines.get(at + 1..).unwrap_or_default();
    let next = |skip: usize| {
        let following = lines.get(at + skip..).unwrap_or_default();
        following.iter().find(|line| !line.text.trim().is_empty()).map(|line| line.mark)
    };
    // The `>` of a wrapped introduction was set before it was wrapped: "> On … <\n> a@b> wrote:" is cited itself.
    let length = intro::length(&window, |skip| matches!(next(skip), Some(Mark::Quote | Mark::Indented)));
    if rest.is_empty() && length == 0 { 0 } else { length }
}

/// Cited mail without any mark: all that follows an introduction which has text of the writer above it.
fn unmarked_quote(lines: &[Line], kinds: &[Kind]) -> Option<usize> {
    (0..lines.len()).find(|at| {
        let is_first = kinds.get(*at) == Some(&Kind::Intro)
            && at.checked_sub(1).and_then(|before| kinds.get(before)) != Some(&Kind::Intro);
        if !is_first || !has_text(kinds.get(..*at).unwrap_or_default()) {
            return false;
        }
        let after = kinds
            .get(*at..)
            .unwrap_or_default()
            .iter()
            .find(|kind| !matches!(kind, Kind::Intro | Kind::Blank));
        let following = lines.get(*at..).unwrap_or_default().iter().zip(kinds.get(*at..).unwrap_or_default());
        let mark = following
            .filter(|(line, kind)| **kind != Kind::Intro && !line.text.trim().is_empty())
            .map(|(line, _)| line.mark)
            .next();
        matches!(after, Some(Kind::Text)) && matches!(mark, Some(Mark::Plain | Mark::Indented))
            || after.is_none()
    })
}

/// A run of lines of one sort.
struct Run {
    is_quote: bool,
    start: usize,
    end: usize,
    lines: usize,
}

fn runs(kinds: &[Kind]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let is_quote = match kind {
            Kind::Quote | Kind::Intro => true,
            Kind::Text => false,
            Kind::Blank | Kind::Signature => continue,
        };
        match runs.last_mut() {
            Some(last) if last.is_quote == is_quote => {
                last.end = at + 1;
                last.lines += 1;
            }
            _ => runs.push(Run { is_quote, start: at, end: at + 1, lines: 1 }),
        }
    }
    runs
}

/// Decides which cited lines go. Those at the end always; a single block above the answer, or before a mere closing,
/// too. What is answered piece by piece stays, as the answers mean nothing without it.
fn drop_quotes(kinds: &mut [Kind], lines: &[Line]) {
    let mut all = runs(kinds);
    if !all.iter().any(|run| !run.is_quote) {
        return;
    }
    let erase = |kinds: &mut [Kind], run: &Run| {
        for at in run.start..run.end {
            if matches!(kinds.get(at), Some(Kind::Quote | Kind::Intro)) {
                set(kinds, at, Kind::Intro);
            }
        }
    };
    while let Some(last) = all.pop_if(|run| run.is_quote) {
        erase(kinds, &last);
    }
    let quotes = all.iter().filter(|run| run.is_quote).count();
    let closing = all.last().is_some_and(|run| run.lines <= CLOSING_LINES);
    let has_intro =
        |kinds: &[Kind], run: &Run| kinds.get(run.start..run.end).unwrap_or_default().contains(&Kind::Intro);
    match (quotes, all.first()) {
        // The answer stands below.
        (1, Some(first)) if first.is_quote => erase(kinds, first),
        (1, Some(_)) if closing => {
            if let Some(quote) = all.iter().find(|run| run.is_quote)
                && has_intro(kinds, quote)
            {
                erase(kinds, quote);
            }
        }
        _ => {}
    }
    // An introduction whose mail is not cut off still says nothing.
    debug_assert!(kinds.len() == lines.len());
}

/// The lines that stay, with single blank lines where something was taken out.
fn kept(lines: &[Line], kinds: &[Kind]) -> String {
    let mut kept: Vec<Line> = Vec::new();
    for (line, kind) in lines.iter().zip(kinds) {
        match kind {
            Kind::Text | Kind::Quote => kept.push(line.clone()),
            Kind::Blank => kept.push(Line::default()),
            Kind::Intro | Kind::Signature => {}
        }
    }
    if !kept.iter().any(|line| line.mark != Mark::Quote && !line.text.trim().is_empty()) {
        return String::new();
    }
    while kept.last().is_some_and(|line| line.text.trim().is_empty() || header::is_rule(&line.text)) {
        kept.pop();
    }
    html_text::join(&kept)
}

#[cfg(test)]
mod tests;
