//! When a keystore is written anew, and when it is left alone: salts are drawn, so another file is no sign of another
//! content.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files directly and run keytool"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use renewd::model::{
    CertificateId, ExportKind, ExportSpec, FileAttributes, KeyAlgorithm, PasswordSource,
    PfxProfile, RevisionId, SecretRef, TrustFormat,
};

use crate::deploy::stand::{Stand, validity};
use crate::support::certs;

const FILES: [&str; 5] = ["www.pfx", "www.jks", "ca.p12", "ca.jks", "ca.pem"];

/// Five stores at absolute paths; those of PKCS #12 by this profile, all with this password.
fn exports(etc: &Path, profile: PfxProfile, password: &PasswordSource) -> Vec<ExportSpec> {
    let export = |name: &str, kind: &dyn Fn(PathBuf) -> ExportKind| ExportSpec {
        name: name.replace('.', "-"),
        kind: kind(etc.join(name)),
        attributes: FileAttributes::default(),
    };
    let alias = || "server".to_owned();
    let trust = |format| {
        move |path| ExportKind::Trust {
            path,
            format,
            password: password.clone(),
        }
    };
    vec![
        export("www.pfx", &|path| ExportKind::Pfx {
            path,
            profile,
            alias: alias(),
            password: password.clone(),
        }),
        export("www.jks", &|path| ExportKind::Jks {
            path,
            alias: alias(),
            password: password.clone(),
        }),
        export("ca.p12", &trust(TrustFormat::Pkcs12(profile))),
        export("ca.jks", &trust(TrustFormat::Jks)),
        export("ca.pem", &trust(TrustFormat::Pem)),
    ]
}

struct Shelf {
    stand: Stand,
    etc: PathBuf,
    seen: Vec<(u64, i64, Vec<u8>)>,
}

impl Shelf {
    fn new(dir: &Path, password: &PasswordSource) -> Self {
        let etc = dir.join("etc");
        fs::create_dir(&etc).unwrap();
        Self {
            stand: Stand::new(dir, exports(&etc, PfxProfile::Modern, password)),
            etc,
            seen: Vec::new(),
        }
    }

    /// Rolls a revision out and says which files were written.
    async fn changed_by(&mut self, revision: &(CertificateId, RevisionId)) -> Vec<&'static str> {
        let rollout = self.stand.open(std::slice::from_ref(revision));
        let rollout = self.stand.drive(rollout).await;
        self.stand.live_now(&rollout);
        let now: Vec<_> = FILES
            .iter()
            .map(|name| {
                let path = self.etc.join(name);
                let meta = fs::metadata(&path).unwrap();
                (meta.ino(), meta.mtime_nsec(), fs::read(&path).unwrap())
            })
            .collect();
        let before = std::mem::replace(&mut self.seen, now);
        let pairs = FILES.iter().zip(before.iter().zip(&self.seen));
        pairs
            .filter(|(_, (before, now))| before != now)
            .map(|(name, _)| *name)
            .collect()
    }

    fn issue(&self) -> (CertificateId, RevisionId) {
        self.stand.issue("www", &["www.test"])
    }
}

#[tokio::test]
async fn a_renewal_writes_keystores_and_leaves_trust_stores_of_the_same_ca_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path(), &PasswordSource::Generated);
    let first = shelf.issue();
    shelf.changed_by(&first).await;
    let secrets = || {
        ["www-pfx", "www-jks", "ca-p12", "ca-jks"].map(|export| {
            fs::read(
                dir.path()
                    .join("state/secrets/web")
                    .join(export)
                    .join("www"),
            )
            .unwrap()
        })
    };
    let passwords = secrets();
    assert!(shelf.changed_by(&first).await.is_empty(), "the same again");
    let second = shelf.issue();
    assert_eq!(shelf.changed_by(&second).await, ["www.pfx", "www.jks"]);

    // Another CA is what a trust store is for.
    let samples = certs::sample(KeyAlgorithm::EcP256, &["unused.test"], validity());
    shelf.stand.ca = samples;
    let third = shelf.issue();
    assert_eq!(shelf.changed_by(&third).await, FILES);
    assert_eq!(secrets(), passwords, "generated once");
}

#[tokio::test]
async fn a_password_or_a_profile_writes_what_it_is_in_and_another_way_to_the_same_password_nothing()
{
    let dir = tempfile::tempdir().unwrap();
    let given = |text: &str| PasswordSource::Given(SecretRef::Env(text.to_owned()));
    let mut shelf = Shelf::new(dir.path(), &given("first-password"));
    let www = shelf.issue();
    shelf.changed_by(&www).await;
    shelf.stand.target.exports = exports(&shelf.etc, PfxProfile::Modern, &given("second-password"));
    let written = shelf.changed_by(&www).await;
    assert_eq!(written, ["www.pfx", "www.jks", "ca.p12", "ca.jks"]);
    for (store, entries) in [
        ("www.pfx", "1 entry"),
        ("ca.p12", "2 entries"),
        ("ca.jks", "2 entries"),
    ] {
        let list = Command::new("keytool")
            .args(["-list", "-storepass", "second-password", "-keystore"])
            .arg(shelf.etc.join(store))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&list.stdout);
        assert!(
            list.status.success() && text.contains(entries),
            "{store}: {text}"
        );
    }
    shelf.stand.target.exports = exports(&shelf.etc, PfxProfile::Java8, &given("second-password"));
    assert_eq!(shelf.changed_by(&www).await, ["www.pfx", "ca.p12"]);

    // By another reference.
    let file = PasswordSource::Given(SecretRef::File("second-password".into()));
    shelf.stand.target.exports = exports(&shelf.etc, PfxProfile::Java8, &file);
    assert!(shelf.changed_by(&www).await.is_empty());
}

#[tokio::test]
async fn a_jks_keystore_of_the_same_certificate_has_the_same_bytes_whenever_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path(), &PasswordSource::Generated);
    let (first, second) = (shelf.issue(), shelf.issue());
    shelf.changed_by(&first).await;
    let made = |shelf: &Shelf, name: &str| fs::read(shelf.etc.join(name)).unwrap();
    let (jks, pfx) = (made(&shelf, "www.jks"), made(&shelf, "www.pfx"));
    shelf.changed_by(&second).await;
    assert_ne!(made(&shelf, "www.jks"), jks);
    assert_eq!(shelf.changed_by(&first).await, ["www.pfx", "www.jks"]);
    assert_eq!(made(&shelf, "www.jks"), jks);
    assert_ne!(made(&shelf, "www.pfx"), pfx, "its salts are drawn");
}
