//! What staff writes, as HTML for a mail: Markdown (`CommonMark`), made safe. The text as it was written goes beside it.
//!
//! Raw HTML is shown as text and pictures become links: nothing that staff paste makes a reader's mail program fetch
//! something or run something.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, TextMergeStream};

/// A longer text goes as text alone, in bytes.
const MAX_SIZE: usize = 256 * 1024;
/// Lists and citations nested deeper are flattened: the sanitiser is quadratic in depth.
const MAX_DEPTH: usize = 20;

/// HTML of a text in Markdown; `None` where it is too long to be worth it. Line breaks stay, as the writer saw them.
pub fn html(text: &str) -> Option<String> {
    if text.len() > MAX_SIZE {
        return None;
    }
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES;
    let mut writer = Writer::default();
    let events = TextMergeStream::new(Parser::new_ext(text, options)).flat_map(|event| writer.take(event));
    let mut out = String::with_capacity(text.len() * 2);
    pulldown_cmark::html::push_html(&mut out, events);
    Some(CLEANER.clean(&out).to_string().trim_end().to_owned())
}

/// Plain text as HTML: nothing in it means anything.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<br>\n"),
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

/// The look is written into the tags: Gmail and Outlook take style sheets off.
const STYLES: [(&str, &str); 6] = [
    ("blockquote", "margin:0 0 0 0.8em;border-left:2px solid #cccccc;padding-left:0.8em"),
    ("pre", "background:#f4f4f4;padding:8px;white-space:pre-wrap"),
    ("code", "font-family:monospace"),
    ("table", "border-collapse:collapse"),
    ("th", "border:1px solid #cccccc;padding:4px 8px;text-align:left"),
    ("td", "border:1px solid #cccccc;padding:4px 8px"),
];

static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let styles: HashMap<_, _> =
        STYLES.into_iter().map(|(tag, style)| (tag, HashMap::from([("style", style)]))).collect();
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(HashSet::from([
            "p",
            "br",
            "strong",
            "em",
            "del",
            "code",
            "pre",
            "blockquote",
            "ul",
            "ol",
            "li",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "a",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        ]))
        .tag_attributes(HashMap::from([("a", HashSet::from(["href"])), ("ol", HashSet::from(["start"]))]))
        .set_tag_attribute_values(styles)
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener"));
    builder
});

/// Rewrites the parser's events.
#[derive(Default)]
struct Writer {
    /// For each open tag, whether it is written.
    open: Vec<bool>,
    depth: usize,
    links: usize,
    code: usize,
}

impl Writer {
    fn take<'a>(&mut self, event: Event<'a>) -> Vec<Event<'a>> {
        match event {
            Event::Start(tag) => self.start(tag).into_iter().collect(),
            Event::End(tag) => self.end(tag).into_iter().collect(),
            // What looks like HTML was meant as text: an error message, a snippet.
            Event::Html(text) | Event::InlineHtml(text) => broken(&text),
            Event::Text(text) if self.links == 0 && self.code == 0 => linked(text),
            Event::SoftBreak => vec![Event::HardBreak],
            event => vec![event],
        }
    }

    fn start<'a>(&mut self, tag: Tag<'a>) -> Option<Event<'a>> {
        let tag = match tag {
            Tag::HtmlBlock => Some(Tag::Paragraph),
            Tag::Image { dest_url, title, id, .. } => {
                Some(Tag::Link { link_type: LinkType::Inline, dest_url, title, id })
            }
            tag => Some(tag),
        };
        // HTML allows no link in a link.
        let tag =
            tag.filter(|tag| !(matches!(tag, Tag::Link { .. }) && self.links > 0) && self.depth < MAX_DEPTH);
        match &tag {
            Some(Tag::Link { .. }) => self.links += 1,
            Some(Tag::CodeBlock(_)) => self.code += 1,
            _ => {}
        }
        self.depth += usize::from(tag.is_some());
        self.open.push(tag.is_some());
        tag.map(Event::Start)
    }

    fn end<'a>(&mut self, tag: TagEnd) -> Option<Event<'a>> {
        if !self.open.pop().unwrap_or(false) {
            return None;
        }
        self.depth = self.depth.saturating_sub(1);
        let tag = match tag {
            TagEnd::HtmlBlock => TagEnd::Paragraph,
            TagEnd::Image => TagEnd::Link,
            tag => tag,
        };
        match tag {
            TagEnd::Link => self.links = self.links.saturating_sub(1),
            TagEnd::CodeBlock => self.code = self.code.saturating_sub(1),
            _ => {}
        }
        Some(Event::End(tag))
    }
}

/// A text of several lines, its line breaks kept.
fn broken<'a>(text: &str) -> Vec<Event<'a>> {
    let mut events = Vec::new();
    for (at, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        if at > 0 {
            events.push(Event::HardBreak);
        }
        events.push(Event::Text(line.to_owned().into()));
    }
    if text.ends_with('\n') {
        events.push(Event::HardBreak);
    }
    events
}

/// A text with its addresses of the web as links: `CommonMark` links only what stands in `<>`.
fn linked(text: CowStr<'_>) -> Vec<Event<'_>> {
    if !text.contains("://") {
        return vec![Event::Text(text)];
    }
    let mut events = Vec::new();
    let mut rest: &str = &text;
    while let Some((before, link, after)) = next_link(rest) {
        events.push(Event::Text(before.to_owned().into()));
        let dest_url: CowStr<'_> = link.to_owned().into();
        let (title, id) = ("".into(), "".into());
        events.push(Event::Start(Tag::Link { link_type: LinkType::Autolink, dest_url, title, id }));
        events.push(Event::Text(link.to_owned().into()));
        events.push(Event::End(TagEnd::Link));
        rest = after;
    }
    events.push(Event::Text(rest.to_owned().into()));
    events
}

/// The first web address: the text before it, it, and what comes after. Stops that end a sentence are not part of it.
fn next_link(text: &str) -> Option<(&str, &str, &str)> {
    let is_link = |at: &usize| {
        text.get(*at..).is_some_and(|rest| rest.starts_with("http://") || rest.starts_with("https://"))
    };
    let start = text.match_indices("http").map(|(at, _)| at).find(is_link)?;
    let (before, found) = text.split_at_checked(start)?;
    let end =
        found.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`')).unwrap_or(found.len());
    let word = found.get(..end)?;
    let mut link = word.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
    // "(see https://example.org/)": the bracket was opened before the address.
    if link.ends_with(')') && !link.contains('(') {
        link = link.trim_end_matches([')', '.', ',']);
    }
    Some((before, link, found.get(link.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        html(text).unwrap().replace(" style=", " STYLE=").split(" STYLE=\"").enumerate().fold(
            String::new(),
            |out, (at, piece)| {
                let piece =
                    if at == 0 { piece } else { piece.split_once('"').map_or(piece, |(_, rest)| rest) };
                out + piece
            },
        )
    }

    #[test]
    fn markdown_becomes_html() {
        let cases = [
            ("Hello,\nit is **done**.", "<p>Hello,<br>\nit is <strong>done</strong>.</p>"),
            ("- one\n- two", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>"),
            ("3. c\n4. d", "<ol start=\"3\">\n<li>c</li>\n<li>d</li>\n</ol>"),
            ("```\na < b\n```", "<pre><code>a &lt; b\n</code></pre>"),
            ("~~no~~ `x`", "<p><del>no</del> <code>x</code></p>"),
            ("> cited", "<blockquote>\n<p>cited</p>\n</blockquote>"),
            (
                "[here](https://example.org/a)",
                "<p><a href=\"https://example.org/a\" rel=\"noopener\">here</a></p>",
            ),
            (
                "See https://example.org/a_b_c?x=1&y=2.",
                "<p>See <a href=\"https://example.org/a_b_c?x=1&amp;y=2\" rel=\"noopener\">https://example.org/a_b_c?x=1&amp;y=2</a>.</p>",
            ),
            (
                "(see http://example.org/)",
                "<p>(see <a href=\"http://example.org/\" rel=\"noopener\">http://example.org/</a>)</p>",
            ),
            ("ticket #1042, snake_case_name", "<p>ticket #1042, snake_case_name</p>"),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn nothing_dangerous_comes_out() {
        let cases = [
            (
                "<b>x</b> & <script>alert(1)</script>",
                "<p>&lt;b&gt;x&lt;/b&gt; &amp; &lt;script&gt;alert(1)&lt;/script&gt;</p>",
            ),
            ("<div onclick=x>\nhi\n</div>", "<p>&lt;div onclick=x&gt;<br>\nhi<br>\n&lt;/div&gt;</p>"),
            ("[x](javascript:alert(1))", "<p><a rel=\"noopener\">x</a></p>"),
            ("[x](data:text/html,y)", "<p><a rel=\"noopener\">x</a></p>"),
            ("[x](/local)", "<p><a rel=\"noopener\">x</a></p>"),
            (
                "![photo](https://t.example/p.gif)",
                "<p><a href=\"https://t.example/p.gif\" rel=\"noopener\">photo</a></p>",
            ),
            (
                "[![photo](https://t.example/p.gif)](https://example.org/)",
                "<p><a href=\"https://example.org/\" rel=\"noopener\">photo</a></p>",
            ),
            ("<!-- note -->", "<p>&lt;!-- note --&gt;</p>"),
            ("&lt;script&gt;", "<p>&lt;script&gt;</p>"),
        ];
        for (text, want) in cases {
            let got = shown(text).replace("<br>\n</p>", "</p>").replace("<br></p>", "</p>");
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn the_look_is_in_the_tags() {
        insta::assert_snapshot!(html("> a\n\n| x | y |\n|---|---|\n| 1 | 2 |").unwrap(), @r#"
        <blockquote style="margin:0 0 0 0.8em;border-left:2px solid #cccccc;padding-left:0.8em">
        <p>a</p>
        </blockquote>
        <table style="border-collapse:collapse"><thead><tr><th style="border:1px solid #cccccc;padding:4px 8px;text-align:left">x</th><th style="border:1px solid #cccccc;padding:4px 8px;text-align:left">y</th></tr></thead><tbody>
        <tr><td style="border:1px solid #cccccc;padding:4px 8px">1</td><td style="border:1px solid #cccccc;padding:4px 8px">2</td></tr>
        </tbody></table>
        "#);
    }

    #[test]
    fn hostile_texts_end_soon() {
        let cases = [
            ">".repeat(200_000),
            "- ".repeat(100_000),
            "[".repeat(200_000),
            "*a ".repeat(80_000),
            "![".repeat(100_000),
            "<a ".repeat(80_000),
            "`".repeat(200_000),
            "https://a ".repeat(25_000),
            "|a\n|-\n".to_owned() + &"|".repeat(200_000),
        ];
        for text in cases {
            assert!(html(&text).is_some());
        }
        assert_eq!(html(&"x".repeat(MAX_SIZE + 1)), None);
    }

    #[test]
    fn plain_text_is_escaped() {
        assert_eq!(escaped("<b> & \"x\"\r\ny"), "&lt;b&gt; &amp; &quot;x&quot;<br>\ny");
    }
}
