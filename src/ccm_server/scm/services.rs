//! ELB, WAF and CDN as far as SCM knows them: regions, the certificates that each holds, and the resources that serve one
//! (CCM API 4.1.6). A local model in the state: what is pushed is really there, with its key.

use sqlx::{Row, SqliteConnection};

use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::failure::Failure;
use crate::ccm_server::text;
use crate::ccm_server::users;
use crate::ccm_server::vault::{Vault, VaultError};
use crate::model::Timestamp;
use crate::pki::Secret;

/// A service that certificates are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ccm_server) enum Target {
    /// Load balancers; by region.
    Elb,
    /// The web application firewall; by region.
    Waf,
    /// The content delivery network; it has no regions.
    Cdn,
}

impl Target {
    /// The reference's names; compared in any case, since its examples write `waf`.
    pub(in crate::ccm_server) const NAMES: &'static [&'static str] = &["ELB", "WAF", "CDN"];

    /// By the reference's name.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        let all = [Self::Elb, Self::Waf, Self::Cdn];
        all.into_iter().find(|target| target.name() == name)
    }

    /// The reference's name.
    pub(in crate::ccm_server) const fn name(self) -> &'static str {
        match self {
            Self::Elb => "ELB",
            Self::Waf => "WAF",
            Self::Cdn => "CDN",
        }
    }

    /// Whether the service is one for the whole world.
    pub(in crate::ccm_server) const fn is_global(self) -> bool {
        matches!(self, Self::Cdn)
    }

    /// The code for a region in which it is not.
    const fn no_region(self) -> &'static Code {
        match self {
            Self::Elb | Self::Cdn => code("SCM.0204"),
            Self::Waf => code("SCM.0224"),
        }
    }
}

/// Where the certificates of a project's service are: the project's name, which is the region's in the main project, or
/// [`GLOBAL`].
pub(in crate::ccm_server) async fn place(
    connection: &mut SqliteConnection,
    account: &str,
    target: Target,
    project: &str,
) -> Result<String, Failure> {
    if target.is_global() {
        return Ok(GLOBAL.to_owned());
    }
    if users::REGIONS.contains(&project) || FURTHER_REGIONS.contains(&project) {
        return Ok(project.to_owned());
    }
    let row = sqlx::query("SELECT 1 FROM project WHERE account = $1 AND name = $2")
        .bind(account)
        .bind(project)
        .fetch_optional(connection)
        .await?;
    match row {
        Some(_) => Ok(project.to_owned()),
        None => Err(Failure::because(
            target.no_region(),
            format!("there is no region or project {project}"),
        )),
    }
}

/// A certificate with its key, opened, on its way to services.
pub(super) struct Parcel {
    /// The id in SCM.
    pub(super) original: String,
    /// The name in SCM.
    pub(super) name: String,
    /// SHA-1.
    pub(super) fingerprint: String,
    /// DER.
    pub(super) certificate: Vec<u8>,
    /// PEM.
    pub(super) chain: Vec<u8>,
    /// PKCS #8.
    pub(super) key: Secret,
}

/// The key of a [`Parcel`], sealed for the one place where it goes.
pub(super) struct Sealed {
    pub(super) target: Target,
    pub(super) region: String,
    key: Vec<u8>,
}

impl Parcel {
    /// Seals the key for a place.
    pub(super) fn seal(
        &self,
        vault: &Vault,
        target: Target,
        region: String,
    ) -> Result<Sealed, VaultError> {
        let label = key_label(target.name(), &region, &self.original);
        Ok(Sealed {
            target,
            key: vault.seal(&label, self.key.expose())?,
            region,
        })
    }

    /// Puts it there, in place of what was there of the same certificate; answers the id it has there.
    pub(super) async fn put(
        &self,
        connection: &mut SqliteConnection,
        account: &str,
        sealed: &Sealed,
        now: Timestamp,
    ) -> Result<String, sqlx::Error> {
        let row = sqlx::query(
            "INSERT INTO scm_copy (id, account, service, region, original, name, fingerprint, certificate, chain, \
             key, pushed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (original, service, region) DO UPDATE SET name = excluded.name, \
             fingerprint = excluded.fingerprint, certificate = excluded.certificate, chain = excluded.chain, \
             key = excluded.key, pushed = excluded.pushed RETURNING id",
        )
        .bind(text::random_hex::<16>())
        .bind(account)
        .bind(sealed.target.name())
        .bind(&sealed.region)
        .bind(&self.original)
        .bind(&self.name)
        .bind(&self.fingerprint)
        .bind(&self.certificate)
        .bind(&self.chain)
        .bind(&sealed.key)
        .bind(now.0)
        .fetch_one(connection)
        .await?;
        Ok(row.get(0))
    }
}

/// A resource that a certificate can be deployed to.
#[derive(Debug, Clone)]
pub(in crate::ccm_server) struct Resource {
    /// 32 hexadecimal digits.
    pub(in crate::ccm_server) id: String,
    pub(in crate::ccm_server) target: Target,
    /// Or [`GLOBAL`].
    pub(in crate::ccm_server) region: String,
    /// The domain, for WAF and CDN.
    pub(in crate::ccm_server) name: String,
    /// Of WAF: `cloud` or `premium`.
    pub(in crate::ccm_server) kind: Option<String>,
    /// `0` is the default one.
    pub(in crate::ccm_server) enterprise_project: String,
}

/// Keeps a new resource; a name that is taken in its service and region breaks a unique constraint.
pub(in crate::ccm_server) async fn add(
    connection: &mut SqliteConnection,
    account: &str,
    resource: &Resource,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO scm_resource (id, account, service, region, name, kind, enterprise_project, created) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&resource.id)
    .bind(account)
    .bind(resource.target.name())
    .bind(&resource.region)
    .bind(&resource.name)
    .bind(&resource.kind)
    .bind(&resource.enterprise_project)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Where the key of a copy is sealed for.
pub(in crate::ccm_server) fn key_label(target: &str, region: &str, original: &str) -> String {
    format!("scm_copy.key/{target}/{region}/{original}")
}

/// The region of a service that has none (CCM API 4.1.6.4).
pub(in crate::ccm_server) const GLOBAL: &str = "global";
/// Regions of ELB and WAF beside those that accounts have projects in: the one of the reference's examples.
const FURTHER_REGIONS: &[&str] = &["cn-north-7"];
