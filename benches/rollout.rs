//! Fifty certificates rolled out to one real nginx while a client asks for each in turn: time, reloads, failed requests.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and runs programs with files of its own"
)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use renewd::model::{KeyAlgorithm, Seconds};
use renewd::pki::pem;
use renewd::sys::clock::{Clock, SystemClock};

use crate::certs::{self, Authority, Validity};
use crate::once::once;

#[path = "../tests/it/support/ccm.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "made for tests, which use all of it"
)]
mod ccm;
#[path = "../tests/it/support/nginx.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "made for tests, which use all of it"
)]
mod nginx;

use nginx::{Load, Nginx, Site};

/// Each line is one `renewd once`, the whole process.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ccm = runtime.block_on(ccm::Ccm::start());
    let root = runtime.block_on(ccm.root_pem());
    let root = pem::certificates(&root).expect("PEM").remove(0);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = directory.path();
    let (mut nginx, by_hand) = by_hand(dir);
    for (file, secret) in [("ak", ccm.access_key()), ("sk", ccm.secret_key())] {
        let path = dir.join(file);
        fs::write(&path, secret).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    nginx.start();
    println!("renewd once: the whole process, {MEMBERS} certificates on one nginx, under load");
    let hosts: Vec<String> = (0..MEMBERS).map(host).collect();
    for (what, key, deadline) in [
        ("all obtained, and rolled out", "ec-p256", 30),
        ("all renewed, and rolled out", "ec-p384", 30),
        ("rolled out anew, nothing obtained", "ec-p384", 31),
    ] {
        write_policy(dir, &ccm, &nginx, key, deadline);
        let before = nginx.reconfigured();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let roots = [by_hand.clone(), root.clone()];
        let load = Load::in_turn(&nginx.address(), &hosts, &roots, clock);
        let begin = Instant::now();
        once(dir);
        let taken = begin.elapsed();
        let got = load.stop();
        println!(
            "  {what:<34} {:>7.2} s  {} reload  {} requests, {} failed",
            taken.as_secs_f64(),
            nginx.reconfigured() - before,
            got.good,
            got.failed.len()
        );
        assert!(got.good > 0, "the load asked for something");
    }
}

fn host(at: usize) -> String {
    format!("site-{at:02}.example.test")
}

/// An nginx with a pair that somebody made by hand for each host, where renewd will put its own; and the root of those.
fn by_hand(dir: &Path) -> (Nginx, Vec<u8>) {
    let now = SystemClock.now();
    let year = Validity(now - Seconds::days(1), now + Seconds::days(365));
    let authority = Authority::root("By Hand", KeyAlgorithm::EcP256, year);
    let sites: Vec<Site> = (0..MEMBERS)
        .map(|at| {
            let place = dir.join(format!("etc/site-{at:02}"));
            fs::create_dir_all(&place).expect("a directory");
            let (certificate, key) = (place.join("fullchain.pem"), place.join("key.pem"));
            let fresh = certs::key(KeyAlgorithm::EcP256);
            let leaf = certs::leaf(&[&host(at)], year);
            let leaf = authority.sign(&fresh.signer().expect("a signer"), &leaf);
            fs::write(&certificate, pem::certificate(&leaf)).expect("a file");
            fs::write(&key, fresh.to_pem().expose()).expect("a file");
            Site::new(&[&host(at)], &certificate, &key)
        })
        .collect();
    let mut nginx = Nginx::prepare(&dir.join("nginx"), &sites);
    nginx.tell_all();
    (nginx, authority.der)
}

fn write_policy(dir: &Path, ccm: &ccm::Ccm, nginx: &Nginx, key: &str, deadline: u32) {
    let at = dir.display();
    let mut text = format!(
        r#"state_dir = "{at}/state"

[issuer.pca.bench]
endpoint = "{}"
ca = "{}"
access_key = "file:{at}/ak"
secret_key = "file:{at}/sk"

[target.nginx.web]
test = {:?}
reload = {:?}
connect = "{}"
deadline = "{deadline}s"

[target.nginx.web.export.pem.all]
fullchain = "{at}/etc/{{certificate}}/fullchain.pem"
key = "{at}/etc/{{certificate}}/key.pem"
"#,
        ccm.endpoint(),
        ccm.issuing(),
        nginx.test(),
        nginx.reload(),
        nginx.address()
    );
    for member in 0..MEMBERS {
        let _ = write!(
            text,
            r#"
[certificate.site-{member:02}]
issuer = "bench"
names = ["{}"]
key_algorithm = "{key}"
targets = ["web"]
"#,
            host(member)
        );
    }
    fs::write(dir.join("renewd.toml"), text).expect("a file");
}

/// A busy web server, one name each.
const MEMBERS: usize = 50;
