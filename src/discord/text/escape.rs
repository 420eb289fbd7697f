//! Text that others wrote, as Discord is to show it: as it was written. No markdown of it takes effect, no link hides behind
//! words, nobody is mentioned, no invitation unfolds.

use crate::discord::message::cut;

/// Shows nothing, and keeps apart what must not be read as one.
const NOTHING: char = '\u{200b}';
/// Have a meaning wherever they stand.
const SPECIAL: &[char] = &['\\', '*', '_', '~', '`', '|', '<', '>', '[', ']'];
/// What Discord makes a card of, although it is text: invitations, gifts, templates.
const UNFOLDING: &[&str] = &[
    "discord.gg/",
    "discord.com/invite/",
    "discordapp.com/invite/",
    "discord.gift/",
    "discord.com/gifts/",
    "discordapp.com/gifts/",
    "discord.new/",
    "discord.com/template/",
];

/// The text with all of Discord's markdown made harmless. Addresses of web pages stay links that show where they lead.
pub fn escape(text: &str) -> String {
    // Zero widths of the text's own would hide a sign from us, and not from Discord.
    let text = text.replace(NOTHING, "");
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text.as_str();
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if let Some(url) = url(rest, before) {
            out.push_str(url);
            before = url.chars().next_back();
            rest = rest.strip_prefix(url).unwrap_or_default();
            continue;
        }
        if let Some(head) = unfolding(rest) {
            out.push_str(head);
            out.push(NOTHING);
            before = Some('/');
            rest = rest.strip_prefix(head).unwrap_or_default();
            continue;
        }
        let after = rest.strip_prefix(c).unwrap_or_default();
        push(&mut out, c, before, after);
        before = Some(c);
        rest = after;
    }
    out
}

fn push(out: &mut String, c: char, before: Option<char>, after: &str) {
    let begins = before.is_none_or(char::is_whitespace);
    let next = after.chars().next();
    match c {
        '@' if names_all(after) => {
            out.push(c);
            out.push(NOTHING);
        }
        '<' => {
            out.push_str("\\<");
            // Discord looks for mentions in the raw text, too, where a backslash is nothing.
            if next.is_some_and(|next| matches!(next, '@' | '#' | '&' | ':' | '/' | 'a' | 't' | 'i')) {
                out.push(NOTHING);
            }
        }
        // Lists. Anywhere a line of Discord may begin: where a long text is split, too.
        '-' | '+' if begins => {
            out.push('\\');
            out.push(c);
        }
        '.' | ')' if before.is_some_and(|b| b.is_ascii_digit()) && next.is_none_or(char::is_whitespace) => {
            out.push('\\');
            out.push(c);
        }
        // A heading; a number such as #7 is none.
        '#' if next.is_none_or(|next| next == '#' || next.is_whitespace()) => out.push_str("\\#"),
        c if SPECIAL.contains(&c) => {
            out.push('\\');
            out.push(c);
        }
        c => out.push(c),
    }
}

fn names_all(after: &str) -> bool {
    let word: String =
        after.chars().filter(|c| *c != NOTHING).take(8).collect::<String>().to_ascii_lowercase();
    word.starts_with("everyone") || word.starts_with("here")
}

/// The web address that begins here. Discord shows it as it is, so a backslash in it would become part of it; it ends before
/// every character that has a meaning to markdown and none in an address.
fn url(rest: &str, before: Option<char>) -> Option<&str> {
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| rest.starts_with(scheme))?;
    let ends = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '`' | '|' | '\\' | '^' | '{' | '}' | '[' | ']' | '*' | '@')
    };
    let whole = rest.split(ends).next()?;
    let url = whole
        .trim_end_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '/' | '=' | '-' | '%' | '&' | '+'));
    let long_enough = url.len() > scheme.len();
    (long_enough
        && !UNFOLDING.iter().any(|u| url.to_ascii_lowercase().contains(u))
        && !url.contains("__")
        && !url.contains("~~"))
    .then_some(url)
}

fn unfolding(rest: &str) -> Option<&str> {
    UNFOLDING.iter().find_map(|known| {
        let head = rest.get(..known.len())?;
        head.eq_ignore_ascii_case(known).then_some(head)
    })
}

/// Escaped, and in at most so many characters; what does not fit is cut with an ellipsis. Characters beyond the first 65,536
/// count as two: where Discord counts them so is not written down.
pub fn escape_within(text: &str, most: usize) -> String {
    let mut room = most;
    loop {
        let escaped = escape(&cut(text, room));
        let over = escaped.encode_utf16().count().saturating_sub(most);
        if over == 0 {
            return escaped;
        }
        // One character becomes four at most.
        room = room.saturating_sub(over.div_ceil(4));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_of_markdown_takes_effect() {
        let shown = |text: &str| escape(text).replace(NOTHING, "␣");
        for (written, harmless) in [
            ("**bold** _it_ __under__ ~~gone~~", r"\*\*bold\*\* \_it\_ \_\_under\_\_ \~\~gone\~\~"),
            ("# Big\n## b\n-# small", "\\# Big\n\\#\\# b\n\\-\\# small"),
            ("- a\n* b\n+ c\n1. d\n2) e", "\\- a\n\\* b\n\\+ c\n1\\. d\n2\\) e"),
            ("> said\n>>> all", "\\> said\n\\>\\>\\> all"),
            ("||secret||", r"\|\|secret\|\|"),
            ("```rust\nx\n``` `y`", "\\`\\`\\`rust\nx\n\\`\\`\\` \\`y\\`"),
            ("[click](https://evil.example)", r"\[click\](https://evil.example)"),
            ("<https://evil.example>", r"\<https://evil.example\>"),
            ("@everyone @here @Everyone", "@␣everyone @␣here @␣Everyone"),
            ("<@1> <@!1> <@&2> <#3>", r"\<␣@1\> \<␣@!1\> \<␣@&2\> \<␣#3\>"),
            ("<:smile:4> <a:x:5> <t:0:R> </cmd:6>", r"\<␣:smile:4\> \<␣a:x:5\> \<␣t:0:R\> \<␣/cmd:6\>"),
            (
                "discord.gg/abc https://discord.com/invite/abc",
                "discord.gg/␣abc https://discord.com/invite/␣abc",
            ),
            ("DISCORD.GG/abc", "DISCORD.GG/␣abc"),
            (r"C:\new_file \*", r"C:\\new\_file \\\*"),
            ("@\u{200b}everyone", "@␣everyone"),
            ("ada@example.org, 3.5 - 2, a-b, #7", "ada@example.org, 3.5 \\- 2, a-b, #7"),
        ] {
            assert_eq!(shown(written), harmless, "{written}");
        }
    }

    #[test]
    fn a_web_address_stays_one() {
        for (written, shown) in [
            ("see https://example.org/a_b?c=d&e=f.", "see https://example.org/a_b?c=d&e=f."),
            ("(https://example.org/x)", "(https://example.org/x)"),
            ("https://example.org/*x*", "https://example.org/\\*x\\*"),
            ("https://a.example/||b||", "https://a.example/\\|\\|b\\|\\|"),
            ("https://", "https://"),
        ] {
            assert_eq!(escape(written), shown);
        }
    }

    /// What Discord shows of a text without markdown.
    fn shown(text: &str) -> String {
        let mut shown = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => shown.extend(chars.next()),
                NOTHING => {}
                c => shown.push(c),
            }
        }
        shown
    }

    fn without_urls(text: &str) -> String {
        regex::Regex::new(r#"https?://[^\s<>"`|\\^{}\[\]*@]+"#).unwrap().replace_all(text, " ").into_owned()
    }

    fn hostile() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            "[*_~`|<>#\\[\\]()\\\\@:.!&/ \n-]{1,6}",
            "[a-z0-9é😀]{1,5}",
            Just("https://x.example/a".to_owned()),
            Just("@everyone".to_owned()),
            Just("discord.gg/".to_owned()),
            Just("```".to_owned()),
            Just("<@".to_owned()),
            Just("\u{200b}".to_owned()),
            "\\PC{0,5}",
        ];
        proptest::collection::vec(parts, 0..20).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn it_shows_what_was_written(text in hostile()) {
            prop_assert_eq!(shown(&escape(&text)), text.replace(NOTHING, ""));
        }

        #[test]
        fn no_sign_is_left_with_a_meaning(text in hostile()) {
            let escaped = without_urls(&escape(&text));
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c == '\\' || !SPECIAL.contains(&c), "{c} in {escaped:?}");
                if c == '\\' {
                    chars.next();
                }
            }
            let lower = escaped.to_lowercase();
            for harm in ["@everyone", "@here", "<@", "<#", "<:", "<t:", "discord.gg/a"] {
                prop_assert!(!lower.contains(harm), "{harm} in {escaped:?}");
            }
        }

        #[test]
        fn it_fits(text in hostile(), most in 1_usize..60) {
            prop_assert!(escape_within(&text, most).encode_utf16().count() <= most);
        }
    }
}
