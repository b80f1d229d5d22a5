//! SSL certificates: 100 000 imported ones, and the pages that the API gives of them (CCM API 4.1.5.1: the offset ends at 100).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::ccm::wire::{self, Connection};
use crate::ccm::{Server, show};

/// Prints the rate of imports and the time of pages.
pub(super) async fn run(server: &Server, token: &str) {
    let begin = Instant::now();
    import(server, token).await;
    println!(
        "renewd-ccm: imported {COUNT} SSL certificates, {:.0} a second; resident {:.1} MiB then",
        COUNT as f64 / begin.elapsed().as_secs_f64(),
        server.resident()
    );
    for (what, query) in LISTS {
        // One page says little of a percentile.
        let pages = (0..ROUNDS)
            .flat_map(|_| [0, 50, 100])
            .map(|offset| format!("/v3/scm/certificates?limit=50&offset={offset}{query}"));
        show(what, server.pages(token, pages).await);
    }
    println!("  resident after the lists {:>8.1} MiB", server.resident());
}

async fn import(server: &Server, token: &str) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = ["www.example.test".to_owned(), "example.test".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("names");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let key = key.serialize_pem();
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, token) = (server.address.clone(), token.to_owned());
            let (certificate, key) = (certificate.clone(), key.clone());
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= COUNT {
                        return;
                    }
                    let body = json!({
                        "name": format!("site-{nth}"), "certificate": certificate, "private_key": key,
                    });
                    let target = "/v3/scm/certificates/import";
                    let request = wire::request("POST", target, &token, &body.to_string());
                    let answer = connection.ask(&request).await;
                    assert_eq!(answer.status, 200, "{}", answer.body);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client fails");
    }
}

const COUNT: usize = 100_000;
const ROUNDS: usize = 100;

/// Orders and filters of the API.
const LISTS: [(&str, &str); 7] = [
    ("last changed first, 50 to a page", ""),
    ("by end", "&sort_key=certExpiredTime&sort_dir=ASC"),
    ("by status", "&sort_key=certStatus"),
    ("only what was imported", "&status=UPLOAD"),
    ("what ends within 30 days", "&expired_days_since=30"),
    ("what can be deployed", "&deploy_support=true"),
    ("by a part of the name", "&content=site-99"),
];
