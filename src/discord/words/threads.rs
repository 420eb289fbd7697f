//! What stands in a ticket's threads around what people wrote.

use super::super::text::escape_within;
use super::{count, one_line, said};

/// A name: what looks like an address is none to show to everybody.
fn name_for_requesters<'a>(name: Option<&'a str>, else_: &'a str) -> &'a str {
    name.map(str::trim).filter(|name| !name.is_empty() && !name.contains('@')).unwrap_or(else_)
}

fn short(name: &str) -> String {
    let name = escape_within(&one_line(name), 80);
    if name.is_empty() { "?".to_owned() } else { name }
}

/// In the staff thread, above what an outsider wrote: who, from which address, on which way (`by mail`, `on the web`; `None`:
/// in Discord), and whether a machine did.
pub fn wrote(author: Option<&str>, address: Option<&str>, way: Option<&str>, class: &str) -> String {
    let name = short(author.unwrap_or("Somebody"));
    let address = address
        .map(|address| escape_within(&one_line(address), 200))
        .filter(|address| *address != name && !address.is_empty())
        .map(|address| format!(" ({address})"))
        .unwrap_or_default();
    let way = way.map(|way| format!(" {way}")).unwrap_or_default();
    let machine = match class {
        "human" | "" => String::new(),
        "auto_reply" => ", automatically".to_owned(),
        "bounce" => ", a report on a mail that could not be delivered".to_owned(),
        "list" => ", through a mailing list".to_owned(),
        "feedback" => ", a complaint report of a mail service".to_owned(),
        other => format!(", not a person ({})", said(other)),
    };
    format!("**{name}**{address} wrote{way}{machine}:")
}

/// In the staff thread, above what claims to be staff's and was kept inside because it is not proven.
pub fn unproven_note(author: Option<&str>, address: Option<&str>, why: Option<&str>) -> String {
    let address = address.map(|address| format!(" ({})", said(address))).unwrap_or_default();
    let why = why.map(|why| format!(": {}", said(why))).unwrap_or_default();
    format!(
        "Claims to be **{}**{address}, which is **not verified**, and so was kept as a note and not sent on{why}",
        short(author.unwrap_or("somebody"))
    )
}

/// In the requester's thread, before staff's answer.
pub fn staff_says(author: Option<&str>) -> String {
    format!("**{}:**", short(name_for_requesters(author, "Support")))
}

/// In the requester's thread, above what they or another participant wrote elsewhere.
pub fn you_wrote(is_requester: bool, author: Option<&str>, way: Option<&str>) -> String {
    let way = way.map(|way| format!(" {way}")).unwrap_or_default();
    if is_requester {
        return format!("You wrote{way}:");
    }
    format!("**{}** wrote{way}:", short(name_for_requesters(author, "Another participant")))
}

/// At the head of a thread whose requester Discord does not know.
pub fn ticket_head(ticket: i64, subject: &str) -> String {
    format!("**#{ticket}** {}", said(subject))
}

/// On the button that takes an answer back.
pub const UNDO: &str = "Undo";

/// Beside what an author changed later.
pub fn edited() -> &'static str {
    "-# edited"
}

/// In place of what its author deleted; `None` in the requester's own thread.
pub fn deleted(author: Option<&str>) -> String {
    match author {
        Some(author) => format!("**{}** deleted this message.", short(author)),
        None => "*This message was deleted.*".to_owned(),
    }
}

/// In place of an answer that staff took back before it left.
pub fn taken_back(author: Option<&str>) -> String {
    format!("**{}** took this answer back; nothing of it was sent.", short(author.unwrap_or("Somebody")))
}

/// Below a mail that could not be read whole.
pub fn problems(what: &str) -> String {
    format!("-# Not all of this mail could be read: {}", escape_within(&one_line(what), 300))
}

/// Files that are in the ticket, but can't be in Discord: name and size in bytes.
pub fn files_not_shown(files: &[(String, usize)]) -> String {
    let shown: Vec<String> = files
        .iter()
        .take(8)
        .map(|(name, size)| format!("{} ({})", escape_within(&one_line(name), 60), bytes(*size)))
        .collect();
    let more = files.len().saturating_sub(shown.len());
    let more = if more == 0 { String::new() } else { format!(" and {}", count(more as u64, "more file")) };
    format!("-# Not shown here: {}{more}", shown.join(", "))
}

fn bytes(size: usize) -> String {
    match size {
        0 => "empty".to_owned(),
        1..1024 => count(size as u64, "byte"),
        1024..1_048_576 => format!("{} KiB", size.div_ceil(1024)),
        _ => format!("{} MiB", size.div_ceil(1 << 20)),
    }
}

/// Above the files of a message that has more than fit with it.
pub fn more_files(first: usize, last: usize) -> String {
    format!("-# Files {first} to {last}")
}

/// Below the beginning of a text whose whole is in a file.
pub fn whole_in_file(file: &str) -> String {
    format!("-# The text is long: the whole is in the file {file}")
}

/// Of a requester who can't be shown the thread.
pub fn requester_away(reason: &str) -> String {
    format!("the requester can't be let into the thread: are they still in this server? {reason}")
}

/// What is to be done about a thread that Discord refuses to let the bot into.
pub fn lacks_right(reason: &str) -> String {
    format!(
        "{reason}. Grant it View Channel, Send Messages in Threads, Manage Threads, Attach Files; ticketd doctor \
         checks them all"
    )
}

/// Of a staff channel that is no place for what is internal.
pub fn everybody_sees(channel: &str) -> String {
    format!(
        "everybody in the server sees #{channel}, and what is internal would be public there. Take View Channel from \
         @everyone in it, then repair"
    )
}

/// Days of trying were in vain.
pub fn given_up(reason: &str) -> String {
    format!("given up after days of trying: {reason}")
}

/// On the card, of the thread with the requester.
pub fn requester_thread_broken(reason: &str) -> String {
    format!("⚠ The requester's thread is broken, what is said does not reach them there: {}", said(reason))
}

/// Name of the post that tells of a broken thread where the staff channel is a forum.
pub fn broken_title(ticket: i64) -> String {
    format!("Broken thread of #{ticket}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_a_text() {
        let all = [
            wrote(Some("Ada"), Some("ada_l@example.net"), Some("by mail"), "human"),
            wrote(Some("ada@example.net"), Some("ada@example.net"), Some("by mail"), "auto_reply"),
            wrote(None, None, Some("by mail"), "bounce"),
            wrote(Some("Mia"), None, None, "human"),
            wrote(Some("**@everyone**\n# x"), None, Some("on the web"), "robot"),
            unproven_note(Some("Bea"), Some("bea@example.org"), Some("no signed address")),
            staff_says(Some("Bea")),
            staff_says(Some("bea@example.org")),
            you_wrote(true, Some("Ada"), Some("by mail")),
            you_wrote(false, Some("Cem"), None),
            you_wrote(false, Some("cem@example.net"), Some("by mail")),
            deleted(Some("Mia")),
            deleted(None),
            taken_back(Some("Bea")),
        ];
        // What keeps "@" and "everyone" apart can't be seen.
        insta::assert_snapshot!(all.join("\n").replace('\u{200b}', "·"), @r"
        **Ada** (ada\_l@example.net) wrote by mail:
        **ada@example.net** wrote by mail, automatically:
        **Somebody** wrote by mail, a report on a mail that could not be delivered:
        **Mia** wrote:
        **\*\*@·everyone\*\* \# x** wrote on the web, not a person (robot):
        Claims to be **Bea** (bea@example.org), which is **not verified**, and so was kept as a note and not sent on: no signed address
        **Bea:**
        **Support:**
        You wrote by mail:
        **Cem** wrote:
        **Another participant** wrote by mail:
        **Mia** deleted this message.
        *This message was deleted.*
        **Bea** took this answer back; nothing of it was sent.
        ");
    }

    #[test]
    fn what_stands_below_a_text() {
        let files: Vec<(String, usize)> =
            [("a_b.zip", 26 << 20), ("empty.txt", 0), ("c.txt", 1), ("d.txt", 2000)]
                .map(|(n, s)| (n.into(), s))
                .into();
        let many = vec![files.first().cloned().unwrap_or_default(); 20];
        let all = [
            problems("the part\n2 is **broken**"),
            files_not_shown(&files),
            files_not_shown(&many),
            more_files(11, 20),
            whole_in_file("message-7.txt"),
            lacks_right("Missing Access"),
            requester_away("Missing Access"),
            requester_thread_broken("Missing Access"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        -# Not all of this mail could be read: the part 2 is \*\*broken\*\*
        -# Not shown here: a\_b.zip (26 MiB), empty.txt (empty), c.txt (1 byte), d.txt (2 KiB)
        -# Not shown here: a\_b.zip (26 MiB), a\_b.zip (26 MiB), a\_b.zip (26 MiB), a\_b.zip (26 MiB), a\_b.zip (26 MiB), a\_b.zip (26 MiB), a\_b.zip (26 MiB), a\_b.zip (26 MiB) and 12 more files
        -# Files 11 to 20
        -# The text is long: the whole is in the file message-7.txt
        Missing Access. Grant it View Channel, Send Messages in Threads, Manage Threads, Attach Files; ticketd doctor checks them all
        the requester can't be let into the thread: are they still in this server? Missing Access
        ⚠ The requester's thread is broken, what is said does not reach them there: Missing Access
        ");
    }
}
