//! OpenSSL as a witness: it makes requests and judges certificates.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `openssl` in a directory.
pub(crate) fn openssl(directory: &Path, arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Runs it and answers what it wrote, stopping the test when it fails.
#[track_caller]
pub(crate) fn said(directory: &Path, arguments: &[&str]) -> String {
    let output = openssl(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A CSR for a new key; `rest` goes to `openssl req -new`.
pub(crate) fn csr(key: &[&str], rest: &[&str]) -> String {
    csr_and_key(key, rest).0
}

/// The same with the key.
pub(crate) fn csr_and_key(key: &[&str], rest: &[&str]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [&["req", "-new", "-nodes", "-keyout", "key.pem"], key, rest].concat();
    let request = said(directory.path(), &arguments);
    let key = std::fs::read_to_string(directory.path().join("key.pem")).unwrap();
    (request, key)
}

/// A self-signed certificate and its key, valid for so many days from now.
pub(crate) fn self_signed(common_name: &str, names: &str, days: &str) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let subject = format!("/CN={common_name}");
    let names = format!("subjectAltName={names}");
    let rest = [
        "-x509", "-days", days, "-subj", &subject, "-addext", &names, "-nodes",
    ];
    let arguments = [&["req", "-keyout", "key.pem"], EC, &rest].concat();
    let certificate = said(directory.path(), &arguments);
    let key = std::fs::read_to_string(directory.path().join("key.pem")).unwrap();
    (certificate, key)
}

/// The certificate in words.
pub(crate) fn text(certificate: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("c.pem"), certificate).unwrap();
    said(
        directory.path(),
        &["x509", "-in", "c.pem", "-noout", "-text"],
    )
}

/// Stops the test unless the strict check accepts the chain for this host, now.
#[track_caller]
pub(crate) fn verify(root: &str, chain: &str, leaf: &str, host: &str) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("root.pem", root), ("chain.pem", chain), ("leaf.pem", leaf)] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let arguments = [
        "verify",
        "-x509_strict",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "chain.pem",
        "-purpose",
        "sslserver",
        "-verify_hostname",
        host,
        "leaf.pem",
    ];
    let said = said(directory.path(), &arguments);
    assert!(said.contains("leaf.pem: OK"), "{said}");
}

/// A new key on P-256.
pub(crate) const EC: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
/// A new key on P-384.
pub(crate) const EC384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
/// A new RSA key.
pub(crate) const RSA: &[&str] = &["-newkey", "rsa:2048"];
