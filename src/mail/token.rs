//! Signed addresses and Message-IDs: proof that a mail answers one of ours.
//!
//! `support+t1042.p7.SIG@…` and `<t1042.d99.p7.SIG@…>` say which ticket, which delivery and which recipient a mail
//! was made for. The signature is an HMAC-SHA-256, cut to 80 bits (RFC 2104 §5 allows down to half the hash; guessing
//! one takes a mail a try), in base32 because some mail systems fold the local part to one case.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ids::{DeliveryId, PersonId, TicketId};

/// What a signature vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub ticket: TicketId,
    pub delivery: Option<DeliveryId>,
    /// The one recipient it was made for.
    pub person: Option<PersonId>,
}

/// Makes and checks tokens. The first key signs; the others, older ones, still verify.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}

const SIGNATURE_BYTES: usize = 10;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A key for one purpose, made from the master secret: what signs a mail cannot sign a log-in.
pub fn derive(master: &[u8], purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"ticketd key derivation v1\0");
    hash.update(purpose.as_bytes());
    hmac(&hash.finalize(), master)
}

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so this cannot fail; a zero tag would verify nothing.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

impl Signer {
    /// A signer whose keys derive from these master secrets, newest first.
    pub fn new(masters: &[Vec<u8>]) -> Self {
        Self { keys: masters.iter().map(|m| derive(m, "mail tokens")).collect() }
    }

    fn text(token: &Token) -> String {
        let mut text = format!("t{}", token.ticket);
        if let Some(delivery) = token.delivery {
            text.push_str(&format!(".d{delivery}"));
        }
        if let Some(person) = token.person {
            text.push_str(&format!(".p{person}"));
        }
        text
    }

    /// `t1042.d99.p7.SIG`.
    pub fn sign(&self, token: &Token) -> String {
        let text = Self::text(token);
        let key = self.keys.first().copied().unwrap_or_default();
        format!("{text}.{}", signature(&key, &text))
    }

    /// The token of `t1042.d99.p7.SIG`, if one of our keys signed it.
    pub fn verify(&self, signed: &str) -> Option<Token> {
        let signed = signed.to_ascii_lowercase();
        let (text, given) = signed.rsplit_once('.')?;
        let valid = self.keys.iter().fold(false, |valid, key| {
            valid | bool::from(signature(key, text).as_bytes().ct_eq(given.as_bytes()))
        });
        if !valid {
            return None;
        }
        let mut token = Token { ticket: TicketId(0), delivery: None, person: None };
        for part in text.split('.') {
            let number = part.get(1..)?.parse().ok()?;
            match part.as_bytes().first()? {
                b't' => token.ticket = TicketId(number),
                b'd' => token.delivery = Some(DeliveryId(number)),
                b'p' => token.person = Some(PersonId(number)),
                _ => return None,
            }
        }
        Some(token)
    }

    /// The Message-ID (without `<>`) of the mail for `token`, in the domain of `address`.
    pub fn message_id(&self, token: &Token, address: &str) -> String {
        format!("{}@{}", self.sign(token), domain(address))
    }

    /// The Message-ID (without `<>`) of the mail with a code (`l`) or about an account (`a`): signed, and of no ticket.
    pub fn letter_id(&self, kind: char, id: i64, address: &str) -> String {
        let text = format!("{kind}{id}");
        let key = self.keys.first().copied().unwrap_or_default();
        format!("{text}.{}@{}", signature(&key, &text), domain(address))
    }

    /// What stands in the link of a survey: `r1042.p7.SIG`. No address has such a token, and no link that of an address.
    pub fn rating(&self, ticket: TicketId, requester: PersonId) -> String {
        let text = format!("r{ticket}.p{requester}");
        let key = self.keys.first().copied().unwrap_or_default();
        format!("{text}.{}", signature(&key, &text))
    }

    /// Ticket and requester of the link of a survey, if one of our keys signed it.
    pub fn read_rating(&self, signed: &str) -> Option<(TicketId, PersonId)> {
        let (text, given) = signed.rsplit_once('.')?;
        let valid = self.keys.iter().fold(false, |valid, key| {
            valid | bool::from(signature(key, text).as_bytes().ct_eq(given.as_bytes()))
        });
        let (ticket, person) = text.strip_prefix('r')?.split_once(".p")?;
        let named = Some((TicketId(ticket.parse().ok()?), PersonId(person.parse().ok()?)));
        named.filter(|_| valid)
    }

    /// The token in one of our Message-IDs. The domain is not looked at: the signature is proof enough.
    pub fn read_message_id(&self, id: &str) -> Option<Token> {
        self.verify(id.trim_matches(['<', '>']).rsplit_once('@')?.0)
    }

    /// `support+t1042.SIG@example.org`: where answers to `token` go (RFC 5233 calls the part after `+` the detail).
    pub fn address(&self, token: &Token, mailbox: &str) -> String {
        match mailbox.rsplit_once('@') {
            Some((local, domain)) => format!("{local}+{}@{domain}", self.sign(token)),
            None => mailbox.to_owned(),
        }
    }

    /// The token in an address, if it is one of `mailbox` (in lower case) with a detail that we signed.
    pub fn read_address(&self, address: &str, mailbox: &str) -> Option<Token> {
        let address = address.to_lowercase();
        let (local, domain) = address.rsplit_once('@')?;
        let (own_local, own_domain) = mailbox.rsplit_once('@')?;
        let detail = local.strip_prefix(own_local)?.strip_prefix('+')?;
        if domain != own_domain {
            return None;
        }
        self.verify(detail)
    }

    /// A keyed digest of the sender's own loop header: only we can make one.
    pub fn loop_mark(&self, address: &str) -> String {
        let text = format!("loop.{}", address.to_lowercase());
        signature(&self.keys.first().copied().unwrap_or_default(), &text)
    }

    /// Whether a loop header was made by us.
    pub fn is_loop_mark(&self, mark: &str, address: &str) -> bool {
        let text = format!("loop.{}", address.to_lowercase());
        self.keys.iter().any(|key| bool::from(signature(key, &text).as_bytes().ct_eq(mark.trim().as_bytes())))
    }
}

fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("localhost", |(_, domain)| domain)
}

/// RFC 4648 §6 base32, lower case, unpadded; 10 bytes are exactly 16 characters.
fn signature(key: &[u8; 32], text: &str) -> String {
    let tag = hmac(key, text.as_bytes());
    let mut encoded = String::with_capacity(16);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in tag.iter().take(SIGNATURE_BYTES) {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            let index = usize::try_from((bits >> count) & 31).unwrap_or(0);
            encoded.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'a')));
        }
    }
    encoded
}

/// How a Message-ID is looked up: exactly, but for surrounding space and angle brackets (RFC 5322 §3.6.4 ids are
/// case-sensitive).
pub fn id_hash(id: &str) -> [u8; 32] {
    Sha256::digest(id.trim().trim_start_matches('<').trim_end_matches('>').as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(masters: &[&[u8]]) -> Signer {
        Signer::new(&masters.iter().map(|m| m.to_vec()).collect::<Vec<_>>())
    }

    proptest::proptest! {
        #[test]
        fn a_token_reads_back_and_no_other_text_is_one(
            ticket in 1_i64.., delivery in proptest::option::of(1_i64..), person in proptest::option::of(1_i64..),
            at in 0_usize..80, other in "[a-z0-9.+@<>-]|\\PC", any in "\\PC{0,60}",
        ) {
            let signer = signer(&[b"one"]);
            let token = Token {
                ticket: TicketId(ticket),
                delivery: delivery.map(DeliveryId),
                person: person.map(PersonId),
            };
            let signed = signer.sign(&token);
            proptest::prop_assert_eq!(signer.verify(&signed), Some(token));
            let id = signer.message_id(&token, "support@example.org");
            proptest::prop_assert_eq!(signer.read_message_id(&id), Some(token));
            let address = signer.address(&token, "support@example.org");
            proptest::prop_assert_eq!(signer.read_address(&address, "support@example.org"), Some(token));
            let mut changed: Vec<String> = signed.chars().map(String::from).collect();
            let at = at % changed.len();
            if !other.eq_ignore_ascii_case(&changed[at]) {
                changed[at] = other;
                proptest::prop_assert_eq!(signer.verify(&changed.concat()), None);
            }
            proptest::prop_assert_eq!(signer.verify(&any), None);
            proptest::prop_assert_eq!(signer.read_address(&any, "support@example.org"), None);
            proptest::prop_assert_eq!(signer.read_message_id(&any), None);
        }
    }

    #[test]
    fn what_was_signed_reads_back_in_any_case_and_nothing_else_does() {
        let signer = signer(&[b"one"]);
        let token =
            Token { ticket: TicketId(1042), delivery: Some(DeliveryId(99)), person: Some(PersonId(7)) };
        let signed = signer.sign(&token);
        assert!(signed.starts_with("t1042.d99.p7."), "{signed}");
        assert_eq!(signer.verify(&signed), Some(token));
        assert_eq!(signer.verify(&signed.to_uppercase()), Some(token));
        assert_eq!(signer.verify(&signed.replace("1042", "1043")), None);
        for forged in ["", ".", "t1042", "t1042.", "t1042.aaaaaaaaaaaaaaaa", "t1042.d99.p7.", "é.é"] {
            assert_eq!(signer.verify(forged), None, "{forged}");
        }
    }

    #[test]
    fn a_rotated_key_still_verifies_and_a_foreign_one_does_not() {
        let token = Token { ticket: TicketId(1), delivery: None, person: None };
        let signed = signer(&[b"old"]).sign(&token);
        assert_eq!(signer(&[b"new", b"old"]).verify(&signed), Some(token));
        assert_eq!(signer(&[b"new"]).verify(&signed), None);
    }

    #[test]
    fn an_address_carries_its_token_for_our_mailbox_only() {
        let signer = signer(&[b"one"]);
        let token = Token { ticket: TicketId(1042), delivery: None, person: Some(PersonId(3)) };
        let address = signer.address(&token, "support@example.org");
        assert_eq!(signer.read_address(&address, "support@example.org"), Some(token));
        assert_eq!(signer.read_address(&address.to_uppercase(), "support@example.org"), Some(token));
        assert_eq!(signer.read_address(&address, "support@example.net"), None);
        assert_eq!(signer.read_address("support@example.org", "support@example.org"), None);
        let (local, _) = address.split_once('@').unwrap();
        assert!(local.len() <= 64, "RFC 5321 §4.5.3.1.1: {local}");
    }

    #[test]
    fn the_link_of_a_survey_is_no_address_and_an_address_no_link() {
        let signer = signer(&[b"one"]);
        let (ticket, person) = (TicketId(1042), PersonId(7));
        let link = signer.rating(ticket, person);
        assert!(link.starts_with("r1042.p7."), "{link}");
        assert_eq!(signer.read_rating(&link), Some((ticket, person)));
        assert_eq!(signer.verify(&link), None);
        let address = signer.sign(&Token { ticket, delivery: None, person: Some(person) });
        assert_eq!(signer.read_rating(&address), None);
        let forged = [
            link.replace("1042", "1043"),
            link.replace("p7", "p8"),
            link.replacen('r', "t", 1),
            String::new(),
        ];
        for forged in forged {
            assert_eq!(signer.read_rating(&forged), None, "{forged}");
        }
    }

    #[test]
    fn a_message_id_carries_its_token() {
        let signer = signer(&[b"one"]);
        let token = Token { ticket: TicketId(1042), delivery: Some(DeliveryId(1)), person: None };
        let id = signer.message_id(&token, "support@example.org");
        assert!(id.ends_with("@example.org"));
        assert_eq!(signer.read_message_id(&format!("<{id}>")), Some(token));
        assert_eq!(signer.read_message_id("nonsense"), None);
    }
}
