//! `renewd ccm …` against renewd-ccm: the life of a CA and of a certificate, typed by hand.

use crate::support::agent::{Agent, Run, write_secret};
use crate::support::ccm::Ccm;

struct Typed {
    agent: Agent,
    ccm: Ccm,
}

impl Typed {
    async fn new() -> Self {
        let ccm = Ccm::start().await;
        let agent = Agent::new("");
        write_secret(&agent.path().join("ak"), ccm.access_key());
        write_secret(&agent.path().join("sk"), ccm.secret_key());
        agent.write_policy(&ccm.issuer("30s"));
        Self { agent, ccm }
    }

    #[track_caller]
    fn run(&self, line: &str) -> Run {
        let mut words = vec!["ccm", "pca"];
        words.extend(line.split(' '));
        self.agent.run(&words)
    }

    #[track_caller]
    fn id(&self, line: &str, key: &str) -> String {
        let answer = self.run(&format!("{line} --json")).expect(0).json();
        answer[key].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_and_a_certificate_live_by_typed_commands() {
    let typed = Typed::new().await;
    let name = "--country DE --state Berlin --locality Berlin --organization Example --organizational-unit IT";
    let root = typed.id(
        &format!("ca create --type root --common-name typed-root {name} --signature-algorithm SHA256 --validity 3y --yes"),
        "ca_id",
    );
    let sub = typed.id(
        &format!("ca create --type subordinate --common-name typed-sub {name} --yes"),
        "ca_id",
    );
    typed.run(&format!("ca csr {sub}")).expect(0);
    typed
        .run(&format!("ca activate {sub} --parent {root} --validity 1y"))
        .expect(0);
    let listed = typed.run("ca list --name typed --all").expect(0);
    assert!(
        listed.stdout.contains("typed-root") && listed.stdout.contains("SUBORDINATE  ACTIVED"),
        "{}",
        listed.stdout
    );

    let certificate = typed.id(
        &format!("cert apply --ca {sub} --common-name www.example.com --dns www.example.com --server-auth --validity 90d"),
        "certificate_id",
    );
    let shown = typed.run(&format!("cert show {certificate}")).expect(0);
    assert!(
        shown.stdout.contains("distinguished_name.common_name"),
        "{}",
        shown.stdout
    );
    let file = typed.agent.path().join("www.pem");
    let export = format!(
        "cert export {certificate} --type nginx -o {}",
        file.display()
    );
    typed.run(&export).expect(0);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.matches("-----BEGIN CERTIFICATE-----").count(), 3);
    assert!(written.contains("PRIVATE KEY-----"));
    let pem = typed.run(&format!("cert export {certificate}")).expect(0);
    assert!(
        pem.stdout.starts_with("-----BEGIN CERTIFICATE-----\n")
            && !pem.stdout.contains("PRIVATE KEY")
    );

    let zip = typed.agent.path().join("www.zip");
    let export = format!(
        "cert export {certificate} --type tomcat -o {}",
        zip.display()
    );
    typed.run(&export).expect(0);
    let archive = std::fs::read(&zip).unwrap();
    assert!(archive.starts_with(b"PK") && archive.windows(10).any(|name| name == b"server.jks"));

    typed
        .run(&format!(
            "cert revoke {certificate} --reason superseded --yes"
        ))
        .expect(0);
    let listed = typed
        .run("cert list --status revoked --json")
        .expect(0)
        .json();
    assert_eq!(
        listed["certificates"][0]["certificate_id"],
        certificate.as_str()
    );
    typed.run(&format!("ca disable {sub} --yes")).expect(0);
    typed.run(&format!("ca enable {sub}")).expect(0);
    typed.run(&format!("ca disable {sub} --yes")).expect(0);
    typed
        .run(&format!("ca delete {sub} --days 30 --yes"))
        .expect(0);
    typed.run(&format!("ca restore {sub}")).expect(0);
    let quota = typed.run("ca quota").expect(0);
    assert!(
        quota.stdout.contains("CERTIFICATE_AUTHORITY"),
        "{}",
        quota.stdout
    );
    // The server's own refusal.
    let refused = typed.run(&format!("cert export {certificate}")).expect(65);
    assert!(
        refused.stderr.contains("PCA.00030201"),
        "{}",
        refused.stderr
    );
    drop(typed.ccm);
}
