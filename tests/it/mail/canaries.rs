//! Every secret of the policy, searched for in everything that is said, kept, sent or started.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::mail::Post;
use crate::support::agent::write_secret;
use crate::support::canary;
use crate::support::mail::PASSWORD;
use crate::support::peer::{Peer, Reply};

const SECRETS: [(&str, &str); 8] = [
    ("the secret key", "canary-of-the-secret-key-0001"),
    ("the security token", "canary-of-the-security-token-2"),
    ("the password of the mail server", PASSWORD),
    ("the URL of the webhook", "canary-of-the-webhook-path-4"),
    ("the key that signs", "canary-of-the-signing-key-005"),
    ("the URL of the heartbeat", "canary-of-the-heartbeat-path6"),
    ("the password of a keystore", "canary-of-the-keystore-0007"),
    ("the password of an export", "canary-of-the-exported-pfx-8"),
];

/// What this process and those below it were started with, and with which environment.
fn started(of: u32, seen: &mut BTreeSet<Vec<u8>>) {
    let mut open = vec![of];
    while let Some(id) = open.pop() {
        for what in ["cmdline", "environ"] {
            seen.extend(std::fs::read(format!("/proc/{id}/{what}")));
        }
        let tasks = std::fs::read_dir(format!("/proc/{id}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            open.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_leaves_is_kept_or_is_started() {
    let post = Post::new("starttls").await;
    let [
        (_, key),
        (_, token),
        _,
        (_, path),
        (_, signing),
        (_, beat),
        (_, keystore),
        (_, pfx),
    ] = SECRETS;
    // It says what it was called with, as servers do in their errors.
    let peer = Peer::start(|request| {
        Reply::text(503, &format!("no {} {:?}", request.target, request.headers))
    })
    .await;
    let agent = &post.rig.world.agent;
    let dir = agent.path();
    for (name, secret) in [
        ("sk", key.to_owned()),
        ("token", token.to_owned()),
        ("hook", format!("{}/{path}", peer.url)),
        ("signing", signing.to_owned()),
        ("beat", format!("{}/{beat}", peer.url)),
        ("keystore", keystore.to_owned()),
        ("pfx", pfx.to_owned()),
    ] {
        write_secret(&dir.join(name), &secret);
    }
    // The mail system of this host says what it is started with and what it is given.
    let program = dir.join("sendmail");
    let script = "#!/bin/sh\ntr '\\0' '\\n' </proc/$$/cmdline; env; cat >&2; exit 75\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(dir.join("watched.p12"), "no keystore at all").unwrap();
    post.write(
        r#"digest = true

[alert.email.local]
sendmail = "{dir}/sendmail"
from = "root@localhost"
to = ["root@localhost"]

[alert.webhook.pager]
url = "file:{dir}/hook"
signing_key = "file:{dir}/signing"
digest = true

[alert]
heartbeat = "file:{dir}/beat"

[job.digest]

[metrics]
textfile = "{dir}/renewd.prom"

[watch.stores]
files = ["{dir}/watched.p12"]
password = "file:{dir}/keystore"

[target.files.store]

[target.files.store.export.pfx.windows]
path = "server.pfx"
password = "file:{dir}/pfx"
"#,
        "targets = [\"store\"]",
    );
    let policy = dir.join("renewd.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let header = "[issuer.pca.corp]\n";
    let more = format!(
        "{header}security_token = \"file:{}/token\"\n",
        dir.display()
    );
    std::fs::write(&policy, text.replace(header, &more)).unwrap();
    // One recipient is refused, in words that quote what nobody should.
    let quoting = format!("451 4.7.1 not with the password {PASSWORD}");
    post.mail
        .answer(json!({"login": ["mailer", PASSWORD], "rcpt": {"boss@example.test": quoting}}));

    let log = dir.join("daemon.log");
    let mut daemon = agent
        .command(&["run"])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env("RENEWD_LOG", "trace")
        .env("RUST_LOG", "trace")
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut seen = BTreeSet::new();
    let begun = Instant::now();
    let told = || {
        let list = agent.run(&["alert", "list"]).expect(0).stdout;
        let tried = |by: &str| {
            list.lines()
                .any(|line| line.contains(by) && line.contains(" attempts"))
        };
        tried(" by local,")
            && tried(" by pager,")
            && tried("to boss@")
            && !post.mail.mails().is_empty()
    };
    while !told() {
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(90), "{log}");
        started(daemon.id(), &mut seen);
        std::thread::sleep(Duration::from_millis(20));
    }
    started(daemon.id(), &mut seen);
    kill(
        Pid::from_raw(i32::try_from(daemon.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(daemon.wait().unwrap().success());

    let mut places = vec![("the log".to_owned(), std::fs::read(&log).unwrap())];
    for (number, one) in seen.into_iter().filter(|one| !one.is_empty()).enumerate() {
        places.push((format!("what process {number} was started with"), one));
    }
    for name in ["state.db", "state.db-wal"] {
        if let Ok(bytes) = std::fs::read(agent.state().join(name)) {
            places.push((name.to_owned(), bytes));
        }
    }
    places.retain(|(name, bytes)| name != "state.db-wal" || !bytes.is_empty());
    places.push((
        "the metrics".to_owned(),
        std::fs::read(dir.join("renewd.prom")).unwrap(),
    ));
    for mail in post.mail.mails() {
        for part in ["raw", "plain", "html"] {
            places.push((format!("a mail, {part}"), mail.text(part).into()));
        }
        places.push((
            "the headers of a mail".to_owned(),
            mail.0["headers"].to_string().into(),
        ));
    }
    let calls = peer.requests();
    assert!(
        calls.iter().any(|call| call.method == "POST")
            && calls.iter().any(|call| call.method == "GET")
    );
    for call in calls.iter().filter(|call| !call.body.is_empty()) {
        places.push(("the body of a call".to_owned(), call.body.clone().into()));
        places.push((
            "the headers of a call".to_owned(),
            format!("{:?}", call.headers).into(),
        ));
    }
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["plan", "--json"],
        &["history", "www", "--json"],
        &["jobs"],
        &["alert", "list"],
        &["alert", "list", "--json"],
        &["alert", "preview", "digest"],
        &["alert", "test"],
        &["check"],
        &["target", "list"],
        &["validate"],
    ] {
        let run = agent.run(arguments);
        places.push((arguments.join(" "), (run.stdout + &run.stderr).into()));
    }
    assert!(places.len() >= 20, "{}", places.len());
    // What the mail program was started with and given is kept with the letter.
    let listed = places
        .iter()
        .find(|(name, _)| name == "alert list")
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.1).into_owned();
    assert!(
        listed.contains("-f root@localhost") || listed.contains("PATH="),
        "{listed}"
    );
    let text = String::from_utf8_lossy(&places[0].1).into_owned();
    assert!(
        text.contains("451") && text.contains("***"),
        "what was quoted was not masked: {text}"
    );
    canary::nowhere(&SECRETS, &places);
}
