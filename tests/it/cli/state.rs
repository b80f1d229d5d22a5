//! `renewd state`: whose journal it is, and a copy that is claimed.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::process::Command;

use crate::support::agent::{Agent, write_secret};

const POLICY: &str = r#"
[issuer.pca.corp]
endpoint = "http://127.0.0.1:9"
ca = "corp"
access_key = "file:{dir}/ak"
secret_key = "file:{dir}/sk"

[certificate.www]
issuer = "corp"
names = ["www.example.com"]
"#;

fn sql(agent: &Agent, statement: &str) {
    let done = Command::new("sqlite3")
        .arg(agent.state().join("state.db"))
        .arg(statement)
        .status();
    assert!(done.unwrap().success());
}

#[test]
fn a_copied_journal_is_shown_as_one_and_buys_again_only_when_it_is_claimed() {
    let agent = Agent::new(POLICY);
    write_secret(&agent.path().join("ak"), "AK");
    write_secret(&agent.path().join("sk"), "SK");
    let none = agent.run(&["state", "show"]).expect(65);
    assert!(none.stderr.contains("no journal"), "{}", none.stderr);
    // Nobody answers, but there is a journal.
    agent.run(&["once", "--wait", "0s"]);
    let fresh = agent.run(&["state", "show", "--json"]).expect(0).json();
    assert_eq!(fresh["may_buy"], true, "{fresh}");
    let journal = fresh["journal"].as_str().unwrap().to_owned();
    assert_eq!(journal.len(), 16, "{fresh}");
    let again = agent.run(&["state", "show", "--json"]).expect(0).json();
    assert_eq!(again["journal"], journal.as_str());

    sql(
        &agent,
        "UPDATE identity SET body = json_set(body, '$.d.machine', 'another')",
    );
    let copy = agent.run(&["state", "show"]).expect(0);
    assert!(copy.stdout.contains("may not buy"), "{}", copy.stdout);
    assert!(copy.stdout.contains("another machine"), "{}", copy.stdout);
    let refused = agent.run(&["state", "claim"]).expect(64);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert!(refused.stderr.contains(&journal), "{}", refused.stderr);
    let kept = agent.run(&["state", "show", "--json"]).expect(0).json();
    assert_eq!(kept["may_buy"], false, "{kept}");

    agent.run(&["state", "claim", "--yes"]).expect(0);
    let claimed = agent.run(&["state", "show", "--json"]).expect(0).json();
    assert_eq!(claimed["may_buy"], true, "{claimed}");
    assert_ne!(claimed["journal"], journal.as_str());
}
