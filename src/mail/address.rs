//! Addresses: comparing them and telling those that can be mailed to.

/// Longest address that SMTP carries (RFC 5321 §4.5.3.1.3, less the angle brackets).
const MAX_LENGTH: usize = 254;
/// Longest local part (RFC 5321 §4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Longest domain (RFC 5321 §4.5.3.1.2).
const MAX_DOMAIN: usize = 255;

/// The form under which addresses are compared: trimmed, without angle brackets, lower-case. RFC 5321 §2.4 would let
/// the case of a local part matter; no provider does. Plus parts stay, they name tickets.
pub fn canonical(address: &str) -> String {
    let bare = address.trim().trim_start_matches('<').trim_end_matches('>').trim();
    bare.trim_end_matches('.').to_lowercase()
}

/// Local part and domain, cut at the last `@` (a quoted local part may hold more). `None` if either is empty.
pub fn split(address: &str) -> Option<(&str, &str)> {
    let (local, domain) = address.trim().rsplit_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then_some((local, domain))
}

/// Whether mail may be sent there. Deliberately narrower than RFC 5321 §4.1.2: no quoted local parts, no address
/// literals, nothing that could end a header or an SMTP command early.
pub fn is_valid(address: &str) -> bool {
    let Some((local, domain)) = split(address) else { return false };
    let odd = |c: char| {
        c.is_control()
            || c.is_whitespace()
            || matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '\\' | '[' | ']')
    };
    address == address.trim()
        && address.len() <= MAX_LENGTH
        && local.len() <= MAX_LOCAL
        && domain.len() <= MAX_DOMAIN
        && !address.chars().any(odd)
        && !local.contains('@')
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.split('.').all(is_label)
}

/// One label of a host name: RFC 1123 §2.1, or Unicode (RFC 6531 §3.3).
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_alphanumeric() || c == '-' || !c.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_compare_in_one_form() {
        let cases = [
            (" Ann@Example.ORG ", "ann@example.org"),
            ("<ann+t1@example.org>", "ann+t1@example.org"),
            ("ann@BÜCHER.example.", "ann@bücher.example"),
            ("", ""),
        ];
        for (address, want) in cases {
            assert_eq!(canonical(address), want);
        }
    }

    #[test]
    fn only_plain_addresses_are_mailed_to() {
        let cases = [
            ("ann@example.org", true),
            ("ann+tag@sub.example.org", true),
            ("o'neil@example.org", true),
            ("ann@localhost", true),
            ("jörg@bücher.example", true),
            ("ann", false),
            ("@example.org", false),
            ("ann@", false),
            ("a@b@c", false),
            ("ann@example..org", false),
            ("ann@-x.org", false),
            (".ann@example.org", false),
            ("ann@example.org\r\nBcc: x@y", false),
            ("\"a b\"@example.org", false),
            ("ann@[127.0.0.1]", false),
            ("", false),
        ];
        for (address, want) in cases {
            assert_eq!(is_valid(address), want, "{address:?}");
        }
        assert!(!is_valid(&format!("{}@example.org", "a".repeat(65))));
        assert_eq!(split("\"a@b\"@c"), Some(("\"a@b\"", "c")));
    }
}
