//! Asking, until every name is answered as it should be or the deadline passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::deploy::StepError;
use crate::deploy::probe::{Expected, KeyKind, ProbeError, Seen, handshake_after, naming};
use crate::deploy::prove::Question;
use crate::model::{
    CertificateFacts, CertificateId, ErrorClass, Listeners, Prelude, ProbeReport, Seconds,
    Timestamp,
};
use crate::pki::facts;

/// Asks until every question has its answer or the deadline passes. Reloads are gradual: for a while old and new workers
/// answer in turn (nginx lets both accept for 100 ms), so an answer counts once it is still the same some time later. At
/// the deadline the last answer decides.
pub(in crate::deploy) async fn ask(
    connect: &Listeners,
    prelude: Prelude,
    deadline: Seconds,
    questions: Vec<Question>,
) -> Result<Vec<ProbeReport>, Unproven> {
    let begun = Instant::now();
    let manner = Manner {
        prelude,
        shortest: SHORTEST_HANDSHAKE,
        longest: longest(prelude, deadline),
        end: begun + deadline.to_std(),
    };
    repeat(&manner, deadline, pairs(connect, questions)).await
}

/// The same for what was proven before: every question once, and again where the answer is wrong or missing only if it
/// came at once. `deadline` is the policy's, and says how long a slow greeting is waited for.
pub(in crate::deploy) async fn ask_once(
    connect: &Listeners,
    prelude: Prelude,
    deadline: Seconds,
    questions: Vec<Question>,
) -> Result<Vec<ProbeReport>, Unproven> {
    let longest = longest(prelude, deadline);
    let manner = Manner {
        prelude,
        shortest: longest,
        longest,
        end: Instant::now(),
    };
    repeat(&manner, Seconds(0), pairs(connect, questions)).await
}

/// A name for which something else is served than should be.
pub(in crate::deploy) struct Sight {
    /// `host:port serves …`.
    pub(in crate::deploy) text: String,
    /// What is served, DER, if it is a certificate at all.
    pub(in crate::deploy) leaf: Option<Vec<u8>>,
    /// Whose name it is.
    pub(in crate::deploy) of: BTreeSet<CertificateId>,
}

/// What is served wrongly now, of what was proven before: seen twice, since a worker on its way out may have answered.
/// Who does not answer serves nothing wrong, unless it refuses one name and answers for another. `deadline` is the policy's, as for [`ask_once`].
pub(in crate::deploy) async fn wrong(
    connect: &Listeners,
    prelude: Prelude,
    deadline: Seconds,
    questions: Vec<Question>,
) -> Vec<Sight> {
    let there = listening(connect).await;
    if there.iter().next().is_none() {
        return Vec::new();
    }
    let manner = Manner {
        prelude,
        shortest: SHORTEST_HANDSHAKE,
        longest: longest(prelude, deadline),
        end: Instant::now() + LONGEST_LOOK,
    };
    let mut open = pairs(&there, questions);
    let mute = mute(&manner, &open).await;
    open.retain(|_, asked| !mute.contains(&asked.connect));
    let answers = round(&manner, &open).await;
    // By somebody who has an answer for others, a refused name is not served: its part of the configuration is gone.
    let good = |answer: &Answer| match answer {
        Ok(_) => true,
        Err(failure) => failure.kind == FailureKind::Wrong,
    };
    let answering: BTreeSet<Arc<str>> = answers
        .iter()
        .filter(|(_, answer)| good(answer))
        .filter_map(|(index, _)| open.get(index).map(|asked| Arc::clone(&asked.connect)))
        .collect();
    let refused: BTreeSet<usize> = open
        .iter()
        .filter(|(_, asked)| answering.contains(&asked.connect))
        .map(|(index, _)| *index)
        .collect();
    let first = wrong_of(answers, &refused);
    if first.is_empty() {
        return Vec::new();
    }
    sleep(SETTLED).await;
    open.retain(|index, _| first.contains_key(index));
    let again = wrong_of(round(&manner, &open).await, &refused).into_iter();
    again
        .filter(|(index, failure)| {
            let before = first.get(index);
            before.is_some_and(|before| before.shown == failure.shown)
        })
        .map(|(_, failure)| Sight {
            text: failure.text,
            leaf: failure.shown,
            of: failure.of,
        })
        .collect()
}

/// The listeners that say nothing: whoever says nothing to one will say nothing to hundreds, and takes his time each time.
async fn mute(manner: &Manner, open: &BTreeMap<usize, Open>) -> BTreeSet<Arc<str>> {
    let mut asked = BTreeSet::new();
    let mut mute = BTreeSet::new();
    for first in open.values() {
        if !asked.insert(Arc::clone(&first.connect)) {
            continue;
        }
        let within = manner.longest.min(LONGEST_LOOK);
        let answer = one(&first.connect, manner.prelude, &first.question, within).await;
        if answer.is_err_and(|failure| failure.patience.is_some()) {
            mute.insert(Arc::clone(&first.connect));
        }
    }
    mute
}

/// `refused`: the questions for which a refused handshake counts.
fn wrong_of(answers: Vec<(usize, Answer)>, refused: &BTreeSet<usize>) -> BTreeMap<usize, Failure> {
    let failures = answers
        .into_iter()
        .filter_map(|(index, answer)| Some((index, answer.err()?)));
    failures
        .filter(|(index, failure)| match failure.kind {
            FailureKind::Wrong => true,
            FailureKind::Refused => refused.contains(index),
            FailureKind::Silent | FailureKind::Foreign | FailureKind::Nobody => false,
        })
        .collect()
}

/// One look at somebody whose answer decides nothing.
pub(in crate::deploy) async fn look(
    connect: &str,
    prelude: Prelude,
    question: &Question,
    within: Duration,
) -> Look {
    match one(connect, prelude, question, within).await {
        Ok(report) => Look::Same(report),
        Err(failure) => match failure.kind {
            FailureKind::Wrong => Look::Differs(failure.text),
            FailureKind::Refused
            | FailureKind::Silent
            | FailureKind::Foreign
            | FailureKind::Nobody => Look::Silent(failure.text),
        },
    }
}

/// What came of it.
pub(in crate::deploy) enum Look {
    /// As it should be.
    Same(ProbeReport),
    /// Another certificate, in words.
    Differs(String),
    /// No certificate, in words.
    Silent(String),
}

/// Mail servers make strangers wait for their greeting (Postfix's postscreen 6 s), and RFC 5321 §4.5.3.2.1 wants
/// clients to be patient for minutes. A connection that hangs must leave time for another one all the same.
fn longest(prelude: Prelude, deadline: Seconds) -> Duration {
    match prelude.starttls {
        Some(_) => LONGEST_HANDSHAKE.max(deadline.to_std() / 2),
        None => LONGEST_HANDSHAKE,
    }
}

/// How it is asked, and with how much patience.
struct Manner {
    prelude: Prelude,
    /// For one handshake, even at the end.
    shortest: Duration,
    /// For one handshake.
    longest: Duration,
    /// For all.
    end: Instant,
}

async fn repeat(
    manner: &Manner,
    deadline: Seconds,
    mut open: BTreeMap<usize, Open>,
) -> Result<Vec<ProbeReport>, Unproven> {
    let end = manner.end;
    let mut reports = BTreeMap::new();
    // The last one of each, since the last round may end early.
    let mut failures = BTreeMap::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let begun = Instant::now();
        for (index, answer) in round(manner, &open).await {
            let Some(asked) = open.get_mut(&index) else {
                continue;
            };
            match answer {
                Ok(report) => {
                    asked.took = Duration::from_millis(report.milliseconds);
                    reports.insert(index, report);
                    failures.remove(&index);
                    let good_since = *asked.good_since.get_or_insert_with(Instant::now);
                    if begun >= good_since + SETTLED {
                        open.remove(&index);
                    }
                }
                // Shortly before the end there was no time for the same answer again.
                Err(failure)
                    if asked.good_since.is_some()
                        && failure
                            .patience
                            .is_some_and(|waited| waited < asked.took * 2) => {}
                Err(failure) => {
                    reports.remove(&index);
                    failures.insert(index, failure);
                    asked.good_since = None;
                }
            }
        }
        let good = open.values().all(|asked| asked.good_since.is_some());
        let left = end.saturating_duration_since(Instant::now());
        if open.is_empty() || (left.is_zero() && good) {
            return Ok(reports.into_values().collect());
        }
        if left.is_zero() {
            let mut unproven = failed(deadline, failures.into_values().collect());
            unproven.reports = reports.into_values().collect();
            return Err(unproven);
        }
        sleep(left.min(if good { SETTLED } else { pause })).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Every question to every listener.
fn pairs(listeners: &Listeners, questions: Vec<Question>) -> BTreeMap<usize, Open> {
    let asked = questions.into_iter().map(Arc::new).flat_map(|question| {
        listeners
            .iter()
            .map(move |connect| Open::new(connect, Arc::clone(&question)))
    });
    asked.enumerate().collect()
}

/// A question to a listener that is not closed.
struct Open {
    connect: Arc<str>,
    question: Arc<Question>,
    /// Since when every answer was as it should be.
    good_since: Option<Instant>,
    /// How long the last good answer took.
    took: Duration,
}

impl Open {
    fn new(connect: &str, question: Arc<Question>) -> Self {
        Self {
            connect: Arc::from(connect),
            question,
            good_since: None,
            took: Duration::ZERO,
        }
    }
}

/// The listeners at which somebody answers the phone.
async fn listening(connect: &Listeners) -> Listeners {
    let mut there = Vec::new();
    for listener in connect.iter() {
        let connected = timeout(SHORTEST_HANDSHAKE, TcpStream::connect(listener)).await;
        if matches!(connected, Ok(Ok(_))) {
            there.push(listener.to_owned());
        }
    }
    there.into_iter().collect()
}

/// Whether the service runs at all, and at which of its listeners. A few tries, since it may just be restarting.
pub(in crate::deploy) async fn somebody_listens(
    connect: &Listeners,
) -> Result<Listeners, StepError> {
    let mut tries = 0;
    loop {
        let there = listening(connect).await;
        if there.iter().next().is_some() {
            return Ok(there);
        }
        tries += 1;
        if tries == TRIES {
            let problem =
                match timeout(SHORTEST_HANDSHAKE, TcpStream::connect(connect.first())).await {
                    Ok(Ok(_)) => "it has come this moment".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "no answer".to_owned(),
                };
            let text = format!(
                "nobody listens at {connect} ({problem}): the service does not run; the new files are in place for its start"
            );
            return Err(StepError::new(ErrorClass::Transient, text));
        }
        sleep(LONGEST_PAUSE).await;
    }
}

/// Whether whoever listens speaks the protocol of the probe, whatever is served.
pub(in crate::deploy) async fn speaks(
    connect: &Listeners,
    prelude: Prelude,
    deadline: Seconds,
) -> Result<(), StepError> {
    let within = longest(prelude, deadline);
    for listener in connect.iter() {
        match handshake_after(listener, prelude, None, KeyKind::Any, within).await {
            Err(error) if error.is_foreign() => {
                return Err(StepError {
                    foreign: true,
                    ..StepError::configuration(format!("the probe cannot work: {error}"))
                });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The deadline passed.
pub(in crate::deploy) struct Unproven {
    pub(in crate::deploy) error: StepError,
    /// What was as it should be.
    pub(in crate::deploy) reports: Vec<ProbeReport>,
    /// Where nobody was there to ask, if that is all that is wrong.
    pub(in crate::deploy) absent: Option<BTreeSet<String>>,
}

impl Unproven {
    /// Nobody was there to ask, for any name.
    pub(in crate::deploy) fn nobody(&self) -> bool {
        self.absent.is_some() && self.reports.is_empty()
    }
}

/// A name that was not answered as it should be.
struct Failure {
    /// `host:port serves …`, or why there was no answer.
    text: String,
    kind: FailureKind,
    /// Who was asked.
    connect: Arc<str>,
    /// The leaf of a wrong answer.
    shown: Option<Vec<u8>>,
    /// How long was waited in vain; `None` where the answer did not fail to come.
    patience: Option<Duration>,
    /// Whose name it is.
    of: BTreeSet<CertificateId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// An answer, and a wrong one.
    Wrong,
    /// Somebody who begins TLS and ends it without a certificate.
    Refused,
    /// Somebody, and no answer.
    Silent,
    /// Somebody who speaks another protocol.
    Foreign,
    /// Nobody.
    Nobody,
}

type Answer = Result<ProbeReport, Failure>;

/// Every open question once, few at a time. Past the end the first failure decides, and the rest is left.
async fn round(manner: &Manner, open: &BTreeMap<usize, Open>) -> Vec<(usize, Answer)> {
    let (prelude, end) = (manner.prelude, manner.end);
    let at_once = if prelude.starttls.is_some() {
        AT_ONCE_BEFORE_TLS
    } else {
        AT_ONCE
    };
    let mut waiting = open.iter();
    let mut running = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        while running.len() < at_once
            && let Some((index, asked)) = waiting.next()
        {
            let (index, question) = (*index, Arc::clone(&asked.question));
            let connect = Arc::clone(&asked.connect);
            let left = end.saturating_duration_since(Instant::now());
            let within = left.clamp(manner.shortest, manner.longest);
            running.spawn(async move { (index, one(&connect, prelude, &question, within).await) });
        }
        let Some(joined) = running.join_next().await else {
            return answers;
        };
        // A task that panicked is a question without an answer.
        let Ok((index, answer)) = joined else {
            continue;
        };
        let over = answer.is_err() && Instant::now() >= end;
        answers.push((index, answer));
        if over {
            return answers;
        }
    }
}

async fn one(connect: &str, prelude: Prelude, question: &Question, within: Duration) -> Answer {
    let mut seen = shake(connect, prelude, question, KeyKind::Any, within).await?;
    let mut verdict = judge(question, &seen);
    if verdict.is_err()
        && question
            .expected
            .iter()
            .any(|expected| expected.may_be_hidden(&seen))
    {
        let keys = question
            .expected
            .first()
            .map_or(KeyKind::Any, Expected::keys);
        // A server without such a key refuses; then what it served first is what is told.
        if let Ok(other) = shake(connect, prelude, question, keys, within).await {
            verdict = judge(question, &other);
            seen = other;
        }
    }
    match verdict {
        Ok(()) => Ok(report(question, &seen)),
        Err(problem) => Err(Failure {
            text: format!("{} {problem} for {}", seen.address, question.name),
            kind: FailureKind::Wrong,
            connect: Arc::from(connect),
            shown: seen.presented.first().cloned(),
            patience: None,
            of: question.of.clone(),
        }),
    }
}

async fn shake(
    connect: &str,
    prelude: Prelude,
    question: &Question,
    keys: KeyKind,
    within: Duration,
) -> Result<Seen, Failure> {
    handshake_after(connect, prelude, question.sni.as_deref(), keys, within)
        .await
        .map_err(|error| Failure {
            patience: match &error {
                ProbeError::Silent { after, .. } => Some(*after),
                ProbeError::Connect { .. }
                | ProbeError::Prelude { .. }
                | ProbeError::Handshake { .. } => None,
            },
            shown: None,
            connect: Arc::from(connect),
            text: format!("{error} (asking for {})", question.name),
            kind: match error {
                _ if error.is_foreign() => FailureKind::Foreign,
                ProbeError::Connect { .. } => FailureKind::Nobody,
                ProbeError::Handshake { .. } => FailureKind::Refused,
                ProbeError::Prelude { .. } | ProbeError::Silent { .. } => FailureKind::Silent,
            },
            of: question.of.clone(),
        })
}

fn judge(question: &Question, seen: &Seen) -> Result<(), String> {
    let mut first = None;
    for expected in &question.expected {
        match expected.judge(seen) {
            Ok(()) => return Ok(()),
            Err(problem) => drop(first.get_or_insert(problem)),
        }
    }
    first.map_or(Ok(()), Err)
}

fn report(question: &Question, seen: &Seen) -> ProbeReport {
    let leaf = seen.presented.first().and_then(|leaf| facts(leaf).ok());
    ProbeReport {
        name: question.name.clone(),
        address: seen.address.clone(),
        serial: leaf
            .as_ref()
            .map(|facts| facts.serial.clone())
            .unwrap_or_default(),
        names: leaf.as_ref().map(naming).unwrap_or_default(),
        not_after: leaf.map_or(Timestamp(0), |CertificateFacts { not_after, .. }| not_after),
        chain: seen.presented.len(),
        protocol: seen.protocol.clone(),
        milliseconds: u64::try_from(seen.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

/// How many names were asked for; each may have been at several listeners.
pub(in crate::deploy) fn names(reports: &[ProbeReport]) -> usize {
    let names: BTreeSet<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    names.len()
}

fn failed(deadline: Seconds, failures: Vec<Failure>) -> Unproven {
    let are = |kind| move |failure: &Failure| failure.kind == kind;
    let nobody = !failures.is_empty() && failures.iter().all(are(FailureKind::Nobody));
    let absent = nobody.then(|| {
        let asked = failures.iter().map(|failure| failure.connect.to_string());
        asked.collect()
    });
    let foreign = !failures.is_empty() && failures.iter().all(are(FailureKind::Foreign));
    let class = if foreign || failures.iter().any(are(FailureKind::Wrong)) {
        ErrorClass::Configuration
    } else {
        ErrorClass::Transient
    };
    let mut message = match deadline {
        _ if foreign => "the probe cannot work: ".to_owned(),
        Seconds(0) => String::new(),
        deadline => format!("after {deadline} "),
    };
    match failures.first() {
        Some(failure) => message.push_str(&failure.text),
        None => message.push_str("not every name was answered"),
    }
    if failures.len() > 1 {
        let first = failures.first().map(|failure| &failure.connect);
        let elsewhere = failures
            .iter()
            .any(|failure| Some(&failure.connect) != first);
        let what = if elsewhere { "" } else { " names" };
        message.push_str(&format!(", and {} more{what} failed", failures.len() - 1));
    }
    let named = failures.iter().flat_map(|failure| failure.of.clone());
    let named = named.collect();
    let lines: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
    let error = StepError {
        output: lines.join("\n"),
        named,
        foreign,
        ..StepError::new(class, message)
    };
    Unproven {
        error,
        reports: Vec::new(),
        absent,
    }
}

/// All names of one target, at a check.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// Handshakes side by side: a target may have hundreds of names, and is not to be flooded.
const AT_ONCE: usize = 16;
/// Of those who talk before TLS: mail servers count the connections of one client, and few are allowed.
const AT_ONCE_BEFORE_TLS: usize = 4;
/// To find somebody listening.
const TRIES: u32 = 3;
/// How long answers must have been good; well beyond the time in which old workers still accept.
const SETTLED: Duration = Duration::from_millis(500);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Even at the deadline: an answer from this host needs milliseconds.
const SHORTEST_HANDSHAKE: Duration = Duration::from_secs(1);
/// From somebody who does not make clients wait on purpose.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(5);
