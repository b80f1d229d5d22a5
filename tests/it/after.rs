//! After a certificate was issued: pushed to services of the cloud, revoked, tagged, deleted. The engine in this process
//! or the binary, against renewd-ccm.

mod copied;
mod leaked;
mod over;
pub(crate) mod push;
mod revoke;
mod upkeep;

use std::sync::Arc;

use renewd::ccm::{Collector, Scm, ScmCertificate, ScmQuery};
use renewd::engine::{Begun, Engine, Patience};
use renewd::model::JobName;
use renewd::plan::Plan;

use crate::support::ccm::Ccm;

/// The account of SCM beside the CA of PCA, for pushing.
pub(crate) const CLOUD: &str = r#"
[issuer.scm.cloud]
endpoint = "ENDPOINT"
access_key = "file:{dir}/ak"
secret_key = "file:{dir}/sk"
connect_timeout = "1s"
timeout = "2s"
settle = "1s"
"#;

fn cloud(ccm: &Ccm) -> String {
    CLOUD.replace("ENDPOINT", &ccm.endpoint())
}

/// The certificate `www` goes there, too.
fn pushed(policy: &str, to: &[&str]) -> String {
    let before = "validity = \"30d\"\n";
    assert!(policy.contains(before));
    policy.replace(before, &format!("{before}push = {to:?}\n"))
}

/// The job `check` with all that it looks at.
async fn check(engine: &Arc<Engine>) -> Plan {
    let begun = Begun::now(&*engine.clock);
    let mut snapshot = engine.observe().await.unwrap();
    let run = engine.run_jobs(&[JobName::Check], begun, &mut snapshot, Patience::NONE);
    run.await.unwrap()
}

/// What was brought into the account.
pub(crate) async fn uploads(ccm: &Ccm) -> Vec<ScmCertificate> {
    let scm = Scm::new(ccm.client());
    let mut collector = Collector::default();
    for status in ["UPLOAD", "EXPIRED"] {
        let query = ScmQuery {
            status: Some(status),
            limit: 50,
            ..ScmQuery::default()
        };
        let page = scm.list_certificates(&query).await.unwrap();
        assert!(!collector.add(page, |one| &one.id));
    }
    collector.into_items()
}
