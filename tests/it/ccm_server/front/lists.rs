//! Pages of long lists: every row once, in order, from either end, and skipped in an index alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use renewd::model::{Seconds, Timestamp};
use renewd::sys::clock::ManualClock;

use crate::ccm_server::http::{delete, get, post};
use crate::ccm_server::openssl::{EC, csr};
use crate::support::ccm::{Ccm, Wanted};

const LIST: &str = "/v1/private-certificates";

/// All pages of a list, one after the other.
async fn pages(ccm: &Ccm, query: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let target = format!("{LIST}?limit=4&offset={}{query}", all.len());
        let page = get(ccm, &target).await.expect(200).body;
        let items = page["certificates"].as_array().unwrap();
        if items.is_empty() {
            assert_eq!(page["total"], all.len(), "{query}");
            return all;
        }
        all.extend(items.iter().cloned());
    }
}

#[tokio::test]
async fn the_pages_of_a_list_have_every_row_once_and_in_order() {
    let ccm = Ccm::start().await;
    let mut made = BTreeSet::new();
    for number in 0..15 {
        let name = format!("/CN=host-{:02}.example", (number * 7) % 15);
        let body = json!({
            "issuer_id": ccm.issuing(), "csr": csr(EC, &["-subj", &name]),
            "validity": {"type": "DAY", "value": 1 + number % 3},
        });
        let reply = post(&ccm, &format!("{LIST}/csr"), &body).await;
        made.insert(reply.expect(200).text("certificate_id"));
    }
    for id in made.iter().take(5) {
        let revoke = format!("{LIST}/{id}/revoke");
        let body = json!({"reason": "SUPERSEDED"});
        post(&ccm, &revoke, &body).await.expect(204);
    }
    let key = |item: &Value, sort_key: &str| match sort_key {
        "common_name" => item["distinguished_name"]["common_name"].to_string(),
        "not_after" => item["not_after"].to_string(),
        "issuer_name" => item["issuer_name"].to_string(),
        _ => item["create_time"].to_string(),
    };
    for sort_key in ["create_time", "common_name", "not_after", "issuer_name"] {
        for (direction, rising) in [("ASC", true), ("DESC", false)] {
            for (filter, count) in [
                ("", 15),
                ("&status=ISSUED", 10),
                ("&status=REVOKED", 5),
                ("&status=EXPIRED", 0),
                ("&name=host", 15),
                ("&name=host&status=ISSUED", 10),
                ("&name=nobody", 0),
            ] {
                let query = format!("&sort_key={sort_key}&sort_dir={direction}{filter}");
                let all = pages(&ccm, &query).await;
                let ids: BTreeSet<String> = all
                    .iter()
                    .map(|item| item["certificate_id"].as_str().unwrap().to_owned())
                    .collect();
                assert_eq!((all.len(), ids.len()), (count, count), "{query}");
                assert!(ids.is_subset(&made));
                let keys: Vec<String> = all.iter().map(|item| key(item, sort_key)).collect();
                let ordered = if rising {
                    keys.is_sorted()
                } else {
                    keys.iter().rev().is_sorted()
                };
                assert!(ordered, "{query}: {keys:?}");
            }
        }
    }
}

#[tokio::test]
async fn rows_before_a_page_are_skipped_in_an_index_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().state(&state).start().await;
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let filters = [
        "",
        " AND status = 'ISSUED' AND +not_after >= 5",
        " AND status = 'REVOKED'",
    ];
    for filter in filters {
        for (column, index) in [
            ("created", "certificate_created"),
            ("common_name", "certificate_name"),
            ("not_after", "certificate_end"),
            ("issuer_name", "certificate_issuer_name"),
        ] {
            let index = match (filter, column) {
                ("", _) => index,
                (_, "created") => "certificate_status",
                _ => index,
            };
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT seq FROM certificate INDEXED BY {index} WHERE account = 'a'{filter} \
                 ORDER BY {column} DESC, seq DESC LIMIT 10 OFFSET 50000"
            );
            let plan = plan(&mut connection, &sql).await;
            assert!(plan.contains("COVERING INDEX"), "{column}{filter}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{column}{filter}: {plan}");
        }
    }
    // Every order of a search, also where it has to be made.
    for column in ["created", "common_name", "not_after", "issuer_name"] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT group_concat(seq) FROM (SELECT seq FROM certificate INDEXED BY certificate_name \
             WHERE account = 'a' AND status = 'ISSUED' AND +not_after < 5 AND common_name LIKE '%a%' ESCAPE '\\' \
             ORDER BY {column} DESC, seq DESC)"
        );
        let plan = plan(&mut connection, &sql).await;
        let alone = plan.contains("COVERING INDEX") || column == "issuer_name";
        assert!(alone, "{plan}");
    }
    let next = "EXPLAIN QUERY PLAN SELECT not_after FROM certificate INDEXED BY certificate_end \
                WHERE account = 'a' AND not_after >= 5 ORDER BY not_after LIMIT 1";
    let next = plan(&mut connection, next).await;
    assert!(
        next.contains("COVERING INDEX") && !next.contains("TEMP B-TREE"),
        "{next}"
    );
    ccm.stop().await;
}

async fn plan(connection: &mut SqliteConnection, sql: &str) -> String {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(connection);
    let rows = rows.await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    plan.join("; ")
}

/// The names on the page of a search, and how many it found in all.
async fn named(ccm: &Ccm, query: &str) -> (Vec<String>, i64) {
    let page = get(
        ccm,
        &format!("{LIST}?sort_key=common_name&sort_dir=ASC{query}"),
    )
    .await;
    let page = page.expect(200).body;
    let items = page["certificates"].as_array().unwrap();
    let names = items
        .iter()
        .map(|item| &item["distinguished_name"]["common_name"]);
    let names = names.map(|name| name.as_str().unwrap().to_owned());
    (names.collect(), page["total"].as_i64().unwrap())
}

/// Issues one of this name that is valid for so many hours; its id.
async fn issue_as(ccm: &Ccm, name: &str, hours: i64) -> String {
    let body = json!({
        "issuer_id": ccm.issuing(), "csr": csr(EC, &["-subj", &format!("/CN={name}")]),
        "validity": {"type": "HOUR", "value": hours},
    });
    let reply = post(ccm, &format!("{LIST}/csr"), &body).await;
    reply.expect(200).text("certificate_id")
}

#[tokio::test]
async fn only_the_first_page_of_a_search_looks_through_all_names() {
    let ccm = Ccm::start().await;
    for number in 0..11 {
        issue_as(&ccm, &format!("host-{number:02}.example"), 24).await;
    }
    issue_as(&ccm, "other.example", 24).await;
    let searches = async |query: &str, found: usize| {
        let before = ccm.running.searches();
        assert_eq!(pages(&ccm, query).await.len(), found, "{query}");
        ccm.running.searches() - before
    };
    assert_eq!(searches("", 12).await, 0, "no search");
    assert_eq!(searches("&name=host", 11).await, 1);
    assert_eq!(searches("&name=host", 11).await, 0, "nothing has changed");
    // Each of these is another list.
    for query in [
        "&name=host&sort_dir=ASC",
        "&name=host&sort_key=not_after",
        "&name=host&status=ISSUED",
        "&name=host-0",
        "&name=nobody",
    ] {
        let found = match query {
            "&name=host-0" => 10,
            "&name=nobody" => 0,
            _ => 11,
        };
        assert_eq!(searches(query, found).await, 1, "{query}");
    }
    assert_eq!(searches("&name=host", 11).await, 0, "is still known");
}

#[tokio::test]
async fn who_walks_through_one_status_in_another_order_is_looked_for_once_while_nothing_changes() {
    let ccm = Ccm::start().await;
    for number in 0..12 {
        issue_as(&ccm, &format!("host-{:02}.example", number * 7 % 12), 24).await;
    }
    let page = async |offset: i64| {
        let query = "limit=2&status=ISSUED&sort_key=common_name&sort_dir=ASC";
        let list = get(&ccm, &format!("{LIST}?{query}&offset={offset}")).await;
        let body = list.expect(200).body;
        let names = body["certificates"].as_array().unwrap().iter();
        let names = names.map(|one| one["distinguished_name"]["common_name"].clone());
        (body["total"].clone(), Vec::from_iter(names))
    };
    let wanted = |offset: i64, total: i64| {
        let names = (offset..offset + 2).map(|n| json!(format!("host-{n:02}.example")));
        (json!(total), Vec::from_iter(names))
    };
    let before = ccm.running.searches();
    for (offset, searches) in [
        (0, 0),
        (2, 0),
        (4, 1),
        (6, 1),
        (8, 1),
        (10, 1),
        (0, 1),
        (2, 1),
    ] {
        assert_eq!(page(offset).await, wanted(offset, 12), "{offset}");
        assert_eq!(ccm.running.searches() - before, searches, "{offset}");
    }
    // While something changes between any two pages, nobody looks through everything.
    for offset in [0, 2, 4, 6] {
        assert_eq!(page(offset).await, wanted(offset, 12 + offset / 2));
        issue_as(&ccm, "zz.example", 24).await;
    }
    assert_eq!(ccm.running.searches() - before, 1);
}

#[tokio::test]
async fn a_search_sees_at_once_what_has_changed_and_what_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().at("2027-01-01").state(&state).start().await;
    let all = async || named(&ccm, "&name=host").await.0.join(" ");
    let total = async |status: &str| {
        named(&ccm, &format!("&limit=1&name=host&status={status}"))
            .await
            .1
    };
    let totals = async || {
        [
            total("ISSUED").await,
            total("EXPIRED").await,
            total("REVOKED").await,
        ]
    };
    assert_eq!(all().await, "");
    let a = issue_as(&ccm, "host-a", 2).await;
    assert_eq!(all().await, "host-a");
    let b = issue_as(&ccm, "host-b", 8).await;
    issue_as(&ccm, "host-c", 8).await;
    assert_eq!(all().await, "host-a host-b host-c");
    assert_eq!(totals().await, [3, 0, 0]);
    post(&ccm, &format!("{LIST}/{b}/revoke"), &json!({}))
        .await
        .expect(204);
    assert_eq!(totals().await, [2, 0, 1]);
    let (first, _) = named(&ccm, "&name=host&status=ISSUED").await;
    assert_eq!(first, ["host-a", "host-c"]);

    // To the second, and nothing is looked through before.
    let shown = get(&ccm, &format!("{LIST}/{a}")).await.expect(200).body;
    let end = Timestamp(shown["not_after"].as_i64().unwrap() / 1000);
    let before = ccm.running.searches();
    ccm.advance(ccm.now().until(end));
    assert_eq!(totals().await, [2, 0, 1]);
    assert_eq!(ccm.running.searches(), before);
    ccm.advance(Seconds(1));
    assert_eq!(totals().await, [1, 1, 1]);
    // And back, as clocks may be set.
    ccm.clock.as_ref().unwrap().jump(Seconds(-1));
    assert_eq!(totals().await, [2, 0, 1]);

    delete(&ccm, &format!("{LIST}/{a}")).await.expect(204);
    assert_eq!(all().await, "host-b host-c");
    assert_eq!(totals().await, [1, 0, 1]);
    // What another process does is no different.
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    for (sql, left) in [
        (
            "UPDATE certificate SET common_name = 'host-z' WHERE common_name = 'host-b'",
            2,
        ),
        ("DELETE FROM certificate WHERE common_name = 'host-z'", 1),
    ] {
        let before = ccm.running.searches();
        let done = sqlx::query(sql).execute(&mut other).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
        assert_eq!(named(&ccm, "&name=host").await.1, left, "{sql}");
        assert_eq!(ccm.running.searches(), before + 1);
    }
    ccm.stop().await;
}

#[tokio::test]
async fn the_pages_of_a_search_in_scm_look_once_and_see_what_is_imported() {
    let ccm = Ccm::start().await;
    let total = async |query: &str| {
        let page = get(&ccm, &format!("/v3/scm/certificates?{query}")).await;
        page.expect(200).body["total_count"].as_i64().unwrap()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["www.example.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let import = async |name: &str| {
        ccm.import_scm(name, "UPLOAD", &certificate, "", &key.serialize_pem())
            .await
    };
    import("site-1").await;
    for (query, all) in [("content=site", 2), ("deploy_support=true", 3)] {
        assert_eq!(total(query).await, all - 1);
        let before = ccm.running.searches();
        for offset in 0..3 {
            assert_eq!(
                total(&format!("{query}&limit=10&offset={offset}")).await,
                all - 1
            );
        }
        assert_eq!(ccm.running.searches(), before, "{query}");
        import("site-2").await;
        assert_eq!(total(query).await, all);
        assert_eq!(ccm.running.searches(), before + 1, "{query}");
    }
}

/// How many there are of each status, by the total of a page.
async fn totals(ccm: &Ccm) -> Value {
    let mut totals = Vec::new();
    for status in ["ISSUED", "EXPIRED", "REVOKED"] {
        let page = get(ccm, &format!("{LIST}?limit=1&status={status}")).await;
        totals.push(page.expect(200).body["total"].clone());
    }
    totals.into()
}

/// Issues one that is valid for so long from now; its id.
async fn issue(ccm: &Ccm, seconds: i64) -> String {
    let body = json!({
        "issuer_id": ccm.issuing(), "csr": csr(EC, &["-subj", "/CN=day.example"]),
        "validity": {"type": "HOUR", "value": seconds / 3600},
    });
    let reply = post(ccm, &format!("{LIST}/csr"), &body).await;
    reply.expect(200).text("certificate_id")
}

#[tokio::test]
async fn what_has_ended_is_counted_to_the_second_on_the_day_of_its_end() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let mut ids = Vec::new();
    for hours in [6, 12, 12, 30, 60] {
        ids.push(issue(&ccm, hours * 3600).await);
    }
    assert_eq!(totals(&ccm).await, json!([5, 0, 0]));
    let first = get(&ccm, &format!("{LIST}/{}", ids[0])).await.expect(200);
    let end = Timestamp(first.body["not_after"].as_i64().unwrap() / 1000);
    ccm.advance(ccm.now().until(end));
    assert_eq!(totals(&ccm).await, json!([5, 0, 0]), "valid to the end");
    ccm.advance(Seconds(1));
    assert_eq!(totals(&ccm).await, json!([4, 1, 0]));
    for id in [&ids[1], &ids[3]] {
        let revoke = format!("{LIST}/{id}/revoke");
        post(&ccm, &revoke, &json!({})).await.expect(204);
    }
    assert_eq!(totals(&ccm).await, json!([2, 1, 2]));
    ccm.advance(Seconds(7 * 3600));
    assert_eq!(totals(&ccm).await, json!([1, 2, 2]));
    ccm.advance(Seconds::days(2));
    assert_eq!(totals(&ccm).await, json!([0, 3, 2]));
    for id in [&ids[0], &ids[1]] {
        delete(&ccm, &format!("{LIST}/{id}")).await.expect(204);
    }
    assert_eq!(totals(&ccm).await, json!([0, 2, 1]));
}

#[tokio::test]
async fn a_state_from_before_the_stock_by_day_is_counted_once_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().at("2027-01-01").state(&state).start().await;
    let first = issue(&ccm, 3600).await;
    for hours in [2, 50, 50] {
        issue(&ccm, hours * 3600).await;
    }
    let revoke = format!("{LIST}/{first}/revoke");
    post(&ccm, &revoke, &json!({})).await.expect(204);
    ccm.stop().await;
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(BEFORE)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    let clock = std::sync::Arc::new(ManualClock::new(
        Timestamp::parse("2027-01-01T03:00:00Z").unwrap(),
    ));
    let ccm = Wanted::new().clock(clock).state(&state).start().await;
    // The certificates are those of the first user's account, which all users of the test share.
    assert_eq!(totals(&ccm).await, json!([2, 1, 1]));
    issue(&ccm, 3600).await;
    assert_eq!(totals(&ccm).await, json!([3, 1, 1]));
}

/// Back to what the fourth migration left.
const BEFORE: &str = "DROP TRIGGER certificate_day_in; DROP TRIGGER certificate_day_out; DROP TRIGGER certificate_day_turn; \
     DROP TABLE stock_day; DROP INDEX certificate_name; DROP INDEX certificate_end; DROP INDEX certificate_issuer_name; \
     CREATE INDEX certificate_name ON certificate (account, common_name); \
     CREATE INDEX certificate_end ON certificate (account, not_after); \
     CREATE INDEX certificate_issuer_name ON certificate (account, issuer_name); \
     DROP INDEX scm_certificate_window; \
     CREATE INDEX scm_certificate_window ON scm_certificate (account, not_after, not_before, updated); \
     DELETE FROM _sqlx_migrations WHERE version = 5";
