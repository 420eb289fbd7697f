//! A Discord of the tests' own: a small world with a guild, its channels and its people, served over REST and a gateway.
//!
//! It takes serenity's production path: TLS for `discord.com` with a certificate of the tests' authority, rate limiter on.
//! The same API is there on plain HTTP, too. Every request is checked against Discord's own description and against what
//! the real one refuses beyond it, is answered as the real one would, and what is wrong with it fails the test at the
//! latest when the fake is dropped.
//!
//! People are the subjects: `mia.uses("/ticket new").with("category", "billing").await`. What they send is at once
//! dispatched to all connected bots; what the bot does is waited for, with a deadline. Anyone may click on anything: the
//! custom id of a button is the client's word, and rights are the bot's to check.

mod asked;
mod cdn;
mod gateway;
mod guild;
mod interactions;
mod lines;
mod messages;
mod multipart;
mod openapi;
mod people;
mod pings;
mod rest;
mod rules;
mod seen;
mod threads;
mod trouble;
mod wire;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::certificates;
use super::desk::start_of_time;
use super::wait::{PATIENCE, within};
use gateway::Order;
use lines::Lines;
use world::World;

pub use asked::{Asked, Shown};
pub use people::{Person, Use};
pub use seen::{Said, Thread};
pub use trouble::Trouble;
pub use world::{
    ADMIN, BOT, GUILD, Id, MODERATOR, OTHER_CHANNEL, OTHER_GUILD, PRIVATE_THREAD, PUBLIC_THREAD, Request,
    STAFF, SUPPORT, TOKEN,
};

/// The name whose address a client is given another one for.
pub const HOST: &str = "discord.com";
/// How old an account usually is.
const SETTLED: Duration = Duration::from_hours(24 * 400);

/// The world, for everyone who is in it or serves it.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fake; it ends with its handle, and then no request may have been wrong.
#[derive(Debug)]
pub struct Discord {
    shared: Shared,
    addresses: Addresses,
    folder: tempfile::TempDir,
    _serving: JoinSet<()>,
}

#[derive(Clone, Copy, Debug)]
struct Addresses {
    tls: SocketAddr,
    plain: SocketAddr,
    cdn: SocketAddr,
}

/// How a world differs from the usual one.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// #staff is a forum.
    pub forum: bool,
    /// When it begins; then its time goes on by itself.
    pub now: DateTime<Utc>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { forum: false, now: start_of_time() }
    }
}

impl Discord {
    /// A guild with the channels #support, which everyone sees, and #staff, which the roles moderator and admin see.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let gateway = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let (tls, plain, cdn) = (Lines::tls(HOST).await, Lines::plain().await, Lines::plain().await);
        let addresses = Addresses { tls: tls.address(), plain: plain.address(), cdn: cdn.address() };
        let mut world = World::new(setup.now, setup.forum);
        world.cdn = addresses.cdn.to_string();
        world.gateway_url = format!("ws://{}", gateway.local_addr().expect("a listener has an address"));
        let shared = Shared(Arc::new(Mutex::new(world)));
        let mut serving = JoinSet::new();
        serving.spawn(rest::serve(tls, shared.clone()));
        serving.spawn(rest::serve(plain, shared.clone()));
        serving.spawn(cdn::serve(cdn, shared.clone()));
        serving.spawn(gateway::serve(gateway, shared.clone()));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificates::authority_pem())
            .expect("write a certificate");
        Self { shared, addresses, folder, _serving: serving }
    }

    // ---- how to reach it

    /// The section `[discord]` with which ticketd talks to it as it would to the real one.
    pub fn config(&self) -> String {
        let Addresses { tls, cdn, .. } = self.addresses;
        let ca = self.folder.path().join("ca.pem");
        format!(
            "[discord]\ntoken = \"{TOKEN}\"\nguild_id = \"{GUILD}\"\nsupport_channel_id = \"{SUPPORT}\"\n\
             staff_channel_id = \"{STAFF}\"\nstaff_roles = {{ moderator = \"{MODERATOR}\", admin = \"{ADMIN}\" }}\n\
             connect_addr = \"{tls}\"\nca_file = \"{}\"\ncdn_hosts = [\"{cdn}\"]\n",
            ca.display()
        )
    }

    /// Where `discord.com` is to be found.
    pub fn connect_addr(&self) -> SocketAddr {
        self.addresses.tls
    }

    /// The API on plain HTTP: what to give as a proxy's address.
    pub fn plain_url(&self) -> String {
        format!("http://{}", self.addresses.plain)
    }

    /// Host and port that the addresses of attachments begin with.
    pub fn cdn_host(&self) -> String {
        self.addresses.cdn.to_string()
    }

    // ---- people

    /// Someone in the guild, with an account of some age.
    pub fn member(&self, name: &str) -> Person {
        self.person(name, SETTLED, GUILD)
    }

    /// Someone in the guild with these roles: `moderator`, `admin`.
    pub fn member_with(&self, name: &str, roles: &[&str]) -> Person {
        let person = self.member(name);
        for role in roles {
            self.give_role(&person, role);
        }
        person
    }

    /// Someone in the guild, whose account is of this age.
    pub fn newcomer(&self, name: &str, age: Duration) -> Person {
        self.person(name, age, GUILD)
    }

    /// A member of another guild, who is not in this one.
    pub fn stranger(&self, name: &str) -> Person {
        self.person(name, SETTLED, OTHER_GUILD)
    }

    /// Another program's account in the guild.
    pub fn other_bot(&self, name: &str) -> Person {
        let person = self.member(name);
        if let Some(human) = self.shared.lock().people.get_mut(&person.id()) {
            human.bot = true;
        }
        person
    }

    fn person(&self, name: &str, age: Duration, guild: Id) -> Person {
        let mut world = self.shared.lock();
        assert!(world.human_named(name).is_none(), "there is a {name} already");
        let id = world.add_human(None, name, age, guild, false);
        Person::new(self.shared.clone(), id)
    }

    pub fn give_role(&self, person: &Person, role: &str) {
        let mut world = self.shared.lock();
        let role = world.role(role);
        if let Some(human) = world.people.get_mut(&person.id()) {
            human.roles.push(role);
        }
    }

    pub fn take_role(&self, person: &Person, role: &str) {
        let mut world = self.shared.lock();
        let role = world.role(role);
        if let Some(human) = world.people.get_mut(&person.id()) {
            human.roles.retain(|one| *one != role);
        }
    }

    /// They go to another guild.
    pub fn leaves(&self, person: &Person) {
        if let Some(human) = self.shared.lock().people.get_mut(&person.id()) {
            human.guild = OTHER_GUILD;
            human.roles.clear();
        }
    }

    /// They go out of a thread.
    pub fn leaves_thread(&self, person: &Person, thread: Id) {
        if let Some(thread) = self.shared.lock().thread_mut(thread) {
            thread.members.retain(|member| *member != person.id());
        }
    }

    // ---- time and the portal

    /// The world's time, and with it every deadline of Discord's, moves ahead.
    pub fn lets_pass(&self, time: Duration) {
        self.shared.lock().lets_pass(time);
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.shared.lock().now()
    }

    /// Whether the intent for message content is switched on in the developer portal; it is, unless said otherwise.
    pub fn message_content(&self, on: bool) {
        self.shared.lock().portal.message_content = on;
    }

    /// The bot is refused in a channel and its threads: 50001 it does not even see it, 50013 it may not write. 0: welcome.
    pub fn forbids(&self, channel: Id, code: u64) {
        let mut world = self.shared.lock();
        let Some(channel) = world.channels.get_mut(&channel) else { return };
        let before = std::mem::replace(&mut channel.forbidden, (code != 0).then_some(code));
        if before == Some(50_001) && code != 50_001 {
            let sync = wire::thread_list_sync(&world);
            world.tell(gateway::Event::in_guild("THREAD_LIST_SYNC", sync));
        }
    }

    /// The bot's own role is taken from it, and with it every right that its invitation asked for.
    pub fn takes_the_bots_role(&self) {
        if let Some(bot) = self.shared.lock().people.get_mut(&BOT) {
            bot.roles.clear();
        }
    }

    /// Whether a channel can be seen by whoever is in the server, or by moderators and admins only.
    pub fn shows_to_everyone(&self, channel: Id, everyone: bool) {
        let sees = if everyone { Vec::new() } else { vec![MODERATOR, ADMIN] };
        if let Some(channel) = self.shared.lock().channels.get_mut(&channel) {
            channel.sees = sees;
        }
    }

    /// A tag of a forum that someone made by hand.
    pub fn adds_tag(&self, forum: Id, name: &str) {
        let mut world = self.shared.lock();
        let id = world.new_id();
        if let Some(channel) = world.channels.get_mut(&forum) {
            channel.tags.push((id, name.to_owned()));
        }
    }

    // ---- what goes wrong

    /// The next request with this method, whose path contains `part`, meets trouble.
    pub fn troubles(&self, method: &str, part: &str, trouble: Trouble) {
        self.troubles_times(1, method, part, trouble);
    }

    pub fn troubles_times(&self, count: usize, method: &str, part: &str, trouble: Trouble) {
        self.shared.lock().troubles.add(count, method, part, trouble);
    }

    /// Troubles that nobody met yet.
    pub fn troubles_left(&self) -> usize {
        self.shared.lock().troubles.left()
    }

    pub fn ends_troubles(&self) {
        self.shared.lock().troubles.clear();
    }

    /// All connections of the gateway break; sessions can be resumed.
    pub fn drops_connections(&self) {
        self.shared.lock().gateway.order(&Order::Drop);
    }

    /// What can be resumed is forgotten: a resume is answered with opcode 9.
    pub fn forgets_sessions(&self) {
        self.shared.lock().gateway.forget();
    }

    /// Opcode 7.
    pub fn asks_to_reconnect(&self) {
        self.shared.lock().gateway.order(&Order::Send(serde_json::json!({"op": 7, "d": null})));
    }

    /// Opcode 9, and the session is gone.
    pub fn invalidates_sessions(&self) {
        let mut world = self.shared.lock();
        world.gateway.forget();
        world.gateway.order(&Order::Send(serde_json::json!({"op": 9, "d": false})));
    }

    pub fn closes_connections(&self, code: u16) {
        self.shared.lock().gateway.order(&Order::Close(code));
    }

    /// The close frame holds no code, which confuses some libraries.
    pub fn closes_connections_without_a_code(&self) {
        self.shared.lock().gateway.order(&Order::CloseWithoutCode);
    }

    /// Connections made from now on beat at this pace.
    pub fn heartbeat(&self, every: Duration) {
        self.shared.lock().gateway.heartbeat = every;
    }

    /// Heartbeats are not acknowledged.
    pub fn ignores_heartbeats(&self, ignores: bool) {
        self.shared.lock().gateway.deaf = ignores;
    }

    /// The next `count` connections to the gateway are closed as soon as they are there.
    pub fn refuses_connections(&self, count: usize) {
        self.shared.lock().gateway.refuses = count;
    }

    /// Every event comes twice.
    pub fn delivers_twice(&self, twice: bool) {
        self.shared.lock().gateway.doubles = twice;
    }

    /// Whether messages come in a shape that no library knows; the API gives them as they are.
    pub fn distorts_messages(&self, on: bool) {
        self.shared.lock().gateway.distorts = on;
    }

    /// Events wait, until they are released.
    pub fn withholds_events(&self) {
        self.shared.lock().gateway.withheld.get_or_insert_default();
    }

    pub fn releases_events(&self) {
        self.release(false);
    }

    /// The last one first.
    pub fn releases_events_reversed(&self) {
        self.release(true);
    }

    fn release(&self, reversed: bool) {
        let mut world = self.shared.lock();
        let mut events = world.gateway.withheld.take().unwrap_or_default();
        if reversed {
            events.reverse();
        }
        for event in events {
            world.tell(event);
        }
    }

    /// What was withheld is lost.
    pub fn loses_events(&self) {
        self.shared.lock().gateway.withheld = None;
    }

    // ---- what the bot does

    /// Connections to the gateway that are past their READY.
    pub fn connections(&self) -> usize {
        self.shared.lock().gateway.connected()
    }

    /// How often a bot identified itself, and how often it resumed.
    pub fn sessions(&self) -> (usize, usize) {
        let world = self.shared.lock();
        (world.gateway.identified, world.gateway.resumed)
    }

    /// Waits until a bot is connected and has registered its commands.
    pub async fn bot_is_ready(&self) {
        ready(&self.shared).await;
    }

    /// The registered commands, as they were sent.
    pub fn commands(&self) -> Vec<Value> {
        self.shared.lock().commands.clone()
    }

    /// Everything that was asked of the API, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many requests there were with this method and this in their path.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let world = self.shared.lock();
        world.requests.iter().filter(|one| one.method == method && one.path.contains(part)).count()
    }

    /// Requests that were refused with one of Discord's codes: `POST /channels/1/messages 403 50013`.
    pub fn refusals(&self) -> Vec<String> {
        let world = self.shared.lock();
        let refused = world.requests.iter().filter_map(|one| one.code.map(|code| (one, code)));
        refused.map(|(one, code)| format!("{} {} {} {code}", one.method, one.path, one.status)).collect()
    }

    /// What requests had wrong in themselves, and forgets it.
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().faults)
    }

    /// Fails unless all requests kept to Discord's description.
    pub fn assert_all_valid(&self) {
        let faults = self.shared.lock().faults.clone();
        assert!(faults.is_empty(), "{} request(s) were wrong:\n  {}", faults.len(), faults.join("\n  "));
    }
}

async fn ready(shared: &Shared) {
    let is_ready = within(PATIENCE, async || {
        let world = shared.lock();
        world.gateway.connected() > 0 && !world.commands.is_empty()
    });
    if !is_ready.await {
        let world = shared.lock();
        let (count, faults) = (world.gateway.connected(), &world.faults);
        panic!("no bot registered its commands; {count} are connected; wrong requests: {faults:#?}");
    }
}

impl Drop for Discord {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_all_valid();
        }
    }
}
