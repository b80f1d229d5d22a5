//! Operations on private certificates that exist (CCM API 4.2.2).

use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::archive::Archive;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::layout::Layout;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::authority::Authority;
use crate::ccm_server::pca::certificate_list::in_stock;
use crate::ccm_server::pca::issuing::key_label;
use crate::ccm_server::pca::lifecycle::resources;
use crate::ccm_server::pca::{crl, publish};
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, LineEnd, Subject};
use crate::model::Timestamp;
use crate::pki::Secret;

/// 4.2.2.5
pub(super) async fn quota(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let used = in_stock(&mut connection, call.account()).await?;
    Ok(Answer::ok(resources("CERTIFICATE", used, QUOTA)))
}

/// Refuses when the account has as many certificates as it may.
pub(super) async fn within_quota(
    connection: &mut SqliteConnection,
    account: &str,
) -> Result<(), Failure> {
    if in_stock(connection, account).await? < QUOTA {
        return Ok(());
    }
    let detail =
        format!("the account has {QUOTA} certificates, and no more are allowed; delete some");
    Err(Failure::because(code("PCA.00030001"), detail))
}

/// 4.2.2.6
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let row = find(
        &mut connection,
        call.account(),
        call.path.text("certificate_id"),
    )
    .await?;
    Ok(Answer::ok(shown(&row, call.now.0)?))
}

/// 4.2.2.7
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, id) = owned(call);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let row = find(connection, &account, &id).await?;
            if row.get::<Option<i64>, _>("revoked").is_some() {
                // Its issuer must go on saying that it is revoked.
                sqlx::query(
                    "INSERT OR IGNORE INTO revocation (issuer, serial, at, reason) \
                     SELECT issuer, serial, revoked, revocation_reason FROM certificate WHERE id = $1",
                )
                .bind(&id)
                .execute(&mut *connection)
                .await?;
            }
            sqlx::query("DELETE FROM certificate WHERE id = $1")
                .bind(&id)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(Answer::no_content())
}

/// 4.2.2.8. The same fields whatever the type is; as an archive, the files that such a server reads.
pub(super) async fn export(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, id) = owned(call);
    let mut connection = call.shared.db.read().acquire().await?;
    let row = find(&mut connection, &account, &id).await?;
    must_be_issued(&row, call.now.0)?;
    if call.shared.faults.too_early(&id) {
        let detail = "this certificate is not issued yet; that was asked for";
        return Err(Failure::because(code("PCA.00030201"), detail));
    }
    let issuer: String = row.get("issuer");
    let missing = code("PCA.00030103");
    // What it issued is exported still, when the CA itself is gone.
    let issuer = Authority::find(&mut connection, &account, &issuer, LONG_AGO, missing).await?;
    let above = issuer.chain(&mut connection).await?;
    drop(connection);
    let chain = issuer
        .certificate
        .iter()
        .chain(above.iter())
        .map(Vec::as_slice);
    let certificate: Vec<u8> = row.get("certificate");
    let key = match row.get::<Option<Vec<u8>>, _>("key") {
        Some(sealed) => Some(call.shared.vault.open(&key_label(&id), &sealed)?),
        None => None,
    };
    if call.body.boolean("is_compressed") {
        let pack = Pack {
            name: row.get("common_name"),
            certificate,
            chain: x509::encode_all(chain, LineEnd::Lf),
            key,
        };
        return archive(call, pack).await;
    }
    let mut body = Map::new();
    body.insert(
        "certificate".to_owned(),
        x509::encode("CERTIFICATE", &certificate, LineEnd::CrLf).into(),
    );
    body.insert(
        "certificate_chain".to_owned(),
        x509::encode_all(chain, LineEnd::CrLf).into(),
    );
    if let Some(key) = key {
        body.insert(
            "private_key".to_owned(),
            x509::private_key_pem(key.expose(), LineEnd::CrLf).into(),
        );
    }
    Ok(Answer::ok(Value::Object(body)))
}

/// What goes into an archive.
struct Pack {
    /// The certificate's, which the archive is named after.
    name: String,
    /// DER.
    certificate: Vec<u8>,
    /// PEM.
    chain: String,
    /// PKCS #8; absent where it was never here.
    key: Option<Secret>,
}

async fn archive(call: &Call<'_>, pack: Pack) -> Result<Answer, Failure> {
    let kind = call.body.text("type");
    let bad = || Failure::because(code("PCA.00020001"), format!("there is no type {kind}"));
    let layout = Layout::named(kind).ok_or_else(bad)?;
    if layout.is_keystore() && pack.key.is_none() {
        let detail = format!(
            "the private key was never here, and a keystore for {kind} needs it; export as APACHE, NGINX or OTHER"
        );
        return Err(Failure::because(code("PCA.00030201"), detail));
    }
    // It goes into a header and then into a file's name.
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-._".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = pack.name.chars().map(safe).collect();
    let name = format!("{name}_{}", kind.to_ascii_lowercase());
    let made = call.shared.heavy(move || {
        let mut archive = Archive::default();
        let files = layout.files(&pack.certificate, &pack.chain, pack.key.as_ref())?;
        for (name, content) in files {
            archive.add(name, content.expose());
        }
        Ok::<_, Failure>(archive.finish())
    });
    Ok(Answer::archive(&name, made.await?))
}

/// 4.2.2.9
pub(super) async fn revoke(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, id) = owned(call);
    let reason = call
        .body
        .optional("reason")
        .unwrap_or("UNSPECIFIED")
        .to_owned();
    let now = call.now.0;
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let found = find(connection, &account, &id).await?;
            must_be_issued(&found, now)?;
            let issuer: String = found.get("issuer");
            crl::outdated(connection, &issuer).await?;
            sqlx::query(
                "UPDATE certificate SET status = 'REVOKED', revoked = $1, revocation_reason = $2 WHERE id = $3",
            )
            .bind(now)
            .bind(reason)
            .bind(&id)
            .execute(connection)
            .await?;
            Ok::<_, Failure>(issuer)
        })
    });
    let issuer = write.await?;
    publish::publish_of(call.shared, &issuer, call.now).await;
    Ok(Answer::no_content())
}

/// Account and certificate of a call. Ids are compared in lower case, as they are made.
fn owned(call: &Call<'_>) -> (String, String) {
    let id = call.path.text("certificate_id").to_ascii_lowercase();
    (call.account().to_owned(), id)
}

async fn find(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
) -> Result<SqliteRow, Failure> {
    let sql = format!(
        "SELECT {COLUMNS}, common_name, certificate, key, revoked FROM certificate WHERE id = $1 AND account = $2"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_ascii_lowercase())
        .bind(account)
        .fetch_optional(connection)
        .await?;
    let missing = || {
        Failure::because(
            code("PCA.00030102"),
            format!("there is no certificate {id}"),
        )
    };
    row.ok_or_else(missing)
}

fn must_be_issued(row: &SqliteRow, now: i64) -> Result<(), Failure> {
    match status(row, now) {
        "ISSUED" => Ok(()),
        status => Err(Failure::because(
            code("PCA.00030201"),
            format!("the certificate is {status}, not ISSUED"),
        )),
    }
}

/// An issued certificate expires by itself.
fn status(row: &SqliteRow, now: i64) -> &'static str {
    let stored: &str = row.get("status");
    match stored {
        "REVOKED" => "REVOKED",
        _ if row.get::<i64, _>("not_after") < now => "EXPIRED",
        _ => "ISSUED",
    }
}

/// As the API answers it (CCM API 4.2.2.1 and 4.2.2.6).
pub(super) fn shown(row: &SqliteRow, now: i64) -> Result<Value, Failure> {
    let text = |column: &str| row.get::<String, _>(column);
    let millis = |column: &str| text::millis(row.get::<i64, _>(column));
    let subject: Subject = serde_json::from_str(row.get("subject"))?;
    Ok(json!({
        "certificate_id": text("id"),
        "status": status(row, now),
        "issuer_id": text("issuer"),
        "issuer_name": text("issuer_name"),
        "key_algorithm": text("key_algorithm"),
        "signature_algorithm": text("signature_algorithm"),
        "freeze_flag": 0,
        "gen_mode": text("gen_mode"),
        "serial_number": text("serial_number"),
        "create_time": millis("created"),
        "delete_time": Value::Null,
        "not_before": millis("not_before"),
        "not_after": millis("not_after"),
        "distinguished_name": subject.json(),
    }))
}

/// Certificates of an account (CCM API 4.2.2.5).
pub(super) const QUOTA: i64 = 100_000;

/// Before anything was deleted.
const LONG_AGO: Timestamp = Timestamp(i64::MIN);

/// What [`shown`] needs.
pub(super) const COLUMNS: &str = "id, status, issuer, issuer_name, key_algorithm, signature_algorithm, gen_mode, serial_number, \
     created, not_before, not_after, subject";
