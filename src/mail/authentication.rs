//! What the receiving server found out about who sent a mail: the Authentication-Results field (RFC 8601).
//!
//! Anybody can write such a field, so it says something only under the name of a server that is trusted, and of those
//! only the topmost: a server writes its own above whatever the mail brought along (RFC 8601 §5).

use super::fields::{self, Field};
use super::{address, decode};

/// A field longer than this is read no further.
const LONGEST: usize = 8 * 1024;
/// A header with more such fields is not of this world.
const MOST_FIELDS: usize = 50;

/// How a server is named that leaves its name out, against RFC 8601 §2.2.
pub const NAMELESS: &str = "-";

/// Whether a mail comes from the domain that its From names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// DMARC passed, or a DKIM signature of that domain is good (RFC 7489 §3.1.1).
    Pass,
    /// DMARC failed.
    Fail,
    /// Nobody who is trusted says so.
    Unknown,
}

/// What a header says about where its mail comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// From the top.
    results: Vec<Results>,
    /// How many authors the mail names. RFC 7489 §6.6.1: which of several was looked at is anybody's guess.
    authors: usize,
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Results {
    /// The authserv-id (RFC 8601 §2.5): the server that says so.
    server: String,
    /// Each a method with its result, and what it looked at: `header.from=example.org`.
    methods: Vec<Vec<(String, String)>>,
}

impl Origin {
    /// Reads the header of a raw mail.
    pub fn read(raw: &[u8]) -> Self {
        let (fields, _) = fields::split(raw);
        let named = |name: &'static str| move |field: &&Field| field.name.eq_ignore_ascii_case(name);
        let results = fields.iter().filter(named("authentication-results")).take(MOST_FIELDS);
        Self {
            results: results.map(|field| Results::read(&field.value)).collect(),
            authors: fields
                .iter()
                .filter(named("from"))
                .map(|field| fields::mailboxes(&field.value).len().max(1))
                .sum(),
        }
    }

    /// What the server of this authserv-id says about a mail from `from`. `None`: no server is trusted; then a failure
    /// counts, whoever reports it, and nothing else does.
    pub fn verdict(&self, trusted: Option<&str>, from: &str) -> Verdict {
        let Some((_, domain)) = address::split(from) else { return Verdict::Unknown };
        let domain = address::canonical(domain);
        let Some(trusted) = trusted else {
            let failed = self.results.first().is_some_and(|top| top.verdict(&domain) == Verdict::Fail);
            return if failed { Verdict::Fail } else { Verdict::Unknown };
        };
        let top = self.results.iter().find(|results| results.server.eq_ignore_ascii_case(trusted.trim()));
        match top.map_or(Verdict::Unknown, |results| results.verdict(&domain)) {
            Verdict::Pass if self.authors != 1 => Verdict::Unknown,
            verdict => verdict,
        }
    }
}

impl Results {
    fn read(value: &[u8]) -> Self {
        // Not decoded: an encoded word in what the sender chose would become a result.
        let text = decode::text(value.get(..LONGEST).unwrap_or(value), None);
        let mut segments = segments(&text);
        let head = segments.first().map(String::as_str).unwrap_or_default();
        let name = head.split_whitespace().next().unwrap_or_default().to_owned();
        // Microsoft 365 begins with the first method.
        let server = if name.contains('=') { NAMELESS.to_owned() } else { name };
        if server != NAMELESS {
            segments.remove(0);
        }
        Self { server, methods: segments.iter().map(|segment| pairs(segment)).collect() }
    }

    fn verdict(&self, domain: &str) -> Verdict {
        let (mut passed, mut failed) = (false, false);
        for method in &self.methods {
            let Some((name, result)) = method.first() else { continue };
            // A method may have a version: `dmarc/1`.
            let name = name.split('/').next().unwrap_or_default();
            let says =
                |property: &str| method.iter().skip(1).find(|(key, _)| key == property).map(|(_, v)| v);
            match (name, result.as_str()) {
                ("dmarc", "fail") => failed = true,
                ("dmarc", "pass") => passed |= says("header.from").is_none_or(|from| from == domain),
                ("dkim", "pass") => {
                    let signer = says("header.d").or_else(|| says("header.i"));
                    passed |= signer.is_some_and(|signer| is_aligned(signer, domain));
                }
                _ => {}
            }
        }
        match (failed, passed) {
            (true, _) => Verdict::Fail,
            (false, true) => Verdict::Pass,
            (false, false) => Verdict::Unknown,
        }
    }
}

/// Whether a signature of `signer` (a domain, or an identity `x@domain`) speaks for mail from `domain`: the domain itself or
/// one above it. RFC 7489 §3.1.1 would also let a sister domain do, which takes a list of public suffixes to know.
fn is_aligned(signer: &str, domain: &str) -> bool {
    let signer = signer.rsplit('@').next().unwrap_or_default().trim_end_matches('.');
    signer.contains('.')
        && (domain == signer || domain.strip_suffix(signer).is_some_and(|rest| rest.ends_with('.')))
}

/// Cut at each semicolon that stands neither in a comment nor in a quoted string (RFC 5322 §3.2). Comments are left out; of
/// what is quoted nothing can be taken for structure.
fn segments(text: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for c in text.chars() {
        let taken = match c {
            _ if escaped => {
                escaped = false;
                quoted.then_some('_')
            }
            '\\' if quoted || depth > 0 => {
                escaped = true;
                None
            }
            '"' if depth == 0 => {
                quoted = !quoted;
                None
            }
            c if quoted => Some(if c.is_alphanumeric() || matches!(c, '.' | '-' | '@') { c } else { '_' }),
            '(' => {
                depth += 1;
                None
            }
            ')' if depth > 0 => {
                depth -= 1;
                Some(' ')
            }
            _ if depth > 0 => None,
            ';' => {
                segments.push(String::new());
                None
            }
            c if c.is_control() => Some(' '),
            c => Some(c),
        };
        if let (Some(c), Some(last)) = (taken, segments.last_mut()) {
            last.push(c);
        }
    }
    segments
}

/// `dkim=pass header.d=example.org`, with or without spaces around the equals signs; all in lower case.
fn pairs(segment: &str) -> Vec<(String, String)> {
    let spaced = segment.to_lowercase().replace('=', " = ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut pairs = Vec::new();
    for window in words.windows(3) {
        if let [name, "=", value] = window {
            pairs.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "bea@example.org";

    fn verdict(fields: &str, trusted: Option<&str>) -> Verdict {
        Origin::read(format!("{fields}\nFrom: Bea <{FROM}>\n\nx").as_bytes()).verdict(trusted, FROM)
    }

    proptest::proptest! {
        #[test]
        fn no_words_of_the_sender_pass_below_those_of_the_server(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..30),
            more in "\\PC{0,20}",
        ) {
            let hostile = format!("Authentication-Results: {}{more}", pieces.concat());
            // Read as it comes, and never taken for the server's own word where that stands above.
            let _any = verdict(&hostile, Some("mx.example.org"));
            let above = "Authentication-Results: mx.example.org; dmarc=fail header.from=example.org";
            proptest::prop_assert_ne!(
                verdict(&format!("{above}\n{hostile}"), Some("mx.example.org")),
                Verdict::Pass
            );
            proptest::prop_assert_ne!(verdict(&hostile, None), Verdict::Pass);
        }
    }

    const PIECES: &[&str] = &[
        "mx.example.org",
        ";",
        " ",
        "dmarc=pass",
        "dkim=pass",
        "header.from=",
        "header.d=",
        "example.org",
        "(",
        ")",
        "\"",
        "\\",
        "=",
        "/1",
        "\n ",
        "\t",
        "none",
        "policy.x=",
        "Authentication-Results: ",
        "\nAuthentication-Results: mx.example.org; ",
    ];

    #[test]
    fn what_the_trusted_server_says_counts() {
        for (says, want) in [
            ("mx.example.org; dmarc=pass header.from=example.org", Verdict::Pass),
            ("MX.example.org 1; dmarc = pass (p=none) header.from = EXAMPLE.org", Verdict::Pass),
            ("mx.example.org;\n dkim=pass header.d=example.org;\n spf=fail", Verdict::Pass),
            ("mx.example.org; dkim/1=pass header.i=@example.org header.b=\"a=b;c\"", Verdict::Pass),
            ("(a; comment \\) here) mx.example.org; dmarc=pass", Verdict::Pass),
            (
                "mx.example.org; dmarc=fail header.from=example.org; dkim=pass header.d=example.org",
                Verdict::Fail,
            ),
            ("mx.example.org; dmarc=pass header.from=example.net", Verdict::Unknown),
            ("mx.example.org; dkim=pass header.d=example.net", Verdict::Unknown),
            ("mx.example.org; dkim=pass header.d=ample.org", Verdict::Unknown),
            ("mx.example.org; dkim=pass header.d=org", Verdict::Unknown),
            ("mx.example.org; dkim=pass", Verdict::Unknown),
            ("mx.example.org; spf=pass smtp.mailfrom=example.org", Verdict::Unknown),
            ("mx.example.org; none", Verdict::Unknown),
            ("mx.example.org", Verdict::Unknown),
            ("", Verdict::Unknown),
            ("mx.example.net; dmarc=pass header.from=example.org", Verdict::Unknown),
            ("dmarc=pass header.from=example.org", Verdict::Unknown),
            // What the sender chose stays what it is.
            ("mx.example.org; spf=none smtp.mailfrom=\"x; dmarc=pass\"@example.net", Verdict::Unknown),
            ("mx.example.org; spf=none (x; dmarc=pass)", Verdict::Unknown),
            ("mx.example.org; spf=none reason=\"\\\"; dmarc=pass\"", Verdict::Unknown),
            ("mx.example.org; spf=none reason==?utf-8?q?=3B_dmarc=3Dpass?=", Verdict::Unknown),
        ] {
            let field = format!("Authentication-Results: {says}");
            assert_eq!(verdict(&field, Some("mx.example.org")), want, "{says}");
        }
    }

    #[test]
    fn only_the_topmost_of_the_trusted_server_counts() {
        let ours = "Authentication-Results: mx.example.org; dmarc=fail header.from=example.org";
        let forged = "Authentication-Results: mx.example.org; dmarc=pass header.from=example.org";
        let other = "Authentication-Results: mx.example.net; dmarc=pass header.from=example.org";
        let trusted = Some("mx.example.org");
        assert_eq!(verdict(&format!("{other}\n{ours}\n{forged}"), trusted), Verdict::Fail);
        assert_eq!(verdict(&format!("{other}\n{forged}"), trusted), Verdict::Pass);
        assert_eq!(verdict(other, trusted), Verdict::Unknown);
    }

    #[test]
    fn a_server_that_leaves_its_name_out_is_trusted_as_such() {
        let microsoft = "Authentication-Results: spf=pass (sender IP is 192.0.2.1)\n smtp.mailfrom=example.org; dkim=pass (signature was\n \
            verified) header.d=example.org;dmarc=pass action=none\n header.from=example.org;compauth=pass reason=100";
        assert_eq!(verdict(microsoft, Some("-")), Verdict::Pass);
        assert_eq!(verdict(&microsoft.replace("=pass", "=fail"), Some("-")), Verdict::Fail);
        assert_eq!(verdict(microsoft, Some("spf=pass")), Verdict::Unknown);
        assert_eq!(verdict("Authentication-Results: mx; dmarc=pass", Some("-")), Verdict::Unknown);
        assert_eq!(verdict("Authentication-Results:", Some("-")), Verdict::Unknown);
    }

    #[test]
    fn where_nobody_is_trusted_only_a_failure_counts() {
        let field =
            |result: &str| format!("Authentication-Results: mx; dmarc={result} header.from=example.org");
        assert_eq!(verdict(&field("fail"), None), Verdict::Fail);
        assert_eq!(verdict(&field("pass"), None), Verdict::Unknown);
        assert_eq!(verdict("X: y", None), Verdict::Unknown);
    }

    #[test]
    fn a_mail_of_two_authors_proves_nothing() {
        let pass = "Authentication-Results: mx; dmarc=pass header.from=example.org";
        let two = format!("{pass}\nFrom: Eve <eve@example.org>");
        assert_eq!(verdict(&two, Some("mx")), Verdict::Unknown);
        let both = format!("{pass}\nFrom: Eve <eve@example.org>, Bea <{FROM}>\n\nx");
        assert_eq!(Origin::read(both.as_bytes()).verdict(Some("mx"), FROM), Verdict::Unknown);
    }
}
