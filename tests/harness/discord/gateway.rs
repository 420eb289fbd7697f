//! The fake's gateway: sessions, what is dispatched to them, and what can happen to their connections.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::world::{BOT, GUILD, Id, OTHER_GUILD, TOKEN, World};
use super::{Shared, wire};

/// Gateway intents: <https://discord.com/developers/docs/events/gateway#gateway-intents>.
const GUILDS: u64 = 1 << 0;
const GUILD_MEMBERS: u64 = 1 << 1;
const GUILD_PRESENCES: u64 = 1 << 8;
const GUILD_MESSAGES: u64 = 1 << 9;
const DIRECT_MESSAGES: u64 = 1 << 12;
const MESSAGE_CONTENT: u64 = 1 << 15;

#[derive(Debug)]
pub struct Gateway {
    sessions: Vec<Session>,
    count: usize,
    /// Identified and resumed sessions so far.
    pub identified: usize,
    pub resumed: usize,
    pub heartbeat: Duration,
    /// Heartbeats are heard and not acknowledged.
    pub deaf: bool,
    /// So many connections to come are refused.
    pub refuses: usize,
    /// Every event is delivered twice.
    pub doubles: bool,
    /// Messages come in a shape that no library knows.
    pub distorts: bool,
    /// Events wait here while they are withheld.
    pub withheld: Option<Vec<Event>>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            sessions: Vec::new(),
            count: 0,
            identified: 0,
            resumed: 0,
            heartbeat: Duration::from_millis(41_250),
            deaf: false,
            refuses: 0,
            doubles: false,
            distorts: false,
            withheld: None,
        }
    }
}

#[derive(Debug)]
struct Session {
    name: String,
    intents: u64,
    sent: Vec<Value>,
    line: Option<UnboundedSender<Order>>,
}

/// What the world tells a connection to do.
#[derive(Clone, Debug)]
pub enum Order {
    Send(Value),
    /// A close frame with this code.
    Close(u16),
    /// A close frame that says nothing.
    CloseWithoutCode,
    /// The connection breaks without a word.
    Drop,
}

/// Something that happened, for every bot that may know of it.
#[derive(Clone, Debug)]
pub struct Event {
    name: &'static str,
    channel: Option<Id>,
    /// The author of a message, whose content is private.
    author: Option<Id>,
    data: Value,
}

impl Event {
    pub fn in_channel(name: &'static str, channel: Id, data: Value) -> Self {
        Self { name, channel: Some(channel), author: None, data }
    }

    pub fn in_guild(name: &'static str, data: Value) -> Self {
        Self { name, channel: None, author: None, data }
    }

    /// Interactions reach the bot whatever its intents.
    pub fn interaction(data: Value) -> Self {
        Self { name: "INTERACTION_CREATE", channel: None, author: None, data }
    }
}

impl World {
    /// Tells all bots that are, or were and may come back.
    pub fn tell(&mut self, event: Event) {
        if let Some(waiting) = &mut self.gateway.withheld {
            waiting.push(event);
            return;
        }
        let there = event.channel.and_then(|id| self.channels.get(&id));
        let is_direct = there.is_some_and(|channel| channel.guild.is_none());
        if event
            .channel
            .is_some_and(|id| self.channels.contains_key(&id) && self.forbidden(id) == Some(50001))
        {
            return; // the bot does not see it
        }
        let needed = match event.name {
            "INTERACTION_CREATE" => 0,
            name if name.starts_with("MESSAGE_") && is_direct => DIRECT_MESSAGES,
            name if name.starts_with("MESSAGE_") => GUILD_MESSAGES,
            _ => GUILDS,
        };
        let mentions_bot = event.data.get("mentions").and_then(Value::as_array).is_some_and(|people| {
            people.iter().any(|user| user.get("id").and_then(Value::as_str) == Some(&BOT.to_string()))
        });
        let is_open = event.author.is_none_or(|author| author == BOT) || mentions_bot || is_direct;
        let times = if self.gateway.doubles { 2 } else { 1 };
        for session in &mut self.gateway.sessions {
            if session.intents & needed != needed {
                continue;
            }
            let mut data = event.data.clone();
            if !is_open && session.intents & MESSAGE_CONTENT == 0 {
                wire::without_content(&mut data);
            }
            if self.gateway.distorts && event.name == "MESSAGE_CREATE" {
                wire::set(&mut data, "mentions", "?");
            }
            for _ in 0..times {
                session.dispatch(event.name, &data);
            }
        }
    }

    pub fn tell_message(&mut self, name: &'static str, id: Id) {
        let Some(message) = self.messages.get(&id).filter(|message| message.only_for.is_none()) else {
            return;
        };
        let (channel, author) = (message.channel, message.author);
        let data = wire::told_message(self, message);
        self.tell(Event { name, channel: Some(channel), author: Some(author), data });
    }

    pub fn tell_channel(&mut self, name: &'static str, id: Id) {
        let mut data = wire::channel(self, self.channel(id));
        if name == "THREAD_CREATE" {
            wire::set(&mut data, "newly_created", true);
        }
        self.tell(Event::in_channel(name, id, data));
    }
}

impl Gateway {
    /// Sessions that have a connection.
    pub fn connected(&self) -> usize {
        self.sessions.iter().filter(|session| session.line.is_some()).count()
    }

    /// To every connection.
    pub fn order(&self, order: &Order) {
        for line in self.sessions.iter().filter_map(|session| session.line.as_ref()) {
            line.send(order.clone()).ok();
        }
    }

    /// No session can be resumed.
    pub fn forget(&mut self) {
        for session in &mut self.sessions {
            session.name.push_str(" (forgotten)");
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.name == name)
    }
}

impl Session {
    fn dispatch(&mut self, name: &str, data: &Value) {
        let frame = json!({"op": 0, "t": name, "s": self.sent.len() + 1, "d": data});
        self.sent.push(frame.clone());
        if let Some(line) = &self.line {
            line.send(Order::Send(frame)).ok();
        }
    }
}

/// Takes connections until the fake ends.
pub async fn serve(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let refused = {
            let mut world = shared.lock();
            let refuses = &mut world.gateway.refuses;
            let refused = *refuses > 0;
            *refuses = refuses.saturating_sub(1);
            refused
        };
        if refused {
            continue;
        }
        stream.set_nodelay(true).ok();
        connections.spawn(Connection::serve(stream, shared.clone()));
    }
}

struct Connection {
    socket: WebSocketStream<TcpStream>,
    shared: Shared,
    line: UnboundedSender<Order>,
    session: Option<String>,
    compress: bool,
}

/// What becomes of a connection after a frame.
enum Then {
    Stay,
    Close(u16, &'static str),
}

impl Connection {
    async fn serve(stream: TcpStream, shared: Shared) {
        let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let (line, orders) = unbounded_channel();
        let mut connection = Self { socket, shared, line, session: None, compress: false };
        let keeps_session = connection.talk(orders).await;
        let ours =
            |session: &Session| session.line.as_ref().is_some_and(|line| line.same_channel(&connection.line));
        let sessions = &mut connection.shared.lock().gateway.sessions;
        if !keeps_session {
            sessions.retain(|session| !ours(session));
        } else if let Some(session) = sessions.iter_mut().find(|session| ours(session)) {
            session.line = None;
        }
    }

    /// Until the connection ends. Whether its session can be resumed.
    async fn talk(&mut self, mut orders: UnboundedReceiver<Order>) -> bool {
        let beat = u64::try_from(self.shared.lock().gateway.heartbeat.as_millis()).expect("a short time");
        let hello = json!({"op": 10, "d": {"heartbeat_interval": beat}, "s": null, "t": null});
        if !self.send(&hello).await {
            return true;
        }
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Send(frame)) => {
                        if !self.send(&frame).await {
                            return true;
                        }
                    }
                    Some(Order::Close(code)) => {
                        self.close(code, "by the test").await;
                        return true;
                    }
                    Some(Order::CloseWithoutCode) => {
                        self.socket.close(None).await.ok();
                        return true;
                    }
                    Some(Order::Drop) | None => return true,
                },
                frame = self.socket.next() => {
                    let text = match frame {
                        Some(Ok(Frame::Text(text))) => text,
                        Some(Ok(Frame::Close(reason))) => {
                            // With 1000 or 1001 the bot has signed off.
                            let code = reason.map_or(1005, |reason| u16::from(reason.code));
                            return !matches!(code, 1000 | 1001);
                        }
                        Some(Ok(_)) => continue,
                        Some(Err(_)) | None => return true,
                    };
                    if let Then::Close(code, why) = self.hear(&text).await {
                        self.close(code, why).await;
                        return false;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, text: &str) -> Then {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return Then::Close(4002, "Error while decoding payload.");
        };
        let data = frame.get("d").cloned().unwrap_or_default();
        match frame.get("op").and_then(Value::as_u64) {
            Some(1) => {
                if !self.shared.lock().gateway.deaf {
                    self.send(&json!({"op": 11, "d": null})).await;
                }
                Then::Stay
            }
            Some(2) => self.identify(&data),
            Some(6) => self.resume(&data).await,
            Some(3 | 4 | 8) if self.session.is_some() => Then::Stay,
            Some(3 | 4 | 8) => Then::Close(4003, "Not authenticated."),
            _ => Then::Close(4001, "Unknown opcode."),
        }
    }

    fn identify(&mut self, data: &Value) -> Then {
        if self.session.is_some() {
            return Then::Close(4005, "Already authenticated.");
        }
        if !is_token(data) {
            return Then::Close(4004, "Authentication failed.");
        }
        let Some(intents) = data.get("intents").and_then(Value::as_u64) else {
            return Then::Close(4013, "Invalid intent(s).");
        };
        let mut world = self.shared.lock();
        let mut forbidden = GUILD_PRESENCES;
        if !world.portal.message_content {
            forbidden |= MESSAGE_CONTENT;
        }
        if !world.portal.server_members {
            forbidden |= GUILD_MEMBERS;
        }
        if intents & forbidden != 0 {
            return Then::Close(4014, "Disallowed intent(s).");
        }
        self.compress = data.get("compress").and_then(Value::as_bool) == Some(true);
        world.gateway.count += 1;
        world.gateway.identified += 1;
        let name = format!("session-{}", world.gateway.count);
        let mut session =
            Session { name: name.clone(), intents, sent: Vec::new(), line: Some(self.line.clone()) };
        let mut user = wire::user(world.human(BOT));
        for (key, value) in [("mfa_enabled", json!(false)), ("verified", json!(true)), ("email", Value::Null)]
        {
            wire::set(&mut user, key, value);
        }
        let guilds = [GUILD, OTHER_GUILD];
        let away: Vec<Value> =
            guilds.iter().map(|id| json!({"id": id.to_string(), "unavailable": true})).collect();
        let ready = json!({"v": 10, "user": user, "guilds": away, "session_id": name, "shard": [0, 1],
            "resume_gateway_url": world.gateway_url, "application": {"id": BOT.to_string(), "flags": 1 << 19}});
        session.dispatch("READY", &ready);
        if intents & GUILDS != 0 {
            for guild in guilds {
                session.dispatch("GUILD_CREATE", &wire::whole_guild(&world, guild));
            }
        }
        world.gateway.sessions.push(session);
        self.session = Some(name);
        Then::Stay
    }

    async fn resume(&mut self, data: &Value) -> Then {
        if !is_token(data) {
            return Then::Close(4004, "Authentication failed.");
        }
        let name = data.get("session_id").and_then(Value::as_str).unwrap_or_default();
        let seen = data.get("seq").and_then(Value::as_u64).and_then(|seen| usize::try_from(seen).ok());
        let resumed = {
            let mut world = self.shared.lock();
            let line = self.line.clone();
            let session = world.gateway.find(name);
            let resumed = session.zip(seen).filter(|(session, seen)| *seen <= session.sent.len());
            let resumed = resumed.map(|(session, seen)| {
                for frame in session.sent.iter().skip(seen) {
                    line.send(Order::Send(frame.clone())).ok();
                }
                session.line = Some(line);
                session.dispatch("RESUMED", &json!({}));
            });
            world.gateway.resumed += usize::from(resumed.is_some());
            resumed.is_some()
        };
        if resumed {
            self.session = Some(name.to_owned());
        } else {
            self.send(&json!({"op": 9, "d": false})).await;
        }
        Then::Stay
    }

    async fn send(&mut self, frame: &Value) -> bool {
        let text = frame.to_string();
        let is_big =
            ["READY", "GUILD_CREATE"].iter().any(|big| frame.get("t").and_then(Value::as_str) == Some(big));
        let frame = if self.compress && is_big { Frame::Binary(deflate(&text)) } else { Frame::Text(text) };
        self.socket.send(frame).await.is_ok()
    }

    async fn close(&mut self, code: u16, why: &'static str) {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: why.into() })).await.ok();
    }
}

/// Libraries send it with and without the word in front.
fn is_token(data: &Value) -> bool {
    let token = data.get("token").and_then(Value::as_str).unwrap_or_default();
    token.strip_prefix("Bot ").unwrap_or(token) == TOKEN
}

fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
