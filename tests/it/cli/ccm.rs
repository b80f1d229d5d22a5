//! `renewd ccm …` as people and scripts use it: the real binary against a peer that answers like the reference, and against
//! renewd-ccm.

pub(crate) mod commands;
mod scm;
mod server;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::agent::{Agent, Run};
use crate::support::contract::{self, CA, CERTIFICATE, CSR, PRIVATE};
use crate::support::peer::{Peer, Reply};

/// What stands for a private key.
pub(crate) const KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nNobodyMaySeeThis\n-----END PRIVATE KEY-----\n";
const SECRET_KEY: &str = "SecretKeyThatNobodyMaySee";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_renewd"));
    command
        .args(arguments)
        .env("HUAWEICLOUD_SDK_AK", "AK")
        .env("HUAWEICLOUD_SDK_SK", SECRET_KEY)
        .env_remove("HUAWEICLOUD_SDK_SECURITY_TOKEN")
        .env_remove("HUAWEICLOUD_SDK_PROJECT_ID")
        .env_remove("FAILPOINTS")
        .stdin(Stdio::null());
    command
}

/// Runs with the keys of the environment.
pub(crate) fn renewd(arguments: &[&str]) -> Run {
    let run = Run::new(&command(arguments).output().unwrap());
    assert!(!run.stderr.contains(SECRET_KEY) && !run.stdout.contains(SECRET_KEY));
    run
}

fn at<'a>(peer: &'a Peer, rest: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["ccm", "--endpoint", peer.url.as_str()];
    arguments.extend(rest);
    arguments
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_or_destroys_is_not_done_unasked() {
    let peer = Peer::start(|_| Reply::text(500, "")).await;
    let buy = [
        "--brand",
        "GEOTRUST",
        "--type",
        "OV_SSL_CERT",
        "--domain-type",
        "SINGLE_DOMAIN",
        "--agree-privacy",
    ];
    let ca = ["--type", "ROOT", "--common-name", "x"];
    let reason = ["--reason", "x"];
    for (words, more) in [
        ("scm buy", &buy[..]),
        ("scm delete scs1", &[]),
        ("scm cancel scs1", &[]),
        ("scm csr delete 48e3", &[]),
        ("pca ca create", &ca),
        ("pca ca delete 4c0e", &[]),
        ("pca ca disable 4c0e", &[]),
        ("pca ca revoke 4c0e", &[]),
        ("pca cert delete 6434", &[]),
        ("pca cert revoke 6434", &[]),
        ("scm v2 --project p buy", &buy),
        ("scm v2 --project p cancel scs1", &[]),
        ("scm v2 --project p delete scs1", &[]),
        ("scm v2 --project p revoke scs1", &reason),
        ("scm v2 --project p withdraw-consent scs1", &[]),
    ] {
        let mut arguments: Vec<&str> = words.split(' ').collect();
        arguments.extend(more);
        let run = renewd(&at(&peer, &arguments)).expect(64);
        assert!(
            run.stderr.contains("say --yes to have it done"),
            "{words}: {}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
    assert!(peer.requests().is_empty());
}

/// In a terminal of its own, with this typed.
fn at_a_terminal(arguments: &[&str], typed: &str) -> (Option<i32>, String) {
    use std::io::Write as _;
    let line = arguments.join(" ");
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {line}", env!("CARGO_BIN_EXE_renewd")))
        .arg("/dev/null")
        .env("HUAWEICLOUD_SDK_AK", "AK")
        .env("HUAWEICLOUD_SDK_SK", SECRET_KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    script
        .stdin
        .take()
        .unwrap()
        .write_all(typed.as_bytes())
        .unwrap();
    let output = script.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_a_terminal_is_asked() {
    let contract = contract::of("4.2.2.7");
    let peer = contract.peer().await;
    let arguments = at(&peer, &["pca", "cert", "delete", PRIVATE]);
    let (code, shown) = at_a_terminal(&arguments, "n\n");
    assert_eq!(code, Some(64), "{shown}");
    assert!(shown.contains("will be deleted for good"), "{shown}");
    assert!(
        shown.contains("Go on? [y/N]") && shown.contains("nothing was done"),
        "{shown}"
    );
    assert!(peer.requests().is_empty());
    let (code, shown) = at_a_terminal(&arguments, "y\n");
    assert_eq!(code, Some(0), "{shown}");
    contract.was_sent_to(&peer, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_into_a_file_for_its_owner_or_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("www.pem");
    let path = file.to_str().unwrap();
    let peer = Peer::start(|request| match request.path() {
        path if path.ends_with("/private-key") => Reply::json(200, &json!({"private_key": KEY})),
        _ => Reply::json(
            200,
            &json!({"certificate": "-----BEGIN CERTIFICATE-----\r\nA\r\n-----END CERTIFICATE-----",
                "certificate_chain": "", "private_key": KEY}),
        ),
    })
    .await;
    let shown = renewd(&at(&peer, &["scm", "export", CERTIFICATE])).expect(0);
    assert_eq!(
        shown.stdout,
        "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n\n"
    );
    let shown = renewd(&at(&peer, &["scm", "export", CERTIFICATE, "--json"])).expect(0);
    assert!(
        shown.json().get("private_key").is_none(),
        "{}",
        shown.stdout
    );
    let shown = renewd(&at(&peer, &["scm", "export", CERTIFICATE, "--show-key"])).expect(0);
    assert!(shown.stdout.ends_with(KEY), "{}", shown.stdout);

    let written = renewd(&at(&peer, &["scm", "export", CERTIFICATE, "-o", path])).expect(0);
    assert_eq!(written.stdout, "");
    assert!(
        written.stderr.contains("certificate, chain and key are in"),
        "{}",
        written.stderr
    );
    let content = std::fs::read_to_string(&file).unwrap();
    assert!(content.starts_with("-----BEGIN CERTIFICATE-----\nA\n") && content.ends_with(KEY));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    let asked = peer.requests().len();
    let again = renewd(&at(&peer, &["scm", "csr", "key", CSR, "-o", path])).expect(73);
    assert!(
        again.stderr.contains("exists; say --force to replace it"),
        "{}",
        again.stderr
    );
    let hidden = renewd(&at(&peer, &["scm", "csr", "key", CSR])).expect(64);
    assert!(hidden.stderr.contains("--show-key"), "{}", hidden.stderr);
    assert_eq!(peer.requests().len(), asked, "no key was asked for in vain");
    renewd(&at(
        &peer,
        &["scm", "csr", "key", CSR, "-o", path, "--force"],
    ))
    .expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), KEY);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_written_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("www.zip");
    let path = file.to_str().unwrap();
    let peer = Peer::start(|request| match request.json()["is_compressed"].as_str() {
        Some("true") => Reply::text(200, "PK\u{3}\u{4}archive"),
        _ => Reply::text(
            400,
            r#"{"error_code": "PCA.00020001", "error_msg": "Not so."}"#,
        ),
    })
    .await;
    let export = ["pca", "cert", "export", PRIVATE, "--type", "tomcat"];
    renewd(&at(&peer, &export)).expect(64);
    assert!(peer.requests().is_empty());
    let with_file = [&export[..], &["-o", path]].concat();
    renewd(&at(&peer, &with_file)).expect(0);
    assert_eq!(std::fs::read(&file).unwrap(), b"PK\x03\x04archive");
    assert_eq!(peer.requests()[0].json()["type"], "TOMCAT");

    let no_archive = Peer::start(|_| Reply::text(200, "<html>login</html>")).await;
    let with_force = [&with_file[..], &["--force"]].concat();
    let run = renewd(&at(&no_archive, &with_force)).expect(69);
    assert!(run.stderr.contains("no zip archive"), "{}", run.stderr);
    assert_eq!(std::fs::read(&file).unwrap(), b"PK\x03\x04archive", "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_words_of_the_service_and_by_the_exit_status() {
    for (status, code, exit) in [
        (400, "SCM.0009", 65),
        (401, "APIGW.0301", 77),
        (403, "PCA.00030001", 78),
        (404, "SCM.0094", 65),
    ] {
        let body = json!({"error_code": code, "error_msg": "As it \u{1b}[31msaid."});
        let peer = Peer::start(move |_| Reply::json(status, &body)).await;
        let run = renewd(&at(&peer, &["scm", "show", CERTIFICATE]));
        assert_eq!(run.code, Some(exit), "{code}: {}", run.stderr);
        let said = format!("{status} {code}: As it [31msaid");
        assert!(run.stderr.contains(&said), "{}", run.stderr);
        assert!(
            run.stderr
                .starts_with("error: SCM show certificate (GET /v3/scm/"),
            "{}",
            run.stderr
        );
    }
    let peer = Peer::start(|_| Reply::Close).await;
    let run = renewd(&at(
        &peer,
        &[
            "scm",
            "push",
            CERTIFICATE,
            "--service",
            "elb",
            "--target-project",
            "x",
        ],
    ))
    .expect(69);
    assert!(
        run.stderr.contains("it may have been done all the same"),
        "{}",
        run.stderr
    );
    assert_eq!(peer.requests().len(), 1, "what acts is sent once");
    let run = renewd(&at(&peer, &["scm", "csr", "update", CSR, "--name", ""])).expect(64);
    assert!(
        run.stderr.contains("`name` must not be empty"),
        "{}",
        run.stderr
    );
    renewd(&at(&peer, &["scm", "show", "../x"])).expect(64);
    renewd(&at(&peer, &["scm", "list", "--limit", "30"])).expect(64);
    assert_eq!(peer.requests().len(), 1, "and what is wrong is not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_that_of_an_issuer_or_of_the_environment() {
    let peer = Peer::start(|request| {
        let signed = request.header("authorization");
        let name = if signed.contains("Access=AkOfScm") { "scm" } else { "pca" };
        if request.path().starts_with("/v1/") {
            Reply::json(200, &json!({"total": 1, "certificate_authorities": [{"ca_id": name, "status": "ACTIVED"}]}))
        } else {
            Reply::json(200, &json!({"total_count": 1, "certificates": [{"id": name, "status": "PAID"}]}))
        }
    })
    .await;
    let agent = Agent::new("");
    for (file, value) in [("ak1", "AkOfScm"), ("ak2", "AkOfPca"), ("sk", SECRET_KEY)] {
        crate::support::agent::write_secret(&agent.path().join(file), value);
    }
    let issuer = |kind: &str, name: &str, more: &str, ak: &str| {
        format!(
            "[issuer.{kind}.{name}]\nendpoint = \"{}\"\n{more}access_key = \"file:{{dir}}/{ak}\"\nsecret_key = \"file:{{dir}}/sk\"\n",
            peer.url
        )
    };
    let scm = issuer("scm", "public", "", "ak1");
    let pca = issuer("pca", "corp", "ca = \"x\"\n", "ak2");
    let ids = |run: Run, key: &str, id: &str| run.expect(0).json()[key][0][id].clone();
    let list = ["ccm", "scm", "list", "--json"];
    let cas = ["ccm", "pca", "ca", "list", "--json"];

    agent.write_policy(&(scm.clone() + &pca));
    assert_eq!(ids(agent.run(&list), "certificates", "id"), "scm");
    assert_eq!(
        ids(agent.run(&cas), "certificate_authorities", "ca_id"),
        "pca"
    );
    let named = [&cas[..], &["--issuer", "public"]].concat();
    assert_eq!(
        ids(agent.run(&named), "certificate_authorities", "ca_id"),
        "scm"
    );
    let unknown = agent
        .run(&["ccm", "scm", "list", "--issuer", "nobody"])
        .expect(64);
    assert!(
        unknown.stderr.contains("it has corp, public"),
        "{}",
        unknown.stderr
    );

    agent.write_policy(&pca);
    assert_eq!(ids(agent.run(&list), "certificates", "id"), "pca");
    agent.write_policy(&(scm + &issuer("scm", "other", "", "ak2")));
    let which = agent.run(&list).expect(64);
    assert!(
        which.stderr.contains("give --issuer, one of other, public"),
        "{}",
        which.stderr
    );
    agent.write_policy("");
    agent.run(&list).expect(64);

    let mut without = command(&at(&peer, &["scm", "list"]));
    let run = Run::new(&without.env_remove("HUAWEICLOUD_SDK_SK").output().unwrap()).expect(78);
    assert!(
        run.stderr
            .contains("set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"),
        "{}",
        run.stderr
    );
    let mut with_token = command(&at(&peer, &["scm", "list"]));
    with_token.env("HUAWEICLOUD_SDK_SECURITY_TOKEN", "TokenOfMine");
    Run::new(&with_token.output().unwrap()).expect(0);
    let last = peer.requests().pop().unwrap();
    assert_eq!(last.header("x-security-token"), "TokenOfMine");
    assert!(last.header("authorization").contains("x-security-token"));
    renewd(&at(&peer, &["scm", "v2", "list"]))
        .expect(64)
        .says("--project");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_can_have_the_keys_of_an_agency() {
    let peer = Peer::start(|request| match request.path() {
        "/meta-data/latest/api/token" => Reply::text(200, "metadata-token"),
        "/openstack/latest/securitykey" => Reply::json(
            200,
            &json!({"credential": {"access": "AkOfAgency", "secret": SECRET_KEY,
                "securitytoken": "TokenOfAgency", "expires_at": "2999-05-08T09:10:07.720000Z"}}),
        ),
        _ if request
            .header("authorization")
            .contains("Access=AkOfAgency") =>
        {
            Reply::json(
                200,
                &json!({"ca_id": CA, "status": "ACTIVED", "path_length": 7}),
            )
        }
        _ => Reply::text(401, ""),
    })
    .await;
    let agent = Agent::new("");
    let policy = format!(
        "[issuer.pca.corp]\nendpoint = \"{0}\"\nca = \"x\"\nagency = true\nmetadata_endpoint = \"{0}\"\n",
        peer.url
    );
    agent.write_policy(&policy);
    let shown = agent
        .run(&["ccm", "pca", "ca", "show", CA, "--json"])
        .expect(0);
    assert_eq!(shown.json()["path_length"], 7);
    let last = peer.requests().pop().unwrap();
    assert_eq!(last.header("x-security-token"), "TokenOfAgency");

    agent.write_policy(&(policy + "access_key = \"file:/ak\"\n"));
    let both = agent.run(&["validate"]).expect(78);
    assert!(
        both.stderr.contains("has an agency and other credentials"),
        "{}",
        both.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_a_table_that_says_what_it_leaves_out() {
    let peer = Peer::start(|request| {
        let from: usize = request.query("offset").parse().unwrap();
        let most: usize = request.query("limit").parse().unwrap();
        let page: Vec<_> = (from..120.min(from + most))
            .map(|n| {
                json!({"id": format!("scs{n:013}"), "status": "ISSUED", "name": "n\u{7}ame",
                    "domain": "www.example.com", "expire_time": "2027-05-27 16:46:25.0"})
            })
            .collect();
        Reply::json(200, &json!({"total_count": 120, "certificates": page}))
    })
    .await;
    let some = renewd(&at(&peer, &["scm", "list", "--limit", "10"])).expect(0);
    let lines: Vec<&str> = some.stdout.lines().collect();
    assert_eq!(lines.len(), 11);
    assert_eq!(
        lines[0],
        "ID                STATUS  ENDS                   TYPE  NAME   DOMAIN           MORE NAMES"
    );
    assert_eq!(
        lines[1],
        "scs0000000000000  ISSUED  2027-05-27 16:46:25.0  -     n ame  www.example.com  -"
    );
    assert!(
        some.stderr.contains("10 of 120 are shown; --all shows all"),
        "{}",
        some.stderr
    );
    let all = renewd(&at(&peer, &["scm", "list", "--all"])).expect(0);
    assert_eq!((all.stdout.lines().count(), &*all.stderr), (121, ""));
    let json = renewd(&at(&peer, &["scm", "list", "--all", "--json"]))
        .expect(0)
        .json();
    assert_eq!(json["certificates"].as_array().unwrap().len(), 120);
    assert_eq!((&json["total"], json.get("unread")), (&json!(120), None));
}
