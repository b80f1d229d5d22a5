//! Finds the operation of a request, in both spellings of the reference.

use serde_json::{Map, Value};

use crate::ccm_server::operation::Operation;
use crate::ccm_server::text;
use crate::ccm_server::{iam, pca, scm, scm2};

/// An operation and the parameters in its path.
pub(super) struct Found {
    /// The operation.
    pub(super) operation: &'static Operation,
    /// Names and decoded values.
    pub(super) parameters: Map<String, Value>,
}

/// All operations.
pub(super) fn operations() -> impl Iterator<Item = &'static Operation> {
    [
        iam::OPERATIONS,
        pca::OPERATIONS,
        scm::OPERATIONS,
        scm::ORDER_OPERATIONS,
        scm::CSR_OPERATIONS,
        scm::TAG_OPERATIONS,
        scm::DEPLOY_OPERATIONS,
        scm2::APPLICATION_OPERATIONS,
        scm2::CERTIFICATE_OPERATIONS,
    ]
    .into_iter()
    .flatten()
}

/// The chapters of the reference whose operations are served, for the table in the documentation; IAM has none there.
#[must_use]
pub fn chapters() -> Vec<&'static str> {
    operations().map(|operation| operation.chapter).collect()
}

/// The operation of this method and path; where a fixed segment and a parameter both fit, the fixed one wins.
pub(super) fn find(method: &str, path: &str) -> Option<Found> {
    let segments: Vec<String> = path.split('/').map(text::percent_decode).collect();
    let mut best: Option<(usize, Found)> = None;
    for operation in operations().filter(|operation| operation.verb.name() == method) {
        let Some((fixed, parameters)) = fit(operation.path, &segments) else {
            continue;
        };
        if best.as_ref().is_none_or(|(most, _)| fixed > *most) {
            best = Some((
                fixed,
                Found {
                    operation,
                    parameters,
                },
            ));
        }
    }
    best.map(|(_, found)| found)
}

fn fit(pattern: &str, segments: &[String]) -> Option<(usize, Map<String, Value>)> {
    let mut fixed = 0;
    let mut parameters = Map::new();
    let mut given = segments.iter();
    for part in pattern.split('/') {
        let segment = given.next()?;
        match part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            Some(name) if !segment.is_empty() => {
                parameters.insert(name.to_owned(), segment.as_str().into());
            }
            Some(_) => return None,
            None if part == segment || (part == HYPHENS && segment == CAMEL) => fixed += 1,
            None => return None,
        }
    }
    given.next().is_none().then_some((fixed, parameters))
}

/// The reference prints both; the SDK sends the first.
const HYPHENS: &str = "private-certificate-authorities";
const CAMEL: &str = "private-certificateAuthorities";

#[cfg(test)]
mod tests {
    use super::*;

    fn chapter(method: &str, path: &str) -> Option<&'static str> {
        find(method, path).map(|found| found.operation.chapter)
    }

    #[test]
    fn both_spellings_lead_to_the_same_operation() {
        let id = "a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe";
        for spelling in [HYPHENS, CAMEL] {
            assert_eq!(chapter("GET", &format!("/v1/{spelling}")), Some("4.2.1.1"));
            assert_eq!(
                chapter("GET", &format!("/v1/{spelling}/{id}")),
                Some("4.2.1.4")
            );
            assert_eq!(
                chapter("POST", &format!("/v1/{spelling}/{id}/activate")),
                Some("4.2.1.6")
            );
        }
    }

    #[test]
    fn fixed_segments_win_over_parameters() {
        assert_eq!(
            chapter("POST", "/v1/private-certificates/csr"),
            Some("4.2.2.3")
        );
        assert_eq!(
            chapter("POST", "/v3/scm/certificates/import"),
            Some("4.1.5.2")
        );
        assert_eq!(
            chapter("GET", "/v3/scm/certificates/scs1554192131150"),
            Some("4.1.5.3")
        );
        let id = "48e392628b0f47769e47d91acc7654a5";
        assert_eq!(chapter("POST", "/v3/scm/csr/upload"), Some("4.1.4.6"));
        assert_eq!(
            chapter("PUT", &format!("/v3/scm/csr/{id}")),
            Some("4.1.4.4")
        );
        assert_eq!(
            chapter("POST", "/v3/scm/resource_instances/action"),
            Some("4.1.2.1")
        );
        assert_eq!(
            chapter("POST", "/v3/scm/scs1554192131150/tags/action"),
            Some("4.1.2.2")
        );
        let project = "/v2/0605768a3300d5762f11c018d8d0f8e1/scm";
        assert_eq!(
            chapter("GET", &format!("{project}/cert/product")),
            Some("7.1.5")
        );
        assert_eq!(
            chapter("GET", &format!("{project}/cert/scs1554192131150")),
            Some("7.1.3")
        );
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/private-certificates/",
            "/v1/private-certificates/x/y",
            "//v1",
        ] {
            assert_eq!(chapter("GET", path), None, "{path}");
        }
        assert_eq!(chapter("PATCH", "/v1/private-certificates"), None);
    }

    #[test]
    fn no_operation_is_declared_twice() {
        let mut all: Vec<(&str, &str)> = operations().map(|o| (o.verb.name(), o.path)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
