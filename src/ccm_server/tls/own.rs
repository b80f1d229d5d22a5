//! The server's certificate from its own CA: applied for and exported by the operations of the API, so that it is listed,
//! can be revoked, and its key is sealed like any other.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::ccm_server::answer::Body;
use crate::ccm_server::auth::Caller;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field;
use crate::ccm_server::operation::{Call, Payload, Service};
use crate::ccm_server::route;
use crate::ccm_server::server::Shared;
use crate::ccm_server::tls::{Current, TlsError, Unusable, certified};
use crate::ccm_server::x509;
use crate::model::{Name, Seconds, Timestamp};
use crate::pki::Secret;

/// The certificate to show; `None` when it is still the one of `mark`.
pub(super) async fn newest(
    shared: &Arc<Shared>,
    names: &[Name],
    mark: Option<&[u8]>,
) -> Result<Option<Current>, TlsError> {
    let known = kept(shared, names).await?;
    let good = match known {
        Some(id) if lasts(shared, &id).await? => Some(id),
        _ => None,
    };
    let id = match good {
        Some(id) if mark == Some(id.as_bytes()) => return Ok(None),
        Some(id) => id,
        None => match made(shared, names).await? {
            Some(id) => id,
            None => return Ok(None),
        },
    };
    let body = json!({"type": "OTHER", "is_compressed": false});
    let exported = ask(shared, "4.2.2.8", &json!({"certificate_id": id}), &body).await?;
    let text = |field: &str| exported[field].as_str().unwrap_or_default();
    let chain = [
        text("certificate"),
        &without_root(text("certificate_chain"))?,
    ]
    .join("\n");
    let key = Secret::from(text("private_key").to_owned());
    let key = certified(chain.as_bytes(), &key).map_err(|error| match error {
        Unusable::Chain(text) | Unusable::Key(text) => TlsError::Own(text),
    })?;
    Ok(Some(Current {
        key,
        mark: id.into_bytes(),
    }))
}

/// The id of the last one, if it has these names.
async fn kept(shared: &Shared, names: &[Name]) -> Result<Option<String>, TlsError> {
    let row: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
        .bind(KEPT)
        .fetch_optional(shared.db.read())
        .await?;
    let kept: Value = row
        .and_then(|row| serde_json::from_slice(&row).ok())
        .unwrap_or_default();
    let same = kept["names"] == json!(texts(names));
    Ok(kept["id"].as_str().filter(|_| same).map(str::to_owned))
}

/// Whether it is good now, and more than a third of its life is left.
async fn lasts(shared: &Arc<Shared>, id: &str) -> Result<bool, TlsError> {
    let shown = ask(
        shared,
        "4.2.2.6",
        &json!({"certificate_id": id}),
        &Value::Null,
    )
    .await;
    let Ok(shown) = shown else {
        // Somebody deleted it.
        return Ok(false);
    };
    let moment = |field: &str| Timestamp(shown[field].as_i64().unwrap_or_default() / 1000);
    let now = shared.clock.now();
    // One from the future was made by a clock that was ahead.
    let valid = moment("not_before") <= now && now + RENEW_BEFORE < moment("not_after");
    Ok(shown["status"] == "ISSUED" && valid)
}

/// A new one; `None` when there is no CA that could issue it.
async fn made(shared: &Arc<Shared>, names: &[Name]) -> Result<Option<String>, TlsError> {
    let issuer: Option<String> = sqlx::query_scalar(
        "SELECT i.id FROM authority i JOIN account a ON a.id = i.account WHERE a.name = 'default' AND i.listed = 1 \
         AND i.status = 'ACTIVED' AND i.key IS NOT NULL AND i.not_after > $1 ORDER BY i.kind = 'ROOT', i.seq LIMIT 1",
    )
    .bind((shared.clock.now() + LIFE).0)
    .fetch_optional(shared.db.read())
    .await?;
    let Some(issuer) = issuer else {
        return Ok(None);
    };
    let alternatives: Vec<Value> = names
        .iter()
        .map(|name| match name {
            Name::Ip(address) => json!({"type": "IP", "value": address.to_string()}),
            name => json!({"type": "DNS", "value": name.to_string()}),
        })
        .collect();
    let body = json!({
        "issuer_id": issuer,
        "key_algorithm": "EC256",
        "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": "renewd-ccm"},
        "validity": {"type": "DAY", "value": LIFE.0 / 86_400},
        "extended_key_usage": {"server_auth": true},
        "subject_alternative_names": alternatives,
    });
    let issued = ask(shared, "4.2.2.2", &Value::Null, &body).await?;
    let id = issued["certificate_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let value = json!({"id": id, "names": texts(names)})
        .to_string()
        .into_bytes();
    let write = shared.db.write::<_, sqlx::Error>(|connection| {
        Box::pin(async move {
            sqlx::query("INSERT OR REPLACE INTO meta (name, value) VALUES ($1, $2)")
                .bind(KEPT)
                .bind(value)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    write.await?;
    tracing::info!(certificate_id = id, "made a certificate for TLS");
    Ok(Some(id))
}

/// Carries out one operation of the API in the name of the account `default`.
async fn ask(
    shared: &Arc<Shared>,
    chapter: &str,
    path: &Value,
    body: &Value,
) -> Result<Value, TlsError> {
    let account: String = sqlx::query_scalar("SELECT id FROM account WHERE name = 'default'")
        .fetch_optional(shared.db.read())
        .await?
        .ok_or(TlsError::NoIssuer)?;
    let operation = route::operations().find(|operation| operation.chapter == chapter);
    let operation = operation.ok_or_else(|| TlsError::Own(format!("{chapter} is not served")))?;
    let otherwise = Service::Pca.bad_parameter();
    let checked = |fields: &[field::Field], given: &Value| -> Result<field::Input, Failure> {
        let empty = serde_json::Map::new();
        field::check(fields, given.as_object().unwrap_or(&empty), otherwise)
    };
    let call = Call {
        shared,
        caller: Some(Caller {
            user: String::new(),
            account,
            actions: String::new(),
            temporary: false,
            project: None,
        }),
        now: shared.clock.now(),
        path: checked(operation.path_fields, path)?,
        query: field::Input::default(),
        body: match operation.body {
            Payload::None | Payload::Raw { .. } => field::Input::default(),
            Payload::Json(fields) => checked(fields, body)?,
        },
        raw: Bytes::new(),
    };
    match (operation.run)(&call).await?.body {
        Body::Json(value) => Ok(value),
        _ => Ok(Value::Null),
    }
}

/// Clients have the root already, or do not trust it.
fn without_root(chain: &str) -> Result<String, TlsError> {
    let unusable = |error: x509::X509Error| TlsError::Own(error.to_string());
    let mut kept = Vec::new();
    for certificate in x509::certificates(chain).map_err(unusable)? {
        let facts = x509::facts(&certificate).map_err(unusable)?;
        if facts.subject_der != facts.issuer_der {
            kept.push(certificate);
        }
    }
    let kept = kept.iter().map(Vec::as_slice);
    Ok(x509::encode_all(kept, x509::LineEnd::Lf))
}

fn texts(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// What it is called in the state.
const KEPT: &str = "tls.own";
/// Short, since it renews itself.
const LIFE: Seconds = Seconds::hours(30 * 24);
/// A third of it.
const RENEW_BEFORE: Seconds = Seconds::hours(10 * 24);
