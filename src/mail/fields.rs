//! Header fields (RFC 5322 §2.2, §3): splitting them off, address lists, message ids, MIME parameters.

use super::decode::{self, is_direction_trick, one_line};
use super::parse::Mailbox;

/// More fields than any mail has; the rest of such a header is not looked at.
const MAX_FIELDS: usize = 4000;
/// Longest field value that is looked at, in bytes.
const MAX_VALUE: usize = 256 * 1024;
/// Most addresses that are read from one field.
const MAX_ADDRESSES: usize = 2000;
/// Most ids of a reference chain that are kept: the oldest and the newest.
const MAX_IDS: usize = 200;

/// One field, unfolded, otherwise as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub value: Vec<u8>,
}

/// Splits raw mail into its header fields and the place where its body begins.
pub fn split(raw: &[u8]) -> (Vec<Field>, usize) {
    let mut fields: Vec<Field> = Vec::new();
    let mut at = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        at += line.len();
        if content.is_empty() {
            // Blank lines before the first field are a broken gateway's, not the end of the header.
            if fields.is_empty() {
                continue;
            }
            return (fields, at);
        }
        let folded = matches!(content.first(), Some(b' ' | b'\t'));
        match (fields.last_mut(), folded) {
            // RFC 5322 §2.2.3: unfolding removes the line end, not the white space.
            (Some(last), true) if last.value.len() < MAX_VALUE => last.value.extend_from_slice(content),
            (_, true) => {}
            // Parameters that were folded without white space.
            (Some(last), false) if last.value.ends_with(b";") && is_parameter(content) => {
                last.value.push(b' ');
                last.value.extend_from_slice(content);
            }
            (_, false) => {
                if let Some(field) = field(content)
                    && fields.len() < MAX_FIELDS
                {
                    fields.push(field);
                }
            }
        }
    }
    // Without any field there is no header.
    let at = if fields.is_empty() { 0 } else { at };
    (fields, at)
}

/// Whether a line looks like `name=value`.
pub(crate) fn is_parameter(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*');
    name.len() < line.len() && name.len() < 40 && !name.is_empty() && name.iter().all(is_name)
}

/// Whether a line begins a header field.
pub(crate) fn is_field(line: &[u8]) -> bool {
    field(line).is_some()
}

/// RFC 5322 §2.2: a name of printable characters without colon; §4.5.3 allows white space before the colon.
fn field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().take(998).position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    if name.is_empty() || !name.iter().all(|byte| (33..=126).contains(byte)) {
        return None;
    }
    let value = value.get(1..).unwrap_or_default();
    let value = value.get(..MAX_VALUE).unwrap_or(value).trim_ascii_start();
    Some(Field { name: String::from_utf8_lossy(name).into_owned(), value: value.to_vec() })
}

/// The state of reading one mailbox of a list.
#[derive(Default)]
struct Reader {
    /// Words outside angle brackets, quotes undone: the display name.
    phrase: String,
    /// The same, quotes kept: the address when there are no angle brackets.
    bare: String,
    angle: Option<String>,
    comment: String,
}

/// Reads an address list (RFC 5322 §3.4), and what programs send instead of one. Groups are opened, comments serve
/// as names where there is none.
pub fn mailboxes(value: &[u8]) -> Vec<Mailbox> {
    let text = raw_text(value);
    let mut list = read_list(&text, true);
    if list.iter().all(|mailbox| mailbox.address.is_empty()) {
        // A quote that is never closed swallows the list; and some encode the whole mailbox as one word.
        let again = read_list(&text, false);
        let decoded = read_list(&one_line(&decode::words(value)), true);
        for other in [again, decoded] {
            if other.iter().any(|mailbox| mailbox.address.contains('@')) {
                list = other;
                break;
            }
        }
    }
    list
}

/// The characters of a field value, encoded words still encoded.
fn raw_text(value: &[u8]) -> String {
    decode::text(value, None).replace(['\r', '\n', '\0'], " ")
}

fn read_list(text: &str, quotes: bool) -> Vec<Mailbox> {
    let mut list = Vec::new();
    let mut reader = Reader::default();
    let (mut in_quotes, mut in_angle, mut comments, mut escaped) = (false, false, 0usize, false);
    for c in text.chars() {
        if list.len() >= MAX_ADDRESSES {
            return list;
        }
        if escaped {
            escaped = false;
            reader.push(c, in_quotes, in_angle, comments);
            continue;
        }
        match c {
            '\\' if in_quotes || comments > 0 => escaped = true,
            '"' if quotes && comments == 0 && !in_angle => {
                in_quotes = !in_quotes;
                reader.bare.push(c);
            }
            _ if in_quotes => reader.push(c, true, in_angle, comments),
            '(' if !in_angle => comments += 1,
            ')' if comments > 0 => comments -= 1,
            _ if comments > 0 => reader.push(c, false, false, comments),
            '<' => {
                in_angle = true;
                reader.angle = Some(String::new());
            }
            '>' => in_angle = false,
            // RFC 5322 §3.4 groups end with a semicolon; Outlook writes one between addresses.
            ',' | ';' if !in_angle => list.extend(std::mem::take(&mut reader).finish()),
            ':' if !in_angle && !reader.bare.contains('@') => reader = Reader::default(),
            c => reader.push(c, false, in_angle, comments),
        }
    }
    list.extend(reader.finish());
    list
}

impl Reader {
    fn push(&mut self, c: char, quoted: bool, in_angle: bool, comments: usize) {
        if comments > 0 {
            self.comment.push(c);
        } else if in_angle && let Some(angle) = &mut self.angle {
            angle.push(c);
        } else {
            self.phrase.push(c);
            if quoted && c == '"' {
                self.bare.push('\\');
            }
            self.bare.push(c);
        }
    }

    fn finish(self) -> Option<Mailbox> {
        let (name, address) = match &self.angle {
            Some(angle) => (self.phrase.trim().to_owned(), angle.trim().to_owned()),
            None => bare(self.bare.trim()),
        };
        let name = if name.trim_matches(['"', ' ']).is_empty() { self.comment } else { name };
        // RFC 5322 §4.4: an obsolete source route stands before the address.
        let address = match address.strip_prefix('@').and_then(|_| address.rsplit_once(':')) {
            Some((_, end)) => end.trim().to_owned(),
            None => address,
        };
        let address = one_line(&address.replace(['<', '>'], "")).replace(' ', "");
        let mailbox = Mailbox { name: display_name(&name), address };
        (!mailbox.name.is_empty() || !mailbox.address.is_empty() || self.angle.is_some()).then_some(mailbox)
    }
}

/// Name and address of a mailbox without angle brackets: `a@b`, `Ann a@b`, `"a b"@c`, `mailer-daemon`.
fn bare(text: &str) -> (String, String) {
    if !text.contains('@') {
        let single = !text.is_empty() && !text.contains(char::is_whitespace);
        return if single {
            (String::new(), text.replace('"', ""))
        } else {
            (text.replace('"', ""), String::new())
        };
    }
    if text.starts_with('"') && text.contains("\"@") {
        return (String::new(), text.to_owned());
    }
    let text = text.replace('"', "");
    let address = text.split_whitespace().find(|word| word.contains('@')).unwrap_or_default().to_owned();
    let name = text.replacen(&address, "", 1);
    (name.trim_matches(|c: char| c.is_whitespace() || c == '[' || c == ']').to_owned(), address)
}

fn display_name(raw: &str) -> String {
    let decoded: String = decode::words(raw.as_bytes()).chars().filter(|c| !is_direction_trick(*c)).collect();
    let name = one_line(&decoded);
    let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(&name);
    unquoted.trim().to_owned()
}

/// The message ids of a field (RFC 5322 §3.6.4): only what stands in angle brackets, each once. Words around them,
/// as RFC 822 allowed in In-Reply-To, are not ids.
pub fn ids(value: &[u8]) -> Vec<String> {
    let text = raw_text(value);
    let mut ids: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for piece in text.split('<').skip(1) {
        let Some((id, _)) = piece.split_once('>') else { continue };
        let id: String = id.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        if !id.is_empty() && id.len() <= 998 && seen.insert(id.clone()) {
            ids.push(id);
        }
    }
    if ids.len() > MAX_IDS {
        // The root of the conversation and its newest part tell where a mail belongs.
        let newest = ids.split_off(ids.len() - MAX_IDS / 2);
        ids.truncate(MAX_IDS / 2);
        ids.extend(newest);
    }
    ids
}

/// The id in a Message-ID field. Some programs leave the angle brackets out; a lone word with an `@` is then the id.
pub fn message_id(value: &[u8]) -> Option<String> {
    if let Some(id) = ids(value).into_iter().next() {
        return Some(id);
    }
    let text = one_line(&raw_text(value));
    let word = text.trim_matches(['<', '>', ' ']);
    let is_lone = !word.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>'));
    (word.contains('@') && is_lone && word.len() <= 998).then(|| word.to_owned())
}

/// Value and parameters of a Content-Type or Content-Disposition field, parameter names lower-case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pub value: String,
    list: Vec<(String, Vec<u8>)>,
}

impl Parameters {
    /// Reads `value; name=value; …` (RFC 2045 §5.1).
    pub fn read(raw: &[u8]) -> Self {
        let mut pieces = split_parameters(raw).into_iter();
        let value = pieces.next().unwrap_or_default();
        // RFC 822 comments, and a second type after a comma or a space, are not part of the value.
        let value = String::from_utf8_lossy(&value).to_ascii_lowercase();
        let value =
            value.split(['(', ',', ' ', '\t']).find(|word| !word.is_empty()).unwrap_or_default().to_owned();
        let list = pieces
            .filter_map(|piece| {
                let equals = piece.iter().position(|byte| *byte == b'=')?;
                let (name, value) = piece.split_at_checked(equals)?;
                let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
                Some((name, unquote(value.get(1..).unwrap_or_default().trim_ascii())))
            })
            .take(200)
            .collect();
        Self { value, list }
    }

    /// The bytes of a plain parameter.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.list.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// A parameter decoded: RFC 2231 continuations and character sets first, else the plain one with the encoded
    /// words that many programs put there against RFC 2047 §5.
    pub fn text(&self, name: &str) -> Option<String> {
        self.extended(name).or_else(|| self.raw(name).map(decode::words))
    }

    /// RFC 2231 §3 and §4: `name*0*=utf-8''a%20`, `name*1=b`, or `name*=utf-8''a`.
    fn extended(&self, name: &str) -> Option<String> {
        let mut parts: Vec<(u32, bool, &[u8])> = Vec::new();
        for (key, value) in &self.list {
            let Some(rest) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('*')) else { continue };
            let (number, encoded) = match rest.strip_suffix('*') {
                Some(number) => (number, true),
                None => (rest, rest.is_empty()),
            };
            let number = if number.is_empty() { 0 } else { number.parse().ok()? };
            parts.push((number, encoded, value));
        }
        parts.sort_by_key(|(number, ..)| *number);
        let mut charset = None;
        let mut bytes = Vec::new();
        for (number, encoded, value) in &parts {
            let mut value = *value;
            if *encoded && *number == 0 {
                let mut quotes = value.splitn(3, |byte| *byte == b'\'');
                if let (Some(set), Some(_), Some(rest)) = (quotes.next(), quotes.next(), quotes.next()) {
                    charset = Some(String::from_utf8_lossy(set).into_owned());
                    value = rest;
                }
            }
            // A piece without the mark stands for itself (RFC 2231 §4.1), but percent codes in a set that was
            // declared are a mistake seen in practice.
            if *encoded { percent(value, &mut bytes) } else { bytes.extend_from_slice(value) }
        }
        if parts.is_empty() {
            return None;
        }
        Some(if charset.is_none() { decode::words(&bytes) } else { decode::text(&bytes, charset.as_deref()) })
    }
}

fn percent(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (decode::hex(*high), decode::hex(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(*first);
        }
    }
}

/// Cuts at semicolons outside quotes.
fn split_parameters(raw: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    let (mut quoted, mut escaped) = (false, false);
    for byte in raw.iter().take(MAX_VALUE) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                pieces.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = pieces.last_mut() {
            last.push(*byte);
        }
    }
    pieces
}

fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"") else { return value.to_vec() };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            // RFC 5322 §3.2.4 quoted pair; a Windows path is no such thing.
            b'\\' => match bytes.next() {
                Some(next @ (b'"' | b'\\')) => out.push(*next),
                Some(next) => out.extend([b'\\', *next]),
                None => {}
            },
            b'"' => break,
            byte => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Vec<String> {
        mailboxes(value.as_bytes()).into_iter().map(|m| format!("{}|{}", m.name, m.address)).collect()
    }

    #[test]
    fn address_lists_are_read() {
        // Most are the examples of RFC 5322 appendix A.1.
        let cases: [(&str, &[&str]); 14] = [
            ("John Doe <jdoe@machine.example>", &["John Doe|jdoe@machine.example"]),
            ("\"Joe Q. Public\" <john.q.public@example.com>", &["Joe Q. Public|john.q.public@example.com"]),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                &["Mary Smith|mary@x.test", "|jdoe@example.org", "Who?|one@y.test"],
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                &["|boss@nil.test", "Giant; \"Big\" Box|sysservices@example.net"],
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                &["Ed Jones|c@a.test", "|joe@where.test", "John|jdoe@one.test"],
            ),
            ("Undisclosed recipients:;", &[]),
            (
                "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                &["Pete|pete(hisaccount)@silly.test(hishost)"],
            ),
            ("jdoe@example.org (John Doe)", &["John Doe|jdoe@example.org"]),
            ("MAILER-DAEMON <>", &["MAILER-DAEMON|"]),
            ("mailer-daemon", &["|mailer-daemon"]),
            ("=?utf-8?q?J=C3=B6rg=2C_A?= <j@example.org>", &["Jörg, A|j@example.org"]),
            ("a@example.org; b@example.org", &["|a@example.org", "|b@example.org"]),
            ("<@relay.test,@b.test:jdoe@example.org>", &["|jdoe@example.org"]),
            ("\"Ann <ann@example.org>", &["Ann|ann@example.org"]),
        ];
        for (value, want) in cases {
            assert_eq!(shown(value), want, "{value}");
        }
    }

    #[test]
    fn only_bracketed_ids_count() {
        let cases: [(&str, &[&str]); 5] = [
            ("<a@b> <c@d>\t<a@b>", &["a@b", "c@d"]),
            ("Your message of Monday <a@b>", &["a@b"]),
            ("bogus truncated@hos<user@host", &[]),
            ("<>", &[]),
            ("<a\u{0}b\t@c>", &["ab@c"]),
        ];
        for (value, want) in cases {
            assert_eq!(ids(value.as_bytes()), want, "{value}");
        }
        let many: String = (0..5000).fold(String::new(), |out, n| out + "<" + &n.to_string() + "@x> ");
        let kept = ids(many.as_bytes());
        assert_eq!((kept.len(), kept.first().unwrap().as_str()), (MAX_IDS, "0@x"));
        assert_eq!(kept.last().unwrap(), "4999@x");
        assert_eq!(message_id(b"bare@host"), Some("bare@host".into()));
        assert_eq!(message_id(b"<>"), None);
        assert_eq!(message_id(b"<a@host<\xc4\xbd"), None, "it could not stand in an In-Reply-To");
    }

    #[test]
    fn parameters_follow_rfc_2231() {
        let read = |text: &str, name: &str| Parameters::read(text.as_bytes()).text(name);
        // The examples of RFC 2231 §3 and §4.1, and plain ones.
        let url = "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/moore\"";
        assert_eq!(read(url, "url").as_deref(), Some("ftp://cs.utk.edu/pub/moore"));
        let title = "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A";
        assert_eq!(read(title, "title").as_deref(), Some("This is ***fun***"));
        let mixed = "x/y; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; \
                     title*2=\"isn't it!\"";
        assert_eq!(read(mixed, "title").as_deref(), Some("This is even more ***fun*** isn't it!"));
        assert_eq!(read("a/b; name=\"x;\\\"y\"", "name").as_deref(), Some("x;\"y"));
        assert_eq!(read("a/b; name==?utf-8?q?=C3=A4?=", "name").as_deref(), Some("ä"));
        assert_eq!(Parameters::read(b"Text/HTML (comment); charset=x").value, "text/html");
    }

    #[test]
    fn fields_are_split_and_unfolded() {
        let (fields, body) = split(b"From a@b Mon\r\nA: 1\r\n  2\r\nB : x\r\njunk\r\n\r\nbody");
        let shown: Vec<_> = fields
            .iter()
            .map(|f| (f.name.as_str(), String::from_utf8_lossy(&f.value).into_owned()))
            .collect();
        assert_eq!(shown, [("A", "1  2".to_owned()), ("B", "x".to_owned())]);
        assert_eq!(body, 40);
    }
}
