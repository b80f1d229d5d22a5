//! A state directory, a deployer, a CA, and the rollout machine around them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use renewd::deploy::{Deployer, StepDone, StepError};
use renewd::model::{
    CertificateId, Drift, DriftKind, DriftMode, ErrorClass, ExportKind, ExportSpec, Failures,
    FileAttributes, Fingerprint, Hooks, HostSeed, KeyAlgorithm, Pacing, PemFiles, Probe,
    RevisionId, Rollout, RolloutClosing, RolloutEvent, RolloutId, RolloutPhase, RolloutStep,
    Seconds, Snapshot, TargetId, TargetKind, TargetPolicy, Timestamp,
};
use renewd::pki::{Material, Secret};
use renewd::plan::rollout_machine::{self, Failed};
use renewd::plan::{Next, OnError, Trouble};
use renewd::sys::clock::{Clock, SystemClock};
use renewd::sys::process::SystemRunner;

use crate::support::certs::{self, Sample, Validity};

/// One target of one host.
pub(crate) struct Stand {
    pub(crate) dir: PathBuf,
    pub(crate) deployer: Deployer,
    pub(crate) ca: Sample,
    pub(crate) target: TargetPolicy,
    /// What the journal would know.
    pub(crate) live: BTreeMap<CertificateId, RevisionId>,
    pub(crate) generation: Option<u64>,
    pub(crate) next: u64,
    /// What a person wants replaced.
    pub(crate) overwrite: BTreeSet<CertificateId>,
    /// Every step that was carried out, with its error if it had one.
    pub(crate) log: Vec<(RolloutStep, Option<StepError>)>,
}

impl Stand {
    /// In this directory, with these exports and neither test, reload nor probe.
    pub(crate) fn new(dir: &Path, exports: Vec<ExportSpec>) -> Self {
        let state = dir.join("state");
        std::fs::create_dir_all(&state).unwrap();
        let resolve = Arc::new(|reference: &renewd::model::SecretRef| match reference {
            renewd::model::SecretRef::Env(name) => Ok(Secret::from(name.clone())),
            // Named by what is in it.
            renewd::model::SecretRef::File(path) if path.is_relative() => {
                Ok(Secret::from(path.display().to_string()))
            }
            other => Err(format!("{other} is not there")),
        });
        let target = TargetPolicy {
            id: TargetId::new("web").unwrap(),
            kind: TargetKind::Nginx,
            exports,
            test: None,
            reload: None,
            restart: None,
            pid_file: None,
            command_timeout: Seconds(10),
            probe: Probe::None,
            hooks: Hooks::default(),
            pacing: Pacing::default(),
            observe: Vec::new(),
            digest: Fingerprint([7; 32]),
            drift: DriftMode::Repair,
        };
        Self {
            dir: dir.to_owned(),
            deployer: Deployer::new(state, Arc::new(SystemRunner), resolve),
            ca: certs::sample(KeyAlgorithm::EcP256, &["unused.test"], validity()),
            target,
            live: BTreeMap::new(),
            generation: None,
            next: 1,
            overwrite: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    /// A new revision, stored.
    pub(crate) fn issue(&self, certificate: &str, names: &[&str]) -> (CertificateId, RevisionId) {
        self.issue_as(certificate, names, KeyAlgorithm::EcP256, validity())
    }

    pub(crate) fn issue_as(
        &self,
        certificate: &str,
        names: &[&str],
        algorithm: KeyAlgorithm,
        validity: Validity,
    ) -> (CertificateId, RevisionId) {
        let id = CertificateId::new(certificate).unwrap();
        let material = self.material(names, algorithm, validity);
        let materials = self.deployer.materials();
        let revision = materials.store_revision(&id, &material).unwrap();
        (id, revision)
    }

    pub(crate) fn material(
        &self,
        names: &[&str],
        algorithm: KeyAlgorithm,
        validity: Validity,
    ) -> Material {
        let key = certs::key(algorithm);
        let signer = key.signer().unwrap();
        let leaf = self
            .ca
            .intermediate
            .sign(&signer, &certs::leaf(names, validity));
        let chain = vec![self.ca.intermediate.der.clone(), self.ca.root.der.clone()];
        Material { key, leaf, chain }
    }

    /// A rollout of this whole set, just opened.
    pub(crate) fn open(&mut self, set: &[(CertificateId, RevisionId)]) -> Rollout {
        let number = self.next;
        self.next += 1;
        Rollout {
            id: RolloutId::new(&format!("rollout-{number}")).unwrap(),
            target: self.target.id.clone(),
            reasons: BTreeMap::new(),
            revisions: set.iter().cloned().collect(),
            previous: self.live.clone(),
            generation: number,
            previous_generation: self.generation,
            policy: self.target.digest,
            hooks: self.target.hooks.steps(),
            overwrite: self.overwrite.clone(),
            strange: BTreeSet::new(),
            wary: false,
            opened_at: now(),
            phase: RolloutPhase::Opened,
            started: None,
            failures: Failures::default(),
        }
    }

    pub(crate) async fn step(
        &self,
        rollout: &Rollout,
        step: RolloutStep,
    ) -> Result<RolloutEvent, StepError> {
        self.step_at(rollout, step, now())
            .await
            .map(|done| done.event)
    }

    pub(crate) async fn step_at(
        &self,
        rollout: &Rollout,
        step: RolloutStep,
        now: Timestamp,
    ) -> Result<StepDone, StepError> {
        self.deployer.step(step, rollout, &self.target, now).await
    }

    /// Carries out what the machine wants until the rollout is closed or waits for its service.
    pub(crate) async fn drive(&mut self, mut rollout: Rollout) -> Rollout {
        loop {
            let step = match rollout_machine::next(&rollout, self.target.digest, HostSeed(7), now())
            {
                Next::Step(step) => step,
                Next::Done | Next::Wait(_) | Next::Blocked(_) | Next::Record(_) => return rollout,
            };
            let result = self.step(&rollout, step).await;
            self.log.push((step, result.as_ref().err().cloned()));
            let event = match result {
                Ok(event) => event,
                Err(error) => match on_error(&rollout, step, error, self.target.digest) {
                    OnError::Event(event) => event,
                    // To be driven again once what failed is mended.
                    OnError::Retry(_) => return rollout,
                },
            };
            rollout.phase = rollout_machine::after(&rollout, &event).unwrap();
            rollout.failures = Failures::default();
            if let RolloutPhase::Closed {
                closing: RolloutClosing::Live,
            } = &rollout.phase
            {
                self.live.clone_from(&rollout.revisions);
                self.generation = Some(rollout.generation);
            }
        }
    }

    /// Where a step leads that must fail.
    pub(crate) async fn fail(&self, rollout: &Rollout, step: RolloutStep) -> Rollout {
        let error = self.step(rollout, step).await.unwrap_err();
        let mut after = rollout.clone();
        match on_error(rollout, step, error, self.target.digest) {
            OnError::Event(event) => {
                after.phase = rollout_machine::after(rollout, &event).unwrap();
            }
            OnError::Retry(_) => panic!("{step} is tried again"),
        }
        after
    }

    /// A whole rollout that must end live.
    #[track_caller]
    pub(crate) fn live_now(&self, rollout: &Rollout) {
        assert_eq!(rollout.phase.code(), "live", "{:?}", self.log);
    }

    pub(crate) fn live_path(&self, rest: &str) -> PathBuf {
        self.dir.join("state/targets/web/live").join(rest)
    }

    /// Serial of a stored revision.
    pub(crate) fn serial(&self, of: &(CertificateId, RevisionId)) -> String {
        let public = self.deployer.materials().load_public(&of.0, &of.1).unwrap();
        renewd::pki::facts(&public[0]).unwrap().serial
    }

    /// The kinds of what differs, as they were found.
    pub(crate) fn kinds(&self) -> Vec<DriftKind> {
        let drift = self.look();
        let differences = drift.into_iter().flat_map(|drift| drift.differences);
        differences.map(|found| found.kind).collect()
    }

    /// Whether what differs is a keystore that does not open.
    pub(crate) fn sealed(&self) -> bool {
        let drift = self.look();
        drift.is_some_and(|drift| drift.differences.iter().all(|found| found.is_sealed()))
    }

    pub(crate) fn drift(&self) -> Option<String> {
        self.look().map(|drift| drift.to_string())
    }

    fn look(&self) -> Option<Drift> {
        let generation = self.generation?;
        self.deployer.drift(&self.target, generation, now(), &|| {})
    }

    /// The error of a step that failed.
    #[track_caller]
    pub(crate) fn error(&self, step: RolloutStep) -> &StepError {
        let found = self
            .log
            .iter()
            .rev()
            .find(|(at, error)| *at == step && error.is_some());
        let (_, error) = found.unwrap_or_else(|| panic!("{step} did not fail: {:?}", self.log));
        error.as_ref().unwrap()
    }

    /// The steps that were carried out.
    pub(crate) fn steps(&self) -> Vec<&'static str> {
        self.log.iter().map(|(step, _)| step.code()).collect()
    }
}

fn on_error(
    rollout: &Rollout,
    step: RolloutStep,
    error: StepError,
    policy: Fingerprint,
) -> OnError<RolloutEvent> {
    let failed = Failed {
        step,
        trouble: Trouble {
            class: error.class,
            message: error.message,
            output: error.output,
            retry_after: None,
        },
        again: error.retry,
        restorable: error.restorable,
        service_runs: error.service_runs,
        foreign: error.foreign,
        named: error.named,
    };
    rollout_machine::on_error(rollout, &Snapshot::default(), failed, policy, now())
}

/// PEM files, an export of this name.
pub(crate) fn pem(name: &str, fullchain: &str, key: &str) -> ExportSpec {
    ExportSpec {
        name: name.to_owned(),
        kind: ExportKind::Pem(PemFiles {
            fullchain: Some(fullchain.into()),
            key: Some(key.into()),
            ..PemFiles::default()
        }),
        attributes: FileAttributes::default(),
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// From yesterday, for thirty days.
pub(crate) fn validity() -> Validity {
    Validity(now() - Seconds::days(1), now() + Seconds::days(30))
}

/// Serial of the first certificate in a PEM file.
#[track_caller]
pub(crate) fn serial_in(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let all = renewd::pki::pem::certificates(&text).unwrap();
    renewd::pki::facts(&all[0]).unwrap().serial
}

/// Whether a certificate file and a key file belong together.
pub(crate) fn is_pair(certificate: &Path, key: &Path) -> bool {
    let text = std::fs::read_to_string(certificate).unwrap();
    let all = renewd::pki::pem::certificates(&text).unwrap();
    let key = renewd::pki::PrivateKey::from_pem(&std::fs::read(key).unwrap()).unwrap();
    renewd::pki::facts(&all[0]).unwrap().spki == key.spki()
}

#[track_caller]
pub(crate) fn class(error: &StepError, class: ErrorClass) {
    assert_eq!(error.class, class, "{error:?}");
}
