//! What a service serves now, compared with what was rolled out to it.

use std::collections::BTreeMap;

use crate::deploy::deployer::Deployer;
use crate::deploy::foreign::{Ours, is_newer};
use crate::deploy::prove::{self, Chains, Sight};
use crate::model::{
    CertificateId, Difference, DriftKind, Probe, TargetPolicy, TargetState, Timestamp,
};
use crate::pki::chain::is_self_issued;
use crate::pki::facts;

impl Deployer {
    /// What the service of a target serves in place of what is live there, one difference for a certificate; `None`
    /// where nobody can be asked. A service that is down, or does not answer, differs in nothing. Reads the public part
    /// of every live revision, and makes one handshake per name.
    pub async fn served(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        now: Timestamp,
    ) -> Option<Vec<Difference>> {
        let Probe::Tls {
            connect,
            deadline,
            wildcard_label,
            prelude,
            ..
        } = target.probe.clone()
        else {
            return None;
        };
        let live = self.as_if_rolled_out(target, state).ok()?;
        let (deployer, owned) = (self.clone(), target.clone());
        let questions = tokio::task::spawn_blocking(move || {
            let site = deployer.site(&live, &owned.exports);
            // Of how it is presented too; whom clients trust was a matter of the rollout.
            prove::forward(&site, &owned, &wildcard_label, Chains::All(None), now).ok()
        })
        .await
        .ok()??;
        let sights = prove::wrong(&connect, prelude, deadline, questions).await;
        if sights.is_empty() {
            return Some(Vec::new());
        }
        let (deployer, owned) = (self.clone(), state.clone());
        tokio::task::spawn_blocking(move || deployer.name(sights, &owned, now))
            .await
            .ok()
    }

    /// The worst that was seen for each certificate.
    fn name(&self, sights: Vec<Sight>, state: &TargetState, now: Timestamp) -> Vec<Difference> {
        let mut found: BTreeMap<CertificateId, Difference> = BTreeMap::new();
        for sight in sights {
            for certificate in &sight.of {
                let (kind, issued_at) = self.kind(&sight, certificate, state, now);
                let difference = Difference {
                    kind,
                    certificate: Some(certificate.clone()),
                    detail: sight.text.clone(),
                    issued_at,
                };
                let known = found.get(certificate).map(|known| known.kind);
                if known.is_none_or(|known| kind < known) {
                    found.insert(certificate.clone(), difference);
                }
            }
        }
        found.into_values().collect()
    }

    fn kind(
        &self,
        sight: &Sight,
        certificate: &CertificateId,
        state: &TargetState,
        now: Timestamp,
    ) -> (DriftKind, Option<Timestamp>) {
        let other = (DriftKind::ServedOther, None);
        let Some(leaf) = &sight.leaf else {
            return other;
        };
        let materials = self.materials();
        let live = state.live.get(certificate);
        let ours = live.and_then(|id| materials.load_public(certificate, id).ok());
        if ours.as_ref().and_then(|public| public.first()) == Some(leaf) {
            return (DriftKind::ServedChain, None);
        }
        let stored = materials.revisions(certificate).unwrap_or_default();
        let is_earlier = stored.iter().filter(|id| Some(*id) != live).any(|id| {
            let public = materials.load_public(certificate, id);
            public.is_ok_and(|public| public.first() == Some(leaf))
        });
        if is_earlier {
            return (DriftKind::ServedOld, None);
        }
        let ours = ours.and_then(|public| facts(public.first()?).ok());
        let (Some(ours), Ok(shown)) = (ours, facts(leaf)) else {
            return other;
        };
        let compared = Ours {
            facts: &ours,
            names: self.names(certificate),
        };
        if !is_self_issued(leaf) && is_newer(&shown, compared, now) {
            return (DriftKind::ServedNewer, Some(shown.not_before));
        }
        other
    }
}
