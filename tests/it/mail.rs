//! Alerts by mail, against a real mail server: each once in the good case and never not at all, whatever the server does
//! and whenever the process dies.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod canaries;
mod digest;
mod merged;
mod outage;
mod process;
mod relied;
mod ways;

use std::sync::Arc;

use renewd::engine::Engine;
use renewd::model::Seconds;
use serde_json::json;

use crate::support::agent::write_secret;
use crate::support::ccm::Wanted;
use crate::support::engine::Rig;
use crate::support::mail::{Mail, MailServer, PASSWORD};

/// A renewd whose one certificate cannot be obtained until the secret key is mended.
struct Post {
    rig: Rig,
    mail: MailServer,
}

impl Post {
    async fn new(security: &str) -> Self {
        let mail = MailServer::start(security);
        let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
        let post = Self { rig, mail };
        post.write("", "tags = [\"shop\"]");
        let dir = post.rig.world.agent.path();
        write_secret(&dir.join("mail-password"), PASSWORD);
        post.break_orders();
        post
    }

    /// Writes the policy, with more keys of the channel and of the certificate.
    fn write(&self, channel: &str, certificate: &str) {
        let policy = format!(
            r#"{}
[certificate.www]
issuer = "corp"
names = ["www.example.test"]
validity = "30d"
{certificate}

[alert.email.ops]
server = "localhost"
port = {}
user = "mailer"
password = "file:{{dir}}/mail-password"
roots = "{}"
from = "renewd@web1.example.test"
to = ["ops@example.test", "boss@example.test"]
timeout = "10s"
{channel}
"#,
            self.rig.world.issuer(),
            self.mail.port,
            self.mail.roots().display()
        );
        self.rig.world.agent.write_policy(&policy);
    }

    /// Orders fail at once, with an alert.
    fn break_orders(&self) {
        let path = self.rig.world.agent.path().join("sk");
        write_secret(&path, "wrong-secret-key");
    }

    fn mend_orders(&self) {
        let path = self.rig.world.agent.path().join("sk");
        write_secret(&path, self.rig.world.ccm.secret_key());
    }

    /// A tick and a round of deliveries, as after a start of the process.
    async fn round(&self) -> renewd::engine::Round {
        self.rig.tick().await;
        self.deliver().await
    }

    async fn deliver(&self) -> renewd::engine::Round {
        deliver(&self.rig.engine().await).await
    }

    /// Rounds at their moments for so long.
    async fn rounds(&self, length: Seconds) -> usize {
        let engine = self.rig.engine().await;
        let courier = engine.courier().await.unwrap().unwrap();
        let end = self.rig.clock_now() + length;
        let mut count = 0;
        loop {
            let round = courier.deliver().await.unwrap();
            count += 1;
            assert!(count < 2000, "a round every moment");
            match round.next {
                Some(next) if next <= end => self.rig.clock.set(next.max(self.rig.clock_now())),
                _ => break,
            }
        }
        self.rig.clock.set(end);
        count
    }

    /// Open alerts by key.
    async fn stands(&self) -> Vec<String> {
        let open = self.rig.engine().await.store.open_alerts().await.unwrap();
        open.into_iter().map(|alert| alert.key).collect()
    }
}

async fn deliver(engine: &Arc<Engine>) -> renewd::engine::Round {
    let courier = engine.courier().await.unwrap().expect("somebody to tell");
    courier.deliver().await.unwrap()
}

fn to<'a>(mails: &'a [Mail], recipient: &str) -> Vec<&'a Mail> {
    mails.iter().filter(|m| m.to() == recipient).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_and_its_end_are_mailed_once_to_each_and_belong_together() {
    let post = Post::new("starttls").await;
    post.round().await;
    post.round().await;
    let raised = post.mail.mails();
    assert_eq!(raised.len(), 2, "{raised:#?}");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for mail in &raised {
        assert_eq!(mail.0["defects"], json!([]));
        assert_eq!(mail.0["tls"], true, "it went in the clear");
        assert_eq!(mail.text("login"), "mailer");
        assert_eq!(mail.text("from"), "renewd@web1.example.test");
        let begin = format!("[{host}] warning: corp: the issuer refuses the credentials: ");
        assert!(mail.subject().starts_with(&begin), "{}", mail.subject());
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.header("References"), "");
        assert!(mail.header("From").contains("renewd@web1.example.test"));
        assert_eq!(mail.header("To"), mail.to());
        assert!(mail.text("plain").contains("www  there is none yet"));
        assert!(mail.text("html").contains("<td>www</td>"));
        assert_eq!(mail.header("Date"), "Thu, 01 Apr 2027 00:00:00 +0000");
    }
    assert_eq!(to(&raised, "ops@example.test").len(), 1);
    assert_eq!(to(&raised, "boss@example.test").len(), 1);
    let id = raised[0].header("Message-ID").to_owned();
    assert!(
        id.starts_with("<renewd.credentials-refused=2Fcorp."),
        "{id}"
    );

    // The same trouble is not told twice.
    post.rig.clock.advance(Seconds::hours(3));
    post.round().await;
    assert_eq!(post.mail.mails().len(), 2);

    post.mend_orders();
    post.rig.clock.advance(Seconds::hours(12));
    post.rig.settle().await;
    post.deliver().await;
    post.round().await;
    let over = post.mail.mails().split_off(2);
    assert_eq!(over.len(), 2, "{over:#?}");
    for mail in &over {
        let begin = format!("[{host}] over: corp: the issuer refuses the credentials: ");
        assert!(mail.subject().starts_with(&begin), "{}", mail.subject());
        assert_eq!(mail.header("References"), id);
        assert_eq!(mail.header("In-Reply-To"), id);
        assert_ne!(mail.header("Message-ID"), id);
    }
    assert_eq!(to(&over, "boss@example.test").len(), 1);
    assert_eq!(post.stands().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_from_the_first_byte_works_too() {
    let post = Post::new("tls").await;
    post.write("tls = \"tls\"", "");
    post.round().await;
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 2);
    assert!(mails.iter().all(|mail| mail.0["tls"] == true), "{mails:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_find_those_who_care() {
    let post = Post::new("starttls").await;
    for channel in ["tags = [\"mail\"]", "least = \"critical\""] {
        post.write(channel, "tags = [\"shop\"]");
        let before = post.mail.connections();
        post.round().await;
        assert_eq!(post.mail.connections(), before, "{channel}");
    }
    // Who is added later is told of what stands.
    post.write("tags = [\"shop\"]", "tags = [\"shop\", \"public\"]");
    post.round().await;
    assert_eq!(post.mail.mails().len(), 2);
    post.rig.clock.advance(Seconds::days(1));
    post.round().await;
    assert_eq!(post.mail.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_critical_waits_for_the_end_of_quiet_hours() {
    let post = Post::new("starttls").await;
    // The clock stands at midnight, which is two o'clock there.
    post.write("quiet = \"22:00-06:30\"\ntime_zone = \"Europe/Berlin\"", "");
    let round = post.round().await;
    assert_eq!(post.mail.mails().len(), 0);
    let end = post.rig.clock_now() + Seconds::minutes(270);
    assert_eq!(round.next, Some(end));
    post.rig.clock.set(end - Seconds(1));
    post.deliver().await;
    assert_eq!(post.mail.mails().len(), 0);
    post.rig.clock.set(end);
    post.deliver().await;
    assert_eq!(post.mail.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_runs_out_is_mailed_at_each_step_and_its_renewal_once() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    post.rig.settle().await;
    post.break_orders();
    // Of 30 days, renewed at 10: 14, 7, 3 and 1 days of 90 are 4.7, 2.3, 1 and 0.3 of 30; the emergency is at 3.
    for _ in 0..31 * 4 {
        post.rig.clock.advance(Seconds::hours(6));
        post.round().await;
    }
    let mails = post.mail.mails();
    let mine = to(&mails, "ops@example.test");
    let about = |key: &str| -> Vec<&Mail> {
        let begin = format!("<renewd.{key}.");
        let mut found = mine.clone();
        found.retain(|mail| mail.header("Message-ID").starts_with(&begin));
        found
    };
    let expiring = about("expiring=2Fwww");
    let shown: Vec<&str> = expiring.iter().map(|mail| mail.subject()).collect();
    assert_eq!(expiring.len(), 6, "{shown:#?}");
    for (subject, (how, left)) in shown.iter().zip([
        ("] warning: www: expires at ", "(4 days left)"),
        ("] CRITICAL: www: expires at ", "(2 days left)"),
        ("] CRITICAL: www: expires at ", "(2 days left)"),
        ("] CRITICAL: www: expires at ", "m left)"),
        ("] CRITICAL: www: expires at ", "m left)"),
        ("] CRITICAL: www: expired at ", "(expired)"),
    ]) {
        assert!(
            subject.contains(how) && subject.ends_with(left),
            "{shown:#?}"
        );
    }
    let first = expiring[0].header("Message-ID");
    assert!(
        expiring[1..]
            .iter()
            .all(|mail| mail.header("References") == first)
    );
    let refusal = about("credentials-refused=2Fcorp");
    assert!((1..=3).contains(&refusal.len()));
    let about_refusal = refusal[0].header("Message-ID").to_owned();

    let before = mine.len();
    post.mend_orders();
    post.rig.clock.advance(Seconds::days(1));
    post.rig.settle().await;
    post.round().await;
    let mails = post.mail.mails();
    let mine = to(&mails, "ops@example.test").split_off(before);
    assert_eq!(mine.len(), 1, "the ends of both alerts: {mine:#?}");
    let over = mine[0];
    assert!(
        over.subject().contains("] over: ") && over.subject().ends_with(", and 1 more"),
        "{over:#?}"
    );
    let text = over.text("plain");
    assert!(
        text.contains("  corp: the issuer refuses") && text.contains("  www: expire"),
        "{text}"
    );
    let before = over.header("References");
    for first in [first, about_refusal.as_str()] {
        assert!(before.contains(first), "{first} in {before}");
    }
}
