//! Every operation of the reference, sent by the client and read by it: method, path, query and body are those of the
//! example, and what the example answers is understood to the last field. One test for each operation.

use renewd::ccm::Client;
use renewd::ccm::{
    ActivateAuthority, Apply, ApplyV2, AuthenticationKind, AuthorityKind, AuthorityQuery,
    AuthoritySort, AuthorityStatus, BatchPush, BatchTags, Brand, Buy, BuyV2, CcmError,
    CertificateQuery, CertificateSort, CloudService, CreateAuthority, CreateCsr, CrlWanted,
    CsrAlgorithm, CsrQuery, CsrUsage, Deploy, Deployed, DistinguishedName, DomainMethod,
    DomainType, ExportedPem, FilterTags, Import, ImportAuthority, Issue, IssueByCsr, KeyUsage,
    Modify, ModifyKey, NameKind, OPERATIONS, OrderQuery, Page, Pca, PcaAlgorithm, Push, PushV2,
    Resource, RevocationReason, Scm, ScmKind, ScmQuery, ScmSort, ScmV2, ServiceFilter,
    SignatureAlgorithm, SortDirection, SubjectAlternativeName, Supplement, Tag, TagAction,
    TagChoice, UploadCsr, UploadV2, Validity, ValidityUnit, Values,
};
use renewd::pki::Secret;
use serde::Serialize;
use serde_json::{Value, json};

use crate::ccm_client::{access, clock};
use crate::support::contract::{self, CA, CERTIFICATE, CSR, PRIVATE, PRODUCT, PROJECT};
use crate::support::peer::Peer;

/// The clients of one peer.
struct To {
    scm: Scm,
    pca: Pca,
    v2: ScmV2,
}

impl To {
    fn new(peer: &Peer) -> Self {
        let client = || Client::new(access(&peer.url), clock()).unwrap();
        Self {
            scm: Scm::new(client()),
            pca: Pca::new(client()),
            v2: ScmV2::new(client(), PROJECT.to_owned()),
        }
    }
}

type Told = Result<Value, Box<CcmError>>;

fn told<T: Serialize>(answer: Result<T, Box<CcmError>>) -> Told {
    answer.map(|answer| serde_json::to_value(answer).unwrap())
}

fn named<T: Serialize>(key: &str, answer: Result<T, Box<CcmError>>) -> Told {
    answer.map(|answer| json!({key: answer}))
}

/// A page as the API writes it.
fn paged<T: Serialize>(total: &str, key: &str, page: Result<Page<T>, Box<CcmError>>) -> Told {
    page.map(|page| json!({total: page.total, key: page.items}))
}

fn exported(answer: Result<ExportedPem, Box<CcmError>>) -> Told {
    answer.map(|exported| {
        json!({
            "certificate": exported.certificate,
            "certificate_chain": exported.certificate_chain,
            "entire_certificate": exported.entire_certificate,
            "private_key": exported.private_key.as_ref().and_then(Secret::expose_str),
        })
    })
}

fn years(value: i64) -> Validity {
    Validity {
        unit: ValidityUnit::Year,
        value,
        start_from: None,
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn name(parts: [&str; 6]) -> DistinguishedName {
    let [
        common_name,
        country,
        state,
        locality,
        organization,
        organizational_unit,
    ] = parts.map(|part| Some(part.to_owned()));
    DistinguishedName {
        common_name,
        country,
        state,
        locality,
        organization,
        organizational_unit,
    }
}

fn application_v2() -> ApplyV2 {
    let some = |text: &str| Some(text.to_owned());
    ApplyV2 {
        domain: "www.xzz.com".to_owned(),
        sans: some(""),
        csr: some(""),
        company_name: "Huawei Chengdu branch".to_owned(),
        company_unit: some("Human Resource Dept"),
        company_province: "Sichuan".to_owned(),
        company_city: "Chengdu".to_owned(),
        country: "CN".to_owned(),
        applicant_name: "Tom".to_owned(),
        applicant_phone: "13212345678".to_owned(),
        applicant_email: "9997342346@qq.com".to_owned(),
        contact_name: some("Jacky"),
        contact_phone: some("13512345678"),
        contact_email: some("jk@jk.ff"),
        auto_dns_auth: Some(false),
        agree_privacy_protection: true,
        domain_method: None,
    }
}

/// What stands in the query of the calls below: all that the operation has, with a value of its own for each.
fn query(chapter: &str) -> &'static [(&'static str, &'static str)] {
    match chapter {
        "4.1.4.2" => &[
            ("limit", "10"),
            ("offset", "20"),
            ("name", "xx"),
            ("private_key_algo", "RSA_2048"),
        ],
        "4.1.5.1" => &[
            ("limit", "10"),
            ("offset", "20"),
            ("status", "ISSUED"),
            ("sort_key", "certExpiredTime"),
            ("sort_dir", "ASC"),
            ("expired_days_since", "30"),
            ("deploy_support", "true"),
            ("owned_by_self", "false"),
        ],
        "4.2.1.1" => &[
            ("limit", "10"),
            ("offset", "20"),
            ("name", "pca"),
            ("status", "ACTIVED"),
            ("type", "ROOT"),
            ("sort_key", "not_after"),
            ("sort_dir", "ASC"),
        ],
        "4.2.1.5" => &[("pending_days", "9")],
        "4.2.2.1" => &[
            ("limit", "10"),
            ("offset", "20"),
            ("name", "test"),
            ("status", "ISSUED"),
            ("sort_key", "issuer_name"),
            ("sort_dir", "ASC"),
        ],
        "7.1.2" => &[
            ("limit", "10"),
            ("offset", "2"),
            ("order_status", "ISSUED"),
            ("content", "scs"),
            ("sort_key", "certStatus"),
            ("sort_dir", "DESC"),
        ],
        _ => &[],
    }
}

#[test]
fn every_parameter_of_a_query_is_sent_by_some_call() {
    for contract in contract::contracts() {
        let mut sent: Vec<&str> = query(&contract.chapter).iter().map(|pair| pair.0).collect();
        let mut known: Vec<&str> = contract.query.iter().map(String::as_str).collect();
        sent.sort_unstable();
        known.sort_unstable();
        assert_eq!(sent, known, "{}", contract.chapter);
    }
}

macro_rules! operations {
    ($($test:ident $chapter:literal |$to:ident| $call:expr;)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let contract = contract::of($chapter);
                let peer = contract.peer().await;
                let $to = To::new(&peer);
                let answer: Told = $call;
                let answer = answer.unwrap_or_else(|error| panic!("{error}"));
                contract.was_sent_to(&peer, query($chapter));
                if $chapter != "4.1.2.1" {
                    contract::covers(&answer, &contract.response, "answer");
                }
            }
        )*

        /// Which test shows which chapter.
        pub(crate) const TESTS: &[(&str, &str)] = &[$(($chapter, stringify!($test))),*];
    };
}

operations! {
    applying_for_a_certificate "4.1.1.1" |to| {
        let some = |text: &str| Some(text.to_owned());
        told(to.scm.apply(CERTIFICATE, &Apply {
            domain: "www.test.com".to_owned(),
            sans: some(""),
            csr: some(""),
            company_name: some("Company XX"),
            company_unit: some("IT"),
            company_province: some("Sichuan"),
            company_city: some("Chengdu"),
            country: some("CN"),
            applicant_name: "xx".to_owned(),
            applicant_phone: "12312345678".to_owned(),
            applicant_email: "example@test.com".to_owned(),
            contact_name: some("test"),
            contact_phone: some("12312345678"),
            contact_email: some("example@test.com"),
            auto_dns_auth: Some(false),
            agree_privacy_protection: true,
            domain_method: DomainMethod::Dns,
            key_algorithm: None,
        }).await)
    };
    withdrawing_an_application "4.1.1.2" |to| told(to.scm.cancel(CERTIFICATE).await);
    finding_certificates_by_tags "4.1.2.1" |to| {
        let request = FilterTags {
            action: Some("filter".to_owned()),
            tags: vec![TagChoice {
                key: "key1".to_owned(),
                values: Values(vec!["value1".to_owned(), "value2".to_owned()]),
            }],
            ..FilterTags::default()
        };
        let page = to.scm.filter_by_tags(&request).await.unwrap();
        // The example splits the one certificate into four objects.
        assert_eq!((page.total, page.items.len()), (1, 1));
        let found = &page.items[0];
        let detail = found.resource_detail.as_ref().unwrap();
        assert_eq!(found.resource_id.as_deref(), Some("scs1664525717891"));
        assert_eq!(found.resource_name.as_deref(), Some("scm-e409cb"));
        assert_eq!(detail.expired_time.as_deref(), Some("1696064641000"));
        assert_eq!((detail.domain_num, detail.push_support), (Some(6), Some(false)));
        assert_eq!(found.tags[0].value.as_deref(), Some("value1"));
        Ok(Value::Null)
    };
    changing_several_tags "4.1.2.2" |to| told(to.scm.batch_tags(CERTIFICATE, &BatchTags {
        action: TagAction::Create,
        tags: vec![tag("key1", "value1"), tag("key2", "value2")],
    }).await);
    adding_a_tag "4.1.2.3" |to| told(to.scm.add_tag(CERTIFICATE, &tag("key1", "value1")).await);
    listing_the_tags_of_a_certificate "4.1.2.4" |to| told(to.scm.list_tags(CERTIFICATE).await);
    listing_the_tags_of_an_account "4.1.2.5" |to| told(to.scm.list_all_tags().await);
    buying_certificates "4.1.3.1" |to| told(to.scm.buy(&Buy {
        cert_brand: Brand::Globalsign,
        cert_type: ScmKind::Ov,
        domain_type: DomainType::Multi,
        effective_time: 1,
        domain_numbers: 5,
        order_number: 1,
        agree_privacy_protection: true,
        ..Buy::default()
    }).await);
    creating_a_csr "4.1.4.1" |to| told(to.scm.create_csr(&CreateCsr {
        name: "CSRxxxx".to_owned(),
        domain_name: "xxx.com".to_owned(),
        private_key_algo: CsrAlgorithm::Rsa2048,
        usage: CsrUsage::Enterprise,
        ..CreateCsr::default()
    }).await);
    listing_csrs "4.1.4.2" |to| {
        let query = CsrQuery {
            name: Some("xx"),
            private_key_algo: Some(CsrAlgorithm::Rsa2048),
            limit: 10,
            offset: 20,
        };
        paged("total", "csr_list", to.scm.list_csrs(&query).await)
    };
    showing_a_csr "4.1.4.3" |to| told(to.scm.show_csr(CSR).await);
    renaming_a_csr "4.1.4.4" |to| told(to.scm.rename_csr(CSR, "CSRxxxx").await);
    deleting_a_csr "4.1.4.5" |to| told(to.scm.delete_csr(CSR).await);
    uploading_a_csr "4.1.4.6" |to| told(to.scm.upload_csr(&UploadCsr {
        name: "csrxxxx",
        csr: "xxxxxx",
        private_key: Some("xxxxxx"),
    }).await);
    showing_the_key_of_a_csr "4.1.4.7" |to| {
        let key = to.scm.show_csr_key(CSR).await;
        key.map(|key| json!({"private_key": key.expose_str()}))
    };
    listing_scm_certificates "4.1.5.1" |to| {
        let query = ScmQuery {
            status: Some("ISSUED"),
            sort_key: Some("certExpiredTime"),
            sort_dir: Some("ASC"),
            expired_days_since: Some(30),
            deploy_support: Some(true),
            owned_by_self: Some(false),
            limit: 10,
            offset: 20,
        };
        paged("total_count", "certificates", to.scm.list_certificates(&query).await)
    };
    importing_a_certificate "4.1.5.2" |to| {
        let example = contract::of("4.1.5.2").request;
        let text = |key: &str| example[key].as_str().unwrap();
        let import = Import {
            name: text("name"),
            certificate: text("certificate"),
            certificate_chain: None,
            private_key: text("private_key"),
        };
        named("certificate_id", to.scm.import_certificate(&import).await)
    };
    showing_an_scm_certificate "4.1.5.3" |to| told(to.scm.show_certificate(CERTIFICATE).await);
    deleting_an_scm_certificate "4.1.5.4" |to| told(to.scm.delete_certificate(CERTIFICATE).await);
    exporting_an_scm_certificate "4.1.5.5" |to| {
        exported(to.scm.export_certificate(CERTIFICATE).await)
    };
    pushing_a_certificate "4.1.6.1" |to| told(to.scm.push(CERTIFICATE, &Push {
        target_project: "cn-north-7".to_owned(),
        target_service: CloudService::Waf,
    }).await);
    pushing_a_certificate_to_projects "4.1.6.2" |to| told(to.scm.batch_push(CERTIFICATE, &BatchPush {
        target_projects: vec!["cn-north-7".to_owned()],
        target_service: CloudService::Waf,
    }).await);
    deploying_a_certificate "4.1.6.3" |to| told(to.scm.deploy(CERTIFICATE, &Deploy {
        project_name: Some("cn-north-7".to_owned()),
        service_name: CloudService::Elb,
        resources: vec![Resource {
            id: Some("982b8a6a6ebc43809d82a46ca99aaeb7".to_owned()),
            ..Resource::default()
        }],
    }).await);
    listing_deployed_resources "4.1.6.4" |to| told(to.scm.deployed(&Deployed {
        certificate_ids: vec!["scs1665472591541".to_owned()],
        service_names: vec![ServiceFilter::Waf],
    }).await);
    listing_cas "4.2.1.1" |to| {
        let query = AuthorityQuery {
            name: Some("pca"),
            status: Some(AuthorityStatus::Actived),
            kind: Some(AuthorityKind::Root),
            sort_key: Some(AuthoritySort::End),
            sort_dir: Some(SortDirection::Ascending),
            limit: 10,
            offset: 20,
        };
        paged("total", "certificate_authorities", to.pca.list_authorities(&query).await)
    };
    creating_a_ca "4.2.1.2" |to| named("ca_id", to.pca.create_authority(&CreateAuthority {
        kind: AuthorityKind::Root,
        distinguished_name: name(["demoRootRSA", "CN", "sichuan", "chengdu", "HW", "dew"]),
        key_algorithm: PcaAlgorithm::Rsa4096,
        validity: Some(years(3)),
        signature_algorithm: Some(SignatureAlgorithm::Sha512),
        crl_configuration: Some(CrlWanted {
            enabled: false,
            crl_name: None,
            obs_bucket_name: Some("demoBucket".to_owned()),
            valid_days: Some(8),
        }),
        ..CreateAuthority::default()
    }).await);
    showing_the_quota_of_cas "4.2.1.3" |to| {
        let quota = to.pca.authority_quota().await;
        quota.map(|quota| json!({"quotas": {"resources": quota}}))
    };
    showing_a_ca "4.2.1.4" |to| told(to.pca.show_authority(CA).await);
    deleting_a_ca "4.2.1.5" |to| told(to.pca.delete_authority(CA, 9).await);
    activating_a_ca "4.2.1.6" |to| told(to.pca.activate_authority(CA, &ActivateAuthority {
        issuer_id: "c718fe5f-d44a-467f-80f1-948348ff4132".to_owned(),
        path_length: 3,
        signature_algorithm: SignatureAlgorithm::Sha256,
        validity: years(1),
    }).await);
    exporting_the_csr_of_a_ca "4.2.1.7" |to| named("csr", to.pca.authority_csr(CA).await);
    disabling_a_ca "4.2.1.8" |to| told(to.pca.disable_authority(CA).await);
    enabling_a_ca "4.2.1.9" |to| told(to.pca.enable_authority(CA).await);
    exporting_a_ca "4.2.1.10" |to| exported(to.pca.export_authority(CA).await);
    importing_the_certificate_of_a_ca "4.2.1.11" |to| {
        let pem = "-----BEGIN CERTIFICATE-----*****-----END CERTIFICATE-----".to_owned();
        told(to.pca.import_authority(CA, &ImportAuthority {
            certificate: pem.clone(),
            certificate_chain: Some(pem),
        }).await)
    };
    restoring_a_ca "4.2.1.12" |to| told(to.pca.restore_authority(CA).await);
    revoking_a_ca "4.2.1.13" |to| {
        told(to.pca.revoke_authority(CA, Some(RevocationReason::KeyCompromise)).await)
    };
    listing_private_certificates "4.2.2.1" |to| {
        let query = CertificateQuery {
            name: Some("test"),
            status: Some("ISSUED"),
            sort_key: Some(CertificateSort::Issuer),
            sort_dir: Some(SortDirection::Ascending),
            limit: 10,
            offset: 20,
        };
        paged("total", "certificates", to.pca.list_certificates(&query).await)
    };
    applying_for_a_private_certificate "4.2.2.2" |to| named("certificate_id", to.pca.issue(&Issue {
        issuer_id: "2cb2878b-6cd1-460d-bd25-afe655159bdc".to_owned(),
        key_algorithm: PcaAlgorithm::Rsa2048,
        signature_algorithm: SignatureAlgorithm::Sha256,
        distinguished_name: name(["TestCert", "CN", "Sichuan", "Chengdu", "Huawei", "CloudBU"]),
        validity: years(3),
        key_usages: vec![KeyUsage::DigitalSignature, KeyUsage::NonRepudiation],
        subject_alternative_names: vec![SubjectAlternativeName {
            kind: NameKind::Ip,
            value: "156.127.116.38".to_owned(),
        }],
        ..Issue::default()
    }).await);
    having_a_csr_signed "4.2.2.3" |to| {
        let example = contract::of("4.2.2.3").request;
        named("certificate_id", to.pca.issue_by_csr(&IssueByCsr {
            issuer_id: "2cb2878b-6cd1-460d-bd25-afe655159bdc".to_owned(),
            csr: example["csr"].as_str().unwrap().to_owned(),
            validity: years(3),
            ..IssueByCsr::default()
        }).await)
    };
    parsing_a_csr "4.2.2.4" |to| {
        let example = contract::of("4.2.2.4").request;
        told(to.pca.parse_csr(example["csr"].as_str().unwrap()).await)
    };
    showing_the_quota_of_private_certificates "4.2.2.5" |to| {
        let quota = to.pca.certificate_quota().await;
        quota.map(|quota| json!({"quotas": {"resources": quota}}))
    };
    showing_a_private_certificate "4.2.2.6" |to| told(to.pca.show_certificate(PRIVATE).await);
    deleting_a_private_certificate "4.2.2.7" |to| told(to.pca.delete_certificate(PRIVATE).await);
    exporting_a_private_certificate "4.2.2.8" |to| {
        exported(to.pca.export_certificate(PRIVATE).await)
    };
    revoking_a_private_certificate "4.2.2.9" |to| {
        told(to.pca.revoke_certificate(PRIVATE, Some("KEY_COMPROMISE")).await)
    };
    showing_the_obs_agency "4.2.3.1" |to| named("agency_granted", to.pca.obs_agency().await);
    creating_the_obs_agency "4.2.3.2" |to| named("agency_id", to.pca.create_obs_agency().await);
    listing_obs_buckets "4.2.3.3" |to| told(to.pca.list_obs_buckets().await);
    buying_by_v2 "7.1.1" |to| told(to.v2.buy(&BuyV2 {
        cert_brand: Brand::Globalsign,
        cert_type: ScmKind::Ov,
        domain_type: DomainType::Multi,
        effective_time: 1,
        domain_numbers: 5,
        order_number: 1,
        agree_privacy_protection: true,
    }).await);
    listing_by_v2 "7.1.2" |to| {
        let query = OrderQuery {
            order_status: Some("ISSUED"),
            content: Some("scs"),
            sort_key: Some(ScmSort::Status),
            sort_dir: Some(SortDirection::Descending),
            limit: Some(10),
            offset: Some(2),
        };
        told(to.v2.list(&query).await)
    };
    showing_by_v2 "7.1.3" |to| told(to.v2.show(CERTIFICATE).await);
    modifying_by_v2 "7.1.4" |to| told(to.v2.modify(CERTIFICATE, &Modify {
        modify_key: ModifyKey::Name,
        modify_value: "ssssaaaa".to_owned(),
    }).await);
    listing_products_by_v2 "7.1.5" |to| told(to.v2.products().await);
    showing_a_product_by_v2 "7.1.6" |to| told(to.v2.product(PRODUCT).await);
    applying_by_v2 "7.1.7" |to| told(to.v2.apply(CERTIFICATE, &application_v2()).await);
    checking_a_csr_by_v2 "7.1.8" |to| {
        let example = contract::of("7.1.8").request;
        told(to.v2.check_csr(example["csr"].as_str().unwrap()).await)
    };
    saving_an_application_by_v2 "7.1.9" |to| told(to.v2.save(CERTIFICATE, &application_v2()).await);
    reading_an_application_by_v2 "7.1.10" |to| told(to.v2.saved(CERTIFICATE).await);
    withdrawing_an_application_by_v2 "7.1.11" |to| told(to.v2.cancel(CERTIFICATE).await);
    deleting_by_v2 "7.1.12" |to| told(to.v2.delete(CERTIFICATE).await);
    uploading_a_picture_by_v2 "7.1.13" |to| {
        let kind = AuthenticationKind::BankPermit;
        told(to.v2.upload_authentication(CERTIFICATE, &kind, b"a picture".to_vec()).await)
    };
    downloading_by_v2 "7.1.14" |to| {
        let archive = to.v2.download(CERTIFICATE).await;
        archive.map(|archive| {
            assert!(archive.expose().starts_with(b"Rar!"));
            Value::Null
        })
    };
    uploading_by_v2 "7.1.15" |to| {
        let example = contract::of("7.1.15").request;
        let text = |key: &str| example[key].as_str().unwrap();
        named("cert_id", to.v2.upload(&UploadV2 {
            cert_name: text("cert_name"),
            cert: text("cert"),
            private_key: text("private_key"),
        }).await)
    };
    revoking_by_v2 "7.1.16" |to| {
        told(to.v2.revoke(CERTIFICATE, "certificate information filled incorrectly").await)
    };
    pushing_by_v2 "7.1.17" |to| told(to.v2.push(CERTIFICATE, &PushV2 {
        service_type: CloudService::Waf,
        remote_project: "ap-southeast-1".to_owned(),
    }).await);
    listing_pushes_by_v2 "7.1.18" |to| told(to.v2.push_history(CERTIFICATE).await);
    withdrawing_consent_by_v2 "7.1.19" |to| told(to.v2.cancel_privacy(CERTIFICATE).await);
    adding_domains_by_v2 "7.1.20" |to| told(to.v2.supplement(CERTIFICATE, &Supplement {
        ori_sans: "abc.com;xyz.com".to_owned(),
        add_sans: Some("example.domain.com".to_owned()),
        email: Some("example@xx.com".to_owned()),
    }).await);
    showing_the_proof_of_a_domain_by_v2 "7.1.21" |to| {
        told(to.v2.domain_verification(CERTIFICATE).await)
    };
}

#[test]
fn the_list_of_operations_is_that_of_the_reference() {
    let contracts = contract::contracts();
    assert_eq!(contracts.len(), OPERATIONS.len());
    for (ours, theirs) in OPERATIONS.iter().zip(&contracts) {
        let ours_is = (ours.chapter, ours.method, ours.path);
        assert_eq!(ours_is, (&*theirs.chapter, &*theirs.method, &*theirs.path));
    }
    let shown: Vec<&str> = TESTS.iter().map(|(chapter, _)| *chapter).collect();
    let all: Vec<&str> = OPERATIONS.iter().map(|one| one.chapter).collect();
    assert_eq!(shown, all, "each operation has its test, in this order");
}
