//! A reader as a server is one: opens the live directory once, then certificate and key relative to that descriptor,
//! over and over while others commit, and counts what it sees.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use renewd::pki::{PrivateKey, Secret, facts, jks, pem};

/// Reads in a thread of its own until it is stopped.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
    slow: Arc<AtomicBool>,
}

const PACE: Duration = Duration::from_millis(2);
const STRANGER: &str = "the key is not that of";

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} pairs of {} certificates, {} straddled a commit, {} wrong",
            if self.who.is_empty() {
                "reader"
            } else {
                self.who
            },
            self.pairs,
            self.certificates.len(),
            self.straddled,
            self.wrong.len()
        )
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Who saw it; nothing for the reader by one descriptor.
    who: &'static str,
    /// Certificate and key that belong together.
    pub(crate) pairs: u64,
    /// Different certificates.
    pub(crate) certificates: std::collections::BTreeSet<String>,
    /// Certificate and key of two sets, one after the other, as two opens by path may find them.
    pub(crate) straddled: u64,
    /// Everything else: a key of another certificate, a torn file, a missing half.
    pub(crate) wrong: Vec<String>,
}

impl Seen {
    const fn is_empty(&self) -> bool {
        self.pairs == 0 && self.straddled == 0 && self.wrong.is_empty()
    }
}

impl Reader {
    /// Watches `live`, which holds `<certificate>` and `<key>` below it.
    pub(crate) fn start(live: &Path, certificate: &str, key: &str) -> Self {
        Self::each(live, &[(certificate.to_owned(), key.to_owned())])
    }

    /// The same with several pairs in turn.
    pub(crate) fn each(live: &Path, pairs: &[(String, String)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let slow = Arc::new(AtomicBool::new(false));
        let paced = Arc::clone(&slow);
        let (told, live) = (Arc::clone(&stop), live.to_owned());
        let pairs = pairs.to_vec();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !told.load(Ordering::SeqCst) {
                for (certificate, key) in &pairs {
                    look(&live, certificate, key, &mut seen);
                }
                if paced.load(Ordering::SeqCst) {
                    std::thread::sleep(PACE);
                }
            }
            seen
        });
        Self { stop, thread, slow }
    }

    /// Watches two files that are opened one after the other by their paths.
    pub(crate) fn by_paths(certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Self::again("reader by paths", PACE, move || {
            let read = |path: &str| std::fs::read(path).map_err(|e| format!("{path}: {e}"));
            pair(&read, certificate.to_str().unwrap(), key.to_str().unwrap())
        })
    }

    /// Watches a keystore, PKCS #12 or JKS, by its path: one open, so that its halves always match.
    pub(crate) fn of_store(path: &Path, password: &str) -> Self {
        let (path, password) = (path.to_owned(), password.to_owned());
        // To open one takes thousands of rounds.
        Self::again("reader of a keystore", PACE * 20, move || {
            let bytes = std::fs::read(&path).map_err(|e| e.to_string())?;
            stored(&bytes, &password).map_err(|e| format!("{}: {e}", path.display()))
        })
    }

    fn again(
        who: &'static str,
        pace: Duration,
        read: impl Fn() -> Result<String, String> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen {
                who,
                ..Seen::default()
            };
            while !told.load(Ordering::SeqCst) || seen.is_empty() {
                match read() {
                    Ok(serial) => {
                        seen.pairs += 1;
                        seen.certificates.insert(serial);
                    }
                    Err(why) if why.starts_with(STRANGER) => seen.straddled += 1,
                    Err(why) => seen.wrong.push(why),
                }
                std::thread::sleep(pace);
            }
            seen
        });
        Self {
            stop,
            thread,
            slow: Arc::default(),
        }
    }

    /// Leaves others some of the processor.
    pub(crate) fn paced(self) -> Self {
        self.slow.store(true, Ordering::SeqCst);
        self
    }

    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn look(live: &Path, certificate: &str, key: &str, seen: &mut Seen) {
    // Before the first commit there is no link.
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let Ok(directory) = open(live, flags, Mode::empty()) else {
        std::thread::yield_now();
        return;
    };
    let read = |name: &str| -> Result<Vec<u8>, String> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(
            directory.as_fd(),
            &PathBuf::from(name),
            flags,
            Mode::empty(),
        )
        .map_err(|error| format!("{name}: {error}"))?;
        let mut bytes = Vec::new();
        File::from(fd)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(bytes)
    };
    match pair(&read, certificate, key) {
        Ok(serial) => {
            seen.pairs += 1;
            seen.certificates.insert(serial);
        }
        Err(why) => seen.wrong.push(why),
    }
}

fn stored(bytes: &[u8], password: &str) -> Result<String, String> {
    let (key, leaf) = if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        let password = Secret::from(password.to_owned());
        let mut entries = jks::read(bytes, &password).map_err(|error| error.to_string())?;
        let mut entry = entries.pop().ok_or("a keystore without a key")?;
        let key = PrivateKey::from_pkcs8(entry.pkcs8.expose());
        (key, entry.certificates.swap_remove(0))
    } else {
        let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict)
            .map_err(|error| error.to_string())?;
        let Some((_, KeyStoreEntry::PrivateKeyChain(entry))) = store.entries().next() else {
            return Err("a keystore without a key".to_owned());
        };
        let key = PrivateKey::from_pkcs8(entry.key().as_der());
        (key, entry.certs()[0].as_der().to_vec())
    };
    let key = key.map_err(|error| error.to_string())?;
    let leaf = facts(&leaf).map_err(|error| error.to_string())?;
    if key.spki() != leaf.spki {
        return Err(format!("the key is of another one than {}", leaf.serial));
    }
    Ok(leaf.serial)
}

fn pair(
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    certificate: &str,
    key: &str,
) -> Result<String, String> {
    let chain = String::from_utf8(read(certificate)?).map_err(|error| error.to_string())?;
    let chain = pem::certificates(&chain).map_err(|error| error.to_string())?;
    let leaf = facts(chain.first().ok_or("an empty certificate file")?)
        .map_err(|error| error.to_string())?;
    let key = PrivateKey::from_pem(&read(key)?).map_err(|error| error.to_string())?;
    if key.spki() != leaf.spki {
        return Err(format!("{STRANGER} {}", leaf.serial));
    }
    Ok(leaf.serial)
}
