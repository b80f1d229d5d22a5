//! From an issuer's policy to a connected [`Issuer`]: secrets are resolved here and go no further than the client.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::ccm::{Access, Auth, Client, Limit, Pca, Projects, Scm};
use crate::issuer::failure::{own, reading};
use crate::issuer::orders::Where;
use crate::issuer::pca::PcaIssuer;
use crate::issuer::scm::ScmIssuer;
use crate::issuer::{Issuer, IssuerError, orders};
use crate::model::Seconds;
use crate::model::{ErrorClass, IssuerKind, IssuerPolicy, RemoteAccess, RemoteAuth, SecretRef};
use crate::pki::Secret;
use crate::sys::clock::Clock;
use crate::sys::fs;

/// Prepares an issuer: reads roots and secrets, checks the endpoint. Sends nothing. Secrets are read once: after an
/// `Authentication` error connect anew, since a temporary key may have been replaced in its file.
///
/// # Errors
/// `Configuration` for an unusable endpoint, roots file or secret, naming the issuer.
pub fn connect(
    policy: &IssuerPolicy,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn Issuer>, IssuerError> {
    connect_within(policy, resolve, clock, limit(policy))
}

/// What the policy allows in a second.
#[must_use]
pub fn limit(policy: &IssuerPolicy) -> Arc<Limit> {
    let per_second = NonZeroU32::new(policy.pace.requests_per_second);
    Arc::new(Limit::new(per_second.unwrap_or(NonZeroU32::MIN)))
}

/// The same within a limit that an earlier connection had: a new one must not begin anew with that.
///
/// # Errors
/// As [`connect`].
pub fn connect_within(
    policy: &IssuerPolicy,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    clock: Arc<dyn Clock>,
    limit: Arc<Limit>,
) -> Result<Box<dyn Issuer>, IssuerError> {
    let named = |error: IssuerError| IssuerError {
        message: format!("issuer {}: {}", policy.id, error.message),
        ..error
    };
    let access = access(&policy.access, resolve).map_err(named)?;
    let client = Client::new(access, Arc::clone(&clock))
        .map_err(reading)
        .map_err(named)?;
    let client = client.within(limit);
    Ok(match &policy.kind {
        IssuerKind::Pca(pca) => Box::new(PcaIssuer::new(Pca::new(client), pca.ca.clone())),
        IssuerKind::Scm(scm) => {
            let project = match &scm.project {
                Some(project) => Where::Known(project.clone()),
                None => projects(policy, resolve, clock).map_err(named)?,
            };
            Box::new(ScmIssuer::new(Scm::new(client), project))
        }
    })
}

/// Who tells the projects of the account, and the name of the one that is wanted: that of a token, else of the region.
fn projects(
    policy: &IssuerPolicy,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    clock: Arc<dyn Clock>,
) -> Result<Where, IssuerError> {
    let scm = &policy.access.endpoint;
    let (endpoint, name) = match &policy.access.auth {
        RemoteAuth::Password {
            iam_endpoint,
            project,
            ..
        } => (iam_endpoint.clone(), Some(project.clone())),
        RemoteAuth::AccessKey { .. } | RemoteAuth::Agency { .. } => (
            orders::iam_of(scm),
            orders::region_of(scm).map(str::to_owned),
        ),
    };
    let access = access(&policy.access, resolve)?;
    let client = Client::new(Access { endpoint, ..access }, clock).map_err(reading)?;
    Ok(Where::AskedFrom(Projects::new(client), name))
}

/// The client of an issuer's account, for people who call operations by hand. Sends nothing.
///
/// # Errors
/// `Configuration` for an unusable endpoint, roots file or secret.
pub fn client(
    policy: &IssuerPolicy,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    clock: Arc<dyn Clock>,
) -> Result<Client, IssuerError> {
    client_of(&policy.access, resolve, clock)
}

/// The client of any account, for services beside CCM that are spoken to in the same manner. Sends nothing.
///
/// # Errors
/// `Configuration` for an unusable endpoint, roots file or secret.
pub fn client_of(
    policy: &RemoteAccess,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    clock: Arc<dyn Clock>,
) -> Result<Client, IssuerError> {
    let access = access(policy, resolve)?;
    Client::new(access, clock).map_err(reading)
}

fn access(
    policy: &RemoteAccess,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<Access, IssuerError> {
    let wrong = |message: String| own(ErrorClass::Configuration, message);
    let secret = |reference: &SecretRef| {
        resolve(reference).map_err(|why| wrong(format!("secret {reference}: {why}")))
    };
    let auth = match &policy.auth {
        RemoteAuth::AccessKey {
            access_key,
            secret_key,
            security_token,
        } => Auth::AccessKey {
            access_key: secret(access_key)?
                .expose_str()
                .map(str::to_owned)
                .ok_or_else(|| wrong(format!("secret {access_key}: is not UTF-8")))?,
            secret_key: secret(secret_key)?,
            security_token: security_token.as_ref().map(secret).transpose()?,
        },
        RemoteAuth::Password {
            iam_endpoint,
            user,
            password,
            domain,
            project,
        } => Auth::Password {
            iam_endpoint: iam_endpoint.clone(),
            user: user.clone(),
            password: secret(password)?,
            domain: domain.clone(),
            project: project.clone(),
        },
        RemoteAuth::Agency { metadata_endpoint } => Auth::Agency {
            metadata: Some(metadata_endpoint.clone()),
        },
    };
    let roots = policy
        .roots
        .as_ref()
        .map(|path| fs::read(path, LARGEST_ROOTS))
        .transpose()
        .map_err(|error| wrong(format!("roots: {error}: {}", error.io())))?;
    Ok(Access {
        endpoint: policy.endpoint.clone(),
        roots,
        auth,
        connect_timeout: at_least_a_second(policy.connect_timeout),
        timeout: at_least_a_second(policy.timeout),
    })
}

fn at_least_a_second(length: Seconds) -> Duration {
    length.to_std().max(Duration::from_secs(1))
}

/// Bytes: five times the bundle of all public roots.
const LARGEST_ROOTS: u64 = 1 << 20;
