//! A refusal: the one place where an error becomes a code, a status and a body of the reference.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::operation::Service;
use crate::ccm_server::users::UserError;
use crate::ccm_server::vault::VaultError;
use crate::ccm_server::x509::X509Error;
use crate::pki::PkiError;
use crate::sys::error_chain;

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) struct Failure {
    /// Absent when something of ours broke: the service's code for the unknown.
    code: Option<&'static Code>,
    /// What exactly was wrong, for the person who reads the answer; never a secret.
    detail: Option<String>,
    /// Seconds for `Retry-After`.
    retry_after: Option<u32>,
}

impl Failure {
    /// With the reference's own message only.
    pub(super) const fn new(code: &'static Code) -> Self {
        Self {
            code: Some(code),
            detail: None,
            retry_after: None,
        }
    }

    /// Says in a further field of the body, `error_detail`, what exactly was wrong.
    pub(super) fn because(code: &'static Code, detail: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            detail: Some(detail.into()),
            retry_after: None,
        }
    }

    /// Something of ours broke: logged whole, answered without a word about it.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error_chain(error), "request failed inside the server");
        Self {
            code: None,
            detail: None,
            retry_after: None,
        }
    }

    /// Adds `Retry-After`.
    pub(super) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The code, for the service that answers.
    pub(super) fn code(&self, service: Service) -> &'static Code {
        self.code.unwrap_or(service.unknown_error())
    }

    /// The message of the code, with what the reference leaves open in some: it is all that the SDK shows.
    pub(super) fn message(&self, service: Service) -> Cow<'static, str> {
        let code = self.code(service);
        if code.name == "SCM.0501" {
            // "Currently only supports:"; the services are in the column of solutions.
            return format!("{} WAF/CDN/ELB", code.message).into();
        }
        match self.detail() {
            Some(detail) if code.message.contains(OPEN) => {
                code.message.replace(OPEN, detail).into()
            }
            _ => code.message.into(),
        }
    }

    /// What exactly was wrong, if there is more to say than the code does.
    pub(super) fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The answer. IAM has a form of its own (CCM API 3.3); gateway codes carry the request id in the body.
    pub(super) fn answer(&self, service: Service, request_id: &str) -> Answer {
        let code = self.code(service);
        let body = if service == Service::Iam {
            let message = self.detail().unwrap_or(code.message);
            let title = title(code.status);
            json!({"error": {"code": code.status, "message": message, "title": title}})
        } else {
            let mut body = Map::new();
            body.insert("error_code".to_owned(), code.name.into());
            let message = self.message(service).into_owned();
            body.insert("error_msg".to_owned(), message.into());
            if code.name.starts_with("APIGW.") {
                body.insert("request_id".to_owned(), request_id.into());
            }
            if let Some(detail) = self.detail() {
                body.insert("error_detail".to_owned(), detail.into());
            }
            Value::Object(body)
        };
        let retry = self
            .retry_after
            .map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        Answer {
            status: code.status,
            headers: retry.into_iter().collect(),
            body: Body::Json(body),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        Self::internal(&error)
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::internal(&error)
    }
}

impl From<X509Error> for Failure {
    fn from(error: X509Error) -> Self {
        Self::internal(&error)
    }
}

impl From<PkiError> for Failure {
    fn from(error: PkiError) -> Self {
        Self::internal(&error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(&error)
    }
}

impl Service {
    /// The code for what no other code describes.
    pub(super) const fn unknown_error(self) -> &'static Code {
        match self {
            Self::Scm => code("SCM.0504"),
            Self::Pca | Self::Iam => code("PCA.00000001"),
        }
    }

    /// The code for a parameter without a code of its own.
    pub(super) const fn bad_parameter(self) -> &'static Code {
        match self {
            Self::Scm => code("SCM.0005"),
            Self::Pca | Self::Iam => code("PCA.00020001"),
        }
    }

    /// The code for a request with neither a valid token nor a signature.
    pub(super) const fn unauthenticated(self) -> &'static Code {
        match self {
            Self::Scm => code("SCM.1000"),
            Self::Pca | Self::Iam => code("PCA.00010001"),
        }
    }

    /// The code for a known user without the action.
    pub(super) const fn forbidden(self) -> &'static Code {
        match self {
            Self::Scm => code("SCM.1019"),
            Self::Pca | Self::Iam => code("PCA.00010004"),
        }
    }
}

/// Where a message of the reference says more.
const OPEN: &str = "{0}";

const fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Request Entity Too Large",
        429 => "Too Many Requests",
        _ => "Internal Server Error",
    }
}
