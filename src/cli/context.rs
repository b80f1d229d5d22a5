//! What the commands share: the policy, the journal, the lock, the engine.

use std::path::Path;
use std::sync::Arc;

use crate::cli::args::Arguments;
use crate::cli::exit::Exit;
use crate::cli::{CommandResult, Failure, output};
use crate::config;
use crate::deploy::Deployer;
use crate::engine::{
    Courier, Engine, EngineError, Issuers, ProgressSink, Prover, Publisher, Resolve,
};
use crate::model::{CertificateId, Policy};
use crate::store::{SqliteStore, Store, StoreError, journal};
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::fs::{self, Attributes, FsError, Lock, LockError};
use crate::sys::reference::Reference;
use crate::sys::{error_chain, host, outside, systemd};
use crate::validation::Validations;

/// Reads the policy; problems go to standard error, all at once.
pub(crate) fn load(arguments: &Arguments) -> Result<config::Loaded, Failure> {
    let loaded = read(arguments)?;
    if !loaded.warnings.is_empty() {
        output::note(&loaded.warnings.render(true));
    }
    Ok(loaded)
}

/// Reads the policy for a command that is not about it: what only might be wrong there is not told.
pub(crate) fn read(arguments: &Arguments) -> Result<config::Loaded, Failure> {
    match config::load(&arguments.config) {
        Ok(mut loaded) => {
            elsewhere(arguments, &mut loaded.policy);
            Ok(loaded)
        }
        Err(diagnostics) => {
            output::note(&diagnostics.render(true));
            Err(Failure::new(
                Exit::Configuration,
                format!("the policy {} cannot be used", arguments.config.display()),
            ))
        }
    }
}

/// `--socket` goes before the policy.
pub(crate) fn elsewhere(arguments: &Arguments, policy: &mut Policy) {
    if let Some(socket) = &arguments.socket {
        policy.control.socket.clone_from(socket);
    }
}

/// The policy, or an error naming a certificate that it does not have.
pub(crate) fn known<'a>(
    policy: &'a Policy,
    name: &CertificateId,
) -> Result<&'a crate::model::CertificatePolicy, Failure> {
    policy.certificates.get(name).ok_or_else(|| {
        let near = policy
            .certificates
            .keys()
            .map(|id| (strsim::jaro_winkler(id.as_str(), name.as_str()), id))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.8)
            .map(|(_, id)| format!("; did you mean `{id}`?"))
            .unwrap_or_default();
        Failure::new(
            Exit::Usage,
            format!("the policy has no certificate `{name}`{near}"),
        )
    })
}

/// The journal for a command that only reads; `None` before the first run.
pub(crate) async fn reader(policy: &Policy) -> Result<Option<SqliteStore>, Failure> {
    SqliteStore::open_read_only(&journal(&policy.state_dir))
        .await
        .map_err(|error| store_failure(&error))
}

/// The journal for a command that changes a line of it and does nothing else; under the lock.
pub(crate) async fn writer(policy: &Policy) -> Result<SqliteStore, Failure> {
    SqliteStore::open(&journal(&policy.state_dir))
        .await
        .map_err(|error| store_failure(&error))
}

/// Whether this user may read the journal, or find out that there is none.
pub(crate) fn may_read(policy: &Policy) -> bool {
    match std::fs::File::open(journal(&policy.state_dir)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
    }
}

/// Carries out a command that acts: takes the lock (waiting ten seconds), opens the journal, and closes it behind the
/// command, however that ends. An unclosed journal leaves SQLite's log beside it, which a reader of a read-only
/// directory may not be able to use.
pub(crate) async fn execute(
    policy: Policy,
    progress: ProgressSink,
    work: impl AsyncFnOnce(&Arc<Engine>) -> CommandResult,
) -> CommandResult {
    // What the progress does not say and a person should know.
    crate::telemetry::start("renewd=warn");
    let lock = lock(&policy.state_dir).await?;
    let clock = clock();
    let prover = prover(&clock);
    let engine = Arc::new(engine(Arc::new(policy), clock, prover, progress).await?);
    let result = work(&engine).await;
    if let Err(error) = Publisher::default().publish(&engine).await {
        tracing::warn!("the status was not written: {}", error_chain(&error));
    }
    let courier = engine.courier().await;
    let closed = engine.store.close().await;
    // A mail server that hangs must not keep the next command waiting.
    drop(lock);
    match courier {
        Ok(Some(courier)) => deliver(&courier, result.is_ok()).await,
        Ok(None) => {}
        Err(error) => tracing::warn!("no alert was sent: {}", error_chain(&error)),
    }
    let exit = result?;
    closed.map_err(|error| store_failure(&error))?;
    Ok(exit)
}

/// Sends what waits, each letter once. What does not leave stays in the journal for the next command, or the daemon.
async fn deliver(courier: &Arc<Courier>, completed: bool) {
    let mut round = std::pin::pin!(courier.deliver());
    let ended = match tokio::time::timeout(DELIVERY, &mut round).await {
        Ok(ended) => ended,
        Err(_) => {
            // The letter under way is finished, so that it is not sent twice.
            courier.stop();
            round.await
        }
    };
    if completed {
        courier.beat().await;
    }
    let ended = match ended {
        Ok(_) => courier.close().await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::warn!("alerts were not sent: {}", error_chain(&error));
    }
}

/// Prepares the state directory and takes its lock.
pub(crate) async fn lock(state_dir: &Path) -> Result<Lock, Failure> {
    // Others may pass through to the exports below, and see nothing here.
    fs::create_dir_all(state_dir, 0o711)
        .map_err(|error| Failure::new(Exit::CannotWrite, error_chain(&error)))?;
    if systemd::is_service() && fs::is_read_only(state_dir) {
        let text = format!(
            "the sandbox of the unit keeps the state directory {} from being written; install what `renewd systemd dropin` prints",
            state_dir.display()
        );
        return Err(Failure::new(Exit::CannotWrite, text));
    }
    let words = std::env::args_os();
    let command: Vec<_> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let path = state_dir.join("lock");
    match Lock::acquire(&path, &command.join(" "), LOCK_WAIT).await {
        Ok(lock) => Ok(lock),
        Err(error @ LockError::Busy { .. }) => Err(Failure::new(Exit::TryLater, error.to_string())),
        Err(error) => Err(Failure::new(Exit::CannotWrite, error_chain(&error))),
    }
}

/// The machine's clock, with what issuers say of it.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Reference::new(SystemClock))
}

/// Who proves domains; what it shows itself lives as long as it does.
pub(crate) fn prover(clock: &Arc<dyn Clock>) -> Arc<dyn Prover> {
    let (resolve, runner) = (resolver(), outside::runner());
    Arc::new(Validations::new(resolve, Arc::clone(clock), runner))
}

fn resolver() -> Resolve {
    Arc::new(|reference| {
        config::secret_ref::resolve(reference).map_err(|error| error_chain(&error))
    })
}

/// The engine over an open journal.
pub(crate) async fn engine(
    policy: Arc<Policy>,
    clock: Arc<dyn Clock>,
    prover: Arc<dyn Prover>,
    progress: ProgressSink,
) -> Result<Engine, Failure> {
    let path = journal(&policy.state_dir);
    private(&path)?;
    let store = SqliteStore::open(&path)
        .await
        .map_err(|error| store_failure(&error))?;
    let resolve = resolver();
    let deployer = Deployer::new(
        policy.state_dir.clone(),
        outside::runner(),
        Arc::clone(&resolve),
    )
    .asking_for(policy.names());
    let issuers = Issuers::new(policy.issuers.clone(), resolve, Arc::clone(&clock));
    let store: Arc<dyn Store> = Arc::new(store);
    Ok(Engine {
        policy,
        store,
        deployer,
        issuers,
        prover,
        clock,
        progress,
        host: host::seed(),
        stop: Arc::default(),
    })
}

/// The journal is nobody else's to read, whatever the umask: it holds the output of commands. SQLite gives the files
/// beside it the same mode.
fn private(path: &Path) -> Result<(), Failure> {
    let failed = |error: FsError| Failure::new(Exit::CannotWrite, error_chain(&error));
    match fs::stat(path).map_err(failed)? {
        Some(_) => Ok(()),
        None => fs::create_new(path, b"", &Attributes::PRIVATE).map_err(failed),
    }
}

pub(crate) fn store_failure(error: &StoreError) -> Failure {
    if error.is_damaged() {
        let text = format!(
            "{}; put a backup of the state directory in its place, or move it away: then everything is obtained anew",
            error_chain(error)
        );
        return Failure::new(Exit::DataInvalid, text);
    }
    let exit = if error.is_full_or_read_only() {
        Exit::CannotWrite
    } else {
        match error {
            StoreError::Open { .. } => Exit::CannotWrite,
            StoreError::Decode { .. } | StoreError::Version { .. } | StoreError::Migrate { .. } => {
                Exit::DataInvalid
            }
            StoreError::Query { .. }
            | StoreError::Encode { .. }
            | StoreError::AlreadyOpen(_)
            | StoreError::Missing(_)
            | StoreError::Id(_) => Exit::Bug,
        }
    };
    Failure::new(exit, error_chain(error))
}

pub(crate) fn engine_failure(error: &EngineError) -> Failure {
    match error {
        EngineError::Store(error) => store_failure(error),
        EngineError::Bug(_) => Failure::new(Exit::Bug, error.to_string()),
    }
}

/// How long a second executor waits for the first.
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// After this no further letter is begun.
const DELIVERY: std::time::Duration = std::time::Duration::from_secs(15);
