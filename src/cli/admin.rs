//! `ticketd admin`: the first admin, and the keys.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use secrecy::SecretString;

use super::{ConfigFile, say, storage};
use crate::clock::Clock;
use crate::people;

#[derive(Subcommand)]
pub(super) enum AdminCommand {
    /// Make an admin, or give an admin a new password; the password is asked for, or read from standard input
    #[command(
        after_help = "Example: ticketd admin create --config ticketd.toml --email ada@example.org --name Ada"
    )]
    Create {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long, value_name = "A")]
        email: String,
        #[arg(long, value_name = "N")]
        name: Option<String>,
    },
    /// Make another key for signed addresses, links and log-ins; what the older ones signed stays good
    #[command(
        after_help = "Example: ticketd admin rotate-key --config ticketd.toml\n\nThen restart every process on this database: \
        one that runs still does not know what the new key signed."
    )]
    RotateKey(ConfigFile),
}

pub(super) async fn run(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::Create { file, email, name } => create_admin(&file.config, &email, name).await,
        AdminCommand::RotateKey(file) => rotate_key(&file.config).await,
    }
}

async fn create_admin(path: &Path, email: &str, name: Option<String>) -> anyhow::Result<()> {
    let password = read_password()?;
    let (_, storage) = storage(path).await?;
    let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or(email).to_owned());
    let id = people::create_admin(&storage.db, email, &name, password, Clock::system().now()).await?;
    storage.close().await;
    say(&format!("{name} is an admin (person {id})"))
}

async fn rotate_key(path: &Path) -> anyhow::Result<()> {
    let (config, storage) = storage(path).await?;
    if config.auth.secret()?.is_some() {
        bail!(
            "the keys come from auth.secret_file: put a new secret there, and name the file of the old one in \
             auth.previous_secret_files"
        );
    }
    let count = people::rotate_signing_key(&storage.db, Clock::system().now()).await?;
    storage.close().await;
    say(&format!("there are {count} keys now: restart every process on this database, and the newest signs"))
}

/// From a terminal without showing it, else the first line of standard input; never from the command line, which
/// every process can read.
fn read_password() -> anyhow::Result<SecretString> {
    if std::io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password("Password: ").context("cannot read the password")?.into());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password on standard input");
    }
    Ok(password.to_owned().into())
}
