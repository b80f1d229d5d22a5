//! The daemon's end: takes connections, as many as there may be.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::control::Feed;
use crate::control::session::{self, Session};
use crate::engine::Wish;
use crate::model::{Acting, Policy};
use crate::sys::fs;
use crate::sys::listener::Socket;

/// An answer without waiting for the loop: its fields, or why there is none.
pub type Look = Box<
    dyn Fn(Arc<Policy>) -> Pin<Box<dyn Future<Output = Result<Map<String, Value>, String>> + Send>>
        + Send
        + Sync,
>;

/// What sessions reach.
pub struct Surroundings {
    /// For `status`.
    pub status: Look,
    /// For `alerts`, and for whoever begins to listen.
    pub alerts: Look,
    /// What happens.
    pub feed: Feed,
    /// To the loop.
    pub wishes: mpsc::Sender<Wish>,
    /// The policy that the daemon goes by.
    pub in_force: watch::Receiver<Arc<Policy>>,
    /// The file that it is read from.
    pub policy_file: PathBuf,
}

/// Serves until it is dropped.
pub struct Server {
    accepting: JoinHandle<()>,
    present: Arc<AtomicUsize>,
}

impl Server {
    /// Begins to serve.
    #[must_use]
    pub fn start(socket: Socket, surroundings: Surroundings) -> Self {
        let present = Arc::default();
        let accept = accept(socket, Arc::new(surroundings), Arc::clone(&present));
        Self {
            accepting: tokio::spawn(accept),
            present,
        }
    }

    /// No further connections; the socket is gone afterwards. Sessions end by themselves when the loop does, and have a
    /// moment to say how.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // That it was aborted is no news.
        let _ = (&mut self.accepting).await;
        let farewell = async {
            while self.present.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        // Whoever does not read is left behind.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(socket: Socket, surroundings: Arc<Surroundings>, present: Arc<AtomicUsize>) {
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) => welcome(stream, &surroundings, &present),
            Err(error) => {
                // Most likely too many open files, which passes.
                tracing::warn!(%error, "a connection to the control socket was not taken");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

fn welcome(stream: UnixStream, surroundings: &Arc<Surroundings>, present: &Arc<AtomicUsize>) {
    // As it was when it connected: it may have become somebody else, or nobody, since.
    let Ok(peer) = stream.peer_cred() else {
        return;
    };
    let privileged = peer.uid() == 0 || peer.uid() == fs::own_ids().0;
    // Others must not be able to keep root out.
    let most = if privileged { MOST + RESERVED } else { MOST };
    let place = Place::take(present);
    if place.number > most {
        tokio::spawn(session::turn_away(stream));
        return;
    }
    tracing::debug!(
        uid = peer.uid(),
        pid = peer.pid(),
        "a client came to the control socket"
    );
    let surroundings = Arc::clone(surroundings);
    let may_act = move |policy: &Policy| privileged || policy.control.act == Acting::Group;
    tokio::spawn(async move {
        let _place = place;
        let mut session = Session::new(stream, surroundings, Box::new(may_act));
        if let Err(error) = session.serve().await {
            tracing::debug!(%error, "a client of the control socket was lost");
        }
    });
}

/// Among the clients that are there.
struct Place {
    present: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(present: &Arc<AtomicUsize>) -> Self {
        Self {
            number: present.fetch_add(1, Ordering::SeqCst) + 1,
            present: Arc::clone(present),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.present.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Clients at one time.
const MOST: usize = 64;
/// More of them, for root.
const RESERVED: usize = 8;
const FAREWELL: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
const AFTER_FAILURE: Duration = Duration::from_secs(1);
