//! What a mail says about itself: a pure reading, before anybody is asked about tickets.

use super::commands;
use crate::config::Config;
use crate::ids::TicketId;
use crate::mail::authentication::Origin;
use crate::mail::bounce::Bounce;
use crate::mail::classify::Class;
use crate::mail::compose::LOOP_HEADER;
use crate::mail::forward::{self, Forwarded};
use crate::mail::parse::Mail;
use crate::mail::token::{Signer, Token, id_hash};
use crate::mail::{address, bounce, classify, html, parse, reply};
use crate::tickets::IdHash;

/// A mail with everything that can be known of it by itself.
#[derive(Debug)]
pub struct Understood {
    pub mail: Mail,
    pub class: Class,
    pub fingerprint: [u8; 32],
    /// Quote and signature cut.
    pub visible: String,
    /// Cleaned for showing.
    pub html: Option<String>,
    pub bounce: Option<Bounce>,
    /// Who wrote it, canonical: From, or Reply-To where From is ours. `None`: neither is usable.
    pub from: Option<String>,
    /// The sender's name, as they wrote it.
    pub name: String,
    /// Where answers go, where Reply-To names another address than From.
    pub reply_to: Option<String>,
    /// It claims to come from one of our mailboxes, or from an address behind one.
    pub is_from_us: bool,
    /// It is a mail of ours that came back.
    pub is_ours: bool,
    /// Signed by us, the strongest proof first: plus-addresses, then Message-IDs, the newest first.
    pub tokens: Vec<Token>,
    /// Of every Message-ID that it names as an ancestor, the nearest first.
    pub ancestors: Vec<IdHash>,
    pub own_id: Option<IdHash>,
    /// `[#1042]` in the subject: a hint, no proof.
    pub subject_token: Option<TicketId>,
    /// To and Cc without us and the sender: name and canonical address.
    pub others: Vec<(String, String)>,
    pub may_acknowledge: bool,
    /// What the server that took it in says about where it comes from.
    pub origin: Origin,
    /// The mail that is passed on in it, where its first line asks for that (`#fwd`).
    pub forwarded: Option<Forwarded>,
}

/// A ticket with more people than this is a mailing list.
const MOST_PARTICIPANTS_ADDED: usize = 20;
/// References can be thousands; the nearest ancestors decide.
const MOST_ANCESTORS: usize = 200;

/// Reads a mail. Never fails: what is broken is read as well as it can be.
pub fn understand(raw: &[u8], signer: &Signer, own: &[String]) -> Understood {
    let mut mail = parse::parse(raw);
    let class = classify::classify(&mail);
    let from = mail.from.as_ref().map(|f| address::canonical(&f.address)).filter(|a| address::is_valid(a));
    let reply_to = mail
        .reply_to
        .iter()
        .map(|r| address::canonical(&r.address))
        .find(|a| address::is_valid(a) && !is_own(a, own))
        .filter(|a| Some(a) != from.as_ref());
    let is_from_us = from.as_ref().is_some_and(|from| is_own(from, own));
    // A form on a website writes so. Who asks is who is to be answered; we never write to ourselves.
    let (from, reply_to) = if is_from_us { (reply_to, None) } else { (from, reply_to) };
    if is_from_us {
        mail.problems.push("it was written in our own name: who asks is taken from Reply-To".to_owned());
    }
    let ancestors = ancestors(&mail);
    let tokens = tokens(&mail, signer, own);
    let (others, left_out) = others(&mail, own, from.as_deref());
    if left_out > 0 {
        mail.problems.push(format!(
            "it names {left_out} more people than the {MOST_PARTICIPANTS_ADDED} who take part: they get no answers"
        ));
    }
    Understood {
        fingerprint: parse::fingerprint(raw, &mail),
        visible: without_nul(reply::visible(&mail)),
        html: mail.html.as_deref().map(|h| without_nul(html::keep(h))),
        bounce: (class == Class::Bounce).then(|| bounce::read(&mail)).flatten(),
        is_from_us,
        is_ours: is_ours(&mail, signer, own),
        own_id: mail.message_id.as_deref().filter(|id| !id.is_empty()).map(id_hash),
        subject_token: subject_token(&mail.subject),
        name: sender_name(&mail, from.as_deref()),
        may_acknowledge: classify::may_acknowledge(&mail, own),
        origin: Origin::read(raw),
        forwarded: commands::is_forward(&mail.text).then(|| forward::read(&mail)).flatten(),
        class,
        from,
        reply_to,
        tokens,
        ancestors,
        others,
        mail,
    }
}

fn sender_name(mail: &Mail, sender: Option<&str>) -> String {
    let mut named = mail.from.iter().chain(&mail.reply_to);
    let found = named.find(|m| Some(address::canonical(&m.address).as_str()) == sender);
    // A name without a usable address is still a name.
    let name = found.or(mail.from.as_ref()).map(|m| m.name.clone()).unwrap_or_default();
    without_nul(name)
}

/// PostgreSQL's TEXT cannot hold NUL.
pub(super) fn without_nul(mut text: String) -> String {
    text.retain(|c| c != '\0');
    text
}

/// Ours: one of the mailboxes, with or without a detail behind a plus.
pub(super) fn is_own(candidate: &str, own: &[String]) -> bool {
    own.iter().any(|mailbox| {
        let Some((local, domain)) = mailbox.rsplit_once('@') else { return false };
        let Some((candidate_local, candidate_domain)) = candidate.rsplit_once('@') else { return false };
        let detail = candidate_local.strip_prefix(local);
        candidate_domain == domain && detail.is_some_and(|d| d.is_empty() || d.starts_with('+'))
    })
}

fn is_ours(mail: &Mail, signer: &Signer, own: &[String]) -> bool {
    let by_id = mail.message_id.as_deref().is_some_and(|id| signer.read_message_id(id).is_some());
    let by_mark =
        mail.header_all(LOOP_HEADER).any(|mark| own.iter().any(|mailbox| signer.is_loop_mark(mark, mailbox)));
    by_id || by_mark
}

/// In-Reply-To, then References from the newest to the root.
fn nearest_first(mail: &Mail) -> impl Iterator<Item = &String> {
    mail.in_reply_to.iter().chain(mail.references.iter().rev()).filter(|id| !id.trim().is_empty())
}

fn ancestors(mail: &Mail) -> Vec<IdHash> {
    let own = mail.message_id.as_deref().map(id_hash);
    let mut hashes = Vec::new();
    for id in nearest_first(mail).take(MOST_ANCESTORS * 2) {
        let hash = id_hash(id);
        if Some(hash) != own && !hashes.contains(&hash) && hashes.len() < MOST_ANCESTORS {
            hashes.push(hash);
        }
    }
    hashes
}

fn tokens(mail: &Mail, signer: &Signer, own: &[String]) -> Vec<Token> {
    let addressed = mail.to.iter().chain(&mail.cc).map(|m| m.address.as_str());
    let delivered = mail.delivered_to.iter().map(String::as_str);
    let by_address = addressed
        .chain(delivered)
        .filter_map(|a| own.iter().find_map(|mailbox| signer.read_address(&address::canonical(a), mailbox)));
    let by_id = nearest_first(mail).take(MOST_ANCESTORS).filter_map(|id| signer.read_message_id(id));
    by_address.chain(by_id).collect()
}

/// And how many there are beyond [`MOST_PARTICIPANTS_ADDED`].
fn others(mail: &Mail, own: &[String], from: Option<&str>) -> (Vec<(String, String)>, usize) {
    let mut others: Vec<(String, String)> = Vec::new();
    for other in mail.to.iter().chain(&mail.cc) {
        let canonical = address::canonical(&other.address);
        let known = Some(canonical.as_str()) == from || others.iter().any(|(_, a)| *a == canonical);
        if address::is_valid(&canonical) && !is_own(&canonical, own) && !known {
            others.push((other.name.clone(), canonical));
        }
    }
    let left_out = others.len().saturating_sub(MOST_PARTICIPANTS_ADDED);
    others.truncate(MOST_PARTICIPANTS_ADDED);
    (others, left_out)
}

/// The number in the first `[#1042]`.
fn subject_token(subject: &str) -> Option<TicketId> {
    subject.split("[#").skip(1).find_map(|rest| rest.split_once(']')?.0.parse().ok().map(TicketId))
}

/// Our addresses as [`understand`] takes them.
pub fn own_addresses(config: &Config) -> Vec<String> {
    config.own_addresses().iter().map(|a| address::canonical(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<String> {
        vec!["support@example.org".to_owned()]
    }

    fn read(header: &str) -> Understood {
        let raw = format!("{header}\r\n\r\nHello\r\n");
        understand(raw.as_bytes(), &Signer::new(&[b"k".to_vec()]), &own())
    }

    #[test]
    fn our_own_addresses_are_known_with_and_without_a_detail() {
        for (candidate, ours) in [
            ("support@example.org", true),
            ("support+t1.x@example.org", true),
            ("supporter@example.org", false),
            ("support@example.net", false),
            ("+x@example.org", false),
        ] {
            assert_eq!(is_own(candidate, &own()), ours, "{candidate}");
        }
    }

    #[test]
    fn the_subject_token_is_the_first_number_in_its_brackets() {
        for (subject, token) in [
            ("Re: [#1042] printer", Some(1042)),
            ("[#x] [#7]", Some(7)),
            ("#1042", None),
            ("[#]", None),
            ("[#99999999999999999999]", None),
        ] {
            assert_eq!(subject_token(subject), token.map(TicketId), "{subject}");
        }
    }

    #[test]
    fn reply_to_is_where_answers_go_but_never_us() {
        let mail = "From: ada@example.net\r\nReply-To: Desk <desk@example.net>";
        assert_eq!(read(mail).reply_to.as_deref(), Some("desk@example.net"));
        assert_eq!(read("From: ada@example.net\r\nReply-To: support+x@example.org").reply_to, None);
        assert_eq!(read("From: ada@example.net\r\nReply-To: ADA@example.net").reply_to, None);
    }

    #[test]
    fn an_empty_message_id_is_no_id_and_names_no_ancestor() {
        let mail = read("From: a@example.net\r\nMessage-ID: <>\r\nIn-Reply-To: <>\r\nReferences: <> <>");
        assert_eq!((mail.own_id, mail.ancestors.len()), (None, 0));
    }

    #[test]
    fn the_nearest_ancestor_comes_first_and_itself_never() {
        let mail = read(
            "From: a@example.net\r\nMessage-ID: <me@x>\r\nIn-Reply-To: <c@x>\r\nReferences: <a@x> <b@x> <c@x> <me@x>",
        );
        assert_eq!(mail.ancestors, ["c@x", "b@x", "a@x"].map(id_hash));
    }

    #[test]
    fn copies_go_to_others_but_not_to_us_or_the_sender() {
        let mail = read(
            "From: ada@example.net\r\nTo: support@example.org, Bob <BOB@example.net>\r\nCc: ada@example.net, bob@example.net, support+t1.x@example.org",
        );
        assert_eq!(mail.others, [("Bob".to_owned(), "bob@example.net".to_owned())]);
    }
}
