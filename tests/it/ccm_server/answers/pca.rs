//! The life of private CAs and their certificates (CCM API 4.2).

use renewd::ccm_server::Faults;
use serde_json::{Value, json};

use crate::ccm_server::authorities::{root, subordinate};
use crate::ccm_server::lifecycle::{Company, pending};
use crate::ccm_server::openssl::{EC, RSA, csr};
use crate::support::answers::Walk;
use crate::support::ccm::{Ccm, Wanted};

const SUBJECT: &str = "/C=CN/ST=sichuan/L=chengdu/O=HW/OU=IT/CN=test.example.com";

#[tokio::test]
async fn private_cas_answer_as_the_reference_has_it() {
    life(Faults::none()).await;
}

/// All of it, on a server with these faults.
pub(super) async fn life(faults: Faults) {
    let ccm = Wanted::new().faults(faults).start().await;
    live(&ccm, Walk::of(&ccm, "pca-v1")).await;
}

#[tokio::test]
async fn private_cas_answer_by_the_printed_paths_too() {
    let ccm = Ccm::start().await;
    live(&ccm, Walk::of(&ccm, "pca-v1").printed()).await;
}

async fn live(ccm: &Ccm, mut walk: Walk<'_>) {
    let null = Value::Null;
    agency(ccm, &mut walk).await;

    let mut top = root("Top", "EC384", "SHA384");
    top["crl_configuration"] = json!({
        "enabled": true, "crl_name": "top", "obs_bucket_name": "pki-lists", "valid_days": 8,
    });
    let top = walk.ok("4.2.1.2", &[], &top).await.text("ca_id");
    let low = walk.ok("4.2.1.2", &[], &pending("Low")).await.text("ca_id");
    walk.ok("4.2.1.4", &[&low], &null).await;
    walk.ok("4.2.1.1", &[], &null).await;
    walk.ok("4.2.1.7", &[&low], &null).await;
    let activate = json!({
        "issuer_id": top, "path_length": 0, "signature_algorithm": "SHA256",
        "validity": {"type": "YEAR", "value": 1},
    });
    walk.ok("4.2.1.6", &[&low], &activate).await;
    walk.ok("4.2.1.4", &[&low], &null).await;
    walk.ok("4.2.1.4", &[&top], &null).await;
    walk.ok("4.2.1.10", &[&low], &null).await;
    walk.ok("4.2.1.10", &[&top], &null).await;

    let company = Company::new();
    let foreign = walk.ok("4.2.1.2", &[], &pending("Foreign")).await;
    let foreign = foreign.text("ca_id");
    let request = walk.ok("4.2.1.7", &[&foreign], &null).await.text("csr");
    let whole = json!({
        "certificate": company.certify(&request, "30"), "certificate_chain": company.root(),
    });
    walk.ok("4.2.1.11", &[&foreign], &whole).await;
    walk.ok("4.2.1.4", &[&foreign], &null).await;

    certificates(&mut walk, &low).await;

    walk.ok("4.2.1.8", &[&low], &null).await;
    walk.ok("4.2.1.9", &[&low], &null).await;
    walk.ok("4.2.1.8", &[&low], &null).await;
    walk.ask("4.2.1.5", &[&low], "?pending_days=7", &null).await;
    walk.ok("4.2.1.4", &[&low], &null).await;
    walk.ok("4.2.1.1", &[], &null).await;
    walk.ok("4.2.1.3", &[], &null).await;
    walk.ok("4.2.1.12", &[&low], &null).await;
    walk.ok("4.2.1.9", &[&low], &null).await;
    let by_top = subordinate("Next", "EC256", "SHA256", &top);
    let next = walk.ok("4.2.1.2", &[], &by_top).await.text("ca_id");
    let reason = json!({"reason": "KEY_COMPROMISE"});
    walk.ok("4.2.1.13", &[&next], &reason).await;
    walk.ok("4.2.1.4", &[&next], &null).await;
    walk.ask("4.2.1.1", &[], "?sort_key=ca_type&limit=1000", &null)
        .await;
    walk.end(OTHERWISE);
}

/// An agency, and a bucket that the account has elsewhere.
async fn agency(ccm: &Ccm, walk: &mut Walk<'_>) {
    let null = Value::Null;
    let admin = ccm.running.admin();
    admin.add_bucket("pki-lists", "default").await.unwrap();
    let before = walk.ok("4.2.3.1", &[], &null).await;
    assert_eq!(before.text("agency_granted"), "false");
    walk.ok("4.2.3.2", &[], &null).await;
    let after = walk.ok("4.2.3.1", &[], &null).await;
    assert_eq!(after.text("agency_granted"), "true");
    walk.ok("4.2.3.3", &[], &null).await;
}

async fn certificates(walk: &mut Walk<'_>, issuer: &str) {
    let null = Value::Null;
    let apply = json!({
        "issuer_id": issuer, "key_algorithm": "RSA2048", "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": "test.example.com"}, "validity": {"type": "MONTH", "value": 3},
        "subject_alternative_names": [{"type": "DNS", "value": "test.example.com"}],
    });
    let made = walk.ok("4.2.2.2", &[], &apply).await.text("certificate_id");
    let request = csr(RSA, &["-subj", SUBJECT]);
    walk.ok("4.2.2.4", &[], &json!({"csr": request})).await;
    let mut by_csr = json!({
        "issuer_id": issuer, "csr": request, "validity": {"type": "MONTH", "value": 3},
    });
    let own = walk.ok("4.2.2.3", &[], &by_csr).await;
    let own = own.text("certificate_id");
    // A CA under this one may not be: the path ends here. It is for the root to certify.
    let above = walk.ok("4.2.1.4", &[issuer], &null).await.text("issuer_id");
    by_csr["type"] = json!("INTERMEDIATE_CA");
    by_csr["issuer_id"] = json!(above);
    by_csr["csr"] = json!(csr(EC, &["-subj", SUBJECT]));
    let elsewhere = walk.ok("4.2.2.3", &[], &by_csr).await;
    let elsewhere = elsewhere.text("certificate_id");
    walk.ok("4.2.1.4", &[&elsewhere], &null).await;
    walk.ok("4.2.1.10", &[&elsewhere], &null).await;
    // Of whom nothing is known but a name.
    let bare = csr(EC, &["-subj", "/CN=bare.example.com"]);
    walk.ok("4.2.2.4", &[], &json!({"csr": bare})).await;
    by_csr["csr"] = json!(bare);
    let below = walk.ok("4.2.2.3", &[], &by_csr).await;
    let below = below.text("certificate_id");
    walk.ok("4.2.1.4", &[&below], &null).await;
    by_csr["type"] = json!("ENTITY_CERT");
    by_csr["issuer_id"] = json!(issuer);
    let bare = walk.ok("4.2.2.3", &[], &by_csr).await;
    let bare = bare.text("certificate_id");
    for id in [&made, &own, &bare] {
        walk.ok("4.2.2.6", &[id], &null).await;
    }
    walk.ok("4.2.2.1", &[], &null).await;
    walk.ok("4.2.2.5", &[], &null).await;
    // As the example has it.
    let plain = json!({"is_compressed": false, "type": "other"});
    walk.ok("4.2.2.8", &[&made], &plain).await;
    for kind in ["APACHE", "NGINX", "IIS", "TOMCAT", "OTHER"] {
        let packed = json!({"is_compressed": "true", "type": kind});
        walk.ok("4.2.2.8", &[&made], &packed).await;
    }
    let reason = json!({"reason": "KEY_COMPROMISE"});
    walk.ok("4.2.2.9", &[&made], &reason).await;
    walk.ok("4.2.2.6", &[&made], &null).await;
    walk.ask("4.2.2.1", &[], "?status=REVOKED", &null).await;
    walk.ok("4.2.2.7", &[&made], &null).await;
    walk.ok("4.2.2.5", &[], &null).await;
}

/// Where answers are otherwise than the reference has them, and why.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "4.2.2.1 certificates[].delete_time was never shown",
        "a certificate is deleted at once, and then not listed (lines 6443, 6537)",
    ),
    (
        "4.2.2.6 delete_time was never shown",
        "the same (lines 7512, 7605)",
    ),
    (
        "4.2.2.1 certificates[].key_algorithm is not as the example, kind of key with its length",
        "of a CSR it is RSA alone, as of the CA in the example of 4.2.1.4 (line 4853)",
    ),
    (
        "4.2.2.6 key_algorithm is not as the example, kind of key with its length",
        "the same",
    ),
];
