//! The outbox: letters about alerts, queued by the transaction that raises or resolves the alert, kept until they were
//! taken over by whoever carries them.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use crate::model::{
    ChannelId, ChannelState, Delivery, Held, LONGEST_QUEUE, Letter, Occasion, Post, Seconds,
    Severity, Slip, Timestamp,
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
        // What was refused is tried again for the sake of what stands.
        sqlx::query(
            "UPDATE outbox SET state = 'refused' WHERE alert = $1 AND state = 'waiting' AND refused = 1",
        )
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(query(WHAT))?;
        queue(&mut tx, posts).await?;
        commit(tx, WHAT).await?;
        Ok(true)
    }

    pub(super) async fn write_posts(&self, posts: &[Post]) -> Result<(), StoreError> {
        const WHAT: &str = "queue letters";
        let mut tx = self.begin(WHAT).await?;
        queue(&mut tx, posts).await?;
        commit(tx, WHAT).await
    }

    pub(super) async fn read_told(&self) -> Result<Told, StoreError> {
        let rows = sqlx::query(
            "SELECT o.alert, o.channel, o.recipient, max(o.step) FROM outbox o
             JOIN alerts a ON a.key = o.alert AND a.raised_at = o.raised_at
             WHERE a.resolved_at IS NULL AND o.occasion = 'raised'
               AND o.state NOT IN ('refused', 'given-up', 'withdrawn')
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

    pub(super) async fn read_slips(
        &self,
        now: Timestamp,
    ) -> Result<BTreeMap<(ChannelId, String), Vec<Slip>>, StoreError> {
        const WHAT: &str = "read which letters wait";
        let rows = sqlx::query(
            "SELECT o.channel, o.recipient, o.seq, o.alert, o.raised_at, o.occasion, o.step, o.severity,
               o.queued_at, o.due_at, o.attempts, o.held, o.alone, o.refused, o.mail,
               EXISTS (SELECT 1 FROM alerts a WHERE a.key = o.alert AND a.raised_at = o.raised_at
                 AND a.resolved_at IS NULL) AS stands,
               EXISTS (SELECT 1 FROM outbox e WHERE e.alert = o.alert AND e.raised_at = o.raised_at
                 AND e.channel = o.channel AND e.recipient = o.recipient
                 AND e.state NOT IN ('waiting', 'spared', 'withdrawn')) AS begun
             FROM outbox o
             WHERE o.state = 'waiting' AND (o.channel, o.recipient) IN
               (SELECT channel, recipient FROM outbox WHERE state = 'waiting' AND (due_at <= $1 OR due_at > $3))
             ORDER BY o.seq LIMIT $2",
        )
        .bind(now.0)
        .bind(MOST_SLIPS)
        .bind((now + LONGEST_WAIT).0)
        .fetch_all(&self.pool)
        .await
        .map_err(query(WHAT))?;
        let mut found: BTreeMap<_, Vec<Slip>> = BTreeMap::new();
        for row in &rows {
            let place = (channel(row.get("channel"))?, row.get("recipient"));
            let mut slip = slip(row);
            if slip.due_at > now + LONGEST_WAIT {
                slip.due_at = now;
            }
            found.entry(place).or_default().push(slip);
        }
        Ok(found)
    }

    /// The letters of a mail and, in the order in which they were sent, the mails that told of the same alerts before.
    pub(super) async fn read_letters(
        &self,
        numbers: &[i64],
    ) -> Result<(Vec<Letter>, Vec<String>), StoreError> {
        const WHAT: &str = "read letters";
        let (mut letters, mut before) = (Vec::with_capacity(numbers.len()), BTreeMap::new());
        for seq in numbers {
            let row = sqlx::query(
                "SELECT o.letter,
                   (SELECT e.seq FROM outbox e WHERE e.alert = o.alert AND e.raised_at = o.raised_at
                     AND e.channel = o.channel AND e.recipient = o.recipient AND e.state = 'sent'
                     ORDER BY e.seq LIMIT 1) AS first,
                   (SELECT e.mail FROM outbox e WHERE e.alert = o.alert AND e.raised_at = o.raised_at
                     AND e.channel = o.channel AND e.recipient = o.recipient AND e.state = 'sent'
                     ORDER BY e.seq LIMIT 1) AS mail
                 FROM outbox o WHERE o.seq = $1 AND o.state = 'waiting'",
            )
            .bind(seq)
            .fetch_optional(&self.pool)
            .await
            .map_err(query(WHAT))?;
            let Some(row) = row else { continue };
            letters.push(decode("outbox.letter", row.get("letter"))?);
            let mail: Option<String> = row.get("mail");
            if let (Some(first), Some(mail)) = (row.get::<Option<i64>, _>("first"), mail)
                && !before.values().any(|known| *known == mail)
            {
                before.insert(first, mail);
            }
        }
        Ok((letters, before.into_values().collect()))
    }

    pub(super) async fn write_sealed(&self, numbers: &[i64], mail: &str) -> Result<(), StoreError> {
        const WHAT: &str = "write which mail letters go into";
        let mut tx = self.begin(WHAT).await?;
        for seq in numbers {
            sqlx::query("UPDATE outbox SET mail = $1 WHERE seq = $2 AND state = 'waiting'")
                .bind(mail)
                .bind(seq)
                .execute(&mut *tx)
                .await
                .map_err(query(WHAT))?;
        }
        commit(tx, WHAT).await
    }

    pub(super) async fn read_mails_sent(
        &self,
        since: Timestamp,
    ) -> Result<BTreeMap<(ChannelId, String), Vec<Timestamp>>, StoreError> {
        let rows = sqlx::query(
            "SELECT channel, recipient, max(tried_at) AS at FROM outbox
             WHERE state = 'sent' AND occasion <> 'test' AND tried_at > $1
             GROUP BY channel, recipient, mail ORDER BY at",
        )
        .bind(since.0)
        .fetch_all(&self.pool)
        .await
        .map_err(query("read when mails were sent"))?;
        let mut found: BTreeMap<_, Vec<Timestamp>> = BTreeMap::new();
        for row in &rows {
            let place = (channel(row.get("channel"))?, row.get("recipient"));
            found
                .entry(place)
                .or_default()
                .push(Timestamp(row.get("at")));
        }
        Ok(found)
    }

    pub(super) async fn read_next_post(
        &self,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        // Only the first of those that must not overtake each other counts.
        let row = sqlx::query(
            "SELECT min(CASE WHEN o.due_at > $2 THEN $1 ELSE o.due_at END) FROM outbox o WHERE o.state = 'waiting' AND NOT EXISTS
               (SELECT 1 FROM outbox e WHERE e.state = 'waiting' AND e.alert = o.alert
                 AND e.channel = o.channel AND e.recipient = o.recipient AND e.seq < o.seq)",
        )
        .bind(now.0)
        .bind((now + LONGEST_WAIT).0)
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
            let kept = |held: Held| {
                i64::try_from(Held::ALL.iter().position(|one| *one == held).unwrap_or(0))
            };
            let (state, said, due) = match outcome {
                Delivery::Held(held, until) => {
                    sqlx::query("UPDATE outbox SET held = $1, due_at = $2 WHERE seq = $3 AND state = 'waiting'")
                        .bind(kept(*held).unwrap_or(0))
                        .bind(until.0)
                        .bind(seq)
                        .execute(&mut *tx)
                        .await
                        .map_err(query(WHAT))?;
                    continue;
                }
                Delivery::Sent(said) => ("sent", said.as_str(), None),
                Delivery::Refused { why, again: None } => ("refused", why.as_str(), None),
                Delivery::Refused {
                    why,
                    again: Some(at),
                } => ("waiting", why.as_str(), Some(at.0)),
                Delivery::GivenUp(why) => ("given-up", why.as_str(), None),
                Delivery::Spared => ("spared", "over before its time came", None),
                Delivery::Withdrawn => (
                    "withdrawn",
                    "the policy has no such recipient any more",
                    None,
                ),
                Delivery::Later { why, at, .. } => ("waiting", why.as_str(), Some(at.0)),
                Delivery::Apart(why) => ("waiting", why.as_str(), Some(at.0)),
            };
            let refused = matches!(outcome, Delivery::Refused { .. });
            let alone = matches!(outcome, Delivery::Apart(_));
            // What is certainly with nobody may go with others next time.
            let again =
                alone || refused || matches!(outcome, Delivery::Later { unsure: false, .. });
            let tried = !matches!(outcome, Delivery::Spared | Delivery::Withdrawn);
            sqlx::query(
                // What was over while it was on its way is not tried again.
                "UPDATE outbox SET state = CASE WHEN $9 AND $1 = 'waiting' AND NOT EXISTS
                     (SELECT 1 FROM alerts a WHERE a.key = outbox.alert AND a.raised_at = outbox.raised_at
                        AND a.resolved_at IS NULL) THEN 'refused' ELSE $1 END,
                   said = $2, due_at = coalesce($3, due_at), tried_at = $4,
                   attempts = attempts + $5, alone = max(alone, $6), mail = CASE WHEN $7 THEN NULL ELSE mail END,
                   refused = max(refused, $9)
                 WHERE seq = $8 AND state = 'waiting'",
            )
            .bind(state)
            .bind(said)
            .bind(due)
            .bind(at.0)
            .bind(tried)
            .bind(alone)
            .bind(again)
            .bind(seq)
            .bind(refused)
            .execute(&mut *tx)
            .await
            .map_err(query(WHAT))?;
            if matches!(outcome, Delivery::Sent(_)) {
                // What was refused passes now: so may the rest.
                sqlx::query(
                    "UPDATE outbox SET due_at = $1, refused = 0, alone = 0
                     WHERE state = 'waiting' AND refused = 1 AND (channel, recipient) IN
                       (SELECT channel, recipient FROM outbox WHERE seq = $2 AND refused = 1)",
                )
                .bind(at.0)
                .bind(seq)
                .execute(&mut *tx)
                .await
                .map_err(query(WHAT))?;
            }
        }
        commit(tx, WHAT).await
    }

    pub(super) async fn write_passed(
        &self,
        recipients: &[(ChannelId, String)],
        letter: &Letter,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "write that a test passed";
        let letter = encode("outbox.letter", letter)?;
        let mut tx = self.begin(WHAT).await?;
        let refused = channels(&mut tx).await?;
        for (channel, recipient) in recipients {
            let state = refused.get(channel);
            if !state.is_some_and(|state| state.refused.contains_key(recipient)) {
                continue;
            }
            sqlx::query(
                "INSERT INTO outbox (channel, recipient, alert, raised_at, occasion, step, severity, letter,
                   queued_at, due_at, attempts, state, tried_at)
                 VALUES ($1, $2, 'test/renewd', $3, 'test', 0, 0, $4, $3, $3, 1, 'sent', $3)
                 ON CONFLICT DO NOTHING",
            )
            .bind(channel.as_str())
            .bind(recipient)
            .bind(at.0)
            .bind(&letter)
            .execute(&mut *tx)
            .await
            .map_err(query(WHAT))?;
            sqlx::query(
                "UPDATE outbox SET due_at = $3, refused = 0, alone = 0
                 WHERE state = 'waiting' AND refused = 1 AND channel = $1 AND recipient = $2",
            )
            .bind(channel.as_str())
            .bind(recipient)
            .bind(at.0)
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
        let entry = |row: &SqliteRow| {
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
/// queued when there is room again. A letter about an end is the second of two at most, and a digest comes rarely: they need
/// no limit. One that was withdrawn, or was refused for good or given up before, begins anew: its alert stands.
async fn queue(tx: &mut Transaction<'_, Sqlite>, posts: &[Post]) -> Result<(), StoreError> {
    for post in posts {
        let (occasion, step) = match post.letter.occasion {
            Occasion::Raised(step) => ("raised", step),
            Occasion::Over => ("over", 0),
            Occasion::Digest => ("digest", 0),
        };
        let severity = Severity::ALL
            .iter()
            .position(|one| *one == post.letter.severity);
        let severity = i64::try_from(severity.unwrap_or(0)).unwrap_or(0);
        sqlx::query(
            "INSERT INTO outbox (channel, recipient, alert, raised_at, occasion, step, severity, letter, queued_at, due_at)
             SELECT $1, $2, $3, $4, $5, $6, $11, $7, $8, $9
             WHERE $5 <> 'raised' OR $10 >
               (SELECT count(*) FROM outbox WHERE state = 'waiting' AND channel = $1 AND recipient = $2)
             ON CONFLICT (alert, raised_at, occasion, step, channel, recipient) DO UPDATE SET
               state = 'waiting', said = '', attempts = 0, held = 0, alone = 0, refused = 0,
               letter = CASE WHEN outbox.mail IS NULL THEN excluded.letter ELSE outbox.letter END,
               queued_at = excluded.queued_at, due_at = excluded.due_at
             WHERE excluded.occasion = 'raised' AND outbox.state IN ('refused', 'given-up', 'withdrawn')",
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
        .bind(severity)
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
         WHERE state = 'waiting' AND attempts > 0 AND refused = 0 GROUP BY channel",
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
    let held = sqlx::query(
        "SELECT channel, count(*) FROM outbox WHERE state = 'waiting' AND held = 2 GROUP BY channel",
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(query(WHAT))?;
    for row in &held {
        found.entry(channel(row.get(0))?).or_default().held = row.get(1);
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
        "SELECT channel, recipient, state, said, max(seq) FROM outbox
         WHERE state NOT IN ('waiting', 'spared', 'withdrawn') GROUP BY channel, recipient
         UNION ALL
         SELECT channel, recipient, 'refused', said, max(tried_at) FROM outbox
         WHERE state = 'waiting' AND refused = 1 GROUP BY channel, recipient",
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

fn slip(row: &SqliteRow) -> Slip {
    let occasion = match row.get("occasion") {
        "over" => Occasion::Over,
        "digest" => Occasion::Digest,
        _ => Occasion::Raised(row.get("step")),
    };
    Slip {
        seq: row.get("seq"),
        thread: (row.get("alert"), Timestamp(row.get("raised_at"))),
        occasion,
        severity: kept(&Severity::ALL, row.get("severity")).unwrap_or(Severity::Warning),
        queued_at: Timestamp(row.get("queued_at")),
        due_at: Timestamp(row.get("due_at")),
        attempts: row.get("attempts"),
        stands: row.get("stands"),
        begun: row.get("begun"),
        held: kept(&Held::ALL, row.get("held")).unwrap_or_default(),
        alone: row.get("alone"),
        refused: row.get("refused"),
        mail: row.get("mail"),
    }
}

/// By its place in the list of all.
fn kept<T: Copy>(all: &[T], place: i64) -> Option<T> {
    all.get(usize::try_from(place).ok()?).copied()
}

/// No letter waits longer: between two attempts, for the budget of a day, for the end of quiet hours. One that does was
/// queued or put off by a clock that was ahead and has been put right; it is due.
const LONGEST_WAIT: Seconds = Seconds::days(3);

/// That are sorted at a time. As many as may wait for some recipients, and their ends.
const MOST_SLIPS: u32 = 5 * LONGEST_QUEUE;

fn channel(text: &str) -> Result<ChannelId, StoreError> {
    ChannelId::new(text).map_err(|_| StoreError::Id(text.to_owned()))
}
