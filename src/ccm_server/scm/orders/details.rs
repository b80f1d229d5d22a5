//! What an order adds to what is shown of its certificate.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::order::{Order, domains, proof};
use crate::ccm_server::scm::orders::zones;
use crate::model::Timestamp;

/// Adds to the details of a certificate (CCM API 4.1.5.3) what its order knows.
pub(in crate::ccm_server) async fn shown(
    call: &Call<'_>,
    id: &str,
    body: &mut Value,
) -> Result<(), Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let Some(order) = bought(&mut connection, id).await? else {
        return Ok(());
    };
    let proofs: Vec<Value> = match (&order.method, &order.token) {
        (Some(method), Some(token)) => domains(&mut connection, id)
            .await?
            .iter()
            .filter(|domain| !domain.was_proven(&order))
            .map(|domain| proof(method, token, &domain.domain))
            .collect(),
        _ => Vec::new(),
    };
    body["validation_method"] = order.method.as_deref().into();
    body["multi_domain_type"] = order.multi_domain_type().into();
    body["authentification"] = proofs.into();
    if let Some(form) = order.form(&call.shared.vault)? {
        body["application_info"] = form.application_info();
    }
    Ok(())
}

/// Adds to the details of version 2 (CCM API 7.1.3) what the applicant said, and how far its names are proven.
pub(in crate::ccm_server) async fn shown_in_version_2(
    call: &Call<'_>,
    id: &str,
    body: &mut Value,
) -> Result<(), Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let Some(order) = bought(&mut connection, id).await? else {
        return Ok(());
    };
    let form = order.form(&call.shared.vault)?;
    if let (Some(method), Some(token)) = (&order.method, &order.token) {
        let names = domains(&mut connection, id).await?;
        body["DNS_push_status"] = zones::status(form.as_ref(), &names).into();
        let proofs = names.iter().map(|domain| {
            let proof = proof(method, token, &domain.domain);
            json!({
                "method": method,
                // The reference has an example of the first word alone.
                "status": if domain.validated { "validated" } else { "checking" },
                "domain_name": domain.domain,
                "host_record": proof["record_name"],
                "record_type": proof["record_type"],
                "record": token,
            })
        });
        body["auth"] = proofs.collect();
    }
    let said = form.map(|form| form.applicant());
    if let (Some(fields), Some(Value::Object(said))) = (body.as_object_mut(), said) {
        fields.extend(said);
    }
    Ok(())
}

/// Adds to `resource_detail` (CCM API 4.1.2.1) what the order knows, and what comes before and after.
pub(in crate::ccm_server) async fn add_succession(
    connection: &mut SqliteConnection,
    id: &str,
    now: Timestamp,
    detail: &mut Value,
) -> Result<(), Failure> {
    let Some(order) = bought(connection, id).await? else {
        return Ok(());
    };
    for (name, value) in order.succession(now) {
        detail[name] = value;
    }
    detail["fail_reason"] = order.fail_reason.as_deref().into();
    detail["multi_domain_type"] = order.multi_domain_type().into();
    Ok(())
}

/// The order, if the certificate was bought here.
async fn bought(connection: &mut SqliteConnection, id: &str) -> Result<Option<Order>, Failure> {
    let order = Order::load(connection, id).await?;
    Ok(order.filter(|order| order.years.is_some()))
}
