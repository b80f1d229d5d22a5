//! Buckets on a disk that does not answer: what is asked of it neither fails nor ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use renewd::model::Seconds;
use serde_json::json;
use tokio::task::JoinSet;

use super::authorities::{create, root, show};
use super::crl::{certificate, fetched, number, prepared, with_list};
use super::http::{client, post};
use super::process::fresh;
use crate::support::ccm::{Ccm, Wanted};

const CERTIFICATES: &str = "/v1/private-certificates";
/// Far above what one waits for a bucket, and far below the minute that a request may take.
const SOON: Duration = Duration::from_secs(20);

/// Whatever passes this point with the bucket `hung-lists` hangs while it lives, and until its file is taken away.
struct Hanging(&'static str);

impl Hanging {
    fn at(point: &'static str) -> Self {
        fail::cfg(point, "return(HANG obs/hung-lists)").unwrap();
        Self(point)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        fail::remove(self.0);
    }
}

/// A server with the bucket `hung-lists` beside the other one.
async fn server(state: &Path) -> Ccm {
    let ccm = prepared(Wanted::new().at("2027-01-01").state(state)).await;
    let admin = ccm.running.admin();
    admin.add_bucket("hung-lists", "default").await.unwrap();
    ccm
}

/// A CA with a list in this bucket: its id, and the address of the list.
async fn authority(ccm: &Ccm, name: &str, bucket: &str) -> (String, String) {
    let mut body = with_list(root(name, "EC256", "SHA256"), 7);
    body["crl_configuration"]["obs_bucket_name"] = json!(bucket);
    let id = create(ccm, &body).await;
    let point = show(ccm, &id).await["crl_configuration"]["crl_dis_point"].clone();
    (id, point.as_str().unwrap().to_owned())
}

async fn certificates(ccm: &Ccm, ca: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(certificate(ccm, ca).await.0);
    }
    ids
}

async fn revoke(ccm: &Ccm, id: &str) {
    let path = format!("{CERTIFICATES}/{id}/revoke");
    let begun = Instant::now();
    post(ccm, &path, &json!({})).await.expect(204);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// The status of what is fetched, which must come soon.
async fn status(url: &str) -> u16 {
    let answer = tokio::time::timeout(SOON, client().get(url).send()).await;
    answer.expect("soon").unwrap().status().as_u16()
}

/// Of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// What is being written in a bucket.
fn begun(bucket: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(bucket).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with('.')
    };
    paths.filter(hidden).collect()
}

/// Lets what waits for the disk fail.
fn answer(bucket: &Path) {
    for path in begun(bucket) {
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_waits_little_for_a_bucket_that_takes_no_list_and_costs_one_thread() {
    let (directory, state) = fresh();
    let ccm = Arc::new(server(&state).await);
    let bucket = state.join("obs/hung-lists");
    let (hung, hung_at) = authority(&ccm, "Hung", "hung-lists").await;
    let (well, well_at) = authority(&ccm, "Well", "pki-lists").await;
    let ids = certificates(&ccm, &hung, 30).await;
    let others = certificates(&ccm, &well, 1).await;
    let before = fetched(&hung_at, directory.path()).await;
    let least = threads();

    let fault = Hanging::at("fs.sync");
    let mut together = JoinSet::new();
    for id in &ids[..12] {
        let (ccm, id) = (Arc::clone(&ccm), id.clone());
        together.spawn(async move { revoke(&ccm, &id).await });
    }
    together.join_all().await;
    for id in &ids[12..] {
        revoke(&ccm, id).await;
    }
    assert_eq!(begun(&bucket).len(), 1, "one waits for the disk");
    // The connections of the database have threads of their own, which come and go.
    assert!(threads() < least + 24, "{least}, {}", threads());
    // A new CA is made there, and waits as little.
    let fresh = tokio::time::timeout(SOON, authority(&ccm, "Fresh", "hung-lists"));
    fresh.await.expect("soon");
    // Who reads gets the list that is there; what is in another bucket goes on.
    let now = tokio::time::timeout(SOON, fetched(&hung_at, directory.path()));
    assert_eq!(now.await.expect("soon"), before);
    revoke(&ccm, &others[0]).await;
    let other = fetched(&well_at, directory.path()).await;
    assert_eq!(other.matches("Serial Number:").count(), 1, "{other}");

    drop(fault);
    answer(&bucket);
    // What failed is not tried again for readers at once.
    let list = async {
        loop {
            ccm.advance(Seconds(61));
            let list = fetched(&hung_at, directory.path()).await;
            if list != before {
                return list;
            }
        }
    };
    let list = tokio::time::timeout(SOON, list).await.expect("soon");
    assert_eq!(list.matches("Serial Number:").count(), 30, "{list}");
    // Who only waited took none.
    assert!(number(&list) <= number(&before) + 3, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_from_a_bucket_that_does_not_answer_keeps_nobody_from_another() {
    let (directory, state) = fresh();
    let ccm = server(&state).await;
    let (hung, hung_at) = authority(&ccm, "Hung", "hung-lists").await;
    let (_, well_at) = authority(&ccm, "Well", "pki-lists").await;
    let before = fetched(&hung_at, directory.path()).await;
    let well = fetched(&well_at, directory.path()).await;
    let file = state.join(format!("obs/hung-lists/{hung}.crl"));
    let least = threads();

    let fault = Hanging::at("fs.read");
    let mut together = JoinSet::new();
    for nth in 0..40 {
        let url = hung_at.clone();
        together.spawn(async move {
            let get = client().get(&url).timeout(SOON);
            // Some do not wait for the answer.
            match nth % 2 {
                0 => drop(get.timeout(Duration::from_millis(100)).send().await),
                _ => assert_eq!(get.send().await.unwrap().status(), 500),
            }
        });
    }
    let other = tokio::time::timeout(SOON, fetched(&well_at, directory.path()));
    assert_eq!(other.await.expect("soon"), well);
    together.join_all().await;
    assert_eq!(status(&hung_at).await, 500);
    for _ in 0..40 {
        let at_once = Instant::now();
        assert_eq!(status(&hung_at).await, 500);
        assert!(at_once.elapsed() < Duration::from_secs(4));
    }
    assert!(threads() < least + 24, "{least}, {}", threads());
    assert_eq!(status(&well_at).await, 200);

    drop(fault);
    let aside = directory.path().join("aside.crl");
    std::fs::rename(&file, &aside).unwrap();
    let well_again = async {
        // Until the threads have seen it.
        while status(&hung_at).await != 404 {}
        std::fs::rename(&aside, &file).unwrap();
        fetched(&hung_at, directory.path()).await
    };
    let list = tokio::time::timeout(SOON, well_again).await.expect("soon");
    assert_eq!(list, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_due_in_a_bucket_that_does_not_answer_keep_no_other_from_being_made() {
    let (_directory, state) = fresh();
    let ccm = server(&state).await;
    for nth in 0..12 {
        authority(&ccm, &format!("Hung {nth}"), "hung-lists").await;
    }
    let (well, _) = authority(&ccm, "Well", "pki-lists").await;
    let file = state.join(format!("obs/pki-lists/{well}.crl"));
    let before = std::fs::read(&file).unwrap();
    ccm.stop().await;
    // All are due, in the order in which they were made; nobody asks.
    let fault = Hanging::at("fs.sync");
    let ccm = Wanted::new().at("2027-02-01").state(&state).start().await;
    let made = async {
        while std::fs::read(&file).unwrap() == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(40), made).await;
    drop(fault);
    let bucket = state.join("obs/hung-lists");
    assert!(begun(&bucket).len() <= 4, "{:?}", begun(&bucket));
    answer(&bucket);
    made.expect("soon");
    ccm.stop().await;
}
