//! The command line of renewd-ccm.
//!
//! Data goes to standard output, everything else to standard error.

mod lists;
mod rehearsal;
mod tls;
mod zones;

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::ccm_server::admin::{Admin, NewResource};
use crate::ccm_server::db::DbError;
use crate::ccm_server::faults::Faults;
use crate::ccm_server::http::Limits;
use crate::ccm_server::server::{Server, ServerError, ServerOptions};
use crate::ccm_server::tls::TlsError;
use crate::ccm_server::vault::{MasterKey, VaultError};
use crate::sys::clock::{ShiftedClock, SystemClock};
use crate::sys::fs::FsError;
use crate::sys::{error_chain, systemd};

/// A CCM-compatible server with a real certificate authority.
#[derive(Debug, Parser)]
#[command(name = "renewd-ccm", version, propagate_version = true)]
struct Arguments {
    /// State directory; made with mode 0700 when missing.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/renewd-ccm",
        global = true
    )]
    state: PathBuf,
    /// File with the master key under which all keys are sealed: 64 hexadecimal digits. Without it, the systemd
    /// credential `renewd-ccm-key`, then the variable RENEWD_CCM_MASTER_KEY, then `master.key` in the state
    /// directory, which is made at the first start.
    #[arg(long, value_name = "FILE", global = true)]
    key_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API.
    Serve {
        /// Address and port; port 0 takes a free one.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8920")]
        listen: SocketAddr,
        /// Allow an address that other machines can reach without TLS. Requests travel unencrypted then: put a proxy
        /// with TLS before it.
        #[arg(long)]
        allow_remote: bool,
        #[command(flatten)]
        tls: tls::Options,
        /// Make no root and issuing CA when there is no CA yet.
        #[arg(long)]
        no_init: bool,
        /// URL under which clients reach this server; without it the address. Certificates name it where lists of revoked
        /// ones have no address of their own.
        #[arg(long, value_name = "URL")]
        public_url: Option<String>,
        #[command(flatten)]
        lists: lists::Options,
        /// Connections at a time, of all clients together.
        #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = places)]
        connections: usize,
        /// Of them, connections of one address (of IPv6, one /64); further ones are closed at once.
        #[arg(long, value_name = "N", default_value_t = Limits::default().connections_per_peer, value_parser = places)]
        connections_per_peer: usize,
        #[command(flatten)]
        rehearsal: Box<rehearsal::Options>,
        /// Go wrong on purpose, for rehearsals.
        #[arg(long, value_name = "PLAN", hide = true)]
        faults: Option<Faults>,
    },
    /// Manage users.
    #[command(subcommand)]
    User(UserCommand),
    /// Manage certificate authorities.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Manage the buckets that stand for OBS: directories in `obs` of the state directory, for CRLs.
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Manage the resources that stand for ELB, WAF and CDN, which certificates of SCM are deployed to.
    #[command(subcommand)]
    Resource(ResourceCommand),
    /// Manage the zones that stand for Huawei Cloud DNS, where the server proves domains by itself (`auto_dns_auth`).
    #[command(subcommand)]
    Zone(zones::Command),
    /// Print completions of this command line, for packagers and for shells without a package.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user with an access key and a password, and print both; they cannot be shown again.
    Add {
        /// 1 to 64 letters, digits, `_`, `-`, `.`, `@`.
        name: String,
        /// The account that owns what the user makes; made when missing.
        #[arg(long, default_value = "default")]
        account: String,
        /// What the user may do: patterns such as `pca:*:get`; may be repeated.
        #[arg(long = "allow", value_name = "ACTION", default_value = "*")]
        allow: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List users with what they may do.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change what a user may do, from its next request on.
    Allow {
        /// The user.
        name: String,
        /// Its account.
        #[arg(long, default_value = "default")]
        account: String,
        /// What the user may do: patterns such as `pca:*:get`.
        #[arg(value_name = "ACTION", required = true)]
        allow: Vec<String>,
    },
    /// Remove a user with its keys and tokens; what it made stays.
    Remove {
        /// The user.
        name: String,
        /// Its account.
        #[arg(long, default_value = "default")]
        account: String,
    },
}

#[derive(Debug, Subcommand)]
enum BucketCommand {
    /// Add a bucket; one that is there already stays as it is.
    Add {
        /// 3 to 63 small letters, digits, `-` and `.`.
        name: String,
        /// The account that owns it; made when missing.
        #[arg(long, default_value = "default")]
        account: String,
    },
}

#[derive(Debug, Subcommand)]
enum ResourceCommand {
    /// Add a resource, and print it with its id.
    Add {
        /// `elb`, `waf` or `cdn`.
        #[arg(long)]
        service: String,
        /// The region; CDN has none.
        #[arg(long, value_name = "REGION")]
        region: Option<String>,
        /// What it is called; for WAF and CDN its domain.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Of WAF: `cloud` (the default) or `premium`.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Of WAF: the enterprise project that it belongs to.
        #[arg(long, value_name = "ID", default_value = "0")]
        enterprise_project: String,
        /// The account that owns it; made when missing.
        #[arg(long, default_value = "default")]
        account: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the resources of an account with the certificates that they serve.
    List {
        /// The account that owns them.
        #[arg(long, default_value = "default")]
        account: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Print the root of the SSL certificates that SCM issues, PEM. It is made when it is needed first.
    Scm,
    /// Make a root and an issuing CA, or print those that were made before.
    Init {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(arguments));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            result
        }
        Err(source) => Err(Failed::Output(source)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let _ = writeln!(std::io::stderr(), "renewd-ccm: {}", error_chain(&failed));
            failed.exit().into()
        }
    }
}

/// The definition of the command line, for the man page and shell completion.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("failed to write to standard output")]
    Output(#[from] std::io::Error),
}

async fn run(arguments: Arguments) -> Result<(), Failed> {
    let serving = matches!(arguments.command, Command::Serve { .. });
    log(if serving { "info" } else { "warn" });
    let key = master_key(arguments.key_file)?;
    match arguments.command {
        Command::Serve {
            listen,
            allow_remote,
            tls,
            no_init,
            public_url,
            lists,
            connections,
            connections_per_peer,
            rehearsal,
            faults,
        } => {
            let options = ServerOptions {
                state: arguments.state,
                listen,
                allow_remote,
                clock: match rehearsal.manage {
                    Some(_) => Arc::new(ShiftedClock::default()),
                    None => Arc::new(SystemClock),
                },
                faults: faults.unwrap_or_default(),
                master_key: key,
                init: !no_init,
                tls: tls.source()?,
                limits: Limits {
                    connections,
                    connections_per_peer,
                    ..Limits::default()
                },
                public_url,
                crl_listen: lists.crl_listen,
                crl_url: lists.crl_url,
                manage: rehearsal.manage,
                scm: rehearsal.scm(),
            };
            serve(options).await
        }
        Command::User(UserCommand::Add {
            name,
            account,
            allow,
            json,
        }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            let user = admin
                .add_user_with(&name, &account, &allow.join(" "))
                .await?;
            admin.close().await;
            print(&user.json(), json)
        }
        Command::User(UserCommand::List { json }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            let users = admin.users().await?;
            admin.close().await;
            if json {
                return print(&users, true);
            }
            let users = users["users"].as_array();
            users
                .into_iter()
                .flatten()
                .try_for_each(|user| print(user, false))
        }
        Command::User(UserCommand::Allow {
            name,
            account,
            allow,
        }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            admin.allow(&name, &account, &allow.join(" ")).await?;
            admin.close().await;
            Ok(())
        }
        Command::User(UserCommand::Remove { name, account }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            admin.remove_user(&name, &account).await?;
            admin.close().await;
            Ok(())
        }
        Command::Bucket(BucketCommand::Add { name, account }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            admin.add_bucket(&name, &account).await?;
            admin.close().await;
            Ok(())
        }
        Command::Resource(ResourceCommand::Add {
            service,
            region,
            name,
            kind,
            enterprise_project,
            account,
            json,
        }) => {
            let new = NewResource {
                account,
                service,
                region: region.unwrap_or_default(),
                name,
                kind,
                enterprise_project,
            };
            let admin = Admin::open(&arguments.state, key).await?;
            let added = admin.add_resource(new).await?;
            admin.close().await;
            print(&added, json)
        }
        Command::Resource(ResourceCommand::List { account, json }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            let all = admin.resources(&account).await?;
            admin.close().await;
            if json {
                return print(&serde_json::Value::Array(all), true);
            }
            print_rows(&all)
        }
        Command::Zone(command) => {
            zones::run(command, Admin::open(&arguments.state, key).await?).await
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command(), "renewd-ccm", &mut text);
            let mut out = std::io::stdout();
            out.write_all(&text)?;
            Ok(out.flush()?)
        }
        Command::Ca(CaCommand::Scm) => {
            let admin = Admin::open(&arguments.state, key).await?;
            let root = admin.scm_root().await?;
            admin.close().await;
            let mut out = std::io::stdout();
            out.write_all(root.as_bytes())?;
            Ok(out.flush()?)
        }
        Command::Ca(CaCommand::Init { json }) => {
            let admin = Admin::open(&arguments.state, key).await?;
            let authorities = admin.init_ca().await?;
            admin.close().await;
            print(&authorities.json(), json)
        }
    }
}

async fn serve(options: ServerOptions) -> Result<(), Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    // Before anything else, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let running = Server::start(options).await?;
    let mut out = std::io::stdout();
    let mut said = format!("listening on {}\n", running.endpoint());
    if let Some(address) = running.management() {
        said.push_str(&format!("managed at http://{address}\n"));
    }
    if let Some(address) = running.lists() {
        said.push_str(&format!("lists at http://{address}\n"));
    }
    // At once: whoever reads the first line may read no further.
    out.write_all(said.as_bytes())?;
    out.flush()?;
    systemd::ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Err(error) = running.reload().await {
                    let error = error_chain(&error);
                    tracing::error!(error, "the certificate for TLS stays as it is");
                }
            }
        }
    }
    systemd::stopping();
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// File, then credential, then environment; `None` leaves it to the state directory.
fn master_key(file: Option<PathBuf>) -> Result<Option<MasterKey>, ServerError> {
    if let Some(file) = file {
        return Ok(Some(MasterKey::from_file(&file)?));
    }
    if let Some(directory) = systemd::credentials_directory() {
        let file = directory.join(CREDENTIAL);
        if file.exists() {
            return Ok(Some(MasterKey::from_file(&file)?));
        }
    }
    match std::env::var(VARIABLE) {
        Ok(text) => Ok(Some(MasterKey::from_text(
            &text,
            format!("the variable {VARIABLE}"),
        )?)),
        Err(_) => Ok(None),
    }
}

fn print(value: &serde_json::Value, json: bool) -> Result<(), Failed> {
    let text = if json {
        value.to_string()
    } else {
        lines(value, "")
    };
    let mut out = std::io::stdout();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}

/// One line for each resource: id, service, region, name, certificate.
fn print_rows(all: &[serde_json::Value]) -> Result<(), Failed> {
    let mut out = std::io::stdout();
    for row in all {
        let cell = |name: &str| row[name].as_str().unwrap_or("-");
        let (id, service, region) = (cell("id"), cell("service"), cell("region"));
        let (name, certificate) = (cell("name"), cell("certificate_id"));
        writeln!(
            out,
            "{id} {service:<3} {region:<16} {certificate:<16} {name}"
        )?;
    }
    Ok(out.flush()?)
}

/// One line for each value, such as `root.ca_id  6f7e…`.
fn lines(value: &serde_json::Value, prefix: &str) -> String {
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        match value {
            serde_json::Value::Array(items) => {
                let items = items.iter().filter_map(serde_json::Value::as_str);
                let items: Vec<&str> = items.collect();
                text.push_str(&format!("{name:<20} {}\n", items.join(" ")));
            }
            serde_json::Value::Object(_) => text.push_str(&lines(value, &format!("{name}."))),
            serde_json::Value::String(value) => text.push_str(&format!("{name:<20} {value}\n")),
            other => text.push_str(&format!("{name:<20} {other}\n")),
        }
    }
    text
}

fn log(level: &str) {
    let filter =
        EnvFilter::try_from_env("RENEWD_CCM_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false);
    // Fails only when somebody installed one before, which then serves.
    let _ = subscriber.try_init();
}

impl Failed {
    /// The status of sysexits.h, as the manual lists them.
    fn exit(&self) -> u8 {
        let denied = |error: &FsError| error.io().kind() == ErrorKind::PermissionDenied;
        match self {
            Self::Output(_) => OUTPUT,
            Self::Server(error) => match error {
                ServerError::Remote(_)
                | ServerError::RemoteManagement(_)
                | ServerError::Invalid(_) => USAGE,
                ServerError::UserExists { .. }
                | ServerError::NoUser { .. }
                | ServerError::NoZone { .. } => DATA,
                ServerError::Tls(error) => match error {
                    TlsError::Read(error) if denied(error) => PERMISSION,
                    TlsError::Own(_) => BUG,
                    _ => CONFIGURATION,
                },
                ServerError::Busy(_) => TRY_LATER,
                ServerError::Open { .. } => CONFIGURATION,
                ServerError::Directory(error) if denied(error) => PERMISSION,
                ServerError::Directory(_) => CREATE,
                ServerError::Listen { source, .. } => match source.kind() {
                    ErrorKind::PermissionDenied => PERMISSION,
                    _ => UNAVAILABLE,
                },
                ServerError::Vault(error) => match error {
                    VaultError::Read(error) if denied(error) => PERMISSION,
                    VaultError::Write(_) => CREATE,
                    VaultError::Random => BUG,
                    VaultError::Read(_)
                    | VaultError::Malformed(_)
                    | VaultError::Wrong { .. }
                    | VaultError::Missing { .. }
                    | VaultError::Damaged(_) => CONFIGURATION,
                },
                ServerError::Issue(_) => BUG,
                ServerError::Db(DbError::Open { .. }) => CREATE,
                ServerError::Db(DbError::Migrate { .. }) => DATA,
                ServerError::Db(DbError::Statement(_)) => OUTPUT,
            },
        }
    }
}

const USAGE: u8 = 64;
const DATA: u8 = 65;
const UNAVAILABLE: u8 = 69;
const BUG: u8 = 70;
const CREATE: u8 = 73;
const OUTPUT: u8 = 74;
const TRY_LATER: u8 = 75;
const PERMISSION: u8 = 77;
const CONFIGURATION: u8 = 78;
/// The name of the systemd credential.
const CREDENTIAL: &str = "renewd-ccm-key";
/// The name of the environment variable.
const VARIABLE: &str = "RENEWD_CCM_MASTER_KEY";

/// A number of connections that can be served.
fn places(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=65_536) => Ok(number),
        _ => Err("write a whole number from 1 to 65536".to_owned()),
    }
}
