//! A browser, as far as accounts need one: it keeps cookies, follows no redirect by itself, and says which site a request
//! comes from.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::desk::{Desk, STAFF_PASSWORD};

pub struct Browser {
    pub base: String,
    /// An access token, as a page's script keeps one.
    pub token: Option<String>,
    /// Name, and value with path.
    cookies: Mutex<BTreeMap<String, (String, String)>>,
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("{} is not JSON: {}", self.status, self.body))
    }

    /// A field of a JSON answer.
    pub fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    /// A text in a JSON answer that must be there.
    pub fn text(&self, pointer: &str) -> String {
        let found = self.at(pointer);
        found.as_str().unwrap_or_else(|| panic!("no {pointer} in {} {}", self.status, self.body)).to_owned()
    }

    /// Status and detail of a problem.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.body);
        format!("{}: {}", self.status, self.text("/detail"))
    }

    /// Heading and text of a page.
    pub fn page(&self) -> String {
        assert!(self.header("content-type").starts_with("text/html"), "{} {}", self.status, self.body);
        let body = self.body.split_once("<body>").map(|(_, body)| body).unwrap_or_default();
        let text = regex::Regex::new("<[^>]*>").expect("a pattern").replace_all(body, " ");
        format!("{}: {}", self.status, text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Where it leads.
    pub fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.header("location")
    }
}

impl Browser {
    /// A browser that has never been here.
    pub async fn of(desk: &Desk) -> Self {
        Self::at(desk.serves().await.base)
    }

    /// Another one, at the same server.
    pub fn another(&self) -> Self {
        Self::at(self.base.clone())
    }

    fn at(base: String) -> Self {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { base, token: None, cookies: Mutex::default(), client: client.build().expect("a client") }
    }

    /// With an access token and without cookies.
    pub fn with(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.another() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Nothing but the cookies and the token, from a page of this site.
    pub async fn post_empty(&self, path: &str, site: &str) -> Answer {
        self.send(self.request(Method::POST, path).header("sec-fetch-site", site)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Presses the button of a form.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.request(Method::POST, path).form(fields)).await
    }

    /// Logs in as somebody at example.org, with what the answer holds.
    pub async fn log_in(&self, name: &str) -> Answer {
        let email = format!("{}@example.org", name.to_lowercase());
        self.post("/api/auth/login", &serde_json::json!({"email": email, "password": STAFF_PASSWORD})).await
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.get(name).map(|(value, _)| value.clone())
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.insert(name.to_owned(), (value.to_owned(), "/".to_owned()));
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let sent: Vec<String> = cookies
            .iter()
            .filter(|(_, (_, below))| path.starts_with(below.as_str()))
            .map(|(name, (value, _))| format!("{name}={value}"))
            .collect();
        if !sent.is_empty() {
            request = request.header("cookie", sent.join("; "));
        }
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = request.header("user-agent", "Test Browser/1.0").send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        for line in headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()) {
            self.keep(line);
        }
        Answer { status, headers, body: answer.text().await.expect("a body") }
    }

    fn keep(&self, line: &str) {
        let mut parts = line.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie");
        let attributes: Vec<&str> = parts.collect();
        assert!(attributes.contains(&"HttpOnly"), "scripts can read {line}");
        let path = attributes.iter().find_map(|a| a.strip_prefix("Path=")).unwrap_or("/");
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        if attributes.contains(&"Max-Age=0") {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), (value.to_owned(), path.to_owned()));
        }
    }
}
