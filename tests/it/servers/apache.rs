//! A real Apache httpd, alive at the end of every case: a reload with a bad pair would end it.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use renewd::model::{
    ExportKind, ExportLayout, ExportSpec, FileAttributes, KeyAlgorithm, PasswordSource, Reload,
    RolloutPhase, RolloutStep, TargetKind,
};

use super::{Served, Ways, argv, no_request_failed};
use crate::deploy::stand::validity;
use crate::support::nginx::free_port;
use crate::support::server::Server;

/// Installed by scripts/install-tools.sh; a missing one fails the test.
const APACHE: &str = "/usr/sbin/apache2";

fn export(directory: PathBuf) -> ExportSpec {
    ExportSpec {
        name: "apache".into(),
        kind: ExportKind::Layout {
            layout: ExportLayout::Apache,
            directory,
            password: PasswordSource::Generated,
        },
        attributes: FileAttributes::default(),
    }
}

/// With the files in the generation, or loose in this directory.
fn prepare(dir: &Path, loose: Option<&Path>) -> Served {
    let port = free_port();
    let directory = loose.map(Path::to_owned).unwrap_or_default();
    let mut stand = Served::stand(dir, vec![export(directory)], port);
    let at = loose.map_or_else(|| stand.live_path("www"), Path::to_owned);
    let base = dir.join("apache");
    fs::create_dir_all(base.join("htdocs")).unwrap();
    // Its workers are another user.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(base.join("htdocs/index.html"), "ok\n").unwrap();
    fs::write(base.join("httpd.conf"), configuration(&base, port, &at)).unwrap();
    let conf = base.join("httpd.conf").display().to_string();
    stand.target.kind = TargetKind::Apache;
    stand.target.test = Some(argv(&[APACHE, "-f", &conf, "-t"]));
    stand.target.reload = Some(Reload::Command(argv(&[
        APACHE, "-f", &conf, "-k", "graceful",
    ])));
    let server = Server::new(
        &[APACHE, "-f", &conf, "-DFOREGROUND"],
        &[],
        &base.join("output"),
    );
    let mut served = Served::new(stand, server, vec![port]);
    served.loose = loose.map(Path::to_owned);
    served
}

fn configuration(base: &Path, port: u16, at: &Path) -> String {
    let (base, at) = (base.display(), at.display());
    let modules: Vec<String> = ["mpm_event", "authz_core", "dir", "socache_shmcb", "ssl"]
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    format!(
        "ServerRoot {base}
ServerName localhost
DefaultRuntimeDir {base}
PidFile {base}/httpd.pid
Mutex file:{base} default
Listen 127.0.0.1:{port}
ErrorLog {base}/error.log
User www-data
Group www-data
{}DocumentRoot {base}/htdocs
DirectoryIndex index.html
<VirtualHost 127.0.0.1:{port}>
  ServerName www.test
  SSLEngine on
  SSLCertificateFile {at}/server.crt
  SSLCertificateChainFile {at}/chain.crt
  SSLCertificateKeyFile {at}/server.key
</VirtualHost>
",
        modules.concat()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_of_apache_is_undone_and_clients_notice_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path(), None);
    let port = served.port;
    let old = served.begin().await;
    let load = served.load();
    let conf = dir.path().join("apache/httpd.conf");
    let good = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{good}Brokn on\n")).unwrap();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "rolled-back");
    let error = served.stand.error(RolloutStep::Test);
    assert!(error.output.contains("Brokn"), "{error:?}");
    served.assert_serves(port, &old).await;
    // Broken only after its test: right before the reload it is tested once more.
    fs::write(&conf, &good).unwrap();
    let rollout = served.stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit, RolloutStep::Test] {
        served.stand.step(&rollout, step).await.unwrap();
    }
    fs::write(&conf, format!("{good}Brokn on\n")).unwrap();
    let error = served.stand.step(&rollout, RolloutStep::Reload).await;
    assert!(error.unwrap_err().output.contains("Brokn"));
    served.assert_serves(port, &old).await;
    no_request_failed(load);
    assert!(served.server.runs());
}

/// Apache runs with what it read at its start. The files were spoilt since, and a rollout that fails puts them back.
#[tokio::test(flavor = "multi_thread")]
async fn originals_that_do_not_go_together_are_put_back_and_never_reloaded() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    fs::create_dir_all(&etc).unwrap();
    let mut served = prepare(dir.path(), Some(&etc));
    let port = served.port;
    let material = || {
        served
            .stand
            .material(&["www.test"], KeyAlgorithm::EcP256, validity())
    };
    let (own, other) = (material(), material());
    let pem = |der: &[u8]| renewd::pki::pem::certificate(der);
    fs::write(etc.join("server.crt"), pem(&own.leaf)).unwrap();
    fs::write(etc.join("chain.crt"), pem(&own.chain[0])).unwrap();
    fs::write(etc.join("server.key"), own.key.to_pem().expose()).unwrap();
    served.server.start(&[port]);
    // It listens before it has read its files for good.
    served.answers().await;
    let load = served.load();
    // Spoilt by somebody: the key of another certificate. Apache's own test does not mind.
    fs::write(etc.join("server.key"), other.key.to_pem().expose()).unwrap();
    let graceful = served
        .stand
        .target
        .reload
        .replace(Reload::Command(argv(&["/bin/true"])));
    served.deadline(1);
    let new = served.issue();
    let mut rollout = served.stand.open(std::slice::from_ref(&new));
    for step in [
        RolloutStep::Stage,
        RolloutStep::Commit,
        RolloutStep::Test,
        RolloutStep::Reload,
    ] {
        served.stand.step(&rollout, step).await.unwrap();
    }
    rollout.phase = RolloutPhase::Reloaded;
    served.stand.target.reload = graceful;
    let rollout = served.stand.drive(rollout).await;
    // It never was told of the new set, so what it serves is what it served; and it was not handed the spoilt pair.
    served.ended(&rollout, "rolled-back");
    assert_eq!(
        fs::read(etc.join("server.key")).unwrap(),
        other.key.to_pem().expose()
    );
    assert!(served.server.runs());
    no_request_failed(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apache_that_does_not_run_is_not_started_and_its_rollout_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path(), None);
    let port = served.port;
    served.begin().await;
    served.server.stop();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "awaiting-service");
    let error = served.stand.error(RolloutStep::Reload);
    assert!(error.message.contains("does not run"), "{}", error.message);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    // The same without a probe: the pid file tells, and `-k graceful` would start it.
    let probe = std::mem::replace(&mut served.stand.target.probe, renewd::model::Probe::None);
    served.stand.target.pid_file = Some(dir.path().join("apache/httpd.pid"));
    let error = served.stand.step(&rollout, RolloutStep::Reload).await;
    let error = error.unwrap_err();
    assert!(
        !error.service_runs && error.message.contains("does not run"),
        "{error:?}"
    );
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    served.stand.target.probe = probe;
    // Started by somebody, it is proven.
    served.server.start(&[port]);
    for step in [RolloutStep::Test, RolloutStep::Reload, RolloutStep::Verify] {
        served.stand.step(&rollout, step).await.unwrap();
    }
    served.assert_serves(port, &new).await;
    assert!(served.server.runs());
}

fn ways(served: &Served, dir: &Path) -> Ways {
    let conf = dir.join("apache/httpd.conf");
    let graceful = format!("{APACHE} -f {} -k graceful", conf.display());
    Ways::by_configuration(served, &conf, ("Brokn on", "Brokn"), &graceful)
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_withstands_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path(), None);
    let ways = ways(&served, dir.path());
    let old = served.begin().await;
    served.withstands_everything(&ways, old).await;
}

/// Its files one by one: whoever opens two of them by path may meet a commit in between, and that is all.
#[tokio::test(flavor = "multi_thread")]
async fn renewals_of_loose_files_of_apache_fail_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    fs::create_dir_all(&etc).unwrap();
    let mut served = prepare(dir.path(), Some(&etc));
    served.begin().await;
    let load = served.load();
    for _ in 0..5 {
        let new = served.issue();
        let rollout = served.roll(&new).await;
        served.ended(&rollout, "live");
        served.assert_serves(served.port, &new).await;
    }
    no_request_failed(load);
    assert!(served.server.runs());
}
