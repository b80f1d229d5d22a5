//! renewd-ccm in this process: a free port, a temporary state, a user, two CAs, and, where wanted, a clock that stands
//! still and faults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use renewd::ccm::{Access, Auth, Client};
use renewd::ccm_server::{
    Authorities, Faults, Limits, Running, ScmImport, ScmOptions, Server, ServerOptions, TlsSource,
    UserKeys,
};
use renewd::model::{Seconds, Timestamp};
use renewd::pki::Secret;
use renewd::sys::clock::{Clock, ManualClock, SystemClock};

/// A server that is running; it ends, and its state is removed, when dropped.
pub(crate) struct Ccm {
    /// The server itself: requests seen, administration.
    pub(crate) running: Running,
    /// A user who may do everything.
    pub(crate) user: UserKeys,
    /// The root and the issuing CA.
    pub(crate) cas: Authorities,
    /// The clock, where it was asked to stand still.
    pub(crate) clock: Option<Arc<ManualClock>>,
    state: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

/// How a server is to be started.
#[derive(Default)]
pub(crate) struct Wanted {
    clock: Option<Arc<ManualClock>>,
    faults: Faults,
    state: Option<PathBuf>,
    port: u16,
    limits: Limits,
    scm: ScmOptions,
    managed: bool,
    tls: Option<TlsSource>,
    crl_listener: bool,
    crl_url: Option<String>,
}

impl Wanted {
    /// The machine's clock, no faults, an empty state.
    pub(crate) fn new() -> Self {
        Self::default()
    }
    /// With a clock that the test moves; the client must use the same, or its signatures are out of the time window.
    pub(crate) fn clock(mut self, clock: Arc<ManualClock>) -> Self {
        self.clock = Some(clock);
        self
    }
    /// With a clock that stands at this moment, such as `2027-04-01`.
    pub(crate) fn at(self, moment: &str) -> Self {
        let now = Timestamp::parse(moment).unwrap();
        self.clock(Arc::new(ManualClock::new(now)))
    }
    /// With faults.
    pub(crate) fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }
    /// On a state directory that the test keeps, for restarts.
    pub(crate) fn state(mut self, state: &Path) -> Self {
        self.state = Some(state.to_owned());
        self
    }
    /// On this port, for restarts at the same address.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With other limits of what a client may take.
    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With these looks at applications for SSL certificates.
    pub(crate) fn scm(mut self, scm: ScmOptions) -> Self {
        self.scm = scm;
        self
    }
    /// With a management listener.
    pub(crate) fn managed(mut self) -> Self {
        self.managed = true;
        self
    }

    /// With TLS.
    pub(crate) fn tls(mut self, source: TlsSource) -> Self {
        self.tls = Some(source);
        self
    }

    /// With a listener for lists of revoked certificates.
    pub(crate) fn crl_listener(mut self) -> Self {
        self.crl_listener = true;
        self
    }

    /// With this URL in certificates, for their lists.
    pub(crate) fn crl_url(mut self, url: &str) -> Self {
        self.crl_url = Some(url.to_owned());
        self
    }

    /// Starts it, with a new user.
    pub(crate) async fn start(self) -> Ccm {
        let directory = self.state.is_none().then(|| tempfile::tempdir().unwrap());
        let state = self
            .state
            .unwrap_or_else(|| directory.as_ref().unwrap().path().join("ccm"));
        let clock: Arc<dyn Clock> = match &self.clock {
            Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
            None => Arc::new(SystemClock),
        };
        let options = ServerOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], self.port)),
            clock,
            faults: self.faults,
            limits: self.limits,
            scm: self.scm,
            manage: self.managed.then_some(FREE),
            crl_listen: self.crl_listener.then_some(FREE),
            crl_url: self.crl_url,
            tls: self.tls,
            ..ServerOptions::new(state.clone())
        };
        let running = Server::start(options).await.unwrap();
        let admin = running.admin();
        // Restarts on one state each get a user of their own.
        let name = format!("tester-{}", uuid::Uuid::new_v4());
        let user = admin.add_user(&name).await.unwrap();
        let cas = admin.init_ca().await.unwrap();
        Ccm {
            running,
            user,
            cas,
            clock: self.clock,
            state,
            _directory: directory,
        }
    }
}

/// A port that nobody has yet.
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Ccm {
    /// A server with nothing special about it.
    pub(crate) async fn start() -> Self {
        Wanted::new().start().await
    }

    /// Its state directory.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }
    /// The base URL of SCM, PCA and IAM alike.
    pub(crate) fn endpoint(&self) -> String {
        self.running.endpoint()
    }
    /// It as an issuer of a policy, with keys in the agent's directory, which `{dir}` stands for.
    pub(crate) fn issuer(&self, timeout: &str) -> String {
        format!(
            r#"
[issuer.pca.corp]
endpoint = "{}"
ca = "{}"
access_key = "file:{{dir}}/ak"
secret_key = "file:{{dir}}/sk"
connect_timeout = "1s"
timeout = "{timeout}"
settle = "1s"
"#,
            self.endpoint(),
            self.issuing()
        )
    }
    /// AK.
    pub(crate) fn access_key(&self) -> &str {
        &self.user.access_key
    }
    /// SK.
    pub(crate) fn secret_key(&self) -> &str {
        self.user.secret_key.expose_str().unwrap()
    }
    /// The password, for tokens.
    pub(crate) fn password(&self) -> &str {
        self.user.password.expose_str().unwrap()
    }
    /// The id of the CA that issues.
    pub(crate) fn issuing(&self) -> &str {
        &self.cas.issuing
    }
    /// Now, by the server's clock.
    pub(crate) fn now(&self) -> Timestamp {
        match &self.clock {
            Some(clock) => clock.now(),
            None => SystemClock.now(),
        }
    }
    /// Moves the clock that stands still.
    pub(crate) fn advance(&self, by: Seconds) {
        self.clock.as_ref().unwrap().advance(by);
    }
    /// The root's certificate as PEM.
    pub(crate) async fn root_pem(&self) -> String {
        self.running
            .admin()
            .ca_certificate(&self.cas.root)
            .await
            .unwrap()
    }
    /// How many private certificates with this common name were issued.
    pub(crate) async fn issued(&self, common_name: &str) -> usize {
        self.running.admin().issued(common_name).await.unwrap()
    }
    /// Puts a certificate into SCM, as if bought (`ISSUED`) or imported (`UPLOAD`); answers its id.
    pub(crate) async fn import_scm(
        &self,
        name: &str,
        status: &str,
        certificate: &str,
        chain: &str,
        private_key: &str,
    ) -> String {
        let import = ScmImport {
            name: name.to_owned(),
            status: status.to_owned(),
            certificate: certificate.to_owned(),
            chain: chain.to_owned(),
            private_key: Secret::from(private_key.to_owned()),
        };
        self.running.admin().import_scm(import).await.unwrap()
    }
    /// A client with the user's access key and the server's clock, for what people do in a console.
    pub(crate) fn client(&self) -> Client {
        let auth = Auth::AccessKey {
            access_key: self.access_key().to_owned(),
            secret_key: Secret::from(self.secret_key().to_owned()),
            security_token: None,
        };
        let access = Access {
            endpoint: self.endpoint(),
            roots: None,
            auth,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(20),
        };
        let clock: Arc<dyn Clock> = match &self.clock {
            Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
            None => Arc::new(SystemClock),
        };
        Client::new(access, clock).unwrap()
    }
    /// Stops it and lets its requests end.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}
