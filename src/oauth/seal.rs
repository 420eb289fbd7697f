//! Refresh tokens at rest: who reads the database, or a copy of it, gets into no mailbox.

use anyhow::{Context, bail};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::{ExposeSecret, SecretString};

use crate::mail::token::{derive, hmac};

/// Of the format, so that another one can follow.
const VERSION: u8 = 1;

/// Encrypts and decrypts (AES-256-GCM). The first key encrypts; the others, older ones, still decrypt.
pub(super) struct Seal {
    keys: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seal({} keys)", self.keys.len())
    }
}

impl Seal {
    /// Keys derive from the master secrets, newest first.
    pub(super) fn new(masters: &[Vec<u8>]) -> Self {
        Self { keys: masters.iter().map(|master| derive(master, "oauth tokens")).collect() }
    }

    /// `of` is what it belongs to: moved to another row it can't be read.
    pub(super) fn close(&self, token: &SecretString, of: &[u8]) -> anyhow::Result<Vec<u8>> {
        let key = self.keys.first().and_then(aead).context("there is no key to encrypt a token with")?;
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = token.expose_secret().as_bytes().to_vec();
        let sealed =
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(of), &mut bytes);
        if sealed.is_err() {
            bail!("a token can't be encrypted");
        }
        let mut whole = vec![VERSION];
        whole.extend_from_slice(&nonce);
        whole.append(&mut bytes);
        Ok(whole)
    }

    /// `None`: none of our keys closed it, or not for this.
    pub(super) fn open(&self, sealed: &[u8], of: &[u8]) -> Option<SecretString> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, bytes) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *version != VERSION {
            return None;
        }
        self.keys.iter().filter_map(aead).find_map(|key| {
            let mut bytes = bytes.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let plain = key.open_in_place(nonce, Aad::from(of), &mut bytes).ok()?;
            Some(String::from_utf8(plain.to_vec()).ok()?.into())
        })
    }

    /// Tells whether a secret is another one, and not which it is.
    pub(super) fn mark(&self, secret: Option<&SecretString>) -> Vec<u8> {
        let key = self.keys.first().copied().unwrap_or_default();
        hmac(&key, secret.map_or("", |secret| secret.expose_secret()).as_bytes()).to_vec()
    }
}

fn aead(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(masters: &[&[u8]]) -> Seal {
        Seal::new(&masters.iter().map(|master| master.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_token_is_read_by_its_row_and_our_keys_and_by_nothing_else() {
        let token: SecretString = "1//refresh".to_owned().into();
        let old = seal(&[b"old"]);
        let sealed = old.close(&token, b"row").unwrap();
        let read = |seal: &Seal, sealed: &[u8], row: &[u8]| {
            seal.open(sealed, row).map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(read(&old, &sealed, b"row").as_deref(), Some("1//refresh"));
        assert_eq!(read(&seal(&[b"new", b"old"]), &sealed, b"row").as_deref(), Some("1//refresh"));
        assert_eq!(read(&seal(&[b"new"]), &sealed, b"row"), None, "another key");
        assert_eq!(read(&old, &sealed, b"other"), None, "another row");
        assert!(!sealed.windows(7).any(|part| part == b"refresh"));
        assert_ne!(sealed, old.close(&token, b"row").unwrap(), "a nonce is used once");
        for cut in 0..sealed.len() {
            assert_eq!(read(&old, sealed.get(..cut).unwrap(), b"row"), None);
        }
    }
}
