//! The process dies between any two steps of what somebody asked for in Discord: it is done once all the same.

use std::os::unix::process::ExitStatusExt;

use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use ticketd::clock::Clock;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::discord::{Discord, Setup};
use crate::harness::dovecot::Dovecot;
use crate::harness::wait::until;

/// On the way of a command, a click or a form.
pub fn is_there(point: &str) -> bool {
    point.starts_with("interact.")
}

#[tokio::test]
async fn what_is_asked_for_is_done_once_wherever_the_process_dies() {
    let points: Vec<_> = super::points().into_iter().filter(|point| is_there(point)).collect();
    assert!(points.len() >= 4, "the crash points are not where this test looks for them: {points:?}");
    stream::iter(points).map(dies_at).buffer_unordered(4).collect::<Vec<()>>().await;
}

async fn dies_at(point: String) {
    let discord = Discord::with(Setup { now: Clock::system().now(), ..Setup::default() }).await;
    let premises = Premises::furnish(Dovecot::shared().imap_port(), "", &discord.config()).await;
    let mut daemon = Daemon::start(&premises.config, &format!("{point}=1*return"));
    let form = discord.member("mia").uses("/ticket new").await.modal().await;
    let asked = form.submits(&[("subject", "Help"), ("text", "It burns.")]).await;
    let status = daemon.ends().await;
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{point}: {status}\n{}", daemon.log());

    premises.leases_run_out().await;
    let daemon = Daemon::start(&premises.config, "");
    until(&format!("after a death at {point} all is done"), async || {
        let done = premises.count("SELECT count(*) FROM inbound WHERE fate = 'ticketed'").await;
        done == 1 && premises.count("SELECT count(*) FROM jobs").await == 0
    })
    .await;
    assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 1, "{point}");
    assert_eq!(premises.count("SELECT count(*) FROM discord_payloads WHERE token IS NOT NULL").await, 0);
    let (own, staff) = (discord.support_thread("Help").await, discord.staff_thread("Help").await);
    assert_eq!((discord.threads().len(), own.members()), (2, vec!["mia".to_owned()]), "{point}");
    assert!(staff.exists());
    // Who died after the commit has not told anybody, and does not do it again to be able to.
    assert!(asked.seen().is_none_or(|shown| shown.text.starts_with("This is ticket #")), "{point}");
    assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
    daemon.stops().await;
    premises.db.close().await;
}
