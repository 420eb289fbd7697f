//! HTML as lines of text, each marked with what mail programs say it is: cited mail, the line that introduces it,
//! a signature.

/// What is known of a line from the HTML it came from, or from its `>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    #[default]
    Plain,
    /// Cited mail.
    Quote,
    /// In a block quotation that may be the writer's own.
    Indented,
    /// Introduces cited mail ("On … wrote:").
    Intro,
    /// Here begins the mail that is answered; everything below belongs to it.
    Cut,
    /// A ruled line.
    Rule,
    Signature,
}

/// A line of a message and its mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub mark: Mark,
}

/// Names that mail programs give to the block with the whole mail that is answered, as class or id. With `x_` before
/// them where Outlook saw them in a mail that it answered itself.
const CONTAINER: &[&str] = &[
    "yahoo_quoted",
    "protonmail_quote",
    "tutanota_quote",
    "zmail_extra",
    "olk_src_body_section",
    "reply_message",
    "mail-editor-reference-message-container",
    "ms-outlook-mobile-reference-message",
    "moz-forward-container",
];
/// Names of what stands just before the answered mail.
const DIVIDER: &[&str] = &["divrplyfwdmsg", "stopspelling", "__divider__"];
/// Names of the introducing line.
const INTRO: &[&str] = &["moz-cite-prefix", "gmail_attr", "yahoo-quoted-begin"];
const SIGNATURE: &[&str] = &[
    "gmail_signature",
    "moz-signature",
    "ms-outlook-mobile-signature",
    "applemailsignature",
    "protonmail_signature_block",
    "gmail_signature_prefix",
    "zmail_signature",
];
const QUOTE: &[&str] = &["gmail_quote", "protonmail_quote", "yahoo_quoted", "cite", "tutanota_quote"];

/// Elements that begin a new line.
const BLOCK: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
    "caption",
    "summary",
];
/// Those with a blank line around them.
const PARAGRAPH: &[&str] =
    &["p", "ul", "ol", "table", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "dl"];

/// The lines of a message in HTML.
pub fn lines(html: &str) -> Vec<Line> {
    let structure = super::html::structure(html);
    let mut writer = Writer::default();
    let mut rest = structure.as_str();
    while let Some((text, after)) = rest.split_once('<') {
        writer.text(text);
        // The sanitiser's output: tags are whole, and quotes in attributes are escaped.
        let (tag, tail) = cut(after);
        match tag.strip_prefix('/') {
            Some(name) => writer.close(name),
            None => writer.open(tag),
        }
        rest = tail;
    }
    writer.text(rest);
    writer.finish()
}

/// Lines as plain text; cited ones get their `>`.
pub fn join(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        if line.mark == Mark::Quote && !line.text.starts_with('>') {
            out.push_str(if line.text.is_empty() { ">" } else { "> " });
        }
        out.push_str(&line.text);
        out.push('\n');
    }
    out.trim_matches('\n').to_owned()
}

fn cut(after: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, byte) in after.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                return (after.get(..at).unwrap_or_default(), after.get(at + 1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (after, "")
}

/// An open element and what it changed.
struct Open {
    name: String,
    mark: Option<Mark>,
    /// A Gmail quotation in which no block quotation came yet: what stands here introduces it.
    before_quote: bool,
}

#[derive(Default)]
struct Writer {
    lines: Vec<Line>,
    current: String,
    open: Vec<Open>,
    pre: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = entities(text);
        if self.pre > 0 {
            for (at, line) in text.split('\n').enumerate() {
                if at > 0 {
                    self.break_line();
                }
                self.current.push_str(line);
            }
            return;
        }
        for c in text.chars() {
            if !matches!(c, ' ' | '\t' | '\n' | '\r') {
                self.current.push(if c == '\u{a0}' { ' ' } else { c });
            } else if !self.current.is_empty() && !self.current.ends_with(' ') {
                self.current.push(' ');
            }
        }
    }

    fn mark(&self) -> Mark {
        self.open.iter().rev().find_map(|open| open.mark).unwrap_or_default()
    }

    fn break_line(&mut self) {
        let text = std::mem::take(&mut self.current).trim_end().to_owned();
        self.lines.push(Line { text, mark: self.mark() });
    }

    /// Ends the line if something is on it.
    fn end_line(&mut self) {
        if self.current.trim().is_empty() {
            self.current.clear();
        } else {
            self.break_line();
        }
    }

    fn blank(&mut self) {
        if self.lines.last().is_some_and(|last| !last.text.is_empty()) {
            self.lines.push(Line { text: String::new(), mark: self.mark() });
        }
    }

    fn open(&mut self, tag: &str) {
        let name = tag.split([' ', '/']).next().unwrap_or_default().to_owned();
        match name.as_str() {
            "br" => return self.break_line(),
            "hr" => {
                self.end_line();
                let mark = if is_named(tag, DIVIDER) { Mark::Cut } else { Mark::Rule };
                self.lines.push(Line { text: String::new(), mark });
                return;
            }
            "wbr" | "img" | "col" => return,
            "td" | "th" if !self.current.is_empty() && !self.current.ends_with(' ') => self.current.push(' '),
            "pre" => self.pre += 1,
            _ => {}
        }
        if BLOCK.contains(&name.as_str()) {
            self.end_line();
            if PARAGRAPH.contains(&name.as_str()) {
                self.blank();
            }
        }
        self.enter(tag, name);
    }

    fn enter(&mut self, tag: &str, name: String) {
        let is_gmail = name == "div" && is_named(tag, &["gmail_quote"]);
        let mark = if name == "blockquote" {
            for open in &mut self.open {
                if open.before_quote {
                    open.before_quote = false;
                    open.mark = None;
                }
            }
            Some(if is_cited(tag) { Mark::Quote } else { self.indented(tag) })
        } else if is_divided(tag) || is_named(tag, CONTAINER) {
            self.end_line();
            self.lines.push(Line { text: String::new(), mark: Mark::Cut });
            None
        } else if is_gmail || is_named(tag, INTRO) {
            (self.mark() == Mark::Plain).then_some(Mark::Intro)
        } else if is_named(tag, SIGNATURE) {
            (self.mark() == Mark::Plain).then_some(Mark::Signature)
        } else {
            None
        };
        if mark.is_some() {
            self.end_line();
        }
        self.open.push(Open { name, mark, before_quote: is_gmail });
    }

    fn indented(&self, tag: &str) -> Mark {
        match self.mark() {
            Mark::Quote => Mark::Quote,
            // What the "indent" button makes.
            _ if attribute(tag, "style").is_some_and(|style| style.contains("border:none")) => Mark::Plain,
            _ => Mark::Indented,
        }
    }

    fn close(&mut self, name: &str) {
        let is_block = BLOCK.contains(&name);
        let changes = self.open.last().is_some_and(|open| open.mark.is_some());
        if is_block || changes {
            self.end_line();
        }
        if name == "pre" {
            self.pre = self.pre.saturating_sub(1);
        }
        if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            self.open.truncate(at);
        }
        if PARAGRAPH.contains(&name) {
            self.blank();
        }
    }

    fn finish(mut self) -> Vec<Line> {
        self.end_line();
        while self.lines.last().is_some_and(|last| last.text.is_empty() && last.mark != Mark::Cut) {
            self.lines.pop();
        }
        self.lines
    }
}

/// The sanitiser writes only these; everything else stands for itself.
fn entities(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let text = text.replace("&nbsp;", "\u{a0}").replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&amp;", "&").into()
}

/// The value of an attribute, lower-case.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next().map(str::to_ascii_lowercase)
}

fn is_named(tag: &str, names: &[&str]) -> bool {
    if !tag.contains('=') {
        return false;
    }
    ["class", "id", "data-marker"].iter().filter_map(|key| attribute(tag, key)).any(|value| {
        value.split_whitespace().any(|word| {
            let word = word.strip_prefix("x_").unwrap_or(word);
            names.contains(&word)
        })
    })
}

fn is_cited(tag: &str) -> bool {
    attribute(tag, "type").is_some_and(|kind| kind == "cite")
        || is_named(tag, QUOTE)
        // The bar at the left by which programs without a name of their own show cited mail.
        || attribute(tag, "style").is_some_and(|style| style.contains("border-left"))
}

/// Outlook draws a line above the header of the mail it answers, in one of two greys.
fn is_divided(tag: &str) -> bool {
    if is_named(tag, DIVIDER) {
        return true;
    }
    let Some(style) = attribute(tag, "style") else { return false };
    let style = style.replace(' ', "");
    // Windows Mail writes the same out.
    let is_long =
        style.contains("border-top-style:solid") && style.contains("border-top-color:rgb(229,229,229)");
    is_long || style.contains("border-top:solid#b5c4df1") || style.contains("border-top:solid#e1e1e11")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_what_they_are() {
        let cases: [(&str, &[(&str, Mark)]); 6] = [
            ("a<br>b", &[("a", Mark::Plain), ("b", Mark::Plain)]),
            (
                "<div>Hi</div><div class=\"gmail_quote\">On Monday:<blockquote class=\"gmail_quote\">old</blockquote>mine</div>",
                &[
                    ("Hi", Mark::Plain),
                    ("On Monday:", Mark::Intro),
                    ("old", Mark::Quote),
                    ("mine", Mark::Plain),
                ],
            ),
            (
                "x<div id=\"x_divRplyFwdMsg\">From: y</div>",
                &[("x", Mark::Plain), ("", Mark::Cut), ("From: y", Mark::Plain)],
            ),
            ("<blockquote>own</blockquote>", &[("own", Mark::Indented)]),
            ("x<div class=gmail_signature>Ann</div>", &[("x", Mark::Plain), ("Ann", Mark::Signature)]),
            (
                "x<div class=moz-cite-prefix>Am 1.1. schrieb A:</div><blockquote type=cite>q</blockquote>",
                &[("x", Mark::Plain), ("Am 1.1. schrieb A:", Mark::Intro), ("q", Mark::Quote)],
            ),
        ];
        for (html, want) in cases {
            let lines = lines(html);
            let shown: Vec<_> = lines
                .iter()
                .filter(|line| !line.text.is_empty() || line.mark == Mark::Cut)
                .map(|line| (line.text.as_str(), line.mark))
                .collect();
            assert_eq!(shown, want, "{html}");
        }
    }
}
