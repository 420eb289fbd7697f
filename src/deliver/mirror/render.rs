//! What a relay is in Discord: texts, files, a button. Pure.

use crate::discord::custom_id::{Action, CustomId};
use crate::discord::message::{Component, LARGEST_FILE, LONGEST_CONTENT, MOST_FILES, Message, Style};
use crate::discord::text::{MOST_PARTS, escape, one_line, split};
use crate::discord::words;
use crate::store::Sha;
use crate::tickets::outbox;
use crate::tickets::threads::{Audience, Relay, Standing};

/// Bytes of all files of one message together: Discord takes 25 MiB in one request.
const LARGEST_MESSAGE: usize = 24 << 20;
/// Messages that hold nothing but files of one relay.
const MOST_GROUPS: usize = 5;
/// Positions of messages that hold nothing but files, so that there can be more or fewer texts after an edit.
const FILES_FROM: usize = 100;
/// Of a name; the kind of a file is at its end.
const LONGEST_FILE_NAME: usize = 120;

/// One message that a relay becomes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Under which it is remembered.
    pub(super) position: usize,
    pub(super) message: Message,
    pub(super) files: Vec<Enclosed>,
}

/// A file that goes along.
#[derive(Clone, Debug)]
pub(super) struct Enclosed {
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    pub(super) size: usize,
    pub(super) content: Source,
}

/// Where its bytes are: read only where they are sent.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Text(String),
    Kept(Sha),
}

impl Part {
    /// Holds nothing but files, which never change.
    pub(super) fn is_files(&self) -> bool {
        self.position >= FILES_FROM
    }
}

/// Whether a message at this position holds nothing but files.
pub(super) fn is_files(position: usize) -> bool {
    position >= FILES_FROM
}

/// What is shown of a relay in a thread for these people; nothing where there is nothing for them in it.
pub(super) fn parts(
    audience: Audience,
    staff_handle: &str,
    relay: &Relay,
    files: Vec<outbox::File>,
) -> Vec<Part> {
    let is_note = relay.kind == "note";
    if is_note && audience == Audience::Requester {
        // There is no such relay. If there were one, it must not leak.
        return Vec::new();
    }
    if let Some(gone) = gone(audience, relay) {
        let never_shown = relay.posts.is_empty() && audience == Audience::Requester;
        let message = Message::text(gone).without_previews().without_files();
        let part = Part { position: 0, message, files: Vec::new() };
        return if never_shown { Vec::new() } else { vec![part] };
    }
    let (groups, left_out) = grouped(files);
    let Text { parts: texts, whole } = text(audience, relay, &left_out);
    let mut groups = groups.into_iter();
    let mut first_files = groups.next().unwrap_or_default();
    let mut shown = first_files.len();
    if let Some(whole) = whole {
        first_files.insert(0, whole);
    }
    let mut parts: Vec<Part> = texts
        .into_iter()
        .enumerate()
        .map(|(position, text)| Part {
            position,
            message: Message::text(text).without_previews(),
            files: Vec::new(),
        })
        .collect();
    if let Some(first) = parts.first_mut() {
        first.files = first_files;
        if audience == Audience::Staff && relay.kind == "outbound" && relay.leaves_at.is_some() {
            first.message = std::mem::take(&mut first.message).row(vec![undo(staff_handle, relay)]);
        }
    }
    for (number, files) in groups.enumerate() {
        let message = Message::text(words::more_files(shown + 1, shown + files.len()));
        shown += files.len();
        parts.push(Part { position: FILES_FROM + number, message, files });
    }
    parts
}

fn undo(handle: &str, relay: &Relay) -> Component {
    let id = CustomId::of(Action::Undo, handle).number(u64::try_from(relay.message.0).unwrap_or_default());
    Component::button(Style::Secondary, words::UNDO, &id)
}

fn gone(audience: Audience, relay: &Relay) -> Option<String> {
    let author = relay.author_name.as_deref();
    match (relay.standing, audience) {
        (Standing::AsWritten | Standing::Edited, _) => None,
        (Standing::Deleted, Audience::Staff) => Some(words::deleted(Some(author.unwrap_or("Somebody")))),
        (Standing::Withdrawn, Audience::Staff) => Some(words::taken_back(author)),
        (Standing::Deleted | Standing::Withdrawn, Audience::Requester) => Some(words::deleted(None)),
    }
}

struct Text {
    parts: Vec<String>,
    /// What is too long for messages.
    whole: Option<Enclosed>,
}

fn text(audience: Audience, relay: &Relay, left_out: &[(String, usize)]) -> Text {
    let body = body(relay);
    let head = headline(audience, relay);
    let edited = relay.standing == Standing::Edited;
    // The first line ends the text above it.
    let mut foot = vec![String::new()];
    if edited {
        foot.push(words::edited().to_owned());
    }
    // The reader's own program shows what is in the mail better than we say what is not.
    if let Some(problems) = relay.problems.as_deref().filter(|_| audience == Audience::Staff) {
        foot.push(words::problems(problems));
    }
    if !left_out.is_empty() {
        foot.push(words::files_not_shown(left_out));
    }
    let foot = if foot.len() > 1 { foot.join("\n") } else { String::new() };
    let begins = if begins_a_block(&body) || audience == Audience::Staff || !head.ends_with(":**") {
        format!("{head}\n{body}")
    } else {
        format!("{head} {body}")
    };
    let parts = split(&format!("{begins}{foot}"), LONGEST_CONTENT);
    if parts.len() <= MOST_PARTS {
        return Text { parts, whole: None };
    }
    let name = format!("message-{}.txt", relay.message);
    let foot = format!("\n{}{foot}", words::whole_in_file(&name));
    let room = LONGEST_CONTENT.saturating_sub(foot.chars().count());
    let first = split(&begins, room).into_iter().next().unwrap_or(head);
    let whole = Enclosed {
        name,
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        size: relay.text.len(),
        content: Source::Text(relay.text.clone()),
    };
    Text { parts: vec![format!("{first}{foot}")], whole: Some(whole) }
}

/// People's markdown is theirs where they wrote it for Discord or, as staff, in the console; everybody else's is text.
fn body(relay: &Relay) -> String {
    let own_markdown = relay.channel == "discord" || (relay.channel == "web" && relay.kind != "inbound");
    let text = relay.text.trim();
    if own_markdown { text.to_owned() } else { escape(text) }
}

/// Discord knows quotes, lists and headings at the beginning of a line only.
fn begins_a_block(text: &str) -> bool {
    let first = text.chars().next();
    text.contains('\n')
        || first.is_none_or(|c| matches!(c, '>' | '#' | '-' | '*' | '`' | '|') || c.is_ascii_digit())
}

fn headline(audience: Audience, relay: &Relay) -> String {
    let (author, address) = (relay.author_name.as_deref(), relay.author_address.as_deref());
    let way = match relay.channel.as_str() {
        "email" => Some("by mail"),
        "web" => Some("on the web"),
        _ => None,
    };
    match (relay.kind.as_str(), audience) {
        ("outbound", Audience::Staff) => words::answered(author.unwrap_or("Somebody")),
        ("outbound", Audience::Requester) => words::staff_says(author),
        ("note", _) if relay.unverified => {
            words::unproven_note(author, address, relay.why_unverified.as_deref())
        }
        ("note", _) => words::noted(author.unwrap_or("Somebody")),
        (_, Audience::Requester) => words::you_wrote(relay.by_requester, author, way),
        // Discord shows who it is; the address that the person also has is no news there.
        (_, Audience::Staff) => {
            words::wrote(author, address.filter(|_| way.is_some()), way, &relay.sender_class)
        }
    }
}

/// The files in groups that fit into one message each, and names and sizes of those that fit nowhere.
fn grouped(files: Vec<outbox::File>) -> (Vec<Vec<Enclosed>>, Vec<(String, usize)>) {
    let mut groups: Vec<Vec<Enclosed>> = Vec::new();
    let mut left_out = Vec::new();
    let mut size = 0;
    for file in files {
        let name = file_name(file.filename.as_deref());
        let bytes = usize::try_from(file.size).unwrap_or(usize::MAX);
        if bytes == 0 || bytes > LARGEST_FILE {
            left_out.push((name, bytes));
            continue;
        }
        let content = Source::Kept(file.sha256);
        let file = Enclosed { name, content_type: Some(file.content_type), size: bytes, content };
        // The text itself may go as a file with the first group.
        let most = if groups.len() <= 1 { MOST_FILES - 1 } else { MOST_FILES };
        let fits = groups.last().is_some_and(|group| group.len() < most && size + bytes <= LARGEST_MESSAGE);
        if !fits && groups.len() == MOST_GROUPS {
            left_out.push((file.name, bytes));
            continue;
        }
        if !fits {
            groups.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    (groups, left_out)
}

/// A name that is one on every system; its end says what it is.
fn file_name(name: Option<&str>) -> String {
    let name = one_line(name.unwrap_or_default());
    let clean: String = name.chars().map(|c| if matches!(c, '/' | '\\' | '"') { '_' } else { c }).collect();
    let clean = clean.trim_start_matches('.').trim();
    let surplus = clean.chars().count().saturating_sub(LONGEST_FILE_NAME);
    let kept: String = clean.chars().skip(surplus).collect();
    if kept.is_empty() { "attachment".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::{DeliveryId, MessageId};

    fn relay(kind: &str, channel: &str, text: &str) -> Relay {
        Relay {
            delivery: DeliveryId(3),
            message: MessageId(7),
            kind: kind.to_owned(),
            channel: channel.to_owned(),
            author_name: Some("Bea".to_owned()),
            author_address: Some("bea@example.org".to_owned()),
            text: text.to_owned(),
            sender_class: "human".to_owned(),
            unverified: false,
            why_unverified: None,
            problems: None,
            is_first: false,
            by_requester: false,
            standing: Standing::AsWritten,
            leaves_at: None,
            posts: BTreeMap::new(),
            refresh_at: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn file(name: &str, size: usize) -> outbox::File {
        let content_type = "application/octet-stream".to_owned();
        let size = i64::try_from(size).unwrap();
        outbox::File { filename: Some(name.to_owned()), content_type, sha256: [1; 32], size }
    }

    fn shown(audience: Audience, relay: &Relay, files: Vec<outbox::File>) -> String {
        let parts = parts(audience, "h4ndle", relay, files);
        let show = |part: &Part| {
            let files: Vec<&str> = part.files.iter().map(|file| file.name.as_str()).collect();
            let components = serde_json::to_string(&part.message.components).unwrap();
            let undo = if components.contains("undo.h4ndle.7") { " (Undo)" } else { "" };
            format!("{}: {}{undo} {files:?}", part.position, part.message.content)
        };
        parts.iter().map(show).collect::<Vec<_>>().join("\n---\n")
    }

    #[test]
    fn what_staff_see() {
        let mut mail = relay("inbound", "email", "Hello *there* @everyone\n# Big\n- [x](http://e.example)");
        mail.author_name = Some("Ada".to_owned());
        mail.author_address = Some("ada@example.net".to_owned());
        mail.problems = Some("a part is missing".to_owned());
        let bounce = Relay { sender_class: "bounce".to_owned(), ..mail.clone() };
        let said = Relay { channel: "discord".to_owned(), problems: None, ..mail.clone() };
        let mut reply = relay("outbound", "web", "Do **this**.");
        reply.leaves_at = Some(chrono::DateTime::UNIX_EPOCH);
        let note = relay("note", "discord", "He is *angry*.");
        let mut unproven = relay("note", "email", "Close it *now*.");
        unproven.unverified = true;
        unproven.why_unverified = Some("the address is not signed".to_owned());
        let edited = Relay { standing: Standing::Edited, ..said.clone() };
        let deleted = Relay { standing: Standing::Deleted, ..said.clone() };
        let withdrawn = Relay { standing: Standing::Withdrawn, ..reply.clone() };
        let all = [mail, bounce, said, reply, note, unproven, edited, deleted, withdrawn];
        let all: Vec<String> = all.iter().map(|relay| shown(Audience::Staff, relay, vec![])).collect();
        // What keeps "@" and "everyone" apart can't be seen.
        insta::assert_snapshot!(all.join("\n\n").replace('\u{200b}', "·"), @r"
        0: **Ada** (ada@example.net) wrote by mail:
        Hello \*there\* @·everyone
        \# Big
        \- \[x\](http://e.example)
        -# Not all of this mail could be read: a part is missing []

        0: **Ada** (ada@example.net) wrote by mail, a report on a mail that could not be delivered:
        Hello \*there\* @·everyone
        \# Big
        \- \[x\](http://e.example)
        -# Not all of this mail could be read: a part is missing []

        0: **Ada** wrote:
        Hello *there* @everyone
        # Big
        - [x](http://e.example) []

        0: **Bea** answered the requester:
        Do **this**. (Undo) []

        0: **Bea** noted, for staff only:
        He is *angry*. []

        0: Claims to be **Bea** (bea@example.org), which is **not verified**, and so was kept as a note and not sent on: the address is not signed
        Close it \*now\*. []

        0: **Ada** wrote:
        Hello *there* @everyone
        # Big
        - [x](http://e.example)
        -# edited []

        0: **Ada** deleted this message. []

        0: **Bea** took this answer back; nothing of it was sent. []
        ");
    }

    #[test]
    fn what_the_requester_sees() {
        let reply = relay("outbound", "web", "Do **this**.");
        let by_mail = relay("outbound", "email", "Do **this**.");
        let long = relay("outbound", "web", "```\ncode\n```");
        let unnamed = Relay { author_name: Some("bea@example.org".to_owned()), ..reply.clone() };
        let mut own = relay("inbound", "email", "*It* burns");
        own.by_requester = true;
        let other =
            Relay { by_requester: false, author_name: Some("cem@example.net".to_owned()), ..own.clone() };
        let deleted = Relay { standing: Standing::Deleted, posts: [(0, 5)].into(), ..reply.clone() };
        let all = [reply, by_mail, long, unnamed, own, other, deleted];
        let all: Vec<String> = all.iter().map(|relay| shown(Audience::Requester, relay, vec![])).collect();
        insta::assert_snapshot!(all.join("\n\n"), @r"
        0: **Bea:** Do **this**. []

        0: **Bea:** Do \*\*this\*\*. []

        0: **Bea:**
        ```
        code
        ``` []

        0: **Support:** Do **this**. []

        0: You wrote by mail:
        \*It\* burns []

        0: **Another participant** wrote by mail:
        \*It\* burns []

        0: *This message was deleted.* []
        ");
    }

    #[test]
    fn the_requester_never_sees_a_note_or_what_was_deleted_before() {
        let note = relay("note", "discord", "internal");
        assert!(parts(Audience::Requester, "h", &note, vec![]).is_empty());
        let gone = Relay { standing: Standing::Deleted, ..relay("outbound", "web", "x") };
        assert!(parts(Audience::Requester, "h", &gone, vec![]).is_empty());
    }

    #[test]
    fn files_go_along_as_far_as_discord_takes_them() {
        let mut files: Vec<_> = (1..=21).map(|n| file(&format!("{n}.txt"), 10)).collect();
        files.push(file("film.mp4", 11 << 20));
        files.push(file("empty", 0));
        files.push(file("../../etc/\"pass\nwd\"", 1));
        insta::assert_snapshot!(shown(Audience::Staff, &relay("inbound", "email", "See here"), files), @r#"
        0: **Bea** (bea@example.org) wrote by mail:
        See here
        -# Not shown here: film.mp4 (11 MiB), empty (empty) ["1.txt", "2.txt", "3.txt", "4.txt", "5.txt", "6.txt", "7.txt", "8.txt", "9.txt"]
        ---
        100: -# Files 10 to 19 ["10.txt", "11.txt", "12.txt", "13.txt", "14.txt", "15.txt", "16.txt", "17.txt", "18.txt", "19.txt"]
        ---
        101: -# Files 20 to 22 ["20.txt", "21.txt", "_.._etc__pass wd_"]
        "#);
        let big = (0..9).map(|n| file(&format!("{n}.bin"), 9 << 20)).collect();
        let parts = parts(Audience::Staff, "h", &relay("inbound", "email", "x"), big);
        let sizes: Vec<usize> =
            parts.iter().map(|part| part.files.iter().map(|file| file.size).sum()).collect();
        assert_eq!(sizes, [18 << 20, 18 << 20, 18 << 20, 18 << 20, 9 << 20]);
    }

    #[test]
    fn a_very_long_text_is_a_file_with_its_beginning() {
        let text = (0..3000).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let parts = parts(Audience::Staff, "h", &relay("note", "web", &text), vec![file("a.txt", 1)]);
        assert_eq!(parts.len(), 1);
        assert!(parts[0].message.content.chars().count() <= LONGEST_CONTENT);
        assert!(parts[0].message.content.ends_with("the whole is in the file message-7.txt"));
        let names: Vec<&str> = parts[0].files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["message-7.txt", "a.txt"]);
        assert!(matches!(&parts[0].files[0].content, Source::Text(whole) if *whole == text));
    }

    proptest! {
        #[test]
        fn whatever_was_written_fits(
            text in "(\\PC|[`*_\n@<>#]){0,3000}", name in "\\PC{0,200}", requester in any::<bool>(),
            kind in prop_oneof![Just("inbound"), Just("outbound")], channel in prop_oneof![Just("email"), Just("discord")],
        ) {
            let relay = Relay { author_name: Some(name), ..relay(kind, channel, &text) };
            let audience = if requester { Audience::Requester } else { Audience::Staff };
            let parts = parts(audience, "h", &relay, vec![]);
            prop_assert!((1..=MOST_PARTS).contains(&parts.len()));
            for part in parts {
                let length = part.message.content.chars().count();
                prop_assert!(length <= LONGEST_CONTENT, "{length}");
                prop_assert!(!part.message.content.trim().is_empty());
            }
        }
    }
}
