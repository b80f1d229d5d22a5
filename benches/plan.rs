//! How fast the planner is when nothing is due, and when everything is.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use renewd::model::{
    CertificateFacts, CertificateId, CertificatePolicy, CertificateState, Fingerprint, IssuerId,
    IssuerKind, IssuerPolicy, KeyAlgorithm, KeyReuse, KeySource, Name, OrderMode, PcaPolicy,
    Policy, Probe, RemoteAccess, RemoteAuth, RenewRule, RevisionFacts, RevisionId, Seconds,
    SecretRef, Snapshot, Subject, SubjectAltNames, TargetId, TargetKind, TargetPolicy, TargetState,
    Timestamp,
};
use renewd::plan::plan;

/// Prints one line per size: the best and the median of several runs, and the time per certificate.
pub(crate) fn run() {
    println!("planner: plan() on one core, a target per {PER_TARGET} certificates, 3 names each");
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        let (policy, snapshot) = world(size);
        measure(
            "nothing due",
            size,
            &policy,
            &snapshot,
            ISSUED + Seconds::days(1),
        );
        measure(
            "all due",
            size,
            &policy,
            &snapshot,
            ISSUED + Seconds::days(61),
        );
    }
}

fn measure(what: &str, size: usize, policy: &Policy, snapshot: &Snapshot, now: Timestamp) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            let plan = plan(policy, snapshot, now);
            let taken = begin.elapsed();
            assert_eq!(plan.verdicts.len(), size);
            assert_eq!(plan.actions.is_empty(), what == "nothing due");
            taken
        })
        .collect();
    times.sort();
    println!(
        "  {size:>9} certificates, {what:<11}  best {:>8.2} ms  median {:>8.2} ms  {:>5.0} ns each",
        times[0].as_secs_f64() * 1e3,
        times[RUNS / 2].as_secs_f64() * 1e3,
        times[RUNS / 2].as_nanos() as f64 / size as f64
    );
}

fn world(size: usize) -> (Policy, Snapshot) {
    let mut snapshot = Snapshot::default();
    let mut certificates = BTreeMap::new();
    let mut targets: BTreeMap<TargetId, TargetPolicy> = BTreeMap::new();
    let issuer = issuer();
    for at in 0..size {
        // Targets are not in the order of certificates, as in life.
        let target =
            TargetId::new(&format!("web-{:06}", at % size.div_ceil(PER_TARGET))).expect("an id");
        let id = CertificateId::new(&format!("site-{at:07}")).expect("an id");
        let certificate = certificate(&id, &issuer.id, &target);
        let newest = revision(at, &certificate);
        let place = snapshot
            .targets
            .entry(target.clone())
            .or_insert_with(|| TargetState {
                generation: Some(1),
                policy: Some(DIGEST),
                ..TargetState::default()
            });
        // Texts of their own, as they come from the journal.
        let known = CertificateId::new(id.as_str()).expect("an id");
        let live = RevisionId::new(newest.id.as_str()).expect("an id");
        let served = CertificateId::new(id.as_str()).expect("an id");
        place.live.insert(served, live);
        targets
            .entry(target.clone())
            .or_insert_with(|| place_policy(target));
        let state = CertificateState {
            newest: Some(newest),
            issuer: Some(issuer.id.clone()),
            ..CertificateState::default()
        };
        snapshot.certificates.insert(known, state);
        certificates.insert(id, certificate);
    }
    let policy = Policy {
        state_dir: "/var/lib/renewd".into(),
        control: renewd::model::Control::of("/var/lib/renewd".as_ref()),
        jobs: BTreeMap::new(),
        issuers: [(issuer.id.clone(), issuer)].into_iter().collect(),
        certificates,
        targets,
        alerting: renewd::model::Alerting::default(),
        watches: BTreeMap::new(),
        metrics: renewd::model::Metrics::default(),
        validations: BTreeMap::new(),
        pushes: BTreeMap::new(),
    };
    (policy, snapshot)
}

fn certificate(id: &CertificateId, issuer: &IssuerId, target: &TargetId) -> CertificatePolicy {
    let names: SubjectAltNames = ["", "www.", "api."]
        .iter()
        .map(|prefix| Name::parse(&format!("{prefix}{id}.example.com")).expect("a name"))
        .collect();
    CertificatePolicy {
        id: id.clone(),
        issuer: issuer.clone(),
        common_name: format!("{id}.example.com"),
        names,
        subject: Subject::default(),
        key_source: KeySource::Local,
        order: OrderMode::Auto,
        key_algorithm: KeyAlgorithm::EcP256,
        key_reuse: KeyReuse::Rekey,
        validity: Seconds::days(90),
        renew: RenewRule::Share { part: 1, whole: 3 },
        targets: [target.clone()].into_iter().collect(),
        validation: None,
        push: std::collections::BTreeSet::new(),
        tags: std::collections::BTreeSet::new(),
        digest: DIGEST,
    }
}

fn revision(at: usize, certificate: &CertificatePolicy) -> RevisionFacts {
    RevisionFacts {
        id: RevisionId::new(&format!("{at:016x}")).expect("an id"),
        facts: CertificateFacts {
            serial: format!("{at:040x}"),
            fingerprint: DIGEST,
            spki: DIGEST,
            common_name: Some(certificate.common_name.clone()),
            names: certificate.names.clone(),
            issuer_name: "corp-issuing".to_owned(),
            not_before: ISSUED,
            not_after: ISSUED + Seconds::days(90),
            key_algorithm: Some(KeyAlgorithm::EcP256),
        },
        issued_at: ISSUED,
        reference: format!("ref-{at}"),
        policy: Some(DIGEST),
        applied: Some(certificate.names.clone()),
    }
}

fn issuer() -> IssuerPolicy {
    let secret = || SecretRef::Env("SECRET".to_owned());
    IssuerPolicy {
        id: IssuerId::new("corp").expect("an id"),
        kind: IssuerKind::Pca(PcaPolicy {
            superseded: renewd::model::Superseded::Keep,
            ca: "corp-issuing".to_owned(),
        }),
        access: RemoteAccess {
            endpoint: "http://localhost".to_owned(),
            roots: None,
            auth: RemoteAuth::AccessKey {
                access_key: secret(),
                secret_key: secret(),
                security_token: None,
            },
            connect_timeout: Seconds(5),
            timeout: Seconds(30),
        },
        credentials_expire: None,
        settle: Seconds(120),
        digest: DIGEST,
        pace: renewd::model::IssuerPace::default(),
    }
}

fn place_policy(id: TargetId) -> TargetPolicy {
    TargetPolicy {
        id,
        kind: TargetKind::Nginx,
        exports: Vec::new(),
        test: None,
        reload: None,
        restart: None,
        pid_file: None,
        command_timeout: Seconds(30),
        probe: Probe::None,
        hooks: renewd::model::Hooks::default(),
        pacing: renewd::model::Pacing::default(),
        observe: Vec::new(),
        digest: DIGEST,
        drift: renewd::model::DriftMode::Repair,
    }
}

const DIGEST: Fingerprint = Fingerprint([1; 32]);

/// 2030-01-01T00:00:00Z.
const ISSUED: Timestamp = Timestamp(1_893_456_000);

/// Enough for a stable median within a minute in all.
const RUNS: usize = 11;

/// As many as a busy web server has.
const PER_TARGET: usize = 100;
