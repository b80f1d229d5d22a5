//! The resources that certificates are deployed to: added and looked at beside the API, which can do neither.

use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection};

use crate::ccm_server::admin::{Admin, invalid};
use crate::ccm_server::scm::{self, Resource, Target};
use crate::ccm_server::server::ServerError;
use crate::ccm_server::text;
use crate::ccm_server::users;
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::Name;
use crate::pki::Secret;

/// A resource that is to stand for a listener of ELB, a domain of WAF or a domain of CDN.
pub struct NewResource {
    /// The account that owns it; made when missing.
    pub account: String,
    /// `ELB`, `WAF` or `CDN`, in any case.
    pub service: String,
    /// The region, or the project in it; not looked at for CDN, which has none.
    pub region: String,
    /// What it is called; for WAF and CDN its domain.
    pub name: String,
    /// For WAF: `cloud` or `premium`.
    pub kind: Option<String>,
    /// Of WAF: the enterprise project that it belongs to; `0` is the default one.
    pub enterprise_project: String,
}

/// What a resource serves.
pub struct Served {
    /// PEM.
    pub certificate: String,
    /// PEM, issuer first.
    pub chain: String,
    /// PEM.
    pub private_key: Secret,
}

impl Admin {
    /// Adds a resource; answers it as `resource list` shows it.
    ///
    /// # Errors
    /// [`ServerError::Invalid`], also where one of this name is in the same service and region, and those of the state.
    pub async fn add_resource(&self, new: NewResource) -> Result<Value, ServerError> {
        let target = Target::named(&new.service.to_ascii_uppercase());
        let target = target.ok_or_else(|| {
            let names = Target::NAMES.join(", ");
            wrong(format!(
                "there is no service {:?}; there are {names}",
                new.service
            ))
        })?;
        if new.region.is_empty() && !target.is_global() {
            let problem = format!("a resource of {} needs a region", target.name());
            return Err(wrong(problem));
        }
        check_name(target, &new.name)?;
        let kind = kind_of(target, new.kind)?;
        let now = self.0.clock.now();
        let (owner, region) = (new.account.clone(), new.region.clone());
        let place = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                let account = users::account(connection, &owner, now).await?;
                let place = scm::place(connection, &account, target, &region).await;
                Ok((account, place))
            })
        });
        let (account, place) = place.await?;
        let resource = Resource {
            id: text::random_hex::<16>(),
            target,
            region: place.map_err(invalid)?,
            name: new.name.clone(),
            kind,
            enterprise_project: new.enterprise_project,
        };
        let id = resource.id.clone();
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                scm::add_resource(connection, &account, &resource, now).await?;
                resources(connection, &account, Some(&id)).await
            })
        });
        match write.await {
            Ok(mut added) => Ok(added.pop().unwrap_or(Value::Null)),
            Err(error) if is_taken(&error) => {
                let (service, name) = (target.name(), new.name);
                Err(wrong(format!(
                    "there is a resource {name} of {service} in this region already; choose another name"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The resources of an account, each with the certificate that it serves.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn resources(&self, account: &str) -> Result<Vec<Value>, ServerError> {
        let mut connection = self.0.db.read().acquire().await?;
        let row = sqlx::query("SELECT id FROM account WHERE name = $1")
            .bind(account.to_owned())
            .fetch_optional(&mut *connection)
            .await?;
        match row {
            Some(row) => Ok(resources(&mut connection, row.get(0), None).await?),
            None => Ok(Vec::new()),
        }
    }

    /// What a resource serves, with the key; `None` while nothing was deployed to it.
    ///
    /// # Errors
    /// [`ServerError::Invalid`] where there is no such resource, and those of the state and of the master key.
    pub async fn served(&self, resource: &str) -> Result<Option<Served>, ServerError> {
        let row = sqlx::query(
            "SELECT c.service, c.region, c.original, c.certificate, c.chain, c.key FROM scm_resource r \
             LEFT JOIN scm_copy c ON c.id = r.copy WHERE r.id = $1",
        )
        .bind(resource.to_owned())
        .fetch_optional(self.0.db.read())
        .await?;
        let row = row.ok_or_else(|| wrong(format!("there is no resource {resource}")))?;
        let (Some(certificate), Some(sealed)) = (
            row.get::<Option<Vec<u8>>, _>("certificate"),
            row.get::<Option<Vec<u8>>, _>("key"),
        ) else {
            return Ok(None);
        };
        let label = scm::copy_label(row.get("service"), row.get("region"), row.get("original"));
        let key = self.0.vault.open(&label, &sealed)?;
        let chain: Vec<u8> = row.get("chain");
        Ok(Some(Served {
            certificate: x509::encode("CERTIFICATE", &certificate, LineEnd::Lf),
            chain: String::from_utf8_lossy(&chain).into_owned(),
            private_key: Secret::from(x509::private_key_pem(key.expose(), LineEnd::Lf)),
        }))
    }
}

async fn resources(
    connection: &mut SqliteConnection,
    account: &str,
    id: Option<&str>,
) -> Result<Vec<Value>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT r.id, r.service, r.region, r.name, r.kind, r.enterprise_project, c.original, c.fingerprint \
         FROM scm_resource r LEFT JOIN scm_copy c ON c.id = r.copy \
         WHERE r.account = $1 AND ($2 IS NULL OR r.id = $2) ORDER BY r.service, r.region, r.name",
    )
    .bind(account)
    .bind(id)
    .fetch_all(connection)
    .await?;
    let shown = rows.iter().map(|row| {
        let own = |column: &str| row.get::<Option<String>, _>(column);
        json!({
            "id": own("id"),
            "service": own("service"),
            "region": own("region"),
            "name": own("name"),
            "type": own("kind"),
            "enterprise_project_id": own("enterprise_project"),
            "certificate_id": own("original"),
            "fingerprint": own("fingerprint"),
        })
    });
    Ok(shown.collect())
}

fn check_name(target: Target, name: &str) -> Result<(), ServerError> {
    let fits = (1..=63).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if !fits {
        let problem = format!("the name {name:?} is not usable; it must have 1 to 63 characters");
        return Err(wrong(problem));
    }
    let is_domain = matches!(Name::parse(name), Ok(Name::Dns(_)));
    if target == Target::Elb || is_domain {
        return Ok(());
    }
    Err(wrong(format!(
        "a resource of {} is named by its domain, and {name:?} is none",
        target.name()
    )))
}

fn kind_of(target: Target, kind: Option<String>) -> Result<Option<String>, ServerError> {
    match (target, kind) {
        (Target::Waf, None) => Ok(Some(scm::KINDS[0].to_owned())),
        (Target::Waf, Some(kind)) if scm::KINDS.contains(&kind.as_str()) => Ok(Some(kind)),
        (Target::Waf, Some(kind)) => Err(wrong(format!(
            "the type {kind:?} must be one of {}",
            scm::KINDS.join(", ")
        ))),
        (_, None) => Ok(None),
        (_, Some(_)) => Err(wrong("only a resource of WAF has a type".to_owned())),
    }
}

fn is_taken(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

const fn wrong(problem: String) -> ServerError {
    ServerError::Invalid(problem)
}
