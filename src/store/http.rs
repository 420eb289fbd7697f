//! The HTTP client of the store: the one we have. The store's own would bring a second TLS provider.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpService,
};
use reqwest::redirect::Policy;

/// To be connected. An answer may take longer: see the store's own limit.
const CONNECT: Duration = Duration::from_secs(5);

/// Gives the store our client.
#[derive(Debug)]
pub(super) struct Connector(reqwest::Client);

impl Connector {
    pub(super) fn new(ca_file: Option<&Path>, is_loopback: bool) -> anyhow::Result<Self> {
        // No redirects: the signature is for one host.
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(super::TIME_LIMIT)
            .redirect(Policy::none())
            .no_gzip();
        if let Some(file) = ca_file {
            let pem = std::fs::read(file)
                .with_context(|| format!("attachments: cannot read s3.ca_file {}", file.display()))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("attachments: s3.ca_file {} must be PEM", file.display()))?;
            anyhow::ensure!(
                !authorities.is_empty(),
                "attachments: s3.ca_file {} holds no certificate",
                file.display()
            );
            builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        if is_loopback {
            builder = builder.no_proxy();
        }
        Ok(Self(builder.build().context("attachments: make an HTTP client")?))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(self.0.clone())))
    }
}

#[derive(Debug)]
struct Client(reqwest::Client);

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let mut answer = self.0.execute(request).await.map_err(fault)?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        // Whole: so is everything that is kept, and its hash is checked.
        let mut response = HttpResponse::new(answer.bytes().await.map_err(fault)?.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// What the store may try again. The address, with its signature, is left out.
fn fault(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_decode() || error.is_body() {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Request
    };
    HttpError::new(kind, error.without_url())
}
