//! What the demo prints.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use super::Figures;
use crate::cli;
use crate::ingest::Entry;
use crate::tickets::changes::Triage;

/// The terminal, or a pipe, which gets no colors; or nobody.
pub(super) struct Screen {
    speaks: bool,
    colors: bool,
}

impl Screen {
    pub(super) fn new(speaks: bool) -> Self {
        Self { speaks, colors: std::io::stdout().is_terminal() }
    }

    pub(super) fn say(&self, line: &str) -> anyhow::Result<()> {
        if self.speaks { cli::say(line) } else { Ok(()) }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colors { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn mail(&self, number: usize, of: usize, from: &str, subject: &str) -> anyhow::Result<()> {
        let progress = self.paint("2", &format!("[{number:2}/{of}]"));
        self.say(&format!("\n{progress} {} {subject}", self.paint("1", from)))
    }

    pub(super) fn step(&self, begun: Instant, what: &str) -> anyhow::Result<()> {
        let took = format!("{:7.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
        self.say(&format!("  {}  {what}", self.paint("36", &took)))
    }

    pub(super) fn look_around(
        &self,
        figures: &Figures,
        listen: SocketAddr,
        folder: &Path,
        password: &str,
        kept: bool,
    ) -> anyhow::Result<()> {
        let outbox = folder.join("outbox");
        self.say(&format!(
            "\n{}\n  {} mails became {} tickets: {} triaged, {} assigned, {} acknowledged, {} answered by staff;\n  \
             {:.1} ms from a mail's arrival to its acknowledgement, at the median.\n",
            self.paint("1", "Done."),
            figures.mails,
            figures.tickets,
            figures.triaged,
            figures.assigned,
            figures.acknowledged,
            figures.answered,
            figures.median_ms()
        ))?;
        self.say(&format!(
            "Look around:\n  \
             the mails that were sent   ls {}\n  \
             one of them                cat {}/1001-acknowledgement-1.eml\n  \
             log in (admin)             TOKEN=$(curl -s http://{listen}/api/auth/login -H 'content-type: application/json' \\\n                               \
             -d '{{\"email\":\"ines@demo.example\",\"password\":\"{password}\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n  \
             the tickets                curl -s -H \"authorization: Bearer $TOKEN\" http://{listen}/api/tickets\n  \
             one with its conversation  curl -s -H \"authorization: Bearer $TOKEN\" http://{listen}/api/tickets/1001\n  \
             who got it and why         curl -s -H \"authorization: Bearer $TOKEN\" http://{listen}/api/tickets/1001/assignment\n  \
             health and numbers         curl -s http://{listen}/readyz http://{listen}/metrics\n",
            outbox.display(),
            outbox.display()
        ))?;
        let end = if kept {
            format!("Ctrl-C stops it; {} is kept.", folder.display())
        } else {
            "Ctrl-C stops it and removes everything (keep it with --data-dir DIR).".to_owned()
        };
        self.say(&end)
    }
}

/// One line on a mail that opened no ticket.
pub(super) fn fate(entry: &Entry) -> String {
    let ticket = entry.ticket_id.map(|t| format!(" #{t}")).unwrap_or_default();
    let reason = entry.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    match entry.fate.as_deref() {
        Some("appended") => format!("joins ticket{ticket}{reason}"),
        Some("duplicate") => format!("the same mail as before: nothing is done twice (ticket{ticket})"),
        Some(fate) => format!("{fate}{reason}"),
        None => "waits".to_owned(),
    }
}

/// One line on a judgement.
pub(super) fn triage(triage: &Triage) -> String {
    let or = |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
    let skills =
        if triage.skills.is_empty() { "no skill recognized".to_owned() } else { triage.skills.join(", ") };
    format!(
        "triaged ({}, {:.0} % sure): {}, {}, {skills}, language {}",
        triage.engine,
        triage.confidence * 100.0,
        or(&triage.category, "no category"),
        or(&triage.priority, "medium"),
        or(&triage.language, "not known"),
    )
}
