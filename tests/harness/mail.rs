//! Mails as people write them.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::sync::atomic::{AtomicU32, Ordering};

/// A mail to be written; every one has a Message-ID of its own unless told otherwise.
#[derive(Clone, Debug)]
pub struct Mail {
    headers: Vec<(String, String)>,
    body: String,
}

/// A mail from `from` to the support address.
pub fn mail(from: &str, subject: &str, body: &str) -> Mail {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("<{}.{}@client.example>", COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
    let headers = [
        ("From", from),
        ("To", "support@example.org"),
        ("Subject", subject),
        ("Date", "Sat, 21 Nov 2026 09:00:00 +0000"),
        ("Message-ID", &id),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Mail { headers, body: body.to_owned() }
}

impl Mail {
    /// Sets a header, in place of one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// As a mail client answers `received`: to its Reply-To, with its subject, In-Reply-To and References.
    pub fn answering(self, received: &str) -> Self {
        let get = |name: &str| header(received, name);
        let id = get("Message-ID").expect("a Message-ID to answer");
        let references = match get("References") {
            Some(known) => format!("{known} {id}"),
            None => id.clone(),
        };
        let to = get("Reply-To").or(get("From")).expect("an address to answer");
        let subject = get("Subject").unwrap_or_default();
        let subject = if subject.starts_with("Re:") { subject } else { format!("Re: {subject}") };
        self.with("To", &to)
            .with("Subject", &subject)
            .with("In-Reply-To", &id)
            .with("References", &references)
    }

    pub fn raw(&self) -> Vec<u8> {
        let mut text = String::new();
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&self.body.replace('\n', "\r\n"));
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// A header of a mail as text, unfolded and decoded.
pub fn header(mail: &str, name: &str) -> Option<String> {
    ticketd::mail::parse::parse(mail.as_bytes())
        .headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.clone())
}

/// The text of a mail.
pub fn text(mail: &str) -> String {
    ticketd::mail::parse::parse(mail.as_bytes()).text
}

/// A mail of about so many bytes, nearly all of them a file that nothing makes smaller; no two are alike.
pub fn large_mail(number: usize, bytes: usize) -> Vec<u8> {
    use rand::{Rng as _, SeedableRng as _};
    let mut chance = rand::rngs::StdRng::seed_from_u64(number as u64);
    let from = format!("Ada <ada{number}@example.net>");
    let whole = mail(&from, "Charged twice", "").without("MIME-Version").without("Content-Type");
    let mut text = String::from_utf8(whole.raw()).expect("ASCII");
    text.truncate(text.find("\r\n\r\n").expect("a head"));
    text.push_str(
        "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
         I want a refund for my invoice, see the file.\r\n--b\r\nContent-Type: application/octet-stream; name=log\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n",
    );
    // PostgreSQL's compression looks back over 4 KB: it finds nothing again.
    let (mut block, mut line) = (String::new(), [0; 57]);
    for _ in 0..400 {
        chance.fill_bytes(&mut line);
        BASE64_STANDARD.encode_string(line, &mut block);
        block.push_str("\r\n");
    }
    while text.len() + block.len() < bytes {
        text.push_str(&block);
    }
    text.push_str("--b--\r\n");
    text.into_bytes()
}
