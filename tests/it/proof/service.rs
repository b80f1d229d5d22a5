//! One certificate on one service that a `command` target tells, with the renewd binary and a policy over both.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::agent::{Agent, write_secret};
use crate::support::ccm::Ccm;
use crate::support::nginx::free_port;
use crate::support::server::Server;
use crate::support::world::NAME;

/// A CA, an agent, and somewhere to put a service.
pub(super) struct Service {
    pub(super) ccm: Ccm,
    pub(super) agent: Agent,
}

impl Service {
    /// Nothing runs, and no policy is written.
    pub(super) async fn new() -> Self {
        let ccm = Ccm::start().await;
        let agent = Agent::new("");
        write_secret(&agent.path().join("ak"), ccm.access_key());
        write_secret(&agent.path().join("sk"), ccm.secret_key());
        // Services drop their privileges before they look for their files.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(agent.path(), open).unwrap();
        Self { ccm, agent }
    }

    /// Where the service has its files; made if it is missing.
    pub(super) fn directory(&self, name: &str) -> String {
        let path = self.agent.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    }

    /// The policy with these targets; `{dir}` is the agent's directory.
    pub(super) fn write_policy(&self, targets: &[(&str, &str)]) {
        let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
        let mut policy = format!(
            r#"{}
[certificate.www]
issuer = "corp"
names = ["{NAME}"]
targets = {names:?}
"#,
            self.ccm.issuer("5s")
        );
        for (name, lines) in targets {
            policy.push_str(&format!(
                r#"
[target.command.{name}]
probe = "tls"
{lines}
[target.command.{name}.export.pem.files]
fullchain = "{{dir}}/tls/{name}/fullchain.pem"
key = "{{dir}}/tls/{name}/key.pem"
"#
            ));
        }
        self.agent.write_policy(&policy);
    }

    /// The first certificate, which waits for the service; then the service, and its proof.
    pub(super) fn begin(&self, server: &mut Server, ports: &[u16]) {
        let run = self.agent.run(&["once", "--wait", "0s"]).expect(75);
        assert!(run.stderr.contains("nobody listens"), "{}", run.stderr);
        server.start(ports);
        self.agent.run(&["renew", "www"]).expect(0);
    }

    /// Serial of the newest certificate.
    pub(super) fn serial(&self) -> String {
        let status = self.agent.status("www");
        status["serial"].as_str().unwrap().to_owned()
    }

    /// A renewal that must be proven; answers the new serial.
    pub(super) fn renew(&self) -> String {
        let before = self.serial();
        self.agent.run(&["renew", "www"]).expect(0);
        let after = self.serial();
        assert_ne!(before, after);
        after
    }

    /// What `renewd target test` says of a target that is as it should be.
    pub(super) fn test(&self, target: &str) -> String {
        let run = self.agent.run(&["target", "test", target]);
        run.expect(0).stdout
    }

    /// The policy is wrong in what comes before TLS: the probe says so in one line, and a renewal goes back to what was
    /// served. `says` is part of the line.
    pub(super) fn refuses(&self, target: &str, says: &str) {
        let run = self.agent.run(&["target", "test", target]);
        let lines: Vec<&str> = run.stdout.lines().collect();
        let failed: Vec<&&str> = lines.iter().filter(|l| l.starts_with("fail")).collect();
        assert!(
            failed.len() == 1 && failed[0].contains("probe") && failed[0].contains(says),
            "`{says}` is not in\n{}",
            run.stdout
        );
        assert_ne!(run.code, Some(0));
    }
}

/// Ports that nobody has.
pub(super) fn ports<const COUNT: usize>() -> [u16; COUNT] {
    std::array::from_fn(|_| free_port())
}

/// Serial of what is served behind STARTTLS, as OpenSSL sees it.
pub(super) fn served(port: u16, starttls: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-starttls", starttls, "-servername", NAME])
        .args(["-connect", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN CERTIFICATE-----");
    let begin = begin.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let leaf = renewd::pki::pem::certificates(&text[begin..]).unwrap();
    renewd::pki::facts(&leaf[0]).unwrap().serial
}
