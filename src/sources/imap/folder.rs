//! Folder names as IMAP writes them: quoted, in modified UTF-7 (RFC 3501 §5.1.3).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// A folder's name as an argument of a command.
pub(super) fn argument(name: &str) -> String {
    let escaped = encode(name).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// Whether two names mean the same folder: `INBOX` is written any way, all others are exact (RFC 3501 §5.1).
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || (one.eq_ignore_ascii_case("INBOX") && other.eq_ignore_ascii_case("INBOX"))
}

/// Modified UTF-7. Control characters come out encoded, so a name can't smuggle in a second command.
fn encode(name: &str) -> String {
    let mut written = String::new();
    let mut shifted: Vec<u16> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            shift(&mut written, &mut shifted);
            written.push(c);
            if c == '&' {
                written.push('-');
            }
        } else {
            shifted.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
    shift(&mut written, &mut shifted);
    written
}

/// Writes what is waiting to be encoded, as base64 of its UTF-16 between `&` and `-`.
fn shift(written: &mut String, shifted: &mut Vec<u16>) {
    if shifted.is_empty() {
        return;
    }
    written.push('&');
    let (mut bits, mut count) = (0_u32, 0);
    let mut push =
        |six: u32| written.extend(ALPHABET.get(six as usize & 63).map(|letter| char::from(*letter)));
    for unit in shifted.drain(..) {
        bits = (bits << 16) | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            push(bits >> count);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        push(bits << (6 - count));
    }
    written.push('-');
}

/// A name as people read it. What is not modified UTF-7 stays as it is.
pub(super) fn decode(name: &str) -> String {
    let mut read = String::new();
    let mut rest = name;
    while let Some((plain, behind)) = rest.split_once('&') {
        read.push_str(plain);
        let Some((shifted, after)) = behind.split_once('-') else { return name.to_owned() };
        if shifted.is_empty() {
            read.push('&');
        } else if let Some(text) = unshift(shifted) {
            read.push_str(&text);
        } else {
            return name.to_owned();
        }
        rest = after;
    }
    read + rest
}

fn unshift(letters: &str) -> Option<String> {
    let (mut bits, mut count) = (0_u32, 0);
    let mut units = Vec::new();
    for letter in letters.bytes() {
        let six = ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << 6) | u32::try_from(six).ok()?;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push(u16::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_modified_utf7_and_read_back() {
        for (name, written) in [
            ("INBOX", "INBOX"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"), // RFC 3501 §5.1.3
            ("Entwürfe", "Entw&APw-rfe"),
            ("Q&A", "Q&-A"),
            ("😀", "&2D3eAA-"),
            ("a\r\nb", "a&AA0ACg-b"),
            ("", ""),
        ] {
            assert_eq!(encode(name), written);
            assert_eq!(decode(written), name);
        }
        assert_eq!(argument(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(decode("R&D"), "R&D");
        assert_eq!(decode("&!!-"), "&!!-");
    }

    #[test]
    fn inbox_is_written_any_way() {
        assert!(same("INBOX", "Inbox"));
        assert!(!same("Done", "done"));
    }
}
