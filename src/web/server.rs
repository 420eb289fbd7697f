//! The listener: connections that send nothing, or too much, do not hold anybody up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Connections at once; more wait until one of them ends.
const CONNECTIONS: usize = 4096;
/// A client has so long to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// The head of a request, in bytes and in fields.
const LARGEST_HEAD: usize = 64 * 1024;
const MOST_FIELDS: usize = 100;
/// What is in hand when the server stops has so long to end; an event stream ends by then too.
const LEAVE_WITHIN: Duration = Duration::from_secs(25);
/// Without a descriptor to spare, wait for one.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until told to stop, then lets requests in hand finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_on(listener, router, stop.clone(), stop).await;
}

/// As [`serve`], for a socket that another server goes on with: from `left` on no connection is taken, and those that were are
/// served on until `stop`.
pub async fn serve_on(
    listener: TcpListener,
    router: Router,
    left: CancellationToken,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let builder = builder();
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, (stream, peer)) = tokio::select! {
            () = stop.cancelled() => break,
            () = left.cancelled() => break,
            (slot, accepted) = accepted => match accepted {
                Ok(accepted) => (slot, accepted),
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be taken");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            },
        };
        let connection = connection(&builder, stream, peer, router.clone());
        let watched = graceful.watch(connection);
        running.spawn(async move {
            // What went wrong between us and a client is theirs to see.
            watched.await.ok();
            drop(slot);
        });
    }
    drop(listener);
    stop.cancelled().await;
    if tokio::time::timeout(LEAVE_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::info!("some connections were cut: they did not end by themselves");
    }
}

fn builder() -> Builder<TokioExecutor> {
    // HTTP/1 alone: its clock runs from the first moment, also for who connects and is silent. Proxies speak it.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_FIELDS);
    builder
}

fn connection(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>>
+ Send
+ 'static {
    // Small answers are sent at once.
    stream.set_nodelay(true).ok();
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    builder
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
        .into_owned()
}
