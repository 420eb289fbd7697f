//! A mail as `ticketd mail parse` prints it, and mails grouped to conversations as `ticketd mail thread` does.

use std::collections::HashMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::parse::{Attachment, Mail, Mailbox, parse};
use super::{base_subject, bounce, classify, html, reply};

/// Everything that is understood about one mail.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reading {
    pub from: String,
    pub from_name: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub reply_to: Vec<String>,
    pub subject: String,
    pub text: String,
    /// Safe to show.
    pub html: Option<String>,
    pub reply_text: String,
    pub attachments: Vec<AttachmentReading>,
    pub message_id: Option<String>,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub class: &'static str,
    pub may_auto_answer: bool,
    pub bounce: Option<BounceReading>,
    pub base_subject: String,
    /// What could not be read; `None` when everything was.
    pub error: Option<String>,
}

/// An attachment without its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AttachmentReading {
    pub filename: Option<String>,
    pub content_type: String,
    pub size: usize,
    /// Lower-case hexadecimal, of the decoded bytes.
    pub sha256: String,
    pub content_id: Option<String>,
    pub inline: bool,
}

/// What a delivery status notification says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BounceReading {
    pub recipients: Vec<String>,
    pub status: Option<String>,
    pub permanent: bool,
}

/// Reads one mail. Never fails; `error` says what went wrong.
pub fn read(raw: &[u8], own_addresses: &[String]) -> Reading {
    let mail = parse(raw);
    let from = mail.from.clone().unwrap_or_default();
    let addresses = |list: &[Mailbox]| list.iter().map(|mailbox| mailbox.address.clone()).collect();
    Reading {
        from: from.address,
        from_name: from.name,
        to: addresses(&mail.to),
        cc: addresses(&mail.cc),
        reply_to: addresses(&mail.reply_to),
        html: mail.html.as_deref().map(html::clean),
        reply_text: reply::visible(&mail),
        attachments: mail.attachments.iter().map(attachment).collect(),
        class: classify::classify(&mail).as_str(),
        may_auto_answer: classify::may_acknowledge(&mail, own_addresses),
        bounce: bounce::read(&mail).map(|bounce| BounceReading {
            recipients: bounce.recipients,
            status: bounce.status,
            permanent: bounce.permanent,
        }),
        base_subject: base_subject::base_subject(&mail.subject),
        error: (!mail.problems.is_empty()).then(|| mail.problems.join("; ")),
        subject: mail.subject,
        text: mail.text,
        message_id: mail.message_id,
        in_reply_to: mail.in_reply_to,
        references: mail.references,
    }
}

fn attachment(attachment: &Attachment) -> AttachmentReading {
    let digest = Sha256::digest(&attachment.content);
    AttachmentReading {
        filename: attachment.filename.clone(),
        content_type: attachment.content_type.clone(),
        size: attachment.content.len(),
        sha256: digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
            for digit in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
            hex
        }),
        content_id: attachment.content_id.clone(),
        inline: attachment.inline,
    }
}

/// Joins mails to conversations by their ids alone (RFC 5322 §3.6.4): two mails belong together if a chain of ids
/// connects them, also over ancestors that nobody here ever saw. Subjects never join. Groups and their members are
/// in the order of the input.
pub fn group(mails: &[Mail]) -> Vec<Vec<usize>> {
    let mut parents: Vec<usize> = (0..mails.len()).collect();
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (index, mail) in mails.iter().enumerate() {
        for id in mail.message_id.iter().chain(&mail.in_reply_to).chain(&mail.references) {
            match owners.get(id.as_str()) {
                Some(owner) => {
                    let (one, other) = (root(&mut parents, *owner), root(&mut parents, index));
                    // The earlier mail is the root, so that groups keep the order of the input.
                    if let Some(parent) = parents.get_mut(one.max(other)) {
                        *parent = one.min(other);
                    }
                }
                None => {
                    owners.insert(id, index);
                }
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); mails.len()];
    for index in 0..mails.len() {
        let root = root(&mut parents, index);
        if let Some(group) = groups.get_mut(root) {
            group.push(index);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn root(parents: &mut [usize], index: usize) -> usize {
    let mut at = index;
    while let Some(parent) = parents.get(at).copied().filter(|parent| *parent != at) {
        // Path halving keeps long chains short.
        let grand = parents.get(parent).copied().unwrap_or(parent);
        if let Some(slot) = parents.get_mut(at) {
            *slot = grand;
        }
        at = grand;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(id: &str, references: &[&str]) -> Mail {
        Mail {
            message_id: (!id.is_empty()).then(|| id.to_owned()),
            references: references.iter().map(|id| (*id).to_owned()).collect(),
            subject: "same".to_owned(),
            ..Mail::default()
        }
    }

    #[test]
    fn conversations_are_joined_by_ids() {
        let cases: [(Vec<Mail>, Vec<Vec<usize>>); 4] = [
            (vec![mail("a", &[]), mail("b", &[])], vec![vec![0], vec![1]]),
            (vec![mail("", &[]), mail("", &[])], vec![vec![0], vec![1]]),
            (vec![mail("b", &["x"]), mail("c", &["x", "y"]), mail("d", &["y"])], vec![vec![0, 1, 2]]),
            (vec![mail("a", &[]), mail("z", &[]), mail("b", &["a"])], vec![vec![0, 2], vec![1]]),
        ];
        for (mails, want) in cases {
            assert_eq!(group(&mails), want);
        }
    }

    #[test]
    fn a_reading_serialises() {
        let reading = read(b"From: Ann <ann@example.org>\nSubject: Re: x\n\nHi\n", &[]);
        let json = serde_json::to_value(&reading).unwrap();
        assert_eq!(json["from"], "ann@example.org");
        assert_eq!(json["class"], "human");
        assert_eq!(json["base_subject"], "x");
        assert_eq!(json["error"], serde_json::Value::Null);
    }
}
