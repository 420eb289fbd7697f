//! A server that wants to be told of events: HTTPS on the loopback, with a certificate by the tests' authority.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates;

/// What it answers to one request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// Elsewhere.
    Redirect(String),
    /// 200, once the test lets it.
    Held(Arc<Notify>),
    /// Never.
    Hang,
    /// 200 with a body that never ends.
    Endless,
}

/// One request that it got.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

#[derive(Debug, Default)]
struct World {
    got: Vec<Got>,
    answers: VecDeque<Answer>,
    usual: Option<Answer>,
}

/// The receiver; it ends with its handle.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    folder: tempfile::TempDir,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// It answers 200 unless told otherwise.
    pub async fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (certificate, key) = certificates::for_name("localhost");
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let world = Arc::new(Mutex::new(World::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&world));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(Tls { listener, acceptor }, router).await.ok();
        });
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificates::authority_pem()).expect("a file");
        Self { address, world, folder, _serving: serving }
    }

    /// Its address, by name: the certificate is for that.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority to trust, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The section that lets ticketd reach it.
    pub fn section(&self) -> String {
        let ca = self.ca_file();
        format!("[webhooks]\nallowed_networks = [\"127.0.0.0/8\"]\nca_file = \"{}\"\n", ca.display())
    }

    /// What it answers next, once each.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.world().answers.extend(answers);
    }

    /// What it answers from now on.
    pub fn always(&self, answer: Answer) {
        self.world().usual = Some(answer);
    }

    /// What it got so far, oldest first.
    pub fn got(&self) -> Vec<Got> {
        self.world().got.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let answer = {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        let body = String::from_utf8(body.to_vec()).expect("text");
        world.got.push(Got { path: uri.to_string(), headers, body });
        world.answers.pop_front().or(world.usual.clone()).unwrap_or(Answer::Status(200))
    };
    let status = |status: u16| Response::builder().status(status);
    let answered = match answer {
        Answer::Status(code) => status(code).body(Body::from("what the receiver says is nobody's business")),
        Answer::Redirect(to) => status(302).header("location", to).body(Body::empty()),
        Answer::Held(notify) => {
            notify.notified().await;
            status(200).body(Body::empty())
        }
        Answer::Hang => std::future::pending().await,
        Answer::Endless => {
            let chunk = || Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; 512]));
            status(200).body(Body::from_stream(futures_util::stream::repeat_with(chunk)))
        }
    };
    answered.expect("an answer")
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else { continue };
            // Who does not trust us goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
