//! Commands about alerts: try a way by which they leave the host, see what they look like, list what was sent.

use std::collections::BTreeSet;

use crate::cli::args::{Arguments, Preview};
use crate::cli::context;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, GREEN, RED, YELLOW};
use crate::cli::{CommandResult, Failure, show};
use crate::config;
use crate::engine::digest_letter;
use crate::model::{
    Alert, AlertKey, Channel, ChannelId, Concerned, Letter, Message, Occasion, Policy, Seconds,
    Severity, Timestamp,
};
use crate::notify::{self, SendError};
use crate::store::{PostEntry, Store, StoreError};
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::{error_chain, host_name};

/// Sends a letter to everybody, now, past the journal.
pub(crate) async fn test(arguments: &Arguments, name: Option<&ChannelId>) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let message = Message::one(sample(&policy, SystemClock.now()));
    let mut exit = Exit::Done;
    let mut passed = Vec::new();
    for channel in chosen(&policy, name)? {
        let resolve = |reference: &_| {
            config::secret_ref::resolve(reference).map_err(|error| error_chain(&error))
        };
        let mut notifier = match notify::notifier(channel, &resolve) {
            Ok(notifier) => notifier,
            Err(error) => {
                output::data(&format!("{RED}fail{RED:#}  {}: {error}\n", channel.id));
                exit = exit.worse(Exit::Configuration);
                continue;
            }
        };
        for recipient in channel.recipients() {
            let what = format!("{BOLD}{}{BOLD:#}: {recipient}", channel.id);
            match notifier.send(&message, recipient).await {
                Ok(receipt) => {
                    output::data(&format!("{GREEN}ok{GREEN:#}    {what}: {}\n", receipt.0));
                    passed.push((channel.id.clone(), recipient.clone()));
                }
                Err(error) => {
                    output::data(&format!("{RED}fail{RED:#}  {what}: {error}\n"));
                    exit = exit.worse(match error {
                        SendError::Unreachable(_) | SendError::Unknown(_) => Exit::Unavailable,
                        SendError::Later(_) => Exit::TryLater,
                        SendError::Refused(_) => Exit::DataInvalid,
                    });
                }
            }
        }
        notifier.close().await;
    }
    if let Some(letter) = message.letters.first()
        && let Err(failure) = remember(&policy, &passed, letter).await
    {
        // The test itself is what was asked for.
        output::note(&format!(
            "letters that were refused before are not tried at once: {failure}"
        ));
    }
    Ok(exit)
}

/// Has letters that were refused tried again at once, where a test passed. Nothing is written where there are none.
async fn remember(
    policy: &Policy,
    passed: &[(ChannelId, String)],
    letter: &Letter,
) -> Result<(), Failure> {
    if passed.is_empty() || !context::may_read(policy) {
        return Ok(());
    }
    let Some(reader) = context::reader(policy).await? else {
        return Ok(());
    };
    let seen = reader.snapshot().await;
    let seen = seen.map_err(|error| context::store_failure(&error))?;
    let waits = passed.iter().any(|(channel, recipient)| {
        let state = seen.channels.get(channel);
        state.is_some_and(|state| state.refused.contains_key(recipient))
    });
    if !waits {
        return Ok(());
    }
    let failed = |error: StoreError| context::store_failure(&error);
    let _lock = context::lock(&policy.state_dir).await?;
    let store = context::writer(policy).await?;
    let written = store.passed(passed, letter, letter.date).await;
    let closed = store.close().await;
    written.and(closed).map_err(failed)
}

/// What an alert looks like.
pub(crate) async fn preview(arguments: &Arguments, what: Preview) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let letter = match what {
        Preview::Alert => sample(&policy, SystemClock.now()),
        Preview::Digest => digest(&policy).await?,
    };
    let message = Message::one(letter);
    output::data(&format!(
        "Subject: {}\n\n{}",
        notify::subject(&message),
        notify::text(&message)
    ));
    Ok(Exit::Done)
}

/// What the digest would say now to who is told everything.
async fn digest(policy: &Policy) -> Result<Letter, Failure> {
    let Some(store) = context::reader(policy).await? else {
        let message = "there is no journal yet: nothing was done that a digest could tell";
        return Err(Failure::new(Exit::Unavailable, message));
    };
    let seen = show::look(policy, None).await?;
    let (snapshot, plan, everything) = (&seen.snapshot, &seen.plan, BTreeSet::new());
    digest_letter(
        policy,
        snapshot,
        plan,
        &store,
        (None, &everything),
        seen.now,
    )
    .await
    .map_err(|error| context::store_failure(&error))
}

/// The letters that were queued last.
pub(crate) async fn list(arguments: &Arguments, json: bool) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let store = context::reader(&policy).await?;
    let posts = match &store {
        Some(store) => store
            .posts(MOST_LISTED)
            .await
            .map_err(|error| context::store_failure(&error))?,
        None => Vec::new(),
    };
    if json {
        let list: Vec<_> = posts.iter().map(object).collect();
        let text = serde_json::to_string_pretty(&list)
            .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        output::data(&format!("{text}\n"));
        return Ok(Exit::Done);
    }
    for post in &posts {
        output::data(&line(post));
    }
    if posts.is_empty() {
        output::note("no alert was queued for anybody");
    }
    Ok(Exit::Done)
}

fn object(post: &PostEntry) -> serde_json::Value {
    serde_json::json!({
        "channel": post.channel,
        "recipient": post.recipient,
        "alert": post.key,
        "occasion": post.occasion,
        "queued_at": post.queued_at.to_string(),
        "state": post.state,
        "attempts": post.attempts,
        "next_attempt": post.due_at.map(|at| at.to_string()),
        "answer": post.said,
    })
}

fn line(post: &PostEntry) -> String {
    let colour = match post.state.as_str() {
        "sent" => GREEN,
        "waiting" => YELLOW,
        _ => RED,
    };
    let over = if post.occasion == "over" {
        " (over)"
    } else {
        ""
    };
    let next = match post.due_at {
        Some(at) if post.attempts > 0 => {
            format!(", {} attempts, next at {at}", post.attempts)
        }
        Some(at) => format!(", leaves at {at}"),
        None => String::new(),
    };
    let said = if post.said.is_empty() {
        String::new()
    } else {
        format!("\n      {}", post.said)
    };
    format!(
        "{}  {colour}{}{colour:#}  {BOLD}{}{BOLD:#}{over} to {} by {}{next}{said}\n",
        post.queued_at, post.state, post.key, post.recipient, post.channel
    )
}

/// One channel, or all.
fn chosen<'a>(policy: &'a Policy, name: Option<&ChannelId>) -> Result<Vec<&'a Channel>, Failure> {
    let channels = &policy.alerting.channels;
    let Some(name) = name else {
        if channels.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "the policy tells nobody of alerts: it has no table such as [alert.email.ops]",
            ));
        }
        return Ok(channels.values().collect());
    };
    match channels.get(name) {
        Some(channel) => Ok(vec![channel]),
        None => {
            let known: Vec<&str> = channels.keys().map(ChannelId::as_str).collect();
            Err(Failure::new(
                Exit::Usage,
                format!("no alert channel `{name}`; there are: {}", known.join(", ")),
            ))
        }
    }
}

/// A letter about nothing; about the first certificate of the policy, where there is one.
fn sample(policy: &Policy, now: Timestamp) -> Letter {
    let certificates = policy.certificates.keys().take(1);
    let certificates = certificates.map(|id| Concerned {
        name: id.to_string(),
        not_after: Some(now + Seconds::days(6) + Seconds(1)),
    });
    let alert = Alert {
        key: AlertKey::new("test", "renewd"),
        severity: Severity::Notice,
        step: 0,
        title: "a test of renewd's alerts; nothing is wrong".to_owned(),
        text: "Somebody ran `renewd alert test`. The dates in this letter are made up.".to_owned(),
    };
    let when = (Occasion::Raised(0), now, true);
    notify::letter(&host_name(), &alert, certificates.collect(), now, when)
}

/// Letters.
const MOST_LISTED: u32 = 100;
