//! The outbox: letters about alerts, queued by the transaction that raises or resolves the alert, kept until they were
//! taken over by whoever carries them.

use std::collections::BTreeMap;

use sqlx::{Row, Sqlite, Transaction};

use crate::model::{
    ChannelId, ChannelState, Delivery, LONGEST_QUEUE, Letter, Occasion, Post, Timestamp,
    Undelivered,
};
use crate::store::codec::{decode, encode};
use crate::store::rows::{commit, query};
use crate::store::sqlite::SqliteStore;
use crate::store::{PostEntry, StoreError, StoredAlert, Told};

impl SqliteStore {
    pub(super) async fn write_alert(
        &self,
        alert: &StoredAlert,
        posts: &[Post],
    ) -> Result<bool, StoreError> {
        const WHAT: &str = "raise an alert";
        let mut tx = self.begin(WHAT).await?;
        let open = sqlx::query("SELECT step FROM alerts WHERE key = $1 AND resolved_at IS NULL")
            .bind(&alert.key)
            .fetch_optional(&mut *tx)
            .await
            .map_err(query(WHAT))?
            .map(|row| row.get::<u32, _>(0));
        let sql = match open {
            // It was told: what it says is kept true, and it is not told again.
            Some(step) if step >= alert.step => {
                "UPDATE alerts SET severity = $2, title = $3, text = $4 WHERE key = $1"
            }
            Some(_) => {
                "UPDATE alerts SET severity = $2, title = $3, text = $4, step = $6, delivered_at = NULL WHERE key = $1"
            }
            None => {
                "INSERT INTO alerts (key, severity, title, text, raised_at, step) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (key) DO UPDATE SET severity = excluded.severity, title = excluded.title,
                   text = excluded.text, raised_at = excluded.raised_at, step = excluded.step,
                   delivered_at = NULL, resolved_at = NULL"
            }
        };
        let mut statement = sqlx::query(sql)
            .bind(&alert.key)
            .bind(&alert.severity)
            .bind(&alert.title)
            .bind(&alert.text);
        match open {
            Some(step) if step >= alert.step => {}
            _ => statement = statement.bind(alert.raised_at.0).bind(alert.step),
        }
        statement.execute(&mut *tx).await.map_err(query(WHAT))?;
        queue(&mut tx, posts).await?;
        commit(tx, WHAT).await?;
        Ok(open.is_none_or(|step| step < alert.step))
    }

    pub(super) async fn write_resolved(
        &self,
        key: &str,
        at: Timestamp,
        posts: &[Post],
    ) -> Result<bool, StoreError> {
        const WHAT: &str = "resolve an alert";
        let mut tx = self.begin(WHAT).await?;
        let done = sqlx::query(
            "UPDATE alerts SET resolved_at = $1 WHERE key = $2 AND resolved_at IS NULL",
        )
        .bind(at.0)
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(query(WHAT))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        queue(&mut tx, posts).await?;
        commit(tx, WHAT).await?;
        Ok(true)
    }

    pub(super) async fn read_told(&self) -> Result<Told, StoreError> {
        let rows = sqlx::query(
            "SELECT o.alert, o.channel, o.recipient, max(o.step) FROM outbox o
             JOIN alerts a ON a.key = o.alert AND a.raised_at = o.raised_at
             WHERE a.resolved_at IS NULL AND o.occasion = 'raised'
             GROUP BY o.alert, o.channel, o.recipient",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(query("read who was told"))?;
        let mut told = Told::new();
        for row in &rows {
            told.entry(row.get(0))
                .or_default()
                .insert((channel(row.get(1))?, row.get(2)), row.get(3));
        }
        Ok(told)
    }

    pub(super) async fn read_due_posts(
        &self,
        now: Timestamp,
        most: u32,
    ) -> Result<Vec<Undelivered>, StoreError> {
        // What is over must not be told before what it ended.
        let rows = sqlx::query(
            "SELECT o.seq, o.channel, o.recipient, o.letter, o.queued_at, o.due_at, o.attempts,
               EXISTS (SELECT 1 FROM alerts a WHERE a.key = o.alert AND a.raised_at = o.raised_at
                 AND a.resolved_at IS NULL)
             FROM outbox o
             WHERE o.state = 'waiting' AND o.due_at <= $1 AND NOT EXISTS
               (SELECT 1 FROM outbox e WHERE e.state = 'waiting' AND e.due_at > $1 AND e.alert = o.alert
                 AND e.channel = o.channel AND e.recipient = o.recipient AND e.seq < o.seq)
             ORDER BY o.seq LIMIT $2",
        )
        .bind(now.0)
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(query("read letters"))?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let letter: Letter = decode("outbox.letter", row.get(3))?;
            found.push(Undelivered {
                seq: row.get(0),
                queued_at: Timestamp(row.get(4)),
                attempts: row.get(6),
                stands: row.get::<i64, _>(7) > 0,
                post: Post {
                    channel: channel(row.get(1))?,
                    recipient: row.get(2),
                    letter,
                    due_at: Timestamp(row.get(5)),
                },
            });
        }
        Ok(found)
    }

    pub(super) async fn read_next_post(&self) -> Result<Option<Timestamp>, StoreError> {
        // Only the first of those that must not overtake each other counts.
        let row = sqlx::query(
            "SELECT min(o.due_at) FROM outbox o WHERE o.state = 'waiting' AND NOT EXISTS
               (SELECT 1 FROM outbox e WHERE e.state = 'waiting' AND e.alert = o.alert
                 AND e.channel = o.channel AND e.recipient = o.recipient AND e.seq < o.seq)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(query("read when the next letter is due"))?;
        Ok(row.get::<Option<i64>, _>(0).map(Timestamp))
    }

    pub(super) async fn write_tried(
        &self,
        outcomes: &[(i64, Delivery)],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "write how a letter fared";
        let mut tx = self.begin(WHAT).await?;
        for (seq, outcome) in outcomes {
            let (state, said, due) = match outcome {
                Delivery::Sent(said) => ("sent", said, None),
                Delivery::Refused(why) => ("refused", why, None),
                Delivery::GivenUp(why) => ("given-up", why, None),
                Delivery::Later { why, at } => ("waiting", why, Some(at.0)),
            };
            sqlx::query(
                "UPDATE outbox SET state = $1, said = $2, due_at = coalesce($3, due_at), tried_at = $4,
                   attempts = attempts + 1 WHERE seq = $5 AND state = 'waiting'",
            )
            .bind(state)
            .bind(said)
            .bind(due)
            .bind(at.0)
            .bind(seq)
            .execute(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        }
        commit(tx, WHAT).await
    }

    pub(super) async fn delete_posts(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM outbox WHERE state <> 'waiting' AND tried_at < $1 AND NOT EXISTS
               (SELECT 1 FROM alerts a WHERE a.key = outbox.alert AND a.raised_at = outbox.raised_at
                 AND a.resolved_at IS NULL)",
        )
        .bind(before.0)
        .execute(&self.pool)
        .await
        .map_err(query("forget letters"))?;
        Ok(())
    }

    pub(super) async fn read_posts(&self, most: u32) -> Result<Vec<PostEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT channel, recipient, alert, occasion, queued_at, state, attempts, due_at, said
             FROM outbox ORDER BY seq DESC LIMIT $1",
        )
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(query("list letters"))?;
        let entry = |row: &sqlx::sqlite::SqliteRow| {
            let state: String = row.get(5);
            PostEntry {
                channel: row.get(0),
                recipient: row.get(1),
                key: row.get(2),
                occasion: row.get(3),
                queued_at: Timestamp(row.get(4)),
                due_at: (state == "waiting").then(|| Timestamp(row.get(7))),
                state,
                attempts: row.get(6),
                said: row.get(8),
            }
        };
        Ok(rows.iter().map(entry).collect())
    }
}

/// Queues letters. A recipient for whom too many wait gets no more for now: the alert still stands, and its letter is
/// queued when there is room again. A letter about an end is the second of two at most, and needs no limit.
async fn queue(tx: &mut Transaction<'_, Sqlite>, posts: &[Post]) -> Result<(), StoreError> {
    for post in posts {
        let (occasion, step) = match post.letter.occasion {
            Occasion::Raised(step) => ("raised", step),
            Occasion::Over => ("over", 0),
        };
        sqlx::query(
            "INSERT INTO outbox (channel, recipient, alert, raised_at, occasion, step, letter, queued_at, due_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
             WHERE $5 = 'over' OR $10 >
               (SELECT count(*) FROM outbox WHERE state = 'waiting' AND channel = $1 AND recipient = $2)
             ON CONFLICT DO NOTHING",
        )
        .bind(post.channel.as_str())
        .bind(&post.recipient)
        .bind(&post.letter.key)
        .bind(post.letter.raised_at.0)
        .bind(occasion)
        .bind(step)
        .bind(encode("outbox.letter", &post.letter)?)
        .bind(post.letter.date.0)
        .bind(post.due_at.0)
        .bind(LONGEST_QUEUE)
        .execute(&mut **tx)
        .await
        .map_err(query("queue a letter"))?;
    }
    Ok(())
}

/// How the letters of each channel fare.
pub(super) async fn channels(
    tx: &mut Transaction<'_, Sqlite>,
) -> Result<BTreeMap<ChannelId, ChannelState>, StoreError> {
    const WHAT: &str = "read how letters fare";
    let mut found: BTreeMap<ChannelId, ChannelState> = BTreeMap::new();
    // SQLite takes `said` from the row that has the maximum.
    let failing = sqlx::query(
        "SELECT channel, count(*), min(queued_at), said, max(tried_at) FROM outbox
         WHERE state = 'waiting' AND attempts > 0 GROUP BY channel",
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(query(WHAT))?;
    for row in &failing {
        let state = found.entry(channel(row.get(0))?).or_default();
        state.failing = row.get(1);
        state.failing_since = Some(Timestamp(row.get(2)));
        state.last = row.get(3);
    }
    let queues = sqlx::query(
        "SELECT channel, max(n) FROM (SELECT channel, recipient, count(*) AS n FROM outbox
           WHERE state = 'waiting' GROUP BY channel, recipient) GROUP BY channel",
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(query(WHAT))?;
    for row in &queues {
        found.entry(channel(row.get(0))?).or_default().longest_queue = row.get(1);
    }
    let ended = sqlx::query(
        "SELECT channel, recipient, state, said, max(seq) FROM outbox WHERE state <> 'waiting'
         GROUP BY channel, recipient",
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(query(WHAT))?;
    for row in &ended {
        if row.get::<&str, _>(2) != "sent" {
            let state = found.entry(channel(row.get(0))?).or_default();
            state.refused.insert(row.get(1), row.get(3));
        }
    }
    Ok(found)
}

fn channel(text: &str) -> Result<ChannelId, StoreError> {
    ChannelId::new(text).map_err(|_| StoreError::Id(text.to_owned()))
}
