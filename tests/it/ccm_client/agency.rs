//! The keys of an ECS's agency, from a metadata service that speaks both versions of its protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use renewd::ccm::{Access, Auth, Class, Client, Effect, Pca};
use renewd::model::{Seconds, Timestamp};
use renewd::sys::clock::{Clock as _, ManualClock};
use serde_json::json;

use crate::ccm_client::{LIST, NOW, access, clock, list, no_cas, refusal};
use crate::support::peer::{Peer, Reply, Request};

const TOKEN: &str = "/meta-data/latest/api/token";
const KEYS: &str = "/openstack/latest/securitykey";

/// Keys `AK1`, `AK2`, … that live for an hour from the clock's now.
fn keys(number: usize, now: Timestamp) -> Reply {
    let end = Timestamp(now.0 + 3600).to_string().replace('Z', ".000000Z");
    Reply::json(
        200,
        &json!({"credential": {
            "access": format!("AK{number}"), "secret": format!("SecretOfTheAgency{number}"),
            "securitytoken": format!("TokenOfTheAgency{number}"), "expires_at": end,
        }}),
    )
}

/// A service that answers each request for keys by `answer`, which hears how many there were, and gives tokens or not.
async fn service(
    with_tokens: bool,
    answer: impl Fn(&Request, usize) -> Reply + Send + 'static,
) -> Peer {
    let asked = AtomicUsize::new(0);
    let given = AtomicUsize::new(0);
    Peer::start(
        move |request| match (request.method.as_str(), request.path()) {
            ("PUT", TOKEN) if with_tokens => {
                assert_eq!(request.header("x-metadata-token-ttl-seconds"), "21600");
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                Reply::text(200, &format!("metadata-token-{number}"))
            }
            ("PUT", TOKEN) => Reply::text(404, "no such thing"),
            ("GET", KEYS) => answer(request, asked.fetch_add(1, Ordering::SeqCst) + 1),
            _ => Reply::text(400, "what?"),
        },
    )
    .await
}

fn of_agency(api: &Peer, metadata: &Peer, clock: Arc<ManualClock>) -> Pca {
    let access = Access {
        auth: Auth::Agency {
            metadata: Some(metadata.url.clone()),
        },
        ..access(&api.url)
    };
    Pca::new(Client::new(access, clock).unwrap())
}

/// The access key that each request to the API was signed with.
fn signed_by(api: &Peer) -> Vec<String> {
    let requests = api.requests();
    requests
        .iter()
        .map(|request| {
            let authorization = request.header("authorization");
            let (_, rest) = authorization.split_once("Access=").unwrap();
            rest.split(',').next().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn keys_of_the_agency_sign_requests_and_are_kept() {
    let clock = clock();
    let now = clock.now();
    let metadata = service(true, move |request, number| {
        assert_eq!(request.header("x-metadata-token"), "metadata-token-1");
        keys(number, now)
    })
    .await;
    let api = Peer::start(|_| no_cas()).await;
    let pca = of_agency(&api, &metadata, clock);
    for _ in 0..3 {
        list(&pca).await.unwrap();
    }
    assert_eq!(signed_by(&api), ["AK1", "AK1", "AK1"]);
    let requests = api.requests();
    assert_eq!(requests[0].header("x-security-token"), "TokenOfTheAgency1");
    assert!(
        requests[0]
            .header("authorization")
            .contains("x-security-token")
    );
    assert_eq!((metadata.count(TOKEN), metadata.count(KEYS)), (1, 1));
}

#[tokio::test]
async fn a_service_of_the_former_version_is_asked_without_a_token() {
    let clock = clock();
    let now = clock.now();
    let metadata = service(false, move |request, number| {
        assert_eq!(request.header("x-metadata-token"), "");
        keys(number, now)
    })
    .await;
    let api = Peer::start(|_| no_cas()).await;
    let pca = of_agency(&api, &metadata, Arc::clone(&clock));
    list(&pca).await.unwrap();
    // The keys are renewed, and the service is not asked for a token again within a day.
    clock.advance(Seconds(3000));
    list(&pca).await.unwrap();
    assert_eq!((metadata.count(TOKEN), metadata.count(KEYS)), (1, 2));
}

#[tokio::test]
async fn keys_are_renewed_when_less_than_forty_minutes_are_left() {
    let clock = clock();
    let moving = Arc::clone(&clock);
    let metadata = service(true, move |_, number| keys(number, moving.now())).await;
    let api = Peer::start(|_| no_cas()).await;
    let pca = of_agency(&api, &metadata, Arc::clone(&clock));
    list(&pca).await.unwrap();
    clock.advance(Seconds(20 * 60 - 1));
    list(&pca).await.unwrap();
    clock.advance(Seconds(1));
    list(&pca).await.unwrap();
    assert_eq!(signed_by(&api), ["AK1", "AK1", "AK2"]);
    // After six hours the service's own token has ended too.
    clock.advance(Seconds::hours(6));
    list(&pca).await.unwrap();
    assert_eq!(metadata.count(TOKEN), 2);
}

#[tokio::test]
async fn old_keys_are_used_while_they_are_valid_when_no_new_ones_come() {
    let clock = clock();
    let metadata = service(true, |_, number| match number {
        1 => keys(1, NOW),
        _ => Reply::text(500, "not now"),
    })
    .await;
    let api = Peer::start(|_| no_cas()).await;
    let pca = of_agency(&api, &metadata, Arc::clone(&clock));
    list(&pca).await.unwrap();
    clock.advance(Seconds(1800));
    list(&pca).await.unwrap();
    list(&pca).await.unwrap();
    assert_eq!(signed_by(&api), ["AK1", "AK1", "AK1"]);
    assert_eq!(metadata.count(KEYS), 2, "not again within a minute");
    clock.advance(Seconds(1800));
    let error = list(&pca).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::None)
    );
    let text = error.to_string();
    assert!(text.starts_with("metadata get keys of agency"), "{text}");
    assert_eq!(api.count(LIST), 3, "nothing was sent with keys that ended");
}

#[tokio::test]
async fn keys_that_are_refused_are_asked_for_once_more() {
    let clock = clock();
    let now = clock.now();
    let metadata = service(true, move |_, number| keys(number, now)).await;
    let api = Peer::start(|request| {
        if request.header("authorization").contains("Access=AK1") && request.target.contains("name")
        {
            refusal(401, "APIGW.0301")
        } else {
            no_cas()
        }
    })
    .await;
    let pca = of_agency(&api, &metadata, clock);
    list(&pca).await.unwrap();
    let query = renewd::ccm::AuthorityQuery {
        name: Some("x"),
        limit: 10,
        ..renewd::ccm::AuthorityQuery::default()
    };
    pca.list_authorities(&query).await.unwrap();
    assert_eq!(signed_by(&api), ["AK1", "AK1", "AK2"]);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_but_a_missing_agency_is_told() {
    let clock = clock();
    let now = clock.now();
    let metadata = service(true, move |request, number| {
        match request.header("x-metadata-token") {
            "metadata-token-1" => Reply::text(401, "the token has ended"),
            _ => keys(number, now),
        }
    })
    .await;
    let api = Peer::start(|_| no_cas()).await;
    list(&of_agency(&api, &metadata, Arc::clone(&clock)))
        .await
        .unwrap();
    assert_eq!((metadata.count(TOKEN), metadata.count(KEYS)), (2, 2));

    let without = service(true, |_, _| {
        Reply::text(401, "Please configure Cloud Service Agency first")
    })
    .await;
    let error = list(&of_agency(&api, &without, clock)).await.unwrap_err();
    assert_eq!(error.class, Class::Configuration);
    assert_eq!((without.count(TOKEN), without.count(KEYS)), (1, 1));
    assert!(!error.to_string().contains("SecretOfTheAgency"));
}

#[tokio::test]
async fn many_calls_wait_for_one_set_of_keys() {
    let clock = clock();
    let now = clock.now();
    let metadata = service(true, move |_, number| keys(number, now)).await;
    let api = Peer::start(|_| no_cas()).await;
    let pca = Arc::new(of_agency(&api, &metadata, clock));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let pca = Arc::clone(&pca);
            tokio::spawn(async move { list(&pca).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!((metadata.count(KEYS), api.count(LIST)), (1, 20));
}
