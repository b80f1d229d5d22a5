//! What passes a limit of the reference is never sent, and the refusal says which field and what would be right.

use renewd::ccm::{
    Buy, CcmError, Class, Client, CreateAuthority, Effect, FilterTags, Import, Pca, Scm, UploadCsr,
};

use crate::ccm_client::{access, clock};
use crate::support::peer::{Peer, Reply};

#[track_caller]
fn refused(error: &CcmError, peer: &Peer, parts: &[&str]) {
    assert_eq!((error.class, error.effect), (Class::Rejected, Effect::None));
    assert_eq!(error.status, None);
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    assert!(peer.requests().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_request_beyond_its_limits_is_refused_before_it_leaves() {
    let peer = Peer::start(|_| Reply::text(500, "")).await;
    let client = || Client::new(access(&peer.url), clock()).unwrap();
    let (scm, pca) = (Scm::new(client()), Pca::new(client()));

    let error = scm.buy(&Buy::default()).await.unwrap_err();
    let parts = [
        "SCM buy certificate",
        "not sent: `cert_brand` `` is none of GEOTRUST, GLOBALSIGN,",
        "`effective_time` is 0; 1 to 3 are allowed",
        "`agree_privacy_protection` must be agreed to",
    ];
    refused(&error, &peer, &parts);

    let error = pca.create_authority(&CreateAuthority::default()).await;
    let parts = [
        "`type` `` is none of ROOT, SUBORDINATE",
        "`distinguished_name.organizational_unit` is missing, and a CA needs it",
    ];
    refused(&error.unwrap_err(), &peer, &parts);

    let secret = format!("-----BEGIN PRIVATE KEY-----{}", "k".repeat(5000));
    let import = Import {
        name: "ab",
        certificate: "x",
        certificate_chain: None,
        private_key: &secret,
    };
    let error = scm.import_certificate(&import).await.unwrap_err();
    let parts = [
        "`name` has 2 characters; 3 to 63 are allowed",
        "`private_key` has 5027 characters; 1 to 4096 are allowed",
    ];
    refused(&error, &peer, &parts);
    assert!(!error.to_string().contains("kkkk"));

    let upload = UploadCsr {
        name: "",
        csr: "x",
        private_key: None,
    };
    let error = scm.upload_csr(&upload).await.unwrap_err();
    refused(&error, &peer, &["`name` must not be empty"]);

    let filter = FilterTags {
        limit: Some(30),
        ..FilterTags::default()
    };
    let error = scm.filter_by_tags(&filter).await.unwrap_err();
    refused(&error, &peer, &["`limit` is 30; 10, 20 and 50 are allowed"]);

    let error = pca.delete_authority("ca", 3).await.unwrap_err();
    refused(&error, &peer, &["`pending_days` is 3; 7 to 30 are allowed"]);

    let reason = pca.revoke_certificate("id", Some("BECAUSE")).await;
    let part = "`reason` `BECAUSE` is none of UNSPECIFIED, KEY_COMPROMISE";
    refused(&reason.unwrap_err(), &peer, &[part]);
}
