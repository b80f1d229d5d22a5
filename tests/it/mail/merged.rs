//! Few mails: what comes together leaves together, a day has a budget, and threads stay right.

use std::collections::BTreeSet;

use renewd::model::Seconds;
use renewd::store::PostEntry;
use serde_json::json;

use crate::mail::{Post, to};
use crate::support::mail::{Mail, MailServer, PASSWORD};

/// So many certificates that this host only follows, and that nobody obtained: each has an alert of its own.
fn certificates(post: &Post, mail: &MailServer, count: usize, channel: &str) -> String {
    let mut policy = post.rig.world.issuer();
    for n in 0..count {
        policy.push_str(&format!(
            "\n[certificate.c{n}]\nissuer = \"corp\"\nnames = [\"c{n}.example.test\"]\norder = \"never\"\n"
        ));
    }
    policy.push_str(&format!(
        "\n[alert.email.ops]\nserver = \"localhost\"\nport = {}\nuser = \"mailer\"\npassword = \"file:{{dir}}/mail-password\"\nroots = \"{}\"\nfrom = \"renewd@web1.example.test\"\nto = [\"ops@example.test\"]\ntimeout = \"10s\"\n{channel}\n",
        mail.port,
        mail.roots().display()
    ));
    policy
}

fn ids(mails: &[Mail]) -> BTreeSet<&str> {
    mails.iter().map(|mail| mail.header("Message-ID")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_alerts_are_one_mail_and_so_is_their_end() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    let policy = certificates(&post, &post.mail, 14, "");
    post.rig.world.agent.write_policy(&policy);
    post.rig.tick().await;
    post.deliver().await;
    let raised = post.mail.mails();
    assert_eq!(raised.len(), 1, "{raised:#?}");
    let subject = raised[0].subject();
    assert!(
        subject.contains("] warning: 14 certificates: no offer"),
        "{subject}"
    );
    for n in 0..14 {
        let line = format!("c{n}: the account has no certificate");
        assert!(
            raised[0].text("plain").contains(&line) && raised[0].text("html").contains(&line),
            "{line}"
        );
    }
    assert_eq!(raised[0].0["defects"], json!([]));
    assert_eq!(post.stands().await.len(), 14, "each is an alert of its own");
    let listed = post.rig.engine().await.store.posts(100).await.unwrap();
    assert_eq!(listed.iter().filter(|one| one.state == "sent").count(), 14);

    // Mended: one mail again, an answer to the first.
    post.rig
        .world
        .agent
        .write_policy(&policy.replace("order = \"never\"", "validity = \"30d\""));
    post.rig.clock.advance(Seconds::hours(1));
    post.rig.settle().await;
    post.deliver().await;
    let over = post.mail.mails().split_off(1);
    assert_eq!(over.len(), 1, "{over:#?}");
    assert!(
        over[0]
            .subject()
            .contains("] over: 14 certificates: no offer"),
        "{}",
        over[0].subject()
    );
    assert_eq!(over[0].header("References"), raised[0].header("Message-ID"));
    assert_eq!(post.stands().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_a_budget_and_what_is_beyond_it_is_told_the_next_day_and_said() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    let channel = "mails_per_day = 2\ngather = \"1m\"";
    let begun = post.rig.clock_now();
    for count in 1..=6 {
        let policy = certificates(&post, &post.mail, count, channel);
        post.rig.world.agent.write_policy(&policy);
        post.rig.tick().await;
        post.deliver().await;
        post.rig.clock.advance(Seconds::hours(1));
    }
    assert_eq!(post.mail.mails().len(), 2, "{:#?}", post.mail.mails());
    // The overflow is an alert itself, which this way does not tell.
    post.rig.tick().await;
    assert!(post.stands().await.contains(&"alerts-held/ops".to_owned()));
    // Two of those that wait are over before they are told.
    let policy = certificates(&post, &post.mail, 4, channel);
    post.rig.world.agent.write_policy(&policy);
    post.rig.tick().await;
    post.rig.clock.set(begun + Seconds::hours(23));
    post.deliver().await;
    assert_eq!(post.mail.mails().len(), 2);
    post.rig.clock.set(begun + Seconds::hours(25));
    post.deliver().await;
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 3, "{mails:#?}");
    let text = mails[2].text("plain");
    assert!(
        text.starts_with("2 of these were held back until now"),
        "{text}"
    );
    assert!(text.contains("c2: ") && text.contains("c3: "), "{text}");
    assert!(!text.contains("c4: ") && !text.contains("c5: "), "{text}");
    post.rig.tick().await;
    assert!(!post.stands().await.contains(&"alerts-held/ops".to_owned()));
    let listed = post.rig.engine().await.store.posts(100).await.unwrap();
    assert_eq!(listed.iter().filter(|one| one.state == "spared").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_several_that_is_refused_is_taken_apart() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    let policy = certificates(&post, &post.mail, 3, "gather = \"0s\"");
    post.rig.world.agent.write_policy(&policy);
    // By what it says: a filter dislikes one of them.
    post.mail.answer(
        json!({"login": ["mailer", PASSWORD], "refuse": "c1: the account has no certificate"}),
    );
    post.rig.tick().await;
    post.deliver().await;
    assert_eq!(post.mail.mails().len(), 0);
    post.deliver().await;
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert_eq!(ids(&mails).len(), 2);
    assert_eq!(to(&mails, "ops@example.test").len(), 2);
    let listed = post.rig.engine().await.store.posts(100).await.unwrap();
    let refused: Vec<_> = listed
        .iter()
        .filter(|one| one.attempts == 2 && one.state != "sent")
        .collect();
    assert_eq!(refused.len(), 1, "{listed:#?}");
    assert!(refused[0].key == "no-offer/c1" && refused[0].said.contains("not wanted here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_days_is_told_in_few_mails_once_it_is_taken() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    let policy = certificates(&post, &post.mail, 5, "");
    post.rig.world.agent.write_policy(&policy);
    let login = json!(["mailer", PASSWORD]);
    let no = json!({"ops@example.test": "554 5.7.1 relay access denied"});
    post.mail.answer(json!({"login": login, "rcpt": no}));
    post.rig.tick().await;
    post.deliver().await;
    post.rounds(Seconds::days(2)).await;
    let listed = post.rig.engine().await.store.posts(100).await.unwrap();
    let about = |one: &&PostEntry| one.key.starts_with("no-offer/");
    let attempts: Vec<u32> = listed
        .iter()
        .filter(about)
        .map(|one| one.attempts)
        .collect();
    assert_eq!(attempts.len(), 5, "{listed:#?}");
    assert!(
        attempts.iter().all(|count| (3..=5).contains(count)),
        "together, apart, and once a day: {attempts:?}"
    );
    assert_eq!(post.mail.mails().len(), 0);
    post.mail.answer(json!({"login": login}));
    post.rounds(Seconds::days(2)).await;
    let mails = post.mail.mails();
    assert_eq!(
        mails.len(),
        2,
        "one that is tried, and the rest: {mails:#?}"
    );
    let said: String = mails.iter().map(|mail| mail.text("plain")).collect();
    for name in ["c0: ", "c1: ", "c2: ", "c3: ", "c4: "] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let channels = post
        .rig
        .engine()
        .await
        .store
        .snapshot()
        .await
        .unwrap()
        .channels;
    let refused = channels.values().map(|state| state.refused.len());
    assert_eq!(refused.sum::<usize>(), 0, "{channels:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_fate_is_unknown_is_sent_again_as_it_was() {
    let post = Post::new("starttls").await;
    post.mend_orders();
    let policy = certificates(&post, &post.mail, 3, "");
    post.rig.world.agent.write_policy(&policy);
    // It is taken over, and the connection breaks before that is said.
    post.mail
        .answer(json!({"login": ["mailer", PASSWORD], "hang_up": true}));
    post.rig.tick().await;
    post.deliver().await;
    assert_eq!(post.mail.mails().len(), 1);
    let more = certificates(&post, &post.mail, 5, "");
    post.rig.world.agent.write_policy(&more);
    post.rig.tick().await;
    post.mail.answer(json!({"login": ["mailer", PASSWORD]}));
    post.rig.clock.advance(Seconds::hours(2));
    post.deliver().await;
    post.rounds(Seconds::hours(3)).await;
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 3, "{mails:#?}");
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    assert_eq!(mails[0].text("plain"), mails[1].text("plain"));
    assert!(mails[2].text("plain").contains("c4: "), "{mails:#?}");
    assert_eq!(ids(&mails).len(), 2);
}
