//! Answers who asks for the metrics by HTTP: one question per connection, on loopback or a UNIX socket, `GET /metrics`.
//!
//! Each answer is made from the journal when it is asked for, so that nothing is kept in memory between two. No more than a
//! few are served at a time, and nobody who is slow is waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::engine::{Engine, status};
use crate::model::{Listen, Policy};
use crate::plan::metrics;
use crate::store::Store;
use crate::sys::clock::Clock;
use crate::sys::{error_chain, sockets};

/// Listens until it is dropped.
pub(super) struct Exposition(JoinHandle<()>);

impl Drop for Exposition {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Answerer {
    policy: Arc<Policy>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Exposition {
    /// Where the policy wants it; an address that cannot be had is told, and nothing else fails for it.
    pub(super) async fn open(engine: &Engine) -> Option<Self> {
        let listen = engine.policy.metrics.listen.as_ref()?;
        match Self::listen(engine, listen).await {
            Ok(open) => Some(open),
            Err(why) => {
                tracing::error!(
                    "metrics are not answered at {listen}: {why}; tried again every minute"
                );
                None
            }
        }
    }

    /// Once more, where the policy wants it and it could not be had before.
    pub(super) async fn again(engine: &Engine) -> Option<Self> {
        let listen = engine.policy.metrics.listen.as_ref()?;
        let open = Self::listen(engine, listen).await.ok()?;
        tracing::info!("metrics are answered at {listen}");
        Some(open)
    }

    /// Gives the address back.
    pub(super) async fn close(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }

    async fn listen(engine: &Engine, listen: &Listen) -> Result<Self, String> {
        let store = engine.store.another().await;
        let answerer = Arc::new(Answerer {
            policy: Arc::clone(&engine.policy),
            store: store.map_err(|error| error_chain(&error))?,
            clock: Arc::clone(&engine.clock),
        });
        let slots = Arc::new(Semaphore::new(AT_A_TIME));
        let task = match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|error| error.to_string())?;
                tokio::spawn(async move {
                    loop {
                        match listener.accept().await {
                            Ok((stream, _)) => serve(&answerer, &slots, stream).await,
                            Err(error) => pause(&error).await,
                        }
                    }
                })
            }
            Listen::Unix(path) => {
                let listener = sockets::listen(path, 0o666);
                let listener = listener.map_err(|error| error_chain(&error))?;
                tokio::spawn(async move {
                    loop {
                        match listener.accept().await {
                            Ok((stream, _)) => serve(&answerer, &slots, stream).await,
                            Err(error) => pause(&error).await,
                        }
                    }
                })
            }
        };
        Ok(Self(task))
    }
}

/// Such as too many open files: soon there may be fewer.
async fn pause(error: &std::io::Error) {
    tracing::debug!(%error, "a question for metrics was not taken");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn serve<S>(answerer: &Arc<Answerer>, slots: &Arc<Semaphore>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
        return;
    };
    let answerer = Arc::clone(answerer);
    tokio::spawn(async move {
        // Who does not ask, or does not read, is let go.
        let _ = tokio::time::timeout(PATIENCE, answerer.answer(stream)).await;
        drop(slot);
    });
}

impl Answerer {
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
    ) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut piece = [0; 1024];
        while !ended(&head) {
            let read = stream.read(&mut piece).await?;
            if read == 0 || head.len() > LONGEST_HEAD {
                return Ok(());
            }
            head.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (words.next(), words.next());
        let path = target.map(|target| target.split('?').next().unwrap_or_default());
        let (line, kind, body) = match (method, path) {
            (Some("GET" | "HEAD"), Some("/metrics")) => self.metrics().await,
            (Some("GET" | "HEAD"), _) => ("404 Not Found", PLAIN, "ask for /metrics\n".into()),
            _ => ("405 Method Not Allowed", PLAIN, "ask by GET\n".into()),
        };
        let mut text = format!(
            "HTTP/1.1 {line}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if method != Some("HEAD") {
            text.push_str(&body);
        }
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    }

    async fn metrics(&self) -> (&'static str, &'static str, String) {
        let now = self.clock.now();
        match status(&self.policy, Some(&*self.store), now).await {
            Ok(status) => ("200 OK", PROMETHEUS, metrics::render(&status)),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "metrics were not answered");
                let text = "the journal cannot be read; the log says why\n";
                ("503 Service Unavailable", PLAIN, text.into())
            }
        }
    }
}

fn ended(head: &[u8]) -> bool {
    let blank = |line: &[u8]| head.windows(line.len()).any(|part| part == line);
    blank(b"\r\n\r\n") || blank(b"\n\n")
}

const PLAIN: &str = "text/plain; charset=utf-8";
/// Prometheus' text format, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Answers being given.
const AT_A_TIME: usize = 4;
/// Bytes of a question.
const LONGEST_HEAD: usize = 16 << 10;
/// For question and answer together.
const PATIENCE: Duration = Duration::from_secs(10);
