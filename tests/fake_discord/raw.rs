//! Discord's API and gateway by hand, to ask for what no library would.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::bot;
use crate::harness::discord::{Discord, TOKEN};
use crate::harness::wait::PATIENCE;

/// How long nothing must come before a test believes that nothing will.
const SILENCE: Duration = Duration::from_millis(100);

/// What is at a place of some JSON; null, if nothing is.
pub fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    value.pointer(place).unwrap_or(&NOTHING)
}

/// The id in an answer.
pub fn id_of(value: &Value) -> u64 {
    at(value, "/id").as_str().expect("an id").parse().expect("a number")
}

/// Where the gateway is.
pub async fn gateway(discord: &Discord) -> String {
    at(&Raw::new(discord).get("/gateway").await, "/url").as_str().expect("an address").to_owned()
}

/// A client of the API that sends what it is told to.
pub struct Raw {
    client: Client,
    base: String,
}

impl Raw {
    /// On the way that serenity takes.
    pub fn new(discord: &Discord) -> Self {
        Self { client: bot::client(discord), base: "https://discord.com".to_owned() }
    }

    /// On plain HTTP.
    pub fn plain(discord: &Discord) -> Self {
        Self { client: bot::client(discord), base: discord.plain_url() }
    }

    /// Status and JSON of the answer; no JSON is null.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.ask_as(&format!("Bot {TOKEN}"), method, path, body).await.expect("an answer")
    }

    pub async fn ask_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value), reqwest::Error> {
        let request = self.client.request(method, format!("{}/api/v10{path}", self.base));
        let request = if token.is_empty() { request } else { request.header("authorization", token) };
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        Ok((status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(Method::POST, path, body).await;
        assert!(
            StatusCode::from_u16(status).is_ok_and(|status| status.is_success()),
            "{path}: {status} {body}"
        );
        body
    }

    /// Status and code of a refusal.
    pub async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, u64) {
        let (status, answer) = self.ask(method, path, body).await;
        (status, at(&answer, "/code").as_u64().unwrap_or_else(|| panic!("{path}: {status} {answer}")))
    }
}

/// A connection to the gateway.
pub struct Line {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub sequence: u64,
}

impl Line {
    /// Says nothing yet.
    pub async fn connect(discord: &Discord) -> Self {
        let url = gateway(discord).await;
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("a gateway");
        let mut line = Self { socket, sequence: 0 };
        let hello = line.frame().await.expect("a greeting");
        assert_eq!(*at(&hello, "/op"), 10);
        line
    }

    /// Identified with these intents, past READY and the guilds. With the name of its session.
    pub async fn identified(discord: &Discord, intents: u64) -> (Self, String) {
        let mut line = Self::connect(discord).await;
        line.identify(TOKEN, intents).await;
        let ready = line.event().await;
        for _ in at(&ready, "/d/guilds").as_array().expect("guilds") {
            assert_eq!(line.hears().await.0, "GUILD_CREATE");
        }
        (line, at(&ready, "/d/session_id").as_str().expect("a session").to_owned())
    }

    pub async fn identify(&mut self, token: &str, intents: u64) {
        let properties = json!({"os": "linux", "browser": "test", "device": "test"});
        self.send(json!({"op": 2, "d": {"token": token, "intents": intents, "properties": properties}}))
            .await;
    }

    pub async fn resume(&mut self, session: &str, sequence: u64) {
        self.send(json!({"op": 6, "d": {"token": TOKEN, "session_id": session, "seq": sequence}})).await;
    }

    pub async fn send(&mut self, frame: Value) {
        self.socket.send(Frame::Text(frame.to_string())).await.expect("it goes out");
    }

    /// The next frame; or the code with which the connection was closed, 0 for none.
    pub async fn frame(&mut self) -> Result<Value, u16> {
        let frame = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
        match frame {
            Some(Ok(Frame::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                self.sequence = at(&frame, "/s").as_u64().unwrap_or(self.sequence);
                Ok(frame)
            }
            Some(Ok(Frame::Close(Some(reason)))) => Err(reason.code.into()),
            Some(Ok(_) | Err(_)) | None => Err(0),
        }
    }

    pub async fn event(&mut self) -> Value {
        let frame = self.frame().await.expect("it stays connected");
        assert_eq!(*at(&frame, "/op"), 0, "{frame}");
        frame
    }

    /// Name of the next event, and the content of its message.
    pub async fn hears(&mut self) -> (String, String) {
        let event = self.event().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(at(&event, "/t")), text(at(&event, "/d/content")))
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.socket.next()).await.is_err()
    }

    /// Signs off.
    pub async fn signs_off(mut self) {
        let reason = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(reason)).await.ok();
    }
}
