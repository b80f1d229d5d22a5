//! Operations on private CAs (CCM API 4.2.1).

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::authority::{Authority, COLUMNS};
use crate::ccm_server::pca::making::{self, Blueprint, Certification, Own, put_certificate};
use crate::ccm_server::pca::{crl, fields, lifecycle, listing, publish};
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, Hash, KeyKind, KeyUsage, LineEnd, Period, Subject, Unit};
use crate::model::Timestamp;

/// 4.2.1.1
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let (limit, offset) = listing::page(call, 10);
    let filter = "a.account = $3 AND a.listed = 1 AND (a.delete_at IS NULL OR a.delete_at > $4) AND ($5 IS NULL OR a.common_name LIKE $5 ESCAPE '\\') \
         AND ($6 IS NULL OR a.kind = $6) AND ($7 IS NULL OR $7 = \
         CASE WHEN a.status = 'ACTIVED' AND a.not_after < $4 THEN 'EXPIRED' ELSE a.status END)";
    let column = match call.query.text("sort_key") {
        "common_name" => "a.common_name",
        "ca_type" | "type" => "a.kind",
        "not_after" => "a.not_after",
        _ => "a.created",
    };
    let order = listing::order_by(column, call.query.text("sort_dir")).replace("seq", "a.seq");
    let name = call.query.optional("name").map(listing::anywhere);
    let count = format!("SELECT count(*) FROM authority a WHERE {filter}");
    let rows = format!("SELECT {COLUMNS} WHERE {filter}{order}");
    let bind = |sql: String| {
        sqlx::query(AssertSqlSafe(sql))
            .bind(limit)
            .bind(offset)
            .bind(call.account().to_owned())
            .bind(call.now.0)
            .bind(name.clone())
            .bind(call.query.optional("type").map(str::to_owned))
            .bind(call.query.optional("status").map(str::to_owned))
    };
    let mut snapshot = call.shared.db.read().begin().await?;
    let total: i64 = bind(count).fetch_one(&mut *snapshot).await?.get(0);
    let rows = bind(rows).fetch_all(&mut *snapshot).await?;
    let items: Result<Vec<Value>, Failure> = rows
        .iter()
        .map(|row| Authority::from_row(row)?.json(call.now))
        .collect();
    Ok(Answer::ok(
        json!({"total": total, "certificate_authorities": items?}),
    ))
}

/// 4.2.1.2
pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    let root = body.text("type") == "ROOT";
    let subject = subject(&body.object("distinguished_name"))?;
    let key = KeyKind::named(body.text("key_algorithm"))
        .ok_or_else(|| Failure::new(fields::BAD_KEY_ALGORITHM))?;
    let hash = body.optional("signature_algorithm").and_then(Hash::named);
    let period = body
        .has("validity")
        .then(|| period(&body.object("validity")))
        .transpose()?;
    let certificate = match (root, hash, period, body.optional("issuer_id")) {
        (true, Some(hash), Some(period), _) => Some(Certification {
            issuer: None,
            hash,
            period,
            path_length: 0,
        }),
        (true, None, _, _) => {
            return Err(Failure::because(
                fields::BAD_HASH,
                "a root CA needs signature_algorithm",
            ));
        }
        (true, _, None, _) => {
            return Err(Failure::because(
                fields::BAD_VALIDITY,
                "a root CA needs validity",
            ));
        }
        (false, Some(hash), Some(period), Some(issuer)) => Some(Certification {
            issuer: Some(issuer.to_ascii_lowercase()),
            hash,
            period,
            path_length: path_length(body),
        }),
        // Without one of the three it waits for its activation.
        (false, _, _, _) => None,
    };
    let id = text::uuid();
    let blueprint = Blueprint {
        subject,
        key,
        root,
        certificate,
        usages: usages(body),
        crl: crl::configuration(call, &id).await?,
        id,
    };
    lifecycle::bury(call.shared, call.now).await?;
    let id = making::create(call.shared, call.account(), blueprint, call.now).await?;
    publish::publish_of(call.shared, &id, call.now).await;
    Ok(Answer::ok(json!({"ca_id": id})))
}

/// 4.2.1.4
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let id = call.path.text("ca_id");
    let missing = lifecycle::NOT_FOUND;
    let found = Authority::find(&mut connection, call.account(), id, call.now, missing).await?;
    Ok(Answer::ok(found.json(call.now)?))
}

/// 4.2.1.6
pub(super) async fn activate(call: &Call<'_>) -> Result<Answer, Failure> {
    let pending = lifecycle::find(call, &["PENDING"]).await?;
    let body = &call.body;
    let wanted = Certification {
        issuer: Some(body.text("issuer_id").to_ascii_lowercase()),
        hash: Hash::named(body.text("signature_algorithm"))
            .ok_or_else(|| Failure::new(fields::BAD_HASH))?,
        period: period(&body.object("validity"))?,
        path_length: path_length(body),
    };
    let mut usages = usages(body);
    if usages.is_empty() {
        let kept = pending.key_usages.as_deref().unwrap_or_default();
        usages = kept.split(' ').filter_map(KeyUsage::named).collect();
    }
    let spki = pending.signer(call.shared).await?.spki().to_vec();
    let own = Own {
        subject: pending.subject.der(),
        spki,
        signer: None,
        usages: &usages,
        lists: pending.has_lists()?,
    };
    let signed = making::certify(call.shared, call.account(), own, &wanted, call.now).await?;
    let (id, now) = (pending.id.clone(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move { put_certificate(connection, &id, signed, now).await })
    });
    write.await?;
    publish::publish_of(call.shared, &pending.id, call.now).await;
    Ok(Answer::no_content())
}

/// 4.2.1.8
pub(super) async fn disable(call: &Call<'_>) -> Result<Answer, Failure> {
    turn(call, &["ACTIVED", "EXPIRED"], "DISABLED").await
}

/// 4.2.1.9
pub(super) async fn enable(call: &Call<'_>) -> Result<Answer, Failure> {
    turn(call, &["DISABLED"], "ACTIVED").await
}

/// 4.2.1.10
pub(super) async fn export(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let id = call.path.text("ca_id");
    let missing = lifecycle::NOT_FOUND;
    let authority = Authority::find(&mut connection, call.account(), id, call.now, missing).await?;
    authority.must_be(call.now, &["ACTIVED", "EXPIRED"])?;
    let chain = authority.chain(&mut connection).await?;
    let certificate = authority.certificate.unwrap_or_default();
    let chain = x509::encode_all(chain.iter().map(Vec::as_slice), LineEnd::CrLf);
    Ok(Answer::ok(json!({
        "certificate": x509::encode("CERTIFICATE", &certificate, LineEnd::CrLf),
        "certificate_chain": if chain.is_empty() { Value::Null } else { chain.into() },
    })))
}

/// Turns it from one state into another; what is revoked stays off.
async fn turn(
    call: &Call<'_>,
    from: &'static [&'static str],
    to: &'static str,
) -> Result<Answer, Failure> {
    let turned = lifecycle::change(call, from, move |found, connection| {
        Box::pin(async move {
            if found.is_revoked() {
                let detail = format!("the CA {} is revoked", found.id);
                return Err(Failure::because(code("PCA.00030201"), detail));
            }
            sqlx::query("UPDATE authority SET status = $1 WHERE id = $2")
                .bind(to)
                .bind(&found.id)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    turned.await?;
    Ok(Answer::no_content())
}

/// A subject from `distinguished_name`.
pub(super) fn subject(given: &Input) -> Result<Subject, Failure> {
    let own = |name: &str| given.optional(name).map(str::to_owned);
    let subject = Subject {
        common_name: given.text("common_name").to_owned(),
        country: own("country"),
        state: own("state"),
        locality: own("locality"),
        organization: own("organization"),
        organizational_unit: own("organizational_unit"),
    };
    match subject.check() {
        Ok(()) => Ok(subject),
        Err(error) => Err(Failure::because(fields::BAD_NAME, error.to_string())),
    }
}

/// A validity from `validity`.
pub(super) fn period(given: &Input) -> Result<Period, Failure> {
    let unit = Unit::named(given.text("type"));
    let bad = || Failure::new(fields::BAD_VALIDITY);
    Ok(Period {
        unit: unit.ok_or_else(bad)?,
        value: given.integer("value").ok_or_else(bad)?,
        start_from: given.integer("start_from").map(Timestamp::from_millis),
    })
}

/// Key usages by name; empty when absent.
pub(super) fn usages(body: &Input) -> Vec<KeyUsage> {
    let mut usages: Vec<KeyUsage> = body
        .texts("key_usages")
        .into_iter()
        .flatten()
        .filter_map(KeyUsage::named)
        .collect();
    usages.sort_unstable();
    usages.dedup();
    usages
}

/// How many CAs may be below; none where nothing is said.
pub(super) fn path_length(body: &Input) -> u8 {
    let given = body.integer("path_length").unwrap_or(0);
    u8::try_from(given).unwrap_or(0)
}
