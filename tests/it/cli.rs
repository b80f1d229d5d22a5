//! The command line as scripts and people use it: the real binary, its exit status, its two outputs.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod beside;
pub(crate) mod ccm;
mod check;
mod completions;
pub(crate) mod daemon;
mod desktop;
mod exit;
mod hanging;
mod looking;
mod metrics;
mod quiet;
mod refused;
mod rollback;
mod socket;
mod space;
mod state;
pub(crate) mod status;

use crate::support::agent::{Agent, Run, write_secret};
use crate::support::ccm::Ccm;

/// A server, and a policy of one certificate in files; for everything that needs no service.
struct Plain {
    ccm: Ccm,
    agent: Agent,
}

impl Plain {
    async fn new() -> Self {
        let ccm = Ccm::start().await;
        let agent = Agent::new("");
        write_secret(&agent.path().join("ak"), ccm.access_key());
        write_secret(&agent.path().join("sk"), ccm.secret_key());
        let plain = Self { ccm, agent };
        plain.agent.write_policy(&plain.policy());
        plain
    }

    fn policy(&self) -> String {
        format!(
            r#"{}
[certificate.www]
issuer = "corp"
names = ["www.example.test"]
targets = ["store"]

[target.files.store.export.layout.site]
layout = "nginx"
"#,
            self.ccm.issuer("5s")
        )
    }

    fn change(&self, from: &str, to: &str) {
        let policy = self.policy();
        assert!(policy.contains(from), "{from} is not in {policy}");
        self.agent.write_policy(&policy.replace(from, to));
    }

    /// Serial of what is live.
    fn serial(&self) -> String {
        let file = self.agent.live("store").join("www/server.crt");
        let text = std::fs::read_to_string(file).unwrap();
        let leaf = &renewd::pki::pem::certificates(&text).unwrap()[0];
        renewd::pki::facts(leaf).unwrap().serial
    }
}

impl Run {
    /// Standard error has this text.
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "`{text}` is not in\n{}",
            self.stderr
        );
        self
    }

    /// Nothing was printed to standard output, and no colour anywhere.
    #[track_caller]
    fn silent(self) -> Self {
        assert_eq!(self.stdout, "");
        assert!(!self.stderr.contains('\x1b'), "{:?}", self.stderr);
        self
    }
}
