//! A real mail server (aiosmtpd) whose answers a test chooses, and the mails that it took over.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::path::{Path, PathBuf};

use renewd::model::{KeyAlgorithm, Timestamp};
use renewd::pki::pem;
use serde_json::{Value, json};

use crate::support::agent::write_secret;
use crate::support::certs::{Validity, sample};
use crate::support::nginx::free_port;
use crate::support::server::Server;

/// The server; stopped when dropped.
pub(crate) struct MailServer {
    directory: tempfile::TempDir,
    pub(crate) port: u16,
    server: Server,
}

/// A mail as Python's email package reads it.
#[derive(Debug, Clone)]
pub(crate) struct Mail(pub(crate) Value);

impl MailServer {
    /// With `starttls`, `tls` or `none`; runs, and takes everything from `mailer`, if it says [`PASSWORD`].
    pub(crate) fn start(security: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let validity = Validity(Timestamp(0), Timestamp::parse("2090-01-01").unwrap());
        let sample = sample(KeyAlgorithm::EcP256, &["localhost"], validity);
        let mut chain = sample.material.leaf_pem();
        chain.push_str(&pem::certificate(&sample.intermediate.der));
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("chain.pem"), chain).unwrap();
        std::fs::write(file("root.pem"), pem::certificate(&sample.root.der)).unwrap();
        let key = sample.material.key.to_pem();
        write_secret(&file("key.pem"), key.expose_str().unwrap());
        let port = free_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smtpd.py");
        let words = [
            "/usr/bin/python3".to_owned(),
            script.display().to_string(),
            directory.path().display().to_string(),
            port.to_string(),
            file("chain.pem").display().to_string(),
            file("key.pem").display().to_string(),
            security.to_owned(),
        ];
        let argv: Vec<&str> = words.iter().map(String::as_str).collect();
        let server = Server::new(&argv, &[], &file("log"));
        let mut mail = Self {
            directory,
            port,
            server,
        };
        mail.answer(json!({"login": ["mailer", PASSWORD]}));
        mail.begin();
        mail
    }

    pub(crate) fn begin(&mut self) {
        self.server.start(&[self.port]);
    }

    pub(crate) fn end(&mut self) {
        self.server.stop();
    }

    /// What it answers from now on; see `tests/fixtures/smtpd.py`.
    pub(crate) fn answer(&self, answers: Value) {
        let path = self.directory.path().join("answers.json");
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, answers.to_string()).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    /// The file with the only root that its certificate leads to.
    pub(crate) fn roots(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// What came, in order.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        let mut names: Vec<PathBuf> = std::fs::read_dir(self.directory.path().join("mails"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        names.sort();
        names
            .iter()
            .map(|path| Mail(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()))
            .collect()
    }

    /// How often somebody connected, this test's waiting for the start included.
    pub(crate) fn connections(&self) -> usize {
        let file = self.directory.path().join("connections");
        std::fs::read(file).map_or(0, |bytes| bytes.len())
    }
}

impl Mail {
    /// The recipient of the envelope, which has one.
    #[track_caller]
    pub(crate) fn to(&self) -> &str {
        let to = self.0["to"].as_array().unwrap();
        assert_eq!(to.len(), 1, "{to:?}");
        to[0].as_str().unwrap()
    }

    /// A header, decoded; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let headers = self.0["headers"].as_array().unwrap();
        let found = headers
            .iter()
            .find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
        found.map_or("", |pair| pair[1].as_str().unwrap())
    }

    pub(crate) fn subject(&self) -> &str {
        self.header("Subject")
    }

    pub(crate) fn text(&self, what: &str) -> &str {
        self.0[what].as_str().unwrap_or("")
    }
}

/// Of the user `mailer`.
pub(crate) const PASSWORD: &str = "canary-of-the-mail-password";
