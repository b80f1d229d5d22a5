//! Commands about the journal itself: whose it is, what it bought, and to let a copy or a restored one buy again.

use serde_json::json;

use crate::cli::args::Arguments;
use crate::cli::ccm::confirm;
use crate::cli::context;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, GREEN, RED};
use crate::cli::{CommandResult, Failure, control};
use crate::deploy::Materials;
use crate::engine::{Wanted, new_identity};
use crate::model::{Identity, OrderPhase, Policy, Seconds, Snapshot, Stale};
use crate::plan::explain::counted;
use crate::store::{SqliteStore, Store};
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::{error_chain, host};

/// Whose journal it is.
pub(crate) async fn show(arguments: &Arguments, as_json: bool) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let Some((snapshot, stale)) = look(&policy).await? else {
        return Err(none(&policy));
    };
    let Some(identity) = &snapshot.identity else {
        return Err(none(&policy));
    };
    let unknown = unknown(&snapshot);
    if as_json {
        let purchases: serde_json::Map<_, _> = snapshot
            .purchases
            .iter()
            .map(|(issuer, at)| {
                let at: Vec<String> = at.iter().map(ToString::to_string).collect();
                (issuer.to_string(), json!(at))
            })
            .collect();
        let object = json!({
            "journal": identity.journal,
            "host": identity.host,
            "may_buy": stale.is_none() && unknown.is_empty(),
            "why_not": why_not(stale.as_ref(), &unknown),
            "purchases": purchases,
            "unknown_purchases": unknown,
        });
        let mut text = serde_json::to_string_pretty(&object)
            .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        text.push('\n');
        output::data(&text);
        return Ok(Exit::Done);
    }
    output::data(&format!(
        "{BOLD}{}{BOLD:#}, made or claimed on {}, in {}\n",
        identity.journal,
        identity.host,
        policy.state_dir.display()
    ));
    match why_not(stale.as_ref(), &unknown) {
        None => output::data(&format!("{GREEN}may buy{GREEN:#} what the policy allows\n")),
        Some(why) => output::data(&format!(
            "{RED}may not buy{RED:#}: {why}; see `renewd state claim`\n"
        )),
    }
    for (issuer, at) in &snapshot.purchases {
        output::data(&format!(
            "{issuer}: {} of it, the last at {}\n",
            counted(at.len(), "purchase"),
            at.last().map(ToString::to_string).unwrap_or_default()
        ));
    }
    Ok(Exit::Done)
}

/// Lets it buy again, as a new journal of this machine.
pub(crate) async fn claim(arguments: &Arguments, yes: bool) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let Some((snapshot, stale)) = look(&policy).await? else {
        return Err(none(&policy));
    };
    let unknown = unknown(&snapshot);
    let before = snapshot.identity.as_ref();
    let mut steps = vec![match why_not(stale.as_ref(), &unknown) {
        Some(why) => format!("now: {why}"),
        None => "now: nothing speaks against purchases of this journal".to_owned(),
    }];
    steps.push(format!(
        "the journal in {} gets a new name in place of {} and belongs to this machine",
        policy.state_dir.display(),
        before.map_or("none", |identity| identity.journal.as_str())
    ));
    steps.push(format!(
        "orders of public certificates that have not applied for anything are given up and opened anew, {} at present",
        unbegun(&snapshot)
    ));
    steps.push(format!(
        "purchases that it does not know count as made now, {} at present; what they bought may be taken by anybody after an hour",
        unknown.len()
    ));
    steps.push(
        "certificates of before are no longer revoked by `revoke_superseded` when they are replaced: another owner may serve them"
            .to_owned(),
    );
    steps.push(
        "if the state directory was copied, its other owner goes on buying: run this on one of both only, and stop the other if it is to be replaced"
            .to_owned(),
    );
    for step in &steps {
        output::note(step);
    }
    confirm(yes, "The journal is claimed for this machine.")?;
    let lock = context::lock(&policy.state_dir).await?;
    let store = context::writer(&policy).await?;
    let identity = new_identity();
    let kept = keep_keys(&policy, &store).await;
    let claimed = match kept {
        Ok(()) => {
            let claimed = store.claim(&identity, SystemClock.now()).await;
            claimed.map_err(|error| context::store_failure(&error))
        }
        Err(failure) => Err(failure),
    };
    let closed = store.close().await;
    let claimed = claimed?;
    closed.map_err(|error| context::store_failure(&error))?;
    output::data(&format!(
        "claimed as {}: {} given up, {} taken over\n",
        identity.journal,
        counted(claimed.orders.len(), "order"),
        counted(claimed.purchases.len(), "purchase")
    ));
    drop(lock);
    look_again(arguments, &policy).await;
    Ok(Exit::Done)
}

/// Keeps the keys of orders that are about to be given up: where the journal was copied its other owner may have applied with
/// them, and what that brings is found by them.
async fn keep_keys(policy: &Policy, store: &SqliteStore) -> Result<(), Failure> {
    let snapshot = store.snapshot().await;
    let snapshot = snapshot.map_err(|error| context::store_failure(&error))?;
    let materials = Materials::new(policy.state_dir.clone());
    let stored = snapshot
        .orders
        .values()
        .filter(|order| order.is_unbegun() && matches!(order.phase, OrderPhase::KeyStored { .. }));
    for order in stored {
        let kept = match materials.load_key(&order.id) {
            Ok(Some(key)) => materials.keep_public_key(&key),
            Ok(None) => Ok(()),
            Err(error) => {
                let (order, why) = (&order.id, error_chain(&error));
                output::note(&format!("the key of order {order} is lost: {why}"));
                Ok(())
            }
        };
        kept.map_err(|error| Failure::new(Exit::CannotWrite, error_chain(&error)))?;
    }
    Ok(())
}

/// Has the daemon do what the claim allows. It is claimed already, whatever comes of that.
async fn look_again(arguments: &Arguments, policy: &Policy) {
    let asked = control::through(arguments, &policy.control, Wanted::Once, Seconds(0)).await;
    if let Err(failure) = asked {
        output::note(&format!(
            "the daemon looks at it at its next wake-up, since it could not be told now: {failure}"
        ));
    }
}

async fn look(policy: &Policy) -> Result<Option<(Snapshot, Option<Stale>)>, Failure> {
    let Some(store) = context::reader(policy).await? else {
        return Ok(None);
    };
    let snapshot = store.snapshot().await;
    let snapshot = snapshot.map_err(|error| context::store_failure(&error))?;
    let identity: Option<&Identity> = snapshot.identity.as_ref();
    let stale = identity.and_then(|identity| identity.stale_on(&host::machine()));
    Ok(Some((snapshot, stale)))
}

fn none(policy: &Policy) -> Failure {
    let text = format!(
        "{} has no journal with a name yet: the first `renewd once` or `renewd run` makes one",
        policy.state_dir.display()
    );
    Failure::new(Exit::DataInvalid, text)
}

/// Purchases that the account has and the journal does not, as open orders saw it last.
fn unknown(snapshot: &Snapshot) -> std::collections::BTreeSet<String> {
    let orders = snapshot.orders.values();
    let seen = orders.filter_map(|order| match &order.phase {
        OrderPhase::Bare { spent, .. } => Some(&spent.unknown),
        _ => None,
    });
    seen.flatten().cloned().collect()
}

fn unbegun(snapshot: &Snapshot) -> usize {
    let orders = snapshot.orders.values();
    orders.filter(|order| order.is_unbegun()).count()
}

fn why_not(stale: Option<&Stale>, unknown: &std::collections::BTreeSet<String>) -> Option<String> {
    if let Some(stale) = stale {
        return Some(stale.to_string());
    }
    (!unknown.is_empty()).then(|| {
        let references = unknown.clone();
        Stale::UnknownPurchases { references }.to_string()
    })
}
