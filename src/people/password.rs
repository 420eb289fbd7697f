//! Passwords: argon2id, off the async threads, a bounded number at a time.

use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::{Context, anyhow, bail};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hashing takes 19 MiB and all of a core: no more at once than this, whoever asks.
static AT_ONCE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// A turn, which belongs to the work and not to who waits for it: who hangs up does not make room for another one.
async fn turn() -> anyhow::Result<OwnedSemaphorePermit> {
    Ok(Arc::clone(&AT_ONCE).acquire_owned().await?)
}

/// OWASP's first recommendation for argon2id: 19 MiB, 2 passes, 1 lane
/// (Password Storage Cheat Sheet, "Argon2id").
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

fn argon2() -> anyhow::Result<Argon2<'static>> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| anyhow!("argon2 parameters: {e}"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Refuses what can be guessed at once (NIST SP 800-63B §5.1.1.2 asks for length, not for kinds of characters).
pub fn check_strength(password: &SecretString) -> anyhow::Result<()> {
    let length = password.expose_secret().chars().count();
    if length < 10 {
        bail!("the password has {length} characters: take at least 10");
    }
    if length > 512 {
        bail!("the password has more than 512 characters");
    }
    Ok(())
}

/// Whether a stored hash was made otherwise than hashes are made today.
pub fn is_outdated(hash: &str) -> bool {
    !hash.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"))
}

/// Hashes with a fresh salt, as a PHC string.
pub async fn hash(password: SecretString) -> anyhow::Result<String> {
    let turn = turn().await?;
    let hash = move || {
        let _turn = turn;
        hash_now(&password)
    };
    tokio::task::spawn_blocking(hash).await.context("the hashing thread died")?
}

fn hash_now(password: &SecretString) -> anyhow::Result<String> {
    let hash = argon2()?.hash_password(password.expose_secret().as_bytes());
    Ok(hash.map_err(|e| anyhow!("cannot hash the password: {e}"))?.to_string())
}

/// Compares with `hash`; where there is none, with one that nothing matches, at the same cost.
pub async fn verify(password: SecretString, hash: Option<String>) -> anyhow::Result<bool> {
    static NOBODY: OnceLock<String> = OnceLock::new();
    let turn = turn().await?;
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => {
                if let Some(hash) = NOBODY.get() {
                    hash.clone()
                } else {
                    let fresh = hash_now(&SecretString::from("nobody has this password"))?;
                    NOBODY.get_or_init(|| fresh).clone()
                }
            }
        };
        let parsed =
            PasswordHash::new(&hash).map_err(|e| anyhow!("a stored password hash cannot be read: {e}"))?;
        let matches = argon2()?.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
        Ok(matches && known)
    })
    .await
    .context("the hashing thread died")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let hash = hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!verify("correct hors".into(), Some(hash)).await.unwrap());
        assert!(!verify("nobody has this password".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_other_days_is_still_read_and_known_as_such() {
        let old =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).unwrap());
        let old = old.hash_password(b"correct horse").unwrap().to_string();
        assert!(is_outdated(&old), "{old}");
        assert!(verify("correct horse".into(), Some(old)).await.unwrap());
        assert!(!is_outdated(&hash("correct horse".into()).await.unwrap()));
    }

    #[test]
    fn short_passwords_are_refused() {
        assert!(check_strength(&"123456789".into()).is_err());
        assert!(check_strength(&"1234567890".into()).is_ok());
    }
}
