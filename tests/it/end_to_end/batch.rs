//! Fifty certificates on one nginx, under load: one rollout, one reload, no failed request, and each name proven.

use std::collections::BTreeSet;
use std::sync::Arc;

use renewd::model::{KeyAlgorithm, Seconds};
use renewd::pki::pem;
use renewd::sys::clock::{Clock, ManualClock};

use crate::support::ccm::Wanted;
use crate::support::certs::{self, Authority, Validity};
use crate::support::engine::{Rig, due, healthy};
use crate::support::nginx::{Got, Load, Nginx, Site};

const MEMBERS: usize = 50;

fn member(at: usize) -> String {
    format!("site-{at:02}")
}

fn host(at: usize) -> String {
    format!("{}.example.test", member(at))
}

/// A rig whose nginx serves a pair that somebody made by hand for each of the fifty hosts, at the places where renewd
/// will put its own; answers also the root of those.
async fn taken_over() -> (Rig, Vec<u8>) {
    let mut rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let now = rig.clock_now();
    let year = Validity(now - Seconds::days(1), now + Seconds::days(365));
    let by_hand = Authority::root("By Hand", KeyAlgorithm::EcP256, year);
    let loose = rig.world.agent.path().join("loose");
    let sites: Vec<Site> = (0..MEMBERS)
        .map(|at| {
            let place = loose.join(member(at));
            let (certificate, key) = (place.join("server.crt"), place.join("server.key"));
            std::fs::create_dir_all(&place).unwrap();
            let fresh = certs::key(KeyAlgorithm::EcP256);
            let name = host(at);
            let leaf = certs::leaf(&[&name], year);
            let leaf = by_hand.sign(&fresh.signer().unwrap(), &leaf);
            std::fs::write(&certificate, pem::certificate(&leaf)).unwrap();
            std::fs::write(&key, fresh.to_pem().expose()).unwrap();
            Site::new(&[&name], &certificate, &key)
        })
        .collect();
    rig.world.nginx = Nginx::prepare(&rig.world.agent.path().join("nginx"), &sites);
    rig.world.nginx.tell_all();
    rig.world.write_reload(true);
    let root = rig.world.ccm.root_pem().await;
    std::fs::write(rig.world.agent.path().join("roots.pem"), root).unwrap();
    rig.world.agent.write_policy(&policy(&rig));
    rig.world.nginx.start();
    (rig, by_hand.der)
}

fn policy(rig: &Rig) -> String {
    let certificates: Vec<String> = (0..MEMBERS)
        .map(|at| {
            format!(
                r#"
[certificate.{}]
issuer = "corp"
names = ["{}"]
targets = ["web"]
validity = "30d"
"#,
                member(at),
                host(at)
            )
        })
        .collect();
    format!(
        r#"{}
[target.nginx.web]
test = {:?}
reload = ["{{dir}}/reload"]
connect = "{}"
deadline = "30s"
roots = "{{dir}}/roots.pem"

[target.nginx.web.export.layout.loose]
layout = "nginx"
directory = "{{dir}}/loose/{{certificate}}"
{}"#,
        // Fifty orders at once on a busy machine take longer than one.
        rig.world.ccm.issuer("60s").replace("\"1s\"", "\"30s\""),
        rig.world.nginx.test(),
        rig.world.nginx.address(),
        certificates.concat()
    )
}

/// Hosts whose handshake was proven, and how many rollouts were opened, by what was told since the last time.
fn proven(rig: &Rig) -> (BTreeSet<String>, usize) {
    let told = rig.told();
    let opened = told
        .iter()
        .filter(|line| line.starts_with("ok web: rollout opened"));
    let opened = opened.count();
    let hosts = told.iter().filter_map(|line| {
        let (name, rest) = line.strip_prefix("ok web: ")?.split_once(" at ")?;
        rest.contains(": serial ").then(|| name.to_owned())
    });
    (hosts.collect(), opened)
}

/// Ticks under load; answers what the clients got.
async fn under_load(rig: &Rig, roots: &[Vec<u8>]) -> Got {
    let hosts: Vec<String> = (0..MEMBERS).map(host).collect();
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&rig.clock);
    let load = Load::in_turn(&rig.world.nginx.address(), &hosts, roots, clock);
    let plan = rig.tick().await;
    let got = load.stop();
    assert!(healthy(&plan), "{:?}\n{:#?}", plan.verdicts, rig.told());
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_certificates_make_one_reload_and_no_failed_request() {
    let (rig, by_hand) = taken_over().await;
    let ours = pem::certificates(&rig.world.ccm.root_pem().await).unwrap();
    let roots = [by_hand, ours[0].clone()];
    let all: BTreeSet<String> = (0..MEMBERS).map(host).collect();

    // What was there by hand is replaced.
    let got = under_load(&rig, &roots).await;
    assert_eq!(got.failed, Vec::<String>::new());
    assert_eq!(proven(&rig), (all.clone(), 1));
    assert_eq!(
        (rig.world.reloads(), rig.world.nginx.reconfigured()),
        (1, 1)
    );
    let first = got;

    // Weeks later all are due, and all are renewed.
    let plan = rig.tick().await;
    let last = (0..MEMBERS).map(|at| due(&plan, &member(at))).max();
    rig.clock.set(last.unwrap());
    let got = under_load(&rig, &roots).await;
    assert_eq!(got.failed, Vec::<String>::new());
    assert_eq!(proven(&rig), (all, 1));
    assert_eq!(
        (rig.world.reloads(), rig.world.nginx.reconfigured()),
        (2, 2)
    );
    println!(
        "{} and {} requests while {MEMBERS} certificates were rolled out and renewed, none failed",
        first.good, got.good
    );
    for at in (0..MEMBERS).step_by(7) {
        assert_eq!(rig.world.ccm.issued(&host(at)).await, 2);
    }
}
