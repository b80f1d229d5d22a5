//! Mail servers that are away, refuse, or are not who they should be.

use std::collections::BTreeSet;

use renewd::model::Seconds;
use renewd::store::PostEntry;
use serde_json::json;

use crate::mail::{Post, to};
use crate::support::agent::write_secret;
use crate::support::mail::{Mail, PASSWORD};
use crate::support::peer::{Peer, Reply};

/// How the letters of an alert stand, by recipient.
async fn states(post: &Post, occasion: &str) -> Vec<(String, String)> {
    let engine = post.rig.engine().await;
    let mut all: Vec<_> = engine
        .store
        .posts(100)
        .await
        .unwrap()
        .into_iter()
        .filter(|one| one.occasion == occasion && one.key == "credentials-refused/corp")
        .map(|one| (one.recipient, one.state))
        .collect();
    all.sort();
    all
}

fn ids(mails: &[Mail]) -> BTreeSet<(String, String)> {
    let id = |mail: &Mail| (mail.to().to_owned(), mail.header("Message-ID").to_owned());
    mails.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_for_days_gets_each_letter_once_and_in_order() {
    let mut post = Post::new("starttls").await;
    post.mail.end();
    post.round().await;
    let attempts = post.rounds(Seconds::days(3)).await;
    assert!((50..150).contains(&attempts), "{attempts} in three days");
    assert_eq!(states(&post, "raised").await[0].1, "waiting");

    // The journal and the log say so, since the mail cannot.
    post.rig.tick().await;
    assert!(post.stands().await.contains(&"alerts-stuck/ops".to_owned()));
    let told = post.rig.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("alert warning: ops: alerts have not left")),
        "{told:#?}"
    );

    // What is over meanwhile is told after what it ended.
    post.mend_orders();
    post.rig.settle().await;
    assert!(
        !post
            .stands()
            .await
            .contains(&"credentials-refused/corp".to_owned())
    );
    post.rounds(Seconds::days(2)).await;
    post.mail.begin();
    post.rounds(Seconds::hours(3)).await;
    let mails = post.mail.mails();
    for recipient in ["ops@example.test", "boss@example.test"] {
        let got = to(&mails, recipient);
        assert_eq!(got.len(), 2, "{mails:#?}");
        assert_eq!(got[0].header("References"), "");
        assert_eq!(got[1].header("References"), got[0].header("Message-ID"));
    }
    assert_eq!(ids(&mails).len(), mails.len(), "nothing twice");
    post.rig.tick().await;
    assert_eq!(post.stands().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_about_what_is_over_is_not_tried_for_ever_and_one_about_what_stands_is() {
    let mut post = Post::new("starttls").await;
    post.mail.end();
    post.round().await;
    post.rounds(Seconds::days(20)).await;
    assert!(
        states(&post, "raised")
            .await
            .iter()
            .all(|(_, state)| state == "waiting")
    );
    post.mend_orders();
    post.rig.settle().await;
    post.rounds(Seconds::days(8)).await;
    for occasion in ["raised", "over"] {
        let states = states(&post, occasion).await;
        assert!(
            states.iter().all(|(_, state)| state == "given-up"),
            "{states:?}"
        );
    }
    post.rig.tick().await;
    assert_eq!(
        post.stands().await,
        ["alerts-refused/ops"],
        "a person hears of it"
    );
    // And nothing of it is kept for ever.
    post.mail.begin();
    post.rig.clock.advance(Seconds::days(40));
    post.deliver().await;
    assert_eq!(states(&post, "raised").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_is_tried_again_soon_or_once_a_day_while_it_stands() {
    let post = Post::new("starttls").await;
    let login = json!(["mailer", PASSWORD]);
    let no = "550 5.1.1 no such user here";
    post.mail.answer(json!({"login": login, "rcpt": {
        "ops@example.test": "451 4.7.1 greylisted",
        "boss@example.test": no,
    }}));
    let round = post.round().await;
    assert_eq!((round.sent, round.failed), (0, 2));
    let all = states(&post, "raised").await;
    assert!(all.iter().all(|(_, state)| state == "waiting"), "{all:?}");
    let wait = post.rig.clock_now().until(round.next.unwrap());
    assert!((60..=75).contains(&wait.0), "{wait}");
    post.rig.tick().await;
    assert_eq!(
        post.stands().await,
        ["alerts-refused/ops", "credentials-refused/corp"]
    );
    let told = post.rig.told().join("\n");
    let why = "alert warning: ops: an alert to boss@example.test was refused: ";
    assert!(told.contains(why) && told.contains("550"), "{told}");

    // Refused after the whole letter was handed over.
    post.mail
        .answer(json!({"login": login, "data": "452 4.3.1 disk full"}));
    post.rounds(Seconds::hours(2)).await;
    assert_eq!(post.mail.mails().len(), 0);
    post.mail
        .answer(json!({"login": login, "rcpt": {"boss@example.test": no}}));
    post.rounds(Seconds::hours(2)).await;
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert_eq!(mails[0].to(), "ops@example.test");

    // What stands is not lost for a rule of a server: once a day, and no more often.
    post.rounds(Seconds::days(5)).await;
    let listed = post.rig.engine().await.store.posts(100).await.unwrap();
    let boss = |one: &&PostEntry| one.recipient == "boss@example.test";
    let attempts = listed.iter().find(boss).unwrap().attempts;
    assert!((5..=7).contains(&attempts), "{attempts} in five days");
    let engine = post.rig.engine().await;
    let channels = engine.store.snapshot().await.unwrap().channels;
    let ops = channels.values().next().unwrap();
    assert_eq!(ops.refused.len(), 1, "{ops:?}");
    assert_eq!(ops.failing, 0, "a refusal is no silence: {ops:?}");
    post.mail.answer(json!({"login": login}));
    post.rounds(Seconds::days(1)).await;
    let mails = post.mail.mails();
    assert_eq!(to(&mails, "boss@example.test").len(), 1, "{mails:#?}");
    assert_eq!(mails.len(), 2, "{mails:#?}");

    // It is over when the letter passes, and the end is told as ever.
    post.rig.tick().await;
    assert!(
        !post
            .stands()
            .await
            .contains(&"alerts-refused/ops".to_owned())
    );
    post.mend_orders();
    post.rig.settle().await;
    post.rounds(Seconds::hours(1)).await;
    let mails = post.mail.mails();
    let boss = to(&mails, "boss@example.test");
    assert_eq!(boss.len(), 2, "{mails:#?}");
    assert_eq!(boss[1].header("References"), boss[0].header("Message-ID"));
    post.rig.tick().await;
    assert_eq!(post.stands().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_not_tried_again_at_a_server_that_refused_it() {
    let post = Post::new("starttls").await;
    let login = json!(["mailer", PASSWORD]);
    let no = json!({"boss@example.test": "554 5.7.1 relay access denied"});
    post.mail.answer(json!({"login": login, "rcpt": no}));
    post.round().await;
    post.mend_orders();
    post.rig.settle().await;
    assert_eq!(states(&post, "raised").await[0].1, "refused");
    let before = post.mail.connections();
    post.rounds(Seconds::hours(3)).await;
    post.rounds(Seconds::days(3)).await;
    let states = states(&post, "over").await;
    assert_eq!(
        (states[0].1.as_str(), states[1].1.as_str()),
        ("refused", "sent")
    );
    assert!(
        post.mail.connections() - before <= 2,
        "each end was tried once"
    );

    // Nothing is left to send, and a person has mended it: a test that passes ends it, and no test that fails.
    post.rig.tick().await;
    assert_eq!(post.stands().await, ["alerts-refused/ops"]);
    post.rig
        .world
        .agent
        .run(&["alert", "test", "ops"])
        .expect(65);
    post.rig.tick().await;
    assert_eq!(post.stands().await, ["alerts-refused/ops"]);
    post.mail.answer(json!({"login": login}));
    post.rig
        .world
        .agent
        .run(&["alert", "test", "ops"])
        .expect(0);
    post.rig.tick().await;
    assert_eq!(post.stands().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_is_told_by_a_way_that_left_the_policy_and_is_back() {
    let post = Post::new("starttls").await;
    let peer = Peer::start(|_| Reply::text(204, "")).await;
    let pager = format!("\n[alert.webhook.pager]\nurl = \"{}/pager\"\n", peer.url);
    post.write(&pager, "");
    let path = post.rig.world.agent.path().join("renewd.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    post.mail
        .answer(json!({"login": ["mailer", PASSWORD], "rcpt": {
            "ops@example.test": "451 4.7.1 greylisted",
            "boss@example.test": "451 4.7.1 greylisted",
        }}));
    post.round().await;
    let (begin, rest) = whole.split_once("[alert.email.ops]").unwrap();
    let (_, end) = rest.split_once("[alert.webhook.pager]").unwrap();
    std::fs::write(&path, format!("{begin}[alert.webhook.pager]{end}")).unwrap();
    post.rig.clock.advance(Seconds::hours(1));
    post.round().await;
    let mails = |state: &str| {
        let state = state.to_owned();
        ["boss@example.test", "ops@example.test"].map(|to| (to.to_owned(), state.clone()))
    };
    let of_mails = async || {
        let mut states = states(&post, "raised").await;
        states.retain(|(recipient, _)| recipient.contains('@'));
        states
    };
    assert_eq!(of_mails().await, mails("withdrawn"));
    post.mail.answer(json!({"login": ["mailer", PASSWORD]}));
    std::fs::write(&path, whole).unwrap();
    post.rig.clock.advance(Seconds::hours(1));
    post.round().await;
    post.round().await;
    assert_eq!(of_mails().await, mails("sent"));
    let sent = post.mail.mails();
    assert_eq!((sent.len(), ids(&sent).len()), (2, 2), "{sent:#?}");
    assert_eq!(peer.requests().len(), 1, "who was told is not told again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_the_policy_gets_nothing_more() {
    let post = Post::new("starttls").await;
    post.round().await;
    assert_eq!(post.mail.mails().len(), 2);
    let path = post.rig.world.agent.path().join("renewd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let fewer = text.replace(", \"boss@example.test\"]", "]");
    assert_ne!(text, fewer);
    std::fs::write(&path, &fewer).unwrap();
    post.mend_orders();
    post.rig.settle().await;
    post.deliver().await;
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 3, "{mails:#?}");
    assert_eq!(mails[2].to(), "ops@example.test");

    // A letter that waited for one who leaves meanwhile.
    std::fs::write(&path, &text).unwrap();
    post.break_orders();
    post.mail
        .answer(json!({"login": ["mailer", PASSWORD], "rcpt": {
            "boss@example.test": "451 4.7.1 greylisted",
        }}));
    post.rig.clock.advance(Seconds::days(25));
    post.round().await;
    assert!(post.mail.mails().len() > 3);
    std::fs::write(&path, &fewer).unwrap();
    post.mail.answer(json!({"login": ["mailer", PASSWORD]}));
    post.rounds(Seconds::days(1)).await;
    assert_eq!(to(&post.mail.mails(), "boss@example.test").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_by_a_server_that_is_not_trusted_or_does_not_trust_us_and_nothing_is_lost() {
    let post = Post::new("starttls").await;
    let dir = post.rig.world.agent.path().to_owned();
    let secret = |text: &str| write_secret(&dir.join("mail-password"), text);
    let last = async || {
        let engine = post.rig.engine().await;
        let snapshot = engine.store.snapshot().await.unwrap();
        let mut channels = snapshot.channels.into_values();
        channels.next().map_or(String::new(), |state| state.last)
    };

    // A password that is refused, and one that cannot be read.
    secret("canary-of-another-password");
    post.round().await;
    assert!(last().await.contains("535"), "{}", last().await);
    assert!(!last().await.contains("canary"), "{}", last().await);
    std::fs::remove_file(dir.join("mail-password")).unwrap();
    post.rounds(Seconds::hours(1)).await;
    assert!(last().await.contains("mail-password"), "{}", last().await);
    secret(PASSWORD);

    // Authorities that do not know it, and a name that it does not have.
    let good = std::fs::read_to_string(dir.join("renewd.toml")).unwrap();
    let roots = format!("roots = \"{}\"\n", post.mail.roots().display());
    let other = crate::support::mail::MailServer::start("none");
    let file = dir.join("renewd.toml");
    for (from, to) in [
        (roots.clone(), String::new()),
        (roots, format!("roots = \"{}\"\n", other.roots().display())),
        (
            "server = \"localhost\"".to_owned(),
            "server = \"127.0.0.1\"".to_owned(),
        ),
    ] {
        std::fs::write(&file, good.replace(&from, &to)).unwrap();
        post.rounds(Seconds::hours(2)).await;
        let last = last().await;
        assert!(last.contains("certificate"), "{to}: {last}");
    }
    // One that offers no TLS where it is demanded.
    let plain = good
        .replace(
            &format!("port = {}", post.mail.port),
            &format!("port = {}", other.port),
        )
        .replace(
            &post.mail.roots().display().to_string(),
            &other.roots().display().to_string(),
        );
    std::fs::write(&file, plain).unwrap();
    post.rounds(Seconds::hours(2)).await;
    assert!(last().await.contains("STARTTLS"), "{}", last().await);
    assert_eq!(other.mails().len() + post.mail.mails().len(), 0);

    std::fs::write(&file, good).unwrap();
    post.rounds(Seconds::hours(2)).await;
    let mails = post.mail.mails();
    assert_eq!((mails.len(), ids(&mails).len()), (2, 2), "{mails:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_was_put_off_by_a_clock_far_ahead_leaves_once_the_clock_is_right() {
    let mut post = Post::new("starttls").await;
    post.mail.end();
    post.round().await;
    let months = Seconds::days(90);
    post.rig.clock.jump(months);
    let round = post.deliver().await;
    assert!(round.failed > 0, "{round:?}");
    post.rig.clock.jump(Seconds(-months.0));
    post.mail.begin();
    let round = post.deliver().await;
    assert_eq!((round.sent, round.next), (2, None), "{round:?}");
    assert_eq!(post.mail.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_about_what_is_over_is_not_given_up_because_the_clock_jumped() {
    let mut post = Post::new("starttls").await;
    post.mail.end();
    post.round().await;
    post.mend_orders();
    post.rig.settle().await;
    let months = Seconds::days(90);
    post.rig.clock.jump(months);
    post.deliver().await;
    post.rig.clock.jump(Seconds(-months.0));
    post.mail.begin();
    post.deliver().await;
    assert!(
        !post.mail.mails().is_empty(),
        "{:?}",
        states(&post, "raised").await
    );
    let states = states(&post, "raised").await;
    assert!(
        states.iter().all(|(_, state)| state == "sent"),
        "{states:?}"
    );
}
