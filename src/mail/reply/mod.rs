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
/// More lines than this are not taken apart; nobody wrote them either.
const MAX_LINES: usize = 8_000;
/// A text after cited mail of at most so many lines is a closing, which leaves the mail a plain answer.
const CLOSING_LINES: usize = 3;

/// The visible part of a mail. First mails and forwards are not cut; if nothing is left, all is shown.
pub fn visible(mail: &Mail) -> String {
    let whole = || mail.text.trim_matches('\n').to_owned();
    if mail.text.len() > MAX_TEXT || prefix(&mail.subject) == Some(Prefix::Forward) || !is_answer(mail) {
        return whole();
    }
    let lines = html_lines(mail).unwrap_or_else(|| text_lines(&mail.text));
    if lines.len() > MAX_LINES {
        return whole();
    }
    cut(&lines).unwrap_or_else(whole)
}

/// The lines of the HTML, if the mail had no text of its own: only then do both agree to the letter.
fn html_lines(mail: &Mail) -> Option<Vec<Line>> {
    let lines = html_text::lines(mail.html.as_deref()?);
    (mail.text.trim().is_empty() || html_text::join(&lines) == mail.text).then_some(lines)
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
    let mut lines: Vec<Line> = Vec::new();
    for line in text.split('\n') {
        // RFC 3676 §4.3: the space after the dashes is what makes it a signature.
        let text =
            if line.trim_end_matches('\r') == "-- " { line } else { line.trim_end() }.replace('\u{a0}', " ");
        let is_cited = text.trim_start().starts_with('>');
        // "On … <\n> wrote:" is an introduction that was wrapped inside an address.
        let is_tail = || intro::is_tail(&text) && lines.last().is_some_and(|last| last.mark == Mark::Plain);
        let follows_quote =
            || lines.iter().rev().find(|l| !l.text.is_empty()).is_some_and(|l| l.mark == Mark::Quote);
        let mark = match is_cited {
            true if header::is_arrowed(&text) && !follows_quote() => Mark::Cut,
            true if !is_tail() => Mark::Quote,
            _ => Mark::Plain,
        };
        lines.push(Line { text, mark });
    }
    lines
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
fn cut(lines: &[Line]) -> Option<String> {
    let mut lines = wrapped(last_indented(separated(lines)));
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

fn next_mark(lines: &[Line], from: usize) -> Option<Mark> {
    lines.iter().skip(from).find(|line| !line.text.trim().is_empty()).map(|line| line.mark)
}

/// Puts an introduction that shares its line with the end of the answer on a line of its own.
fn separated(lines: &[Line]) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let shares = line.mark == Mark::Plain && line.text.trim_end().ends_with([':', '：']);
        let split = if shares && next_mark(lines, at + 1) == Some(Mark::Quote) {
            intro::joined(&line.text)
        } else {
            None
        };
        match split.and_then(|at| line.text.split_at_checked(at)) {
            Some((answer, introduction)) => {
                out.push(Line { text: answer.trim_end().to_owned(), mark: Mark::Plain });
                out.push(Line {
                    text: introduction.trim_start_matches(['-', ' ', '\t']).to_owned(),
                    mark: Mark::Intro,
                });
            }
            None => out.push(line.clone()),
        }
    }
    out
}

/// The last block quotation without any mark is the mail that is answered, as programs write it that name nothing.
fn last_indented(mut lines: Vec<Line>) -> Vec<Line> {
    let is_marked = lines.iter().any(|line| matches!(line.mark, Mark::Quote | Mark::Intro | Mark::Cut));
    let Some(end) = lines.iter().rposition(|line| line.mark == Mark::Indented).filter(|_| !is_marked) else {
        return lines;
    };
    let start = lines.iter().take(end).rposition(|line| line.mark != Mark::Indented && !line.text.is_empty());
    for line in lines.iter_mut().take(end + 1).skip(start.map_or(0, |at| at + 1)) {
        // Left out like a signature, wherever it stands.
        line.mark = Mark::Signature;
    }
    lines
}

/// Cited lines that were wrapped on the way lost their `>` on the second half.
fn wrapped(mut lines: Vec<Line>) -> Vec<Line> {
    for at in 1..lines.len() {
        let around = (lines.get(at - 1), lines.get(at), lines.get(at + 1));
        let (Some(before), Some(line), after) = around else { continue };
        let is_between = before.mark == Mark::Quote && after.is_none_or(|after| after.mark == Mark::Quote);
        let is_cited = line.mark == Mark::Plain && is_between && is_second_half(&before.text, &line.text);
        if let Some(line) = lines.get_mut(at).filter(|_| is_cited) {
            line.mark = Mark::Quote;
        }
    }
    lines
}

fn is_second_half(first: &str, second: &str) -> bool {
    let (first, second) = (first.trim_end(), second.trim());
    if second.is_empty() {
        return false;
    }
    // A long line that ends without a full stop, and goes on in lower case.
    let is_open = first.chars().count() >= 60 && !first.ends_with(['.', '!', '?', ':']);
    let goes_on = second.chars().next().is_some_and(|c| c.is_lowercase() || c.is_ascii_digit());
    // Or a link that was cut, or is all there is.
    let words = second.trim_end_matches(['>', ' ']).split_whitespace().count();
    let is_link = words == 1 && (second.contains("://") || first.contains("://") && !second.contains(' '));
    is_open && goes_on || is_link
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
        let own = before
            .iter()
            .zip(lines)
            .any(|(kind, line)| *kind == Kind::Text && !header::is_divider(&line.text));
        begins && own
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
        .enumerate()
        // Some break the line around the address, with a blank line before it.
        .take_while(|(offset, (_, kind))| {
            **kind == Kind::Text || **kind == Kind::Blank && is_bracket(lines.get(at + offset + 1))
        })
        .map(|(_, (line, _))| line.text.as_str())
        .collect();
    let next = |skip: usize| next_mark(lines, at + skip);
    intro::length(&window, |skip| matches!(next(skip), Some(Mark::Quote | Mark::Indented | Mark::Signature)))
}

fn is_bracket(line: Option<&Line>) -> bool {
    line.is_some_and(|line| line.mark == Mark::Plain && line.text.trim().starts_with('<'))
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
        // The answer stands below. Without introduction the citation was chosen by hand.
        (1, Some(first)) if first.is_quote && has_intro(kinds, first) => erase(kinds, first),
        (1, Some(first)) if !first.is_quote && (closing || is_greeting(lines, first)) => {
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

/// "Hi Ann," above a citation: the answer stands below it.
fn is_greeting(lines: &[Line], run: &Run) -> bool {
    let text = lines.get(run.start).map(|line| line.text.trim()).unwrap_or_default();
    run.lines == 1
        && text.split_whitespace().count() <= 4
        && text.len() < 60
        && text.ends_with([',', '!', ':', '，', '、'])
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
mod introductions;
#[cfg(test)]
mod tests;
