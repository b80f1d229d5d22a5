//! Version 2's operations on certificates that exist (CCM API 7.1): answers in its words from the state of version 3.

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::{self, RECORDS, Sort, Wanted, orders, text_of};
use crate::ccm_server::scm2::project;
use crate::ccm_server::text;
use crate::ccm_server::x509;
use crate::pki::Secret;

/// 7.1.2
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let query = &call.query;
    let wanted = Wanted {
        account: call.account(),
        now: call.now,
        status: query.optional("order_status"),
        ends_within: None,
        deployable: false,
        content: query.optional("content"),
        elsewhere: false,
        sort: Sort::named(query.text("sort_key")),
        ascending: query.text("sort_dir") == "ASC",
        limit: query.integer("limit").unwrap_or(10),
        offset: query.integer("offset").unwrap_or(0),
    };
    let page = scm::page(call.shared, &wanted).await?;
    let mut connection = call.shared.db.read().acquire().await?;
    let free = orders::free_left(&mut connection, call.account()).await?;
    let items: Vec<Value> = page.rows.iter().map(item).collect();
    Ok(Answer::ok(json!({
        "total": page.total,
        "free_remain": free,
        "order_list": items,
    })))
}

/// 7.1.3. The table has `domain_name` twice; the answer has all domains in it, as the last one of the example. Type, push
/// support and signature are in words that no other operation has (`OV`, `on`, `SHA256withRSA2048`).
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let row = read(call).await?;
    let mut domains: Vec<String> = vec![row.get("domain")];
    domains.push(row.get("sans"));
    domains.retain(|text| !text.is_empty());
    let kind = row.get::<Option<String>, _>("kind");
    let encryption = match row.get::<Option<Vec<u8>>, _>("certificate") {
        Some(certificate) => Some(x509::facts(&certificate)?.encryption),
        None => None,
    };
    let mut shown = json!({
        "cert_id": text_of(&row, "id"),
        "order_id": text_of(&row, "order_id"),
        "cert_name": text_of(&row, "name"),
        "cert_type": kind.map(|kind| kind.replace("_SSL_CERT", "")),
        "cert_brand": text_of(&row, "brand"),
        "domain_type": text_of(&row, "domain_type"),
        "domain_name": domains.join(";"),
        "domain_number": row.get::<i64, _>("domain_count"),
        "cert_describe": text_of(&row, "description"),
        "push_support": if row.get::<bool, _>("deploy_support") { "on" } else { "off" },
        "revoke_reason": text_of(&row, "revoke_reason"),
        "company_name": Value::Null,
        "company_province": Value::Null,
        "company_city": Value::Null,
        "applicant_name": Value::Null,
        "applicant_phone": Value::Null,
        "applicant_email": Value::Null,
        "contact_name": Value::Null,
        "contact_phone": Value::Null,
        "contact_email": Value::Null,
        "status": text_of(&row, "shown_status"),
        "encrypt_type": encryption,
        "country": Value::Null,
        "organization_unit": Value::Null,
        "DNS_push_status": "NONE",
        "auth": [],
    });
    orders::shown_in_version_2(call, call.path.text("cert_id"), &mut shown).await?;
    Ok(Answer::ok(shown))
}

/// 7.1.4
pub(super) async fn modify(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let value = call.body.text("modify_value").to_owned();
    let naming = call.body.text("modify_key") == "CERT_NAME";
    if naming && !is_name(&value) {
        let detail = "the name must have 1 to 63 digits, letters and hyphens";
        return Err(Failure::because(code("SCM.0024"), detail));
    }
    let (account, now) = (call.account().to_owned(), call.now);
    let id = call.path.text("cert_id").to_owned();
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            scm::find_certificate(connection, &account, &id, now).await?;
            let sql = if naming {
                "UPDATE scm_certificate SET name = $1, updated = $2 WHERE id = $3"
            } else {
                "UPDATE scm_certificate SET description = nullif($1, ''), updated = $2 WHERE id = $3"
            };
            sqlx::query(sql)
                .bind(value)
                .bind(now.0)
                .bind(&id)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(Answer::ok(json!({"response_info": "success"})))
}

/// 7.1.8. The table calls the answer `domain_name`, the example `domain`: it has both.
pub(super) async fn check_csr(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let csr = call.body.text("csr").to_owned();
    let (_, names) = call.shared.heavy(move || scm::parse_csr(&csr)).await?;
    let domain = names.first().map(ToString::to_string);
    Ok(Answer::ok(json!({"domain_name": domain, "domain": domain})))
}

/// 7.1.12
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    scm::remove_certificate(call, call.path.text("cert_id")).await?;
    Ok(Answer::ok(json!({"message": "success"})))
}

/// 7.1.15. An empty name is good, so one is made then, as the examples of 4.1.2.1 have it.
pub(super) async fn upload(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let body = &call.body;
    let upload = scm::Import {
        name: match body.text("cert_name") {
            "" => format!("scm-{}", text::random_hex::<3>()),
            name => name.to_owned(),
        },
        certificate: body.text("cert").to_owned(),
        chain: String::new(),
        key: Secret::from(body.text("private_key").to_owned()),
        twin_refused: false,
    };
    let id = scm::import_certificate(call, upload).await?;
    Ok(Answer::ok(json!({"cert_id": id})))
}

/// 7.1.17
pub(super) async fn push(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let target = scm::push_target(call, "service_type")?;
    let id = call.path.text("cert_id");
    scm::push_to(call, id, target, call.body.text("remote_project")).await?;
    Ok(Answer::ok(json!({"message": "success"})))
}

/// 7.1.18. Version 2 knows WAF and CDN; pushes to ELB, which only version 3 makes, are not in its list.
pub(super) async fn push_history(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let id = call.path.text("cert_id");
    let mut snapshot = call.shared.db.read().begin().await?;
    scm::find_certificate(&mut snapshot, call.account(), id, call.now).await?;
    let rows = sqlx::query(
        "SELECT service, region, at FROM scm_push WHERE certificate = $1 AND service IN ('WAF', 'CDN') \
         ORDER BY seq DESC LIMIT $2",
    )
    .bind(id)
    .bind(RECORDS)
    .fetch_all(&mut *snapshot)
    .await?;
    let records = rows.iter().map(|row| {
        json!({
            "push_time": text::millis(row.get("at")).to_string(),
            "push_remote_project": text_of(row, "region"),
            "push_service": text_of(row, "service"),
        })
    });
    Ok(Answer::ok(
        json!({"push_history_list": records.collect::<Vec<Value>>()}),
    ))
}

pub(super) async fn read(call: &Call<'_>) -> Result<SqliteRow, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let id = call.path.text("cert_id");
    scm::find_certificate(&mut connection, call.account(), id, call.now).await
}

/// One entry of the list.
fn item(row: &SqliteRow) -> Value {
    let end = row.get::<Option<i64>, _>("not_after");
    json!({
        "cert_id": text_of(row, "id"),
        "cert_name": text_of(row, "name"),
        "domain": text_of(row, "domain"),
        "cert_type": text_of(row, "kind"),
        "cert_brand": text_of(row, "brand"),
        "domain_type": text_of(row, "domain_type"),
        "purchase_period": row.get::<i64, _>("validity_period") / 12,
        "expired_time": end.map(|at| text::millis(at).to_string()),
        "order_status": text_of(row, "shown_status"),
        "domain_num": row.get::<i64, _>("domain_count"),
        "wildcard_number": row.get::<i64, _>("wildcard_count"),
        "cert_des": text_of(row, "description"),
    })
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}
