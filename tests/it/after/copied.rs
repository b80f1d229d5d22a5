//! What the policy has revoked, on a machine that a journal was copied to: never what the owner of the journal may serve.

use renewd::engine::new_identity;
use renewd::model::Seconds;

use super::check;
use super::revoke::{is_revoked, renew, start, with_grace};
use crate::public_orders::claim::belongs_to_another;
use crate::support::engine::{Rig, tick};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_revokes_nothing_by_itself_and_once_claimed_only_what_came_after_that() {
    let rig = Rig::live(start()).await;
    let first = rig.reference("www").await;
    let engine = with_grace(&rig, Seconds::hours(1)).await;
    renew(&rig, &engine).await;
    // Its owner has noted the first one, and serves the second.
    check(&engine).await;
    let revoking = async || {
        let snapshot = engine.store.snapshot().await.unwrap();
        snapshot.certificates["www"].revoking.len()
    };
    assert_eq!(revoking().await, 1);
    belongs_to_another(&rig.world.agent.state());
    let second = rig.reference("www").await;
    renew(&rig, &engine).await;
    let third = rig.reference("www").await;
    let pass = async || {
        for _ in 0..3 {
            rig.clock.advance(Seconds::hours(2));
            check(&engine).await;
            tick(&engine).await;
        }
    };
    pass().await;
    let ccm = &rig.world.ccm;
    for old in [&first, &second] {
        assert!(!is_revoked(ccm, old).await, "{:#?}", rig.told());
    }
    let plan = tick(&engine).await;
    let mut told = plan.alerts.iter();
    let told = told.find(|(key, _)| key.as_str() == "stale-journal/corp");
    let (_, alert) = told.unwrap_or_else(|| panic!("{:?}", plan.alerts));
    assert!(alert.title.contains("nothing that was replaced is revoked"));

    let now = rig.clock_now();
    engine.store.claim(&new_identity(), now).await.unwrap();
    assert_eq!(revoking().await, 0);
    pass().await;
    renew(&rig, &engine).await;
    let fourth = rig.reference("www").await;
    pass().await;
    renew(&rig, &engine).await;
    pass().await;
    for old in [&first, &second, &third] {
        assert!(!is_revoked(ccm, old).await, "{:#?}", rig.told());
    }
    assert!(is_revoked(ccm, &fourth).await, "{:#?}", rig.told());
    let alerts = tick(&engine).await.alerts;
    assert!(
        alerts
            .keys()
            .all(|key| key.as_str() != "stale-journal/corp")
    );
}
