//! A whole CCM account is watched: what nobody renews is told, filters that lie are noticed, listings end somewhere.

use renewd::ccm_server::{ExpiryFilter, Faults};
use renewd::model::{KeyAlgorithm, Seconds, WatchState};

use serde_json::json;

use super::{alerts, certificate, full_chain, key_pem, seen, text};
use crate::ccm_server::http::post;
use crate::support::agent::{Agent, write_secret};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::certs::{Sample, Validity, sample};
use crate::support::engine::Rig;

/// Its public certificates as an issuer, and the watch over all of them.
fn policy(ccm: &Ccm, more: &str) -> String {
    format!(
        "[issuer.scm.public]\nendpoint = \"{}\"\naccess_key = \"file:{{dir}}/ak\"\nsecret_key = \"file:{{dir}}/sk\"\ntimeout = \"20s\"\n\
         [watch.all]\naccount = \"public\"\n{more}",
        ccm.endpoint()
    )
}

fn agent(ccm: &Ccm, more: &str) -> Agent {
    let agent = Agent::new("");
    write_secret(&agent.path().join("ak"), ccm.access_key());
    write_secret(&agent.path().join("sk"), ccm.secret_key());
    agent.write_policy(&policy(ccm, more));
    agent
}

async fn import(ccm: &Ccm, name: &str, sample: &Sample) -> String {
    let chain = full_chain(sample).replacen(&sample.material.leaf_pem(), "", 1);
    let leaf = sample.material.leaf_pem();
    ccm.import_scm(name, "ISSUED", &leaf, &chain, &key_pem(sample))
        .await
}

/// Id and verdict of everything but the account as a whole.
async fn check(agent: &Agent) -> Vec<(String, String)> {
    tokio::task::block_in_place(|| agent.run(&["jobs", "run", "check"]).expect(0));
    let mut all = tokio::task::block_in_place(|| seen(agent));
    all.retain(|(place, _)| !place.is_empty());
    all
}

fn of(ids: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<_> = ids
        .iter()
        .map(|(id, verdict)| ((*id).to_owned(), (*verdict).to_owned()))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_in_the_account_and_nobody_renews_is_told() {
    let ccm = Wanted::new()
        .faults(Faults {
            page_limit: Some(3),
            ..Faults::none()
        })
        .start()
        .await;
    let agent = agent(&ccm, "ignore = [\"*.team.example.com\", \"theirs-*\"]\n");
    let soon = import(&ccm, "soon", &certificate(&["soon.example.com"], -85, 5)).await;
    let ended = import(&ccm, "ended", &certificate(&["ended.example.com"], -90, -2)).await;
    import(&ccm, "old", &certificate(&["www.example.com"], -85, 5)).await;
    import(&ccm, "new", &certificate(&["www.example.com"], -1, 89)).await;
    import(&ccm, "far", &certificate(&["far.example.com"], -1, 89)).await;
    import(
        &ccm,
        "a-team",
        &certificate(&["a.team.example.com"], -85, 5),
    )
    .await;
    import(&ccm, "theirs-1", &certificate(&["b.example.com"], -85, 5)).await;
    import(
        &ccm,
        "long-ago",
        &certificate(&["past.example.com"], -200, -60),
    )
    .await;
    let wanted = of(&[(&soon, "expiring"), (&ended, "expired")]);
    assert_eq!(check(&agent).await, wanted);
    let status = tokio::task::block_in_place(|| alerts(&agent));
    assert!(
        status.contains(&format!("{soon} (soon.example.com): expires at")),
        "{status}"
    );
    assert!(status.contains("Nobody renews it"), "{status}");
    assert!(!status.contains("lists whole"), "{status}");

    // Somebody obtains another one, and it is over.
    import(
        &ccm,
        "soon-2",
        &certificate(&["soon.example.com", "x.example.com"], -1, 89),
    )
    .await;
    assert_eq!(check(&agent).await, of(&[(&ended, "expired")]));
    let status = tokio::task::block_in_place(|| alerts(&agent));
    assert!(!status.contains("soon.example.com"), "{status}");
    ccm.stop().await;

    // An account that cannot be listed keeps what is known of it, and is told at the third time.
    for _ in 0..2 {
        assert_eq!(check(&agent).await, of(&[(&ended, "expired")]));
        let status = tokio::task::block_in_place(|| alerts(&agent));
        assert!(!status.contains("could not be listed"), "{status}");
    }
    assert_eq!(check(&agent).await, of(&[(&ended, "expired")]));
    let status = tokio::task::block_in_place(|| alerts(&agent));
    assert!(
        status.contains("all: the account could not be listed"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_leaves_something_out_is_noticed_and_its_two_readings_are_not() {
    for (filter, differs) in [
        (ExpiryFilter::Reference, false),
        (ExpiryFilter::Sdk, false),
        (ExpiryFilter::Unfiltered, false),
        (ExpiryFilter::Forgetful, true),
    ] {
        let faults = Faults {
            expiry_filter: filter,
            ..Faults::none()
        };
        let ccm = Wanted::new().faults(faults).start().await;
        let agent = agent(&ccm, "");
        let soon = import(&ccm, "soon", &certificate(&["soon.example.com"], -85, 5)).await;
        import(&ccm, "far", &certificate(&["far.example.com"], -1, 89)).await;
        import(&ccm, "ended", &certificate(&["far.example.com"], -90, -3)).await;
        // By the whole listing it is told whatever the filter says.
        assert_eq!(
            check(&agent).await,
            of(&[(&soon, "expiring")]),
            "{filter:?}"
        );
        let status = tokio::task::block_in_place(|| alerts(&agent));
        let told = status.contains(&format!("is not what it lists whole: {soon}"));
        assert_eq!(told, differs, "{filter:?}\n{status}");
        ccm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_read_from_both_ends_as_far_as_the_api_goes() {
    let ccm = Ccm::start().await;
    let agent = agent(&ccm, "");
    let far = certificate(&["far.example.com"], -1, 89);
    for number in 0..310 {
        import(&ccm, &format!("far-{number}"), &far).await;
    }
    // First and last in the order of their ends.
    let soon = import(&ccm, "soon", &certificate(&["soon.example.com"], -85, 5)).await;
    assert_eq!(check(&agent).await, of(&[(&soon, "expiring")]));
    let status = tokio::task::block_in_place(|| alerts(&agent));
    assert!(
        status.contains("11 certificates of the account could not be listed"),
        "{status}"
    );
    let all = tokio::task::block_in_place(|| agent.run(&["status", "--json"]).expect(0).json());
    assert_eq!(text(&all["watched"][0], "kind"), "account");
    ccm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_marked_as_another_hosts_is_told_when_that_one_is_late() {
    let ccm = Ccm::start().await;
    let agent = agent(&ccm, "");
    let mut ids = Vec::new();
    // A sixth of 90 days, and of 200 at most 21.
    let lives = [
        ("theirs", -70, 20),
        ("short", -76, 14),
        ("long", -180, 20),
        ("nobodys", -70, 20),
    ];
    for (name, from, left) in lives {
        let sample = certificate(&[&format!("{name}.example.com")], from, left);
        ids.push(import(&ccm, name, &sample).await);
    }
    let marks = [("managed-by", "renewd"), ("renewd-host", "web7")];
    let tags: Vec<_> = marks
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    for id in &ids[..3] {
        let body = json!({"action": "create", "tags": tags});
        post(&ccm, &format!("/v3/scm/{id}/tags/action"), &body)
            .await
            .expect(200);
    }
    let late = ids[1..].iter().map(|id| (id.as_str(), "expiring"));
    let told = of(&late.collect::<Vec<_>>());
    assert_eq!(check(&agent).await, told);
    ccm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_middle_of_an_account_is_told_where_a_filter_shows_it() {
    let ccm = Ccm::start().await;
    let agent = agent(&ccm, "ignore = [\"*.left.example.com\"]\n");
    let (left, far) = (
        certificate(&["a.left.example.com"], -85, 2),
        certificate(&["far.example.com"], -1, 89),
    );
    for number in 0..160 {
        import(&ccm, &format!("left-{number}"), &left).await;
    }
    let forgotten = certificate(&["forgotten.example.com"], -70, 20);
    let forgotten = import(&ccm, "forgotten", &forgotten).await;
    for number in 0..160 {
        import(&ccm, &format!("far-{number}"), &far).await;
    }
    assert_eq!(check(&agent).await, of(&[(&forgotten, "expiring")]));
    let status = tokio::task::block_in_place(|| alerts(&agent));
    assert!(
        status.contains("21 certificates of the account could not be listed"),
        "{status}"
    );
    ccm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_account_is_listed_once_a_day_and_when_there_is_reason_to() {
    let rig = Rig::new(Wanted::new().at("2027-03-01T00:00:00Z")).await;
    let now = rig.clock_now();
    let ccm = &rig.world.ccm;
    rig.world.agent.write_policy(&policy(ccm, ""));
    let sample_of = |names: &[&str], from: i64, until: i64| {
        let validity = Validity(now + Seconds::days(from), now + Seconds::days(until));
        sample(KeyAlgorithm::EcP256, names, validity)
    };
    import(ccm, "www", &sample_of(&["www.example.com"], -85, 5)).await;
    import(ccm, "www-2", &sample_of(&["www.example.com"], -1, 89)).await;
    let look = async || -> WatchState {
        let engine = rig.engine().await;
        let mut snapshot = engine.observe().await.unwrap();
        engine.look_at_accounts(&mut snapshot).await.unwrap();
        snapshot.watches.into_values().next().unwrap()
    };
    let listed = |state: &WatchState| state.account.as_ref().unwrap().listed_at;
    let first = look().await;
    assert_eq!(listed(&first), Some(now));
    assert_eq!(first.places.len(), 0);
    // What is known to be in good hands is no reason.
    rig.clock.advance(Seconds::hours(6));
    assert_eq!(listed(&look().await), Some(now));
    // Something new is one, and stays one until it is over.
    let new = import(ccm, "new", &sample_of(&["new.example.com"], -85, 5)).await;
    rig.clock.advance(Seconds::hours(6));
    let third = look().await;
    assert_eq!(listed(&third), Some(rig.clock_now()));
    assert_eq!(third.places.keys().collect::<Vec<_>>(), [&new]);
    import(ccm, "new-2", &sample_of(&["new.example.com"], -1, 89)).await;
    rig.clock.advance(Seconds::hours(6));
    let fourth = look().await;
    assert_eq!(fourth.places.len(), 0);
    let at = rig.clock_now();
    rig.clock.advance(Seconds::hours(6));
    assert_eq!(listed(&look().await), Some(at));
    // And once a day in any case.
    rig.clock.advance(Seconds::hours(17));
    assert_eq!(listed(&look().await), Some(rig.clock_now()));
}
