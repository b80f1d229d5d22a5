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
    ErrorClass, ExportKind, ExportSpec, FileAttributes, KeyAlgorithm, PasswordSource, PfxProfile,
    Reload, RolloutStep, SecretRef, TargetKind,
};

use super::{Readers, Served, argv, no_request_failed, write_foreign};
use crate::deploy::stand::{pem, validity};
use crate::support::nginx::free_port;
use crate::support::server::Server;

/// Installed by scripts/install-tools.sh; a missing one fails the test.
const HOME: &str = "/usr/share/tomcat10";
/// Of the stand's secrets, `env:` gives the name itself.
pub(super) const PASSWORD: &str = "changeit";

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
        configuration(&ports, &base.join("served")),
    )
    .unwrap();
    // Tomcat reads its configuration once: for a foreign certificate the way to its files is changed.
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
    let port = ports.tls[0];
    let served = Served {
        stand,
        server,
        port,
        readers: Readers::default(),
    };
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

fn configuration(ports: &Ports, at: &Path) -> String {
    let at = at.display();
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
                r#"<Connector port="{port}" address="127.0.0.1" protocol="org.apache.coyote.http11.Http11NioProtocol" SSLEnabled="true" scheme="https" secure="true" maxThreads="10"><SSLHostConfig protocols="TLSv1.2+TLSv1.3"><Certificate {store}/></SSLHostConfig></Connector>
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

/// Somebody else's certificate for the same name is served after the reload, and no longer once Tomcat is told again.
async fn finds_a_foreign_certificate(
    served: &mut Served,
    dir: &Path,
    ports: &Ports,
    old: &super::Revision,
) {
    let (foreign, link) = (dir.join("foreign"), dir.join("tomcat/served"));
    let material = served
        .stand
        .material(&[super::NAME], KeyAlgorithm::EcP256, validity());
    write_foreign(&foreign, &material);
    let once = dir.join("foreign-once");
    fs::write(&once, "").unwrap();
    let script = format!(
        "if rm {once} 2>/dev/null; then ln -sfn {foreign} {link}; else ln -sfn {live} {link}; fi; curl -sS --fail -u deploy:pw http://127.0.0.1:{port}/manager/text/sslReload",
        once = once.display(),
        foreign = foreign.display(),
        link = link.display(),
        live = served.stand.live_path("www").display(),
        port = ports.http,
    );
    let reload = Reload::Command(argv(&["/bin/sh", "-c", &script]));
    let before = served.stand.target.reload.replace(reload);
    let patience = served.stand.target.probe.clone();
    served.deadline(3);
    served.stand.log.clear();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.stand.target.reload = before;
    served.stand.target.probe = patience;
    served.ended(&rollout, "rolled-back");
    let error = served.stand.error(RolloutStep::Verify);
    let serial = renewd::pki::facts(&material.leaf).unwrap().serial;
    assert!(error.message.contains(&serial), "{}", error.message);
    for port in ports.tls {
        served.assert_serves(port, old).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tomcat_is_told_by_its_manager_and_believed_only_when_it_says_ok() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, ports) = prepare(dir.path());
    let mut all = vec![ports.http];
    all.extend(ports.tls);
    served.begin_when(&all, || deployed(ports.http)).await;

    // A renewal: all three connectors have it, and nobody is turned away.
    let load = served.load();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "live");
    for port in ports.tls {
        served.assert_serves(port, &new).await;
    }
    no_request_failed(load);

    let load = served.load();
    served.refuses_other_names(&new).await;
    served.survives_a_reload_that_hangs(dir.path(), &new).await;
    finds_a_foreign_certificate(&mut served, dir.path(), &ports, &new).await;
    no_request_failed(load);
    served.stand.log.clear();

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

    // Nobody starts it; the rollout waits.
    served.stand.target.restart = None;
    served.stand.target.reload = Some(manager(&ports, "pw"));
    served.server.stop();
    served.stand.log.clear();
    let rollout = served.roll(&next).await;
    served.ended(&rollout, "awaiting-service");
    let error = served.stand.error(RolloutStep::Reload);
    assert!(error.message.contains("does not run"), "{}", error.message);
    assert!(!served.server.runs());
}
