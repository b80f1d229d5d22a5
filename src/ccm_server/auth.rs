//! Who calls: a signature (SDK-HMAC-SHA256) or a token, and whether the user may do what is asked.

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::keys::{self, AccessKey};
use crate::ccm_server::operation::{Access, Operation, Payload, Service};
use crate::ccm_server::server::Shared;
use crate::ccm_server::signature::{Authorization, SignatureError, Signed};
use crate::ccm_server::users;
use crate::model::Timestamp;

/// A known user.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The user's id.
    pub(super) user: String,
    /// The id of the account that owns what the user sees.
    pub(super) account: String,
    /// Patterns of actions, separated by blanks.
    pub(super) actions: String,
    /// Whether the request was signed with a key for a while, which must not prolong itself.
    pub(super) temporary: bool,
    /// The id of the only project that its token is for.
    pub(super) project: Option<String>,
}

/// Refuses before the body is read who shows nothing of who it is.
pub(super) fn some_credentials(
    operation: &Operation,
    headers: &hyper::HeaderMap,
) -> Result<(), Failure> {
    let needed = match operation.access {
        Access::Open | Access::Optional => false,
        Access::Known | Access::Action(_) => true,
    };
    let some = ["authorization", "x-auth-token"]
        .iter()
        .any(|name| headers.contains_key(*name));
    if needed && !some {
        return Err(nothing_shown(operation.service));
    }
    Ok(())
}

fn nothing_shown(service: Service) -> Failure {
    let detail = "there is neither X-Auth-Token nor Authorization";
    Failure::because(service.unauthenticated(), detail)
}

/// Refuses before much of a body is read who is nobody. Whether a signature fits is known only with the body, but whose it says
/// it is before; that a key is known is no secret, since it goes over the wire with each request.
pub(super) async fn somebody(
    shared: &Shared,
    operation: &Operation,
    headers: &[(String, String)],
    now: Timestamp,
) -> Result<(), Failure> {
    if matches!(operation.access, Access::Open | Access::Optional) {
        return Ok(());
    }
    if let Some(authorization) = header(headers, "authorization") {
        let authorization = Authorization::parse(authorization).map_err(refuse)?;
        let known = AccessKey::find(shared, &authorization.access_key).await?;
        known
            .map(|_| ())
            .ok_or_else(|| refuse(SignatureError::Wrong))
    } else if let Some(token) = header(headers, "x-auth-token") {
        by_token(shared, operation.service, token, now)
            .await
            .map(|_| ())
    } else {
        Err(nothing_shown(operation.service))
    }
}

/// Finds out who calls `operation`, and refuses who may not.
pub(super) async fn caller(
    shared: &Shared,
    operation: &Operation,
    request: &Signed<'_>,
    now: Timestamp,
) -> Result<Option<Caller>, Failure> {
    let action = match operation.access {
        Access::Open => return Ok(None),
        Access::Known | Access::Optional => None,
        Access::Action(action) => Some(action),
    };
    let service = operation.service;
    let optional = operation.access == Access::Optional;
    let header = |name: &str| header(request.headers, name);
    let caller = if let Some(authorization) = header("authorization") {
        by_signature(shared, operation, request, authorization, now).await?
    } else if let Some(token) = header("x-auth-token") {
        by_token(shared, service, token, now).await?
    } else if optional {
        return Ok(None);
    } else {
        return Err(nothing_shown(service));
    };
    own(
        shared,
        service,
        &caller,
        header("x-domain-id"),
        header("x-project-id"),
    )
    .await?;
    match action {
        Some(action) if !allows(&caller.actions, action) => Err(Failure::because(
            service.forbidden(),
            format!("the user lacks the action {action}"),
        )),
        _ => Ok(Some(caller)),
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut headers = headers.iter();
    headers
        .find(|(have, _)| have == name)
        .map(|(_, value)| value.as_str())
}

fn refuse(error: SignatureError) -> Failure {
    let code = match error {
        SignatureError::Window(_) => code("APIGW.0303"),
        _ => code("APIGW.0301"),
    };
    Failure::because(code, error.to_string())
}

async fn by_token(
    shared: &Shared,
    service: Service,
    token: &str,
    now: Timestamp,
) -> Result<Caller, Failure> {
    keys::by_token(shared, token, now).await?.ok_or_else(|| {
        Failure::because(
            service.unauthenticated(),
            "the token is unknown or has expired",
        )
    })
}

async fn by_signature(
    shared: &Shared,
    operation: &Operation,
    request: &Signed<'_>,
    authorization: &str,
    now: Timestamp,
) -> Result<Caller, Failure> {
    let authorization = Authorization::parse(authorization).map_err(refuse)?;
    let known = AccessKey::find(shared, &authorization.access_key).await?;
    // An unknown key costs as much time as a known one and gets the same answer as a wrong signature.
    let nobody = [0; 40];
    let secret = known
        .as_ref()
        .map_or(&nobody[..], |key| key.secret.expose());
    let verified = authorization.verify(request, secret, now).map_err(refuse)?;
    if !verified.body_signed && matches!(operation.body, Payload::Json(_)) {
        return Err(refuse(SignatureError::Body));
    }
    let key = known.ok_or_else(|| refuse(SignatureError::Wrong))?;
    let mut headers = request.headers.iter();
    let token = headers.find(|(name, _)| name == "x-security-token");
    key.good(token.map(|(_, value)| value.as_str()), now)
        .map_err(|error| Failure::because(code("APIGW.0301"), error.to_string()))?;
    Ok(key.caller)
}

/// `X-Domain-Id` and `X-Project-Id` may be absent, but must not name somebody else's.
async fn own(
    shared: &Shared,
    service: Service,
    caller: &Caller,
    domain: Option<&str>,
    project: Option<&str>,
) -> Result<(), Failure> {
    let other = |what: &str| {
        let code = match service {
            Service::Scm => code("SCM.0002"),
            Service::Pca | Service::Iam => service.forbidden(),
        };
        Failure::because(code, format!("{what} is not the caller's"))
    };
    if domain.is_some_and(|domain| domain != caller.account) {
        return Err(other("X-Domain-Id"));
    }
    if let Some(project) = project
        && !is_own_project(shared, caller, project).await?
    {
        return Err(other("X-Project-Id"));
    }
    Ok(())
}

/// Whether the caller may name this project: one of its account, and the token's where that is for one.
pub(super) async fn is_own_project(
    shared: &Shared,
    caller: &Caller,
    project: &str,
) -> Result<bool, Failure> {
    if caller.project.as_deref().is_some_and(|own| own != project) {
        return Ok(false);
    }
    Ok(users::owns_project(shared, &caller.account, project).await?)
}

/// Whether one of the patterns, such as `pca:*:get` or `*`, is good for the action. A `*` stands for one part, and as
/// the last part for the rest.
pub(super) fn allows(patterns: &str, action: &str) -> bool {
    patterns.split_ascii_whitespace().any(|pattern| {
        let mut wanted = action.split(':');
        let mut parts = pattern.split(':').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            match (part, wanted.next()) {
                ("*", Some(_)) if last => return true,
                ("*", Some(_)) => {}
                (part, Some(wanted)) if part == wanted => {}
                _ => return false,
            }
        }
        wanted.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_match_part_by_part() {
        assert!(allows("*", "pca:ca:create"));
        assert!(allows("scm:* pca:*", "pca:ca:create"));
        assert!(allows("pca:*:get", "pca:cert:get"));
        assert!(allows("pca:cert:get pca:ca:get", "pca:ca:get"));
        assert!(!allows("pca:*:get", "pca:cert:delete"));
        assert!(!allows("pca:ca", "pca:ca:create"));
        assert!(!allows("", "pca:ca:create"));
    }
}
