//! Keys and revisions on disk.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use renewd::deploy::{MaterialError, Materials};
use renewd::model::{KeyAlgorithm, OrderId};

use crate::deploy::stand::Stand;
use crate::support::certs;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_usable_key_stays_and_an_unusable_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let materials = Materials::new(dir.path().to_owned());
    let order = OrderId::new("order-1").unwrap();
    assert!(materials.load_key(&order).unwrap().is_none());
    let (first, second) = (
        certs::key(KeyAlgorithm::EcP256),
        certs::key(KeyAlgorithm::EcP256),
    );
    assert_eq!(materials.store_key(&order, &first).unwrap(), first.spki());
    assert_eq!(
        materials.store_key(&order, &second).unwrap(),
        first.spki(),
        "its CSR may be on the way"
    );
    let path = dir.path().join("keys/order-1.key");
    assert_eq!(
        (mode(&path), mode(&dir.path().join("keys"))),
        (0o600, 0o700)
    );
    fs::write(&path, "-----BEGIN PRIVATE").unwrap();
    let error = materials.load_key(&order).err().unwrap();
    assert!(
        matches!(&error, MaterialError::Content { .. })
            && error.to_string().contains("order-1.key"),
        "{error}"
    );
    assert_eq!(materials.store_key(&order, &second).unwrap(), second.spki());
    assert_eq!(
        materials.load_key(&order).unwrap().unwrap().spki(),
        second.spki()
    );

    fs::write(
        dir.path().join("keys/.order-2.key.renewd-99999-0"),
        "half a key",
    )
    .unwrap();
    materials.sweep().unwrap();
    let left: Vec<_> = fs::read_dir(dir.path().join("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["order-1.key"]);
    materials.remove_key(&order).unwrap();
    materials.remove_key(&order).unwrap();
    assert!(materials.load_key(&order).unwrap().is_none());
}

#[test]
fn a_revision_comes_back_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path(), Vec::new());
    let (www, one) = stand.issue("www", &["www.test"]);
    let (_, two) = stand.issue("www", &["www.test"]);
    let materials = stand.deployer.materials();
    let at = |revision: &renewd::model::RevisionId| {
        dir.path()
            .join("state/revisions/www")
            .join(revision.as_str())
    };
    for file in ["key.pem", "cert.pem", "chain.pem"] {
        assert_eq!(mode(&at(&one).join(file)), 0o600);
    }
    assert_eq!(mode(&at(&one)), 0o700);
    let material = materials.load_revision(&www, &one).unwrap();
    assert_eq!(material.revision_id(), one);
    assert_eq!(material.chain.len(), 2);
    assert_eq!(materials.load_public(&www, &one).unwrap().len(), 3);
    let mut both = vec![one.clone(), two.clone()];
    both.sort();
    assert_eq!(materials.revisions(&www).unwrap(), both);

    let key = fs::read(at(&one).join("key.pem")).unwrap();
    fs::copy(at(&two).join("key.pem"), at(&one).join("key.pem")).unwrap();
    let error = materials.load_revision(&www, &one).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("the key is not the certificate's"),
        "{error}"
    );
    // Storing it again mends it.
    materials.store_revision(&www, &material).unwrap();
    assert_eq!(fs::read(at(&one).join("key.pem")).unwrap(), key);
    fs::copy(at(&two).join("cert.pem"), at(&one).join("cert.pem")).unwrap();
    let error = materials.load_revision(&www, &one).err().unwrap();
    assert!(error.to_string().contains("another certificate"), "{error}");

    materials.prune(&www, &[two.clone()].into()).unwrap();
    assert_eq!(materials.revisions(&www).unwrap(), [two]);
    assert!(materials.revision_fault(&www, &one).is_some());
}
