//! Connections: accepted, limited, timed and ended; what is inside a request is `dispatch`'s matter.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ccm_server::dispatch;
use crate::ccm_server::server::Shared;

/// Accepts until `stop`; then lets requests that are being carried out end, for a while.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // A full house leaves newcomers in the kernel's queue.
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    connection(stream, shared, stop).await;
                    drop(place);
                });
            }
            // Out of descriptors, or the peer was gone already: neither is a reason to stop, nor to spin.
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("connections were still busy and are cut off");
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
    // Answers are written in one piece; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        async move { dispatch::handle(request, shared, stop).await.ok_or(Dropped) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS)
        .max_buf_size(HEADER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let life = tokio::time::sleep(LIFE);
    let end = tokio::select! {
        end = connection.as_mut() => Some(end),
        () = stop.cancelled() => None,
        // Also ends a client that never reads its answers.
        () = life => None,
    };
    let end = match end {
        Some(end) => Ok(end),
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    if let Ok(Err(error)) = end {
        tracing::debug!(%error, "connection ended");
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
struct Dropped;

impl From<Infallible> for Dropped {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Connections at a time; each costs about 100 KiB at worst.
const CONNECTIONS: usize = 512;
/// From the first byte, or the end of the previous answer, to the end of the headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Header lines; the SDK sends nine.
const HEADERS: usize = 64;
/// Request line and headers.
const HEADER_BYTES: usize = 64 * 1024;
/// A connection is ended after so long, between two requests if possible.
const LIFE: Duration = Duration::from_secs(600);
/// What a request being carried out gets when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(50);
