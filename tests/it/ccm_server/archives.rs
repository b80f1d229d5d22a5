//! Private certificates exported as archives (CCM API 4.2.2.8), opened by OpenSSL and keytool.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::http::{Reply, post};
use super::openssl::{self, EC, csr, said};
use crate::support::ccm::Ccm;

const CERTIFICATES: &str = "/v1/private-certificates";

async fn applied(ccm: &Ccm, common_name: &str, key: &str) -> String {
    let body = json!({
        "issuer_id": ccm.issuing(), "key_algorithm": key, "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": common_name}, "validity": {"type": "DAY", "value": 90},
        "subject_alternative_names": [{"type": "DNS", "value": "www.example.com"}],
    });
    let made = post(ccm, CERTIFICATES, &body).await.expect(200);
    made.text("certificate_id")
}

async fn export(ccm: &Ccm, id: &str, kind: &str, compressed: bool) -> Reply {
    let body = json!({"type": kind, "is_compressed": compressed.to_string()});
    post(ccm, &format!("{CERTIFICATES}/{id}/export"), &body).await
}

/// Unpacks an archive, and answers the names in it in alphabetical order.
fn unpack(reply: &Reply, directory: &Path) -> String {
    std::fs::write(directory.join("a.zip"), &reply.bytes).unwrap();
    let program = "import zipfile; z = zipfile.ZipFile('a.zip'); assert z.testzip() is None; z.extractall(); \
                   print(' '.join(sorted(z.namelist())), end='')";
    let done = Command::new("python3")
        .args(["-c", program])
        .current_dir(directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{errors}");
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn an_archive_has_exactly_the_files_of_its_type_and_they_go_together() {
    let ccm = Ccm::start().await;
    for key in ["RSA2048", "EC256"] {
        let id = applied(&ccm, "www.example.com", key).await;
        let plain = export(&ccm, &id, "OTHER", false).await.expect(200);
        let text = |field: &str| plain.text(field).replace('\r', "");
        let (leaf, chain) = (text("certificate"), text("certificate_chain"));
        for (kind, files) in [
            ("APACHE", "chain.crt server.crt server.key"),
            ("NGINX", "server.crt server.key"),
            ("IIS", "keystorePass.txt server.pfx"),
            ("TOMCAT", "keystorePass.txt server.jks"),
            ("OTHER", "chain.pem server.key server.pem"),
        ] {
            let reply = export(&ccm, &id, &kind.to_lowercase(), true)
                .await
                .expect(200);
            assert_eq!(reply.header("content-type"), Some("application/zip"));
            let name = format!("www.example.com_{}.zip", kind.to_lowercase());
            let wanted = format!("attachment; filename=\"{name}\"");
            assert_eq!(reply.header("content-disposition"), Some(wanted.as_str()));
            let directory = tempfile::tempdir().unwrap();
            let directory = directory.path();
            assert_eq!(unpack(&reply, directory), files, "{kind}");
            let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
            match kind {
                "APACHE" => assert_eq!(
                    (read("server.crt"), read("chain.crt")),
                    (leaf.clone(), chain.clone())
                ),
                "NGINX" => assert_eq!(read("server.crt"), format!("{leaf}{chain}")),
                "OTHER" => assert_eq!(
                    (read("server.pem"), read("chain.pem")),
                    (leaf.clone(), chain.clone())
                ),
                "IIS" => opens_as_pfx(directory, "server.pfx", &leaf),
                _ => opens_as_jks(directory, &leaf),
            }
            if files.contains("server.key") {
                let of_key = said(directory, &["pkey", "-in", "server.key", "-pubout"]);
                let leaf = files.split(' ').find(|name| {
                    Path::new(name).file_stem().is_some_and(|s| s == "server")
                        && !name.contains("key")
                });
                let own = ["x509", "-in", leaf.unwrap(), "-noout", "-pubkey"];
                assert_eq!(of_key, said(directory, &own), "{kind}");
            }
        }
        openssl::verify(&ccm.root_pem().await, &chain, &leaf, "www.example.com");
    }
}

/// Key, leaf and issuer are in it, and the key is the leaf's.
#[track_caller]
fn opens_as_pfx(directory: &Path, store: &str, leaf: &str) {
    let password = std::fs::read_to_string(directory.join("keystorePass.txt")).unwrap();
    let password = format!("pass:{password}");
    let opened = said(
        directory,
        &["pkcs12", "-in", store, "-nodes", "-passin", &password],
    );
    assert_eq!(opened.matches("BEGIN CERTIFICATE").count(), 2, "{opened}");
    std::fs::write(directory.join("all.pem"), &opened).unwrap();
    std::fs::write(directory.join("leaf.pem"), leaf).unwrap();
    let of_key = said(directory, &["pkey", "-in", "all.pem", "-pubout"]);
    let of_leaf = said(directory, &["x509", "-in", "leaf.pem", "-noout", "-pubkey"]);
    assert_eq!(of_key, of_leaf);
    let first = said(directory, &["x509", "-in", "all.pem"]);
    assert_eq!(first, leaf, "the leaf comes first");
}

/// keytool lists the entry and moves it into a PFX, whose content OpenSSL sees.
#[track_caller]
fn opens_as_jks(directory: &Path, leaf: &str) {
    let password = std::fs::read_to_string(directory.join("keystorePass.txt")).unwrap();
    let keytool = |arguments: &[&str]| {
        let done = Command::new("keytool")
            .args(arguments)
            .current_dir(directory)
            .output()
            .unwrap();
        let text = [done.stdout, done.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(done.status.success(), "{text}");
        text
    };
    let store = ["-keystore", "server.jks", "-storepass", &password];
    let listed = keytool(&[&["-list"][..], &store].concat());
    assert!(listed.contains("PrivateKeyEntry"), "{listed}");
    keytool(&[
        "-importkeystore",
        "-noprompt",
        "-srckeystore",
        "server.jks",
        "-srcstorepass",
        &password,
        "-destkeystore",
        "moved.pfx",
        "-deststoretype",
        "PKCS12",
        "-deststorepass",
        &password,
    ]);
    opens_as_pfx(directory, "moved.pfx", leaf);
}

#[tokio::test]
async fn an_archive_of_a_certificate_by_csr_has_no_key_and_is_no_keystore() {
    let ccm = Ccm::start().await;
    let request = csr(EC, &["-subj", "/CN=www.example.com"]);
    let body = json!({"issuer_id": ccm.issuing(), "csr": request, "validity": {"type": "DAY", "value": 90}});
    let made = post(&ccm, "/v1/private-certificates/csr", &body)
        .await
        .expect(200);
    let id = made.text("certificate_id");
    for (kind, files) in [
        ("APACHE", "chain.crt server.crt"),
        ("NGINX", "server.crt"),
        ("OTHER", "chain.pem server.pem"),
    ] {
        let reply = export(&ccm, &id, kind, true).await.expect(200);
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(unpack(&reply, directory.path()), files, "{kind}");
    }
    for kind in ["IIS", "TOMCAT"] {
        let refused = export(&ccm, &id, kind, true).await;
        refused.refused(403, "PCA.00030201");
    }
}

#[tokio::test]
async fn the_name_of_an_archive_is_fit_for_a_file_whatever_the_certificate_is_called() {
    let ccm = Ccm::start().await;
    for (common_name, file) in [
        ("*.example.com", "_.example.com_nginx.zip"),
        ("a\"b/../c; x", "a_b_.._c__x_nginx.zip"),
        ("证书", "___nginx.zip"),
    ] {
        let id = applied(&ccm, common_name, "EC256").await;
        let reply = export(&ccm, &id, "NGINX", true).await.expect(200);
        let wanted = format!("attachment; filename=\"{file}\"");
        assert_eq!(reply.header("content-disposition"), Some(wanted.as_str()));
    }
}

#[tokio::test]
async fn what_is_revoked_is_not_in_any_archive() {
    let ccm = Ccm::start().await;
    let id = applied(&ccm, "www.example.com", "EC256").await;
    let revoke = format!("{CERTIFICATES}/{id}/revoke");
    post(&ccm, &revoke, &json!({})).await.expect(204);
    export(&ccm, &id, "IIS", true)
        .await
        .refused(403, "PCA.00030201");
}
