//! Lists of revoked certificates as they are configured with a CA (CCM API 4.2.1.2), and what makes them out of date.

use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection};

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::obs;
use crate::ccm_server::server::Shared;

/// The configuration that a call asks for, as it is kept and shown. `id` names the list where the call does not.
pub(super) async fn configuration(call: &Call<'_>, id: &str) -> Result<Value, Failure> {
    let given = call.body.object("crl_configuration");
    if !given.boolean("enabled") {
        return Ok(none());
    }
    let (bucket, days, name) = wanted(&given, id)?;
    let mut connection = call.shared.db.read().acquire().await?;
    obs::must_be_writable(&mut connection, call.account(), bucket).await?;
    Ok(json!({
        "enabled": true,
        "crl_name": name,
        "obs_bucket_name": bucket,
        "valid_days": days,
        "crl_dis_point": call.shared.obs.url(bucket, &file(name)),
    }))
}

fn wanted<'a>(given: &'a Input, id: &'a str) -> Result<(&'a str, i64, &'a str), Failure> {
    let refuse = |detail: String| Err(Failure::because(code("PCA.00020204"), detail));
    let (Some(bucket), Some(days)) = (
        given.optional("obs_bucket_name"),
        given.integer("valid_days"),
    ) else {
        return refuse("an enabled CRL needs obs_bucket_name and valid_days".to_owned());
    };
    let name = given.optional("crl_name").unwrap_or(id);
    if !obs::is_object(&file(name)) {
        return refuse(format!(
            "crl_name {name:?} must consist of letters, digits, `-`, `_` and `.`: it is part of a URL"
        ));
    }
    Ok((bucket, days, name))
}

/// Refuses a configuration whose list is another CA's, also one that is gone: its certificates still name it, and what they
/// find there must not become good again.
pub(super) async fn must_be_free(
    connection: &mut SqliteConnection,
    account: &str,
    configuration: &str,
) -> Result<(), Failure> {
    let written: Option<Value> = serde_json::from_str(configuration).ok();
    if written.is_some_and(|written| written["enabled"] == false) {
        return Ok(());
    }
    let taken: Option<String> = sqlx::query_scalar(
        "SELECT id FROM authority INDEXED BY authority_list WHERE account = $1 \
         AND json_extract(crl, '$.obs_bucket_name') = json_extract($2, '$.obs_bucket_name') \
         AND json_extract(crl, '$.crl_name') = json_extract($2, '$.crl_name') LIMIT 1",
    )
    .bind(account)
    .bind(configuration)
    .fetch_optional(connection)
    .await?;
    match taken {
        None => Ok(()),
        Some(id) => Err(Failure::because(
            code("PCA.00020204"),
            format!("the list of the CA {id} has this crl_name in this bucket already"),
        )),
    }
}

/// Warns of CAs that share a list, as a state may have them from a time when that was not refused: each writes it without what
/// the other revoked.
pub(in crate::ccm_server) async fn warn_of_shared(shared: &Shared) -> Result<(), sqlx::Error> {
    let found = sqlx::query(
        "SELECT json_extract(crl, '$.obs_bucket_name') AS bucket, json_extract(crl, '$.crl_name') AS name, \
         group_concat(id, ' and ') AS ids FROM authority \
         WHERE key IS NOT NULL AND json_extract(crl, '$.crl_name') IS NOT NULL \
         GROUP BY account, bucket, name HAVING count(*) > 1",
    );
    for row in found.fetch_all(shared.db.read()).await? {
        let list = format!("{}/{}", row.get::<&str, _>("bucket"), file(row.get("name")));
        let cas: &str = row.get("ids");
        tracing::warn!(
            list,
            cas,
            "these CAs share one list of revoked certificates, and each writes it without what the others revoked: of all but \
             one, make a new CA with a crl_name of its own, replace the certificates, and delete the old CA"
        );
    }
    Ok(())
}

/// As a CA without CRLs shows it, whatever else was sent.
pub(in crate::ccm_server) fn none() -> Value {
    json!({
        "enabled": false,
        "crl_name": null,
        "obs_bucket_name": null,
        "valid_days": null,
        "crl_dis_point": null,
    })
}

/// Says in the transaction of a revocation that the issuer's list is out of date, so that nothing forgets it: with another number each
/// time, so that who makes the list sees that something was revoked meanwhile.
pub(super) async fn outdated(
    connection: &mut SqliteConnection,
    issuer: &str,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE authority SET crl_due = min(crl_due, 0) - 1 WHERE id = $1 AND crl_due IS NOT NULL",
    )
    .bind(issuer)
    .execute(connection)
    .await?;
    Ok(())
}

/// The file in a bucket that a list of this name is.
pub(super) fn file(name: &str) -> String {
    format!("{name}{ENDING}")
}

/// Of the files in a bucket that are lists.
pub(super) const ENDING: &str = ".crl";
