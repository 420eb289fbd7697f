//! Text that isn't ours, made harmless: what customers write on its way to the model, what the model writes on its way
//! to staff. Pure, and knows neither.

use std::sync::LazyLock;

use regex::Regex;

/// At most `max` characters and then `mark`, cut between two words where one ends in the last hundred characters.
pub(super) fn cut(text: &str, max: usize, mark: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(max) else { return text.to_owned() };
    let head = text.get(..end).unwrap_or_default();
    let whole = head.rfind(char::is_whitespace).and_then(|at| head.get(..at)).unwrap_or(head);
    let kept = if head.len() - whole.len() <= 100 { whole } else { head };
    format!("{}{mark}", kept.trim_end())
}

/// Discord: `<@1>`, `<@!1>`, `<@&1>`, `<#1>`, `</name:1>` and `<id:browse>` are live when posted
/// (<https://discord.com/developers/docs/reference#message-formatting>).
static MENTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"<(?:[@#][!&]?\d+|/[^<>\n]{1,100}:\d+|id:\w+)>").ok());
static EVERYONE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i)@+(everyone|here)\b").ok());
/// `[text](target)`, of which the text is kept.
static MARKDOWN_LINK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\[([^\[\]\n]*)\]\([^)\n]*\)").ok());
static LINK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b(?:[a-z][a-z0-9+.-]{1,20}://|www\.|(?:mailto|javascript|data|tel|sms|discord|file):)[^\s<>]+",
        r"|(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}/[^\s<>]*",
    ))
    .ok()
});
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+").ok());

/// Model text that can't ping, link, or hide anything when it is shown or pasted.
pub(super) fn defanged(text: &str) -> String {
    let steps: [(&LazyLock<Option<Regex>>, &str); 5] = [
        (&MARKDOWN_LINK, "$1 [link removed]"),
        (&LINK, "[link removed]"),
        (&ADDRESS, "[address removed]"),
        (&MENTION, "[mention removed]"),
        (&EVERYONE, "$1"),
    ];
    steps.into_iter().fold(visible(text), |text, (pattern, replacement)| match &**pattern {
        Some(pattern) => pattern.replace_all(&text, replacement).into_owned(),
        None => text,
    })
}

/// Text without what can't be seen: controls, bidirectional overrides (Unicode TR 36, "Trojan Source"), zero-width
/// characters and tag characters. Joiners stay: Persian and Indic scripts are wrong without them.
pub(super) fn visible(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .filter_map(|c| match c {
            '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            '\r' => Some('\n'),
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' => None,
            '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => {
                None
            }
            c if c.is_control() && c != '\n' => None,
            c => Some(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_can_not_ping_link_or_hide() {
        let cases = [
            ("ping @everyone and @HERE", "ping everyone and HERE"),
            ("@@everyone @\u{200b}here", "everyone here"),
            (
                "<@!123> <@&4> <#5> </ban:6>",
                "[mention removed] [mention removed] [mention removed] [mention removed]",
            ),
            ("see https://evil.example/x?y now", "see [link removed] now"),
            ("[click](javascript:alert(1)) www.evil.example", "click [link removed]) [link removed]"),
            ("mail ada@example.org, open evil.example/pay", "mail [address removed], open [link removed]"),
            ("a\u{202e}b\u{0}c\u{7}\td", "abc d"),
            ("and/or in v1.2/1.3", "and/or in v1.2/1.3"),
        ];
        for (text, expected) in cases {
            assert_eq!(defanged(text), expected);
        }
    }

    #[test]
    fn texts_are_cut_between_words_where_there_are_any() {
        assert_eq!(cut("short", 10, "…"), "short");
        assert_eq!(cut("one two three", 9, "…"), "one two…");
        assert_eq!(cut(&"ä".repeat(300), 200, "…"), format!("{}…", "ä".repeat(200)));
    }
}
