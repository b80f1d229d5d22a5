//! A patient client tries again what does no harm twice, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use renewd::ccm::{Access, Class, Client, Effect, Pca};

use crate::ccm_client::{ISSUE, LIST, access, clock, issue, list, no_cas, refusal};
use crate::support::peer::{Peer, Reply};

fn patient(access: Access) -> Pca {
    Pca::new(Client::new(access, clock()).unwrap().patient())
}

/// Says no so often, then yes.
async fn after(times: usize, no: fn() -> Reply) -> Peer {
    let asked = AtomicUsize::new(0);
    Peer::start(move |_| {
        if asked.fetch_add(1, Ordering::SeqCst) < times {
            no()
        } else {
            no_cas()
        }
    })
    .await
}

#[tokio::test]
async fn reading_is_tried_again_until_it_goes_well() {
    for no in [
        (|| refusal(500, "PCA.00000001")) as fn() -> Reply,
        || refusal(429, "APIGW.0308"),
        || Reply::Close,
        || Reply::text(503, ""),
    ] {
        let peer = after(2, no).await;
        list(&patient(access(&peer.url))).await.unwrap();
        assert_eq!(peer.count(LIST), 3);
    }
}

#[tokio::test]
async fn what_acts_is_sent_once_and_what_is_refused_too() {
    let peer = after(9, || refusal(500, "PCA.00000001")).await;
    let error = issue(&patient(access(&peer.url))).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::Unknown)
    );
    assert_eq!(peer.count(ISSUE), 1);

    let peer = after(9, || refusal(400, "PCA.00020001")).await;
    let error = list(&patient(access(&peer.url))).await.unwrap_err();
    assert_eq!((error.class, peer.count(LIST)), (Class::Rejected, 1));
}

#[tokio::test]
async fn a_wait_that_is_longer_than_a_call_is_told_at_once() {
    let peer = after(9, || refusal(429, "APIGW.0308").with("Retry-After", "3600")).await;
    let error = list(&patient(access(&peer.url))).await.unwrap_err();
    assert_eq!((error.class, peer.count(LIST)), (Class::RateLimited, 1));
    assert_eq!(error.retry_after, Some(3600));
}

#[tokio::test]
async fn patience_ends_with_the_time_of_the_call() {
    let peer = after(999, || refusal(500, "PCA.00000001")).await;
    let short = Access {
        timeout: Duration::from_millis(300),
        ..access(&peer.url)
    };
    let error = list(&patient(short)).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("PCA.00000001"));
    assert!(peer.count(LIST) <= 2, "{}", peer.count(LIST));
}

#[tokio::test]
async fn a_planner_is_told_at_once() {
    let peer = after(2, || refusal(500, "PCA.00000001")).await;
    let hasty = Pca::new(Client::new(access(&peer.url), clock()).unwrap());
    list(&hasty).await.unwrap_err();
    assert_eq!(peer.count(LIST), 1);
}
