//! HTML mail: made safe to show, and made text. Both in linear time, whatever is sent.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use super::html_text;

/// Nesting deeper than this is flattened. The sanitiser is quadratic in depth.
const MAX_DEPTH: usize = 150;
/// So much HTML is looked at, in bytes; what comes after is left out. Pictures count little, see [`MAX_TAG`].
const MAX_SIZE: usize = 768 * 1024;
/// So much HTML is read at all, in bytes.
const MAX_INPUT: usize = 12 * 1024 * 1024;
/// A longer tag loses its attributes: only data hides there.
const MAX_TAG: usize = 4096;
/// The same for pictures that the mail carries in their tag.
const MAX_IMAGE_TAG: usize = 96 * 1024;
/// Most `&` in one text.
const MAX_AMPERSANDS: usize = 300;

/// HTML that is safe to show: no scripts, frames, forms, styles or remote pictures. Links stay.
pub fn clean(html: &str) -> String {
    CLEANER.clean(&tame(html)).to_string()
}

/// As [`clean`], to be kept: pictures from the net keep their address, under a scheme that loads nothing ([`REMOTE`]).
pub fn keep(html: &str) -> String {
    KEEPER.clean(&tame(html)).to_string()
}

/// HTML that was kept, as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub html: String,
    /// It has pictures from the net, shown or not.
    pub has_remote_images: bool,
}

/// Makes HTML of [`keep`] ready to be shown: pictures inside the mail point to where `own` has them, by Content-ID; pictures
/// from the net are loaded only if that is wanted. The sanitiser decides attribute by attribute and writes the result: nothing
/// edits its text, where a value can look like an attribute.
pub fn show(kept: &str, own: BTreeMap<String, String>, remote_images: bool) -> Shown {
    let seen = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&seen);
    let mut builder = keeper();
    // Only addresses out of `own` have no scheme: the filter takes none from the mail.
    builder.url_relative(ammonia::UrlRelative::PassThrough);
    if remote_images {
        builder.set_tag_attribute_value("img", "referrerpolicy", "no-referrer");
    }
    builder.attribute_filter(move |element, attribute, value| {
        if (element, attribute) != ("img", "src") {
            return safe_attribute(element, attribute, value);
        }
        match Picture::of(value)? {
            Picture::Inside(id) => own.get(&content_id(id)).map(|url| url.clone().into()),
            Picture::Data(data) => Some(data.into()),
            Picture::Remote(url) => {
                noted.store(true, Ordering::Relaxed);
                remote_images.then_some(url.into())
            }
        }
    });
    let html = builder.clean(&tame(kept)).to_string();
    Shown { html, has_remote_images: seen.load(Ordering::Relaxed) }
}

/// The Content-ID behind `cid:` (RFC 2392: percent-encoded).
fn content_id(written: &str) -> String {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        if let Some(byte) = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The scheme under which the address of a picture from the net is kept: even if somebody showed what is kept as it is,
/// nothing would load.
const REMOTE: &str = "remote";

/// Where a picture of a mail is.
enum Picture<'a> {
    /// A part of the mail, by its Content-ID as it is written.
    Inside(&'a str),
    /// In the address itself.
    Data(&'a str),
    /// On the net.
    Remote(&'a str),
}

impl<'a> Picture<'a> {
    /// Nothing for what no picture may be.
    fn of(src: &'a str) -> Option<Self> {
        let src = src.trim();
        let (scheme, rest) = split_scheme(src)?;
        match scheme.as_str() {
            "cid" => Some(Self::Inside(rest)),
            "data" => {
                let kind = rest.split([';', ',']).next()?.to_ascii_lowercase();
                IMAGE_TYPES.contains(&kind.as_str()).then_some(Self::Data(src))
            }
            "http" | "https" => rest.starts_with("//").then_some(Self::Remote(src)),
            REMOTE => {
                let (scheme, beyond) = split_scheme(rest)?;
                let is_on_net = matches!(scheme.as_str(), "http" | "https") && beyond.starts_with("//");
                is_on_net.then_some(Self::Remote(rest))
            }
            _ => None,
        }
    }
}

/// What a picture in an address may be: nothing that can carry a script.
const IMAGE_TYPES: &[&str] = &["image/png", "image/gif", "image/jpeg", "image/jpg", "image/webp"];

/// The scheme of an address in lower case, and what follows its colon (RFC 3986 §3.1). Browsers forgive spaces and line ends
/// in a scheme; who writes them hides something.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// What a reader of the HTML sees, as text. Cited mail is marked with `>`.
pub fn to_text(html: &str) -> String {
    html_text::join(&html_text::lines(html))
}

/// HTML with its structure and the marks by which mail programs name their parts, otherwise as [`clean`]: for
/// [`html_text`], never shown.
pub(crate) fn structure(html: &str) -> String {
    STRUCTURE.clean(&tame(html)).to_string()
}

static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = keeper();
    builder.attribute_filter(safe_attribute);
    builder
});

static KEEPER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = keeper();
    builder.attribute_filter(kept_attribute);
    builder
});

/// What all who show mail have in common; each has its own filter of attributes.
fn keeper() -> ammonia::Builder<'static> {
    let mut builder = ammonia::Builder::default();
    builder
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel", "cid", "data", REMOTE]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    builder
}

/// As [`safe_attribute`], with the addresses of pictures from the net.
fn kept_attribute<'a>(element: &str, attribute: &str, value: &'a str) -> Option<Cow<'a, str>> {
    if (element, attribute) != ("img", "src") {
        return safe_attribute(element, attribute, value);
    }
    match Picture::of(value)? {
        Picture::Inside(id) => Some(format!("cid:{id}").into()),
        Picture::Data(data) => Some(data.into()),
        Picture::Remote(url) => Some(format!("{REMOTE}:{url}").into()),
    }
}

static STRUCTURE: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = ammonia::Builder::default();
    builder
        .generic_attributes(HashSet::from(["class", "id", "type", "style", "data-marker"]))
        .add_clean_content_tags(["title"])
        .rm_tags(["img", "a"])
        .link_rel(None);
    builder
});

/// Which attributes stay, of those that the sanitiser knows. A picture from the net tells its sender who read the mail, when
/// and where. Addresses are shown without the space around them, as they are read.
fn safe_attribute<'a>(element: &str, attribute: &str, value: &'a str) -> Option<Cow<'a, str>> {
    let address = value.trim();
    let shown = match (element, attribute) {
        ("img", "src") => (!matches!(Picture::of(address)?, Picture::Remote(_))).then_some(address),
        (_, "href") => {
            let (scheme, _) = split_scheme(address)?;
            matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel").then_some(address)
        }
        (_, "cite" | "src") => None,
        _ => Some(value),
    };
    shown.map(Cow::Borrowed)
}

/// Elements without content.
const VOID: &[&str] = &[
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen",
    "link", "meta", "param", "source", "track", "wbr",
];
/// Elements whose content is not HTML, and not for reading.
const RAW: &[&str] = &["script", "style", "iframe", "noembed", "noframes", "textarea", "xmp"];

/// Rewrites HTML so that the sanitiser has little work with it: every element closed where its parent is, no deep
/// nesting, no comments, a bounded size. It need not be right about hostile HTML, only fast: the sanitiser parses
/// its result again.
fn tame(html: &str) -> String {
    let mut tamer = Tamer { out: String::with_capacity(html.len().min(MAX_SIZE) + 1024), ..Tamer::default() };
    let mut rest = start_of(html, MAX_INPUT);
    while let Some((text, after)) = rest.split_once('<') {
        tamer.text(text);
        if tamer.out.len() > MAX_SIZE {
            rest = "";
            break;
        }
        rest = tamer.tag(after);
    }
    tamer.text(rest);
    while let Some(name) = tamer.open.pop() {
        tamer.close(&name);
    }
    tamer.out
}

/// At most `limit` bytes from the start, whole characters.
fn start_of(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[derive(Default)]
struct Tamer {
    out: String,
    open: Vec<String>,
    /// How many of each name are open, so that a stray end tag costs nothing.
    counts: HashMap<String, usize>,
    /// How many of each name were left out for their depth.
    flattened: HashMap<String, usize>,
    ampersands: usize,
}

impl Tamer {
    /// The sanitiser writes a text in quadratic time where it has many `&` and no `<`: 25 MB of them took 16 s. A
    /// place to break a word, which shows nothing, ends the text now and then.
    fn text(&mut self, text: &str) {
        let text = start_of(text, (MAX_SIZE + 4096).saturating_sub(self.out.len()));
        for (at, piece) in text.split('&').enumerate() {
            if at > 0 {
                self.ampersands += 1;
                self.out.push_str(if self.ampersands.is_multiple_of(MAX_AMPERSANDS) {
                    "<wbr>&"
                } else {
                    "&"
                });
            }
            self.out.push_str(piece);
        }
    }

    /// Takes what follows a `<`; gives what follows the tag.
    fn tag<'a>(&mut self, after: &'a str) -> &'a str {
        if let Some(comment) = after.strip_prefix("!--") {
            return comment.split_once("-->").map_or("", |(_, rest)| rest);
        }
        if after.starts_with(['!', '?']) {
            return after.split_once('>').map_or("", |(_, rest)| rest);
        }
        if let Some(end) = after.strip_prefix('/') {
            let (tag, rest) = end.split_once('>').unwrap_or((end, ""));
            self.end(&name_of(tag));
            return rest;
        }
        if !after.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.out.push_str("&lt;");
            return after;
        }
        let Some((tag, rest)) = cut_tag(after) else { return "" };
        let name = name_of(tag);
        if RAW.contains(&name.as_str()) {
            return after_raw(rest, &name);
        }
        if name == "title" {
            return self.title(rest);
        }
        self.start(tag.trim_end_matches('/'), name);
        rest
    }

    /// Shown above the mail, as some newsletters name themselves only there; a lost end tag must not swallow the mail.
    fn title<'a>(&mut self, content: &'a str) -> &'a str {
        match content.split_once('<') {
            Some((title, rest))
                if title.len() < 1000
                    && rest.get(..6).is_some_and(|end| end.eq_ignore_ascii_case("/title")) =>
            {
                self.out.push_str("<title>");
                self.out.push_str(title);
                self.out.push_str("</title> ");
                rest.split_once('>').map_or("", |(_, rest)| rest)
            }
            _ => content,
        }
    }

    fn start(&mut self, tag: &str, name: String) {
        let limit = if name == "img" { MAX_IMAGE_TAG } else { MAX_TAG };
        let shown = if tag.len() > limit { name.as_str() } else { tag };
        if VOID.contains(&name.as_str()) {
            self.push_tag(shown);
            return;
        }
        let implied = implied_ends(&name);
        while self.open.last().is_some_and(|last| implied.contains(&last.as_str())) {
            if let Some(last) = self.open.pop() {
                self.close(&last);
            }
        }
        // HTML allows no link in a link; the parser pays dearly for sorting that out.
        if name == "a" && self.counts.get("a").copied().unwrap_or_default() > 0 {
            self.end("a");
        }
        if self.open.len() >= MAX_DEPTH {
            *self.flattened.entry(name).or_default() += 1;
            return;
        }
        self.push_tag(shown);
        *self.counts.entry(name.clone()).or_default() += 1;
        self.open.push(name);
    }

    fn push_tag(&mut self, tag: &str) {
        self.out.push('<');
        self.out.push_str(tag);
        self.out.push('>');
    }

    fn end(&mut self, name: &str) {
        if let Some(count) = self.flattened.get_mut(name).filter(|count| **count > 0) {
            *count -= 1;
            return;
        }
        if name == "br" || name == "p" && self.counts.get(name).copied().unwrap_or_default() == 0 {
            self.out.push_str("<br>");
            return;
        }
        if self.counts.get(name).copied().unwrap_or_default() == 0 {
            return;
        }
        // A stray `</b>` must not close the table around it.
        let is_block = BLOCK.contains(&name);
        let barrier = self.open.iter().rev().take_while(|open| *open != name).any(|open| open == "table");
        if barrier && !(is_block && name == "table") {
            return;
        }
        while let Some(last) = self.open.pop() {
            self.close(&last);
            if last == name {
                break;
            }
        }
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        if let Some(count) = self.counts.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }
}

const BLOCK: &[&str] = &["table", "div", "p", "blockquote", "ul", "ol", "li", "td", "tr", "body", "html"];

/// Which open elements end by themselves where `name` begins (HTML §13.1.2.4, optional tags).
fn implied_ends(name: &str) -> &'static [&'static str] {
    match name {
        "li" => &["li", "p"],
        "dt" | "dd" => &["dt", "dd", "p"],
        "td" | "th" => &["td", "th", "p"],
        "tr" => &["td", "th", "tr", "p"],
        "tbody" | "thead" | "tfoot" => &["td", "th", "tr", "tbody", "thead", "tfoot", "colgroup"],
        "option" | "optgroup" => &["option"],
        "p" | "div" | "table" | "ul" | "ol" | "dl" | "blockquote" | "pre" | "h1" | "h2" | "h3" | "h4"
        | "h5" | "h6" => &["p"],
        _ => &[],
    }
}

fn name_of(tag: &str) -> String {
    let end = tag.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(tag.len());
    tag.get(..end.min(64)).unwrap_or_default().to_ascii_lowercase()
}

/// The inside of a start tag and what follows its `>`. Quotes matter only after an equals sign, as in HTML.
fn cut_tag(after: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut last = b' ';
    for (at, byte) in after.bytes().enumerate() {
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => continue,
            None if byte == b'>' => return Some((after.get(..at)?, after.get(at + 1..)?)),
            None if (byte == b'"' || byte == b'\'') && last == b'=' => quote = Some(byte),
            None => {}
        }
        if !byte.is_ascii_whitespace() {
            last = byte;
        }
    }
    None
}

/// What follows the end tag of an element whose content is no HTML.
fn after_raw<'a>(content: &'a str, name: &str) -> &'a str {
    let mut rest = content;
    while let Some((_, after)) = rest.split_once("</") {
        let is_end = after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        if is_end {
            return after.split_once('>').map_or("", |(_, rest)| rest);
        }
        rest = after;
    }
    ""
}

#[cfg(test)]
mod tests;
