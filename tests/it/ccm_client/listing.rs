//! Whole listings of a service whose offset ends at 100: complete where that can be had, and told where it cannot.

use std::collections::BTreeSet;

use renewd::ccm::{Client, CsrQuery, Scm, ScmQuery};
use serde_json::{Value, json};

use crate::ccm_client::{access, clock};
use crate::support::peer::{Peer, Reply, Request};

/// One certificate of the account: id, status, day on which it ends (negative for past), place in the order of updates.
#[derive(Debug, Clone)]
struct One {
    id: String,
    status: &'static str,
    day: i64,
    updated: usize,
}

/// How the service reads `expired_days_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Valid now, and ends within so many days: the reference.
    EndsWithin,
    /// Valid, or ended at most so many days ago: the SDK.
    EndedSince,
}

fn account(of: usize, status: &'static str, day: impl Fn(usize) -> i64) -> Vec<One> {
    (0..of)
        .map(|n| One {
            id: format!("scs-{status}-{n}"),
            status,
            day: day(n),
            // Another order than that of the days.
            updated: (n * 7919) % of,
        })
        .collect()
}

/// 4.1.5.1 with all of its limits.
async fn service(all: Vec<One>, meaning: Meaning) -> Peer {
    Peer::start(move |request: &Request| {
        let number = |name: &str| request.query(name).parse::<i64>().unwrap_or(0);
        let (limit, offset) = (number("limit"), number("offset"));
        if ![10, 20, 50].contains(&limit) || offset > 100 {
            let body = json!({"error_code": "SCM.0005", "error_msg": "Invalid offset."});
            return Reply::json(400, &body);
        }
        let status = request.query("status");
        let days = number("expired_days_since");
        let mut found: Vec<&One> = all
            .iter()
            .filter(|one| status.is_empty() || one.status == status)
            .filter(|one| match meaning {
                _ if days == 0 => true,
                Meaning::EndsWithin => (0..=days).contains(&one.day),
                Meaning::EndedSince => one.day >= -days,
            })
            .collect();
        match request.query("sort_key") {
            "certExpiredTime" => found.sort_by_key(|one| (one.day, one.id.clone())),
            "certStatus" => found.sort_by_key(|one| (one.status, one.id.clone())),
            _ => found.sort_by_key(|one| one.updated),
        }
        if request.query("sort_dir") == "DESC" {
            found.reverse();
        }
        let total = found.len();
        let page: Vec<Value> = found
            .into_iter()
            .skip(usize::try_from(offset).unwrap())
            .take(usize::try_from(limit).unwrap())
            .map(|one| json!({"id": one.id, "status": one.status}))
            .collect();
        Reply::json(200, &json!({"total_count": total, "certificates": page}))
    })
    .await
}

async fn all(peer: &Peer) -> (BTreeSet<String>, u64) {
    let scm = Scm::new(Client::new(access(&peer.url), clock()).unwrap());
    let listing = scm.all_certificates(&ScmQuery::default()).await.unwrap();
    let unread = listing.unread();
    let ids = listing.items.into_iter().map(|one| one.id);
    (ids.collect(), unread)
}

#[tokio::test]
async fn what_one_reading_shows_is_asked_for_once() {
    let peer = service(account(120, "ISSUED", |n| n as i64), Meaning::EndsWithin).await;
    let (seen, unread) = all(&peer).await;
    assert_eq!((seen.len(), unread), (120, 0));
    assert_eq!(peer.requests().len(), 3);
}

#[tokio::test]
async fn an_account_of_two_thousand_is_read_to_the_last_by_status_and_expiry() {
    let mut certificates = account(1500, "ISSUED", |n| n as i64 % 397);
    certificates.extend(account(300, "UPLOAD", |n| 100 + n as i64));
    certificates.extend(account(140, "EXPIRED", |n| -(n as i64)));
    certificates.extend(account(60, "PAID", |_| 9000));
    let ids: BTreeSet<String> = certificates.iter().map(|one| one.id.clone()).collect();
    assert_eq!(ids.len(), 2000);
    let peer = service(certificates, Meaning::EndsWithin).await;
    let (seen, unread) = all(&peer).await;
    assert_eq!((seen == ids, unread), (true, 0));
}

#[tokio::test]
async fn the_other_reading_of_the_filter_helps_just_as_well() {
    let certificates = account(900, "EXPIRED", |n| -(n as i64) - 1);
    let peer = service(certificates, Meaning::EndedSince).await;
    let (seen, unread) = all(&peer).await;
    assert_eq!((seen.len(), unread), (900, 0));
}

#[tokio::test]
async fn what_cannot_be_seen_is_counted() {
    // All of one status end on one day, and the order of updates shows its two ends only.
    let peer = service(account(1000, "ISSUED", |_| 30), Meaning::EndsWithin).await;
    let (seen, unread) = all(&peer).await;
    assert!(seen.len() >= 300 && seen.len() < 1000, "{}", seen.len());
    assert_eq!(seen.len() as u64 + unread, 1000);
    assert!(peer.requests().len() < 3000, "it ends");
}

#[tokio::test]
async fn csrs_are_narrowed_by_algorithm_and_name() {
    let csrs: Vec<(String, &str, String)> = (0..700)
        .map(|n| {
            let algorithm = ["RSA_2048", "EC_P256", "SM2"][n % 3];
            let name = format!("{}-{}", ["ab", "cd", "ef", "gh"][n % 4], n % 10);
            (format!("{n:032x}"), algorithm, name)
        })
        .collect();
    let peer = Peer::start(move |request: &Request| {
        let number = |name: &str| request.query(name).parse::<usize>().unwrap_or(0);
        let (algorithm, name) = (request.query("private_key_algo"), request.query("name"));
        if number("offset") > 100 {
            let body = json!({"error_code": "SCM.0005", "error_msg": "Invalid offset."});
            return Reply::json(400, &body);
        }
        let found: Vec<Value> = csrs
            .iter()
            .filter(|(_, own, _)| algorithm.is_empty() || *own == algorithm)
            .filter(|(_, _, own)| own.contains(name))
            .map(|(id, own, name)| json!({"id": id, "name": name, "private_key_algo": own}))
            .collect();
        let total = found.len();
        let page: Vec<Value> = found
            .into_iter()
            .skip(number("offset"))
            .take(number("limit"))
            .collect();
        Reply::json(200, &json!({"total": total, "csr_list": page}))
    })
    .await;
    let scm = Scm::new(Client::new(access(&peer.url), clock()).unwrap());
    let listing = scm.all_csrs(&CsrQuery::default()).await.unwrap();
    assert_eq!((listing.items.len(), listing.unread()), (700, 0));
}
