//! Unit tests of the forecast.

use super::*;
use crate::model::{
    Difference, Drift, DriftKind, DriftMode, Entitlement, PcaPolicy, PurchasePolicy, RemoteTrouble,
    RenewRule, ScmPolicy, Spent, Standing, Superseded, TargetState,
};
use crate::plan::testing;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Buys certificates of this type, or none.
fn scm(kind: Option<&str>) -> IssuerKind {
    let purchase = |kind: &str| PurchasePolicy {
        brand: "GEOTRUST".to_owned(),
        kind: kind.to_owned(),
        domain_type: None,
        years: 1,
        automatic_payment: true,
        budget: Budget {
            per_day: 1,
            per_month: 5,
        },
        reserve: false,
    };
    IssuerKind::Scm(ScmPolicy {
        purchase: kind.map(purchase),
        ..ScmPolicy::default()
    })
}

/// One certificate that was issued at this moment for so many days, public or not.
fn course(issued: &str, days: i64, public: bool, rule: RenewRule) -> (Policy, Snapshot) {
    let mut policy = testing::policy();
    let mut issuer = testing::issuer();
    issuer.kind = if public {
        scm(Some("DV_SSL_CERT"))
    } else {
        IssuerKind::Pca(PcaPolicy {
            ca: "lab".to_owned(),
            superseded: Superseded::Keep,
        })
    };
    policy.issuers.insert(issuer.id.clone(), issuer);
    let mut certificate = testing::certificate("www");
    certificate.renew = rule;
    certificate.validity = Seconds::days(days);
    let mut snapshot = Snapshot::default();
    let state = testing::healthy(&certificate, at(issued), Seconds::days(days));
    snapshot.certificates.insert(certificate.id.clone(), state);
    policy
        .certificates
        .insert(certificate.id.clone(), certificate);
    (policy, snapshot)
}

fn foreseen((policy, snapshot): &(Policy, Snapshot), now: &str, until: &str) -> Foreseen {
    let all = forecast(policy, snapshot, (at(now), at(until)));
    all.into_values().next().unwrap()
}

fn state(snapshot: &mut Snapshot) -> &mut CertificateState {
    snapshot.certificates.values_mut().next().unwrap()
}

/// What the plan of then says of it.
fn verdict((policy, snapshot): &(Policy, Snapshot), now: &str) -> Verdict {
    let verdicts = plan(policy, snapshot, at(now)).verdicts;
    verdicts.into_values().next().unwrap()
}

/// The account says so of the order that the present certificate came from.
fn entitle(snapshot: &mut Snapshot, remaining: u32, auto_renew: bool) {
    let state = state(snapshot);
    let newest = state.newest.as_ref().unwrap();
    state.entitlements = vec![Entitlement {
        reference: newest.reference.clone(),
        purchase: None,
        kind: None,
        domains: None,
        spki: None,
        remaining,
        auto_renew,
        brought: false,
        until: newest.facts.not_after,
        asked_at: newest.issued_at,
    }];
}

fn third() -> RenewRule {
    RenewRule::Share { part: 1, whole: 3 }
}

#[test]
fn each_renewal_comes_before_the_end_and_lives_as_long_as_its_day_allows() {
    for rule in [
        third(),
        RenewRule::DaysBefore(10),
        RenewRule::DaysBefore(30),
    ] {
        let world = course("2026-12-01", 200, true, rule);
        let found = foreseen(&world, "2026-12-02", "2029-07-01");
        assert_eq!(found.gaps, []);
        let mut end = at("2026-12-01") + Seconds::days(200);
        let mut lengths = std::collections::BTreeSet::new();
        let mut proven = at("2026-12-01");
        for one in &found.renewals {
            let (ordered, ends) = (at(&one.at), at(&one.not_after));
            assert!(ordered < end, "{rule:?} {one:?}");
            let days = ordered.until(ends).0 / 86_400;
            let (allowed, proof) = match ordered {
                day if day < at("2027-03-15") => (200, 200),
                day if day < at("2029-03-15") => (100, 100),
                _ => (47, 10),
            };
            assert_eq!(days, allowed, "{one:?}");
            let over = proven + Seconds::days(proof) <= ordered;
            assert_eq!(one.proof, Some(over), "{one:?}");
            if over {
                proven = ordered;
            }
            lengths.insert(days);
            end = ends;
        }
        assert!(end > at("2029-07-01"), "{rule:?}");
        assert_eq!(lengths, [47, 100].into(), "{rule:?}");
        let last = found.renewals.last().unwrap();
        assert_eq!(last.proof, Some(true), "ten days are over each time");
        assert!(found.renewals.iter().any(|one| one.proof == Some(false)));
    }
}

#[test]
fn a_private_one_keeps_its_length_and_proves_nothing() {
    let world = course("2027-01-01", 47, false, third());
    let found = foreseen(&world, "2027-01-02", "2029-04-01");
    assert_eq!(found.gaps, []);
    for one in &found.renewals {
        assert_eq!(at(&one.at).until(at(&one.not_after)), Seconds::days(47));
        assert_eq!(one.proof, None);
    }
    let cut = course("2027-01-01", 1, false, third());
    let found = foreseen(&cut, "2027-01-01", "2037-01-01");
    assert_eq!(found.renewals.len(), MOST);
    assert!(at(&found.until) < at("2037-01-01"));
}

#[test]
fn what_a_ca_makes_shorter_than_it_may_stays_so() {
    let world = course("2026-12-01", 90, true, third());
    let found = foreseen(&world, "2026-12-02", "2029-07-01");
    let lengths = found.renewals.iter();
    let lengths = lengths.map(|one| at(&one.at).until(at(&one.not_after)).0 / 86_400);
    let lengths: std::collections::BTreeSet<i64> = lengths.collect();
    assert_eq!(lengths, [47, 90].into());
}

#[test]
fn a_gap_is_told_with_its_reason() {
    // None yet, and an organization is looked at for two weeks; a domain and a private CA take no time to speak of.
    let (mut policy, _) = course("2026-12-01", 200, true, third());
    let none = (policy.clone(), Snapshot::default());
    let found = foreseen(&none, "2026-12-02", "2027-04-01");
    assert_eq!((found.gaps, found.renewals.len()), (vec![], 1));
    let (private, _) = course("2026-12-01", 200, false, third());
    let found = foreseen(&(private, Snapshot::default()), "2026-12-02", "2027-04-01");
    assert_eq!((found.gaps, found.renewals.len()), (vec![], 1));
    for issuer in policy.issuers.values_mut() {
        issuer.kind = scm(Some("OV_SSL_CERT"));
    }
    let found = foreseen(&(policy, Snapshot::default()), "2026-12-02", "2027-04-01");
    let (from, until) = (at("2026-12-02"), at("2026-12-16"));
    let why = "there is none yet".to_owned();
    assert_eq!(found.gaps, [gap(from, Some(until), why)]);
    // It ended while nobody looked.
    let world = course("2026-12-01", 31, false, third());
    let found = foreseen(&world, "2027-02-01", "2027-04-01");
    let (from, until) = (at("2027-01-01"), at("2027-02-01"));
    assert_eq!(found.gaps, [gap(from, Some(until), TOO_LATE.to_owned())]);
    assert_eq!(found.renewals[0].at, until.to_string());
    // Somebody else's.
    let (mut policy, snapshot) = course("2026-12-01", 100, true, third());
    for certificate in policy.certificates.values_mut() {
        certificate.order = OrderMode::Never;
    }
    let follower = (policy, snapshot);
    assert_eq!(foreseen(&follower, "2026-12-02", "2027-01-01").gaps, []);
    let found = foreseen(&follower, "2026-12-02", "2027-04-01");
    let end = at("2026-12-01") + Seconds::days(100);
    assert_eq!(found.gaps, [gap(end, None, OTHERS.to_owned())]);
    assert_eq!(found.renewals, []);
    // The issuer gives no longer one.
    let (policy, mut snapshot) = course("2026-12-01", 100, false, third());
    for state in snapshot.certificates.values_mut() {
        state.shortened = true;
    }
    let shortened = (policy, snapshot);
    let found = foreseen(&shortened, "2027-02-20", "2027-04-01");
    assert!(found.gaps[0].why.contains("the issuer cuts"), "{found:?}");
    let all = BTreeMap::from([(CertificateId::new("www").unwrap(), found)]);
    let told = text(&all, at("2027-04-01"));
    assert!(
        told.contains("www: GAP from 2027-03-11T00:00:00Z on: "),
        "{told}"
    );
    assert!(
        told.ends_with("1 of 1 certificate with a gap, 0 renewals\n"),
        "{told}"
    );
}

#[test]
fn what_blocks_a_target_or_is_said_by_the_issuer_stops_no_order() {
    let id = CertificateId::new("www").unwrap();
    let revision = |id: &str| RevisionId::new(id).unwrap();
    let (mut policy, snapshot) = course("2026-12-01", 100, true, third());
    let mut target = testing::target("web");
    target.drift = DriftMode::Report;
    let place = TargetState {
        live: [(id.clone(), revision("r01"))].into(),
        policy: Some(target.digest),
        ..TargetState::default()
    };
    for certificate in policy.certificates.values_mut() {
        certificate.targets.insert(target.id.clone());
    }
    let web = target.id.clone();
    policy.targets.insert(web.clone(), target);
    let held = TargetState {
        live: [(id.clone(), revision("r00"))].into(),
        held: [revision("r01")].into(),
        ..place.clone()
    };
    let difference = Difference {
        kind: DriftKind::FileEdited,
        certificate: Some(id.clone()),
        detail: "www.pem".to_owned(),
        issued_at: None,
    };
    let drifted = TargetState {
        drift: Some(Drift {
            differences: vec![difference],
            generation: None,
        }),
        ..place
    };
    for (code, place) in [("held", held), (DriftKind::FileEdited.code(), drifted)] {
        let mut snapshot = snapshot.clone();
        snapshot.targets.insert(web.clone(), place);
        let world = (policy.clone(), snapshot);
        let Verdict::Blocked(blocked) = verdict(&world, "2026-12-02") else {
            panic!("{code} is blocked");
        };
        assert_eq!(blocked.code(), code);
        let found = foreseen(&world, "2026-12-02", "2027-04-01");
        assert_eq!((found.gaps, found.renewals.len()), (vec![], 1), "{code}");
    }
    // The other way round, a target that is at work hides nothing.
    let mut cut = (policy.clone(), snapshot.clone());
    state(&mut cut.1).shortened = true;
    assert!(matches!(verdict(&cut, "2026-12-02"), Verdict::Act(_)));
    let found = foreseen(&cut, "2026-12-02", "2027-04-01");
    assert_eq!((found.gaps.len(), found.renewals.len()), (1, 0));
    // The CA that issued it is disabled: it is renewed all the same when it is due.
    policy.targets.clear();
    let mut disabled = (policy, snapshot);
    state(&mut disabled.1).remote = Some(RemoteTrouble {
        revision: revision("r01"),
        standing: Standing::IssuerDisabled,
        detail: "the CA is disabled".to_owned(),
    });
    let said = verdict(&disabled, "2026-12-02");
    assert!(
        matches!(said, Verdict::Blocked(Blocked::Remote { .. })),
        "{said:?}"
    );
    let found = foreseen(&disabled, "2026-12-02", "2027-04-01");
    assert_eq!((found.gaps, found.renewals.len()), (vec![], 1));
}

#[test]
fn where_nothing_may_be_bought_only_what_is_paid_for_comes_and_nothing_to_a_copy() {
    let (mut policy, snapshot) = course("2027-04-01", 90, true, third());
    let bought = foreseen(
        &(policy.clone(), snapshot.clone()),
        "2027-04-02",
        "2029-01-01",
    );
    assert_eq!(bought.gaps, []);
    let mut stale = snapshot.clone();
    stale.stale = Some(Stale::OtherMachine);
    let copy = "nothing is applied for, bought or taken back until `renewd state claim`";
    let mut none = policy.clone();
    for issuer in none.issuers.values_mut() {
        issuer.kind = scm(None);
    }
    for issuer in policy.issuers.values_mut() {
        if let IssuerKind::Scm(scm) = &mut issuer.kind {
            scm.purchase.as_mut().unwrap().budget.per_month = 0;
        }
    }
    let (with, _) = course("2027-04-01", 90, true, third());
    for (policy, snapshot, why) in [
        (&none, &snapshot, NO_PURCHASE),
        (&policy, &snapshot, NO_BUDGET),
        (&with, &stale, copy),
    ] {
        for (remaining, auto_renew, comes) in [
            (0, false, 0),
            (1, false, 1),
            (2, false, 2),
            (0, true, 1),
            (2, true, 2),
        ] {
            let mut snapshot = snapshot.clone();
            entitle(&mut snapshot, remaining, auto_renew);
            let world = (policy.clone(), snapshot);
            let found = foreseen(&world, "2027-04-02", "2029-01-01");
            let comes = if why == copy { 0 } else { comes };
            let case = format!("{why} {remaining} {auto_renew}");
            assert_eq!(found.renewals.len(), comes, "{case}");
            let end = match found.renewals.last() {
                Some(last) => last.not_after.clone(),
                None => (at("2027-04-01") + Seconds::days(90)).to_string(),
            };
            let [gap] = &found.gaps[..] else {
                panic!("{case}: {:?}", found.gaps);
            };
            assert_eq!((&gap.from, &gap.until), (&end, &None), "{case}");
            assert!(gap.why.contains(why), "{case}: {}", gap.why);
            // Before that it is none.
            let found = foreseen(&world, "2027-04-02", "2027-06-01");
            assert_eq!(found.gaps, [], "{case}");
        }
        // Nothing is there, and nothing comes.
        let found = foreseen(
            &(
                policy.clone(),
                Snapshot {
                    stale: snapshot.stale.clone(),
                    ..Snapshot::default()
                },
            ),
            "2027-04-02",
            "2029-01-01",
        );
        assert_eq!(found.renewals, []);
        assert_eq!(found.gaps[0].from, at("2027-04-02").to_string());
    }
}

/// An order in this phase, by which its account's purchases and what it holds are known.
fn ordered(policy: &Policy, snapshot: &mut Snapshot, phase: OrderPhase) {
    let certificate = policy.certificates.values().next().unwrap();
    let state = state(snapshot);
    let id = crate::model::OrderId::new("o1").unwrap();
    let reason = crate::model::Reason::Forced;
    let now = at("2027-04-02");
    let mut order = crate::plan::open::order(id, policy, certificate, state, reason, now);
    order.phase = phase;
    snapshot.orders.insert(order.id.clone(), order);
}

#[test]
fn what_an_order_holds_is_paid_for_and_what_it_saw_of_a_copy_holds_for_the_account() {
    let (mut policy, snapshot) = course("2027-04-01", 90, true, third());
    let mut copied = snapshot.clone();
    let spent = Spent {
        unknown: ["scs1".to_owned()].into(),
        ..Spent::default()
    };
    let bare = OrderPhase::Bare {
        listed: std::collections::BTreeSet::new(),
        looked_at: at("2027-04-02"),
        spent,
    };
    ordered(&policy, &mut copied, bare);
    // Another certificate's order saw it.
    let other = CertificateId::new("other").unwrap();
    for order in copied.orders.values_mut() {
        order.certificate = other.clone();
    }
    let found = foreseen(&(policy.clone(), copied), "2027-04-02", "2029-01-01");
    assert_eq!(found.renewals, []);
    assert!(found.gaps[0].why.contains("state claim"), "{found:?}");
    for issuer in policy.issuers.values_mut() {
        issuer.kind = scm(None);
    }
    let mut held = snapshot;
    let reference = "scs1".to_owned();
    ordered(&policy, &mut held, OrderPhase::Entitled { reference });
    let mut copy = held.clone();
    let found = foreseen(&(policy.clone(), held), "2027-04-02", "2029-01-01");
    assert_eq!((found.renewals.len(), found.gaps.len()), (1, 1));
    // What a copy holds is another one's; what it applied for comes.
    copy.stale = Some(Stale::OtherMachine);
    for (phase, comes) in [
        (None, 0),
        (
            Some(OrderPhase::Submitted {
                spki: None,
                reference: "scs1".to_owned(),
                poll_after: at("2027-04-02"),
                public: true,
                proof: None,
                review: crate::model::Review::default(),
            }),
            1,
        ),
    ] {
        if let (Some(phase), Some(order)) = (phase, copy.orders.values_mut().next()) {
            order.phase = phase;
        }
        let found = foreseen(&(policy.clone(), copy.clone()), "2027-04-02", "2029-01-01");
        assert_eq!((found.renewals.len(), found.gaps.len()), (comes, 1));
    }
}

#[test]
fn what_is_revoked_or_unusable_is_none() {
    let (mut policy, snapshot) = course("2026-12-01", 100, true, third());
    for issuer in policy.issuers.values_mut() {
        issuer.kind = scm(Some("OV_SSL_CERT"));
    }
    let mut revoked = snapshot.clone();
    state(&mut revoked).remote = Some(RemoteTrouble {
        revision: RevisionId::new("r01").unwrap(),
        standing: Standing::Revoked,
        detail: "it is revoked".to_owned(),
    });
    let mut unusable = snapshot;
    state(&mut unusable).unusable = Some("no key".to_owned());
    let (now, soon) = (at("2026-12-02"), at("2026-12-16"));
    for (snapshot, why) in [
        (revoked, "the present one is revoked"),
        (unusable, "the present one is unusable: no key"),
    ] {
        let found = foreseen(
            &(policy.clone(), snapshot.clone()),
            "2026-12-02",
            "2027-01-10",
        );
        assert_eq!(found.gaps, [gap(now, Some(soon), why.to_owned())]);
        let first = found.renewals.first().unwrap();
        assert_eq!((&first.at, found.renewals.len()), (&now.to_string(), 1));
        assert_eq!(first.proof, Some(false), "its proof holds still");
        // It brings nothing any more, and nobody else's order is waited for until its end.
        let mut none = (policy.clone(), snapshot);
        entitle(&mut none.1, 1, true);
        for issuer in none.0.issuers.values_mut() {
            issuer.kind = scm(None);
        }
        let found = foreseen(&none, "2026-12-02", "2027-01-10");
        assert_eq!(found.gaps, [gap(now, None, NO_PURCHASE.to_owned())]);
        for certificate in none.0.certificates.values_mut() {
            certificate.order = OrderMode::Never;
        }
        let found = foreseen(&none, "2026-12-02", "2027-01-10");
        assert_eq!(found.gaps, [gap(now, None, OTHERS.to_owned())]);
    }
}

#[test]
fn a_row_that_is_too_long_is_said_to_be_good_only_so_far() {
    let cut = course("2027-01-01", 1, false, third());
    let until = at("2037-01-01");
    let all = forecast(&cut.0, &cut.1, (at("2027-01-01"), until));
    let seen = all.values().next().unwrap().until.clone();
    let told = text(&all, until);
    let last = format!("no gap until {seen}: 1 certificate, 1000 renewals\n");
    assert!(told.ends_with(&last), "{told}");
    let until = Timestamp::parse(&seen).unwrap() - Seconds(1);
    let all = forecast(&cut.0, &cut.1, (at("2027-01-01"), until));
    let told = text(&all, until);
    assert!(
        told.ends_with("no gap: 1 certificate, 1000 renewals\n"),
        "{told}"
    );
}

#[test]
fn a_proof_for_an_organization_is_as_old_as_its_application() {
    let (mut policy, snapshot) = course("2029-04-01", 47, true, RenewRule::DaysBefore(10));
    for issuer in policy.issuers.values_mut() {
        issuer.kind = scm(Some("OV_SSL_CERT"));
    }
    // 100 days when it was issued: a proof of then holds for 100 days from the application on, not from the issue.
    let issued = at("2027-04-01");
    let mut before = snapshot;
    let certificate = policy.certificates.values().next().unwrap();
    *state(&mut before) = testing::healthy(certificate, issued, Seconds::days(40));
    let found = foreseen(&(policy, before), "2027-04-02", "2028-12-01");
    let mut proven = issued;
    for one in &found.renewals {
        let ordered = at(&one.at);
        let over = proven + Seconds::days(100) <= ordered;
        assert_eq!(one.proof, Some(over), "{one:?} after {proven}");
        if over {
            proven = ordered;
        }
    }
    let proofs = found.renewals.iter().filter(|one| one.proof == Some(true));
    assert!(proofs.count() > 3, "{found:?}");
}
