//! A small web server that shows proofs while they are needed, and nothing else. It lives in memory: after a start the
//! proofs of orders under way are given to it again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::model::DomainProof;
use crate::validation::ValidationError;

/// Every listener, by its address.
#[derive(Default)]
pub(super) struct Responder {
    /// Held while listeners come and go, so that two calls do not open one twice.
    open: tokio::sync::Mutex<BTreeMap<String, Listening>>,
}

struct Listening {
    shown: Arc<Shown>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Contents by host and path.
#[derive(Default)]
struct Shown(Mutex<BTreeMap<(String, String), String>>);

impl Shown {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, host: &str, path: &str) -> Option<String> {
        self.lock()
            .get(&(host.to_owned(), path.to_owned()))
            .cloned()
    }
}

impl Responder {
    /// Shows these proofs at the address; no change where it does.
    pub(super) async fn show(
        &self,
        listen: &str,
        proofs: &[DomainProof],
    ) -> Result<(), ValidationError> {
        let mut open = self.open.lock().await;
        let shown = match open.get(listen) {
            Some(listening) if !listening.task.is_finished() => Arc::clone(&listening.shown),
            _ => {
                let listener = TcpListener::bind(listen).await;
                let listener = listener.map_err(|error| refused(listen, &error))?;
                let shown = Arc::new(Shown::default());
                let task = tokio::spawn(serve(listener, Arc::clone(&shown)));
                let listening = Listening {
                    shown: Arc::clone(&shown),
                    task,
                };
                open.insert(listen.to_owned(), listening);
                tracing::info!("domain proofs are shown at {listen}");
                shown
            }
        };
        let mut all = shown.lock();
        all.extend(proofs.iter().map(|proof| (key(proof), proof.value.clone())));
        Ok(())
    }

    /// Shows these proofs no longer, and gives the address back with the last one.
    pub(super) async fn hide(&self, listen: &str, proofs: &[DomainProof]) {
        let mut open = self.open.lock().await;
        let Some(listening) = open.get(listen) else {
            return;
        };
        let empty = {
            let mut all = listening.shown.lock();
            for proof in proofs {
                // What took its place is another order's.
                if all.get(&key(proof)) == Some(&proof.value) {
                    all.remove(&key(proof));
                }
            }
            all.is_empty()
        };
        if empty && let Some(mut listening) = open.remove(listen) {
            listening.task.abort();
            let _ = (&mut listening.task).await;
            tracing::info!("no domain proofs are shown at {listen} any more");
        }
    }
}

fn refused(listen: &str, error: &io::Error) -> ValidationError {
    let why = format!("listening at {listen} for domain proofs: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => ValidationError::configuration(format!(
            "{why}; ports below 1024 need CAP_NET_BIND_SERVICE, which the drop-in gives that `renewd systemd dropin` prints"
        )),
        io::ErrorKind::AddrInUse => ValidationError::configuration(format!(
            "{why}; a web server that runs there shows files by [validation.web_root.NAME]"
        )),
        _ => ValidationError::configuration(format!("{why}; correct `listen`")),
    }
}

/// Host and path, as a CA asks for them.
fn key(proof: &DomainProof) -> (String, String) {
    let domain = proof.domain.strip_prefix("*.").unwrap_or(&proof.domain);
    let place = proof.place.trim_start_matches('/');
    (domain.to_ascii_lowercase(), format!("/{place}"))
}

async fn serve(listener: TcpListener, shown: Arc<Shown>) {
    let slots = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let shown = Arc::clone(&shown);
                tokio::spawn(async move {
                    // Who does not ask, or does not read, is let go.
                    let _ = tokio::time::timeout(PATIENCE, answer(stream, &shown)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Such as too many open files: soon there may be fewer.
                tracing::debug!(%error, "a question for a domain proof was not taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, shown: &Shown) -> io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|part| part == b"\r\n\r\n") {
        let read = stream.read(&mut piece).await?;
        if read == 0 || head.len() > LONGEST_HEAD {
            return Ok(());
        }
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    let asked = Asked::read(&String::from_utf8_lossy(&head));
    let (status, body) = match &asked {
        Some(asked) => match shown.find(&asked.host, &asked.path) {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", String::new()),
        },
        None => ("400 Bad Request", String::new()),
    };
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !asked.is_some_and(|asked| asked.head_only) {
        text.push_str(&body);
    }
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// What somebody asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    host: String,
    path: String,
    head_only: bool,
}

impl Asked {
    /// `None` for what is no question for a file.
    fn read(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let head_only = match words.next()? {
            "GET" => false,
            "HEAD" => true,
            _ => return None,
        };
        let path = words.next()?.split('?').next()?.to_owned();
        let host = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("host").then(|| value.trim())
        })?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next()?,
            None => host.split(':').next()?,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        Some(Self {
            host: host.to_ascii_lowercase(),
            path,
            head_only,
        })
    }
}

/// Answers being given.
const AT_A_TIME: usize = 32;
/// Bytes of a question.
const LONGEST_HEAD: usize = 16 << 10;
/// For question and answer together.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_path_are_read_as_browsers_and_cas_write_them() {
        let read = |host: &str| {
            let head = format!("GET /a.txt?x=1 HTTP/1.1\r\nAccept: */*\r\nhOST: {host}\r\n\r\n");
            Asked::read(&head).map(|asked| (asked.host, asked.path))
        };
        let of = |host: &str| Some((host.to_owned(), "/a.txt".to_owned()));
        assert_eq!(read("WWW.example.com"), of("www.example.com"));
        assert_eq!(read("www.example.com.:80"), of("www.example.com"));
        assert_eq!(read("192.0.2.1:8080"), of("192.0.2.1"));
        assert_eq!(read("[2001:db8::1]:80"), of("2001:db8::1"));
        assert_eq!(Asked::read("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), None);
        assert_eq!(Asked::read("GET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(Asked::read(""), None);
    }
}
