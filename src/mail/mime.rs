//! Takes a mail apart into its leaves (RFC 2046 §5.1): one pass over its lines, with a stack of the open multiparts.
//!
//! The parser crate is not asked to do this: its tree nests as deep as the mail does, and a mail made for it overflows
//! the stack where the tree is dropped, which no `catch_unwind` catches. It also loses the last part of a cut mail.

use super::fields::{self, Field, Parameters};

/// Multiparts nested deeper are not taken apart.
const MAX_DEPTH: usize = 60;
/// Of a mail with more parts the rest is left out.
const MAX_PARTS: usize = 10_000;

/// In what a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parent {
    /// It is the whole mail.
    #[default]
    None,
    Mixed,
    Alternative,
    Related,
    Report,
    Digest,
}

/// A part that holds no other: its header, its content as it was sent.
#[derive(Debug, Default)]
pub struct Part<'a> {
    pub fields: Vec<Field>,
    pub kind: Parameters,
    pub body: &'a [u8],
    pub parent: Parent,
}

/// The leaves of a mail, in order, and what was wrong with it.
#[derive(Debug, Default)]
pub struct Parts<'a> {
    pub leaves: Vec<Part<'a>>,
    pub problems: Vec<&'static str>,
}

/// Takes `raw` apart.
pub fn parts(raw: &[u8]) -> Parts<'_> {
    let mut splitter = Splitter { raw, ..Splitter::default() };
    let (root, start) = fields::split(raw);
    if root.is_empty() {
        splitter.parts.problems.push("no header field was found");
    }
    splitter.begin(root, start);
    let mut at = start;
    for line in raw.get(start..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
        splitter.line(line, at);
        at += line.len();
        if splitter.count > MAX_PARTS {
            splitter.parts.problems.push("more parts than are read");
            break;
        }
    }
    splitter.finish(at);
    splitter.parts
}

/// A multipart that is open.
struct Open {
    boundary: Vec<u8>,
    parent: Parent,
    /// Its transfer encoding, for a body that turns out to be no multipart.
    encoding: Vec<Field>,
    /// Where its body began.
    start: usize,
    /// A delimiter was seen: it really has parts.
    has_parts: bool,
}

/// What the lines belong to.
#[derive(Default)]
enum State {
    /// Before the first part of a multipart, or after the last.
    #[default]
    Outside,
    Header(usize),
    Body(Vec<Field>, Parameters, usize),
}

#[derive(Default)]
struct Splitter<'a> {
    raw: &'a [u8],
    open: Vec<Open>,
    state: State,
    count: usize,
    parts: Parts<'a>,
}

impl Splitter<'_> {
    fn line(&mut self, line: &[u8], at: usize) {
        if line.starts_with(b"--") && self.delimiter(line, at) {
            return;
        }
        let State::Header(start) = self.state else { return };
        let content = line.trim_ascii_end();
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if content.is_empty() && !is_folded {
            let header = self.raw.get(start..at).unwrap_or_default();
            self.begin(fields::split(header).0, at + line.len());
        } else if !is_folded
            && content.len() < 500
            && !fields::is_field(content)
            && !fields::is_parameter(content)
        {
            // The blank line that ends a part's header was forgotten.
            let header = self.raw.get(start..at).unwrap_or_default();
            self.begin(fields::split(header).0, at);
        }
    }

    /// Whether the line is a delimiter of an open multipart; if so, everything inside ends here (RFC 2046 §5.1.2:
    /// the delimiter of an outer multipart ends the inner ones too).
    fn delimiter(&mut self, line: &[u8], at: usize) -> bool {
        // White space at the end was added on the way (RFC 2046 §5.1.1), unless it belongs to the boundary.
        let name = line.get(2..).unwrap_or_default();
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        let rest = |open: &Open| name.strip_prefix(open.boundary.as_slice());
        let is_end = |rest: &[u8]| rest.strip_prefix(b"--").is_some_and(|rest| rest.trim_ascii().is_empty());
        let is_own =
            |open: &Open| rest(open).is_some_and(|rest| rest.trim_ascii().is_empty() || is_end(rest));
        let Some(index) = self.open.iter().rposition(is_own) else { return false };
        self.close(index + 1, at);
        let Some(open) = self.open.get_mut(index) else { return false };
        open.has_parts = true;
        if rest(open).is_some_and(is_end) {
            self.open.truncate(index);
            self.state = State::Outside;
        } else {
            self.count += 1;
            self.state = State::Header(at + line.len());
        }
        true
    }

    /// Ends the part that is being read, and the multiparts from `index` on, before the byte `at`.
    fn close(&mut self, index: usize, at: usize) {
        let body = |start: usize| without_line_end(self.raw.get(start..at).unwrap_or_default());
        match std::mem::take(&mut self.state) {
            State::Body(fields, kind, start) => {
                let parent = self.open.last().map(|open| open.parent).unwrap_or_default();
                self.parts.leaves.push(Part { fields, kind, body: body(start), parent });
            }
            State::Header(start) => {
                let header = self.raw.get(start..at).unwrap_or_default();
                let (fields, _) = fields::split(header);
                if !fields.is_empty() {
                    let kind = kind_of(&fields);
                    let parent = self.open.last().map(|open| open.parent).unwrap_or_default();
                    self.parts.leaves.push(Part { fields, kind, body: b"", parent });
                }
            }
            State::Outside => {}
        }
        if self.open.len() > index {
            self.parts.problems.push("multipart without its closing delimiter");
        }
        for open in self.open.split_off(index.min(self.open.len())) {
            if !open.has_parts {
                // Its boundary never came: what it holds is shown as text rather than lost.
                let parent = self.open.last().map(|open| open.parent).unwrap_or_default();
                self.parts.leaves.push(Part {
                    fields: open.encoding,
                    body: body(open.start),
                    parent,
                    ..Part::default()
                });
            }
        }
    }

    /// A header was read; its content begins at `start`.
    fn begin(&mut self, fields: Vec<Field>, start: usize) {
        let kind = kind_of(&fields);
        let boundary = kind.raw("boundary").unwrap_or_default();
        if !kind.value.starts_with("multipart/") || boundary.is_empty() || self.open.len() >= MAX_DEPTH {
            self.state = State::Body(fields, kind, start);
            return;
        }
        let parent = match kind.value.as_str() {
            "multipart/alternative" => Parent::Alternative,
            "multipart/related" => Parent::Related,
            "multipart/report" => Parent::Report,
            "multipart/digest" => Parent::Digest,
            _ => Parent::Mixed,
        };
        let mut encoding = fields;
        encoding.retain(|field| field.name.eq_ignore_ascii_case("content-transfer-encoding"));
        self.open.push(Open { encoding, boundary: boundary.to_vec(), parent, start, has_parts: false });
        self.state = State::Outside;
    }

    fn finish(&mut self, at: usize) {
        // The end of a lone body is the end of the mail, with its line end.
        if let (true, State::Body(..)) = (self.open.is_empty(), &self.state) {
            let State::Body(fields, kind, start) = std::mem::take(&mut self.state) else { return };
            let body = self.raw.get(start..at).unwrap_or_default();
            self.parts.leaves.push(Part { fields, kind, body, parent: Parent::None });
            return;
        }
        self.close(0, at);
        self.parts.problems.dedup();
    }
}

fn kind_of(fields: &[Field]) -> Parameters {
    let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case("content-type"));
    Parameters::read(field.map_or(&b""[..], |field| &field.value))
}

/// RFC 2046 §5.1.1: the line end before a delimiter belongs to the delimiter.
fn without_line_end(body: &[u8]) -> &[u8] {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    body.strip_suffix(b"\r").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Want<'a> = &'a [(Parent, &'a str, &'a str)];

    fn shown(raw: &str) -> Vec<(Parent, String, String)> {
        let parts = parts(raw.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        parts.leaves.iter().map(|part| (part.parent, part.kind.value.clone(), text(part.body))).collect()
    }

    #[test]
    fn mails_are_taken_apart() {
        let mixed = "Content-Type: multipart/mixed; boundary=o\n\n";
        let cases: [(String, Want<'_>); 10] = [
            ("A: b\n\nx\n".into(), &[(Parent::None, "", "x\n")]),
            ("only text".into(), &[(Parent::None, "", "only text")]),
            (
                format!("{mixed}pre\n--o\n\nx\n--o  \n\ny\n--o--\nepi"),
                &[(Parent::Mixed, "", "x"), (Parent::Mixed, "", "y")],
            ),
            // cut off
            (
                format!("{mixed}--o\n\nx\n--o\nContent-Type: a/b\n\ny"),
                &[(Parent::Mixed, "", "x"), (Parent::Mixed, "a/b", "y")],
            ),
            // an inner multipart that is not closed
            (
                format!(
                    "{mixed}--o\nContent-Type: multipart/alternative; boundary=\"i\"\n\n--i\n\nx\n--o\n\ny\n--o--\n"
                ),
                &[(Parent::Alternative, "", "x"), (Parent::Mixed, "", "y")],
            ),
            // badly folded, and without blank line
            (
                "Content-Type: multipart/mixed;\nboundary=o\n\n--o\n\nx\n--o--\n".into(),
                &[(Parent::Mixed, "", "x")],
            ),
            (
                format!("{mixed}--o\nContent-Type: text/plain\nx\n--o--\n"),
                &[(Parent::Mixed, "text/plain", "x")],
            ),
            // a boundary that never comes, one that is the start of another, one with odd characters
            (format!("{mixed}x\n"), &[(Parent::None, "", "x")]),
            (format!("{mixed}--oo\n\nx\n--o\n\ny\n--o--\n"), &[(Parent::Mixed, "", "y")]),
            // an attached mail stays whole
            (
                format!(
                    "{mixed}--o\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--i--\n--o--\n"
                ),
                &[(
                    Parent::Mixed,
                    "message/rfc822",
                    "Content-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--i--",
                )],
            ),
        ];
        for (raw, want) in cases {
            let want: Vec<_> = want
                .iter()
                .map(|(parent, kind, body)| (*parent, (*kind).to_owned(), (*body).to_owned()))
                .collect();
            assert_eq!(shown(&raw), want, "{raw}");
        }
    }

    #[test]
    fn hostile_nesting_is_bounded() {
        let nested = (0..30_000).fold(String::new(), |out, n| {
            let n = n.to_string();
            out + "Content-Type: multipart/digest; boundary=b" + &n + "\n\n--b" + &n + "\n\n"
        });
        let cases = [
            nested,
            "Content-Type: message/rfc822\n\n".repeat(100_000),
            "Content-Type: multipart/mixed; boundary=b\n\n".to_owned() + &"--b\n\nx\n".repeat(50_000),
        ];
        for raw in cases {
            assert!(parts(raw.as_bytes()).leaves.len() <= MAX_PARTS + 1);
        }
    }
}
