//! The log: to standard error, JSON under systemd and plain on a terminal. What it shows can change while the process runs.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

#[cfg(feature = "otel")]
use crate::app::traces::Traces;
use crate::config::{LogFormat, Telemetry};

/// The running log.
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    #[cfg(feature = "otel")]
    traces: Option<Traces>,
}

/// Begins to log.
pub(crate) fn start(telemetry: &Telemetry) -> anyhow::Result<Log> {
    let (filter, handle) = reload::Layer::new(filter(&telemetry.log)?);
    let is_plain = match telemetry.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Plain => true,
        LogFormat::Json => false,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if is_plain { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    let log = tracing_subscriber::registry().with(filter).with(lines);
    #[cfg(feature = "otel")]
    let traces = telemetry.otlp_endpoint.as_deref().map(Traces::start).transpose()?;
    #[cfg(feature = "otel")]
    let log = log.with(traces.as_ref().map(Traces::layer));
    // Setting it twice happens in tests only.
    log.try_init().ok();
    Ok(Log {
        filter: handle,
        #[cfg(feature = "otel")]
        traces,
    })
}

/// Whether there is a log of that kind.
pub(crate) fn check(telemetry: &Telemetry) -> anyhow::Result<()> {
    filter(&telemetry.log).map(drop)
}

impl Log {
    /// Shows more, or less, from now on.
    pub(crate) fn change(&self, telemetry: &Telemetry) -> anyhow::Result<()> {
        self.filter.reload(filter(&telemetry.log)?).context("the log cannot be changed")
    }

    /// The last traces leave.
    #[cfg(feature = "otel")]
    pub(crate) async fn end(self) {
        if let Some(traces) = self.traces {
            traces.end().await;
        }
    }
}

/// The configured filter, less what would write mail, addresses and passwords into the log: these crates show the wire at
/// `debug` and `trace`, whatever is asked for.
fn filter(configured: &str) -> anyhow::Result<EnvFilter> {
    let mut filter =
        EnvFilter::try_new(configured).context("telemetry.log is no log filter, such as \"info\"")?;
    for capped in [
        "async_imap=info",
        "lettre=info",
        "hyper=info",
        "reqwest=info",
        // Its spans hold what is sent, with the tokens of interactions.
        "serenity=warn",
        // What it cannot read it writes out; what matters of it is said by `sources::discord`.
        "serenity::gateway=off",
        "tungstenite=info",
        "tokio_tungstenite=info",
        "sqlx::postgres::notice=warn",
    ] {
        filter = filter.add_directive(capped.parse().context("a log directive of ours")?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_filter_shows_the_wire() {
        for configured in ["trace", "async_imap=trace", "lettre=debug,info", "serenity=info"] {
            let filter = super::filter(configured).unwrap().to_string();
            for capped in ["async_imap=info", "lettre=info", "serenity=warn"] {
                assert!(filter.split(',').any(|d| d == capped), "{configured}: {filter}");
            }
            assert!(!filter.contains("async_imap=trace") && !filter.contains("lettre=debug"), "{filter}");
        }
        assert!(super::filter("ticketd=loud").is_err());
    }
}
