//! Other ways than a mail server: the host's own mail system, calls of a URL, a sign of life.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use renewd::model::Seconds;
use renewd::notify::SIGNATURE;
use serde_json::json;

use crate::mail::Post;
use crate::support::agent::write_secret;
use crate::support::mail::MailServer;
use crate::support::peer::{Peer, Reply};

/// The certificate, and nobody to tell yet.
fn certificate(post: &Post) -> String {
    format!(
        "{}\n[certificate.www]\nissuer = \"corp\"\nnames = [\"www.example.test\"]\nvalidity = \"30d\"\n",
        post.rig.world.issuer()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_mail_system_takes_mails_over() {
    // msmtp, which takes mails over as sendmail(8) does, and a server behind it.
    let post = Post::new("none").await;
    let server = MailServer::start("none");
    server.answer(json!({}));
    let dir = post.rig.world.agent.path();
    let settings = dir.join("msmtprc");
    let text = format!("account default\nhost 127.0.0.1\nport {}\n", server.port);
    write_secret(&settings, &text);
    let program = dir.join("sendmail");
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/msmtp -C '{}' \"$@\"\n",
        settings.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let channel = "\n[alert.email.local]\nsendmail = \"{dir}/sendmail\"\nfrom = \"renewd@web1.example.test\"\nto = [\"root@localhost\", \"nobody@localhost\"]\n";
    post.rig
        .world
        .agent
        .write_policy(&(certificate(&post) + channel));

    server.answer(json!({"rcpt": {"nobody@localhost": "550 5.1.1 no such user"}}));
    let round = post.round().await;
    assert_eq!((round.sent, round.failed), (1, 1));
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to(), "root@localhost");
    assert_eq!(mails[0].text("from"), "renewd@web1.example.test");
    assert_eq!(mails[0].0["defects"], json!([]));
    assert!(
        mails[0]
            .subject()
            .contains("corp: the issuer refuses the credentials")
    );
    assert!(mails[0].text("html").contains("<td>www</td>"));

    let engine = post.rig.engine().await;
    let posts = engine.store.posts(10).await.unwrap();
    let other = posts.iter().find(|one| one.recipient == "nobody@localhost");
    let other = other.unwrap();
    assert!(other.said.contains("no such user"), "{other:?}");

    // One that is not there (any more).
    std::fs::remove_file(dir.join("sendmail")).unwrap();
    post.mend_orders();
    post.rig.settle().await;
    assert_eq!(post.deliver().await.sent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_signed_json_and_is_called_until_it_takes_it() {
    let post = Post::new("starttls").await;
    let answers = Arc::new(Mutex::new(vec![200, 503, 302]));
    let next = Arc::clone(&answers);
    let peer = Peer::start(move |_| {
        let status = next.lock().unwrap().pop().unwrap_or(204);
        Reply::text(status, "").with("location", "http://127.0.0.1:9/elsewhere")
    })
    .await;
    let dir = post.rig.world.agent.path();
    write_secret(&dir.join("hook"), &format!("{}/token-canary?a=b", peer.url));
    write_secret(&dir.join("key"), "signing-key-canary");
    let channel =
        "\n[alert.webhook.pager]\nurl = \"file:{dir}/hook\"\nsigning_key = \"file:{dir}/key\"\n";
    post.rig
        .world
        .agent
        .write_policy(&(certificate(&post) + channel));
    post.round().await;
    post.rounds(Seconds::hours(1)).await;
    let requests = peer.requests();
    assert_eq!(requests.len(), 3, "302 and 503 are tried again");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"signing-key-canary");
    for request in &requests {
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, "/token-canary?a=b");
        assert_eq!(request.header("content-type"), "application/json");
        let signature = request.header(SIGNATURE).strip_prefix("sha256=").unwrap();
        let bytes: Vec<u8> = (0..signature.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap())
            .collect();
        hmac::verify(&key, request.body.as_bytes(), &bytes).unwrap();
        assert_eq!(request.body, requests[0].body, "the same on every attempt");
    }
    let raised = requests[0].json();
    assert_eq!(raised["alert"], "credentials-refused/corp");
    assert_eq!(raised["occasion"], "raised");
    assert_eq!(raised["certificates"][0]["name"], "www");

    post.mend_orders();
    post.rig.settle().await;
    post.deliver().await;
    let over = peer.requests()[3].json();
    assert_eq!(over["occasion"], "over");
    assert_eq!(over["follows"], raised["id"]);

    // Neither URL nor key are anywhere.
    let engine = post.rig.engine().await;
    let posts = format!("{:?}", engine.store.posts(10).await.unwrap());
    assert!(!posts.contains("canary"), "{posts}");
    let said = post.rig.world.agent.run(&["alert", "test"]).expect(0);
    assert!(!(said.stdout + &said.stderr).contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_follows_each_completed_tick_and_only_that() {
    let post = Post::new("starttls").await;
    let peer = Peer::start(|_| Reply::text(200, "")).await;
    let beat = format!("[alert]\nheartbeat = \"{}/beat\"\n", peer.url);
    let agent = &post.rig.world.agent;
    agent.write_policy(&format!("{}\n{beat}", certificate(&post)));
    // What cannot be obtained is told by alerts: renewd itself lives.
    agent.run(&["once", "--wait", "0s"]);
    assert_eq!(peer.requests().len(), 1);
    assert_eq!(peer.requests()[0].method, "GET");
    assert_eq!(peer.requests()[0].target, "/beat");
    agent.run(&["status"]).expect(0);
    agent.write_policy(&format!("{}\n{beat}\nnonsense = 1\n", certificate(&post)));
    agent.run(&["once", "--wait", "0s"]).expect(78);
    assert_eq!(peer.requests().len(), 1, "no tick, no heartbeat");

    agent.write_policy(&format!("{}\n{beat}", certificate(&post)));
    let log = agent.path().join("daemon.log");
    let mut daemon = agent
        .command(&["run"])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while peer.requests().len() < 2 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = std::fs::read_to_string(&log).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(peer.requests().len() >= 2, "{log}");
}
