//! Subjects without what answering and forwarding put around them (RFC 5256 §2.1, and the other languages' prefixes).

/// Prefixes of answers. English first, then by language as mail programs write them.
const REPLY: &[&str] = &[
    "re",
    "aw",
    "antw",
    "antwort",
    "sv",
    "vs",
    "vá",
    "ynt",
    "yan",
    "res",
    "rv",
    "ref",
    "rif",
    "r",
    "odp",
    "bls",
    "ats",
    "atb",
    "ang",
    "ansv",
    "回复",
    "回覆",
    "答复",
    "答覆",
    "回信",
    "返信",
    "답장",
    "회신",
    "ответ",
    "отв",
    "відп",
    "απ",
    "σχετ",
    "تح",
    "رد",
    "השב",
    "תשובה",
    "ตอบ",
    "trả lời",
];
/// Prefixes of forwards.
const FORWARD: &[&str] = &[
    "fwd",
    "fw",
    "wg",
    "tr",
    "i",
    "enc",
    "pd",
    "vb",
    "vl",
    "vidaresänt",
    "doorst",
    "továbbítás",
    "i̇lt",
    "ilt",
    "rvs",
    "reenv",
    "vyr",
    "转发",
    "轉寄",
    "轉發",
    "転送",
    "전달",
    "пересл",
    "fs",
    "πρθ",
    "הועבר",
    "إعادة توجيه",
    "chuyển tiếp",
];

/// What the prefixes of a subject say about the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    Reply,
    Forward,
}

/// The subject less all prefixes, `[list]` tags before them, `(fwd)` after, and `[Fwd: …]` around.
pub fn base_subject(subject: &str) -> String {
    let mut rest = subject.trim();
    // Each round takes something away, so this ends; hostile subjects are cut short.
    for _ in 0..500 {
        let before = rest;
        rest = trim_end(rest);
        rest = trim_start(rest);
        rest = unwrap_forward(rest);
        if rest == before {
            break;
        }
    }
    // A prefix that had nothing after it, not even its colon.
    let is_rest_of_one =
        rest != subject.trim() && ["re", "fw", "fwd"].iter().any(|word| rest.eq_ignore_ascii_case(word));
    if is_rest_of_one {
        return String::new();
    }
    rest.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first prefix of a subject.
pub fn prefix(subject: &str) -> Option<Prefix> {
    let mut rest = subject.trim();
    if rest.to_lowercase().starts_with("[fwd:") {
        return Some(Prefix::Forward);
    }
    for _ in 0..5 {
        if let Some((kind, _)) = leading(rest) {
            return Some(kind);
        }
        rest = blob(rest)?;
    }
    None
}

/// RFC 5256 §2.1 (2): trailing white space and `(fwd)`.
fn trim_end(text: &str) -> &str {
    let text = text.trim_end();
    let cut = text.len().saturating_sub(5);
    match text.split_at_checked(cut) {
        Some((start, end)) if end.eq_ignore_ascii_case("(fwd)") => start.trim_end(),
        _ => text,
    }
}

/// RFC 5256 §2.1 (3) to (5): prefixes with the tags before them, and a leading tag if something is left after it.
fn trim_start(text: &str) -> &str {
    let text = text.trim_start();
    let mut after_tags = text;
    for _ in 0..20 {
        if let Some((_, rest)) = leading(after_tags) {
            return rest.trim_start();
        }
        match blob(after_tags) {
            Some(rest) => after_tags = rest,
            None => break,
        }
    }
    match blob(text) {
        Some(rest) if !rest.trim().is_empty() => rest,
        _ => text,
    }
}

/// RFC 5256 §2.1 (6): `[Fwd: x]` is x.
fn unwrap_forward(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else { return text };
    // Answers are wrapped like that too.
    leading(inner).map_or(text, |(_, rest)| rest.trim())
}

/// `[tag] ` at the start, RFC 5256 `subj-blob`; what follows it.
fn blob(text: &str) -> Option<&str> {
    let (tag, rest) = text.strip_prefix('[')?.split_once(']')?;
    (!tag.contains('[')).then(|| rest.trim_start())
}

/// One prefix at the start: a known word, perhaps counted (`Re[2]`, `Re(2)`, `Re^2`), then a colon. RFC 5256 knows
/// only `:`; `：` is its wide form, and `Re;`, `RE--`, `Re :` and stray further colons occur.
fn leading(text: &str) -> Option<(Prefix, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_alphabetic() || c == ' ' || c == '\u{307}')).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let word = word.trim().to_lowercase();
    let kind = if REPLY.contains(&word.as_str()) {
        Prefix::Reply
    } else if FORWARD.contains(&word.as_str()) {
        Prefix::Forward
    } else {
        return None;
    };
    let rest = counted(rest).trim_start();
    // RFC 5256 `subj-refwd`: a tag may stand before the colon.
    let rest = blob(rest).filter(|after| after.starts_with(':')).unwrap_or(rest);
    let after = match rest.strip_prefix([':', '：']) {
        Some(after) => after,
        // One letter and a dash is too little to be a prefix.
        None if word.chars().count() > 1 => rest.strip_prefix(';').or_else(|| rest.strip_prefix("--"))?,
        None => return None,
    };
    Some((kind, after.trim_start_matches([':', '：', ' ', '\t'])))
}

/// Skips `[2]`, `(2)`, `^2` and `*2` after a prefix.
fn counted(text: &str) -> &str {
    let text = text.trim_start();
    let inner = |close: char| {
        let (number, rest) = text.get(1..)?.split_once(close)?;
        let number = number.trim();
        (!number.is_empty() && number.len() < 6 && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
    };
    let digits = || text.get(1..).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let found = match text.chars().next() {
        Some('[') => inner(']'),
        Some('(') => inner(')'),
        Some('^' | '*') => digits(),
        _ => None,
    };
    found.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        let cases = [
            ("Hello", "Hello"),
            ("Re: Hello", "Hello"),
            ("RE: re: Re : Hello", "Hello"),
            ("Fwd: AW: WG: Antw: Hello", "Hello"),
            ("Re[2]: Hello", "Hello"),
            ("Re (3): Hello", "Hello"),
            ("[list] Re: Hello", "Hello"),
            ("Re: [list] Hello", "Hello"),
            ("[Fwd: [Fwd: Hello]]", "Hello"),
            ("Hello (fwd) (fwd)", "Hello"),
            ("Re : : Re: Hello", "Hello"),
            ("Re; Hello", "Hello"),
            ("RE-- Hello", "Hello"),
            ("回复：你好", "你好"),
            ("[#1042]", "[#1042]"),
            ("Re:", ""),
            ("Re: Fwd", ""),
            ("Fwd [list]: Hello", "Hello"),
            ("[RE: Hello]", "Hello"),
            ("Reason: none", "Reason: none"),
            ("R: domanda", "domanda"),
            ("A  lot   of space", "A lot of space"),
            ("", ""),
        ];
        for (subject, want) in cases {
            assert_eq!(base_subject(subject), want, "{subject}");
        }
    }

    #[test]
    fn prefixes() {
        let cases = [
            ("Re: x", Some(Prefix::Reply)),
            ("[list] SV: x", Some(Prefix::Reply)),
            ("WG: x", Some(Prefix::Forward)),
            ("[Fwd: x]", Some(Prefix::Forward)),
            ("Question", None),
            ("[tag", None),
            ("", None),
        ];
        for (subject, want) in cases {
            assert_eq!(prefix(subject), want, "{subject}");
        }
    }
}
