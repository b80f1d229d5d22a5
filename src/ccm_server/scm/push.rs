//! Certificates pushed to ELB, WAF and CDN (CCM API 4.1.6.1, 4.1.6.2, and 7.1.17 for version 2).

use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::auth;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::{Call, Service};
use crate::ccm_server::scm::certificates;
use crate::ccm_server::scm::import::key_label;
use crate::ccm_server::scm::services::{self, Parcel, Sealed, Target};
use crate::model::Timestamp;

/// 4.1.6.1
pub(super) async fn push(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.path.text("certificate_id");
    let target = target(call, "target_service")?;
    push_to(call, id, target, call.body.text("target_project")).await?;
    Ok(Answer::no_content())
}

/// 4.1.6.2: what is wrong with one region is said of it, and does not keep the certificate from the others.
pub(super) async fn push_many(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.path.text("certificate_id");
    let target = target(call, "target_service")?;
    let projects = call.body.texts("target_projects").unwrap_or_default();
    if projects.is_empty() {
        let detail = "target_projects must be a list of 1 to 10 strings";
        return Err(Failure::because(code("SCM.0505"), detail));
    }
    if let Some(twice) = twice(&projects) {
        let detail = format!("target_projects has {twice} twice");
        return Err(Failure::because(code("SCM.0507"), detail));
    }
    let done = deliver(call, id, target, &projects).await?;
    let results = projects.iter().zip(done).map(|(project, outcome)| {
        let message = match outcome {
            Ok(()) => "success".to_owned(),
            Err(failure) => in_one_line(&failure),
        };
        json!({"project_name": project, "cert_id": id, "message": message})
    });
    Ok(Answer::ok(
        json!({"results": results.collect::<Vec<Value>>()}),
    ))
}

/// Pushes one certificate to the service of one project.
pub(in crate::ccm_server) async fn push_to(
    call: &Call<'_>,
    id: &str,
    target: Target,
    project: &str,
) -> Result<(), Failure> {
    let outcomes = deliver(call, id, target, &[project]).await?;
    outcomes.into_iter().collect()
}

/// The service of a request, which the caller may push to. For CDN chapter 6.2 demands a further action of its own.
pub(in crate::ccm_server) fn target(call: &Call<'_>, field: &str) -> Result<Target, Failure> {
    let target = Target::named(call.body.text(field));
    let target = target.ok_or_else(|| Failure::new(code("SCM.0030")))?;
    let actions = call.caller.as_ref().map_or("", |caller| &caller.actions);
    if target == Target::Cdn && !auth::allows(actions, CDN_ACTION) {
        let detail = format!("the user lacks the action {CDN_ACTION}");
        return Err(Failure::because(code("SCM.0212"), detail));
    }
    Ok(target)
}

/// Opens a certificate that can be pushed: issued, also while further domains are verified, or uploaded, not at its end, with its
/// key.
pub(super) async fn parcel(call: &Call<'_>, id: &str) -> Result<Parcel, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let row = certificates::find(&mut connection, call.account(), id, call.now).await?;
    let certificate: Option<Vec<u8>> = row.get("certificate");
    let status: String = row.get("shown_status");
    let end = row.get::<Option<i64>, _>("not_after");
    let certificate = match (status.as_str(), certificate) {
        _ if status == SUPPLEMENTED && end.is_some_and(|end| end < call.now.0) => {
            return Err(Failure::new(code("SCM.0042")));
        }
        ("ISSUED" | "UPLOAD" | SUPPLEMENTED, Some(certificate)) => certificate,
        ("EXPIRED", _) => return Err(Failure::new(code("SCM.0042"))),
        _ => {
            let detail = format!("the certificate is {status}");
            return Err(Failure::because(code("SCM.0010"), detail));
        }
    };
    let Some(sealed) = row.get::<Option<Vec<u8>>, _>("key") else {
        let detail = "the key of this certificate was never given to SCM";
        return Err(Failure::because(code("SCM.0059"), detail));
    };
    if !row.get::<bool, _>("deploy_support") {
        let detail = "the certificate cannot be deployed";
        return Err(Failure::because(code("SCM.0010"), detail));
    }
    Ok(Parcel {
        original: id.to_owned(),
        name: row.get("name"),
        fingerprint: row
            .get::<Option<String>, _>("fingerprint")
            .unwrap_or_default(),
        certificate,
        chain: row.get::<Option<Vec<u8>>, _>("chain").unwrap_or_default(),
        key: call.shared.vault.open(&key_label(id), &sealed)?,
    })
}

/// One outcome for each project; what concerns the certificate itself refuses the whole.
async fn deliver(
    call: &Call<'_>,
    id: &str,
    target: Target,
    projects: &[&str],
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let parcel = parcel(call, id).await?;
    let (mut outcomes, mut all) = (Vec::new(), Vec::new());
    for project in projects {
        let mut connection = call.shared.db.read().acquire().await?;
        match services::place(&mut connection, call.account(), target, project).await {
            Ok(region) => {
                all.push(parcel.seal(&call.shared.vault, target, region)?);
                outcomes.push(Ok(()));
            }
            Err(failure) => outcomes.push(Err(failure)),
        }
    }
    let (account, now) = (call.account().to_owned(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            for sealed in &all {
                parcel.put(connection, &account, sealed, now).await?;
                record(connection, &parcel.original, sealed, now).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(outcomes)
}

/// Records a push, and forgets all but the last of the certificate to this service.
async fn record(
    connection: &mut SqliteConnection,
    certificate: &str,
    sealed: &Sealed,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let region = (!sealed.target.is_global()).then_some(&sealed.region);
    // A certificate that was deleted a moment ago has no records any more.
    sqlx::query(
        "INSERT INTO scm_push (certificate, service, region, at) \
         SELECT id, $2, $3, $4 FROM scm_certificate WHERE id = $1",
    )
    .bind(certificate)
    .bind(sealed.target.name())
    .bind(region)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM scm_push WHERE certificate = $1 AND service = $2 AND seq <= (SELECT seq FROM scm_push \
         WHERE certificate = $1 AND service = $2 ORDER BY seq DESC LIMIT 1 OFFSET $3)",
    )
    .bind(certificate)
    .bind(sealed.target.name())
    .bind(RECORDS)
    .execute(connection)
    .await?;
    Ok(())
}

/// A refusal as it stands in a list of outcomes, in the form of the reference's `ELB.8904:certificate … does not exist`.
pub(super) fn in_one_line(failure: &Failure) -> String {
    let code = failure.code(Service::Scm);
    format!("{}:{}", code.name, failure.message(Service::Scm))
}

/// A text that is there twice.
pub(super) fn twice<'a>(texts: &[&'a str]) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    texts.iter().copied().find(|text| !seen.insert(*text))
}

/// It is issued, and further domains of it are being verified.
pub(super) const SUPPLEMENTED: &str = "SUPPLEMENTCHECKING";
/// Kept of a certificate and a service: as many as 7.1.18 answers.
pub(in crate::ccm_server) const RECORDS: i64 = 10;
/// CCM API 6.2, the dependent permission of a push to CDN.
const CDN_ACTION: &str = "cdn:configuration:queryHttpsConf";
