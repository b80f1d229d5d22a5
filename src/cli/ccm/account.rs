//! Whose account a command speaks for: that of an issuer of the policy, or of the environment.

use std::path::Path;
use std::time::Duration;

use crate::ccm::{Access, Auth, Client};
use crate::cli::args::Arguments;
use crate::cli::ccm::args::Ccm;
use crate::cli::ccm::failed;
use crate::cli::{Exit, Failure, context};
use crate::config;
use crate::issuer;
use crate::model::{ErrorClass, IssuerKind, IssuerPolicy, Policy, SecretRef};
use crate::pki::Secret;
use crate::sys::error_chain;
use crate::sys::fs;

/// Which of both services; each has a host of its own at Huawei Cloud, and renewd-ccm serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Scm,
    Pca,
}

/// A client that tries again by itself, since people would only type the same once more.
pub(super) fn connect(arguments: &Arguments, ccm: &Ccm, wanted: Wanted) -> Result<Client, Failure> {
    if let Some(endpoint) = &ccm.endpoint {
        if let Some(issuer) = &ccm.issuer {
            let text = format!("--endpoint and --issuer {issuer} are two accounts; give one");
            return Err(Failure::new(Exit::Usage, text));
        }
        return from_environment(endpoint, ccm).map(Client::patient);
    }
    if ccm.roots.is_some() || ccm.agency {
        let text = "--roots and --agency go with --endpoint; an issuer has its own in the policy";
        return Err(Failure::new(Exit::Usage, text));
    }
    let policy = context::read(arguments)?.policy;
    let policy = choose(&policy, ccm, wanted)?;
    let resolve =
        |reference: &SecretRef| config::secret_ref::resolve(reference).map_err(|e| error_chain(&e));
    let client = issuer::client(policy, &resolve, context::clock()).map_err(|error| {
        let exit = match error.class {
            ErrorClass::Configuration => Exit::Configuration,
            ErrorClass::Authentication => Exit::NoPermission,
            ErrorClass::Bug => Exit::Bug,
            ErrorClass::Transient | ErrorClass::RateLimited | ErrorClass::Rejected => {
                Exit::Unavailable
            }
        };
        Failure::new(exit, format!("issuer {}: {}", policy.id, error.message))
    })?;
    Ok(client.patient())
}

/// The named issuer; else the only one of this service; else the only one there is, which may serve both.
fn choose<'a>(policy: &'a Policy, ccm: &Ccm, wanted: Wanted) -> Result<&'a IssuerPolicy, Failure> {
    let usage = |text: String| Err(Failure::new(Exit::Usage, text));
    let names = || {
        let names: Vec<&str> = policy.issuers.keys().map(|id| id.as_str()).collect();
        names.join(", ")
    };
    if let Some(name) = &ccm.issuer {
        return match policy.issuers.get(name) {
            Some(issuer) => Ok(issuer),
            None if policy.issuers.is_empty() => usage("the policy has no issuer".to_owned()),
            None => usage(format!(
                "the policy has no issuer `{name}`; it has {}",
                names()
            )),
        };
    }
    let fitting = policy.issuers.values().filter(|issuer| {
        matches!(
            (&issuer.kind, wanted),
            (IssuerKind::Scm(_), Wanted::Scm) | (IssuerKind::Pca(_), Wanted::Pca)
        )
    });
    let fitting: Vec<&IssuerPolicy> = fitting.collect();
    let all: Vec<&IssuerPolicy> = policy.issuers.values().collect();
    match (&fitting[..], &all[..]) {
        ([one], _) | ([], [one]) => Ok(one),
        ([], []) => usage("the policy has no issuer; name an account by --endpoint".to_owned()),
        _ => usage(format!("whose account? give --issuer, one of {}", names())),
    }
}

/// The keys that Huawei's SDK reads too.
fn from_environment(endpoint: &str, ccm: &Ccm) -> Result<Client, Failure> {
    let auth = if ccm.agency {
        Auth::Agency { metadata: None }
    } else {
        let access_key = variable(ACCESS_KEY)?;
        let secret_key = variable(SECRET_KEY)?;
        let (Some(access_key), Some(secret_key)) = (access_key, secret_key) else {
            let text = format!(
                "--endpoint takes the keys of the environment: set {ACCESS_KEY} and {SECRET_KEY}"
            );
            return Err(Failure::new(Exit::Configuration, text));
        };
        Auth::AccessKey {
            access_key,
            secret_key: Secret::from(secret_key),
            security_token: variable(SECURITY_TOKEN)?.map(Secret::from),
        }
    };
    let roots = ccm.roots.as_deref().map(read_roots).transpose()?;
    let access = Access {
        endpoint: endpoint.to_owned(),
        roots,
        auth,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(60),
    };
    Client::new(access, context::clock()).map_err(failed)
}

fn read_roots(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path, LARGEST_ROOTS).map_err(|error| {
        Failure::new(
            Exit::Configuration,
            format!("roots: {}", error_chain(&error)),
        )
    })
}

/// A variable of the environment; an empty one is none.
pub(super) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var_os(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
        // The value may be a secret and is not repeated.
        Some(Err(_)) => Err(Failure::new(
            Exit::Configuration,
            format!("{name} in the environment is no UTF-8"),
        )),
    }
}

const ACCESS_KEY: &str = "HUAWEICLOUD_SDK_AK";
const SECRET_KEY: &str = "HUAWEICLOUD_SDK_SK";
const SECURITY_TOKEN: &str = "HUAWEICLOUD_SDK_SECURITY_TOKEN";
/// Bytes: five times the bundle of all public roots.
const LARGEST_ROOTS: u64 = 1 << 20;
