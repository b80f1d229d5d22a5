//! The language of the scenarios: one command per line, `#` begins a comment, lines with `>` are the golden part.
//!
//! ```text
//! now 2030-01-01                                   sets the clock; it never goes by itself
//! issuer lab: timeout=30s settle=2m rev=1          made with these values when a policy names it
//! issuer lab: orders=2                              two orders in an hour
//! target web: rev=1                                likewise; another `rev` is another policy
//! target web: windows=5:2h+2h reloads=2             open on Saturday at two for two hours; two reloads in an hour
//! target web: hooks=pre+post                       that has these hooks
//! checks "0 17 */6 * * *"                          by this schedule; `checked` is a check that has run now
//! policy www: issuer=lab names=a.example targets=web renew_at=1/3 validity=90d order=auto key=local algorithm=ec-p256
//! forget www                                       takes the certificate out of the policy
//! forget-target web
//! advance 61d                                      moves the clock
//! run                                              plans and executes until nothing is to be done
//! run for 2h                                       likewise, going on where a wait ends
//! once                                             plans and executes once
//! plan                                             prints what `renewd plan` prints, executes nothing
//! status                                           likewise
//! json                                             likewise, as scripts read it
//! alerts                                           prints the standing alerts in full
//! fail STEP SUBJECT [times=2|always] [class=transient] [message="…"] [retry_after=2h] [again=yes] [service=down]
//!     [named=a+b|unnamed=a+b|everybody=a+b]        of a rollout: only while one of them is to change, and whom it blames
//! break web                                        the service refuses its configuration, whatever is in its files
//! lose-answer SUBJECT effect=yes|no                the next submit's answer is lost
//! crash STEP SUBJECT before|after                  the process dies before or after the step's effect
//! retire www of web                                the service refuses its name, whatever is in its files
//! hide www behind shop of web                      a newer shop keeps the service from showing www
//! mend                                             takes back every `fail` and `break`; `uncrash` every `crash`
//! lifetime 7d|asked                                what the issuer gives
//! ca-ends 2030-06-01                               nothing is issued beyond
//! pending 3                                        looks until the next certificates are issued
//! offer www names=*.example lifetime=90d           others obtain one; the follower www is offered it
//! withdraw www
//! force www                                        `renewd renew`
//! rollback www on web                              `renewd rollback`, to the revision before the live one
//! hold www on web                                  the newest is kept off, as after a rollback
//! release web
//! unusable www DETAIL                              the stored revision was found to be unusable
//! hang web                                         its files give no answer; `answer web` ends that
//! refuse DETAIL                                    the policy that lies there cannot be used; `accept` ends that
//! drift web CODE www DETAIL                        a check found a difference of the kind with this code; `-` for nobody's
//! drift web newer-elsewhere www@2030-01-05 DETAIL  and when that was issued
//! remote www revoked DETAIL                        the issuer says so of the newest revision
//! revoke-live www on web                           and of an earlier one that is live
//! overwrite www on web                             `renewd release --force`
//! close /srv/www of www on web                     the sandbox keeps its files from being written; `open web` ends it
//! issuer prod: kind=scm purchase=OV_SSL_CERT years=2 day=1 month=5 pay=no       an SCM issuer and what it may buy
//! lose-purchase www effect=yes late=5m tags=20m    the next purchase's answer is lost; its effect and its tags come late
//! buys DV_SSL_CERT [years=2] [order=o9]            a person buys; with `order` in the name of our journal
//! rival / foreign www / foreign-gone               another host claims what is unused; applies for its names; is gone
//! stale yes|no                                     the journal was made on another machine
//! review 12d / scm-lifetime 47d / mails            of SCM: how long it takes, what it gives, proofs by mail
//! no-successors                                    the account does not apply by itself
//! answer                                           a person follows the links in those mails
//! account                                          prints what SCM has, and what is published
//! full www /var/lib/renewd                         a disk has no room; `room` gives it back
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use croner::parser::CronParser;
use jiff::tz::TimeZone;
use renewd::model::{
    Budget, CertificateId, CertificatePolicy, Difference, DomainMethod, DomainType, DriftKind,
    DriftMode, ErrorClass, Failures, Fingerprint, Hooks, IssuerId, IssuerKind, IssuerPace,
    IssuerPolicy, JobName, JobPolicy, JobResult, JobRun, KeyAlgorithm, KeyReuse, KeySource,
    MaintenanceWindow, Name, OrderId, OrderMode, Pacing, PcaPolicy, Probe, PurchasePolicy,
    RemoteAccess, RemoteAuth, RemoteTrouble, RenewRule, Scarce, ScmPolicy, Seconds, SecretRef,
    Shortage, Stale, Standing, Subject, TargetId, TargetKind, TargetPolicy, TargetState, Timestamp,
    ValidationId, ValidationKind, ValidationPolicy,
};
use renewd::plan::explain;

use super::faults::{Crash, Fault};
use super::scm::{Mark, Stage};
use super::world::World;

/// Plays a script; answers its lines with the golden part below each.
pub(crate) fn play(script: &str) -> (String, World) {
    let mut world = World::new();
    let mut transcript = String::new();
    for line in script.lines() {
        if line.starts_with('>') {
            continue;
        }
        transcript.push_str(line);
        transcript.push('\n');
        let command = line.split('#').next().unwrap().trim();
        if !command.is_empty() {
            obey(&mut world, command);
        }
        for line in std::mem::take(&mut world.log.lines) {
            for line in line.lines() {
                let _ = writeln!(transcript, "> {line}");
            }
        }
        world.log.line(String::new());
        world.log.lines.clear();
    }
    (transcript, world)
}

/// Carries out one command.
pub(crate) fn obey(world: &mut World, command: &str) {
    let words = words(command);
    let mut rest = words.iter().map(String::as_str);
    let verb = rest.next().unwrap();
    let rest: Vec<&str> = rest.collect();
    match (verb, rest.as_slice()) {
        ("now", [at]) => world.now = Timestamp::parse(at).unwrap(),
        ("advance", [length]) => world.now = world.now + seconds(length),
        ("run", []) => run(world, Seconds(0)),
        ("run", ["for", length]) => run(world, seconds(length)),
        ("once", []) => {
            for action in world.plan().actions {
                world.execute(action);
            }
        }
        ("plan", []) => {
            let plan = world.plan();
            let text = explain::text(&world.policy, &world.snapshot, &plan, world.now);
            world.log.line(text);
        }
        ("status", []) => {
            let plan = world.plan();
            let report = explain::report(&world.policy, &world.snapshot, &plan, world.now);
            world.log.line(explain::status(&report));
        }
        ("json", []) => {
            let plan = world.plan();
            let report = explain::report(&world.policy, &world.snapshot, &plan, world.now);
            world
                .log
                .line(serde_json::to_string_pretty(&report).unwrap());
        }
        ("alerts", []) => world.show_alerts(),
        ("checks", [schedule]) => checks(world, schedule),
        ("checked", []) => {
            let run = JobRun {
                started_at: world.now,
                took_ms: 1,
                result: JobResult::Done,
                message: String::new(),
            };
            world.snapshot.jobs.insert(JobName::Check, run);
        }
        ("issuer", [id, values @ ..]) => issuer(world, id.trim_end_matches(':'), &pairs(values)),
        ("target", [id, values @ ..]) => target(world, id.trim_end_matches(':'), &pairs(values)),
        ("policy", [id, values @ ..]) => policy(world, id.trim_end_matches(':'), &pairs(values)),
        ("forget", [id]) => drop(world.policy.certificates.remove(*id).unwrap()),
        ("forget-target", [id]) => {
            world.policy.targets.remove(*id).unwrap();
            for certificate in world.policy.certificates.values_mut() {
                certificate.targets.remove(*id);
            }
        }
        ("fail", [step, subject, values @ ..]) => fail(world, step, subject, &pairs(values)),
        ("lose-answer", [subject, effect]) => {
            let mut fault = Fault::new("submit", subject);
            fault.class = ErrorClass::Transient;
            fault.message = "the answer was lost".to_owned();
            fault.lost = Some(*effect == "effect=yes");
            world.faults.failures.push(fault);
        }
        ("lose-purchase", [subject, effect, values @ ..]) => {
            let values = pairs(values);
            let value = |key: &str| seconds(values.get(key).unwrap_or(&"0s"));
            (world.scm.effect_in, world.scm.tags_in) = (value("late"), value("tags"));
            let mut fault = Fault::new("buy", subject);
            fault.class = ErrorClass::Transient;
            fault.message = "the answer was lost".to_owned();
            fault.lost = Some(*effect == "effect=yes");
            world.faults.failures.push(fault);
        }
        ("buys", [kind, values @ ..]) => {
            let values = pairs(values);
            let years = values.get("years").map_or(1, |years| years.parse().unwrap());
            let now = world.now;
            let domains = values.get("domains").map_or(1, |count| count.parse().unwrap());
            let domain_type = match domains {
                1 => DomainType::SingleDomain,
                _ => DomainType::MultiDomain,
            };
            let bought = world.scm.add(kind, domain_type, domains, years, now);
            bought.intent = values.get("order").map(|order| Mark {
                journal: "ours".to_owned(),
                order: OrderId::new(order).unwrap(),
                at: now,
                seen_from: now,
            });
        }
        ("rival", []) => {
            for paper in &mut world.scm.papers {
                paper.claim = Some(Mark {
                    journal: "theirs".to_owned(),
                    order: OrderId::new("theirs").unwrap(),
                    at: world.now,
                    seen_from: world.now,
                });
            }
        }
        ("foreign", [id]) => {
            let names = world.policy.certificates[*id].names.clone();
            let foreign = world.scm.add("DV_SSL_CERT", DomainType::SingleDomain, 1, 1, world.now);
            foreign.stage = Stage::Checking {
                key: Fingerprint([255; 32]),
                names,
                proven_at: None,
            };
        }
        ("foreign-gone", []) => world.scm.papers.retain(|paper| {
            !matches!(&paper.stage, Stage::Checking { key, .. } if *key == Fingerprint([255; 32]))
        }),
        ("stale", [yes]) => {
            world.snapshot.stale = (*yes == "yes").then_some(Stale::OtherMachine);
        }
        ("review", [length]) => world.scm.review = seconds(length),
        ("scm-lifetime", [length]) => world.scm.lifetime = seconds(length),
        ("adds", [yes]) => world.scm.adds_none = *yes == "no",
        ("turn-down", [reference]) => world.scm.turn_down(reference),
        ("lose-supplement", [subject, effect]) => {
            let mut fault = Fault::new("supplement", subject);
            fault.class = ErrorClass::Transient;
            fault.message = "the answer was lost".to_owned();
            fault.lost = Some(*effect == "effect=yes");
            world.faults.failures.push(fault);
        }
        ("no-successors", []) => world.scm.successors = false,
        ("mails", []) => world.scm.method = DomainMethod::Email,
        ("answer", []) => world.scm.answer_mails(world.now),
        ("account", []) => world.show_account(),
        ("crash", [step, subject, when @ ("before" | "after")]) => {
            world.faults.crashes.push(Crash {
                step: (*step).to_owned(),
                subject: (*subject).to_owned(),
                after_effect: *when == "after",
            });
        }
        ("break", [target]) => {
            let service = world.services.get_mut(*target).unwrap();
            service.broken = true;
        }
        ("retire", [id, "of", target]) => {
            let service = world.services.get_mut(*target).unwrap();
            service.retired.insert(CertificateId::new(id).unwrap());
        }
        ("hide", [whom, "behind", by, "of", target]) => {
            let service = world.services.get_mut(*target).unwrap();
            let ids = [by, whom].map(|id| CertificateId::new(id).unwrap());
            service.hides = Some(ids.into());
        }
        ("mend", []) => {
            world.faults.failures.clear();
            for service in world.services.values_mut() {
                service.broken = false;
                service.retired.clear();
                service.hides = None;
            }
        }
        ("uncrash", []) => world.faults.crashes.clear(),
        ("lifetime", ["asked"]) => world.account.lifetime = None,
        ("lifetime", [length]) => world.account.lifetime = Some(seconds(length)),
        ("ca-ends", [at]) => world.account.ends = Some(Timestamp::parse(at).unwrap()),
        ("pending", [looks]) => world.account.pending = looks.parse().unwrap(),
        ("offer", [id, values @ ..]) => {
            let values = pairs(values);
            let id = CertificateId::new(id).unwrap();
            world.offer(&id, values["names"], seconds(values["lifetime"]));
        }
        ("withdraw", [id]) => drop(world.account.offers.remove(*id).unwrap()),
        ("force", [id]) => force(world, id),
        ("rollback", [id, "on", target]) => rollback(world, id, target),
        ("hold", [id, "on", target]) => {
            let newest = world.snapshot.certificates[*id].newest.clone().unwrap();
            let state = world.snapshot.targets.get_mut(*target).unwrap();
            state.held.insert(newest.id);
        }
        ("release", [target]) => world
            .snapshot
            .targets
            .get_mut(*target)
            .unwrap()
            .held
            .clear(),
        ("unusable", [id, detail @ ..]) => {
            let state = world.snapshot.certificates.get_mut(*id).unwrap();
            state.unusable = Some(detail.join(" "));
        }
        ("full", [id, path]) => {
            let shortage = Shortage {
                path: path.into(),
                of: Scarce::Bytes,
                free: 12 << 10,
                needed: 600 << 10,
            };
            let id = CertificateId::new(id).unwrap();
            world.snapshot.shortages.insert(id, shortage);
        }
        ("room", []) => world.snapshot.shortages.clear(),
        ("drift", [id, kind, of, detail @ ..]) => {
            let values: Vec<&str> = of.split('@').collect();
            let found = Difference {
                kind: drift_kind(kind),
                certificate: values
                    .first()
                    .filter(|id| **id != "-")
                    .map(|id| CertificateId::new(id).unwrap()),
                detail: detail.join(" "),
                issued_at: values.get(1).map(|at| Timestamp::parse(at).unwrap()),
            };
            let state = world.snapshot.targets.get_mut(*id).unwrap();
            if found.kind.is_served() {
                let wire = state.wire.get_or_insert_default();
                wire.differences.push(found);
            } else {
                let drift = state.drift.get_or_insert_default();
                drift.differences.push(found);
            }
        }
        ("remote", [id, code, detail @ ..]) => {
            let all = [
                Standing::Revoked,
                Standing::Deleted,
                Standing::Frozen,
                Standing::IssuerDisabled,
            ];
            let state = world.snapshot.certificates.get_mut(*id).unwrap();
            state.remote = Some(RemoteTrouble {
                revision: state.newest.as_ref().unwrap().id.clone(),
                standing: all.into_iter().find(|one| one.code() == *code).unwrap(),
                detail: detail.join(" "),
            });
        }
        ("revoke-live", [id, "on", target]) => {
            let live = world.snapshot.targets[*target].live[*id].clone();
            let state = world.snapshot.certificates.get_mut(*id).unwrap();
            let earlier = state.earlier.iter_mut();
            earlier
                .filter(|one| one.id == live)
                .for_each(|one| one.revoked = true);
        }
        ("close", [path, "of", id, "on", target]) => {
            let state = world.snapshot.targets.get_mut(*target).unwrap();
            let id = CertificateId::new(id).unwrap();
            state.unwritable.insert(id, path.into());
        }
        ("open", [target]) => {
            if let Some(state) = world.snapshot.targets.get_mut(*target) {
                state.unwritable.clear();
            }
        }
        ("refuse", why) => world.snapshot.refused = Some(why.join(" ")),
        ("accept", []) => world.snapshot.refused = None,
        ("hang", [target]) => {
            let now = world.now;
            let state = world.snapshot.targets.entry(TargetId::new(target).unwrap());
            state.or_default().silent = Some(now);
        }
        ("answer", [target]) => {
            if let Some(state) = world.snapshot.targets.get_mut(*target) {
                state.silent = None;
            }
        }
        ("overwrite", [id, "on", target]) => {
            let state = world.snapshot.targets.get_mut(*target).unwrap();
            state.overwrite.insert(CertificateId::new(id).unwrap());
        }
        _ => panic!("no such command: {command}"),
    }
}

fn run(world: &mut World, length: Seconds) {
    let plan = world.run(world.now + length);
    world.summary(&plan);
}

/// As `renewd renew` does: what blocks is cleared, on its targets too.
fn force(world: &mut World, id: &str) {
    let state = world.snapshot.certificates.get_mut(id).unwrap();
    state.forced = true;
    state.offer = None;
    state.shortened = false;
    state.failures = Failures::default();
    state.survey_failures = Failures::default();
    for target in world.policy.certificates[id].targets.clone() {
        let state = world.snapshot.targets.entry(target).or_default();
        unblock(state);
    }
}

fn unblock(state: &mut TargetState) {
    state.undo_failed = None;
    state.failures = Failures::default();
    state.aside.clear();
    state.split = None;
}

/// As `renewd rollback` does.
fn rollback(world: &mut World, id: &str, target: &str) {
    let certificate = CertificateId::new(id).unwrap();
    let known = &world.snapshot.certificates[id];
    let newest = known.newest.as_ref().map(|newest| newest.id.clone());
    let earlier = known.earlier.iter().map(|earlier| earlier.id.clone());
    let stored: Vec<_> = newest.into_iter().chain(earlier).collect();
    let state = world.snapshot.targets.get_mut(target).unwrap();
    let live = stored
        .iter()
        .position(|id| Some(id) == state.live.get(&certificate));
    let goal = live.unwrap() + 1;
    let mut wanted = state.live.clone();
    wanted.insert(certificate, stored[goal].clone());
    state.held.extend(stored[..goal].iter().cloned());
    state.wanted = Some(wanted);
    unblock(state);
}

fn fail(world: &mut World, step: &str, subject: &str, values: &BTreeMap<&str, &str>) {
    let mut fault = Fault::new(step, subject);
    for (key, value) in values {
        match *key {
            "times" if *value == "always" => fault.times = u32::MAX,
            "times" => fault.times = value.parse().unwrap(),
            "class" => fault.class = class(value),
            "message" => fault.message = (*value).to_owned(),
            "retry_after" => fault.retry_after = Some(seconds(value)),
            "again" => fault.again = *value == "yes",
            "named" => {
                let ids = value.split('+').map(|id| CertificateId::new(id).unwrap());
                fault.named = ids.collect();
            }
            "unnamed" => {
                let ids = value.split('+').map(|id| CertificateId::new(id).unwrap());
                fault.unnamed = ids.collect();
            }
            "everybody" => {
                let ids = value.split('+').map(|id| CertificateId::new(id).unwrap());
                fault.everybody = ids.collect();
            }
            "service" => fault.down = *value == "down",
            other => panic!("no such value: {other}"),
        }
    }
    world.faults.failures.push(fault);
}

fn drift_kind(code: &str) -> DriftKind {
    let mut all = DriftKind::ALL.into_iter();
    all.find(|kind| kind.code() == code).unwrap()
}

fn class(text: &str) -> ErrorClass {
    match text {
        "transient" => ErrorClass::Transient,
        "rate-limited" => ErrorClass::RateLimited,
        "rejected" => ErrorClass::Rejected,
        "authentication" => ErrorClass::Authentication,
        "configuration" => ErrorClass::Configuration,
        "bug" => ErrorClass::Bug,
        other => panic!("no such class: {other}"),
    }
}

fn issuer(world: &mut World, id: &str, values: &BTreeMap<&str, &str>) {
    let secret = || SecretRef::Env("SECRET".to_owned());
    let value = |key: &str, or: &str| seconds(values.get(key).unwrap_or(&or));
    let id = IssuerId::new(id).unwrap();
    let issuer = IssuerPolicy {
        id: id.clone(),
        kind: match values.get("kind") {
            Some(&"scm") => IssuerKind::Scm(scm(world, values)),
            _ => IssuerKind::Pca(PcaPolicy {
                superseded: renewd::model::Superseded::Keep,
                ca: "lab".to_owned(),
            }),
        },
        access: RemoteAccess {
            endpoint: "http://localhost".to_owned(),
            roots: None,
            auth: RemoteAuth::AccessKey {
                access_key: secret(),
                secret_key: secret(),
                security_token: None,
            },
            connect_timeout: Seconds(5),
            timeout: value("timeout", "30s"),
        },
        credentials_expire: None,
        settle: value("settle", "2m"),
        digest: digest(&format!("{id} {values:?}")),
        pace: IssuerPace {
            orders_per_hour: values
                .get("orders")
                .map_or(3600, |count| count.parse().unwrap()),
            ..IssuerPace::default()
        },
    };
    world.policy.issuers.insert(id, issuer);
}

fn scm(world: &mut World, values: &BTreeMap<&str, &str>) -> ScmPolicy {
    let number = |key: &str, or| values.get(key).map_or(or, |text| text.parse().unwrap());
    let zone = ValidationId::new("zone").unwrap();
    let way = ValidationPolicy {
        id: zone.clone(),
        kind: ValidationKind::Automatic,
        resolvers: Vec::new(),
        propagation: Seconds::minutes(10),
        ports: renewd::model::ProofPorts::default(),
        digest: Fingerprint([0; 32]),
    };
    world.policy.validations.insert(zone.clone(), way);
    ScmPolicy {
        purchase: values.get("purchase").map(|kind| PurchasePolicy {
            brand: "GEOTRUST".to_owned(),
            kind: (*kind).to_owned(),
            domain_type: None,
            years: number("years", 1),
            automatic_payment: values.get("pay") != Some(&"no"),
            budget: Budget {
                per_day: number("day", 1),
                per_month: number("month", 5),
            },
            reserve: false,
        }),
        validation: Some(zone),
        ..ScmPolicy::default()
    }
}

fn target(world: &mut World, id: &str, values: &BTreeMap<&str, &str>) {
    let id = TargetId::new(id).unwrap();
    let target = TargetPolicy {
        id: id.clone(),
        kind: TargetKind::Nginx,
        exports: Vec::new(),
        test: None,
        reload: None,
        restart: None,
        pid_file: None,
        command_timeout: Seconds(30),
        probe: Probe::None,
        hooks: hooks(values),
        observe: Vec::new(),
        pacing: pacing(values),
        // When it may be disturbed is no matter of what is there.
        digest: digest(&format!(
            "{id} {:?}",
            values
                .iter()
                .filter(|(key, _)| !["windows", "reloads"].contains(key))
                .collect::<BTreeMap<_, _>>()
        )),
        drift: match values.get("drift") {
            Some(&"report") => DriftMode::Report,
            _ => DriftMode::Repair,
        },
    };
    world.policy.targets.insert(id, target);
}

fn hooks(values: &BTreeMap<&str, &str>) -> Hooks {
    let wanted = values.get("hooks").copied().unwrap_or_default();
    let argv = |name| {
        let mut names = wanted.split('+');
        names
            .any(|one| one == name)
            .then(|| vec![format!("/{name}")])
    };
    Hooks {
        pre: argv("pre"),
        post: argv("post"),
        ..Hooks::default()
    }
}

/// By this schedule, to the second.
fn checks(world: &mut World, schedule: &str) {
    let parser = CronParser::builder()
        .seconds(croner::parser::Seconds::Required)
        .build();
    let job = JobPolicy {
        schedule: parser.parse(schedule).unwrap(),
        zone: TimeZone::UTC,
        jitter: Seconds(0),
        floor: Seconds(1),
    };
    world.policy.jobs.insert(JobName::Check, job);
}

/// `windows=5:2h+2h,6:0h+24h` opens on Saturday at two for two hours and on Sunday for the whole day.
fn pacing(values: &BTreeMap<&str, &str>) -> Pacing {
    let windows = values.get("windows").copied().unwrap_or_default();
    let window = |text: &str| {
        let (day, span) = text.split_once(':').unwrap();
        let (from, length) = span.split_once('+').unwrap();
        let mut days = [false; 7];
        days[day.parse::<usize>().unwrap()] = true;
        MaintenanceWindow {
            days,
            from: seconds(from),
            length: seconds(length),
        }
    };
    Pacing {
        windows: windows
            .split(',')
            .filter(|text| !text.is_empty())
            .map(window)
            .collect(),
        reloads_per_hour: values.get("reloads").map(|count| count.parse().unwrap()),
    }
}

fn policy(world: &mut World, id: &str, values: &BTreeMap<&str, &str>) {
    let value = |key: &str, or: &'static str| values.get(key).copied().unwrap_or(or);
    let issuer_id = IssuerId::new(value("issuer", "lab")).unwrap();
    if !world.policy.issuers.contains_key(&issuer_id) {
        issuer(world, issuer_id.as_str(), &BTreeMap::new());
    }
    let targets: Vec<&str> = value("targets", "")
        .split(',')
        .filter(|t| !t.is_empty())
        .collect();
    for id in &targets {
        if !world.policy.targets.contains_key(*id) {
            target(world, id, &BTreeMap::new());
        }
    }
    let own = format!("{id}.example");
    let names = values.get("names").copied().unwrap_or(&own);
    let certificate = CertificatePolicy {
        id: CertificateId::new(id).unwrap(),
        issuer: issuer_id,
        names: names
            .split(',')
            .map(|name| Name::parse(name).unwrap())
            .collect(),
        common_name: names.split(',').next().unwrap().to_owned(),
        subject: Subject::default(),
        key_source: match value("key", "local") {
            "ccm" => KeySource::Ccm,
            _ => KeySource::Local,
        },
        order: match value("order", "auto") {
            "never" => OrderMode::Never,
            _ => OrderMode::Auto,
        },
        key_algorithm: *KeyAlgorithm::ALL
            .iter()
            .find(|kind| kind.as_str() == value("algorithm", "ec-p256"))
            .unwrap(),
        key_reuse: KeyReuse::Rekey,
        validity: seconds(value("validity", "90d")),
        renew: rule(value("renew_at", "1/3")),
        targets: targets
            .iter()
            .map(|id| TargetId::new(id).unwrap())
            .collect(),
        validation: None,
        push: std::collections::BTreeSet::new(),
        tags: std::collections::BTreeSet::new(),
        // Where it is used is no matter of an order.
        digest: digest(&format!(
            "{:?}",
            values
                .iter()
                .filter(|(k, _)| **k != "targets")
                .collect::<Vec<_>>()
        )),
    };
    world
        .policy
        .certificates
        .insert(certificate.id.clone(), certificate);
}

fn rule(text: &str) -> RenewRule {
    match text.split_once('/') {
        Some((part, whole)) => RenewRule::Share {
            part: part.parse().unwrap(),
            whole: whole.parse().unwrap(),
        },
        None => RenewRule::DaysBefore(text.trim_end_matches('d').parse().unwrap()),
    }
}

fn digest(text: &str) -> Fingerprint {
    let mut bytes = [0_u8; 32];
    let mut sum: u64 = 14_695_981_039_346_656_037;
    for (at, byte) in text.bytes().chain(*b"end of the text").enumerate() {
        sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        bytes[at % 32] ^= sum.to_be_bytes()[0];
    }
    Fingerprint(bytes)
}

/// `61d`, `2h`, `90m`, `30s`.
fn seconds(text: &str) -> Seconds {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: i64 = number.parse().unwrap();
    match unit {
        "d" => Seconds::days(number),
        "h" => Seconds::hours(number),
        "m" => Seconds::minutes(number),
        "s" => Seconds(number),
        _ => panic!("no such length: {text}"),
    }
}

fn pairs<'a>(words: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    words
        .iter()
        .map(|word| {
            word.split_once('=')
                .unwrap_or_else(|| panic!("no value: {word}"))
        })
        .collect()
}

/// Words, where `"…"` keeps its blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
