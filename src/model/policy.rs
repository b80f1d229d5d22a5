//! What the administrator wants, validated and complete: a `Policy` cannot be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{
    Alerting, CertificateId, Control, ExportSpec, Fingerprint, Hooks, IssuerId, IssuerPolicy,
    JobName, JobPolicy, KeyAlgorithm, Metrics, Observe, Pacing, PushId, PushPolicy, Seconds,
    Subject, SubjectAltNames, TargetId, Timestamp, ValidationId, ValidationPolicy, WatchId,
    WatchPolicy,
};

/// The whole policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Journal, keys, revisions and generations live here.
    pub state_dir: PathBuf,
    /// Where the daemon is reached.
    pub control: Control,
    /// What `renewd run` does by the calendar. A job that is not here never holds anything up.
    pub jobs: BTreeMap<JobName, JobPolicy>,
    /// Who signs.
    pub issuers: BTreeMap<IssuerId, IssuerPolicy>,
    /// What must be valid.
    pub certificates: BTreeMap<CertificateId, CertificatePolicy>,
    /// Where it is used.
    pub targets: BTreeMap<TargetId, TargetPolicy>,
    /// Who is told of alerts.
    pub alerting: Alerting,
    /// What is looked at and never touched.
    pub watches: BTreeMap<WatchId, WatchPolicy>,
    /// What is left for monitoring.
    pub metrics: Metrics,
    /// How domains are proven.
    pub validations: BTreeMap<ValidationId, ValidationPolicy>,
    /// Where in the cloud certificates are pushed to.
    pub pushes: BTreeMap<PushId, PushPolicy>,
}

impl Policy {
    /// What each certificate is for.
    #[must_use]
    pub fn names(&self) -> BTreeMap<CertificateId, SubjectAltNames> {
        let certificates = self.certificates.iter();
        certificates
            .map(|(id, certificate)| (id.clone(), certificate.names.clone()))
            .collect()
    }
}

/// A secret by reference; the value is read late and never kept in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `file:/path`: the file's content without the final line end.
    File(PathBuf),
    /// `env:NAME`.
    Env(String),
    /// `credential:NAME`: a file of that name in `$CREDENTIALS_DIRECTORY` (systemd `LoadCredential=`).
    Credential(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePolicy {
    /// Name in the policy.
    pub id: CertificateId,
    /// Who signs.
    pub issuer: IssuerId,
    /// Names it must be valid for; never empty.
    pub names: SubjectAltNames,
    /// Subject common name, at most 64 characters (RFC 5280 A.1).
    pub common_name: String,
    /// Rest of the subject.
    pub subject: Subject,
    /// Where the key is made.
    pub key_source: KeySource,
    /// Whether this host applies.
    pub order: OrderMode,
    /// Kind of key.
    pub key_algorithm: KeyAlgorithm,
    /// New key with each revision, or the old one again.
    pub key_reuse: KeyReuse,
    /// Asked from the issuer.
    pub validity: Seconds,
    /// When renewal is due.
    pub renew: RenewRule,
    /// Where it is used; may be empty (obtained and kept only).
    pub targets: BTreeSet<TargetId>,
    /// How its names are proven to a public CA; `None` where nothing is to be proven.
    pub validation: Option<ValidationId>,
    /// Where in the cloud it is pushed to.
    pub push: BTreeSet<PushId>,
    /// Words by which alerts find those who care.
    pub tags: BTreeSet<String>,
    /// Changes with any setting that an order depends on; a change clears backoff.
    pub digest: Fingerprint,
}

/// Where the private key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// Here, stored before its CSR leaves the host.
    Local,
    /// At CCM, fetched by its export.
    Ccm,
}

/// Whether this host applies for the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderMode {
    /// Applies and renews.
    Auto,
    /// A follower: finds what others obtained.
    Never,
}

/// What happens to the key at renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyReuse {
    /// A new key with each revision.
    Rekey,
    /// The same key while its algorithm fits the policy.
    Reuse,
}

/// When renewal is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewRule {
    /// When this share of the lifetime is left (`1/3`).
    Share {
        /// Numerator.
        part: u32,
        /// Denominator, greater than the numerator.
        whole: u32,
    },
    /// So many days before expiry (`expired_days_since`, the word of CCM API 4.1.4.1).
    DaysBefore(u32),
}

impl RenewRule {
    /// The moment at which renewal is due, before jitter.
    #[must_use]
    pub fn due(self, not_before: Timestamp, not_after: Timestamp) -> Timestamp {
        let left = match self {
            Self::Share { part, whole } => {
                let lifetime = not_before.until(not_after).0.max(0);
                let (part, whole) = (i64::from(part), i64::from(whole.max(1)));
                Seconds(match lifetime.checked_mul(part) {
                    Some(parts) => parts / whole,
                    // Only for impossible dates.
                    None => (lifetime / whole).saturating_mul(part),
                })
            }
            Self::DaysBefore(days) => Seconds::days(i64::from(days)),
        };
        not_after - left
    }
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPolicy {
    /// Name in the policy.
    pub id: TargetId,
    /// Which recipe the values below come from.
    pub kind: TargetKind,
    /// Forms and places.
    pub exports: Vec<ExportSpec>,
    /// Configuration test as argv; `None` where the service has none.
    pub test: Option<Vec<String>>,
    /// How the service is told; `None` where nothing needs telling.
    pub reload: Option<Reload>,
    /// As argv, for when the reload fails; `None` where the administrator does not allow it.
    pub restart: Option<Vec<String>>,
    /// Holds the number of the service's main process. Says whether it runs where no probe does, and takes the signal.
    pub pid_file: Option<PathBuf>,
    /// For each of the commands, and for each exchange with the service.
    pub command_timeout: Seconds,
    /// How it is proven.
    pub probe: Probe,
    /// What else is run around a rollout.
    pub hooks: Hooks,
    /// When it may be disturbed. Not part of the digest: another window is no reason for a rollout.
    pub pacing: Pacing,
    /// Where else its names are looked at; no rollout depends on it, so the digest does not.
    pub observe: Vec<Observe>,
    /// Changes with any other setting; a change leads to a new rollout and clears backoff.
    pub digest: Fingerprint,
    /// What happens to what differs from what was rolled out. No part of the digest: it asks for no rollout.
    pub drift: DriftMode,
}

/// What happens to what differs from what was rolled out, beside that it is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DriftMode {
    /// It is put right, by a rollout of the same set.
    #[default]
    Repair,
    /// Nothing, until the next rollout.
    Report,
}

impl DriftMode {
    /// As the policy writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Report => "report",
        }
    }
}

/// The recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A running nginx.
    Nginx,
    /// A running Apache httpd.
    Apache,
    /// A running HAProxy.
    Haproxy,
    /// A running Tomcat.
    Tomcat,
    /// Any service with commands of its own.
    Command,
    /// Files only.
    Files,
}

/// How a service is told of new files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// By a command, as argv.
    Command(Vec<String>),
    /// By a signal to the process in the target's `pid_file`.
    Signal(Signal),
    /// By a signal to the main process of a systemd unit, which systemd knows better than any file.
    UnitSignal {
        /// As systemd names it.
        unit: String,
        /// What its main process gets.
        signal: Signal,
    },
    /// By HAProxy's runtime API, which changes what is in memory without a reload; where that does not work, by a reload.
    Haproxy {
        /// With level admin.
        admin_socket: PathBuf,
        /// The other way; never this one again.
        otherwise: Box<Self>,
    },
    /// By the command `reload` on the socket of HAProxy's master process.
    HaproxyMaster(PathBuf),
    /// By `sslReload` of Tomcat's manager.
    Tomcat {
        /// `host:port` of a plain HTTP connector on this host.
        manager: String,
        /// Of the text interface, such as `/manager/text`.
        path: String,
        /// With the role `manager-script`.
        user: String,
        /// Its password.
        password: SecretRef,
    },
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(argv) => f.write_str(&argv.join(" ")),
            Self::Signal(signal) => write!(f, "SIG{}", signal.as_str()),
            Self::UnitSignal { unit, signal } => write!(f, "SIG{} to {unit}", signal.as_str()),
            Self::Haproxy {
                admin_socket,
                otherwise,
            } => write!(
                f,
                "runtime API at {}, else {otherwise}",
                admin_socket.display()
            ),
            Self::HaproxyMaster(socket) => write!(f, "reload at {}", socket.display()),
            Self::Tomcat { manager, path, .. } => write!(f, "http://{manager}{path}/sslReload"),
        }
    }
}

/// The signals by which services are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGHUP`.
    Hup,
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
}

impl Signal {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Hup, Self::Usr1, Self::Usr2];

    /// As the policy writes it, such as `HUP`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
        }
    }
}

/// How a target proves that a revision is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TLS handshake per name against each of this host's own listeners; all of them decide.
    Tls {
        /// Who is asked.
        connect: Listeners,
        /// Until the new leaf is served; reloads are gradual.
        deadline: Seconds,
        /// What the served chain must reach; `None`: the chain as issued is what is compared.
        roots: Option<Roots>,
        /// Host name sent in SNI (and checked) in place of each wildcard name; by label before the dot.
        wildcard_label: String,
        /// What this listener awaits before the handshake.
        prelude: Prelude,
    },
    /// Written down by the administrator; shown as `unproven`.
    None,
}

/// Listeners of one service on this host, each as `host:port`; at least one in a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners(Vec<String>);

impl Listeners {
    /// In the order of the policy.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The one whose port is that of the service where a single one is needed.
    #[must_use]
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

impl From<String> for Listeners {
    fn from(only: String) -> Self {
        Self(vec![only])
    }
}

impl FromIterator<String> for Listeners {
    /// Each once.
    fn from_iter<I: IntoIterator<Item = String>>(all: I) -> Self {
        let mut listeners = Self::default();
        for listener in all {
            if !listeners.0.contains(&listener) {
                listeners.0.push(listener);
            }
        }
        listeners
    }
}

impl fmt::Display for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// The roots that clients of a service trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of this host.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

impl fmt::Display for Roots {
    /// As the policy writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a listener awaits before the TLS handshake, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prelude {
    /// Header with the addresses of a connection that a load balancer passed on.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The protocol in which TLS is asked for.
    pub starttls: Option<StartTls>,
}

/// Versions of the PROXY protocol (HAProxy, `proxy-protocol.txt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// As the policy writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Protocols that begin in the clear and turn to TLS on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 3501 §6.2.1.
    Imap,
    /// RFC 2595 §4.
    Pop3,
    /// PostgreSQL's `SSLRequest`.
    Postgres,
}

impl StartTls {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Smtp, Self::Imap, Self::Pop3, Self::Postgres];

    /// As the policy writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Postgres => "postgres",
        }
    }

    /// For an error about a server that says nothing where this should come; begins with a colon.
    #[must_use]
    pub const fn silence(self) -> &'static str {
        match self {
            Self::Smtp => {
                ": no word of SMTP before TLS; check `starttls`, and give a server that greets late a `deadline` of at least three times its delay"
            }
            Self::Imap => {
                ": no word of IMAP before TLS; check `starttls`, which is not for port 993"
            }
            Self::Pop3 => {
                ": no word of POP3 before TLS; check `starttls`, which is not for port 995"
            }
            Self::Postgres => ": no answer to PostgreSQL's SSLRequest; check `starttls`",
        }
    }
}
