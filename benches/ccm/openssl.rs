//! `openssl ca`, which many private CAs are made of: a process for each certificate, and an index in a text file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Certificates per second.
pub(super) fn rate(dir: &Path, csr: &str) -> f64 {
    let dir = dir.join("openssl");
    fs::create_dir_all(dir.join("new")).expect("a directory");
    let text = |name: &str| dir.join(name).display().to_string();
    let mut config = String::new();
    let _ = write!(
        config,
        "[ca]\ndefault_ca = own\n[own]\ndatabase = {}\nserial = {}\nnew_certs_dir = {}\ncertificate = {}\n\
         private_key = {}\ndefault_md = sha256\ndefault_days = 90\npolicy = any\nunique_subject = no\n\
         copy_extensions = copy\n[any]\ncommonName = supplied\n",
        text("index.txt"),
        text("serial"),
        text("new"),
        text("ca.pem"),
        text("ca.key"),
    );
    fs::write(dir.join("ca.cnf"), config).expect("a file");
    fs::write(dir.join("index.txt"), "").expect("a file");
    fs::write(dir.join("serial"), "1000\n").expect("a file");
    fs::write(dir.join("request.pem"), csr).expect("a file");
    let openssl = |arguments: &[&str]| {
        let status = Command::new("openssl")
            .args(arguments)
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl starts").success(), "{arguments:?}");
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=bench",
        "-days",
        "365",
    ]);
    let begin = Instant::now();
    for _ in 0..COUNT {
        openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-in",
            "request.pem",
            "-out",
            "leaf.pem",
        ]);
    }
    f64::from(COUNT) / begin.elapsed().as_secs_f64()
}

/// Enough: each is a process.
const COUNT: u32 = 100;
