//! What hooks are told where the system sets limits.

use renewd::model::{Name, Reason, RolloutPhase, RolloutStep};

use super::stand::{Stand, pem};

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_no_program_could_be_given_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("files", "fullchain.pem", "key.pem")]);
    let told = dir.path().join("told");
    let script = format!("env >'{}'", told.display());
    let argv = ["/bin/sh", "-c", &script];
    stand.target.hooks.pre = Some(argv.map(str::to_owned).to_vec());
    let www = stand.issue("www", &["www.test"]);
    let mut rollout = stand.open(std::slice::from_ref(&www));
    rollout.reasons.insert(www.0.clone(), Reason::NotDeployed);
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    rollout.phase = RolloutPhase::Staged;
    for (count, omitted) in [(300, ""), (600, "RENEWD_NAMES")] {
        let label = "a".repeat(60);
        let long = |n| Name::parse(&format!("h{n}.{label}.{label}.{label}.test")).unwrap();
        let names = [(www.0.clone(), (0..count).map(long).collect())];
        let deployer = stand.deployer.clone();
        stand.deployer = deployer.asking_for(names.into_iter().collect());
        stand.step(&rollout, RolloutStep::PreHook).await.unwrap();
        let told = std::fs::read_to_string(&told).unwrap();
        let said = |line: &str| told.lines().any(|told| told == line);
        assert!(said(&format!("RENEWD_OMITTED={omitted}")), "{count}");
        assert_eq!(told.contains("RENEWD_NAMES=h0."), omitted.is_empty());
        assert!(said("RENEWD_CERTIFICATES=www"), "the others are there");
        assert!(said(&format!("RENEWD_SERIALS={}", stand.serial(&www))));
    }
}
