//! Random secrets that somebody shows to prove who they are: handed out once, and kept as a hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A secret as it is handed out. It does not show itself in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// 256 random bits behind a prefix that says what it is for, so that one that leaked can be recognized by what looks for
    /// leaked secrets.
    pub(super) fn fresh(prefix: &str) -> Self {
        let bits: [u8; 32] = rand::random();
        Self(format!("{prefix}{}", encode(&bits)))
    }

    pub(super) fn of(text: String) -> Self {
        Self(text)
    }

    /// For whoever it was made for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is kept of a secret. It is random and long, so a fast hash is enough: nothing can be guessed.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Base64 for addresses (RFC 4648 §5), without padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Random text for protocols that want some: 256 bits.
pub fn nonce() -> String {
    encode(&rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_new_each_time_and_shows_itself_to_nobody() {
        let (one, two) = (Secret::fresh("tdr_"), Secret::fresh("tdr_"));
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), 4 + 43);
        assert!(one.expose().starts_with("tdr_"));
        assert_eq!(one.hash(), hash(one.expose()));
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }
}
