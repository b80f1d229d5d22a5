//! At each check: the tags of our certificates at SCM are kept true, and those that have expired are deleted where the
//! policy says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Engine, EngineError};
use crate::issuer::{IssuerError, Part, Pushing};
use crate::model::{
    CertificateId, ErrorClass, IssuerId, IssuerKind, KnownRevision, OrderMode, Snapshot, Timestamp,
};
use crate::plan::revoke;
use crate::sys::{crash, host, systemd};

impl Engine {
    /// Goes through what is ours in each SCM account. What cannot be done is in the log, and tried at the next check.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn keep_up(&self, snapshot: &Snapshot) -> Result<(), EngineError> {
        for (id, issuer) in &self.policy.issuers {
            let IssuerKind::Scm(scm) = &issuer.kind else {
                continue;
            };
            let ours = self.present(id, snapshot);
            if ours.is_empty() && !scm.delete_expired {
                continue;
            }
            let done = async {
                let connected = self.issuers.get(id)?;
                let Some(pushing) = connected.pushing() else {
                    return Ok(());
                };
                for (reference, certificate) in ours.iter().take(MOST_TAGGED) {
                    self.keep_tags(&pushing, certificate, reference).await?;
                    systemd::alive();
                }
                Ok::<_, IssuerError>(())
            };
            if let Err(error) = done.await {
                self.not_kept(id, &error);
                continue;
            }
            if scm.delete_expired {
                let known = self.past(id, snapshot).await?;
                if let Err(error) = self.delete_expired(id, &known).await {
                    self.not_kept(id, &error);
                }
            }
        }
        Ok(())
    }

    fn not_kept(&self, id: &IssuerId, error: &IssuerError) {
        if error.class == ErrorClass::Authentication {
            self.issuers.forget(id);
        }
        tracing::info!(issuer = %id, %error, "tags and expired certificates of the account stay as they are");
    }

    /// Ids of what this host has in the account now, with their certificates: what it applied for, and what it brought in.
    fn present(&self, issuer: &IssuerId, snapshot: &Snapshot) -> BTreeMap<String, CertificateId> {
        let mut found = BTreeMap::new();
        for (id, certificate) in &self.policy.certificates {
            let Some(state) = snapshot.certificates.get(id) else {
                continue;
            };
            let Some(newest) = &state.newest else {
                continue;
            };
            // A follower's is somebody else's.
            if certificate.order == OrderMode::Auto
                && state.issuer.as_ref() == Some(issuer)
                && !newest.reference.is_empty()
            {
                found.insert(newest.reference.clone(), id.clone());
            }
            let imports = state.pushes.values().flat_map(|push| &push.imports);
            for import in imports.filter(|one| one.account == *issuer && one.revision == newest.id)
            {
                found.insert(import.reference.clone(), id.clone());
            }
        }
        found
    }

    /// Ids of what this host ever had in the account, as far as the journal knows, with their ends. What may bring
    /// another certificate, and what is the newest still, is not among them.
    async fn past(
        &self,
        issuer: &IssuerId,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<String, Timestamp>, EngineError> {
        let mut known = BTreeMap::new();
        for (id, state) in &snapshot.certificates {
            let policy = self.policy.certificates.get(id);
            if policy.is_some_and(|policy| policy.order == OrderMode::Never) {
                continue;
            }
            for KnownRevision {
                issuer: by,
                revision,
                ..
            } in self.store.revisions(id).await?
            {
                if by == *issuer && !revision.reference.is_empty() {
                    let end = revision.facts.not_after;
                    let latest = known.entry(revision.reference).or_insert(end);
                    *latest = end.max(*latest);
                }
            }
            for import in state.pushes.values().flat_map(|push| &push.imports) {
                if import.account == *issuer {
                    known.insert(import.reference.clone(), import.not_after);
                }
            }
            let living: BTreeSet<&String> = state
                .entitlements
                .iter()
                .filter(|one| one.has_successor())
                .map(|one| &one.reference)
                .chain(state.newest.iter().map(|newest| &newest.reference))
                .collect();
            known.retain(|reference, _| !living.contains(reference));
        }
        Ok(known)
    }

    async fn delete_expired(
        &self,
        id: &IssuerId,
        known: &BTreeMap<String, Timestamp>,
    ) -> Result<(), IssuerError> {
        if known.is_empty() {
            return Ok(());
        }
        let issuer = self.issuers.get(id)?;
        let (Some(listed), Some(pushing)) = (issuer.list(Part::Expired).await?, issuer.pushing())
        else {
            return Ok(());
        };
        let now = self.clock.now();
        let gone = revoke::deletable(&listed.listed, known, now);
        for reference in gone.iter().take(MOST_DELETED) {
            let tags = pushing.tags(reference).await?.unwrap_or_default();
            if tags.get(MANAGED_BY).map(String::as_str) != Some(RENEWD) {
                continue;
            }
            pushing.delete(reference).await?;
            crash::point("upkeep.delete.effect");
            systemd::alive();
            self.done(id, format!("expired certificate {reference} deleted"));
        }
        Ok(())
    }

    /// Writes the tags of one certificate where they are not as they should be. One that another host has taken keeps
    /// that host's name.
    pub(super) async fn keep_tags(
        &self,
        pushing: &Pushing<'_>,
        certificate: &CertificateId,
        reference: &str,
    ) -> Result<(), IssuerError> {
        let Some(have) = pushing.tags(reference).await? else {
            return Ok(());
        };
        let wanted = wanted_tags(&have, host::name().as_deref(), certificate);
        if wanted.is_empty() {
            return Ok(());
        }
        pushing.tag(reference, &wanted).await?;
        crash::point("upkeep.tag.effect");
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        self.done(
            certificate,
            format!("tags of {reference} written: {}", names.join(", ")),
        );
        Ok(())
    }
}

/// What is missing or wrong among the tags of a certificate of ours.
fn wanted_tags(
    have: &BTreeMap<String, String>,
    host: Option<&str>,
    certificate: &CertificateId,
) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    let mut want = |key: &str, value: &str| {
        if have.get(key).map(String::as_str) != Some(value) {
            wanted.insert(key.to_owned(), value.to_owned());
        }
    };
    want(MANAGED_BY, RENEWD);
    let other = have.get(HOST).filter(|name| !name.is_empty());
    let ours = other.is_none_or(|name| Some(name.as_str()) == host);
    if ours {
        if let Some(host) = host {
            want(HOST, host);
        }
        want(CERTIFICATE, certificate.as_str());
    }
    wanted
}

const MANAGED_BY: &str = "managed-by";
const RENEWD: &str = "renewd";
const HOST: &str = "renewd-host";
const CERTIFICATE: &str = "renewd-certificate";
/// Of one account at one check; each is a request.
const MOST_TAGGED: usize = 200;
/// Of one account at one check.
const MOST_DELETED: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn tags_are_written_only_where_they_differ_and_never_over_another_hosts() {
        let www = CertificateId::new("www").unwrap();
        let wanted = |have: &[(&str, &str)]| wanted_tags(&tags(have), Some("web1"), &www);
        let all = [(MANAGED_BY, RENEWD), (HOST, "web1"), (CERTIFICATE, "www")];
        assert_eq!(wanted(&[("cost-centre", "7")]), tags(&all));
        assert_eq!(wanted(&all), tags(&[]));
        let renamed = [all[0], all[1], (CERTIFICATE, "old")];
        assert_eq!(wanted(&renamed), tags(&[(CERTIFICATE, "www")]));
        let others = [(HOST, "web2"), (CERTIFICATE, "shop")];
        assert_eq!(wanted(&others), tags(&[(MANAGED_BY, RENEWD)]));
    }
}
