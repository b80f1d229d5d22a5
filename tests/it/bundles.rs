//! Every key, request and bundle is read back by the real OpenSSL and by Java's keytool.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use renewd::model::{
    CertificateId, ExportKind, ExportLayout, KeyAlgorithm, PasswordSource, PemFiles, PfxProfile,
    Seconds, Timestamp, TrustFormat,
};
use renewd::pki::{Material, PrivateKey, Secret, bundle, facts, password, pem};

use crate::support::certs::{self, Sample, Validity};

mod keys;

/// 2026-12-01T00:00:00Z.
const NOW: Timestamp = Timestamp(1_796_083_200);
const NAMES: &[&str] = &[
    "www.example.com",
    "*.wild.example",
    "192.0.2.7",
    "2001:db8::7",
    "spiffe://corp/web",
    "ops@example.com",
];
const PASSWORD: &str = "correct horse";

fn year() -> Validity {
    Validity(NOW - Seconds::days(1), NOW + Seconds::days(364))
}

fn sample(algorithm: KeyAlgorithm) -> Sample {
    certs::sample(algorithm, NAMES, year())
}

/// A directory in which programs are run, with passwords in the environment as real users should have them.
struct Desk {
    directory: tempfile::TempDir,
    password: String,
}

impl Desk {
    fn new() -> Self {
        Self::with(PASSWORD)
    }

    fn with(password: &str) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            password: password.to_owned(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(arguments)
            .current_dir(self.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TEST_PASSWORD", &self.password)
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"))
    }

    /// Standard output and standard error of a program that must succeed.
    fn good(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let text = text(&output);
        assert!(output.status.success(), "{program} {arguments:?}: {text}");
        text
    }

    /// The same of one that must fail.
    fn bad(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let text = text(&output);
        assert!(!output.status.success(), "{program} {arguments:?}: {text}");
        text
    }

    fn openssl(&self, arguments: &str) -> String {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.good("openssl", &arguments)
    }

    /// keytool, without the compiler and the collector that a run of half a second does not repay.
    fn keytool(&self, arguments: &[&str]) -> String {
        self.good("keytool", &keytool(arguments))
    }

    /// Renders one export below the desk and returns where its files are.
    fn export(&self, material: &Material, kind: &ExportKind) -> Vec<PathBuf> {
        let id = CertificateId::new("www").unwrap();
        let password = Secret::from(self.password.clone());
        let files = bundle::render(material, kind, &id, Some(&password)).unwrap();
        let write = |file: bundle::BundleFile| {
            let path = self.path().join(&file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file.bytes.expose()).unwrap();
            file.path
        };
        files.into_iter().map(write).collect()
    }

    /// Certificates of a PEM file, as DER.
    fn certificates(&self, name: &str) -> Vec<Vec<u8>> {
        pem::certificates(&String::from_utf8(self.read(name)).unwrap()).unwrap()
    }
}

fn keytool<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"];
    all.extend(arguments);
    all
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

fn layout(layout: ExportLayout, directory: &str) -> ExportKind {
    ExportKind::Layout {
        layout,
        directory: PathBuf::from(directory),
        password: PasswordSource::Generated,
    }
}

fn pfx(profile: PfxProfile, alias: &str) -> ExportKind {
    ExportKind::Pfx {
        path: PathBuf::from("store.pfx"),
        profile,
        alias: alias.to_owned(),
        password: PasswordSource::Generated,
    }
}

fn trust(path: &str, format: TrustFormat) -> ExportKind {
    ExportKind::Trust {
        path: PathBuf::from(path),
        format,
        password: PasswordSource::Generated,
    }
}

fn jks(alias: &str) -> ExportKind {
    ExportKind::Jks {
        path: PathBuf::from("store.jks"),
        alias: alias.to_owned(),
        password: PasswordSource::Generated,
    }
}

/// Key, leaf and chain files belong together and lead to the root, as OpenSSL sees it.
fn assert_pem(desk: &Desk, sample: &Sample, key: &str, leaf: &str, chain: &str) {
    let checked = desk.openssl(&format!("pkey -in {key} -check -noout"));
    assert!(checked.contains("Key is valid"), "{checked}");
    assert_eq!(
        desk.openssl(&format!("x509 -in {leaf} -noout -pubkey")),
        desk.openssl(&format!("pkey -in {key} -pubout"))
    );
    desk.put("root.pem", pem::certificate(&sample.root.der));
    let verified = desk.openssl(&format!(
        "verify -attime {} -purpose sslserver -x509_strict -CAfile root.pem -untrusted {chain} {leaf}",
        NOW.0
    ));
    assert_eq!(verified, format!("{leaf}: OK\n"));
}

#[test]
fn openssl_reads_every_pem_file_for_every_kind_of_key() {
    for algorithm in KeyAlgorithm::ALL {
        let (desk, sample) = (Desk::new(), sample(algorithm));
        let kind = ExportKind::Pem(PemFiles {
            certificate: Some("cert.pem".into()),
            chain: Some("chain.pem".into()),
            fullchain: Some("{certificate}/full.pem".into()),
            key: Some("key.pem".into()),
            combined: Some("all.pem".into()),
        });
        desk.export(&sample.material, &kind);
        assert_pem(&desk, &sample, "key.pem", "cert.pem", "chain.pem");
        assert_pem(&desk, &sample, "key.pem", "www/full.pem", "www/full.pem");
        assert_pem(&desk, &sample, "all.pem", "all.pem", "all.pem");
        let expected = [sample.material.leaf.clone(), sample.intermediate.der];
        assert_eq!(desk.certificates("www/full.pem"), expected);
        assert_eq!(desk.certificates("all.pem"), expected);
        assert_eq!(desk.certificates("chain.pem"), expected[1..]);
    }
}

#[test]
fn openssl_reads_the_pem_layouts_of_ccms_export() {
    let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
    for (kind, directory) in [
        (ExportLayout::Nginx, "nginx"),
        (ExportLayout::Apache, "apache"),
        (ExportLayout::Other, "other"),
    ] {
        desk.export(&sample.material, &layout(kind, directory));
    }
    let at = |key, leaf, chain| assert_pem(&desk, &sample, key, leaf, chain);
    at("nginx/server.key", "nginx/server.crt", "nginx/server.crt");
    at("apache/server.key", "apache/server.crt", "apache/chain.crt");
    at("other/key.pem", "other/cert.pem", "other/chain.pem");
    assert_eq!(desk.certificates("nginx/server.crt").len(), 2);
    assert_eq!(desk.certificates("apache/server.crt").len(), 1);
}

/// The three parts of a PFX, as OpenSSL takes them apart.
fn assert_pfx(desk: &Desk, sample: &Sample, file: &str) {
    let part = |which: &str| {
        desk.openssl(&format!(
            "pkcs12 -in {file} -passin env:TEST_PASSWORD {which} -out part.pem"
        ));
        String::from_utf8(desk.read("part.pem")).unwrap()
    };
    let key = PrivateKey::from_pem(part("-nodes -nocerts").as_bytes()).unwrap();
    assert_eq!(key.pkcs8(), sample.material.key.pkcs8());
    let leaf = pem::certificates(&part("-nokeys -clcerts")).unwrap();
    assert_eq!(leaf, std::slice::from_ref(&sample.material.leaf));
    let chain = pem::certificates(&part("-nokeys -cacerts")).unwrap();
    assert_eq!(chain, std::slice::from_ref(&sample.intermediate.der));
}

#[test]
fn openssl_and_keytool_read_a_modern_pfx_for_every_kind_of_key() {
    for algorithm in KeyAlgorithm::ALL {
        let (desk, sample) = (Desk::new(), sample(algorithm));
        desk.export(&sample.material, &pfx(PfxProfile::Modern, "www"));
        assert_pfx(&desk, &sample, "store.pfx");
        let info = desk.openssl("pkcs12 -in store.pfx -info -noout -passin env:TEST_PASSWORD");
        assert!(info.contains("MAC: sha256, Iteration 10000"), "{info}");
        let strong = "PBES2, PBKDF2, AES-256-CBC, Iteration 10000, PRF hmacWithSHA256";
        // Once for the certificates, once for the key.
        assert_eq!(info.matches(strong).count(), 2, "{info}");
        let list = desk.keytool(&[
            "-list",
            "-v",
            "-keystore",
            "store.pfx",
            "-storepass:env",
            "TEST_PASSWORD",
        ]);
        assert_entry(&list, "www");
    }
}

#[test]
fn a_pfx_for_old_readers_uses_the_old_algorithms_and_no_others() {
    for (profile, algorithm) in [
        (PfxProfile::Java8, KeyAlgorithm::Rsa2048),
        (PfxProfile::Java8, KeyAlgorithm::EcP256),
        (PfxProfile::Windows2016, KeyAlgorithm::Rsa2048),
        (PfxProfile::Windows2016, KeyAlgorithm::EcP256),
    ] {
        let (desk, sample) = (Desk::new(), sample(algorithm));
        desk.export(&sample.material, &pfx(profile, "www"));
        assert_pfx(&desk, &sample, "store.pfx");
        let info = desk.openssl("pkcs12 -in store.pfx -info -noout -passin env:TEST_PASSWORD");
        assert!(info.contains("MAC: sha1, Iteration 2048"), "{info}");
        let old = "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048";
        assert_eq!(info.matches(old).count(), 2, "{info}");
        let list = desk.keytool(&[
            "-list",
            "-v",
            "-keystore",
            "store.pfx",
            "-storepass:env",
            "TEST_PASSWORD",
        ]);
        assert_entry(&list, "www");
    }
}

#[test]
fn a_keystore_is_not_opened_by_another_password() {
    let (mut desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
    desk.export(&sample.material, &pfx(PfxProfile::Modern, "www"));
    desk.export(&sample.material, &jks("www"));
    desk.password = "wrong horse".to_owned();
    let arguments = [
        "pkcs12",
        "-in",
        "store.pfx",
        "-noout",
        "-passin",
        "env:TEST_PASSWORD",
    ];
    let said = desk.bad("openssl", &arguments);
    assert!(said.contains("invalid password"), "{said}");
    for store in ["store.pfx", "store.jks"] {
        let arguments = [
            "-list",
            "-keystore",
            store,
            "-storepass:env",
            "TEST_PASSWORD",
        ];
        let said = desk.bad("keytool", &keytool(&arguments));
        assert!(said.contains("password was incorrect"), "{said}");
    }
}

/// One private key with leaf and intermediate, as `keytool -list -v` prints it.
fn assert_entry(list: &str, alias: &str) {
    for part in [
        format!("Alias name: {alias}\n"),
        "Your keystore contains 1 entry".to_owned(),
        "Entry type: PrivateKeyEntry".to_owned(),
        "Certificate chain length: 2".to_owned(),
        "Owner: CN=www.example.com\nIssuer: CN=Sample Issuing".to_owned(),
        "Owner: CN=Sample Issuing\nIssuer: CN=Sample Root".to_owned(),
    ] {
        assert!(list.contains(&part), "{part} in {list}");
    }
}

/// keytool lists a JKS keystore, and converts it to a PFX in which OpenSSL finds the same key.
fn assert_jks(desk: &Desk, sample: &Sample, store: &str, alias: &str) {
    let list = desk.keytool(&[
        "-list",
        "-v",
        "-keystore",
        store,
        "-storepass:env",
        "TEST_PASSWORD",
    ]);
    assert!(list.contains("Keystore type: JKS"), "{list}");
    assert_entry(&list, alias);
    desk.keytool(&[
        "-importkeystore",
        "-noprompt",
        "-srckeystore",
        store,
        "-srcstoretype",
        "JKS",
        "-srcstorepass:env",
        "TEST_PASSWORD",
        "-destkeystore",
        "converted.pfx",
        "-deststoretype",
        "PKCS12",
        "-deststorepass",
        "converted",
    ]);
    desk.openssl("pkcs12 -in converted.pfx -passin pass:converted -nodes -nocerts -out key.pem");
    let key = PrivateKey::from_pem(&desk.read("key.pem")).unwrap();
    assert_eq!(key.pkcs8(), sample.material.key.pkcs8());
}

#[test]
fn keytool_reads_a_jks_keystore_for_every_kind_of_key() {
    for algorithm in KeyAlgorithm::ALL {
        let (desk, sample) = (Desk::new(), sample(algorithm));
        desk.export(&sample.material, &jks("www"));
        assert_jks(&desk, &sample, "store.jks", "www");
    }
}

#[test]
fn keytool_reads_a_jks_keystore_with_alias_and_password_beyond_ascii() {
    let (desk, sample) = (Desk::with("пароль密码😀"), sample(KeyAlgorithm::EcP256));
    desk.export(&sample.material, &jks("别名😀ß"));
    assert_jks(&desk, &sample, "store.jks", "别名😀ß");
}

#[test]
fn keytool_finds_an_alias_that_was_given_in_capitals() {
    let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
    desk.export(&sample.material, &jks("Tomcat"));
    let list = desk.keytool(&[
        "-list",
        "-keystore",
        "store.jks",
        "-storepass:env",
        "TEST_PASSWORD",
        "-alias",
        "Tomcat",
    ]);
    assert!(list.contains("PrivateKeyEntry"), "{list}");
}

/// Both certificates of the chain as trusted ones under names that follow from them, and nothing else, as keytool sees
/// a trust store.
fn assert_trusted(desk: &Desk, sample: &Sample, store: &str) {
    let secret = ["-storepass:env", "TEST_PASSWORD"];
    let keytool = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(secret).collect();
        desk.keytool(&all)
    };
    let list = keytool(&["-list", "-keystore", store]);
    assert!(list.contains("contains 2 entries"), "{list}");
    assert_eq!(list.matches("trustedCertEntry").count(), 2, "{list}");
    assert!(!list.contains("PrivateKeyEntry"), "{list}");
    for der in &sample.material.chain {
        let print = facts(der).unwrap().fingerprint.to_string();
        let alias = format!("ca-{}", &print[..16]);
        let arguments = ["-exportcert", "-rfc", "-keystore", store, "-alias", &alias];
        let text = keytool(&arguments);
        let found = pem::certificates(&text).unwrap();
        assert_eq!(found, std::slice::from_ref(der), "{text}");
    }
}

#[test]
fn openssl_verifies_against_a_trust_bundle() {
    let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
    let at = [PathBuf::from("www/ca.pem")];
    let kind = trust("{certificate}/ca.pem", TrustFormat::Pem);
    assert_eq!(desk.export(&sample.material, &kind), at);
    assert_eq!(desk.certificates("www/ca.pem"), sample.material.chain);
    desk.put("leaf.pem", sample.material.leaf_pem());
    let verify = format!(
        "verify -attime {} -purpose sslserver -x509_strict -CAfile www/ca.pem leaf.pem",
        NOW.0
    );
    assert_eq!(desk.openssl(&verify), "leaf.pem: OK\n");
}

#[test]
fn keytool_reads_a_jks_trust_store_which_is_the_same_each_time() {
    let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
    desk.export(&sample.material, &trust("ca.jks", TrustFormat::Jks));
    let first = desk.read("ca.jks");
    desk.export(&sample.material, &trust("ca.jks", TrustFormat::Jks));
    assert_eq!(desk.read("ca.jks"), first);
    assert_trusted(&desk, &sample, "ca.jks");
    // Our own reader passes them over: there is no key.
    let secret = Secret::from(desk.password.clone());
    let keys = renewd::pki::jks::read(&first, &secret).unwrap();
    assert!(keys.is_empty());
}

#[test]
fn openssl_and_keytool_read_a_pkcs12_trust_store_of_every_profile() {
    for (profile, algorithms) in [
        (PfxProfile::Modern, "PBES2, PBKDF2, AES-256-CBC"),
        (PfxProfile::Java8, "pbeWithSHA1And3-KeyTripleDES-CBC"),
        (PfxProfile::Windows2016, "pbeWithSHA1And3-KeyTripleDES-CBC"),
    ] {
        let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
        let kind = trust("ca.p12", TrustFormat::Pkcs12(profile));
        desk.export(&sample.material, &kind);
        assert_trusted(&desk, &sample, "ca.p12");
        let said =
            desk.openssl("pkcs12 -in ca.p12 -info -nodes -passin env:TEST_PASSWORD -out all.pem");
        assert!(said.contains(algorithms), "{said}");
        let text = String::from_utf8(desk.read("all.pem")).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{text}");
        assert!(text.contains("2.16.840.1.113894.746875.1.1"), "{text}");
        let mut found = pem::certificates(&text).unwrap();
        let mut chain = sample.material.chain.clone();
        found.sort();
        chain.sort();
        assert_eq!(found, chain);
    }
}

#[test]
fn the_keystore_layouts_open_with_the_password_in_their_file() {
    let sample = sample(KeyAlgorithm::EcP256);
    let mut seed = 0u8;
    let made = password::generate(&mut |bytes| {
        for byte in bytes {
            seed = seed.wrapping_mul(73).wrapping_add(41);
            *byte = seed;
        }
    });
    let mut desk = Desk::with(made.expose_str().unwrap());
    desk.export(&sample.material, &layout(ExportLayout::Tomcat, "tomcat"));
    desk.export(&sample.material, &layout(ExportLayout::Iis, "iis"));
    desk.password = "not used".to_owned();
    for (directory, store) in [("tomcat", "tomcat/server.jks"), ("iis", "iis/server.pfx")] {
        let file = format!("{directory}/keystorePass.txt");
        let list = desk.keytool(&["-list", "-v", "-keystore", store, "-storepass:file", &file]);
        assert_entry(&list, "tomcat");
    }
    desk.openssl("pkcs12 -in iis/server.pfx -noout -passin file:iis/keystorePass.txt");
}

#[test]
fn keystores_of_keytool_are_read() {
    let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP256));
    desk.keytool(&[
        "-genkeypair",
        "-keystore",
        "made.jks",
        "-storetype",
        "JKS",
        "-alias",
        "Made",
        "-keyalg",
        "EC",
        "-groupname",
        "secp256r1",
        "-dname",
        "CN=made",
        "-storepass:env",
        "TEST_PASSWORD",
    ]);
    desk.put("root.pem", pem::certificate(&sample.root.der));
    desk.keytool(&[
        "-importcert",
        "-noprompt",
        "-keystore",
        "made.jks",
        "-alias",
        "root",
        "-file",
        "root.pem",
        "-storepass:env",
        "TEST_PASSWORD",
    ]);
    let secret = Secret::from(desk.password.clone());
    let entries = renewd::pki::jks::read(&desk.read("made.jks"), &secret).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].alias, "made");
    let key = PrivateKey::from_pkcs8(entries[0].pkcs8.expose()).unwrap();
    let facts = facts(&entries[0].certificates[0]).unwrap();
    assert_eq!(facts.common_name.as_deref(), Some("made"));
    assert_eq!(facts.spki, key.spki());
}
