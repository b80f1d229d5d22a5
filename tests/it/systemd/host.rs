//! A machine on which renewd, renewd-ccm and Debian's nginx are installed as their packages install them.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::machine::Machine;

/// The machine is on; renewd-ccm and nginx run, renewd does not yet.
pub(super) struct Host {
    pub(super) machine: Machine,
    /// What must be in no log.
    pub(super) secret_key: String,
    /// Common name of the CA that issues.
    ca: String,
}

/// The host name that nginx serves.
pub(super) const NAME: &str = "www.example.test";

impl Host {
    pub(super) fn up() -> Self {
        Self::installed(
            |machine| install(&machine.root()),
            |machine| {
                let directories = "/usr/lib/tmpfiles.d/renewd.conf";
                machine.ok(&["systemd-tmpfiles", "--create", directories]);
                machine.ok(&["journalctl", "--update-catalog"]);
            },
        )
    }

    /// Installed in another way: what is done before it is started, and behind that.
    pub(super) fn installed(before: impl FnOnce(&Machine), after: impl FnOnce(&Machine)) -> Self {
        let mut machine = Machine::new();
        before(&machine);
        // A site as somebody has it who is about to use renewd: with a certificate of its own making.
        machine.write("/etc/nginx/sites-enabled/default", SITE);
        machine.start();
        after(&machine);
        machine.ok(&["mkdir", "-p", "/etc/nginx/tls"]);
        machine.ok(&SELF_SIGNED);
        machine.ok(&["systemctl", "start", "nginx", "renewd-ccm"]);
        machine.until(
            || {
                machine
                    .run(&["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8920/"])
                    .code
            },
            |code| *code == Some(0),
        );
        let json = |argv: &[&str]| serde_json::from_str::<Value>(&machine.ok(argv)).unwrap();
        let user = json(&["renewd-ccm", "user", "add", "renewd", "--json"]);
        let cas = json(&["renewd-ccm", "ca", "init", "--json"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let secret_key = text(&user["secret_key"]);
        let host = Self {
            secret_key,
            ca: text(&cas["issuing_common_name"]),
            machine,
        };
        host.give_credentials(&text(&user["access_key"]));
        host.write_policy(&host.policy());
        host.allow_places();
        host
    }

    /// As the head of the printed drop-in says.
    pub(super) fn allow_places(&self) {
        for unit in ["renewd", "renewd-once"] {
            let install = format!(
                "renewd systemd dropin | install -D -m 644 /dev/stdin /etc/systemd/system/{unit}.service.d/paths.conf"
            );
            self.machine.ok(&["sh", "-c", &install]);
        }
        self.machine.ok(&["systemctl", "daemon-reload"]);
    }

    /// A program of the administrator's.
    pub(super) fn write_program(&self, path: &str, text: &str) {
        self.machine.write(path, text);
        self.machine.ok(&["chmod", "755", path]);
    }

    /// The access key as a file that only root may read, the secret key sealed for this machine.
    fn give_credentials(&self, access_key: &str) {
        let secrets = "/etc/renewd/secrets";
        self.machine
            .write("/etc/renewd/secrets/ccm-access-key", access_key);
        self.machine.write("/run-secret", &self.secret_key);
        self.machine.ok(&[
            "chmod",
            "600",
            "/etc/renewd/secrets/ccm-access-key",
            "/run-secret",
        ]);
        self.machine.ok(&[
            "systemd-creds",
            "encrypt",
            "--name=ccm-secret-key",
            "/run-secret",
            "/etc/renewd/secrets/ccm-secret-key.cred",
        ]);
        self.machine.ok(&["rm", "/run-secret"]);
        let drop_in = format!(
            "[Service]\nLoadCredential=ccm-access-key:{secrets}/ccm-access-key\nLoadCredentialEncrypted=ccm-secret-key:{secrets}/ccm-secret-key.cred\n"
        );
        for unit in ["renewd", "renewd-once"] {
            self.drop_in(unit, "credentials", &drop_in);
        }
    }

    /// Adds to a service what an administrator would.
    pub(super) fn drop_in(&self, unit: &str, name: &str, text: &str) {
        let path = format!("/etc/systemd/system/{unit}.service.d/{name}.conf");
        self.machine.write(&path, text);
        self.machine.ok(&["systemctl", "daemon-reload"]);
    }

    pub(super) fn write_policy(&self, policy: &str) {
        self.machine.write("/etc/renewd/renewd.toml", policy);
    }

    /// One certificate at the places where nginx reads it.
    pub(super) fn policy(&self) -> String {
        format!(
            r#"
[issuer.pca.corp]
endpoint = "http://127.0.0.1:8920"
ca = "{}"
access_key = "credential:ccm-access-key"
secret_key = "credential:ccm-secret-key"
connect_timeout = "1s"
timeout = "5s"
settle = "1s"

[certificate.www]
issuer = "corp"
names = ["{NAME}"]
targets = ["web"]
validity = "30d"

[target.nginx.web]
deadline = "5s"

[target.nginx.web.export.layout.site]
layout = "nginx"
directory = "/etc/nginx/tls"
"#,
            self.ca
        )
    }

    /// Waits for the status of renewd's unit to be like this.
    #[track_caller]
    pub(super) fn status_text(&self, so: impl Fn(&str) -> bool) -> String {
        let machine = &self.machine;
        machine.until(|| machine.show("renewd", "StatusText"), |text| so(text))
    }

    /// The certificate's object of `renewd status --json`.
    #[track_caller]
    pub(super) fn certificate(&self, name: &str) -> Value {
        let text = self.machine.ok(&["renewd", "status", "--json"]);
        let all: Value = serde_json::from_str(&text).unwrap();
        let found = all["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {all}"))
            .clone()
    }

    /// What `renewd history --json` lists for a certificate.
    #[track_caller]
    pub(super) fn history(&self, name: &str) -> Vec<Value> {
        let text = self.machine.ok(&["renewd", "history", name, "--json"]);
        let all: Value = serde_json::from_str(&text).unwrap();
        all[0]["events"].as_array().unwrap().clone()
    }

    /// How many orders there were for a certificate, by the journal.
    #[track_caller]
    pub(super) fn orders(&self, name: &str) -> usize {
        let events = self.history(name);
        let opened = |event: &&Value| event["machine"] == "order" && event["kind"] == "opened";
        events.iter().filter(opened).count()
    }

    /// Serial of what nginx shows to a client, as OpenSSL sees it: hexadecimal in lower case.
    #[track_caller]
    pub(super) fn served(&self) -> String {
        let shown = self.machine.ok(&[
            "sh",
            "-c",
            "openssl s_client -connect 127.0.0.1:443 -servername www.example.test </dev/null 2>/dev/null | openssl x509 -noout -serial",
        ]);
        let serial = shown.strip_prefix("serial=").unwrap().to_lowercase();
        serial.trim_start_matches('0').to_owned()
    }

    /// Waits until nginx serves the newest revision of the certificate, and it is known to be served.
    #[track_caller]
    pub(super) fn is_live(&self) -> String {
        let certificate = self.machine.until(
            || self.certificate("www"),
            |www| www["verdict"] == "healthy" && www["targets"][0]["state"] == "live",
        );
        let serial = certificate["serial"].as_str().unwrap().to_owned();
        assert_eq!(self.served(), serial.trim_start_matches('0'));
        serial
    }
}

/// The shipped installer, with the programs that were just built.
fn install(root: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = Path::new(env!("CARGO_BIN_EXE_renewd")).parent().unwrap();
    let run = Command::new(repository.join("packaging/install.sh"))
        .args(["--prefix", "/usr", "--from"])
        .arg(programs)
        .env("DESTDIR", root)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
}

const SITE: &str = "
server {
  listen 127.0.0.1:443 ssl;
  server_name www.example.test;
  ssl_certificate /etc/nginx/tls/server.crt;
  ssl_certificate_key /etc/nginx/tls/server.key;
  location / { return 200 \"ok\\n\"; }
}
";

const SELF_SIGNED: [&str; 15] = [
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-subj",
    "/CN=www.example.test",
    "-keyout",
    "/etc/nginx/tls/server.key",
    "-out",
    "/etc/nginx/tls/server.crt",
    "-batch",
];
