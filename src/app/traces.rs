//! Traces for an OpenTelemetry collector: the spans of jobs and requests, by OTLP over HTTP. Only in builds with the feature `otel`.
//!
//! A span has what its line in the log has: ids, kinds and routes, never addresses, texts or secrets. Spans of other crates stay
//! here. A collector that is away costs the spans, and nothing else.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::registry::LookupSpan;

/// A collector has so long to take a batch.
const TAKES_WITHIN: Duration = Duration::from_secs(10);

/// Where spans go. They leave in batches, and the last ones with [`Traces::end`].
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// `endpoint`: the collector's address, such as `http://127.0.0.1:4318`.
    pub fn start(endpoint: &str) -> anyhow::Result<Self> {
        let wrong =
            || format!("telemetry.otlp_endpoint: {endpoint} is no address such as http://127.0.0.1:4318");
        let url = reqwest::Url::parse(endpoint).with_context(wrong)?;
        anyhow::ensure!(["http", "https"].contains(&url.scheme()), wrong());
        let client = reqwest::Client::builder()
            .timeout(TAKES_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make a client for the collector")?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { client, runtime: Handle::current() })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(TAKES_WITHIN)
            .build()
            .context("cannot send traces")?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty().with_service_name("ticketd").with_attribute(version).build();
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        Ok(Self(provider))
    }

    /// Takes the spans of ticketd's own code. Where it stands in the source and on which thread it ran is of no use to others.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("ticketd"))
            .with_location(false)
            .with_threads(false)
            // Spans alone: a line of the log may quote what a mail server answered.
            .with_filter(
                Targets::new()
                    .with_target("ticketd", tracing::Level::INFO)
                    .and(filter_fn(|metadata| metadata.is_span())),
            )
    }

    /// Sends what is left.
    pub async fn end(self) {
        // It waits for the collector.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// Our own HTTP client: the exporter's would bring a second one. It is asked from a thread of the exporter's, which has no runtime.
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}
