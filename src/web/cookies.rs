//! Cookies: a refresh token for pages in a browser, and what ties a sign-in by another to the browser it began in.
//!
//! No cookie gives a right by itself: the API takes access tokens only. Where one is read, the request must come from a page
//! of our own.

use axum::http::{HeaderMap, HeaderValue, header};

use super::error::Error;
use crate::config::Http;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The refresh token. Scripts can't read it, and no other site can have it sent.
    Refresh,
    /// The browser in which a sign-in by another began. The provider leads back here, so it must come along with that.
    SignIn,
}

impl Cookie {
    /// The prefixes have browsers refuse a cookie that was not set by us over TLS (RFC 6265bis §4.1.3).
    fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Refresh, true) => "__Secure-ticketd_refresh",
            (Self::Refresh, false) => "ticketd_refresh",
            (Self::SignIn, true) => "__Host-ticketd_oidc",
            (Self::SignIn, false) => "ticketd_oidc",
        }
    }

    fn attributes(self) -> &'static str {
        match self {
            Self::Refresh => "Path=/api/auth; SameSite=Strict; HttpOnly",
            Self::SignIn => "Path=/; SameSite=Lax; HttpOnly",
        }
    }

    /// The header that sets it for so many seconds; 0 removes it.
    pub(super) fn set(self, http: &Http, value: &str, seconds: i64) -> Result<HeaderValue, Error> {
        let (name, attributes) = (self.name(http.is_https()), self.attributes());
        let secure = if http.is_https() { "; Secure" } else { "" };
        let text = format!("{name}={value}; Max-Age={seconds}; {attributes}{secure}");
        HeaderValue::from_str(&text).map_err(|e| Error::Internal(e.into()))
    }

    /// What the browser sent.
    pub(super) fn read(self, http: &Http, headers: &HeaderMap) -> Option<String> {
        let name = self.name(http.is_https());
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value.to_owned())
    }
}

/// Refuses what a page of another site had the browser send. Programs that are no browsers send neither header, and have
/// no cookies that anybody could misuse.
pub(super) fn check_own_page(http: &Http, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let own = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => is_own_origin(http, origin, text("host")),
        (None, None) => true,
    };
    if own { Ok(()) } else { Err(Error::Refused("this is taken from our own pages only".to_owned())) }
}

fn is_own_origin(http: &Http, origin: &str, host: Option<&str>) -> bool {
    match &http.public_url {
        Some(url) => reqwest::Url::parse(url).is_ok_and(|u| u.origin().ascii_serialization() == origin),
        None => host.is_some_and(|host| origin == format!("http://{host}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(public_url: Option<&str>) -> Http {
        Http { public_url: public_url.map(str::to_owned), ..Http::default() }
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn cookies_are_as_strict_as_browsers_can_be_told() {
        let (secure, plain) = (http(Some("https://help.example.org/")), http(None));
        let set =
            |cookie: Cookie, http: &Http| cookie.set(http, "x", 60).unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(set(Cookie::Refresh, &secure), @"__Secure-ticketd_refresh=x; Max-Age=60; Path=/api/auth; SameSite=Strict; HttpOnly; Secure");
        insta::assert_snapshot!(set(Cookie::SignIn, &secure), @"__Host-ticketd_oidc=x; Max-Age=60; Path=/; SameSite=Lax; HttpOnly; Secure");
        insta::assert_snapshot!(set(Cookie::Refresh, &plain), @"ticketd_refresh=x; Max-Age=60; Path=/api/auth; SameSite=Strict; HttpOnly");
        let sent = headers(&[("cookie", "a=b; ticketd_refresh=tdr_1; ticketd_oidc=")]);
        assert_eq!(Cookie::Refresh.read(&plain, &sent).as_deref(), Some("tdr_1"));
        assert_eq!(Cookie::SignIn.read(&plain, &sent), None);
        assert_eq!(
            Cookie::Refresh.read(&secure, &sent),
            None,
            "a cookie without the prefix may be anybody's"
        );
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let own = http(Some("https://help.example.org"));
        let taken =
            |http: &Http, list: &[(&'static str, &'static str)]| check_own_page(http, &headers(list)).is_ok();
        assert!(taken(&own, &[("sec-fetch-site", "same-origin")]));
        assert!(!taken(&own, &[("sec-fetch-site", "same-site")]));
        assert!(!taken(&own, &[("sec-fetch-site", "cross-site"), ("origin", "https://help.example.org")]));
        assert!(taken(&own, &[("origin", "https://help.example.org")]));
        for origin in
            ["https://evil.example", "http://help.example.org", "https://help.example.org.evil", "null"]
        {
            assert!(!taken(&own, &[("origin", origin)]), "{origin}");
        }
        assert!(taken(&http(None), &[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        assert!(!taken(&http(None), &[("origin", "http://evil.example"), ("host", "127.0.0.1:8080")]));
        assert!(taken(&own, &[]), "no browser");
    }
}
