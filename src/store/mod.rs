//! Where the contents of files lie: a local folder, or a bucket that speaks S3's protocol.
//!
//! An object's name is the SHA-256 of its content and a number that is never used again: what is deleted late, by whoever
//! thought so for too long, is never what somebody has put there since. What is read is checked against its hash.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, RetryConfig};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::config::{Attachments, S3};

pub mod disk;
mod http;

/// For one object, retries included. A job that moves several has more time than this, and a request at the API too.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Within it: a server that stumbles once need not fail the job.
const RETRIES: usize = 2;

/// The SHA-256 of a content.
pub type Sha = [u8; 32];

/// The name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub sha256: Sha,
    /// Tells it from every other object of the same content, of before and of later.
    pub number: i64,
}

/// `ab/cd/abcd….7`: folders stay small, and a person finds a content by its hash.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.sha256.iter().take(2) {
            write!(f, "{byte:02x}/")?;
        }
        for byte in self.sha256 {
            write!(f, "{byte:02x}")?;
        }
        write!(f, ".{}", self.number)
    }
}

/// Why a content could not be written, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may work later.
    #[error("the store of attachments ({place}) cannot {what}")]
    Away { place: Arc<str>, what: &'static str, source: anyhow::Error },
    #[error("the store of attachments ({0}) has no object {1}: restore it from a backup")]
    Missing(Arc<str>, Object),
    #[error(
        "the store of attachments ({0}) gives other bytes for {1} than were put there: restore it from a backup"
    )]
    Damaged(Arc<str>, Object),
}

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// Before each name; empty or with a slash at its end.
    prefix: Arc<str>,
    /// For people: the folder, or the bucket.
    place: Arc<str>,
    folder: Option<Arc<Path>>,
}

impl Store {
    /// Opens what is configured; makes the folder where it is not there.
    pub fn open(config: &Attachments, data_dir: &Path) -> anyhow::Result<Self> {
        match &config.s3 {
            Some(s3) => Self::bucket(s3),
            None => Self::folder(&config.folder(data_dir)),
        }
    }

    fn folder(path: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        // Customers' files: for nobody else on this machine.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
            format!(
                "cannot make the folder {} for attachments: let the user ticketd runs as write there, or set \
                 attachments.path",
                path.display()
            )
        })?;
        // Written to the disk, folders too, before it is said to be there: the row that names it is.
        let objects = LocalFileSystem::new_with_prefix(path)
            .with_context(|| format!("cannot use the folder {} for attachments", path.display()))?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            prefix: "".into(),
            place: format!("folder {}", path.display()).into(),
            folder: Some(path.into()),
        })
    }

    fn bucket(s3: &S3) -> anyhow::Result<Self> {
        let (id, secret) = s3.key()?;
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: TIME_LIMIT, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&s3.bucket)
            .with_region(&s3.region)
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret())
            .with_virtual_hosted_style_request(!s3.path_style)
            .with_allow_http(s3.allow_http)
            .with_retry(retry)
            .with_http_connector(http::Connector::new(s3.ca_file.as_deref(), s3.allow_http)?);
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let objects = builder.build().context("attachments: s3 is configured in a way that cannot work")?;
        let prefix = s3.prefix.trim_matches('/');
        Ok(Self {
            objects: Arc::new(objects),
            prefix: if prefix.is_empty() { "".into() } else { format!("{prefix}/").into() },
            place: format!("bucket {}", s3.bucket).into(),
            folder: None,
        })
    }

    fn path(&self, object: Object) -> object_store::path::Path {
        object_store::path::Path::from(format!("{}{object}", self.prefix))
    }

    fn away(&self, what: &'static str, error: &anyhow::Error) -> StoreError {
        // Its text holds those of its causes already.
        StoreError::Away { place: Arc::clone(&self.place), what, source: anyhow!("{error}") }
    }

    /// Writes a content. When this returns it survives a loss of power.
    pub async fn put(&self, object: Object, content: Bytes) -> Result<(), StoreError> {
        let put = self.within(async { self.objects.put(&self.path(object), content.into()).await }).await;
        put.map(|_| ()).map_err(|error| self.away("take a file", &error))
    }

    /// Reads a content, and checks that it is what was put there.
    pub async fn get(&self, object: Object) -> Result<Bytes, StoreError> {
        let got = self.within(async { self.objects.get(&self.path(object)).await?.bytes().await }).await;
        let content = match got {
            Ok(content) => content,
            Err(error) if is_missing(&error) => {
                return Err(StoreError::Missing(Arc::clone(&self.place), object));
            }
            Err(error) => return Err(self.away("give a file", &error)),
        };
        if Sha::from(Sha256::digest(&content)) != object.sha256 {
            return Err(StoreError::Damaged(Arc::clone(&self.place), object));
        }
        Ok(content)
    }

    /// Deletes a content, and what a death while it was written left of it. That nothing is there is success.
    pub async fn delete(&self, object: Object) -> Result<(), StoreError> {
        let path = self.path(object);
        if let Some(folder) = &self.folder {
            // What is written and not yet renamed. Each object is written once, so there is one such name.
            let begun = folder.join(format!("{path}#1"));
            match tokio::fs::remove_file(begun).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.away("delete a file", &error.into()));
                }
                _ => {}
            }
        }
        match self.within(async { self.objects.delete(&path).await }).await {
            Err(error) if !is_missing(&error) => Err(self.away("delete a file", &error)),
            _ => Ok(()),
        }
    }

    /// Writes, reads and deletes an object: for `ticketd doctor`. Says where.
    pub async fn probe(&self) -> Result<String, StoreError> {
        let content = Bytes::from(format!("ticketd doctor {:016x}", rand::random::<u64>()));
        let object = Object { sha256: Sha256::digest(&content).into(), number: 0 };
        self.put(object, content).await?;
        let read = self.get(object).await;
        self.delete(object).await?;
        read.map(|_| format!("{} takes, gives and deletes files", self.place))
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send,
    ) -> anyhow::Result<T> {
        match tokio::time::timeout(TIME_LIMIT, work).await {
            Ok(result) => Ok(result?),
            Err(_elapsed) => Err(anyhow!("no answer within {} s", TIME_LIMIT.as_secs())),
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::NotFound { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(content: &[u8]) -> Object {
        Object { sha256: Sha256::digest(content).into(), number: 7 }
    }

    async fn error(store: &Store, object: Object) -> String {
        let error = format!("{:#}", anyhow::Error::from(store.get(object).await.unwrap_err()));
        error.replace(store.place.as_ref(), "folder F")
    }

    #[tokio::test]
    async fn a_content_comes_back_as_it_was_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let config = Attachments { path: Some(folder.path().join("a/b")), ..Attachments::default() };
        let store = Store::open(&config, Path::new("/nowhere")).unwrap();
        let hello = object(b"hello");
        insta::assert_snapshot!(hello, @"2c/f2/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.7");
        insta::assert_snapshot!(error(&store, hello).await, @"the store of attachments (folder F) has no object 2c/f2/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.7: restore it from a backup");
        store.put(hello, Bytes::from_static(b"hello")).await.unwrap();
        store.put(hello, Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(store.get(hello).await.unwrap(), "hello");
        let file = folder.path().join("a/b").join(hello.to_string());
        std::fs::write(&file, "hellO").unwrap();
        insta::assert_snapshot!(error(&store, hello).await, @"the store of attachments (folder F) gives other bytes for 2c/f2/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.7 than were put there: restore it from a backup");
        let begun = file.with_extension("7#1");
        std::fs::write(&begun, "hel").unwrap();
        store.delete(hello).await.unwrap();
        store.delete(hello).await.unwrap();
        assert!(!file.exists() && !begun.exists());
        assert!(store.probe().await.unwrap().ends_with("takes, gives and deletes files"));
        std::fs::remove_dir_all(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a"), "no folder").unwrap();
        let put = store.put(hello, Bytes::from_static(b"hello")).await.unwrap_err();
        let error = format!("{:#}", anyhow::Error::from(put));
        insta::assert_snapshot!(error.replace(folder.path().to_str().unwrap(), "F"), @"the store of attachments (folder F/a/b) cannot take a file: Generic LocalFileSystem error: Unable to open file F/a/b/2c/f2/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.7#1: Not a directory (os error 20)");
        let error = Store::open(&config, Path::new("/nowhere")).unwrap_err();
        insta::assert_snapshot!(format!("{error:#}").replace(folder.path().to_str().unwrap(), "F"), @"cannot make the folder F/a/b for attachments: let the user ticketd runs as write there, or set attachments.path: Not a directory (os error 20)");
    }
}
