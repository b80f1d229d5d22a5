//! The reference's own examples must be understood, and requests must read like them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/ccm/", $name, ".json"))
    };
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn the_list_of_cas_is_read_in_both_spellings() {
    let text = fixture!("pca-v1.ListCertificateAuthority.response");
    let printed = text.replace("certificate_authorities", "certificateAuthorities");
    let mut both: Value = read(text);
    both["certificateAuthorities"] = both["certificate_authorities"].clone();
    for text in [text.to_owned(), printed, both.to_string()] {
        let page = Page::from(read::<AuthorityList>(&text));
        assert_eq!((page.total, page.items.len()), (2, 2));
        assert_eq!(page.items[1].common_name(), "pca-ca");
        assert_eq!(page.items[1].status, AuthorityStatus::Actived);
        assert_eq!(page.items[1].not_after, Some(1_727_492_412_000));
    }
}

#[test]
fn answers_of_pca_are_read() {
    let authority: Authority = read(fixture!("pca-v1.ShowCertificateAuthority.response"));
    assert_eq!(authority.ca_id, "4c0e772e-a30c-4029-b929-b7acb04143f7");
    let page = Page::from(read::<PrivateCertificateList>(fixture!(
        "pca-v1.ListCertificate.response"
    )));
    assert_eq!((page.total, page.items.len()), (2, 2));
    assert_eq!(page.items[0].common_name(), "test.huawei.com");
    assert_eq!(page.items[0].gen_mode, GenMode::Generate);
    assert_eq!(page.items[0].create_time, Some(1_634_295_475_000));
    let shown: PrivateCertificate = read(fixture!("pca-v1.ShowCertificate.response"));
    assert_eq!(shown.status, PrivateStatus::Issued);
    for text in [
        fixture!("pca-v1.CreateCertificate.response"),
        fixture!("pca-v1.CreateCertificateByCsr.response"),
    ] {
        assert_eq!(read::<Made>(text).certificate_id.len(), 36);
    }
    let exported: ExportedPem = read(fixture!("pca-v1.ExportCertificate.response"));
    let key = exported.private_key.unwrap();
    assert!(key.expose().starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
    assert!(exported.certificate_chain.unwrap().contains("\r\n"));
}

#[test]
fn answers_of_scm_are_read() {
    let page = Page::from(read::<ScmCertificateList>(fixture!(
        "scm-v3.ListCertificates.response"
    )));
    assert_eq!((page.total, page.items.len()), (1, 1));
    assert_eq!(page.items[0].sans.as_deref(), Some("a.zx.com;b.zx.com"));
    assert_eq!(page.items[0].status, ScmStatus::Issued);
    let shown: ScmDetails = read(fixture!("scm-v3.ShowCertificate.response"));
    assert_eq!(shown.status, ScmStatus::Checking);
    assert_eq!(shown.not_before, None);
    let made: Made = read(fixture!("scm-v3.ImportCertificate.response"));
    assert_eq!(made.certificate_id, "scs1600313391074");
    let exported: ExportedPem = read(fixture!("scm-v3.ExportCertificate.response"));
    assert!(exported.private_key.is_some());
}

#[test]
fn ids_may_be_numbers_and_new_values_do_no_harm() {
    let shown: PrivateCertificate = read(
        r#"{"certificate_id": 42, "status": "MELTED", "gen_mode": null, "create_time": "7", "new": {}}"#,
    );
    assert_eq!(shown.certificate_id, "42");
    assert_eq!(shown.status, PrivateStatus::Unknown("MELTED".into()));
    assert_eq!(shown.gen_mode, GenMode::Unknown(String::new()));
    assert_eq!(shown.create_time, Some(7));
    for (text, status) in [
        ("REVOKE", ScmStatus::Revoked),
        ("REVOKED", ScmStatus::Revoked),
        ("REVOKEING", ScmStatus::Revoking),
        ("CANCLEREVOKING", ScmStatus::CancelRevoking),
        ("upload", ScmStatus::Upload),
    ] {
        assert_eq!(ScmStatus::from(text.to_owned()), status);
    }
}

#[test]
fn a_listing_without_a_total_is_not_understood() {
    assert!(serde_json::from_str::<PrivateCertificateList>(r#"{"certificates": []}"#).is_err());
    assert!(serde_json::from_str::<AuthorityList>(r#"{"total": -1}"#).is_err());
    let empty: PrivateCertificateList = read(r#"{"total": "0", "certificates": null}"#);
    assert_eq!(Page::from(empty).total, 0);
}

#[test]
fn requests_read_like_the_examples() {
    let example: Value = read(fixture!("pca-v1.CreateCertificate.request"));
    let ours = json(&Issue {
        issuer_id: "2cb2878b-6cd1-460d-bd25-afe655159bdc".into(),
        key_algorithm: "RSA2048",
        signature_algorithm: "SHA256",
        distinguished_name: DistinguishedName {
            common_name: Some("TestCert".into()),
            country: Some("CN".into()),
            state: Some("Sichuan".into()),
            locality: Some("Chengdu".into()),
            organization: Some("Huawei".into()),
            organizational_unit: Some("CloudBU".into()),
        },
        validity: Validity {
            unit: "YEAR",
            value: 3,
        },
        key_usages: vec!["digitalSignature", "nonRepudiation"],
        subject_alternative_names: vec![SubjectAlternativeName {
            kind: "IP",
            value: "156.127.116.38".into(),
        }],
        extended_key_usage: ExtendedKeyUsage { server_auth: true },
    });
    for (key, value) in example.as_object().unwrap() {
        assert_eq!(&ours[key], value, "{key}");
    }

    let example: Value = read(fixture!("pca-v1.CreateCertificateByCsr.request"));
    let ours = json(&IssueByCsr {
        issuer_id: "2cb2878b-6cd1-460d-bd25-afe655159bdc".into(),
        csr: example["csr"].as_str().unwrap().to_owned(),
        validity: Validity {
            unit: "YEAR",
            value: 3,
        },
        kind: "ENTITY_CERT",
        subject_alternative_names: Vec::new(),
    });
    for (key, value) in example.as_object().unwrap() {
        assert_eq!(&ours[key], value, "{key}");
    }
    assert!(ours.get("subject_alternative_names").is_none());

    let example: Value = read(fixture!("scm-v3.ImportCertificate.request"));
    let text = |key: &str| example[key].as_str().unwrap();
    let ours = json(&Import {
        name: text("name"),
        certificate: text("certificate"),
        certificate_chain: None,
        private_key: text("private_key"),
    });
    assert_eq!(ours, example);
}
