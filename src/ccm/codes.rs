//! The codes of the reference (CCM API A.2) and of Huawei's API gateway: what each of them calls for.

use crate::ccm::error::Class;

/// The class of a code that the reference or Huawei's gateway documents.
pub(crate) fn class_of_code(code: &str) -> Option<Class> {
    [
        (AUTHENTICATION, Class::Authentication),
        (CONFIGURATION, Class::Configuration),
        (TRANSIENT, Class::Transient),
        (REJECTED, Class::Rejected),
    ]
    .into_iter()
    .find(|(codes, _)| codes.contains(&code))
    .map(|(_, class)| class)
}

/// Whether a 401 with this code speaks of the token itself (and not of the account or its rights), so that a fresh
/// token may help.
pub(crate) fn blames_the_token(code: Option<&str>) -> bool {
    match code {
        None => true,
        Some(code) => {
            code.starts_with("APIGW.")
                || matches!(
                    code,
                    "SCM.0092" | "SCM.0093" | "SCM.1000" | "PCA.00010001" | "401"
                )
        }
    }
}

/// What to do, where the remote message does not say it.
pub(crate) fn advice(code: &str) -> Option<&'static str> {
    match code {
        "APIGW.0301" => Some("check access key, secret key and the clock of this host"),
        "APIGW.0303" => Some("check the clock of this host: 15 minutes off are refused"),
        "APIGW.0101" => Some("check the endpoint: SCM and PCA have different hosts"),
        "PCA.00030001" => Some("delete what is not needed or have the quota raised"),
        _ => None,
    }
}

/// Credentials, tokens, rights, frozen accounts: a person with rights in the account helps.
const AUTHENTICATION: &[&str] = &[
    "APIGW.0301",
    "APIGW.0303",
    "APIGW.0305",
    "APIGW.0306",
    "APIGW.0307",
    "PCA.00000101",
    "PCA.00010001",
    "PCA.00010002",
    "PCA.00010003",
    "PCA.00010004",
    "PCA.00030202",
    "SCM.0003",
    "SCM.0044",
    "SCM.0092",
    "SCM.0093",
    "SCM.0202",
    "SCM.0212",
    "SCM.0222",
    "SCM.0322",
    "SCM.1000",
    "SCM.1004",
    "SCM.1009",
    "SCM.1010",
    "SCM.1019",
    "SCM.4002",
];

/// Endpoint, region, project, quota, the named CA: settings here or in the account must change.
const CONFIGURATION: &[&str] = &[
    "APIGW.0101",
    "PCA.00000006",
    "PCA.00020201",
    "PCA.00030001",
    "PCA.00030103",
    "SCM.0001",
    "SCM.0002",
    "SCM.0011",
    "SCM.0040",
    "SCM.0061",
    "SCM.0068",
    "SCM.0069",
    "SCM.0075",
    "SCM.0099",
    "SCM.0104",
    "SCM.0204",
    "SCM.0224",
    "SCM.0225",
    "SCM.0302",
];

/// Faults of the service that may pass, and orders that are still being carried out.
const TRANSIENT: &[&str] = &[
    "PCA.00000001",
    "PCA.00000002",
    "PCA.00000003",
    "PCA.00000004",
    "PCA.00000005",
    "SCM.0004",
    "SCM.0007",
    "SCM.0019",
    "SCM.0037",
    "SCM.0038",
    "SCM.0062",
    "SCM.0064",
    "SCM.0087",
    "SCM.0091",
    "SCM.0095",
    "SCM.0097",
    "SCM.0098",
    "SCM.0100",
    "SCM.0201",
    "SCM.0203",
    "SCM.0211",
    "SCM.0213",
    "SCM.0221",
    "SCM.0223",
    "SCM.0324",
    "SCM.0504",
    "SCM.4001",
];

/// This very request is wrong or not possible; the same one will fail again. SCM.0013, 0017, 0071 and 0402 come with
/// status 500 and still speak of the request.
const REJECTED: &[&str] = &[
    "PCA.00020001",
    "PCA.00020101",
    "PCA.00020102",
    "PCA.00020103",
    "PCA.00020109",
    "PCA.00020110",
    "PCA.00020111",
    "PCA.00020112",
    "PCA.00020202",
    "PCA.00020203",
    "PCA.00020204",
    "PCA.00020301",
    "PCA.00020401",
    "PCA.00020402",
    "PCA.00020403",
    "PCA.00020404",
    "PCA.00030102",
    "PCA.00030201",
    "PCA.00030301",
    "SCM.0005",
    "SCM.0006",
    "SCM.0008",
    "SCM.0009",
    "SCM.0010",
    "SCM.0012",
    "SCM.0013",
    "SCM.0014",
    "SCM.0015",
    "SCM.0016",
    "SCM.0017",
    "SCM.0020",
    "SCM.0023",
    "SCM.0024",
    "SCM.0025",
    "SCM.0026",
    "SCM.0027",
    "SCM.0028",
    "SCM.0030",
    "SCM.0031",
    "SCM.0032",
    "SCM.0033",
    "SCM.0034",
    "SCM.0035",
    "SCM.0036",
    "SCM.0039",
    "SCM.0042",
    "SCM.0049",
    "SCM.0050",
    "SCM.0051",
    "SCM.0052",
    "SCM.0059",
    "SCM.0060",
    "SCM.0063",
    "SCM.0065",
    "SCM.0066",
    "SCM.0067",
    "SCM.0070",
    "SCM.0071",
    "SCM.0072",
    "SCM.0073",
    "SCM.0074",
    "SCM.0076",
    "SCM.0079",
    "SCM.0080",
    "SCM.0081",
    "SCM.0082",
    "SCM.0083",
    "SCM.0085",
    "SCM.0086",
    "SCM.0094",
    "SCM.0101",
    "SCM.0102",
    "SCM.0103",
    "SCM.0105",
    "SCM.0106",
    "SCM.0108",
    "SCM.0109",
    "SCM.0301",
    "SCM.0303",
    "SCM.0304",
    "SCM.0305",
    "SCM.0306",
    "SCM.0309",
    "SCM.0310",
    "SCM.0311",
    "SCM.0312",
    "SCM.0313",
    "SCM.0314",
    "SCM.0318",
    "SCM.0319",
    "SCM.0321",
    "SCM.0323",
    "SCM.0401",
    "SCM.0402",
    "SCM.0501",
    "SCM.0502",
    "SCM.0505",
    "SCM.0506",
    "SCM.0507",
    "SCM.0508",
];

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    fn reference() -> Vec<(String, u16)> {
        let file = include_str!("../../tests/fixtures/ccm/errors.json");
        let codes: Vec<serde_json::Value> = serde_json::from_str(file).unwrap();
        let code = |entry: &serde_json::Value| {
            let status = entry["http_status"].as_u64().unwrap();
            (
                entry["code"].as_str().unwrap().to_owned(),
                u16::try_from(status).unwrap(),
            )
        };
        codes.iter().map(code).collect()
    }

    #[test]
    fn every_code_of_the_reference_has_a_class_that_fits_its_status() {
        let reference = reference();
        assert_eq!(reference.len(), 165);
        for (code, status) in reference {
            let class = class_of_code(&code).unwrap_or_else(|| panic!("{code} has no class"));
            assert_ne!(class, Class::Bug, "{code}");
            assert_ne!(class, Class::RateLimited, "{code}");
            match status {
                401 => assert_eq!(class, Class::Authentication, "{code}"),
                403 | 404 => assert_ne!(class, Class::Transient, "{code}"),
                _ => {}
            }
        }
    }

    #[test]
    fn no_code_has_two_classes_and_none_is_made_up() {
        let lists = [AUTHENTICATION, CONFIGURATION, TRANSIENT, REJECTED];
        let all: Vec<&str> = lists.concat();
        let distinct: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
        let reference: BTreeSet<String> = reference().into_iter().map(|(code, _)| code).collect();
        for code in distinct {
            assert!(
                reference.contains(code) || code.starts_with("APIGW."),
                "{code}"
            );
        }
    }
}
