//! `roots = "system"`: a chain that this host's own roots do not reach is never put into place.

use std::path::Path;

use super::succeeded;
use crate::deploy::stand::validity;
use crate::support::ccm::Ccm;
use crate::support::certs::Authority;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_roots_of_the_host_decide_whether_a_chain_is_good() {
    let world = World::live(Ccm::start().await).await;
    let first = world.served();
    let policy = world.policy();
    let system = policy.replace(
        "[target.nginx.web]\n",
        "[target.nginx.web]\nroots = \"system\"\n",
    );
    assert_ne!(system, policy);
    world.agent.write_policy(&system);
    let store = |name: &str| world.agent.path().join(name);
    let stranger = Authority::root("Stranger", renewd::model::KeyAlgorithm::EcP256, validity());
    std::fs::write(
        store("others.pem"),
        renewd::pki::pem::certificate(&stranger.der),
    )
    .unwrap();
    let own = world.ccm.root_pem().await;
    std::fs::write(store("own.pem"), own).unwrap();
    let run = |roots: &Path, arguments: &[&str]| world.agent.run_trusting(roots, arguments);

    let refused = run(&store("others.pem"), &["renew", "www"]);
    assert_ne!(refused.code, Some(0));
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(
        told.contains("clients will refuse it: the path ends at the issuer `"),
        "{told}"
    );
    assert!(
        told.contains("which is not among the roots of this host; install it there"),
        "{told}"
    );
    assert_eq!(world.served(), first);
    let looked = run(&store("others.pem"), &["target", "test", "web"]);
    let told = format!("{}{}", looked.stdout, looked.stderr);
    assert_ne!(looked.code, Some(0), "{told}");
    assert!(
        told.contains("serves a chain that clients refuse: the path ends at"),
        "{told}"
    );

    // A host that trusts nobody, which is a mistake of the host and not of the chain.
    let nobody = run(&store("missing.pem"), &["target", "test", "web"]);
    let told = format!("{}{}", nobody.stdout, nobody.stderr);
    assert_ne!(nobody.code, Some(0), "{told}");
    assert!(
        told.contains("`roots = \"system\"`: this host has no roots ("),
        "{told}"
    );
    assert!(told.contains("install ca-certificates"), "{told}");

    run(&store("own.pem"), &["renew", "www"]).expect(0);
    assert_ne!(world.served(), first);
    assert!(!succeeded(&world.agent, "verify").is_empty());
    run(&store("own.pem"), &["target", "test", "web"]).expect(0);
    let shown = world
        .agent
        .run(&["target", "list", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown[0]["probe"]["roots"], "system");
}
