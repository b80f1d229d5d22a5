//! A CA, a real nginx that reads the live directory of a target, and the renewd binary with a policy over both.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use renewd::pki::{facts, pem};

use crate::support::agent::{Agent, write_secret};
use crate::support::ccm::Ccm;
use crate::support::nginx::{Nginx, Site};

/// Everything a rollout needs, for real.
pub(crate) struct World {
    pub(crate) ccm: Ccm,
    pub(crate) agent: Agent,
    pub(crate) nginx: Nginx,
}

/// The host name that is served.
pub(crate) const NAME: &str = "www.example.test";

impl World {
    /// The server runs, nginx is configured and does not run, the policy is written; nothing was issued.
    pub(crate) async fn new(ccm: Ccm) -> Self {
        let agent = Agent::new("");
        write_secret(&agent.path().join("ak"), ccm.access_key());
        write_secret(&agent.path().join("sk"), ccm.secret_key());
        let live = agent.live("web");
        let site = Site::new(
            &[NAME],
            &live.join("www/server.crt"),
            &live.join("www/server.key"),
        );
        let nginx = Nginx::prepare(&agent.path().join("nginx"), &[site]);
        let world = Self { ccm, agent, nginx };
        world.agent.write_policy(&world.policy());
        world.write_reload(true);
        world
    }

    /// As [`World::new`], and the first certificate is served.
    pub(crate) async fn live(ccm: Ccm) -> Self {
        let mut world = Self::new(ccm).await;
        // Without the service the first set is written, and waits for it.
        world.agent.run(&["once", "--wait", "0s"]).expect(75);
        world.nginx.start();
        world.agent.run(&["renew", "www"]).expect(0);
        world
    }

    /// The issuer alone, for policies of a test's own.
    pub(crate) fn issuer(&self) -> String {
        self.ccm.issuer("2s")
    }

    /// One certificate on one nginx, in the generation and as loose files.
    pub(crate) fn policy(&self) -> String {
        let argv = |words: Vec<String>| format!("{words:?}");
        format!(
            r#"{}
[certificate.www]
issuer = "corp"
names = ["{NAME}"]
targets = ["web"]
validity = "30d"

[target.nginx.web]
test = {}
reload = ["{{dir}}/reload"]
connect = "{}"
deadline = "3s"

[target.nginx.web.export.layout.site]
layout = "nginx"

[target.nginx.web.export.layout.loose]
layout = "nginx"
directory = "{{dir}}/loose"

[target.nginx.web.export.pfx.windows]
path = "server.pfx"
"#,
            self.issuer(),
            argv(self.nginx.test()),
            self.nginx.address()
        )
    }

    /// Makes the reload command do its work, or say that it did and do nothing.
    pub(crate) fn write_reload(&self, works: bool) {
        use std::os::unix::fs::PermissionsExt;
        let words: Vec<String> = self
            .nginx
            .reload()
            .iter()
            .map(|word| format!("'{word}'"))
            .collect();
        let body = if works {
            words.join(" ")
        } else {
            "exit 0".to_owned()
        };
        let path = self.agent.path().join("reload");
        let fresh = path.with_extension("new");
        std::fs::create_dir_all(self.agent.path().join("loose")).unwrap();
        let count = self.agent.path().join("reloads");
        let script = format!("#!/bin/sh\necho >>'{}'\n{body}\n", count.display());
        std::fs::write(&fresh, script).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    }

    /// How often the reload command was run.
    pub(crate) fn reloads(&self) -> usize {
        let count = std::fs::read(self.agent.path().join("reloads"));
        count.map_or(0, |bytes| bytes.len())
    }

    /// The loose certificate and key.
    pub(crate) fn loose(&self) -> (PathBuf, PathBuf) {
        let directory = self.agent.path().join("loose");
        (directory.join("server.crt"), directory.join("server.key"))
    }

    /// Serial of the loose certificate.
    pub(crate) fn written(&self) -> String {
        let text = std::fs::read_to_string(self.loose().0).unwrap();
        facts(&pem::certificates(&text).unwrap()[0]).unwrap().serial
    }

    /// Serial of what nginx serves, as OpenSSL sees it.
    pub(crate) fn served(&self) -> String {
        served(&self.nginx.address(), NAME)
    }
}

/// Serial of what is served at an address, as OpenSSL sees it.
pub(crate) fn served(address: &str, name: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", name])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN CERTIFICATE-----");
    let Some(begin) = begin else {
        panic!(
            "nothing is served:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let leaf = pem::certificates(&text[begin..]).unwrap();
    facts(&leaf[0]).unwrap().serial
}
