//! What can go wrong with a call, what helps, and whether it may have had its effect all the same.

use std::fmt;

use crate::ccm::codes::{advice, class_of_code};

/// What kind of failure it was, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May pass by itself: network, 5xx, an unreadable answer.
    Transient,
    /// The remote side asked to wait.
    RateLimited,
    /// The remote side says no to this very request.
    Rejected,
    /// Credentials are wrong, expired, or may not do this.
    Authentication,
    /// Settings of this host or of the account must change.
    Configuration,
    /// A fault of renewd.
    Bug,
}

/// Whether a failed call may have changed something at the remote side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Certainly not: refused with an answer, or never sent.
    None,
    /// Sent, and the answer was lost or says nothing.
    Unknown,
}

/// A remote operation as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// In words, such as `PCA list CAs`.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Path without query.
    pub path: String,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.name, self.method, self.path)
    }
}

/// A call that failed. Never holds a secret: see `redact`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcmError {
    /// Which call; `None` while the client is set up.
    pub operation: Option<Operation>,
    /// `host:port` spoken to; empty while the client is set up.
    pub host: String,
    /// What helps.
    pub class: Class,
    /// Whether it may have happened all the same.
    pub effect: Effect,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The remote side's own code, such as `PCA.00030001`.
    pub code: Option<String>,
    /// What the remote side said, or what happened to the connection.
    pub message: String,
    /// For Huawei's support.
    pub request_id: Option<String>,
    /// Not before, in seconds from the answer, where the remote side said so.
    pub retry_after: Option<i64>,
}

impl CcmError {
    /// Something that must be changed here before any call can be made.
    pub(crate) fn setup(message: impl Into<String>) -> Self {
        Self {
            operation: None,
            host: String::new(),
            class: Class::Configuration,
            effect: Effect::None,
            status: None,
            code: None,
            message: message.into(),
            request_id: None,
            retry_after: None,
        }
    }

    /// A failure of a call without a readable refusal: the connection, the time, or the answer's form.
    pub(crate) fn call(
        operation: &Operation,
        host: &str,
        class: Class,
        effect: Effect,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation: Some(operation.clone()),
            host: host.to_owned(),
            class,
            effect,
            ..Self::setup(message)
        }
    }
}

impl std::error::Error for CcmError {}

impl fmt::Display for CcmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = &self.operation {
            write!(f, "{operation} at {}: ", self.host)?;
        }
        match (self.status, self.code.as_deref()) {
            (Some(status), Some(code)) => write!(f, "{status} {code}: ")?,
            (Some(status), None) => write!(f, "{status}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.message)?;
        if let Some(advice) = self.code.as_deref().and_then(advice) {
            write!(f, "; {advice}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

/// The class of a refusal. Codes of the reference decide first; the status decides for codes it does not know.
pub(crate) fn classify(status: u16, code: Option<&str>) -> Class {
    // A gateway that throttles may put any code beside the status.
    if status == 429 {
        return Class::RateLimited;
    }
    if let Some(class) = code.and_then(class_of_code) {
        return class;
    }
    match status {
        401 | 403 | 407 => Class::Authentication,
        // Without a code of CCM nobody at CCM has seen the call: another service, or a wrong path.
        300..=399 | 404 | 405 if code.is_none() => Class::Configuration,
        408 | 425 | 500..=599 => Class::Transient,
        _ => Class::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_decide_about_money_and_retries_are_as_they_should() {
        for (status, code, class) in [
            (429, Some("PCA.00020001"), Class::RateLimited),
            (403, Some("PCA.00030001"), Class::Configuration),
            (403, Some("PCA.00030201"), Class::Rejected),
            (404, Some("PCA.00030103"), Class::Configuration),
            (500, Some("SCM.0013"), Class::Rejected),
            (500, Some("PCA.00000001"), Class::Transient),
            (400, Some("SCM.0064"), Class::Transient),
            (400, Some("XYZ.1"), Class::Rejected),
            (401, None, Class::Authentication),
            (404, None, Class::Configuration),
            (404, Some("XYZ.1"), Class::Rejected),
            (302, None, Class::Configuration),
            (503, None, Class::Transient),
        ] {
            assert_eq!(classify(status, code), class, "{status} {code:?}");
        }
    }

    #[test]
    fn an_error_says_what_was_called_what_came_back_and_for_whom_to_ask() {
        let error = CcmError {
            status: Some(403),
            code: Some("PCA.00030001".into()),
            request_id: Some("77bd".into()),
            ..CcmError::call(
                &Operation {
                    name: "PCA list CAs",
                    method: "GET",
                    path: "/v1/private-certificate-authorities".into(),
                },
                "ccm.example",
                Class::Configuration,
                Effect::None,
                "CA or certificate quantity exceeds quota.",
            )
        };
        assert_eq!(
            error.to_string(),
            "PCA list CAs (GET /v1/private-certificate-authorities) at ccm.example: 403 PCA.00030001: CA or \
             certificate quantity exceeds quota.; delete what is not needed or have the quota raised (request id 77bd)"
        );
    }
}
