//! The command line of renewd-ccm: what it prints, with which status it ends, and that its page tells so.

use std::os::unix::fs::PermissionsExt as _;

use super::http::{Peer as _, get};
use super::process::{Process, fresh, json, new_user, run};

#[tokio::test]
async fn users_added_beside_a_running_server_are_known_at_once() {
    let (_directory, state) = fresh();
    let server = Process::start(&state, new_user(&state, "first"));
    let list = "/v1/private-certificate-authorities";
    let all = get(&server, list).await.expect(200);
    assert_eq!(
        all.body["total"], 2,
        "the first start made a root and an issuing CA"
    );
    let cas = json(&state, &["ca", "init", "--json"]);
    let ids: Vec<&str> = all.body["certificate_authorities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ca| ca["ca_id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&cas["root_ca_id"].as_str().unwrap()));
    assert!(ids.contains(&cas["issuing_ca_id"].as_str().unwrap()));
    let user = json(&state, &["user", "add", "second", "--json"]);
    for field in ["access_key", "secret_key", "project_id", "domain_id"] {
        assert!(!user[field].as_str().unwrap().is_empty(), "{field}");
    }
    let text = |field: &str| user[field].as_str().unwrap().to_owned();
    let second = server.as_another((text("access_key"), text("secret_key")));
    get(&second, list).await.expect(200);
    let twin = run(&state, &["user", "add", "second"]);
    assert_eq!(
        twin.status.code(),
        Some(65),
        "{}",
        String::from_utf8_lossy(&twin.stderr)
    );
    let other = run(&state, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(
        other.status.code(),
        Some(75),
        "{}",
        String::from_utf8_lossy(&other.stderr)
    );
    let log = server.terminate();
    let (_, secret_key) = second.keys();
    assert!(!log.contains(&secret_key));
}

#[test]
fn resources_are_added_and_listed() {
    let (_directory, state) = fresh();
    let add = |more: &[&str]| {
        let command = [&["resource", "add", "--json"], more].concat();
        json(&state, &command)
    };
    let listener = add(&[
        "--service",
        "elb",
        "--region",
        "cn-north-4",
        "--name",
        "front",
    ]);
    assert_eq!(listener["service"], "ELB");
    assert_eq!(listener["region"], "cn-north-4");
    assert_eq!(listener["certificate_id"], serde_json::Value::Null);
    let site = ["--service", "cdn", "--name", "www.example.com"];
    assert_eq!(add(&site)["region"], "global");
    let wall = [
        "--service",
        "waf",
        "--region",
        "cn-north-4",
        "--name",
        "www.example.com",
        "--type",
        "premium",
        "--enterprise-project",
        "p1",
    ];
    let wall = add(&wall);
    assert_eq!(wall["type"], "premium");
    assert_eq!(wall["enterprise_project_id"], "p1");
    let all = json(&state, &["resource", "list", "--json"]);
    assert_eq!(all.as_array().unwrap().len(), 3);
    let plain = run(&state, &["resource", "list"]);
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(plain.lines().count(), 3);
    assert!(plain.contains(listener["id"].as_str().unwrap()), "{plain}");
    let nobody = run(&state, &["resource", "list", "--account", "nobody"]);
    assert!(nobody.status.success() && nobody.stdout.is_empty());
    for refused in [
        ["--service", "obs", "--region", "cn-north-4", "--name", "x"].as_slice(),
        &["--service", "elb", "--name", "x"],
        &["--service", "elb", "--region", "moon-1", "--name", "x"],
        &["--service", "elb", "--region", "cn-north-4", "--name", ""],
        &["--service", "cdn", "--name", "no domain"],
        &["--service", "cdn", "--name", "www.example.com"],
        &["--service", "cdn", "--name", "a.example", "--type", "cloud"],
        &[
            "--service",
            "waf",
            "--region",
            "cn-north-4",
            "--name",
            "a.example",
            "--type",
            "x",
        ],
    ] {
        let output = run(&state, &[&["resource", "add"], refused].concat());
        assert_eq!(output.status.code(), Some(64), "{refused:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn faults_can_be_asked_for_on_the_command_line() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "user");
    let server = Process::start_with(
        &state,
        keys,
        &["--faults", "at=4.2.1.1:1:server-error,pages=1"],
    );
    let list = "/v1/private-certificate-authorities";
    get(&server, list).await.refused(500, "PCA.00000001");
    let page = get(&server, list).await.expect(200).body;
    assert_eq!(page["certificate_authorities"].as_array().unwrap().len(), 1);
    server.terminate();
    let refused = run(&state, &["serve", "--faults", "earthquake"]);
    assert_eq!(refused.status.code(), Some(64));
}

#[test]
fn addresses_of_other_machines_are_refused_without_the_flag() {
    let (_directory, state) = fresh();
    let refused = run(&state, &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(64));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--allow-remote"), "{said}");
    assert!(refused.stdout.is_empty());
    assert!(!state.exists(), "a refused start leaves nothing behind");
}

#[test]
fn every_failure_has_its_status() {
    let (directory, state) = fresh();
    assert_eq!(run(&state, &[]).status.code(), Some(64));
    assert_eq!(
        run(&state, &["serve", "--listen", "nowhere"]).status.code(),
        Some(64)
    );
    assert_eq!(run(&state, &["user", "add", "a b"]).status.code(), Some(64));
    assert_eq!(run(&state, &["--version"]).status.code(), Some(0));
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = run(&state, &["ca", "init"]);
    assert_eq!(open.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&open.stderr).contains("chmod 700"));
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        run(&file.join("below"), &["ca", "init"]).status.code(),
        Some(73)
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_other, fresh_state) = fresh();
    assert_eq!(
        run(&fresh_state, &["serve", "--listen", &address])
            .status
            .code(),
        Some(69)
    );
}

#[test]
fn the_manual_page_has_every_command_option_and_status() {
    let page = include_str!("../../../docs/man/renewd-ccm.8.md");
    let mut missing = Vec::new();
    let mut left = vec![(
        String::from("renewd-ccm"),
        renewd::ccm_server::cli::command(),
    )];
    while let Some((path, command)) = left.pop() {
        let options = command.get_arguments().filter(|a| !a.is_hide_set());
        for long in options.filter_map(|a| a.get_long()) {
            if !page.contains(&format!("`--{long}`")) {
                missing.push(format!("{path} --{long}"));
            }
        }
        if !command.has_subcommands() && !page.contains(&format!("### {path}")) {
            missing.push(path.clone());
        }
        for sub in command.get_subcommands() {
            left.push((format!("{path} {}", sub.get_name()), sub.clone()));
        }
    }
    let source = include_str!("../../../src/ccm_server/cli.rs");
    let statuses = source
        .lines()
        .filter_map(|line| line.strip_prefix("const ")?.split_once(": u8 = "));
    let statuses: Vec<&str> = statuses
        .map(|(_, value)| value.trim_end_matches(';'))
        .collect();
    assert_eq!(statuses.len(), 9, "{statuses:?}");
    missing.extend(
        statuses
            .iter()
            .filter(|s| !page.contains(&format!("\n| {s} | ")))
            .map(ToString::to_string),
    );
    assert!(missing.is_empty(), "{missing:?}");
}
