//! Small policies and states for the unit tests of this module.

use std::collections::BTreeMap;

use crate::model::{
    CertificateFacts, CertificateId, CertificatePolicy, CertificateState, Control, DriftMode,
    Fingerprint, Hooks, IssuerId, IssuerKind, IssuerPolicy, KeyAlgorithm, KeyReuse, KeySource,
    Name, OrderMode, Pacing, Policy, Probe, RemoteAccess, RemoteAuth, RenewRule, RevisionFacts,
    RevisionId, ScmPolicy, Seconds, SecretRef, Subject, TargetId, TargetKind, TargetPolicy,
    Timestamp,
};

/// Named `<name>.example`, from the issuer `lab`, on no target.
pub(crate) fn certificate(name: &str) -> CertificatePolicy {
    CertificatePolicy {
        id: CertificateId::new(name).unwrap(),
        issuer: IssuerId::new("lab").unwrap(),
        names: [Name::parse(&format!("{name}.example")).unwrap()]
            .into_iter()
            .collect(),
        common_name: format!("{name}.example"),
        subject: Subject::default(),
        key_source: KeySource::Local,
        order: OrderMode::Auto,
        key_algorithm: KeyAlgorithm::EcP256,
        key_reuse: KeyReuse::Rekey,
        validity: Seconds::days(90),
        renew: RenewRule::Share { part: 1, whole: 3 },
        targets: std::collections::BTreeSet::new(),
        validation: None,
        push: std::collections::BTreeSet::new(),
        tags: std::collections::BTreeSet::new(),
        digest: Fingerprint([1; 32]),
    }
}

/// A revision of `www.example`.
pub(crate) fn revision(serial: &str, not_before: Timestamp, lifetime: Seconds) -> RevisionFacts {
    RevisionFacts {
        id: RevisionId::new(&format!("r{serial}")).unwrap(),
        facts: CertificateFacts {
            serial: serial.to_owned(),
            fingerprint: Fingerprint([2; 32]),
            spki: Fingerprint([3; 32]),
            common_name: None,
            names: [Name::parse("www.example").unwrap()].into_iter().collect(),
            issuer_name: "lab".to_owned(),
            not_before,
            not_after: not_before + lifetime,
            key_algorithm: Some(KeyAlgorithm::EcP256),
        },
        issued_at: not_before,
        reference: format!("ref-{serial}"),
        policy: Some(Fingerprint([1; 32])),
        applied: None,
    }
}

/// The state of a certificate that has a fitting revision.
pub(crate) fn healthy(
    policy: &CertificatePolicy,
    not_before: Timestamp,
    lifetime: Seconds,
) -> CertificateState {
    let mut newest = revision("01", not_before, lifetime);
    newest.facts.names = policy.names.clone();
    CertificateState {
        newest: Some(newest),
        issuer: Some(policy.issuer.clone()),
        ..CertificateState::default()
    }
}

/// Wants nothing.
pub(crate) fn policy() -> Policy {
    Policy {
        state_dir: "/nowhere".into(),
        control: Control::of(std::path::Path::new("/nowhere")),
        jobs: BTreeMap::new(),
        issuers: BTreeMap::new(),
        certificates: BTreeMap::new(),
        targets: BTreeMap::new(),
        alerting: crate::model::Alerting::default(),
        watches: BTreeMap::new(),
        metrics: crate::model::Metrics::default(),
        validations: BTreeMap::new(),
        pushes: BTreeMap::new(),
    }
}

/// The issuer `lab`.
pub(crate) fn issuer() -> IssuerPolicy {
    let secret = || SecretRef::Env("SECRET".to_owned());
    IssuerPolicy {
        id: IssuerId::new("lab").unwrap(),
        kind: IssuerKind::Scm(ScmPolicy::default()),
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
        digest: Fingerprint([6; 32]),
        pace: crate::model::IssuerPace::default(),
    }
}

/// A target without exports.
pub(crate) fn target(name: &str) -> TargetPolicy {
    TargetPolicy {
        id: TargetId::new(name).unwrap(),
        kind: TargetKind::Files,
        exports: Vec::new(),
        test: None,
        reload: None,
        restart: None,
        pid_file: None,
        command_timeout: Seconds(30),
        probe: Probe::None,
        hooks: Hooks::default(),
        pacing: Pacing::default(),
        observe: Vec::new(),
        digest: Fingerprint([1; 32]),
        drift: DriftMode::Repair,
    }
}
