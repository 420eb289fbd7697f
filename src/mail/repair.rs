//! Makes broken MIME whole before it is parsed: multiparts that were never closed, and header lines that were
//! folded without white space.

use std::borrow::Cow;

use super::fields::{self, Parameters};

/// Multiparts nested deeper are left as they are.
const MAX_DEPTH: usize = 60;
/// Mails embedded deeper are taken as text. (The parser's own data is nested as deep as they are, and overflows the
/// stack where it is dropped: no error that could be caught.)
const MAX_EMBEDDED: usize = 20;
/// A mail with more parts is cut there.
const MAX_PARTS: usize = 10_000;
/// Of a longer header only what MIME needs is parsed again, in bytes.
const MAX_HEADER: usize = 256 * 1024;

/// What was done to a mail.
#[derive(Debug)]
pub struct Repaired<'a> {
    pub raw: Cow<'a, [u8]>,
    /// Whether something had to be done.
    pub is_changed: bool,
}

/// Closes each multipart where its parent goes on or the mail ends (RFC 2046 §5.1.2: the end of an enclosing part
/// ends it too), and folds parameters that stand unfolded in the next line. Bounds what the parser has to do.
pub fn repair(raw: &[u8]) -> Repaired<'_> {
    let short = short_header(raw);
    let raw = short.as_deref().map_or(Cow::Borrowed(raw), |short| Cow::Owned(short.to_vec()));
    let (insertions, end) = walk(&raw);
    if insertions.is_empty() && end == raw.len() {
        return Repaired { raw, is_changed: false };
    }
    let mut out = Vec::with_capacity(raw.len() + 4096);
    let mut done = 0;
    for (at, bytes) in insertions {
        out.extend_from_slice(raw.get(done..at).unwrap_or_default());
        out.extend_from_slice(&bytes);
        done = at;
    }
    out.extend_from_slice(raw.get(done..end).unwrap_or_default());
    Repaired { raw: Cow::Owned(out), is_changed: true }
}

/// The mail with the MIME fields of its header only, if the header is too long.
fn short_header(raw: &[u8]) -> Option<Vec<u8>> {
    let (fields, start) = fields::split(raw);
    if start <= MAX_HEADER {
        return None;
    }
    let mut out = b"MIME-Version: 1.0\r\n".to_vec();
    for field in fields.iter().filter(|field| field.name.to_ascii_lowercase().starts_with("content-")) {
        let value = field.value.get(..4096).unwrap_or(&field.value);
        out.extend([field.name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(raw.get(start..).unwrap_or_default());
    Some(out)
}

/// What is to be put in and where, and where the mail is to end.
fn walk(raw: &[u8]) -> (Vec<(usize, Vec<u8>)>, usize) {
    let mut walker = Walker { raw, header: Some(0), ..Walker::default() };
    let mut at = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        walker.line(line, at);
        if walker.parts > MAX_PARTS {
            break;
        }
        at += line.len();
    }
    walker.end_header(at);
    walker.close(0, at);
    (walker.insertions, at)
}

/// A multipart that is open.
struct Open {
    boundary: Vec<u8>,
    /// In how many embedded mails it stands.
    embedded: usize,
}

#[derive(Default)]
struct Walker<'a> {
    raw: &'a [u8],
    /// The multiparts that are open here, outermost first.
    open: Vec<Open>,
    embedded: usize,
    parts: usize,
    /// Where the header began that is being read.
    header: Option<usize>,
    /// What is to be put in, and where.
    insertions: Vec<(usize, Vec<u8>)>,
    /// A line of the mail's own header was seen.
    has_field: bool,
    /// The last header line ended with a semicolon: a parameter must follow.
    in_value: bool,
}

impl Walker<'_> {
    fn line(&mut self, line: &[u8], at: usize) {
        if line.starts_with(b"--") && self.delimiter(line, at) {
            return;
        }
        let Some(start) = self.header else { return };
        let content = line.trim_ascii_end();
        if content.is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            // Blank lines before the first field of the mail are not the end of its header.
            if self.has_field || start > 0 {
                self.end_header(at + line.len());
            }
            return;
        }
        self.has_field = true;
        let is_parameter = || {
            let name = content.split(|byte| *byte == b'=').next().unwrap_or_default();
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*');
            content.contains(&b'=') && name.iter().all(is_name)
        };
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if self.in_value && is_parameter() {
            self.insertions.push((at, b" ".to_vec()));
        } else if start > 0
            && !is_folded
            && !fields::is_field(content)
            && !content.starts_with(b"From ")
            && content.len() < 500
        {
            // The blank line that ends a part's header was forgotten.
            self.insertions.push((at, b"\r\n".to_vec()));
            self.end_header(at);
            return;
        }
        self.in_value = content.ends_with(b";");
    }

    /// Whether the line is a delimiter of an open multipart; if so, all multiparts inside end here.
    fn delimiter(&mut self, line: &[u8], at: usize) -> bool {
        let name = line.get(2..).unwrap_or_default().trim_ascii_end();
        let rest_of = |open: &Open| name.strip_prefix(open.boundary.as_slice());
        let is_own = |open: &Open| rest_of(open).is_some_and(|rest| rest.is_empty() || rest == b"--");
        let Some(index) = self.open.iter().rposition(is_own) else { return false };
        self.close(index + 1, at);
        let Some(open) = self.open.last() else { return false };
        self.embedded = open.embedded;
        if name.len() > open.boundary.len() {
            self.open.truncate(index);
            self.header = None;
        } else {
            self.parts += 1;
            self.header = Some(at + line.len());
        }
        self.in_value = false;
        true
    }

    /// Closes the multiparts from `index` on, before the byte `at`.
    fn close(&mut self, index: usize, at: usize) {
        let inner = self.open.split_off(index.min(self.open.len()));
        let names = inner.iter().rev().map(|open| open.boundary.as_slice());
        let closing: Vec<u8> = names.flat_map(|name| [b"\r\n--", name, b"--\r\n"].concat()).collect();
        if !closing.is_empty() {
            self.insertions.push((at, closing));
        }
    }

    /// Reads the header that ends before `at`, for the boundary that it declares.
    fn end_header(&mut self, at: usize) {
        let Some(start) = self.header.take() else { return };
        let header = self.raw.get(start..at).unwrap_or_default();
        let (fields, _) = fields::split(header);
        let field = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let Some(kind) = field("content-type").map(|field| Parameters::read(&field.value)) else { return };
        if kind.value.starts_with("multipart/") {
            let boundary = kind.raw("boundary").unwrap_or_default().trim_ascii_end();
            if !boundary.is_empty() && self.open.len() < MAX_DEPTH {
                self.open.push(Open { boundary: boundary.to_vec(), embedded: self.embedded });
            }
        } else if matches!(kind.value.as_str(), "message/rfc822" | "message/global") {
            let is_plain = field("content-transfer-encoding").is_none_or(|field| {
                let encoding = field.value.trim_ascii().to_ascii_lowercase();
                encoding != b"base64" && encoding != b"quoted-printable"
            });
            if is_plain {
                self.embed(at);
            }
        }
    }

    /// At `at` begins the header of an embedded mail.
    fn embed(&mut self, at: usize) {
        self.embedded += 1;
        if self.embedded > MAX_EMBEDDED {
            // A blank line ends the header before it began: the rest is text.
            self.insertions.push((at, b"\r\n".to_vec()));
        } else {
            self.header = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiparts_are_closed_where_they_end() {
        let whole = "Content-Type: multipart/mixed; boundary=o\n\n--o\n\nx\n--o--\n";
        assert!(!repair(whole.as_bytes()).is_changed);
        let cases = [
            (
                "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: text/plain\nx\n--o--\n",
                "text/plain\n\r\nx\n--o--\n",
            ),
            ("Content-Type: multipart/mixed; boundary=o\n\n--o\n\nx", "\r\n--o--\r\n"),
            (
                "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=\"i\"\n\n\
                 --i\n\nx\n--o\n\ny\n--o--\n",
                "x\n\r\n--i--\r\n--o\n\ny\n--o--\n",
            ),
            (
                "Content-Type: multipart/mixed;\nboundary=o\n\n--o\n\nx\n--o--\n",
                "multipart/mixed;\n boundary=o\n\n--o\n\nx\n--o--\n",
            ),
        ];
        for (raw, want) in cases {
            let repaired = repair(raw.as_bytes());
            let text = String::from_utf8_lossy(&repaired.raw).into_owned();
            assert!(repaired.is_changed && text.ends_with(want), "{text}");
        }
    }
}
