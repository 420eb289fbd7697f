//! Uploads: `multipart/form-data` with a `payload_json` and files (RFC 7578).

use serde_json::Value;

/// One file of a form.
#[derive(Clone, Debug)]
pub struct Upload {
    /// `files[0]`
    pub field: String,
    pub name: String,
    pub kind: String,
    pub bytes: Vec<u8>,
}

/// The JSON and the files of a form; `None` if it is none.
pub fn read(content_type: &str, body: &[u8]) -> Option<(Value, Vec<Upload>)> {
    let boundary = content_type.split_once("boundary=")?.1.trim_matches('"');
    let (mut payload, mut uploads) = (Value::Null, Vec::new());
    let delimiter = format!("--{boundary}");
    for part in split(body, delimiter.as_bytes()).into_iter().skip(1) {
        if part.starts_with(b"--") {
            return Some((payload, uploads));
        }
        let part = part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
        let end = find(part, b"\r\n\r\n")?;
        let (head, content) = (part.get(..end)?, part.get(end + 4..)?);
        let head = String::from_utf8_lossy(head);
        let field = quoted(&head, " name=")?;
        if field == "payload_json" {
            payload = serde_json::from_slice(content).ok()?;
        } else {
            let kind = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-type:").map(str::to_owned));
            let kind =
                kind.map_or_else(|| "application/octet-stream".to_owned(), |kind| kind.trim().to_owned());
            let name = quoted(&head, " filename=")?;
            uploads.push(Upload { field, name, kind, bytes: content.to_vec() });
        }
    }
    None
}

fn quoted(head: &str, key: &str) -> Option<String> {
    let rest = head.split_once(key)?.1.strip_prefix('"')?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, by) {
        let (part, after) = rest.split_at(at);
        parts.push(part);
        rest = after.get(by.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}
