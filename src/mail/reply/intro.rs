//! Lines that introduce cited mail: "On Monday, Ann wrote:", as mail programs word it in their languages.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use crate::mail::decode::is_direction_trick;

/// An introduction is wrapped over at most so many lines.
pub const MAX_LINES: usize = 5;
/// And is at most so long, in bytes.
const MAX_LENGTH: usize = 420;

/// The verb that says that somebody wrote, with what may stand around it. At the end, or before the name.
static VERB: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        // en de fr es pt it
        r"(?i)\b(wrote|writes|has written)\b",
        r"(?i)\b(schrieb|schreibt|hat geschrieben|hat .{1,90} geschrieben)\b",
        r"(?i)\b(a|à|ont) ?[ée]crit\b|[ée]crivait\b|\b[ée]crivit\b",
        r"(?i)\b(escribi[óou]|escribiu|ha escrito|escreveu|ha scritto|scrive|scrisse|va escriure|ha escrit|escriviu|a écrit)",
        // nl sv da nb fi is et lv lt
        r"(?i)\b(schreef|het volgende geschreven|skrev|skrifaði|kirjoitti|kirjutas|rakstīja|rašė|parašė)",
        // pl cs sk hu ro sl hr sr
        r"(?i)\b(napisa[łl]\(?a?\)?|pisze|napsal\(?a?\)?|napísal\(?a?\)?|ezt írta|írta|a scris|je napisala?|je napisao(/la)?|napisao je|piše)",
        // ru uk bg sr mk
        r"(?i)(написал\(?а?\)?|писал\(?а?\)?|пишет|пише|написав|написала|написа|је написао)",
        // tr el
        r"(?i)(yazdı|şunları yazdı|şunu yazdı|έγραψε|έγραψαν)",
        // zh ja ko vi id th
        r"(写道|寫道|写到|来信|書きました|のメール|さんからのメール|書き込みました|님이 작성|작성함|작성[:：]|썼습니다|쓴 글|đã viết|viết|menulis|เขียนว่า|เขียน)",
        // he ar fa
        r"(ने लिखा|লিখেছেন|எழுதியது)",
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
    ])
});

/// Verbs of sentences too: they count only with cited mail below.
static WEAK_VERB: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b(said|says|sent|posted|replied|asked)\s*[:：]$"));

/// The writer tells what he wrote himself.
static OWN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(i|we) (wrote|have written|had written)\b|\bschrieb(en)? (ich|wir)\b|\bj'ai écrit|\b(yo )?escribí\b|\bho scritto\b",
    )
});

/// A verb with a lower-case word after it.
static GOES_ON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(wrote|schrieb|schreef|skrev|écrit|escribió|escreveu|scritto|napisał|napsal|pisze|kirjoitti)\s+\p{Ll}",
    )
});

/// A date or a time.
static MOMENT: LazyLock<Regex> = LazyLock::new(|| pattern(r"\d{1,2}[:.]\d{2}\b|\b\d{4}\b"));

/// An address as mail programs write it beside a name.
static BRACKETED: LazyLock<Regex> = LazyLock::new(|| pattern(r"[<(]\s?\S*[^\s<>]@[^\s<>]+\s?[>)]"));

/// Horde and others name only the person.
static QUOTING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)^(quoting|zitat von|citando( a)?|citaat van|citerar|en réponse à|cytowanie) .{1,100}:$")
});

/// The mail's own day: a year, or a date in numbers.
static DAY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(^|\D)(19|20)\d{2}(\D|$)|\b\d{1,4}[-./]\s?\d{1,2}[-./]\s?\d{1,4}\b"));

/// And its hour.
static HOUR: LazyLock<Regex> = LazyLock::new(|| pattern(r"\d{1,2}[:.h]\d{2}"));

/// Who tells of a mail in a sentence speaks of themselves.
static FIRST_PERSON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(i|we|my|our|me|us|ich|wir|mein(e[rmns]?)?|unser(e[rmns]?)?|mir|uns|je|j'ai|nous|mon|ma|notre|yo|mi|nuestro|eu|meu|io|mio|noi|ik|wij|mijn|jag|min|jeg|мы|мне|мой|наш)\b",
    )
});

/// Words with which an introduction begins. Where the lines are joined only such a first line may be wrapped.
static LEAD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)^[\s>*_]*(on|at|am|um|le|el|em|no dia|il|il giorno|in data|op|den|på|kl|w dniu|dnia|dne|dňa|în|in|pe|la|",
        r"στις|στη|vào|pada|lúc|dana|a|às|el dia|o|på|на|у|v|kuupäev|þann|noong|jn|di|wiadomość napisana|missatge de|",
        r"ที่|于|在|ב|بتاريخ|في|در تاریخ|hai scritto|on behalf)[\s:,.]|^[\s>*_]*(\d|[\p{L}\p{M}]{2,12}\.?,? ?\d|\p{L}{2,12}\.?, \p{L}{3,12}\.? \d)|^(ב-\d|בתאריך |ในวันที่)",
    ))
});

/// A date with an address and a colon, without verb: Gmail in Russian and Japanese, Yandex.
static BARE: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"^[\s>*_]*(\p{L}{1,12}[.,]{1,2} ?)?\d{1,4}([-./:年]|년|\.?,? ).{4,80}[<(「][^\s<>]+@[^\s<>]+[>)」]{1,2}\s?[:：]$",
        r"^[\s>*_]*\d{1,4}[-./年].{3,80}\d{1,2}:\d{2}.{0,120}@.{1,80}[:：]$",
        // Tutanota
        r"^[\s>*_]*(\p{L}{3,12}\.? \d{1,2}|\d{1,2}\.? \p{L}{3,12}\.?),? \d{4},? \d{1,2}:\d{2} \p{L}{1,8} [^\s<>]+@[^\s<>]+[:：]$",
        r"^[\s>*_]*\d{4}-\d{2}-\d{2} \d{1,2}:\d{2} (GMT|UTC)[+-]\d{2}:?\d{2} \S.{1,80}$",
    ])
});

/// The same without a colon, with the cited mail below: old Gmail.
static DATED_PERSON: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[\s*_]*\d{4}[-./]\d{1,2}[-./]\d{1,2} .{0,80}<[^\s<>]+@[^\s<>]+>$"));

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
    let first = lines.first().copied().unwrap_or_default();
    let is_known = may_wrap(first);
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim();
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(line);
        if joined.len() > MAX_LENGTH || at > 0 && !(is_known || may_begin(first, lines.get(1))) {
            return 0;
        }
        let follows = quote_follows(at + 1);
        // Where nothing says that the first line belongs to it, the others must need that line.
        let is_one = match at {
            0 => is_introduction(&joined, follows),
            _ if is_known => is_introduction(&joined, follows),
            _ => {
                let needs_first = || !is_introduction(&lines_of(lines, 1, at), follows);
                is_whole(&joined, follows) && (names_author_first(lines) || needs_first())
            }
        };
        if is_one {
            return at + 1;
        }
        // A sentence ended: what follows is another one.
        if line.ends_with(['!', '?', ';']) {
            return 0;
        }
    }
    0
}

fn lines_of(lines: &[&str], from: usize, to: usize) -> String {
    let some: Vec<&str> = lines.iter().take(to + 1).skip(from).map(|line| line.trim()).collect();
    some.join(" ")
}

fn may_wrap(first: &str) -> bool {
    let first = plain_digits(first);
    let first = first.trim_start_matches('-').trim_start();
    LEAD.is_match(first) && first.chars().any(|c| c.is_ascii_digit()) || names_person(first)
}

fn names_author_first(lines: &[&str]) -> bool {
    matches!(lines, [first, second, ..] if is_name_before(first, second))
}

/// Only a name, with its address on the next line.
fn is_name_before(first: &str, second: &str) -> bool {
    first.split_whitespace().count() <= 6 && second.trim().starts_with('<')
}

/// The start of one whose words nobody here knows: something of a date or of an address stands in it.
fn may_begin(first: &str, second: Option<&&str>) -> bool {
    let first = plain_digits(first);
    second.is_some_and(|line| is_name_before(&first, line))
        || first.trim_end().ends_with(['<', '('])
        || DAY.is_match(&first)
        || BRACKETED.is_match(&first)
}

/// Names the author with their address, the day and the hour, whatever the language; or an address at the start, a day
/// and the verb.
fn is_whole(text: &str, quote_follows: bool) -> bool {
    let text = bare(text);
    BRACKETED.is_match(&text)
        && DAY.is_match(&text)
        && (HOUR.is_match(&text) || VERB.is_match(&text))
        && is_introduction(&text, quote_follows)
}

/// Marks of direction, which hide where a text ends, taken off.
fn bare(text: &str) -> String {
    plain_digits(text).trim().to_owned()
}

/// Digits of Arabic and Persian as the patterns know them, without marks of direction.
fn plain_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| {
        let value = match c {
            '\u{660}'..='\u{669}' => u32::from(c) - 0x660,
            '\u{6f0}'..='\u{6f9}' => u32::from(c) - 0x6f0,
            _ => return c,
        };
        char::from_digit(value, 10).unwrap_or(c)
    };
    Cow::Owned(text.chars().filter(|c| !is_direction_trick(*c)).map(plain).collect())
}

/// Begins with a name and an address: "Ann Example <ann@example.org> wrote". Not "I asked ann@example.org".
fn names_person(text: &str) -> bool {
    let Some((name, _)) = text.split_once(['<', '@']) else { return false };
    let is_quoted = name.trim_start().starts_with('"');
    let words = name.split_whitespace().count();
    let is_name =
        name.trim_start().chars().next().is_none_or(|c| c == '"' || c.is_uppercase() || !c.is_alphabetic());
    words <= 6
        && (text.contains('<') && is_name || words <= 1)
        && (is_quoted || !name.contains([',', '!', '?', ';', ':']))
}

/// Whether the text as a whole introduces cited mail.
fn is_introduction(text: &str, quote_follows: bool) -> bool {
    let is_dressing = |c: char| c.is_whitespace() || matches!(c, '*' | '_' | '\u{200e}' | '\u{200f}');
    // Yahoo puts dashes before it.
    let text = if text.starts_with("--") { text.trim_matches('-') } else { text };
    let text = plain_digits(text);
    let text = text.trim_matches(is_dressing);
    let ends = text.ends_with([':', '：']) || ends_with_verb(text);
    if !ends && !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    if BARE.is_match(text) || quote_follows && DATED_PERSON.is_match(text) {
        return true;
    }
    if quote_follows && ends && (QUOTING.is_match(text) || BRACKETED.is_match(text) && MOMENT.is_match(text))
    {
        // An address, a moment and the cited mail below: whatever the language.
        return true;
    }
    if ends
        && BRACKETED.is_match(text)
        && DAY.is_match(text)
        && HOUR.is_match(text)
        && !FIRST_PERSON.is_match(text)
    {
        // An address, a day, an hour, and nobody who tells of it: no sentence.
        return true;
    }
    if !ends || OWN.is_match(text) && !quote_follows {
        return false;
    }
    if !VERB.is_match(text) {
        return quote_follows && WEAK_VERB.is_match(text) && LEAD.is_match(text) && EVIDENCE.is_match(text);
    }
    if quote_follows {
        return LEAD.is_match(text)
            || is_short_before_address(text)
            || is_short_name(text)
            || is_dated_name(text)
            || EVIDENCE.is_match(text) && names_person(text);
    }
    // "The server wrote into its log:" has no name after the verb, or none at all.
    let is_sentence = !text.contains('@') && GOES_ON.is_match(text);
    EVIDENCE.is_match(text) && begins_like_one(text) && !is_sentence
}

/// Where an introduction begins that stands on the same line as the end of the answer, as some programs join them:
/// `Thanks--- On Mon, Feb 2, 2026, Ann wrote:`.
pub fn joined(text: &str) -> Option<usize> {
    let found = JOINED.find_iter(text).last()?;
    let start = found.start();
    let after = text.get(start..)?.trim_start_matches(['-', ' ', '\t']);
    (start > 0 && text.len() < MAX_LENGTH * 2 && is_introduction(after, true)).then_some(start)
}

static JOINED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(-{2,}\s*|\s-{0,3}\s?)(On|Am|Le|El|Il|Op|Em|Den) (\p{L}{2,9}[.,]{0,2} ?){0,2}\d|-{2,}\s*On \p{L}{3},",
    )
});

/// The end of an introduction that was wrapped inside an address: `> wrote:` is no cited line.
pub fn is_tail(text: &str) -> bool {
    let text = text.trim_start().trim_start_matches('>').trim();
    text == ":" || text.split_whitespace().count() <= 2 && text.ends_with([':', '：']) && VERB.is_match(text)
}

/// Not in the middle of a sentence: it begins with a word for a date, a name and an address, or an address.
fn begins_like_one(text: &str) -> bool {
    LEAD.is_match(text) || names_person(text) || AUTHOR_AT.is_match(text)
}

/// "Ann 于 2026/2/2 10:00 写道"
static AUTHOR_AT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\S.{0,60}(于|於)\s?\d{4}"));

/// "ann via Desk <desk@example.net> wrote:" with the cited mail below.
fn is_short_before_address(text: &str) -> bool {
    text.split_once('<')
        .is_some_and(|(name, rest)| name.split_whitespace().count() <= 6 && rest.contains('@'))
}

/// "Ann Example wrote:" with the cited mail below.
fn is_short_name(text: &str) -> bool {
    let first = text.trim_start_matches(['"', '*', '>', ' ']).chars().next();
    text.split_whitespace().count() <= 6
        && first.is_some_and(char::is_uppercase)
        && !text.contains([',', '.', ';'])
}

/// "Ann Example kirjoitti 2.2.2026 klo 10.00:" with the cited mail below.
fn is_dated_name(text: &str) -> bool {
    let is_name = text.chars().next().is_some_and(char::is_uppercase);
    is_name && text.split_whitespace().count() <= 9 && DAY.is_match(text) && HOUR.is_match(text)
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
        let cases: [(&[&str], bool, usize); 20] = [
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
            (&["On Monday, 2 Feb 2026, I wrote:"], false, 0),
            (&["On 2 Feb 2026 your technician said:"], false, 0),
            (&["On Monday Ann wrote:"], true, 1),
            (&["Am 3. Mai 2026 um 10:00 schrieb der Server ins Log:"], false, 0),
            (&["--- On Mon, 2/2/26, Ann <a@example.org> wrote:"], false, 1),
            (&["Понедельник, 2 февраля 2026, 10:00 от Ann <a@example.org>:"], false, 1),
            (&["The log of 02.02.2026 10:00 says:"], false, 0),
            (&["My address is a@example.org:"], false, 0),
            (&["I asked @ann about it on", "2 Feb 2026, and she wrote:"], false, 0),
            (&["Ann Example <a@example.org> schrieb am Mo., 2.", "Feb. 2026 um 10:00 Uhr:"], false, 2),
        ];
        for (lines, quote, want) in cases {
            assert_eq!(length(lines, |_| quote), want, "{lines:?}");
        }
    }

    #[test]
    fn patterns_are_valid() {
        assert_eq!(joined("Thanks--- On Mon, Feb 2, 2026 at 10:00, Ann wrote:"), Some(6));
        assert_eq!(joined("Thanks On Mon, Feb 2, 2026 at 10:00, Ann wrote:"), Some(6));
        assert_eq!(joined("On Mon, Feb 2, 2026 at 10:00, Ann wrote:"), None);
        assert_eq!(length(&["2026/2/2 Ann <a@example.org>"], |_| true), 1);
        assert_eq!(length(&["2026/2/2 Ann <a@example.org>"], |_| false), 0);
        assert!(is_tail("> wrote:") && is_tail("> :") && !is_tail("> she wrote to me and said:"));
        for set in [&VERB, &EVIDENCE, &BARE] {
            assert!(!set.is_empty());
        }
        assert!(
            LEAD.is_match("On 2 Feb")
                && MOMENT.is_match("10:00")
                && BRACKETED.is_match("Ann <a@x.org>")
                && QUOTING.is_match("Quoting Ann:")
        );
        assert!(WEAK_VERB.is_match("she said:") && OWN.is_match("I wrote"));
        assert!(is_introduction("---- On Mon, 02 Feb 2026 10:00:00 +0100 Ann <a@x.org> wrote ----", false));
    }
}
