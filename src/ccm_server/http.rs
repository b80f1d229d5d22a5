//! Connections: accepted, limited, timed and ended; what is inside a request is `dispatch`'s matter.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::ccm_server::peers::{Peer, Peers};
use crate::ccm_server::progress::Progressing;
use crate::ccm_server::server::Shared;
use crate::ccm_server::tls::Tls;
use crate::ccm_server::{dispatch, lists, manage};

/// What one client may take of time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the acceptance of a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From the first byte, or the end of the previous answer, to the end of the headers.
    pub header: Duration,
    /// From the end of the headers to the end of the body, unless it is larger than others.
    pub body: Duration,
    /// How long a body that is larger than others may be behind its pace (`dispatch::PACE`), and may be without a byte.
    pub slow: Duration,
    /// For everything a request does; a body that is larger than others has its time to arrive besides.
    pub request: Duration,
    /// While an answer is written and the client takes not one byte of it.
    pub unread: Duration,
    /// A connection is ended after so long, between two requests if possible.
    pub connection: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Connections at a time; each costs some 100 KiB beside its body at worst.
    pub connections: usize,
    /// Of them, connections of one peer: an IPv4 address, or the /64 of an IPv6 address. Further ones are closed at once.
    pub connections_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            body: Duration::from_secs(30),
            slow: Duration::from_secs(3),
            request: Duration::from_secs(60),
            unread: Duration::from_secs(30),
            connection: Duration::from_secs(600),
            // Far above the largest legal body but one, which has its own limit (`dispatch::most_bytes`).
            body_bytes: 1024 * 1024,
            connections: 512,
            // One address must not keep out all others; a proxy, which is one, is still far from it.
            connections_per_peer: 256,
        }
    }
}

/// What a listener is for.
#[derive(Clone)]
pub(super) enum Face {
    /// The API, by TLS where there is one.
    Api(Option<Arc<Tls>>),
    /// Management.
    Manage,
    /// Lists of revoked certificates.
    Lists,
}

/// Accepts until `stop`; then lets requests that are being carried out end, for a while.
pub(super) async fn serve(
    listener: TcpListener,
    face: Face,
    shared: Arc<Shared>,
    limits: Limits,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let peers = Arc::new(Peers::default());
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
            Ok((stream, address)) => {
                let Some(guest) = peers.admit(address.ip(), limits.connections_per_peer) else {
                    tracing::debug!(%address, "closed: this peer has as many connections as it may");
                    continue;
                };
                let (shared, face, stop) = (Arc::clone(&shared), face.clone(), stop.clone());
                connections.spawn(async move {
                    // Answers are written in one piece; waiting for more would only delay them.
                    let _ = stream.set_nodelay(true);
                    let peer = Peer(address.ip());
                    match face {
                        Face::Api(Some(tls)) => {
                            if let Some(stream) = handshake(stream, &tls, limits, &stop).await {
                                let plain = Face::Api(None);
                                connection(stream, peer, plain, shared, limits, stop).await;
                            }
                        }
                        plain => connection(stream, peer, plain, shared, limits, stop).await,
                    }
                    drop((place, guest));
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

/// Who does not finish in time is let go, as with headers.
async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    limits: Limits,
    stop: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let done = tokio::select! {
        () = stop.cancelled() => return None,
        done = tokio::time::timeout(limits.handshake, tls.accept(stream)) => done,
    };
    match done {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS connection");
            None
        }
        Err(_) => {
            tracing::debug!("the TLS handshake took too long");
            None
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    face: Face,
    shared: Arc<Shared>,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (shared, face, stop) = (Arc::clone(&shared), face.clone(), stop.clone());
        async move {
            match face {
                Face::Manage => Ok(manage::handle(request, shared, limits).await),
                Face::Lists => Ok(lists::handle(request, shared).await),
                Face::Api(_) => dispatch::handle(request, shared, limits, stop)
                    .await
                    .ok_or(Dropped),
            }
        }
    });
    let mut builder = protocol();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header);
    let stream = Progressing::new(stream, limits.unread);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let life = tokio::time::sleep(limits.connection);
    let end = tokio::select! {
        end = connection.as_mut() => Some(end),
        () = stop.cancelled() => None,
        // Also ends a client that reads its answers byte by byte.
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

/// How requests are read, but for time.
pub(super) fn protocol() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS).max_buf_size(HEADER_BYTES);
    builder
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

/// Header lines; the SDK sends nine.
const HEADERS: usize = 64;
/// Request line and headers.
const HEADER_BYTES: usize = 64 * 1024;
/// What a request being carried out gets when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(50);
