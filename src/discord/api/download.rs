//! Fetching the files of messages: from Discord's own hosts only, no larger than allowed, never redirected.

use std::time::Duration;

use reqwest::Url;

use super::{Api, ApiError, send, within};
use crate::config::is_loopback;

/// For one file.
const DEADLINE: Duration = Duration::from_mins(1);

/// Why there is no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// Not fetched.
    #[error("the file is not on a host that files may be fetched from")]
    Elsewhere,
    #[error("the file is larger than allowed")]
    TooLarge,
    /// The address has expired, or the message is deleted.
    #[error("the file is not there any more (HTTP {0})")]
    Gone(u16),
    /// Worth another try.
    #[error("the file can't be fetched")]
    Failed(#[source] ApiError),
}

impl Api {
    /// The file at an attachment's address.
    pub async fn download(
        &self,
        url: &str,
        hosts: &[String],
        max_bytes: usize,
    ) -> Result<Vec<u8>, DownloadError> {
        let url = allowed(url, hosts).ok_or(DownloadError::Elsewhere)?;
        let fetch = async {
            let response = self.direct.client().get(url).timeout(DEADLINE).send().await;
            let response = response.map_err(super::error::unreachable)?;
            Ok(match response.status().as_u16() {
                200 if response.content_length().is_some_and(|length| length > max_bytes as u64) => {
                    Err(DownloadError::TooLarge)
                }
                200 => send::take(response, max_bytes).await?.ok_or(DownloadError::TooLarge),
                status @ (408 | 429 | 500..) => Err(DownloadError::Failed(ApiError::Server(status))),
                status => Err(DownloadError::Gone(status)),
            })
        };
        within(DEADLINE, fetch).await.map_err(DownloadError::Failed)?
    }
}

/// The address, if files may be fetched from there: https, or http from a loopback address that is named.
fn allowed(url: &str, hosts: &[String]) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    let is_named = |name: &String| {
        let here = is_loopback(host) || url.port().is_none();
        (here && name.eq_ignore_ascii_case(host))
            || with_port.as_ref().is_some_and(|with_port| name.eq_ignore_ascii_case(with_port))
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(host));
    let has_login = !url.username().is_empty() || url.password().is_some();
    (is_safe && !has_login && hosts.iter().any(is_named)).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_that_are_named_and_only_safely() {
        let hosts = ["cdn.discordapp.com", "127.0.0.1:4010"].map(str::to_owned);
        let is_allowed = |url: &str| allowed(url, &hosts).is_some();
        assert!(is_allowed("https://cdn.discordapp.com/attachments/1/2/log.txt?ex=1&is=2&hm=3"));
        assert!(is_allowed("https://CDN.discordapp.com/x"));
        assert!(is_allowed("http://127.0.0.1:4010/x"));
        for other in [
            "http://cdn.discordapp.com/x",
            "https://cdn.discordapp.com:8443/x",
            "https://cdn.discordapp.com.evil.example/x",
            "https://cdn.discordapp.com@evil.example/x",
            "https://evil.example@cdn.discordapp.com/x",
            "https://evil.example/cdn.discordapp.com",
            "https://169.254.169.254/latest/meta-data",
            "http://127.0.0.1/x",
            "http://127.0.0.1:4011/x",
            "file:///etc/passwd",
            "ftp://cdn.discordapp.com/x",
            "cdn.discordapp.com/x",
            "",
        ] {
            assert!(!is_allowed(other), "{other}");
        }
        assert!(allowed("http://localhost:99/x", &["localhost".to_owned()]).is_some());
    }
}
