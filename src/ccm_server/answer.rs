//! What an operation answers, before it becomes HTTP.

use hyper::body::Bytes;
use serde_json::Value;

/// A whole answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// Headers beside those that every answer has.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Body,
}

/// A body.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// `application/json`.
    Json(Value),
    /// Something else as it is.
    Bytes {
        /// Its media type.
        kind: &'static str,
        /// All of it.
        bytes: Bytes,
    },
    /// None at all.
    Empty,
}

impl Answer {
    /// 200 with JSON.
    pub(super) const fn ok(body: Value) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Body::Json(body),
        }
    }

    /// 201 with JSON.
    pub(super) const fn created(body: Value) -> Self {
        Self {
            status: 201,
            headers: Vec::new(),
            body: Body::Json(body),
        }
    }

    /// 200 with a ZIP archive that is to be saved under this name, without its extension.
    pub(super) fn archive(name: &str, bytes: Vec<u8>) -> Self {
        let name = format!("attachment; filename=\"{name}.zip\"");
        Self {
            status: 200,
            headers: vec![("content-disposition".to_owned(), name)],
            body: Body::Bytes {
                kind: "application/zip",
                bytes: bytes.into(),
            },
        }
    }

    /// 204.
    pub(super) const fn no_content() -> Self {
        Self {
            status: 204,
            headers: Vec::new(),
            body: Body::Empty,
        }
    }
}
