//! Lines that introduce cited mail: "On Monday, Ann wrote:", as mail programs word it in their languages.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// An introduction is wrapped over at most so many lines.
pub const MAX_LINES: usize = 5;
/// And is at most so long, in bytes.
const MAX_LENGTH: usize = 420;

/// The verb that says that somebody wrote, with what may stand around it. At the end, or before the name.
static VERB: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        // en de fr es pt it
        r"(?i)\b(wrote|writes|said|says|has written|posted|replied)\b",
        r"(?i)\b(schrieb|schreibt|hat geschrieben|hat am .{0,60} geschrieben)\b",
        r"(?i)\b(a|à|ont) ?[ée]crit\b|[ée]crivait\b|\b[ée]crivit\b",
        r"(?i)\b(escribi[óo]|ha escrito|escreveu|ha scritto|scrive|scrisse|va escriure|ha escrit|escriviu|a écrit)",
        // nl sv da nb fi is et lv lt
        r"(?i)\b(schreef|het volgende geschreven|skrev|skrifaði|kirjoitti|kirjutas|rakstīja|rašė|parašė)",
        // pl cs sk hu ro sl hr sr
        r"(?i)\b(napisa[łl]\(?a?\)?|pisze|napsal\(?a?\)?|napísal\(?a?\)?|ezt írta|írta|a scris|je napisala?|je napisao(/la)?|napisao je|piše)",
        // ru uk bg sr mk
        r"(?i)(написал\(?а?\)?|писал\(?а?\)?|пишет|пише|написав|написала|написа|је написао)",
        // tr el
        r"(?i)(yazdı|şunları yazdı|şunu yazdı|έγραψε|έγραψαν)",
        // zh ja ko vi id th
        r"(写道|寫道|写到|来信|さんは書きました|が書きました|のメール|さんからのメール|書き込みました|님이 작성|작성함|썼습니다|đã viết|viết|menulis|เขียนว่า|เขียน)",
        // he ar fa
        r"(כתב|כתבה|כתב/ה|‏כתב|كتب|كتبت|نوشت)",
    ])
});

/// What makes it more than a sentence: a date, a time, an address.
static EVIDENCE: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"\d{1,2}[:.h]\d{2}",
        r"\d{1,4}[-./]\s?\d{1,2}[-./]\s?\d{1,4}",
        r"[^\s@]@[^\s@]",
        r"\d{4}\s?(年|년)",
        r"(?i)\b\d{1,2}(st|nd|rd|th|\.|er)?,? (de |d'|of )?\p{L}{3,12}\.?,?( de| del)? ?\d{4}",
        r"(?i)\b\p{L}{3,12}\.? \d{1,2}(st|nd|rd|th)?,? \d{4}",
        r"(?i)\b(mon|tues|wednes|thurs|fri|satur|sun)day\b",
    ])
});

/// Words with which an introduction begins. Where the lines are joined only such a first line may be wrapped.
static LEAD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)^[\s>*_]*(on|at|am|um|le|el|em|no dia|il|il giorno|in data|op|den|på|kl|w dniu|dnia|dne|dňa|în|in|pe|la|",
        r"στις|στη|vào|pada|lúc|dana|a|el dia|ที่|于|在|ב|بتاريخ|في|hai scritto|on behalf)[\s:,.]|^[\s>*_]*(\d|\p{L}{2,4}[.,]? ?\d|\p{L}{2,12}\.?,)",
    ))
});

/// A date with an address and a colon, without verb: Gmail in Russian and Japanese, Yandex.
static BARE: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"^[\s>*_]*(\p{L}{1,4}[.,]{1,2} ?)?\d{1,4}([-./年]|년|\.?,? ).{4,80}[<(「][^\s<>]+@[^\s<>]+[>)」]{1,2}\s?[:：]$",
        r"^[\s>*_]*\d{1,4}[-./年].{3,80}\d{1,2}:\d{2}.{0,120}@.{1,80}[:：]$",
    ])
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|_| unreachable!("patterns of this file are valid"))
}

fn patterns(list: &[&str]) -> RegexSet {
    RegexSet::new(list).unwrap_or_else(|_| unreachable!("patterns of this file are valid"))
}

/// Over how many of these lines an introduction reaches that begins with the first; 0 if none does.
/// `quote_follows(n)` tells whether cited mail comes after the first n lines.
pub fn length(lines: &[&str], quote_follows: impl Fn(usize) -> bool) -> usize {
    let mut joined = String::new();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim();
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(line);
        if joined.len() > MAX_LENGTH || at > 0 && !may_wrap(lines.first().copied().unwrap_or_default()) {
            return 0;
        }
        if is_introduction(&joined, quote_follows(at + 1)) {
            return at + 1;
        }
        // A sentence ended: what follows is another one.
        if line.ends_with(['!', '?', ';']) {
            return 0;
        }
    }
    0
}

fn may_wrap(first: &str) -> bool {
    LEAD.is_match(first) && first.chars().any(|c| c.is_ascii_digit())
        || first.contains(['<', '@']) && !first.ends_with('.')
}

/// Whether the text as a whole introduces cited mail.
fn is_introduction(text: &str, quote_follows: bool) -> bool {
    let text = text
        .trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '\u{200e}' | '\u{200f}'));
    let ends = text.ends_with([':', '：']) || ends_with_verb(text);
    if !ends {
        return false;
    }
    if BARE.is_match(text) {
        return true;
    }
    if !VERB.is_match(text) {
        return false;
    }
    EVIDENCE.is_match(text) && begins_like_one(text) || quote_follows && is_short_name(text)
}

/// Not in the middle of a sentence: it begins with a word for a date, a name and an address, or an address.
fn begins_like_one(text: &str) -> bool {
    LEAD.is_match(text) || text.contains('@')
}

/// "Ann Example wrote:" with the cited mail below.
fn is_short_name(text: &str) -> bool {
    let first = text.trim_start_matches(['"', '*', '>', ' ']).chars().next();
    text.split_whitespace().count() <= 6
        && first.is_some_and(char::is_uppercase)
        && !text.contains([',', '.', ';'])
}

/// Some leave the colon out.
fn ends_with_verb(text: &str) -> bool {
    ["wrote", "写道", "寫道", "a écrit", "作成", "님이 작성"].iter().any(|verb| text.ends_with(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn introductions_and_sentences() {
        let cases: [(&[&str], bool, usize); 12] = [
            (&["On Mon, Feb 2, 2026 at 10:00 AM Ann <a@example.org> wrote:"], false, 1),
            (&["On Mon, Feb 2, 2026 at 10:00 AM Ann <", "a@example.org> wrote:"], false, 2),
            (&["At 2/2/2026 08:32 PM, you wrote:"], false, 1),
            (&["Ann Example wrote:"], true, 1),
            (&["Ann Example wrote:"], false, 0),
            (&["2026-02-02 10:00 GMT+01:00 Ann <a@example.org>:"], false, 1),
            (&["02.02.2026, 10:00, \"Ann\" <a@example.org>:"], false, 1),
            (&["On your machine run:"], true, 0),
            (&["I think so.", "Ann <a@example.org> wrote:"], true, 0),
            (&["As I wrote:"], false, 0),
            (&["The log of 02.02.2026 10:00 says:"], false, 0),
            (&["My address is a@example.org:"], false, 0),
        ];
        for (lines, quote, want) in cases {
            assert_eq!(length(lines, |_| quote), want, "{lines:?}");
        }
    }

    #[test]
    fn patterns_are_valid() {
        for set in [&VERB, &EVIDENCE, &BARE] {
            assert!(!set.is_empty());
        }
        assert!(LEAD.is_match("On 2 Feb"));
    }
}
