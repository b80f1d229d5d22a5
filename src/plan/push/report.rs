//! Where a certificate goes in the cloud and how far it is there, as lines of `renewd status` and as data.

use serde::{Deserialize, Serialize};

use crate::model::{
    CertificatePolicy, CertificateState, HostSeed, Policy, PushPolicy, PushState, Snapshot,
    Timestamp, Waiting,
};
use crate::plan::backoff;
use crate::plan::push::{self, Step};
use crate::plan::status::Code;

/// One place that a certificate goes to: in `pushes` of a certificate of `renewd status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReport {
    /// The table `[push.NAME]`.
    pub name: String,
    /// `ELB`, `WAF` or `CDN`.
    pub service: Code,
    /// Region; empty for CDN.
    pub region: String,
    /// `in-use`: the newest revision is there; `due`: it is brought there now; `failing`: it could not be, wholly or to
    /// some of the resources; `waiting`: for what `message` says; `none`: there is no revision that could be.
    pub state: Code,
    /// Since when it is in use, or fails, RFC 3339.
    pub since: Option<String>,
    /// The certificate's id at SCM that is in use everywhere, of whichever revision.
    pub reference: Option<String>,
    /// Attempts in a row that failed for every resource.
    pub failures: u32,
    /// What is wrong, or waited for.
    pub message: Option<String>,
    /// When it is tried again, RFC 3339.
    pub next_at: Option<String>,
    /// Each resource of the policy; none where it goes to the service's list of certificates alone.
    pub resources: Vec<ResourceReport>,
}

/// One resource of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceReport {
    /// As the policy names it.
    pub name: String,
    /// `in-use`, `due`, `failing` or `none`, as of the place.
    pub state: Code,
    /// Since when it uses it, or does not take it, RFC 3339.
    pub since: Option<String>,
    /// The certificate's id at SCM that it was last seen to use.
    pub reference: Option<String>,
    /// Attempts in a row that it did not take.
    pub failures: u32,
    /// What was said of the last.
    pub message: Option<String>,
    /// When it is tried again, RFC 3339.
    pub next_at: Option<String>,
}

/// Every place of one certificate, in the order of their names.
#[must_use]
pub(crate) fn report(
    policy: &Policy,
    snapshot: &Snapshot,
    certificate: &CertificatePolicy,
    now: Timestamp,
) -> Vec<PushReport> {
    let unknown = CertificateState::default();
    let state = snapshot.certificates.get(&certificate.id);
    let state = state.unwrap_or(&unknown);
    let places = certificate.push.iter();
    places
        .filter_map(|id| policy.pushes.get(id))
        .map(|push| {
            let step = push::step(snapshot, certificate, state, push, now);
            place((certificate, state), push, &step, snapshot.host, now)
        })
        .collect()
}

fn place(
    (certificate, state): (&CertificatePolicy, &CertificateState),
    push: &PushPolicy,
    step: &Step,
    host: HostSeed,
    now: Timestamp,
) -> PushReport {
    let unknown = PushState::default();
    let known = state.pushes.get(&push.id).unwrap_or(&unknown);
    let wanted = push::wanted(state, now).map(|newest| &newest.id);
    let resources = push.resources.iter().map(|name| {
        let unknown = Default::default();
        let of = known.resources.get(name).unwrap_or(&unknown);
        let failures = backoff::count(&of.failures, push.digest);
        let uses = of.used.as_ref().zip(wanted);
        let uses = uses.is_some_and(|(used, wanted)| push::is_of(used, push, wanted));
        let held = wanted
            .and_then(|wanted| push::held(&certificate.id, push, known, name, wanted, host, now));
        let used = of.used.as_ref();
        let last = of.failures.last.as_ref().filter(|_| failures > 0);
        let (state, since) = match wanted {
            None => (NONE, None),
            Some(_) if uses => (IN_USE, used.map(|used| used.at)),
            Some(_) if failures > 0 => (FAILING, of.failing_since),
            Some(_) => (DUE, None),
        };
        ResourceReport {
            name: name.clone(),
            state: state.into(),
            since: text_of(since),
            reference: used.map(|used| used.reference.clone()),
            failures,
            message: last.map(|last| last.message.clone()),
            next_at: text_of(held.as_ref().and_then(Waiting::until)),
        }
    });
    let resources: Vec<ResourceReport> = resources.collect();
    let failures = backoff::count(&known.failures, push.digest);
    let last = known.failures.last.as_ref().filter(|_| failures > 0);
    let refusing = push::refusing(push, known).next().is_some();
    let (state, since) = match step {
        Step::Done if wanted.is_none() => (NONE, None),
        Step::Done => (IN_USE, known.done.as_ref().map(|done| done.at)),
        Step::Due | Step::Waits { .. } if failures > 0 || refusing => {
            let since = resources.iter().filter(|one| one.state == FAILING);
            let since = since.filter_map(|one| Timestamp::parse(one.since.as_ref()?).ok());
            let whole = known.failing_since.filter(|_| failures > 0);
            (FAILING, since.chain(whole).min())
        }
        Step::Due => (DUE, None),
        Step::Waits { .. } => (WAITING, None),
    };
    let (until, why) = match step {
        Step::Waits { until, why } => (*until, Some(why.clone())),
        Step::Done | Step::Due => (None, None),
    };
    PushReport {
        name: push.id.to_string(),
        service: push.service.as_str().into(),
        region: push.region.clone(),
        state: state.into(),
        since: text_of(since),
        reference: known.done.as_ref().map(|done| done.reference.clone()),
        failures,
        message: match state {
            FAILING => last.map(|last| last.message.clone()),
            _ => why,
        },
        next_at: text_of(until),
        resources,
    }
}

fn text_of(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

impl PushReport {
    /// Whether it could not be brought there, wholly or to some of the resources.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.state == FAILING
    }

    /// What is wrong, in one line; empty where nothing is.
    #[must_use]
    pub fn wrong(&self) -> String {
        let resources = self.resources.iter().filter(|one| one.state == FAILING);
        let mut all: Vec<String> = resources
            .map(|one| {
                format!(
                    "{}: {}",
                    one.name,
                    one.message.as_deref().unwrap_or_default()
                )
            })
            .collect();
        all.extend(self.message.clone().filter(|_| self.is_failing()));
        all.join("; ")
    }
}

/// The lines of `renewd status` for the places of a certificate.
#[must_use]
pub(crate) fn text(pushes: &[PushReport]) -> String {
    let mut text = String::new();
    for push in pushes {
        let at = match push.region.as_str() {
            "" => push.service.to_string(),
            region => format!("{} {region}", push.service),
        };
        text.push_str(&format!("  pushed to {} ({at}): ", push.name));
        text.push_str(&line(
            &push.state,
            (push.since.as_deref(), push.failures),
            push.message.as_deref(),
            push.next_at.as_deref(),
        ));
        if push.state == IN_USE {
            continue;
        }
        for one in &push.resources {
            let told = line(
                &one.state,
                (one.since.as_deref(), one.failures),
                one.message.as_deref(),
                one.next_at.as_deref(),
            );
            text.push_str(&format!("    {}: {told}", one.name));
        }
    }
    text
}

fn line(
    state: &str,
    (since, failures): (Option<&str>, u32),
    message: Option<&str>,
    next_at: Option<&str>,
) -> String {
    let mut line = match state {
        IN_USE => "in use".to_owned(),
        DUE => "not there yet".to_owned(),
        WAITING => "waiting".to_owned(),
        NONE => "nothing to bring there".to_owned(),
        other => other.to_owned(),
    };
    if let Some(since) = since {
        line.push_str(&format!(" since {since}"));
    }
    match failures {
        0 => {}
        1 => line.push_str(", failed once"),
        more => line.push_str(&format!(", failed {more} times")),
    }
    if let Some(message) = message {
        line.push_str(&format!(": {message}"));
    }
    if let Some(next) = next_at {
        line.push_str(&format!("; again at {next}"));
    }
    line.push('\n');
    line
}

const IN_USE: &str = "in-use";
const DUE: &str = "due";
const FAILING: &str = "failing";
const WAITING: &str = "waiting";
const NONE: &str = "none";
