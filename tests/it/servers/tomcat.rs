//! A real Tomcat with a PKCS #12, a JKS and a PEM connector, told by its manager. One start for several cases: a start takes
//! many seconds.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use renewd::model::{
    ErrorClass, ExportKind, ExportSpec, FileAttributes, PasswordSource, PfxProfile, Probe, Reload,
    RolloutStep, SecretRef, TargetKind,
};

use super::{Served, Ways, argv, cases, no_request_failed};
use crate::deploy::stand::pem;
use crate::support::nginx::free_port;
use crate::support::server::Server;

/// Installed by scripts/install-tools.sh; a missing one fails the test.
const HOME: &str = "/usr/share/tomcat10";
/// Of the stand's secrets, `env:` gives the name itself.
pub(super) const PASSWORD: &str = "changeit";
/// The second host of one connector.
const SHOP: &str = "shop.test";

struct Ports {
    http: u16,
    tls: [u16; 3],
}

fn given() -> PasswordSource {
    PasswordSource::Given(SecretRef::Env(PASSWORD.into()))
}

pub(super) fn pkcs12() -> ExportKind {
    ExportKind::Pfx {
        path: "site.p12".into(),
        profile: PfxProfile::Modern,
        alias: "site".into(),
        password: given(),
    }
}

pub(super) fn jks() -> ExportKind {
    ExportKind::Jks {
        path: "site.jks".into(),
        alias: "site".into(),
        password: given(),
    }
}

fn exports() -> Vec<ExportSpec> {
    let spec = |name: &str, kind| ExportSpec {
        name: name.into(),
        kind,
        attributes: FileAttributes::default(),
    };
    vec![
        spec("p12", pkcs12()),
        spec("jks", jks()),
        pem("pem", "site.crt", "site.key"),
    ]
}

fn prepare(dir: &Path) -> (Served, Ports) {
    let ports = Ports {
        http: free_port(),
        tls: [free_port(), free_port(), free_port()],
    };
    let mut stand = Served::stand(dir, exports(), ports.tls[0]);
    stand.target.kind = TargetKind::Tomcat;
    stand.target.reload = Some(manager(&ports, "pw"));
    if let Probe::Tls { connect, .. } = &mut stand.target.probe {
        let all = ports.tls.iter().map(|port| format!("127.0.0.1:{port}"));
        *connect = all.collect();
    }
    let base = dir.join("tomcat");
    for directory in [
        "conf/Catalina/localhost",
        "logs",
        "temp",
        "work",
        "webapps/ROOT",
    ] {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    for file in [
        "web.xml",
        "catalina.properties",
        "logging.properties",
        "context.xml",
    ] {
        fs::copy(
            Path::new("/etc/tomcat10").join(file),
            base.join("conf").join(file),
        )
        .unwrap();
    }
    fs::write(base.join("webapps/ROOT/index.html"), "ok\n").unwrap();
    let users = r#"<tomcat-users xmlns="http://tomcat.apache.org/xml"><user username="deploy" password="pw" roles="manager-script"/></tomcat-users>"#;
    fs::write(base.join("conf/tomcat-users.xml"), users).unwrap();
    let context = r#"<Context docBase="/usr/share/tomcat10-admin/manager" privileged="true"/>"#;
    fs::write(base.join("conf/Catalina/localhost/manager.xml"), context).unwrap();
    fs::write(
        base.join("conf/server.xml"),
        configuration(&ports, &base.join("served"), &stand.live_path("shop")),
    )
    .unwrap();
    std::os::unix::fs::symlink(stand.live_path("www"), base.join("served")).unwrap();
    let catalina = format!("{HOME}/bin/catalina.sh");
    let server = Server::new(
        &[&catalina, "run"],
        &[
            ("CATALINA_HOME", HOME),
            ("CATALINA_BASE", &base.display().to_string()),
            ("JAVA_OPTS", "-Xmx128m -Djava.awt.headless=true"),
        ],
        &base.join("output"),
    );
    let shop = stand.issue("shop", &[SHOP]);
    let mut served = Served::new(stand, server, ports.tls.into());
    served.beside = Some(shop);
    let http = ports.http;
    served.ready = Box::new(move || deployed(http));
    (served, ports)
}

fn manager(ports: &Ports, password: &str) -> Reload {
    Reload::Tomcat {
        manager: format!("127.0.0.1:{}", ports.http),
        path: "/manager/text".into(),
        user: "deploy".into(),
        password: SecretRef::Env(password.into()),
    }
}

fn configuration(ports: &Ports, at: &Path, shop: &Path) -> String {
    let (at, shop) = (at.display(), shop.display());
    // Each connector has a second host, and is asked for both.
    let host = format!(
        r#"<SSLHostConfig hostName="{SHOP}" protocols="TLSv1.2+TLSv1.3"><Certificate certificateKeystoreFile="{shop}/site.p12" certificateKeystorePassword="{PASSWORD}" certificateKeystoreType="PKCS12"/></SSLHostConfig>"#
    );
    let stores = [
        format!(
            r#"certificateKeystoreFile="{at}/site.p12" certificateKeystorePassword="{PASSWORD}" certificateKeystoreType="PKCS12""#
        ),
        format!(
            r#"certificateKeystoreFile="{at}/site.jks" certificateKeystorePassword="{PASSWORD}" certificateKeystoreType="JKS""#
        ),
        format!(r#"certificateFile="{at}/site.crt" certificateKeyFile="{at}/site.key" type="EC""#),
    ];
    let connectors: Vec<String> = ports
        .tls
        .iter()
        .zip(stores)
        .map(|(port, store)| {
            format!(
                r#"<Connector port="{port}" address="127.0.0.1" protocol="org.apache.coyote.http11.Http11NioProtocol" SSLEnabled="true" scheme="https" secure="true" maxThreads="10"><SSLHostConfig protocols="TLSv1.2+TLSv1.3"><Certificate {store}/></SSLHostConfig>{host}</Connector>
"#
            )
        })
        .collect();
    format!(
        r#"<Server port="-1">
<GlobalNamingResources><Resource name="UserDatabase" auth="Container" type="org.apache.catalina.UserDatabase" factory="org.apache.catalina.users.MemoryUserDatabaseFactory" pathname="conf/tomcat-users.xml"/></GlobalNamingResources>
<Service name="Catalina">
<Connector port="{}" address="127.0.0.1" protocol="HTTP/1.1"/>
{}<Engine name="Catalina" defaultHost="localhost"><Realm className="org.apache.catalina.realm.UserDatabaseRealm" resourceName="UserDatabase"/><Host name="localhost" appBase="webapps"/></Engine>
</Service></Server>
"#,
        ports.http,
        connectors.concat()
    )
}

/// The ports are open before the applications are there.
fn deployed(port: u16) {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        if answer.ends_with("ok\n") {
            return;
        }
        assert!(Instant::now() < end, "{answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Tomcat reads its configuration once: for a foreign certificate the way to its files is changed.
fn ways(served: &Served, dir: &Path, ports: &Ports) -> Ways {
    let base = dir.join("tomcat");
    let to = |files: &Path| {
        format!(
            "ln -sfn {} {}",
            files.display(),
            base.join("served").display()
        )
    };
    Ways {
        conf: base.join("conf/server.xml"),
        // `sslReload` does not read it, and `configtest` accepts even what is no XML: the recipe has no test.
        broken: ("<brokn", None),
        to_foreign: to(&cases::foreign(dir)),
        to_own: to(&served.stand.live_path("www")),
        tell: format!(
            "curl -sS --fail -u deploy:pw http://127.0.0.1:{}/manager/text/sslReload",
            ports.http
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tomcat_is_told_by_its_manager_and_believed_only_when_it_says_ok() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, ports) = prepare(dir.path());
    let ways = ways(&served, dir.path(), &ports);
    let first = served.begin().await;
    let new = served.withstands_everything(&ways, first).await;

    // Two hosts in each connector, all renewed by one reload and seen at each.
    served.stand.log.clear();
    let load = served.load();
    let shop = served.stand.issue("shop", &[SHOP]);
    served.beside = Some(shop.clone());
    let www = served.issue();
    let rollout = served.roll(&www).await;
    served.ended(&rollout, "live");
    let port = served.port;
    served.assert_serves_as(port, SHOP, &shop).await;
    served.assert_serves(port, &www).await;
    let asked = served.stand.step(&rollout, RolloutStep::Verify).await;
    let Ok(renewd::model::RolloutEvent::Verified { reports }) = asked else {
        panic!("{asked:?}");
    };
    let seen: std::collections::BTreeSet<(&str, &str)> = reports
        .iter()
        .map(|report| (report.name.as_str(), report.address.as_str()))
        .collect();
    let addresses = ports.tls.map(|port| format!("127.0.0.1:{port}"));
    let wanted = addresses
        .iter()
        .flat_map(|at| [super::NAME, SHOP].map(|name| (name, at.as_str())));
    assert_eq!(seen, wanted.collect());
    assert_ne!(www, new);
    no_request_failed(load);
    served.stand.log.clear();
    let new = www;

    // What the manager does not accept is undone, and nothing is restarted unless the policy allows it.
    let load = served.load();
    let restarted = dir.path().join("restarted");
    served.stand.target.reload = Some(manager(&ports, "wrong"));
    served.deadline(1);
    let next = served.issue();
    let rollout = served.roll(&next).await;
    served.ended(&rollout, "rolled-back");
    let error = served.stand.error(RolloutStep::Reload);
    assert_eq!(error.class, ErrorClass::Authentication, "{}", error.message);
    assert!(!error.message.contains("wrong"), "{}", error.message);
    served.assert_serves(ports.tls[0], &new).await;
    assert!(!restarted.exists());

    // A page for people is no success, whatever its status.
    if let Some(Reload::Tomcat { path, password, .. }) = &mut served.stand.target.reload {
        *path = String::new();
        *password = SecretRef::Env("pw".into());
    }
    fs::write(
        dir.path().join("tomcat/webapps/ROOT/sslReload"),
        "<html>OK - </html>\n",
    )
    .unwrap();
    served.stand.log.clear();
    let rollout = served.roll(&next).await;
    served.ended(&rollout, "rolled-back");
    let error = served.stand.error(RolloutStep::Reload);
    assert!(error.message.contains("status 200"), "{}", error.message);
    served.assert_serves(ports.tls[0], &new).await;

    // With a restart in the policy that is what follows.
    let script = format!("touch {}", restarted.display());
    served.stand.target.restart = Some(argv(&["/bin/sh", "-c", &script]));
    let rollout = served.roll(&next).await;
    served.ended(&rollout, "rolled-back");
    assert!(restarted.exists());
    served.assert_serves(ports.tls[0], &new).await;
    no_request_failed(load);
}
