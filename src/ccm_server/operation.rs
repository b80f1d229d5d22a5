//! What an operation of the API is made of: one entry of the table says path, permission, fields with their limits, and
//! who carries it out. `pca`, `scm` and `iam` each hold their part of the table.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Bytes;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::auth::Caller;
use crate::ccm_server::codes::Code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::{Field, Input};
use crate::ccm_server::server::Shared;
use crate::model::Timestamp;

/// Whose operation it is; decides the codes for what is common to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// SSL certificates.
    Scm,
    /// Private CAs.
    Pca,
    /// Users and tokens.
    Iam,
}

/// The methods the API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Verb {
    /// As it stands in a request line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Whether a caller must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody; only the request for a token.
    Open,
    /// Any known user.
    Known,
    /// Anybody; whoever gives credentials must give good ones, and is known then.
    Optional,
    /// A user with this action (CCM API chapter 6).
    Action(&'static str),
}

/// What is in the body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload {
    /// It is not read.
    None,
    /// A JSON object with these fields; no body at all is refused.
    Json(&'static [Field]),
    /// Anything.
    Raw {
        /// Bytes of it.
        most: usize,
        /// The code for more.
        too_long: &'static Code,
    },
}

/// The answer of a handler, on its way.
pub(super) type Handling<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// One operation.
pub(super) struct Operation {
    /// The chapter of the reference, such as `4.2.2.3`; for IAM a name.
    pub(super) chapter: &'static str,
    /// Whose it is.
    pub(super) service: Service,
    /// The method.
    pub(super) verb: Verb,
    /// Path with `{parameters}`, in the spelling with hyphens.
    pub(super) path: &'static str,
    /// Who may call it.
    pub(super) access: Access,
    /// The limits of the path's parameters.
    pub(super) path_fields: &'static [Field],
    /// The limits of the query's parameters.
    pub(super) query: &'static [Field],
    /// The body.
    pub(super) body: Payload,
    /// Carries it out.
    pub(super) run: for<'a> fn(&'a Call<'a>) -> Handling<'a>,
}

/// A request whose caller is known and whose fields are within their limits.
pub(super) struct Call<'a> {
    /// The server's parts.
    pub(super) shared: &'a Arc<Shared>,
    /// Who calls; `None` only where [`Access::Open`].
    pub(super) caller: Option<Caller>,
    /// Now.
    pub(super) now: Timestamp,
    /// Parameters of the path.
    pub(super) path: Input,
    /// Parameters of the query.
    pub(super) query: Input,
    /// Fields of the body; empty without one.
    pub(super) body: Input,
    /// The body as it came.
    pub(super) raw: Bytes,
}

impl Call<'_> {
    /// The account whose things may be seen and changed.
    pub(super) fn account(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| &caller.account)
    }
}
