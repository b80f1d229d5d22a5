//! A running server: start, address, stop, and the parts that its operations share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ccm_server::admin::Admin;
use crate::ccm_server::db::{Db, DbError};
use crate::ccm_server::faults::{FaultPlan, Faults};
use crate::ccm_server::http::{self, Face, Limits};
use crate::ccm_server::scm::{self, Life, ScmOptions};
use crate::ccm_server::searches::Searches;
use crate::ccm_server::seen::{RequestLog, Seen};
use crate::ccm_server::tls::{self, Tls, TlsError, TlsSource};
use crate::ccm_server::vault::{MasterKey, Vault, VaultError};
use crate::ccm_server::x509::Signers;
use crate::ccm_server::{lists, manage, pca, upkeep};
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::fs::{self, FsError, Lock, LockError};
use crate::sys::host;

/// How a server is to be run.
pub struct ServerOptions {
    /// The state directory; made with mode 0700 if it is missing.
    pub state: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Without it, and without TLS, only a loopback address is accepted.
    pub allow_remote: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpleasantness on purpose.
    pub faults: Faults,
    /// The key that opens the state; absent: `master.key` in the state directory.
    pub master_key: Option<MasterKey>,
    /// Whether an empty state gets a root and an issuing CA.
    pub init: bool,
    /// Where the certificate comes from that the listener shows; absent: plain HTTP.
    pub tls: Option<TlsSource>,
    /// What a client may take of time and memory.
    pub limits: Limits,
    /// The URL under which clients reach this server; absent: the address it listens at.
    pub public_url: Option<String>,
    /// Where lists of revoked certificates are served by plain HTTP, at any address; absent: by the API's listener alone.
    pub crl_listen: Option<SocketAddr>,
    /// The URL under which clients reach the lists; absent: that of `crl_listen`, or else the public URL.
    pub crl_url: Option<String>,
    /// How applications for SSL certificates are looked at.
    pub scm: ScmOptions,
    /// Where the management listener is; it must be a loopback address. Absent: there is none.
    pub manage: Option<SocketAddr>,
}

impl ServerOptions {
    /// A free loopback port, the machine's clock, no faults, CAs made at the first start.
    #[must_use]
    pub fn new(state: PathBuf) -> Self {
        Self {
            state,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_remote: false,
            clock: Arc::new(SystemClock),
            faults: Faults::none(),
            master_key: None,
            init: true,
            tls: None,
            limits: Limits::default(),
            public_url: None,
            crl_listen: None,
            crl_url: None,
            scm: ScmOptions::default(),
            manage: None,
        }
    }
}

/// Why a server does not start, or an administrative function fails.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The directory cannot be made or used.
    #[error("the state directory is not usable")]
    Directory(#[from] FsError),
    /// The directory lets others in.
    #[error("the state directory {path} has mode {mode:o}; it holds keys: chmod 700 {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another server has it, or somebody makes its first keys.
    #[error("another renewd-ccm is at work on this state; stop it first")]
    Busy(#[source] LockError),
    /// The address is not this machine's alone.
    #[error(
        "{0} can be reached from other machines, and requests travel unencrypted; listen on 127.0.0.1, give --tls-cert \
         and --tls-key or --tls self, or give --allow-remote behind a proxy with TLS"
    )]
    Remote(SocketAddr),
    /// The management listener would be reachable.
    #[error(
        "{0} is no loopback address; whoever reaches the management listener rules the server, so it listens on 127.0.0.1 \
         or [::1] only"
    )]
    RemoteManagement(SocketAddr),
    /// The address cannot be had.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The master key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Issue(#[from] crate::ccm_server::x509::X509Error),
    /// A user of this name is there.
    #[error("there is a user {name} in the account {account} already; choose another name")]
    UserExists {
        /// The user.
        name: String,
        /// The account.
        account: String,
    },
    /// There is no such user.
    #[error("there is no user {name} in the account {account}; `renewd-ccm user list` shows all")]
    NoUser {
        /// The user.
        name: String,
        /// The account.
        account: String,
    },
    /// There is no such zone.
    #[error("there is no zone {name} in the account {account}; `renewd-ccm zone list` shows all")]
    NoZone {
        /// The zone.
        name: String,
        /// The account.
        account: String,
    },
    /// The certificate for TLS cannot be used or made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What was given is not usable.
    #[error("{0}")]
    Invalid(String),
}

impl From<sqlx::Error> for ServerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// The server; its functions start one.
pub struct Server;

impl Server {
    /// Opens the state, makes CAs if there are none and that is wanted, and accepts connections.
    ///
    /// # Errors
    /// [`ServerError`]: nothing is running then.
    pub async fn start(options: ServerOptions) -> Result<Running, ServerError> {
        let open = options.allow_remote || options.tls.is_some();
        if !options.listen.ip().is_loopback() && !open {
            return Err(ServerError::Remote(options.listen));
        }
        if let Some(address) = options.manage.filter(|address| !address.ip().is_loopback()) {
            return Err(ServerError::RemoteManagement(address));
        }
        let public_url = options.public_url.as_deref();
        let crl_url = options.crl_url.as_deref();
        lists::base(crl_url, options.crl_listen, public_url)?;
        let mut shared = Shared::open(
            &options.state,
            options.master_key,
            Arc::clone(&options.clock),
            options.faults,
        )
        .await?;
        shared.life = Life::new(options.scm);
        let lock = lock(&options.state)?;
        let shared = Arc::new(shared);
        if let Err(failure) = pca::bury(&shared, shared.clock.now()).await {
            let detail = failure.detail();
            tracing::warn!(detail, "failed to erase the keys of deleted CAs");
        }
        pca::warn_of_shared(&shared).await?;
        if options.init {
            Admin::of(Arc::clone(&shared)).init_ca_if_empty().await?;
        }
        let (listener, address) = listen(options.listen).await?;
        let management = listen_if(options.manage).await?;
        let lists = listen_if(options.crl_listen).await?;
        if management.is_some() {
            manage::restore_clock(&shared).await?;
        }
        let tls = match options.tls {
            None => None,
            Some(source) => {
                let names = tls::names(options.listen.ip(), public_url);
                Some(Arc::new(Tls::open(source, names, &shared).await?))
            }
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let lists_at = lists.as_ref().map(|(_, address)| *address);
        let points = match lists::base(crl_url, lists_at, public_url)? {
            Some(base) => base,
            None => public_url.map_or_else(|| points_to_api(scheme, address), str::to_owned),
        };
        shared
            .obs
            .reached_at(points.trim_end_matches('/').to_owned());
        let stop = CancellationToken::new();
        tokio::spawn(upkeep::lists(Arc::clone(&shared), stop.clone()));
        tokio::spawn(upkeep::house(Arc::clone(&shared), stop.clone()));
        tokio::spawn(scm::keep_applications(Arc::clone(&shared), stop.clone()));
        if let Some(tls) = &tls {
            tokio::spawn(Arc::clone(tls).keep(Arc::clone(&shared), stop.clone()));
        }
        let serve = |listener, face| {
            let (shared, limits) = (Arc::clone(&shared), options.limits);
            tokio::spawn(http::serve(listener, face, shared, limits, stop.clone()))
        };
        let task = serve(listener, Face::Api(tls.clone()));
        let managed = management.map(|(listener, address)| {
            tracing::warn!(%address, "managed without a password by whoever is on this host");
            (address, serve(listener, Face::Manage))
        });
        let lists = lists.map(|(listener, address)| {
            tracing::info!(%address, "serving lists of revoked certificates");
            (address, serve(listener, Face::Lists))
        });
        tracing::info!(%address, scheme, state = %options.state.display(), "serving");
        Ok(Running {
            address,
            tls,
            shared,
            stop,
            task: Some(task),
            managed,
            lists,
            _lock: lock,
        })
    }
}

fn points_to_api(scheme: &str, address: SocketAddr) -> String {
    let base = lists::of_api(scheme, address, host::name().as_deref());
    if address.ip().is_unspecified() {
        tracing::warn!(
            base,
            "certificates of CAs with lists of revoked ones will name this address, where most clients may not reach this \
             server: say with --public-url, or with --crl-listen and --crl-url, where they do"
        );
    }
    base
}

async fn listen_if(
    wanted: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, ServerError> {
    match wanted {
        Some(address) => Ok(Some(listen(address).await?)),
        None => Ok(None),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let own = listener.local_addr().map_err(failed)?;
    Ok((listener, own))
}

/// A server that accepts connections; stops when dropped.
pub struct Running {
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    managed: Option<(SocketAddr, JoinHandle<()>)>,
    lists: Option<(SocketAddr, JoinHandle<()>)>,
    _lock: Lock,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of SCM, PCA and IAM alike.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Looks at once whether the certificate for TLS is to be read or made anew; without TLS nothing happens.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate of before is shown further then.
    pub async fn reload(&self) -> Result<(), TlsError> {
        match &self.tls {
            Some(tls) => tls.refresh(&self.shared).await,
            None => Ok(()),
        }
    }

    /// Where the management listener is, if there is one.
    #[must_use]
    pub fn management(&self) -> Option<SocketAddr> {
        self.managed.as_ref().map(|(address, _)| *address)
    }

    /// Where the listener for lists of revoked certificates is, if there is one.
    #[must_use]
    pub fn lists(&self) -> Option<SocketAddr> {
        self.lists.as_ref().map(|(address, _)| *address)
    }

    /// What can be done beside the API.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::of(Arc::clone(&self.shared))
    }

    /// The last requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.last()
    }

    /// How many requests of an operation came in, whatever became of them; by chapter, such as `4.2.2.3`.
    #[must_use]
    pub fn requests_of(&self, operation: &str) -> usize {
        self.shared.log.count(operation)
    }

    /// How many requests of an operation were received, those included that are not answered yet.
    #[must_use]
    pub fn received(&self, operation: &str) -> u32 {
        self.shared.faults.seen(operation)
    }

    /// How many pages of lists looked through everything, and not into what an earlier page had found.
    #[must_use]
    pub fn searches(&self) -> usize {
        self.shared.searches.made()
    }

    /// Stops accepting, lets requests end, closes the state.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // It ends by itself within its grace period; a panic in it was reported by the runtime.
            let _ = task.await;
        }
        for (_, task) in [self.managed.take(), self.lists.take()]
            .into_iter()
            .flatten()
        {
            let _ = task.await;
        }
        self.shared.db.close().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the operations share.
pub(super) struct Shared {
    /// The state directory.
    state: PathBuf,
    /// The state.
    pub(super) db: Db,
    /// Opens sealed keys.
    pub(super) vault: Vault,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// Unpleasantness.
    pub(super) faults: FaultPlan,
    /// Requests seen.
    pub(super) log: RequestLog,
    /// CA keys, opened.
    pub(super) signers: Signers,
    /// CAs that issue.
    pub(super) issuers: pca::Issuers,
    /// Applications for SSL certificates.
    pub(super) life: Life,
    /// Buckets with what was published.
    pub(super) obs: pca::Obs,
    /// What the first pages of lists found.
    pub(super) searches: Searches,
    /// Work that fills a processor, such as making an RSA key: as many at a time as there are processors.
    heavy: Semaphore,
    /// The same for passwords, one at a time: who has none yet must not be able to hold up who has.
    passwords: Semaphore,
}

impl Shared {
    /// Opens the state with its key, or makes both.
    pub(super) async fn open(
        state: &Path,
        master_key: Option<MasterKey>,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Result<Self, ServerError> {
        directory(state)?;
        // Two first starts at once must end with one key.
        let _alone = alone(state).await?;
        let key = match master_key {
            Some(key) => key,
            None => MasterKey::in_state(state)?,
        };
        if key.generated() {
            tracing::warn!(
                file = key.origin(),
                "made a new master key; whoever has this file and the state has every key: keep both apart in backups"
            );
        }
        let vault = Vault::new(&key)?;
        let db = Db::open(state).await?;
        check_key(&db, &vault, &key, state).await?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            state: state.to_owned(),
            db,
            vault,
            clock,
            faults: FaultPlan::new(faults),
            log: RequestLog::default(),
            signers: Signers::default(),
            issuers: pca::Issuers::default(),
            life: Life::default(),
            obs: pca::Obs::new(state.join("obs")),
            searches: Searches::default(),
            heavy: Semaphore::new(processors),
            passwords: Semaphore::new(1),
        })
    }

    /// Held while something is made that must be there once: the master key, the first CAs.
    pub(super) async fn alone(&self) -> Result<Lock, ServerError> {
        alone(&self.state).await
    }

    /// Runs work that fills a processor on a thread of its own.
    pub(super) async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        Self::aside(&self.heavy, work).await
    }

    /// The same for checking a password.
    pub(super) async fn password<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        Self::aside(&self.passwords, work).await
    }

    async fn aside<T: Send + 'static>(
        places: &Semaphore,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let _place = places.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending and with it whoever waits here.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// The first opening seals a known text; every later one must be able to open it.
async fn check_key(
    db: &Db,
    vault: &Vault,
    key: &MasterKey,
    state: &Path,
) -> Result<(), ServerError> {
    const LABEL: &str = "meta.key_check";
    const TEXT: &[u8] = b"renewd-ccm";
    let sealed = vault.seal(LABEL, TEXT)?;
    let kept: Vec<u8> = db
        .write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                sqlx::query("INSERT OR IGNORE INTO meta (name, value) VALUES ('key_check', $1)")
                    .bind(sealed)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query_scalar("SELECT value FROM meta WHERE name = 'key_check'")
                    .fetch_one(&mut *connection)
                    .await
            })
        })
        .await?;
    match vault.open(LABEL, &kept) {
        Ok(text) if text.expose() == TEXT => Ok(()),
        _ => Err(VaultError::Wrong {
            origin: key.origin().to_owned(),
            state: state.to_owned(),
        }
        .into()),
    }
}

fn directory(state: &Path) -> Result<(), ServerError> {
    // With DynamicUser= systemd makes the directory elsewhere and a link to it; the mode is that of the directory.
    let mode = match fs::stat(&state.join("."))? {
        Some(found) => found.mode,
        None => {
            fs::create_dir_all(state, 0o700)?;
            0o700
        }
    };
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(ServerError::Open {
            path: state.to_owned(),
            mode,
        })
    }
}

async fn alone(state: &Path) -> Result<Lock, ServerError> {
    match Lock::acquire(&state.join("init.lock"), "renewd-ccm", INIT_WAIT).await {
        Ok(lock) => Ok(lock),
        Err(LockError::Fs(error)) => Err(error.into()),
        Err(busy) => Err(ServerError::Busy(busy)),
    }
}

/// One server per state: two would each believe in their own counters of faults and opened keys.
fn lock(state: &Path) -> Result<Lock, ServerError> {
    match Lock::try_acquire(&state.join("serve.lock"), "renewd-ccm serve") {
        Ok(lock) => Ok(lock),
        Err(LockError::Fs(error)) => Err(error.into()),
        Err(busy) => Err(ServerError::Busy(busy)),
    }
}

/// Far above what making two CAs takes.
const INIT_WAIT: Duration = Duration::from_secs(30);
