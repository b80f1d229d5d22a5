//! IAM tokens: fetched once for many, renewed in time, and never the reason for a second password.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use renewd::ccm::{Access, Class, Client, Effect, Pca};
use renewd::model::Seconds;
use renewd::sys::clock::{Clock, ManualClock};
use serde_json::json;

use crate::ccm_client::{
    ISSUE, LIST, PASSWORD, TOKENS, clock, issue, list, no_cas, pca, refusal, token, with_password,
};
use crate::support::peer::{Peer, Reply, Request};

/// Gives tokens `t1`, `t2`, … that live for a day; `answer` answers the calls that carry them.
async fn iam(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Peer {
    let given = AtomicUsize::new(0);
    Peer::start(move |request| {
        if request.path() != TOKENS {
            return answer(request);
        }
        let n = given.fetch_add(1, Ordering::SeqCst) + 1;
        token(&format!("t{n}"), "2025-05-27T08:30:00.000000Z")
    })
    .await
}

#[tokio::test]
async fn many_calls_wait_for_one_token() {
    let peer = iam(|_| no_cas()).await;
    let pca = Arc::new(pca(with_password(&peer.url)));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let pca = Arc::clone(&pca);
            tokio::spawn(async move { list(&pca).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 0);
    }
    assert_eq!((peer.count(TOKENS), peer.count(LIST)), (1, 20));
    let requests = peer.requests();
    assert_eq!(requests[0].target, "/v3/auth/tokens?nocatalog=true");
    let user = &requests[0].json()["auth"]["identity"]["password"]["user"];
    assert_eq!(user["domain"]["name"], "corp");
    assert_eq!(user["password"], PASSWORD);
    let scope = &requests[0].json()["auth"]["scope"];
    assert_eq!(scope["project"]["name"], "ap-southeast-3");
    assert_eq!(requests[1].header("x-auth-token"), "t1");
    assert_eq!(requests[1].header("authorization"), "");
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_for_all_that_wait() {
    let peer = Peer::start(|_| {
        let body = json!({"error": {"message": "The username or password is wrong.", "title": "Unauthorized"}});
        Reply::json(401, &body).with("X-IAM-Trace-Id", "iam-1")
    })
    .await;
    let pca = Arc::new(pca(with_password(&peer.url)));
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let pca = Arc::clone(&pca);
            tokio::spawn(async move { issue(&pca).await.unwrap_err() })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap();
        assert_eq!(
            (error.class, error.effect),
            (Class::Authentication, Effect::None)
        );
        assert!(error.to_string().starts_with("IAM get token"), "{error}");
        assert_eq!(error.request_id.as_deref(), Some("iam-1"));
    }
    assert_eq!(peer.count(TOKENS), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let peer = iam(|_| no_cas()).await;
    let clock = clock();
    let same: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let pca = Pca::new(Client::new(with_password(&peer.url), same).unwrap());
    list(&pca).await.unwrap();
    clock.advance(Seconds::hours(23));
    list(&pca).await.unwrap();
    assert_eq!(peer.count(TOKENS), 1);
    clock.advance(Seconds::minutes(31));
    list(&pca).await.unwrap();
    assert_eq!(peer.count(TOKENS), 2);
    assert_eq!(peer.requests().last().unwrap().header("x-auth-token"), "t2");
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_old_token_in_use_to_its_end() {
    let given = AtomicUsize::new(0);
    let peer = Peer::start(move |request| match request.path() {
        TOKENS if given.fetch_add(1, Ordering::SeqCst) == 0 => {
            token("t1", "2025-05-27T08:30:00.000000Z")
        }
        TOKENS => Reply::text(503, ""),
        _ => no_cas(),
    })
    .await;
    let clock = clock();
    let same: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let pca = Pca::new(Client::new(with_password(&peer.url), same).unwrap());
    list(&pca).await.unwrap();
    clock.advance(Seconds(23 * 3600 + 45 * 60));
    list(&pca).await.unwrap();
    list(&pca).await.unwrap();
    assert_eq!(peer.count(TOKENS), 2, "not at every call");
    clock.advance(Seconds(61));
    list(&pca).await.unwrap();
    assert_eq!(peer.count(TOKENS), 3);
    clock.advance(Seconds::hours(1));
    let error = issue(&pca).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::None)
    );
}

#[tokio::test]
async fn a_cached_token_that_is_refused_is_renewed_once() {
    let peer = iam(|request| match request.header("x-auth-token") {
        "t1" if request.path() == ISSUE => refusal(401, "PCA.00010001"),
        _ if request.path() == ISSUE => Reply::json(200, &json!({"certificate_id": "c1"})),
        _ => no_cas(),
    })
    .await;
    let pca = pca(with_password(&peer.url));
    list(&pca).await.unwrap();
    assert_eq!(issue(&pca).await.unwrap(), "c1");
    assert_eq!((peer.count(TOKENS), peer.count(ISSUE)), (2, 2));
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_is_the_end() {
    let peer = iam(|_| refusal(401, "PCA.00010001")).await;
    let pca = pca(with_password(&peer.url));
    for (tokens, calls) in [(1, 1), (2, 3)] {
        let error = issue(&pca).await.unwrap_err();
        assert_eq!(
            (error.class, error.effect),
            (Class::Authentication, Effect::None)
        );
        assert_eq!((peer.count(TOKENS), peer.count(ISSUE)), (tokens, calls));
    }
}

#[tokio::test]
async fn a_frozen_account_needs_no_new_token() {
    let peer = iam(|request| {
        if request.path() == LIST {
            no_cas()
        } else {
            refusal(401, "PCA.00010002")
        }
    })
    .await;
    let pca = pca(with_password(&peer.url));
    list(&pca).await.unwrap();
    let error = issue(&pca).await.unwrap_err();
    assert_eq!(error.class, Class::Authentication);
    assert_eq!((peer.count(TOKENS), peer.count(ISSUE)), (1, 1));
}

#[tokio::test]
async fn a_token_that_does_not_come_in_time_leaves_the_call_unsent() {
    let peer = Peer::start(|request| match request.path() {
        TOKENS => Reply::Silence,
        _ => no_cas(),
    })
    .await;
    let error = issue(&pca(Access {
        timeout: Duration::from_millis(300),
        ..with_password(&peer.url)
    }))
    .await
    .unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::None)
    );
    assert_eq!(peer.count(ISSUE), 0);
}
