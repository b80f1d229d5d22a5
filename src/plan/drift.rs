//! What follows from what a check found different on a target: what is put right, what keeps a rollout back, what is
//! told.

use crate::model::{
    Blocked, CertificateId, Difference, Drift, DriftKind, DriftMode, Reason, Seconds, Severity,
    Timestamp,
};
use crate::plan::Verdict;
use crate::plan::draft::Draft;
use crate::plan::targets::{Finding, Member, Place};

/// Why a certificate whose revision is in place is rolled out once more: the worst of what is to be put right.
pub(crate) fn reason(
    place: &Place<'_>,
    members: &[Member<'_>],
    id: &CertificateId,
) -> Option<Reason> {
    let overwritten = place.state.overwrite.contains(id);
    // A repair of anything on disk would replace what nobody could look into.
    let sealed = about(place, members, id).any(Difference::is_sealed);
    let found = about(place, members, id).filter(|found| match found.kind {
        DriftKind::NewerElsewhere | DriftKind::ServedNewer => overwritten,
        DriftKind::ServedOther | DriftKind::ServedOld | DriftKind::ServedChain => {
            overwritten || (repairs(place) && !retold(place))
        }
        DriftKind::KeyExposed
        | DriftKind::FileMissing
        | DriftKind::FileUnreadable
        | DriftKind::FileEdited
        | DriftKind::LinkChanged
        | DriftKind::AttributesChanged => overwritten || (repairs(place) && !sealed),
    });
    let worst = found.min_by_key(|found| found.kind)?;
    Some(Reason::Drifted {
        kind: worst.kind,
        detail: worst.detail.clone(),
    })
}

/// Whether the place of this member is taken by a certificate that somebody else installed and that was issued later than
/// the newest of ours. It stays, as long as no person wants it replaced, and the others of the target go on.
pub(crate) fn is_taken(place: &Place<'_>, member: &Member<'_>) -> bool {
    let id = &member.subject.policy.id;
    let newest = member.subject.state.newest.as_ref();
    let is_later = |found: &Difference| {
        newest.is_some_and(|newest| {
            let goes_in = place.state.live.get(id) != Some(&newest.id);
            goes_in
                && found
                    .issued_at
                    .is_some_and(|at| newest.facts.not_before > at)
        })
    };
    let mut theirs = newer_elsewhere(place).filter(|found| found.certificate.as_ref() == Some(id));
    theirs.any(|found| !is_later(found)) && !place.state.overwrite.contains(id)
}

/// A certificate that somebody else installed by pointing the link elsewhere, which all members share: a rollout of any
/// of them would replace it.
pub(crate) fn in_the_way<'a>(place: &Place<'a>, members: &[Member<'_>]) -> Option<&'a Difference> {
    let drift = place.state.drift.as_ref()?;
    let mut links = drift.of(DriftKind::LinkChanged);
    if !links.any(|found| found.certificate.is_none()) {
        return None;
    }
    // A keystore that does not open is no matter of the link.
    let mut theirs = newer_elsewhere(place).filter(|found| found.kind == DriftKind::NewerElsewhere);
    theirs.find(|found| {
        // What left the target is not written any more.
        let whose =
            |member: &&Member<'_>| found.certificate.as_ref() == Some(&member.subject.policy.id);
        members
            .iter()
            .find(whose)
            .is_some_and(|member| is_taken(place, member))
    })
}

fn newer_elsewhere<'a>(place: &Place<'a>) -> impl Iterator<Item = &'a Difference> {
    let drift = place.state.drift.iter();
    drift.flat_map(Drift::perhaps_newer)
}

/// The verdict on what such a certificate keeps back.
pub(crate) fn kept_back(found: &Difference) -> Verdict {
    Verdict::Blocked(Blocked::NewerElsewhere {
        detail: found.detail.clone(),
    })
}

/// What is found and left as it is, where nothing else is done with the certificate.
pub(crate) fn left(
    place: &Place<'_>,
    members: &[Member<'_>],
    is_changed: impl Fn(&CertificateId) -> bool,
) -> Vec<Finding> {
    if place.state.drift.is_none() && place.state.wire.is_none() {
        return Vec::new();
    }
    members
        .iter()
        .filter(|member| !is_changed(&member.subject.policy.id))
        .filter_map(|member| {
            let id = &member.subject.policy.id;
            let worst = about(place, members, id).min_by_key(|found| found.kind)?;
            let verdict = match worst.kind {
                DriftKind::NewerElsewhere => kept_back(worst),
                DriftKind::KeyExposed
                | DriftKind::FileMissing
                | DriftKind::FileUnreadable
                | DriftKind::FileEdited
                | DriftKind::LinkChanged
                | DriftKind::ServedNewer
                | DriftKind::ServedOther
                | DriftKind::ServedOld
                | DriftKind::ServedChain
                | DriftKind::AttributesChanged => Verdict::Blocked(Blocked::Drifted {
                    kind: worst.kind,
                    detail: worst.detail.clone(),
                }),
            };
            Some(Finding {
                at: member.at,
                verdict,
            })
        })
        .collect()
}

/// Whether the files of the target give no answer, and that for longer than a server takes to come back, or to hand over
/// to another.
pub(crate) fn is_silent(place: &Place<'_>, now: Timestamp) -> bool {
    let since = place.state.silent;
    since.is_some_and(|since| since + TAKES_OVER <= now)
}

/// One alert per kind: a lost directory must not ring a hundred times.
pub(crate) fn alerts(place: &Place<'_>, now: Timestamp, draft: &mut Draft) {
    let id = &place.policy.id;
    if let Some(since) = place.state.silent.filter(|_| is_silent(place, now)) {
        draft.alert(
            Severity::Warning,
            DriftKind::FileUnreadable.code(),
            id.as_str(),
            format!("{id}: its files give no answer"),
            format!(
                "They have given none since {since}, most likely since the server of their file system is gone: bring it back, or take the mount away. Nothing is rolled out to {id} meanwhile, and what its service serves may run out; everything else goes on. They are asked again by themselves."
            ),
        );
    }
    if place.state.drift.is_none() && place.state.wire.is_none() {
        return;
    }
    for kind in DriftKind::ALL {
        if kind == DriftKind::FileUnreadable && place.state.silent.is_some() {
            continue;
        }
        let found: Vec<&Difference> = all(place).filter(|found| found.kind == kind).collect();
        let Some(first) = found.first() else {
            continue;
        };
        let more = match found.len() {
            1 => String::new(),
            many => format!(", and {} more", many - 1),
        };
        let mut text = String::new();
        for other in found.iter().skip(1).take(SHOWN) {
            text.push_str(&format!("{}\n", other.detail));
        }
        if found.iter().any(|found| !found.is_sealed()) {
            text.push_str(&advice(place, kind, first.certificate.as_ref()));
        }
        if let Some(sealed) = found.iter().find(|found| found.is_sealed()) {
            let name = sealed.certificate.as_ref();
            text.push_str(&format!(
                "A keystore that does not open is left as it is until a renewal: `renewd release {} --force` replaces it.",
                name.map_or("NAME", CertificateId::as_str)
            ));
        }
        draft.alert(
            severity(kind),
            kind.code(),
            id.as_str(),
            format!("{id}: {}{more}", first.detail),
            text,
        );
    }
}

const fn severity(kind: DriftKind) -> Severity {
    match kind {
        DriftKind::KeyExposed => Severity::Critical,
        DriftKind::NewerElsewhere
        | DriftKind::FileMissing
        | DriftKind::FileUnreadable
        | DriftKind::FileEdited
        | DriftKind::LinkChanged
        | DriftKind::ServedNewer
        | DriftKind::ServedOther
        | DriftKind::ServedOld
        | DriftKind::ServedChain
        | DriftKind::AttributesChanged => Severity::Warning,
    }
}

fn advice(place: &Place<'_>, kind: DriftKind, whose: Option<&CertificateId>) -> String {
    let name = whose.map_or("NAME", CertificateId::as_str);
    let sealed = all(place).any(|found| found.is_sealed() && found.certificate.as_ref() == whose);
    let then = if sealed {
        format!(
            "Nothing is changed while a keystore of the certificate does not open; `renewd release {name} --force` puts all of it right."
        )
    } else if repairs(place) {
        "It is put right by itself, by a rollout of the same set.".to_owned()
    } else {
        format!(
            "Nothing is changed, since the policy says `drift = \"report\"`; `renewd release {name} --force` puts it right."
        )
    };
    match kind {
        DriftKind::ServedNewer => format!(
            "Somebody else's was issued later, so nothing is changed. `renewd renew {name}` obtains a later one, `renewd release {name} --force` tells the service to read renewd's."
        ),
        DriftKind::ServedOther | DriftKind::ServedOld | DriftKind::ServedChain if retold(place) => {
            format!(
                "Telling the service once more did not help: look at its configuration, then `renewd release {name} --force`."
            )
        }
        DriftKind::NewerElsewhere => format!(
            "Somebody else installed it; nothing older replaces it, and the others of the target go on without it. `renewd renew {name}` obtains a later one, `renewd release {name} --force` puts back what renewd has."
        ),
        DriftKind::KeyExposed => {
            format!(
                "{then} Whoever read the key keeps it: `renewd renew {name}` obtains a new one."
            )
        }
        DriftKind::FileMissing
        | DriftKind::FileUnreadable
        | DriftKind::FileEdited
        | DriftKind::LinkChanged
        | DriftKind::ServedOther
        | DriftKind::ServedOld
        | DriftKind::ServedChain
        | DriftKind::AttributesChanged => then,
    }
}

/// The differences that concern a certificate: its own, and what belongs to nobody who is on the target any more.
fn about<'a>(
    place: &Place<'a>,
    members: &'a [Member<'_>],
    id: &'a CertificateId,
) -> impl Iterator<Item = &'a Difference> {
    all(place).filter(move |found| match &found.certificate {
        Some(whose) if whose == id => true,
        Some(whose) => {
            found.kind != DriftKind::NewerElsewhere
                && !found.kind.is_served()
                && !members.iter().any(|m| m.subject.policy.id == *whose)
        }
        None => true,
    })
}

/// On disk and on the wire.
fn all<'a>(place: &Place<'a>) -> impl Iterator<Item = &'a Difference> {
    let disk = place
        .state
        .drift
        .iter()
        .flat_map(|drift| &drift.differences);
    let wire = place.state.wire.iter().flat_map(|wire| &wire.differences);
    disk.chain(wire)
}

/// The service was told once more and serves something else still.
fn retold(place: &Place<'_>) -> bool {
    place.state.wire.as_ref().is_some_and(|wire| wire.retold)
}

fn repairs(place: &Place<'_>) -> bool {
    match place.policy.drift {
        DriftMode::Repair => true,
        DriftMode::Report => false,
    }
}

/// Details in the text of an alert, beside the one in its title.
const SHOWN: usize = 5;
/// As long as a server of files may be away without anybody's doing.
const TAKES_OVER: Seconds = Seconds::minutes(2);
