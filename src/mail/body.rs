//! The parts of a mail (RFC 2045, RFC 2046): which one is its text, which its HTML, and what is attached.

use std::borrow::Cow;

use super::decode::{self, is_direction_trick, one_line};
use super::fields::{self, Field, Parameters};
use super::mime::{self, Parent, Part};
use super::parse::Attachment;

/// Most attachments that are taken from one mail.
const MAX_ATTACHMENTS: usize = 1000;

/// What the body holds.
#[derive(Debug, Default)]
pub struct Body {
    pub text: Option<String>,
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    pub problems: Vec<String>,
}

/// Reads the body of `raw`. Never fails; what could not be read is named in `problems`.
pub fn read(raw: &[u8]) -> Body {
    let parts = mime::parts(raw);
    let mut body = Body {
        problems: parts.problems.iter().map(|problem| (*problem).to_owned()).collect(),
        ..Body::default()
    };
    for part in &parts.leaves {
        if body.attachments.len() >= MAX_ATTACHMENTS {
            body.problems.push("more attachments than are kept".to_owned());
            break;
        }
        place(leaf(part), &mut body);
    }
    body
}

/// One leaf of the tree, with its header read.
struct Leaf<'a> {
    kind: String,
    charset: Option<String>,
    disposition: String,
    filename: Option<String>,
    content_id: Option<String>,
    bytes: Cow<'a, [u8]>,
    parent: Parent,
}

fn leaf<'a>(part: &Part<'a>) -> Leaf<'a> {
    let find = |name: &str| part.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let kind = &part.kind;
    let disposition = Parameters::read(find("content-disposition").map_or(&b""[..], |field| &field.value));
    let encoding = find("content-transfer-encoding").map(|field| String::from_utf8_lossy(&field.value));
    let named = disposition.text("filename").or_else(|| kind.text("name"));
    let embeds = kind.value.starts_with("message/") || kind.value.starts_with("multipart/");
    Leaf {
        // RFC 2046 §5.1: a multipart nobody could take apart is shown as text.
        kind: match kind.value.as_str() {
            value if value.starts_with("multipart/") && part.parent == Parent::None => {
                "text/plain".to_owned()
            }
            // RFC 2046 §5.1.5
            "" if part.parent == Parent::Digest => "message/rfc822".to_owned(),
            "" | "text" => "text/plain".to_owned(),
            value if !value.contains('/') => "application/octet-stream".to_owned(),
            value => one_line(value),
        },
        charset: kind.raw("charset").map(|set| String::from_utf8_lossy(set).into_owned()),
        filename: named.and_then(|name| filename(&name)),
        content_id: find("content-id").and_then(content_id),
        disposition: disposition.value,
        bytes: match encoding {
            // RFC 2045 §6.4: what holds parts is not encoded itself. Some encode message/rfc822 anyway.
            Some(encoding) if !embeds || encoding.trim().eq_ignore_ascii_case("base64") => {
                decode::transfer(part.body, &encoding)
            }
            _ => Cow::Borrowed(part.body),
        },
        parent: part.parent,
    }
}

fn content_id(field: &Field) -> Option<String> {
    fields::ids(&field.value).into_iter().next().or_else(|| {
        let bare = one_line(&String::from_utf8_lossy(&field.value));
        (!bare.is_empty() && bare.len() < 500).then_some(bare)
    })
}

/// Decides what a leaf is: the text, the HTML, or an attachment.
fn place(leaf: Leaf<'_>, body: &mut Body) {
    // RFC 2183 §2: a part is for showing unless it says `attachment`; a file name on an inline text (Apple Mail)
    // still means a file.
    let is_file = leaf.disposition == "attachment" || leaf.filename.is_some() && leaf.parent != Parent::None;
    let is_html = leaf.kind == "text/html" || leaf.kind == "application/xhtml+xml";
    let is_plain = leaf.kind == "text/plain";
    let is_text = is_plain || leaf.parent == Parent::None && leaf.kind.starts_with("text/") && !is_html;
    if is_file || !(is_html || is_text) {
        attach(leaf, body);
        return;
    }
    let decoded = decode::lines(decode::text(&leaf.bytes, leaf.charset.as_deref()));
    let slot = if is_html { &mut body.html } else { &mut body.text };
    match slot {
        None => *slot = Some(decoded),
        Some(shown) if shown.trim().is_empty() => *shown = decoded,
        // Mail programs put text before and after a picture; the customer wrote both.
        Some(shown) if leaf.parent == Parent::Mixed => {
            if !decoded.trim().is_empty() {
                shown.push('\n');
                shown.push_str(&decoded);
            }
        }
        Some(_) => attach(leaf, body),
    }
}

fn attach(leaf: Leaf<'_>, body: &mut Body) {
    let inline = leaf.disposition == "inline"
        || leaf.disposition != "attachment" && leaf.content_id.is_some() && leaf.parent == Parent::Related;
    body.attachments.push(Attachment {
        filename: leaf.filename,
        content_type: leaf.kind,
        content_id: leaf.content_id,
        inline,
        content: leaf.bytes.into_owned(),
    });
}

/// A file name that is safe to store and to show: the last component, no control or direction characters, no name
/// that means a directory, at most 255 bytes with the extension kept (RFC 2183 §2.3 asks the receiver for this).
pub fn filename(raw: &str) -> Option<String> {
    let name = raw.rsplit(['/', '\\']).find(|piece| !piece.trim_matches(['\0', ' ']).is_empty())?;
    let name: String = one_line(name).chars().filter(|c| !is_direction_trick(*c)).collect();
    let name = name.trim();
    if name.is_empty() || name == "." || name == ".." {
        return None;
    }
    if name.len() <= 255 {
        return Some(name.to_owned());
    }
    let extension =
        name.rsplit_once('.').map(|(_, end)| end).filter(|end| !end.is_empty() && end.len() <= 16);
    let room = 255 - extension.map_or(0, |end| end.len() + 1);
    let mut short = String::new();
    for c in name.chars() {
        if short.len() + c.len_utf8() > room {
            break;
        }
        short.push(c);
    }
    if let Some(extension) = extension {
        short.push('.');
        short.push_str(extension);
    }
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_made_safe() {
        let cases = [
            ("report.pdf", Some("report.pdf")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\Users\\ann\\Rechnung.pdf", Some("Rechnung.pdf")),
            ("a\r\nb\0.txt", Some("a b .txt")),
            ("..", None),
            ("./", None),
            ("", None),
            ("invoice\u{202e}fdp.exe", Some("invoicefdp.exe")),
            ("dir/", Some("dir")),
        ];
        for (raw, want) in cases {
            assert_eq!(filename(raw).as_deref(), want, "{raw:?}");
        }
        let long = filename(&format!("{}.pdf", "ä".repeat(3000))).unwrap();
        assert!(long.len() <= 255);
        assert_eq!(long.rsplit('.').next(), Some("pdf"));
    }

    #[test]
    fn text_html_and_attachments_find_their_place() {
        let raw = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/alternative; \
            boundary=i\r\n\r\n--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>rich\r\n--i--\r\n--o\r\n\
            Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--o\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n--o--\r\n";
        let body = read(raw);
        assert_eq!(body.text.as_deref(), Some("plain"));
        assert_eq!(body.html.as_deref(), Some("<p>rich"));
        let shown: Vec<_> = body
            .attachments
            .iter()
            .map(|a| (a.filename.as_deref(), a.content_type.as_str(), a.content.len()))
            .collect();
        assert_eq!(shown, [(Some("a.pdf"), "application/pdf", 5), (None, "message/rfc822", 20)]);
    }

    #[test]
    fn a_cut_mail_keeps_its_last_part() {
        let raw =
            b"Content-Type: multipart/mixed; boundary=o\n\n--o\n\nhello\n--o\nContent-Type: image/png\n\
            Content-Transfer-Encoding: base64\n\naGVsbG8=";
        let body = read(raw);
        assert_eq!(body.text.as_deref(), Some("hello"));
        assert_eq!(body.attachments.first().unwrap().content, b"hello");
        let lone = read(b"Content-Type: multipart/mixed; boundary=o\n\n--o\n\nhello");
        assert_eq!(lone.text.as_deref().map(str::trim), Some("hello"));
    }
}
