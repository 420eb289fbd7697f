//! Requests to the API with everything that one can carry, and answers with everything that one has.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;
use ticketd::ids::PersonId;
use ticketd::people;

use super::desk::{Api, Desk, STAFF_PASSWORD};

/// A request on its way.
pub struct Ask {
    request: reqwest::RequestBuilder,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Api {
    pub fn ask(&self, method: &Method, path: &str) -> Ask {
        let client = Client::builder().no_proxy().build().expect("a client");
        let mut request = client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        Ask { request }
    }

    pub async fn read(&self, path: &str) -> Answer {
        self.ask(&Method::GET, path).send().await
    }

    pub async fn posts(&self, path: &str, body: &Value) -> Answer {
        self.ask(&Method::POST, path).json(body).send().await
    }

    /// A POST without a body.
    pub async fn does(&self, path: &str) -> Answer {
        self.ask(&Method::POST, path).send().await
    }

    pub async fn patches(&self, path: &str, body: &Value) -> Answer {
        self.ask(&Method::PATCH, path).json(body).send().await
    }

    pub async fn puts(&self, path: &str, body: &Value) -> Answer {
        self.ask(&Method::PUT, path).json(body).send().await
    }

    pub async fn deletes(&self, path: &str) -> Answer {
        self.ask(&Method::DELETE, path).send().await
    }

    /// Whoever is not logged in.
    pub fn nobody(&self) -> Self {
        let mut nobody = self.clone();
        nobody.token = None;
        nobody
    }
}

impl Ask {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.body(body.into());
        self
    }

    pub async fn send(self) -> Answer {
        let answer = self.request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, bytes: answer.bytes().await.expect("a body").to_vec() }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The body of an answer that must have this status.
    pub fn with(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Status and detail of a problem.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{} {}",
            self.status,
            self.text()
        );
        let body = self.json();
        format!("{}: {}", self.status, body.pointer("/detail").and_then(Value::as_str).expect("a detail"))
    }
}

impl Desk {
    /// Somebody with an account: an address that is theirs for sure, and a password.
    pub async fn registers(&self, name: &str) -> PersonId {
        let address = format!("{}@example.org", name.to_lowercase());
        let now = self.clock.now();
        let mut tx = self.db.begin().await.expect("a transaction");
        let person = people::by_address(&mut tx, &address, name, now).await.expect("a person");
        tx.commit().await.expect("a commit");
        sqlx::query("UPDATE identities SET verified_at = $2 WHERE address = $1")
            .bind(&address)
            .bind(now)
            .execute(&self.db)
            .await
            .expect("an address");
        people::set_password(&self.db, person, STAFF_PASSWORD.into(), now).await.expect("a password");
        person
    }
}
