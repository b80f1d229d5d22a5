//! Pages of long lists: every row once, in order, from either end, and skipped in an index alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::ccm_server::http::{get, post};
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
    for (filter, columns) in [
        (
            "",
            &["created", "common_name", "not_after", "issuer_name"][..],
        ),
        (" AND status = 'ISSUED' AND +not_after >= 5", &["created"]),
        (" AND status = 'REVOKED'", &["created"]),
    ] {
        for column in columns {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT seq FROM certificate WHERE account = 'a'{filter} \
                 ORDER BY {column} DESC, seq DESC LIMIT 10 OFFSET 50000"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection);
            let rows = rows.await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let plan = plan.join("; ");
            assert!(plan.contains("COVERING INDEX"), "{column}{filter}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{column}{filter}: {plan}");
        }
    }
    ccm.stop().await;
}
