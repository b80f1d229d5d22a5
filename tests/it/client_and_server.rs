//! Client and issuers against renewd-ccm: the two share no wire type and no signing code, so that what works here does
//! not merely agree with itself.

use std::sync::Arc;
use std::time::Duration;

use renewd::ccm::{
    Access, Auth, AuthorityQuery, AuthorityStatus, CcmError, CertificateKind, CertificateQuery,
    Class, Client, GenMode, Import, IssueByCsr, Pca, PrivateStatus, Scm, ScmQuery, ScmStatus,
    Validity, ValidityUnit,
};
use renewd::ccm_server::{Fault, Faults};
use renewd::issuer::{Effect, Fetched, Issuer, IssuerError, Lookup};
use renewd::model::{Fingerprint, KeyAlgorithm, OrderRequest, Seconds, Source, Timestamp};
use renewd::pki::{Material, PrivateKey, Secret, check, csr, pem};
use renewd::sys::clock::ManualClock;

use crate::support::account::{connected_to, named};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::certs;

const ISSUE_BY_CSR: &str = "4.2.2.3";

fn access(ccm: &Ccm, auth: Auth) -> Access {
    Access {
        endpoint: ccm.endpoint(),
        roots: None,
        auth,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(20),
    }
}

fn signed(ccm: &Ccm) -> Client {
    let auth = Auth::AccessKey {
        access_key: ccm.access_key().to_owned(),
        secret_key: Secret::from(ccm.secret_key().to_owned()),
        security_token: None,
    };
    client(ccm, auth)
}

fn with_password(ccm: &Ccm, password: &str) -> Client {
    let auth = Auth::Password {
        iam_endpoint: ccm.endpoint(),
        user: ccm.user.name.clone(),
        password: Secret::from(password.to_owned()),
        domain: ccm.user.account.clone(),
        project: ccm.user.project.clone(),
    };
    client(ccm, auth)
}

fn client(ccm: &Ccm, auth: Auth) -> Client {
    let clock = Arc::<ManualClock>::clone(ccm.clock.as_ref().unwrap());
    Client::new(access(ccm, auth), clock).unwrap()
}

fn ecdsa_request(names: &[&str]) -> (OrderRequest, PrivateKey, String) {
    let request = certs::request(KeyAlgorithm::EcP256, names);
    let key = certs::key(KeyAlgorithm::EcP256);
    let csr = csr::build(&key, &request).unwrap();
    (request, key, csr)
}

async fn first_ca(pca: &Pca) -> Result<String, Box<CcmError>> {
    let query = AuthorityQuery {
        limit: 10,
        ..AuthorityQuery::default()
    };
    let page = pca.list_authorities(&query).await?;
    Ok(page.items[0].ca_id.clone())
}

/// Every operation of PCA, in the life of one certificate.
async fn life_of_a_private_certificate(ccm: &Ccm, pca: &Pca) {
    let query = AuthorityQuery {
        limit: 1000,
        ..AuthorityQuery::default()
    };
    let page = pca.list_authorities(&query).await.unwrap();
    assert_eq!((page.total, page.items.len()), (2, 2));
    let authority = pca.show_authority(ccm.issuing()).await.unwrap();
    assert_eq!(authority.status, AuthorityStatus::Actived);
    assert_eq!(authority.common_name(), ccm.cas.issuing_name);

    let (request, key, csr) = ecdsa_request(&["www.example.com", "10.0.0.1"]);
    let id = pca
        .issue_by_csr(&IssueByCsr {
            issuer_id: ccm.issuing().to_owned(),
            csr,
            validity: Validity {
                unit: ValidityUnit::Day,
                value: 90,
                start_from: None,
            },
            kind: Some(CertificateKind::Entity),
            path_length: None,
            subject_alternative_names: Vec::new(),
        })
        .await
        .unwrap();
    let query = CertificateQuery {
        name: Some("example.com"),
        status: Some("ISSUED"),
        limit: 10,
        ..CertificateQuery::default()
    };
    let page = pca.list_certificates(&query).await.unwrap();
    let listed = page
        .items
        .iter()
        .find(|one| one.certificate_id == id)
        .unwrap();
    assert_eq!(listed.gen_mode, GenMode::Csr);
    assert_eq!(listed.common_name(), "www.example.com");
    assert_eq!(listed.issuer_id.as_deref(), Some(ccm.issuing()));

    let exported = pca.export_certificate(&id).await.unwrap();
    assert!(
        exported.private_key.is_none(),
        "the key never left this host"
    );
    let leaf = exported.certificate.unwrap();
    let chain = exported.certificate_chain.unwrap();
    let material = Material::from_pem(key, &leaf, &chain).unwrap();
    let facts = check::issued(&material, &request, ccm.now()).unwrap();
    assert!(facts.covers(&request.names));
    let roots = pem::certificates(&ccm.root_pem().await).unwrap();
    assert_eq!(material.chain.last(), roots.first());

    pca.revoke_certificate(&id, None).await.unwrap();
    let shown = pca.show_certificate(&id).await.unwrap();
    assert_eq!(shown.status, PrivateStatus::Revoked);
    let error = pca.export_certificate(&id).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("PCA.00030201"));
    assert!(error.request_id.is_some());
}

#[tokio::test]
async fn pca_is_spoken_with_an_access_key_and_with_a_token() {
    let ccm = Wanted::new().at("2027-04-01").start().await;
    life_of_a_private_certificate(&ccm, &Pca::new(signed(&ccm))).await;
    let by_token = Pca::new(with_password(&ccm, ccm.password()));
    life_of_a_private_certificate(&ccm, &by_token).await;
}

#[tokio::test]
async fn pca_is_understood_where_the_server_says_more_and_pages_less() {
    let faults = Faults {
        page_limit: Some(3),
        extra_fields: true,
        crlf: true,
        ..Faults::none()
    };
    let ccm = Wanted::new().at("2027-04-01").faults(faults).start().await;
    life_of_a_private_certificate(&ccm, &Pca::new(signed(&ccm))).await;
}

#[tokio::test]
async fn scm_is_spoken_from_import_to_export() {
    let ccm = Wanted::new().at("2027-04-01").start().await;
    let scm = Scm::new(signed(&ccm));
    let validity = certs::Validity(ccm.now() - Seconds::days(1), ccm.now() + Seconds::days(89));
    let sample = certs::sample(
        KeyAlgorithm::EcP256,
        &["www.example.com", "example.com"],
        validity,
    );
    let material = sample.material;
    let (leaf, chain) = (material.leaf_pem(), material.chain_pem());
    let key = material.key.to_pem();
    let id = scm
        .import_certificate(&Import {
            name: "www",
            certificate: &leaf,
            certificate_chain: Some(&chain),
            private_key: key.expose_str().unwrap(),
        })
        .await
        .unwrap();
    let query = ScmQuery {
        limit: 10,
        sort_key: Some("certExpiredTime"),
        sort_dir: Some("ASC"),
        ..ScmQuery::default()
    };
    let page = scm.list_certificates(&query).await.unwrap();
    assert_eq!((page.total, page.items.len()), (1, 1));
    assert_eq!(page.items[0].id, id);
    assert_eq!(page.items[0].status, ScmStatus::Upload);
    assert_eq!(page.items[0].domain.as_deref(), Some("www.example.com"));
    let shown = scm.show_certificate(&id).await.unwrap();
    assert_eq!(shown.status, ScmStatus::Upload);
    assert_eq!(shown.fingerprint.unwrap().len(), 40);
    let exported = scm.export_certificate(&id).await.unwrap();
    let exported_key = PrivateKey::from_pem(exported.private_key.unwrap().expose()).unwrap();
    assert_eq!(exported_key.spki(), material.key.spki());
    let error = scm.show_certificate("scs0000000000000").await.unwrap_err();
    assert_eq!(error.class, Class::Rejected, "{error}");
}

#[tokio::test]
async fn wrong_credentials_and_a_wrong_clock_are_told() {
    let ccm = Wanted::new().at("2027-04-01").start().await;
    let wrong_key = Auth::AccessKey {
        access_key: ccm.access_key().to_owned(),
        secret_key: Secret::from("another".to_owned()),
        security_token: None,
    };
    let error = first_ca(&Pca::new(client(&ccm, wrong_key)))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Authentication, "{error}");

    let wrong_password = Pca::new(with_password(&ccm, "another"));
    let error = first_ca(&wrong_password).await.unwrap_err();
    assert_eq!(error.class, Class::Authentication, "{error}");

    let late = Arc::new(ManualClock::new(ccm.now() + Seconds::minutes(20)));
    let auth = Auth::AccessKey {
        access_key: ccm.access_key().to_owned(),
        secret_key: Secret::from(ccm.secret_key().to_owned()),
        security_token: None,
    };
    let late = Pca::new(Client::new(access(&ccm, auth), late).unwrap());
    let error = first_ca(&late).await.unwrap_err();
    assert_eq!(error.class, Class::Authentication, "{error}");
    assert!(
        error.to_string().contains("the clock of this host"),
        "{error}"
    );
}

#[tokio::test]
async fn tokens_that_end_soon_are_renewed_in_the_middle_of_a_job() {
    let faults = Faults {
        token_lifetime: Some(Seconds(600)),
        ..Faults::none()
    };
    let ccm = Wanted::new().at("2027-04-01").faults(faults).start().await;
    let pca = Pca::new(with_password(&ccm, ccm.password()));
    for _ in 0..6 {
        first_ca(&pca).await.unwrap();
        ccm.advance(Seconds(300));
    }
    let tokens = |seen: &renewd::ccm_server::Seen| seen.status == 201;
    let fetched = ccm
        .running
        .requests()
        .iter()
        .filter(|one| tokens(one))
        .count();
    assert_eq!(fetched, 3, "one for each 540 seconds");
}

/// A connected issuer whose connection is in use already: a request on it that breaks must not be sent again.
async fn warm(ccm: &Ccm) -> Box<dyn Issuer> {
    let issuer = connected_to(ccm, named(&ccm.cas.issuing_name));
    issuer.describe().await.unwrap();
    issuer
}

#[tokio::test]
async fn an_application_whose_answer_is_lost_is_found_and_not_repeated() {
    let faults = Faults::none().at(ISSUE_BY_CSR, 1, Fault::LostResponse);
    let ccm = Wanted::new().at("2027-04-01").faults(faults).start().await;
    let issuer = warm(&ccm).await;
    let (request, key, csr) = ecdsa_request(&["www.example.com"]);
    let began = ccm.now();
    let error = issuer.submit(&request, Some(&csr)).await.unwrap_err();
    assert_eq!(error.effect, Effect::Unknown, "{error}");
    let found = issuer
        .lookup(&request, Some(key.spki()), began)
        .await
        .unwrap();
    let Lookup::Found { reference } = found else {
        panic!("the application had its effect");
    };
    let material = fetched(&*issuer, &reference, Some(key)).await.unwrap();
    check::issued(&material, &request, ccm.now()).unwrap();
    assert_eq!(ccm.issued("www.example.com").await, 1);
    assert_eq!(ccm.running.requests_of(ISSUE_BY_CSR), 1);
}

#[tokio::test]
async fn an_application_that_was_lost_itself_is_absent() {
    for fault in [Fault::LostRequest, Fault::ServerError] {
        let faults = Faults::none().at(ISSUE_BY_CSR, 1, fault);
        let ccm = Wanted::new().at("2027-04-01").faults(faults).start().await;
        let issuer = warm(&ccm).await;
        let (request, key, csr) = ecdsa_request(&["www.example.com"]);
        let error = issuer.submit(&request, Some(&csr)).await.unwrap_err();
        assert_eq!(error.effect, Effect::Unknown, "{error}");
        let found = issuer.lookup(&request, Some(key.spki()), ccm.now()).await;
        assert_eq!(found.unwrap(), Lookup::Absent);
        assert_eq!(ccm.running.requests_of(ISSUE_BY_CSR), 1);
        let accepted = issuer.submit(&request, Some(&csr)).await.unwrap();
        fetched(&*issuer, &accepted.reference, Some(key))
            .await
            .unwrap();
        assert_eq!(ccm.issued("www.example.com").await, 1);
    }
}

async fn fetched(
    issuer: &dyn Issuer,
    reference: &str,
    key: Option<PrivateKey>,
) -> Result<Material, IssuerError> {
    loop {
        match issuer.fetch(reference, key.is_none()).await? {
            Fetched::NotYet { .. } => {}
            Fetched::Issued(pem) => {
                let key = key.unwrap_or_else(|| {
                    let exported = pem.private_key.unwrap();
                    PrivateKey::from_pem(exported.expose()).unwrap()
                });
                return Ok(Material::from_pem(key, &pem.certificate, &pem.chain).unwrap());
            }
        }
    }
}

/// What an order does, in small: submit once, find out after a lost answer, fetch; every step again after an error.
async fn obtain(
    ccm: &Ccm,
    issuer: &dyn Issuer,
    request: &OrderRequest,
    key: Option<&PrivateKey>,
) -> Material {
    let csr = key.map(|key| csr::build(key, request).unwrap());
    let spki: Option<Fingerprint> = key.map(PrivateKey::spki);
    let began: Timestamp = ccm.now();
    let mut reference: Option<String> = None;
    let mut unclear = false;
    for _ in 0..200 {
        if let Some(reference) = &reference {
            let own = key.map(|key| PrivateKey::from_pkcs8(key.pkcs8()).unwrap());
            if let Ok(material) = fetched(issuer, reference, own).await {
                return material;
            }
        } else if unclear {
            match issuer.lookup(request, spki, began).await {
                Ok(Lookup::Found { reference: found }) => reference = Some(found),
                Ok(Lookup::Absent) => unclear = false,
                Err(_) => {}
            }
        } else {
            match issuer.submit(request, csr.as_deref()).await {
                Ok(accepted) => reference = Some(accepted.reference),
                Err(error) => unclear = error.effect == Effect::Unknown,
            }
        }
    }
    panic!("not obtained in 200 steps");
}

#[tokio::test]
async fn one_order_makes_one_certificate_however_unpleasant_the_server_is() {
    let mut hit = 0;
    for seed in 0..12 {
        let faults = Faults {
            retry_after: 0,
            rate_limited: 10,
            server_error: 10,
            lost_request: 10,
            lost_response: 10,
            ..Faults::hostile(seed)
        };
        let ccm = Wanted::new().at("2027-04-01").faults(faults).start().await;
        let issuer = connected_to(&ccm, named(&ccm.cas.issuing_name));
        for (host, source) in [
            ("a.example.com", Source::Csr),
            ("b.example.com", Source::Ccm),
        ] {
            let request = OrderRequest {
                source,
                ..certs::request(KeyAlgorithm::EcP256, &[host])
            };
            let key = (source == Source::Csr).then(|| certs::key(KeyAlgorithm::EcP256));
            let material = obtain(&ccm, &*issuer, &request, key.as_ref()).await;
            check::issued(&material, &request, ccm.now()).unwrap();
            assert_eq!(ccm.issued(host).await, 1, "seed {seed}, {host}");
        }
        let seen = ccm.running.requests();
        hit += seen.iter().filter(|one| one.fault.is_some()).count();
    }
    assert!(hit > 50, "only {hit} requests were hit by a fault");
}
