//! What is watched and not managed: real files of every format, real listeners, and what the binary says of them.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod accounts;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use renewd::model::{KeyAlgorithm, Seconds, Timestamp};
use renewd::pki::pem;
use renewd::sys::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::support::agent::{Agent, write_secret};
use crate::support::certs::{Sample, Validity, key, sample};
use crate::support::server::Server;

fn days(from: i64, until: i64) -> Validity {
    let now = SystemClock.now();
    Validity(now + Seconds::days(from), now + Seconds::days(until))
}

fn certificate(names: &[&str], from: i64, until: i64) -> Sample {
    sample(KeyAlgorithm::EcP256, names, days(from, until))
}

/// Leaf and intermediate, as `fullchain.pem`.
fn full_chain(sample: &Sample) -> String {
    sample.material.leaf_pem() + &pem::certificate(&sample.intermediate.der)
}

fn key_pem(sample: &Sample) -> String {
    let key = sample.material.key.to_pem();
    key.expose_str().unwrap().to_owned()
}

#[track_caller]
fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program} {arguments:?}\n{said}");
}

/// Looks once and answers what `status --json` says, by place.
fn look(agent: &Agent) -> Vec<(String, String)> {
    agent.run(&["jobs", "run", "watch"]).expect(0);
    seen(agent)
}

fn seen(agent: &Agent) -> Vec<(String, String)> {
    let all = agent.run(&["status", "--json"]).expect(0).json();
    let here = format!("{}/", agent.path().display());
    let each = all["watched"].as_array().unwrap().iter();
    each.map(|one| {
        let place = text(one, "place").replace(&here, "");
        (place, text(one, "verdict"))
    })
    .collect()
}

fn text(one: &Value, key: &str) -> String {
    one[key].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn verdict<'a>(all: &'a [(String, String)], place: &str) -> &'a str {
    let found = all.iter().find(|(at, _)| at == place);
    &found.unwrap_or_else(|| panic!("no {place} in {all:?}")).1
}

fn alerts(agent: &Agent) -> String {
    agent.run(&["status"]).expect(0).stdout
}

#[test]
fn files_of_every_format_are_told_by_their_content() {
    let agent = Agent::new(
        "[watch.files]\nfiles = [\"{dir}/w/*\", \"{dir}/none.pem\"]\npassword = \"file:{dir}/password\"\n",
    );
    let here = agent.path().join("w");
    fs::create_dir(&here).unwrap();
    write_secret(&agent.path().join("password"), "correct horse");
    let at = |name: &str| here.join(name).display().to_string();
    let write = |name: &str, bytes: &[u8]| fs::write(here.join(name), bytes).unwrap();

    let good = certificate(&["good.example.com"], -1, 89);
    write("good.pem", full_chain(&good).as_bytes());
    write("key.pem", key_pem(&good).as_bytes());
    let ended = certificate(&["ended.example.com"], -90, -1);
    write("ended.bin", &ended.material.leaf);
    let coming = certificate(&["coming.example.com"], 1, 90);
    write("coming.pem", coming.material.leaf_pem().as_bytes());
    let other_key = key(KeyAlgorithm::EcP256).to_pem();
    let both = full_chain(&good) + other_key.expose_str().unwrap();
    write("other-key.pem", both.as_bytes());
    let stranger = certificate(&["stranger.example.com"], -1, 89);
    let broken = good.material.leaf_pem() + &pem::certificate(&stranger.intermediate.der);
    write("broken.pem", broken.as_bytes());
    let order = good.material.leaf_pem()
        + &pem::certificate(&good.root.der)
        + &pem::certificate(&good.intermediate.der);
    write("order.pem", order.as_bytes());
    write("noise.txt", b"\x00\x01\x02 nothing of the kind");
    fs::create_dir(here.join("archive")).unwrap();
    fs::write(here.join("archive/cert1.pem"), good.material.leaf_pem()).unwrap();
    symlink("archive/cert1.pem", here.join("live.pem")).unwrap();

    // Keystores by those who make them.
    let soon = certificate(&["soon.example.com"], -85, 5);
    let (cert, secret) = (agent.path().join("soon.pem"), agent.path().join("soon.key"));
    fs::write(&cert, full_chain(&soon)).unwrap();
    fs::write(&secret, key_pem(&soon)).unwrap();
    let (cert, secret) = (cert.display().to_string(), secret.display().to_string());
    let pass = "pass:correct horse";
    tool(
        "openssl",
        &[
            "pkcs12",
            "-export",
            "-in",
            &cert,
            "-inkey",
            &secret,
            "-name",
            "soon",
            "-out",
            &at("store.p12"),
            "-passout",
            pass,
        ],
    );
    tool(
        "keytool",
        &[
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            &at("store.p12"),
            "-srcstoretype",
            "PKCS12",
            "-srcstorepass",
            "correct horse",
            "-destkeystore",
            &at("store.jks"),
            "-deststoretype",
            "JKS",
            "-deststorepass",
            "correct horse",
        ],
    );
    tool(
        "keytool",
        &[
            "-importcert",
            "-noprompt",
            "-alias",
            "trusted",
            "-file",
            &cert,
            "-keystore",
            &at("trust.jks"),
            "-storetype",
            "JKS",
            "-storepass",
            "correct horse",
        ],
    );

    let all = look(&agent);
    for (place, wanted) in [
        ("w/good.pem #1", "good"),
        ("w/good.pem #2", "good"),
        ("w/live.pem", "good"),
        ("w/ended.bin", "expired"),
        ("w/coming.pem", "not-yet-valid"),
        ("w/other-key.pem #1", "key-mismatch"),
        ("w/broken.pem #1", "chain"),
        ("w/order.pem #1", "chain"),
        ("w/store.p12 soon", "expiring"),
        ("w/store.jks soon", "expiring"),
        ("w/trust.jks", "expiring"),
        ("w/noise.txt", "failing"),
        ("none.pem", "failing"),
    ] {
        assert_eq!(verdict(&all, place), wanted, "{place}: {all:?}");
    }
    assert!(
        !all.iter()
            .any(|(place, _)| place.contains("key.pem") && !place.contains("other"))
    );
    let status = alerts(&agent);
    assert!(
        status.contains("ended.example.com): expired at"),
        "{status}"
    );
    // One certificate, in two keystores and a trust store, ends once.
    assert_eq!(
        status.matches("(soon.example.com): expires at").count(),
        1,
        "{status}"
    );
    assert!(
        !status.contains("noise.txt: "),
        "the first failure is told:\n{status}"
    );

    look(&agent);
    let all = look(&agent);
    assert_eq!(verdict(&all, "w/noise.txt"), "unreadable");
    assert_eq!(verdict(&all, "none.pem"), "missing");
    let status = alerts(&agent);
    assert!(
        status.contains("noise.txt: failed to read file"),
        "{status}"
    );
    assert!(
        status.contains("none.pem: there is no such file"),
        "{status}"
    );

    // What is mended is over, and a renewed link is seen as another certificate.
    write("noise.txt", full_chain(&good).as_bytes());
    fs::write(agent.path().join("none.pem"), good.material.leaf_pem()).unwrap();
    fs::remove_file(here.join("ended.bin")).unwrap();
    fs::write(here.join("archive/cert2.pem"), stranger.material.leaf_pem()).unwrap();
    fs::remove_file(here.join("live.pem")).unwrap();
    symlink("archive/cert2.pem", here.join("live.pem")).unwrap();
    let all = look(&agent);
    assert_eq!(verdict(&all, "w/noise.txt #1"), "good");
    assert_eq!(verdict(&all, "none.pem"), "good");
    assert_eq!(verdict(&all, "w/live.pem"), "changed");
    let status = alerts(&agent);
    assert!(!status.contains("noise.txt: "), "{status}");
    assert!(!status.contains("none.pem: "), "{status}");
    assert!(!status.contains("ended.example.com"), "{status}");

    // Another password, and then none of it any more.
    write_secret(&agent.path().join("password"), "another horse");
    let touched = fs::read(here.join("store.jks")).unwrap();
    fs::remove_file(here.join("store.jks")).unwrap();
    write("store.jks", &touched);
    assert_eq!(verdict(&look(&agent), "w/store.jks"), "failing");
    agent.write_policy("");
    agent.run(&["jobs", "run", "watch"]).expect(0);
    assert_eq!(seen(&agent), []);
    assert!(!alerts(&agent).contains("ALERT"), "{}", alerts(&agent));
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let agent = Agent::new("[watch.one]\nfiles = [\"{dir}/one.pem\"]\n");
    let file = agent.path().join("one.pem");
    let good = certificate(&["one.example.com"], -1, 89);
    fs::write(&file, full_chain(&good)).unwrap();
    assert_eq!(verdict(&look(&agent), "one.pem #1"), "good");
    // A disk that fails at every read of it is noticed once the file is another one.
    let fails = "fs.read=return(EIO one.pem)";
    let job = ["jobs", "run", "watch"];
    agent.run_with(fails, &job).expect(0);
    assert_eq!(verdict(&seen(&agent), "one.pem #1"), "good");
    assert!(!seen(&agent).iter().any(|(_, verdict)| verdict == "failing"));
    fs::remove_file(&file).unwrap();
    fs::write(&file, full_chain(&good)).unwrap();
    agent.run_with(fails, &job).expect(0);
    assert_eq!(verdict(&seen(&agent), "one.pem"), "failing");
    assert_eq!(verdict(&seen(&agent), "one.pem #1"), "good");
}

/// A listener of openssl with this certificate.
fn listener(directory: &Path, sample: &Sample, name: &str) -> (Server, u16) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let at = |what: &str| {
        directory
            .join(format!("{name}.{what}"))
            .display()
            .to_string()
    };
    fs::write(at("crt"), sample.material.leaf_pem()).unwrap();
    fs::write(at("chain"), pem::certificate(&sample.intermediate.der)).unwrap();
    fs::write(at("key"), key_pem(sample)).unwrap();
    let accept = format!("127.0.0.1:{port}");
    let mut server = Server::new(
        &[
            "/usr/bin/openssl",
            "s_server",
            "-quiet",
            "-accept",
            &accept,
            "-cert",
            &at("crt"),
            "-cert_chain",
            &at("chain"),
            "-key",
            &at("key"),
        ],
        &[],
        &directory.join(format!("{name}.log")),
    );
    server.start(&[port]);
    (server, port)
}

#[test]
fn hosts_are_asked_by_name_and_those_who_hang_delay_nobody() {
    let agent = Agent::new("");
    let good = certificate(&["good.example.com"], -1, 89);
    let other = certificate(&["other.example.com"], -85, 5);
    let (mut first, one) = listener(agent.path(), &good, "good");
    let (_second, two) = listener(agent.path(), &other, "other");
    fs::write(
        agent.path().join("root.pem"),
        pem::certificate(&good.root.der),
    )
    .unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = silent.local_addr().unwrap().port();
    let mut policy = format!(
        "[watch.good]\nhost = \"127.0.0.1:{one}\"\nnames = [\"good.example.com\", \"wrong.example.com\"]\nroots = \"{{dir}}/root.pem\"\n\
         [watch.other]\nhost = \"127.0.0.1:{two}\"\nnames = [\"other.example.com\"]\n\
         [watch.strange]\nhost = \"127.0.0.1:{two}\"\nnames = [\"other.example.com\"]\nroots = \"{{dir}}/root.pem\"\n",
    );
    // Three times as many as are asked at once.
    for number in 0..48 {
        policy.push_str(&format!(
            "[watch.a-{number:02}]\nhost = \"127.0.0.1:{dead}\"\nnames = [\"silent.example.com\"]\ntimeout = \"2s\"\n"
        ));
    }
    agent.write_policy(&policy);
    let begun = Instant::now();
    let all = look(&agent);
    // One after the other would take 96 seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    let at = |port: u16, name: &str| format!("127.0.0.1:{port} {name}").trim().to_owned();
    assert_eq!(verdict(&all, &at(one, "good.example.com")), "good");
    assert_eq!(verdict(&all, &at(one, "wrong.example.com")), "wrong-name");
    assert_eq!(verdict(&all, &at(dead, "")), "failing");
    let of_two: Vec<&str> = all
        .iter()
        .filter(|(place, _)| *place == at(two, ""))
        .map(|(_, verdict)| verdict.as_str())
        .collect();
    assert_eq!(of_two, ["expiring", "chain"], "{all:?}");
    let status = alerts(&agent);
    assert!(
        status.contains("it is for good.example.com, not for wrong.example.com"),
        "{status}"
    );

    // Nobody answers any more: what was seen last is still there, and after three looks it is told.
    agent.write_policy(&policy[..policy.find("[watch.a-").unwrap()]);
    first.stop();
    for wanted in ["failing", "failing", "unreachable"] {
        let all = look(&agent);
        let place = at(one, "good.example.com");
        let of: Vec<&str> = all
            .iter()
            .filter(|(at, _)| *at == place)
            .map(|(_, verdict)| verdict.as_str())
            .collect();
        assert_eq!(of, [wanted, "good"], "{all:?}");
    }
    assert!(alerts(&agent).contains(&format!("failed to connect to 127.0.0.1:{one}")));
    first.start(&[one]);
    let all = look(&agent);
    assert_eq!(verdict(&all, &at(one, "good.example.com")), "good");
    assert!(!alerts(&agent).contains("failed to connect"));
}

#[test]
fn the_job_is_there_where_something_is_watched() {
    let agent = Agent::new("");
    let names = |agent: &Agent| -> Vec<String> {
        let all = agent.run(&["jobs", "--json"]).expect(0).json();
        let each = all.as_array().unwrap().iter();
        each.map(|job| text(job, "name")).collect()
    };
    assert_eq!(names(&agent), ["check", "renew"]);
    agent.write_policy(
        "[watch.one]\nfiles = [\"{dir}/one.pem\"]\n[job.watch]\nschedule = \"5 * * * *\"\n",
    );
    assert_eq!(names(&agent), ["check", "renew", "watch"]);
    agent.run(&["jobs", "run", "watch"]).expect(0);
    let all = agent.run(&["jobs", "--json"]).expect(0).json();
    let job = &all.as_array().unwrap()[2];
    assert_eq!(job["result"], "done");
    assert_eq!(job["schedule"], "0 5 * * * *");
    let begun = Timestamp::parse(job["last_run"].as_str().unwrap()).unwrap();
    assert!(begun <= SystemClock.now());
}
