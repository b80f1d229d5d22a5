//! A full disk: what has no room is refused, what was answered stays, and with room everything goes on. Mounting one needs root.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and mounts directly"
)]

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::ccm_server::http::{get, post};
use crate::ccm_server::openssl::{EC, csr};
use crate::ccm_server::process::{self, Process, new_user};
use crate::support::tmpfs::Tmpfs;

const CERTIFICATES: &str = "/v1/private-certificates";

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_full_is_written_to_again_as_soon_as_it_has_room() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Tmpfs::mount(&directory.path().join("ccm"), "16m");
    std::fs::set_permissions(&disk.0, std::fs::Permissions::from_mode(0o700)).unwrap();
    let issuing = process::json(&disk.0, &["ca", "init", "--json"])["issuing_ca_id"].clone();
    let server = Process::start(&disk.0, new_user(&disk.0, "tester"));
    let body = json!({
        "issuer_id": issuing, "csr": csr(EC, &["-subj", "/CN=full.example"]),
        "validity": {"type": "DAY", "value": 1},
    });
    let issue = async || post(&server, &format!("{CERTIFICATES}/csr"), &body).await;
    let mut answered = 0;
    for _ in 0..3 {
        issue().await.expect(200);
        answered += 1;
        let ballast = disk.fill();
        // The log may have some room left.
        let mut refused = 0;
        while refused < 3 {
            let reply = issue().await;
            if reply.status == 200 {
                answered += 1;
                assert!(answered < 1000, "it is never full");
                continue;
            }
            reply.refused(500, "PCA.00000001");
            refused += 1;
        }
        // Reading goes on.
        let list = get(&server, CERTIFICATES).await.expect(200);
        assert_eq!(list.body["total"], answered);
        std::fs::remove_file(ballast).unwrap();
        issue().await.expect(200);
        answered += 1;
    }
    let list = get(&server, CERTIFICATES).await.expect(200);
    assert_eq!(list.body["total"], answered);
}
