//! The digest: one letter about everything, by the calendar, once for each period.

use std::collections::BTreeSet;

use renewd::engine::{Begun, Patience};
use renewd::model::{JobName, Seconds};
use serde_json::json;

use crate::mail::{Post, to};
use crate::support::mail::Mail;
use crate::support::peer::{Peer, Reply};

const JOB: &str = "digest = true\n\n[job.digest]\nschedule = \"0 7 * * *\"\njitter = \"0s\"\n";

impl Post {
    /// The jobs that are due now, as the daemon runs them, and a round of deliveries.
    pub(super) async fn run(&self) {
        let engine = self.rig.engine().await;
        let mut snapshot = engine.observe().await.unwrap();
        let due = renewd::plan::jobs::due(&engine.policy, &snapshot, self.rig.clock_now());
        let begun = Begun::now(&*engine.clock);
        let run = engine.run_jobs(&due, begun, &mut snapshot, Patience::NONE);
        run.await.unwrap();
        self.deliver().await;
    }
}

/// With the line ends of this system.
fn plain(mail: &Mail) -> String {
    mail.text("plain").replace("\r\n", "\n")
}

fn digests(mails: &[Mail]) -> Vec<&Mail> {
    let mut found = to(mails, "ops@example.test");
    found.retain(|mail| {
        mail.header("Message-ID")
            .starts_with("<renewd.digest=2Fops.")
    });
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_period_has_one_that_says_what_was_done_what_is_wrong_and_what_is_due() {
    let post = Post::new("starttls").await;
    let files = "\n[target.files.store]\n\n[target.files.store.export.pem.all]\nkey = \"key.pem\"\nchain = \"chain.pem\"\n";
    post.write(
        &format!("{JOB}{files}"),
        "tags = [\"shop\"]\ntargets = [\"store\"]",
    );
    post.mend_orders();
    post.rig.settle().await;
    post.run().await;
    let mails = post.mail.mails();
    let first = digests(&mails);
    assert_eq!(first.len(), 1, "the first is made at once: {mails:#?}");
    assert!(
        first[0]
            .subject()
            .ends_with("] digest: 1 certificate, all is well"),
        "{:?}",
        first[0]
    );
    let text = plain(first[0]);
    for part in [
        "Certificates\n  1 healthy\n",
        "What is wrong\n  nothing\n",
        "  www: issued at 2027-04-01T",
        "  store: rolled out at 2027-04-01T",
        "Due until 2027-04-01T07:00:00Z\n  nothing\n",
        "  issuer corp: answered last at 2027-04-01T",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(first[0].text("html").contains("<h4>What is wrong</h4>"));
    assert_eq!(first[0].0["defects"], json!([]));

    // A month in which nothing can be renewed, a look every hour.
    post.break_orders();
    for hour in 0..24 * 21 {
        post.rig.clock.advance(Seconds::hours(1));
        if hour % 24 == 7 || hour > 24 * 20 {
            post.run().await;
            post.run().await;
        }
    }
    let mails = post.mail.mails();
    let all = digests(&mails);
    assert!((21..=22).contains(&all.len()), "{}", all.len());
    let last = all.last().unwrap();
    assert!(
        last.subject().contains("] digest: 1 certificate, 1 alert"),
        "{last:?}"
    );
    let text = plain(last);
    assert!(
        text.contains("What is wrong\n  warning: corp: the issuer refuses the credentials: "),
        "{text}"
    );
    assert!(text.contains("  www: renewal at "), "{text}");
    assert!(
        text.contains("Since the last digest\n  nothing\n"),
        "{text}"
    );
    assert_eq!(all[1].header("References"), "", "a digest is no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_for_who_wants_it_and_about_what_concerns_him() {
    let post = Post::new("starttls").await;
    let peer = Peer::start(|_| Reply::text(204, "")).await;
    let hook = |name: &str, more: &str| {
        format!(
            "\n[alert.webhook.{name}]\nurl = \"{}/{name}\"\n{more}\n",
            peer.url
        )
    };
    let channels = format!(
        "digest = false\ntags = [\"shop\"]\n{}{}{}\n[job.digest]\n",
        hook("all", "digest = true"),
        hook("other", "digest = true\ntags = [\"mail\"]"),
        hook("none", "tags = [\"mail\"]"),
    );
    post.write(&channels, "tags = [\"shop\"]\n\n[certificate.mail]\nissuer = \"corp\"\nnames = [\"mail.example.test\"]\ntags = [\"mail\"]");
    post.mend_orders();
    post.rig.settle().await;
    post.run().await;
    assert_eq!(post.mail.mails().len(), 0);
    let requests = peer.requests();
    let mut seen: Vec<&str> = requests
        .iter()
        .map(|request| request.target.as_str())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, ["/all", "/other"]);
    for request in &requests {
        let body = request.json();
        assert_eq!(body["occasion"], "digest");
        let text = body["sections"].to_string();
        assert!(text.contains("mail: issued at "), "{text}");
        assert_eq!(
            text.contains("www: issued at "),
            request.target == "/all",
            "{text}"
        );
    }
    // Without the job nobody is told.
    let engine = post.rig.engine().await;
    assert!(engine.policy.jobs.contains_key(&JobName::Digest));
    post.write("", "");
    let engine = post.rig.engine().await;
    assert!(!engine.policy.jobs.contains_key(&JobName::Digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_sends_the_digest_of_a_period_once() {
    let post = super::process::program().await;
    post.write(JOB, "");
    let agent = &post.rig.world.agent;
    let run = ["jobs", "run", "digest", "--wait", "0s"];
    let count = || digests(&post.mail.mails()).len();
    agent.run_with("alert.told=off", &run);
    assert_eq!(count(), 1);
    let list = agent.run(&["jobs"]).expect(0).stdout;
    assert!(
        list.contains("digest: 0 0 7 * * * (UTC)\n  last: "),
        "{list}"
    );

    // Killed when it was queued and not yet noted as run; when that is repeated, before anything is sent; and when it was
    // sent, and not yet noted as sent.
    for point in ["digest.queued", "letter.sealed", "letter.sent"] {
        let killed = agent.run_with(&format!("{point}=return"), &run);
        assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
    }
    agent.run(&["once", "--wait", "0s"]);
    let mails = post.mail.mails();
    let begin = "<renewd.digest=2Fops.";
    let sent: Vec<(&str, &str, usize)> = mails
        .iter()
        .filter(|mail| mail.header("Message-ID").starts_with(begin))
        .map(|mail| {
            let inside = plain(mail).matches("\nrenewd itself\n").count();
            (mail.to(), mail.header("Message-ID"), inside)
        })
        .collect();
    let once: BTreeSet<_> = sent.iter().collect();
    let told = |who: &str| -> usize {
        let to = once.iter().filter(|(to, ..)| *to == who);
        to.map(|(.., inside)| inside).sum()
    };
    // Each period once to both recipients, two of them in one mail where they waited together; the one that was sent when
    // the process was killed came twice, as one. A period is a second long at least.
    let periods = told("boss@example.test");
    assert!((2..=3).contains(&periods), "{sent:#?}");
    assert_eq!(told("ops@example.test"), periods, "{sent:#?}");
    assert_eq!(sent.len(), once.len() + 1, "{sent:#?}");

    let preview = agent.run(&["alert", "preview", "digest"]).expect(0).stdout;
    assert!(
        preview.contains("] digest: 1 certificate, ") && preview.contains("\nrenewd itself\n"),
        "{preview}"
    );
    assert_eq!(
        post.mail.mails().len(),
        mails.len(),
        "a preview sends nothing"
    );
}
