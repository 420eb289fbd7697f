//! What people write in Discord, as it reads in a mail: its markdown is that of mails, but mentions, emoji of the server and
//! times have to be put into words.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::DateTime;
use regex::{Captures, Regex};

/// Code is left alone: blocks, then spans; then what Discord alone understands.
static MEANING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?xs)
        (?P<code> ```.*?``` | ``.+?`` | `[^`\n]+` )
        | (?P<escaped> \\[<|@] )
        | <@!?(?P<person>\d{1,20})>
        | (?P<role> <@&\d{1,20}> )
        | (?P<channel> <\#\d{1,20}> )
        | </(?P<command>[^<>:\n]{1,100}):\d{1,20}>
        | <a?(?P<emoji>:\w{2,32}:)\d{1,20}>
        | <t:(?P<time>-?\d{1,13})(?::[tTdDfFRsS])?>
        | <(?P<url>https?://[^\s<>]+)>
        | \|\|(?P<spoiler>[^|\n]+?)\|\|
        ",
    )
    .ok()
});

/// The text for a mail. People whose names are given are called by them.
pub fn plain(text: &str, names: &BTreeMap<u64, String>) -> String {
    let Some(meaning) = MEANING.as_ref() else { return text.to_owned() };
    let worded = meaning.replace_all(text, |found: &Captures<'_>| {
        let part = |name: &str| found.name(name).map(|part| part.as_str());
        if let Some(person) = part("person") {
            let name = person.parse().ok().and_then(|id: u64| names.get(&id));
            return name.map_or_else(|| "@someone".to_owned(), |name| format!("@{name}"));
        }
        if let Some(time) = part("time") {
            return point_in_time(time).unwrap_or_else(|| found[0].to_owned());
        }
        if let Some(command) = part("command") {
            return format!("/{command}");
        }
        if let Some(escaped) = part("escaped") {
            return escaped.trim_start_matches('\\').to_owned();
        }
        let as_it_is = ["code", "emoji", "url", "spoiler"].into_iter().find_map(part);
        let stand_in = || if part("role").is_some() { "@role" } else { "#channel" };
        as_it_is.unwrap_or_else(stand_in).to_owned()
    });
    // Small print has no like in mail.
    let lines: Vec<&str> = worded.lines().map(|line| line.strip_prefix("-# ").unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

fn point_in_time(seconds: &str) -> Option<String> {
    let time = DateTime::from_timestamp(seconds.parse().ok()?, 0)?;
    Some(time.format("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        plain(text, &BTreeMap::from([(7, "Bea".to_owned())]))
    }

    #[test]
    fn what_only_discord_understands_is_put_into_words() {
        for (written, read) in [
            ("Hi <@7> and <@!7>, ask <@8>.", "Hi @Bea and @Bea, ask @someone."),
            ("<@&1> in <#2>", "@role in #channel"),
            ("nice <:party:123> <a:wave:4>", "nice :party: :wave:"),
            ("at <t:1700000000:F>", "at 2023-11-14 22:13 UTC"),
            ("use </ticket new:99>", "use /ticket new"),
            ("see <https://example.org/a>", "see https://example.org/a"),
            ("||the end||", "the end"),
            ("-# small\nprint", "small\nprint"),
            (r"\<@7>", "<@7>"),
            ("**bold** and `code <@7>` stay", "**bold** and `code <@7>` stay"),
            ("```\n<@7> ||x||\n```\n<@7>", "```\n<@7> ||x||\n```\n@Bea"),
            ("a < b > c || d", "a < b > c || d"),
            ("<t:99999999999999>", "<t:99999999999999>"),
        ] {
            assert_eq!(said(written), read);
        }
    }
}
