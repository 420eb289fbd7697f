//! Bytes to characters: transfer encodings, character sets and encoded words, lenient where real mail needs it.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Encoding, UTF_8};
use mail_parser::decoders::charsets::map::charset_decoder;

/// So many bytes are enough to guess a character set; more only costs time.
const GUESS_BYTES: usize = 256 * 1024;
/// So much is decoded at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// Decodes `bytes` that are said to be in the character set `label`. A wrong or missing label is corrected:
/// bytes that are no text in the named set are taken for UTF-8, else their set is guessed.
pub fn text(bytes: &[u8], label: Option<&str>) -> String {
    let label = label.map(|label| label.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\''));
    let label = label.map(str::to_ascii_lowercase).filter(|label| !label.is_empty());
    // RFC 2046 §4.1.2: without a charset, or with us-ascii, there are no bytes above 127. Where there are some,
    // nothing is known about them.
    let label =
        label.filter(|label| !matches!(label.as_str(), "us-ascii" | "ascii" | "unknown" | "unknown-8bit"));
    let utf8 = std::str::from_utf8(bytes).ok();
    let has_high = bytes.iter().any(|byte| *byte >= 0x80);
    let named = label.as_deref().and_then(|label| Encoding::for_label(label.as_bytes()));
    match (named, utf8) {
        // Multi-byte UTF-8 sequences do not arise by accident in a one-byte set.
        (Some(encoding), Some(utf8)) if has_high && (encoding == UTF_8 || encoding.is_single_byte()) => {
            without_mark(utf8)
        }
        (Some(encoding), _) => match damage(encoding, bytes) {
            0 => decoded(encoding, bytes),
            damage => repaired(bytes, utf8, encoding, damage),
        },
        (None, _) => {
            let other = label.as_deref().filter(|label| label.len() < 40);
            match (other.and_then(|label| charset_decoder(label.as_bytes())), utf8) {
                (Some(decode), _) => decode(bytes),
                (None, Some(utf8)) if has_high => without_mark(utf8),
                (None, _) => guessed(bytes),
            }
        }
    }
}

/// Second choice for bytes that do not fit their label.
fn repaired(bytes: &[u8], utf8: Option<&str>, named: &'static Encoding, damage: usize) -> String {
    if let Some(utf8) = utf8 {
        // Escape sequences of ISO-2022 are ASCII: no reason to show them.
        let has_escapes = utf8.contains('\u{1b}');
        return if has_escapes { decoded(named, bytes).replace('\u{fffd}', "") } else { without_mark(utf8) };
    }
    // A single broken character in a long text is damage, not a wrong label.
    if damage * 200 < bytes.len() {
        return decoded(named, bytes);
    }
    let detected = detect(bytes);
    decoded(if self::damage(detected, bytes) == 0 { detected } else { named }, bytes)
}

fn guessed(bytes: &[u8]) -> String {
    let has_escapes = bytes.contains(&0x1b);
    if bytes.is_ascii() && !has_escapes {
        return decoded(UTF_8, bytes);
    }
    // Mostly UTF-8 with a little damage is still UTF-8.
    let start = String::from_utf8_lossy(bytes.get(..GUESS_BYTES).unwrap_or(bytes));
    let broken = start.matches('\u{fffd}').count();
    let good = start.chars().filter(|c| !c.is_ascii()).count() - broken;
    let is_utf8 = broken == 0 && !has_escapes || good > broken * 4;
    decoded(if is_utf8 { UTF_8 } else { detect(bytes) }, bytes)
}

/// How many characters of `bytes` are not there in `encoding`.
fn damage(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let mut damage = 0;
    through(encoding, bytes, |piece, had_errors| {
        damage += if had_errors { piece.matches('\u{fffd}').count() } else { 0 };
    });
    damage
}

/// The text, in exactly the memory it takes: made at one go, a decoder reserves three times the length of what it is given.
fn decoded(encoding: &'static Encoding, bytes: &[u8]) -> String {
    let mut length = 0;
    through(encoding, bytes, |piece, _| length += piece.len());
    let mut text = String::with_capacity(length);
    through(encoding, bytes, |piece, _| text.push_str(piece));
    text
}

/// Shows the text piece by piece, and whether bytes of the piece stand for no character. A byte order mark is left out.
fn through(encoding: &'static Encoding, bytes: &[u8], mut show: impl FnMut(&str, bool)) {
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut piece = String::with_capacity(PIECE_BYTES);
    let mut rest = bytes;
    loop {
        let (state, read, had_errors) = decoder.decode_to_string(rest, &mut piece, true);
        show(&piece, had_errors);
        piece.clear();
        rest = rest.get(read..).unwrap_or_default();
        if state == CoderResult::InputEmpty {
            return;
        }
    }
}

fn detect(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes.get(..GUESS_BYTES).unwrap_or(bytes), true);
    detector.guess(None, Utf8Detection::Allow)
}

fn without_mark(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()
}

/// The text with `\n` at the ends of its lines and without NUL, which PostgreSQL does not store. Changed where it stands:
/// the text of a mail may be large.
pub fn lines(text: String) -> String {
    let mut bytes = text.into_bytes();
    bytes.dedup_by(|next, last| {
        let is_end = *last == b'\r' && *next == b'\n';
        if is_end {
            *last = b'\n';
        }
        is_end
    });
    bytes.retain(|byte| *byte != 0);
    // Whole characters were taken out, so it is text still.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Undoes a `Content-Transfer-Encoding` (RFC 2045 §6, and uuencode). Never fails: what is no code is passed over.
pub fn transfer<'a>(bytes: &'a [u8], encoding: &str) -> Cow<'a, [u8]> {
    match encoding.trim().trim_matches('"').to_ascii_lowercase().as_str() {
        "base64" => Cow::Owned(base64(bytes)),
        "quoted-printable" => Cow::Owned(quoted_printable(bytes)),
        "x-uuencode" | "uuencode" | "x-uue" | "uue" => match uuencode(bytes) {
            Some(decoded) => Cow::Owned(decoded),
            None => Cow::Borrowed(bytes),
        },
        _ => Cow::Borrowed(bytes),
    }
}

/// RFC 2045 §6.8: characters outside the alphabet are ignored; padding ends a quantum, and a missing one is forgiven.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
    let (mut quantum, mut count) = (0u32, 0u8);
    for byte in bytes {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                // Several encoded pieces are sometimes simply joined: go on after the padding.
                push_quantum(&mut out, quantum, count);
                (quantum, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        quantum = quantum << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            push_quantum(&mut out, quantum, count);
            (quantum, count) = (0, 0);
        }
    }
    push_quantum(&mut out, quantum, count);
    out
}

fn push_quantum(out: &mut Vec<u8>, quantum: u32, count: u8) {
    // The bits of a short quantum move up to where they would stand in a whole one.
    let whole = quantum << (6 * u32::from(4 - count.min(4)));
    let [_, bytes @ ..] = whole.to_be_bytes();
    out.extend(bytes.iter().take(usize::from(count).saturating_sub(1)));
}

/// RFC 2045 §6.7, with the leniency it asks for: an `=` that begins no code stands for itself.
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let body = line.trim_ascii_end();
        // RFC 2045 §6.7 (3): white space at the end of a line was added on the way.
        let (body, soft) = match body.strip_suffix(b"=") {
            Some(rest) => (rest, true),
            None => (body, false),
        };
        push_quoted(&mut out, body);
        if !soft && line.ends_with(b"\n") {
            out.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
        } else if !soft && !line.ends_with(b"\n") {
            out.extend_from_slice(line.get(body.len()..).unwrap_or_default());
        }
    }
    out
}

fn push_quoted(out: &mut Vec<u8>, mut rest: &[u8]) {
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'='
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(*first);
        }
    }
}

pub(crate) fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The first file of uuencoded text (POSIX `uuencode`): `begin MODE NAME`, lines with their length first, `end`.
fn uuencode(bytes: &[u8]) -> Option<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let begun = lines.clone().any(|line| line.starts_with(b"begin "));
    // Where the field says uuencode, some leave the first line out.
    let lines = lines.skip_while(|line| begun && !line.starts_with(b"begin ")).skip(usize::from(begun));
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for line in lines {
        let Some((length, codes)) = line.split_first() else { continue };
        let length = usize::from(length.wrapping_sub(32) & 63);
        if codes.len() > 90 || codes.len() + 4 < length.div_ceil(3) * 4 {
            return None;
        }
        if length == 0 || line == b"end" {
            break;
        }
        let mut decoded = Vec::with_capacity(48);
        for chunk in codes.chunks(4) {
            let quantum = (0..4).fold(0u32, |sum, at| {
                sum << 6 | u32::from(chunk.get(at).copied().unwrap_or(b' ').wrapping_sub(32) & 63)
            });
            push_quantum(&mut decoded, quantum, 4);
        }
        decoded.truncate(length);
        out.extend(decoded);
    }
    (!out.is_empty()).then_some(out)
}

/// A piece of a header field: as it stands, or out of an encoded word with its character set.
enum Piece {
    Plain(Vec<u8>),
    Word(String, Vec<u8>),
}

/// Decodes the encoded words (RFC 2047) of an unfolded field value. Words of one character set that follow each
/// other are joined before they are decoded, as some programs cut a character in two.
pub fn words(value: &[u8]) -> String {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = value;
    let mut plain: Vec<u8> = Vec::new();
    while let Some(at) = find(rest, b"=?") {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        plain.extend_from_slice(before);
        if let Some((charset, decoded, tail)) = word(after) {
            let follows_word = matches!(pieces.last(), Some(Piece::Word(..)));
            // RFC 2047 §6.2: white space between two encoded words is not shown.
            let is_gap = follows_word && plain.iter().all(u8::is_ascii_whitespace);
            if !plain.is_empty() && !is_gap {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            plain.clear();
            match pieces.last_mut() {
                // Sets that switch by escape sequences begin anew in each word (RFC 2047 §5).
                Some(Piece::Word(last, bytes)) if *last == charset && !charset.starts_with("iso-2022") => {
                    bytes.extend(decoded);
                }
                _ => pieces.push(Piece::Word(charset, decoded)),
            }
            rest = tail;
        } else {
            plain.extend_from_slice(b"=?");
            rest = after.get(2..).unwrap_or_default();
        }
    }
    plain.extend_from_slice(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Plain(bytes) => text(&bytes, None),
            Piece::Word(charset, bytes) => text(&bytes, Some(&charset)),
        })
        .collect()
}

/// One encoded word at the start of `bytes`: its character set, its bytes, and what comes after it.
fn word(bytes: &[u8]) -> Option<(String, Vec<u8>, &[u8])> {
    let inner = bytes.strip_prefix(b"=?")?;
    let charset_end = inner.iter().take(64).position(|byte| *byte == b'?')?;
    let (charset, rest) = inner.split_at_checked(charset_end)?;
    let [b'?', kind, b'?', encoded @ ..] = rest else { return None };
    let end = find(encoded.get(..4096).unwrap_or(encoded), b"?=")?;
    let (encoded, tail) = encoded.split_at_checked(end)?;
    let decoded = match kind {
        b'b' | b'B' => base64(encoded),
        b'q' | b'Q' => {
            // RFC 2047 §4.2: an underscore is a space.
            let spaced: Vec<u8> =
                encoded.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
            let mut out = Vec::with_capacity(spaced.len());
            push_quoted(&mut out, &spaced);
            out
        }
        _ => return None,
    };
    // RFC 2231 §5: a language may follow the character set.
    let charset = String::from_utf8_lossy(charset).to_ascii_lowercase();
    let charset = charset.split('*').next().unwrap_or_default().to_owned();
    Some((charset, decoded, tail.get(2..).unwrap_or_default()))
}

/// Where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).position(|window| window == needle)
}

/// A decoded field value as it may be stored and shown: one line, no control characters, no surplus space.
/// (RFC 2047 §5 allows encoded line ends; repeated in a header of ours they would begin a new field.)
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = match c {
            '\r' | '\n' | '\t' | '\0' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() => continue,
            c => c,
        };
        if !(c == ' ' && (out.is_empty() || out.ends_with(' '))) {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Whether `c` turns or hides the direction of text, which makes names and file names lie.
pub fn is_direction_trick(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_character_set_is_corrected() {
        let cases: [(&[u8], Option<&str>, &str); 8] = [
            (b"plain", None, "plain"),
            ("Grüße".as_bytes(), Some("iso-8859-1"), "Grüße"),
            (b"Gr\xfc\xdfe", Some("iso-8859-1"), "Grüße"),
            (b"Gr\xfc\xdfe", Some("\"ISO-8859-15\""), "Grüße"),
            ("您好".as_bytes(), Some("utf-8"), "您好"),
            (b"\xef\xbb\xbfmark", Some("utf-8"), "mark"),
            (b"\x1b$B$3$s\x1b(B", None, "こん"),
            (b"Hi +AOQ-", Some("utf-7"), "Hi ä"),
        ];
        for (bytes, label, want) in cases {
            assert_eq!(text(bytes, label), want, "{label:?}");
        }
    }

    #[test]
    fn long_texts_are_decoded_in_pieces_that_cut_no_character() {
        let long = "Grüße, 您好 ".repeat(PIECE_BYTES / 7);
        assert_eq!(text(long.as_bytes(), Some("utf-8")), long);
        let (chinese, _, _) = encoding_rs::GB18030.encode(&long);
        assert_eq!(text(&chinese, Some("gb18030")), long);
        let latin = [0xe4, b' '].repeat(PIECE_BYTES);
        for label in [None, Some("utf-8"), Some("iso-8859-1")] {
            assert_eq!(text(&latin, label), "ä ".repeat(PIECE_BYTES), "{label:?}");
        }
        // One broken byte in much that is good is shown as such, and the rest as it was meant.
        let mut damaged = long.clone().into_bytes();
        damaged.push(0xff);
        assert_eq!(text(&damaged, Some("utf-8")), format!("{long}\u{fffd}"));
    }

    #[test]
    fn lines_end_in_line_feeds_and_hold_no_nul() {
        assert_eq!(lines("a\r\nb\r\r\n\n\0c\rd\r\n".to_owned()), "a\nb\r\n\nc\rd\n");
    }

    #[test]
    fn encoded_words_are_decoded_as_rfc_2047_shows() {
        // The first six are the examples of RFC 2047 §8.
        let cases = [
            ("(=?ISO-8859-1?Q?a?=)", "(a)"),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
            ("=?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€"),
            ("=?utf-8*en?B?4oKs?= 5", "€ 5"),
            ("=?utf-8?x?no?= =?broken", "=?utf-8?x?no?= =?broken"),
        ];
        for (value, want) in cases {
            assert_eq!(words(value.as_bytes()), want, "{value}");
        }
    }

    #[test]
    fn transfer_encodings_are_undone_even_when_damaged() {
        let cases: [(&str, &[u8], &[u8]); 8] = [
            ("BASE64", b"aGVsbG8=", b"hello"),
            ("base64", b"aGVs\r\nbG8", b"hello"),
            ("base64", b"aGVsbG8=aGVsbG8=", b"hellohello"),
            ("quoted-printable", b"a=3Db =\r\nc  \r\nd", b"a=b c\r\nd"),
            ("quoted-printable", b"50 =% =", b"50 =% "),
            ("x-uuencode", b"begin 644 a\n#0V%T\n`\nend\n", b"Cat"),
            ("x-uuencode", b"no code", b"no code"),
            ("8bit", b"as is", b"as is"),
        ];
        for (encoding, bytes, want) in cases {
            assert_eq!(transfer(bytes, encoding).as_ref(), want, "{encoding}");
        }
    }

    #[test]
    fn a_field_value_never_holds_a_line_end() {
        assert_eq!(one_line("x\r\nBcc: v@example.org\0 \u{7}y "), "x Bcc: v@example.org y");
    }
}
