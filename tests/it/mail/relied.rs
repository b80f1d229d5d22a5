//! What renewd itself relies on and what ends: told at each step, and over when something else is there.

use renewd::model::{KeyAlgorithm, Relied, Seconds, Timestamp};
use renewd::pki::pem;

use crate::mail::{Post, to};
use crate::support::certs::{Validity, sample};
use crate::support::peer::{Peer, Reply};

/// Keys that belong to the issuer.
fn with(post: &Post, more: &str) {
    let path = post.rig.world.agent.path().join("renewd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("credentials_expire"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let header = "[issuer.pca.corp]\n";
    std::fs::write(&path, text.replace(header, &format!("{header}{more}\n"))).unwrap();
}

/// Of one key, those that were told by mail.
fn subjects(post: &Post, key: &str) -> Vec<String> {
    let mails = post.mail.mails();
    let begin = format!("<renewd.{key}.");
    let mut mine = to(&mails, "ops@example.test");
    mine.retain(|mail| mail.header("Message-ID").starts_with(&begin));
    mine.iter().map(|mail| mail.subject().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_credentials_are_told_of_until_there_are_new_ones() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    with(&post, "credentials_expire = \"2027-04-20\"");
    post.rig.settle().await;
    for _ in 0..21 {
        post.round().await;
        post.rig.clock.advance(Seconds::days(1));
    }
    let told = subjects(&post, "credentials-expiring=2Fcorp");
    assert_eq!(
        told.len(),
        6,
        "19, 14, 7, 3 and 1 days before, and at the end, which is critical: {told:#?}"
    );
    assert!(
        told[0].contains(
            "] warning: corp: what renewd is known by to the issuer ends at 2027-04-20T00:00:00Z"
        ),
        "{told:#?}"
    );
    assert!(told[5].contains("] CRITICAL: corp: "), "{told:#?}");
    with(&post, "credentials_expire = \"2028-04-20\"");
    post.round().await;
    let told = subjects(&post, "credentials-expiring=2Fcorp");
    assert_eq!(told.len(), 7, "{told:#?}");
    assert!(
        told[6].contains("] over: corp: what renewd is known by"),
        "{told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_ends_and_roots_that_end_are_told_of() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    let peer = Peer::start(|_| Reply::text(204, "")).await;
    let now = post.rig.clock_now();
    let roots = post.rig.world.agent.path().join("pager-roots.pem");
    let root = |days: i64| {
        let validity = Validity(now - Seconds::days(1), now + Seconds::days(days));
        pem::certificate(
            &sample(KeyAlgorithm::EcP256, &["x.example.test"], validity)
                .root
                .der,
        )
    };
    std::fs::write(&roots, root(20)).unwrap();
    let pager = format!(
        "\n[alert.webhook.pager]\nurl = \"{}/pager\"\nroots = \"{}\"\nleast = \"critical\"\n",
        peer.url,
        roots.display()
    );
    post.write(&pager, "");
    post.rig.settle().await;
    post.run().await;
    post.round().await;
    let told = subjects(&post, "channel-expiring=2Fpager");
    assert_eq!(told.len(), 1, "{told:#?}");
    // The latest of several counts.
    std::fs::write(&roots, root(20) + &root(400)).unwrap();
    post.rig.clock.advance(Seconds::hours(7));
    post.run().await;
    post.deliver().await;
    let told = subjects(&post, "channel-expiring=2Fpager");
    assert!(
        told.len() == 2 && told[1].contains("] over: pager: "),
        "{told:#?}"
    );

    let engine = post.rig.engine().await;
    let corp = engine.policy.issuers.keys().next().unwrap().clone();
    let end: Timestamp = engine.store.snapshot().await.unwrap().relied[&Relied::Authority(corp)];
    assert_eq!(
        subjects(&post, "issuer-expiring=2Fcorp"),
        Vec::<String>::new()
    );
    post.rig.clock.set(end - Seconds::days(20));
    post.run().await;
    post.rig.settle().await;
    post.run().await;
    assert!(
        post.stands()
            .await
            .contains(&"issuer-expiring/corp".to_owned()),
        "{:?}",
        post.stands().await
    );
}
