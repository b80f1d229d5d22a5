//! Lists of revoked certificates that cannot be made or looked for: what that keeps back, and who is told.

use renewd::model::Seconds;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::authorities::{create, root, show};
use super::crl::{certificate, fetched, number, point_of, prepared, with_list};
use super::http::{Peer as _, client, post};
use super::process::{Process, fresh, new_user};
use crate::support::ccm::Wanted;

const CERTIFICATES: &str = "/v1/private-certificates";

#[tokio::test]
async fn whoever_fetches_a_list_that_cannot_be_made_does_not_make_the_server_try_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = prepared(Wanted::new().at("2027-01-01").state(&state)).await;
    let ca = create(&ccm, &with_list(root("Top", "EC256", "SHA256"), 7)).await;
    let (id, pem) = certificate(&ccm, &ca).await;
    let point = point_of(&pem);
    let number = fetched(&point, directory.path()).await;
    assert!(number.contains("No Revoked Certificates"), "{number}");
    // Something in the way of the bucket: the list of the revocation cannot be written.
    let bucket = state.join("obs/pki-lists");
    std::fs::remove_dir_all(&bucket).unwrap();
    std::fs::write(&bucket, "in the way").unwrap();
    let revoke = format!("{CERTIFICATES}/{id}/revoke");
    post(&ccm, &revoke, &json!({})).await.expect(204);
    let fetch = async || client().get(&point).send().await.unwrap().status();
    assert_eq!(fetch().await, 500, "there may be one, which cannot be read");
    std::fs::remove_file(&bucket).unwrap();
    assert_eq!(fetch().await, 404, "tried again at once");
    ccm.advance(Seconds(61));
    let list = fetched(&point, directory.path()).await;
    assert!(list.contains("Revoked Certificates:"), "{list}");
}

#[tokio::test]
async fn a_state_that_does_not_tell_which_list_is_due_is_logged() {
    let (directory, state) = fresh();
    let ccm = prepared(Wanted::new().state(&state)).await;
    let ca = create(&ccm, &with_list(root("Top", "EC256", "SHA256"), 7)).await;
    ccm.stop().await;
    let process = Process::start(&state, new_user(&state, "user"));
    let point = format!("{}/obs/pki-lists/{ca}.crl", process.endpoint());
    let before = fetched(&point, directory.path()).await;
    // What the question goes by.
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let index = sqlx::query("DROP INDEX authority_list");
    index.execute(&mut connection).await.unwrap();
    assert_eq!(fetched(&point, directory.path()).await, before);
    let log = process.terminate();
    let told = log
        .lines()
        .filter(|line| line.contains("whether a CRL that is fetched is due") && line.contains(&ca));
    assert_eq!(told.count(), 1, "{log}");
}

#[tokio::test]
async fn a_bucket_that_takes_no_list_keeps_no_other_list_from_being_made() {
    let (directory, state) = fresh();
    let ccm = prepared(Wanted::new().at("2027-01-01").state(&state)).await;
    let admin = ccm.running.admin();
    admin.add_bucket("good-lists", "default").await.unwrap();
    let first = create(&ccm, &with_list(root("First", "EC256", "SHA256"), 7)).await;
    ccm.advance(Seconds(30));
    let mut body = with_list(root("Second", "EC256", "SHA256"), 7);
    body["crl_configuration"]["obs_bucket_name"] = json!("good-lists");
    let second = create(&ccm, &body).await;
    let point = async |ca: &str| {
        let point = &show(&ccm, ca).await["crl_configuration"]["crl_dis_point"];
        point.as_str().unwrap().to_owned()
    };
    let (bad, good) = (point(&first).await, point(&second).await);
    let before = fetched(&good, directory.path()).await;
    let bucket = state.join("obs/pki-lists");
    std::fs::remove_dir_all(&bucket).unwrap();
    std::fs::write(&bucket, "in the way").unwrap();
    // The first one is due, and fails; half a minute later the second one is.
    ccm.advance(Seconds(6 * 86_400 - 30));
    assert_eq!(fetched(&good, directory.path()).await, before);
    let refused = client().get(&bad).send().await.unwrap();
    assert_eq!(refused.status(), 500);
    ccm.advance(Seconds(30));
    let after = fetched(&good, directory.path()).await;
    assert_eq!(number(&after), number(&before) + 1);
}
