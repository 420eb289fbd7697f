//! What a relay is in Discord: texts, files, a button. Pure.

use crate::discord::custom_id::{Action, CustomId};
use crate::discord::message::{Component, File, LARGEST_FILE, LONGEST_CONTENT, MOST_FILES, Message, Style};
use crate::discord::text::{MOST_PARTS, escape, one_line, split};
use crate::discord::words;
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
    pub(super) files: Vec<File>,
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
    whole: Option<File>,
}

fn text(audience: Audience, relay: &Relay, left_out: &[(String, usize)]) -> Text {
    let body = body(relay);
    let head = headline(audience, relay);
    let edited = relay.standing == Standing::Edited;
    let mut foot = Vec::new();
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
    let foot: String = foot.iter().map(|line| format!("\n{line}")).collect();
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
    let whole = File {
        name,
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        bytes: relay.text.clone().into_bytes(),
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
        "email" => Some("mail"),
        "web" => Some("the web"),
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
fn grouped(files: Vec<outbox::File>) -> (Vec<Vec<File>>, Vec<(String, usize)>) {
    let mut groups: Vec<Vec<File>> = Vec::new();
    let mut left_out = Vec::new();
    let mut size = 0;
    for file in files {
        let name = file_name(file.filename.as_deref());
        let bytes = file.content.len();
        if bytes == 0 || bytes > LARGEST_FILE {
            left_out.push((name, bytes));
            continue;
        }
        let file = File { name, content_type: Some(file.content_type), bytes: file.content };
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
