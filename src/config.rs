//! The configuration: one struct per TOML section, unknown keys refused, secrets from files or the environment.
//!
//! `config/example.toml` is its documentation.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::SecretString;
use serde::Deserialize;

mod alarms;
mod attachments;
mod auth;
mod discord;
mod http;
mod load;
mod mailbox;
mod retention;
mod rules;
mod webhooks;

pub use alarms::Alarms;
pub use attachments::{Attachments, S3};
pub use auth::{Auth, Oidc, RequireSecondFactor};
pub(crate) use discord::is_loopback;
pub use discord::{Discord, PlainMessages, StaffRoles};
pub use http::{Http, Limits};
use load::secret;
pub use load::{LONGEST_GEMINI_TIMEOUT, credentials_folder, search_path, toml_fault};
pub use mailbox::{After, Imap, Mailbox, Maildir, Mechanism, OAuth, Smtp, Start, Tls};
pub use retention::Retention;
pub use webhooks::Webhooks;

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where ticketd keeps what is not in the database: attachments, and its private PostgreSQL.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    #[serde(default)]
    pub database: Database,
    #[serde(default)]
    pub http: Http,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub mailbox: Vec<Mailbox>,
    pub maildir: Option<Maildir>,
    pub gemini: Option<Gemini>,
    pub discord: Option<Discord>,
    pub oidc: Option<Oidc>,
    #[serde(default)]
    pub triage: Triage,
    #[serde(default)]
    pub assignment: Assignment,
    #[serde(default)]
    pub mail: MailRules,
    #[serde(default)]
    pub attachments: Attachments,
    #[serde(default)]
    pub webhooks: Webhooks,
    #[serde(default)]
    pub alarms: Alarms,
    #[serde(default)]
    pub telemetry: Telemetry,
    #[serde(default)]
    pub retention: Retention,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub url: Option<SecretString>,
    pub url_file: Option<PathBuf>,
    /// A replica that answers reports; left out: the database itself.
    pub reports_url: Option<SecretString>,
    pub reports_url_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gemini {
    pub api_key: Option<SecretString>,
    pub api_key_file: Option<PathBuf>,
    #[serde(default = "default_gemini_url")]
    pub base_url: String,
    #[serde(default = "default_gemini_model")]
    pub model: String,
    pub thinking_level: Option<String>,
    #[serde(default = "default_gemini_timeout", deserialize_with = "load::gemini_timeout")]
    pub timeout: Duration,
    /// Tokens per UTC day, in and out; beyond it the offline engine decides. 0: no limit.
    #[serde(default)]
    pub daily_token_budget: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Triage {
    /// Left out: Gemini where `[gemini]` is configured, else offline.
    pub engine: Option<Engine>,
    pub categories: Vec<String>,
    // Accepted, so that one file serves this version and the next; `Config::without_effect` names what is set.
    auto_route_confidence: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Gemini,
    Offline,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assignment {
    pub cap_default: i32,
    pub moderators_see_all: bool,
    pub reopen_days: i64,
    pub close_after_days: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailRules {
    pub undo_seconds: i64,
    pub acknowledge: bool,
    /// Ask requesters how content they were when staff resolves; needs `http.public_url`.
    pub survey: bool,
    /// Put the message that is answered below a reply, for requesters who keep no mail of their own.
    pub quote_history: bool,
    pub loop_per_ticket_hour: i64,
    pub loop_per_address_hour: i64,
    pub loop_per_domain_hour: i64,
    /// To the addresses of one domain; 0: any number.
    pub domain_per_minute: i64,
    pub max_message_bytes: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    pub log: String,
    pub format: LogFormat,
    pub metrics_listen: Option<SocketAddr>,
    /// A collector of traces, for builds with the feature `otel`.
    pub otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// JSON under systemd, plain on a terminal.
    #[default]
    Auto,
    Json,
    Plain,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/ticketd")
}
fn default_gemini_url() -> String {
    "https://generativelanguage.googleapis.com".to_owned()
}
fn default_gemini_model() -> String {
    "gemini-3.5-flash-lite".to_owned()
}
fn default_gemini_timeout() -> Duration {
    Duration::from_secs(20)
}

impl Default for Triage {
    fn default() -> Self {
        let categories = ["technical", "billing", "account", "bug", "feature_request", "other"];
        Self { engine: None, categories: categories.map(str::to_owned).to_vec(), auto_route_confidence: None }
    }
}
impl Default for Assignment {
    fn default() -> Self {
        Self { cap_default: 10, moderators_see_all: true, reopen_days: 14, close_after_days: 7 }
    }
}
impl Default for MailRules {
    fn default() -> Self {
        Self {
            undo_seconds: 10,
            acknowledge: true,
            survey: false,
            quote_history: false,
            loop_per_ticket_hour: 5,
            loop_per_address_hour: 10,
            loop_per_domain_hour: 0,
            domain_per_minute: 0,
            max_message_bytes: 26_214_400,
        }
    }
}
impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), format: LogFormat::Auto, metrics_listen: None, otlp_endpoint: None }
    }
}

impl Gemini {
    /// The API key, from the file or the environment.
    pub fn key(&self) -> anyhow::Result<SecretString> {
        secret("gemini: api key", self.api_key.as_ref(), self.api_key_file.as_deref())?
            .context("gemini: api_key_file is missing")
    }
}

impl Database {
    /// The URL of the database; `None`: a private PostgreSQL under `data_dir`.
    pub fn url(&self) -> anyhow::Result<Option<SecretString>> {
        secret("database: url", self.url.as_ref(), self.url_file.as_deref())
    }

    /// The URL of the replica for reports; `None`: there is none.
    pub fn reports_url(&self) -> anyhow::Result<Option<SecretString>> {
        secret("database: reports_url", self.reports_url.as_ref(), self.reports_url_file.as_deref())
    }
}

impl Config {
    /// Reads and checks the file, the environment laid over it.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the configuration {} (config/example.toml is a start)", path.display())
        })?;
        let mut config = Self::parse(&text, load::environment())
            .with_context(|| format!("configuration {}", path.display()))?;
        config.resolve_paths(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    /// Parses and checks; `environment` holds `TICKETD_SECTION__KEY` variables.
    pub fn parse(text: &str, environment: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let config: Self = load::parse(text, environment).map_err(|error| load::in_one_line(&error))?;
        config.check().map_err(|error| load::in_one_line(&error))?;
        Ok(config)
    }

    /// Paths are relative to the configuration file, so that the place ticketd is started from does not matter.
    fn resolve_paths(&mut self, base: &Path) {
        let fix = |path: &mut PathBuf| {
            let is_credential = credentials_folder().is_some_and(|folder| folder.join(&path).exists());
            if path.is_relative() && !is_credential {
                *path = base.join(&path);
            }
        };
        fix(&mut self.data_dir);
        self.auth.previous_secret_files.iter_mut().for_each(fix);
        let mut optional = vec![
            &mut self.database.url_file,
            &mut self.database.reports_url_file,
            &mut self.auth.secret_file,
            &mut self.webhooks.ca_file,
        ];
        optional.extend(self.attachments.paths());
        optional.extend(self.gemini.as_mut().map(|g| &mut g.api_key_file));
        optional.extend(self.oidc.as_mut().map(|o| &mut o.client_secret_file));
        optional.extend(self.discord.iter_mut().flat_map(|d| [&mut d.token_file, &mut d.ca_file]));
        self.mailbox.iter_mut().flat_map(Mailbox::paths).for_each(fix);
        optional.into_iter().flatten().for_each(fix);
        if let Some(maildir) = &mut self.maildir {
            fix(&mut maildir.path);
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        for (index, mailbox) in self.mailbox.iter().enumerate() {
            let name = &mailbox.name;
            if name.is_empty() {
                bail!("mailbox {}: name is empty", index + 1);
            }
            if self.mailbox.iter().take(index).any(|other| other.name == *name) {
                bail!("mailbox {name}: the name is used twice");
            }
            mailbox.check()?;
        }
        if let Some(wanted) = self.maildir.as_ref().and_then(|m| m.mailbox.as_ref())
            && !self.mailbox.iter().any(|m| m.name == *wanted)
        {
            bail!("maildir: there is no mailbox named `{wanted}`");
        }
        if self.maildir.is_some() && self.mailbox.is_empty() {
            bail!("maildir: needs a [[mailbox]] to send answers from");
        }
        if self.triage.engine == Some(Engine::Gemini) && self.gemini.is_none() {
            bail!("triage: engine is \"gemini\" but the section [gemini] is missing");
        }
        if self.mail.survey && self.http.public_url.is_none() {
            bail!("mail.survey: needs http.public_url, for the link in the mail");
        }
        if self.triage.categories.is_empty() {
            bail!("triage: categories is empty: give at least one");
        }
        self.check_rules()?;
        self.alarms.check()?;
        self.attachments.check()?;
        self.auth.check()?;
        self.oidc.as_ref().map_or(Ok(()), Oidc::check)?;
        self.discord.as_ref().map_or(Ok(()), Discord::check)
    }

    /// What is set although this build does nothing with it: said at start, so that nobody relies on it.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let is_traced = self.telemetry.otlp_endpoint.is_some();
        let set = [
            ("triage.auto_route_confidence", self.triage.auto_route_confidence.is_some()),
            ("telemetry.otlp_endpoint", is_traced && !cfg!(feature = "otel")),
        ];
        set.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect()
    }

    /// Every section by its name, as text without secrets.
    pub fn sections(&self) -> [(&'static str, String); 18] {
        let text = |section: &dyn std::fmt::Debug| format!("{section:?}");
        [
            ("data_dir", text(&self.data_dir)),
            ("[database]", text(&self.database)),
            ("[http]", text(&self.http)),
            ("[limits]", text(&self.limits)),
            ("[auth]", text(&self.auth)),
            ("[[mailbox]]", text(&self.mailbox)),
            ("[maildir]", text(&self.maildir)),
            ("[gemini]", text(&self.gemini)),
            ("[discord]", text(&self.discord)),
            ("[oidc]", text(&self.oidc)),
            ("[triage]", text(&self.triage)),
            ("[assignment]", text(&self.assignment)),
            ("[mail]", text(&self.mail)),
            ("[attachments]", text(&self.attachments)),
            ("[webhooks]", text(&self.webhooks)),
            ("[alarms]", text(&self.alarms)),
            ("[retention]", text(&self.retention)),
            ("[telemetry]", text(&self.telemetry)),
        ]
    }

    /// The mailbox of that name.
    pub fn mailbox(&self, name: &str) -> Option<&Mailbox> {
        self.mailbox.iter().find(|m| m.name == name)
    }

    /// The mailbox for mail that comes by Maildir or pipe.
    pub fn default_mailbox(&self) -> Option<&Mailbox> {
        let named = self.maildir.as_ref().and_then(|m| m.mailbox.as_deref());
        named.and_then(|name| self.mailbox(name)).or(self.mailbox.first())
    }

    /// Our own addresses, in lower case.
    pub fn own_addresses(&self) -> Vec<String> {
        self.mailbox.iter().map(|m| m.address.to_lowercase()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn error(text: &str) -> String {
        format!("{:#}", Config::parse(text, BTreeMap::new()).unwrap_err())
    }

    const MAILBOX: &str =
        "[[mailbox]]\nname = \"support\"\naddress = \"s@example.org\"\noutbox_dir = \"out\"\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_one_line(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..30),
            more in "\\PC{0,12}",
            name in "[A-Z_]{0,30}",
            value in "\\PC{0,12}",
        ) {
            let variable = BTreeMap::from([(format!("TICKETD_{name}"), value)]);
            if let Err(error) = Config::parse(&(pieces.concat() + &more), variable) {
                let line = format!("{error:#}");
                proptest::prop_assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
            }
        }
    }

    const PIECES: &[&str] = &[
        MAILBOX,
        "\n",
        "[http]\n",
        "[[mailbox]]\n",
        "[mailbox.imap]\n",
        "[alarms]\n",
        "[mail]\n",
        "host = ",
        "listen = ",
        "port = ",
        "password = ",
        "undo_seconds = ",
        "timeout = ",
        "categories = ",
        "\"x\"\n",
        "\"10 minutes\"\n",
        "-1\n",
        "1e9\n",
        "99999999999999999999\n",
        "true\n",
        "[]\n",
        "{}\n",
        "\"\"\"",
        "#",
        "=",
        ".",
        "\"",
        "\u{0}",
        "nan\n",
        "1979-05-27\n",
    ];

    #[test]
    fn an_error_is_one_line_whatever_the_key_or_the_name_is() {
        assert_eq!(
            error("[http]\n\"a`\\nlisten \" = 1\n"),
            "unknown key `http.a` listen `: did you mean `listen`?"
        );
        let named = MAILBOX.replace("\"support\"", "\"sup\\nport\"");
        assert!(!error(&named.replace("s@example.org", "none")).contains('\n'));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        insta::assert_snapshot!(error("[http]\nlisen = \"127.0.0.1:1\""), @"unknown key `http.lisen`: did you mean `listen`?");
        insta::assert_snapshot!(error("[htp]\n"), @"unknown key `htp`: did you mean `http`?");
        insta::assert_snapshot!(error(&format!("{MAILBOX}[mailbox.imap]\nhost=\"x\"\nuser=\"u\"\npasword_file=\"f\"")), @"unknown key `mailbox[0].imap.pasword_file`: did you mean `password_file`?");
    }

    #[test]
    fn wrong_values_name_the_key_and_what_it_takes() {
        insta::assert_snapshot!(error("[http]\nlisten = \"8080\""), @"`http.listen`: invalid socket address syntax");
        insta::assert_snapshot!(error(&MAILBOX.replace("outbox_dir = \"out\"", "")), @"mailbox support: give either [mailbox.smtp] or outbox_dir, so that answers can leave");
        insta::assert_snapshot!(error(&format!("{MAILBOX}after = \"move\"")), @r#"`mailbox[0].after`: `move` is none of "keep", "seen", "move:FOLDER", "delete""#);
        insta::assert_snapshot!(error(&format!("{MAILBOX}{MAILBOX}")), @"mailbox support: the name is used twice");
        insta::assert_snapshot!(error("[triage]\nengine = \"gemini\""), @r#"triage: engine is "gemini" but the section [gemini] is missing"#);
        insta::assert_snapshot!(error("[gemini]\ntimeout = \"10m\""), @"`gemini.timeout`: 600s is not between a moment and 90s, the longest a judgement may take");
        insta::assert_snapshot!(error("[http\n"), @"line 1: unclosed table, expected `]`");
    }

    #[test]
    fn the_example_is_a_configuration_and_its_values_are_the_defaults() {
        let example = Config::parse(include_str!("../config/example.toml"), BTreeMap::new()).unwrap();
        let default = Config::parse("", BTreeMap::new()).unwrap();
        let shown =
            |c: &Config| format!("{:?}", (&c.assignment, &c.mail, &c.alarms, &c.telemetry, &c.retention));
        let limits = |d: &Discord| format!("{:?}", (d.plain_messages, &d.cdn_hosts, d.limits()));
        assert_eq!(limits(example.discord.as_ref().unwrap()), limits(&Discord::default()));
        assert_eq!(shown(&example), shown(&default));
        assert_eq!(example.triage.categories, default.triage.categories);
        assert_eq!(example.data_dir, default.data_dir);
        assert_eq!(example.http.listen, default.http.listen);
        assert_eq!(example.without_effect(), Vec::<&str>::new());
    }

    #[test]
    fn the_example_names_every_key_there_is() {
        let example = include_str!("../config/example.toml");
        let source = include_str!("config.rs").lines().take_while(|l| !l.starts_with("#[cfg(test)]"));
        let sections = [
            include_str!("config/alarms.rs"),
            include_str!("config/attachments.rs"),
            include_str!("config/discord.rs"),
            include_str!("config/auth.rs"),
            include_str!("config/mailbox.rs"),
            include_str!("config/retention.rs"),
            include_str!("config/webhooks.rs"),
        ];
        for line in source.chain(sections.into_iter().flat_map(str::lines)) {
            let field = line.strip_prefix("    pub ").and_then(|l| l.split_once(": ")).map(|(key, _)| key);
            // A function has a parenthesis before its first colon.
            let Some(key) = field.filter(|key| !key.contains('(')) else { continue };
            // A secret written into the file is for the environment and for tests.
            let is_secret = ["password", "api_key", "secret", "token", "client_secret", "secret_access_key"]
                .contains(&key);
            let named = example.contains(&format!("{key} =")) || example.contains(&format!("{key}]"));
            assert!(is_secret || named, "config/example.toml does not name `{key}`");
        }
    }

    #[test]
    fn the_environment_overrides_scalars_and_brings_secrets() {
        let environment = [
            ("TICKETD_HTTP__LISTEN", "127.0.0.1:9"),
            ("TICKETD_ASSIGNMENT__CAP_DEFAULT", "3"),
            ("TICKETD_MAIL__ACKNOWLEDGE", "false"),
            ("TICKETD_GEMINI__API_KEY", "12345"),
            ("TICKETD_GEMINI__TIMEOUT", "1500ms"),
            ("TICKETD_MAILBOX__SUPPORT__ADDRESS", "other@example.org"),
            ("TICKETD_MAILBOX__SUPPORT__PLUS_ADDRESSING", "false"),
            ("TICKETD_MAILBOX__SUPPORT__IMAP__HOST", "imap.example.org"),
            ("TICKETD_MAILBOX__SUPPORT__IMAP__USER", "12345"),
            ("TICKETD_MAILBOX__SUPPORT__IMAP__PORT", "1993"),
            ("TICKETD_DATA_DIR", "/tmp/x"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let config = Config::parse(MAILBOX, environment.into()).unwrap();
        assert_eq!(config.http.listen.port(), 9);
        assert_eq!(config.assignment.cap_default, 3);
        assert!(!config.mail.acknowledge);
        let gemini = config.gemini.unwrap();
        assert_eq!(gemini.key().unwrap().expose_secret(), "12345");
        assert_eq!(gemini.timeout, Duration::from_millis(1500));
        let mailbox = &config.mailbox[0];
        assert_eq!((mailbox.address.as_str(), mailbox.plus_addressing), ("other@example.org", false));
        assert_eq!(mailbox.imap.as_ref().unwrap().port(), 1993);
        assert_eq!(config.data_dir, Path::new("/tmp/x"));
        let wrong = [("TICKETD_HTTP__LISSEN".to_owned(), "x".to_owned())];
        let error = Config::parse("", wrong.into()).unwrap_err();
        insta::assert_snapshot!(format!("{error:#}"), @"unknown key `http.lissen`: did you mean `listen`?");
        let misspelt = [("TICKETD_MAILBOX__SUPORT__ADDRESS".to_owned(), "x@example.org".to_owned())];
        let error = Config::parse(MAILBOX, misspelt.into()).unwrap_err();
        insta::assert_snapshot!(format!("{error:#}"), @"TICKETD_MAILBOX__SUPORT__ADDRESS: there is no mailbox named `suport`");
    }

    #[test]
    fn an_unreadable_secret_file_says_which_and_why() {
        let gemini =
            Config::parse("[gemini]\napi_key_file = \"/nonexistent/key\"", BTreeMap::new()).unwrap().gemini;
        let error = format!("{:#}", gemini.unwrap().key().unwrap_err());
        insta::assert_snapshot!(error, @"gemini: api key: cannot read /nonexistent/key (must be readable by the user ticketd runs as): No such file or directory (os error 2)");
    }
}
