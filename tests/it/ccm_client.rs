//! The CCM client against a peer that misbehaves: what an error says, and above all what it says about the effect.

mod agency;
pub(crate) mod contract;
mod limits;
mod listing;
mod patience;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use renewd::ccm::{
    Access, Auth, AuthorityQuery, CcmError, CertificateKind, Class, Client, Effect, Import,
    IssueByCsr, Pca, Scm, Validity, ValidityUnit,
};
use renewd::model::{KeyAlgorithm, Timestamp};
use renewd::pki::Secret;
use renewd::sys::clock::ManualClock;
use serde_json::{Value, json};

use crate::support::certs;
use crate::support::peer::{Peer, Reply, Request};

pub(crate) const SECRET_KEY: &str = "SecretKeyThatNobodyMaySee";
pub(crate) const PASSWORD: &str = "PasswordThatNobodyMaySee";
pub(crate) const LIST: &str = "/v1/private-certificate-authorities";
pub(crate) const ISSUE: &str = "/v1/private-certificates/csr";
pub(crate) const TOKENS: &str = "/v3/auth/tokens";
/// 2025-05-26T08:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_748_248_200);

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW))
}

pub(crate) fn access(url: &str) -> Access {
    Access {
        endpoint: url.to_owned(),
        roots: None,
        auth: Auth::AccessKey {
            access_key: "AK".to_owned(),
            secret_key: Secret::from(SECRET_KEY.to_owned()),
            security_token: None,
        },
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(10),
    }
}

pub(crate) fn with_password(url: &str) -> Access {
    Access {
        auth: Auth::Password {
            iam_endpoint: url.to_owned(),
            user: "ops".to_owned(),
            password: Secret::from(PASSWORD.to_owned()),
            domain: "corp".to_owned(),
            project: "ap-southeast-3".to_owned(),
        },
        ..access(url)
    }
}

pub(crate) fn pca(access: Access) -> Pca {
    Pca::new(Client::new(access, clock()).unwrap())
}

pub(crate) async fn list(pca: &Pca) -> Result<u64, Box<CcmError>> {
    let query = AuthorityQuery {
        limit: 10,
        ..AuthorityQuery::default()
    };
    pca.list_authorities(&query).await.map(|page| page.total)
}

pub(crate) async fn issue(pca: &Pca) -> Result<String, Box<CcmError>> {
    let request = IssueByCsr {
        issuer_id: "2cb2878b-6cd1-460d-bd25-afe655159bdc".to_owned(),
        csr: "-----BEGIN CERTIFICATE REQUEST-----".to_owned(),
        validity: Validity {
            unit: ValidityUnit::Day,
            value: 90,
            start_from: None,
        },
        kind: Some(CertificateKind::Entity),
        path_length: None,
        subject_alternative_names: Vec::new(),
    };
    pca.issue_by_csr(&request).await
}

pub(crate) fn no_cas() -> Reply {
    Reply::json(200, &json!({"total": 0, "certificate_authorities": []}))
}

pub(crate) fn refusal(status: u16, code: &str) -> Reply {
    let body = json!({"error_code": code, "error_msg": "The remote side's own words."});
    Reply::json(status, &body).with("X-Request-Id", "3f2a")
}

/// Issues against a peer that does this to every request; with little time.
async fn issue_against(reply: fn() -> Reply) -> Box<CcmError> {
    let peer = Peer::start(move |_| reply()).await;
    let begun = Instant::now();
    let error = issue(&pca(Access {
        timeout: Duration::from_millis(400),
        ..access(&peer.url)
    }))
    .await
    .unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "it must end");
    assert_eq!(peer.count(ISSUE), 1, "an application is sent once");
    assert!(!error.to_string().contains(SECRET_KEY));
    let text = error.to_string();
    assert!(
        text.starts_with("PCA issue by CSR (POST /v1/private-certificates/csr) at 127.0.0.1:"),
        "{text}"
    );
    error
}

#[tokio::test]
async fn what_was_never_sent_had_no_effect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = issue(&pca(access(&nobody))).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::None)
    );
    assert!(error.to_string().contains("refused"), "{error}");

    let error = issue(&pca(access("https://ccm.invalid")))
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::None)
    );
    assert!(error.to_string().contains("no connection"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_effect_open() {
    for (reply, words) in [
        ((|| Reply::Silence) as fn() -> Reply, "no complete answer"),
        (|| Reply::Drip, "no complete answer"),
        (|| Reply::Close, "the connection broke"),
        (
            || Reply::Truncated("{\"certificate_id\": ".to_owned()),
            "the connection broke",
        ),
        (|| Reply::Announced(20 << 20), "larger than 16 MiB"),
        (|| Reply::text(200, "<html>"), "not understood"),
        (|| Reply::text(200, ""), "not understood"),
        (
            || Reply::text(200, "{\"certificate_id\": null}"),
            "not understood",
        ),
        (|| refusal(500, "PCA.00000001"), "500 PCA.00000001"),
        (|| Reply::text(502, "<html>"), "502"),
        (|| Reply::text(408, ""), "408"),
    ] {
        let error = issue_against(reply).await;
        assert_eq!(
            (error.class, error.effect),
            (Class::Transient, Effect::Unknown),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_left() {
    let peer = Peer::start(|_| Reply::Endless).await;
    let error = issue(&pca(access(&peer.url))).await.unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
    assert_eq!(error.effect, Effect::Unknown);
}

#[tokio::test]
async fn a_refusal_had_no_effect_and_keeps_code_message_and_request_id() {
    for (reply, class) in [
        (
            (|| refusal(400, "PCA.00020401")) as fn() -> Reply,
            Class::Rejected,
        ),
        (|| refusal(401, "PCA.00010001"), Class::Authentication),
        (|| refusal(403, "PCA.00030001"), Class::Configuration),
        (|| refusal(404, "PCA.00030103"), Class::Configuration),
        (|| refusal(429, "APIGW.0308"), Class::RateLimited),
        (|| refusal(418, "NEW.1"), Class::Rejected),
    ] {
        let error = issue_against(reply).await;
        assert_eq!(
            (error.class, error.effect),
            (class, Effect::None),
            "{error}"
        );
        assert_eq!(error.request_id.as_deref(), Some("3f2a"));
        let text = error.to_string();
        assert!(text.contains("The remote side's own words"), "{text}");
        assert!(text.ends_with("(request id 3f2a)"), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Peer::start(|_| no_cas()).await;
    let to = format!("{}/login", other.url);
    let peer = Peer::start(move |_| Reply::text(302, "").with("Location", &to)).await;
    let error = list(&pca(access(&peer.url))).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Configuration, Effect::None)
    );
    assert!(error.to_string().contains("redirects are not followed"));
    assert!(other.requests().is_empty());
}

/// Answers `first` so many times, then well.
async fn moody(times: usize, first: fn() -> Reply) -> Peer {
    let seen = AtomicUsize::new(0);
    Peer::start(move |request| {
        if seen.fetch_add(1, Ordering::SeqCst) < times {
            return first();
        }
        if request.path() == ISSUE {
            return Reply::json(200, &json!({"certificate_id": "c1"}));
        }
        no_cas()
    })
    .await
}

fn asked_to_wait(status: u16, seconds: &str) -> Reply {
    refusal(status, "APIGW.0308").with("Retry-After", seconds)
}

#[tokio::test]
async fn a_short_wait_is_waited_for_inside_the_call() {
    let peer = moody(2, || asked_to_wait(429, "0")).await;
    let pca = pca(access(&peer.url));
    assert_eq!(issue(&pca).await.unwrap(), "c1");
    assert_eq!(peer.count(ISSUE), 3);

    let peer = moody(3, || asked_to_wait(429, "0")).await;
    let error = list(&self::pca(access(&peer.url))).await.unwrap_err();
    assert_eq!(
        (error.class, error.retry_after),
        (Class::RateLimited, Some(0))
    );
    assert_eq!(peer.count(LIST), 3, "two waits, not more");
}

#[tokio::test]
async fn a_long_wait_is_passed_on() {
    let peer = moody(1, || asked_to_wait(429, "3600")).await;
    let error = list(&pca(access(&peer.url))).await.unwrap_err();
    assert_eq!(
        (error.class, error.retry_after),
        (Class::RateLimited, Some(3600))
    );
    assert_eq!(peer.count(LIST), 1);

    // A date is read by the client's own clock.
    let peer = moody(1, || asked_to_wait(503, "Mon, 26 May 2025 08:45:00 GMT")).await;
    let error = list(&pca(access(&peer.url))).await.unwrap_err();
    assert_eq!(
        (error.class, error.retry_after),
        (Class::Transient, Some(900))
    );
}

#[tokio::test]
async fn an_overloaded_service_is_asked_again_only_where_that_is_harmless() {
    let peer = moody(1, || asked_to_wait(503, "0")).await;
    assert_eq!(list(&pca(access(&peer.url))).await.unwrap(), 0);
    assert_eq!(peer.count(LIST), 2);

    let peer = moody(1, || asked_to_wait(503, "0")).await;
    let error = issue(&pca(access(&peer.url))).await.unwrap_err();
    assert_eq!(error.effect, Effect::Unknown);
    assert_eq!(peer.count(ISSUE), 1);
}

#[tokio::test]
async fn requests_are_signed_with_the_clock_and_the_temporary_key_s_token() {
    let peer = Peer::start(|_| no_cas()).await;
    let access = Access {
        auth: Auth::AccessKey {
            access_key: "AK".to_owned(),
            secret_key: Secret::from(SECRET_KEY.to_owned()),
            security_token: Some(Secret::from("temporary".to_owned())),
        },
        ..access(&peer.url)
    };
    list(&pca(access)).await.unwrap();
    let request = &peer.requests()[0];
    assert_eq!(request.target, format!("{LIST}?limit=10&offset=0"));
    assert_eq!(request.header("x-sdk-date"), "20250526T083000Z");
    assert_eq!(request.header("x-security-token"), "temporary");
    let host = peer.url.strip_prefix("http://").unwrap();
    assert_eq!(request.header("host"), host);
    let signed = "Access=AK, SignedHeaders=content-type;host;x-sdk-date;x-security-token, ";
    assert!(request.header("authorization").contains(signed));
}

#[tokio::test]
async fn bodies_are_what_the_reference_asks_for() {
    let peer = Peer::start(|request| match request.path() {
        "/v3/scm/certificates/import" => {
            Reply::json(200, &json!({"certificate_id": "scs1600313391074"}))
        }
        path if path.ends_with("/export") => Reply::json(200, &json!({"certificate": "x"})),
        _ => Reply::text(204, ""),
    })
    .await;
    let pca = pca(access(&peer.url));
    pca.revoke_certificate("c1", None).await.unwrap();
    pca.revoke_certificate("c1", Some("SUPERSEDED"))
        .await
        .unwrap();
    pca.export_certificate("c1").await.unwrap();
    let scm = Scm::new(Client::new(access(&peer.url), clock()).unwrap());
    scm.export_certificate("scs1").await.unwrap();
    let imported = scm
        .import_certificate(&Import {
            name: "www",
            certificate: "leaf",
            certificate_chain: Some("chain"),
            private_key: "key",
        })
        .await
        .unwrap();
    assert_eq!(imported, "scs1600313391074");
    let sent: Vec<(String, String)> = peer
        .requests()
        .into_iter()
        .map(|request| (request.target, request.body))
        .collect();
    let bodies: Vec<Value> = [0, 1, 2, 4]
        .map(|at: usize| serde_json::from_str(&sent[at].1).unwrap())
        .into();
    assert_eq!(sent[0].0, "/v1/private-certificates/c1/revoke");
    assert_eq!(
        bodies[0],
        json!({}),
        "without a reason the body is still {{}}"
    );
    assert_eq!(bodies[1], json!({"reason": "SUPERSEDED"}));
    assert_eq!(
        bodies[2],
        json!({"type": "OTHER", "is_compressed": "false"})
    );
    assert_eq!(sent[3].1, "", "the SCM export has no body");
    assert_eq!(
        bodies[3],
        json!({"name": "www", "certificate": "leaf", "certificate_chain": "chain", "private_key": "key"})
    );
}

#[tokio::test]
async fn an_id_that_is_none_is_not_sent() {
    let peer = Peer::start(|_| Reply::text(204, "")).await;
    let pca = pca(access(&peer.url));
    let error = pca.revoke_certificate("../x", None).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Rejected, Effect::None));
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn secrets_stand_in_no_error_whatever_the_remote_side_says() {
    let echo = |request: &Request| {
        let text = format!("{request:?} {SECRET_KEY} {PASSWORD} token-abcd");
        Reply::json(400, &json!({"error_code": text, "error_msg": text}))
            .with("X-Request-Id", &text.replace('"', ""))
    };
    let peer = Peer::start(echo).await;
    let mut errors = vec![issue(&pca(access(&peer.url))).await.unwrap_err()];
    let peer = Peer::start(move |request| match request.path() {
        TOKENS => token("token-abcd", "2025-05-27T08:30:00Z"),
        _ => echo(request),
    })
    .await;
    errors.push(list(&pca(with_password(&peer.url))).await.unwrap_err());
    let peer = Peer::start(echo).await;
    errors.push(list(&pca(with_password(&peer.url))).await.unwrap_err());
    let key = "{\"private_key\": {\"x\": \"-----BEGIN PRIVATE KEY-----MIIE\"}}";
    let peer = Peer::start(move |_| Reply::text(200, key)).await;
    let export = pca(access(&peer.url)).export_certificate("c1").await;
    errors.push(export.map(|_| ()).unwrap_err());
    for (error, hidden) in errors.iter().zip([
        vec![SECRET_KEY],
        vec![PASSWORD, "token-abcd"],
        vec![PASSWORD],
        vec!["MIIE", "PRIVATE KEY"],
    ]) {
        for text in [error.to_string(), format!("{error:?}")] {
            for secret in &hidden {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}

fn server_config(names: &[&str]) -> (rustls::ServerConfig, Vec<u8>) {
    let validity = certs::Validity(Timestamp(1_500_000_000), Timestamp(4_000_000_000));
    let sample = certs::sample(KeyAlgorithm::EcP256, names, validity);
    let material = sample.material;
    let chain = [material.leaf.clone(), sample.intermediate.der.clone()];
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(material.key.pkcs8().to_vec());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Into::into).to_vec(), key.into())
        .unwrap();
    let root = renewd::pki::pem::certificate(&sample.root.der);
    (config, root.into_bytes())
}

#[tokio::test]
async fn the_server_s_certificate_must_chain_to_the_roots_and_name_the_host() {
    let (config, roots) = server_config(&["127.0.0.1"]);
    let peer = Peer::start_tls(config, |_| no_cas()).await;
    let trusting = Access {
        roots: Some(roots),
        ..access(&peer.url)
    };
    assert_eq!(list(&pca(trusting)).await.unwrap(), 0);

    let (_, other_roots) = server_config(&["127.0.0.1"]);
    let distrusting = Access {
        roots: Some(other_roots),
        ..access(&peer.url)
    };
    let error = issue(&pca(distrusting)).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Configuration, Effect::None)
    );
    assert!(error.to_string().contains("set `roots`"), "{error}");

    let (config, roots) = server_config(&["ccm.example"]);
    let peer = Peer::start_tls(config, |_| no_cas()).await;
    let elsewhere = Access {
        roots: Some(roots),
        ..access(&peer.url)
    };
    let error = issue(&pca(elsewhere)).await.unwrap_err();
    assert!(error.to_string().contains("check the host name"), "{error}");
    assert_eq!(
        (error.class, error.effect),
        (Class::Configuration, Effect::None)
    );
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn a_handshake_that_breaks_has_sent_nothing() {
    // Speaks plain HTTP where TLS is expected.
    let peer = Peer::start(|_| no_cas()).await;
    let url = peer.url.replace("http://", "https://");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = format!("https://{}", listener.local_addr().unwrap());
    let closer = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    for url in [closing.as_str(), url.as_str()] {
        let error = issue(&pca(Access {
            connect_timeout: Duration::from_millis(400),
            timeout: Duration::from_secs(4),
            ..access(url)
        }))
        .await
        .unwrap_err();
        assert_eq!(
            (error.class, error.effect),
            (Class::Transient, Effect::None),
            "{error}"
        );
    }
    closer.abort();
}

pub(crate) fn token(value: &str, expires_at: &str) -> Reply {
    let body = json!({"token": {
        "issued_at": "2025-05-26T08:30:00.000000Z", "expires_at": expires_at, "catalog": [],
    }});
    Reply::json(201, &body).with("X-Subject-Token", value)
}
