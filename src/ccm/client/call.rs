//! One operation with all that is sent for it.

use serde::Serialize;

use crate::ccm::Answer;
use crate::ccm::client::JSON;
use crate::ccm::error::{CcmError, Class, Effect, Operation};
use crate::ccm::limits::{Problems, Request};
use crate::ccm::operations::Described;

/// One operation to be carried out.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    pub(super) query: Vec<(&'a str, String)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) content_type: &'static str,
    /// Whether a second one does no harm.
    pub(super) repeatable: bool,
}

impl<'a> Call<'a> {
    /// The operation with these ids in its path.
    pub(crate) fn of(described: &Described, ids: &[&str]) -> Answer<Self> {
        Ok(Self {
            operation: described.with(ids)?,
            query: Vec::new(),
            body: None,
            content_type: JSON,
            repeatable: described.repeatable,
        })
    }

    pub(crate) fn query(mut self, key: &'a str, value: impl ToString) -> Self {
        self.query.push((key, value.to_string()));
        self
    }

    /// A query parameter where there is a value.
    pub(crate) fn maybe(self, key: &'a str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Sends a request as JSON, once it was held to its limits.
    pub(crate) fn body(self, request: &impl Request) -> Answer<Self> {
        let mut problems = Problems::default();
        request.check(&mut problems);
        if let Some(told) = problems.told() {
            let class = Class::Rejected;
            let message = format!("not sent: {told}");
            let error = CcmError::call(&self.operation, "", class, Effect::None, message);
            return Err(Box::new(error));
        }
        self.json(request)
    }

    /// Sends bytes of another kind.
    pub(crate) fn bytes(mut self, content_type: &'static str, bytes: Vec<u8>) -> Self {
        self.body = Some(bytes);
        self.content_type = content_type;
        self
    }

    /// Sends a request as JSON that has no limits of its own.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Answer<Self> {
        let bytes = serde_json::to_vec(body).map_err(|_| {
            let message = "the request cannot be written as JSON";
            CcmError::call(&self.operation, "", Class::Bug, Effect::None, message)
        })?;
        self.body = Some(bytes);
        Ok(self)
    }
}

/// An id as a path segment: those of CCM are letters, digits and hyphens. Anything else could name another path.
pub(crate) fn segment(id: &str) -> Answer<&str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.is_empty() || id.len() > 64 || !id.bytes().all(good) {
        return Err(Box::new(CcmError {
            class: Class::Rejected,
            ..CcmError::setup(format!("{id:?} is no id of CCM"))
        }));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        assert!(segment("4c0e772e-a30c-4029-b929-b7acb04143f7").is_ok());
        assert!(segment("scs1600313391074").is_ok());
        for id in ["", ".", "..", "a/b", "a?b", "a%2fb", "ä"] {
            assert_eq!(segment(id).unwrap_err().effect, Effect::None, "{id}");
        }
        assert!(segment(&"a".repeat(65)).is_err());
    }
}
