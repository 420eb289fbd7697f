//! Spans of jobs and requests reach a collector, and nothing that people wrote is in them. For builds with the feature `otel`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::mail;
use crate::harness::wait::until;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    /// Protobuf keeps texts as they are.
    fn has(&self, text: &str) -> bool {
        let got = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        got.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

async fn collect(State(collector): State<Collector>, body: Bytes) {
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&body);
}

#[tokio::test]
async fn a_collector_gets_the_spans_of_jobs_and_requests_without_what_people_wrote() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/v1/traces", post(collect)).with_state(collector.clone());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await });

    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let text = std::fs::read_to_string(&premises.config).expect("the configuration");
    let text =
        text.replace("format = \"json\"", &format!("format = \"json\"\notlp_endpoint = \"{endpoint}\""));
    std::fs::write(&premises.config, text).expect("write the configuration");
    let daemon = Daemon::start(&premises.config, "");
    daemon.says("\"mailbox read\"", 1).await;
    let mail = mail("Ada <ada@example.net>", "Charged twice", "I want a refund for my invoice.");
    dovecot.append(&premises.user, "INBOX", mail.raw()).await;
    until("the mail is answered", async || premises.is_settled(1).await).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let asked = client.get(format!("{}/readyz?who=ada", daemon.base_url())).send().await;
    assert!(asked.is_ok());
    daemon.stops().await;
    for part in ["ticketd", "job.kind", "ingest", "triage", "deliver", "http.route", "/readyz"] {
        assert!(collector.has(part), "no span has {part}");
    }
    for part in ["ada@example.net", "Ada", "Charged twice", "refund", "example.org", "who=ada", "password"] {
        assert!(!collector.has(part), "a span has {part}");
    }
    premises.db.close().await;
}
