//! Names, order and content of the files of every export kind; tests/it/bundles.rs has other programs read them.

use super::*;
use crate::model::{KeyAlgorithm, PasswordSource};
use crate::pki::PrivateKey;
use crate::pki::certs;
use crate::pki::tests::{NAMES, year};

fn material() -> Material {
    certs::sample(KeyAlgorithm::EcP256, NAMES, year()).material
}

fn id() -> CertificateId {
    CertificateId::new("www").unwrap()
}

fn password() -> Secret {
    Secret::from("correct horse".to_owned())
}

fn layout(layout: ExportLayout) -> ExportKind {
    ExportKind::Layout {
        layout,
        directory: PathBuf::from("/srv/{certificate}"),
        password: PasswordSource::Generated,
    }
}

fn pfx(profile: PfxProfile, alias: &str) -> ExportKind {
    ExportKind::Pfx {
        path: PathBuf::from("{certificate}.pfx"),
        profile,
        alias: alias.to_owned(),
        password: PasswordSource::Generated,
    }
}

fn jks() -> ExportKind {
    ExportKind::Jks {
        path: PathBuf::from("{certificate}.jks"),
        alias: "www".to_owned(),
        password: PasswordSource::Generated,
    }
}

fn trust(format: TrustFormat) -> ExportKind {
    ExportKind::Trust {
        path: PathBuf::from("{certificate}.trust"),
        format,
        password: PasswordSource::Generated,
    }
}

fn all_pem() -> ExportKind {
    ExportKind::Pem(PemFiles {
        certificate: Some(PathBuf::from("cert.pem")),
        chain: Some(PathBuf::from("chain.pem")),
        fullchain: Some(PathBuf::from("{certificate}-full.pem")),
        key: Some(PathBuf::from("key.pem")),
        combined: Some(PathBuf::from("all.pem")),
    })
}

fn shown(files: &[BundleFile]) -> Vec<(String, bool)> {
    let one = |file: &BundleFile| (file.path.display().to_string(), file.holds_key);
    files.iter().map(one).collect()
}

#[test]
fn every_layout_has_the_files_of_ccms_export_in_a_safe_order() {
    let material = material();
    let of = |kind| shown(&render(&material, &layout(kind), &id(), Some(&password())).unwrap());
    let file = |name: &str, holds_key| (format!("/srv/www/{name}"), holds_key);
    assert_eq!(
        of(ExportLayout::Nginx),
        [file("server.key", true), file("server.crt", false)]
    );
    assert_eq!(
        of(ExportLayout::Apache),
        [
            file("server.key", true),
            file("chain.crt", false),
            file("server.crt", false)
        ]
    );
    assert_eq!(
        of(ExportLayout::Tomcat),
        [file("keystorePass.txt", true), file("server.jks", true)]
    );
    assert_eq!(
        of(ExportLayout::Iis),
        [file("keystorePass.txt", true), file("server.pfx", true)]
    );
    assert_eq!(
        of(ExportLayout::Other),
        [
            file("key.pem", true),
            file("chain.pem", false),
            file("cert.pem", false)
        ]
    );
}

#[test]
fn the_files_of_a_layout_are_those_that_the_model_names() {
    let material = material();
    for kind in [
        ExportLayout::Nginx,
        ExportLayout::Apache,
        ExportLayout::Tomcat,
        ExportLayout::Iis,
        ExportLayout::Other,
    ] {
        let files = render(&material, &layout(kind), &id(), Some(&password())).unwrap();
        let mut names: Vec<_> = files
            .iter()
            .map(|file| file.path.file_name().unwrap())
            .collect();
        let mut expected: Vec<_> = kind.files().iter().map(std::ffi::OsStr::new).collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

#[test]
fn pem_files_are_written_key_first_and_certificate_last_without_root() {
    let material = material();
    let files = render(&material, &all_pem(), &id(), None).unwrap();
    let names: Vec<_> = shown(&files);
    assert_eq!(
        names
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        [
            "key.pem",
            "all.pem",
            "chain.pem",
            "www-full.pem",
            "cert.pem"
        ]
    );
    let text = |at: usize| files[at].bytes.expose_str().unwrap().to_owned();
    let (key, leaf) = (text(0), material.leaf_pem());
    let intermediate = pem::certificate(&material.chain[0]);
    assert_eq!(text(1), format!("{key}{leaf}{intermediate}"));
    assert_eq!(text(2), intermediate);
    assert_eq!(text(3), format!("{leaf}{intermediate}"));
    assert_eq!(text(4), leaf);
    assert!(names.iter().take(2).all(|(_, holds_key)| *holds_key));
    assert!(names.iter().skip(2).all(|(_, holds_key)| !holds_key));
}

#[test]
fn a_chain_file_of_nothing_but_the_root_holds_the_root() {
    let mut material = material();
    let root = material.chain.pop().unwrap();
    material.chain = vec![root.clone()];
    let files = render(&material, &layout(ExportLayout::Apache), &id(), None).unwrap();
    let root = pem::certificate(&root);
    assert_eq!(files[1].bytes.expose_str(), Some(root.as_str()));
    let files = render(&material, &layout(ExportLayout::Nginx), &id(), None).unwrap();
    let leaf = material.leaf_pem();
    assert_eq!(files[1].bytes.expose_str(), Some(leaf.as_str()));
}

#[test]
fn the_password_file_holds_the_password_and_nothing_else() {
    let (material, password) = (material(), password());
    for kind in [ExportLayout::Tomcat, ExportLayout::Iis] {
        let files = render(&material, &layout(kind), &id(), Some(&password)).unwrap();
        assert_eq!(files[0].bytes.expose(), password.expose());
    }
}

#[test]
fn a_trust_store_holds_the_whole_chain_and_needs_one() {
    let mut material = material();
    let pem = trust(TrustFormat::Pem);
    let files = render(&material, &pem, &id(), None).unwrap();
    assert_eq!(shown(&files), [("www.trust".to_owned(), false)]);
    let text = files[0].bytes.expose_str().unwrap();
    assert_eq!(pem::certificates(text).unwrap(), material.chain);
    let once = |material: &Material| {
        let kind = trust(TrustFormat::Jks);
        let files = render(material, &kind, &id(), Some(&password())).unwrap();
        files[0].bytes.expose().to_vec()
    };
    // The same bytes for another leaf and key of the same CA: a renewal changes nothing for those who trust it.
    let mut renewed = certs::sample(KeyAlgorithm::EcP256, NAMES, year()).material;
    renewed.chain.clone_from(&material.chain);
    assert_eq!(once(&material), once(&renewed));
    material.chain.clear();
    let error = render(&material, &pem, &id(), None).err().unwrap();
    assert!(error.to_string().contains("no CA certificate"), "{error}");
}

#[test]
fn a_keystore_without_a_usable_password_is_refused() {
    let material = material();
    let empty = Secret::from(String::new());
    for kind in [
        pfx(PfxProfile::Modern, "www"),
        jks(),
        layout(ExportLayout::Tomcat),
        layout(ExportLayout::Iis),
        trust(TrustFormat::Jks),
        trust(TrustFormat::Pkcs12(PfxProfile::Modern)),
    ] {
        for password in [None, Some(&empty)] {
            let error = render(&material, &kind, &id(), password).err().unwrap();
            assert!(matches!(error, PkiError::Password { .. }), "{error}");
        }
    }
    let odd = pfx(PfxProfile::Modern, "😀");
    let error = render(&material, &odd, &id(), Some(&password()))
        .err()
        .unwrap();
    assert!(error.to_string().contains("beyond U+FFFF"), "{error}");
}

#[test]
fn the_input_digest_changes_with_everything_that_changes_the_content() {
    let one = material();
    let password = password();
    let digest = |material: &Material, kind: &ExportKind, secret: &Secret| {
        input_digest(material, kind, &id(), Some(secret))
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut kinds = vec![
        all_pem(),
        ExportKind::Pem(PemFiles::default()),
        pfx(PfxProfile::Modern, "www"),
        pfx(PfxProfile::Java8, "www"),
        pfx(PfxProfile::Windows2016, "www"),
        pfx(PfxProfile::Windows2016, "other"),
        trust(TrustFormat::Pem),
        trust(TrustFormat::Jks),
        trust(TrustFormat::Pkcs12(PfxProfile::Modern)),
        trust(TrustFormat::Pkcs12(PfxProfile::Java8)),
        jks(),
    ];
    kinds.extend(
        [
            ExportLayout::Nginx,
            ExportLayout::Apache,
            ExportLayout::Tomcat,
            ExportLayout::Iis,
            ExportLayout::Other,
        ]
        .map(layout),
    );
    for kind in &kinds {
        assert!(seen.insert(digest(&one, kind, &password)), "{kind:?}");
        assert_eq!(digest(&one, kind, &password), digest(&one, kind, &password));
        // Without the key it is the same, or there is none: where another password would make another one.
        let other = Secret::from("another".to_owned());
        let whole = digest(&one, kind, &password);
        let sealed = digest(&one, kind, &other) != whole;
        let open = open_digest(one.key.spki(), &one.leaf, &one.chain, kind, &id());
        assert_eq!(open, (!sealed).then_some(whole), "{kind:?}");
    }
    // Another leaf and key, another chain, another name, another password.
    let kind = jks();
    assert!(seen.insert(digest(&material(), &kind, &password)));
    let mut shorter = material();
    shorter.key = PrivateKey::from_pkcs8(one.key.pkcs8()).unwrap();
    shorter.leaf.clone_from(&one.leaf);
    shorter.chain = one.chain[..1].to_vec();
    assert!(seen.insert(digest(&shorter, &kind, &password)));
    let other = CertificateId::new("mail").unwrap();
    assert!(seen.insert(input_digest(&one, &kind, &other, Some(&password))));
    let secret = Secret::from("correct horsf".to_owned());
    assert!(seen.insert(digest(&one, &kind, &secret)));
    // A trust store is made from the chain: a new leaf and key of the same CA change nothing, its password does.
    for format in [
        TrustFormat::Pem,
        TrustFormat::Jks,
        TrustFormat::Pkcs12(PfxProfile::Modern),
    ] {
        let mut renewed = material();
        renewed.chain.clone_from(&one.chain);
        let kind = trust(format);
        assert_eq!(
            digest(&renewed, &kind, &password),
            digest(&one, &kind, &password)
        );
        let other = digest(&renewed, &kind, &secret) != digest(&one, &kind, &password);
        assert_eq!(other, format != TrustFormat::Pem, "{format:?}");
        assert!(seen.insert(digest(&shorter, &kind, &password)));
    }
    // A password that is not written does not count.
    assert_eq!(
        digest(&one, &all_pem(), &secret),
        input_digest(&one, &all_pem(), &id(), None)
    );
}
