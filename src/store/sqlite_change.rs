//! Changes of what is known of a certificate, beside its orders.

use sqlx::{Row, Sqlite, Transaction};

use crate::model::{
    CertificateId, CertificateState, CompromisedKey, Failures, Order, RemoteTrouble, RevisionId,
    RevokedBy, Revoking, Standing, Timestamp,
};
use crate::store::codec::decode;
use crate::store::rows::{
    Event, ORDER, commit, count, mark_revoked, query, read_open_of, subject, write_certificate,
    write_open,
};
use crate::store::sqlite::SqliteStore;
use crate::store::{CertificateChange, StoreError};

impl SqliteStore {
    pub(super) async fn write_change(
        &self,
        id: &CertificateId,
        change: CertificateChange,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "change a certificate";
        let mut tx = self.begin(WHAT).await?;
        let row = sqlx::query("SELECT state FROM certificates WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        let mut state: CertificateState = match row {
            Some(row) => decode("certificates.state", row.get(0))?,
            None => CertificateState::default(),
        };
        note(&mut tx, id, &change).await?;
        if let Some((revision, revoked)) = fate(&state, &change) {
            mark_revoked(&mut tx, id, revision, revoked).await?;
        }
        let forced = matches!(change, CertificateChange::Forced);
        apply(&mut state, change);
        write_certificate(&mut tx, id, &state).await?;
        if forced {
            const SQL: &str =
                "SELECT body FROM orders WHERE certificate = $1 AND closed_at IS NULL";
            let open: Option<Order> = read_open_of(&mut tx, SQL, id.as_str()).await?;
            if let Some(mut order) = open {
                order.failures = Failures::default();
                write_open(&mut tx, ORDER, order.id.as_str(), &order, None).await?;
            }
        }
        commit(tx, WHAT).await
    }
}

/// What a change says of whether a revision was taken back. Of the newest that is said anew at each look.
fn fate<'a>(
    state: &'a CertificateState,
    change: &'a CertificateChange,
) -> Option<(&'a RevisionId, bool)> {
    match change {
        CertificateChange::Revoked(revision)
        | CertificateChange::RevocationDone { revision, .. }
        | CertificateChange::RevocationDropped {
            revision,
            gone: true,
            ..
        } => Some((revision, true)),
        CertificateChange::Remote(trouble) => {
            let newest = &state.newest.as_ref()?.id;
            let trouble = trouble.as_ref().filter(|one| one.revision == *newest);
            match trouble.map(|one| one.standing) {
                // What is deleted may have been taken back before.
                Some(Standing::Deleted) => None,
                standing => Some((newest, standing == Some(Standing::Revoked))),
            }
        }
        _ => None,
    }
}

fn apply(state: &mut CertificateState, change: CertificateChange) {
    match change {
        CertificateChange::Offer { offer, under } => {
            state.offer = Some(offer);
            state.offered_under = Some(under);
            state.survey_failures = Failures::default();
        }
        CertificateChange::SurveyFailed(failure) => count(&mut state.survey_failures, &failure),
        CertificateChange::Unusable(detail) => state.unusable = detail,
        CertificateChange::Remote(trouble) => state.remote = trouble,
        CertificateChange::Entitlements(all) => state.entitlements = all,
        CertificateChange::Revoked(revision) => {
            let mut earlier = state.earlier.iter_mut();
            if let Some(earlier) = earlier.find(|earlier| earlier.id == revision) {
                earlier.revoked = true;
            }
        }
        CertificateChange::Forced => force(state),
        CertificateChange::Revoke { all, compromised } => revoke(state, all, compromised),
        CertificateChange::RevocationDone {
            revision, message, ..
        } => {
            state.revoking.retain(|one| one.revision != revision);
            if state
                .newest
                .as_ref()
                .is_some_and(|newest| newest.id == revision)
            {
                state.remote = Some(RemoteTrouble {
                    revision: revision.clone(),
                    standing: Standing::Revoked,
                    detail: message,
                });
            }
            for earlier in &mut state.earlier {
                earlier.revoked |= earlier.id == revision;
            }
        }
        CertificateChange::RevocationFailed { revision, failure } => {
            let mut all = state.revoking.iter_mut();
            if let Some(revoking) = all.find(|one| one.revision == revision) {
                count(&mut revoking.failures, &failure);
            }
        }
        CertificateChange::RevocationDropped { revision, gone, .. } => {
            state.revoking.retain(|one| one.revision != revision);
            for earlier in &mut state.earlier {
                earlier.revoked |= gone && earlier.id == revision;
            }
        }
        CertificateChange::Unseen {
            supplement, left, ..
        } => {
            state.unseen.retain(|one| one.supplement != *supplement);
            state.unseen.extend(left.map(|left| *left));
        }
        CertificateChange::Push {
            push, state: of, ..
        } => {
            state.pushes.insert(push, *of);
        }
    }
}

/// All of it together: a wish that is written down half would leave the key in use.
fn revoke(state: &mut CertificateState, all: Vec<Revoking>, compromised: Option<CompromisedKey>) {
    let newest = state.newest.as_ref().map(|newest| newest.facts.spki);
    let given_up = all.iter().filter(|one| one.by != RevokedBy::Policy);
    let mut given_up = given_up
        .filter_map(|one| one.spki)
        .chain(compromised.iter().map(|key| key.spki));
    if given_up.any(|key| newest == Some(key)) {
        force(state);
    }
    if let Some(key) = compromised {
        state.compromised.retain(|one| one.spki != key.spki);
        state.compromised.push(key);
    }
    let asked = |one: &Revoking| all.iter().any(|new| new.revision == one.revision);
    state.revoking.retain(|one| !asked(one));
    state.revoking.splice(0..0, all);
}

/// A new revision is wanted, whatever failed before.
fn force(state: &mut CertificateState) {
    state.forced = true;
    // A follower asks its account anew.
    state.offer = None;
    state.survey_failures = Failures::default();
    state.shortened = false;
    state.failures = Failures::default();
}

/// The line in the history, for what a person may ask about later.
async fn note(
    tx: &mut Transaction<'_, Sqlite>,
    id: &CertificateId,
    change: &CertificateChange,
) -> Result<(), StoreError> {
    let line = match change {
        CertificateChange::Revoke { all, .. } => {
            for revoking in all {
                let line = (
                    REVOCATION,
                    revoking.revision.as_str(),
                    revoking.asked_at,
                    "opened",
                    "wanted",
                    format!("{} to be revoked: {}", revoking.reference, revoking.reason),
                );
                write_line(tx, id, line).await?;
            }
            return Ok(());
        }
        CertificateChange::RevocationDone {
            revision,
            at,
            message,
        } => (
            REVOCATION,
            revision.as_str(),
            *at,
            "succeeded",
            "revoked",
            message.clone(),
        ),
        CertificateChange::RevocationFailed { revision, failure } => (
            REVOCATION,
            revision.as_str(),
            failure.at,
            "failed",
            "wanted",
            failure.message.clone(),
        ),
        CertificateChange::RevocationDropped {
            revision,
            news: Some((at, message)),
            ..
        } => (
            REVOCATION,
            revision.as_str(),
            *at,
            "succeeded",
            "over",
            message.clone(),
        ),
        CertificateChange::Push { push, state, news } => (
            PUSH,
            push.as_str(),
            news.0,
            if state.is_failing() {
                "failed"
            } else {
                "succeeded"
            },
            if state.is_failing() {
                "behind"
            } else {
                "pushed"
            },
            news.1.clone(),
        ),
        CertificateChange::Unseen {
            supplement,
            left,
            news: Some((at, failed, message)),
            ..
        } => (
            SUPPLEMENT,
            supplement.reference.as_str(),
            *at,
            if *failed { "failed" } else { "succeeded" },
            match left {
                _ if *failed => "late",
                Some(left) if left.issued.is_some() => "issued",
                Some(_) | None => "taken-back",
            },
            message.clone(),
        ),
        CertificateChange::Entitlements(_)
        | CertificateChange::Unseen { news: None, .. }
        | CertificateChange::Offer { .. }
        | CertificateChange::SurveyFailed(_)
        | CertificateChange::Forced
        | CertificateChange::Unusable(_)
        | CertificateChange::Remote(_)
        | CertificateChange::Revoked(_)
        | CertificateChange::RevocationDropped { news: None, .. } => return Ok(()),
    };
    write_line(tx, id, line).await
}

/// Machine, what it is about, when, kind, phase, message.
type Line<'a> = (
    &'static str,
    &'a str,
    Timestamp,
    &'static str,
    &'static str,
    String,
);

async fn write_line(
    tx: &mut Transaction<'_, Sqlite>,
    id: &CertificateId,
    (machine, of, at, kind, phase, message): Line<'_>,
) -> Result<(), StoreError> {
    let key = format!("{of}/{id}");
    subject(tx, id, machine, &key).await?;
    Event::new(machine, &key, at, kind, phase)
        .message(&message)
        .insert(tx)
        .await
}

const REVOCATION: &str = "revocation";
const PUSH: &str = "push";
const SUPPLEMENT: &str = "supplement";
