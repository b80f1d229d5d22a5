//! Certificates deployed to resources, and which resources serve one (CCM API 4.1.6.3 and 4.1.6.4).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::sqlite::Sqlite;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::deploy_fields::MOST_RESOURCES;
use crate::ccm_server::scm::push::{self, in_one_line, twice};
use crate::ccm_server::scm::services::{self, GLOBAL, Target};
use crate::ccm_server::x509;
use crate::model::Name;

/// 4.1.6.3: puts the certificate where the resource is, as a push does, and lets the resource serve it. What is wrong
/// with one resource is said of it in `failure_list`, and the others are deployed to. A full success has an empty list.
pub(super) async fn deploy(call: &Call<'_>) -> Result<Answer, Failure> {
    let target = push::target(call, "service_name")?;
    let given = call.body.objects("resources");
    if given.is_empty() {
        let detail = format!("resources must be a list of 1 to {MOST_RESOURCES} objects");
        return Err(Failure::because(code("SCM.0505"), detail));
    }
    let wanted: Result<Vec<Wish>, Failure> = given
        .iter()
        .map(|given| Wish::read(given, target))
        .collect();
    let wanted = wanted?;
    let names: Vec<&str> = wanted.iter().map(|wish| wish.resource.as_str()).collect();
    if let Some(twice) = twice(&names) {
        let detail = format!("resources has {twice} twice");
        return Err(Failure::because(code("SCM.0507"), detail));
    }
    let parcel = push::parcel(call, call.path.text("certificate_id")).await?;
    let facts = x509::facts(&parcel.certificate)?;
    let domains: Vec<Name> = facts
        .names
        .iter()
        .filter_map(|name| Name::parse(name).ok())
        .collect();
    let mut connection = call.shared.db.read().acquire().await?;
    let region = match call.body.optional("project_name") {
        Some(project) => {
            Some(services::place(&mut connection, call.account(), target, project).await?)
        }
        None if target.is_global() => Some(GLOBAL.to_owned()),
        None => None,
    };
    let (mut failures, mut bound) = (Vec::new(), Vec::new());
    for wish in &wanted {
        let found = wish
            .find(&mut connection, call.account(), region.as_deref(), &domains)
            .await;
        match found {
            Ok((id, region)) => {
                let sealed = parcel.seal(&call.shared.vault, target, region)?;
                bound.push((id, sealed));
            }
            Err(failure) => failures.push(json!({
                "resource": wish.resource,
                "failure_info": in_one_line(&failure),
            })),
        }
    }
    drop(connection);
    let (account, now) = (call.account().to_owned(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            for (resource, sealed) in &bound {
                let copy = parcel.put(connection, &account, sealed, now).await?;
                sqlx::query("UPDATE scm_resource SET copy = $1 WHERE id = $2 AND account = $3")
                    .bind(copy)
                    .bind(resource)
                    .bind(&account)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(Answer::ok(json!({"failure_list": failures})))
}

/// A resource as the request names it.
struct Wish {
    target: Target,
    /// The id, or the domain for CDN: as the answer names it, too.
    resource: String,
    kind: String,
    enterprise_project: String,
}

impl Wish {
    /// Checks what is mandatory for the service.
    fn read(given: &Input, target: Target) -> Result<Self, Failure> {
        let needed = |field: &str, wanted: bool| {
            let text = given.text(field);
            if wanted && text.is_empty() {
                let detail = format!("{field} is mandatory for {}", target.name());
                return Err(Failure::because(code("SCM.0005"), detail));
            }
            Ok(text.to_owned())
        };
        let waf = target == Target::Waf;
        Ok(Self {
            target,
            kind: needed("type", waf)?,
            enterprise_project: needed("enterprise_project_id", waf)?,
            resource: if target == Target::Cdn {
                needed("domain_name", true)?
            } else {
                needed("id", true)?
            },
        })
    }

    /// Id and region of the resource; in the region, if that was named.
    async fn find(
        &self,
        connection: &mut SqliteConnection,
        account: &str,
        region: Option<&str>,
        domains: &[Name],
    ) -> Result<(String, String), Failure> {
        let row = sqlx::query(
            "SELECT id, region, kind, enterprise_project FROM scm_resource WHERE account = $1 AND service = $2 \
             AND ($3 IS NULL OR region = $3) AND (id = $4 OR (service = 'CDN' AND name = $4))",
        )
        .bind(account)
        .bind(self.target.name())
        .bind(region)
        .bind(&self.resource)
        .fetch_optional(connection)
        .await?;
        let row = row.ok_or_else(|| Failure::new(code("SCM.0103")))?;
        let differs = self.target == Target::Waf
            && (row.get::<Option<String>, _>("kind").as_deref() != Some(self.kind.as_str())
                || row.get::<String, _>("enterprise_project") != self.enterprise_project);
        if differs {
            return Err(Failure::new(code("SCM.0103")));
        }
        let fits = || {
            let domain = Name::parse(&self.resource);
            domain.is_ok_and(|domain| domains.iter().any(|name| name.covers(&domain)))
        };
        if self.target == Target::Cdn && !fits() {
            return Err(Failure::new(code("SCM.0106")));
        }
        Ok((row.get("id"), row.get("region")))
    }
}

/// 4.1.6.4. A service without a resource of the certificate is not listed.
pub(super) async fn deployed(call: &Call<'_>) -> Result<Answer, Failure> {
    let targets = asked_services(call)?;
    let ids = call.body.texts("certificate_ids").unwrap_or_default();
    if ids.is_empty() {
        return Err(Failure::new(code("SCM.0502")));
    }
    if let Some(twice) = twice(&ids) {
        let detail = format!("certificate_ids has {twice} twice");
        return Err(Failure::because(code("SCM.0507"), detail));
    }
    let mut snapshot = call.shared.db.read().begin().await?;
    let mut sql: QueryBuilder<Sqlite> =
        QueryBuilder::new("SELECT id, status FROM scm_certificate WHERE account = ");
    sql.push_bind(call.account().to_owned());
    among(&mut sql, "id", &ids);
    let rows = sql.build().fetch_all(&mut *snapshot).await?;
    let known: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row.get("id"), row.get("status")))
        .collect();
    let refused = |wrong: &dyn Fn(Option<&String>) -> bool| {
        let found: Vec<&str> = ids
            .iter()
            .copied()
            .filter(|id| wrong(known.get(*id)))
            .collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    if let Some(missing) = refused(&|status| status.is_none()) {
        return Err(Failure::because(code("SCM.0506"), missing));
    }
    // "Issued and uploaded" ones: that further domains are being verified takes nothing from what is issued.
    let deployable =
        |status: &String| matches!(status.as_str(), "ISSUED" | "UPLOAD" | push::SUPPLEMENTED);
    if let Some(others) = refused(&|status| !status.is_some_and(deployable)) {
        return Err(Failure::because(code("SCM.0508"), others));
    }
    let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new(
        "SELECT c.original, r.service, r.region, r.id, r.name FROM scm_copy c JOIN scm_resource r ON r.copy = c.id \
         WHERE c.account = ",
    );
    sql.push_bind(call.account().to_owned());
    among(&mut sql, "c.original", &ids);
    let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
    among(&mut sql, "r.service", &names);
    sql.push(" ORDER BY r.region, r.seq");
    let mut found: BTreeMap<(String, String), BTreeMap<String, Vec<Value>>> = BTreeMap::new();
    for row in sql.build().fetch_all(&mut *snapshot).await? {
        let regions = found.entry((row.get(0), row.get(1))).or_default();
        let resources = regions.entry(row.get(2)).or_default();
        resources.push(json!({
            "resource_id": row.get::<String, _>(3),
            "resource_name": row.get::<String, _>(4),
        }));
    }
    let results = ids.iter().map(|id| {
        let own = targets.iter().filter_map(|target| {
            let regions = found.remove(&((*id).to_owned(), target.name().to_owned()))?;
            Some((*target, regions))
        });
        result(id, own)
    });
    let results: Vec<Value> = results.collect();
    Ok(Answer::ok(json!({"results": results})))
}

/// The services of a question, in the order of the reference, each once.
fn asked_services(call: &Call<'_>) -> Result<Vec<Target>, Failure> {
    let names = call.body.texts("service_names").unwrap_or_default();
    let wrong = |detail: String| Failure::because(code("SCM.0501"), detail);
    if names.is_empty() {
        return Err(wrong("service_names is empty".to_owned()));
    }
    let names: Vec<String> = names.iter().map(|name| name.to_ascii_uppercase()).collect();
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(twice) = twice(&texts) {
        let detail = format!("service_names has {twice} twice");
        return Err(Failure::because(code("SCM.0507"), detail));
    }
    let mut targets = Vec::new();
    for name in texts {
        match Target::named(name) {
            Some(target) => targets.push(target),
            None if name == "ALL" => targets.extend([Target::Waf, Target::Cdn, Target::Elb]),
            None => return Err(wrong(format!("WAF/CDN/ELB, not {name:?}"))),
        }
    }
    targets.sort_unstable();
    targets.dedup();
    Ok(targets)
}

fn among(sql: &mut QueryBuilder<Sqlite>, column: &str, texts: &[&str]) {
    sql.push(format!(" AND {column} IN ("));
    let mut list = sql.separated(", ");
    for text in texts {
        list.push_bind((*text).to_owned());
    }
    sql.push(")");
}

/// `ResultDetail` of one certificate.
fn result(id: &str, found: impl Iterator<Item = (Target, BTreeMap<String, Vec<Value>>)>) -> Value {
    let mut total = 0;
    let services: Vec<Value> = found
        .map(|(target, regions)| {
            let count: usize = regions.values().map(Vec::len).sum();
            total += count;
            let regions = regions.into_iter().map(|(region, resources)| {
                json!({"region_id": region, "is_error": false, "resources": resources})
            });
            json!({
                "service": target.name(),
                "resource_num": count,
                "resource_location": if target.is_global() { GLOBAL } else { "region" },
                "region_resources": regions.collect::<Vec<Value>>(),
            })
        })
        .collect();
    json!({"certificate_id": id, "total_num": total, "deployed_resources": services})
}
