//! The reference's own examples must be understood, and requests must read like them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ccm::limits::Problems;
use crate::ccm::limits::Request;
use crate::ccm::paging::Page;
use crate::ccm::wire::authorities::{Authority, AuthorityList, DistinguishedName, Validity};
use crate::ccm::wire::private::{
    ExportedPem, ExtendedKeyUsage, Issue, IssueByCsr, PrivateCertificate, PrivateCertificateList,
    SubjectAlternativeName,
};
use crate::ccm::wire::scm::{Import, Made, ScmCertificateList, ScmDetails};
use crate::ccm::wire::tags::TaggedList;
use crate::ccm::wire::words::{
    AuthorityStatus, GenMode, KeyUsage, NameKind, PcaAlgorithm, PrivateStatus, ScmStatus,
    SignatureAlgorithm, ValidityUnit,
};

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
    assert_eq!(shown.status, ScmStatus::CheckingDomain);
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
        key_algorithm: PcaAlgorithm::Rsa2048,
        signature_algorithm: SignatureAlgorithm::Sha256,
        distinguished_name: DistinguishedName {
            common_name: Some("TestCert".into()),
            country: Some("CN".into()),
            state: Some("Sichuan".into()),
            locality: Some("Chengdu".into()),
            organization: Some("Huawei".into()),
            organizational_unit: Some("CloudBU".into()),
        },
        validity: Validity {
            unit: ValidityUnit::Year,
            value: 3,
            start_from: None,
        },
        key_usages: vec![KeyUsage::DigitalSignature, KeyUsage::NonRepudiation],
        subject_alternative_names: vec![SubjectAlternativeName {
            kind: NameKind::Ip,
            value: "156.127.116.38".into(),
        }],
        extended_key_usage: ExtendedKeyUsage {
            server_auth: true,
            ..ExtendedKeyUsage::default()
        },
        customized_extension: None,
    });
    for (key, value) in example.as_object().unwrap() {
        assert_eq!(&ours[key], value, "{key}");
    }

    let example: Value = read(fixture!("pca-v1.CreateCertificateByCsr.request"));
    let ours = json(&IssueByCsr {
        issuer_id: "2cb2878b-6cd1-460d-bd25-afe655159bdc".into(),
        csr: example["csr"].as_str().unwrap().to_owned(),
        validity: Validity {
            unit: ValidityUnit::Year,
            value: 3,
            start_from: None,
        },
        kind: None,
        path_length: None,
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

#[test]
fn a_certificate_that_comes_in_pieces_is_put_together() {
    let pieces = r#"{"total_count": 2, "resources": [
        {"resource_id": "scs1"}, {"resource_detail": [{"cert_name": "one"}]}, {"tags": [{"key": "k", "value": ""}]},
        {"resource_id": "scs2", "resource_name": "two", "resource_detail": {"cert_name": "two"}}]}"#;
    let page = Page::from(read::<TaggedList>(pieces));
    assert_eq!(page.items.len(), 2);
    let names: Vec<_> = page
        .items
        .iter()
        .map(|one| one.resource_detail.as_ref().unwrap().cert_name.as_deref())
        .collect();
    assert_eq!(names, [Some("one"), Some("two")]);
    assert_eq!(page.items[0].tags[0].key, "k");
}

#[test]
fn a_request_names_every_field_that_is_out_of_its_limits() {
    let mut problems = Problems::default();
    let request = Issue {
        validity: Validity {
            unit: ValidityUnit::from("WEEK".to_owned()),
            value: 0,
            start_from: None,
        },
        subject_alternative_names: vec![SubjectAlternativeName {
            kind: NameKind::Ip,
            value: "x".repeat(40),
        }],
        ..Issue::default()
    };
    request.check(&mut problems);
    let told = problems.told().unwrap();
    for part in [
        "`issuer_id` must not be empty",
        "`distinguished_name.common_name` is missing",
        "`validity.type` `WEEK` is none of YEAR, MONTH, DAY, HOUR",
        "`validity.value` is 0",
        "`subject_alternative_names` has 40 characters; 1 to 39 are allowed",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}
