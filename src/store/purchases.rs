//! Who a journal is, and what it has bought: what stands between a lost answer and a second purchase.

use std::collections::BTreeMap;

use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use crate::model::{
    CertificateState, Fingerprint, Identity, IssuerId, Order, OrderClosing, OrderEvent, OrderId,
    OrderPhase, OrderStep, RevokedBy, Timestamp, Unused,
};
use crate::store::codec::{decode, encode};
use crate::store::rows::{Event, ORDER, commit, query, write_certificate, write_open};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite_read::id;
use crate::store::{Claimed, StoreError};

impl SqliteStore {
    pub(crate) async fn read_identity(&self) -> Result<Option<Identity>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(query(WHO))?;
        identity(&mut connection).await
    }

    /// Says who it is, where nobody did before.
    pub(crate) async fn write_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        sqlx::query("INSERT OR IGNORE INTO identity (one, body) VALUES (1, $1)")
            .bind(encode("identity.body", identity)?)
            .execute(&self.pool)
            .await
            .map_err(query(WHO))?;
        Ok(())
    }

    pub(crate) async fn write_claim(
        &self,
        identity: &Identity,
        at: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let mut tx = self.begin(CLAIM).await?;
        let mut claimed = Claimed::default();
        let rows = sqlx::query("SELECT body FROM orders WHERE closed_at IS NULL")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(CLAIM))?;
        for row in &rows {
            let mut order: Order = decode("orders.body", row.get(0))?;
            if !order.is_unbegun() {
                continue;
            }
            if let OrderPhase::Bare { spent, .. } = &order.phase {
                for reference in &spent.unknown {
                    insert(
                        &mut tx,
                        reference,
                        &order.issuer,
                        at,
                        "made",
                        Some(reference),
                    )
                    .await?;
                    claimed.purchases.insert(reference.clone());
                }
            }
            // The mark on it is that of the journal as it was called before, and holds for a while still: it is waited for, and
            // nothing is bought in its place.
            let marked = match &order.phase {
                OrderPhase::Claiming { reference, .. } | OrderPhase::Entitled { reference } => {
                    Some((reference.as_str(), None))
                }
                // Its other owner may have applied with that key.
                OrderPhase::KeyStored {
                    entitlement: Some(reference),
                    spki,
                } => Some((reference.as_str(), Some(*spki))),
                _ => order.may_have_claimed().then_some(("", None)),
            };
            if let Some(left) = marked {
                leave(&mut tx, &order, left, at).await?;
            }
            // Its id may be another journal's as well, and tags at the account would be taken for this one's.
            let message = "the journal was claimed anew by `renewd state claim`".to_owned();
            order.phase = OrderPhase::Closed {
                closing: OrderClosing::Abandoned {
                    message: message.clone(),
                },
            };
            order.started = None;
            write_open(&mut tx, ORDER, order.id.as_str(), &order, Some(at)).await?;
            Event::new(ORDER, order.id.as_str(), at, "failed", order.phase.code())
                .message(&message)
                .insert(&mut tx)
                .await?;
            claimed.orders.insert(order.id);
        }
        disown(&mut tx).await?;
        sqlx::query("INSERT INTO identity (one, body) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET body = excluded.body")
            .bind(encode("identity.body", identity)?)
            .execute(&mut *tx)
            .await
            .map_err(query(CLAIM))?;
        commit(tx, CLAIM).await?;
        Ok(claimed)
    }

    /// Orders that bought something, or tried to, and when.
    pub(crate) async fn read_bought(&self) -> Result<BTreeMap<OrderId, Timestamp>, StoreError> {
        let rows = sqlx::query("SELECT id, began_at FROM purchases")
            .fetch_all(&self.pool)
            .await
            .map_err(query(READ))?;
        rows.iter()
            .map(|row| Ok((id(row.get(0))?, Timestamp(row.get(1)))))
            .collect()
    }

    pub(super) async fn read_purchases(
        &self,
    ) -> Result<BTreeMap<IssuerId, Vec<Timestamp>>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(query(READ))?;
        purchases(&mut connection).await
    }
}

/// What the journal brought before it was claimed may be served by its other owner: no policy has it revoked from here.
async fn disown(tx: &mut Transaction<'_, Sqlite>) -> Result<(), StoreError> {
    sqlx::query("UPDATE revisions SET ours = 0")
        .execute(&mut **tx)
        .await
        .map_err(query(CLAIM))?;
    let rows = sqlx::query("SELECT id, state FROM certificates")
        .fetch_all(&mut **tx)
        .await
        .map_err(query(CLAIM))?;
    for row in &rows {
        let mut state: CertificateState = decode("certificates.state", row.get(1))?;
        let noted = state.revoking.len();
        state.revoking.retain(|one| one.by != RevokedBy::Policy);
        if state.revoking.len() != noted {
            write_certificate(tx, &id(row.get(0))?, &state).await?;
        }
    }
    Ok(())
}

/// Notes at the certificate of an order what that order leaves unused in the account.
async fn leave(
    tx: &mut Transaction<'_, Sqlite>,
    order: &Order,
    (reference, spki): (&str, Option<Fingerprint>),
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT state FROM certificates WHERE id = $1")
        .bind(order.certificate.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(query(CLAIM))?;
    let mut state: CertificateState = match row {
        Some(row) => decode("certificates.state", row.get(0))?,
        None => CertificateState::default(),
    };
    state.unused = Some(match state.unused {
        // Which one is not known: what was left before still is the best guess, and its key is kept.
        Some(before) if reference.is_empty() => Unused { at, ..before },
        _ => Unused {
            reference: reference.to_owned(),
            spki,
            at,
        },
    });
    write_certificate(tx, &order.certificate, &state).await
}

/// Who it is; a journal of an earlier renewd that nobody has written to since is nobody.
pub(super) async fn identity(
    connection: &mut SqliteConnection,
) -> Result<Option<Identity>, StoreError> {
    if !is_there(connection).await? {
        return Ok(None);
    }
    let row = sqlx::query("SELECT body FROM identity")
        .fetch_optional(&mut *connection)
        .await
        .map_err(query(WHO))?;
    row.map(|row| decode("identity.body", row.get(0)))
        .transpose()
}

/// When each of the last purchases began, by issuer; the window of a budget is narrower.
pub(super) async fn purchases(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<IssuerId, Vec<Timestamp>>, StoreError> {
    let mut found: BTreeMap<IssuerId, Vec<Timestamp>> = BTreeMap::new();
    if !is_there(connection).await? {
        return Ok(found);
    }
    let rows = sqlx::query(
        "SELECT issuer, began_at FROM purchases WHERE outcome <> 'not-made'
         AND began_at > (SELECT max(began_at) FROM purchases) - $1 ORDER BY began_at, id",
    )
    .bind(REMEMBERED)
    .fetch_all(&mut *connection)
    .await
    .map_err(query(READ))?;
    for row in &rows {
        let all = found.entry(id(row.get(0))?).or_default();
        all.push(Timestamp(row.get(1)));
    }
    Ok(found)
}

async fn is_there(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT count(*) FROM sqlite_master WHERE name = 'purchases'")
        .fetch_one(connection)
        .await
        .map_err(query(READ))?;
    Ok(row.get::<i64, _>(0) > 0)
}

/// The intent of a purchase, in the transaction that writes the intent of its step.
pub(super) async fn began(
    tx: &mut Transaction<'_, Sqlite>,
    order: &Order,
    at: Timestamp,
) -> Result<(), StoreError> {
    insert(tx, order.id.as_str(), &order.issuer, at, "unknown", None).await
}

/// What an event of an order says of its purchase; `before` is the phase that it happened in.
pub(super) async fn ended(
    tx: &mut Transaction<'_, Sqlite>,
    order: &OrderId,
    before: &OrderPhase,
    step: Option<OrderStep>,
    event: &OrderEvent,
) -> Result<(), StoreError> {
    let (outcome, reference) = match (before, event) {
        (_, OrderEvent::Bought { reference }) => ("made", Some(reference)),
        (
            OrderPhase::Claiming {
                purchase: Some(_),
                reference,
                ..
            },
            OrderEvent::Confirmed,
        ) => ("made", Some(reference)),
        (_, OrderEvent::DefinitelyNotBought) => ("not-made", None),
        (OrderPhase::Bare { .. }, OrderEvent::Closed { .. }) if step == Some(OrderStep::Buy) => {
            ("not-made", None)
        }
        _ => return Ok(()),
    };
    sqlx::query("UPDATE purchases SET outcome = $1, reference = $2 WHERE id = $3")
        .bind(outcome)
        .bind(reference)
        .bind(order.as_str())
        .execute(&mut **tx)
        .await
        .map_err(query(WRITE))?;
    Ok(())
}

/// It was refused with an answer.
pub(super) async fn refused(
    tx: &mut Transaction<'_, Sqlite>,
    order: &OrderId,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE purchases SET outcome = 'not-made' WHERE id = $1")
        .bind(order.as_str())
        .execute(&mut **tx)
        .await
        .map_err(query(WRITE))?;
    Ok(())
}

async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    purchase: &str,
    issuer: &IssuerId,
    at: Timestamp,
    outcome: &str,
    reference: Option<&String>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO purchases (id, issuer, began_at, outcome, reference) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET began_at = excluded.began_at, outcome = excluded.outcome,
         reference = excluded.reference",
    )
    .bind(purchase)
    .bind(issuer.as_str())
    .bind(at.0)
    .bind(outcome)
    .bind(reference)
    .execute(&mut **tx)
    .await
    .map_err(query(WRITE))?;
    Ok(())
}

const WHO: &str = "read or write who the journal is";
const CLAIM: &str = "claim the journal";
const READ: &str = "read what was bought";
const WRITE: &str = "write what was bought";
/// Seconds: a day more than the longest window of a budget.
const REMEMBERED: i64 = 31 * 86_400;
