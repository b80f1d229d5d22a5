//! The list against a plain reading of everything, and what its statements look at.

use proptest::prelude::*;
use sqlx::Row as _;

use super::*;
use crate::ccm_server::db::Db;

const ACCOUNT: &str = "0605768a3300d5762f11c018d8d0f8e1";
const NOW: Timestamp = Timestamp(1_000);

/// A certificate as far as a list looks at it.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    status: &'static str,
    not_before: i64,
    not_after: Option<i64>,
    updated: i64,
    deployable: bool,
}

impl Entry {
    fn shown(&self) -> &'static str {
        let ended = self.not_after.is_some_and(|end| end < NOW.0);
        match self.status {
            "ISSUED" | "UPLOAD" if ended => "EXPIRED",
            status => status,
        }
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let statuses = prop_oneof![
        Just("ISSUED"),
        Just("UPLOAD"),
        Just("REVOKE"),
        Just("REVOKING"),
        Just("PAID"),
        Just("CHECKING"),
    ];
    (
        statuses,
        900..1_005_i64,
        990..1_020_i64,
        0..6_i64,
        any::<bool>(),
        "[ab]{3}",
    )
        .prop_map(
            |(status, not_before, not_after, updated, deployable, name)| Entry {
                name,
                status,
                not_before,
                not_after: (status != "PAID").then_some(not_after),
                updated,
                deployable: deployable && status != "PAID",
            },
        )
}

/// Status, days to the end, deployable or not, content, order, direction, limit, offset.
type Question = (
    Option<&'static str>,
    Option<i64>,
    bool,
    Option<&'static str>,
    u8,
    bool,
    i64,
    i64,
);

fn question() -> impl Strategy<Value = Question> {
    let statuses = prop_oneof![
        Just("ISSUED"),
        Just("UPLOAD"),
        Just("EXPIRED"),
        Just("REVOKE"),
        Just("PAID"),
        Just("UNPASSED"),
    ];
    (
        proptest::option::of(statuses),
        proptest::option::of(1..15_i64),
        any::<bool>(),
        proptest::option::of(Just("A")),
        0..3_u8,
        any::<bool>(),
        1..8_i64,
        0..8_i64,
    )
}

fn wanted(question: &Question) -> Wanted<'static> {
    let (status, within, deployable, content, sort, ascending, limit, offset) = *question;
    Wanted {
        account: ACCOUNT,
        now: NOW,
        status,
        ends_within: within.map(Seconds),
        deployable,
        content,
        elsewhere: false,
        sort: [Sort::End, Sort::Status, Sort::Update][usize::from(sort)],
        ascending,
        limit,
        offset,
    }
}

/// What a list has to show, found by looking at everything.
fn expected(entries: &[Entry], wanted: &Wanted<'_>) -> (usize, Vec<String>) {
    let mut found: Vec<(usize, &Entry)> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| wanted.status.is_none_or(|status| entry.shown() == status))
        .filter(|(_, entry)| {
            wanted.ends_within.is_none_or(|time| {
                let ends = |end| end > NOW.0 && end <= NOW.0 + time.0;
                let valid = !["REVOKE", "REVOKING"].contains(&entry.status);
                valid && entry.not_before <= NOW.0 && entry.not_after.is_some_and(ends)
            })
        })
        .filter(|(_, entry)| {
            let lives = entry.not_after.is_some_and(|end| end >= NOW.0);
            !wanted.deployable || (entry.deployable && lives)
        })
        .filter(|(_, entry)| wanted.content.is_none() || entry.name.contains('a'))
        .collect();
    let alone = wanted.is_everything();
    found.sort_by_key(|(nth, entry)| match wanted.sort {
        Sort::End => ("", entry.not_after.unwrap_or(i64::MIN), 0, *nth),
        // Within a status by the last change, where nothing else is asked for.
        Sort::Status => (
            entry.shown(),
            if alone { entry.updated } else { 0 },
            0,
            *nth,
        ),
        Sort::Update => ("", entry.updated, 0, *nth),
    });
    if !wanted.ascending {
        found.reverse();
    }
    let from = usize::try_from(wanted.offset).unwrap();
    let most = usize::try_from(wanted.limit).unwrap();
    let page = found.iter().skip(from).take(most);
    (found.len(), page.map(|(nth, _)| nth.to_string()).collect())
}

async fn filled(state: &std::path::Path, entries: &[Entry]) -> Db {
    let db = Db::open(state).await.unwrap();
    let entries = entries.to_vec();
    let write = db.write::<_, sqlx::Error>(|connection| {
        Box::pin(async move {
            sqlx::query("INSERT INTO account (id, name, created) VALUES ($1, 'default', 0)")
                .bind(ACCOUNT)
                .execute(&mut *connection)
                .await?;
            for (nth, entry) in entries.iter().enumerate() {
                sqlx::query(
                    "INSERT INTO scm_certificate (id, account, name, status, domain, sans, domain_type, domain_count, \
                     wildcard_count, validity_period, not_before, not_after, updated, deploy_support) \
                     VALUES ($1, $2, $3, 'NEW', 'x.test', '', 'SINGLE_DOMAIN', 1, 0, 12, $4, $5, $6, $7)",
                )
                .bind(nth.to_string())
                .bind(ACCOUNT)
                .bind(&entry.name)
                .bind(entry.not_before)
                .bind(entry.not_after)
                .bind(entry.updated)
                .bind(entry.deployable)
                .execute(&mut *connection)
                .await?;
                // By a change, so that the stock has to follow.
                sqlx::query("UPDATE scm_certificate SET status = $1 WHERE id = $2")
                    .bind(entry.status)
                    .bind(nth.to_string())
                    .execute(&mut *connection)
                    .await?;
            }
            // One that goes again.
            sqlx::query(
                "INSERT INTO scm_certificate (id, account, name, status, domain, sans, domain_type, domain_count, \
                 wildcard_count, validity_period, updated, deploy_support) \
                 VALUES ('gone', $1, 'aaa', 'PAID', '', '', 'SINGLE_DOMAIN', 1, 0, 12, 0, 0)",
            )
            .bind(ACCOUNT)
            .execute(&mut *connection)
            .await?;
            sqlx::query("DELETE FROM scm_certificate WHERE id = 'gone'")
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    write.await.unwrap();
    db
}

async fn ids(db: &Db, searches: &Searches, wanted: &Wanted<'_>) -> (usize, Vec<String>) {
    let reading = ExpiryFilter::Reference;
    let mut connection = db.read().acquire().await.unwrap();
    if wanted.is_search() {
        let page = search(searches, &mut connection, wanted, reading).await;
        let page = page.unwrap_or_else(|_| panic!("the search fails"));
        let ids = page.rows.iter().map(|row| row.get::<String, _>("id"));
        return (usize::try_from(page.total).unwrap(), ids.collect());
    }
    let count = total(&mut connection, wanted, reading).await.unwrap();
    let rows = if wanted.sort == Sort::Status && wanted.is_everything() {
        by_status(&mut connection, wanted, reading).await.unwrap()
    } else {
        let mut rows = wanted.rows(reading);
        rows.build().fetch_all(&mut *connection).await.unwrap()
    };
    let ids = rows.iter().map(|row| row.get::<String, _>("id"));
    (usize::try_from(count).unwrap(), ids.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_page_is_what_a_reading_of_everything_finds(
        entries in proptest::collection::vec(entry(), 0..20),
        questions in proptest::collection::vec(question(), 40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let db = filled(directory.path(), &entries).await;
            let searches = Searches::default();
            for question in &questions {
                let wanted = wanted(question);
                let found = ids(&db, &searches, &wanted).await;
                prop_assert_eq!(&found, &expected(&entries, &wanted), "{:?}", question);
                let made = searches.made();
                // Once more, now that it may have been kept.
                prop_assert_eq!(ids(&db, &searches, &wanted).await, found, "{:?}", question);
                prop_assert_eq!(searches.made(), made, "{:?}", question);
            }
            db.close().await;
            Ok(())
        })?;
    }
}

/// How SQLite carries out a statement.
async fn steps(db: &Db, sql: &QueryBuilder<Sqlite>) -> String {
    let explained = format!("EXPLAIN QUERY PLAN {}", sql.sql().as_str());
    let rows = sqlx::query(AssertSqlSafe(explained))
        .fetch_all(db.read())
        .await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}"));
    let texts = rows.iter().map(|row| row.get::<String, _>("detail"));
    texts.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn pages_in_the_usual_orders_are_read_off_an_index_without_looking_at_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let db = filled(directory.path(), &[]).await;
    let question = |status, sort| wanted(&(status, None, false, None, sort, false, 50, 100));
    for wanted in [
        question(None, 0),
        question(None, 2),
        question(Some("UPLOAD"), 0),
        question(Some("UPLOAD"), 2),
        question(Some("PAID"), 2),
    ] {
        let steps = steps(&db, &wanted.rows(ExpiryFilter::Reference)).await;
        assert!(steps.contains(wanted.index(wanted.sort)), "{steps}");
        assert!(!steps.contains("SCAN"), "{steps}");
        // The page itself is put in order once more; what it is chosen from is not.
        assert_eq!(steps.matches("TEMP B-TREE").count(), 1, "{steps}");
    }
    for wanted in [question(None, 2), question(Some("PAID"), 2)] {
        let steps = steps(&db, &wanted.count(ExpiryFilter::Reference)).await;
        assert!(!steps.contains("scm_certificate"), "{steps}");
    }
}

#[tokio::test]
async fn the_pages_of_a_search_look_once_until_something_changes_or_ends() {
    let entry = |name: &str, not_after| Entry {
        name: name.to_owned(),
        status: "UPLOAD",
        not_before: 900,
        not_after: Some(not_after),
        updated: 1,
        deployable: true,
    };
    let entries = [
        entry("aab", 1_010),
        entry("bba", 1_005),
        entry("bbb", 1_001),
    ];
    let directory = tempfile::tempdir().unwrap();
    let db = filled(directory.path(), &entries).await;
    let searches = Searches::default();
    let by_name = (None, None, false, Some("A"), 0, true, 1, 0);
    let deployable = (None, None, true, None, 0, true, 1, 0);
    for (question, rows) in [(by_name, ["1", "0"]), (deployable, ["2", "1"])] {
        let page = |offset: i64, now: i64| Wanted {
            offset,
            now: Timestamp(now),
            ..wanted(&question)
        };
        let made = searches.made();
        let mut found = Vec::new();
        for offset in 0..2 {
            found.extend(ids(&db, &searches, &page(offset, 1_000)).await.1);
        }
        assert_eq!(found, rows);
        ids(&db, &searches, &page(0, 1_001)).await;
        assert_eq!(searches.made(), made + 1, "the second page looked again");
        // The last second of the next one to end is over.
        let (total, _) = ids(&db, &searches, &page(0, 1_002)).await;
        assert_eq!((total, searches.made()), (2, made + 2));
    }
    let page = wanted(&by_name);
    let mut total = 2;
    ids(&db, &searches, &page).await;
    for (sql, more) in [
        ("UPDATE scm_certificate SET name = 'xxa' WHERE id = '2'", 1),
        ("UPDATE scm_certificate SET updated = 9 WHERE id = '0'", 0),
        (
            "UPDATE scm_certificate SET status = 'REVOKE' WHERE id = '0'",
            0,
        ),
        ("DELETE FROM scm_certificate WHERE id = '1'", -1),
        (
            "INSERT INTO scm_certificate SELECT 90, 'new', account, name, status, domain, sans, kind, brand, domain_type, \
             domain_count, wildcard_count, signature_algorithm, order_id, validity_period, fingerprint, not_before, \
             not_after, issued, updated, certificate, chain, key, description, deploy_support, revoke_reason \
             FROM scm_certificate WHERE id = '2'",
            1,
        ),
    ] {
        let made = searches.made();
        let write = db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move { sqlx::query(sql).execute(connection).await })
        });
        assert_eq!(write.await.unwrap().rows_affected(), 1, "{sql}");
        total += more;
        let found = ids(&db, &searches, &page).await.0;
        assert_eq!(i64::try_from(found).unwrap(), total, "{sql}");
        assert_eq!(searches.made(), made + 1, "{sql}");
    }
    db.close().await;
}
