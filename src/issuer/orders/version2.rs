//! Chapter 7 of the API, which has a project in every path: that of the policy, or what IAM tells.

use crate::ccm::{Project, ScmV2};
use crate::issuer::IssuerError;
use crate::issuer::failure::{own, reading};
use crate::issuer::orders::Orders;
use crate::model::ErrorClass;

impl Orders {
    /// The operations of chapter 7. IAM is asked once.
    pub(super) async fn v2(&self) -> Result<&ScmV2, IssuerError> {
        let made = async {
            let project = match &self.project {
                Some(project) => project.clone(),
                None => self.ask_iam().await?,
            };
            Ok(self.scm.v2(project))
        };
        self.version2.get_or_try_init(|| made).await
    }

    async fn ask_iam(&self) -> Result<String, IssuerError> {
        let unknown = |why: String| {
            let help = "set `project` of the issuer to the id of any project of the account";
            own(ErrorClass::Configuration, format!("{why}; {help}"))
        };
        let Some(iam) = &self.projects else {
            return Err(unknown(
                "no project is known, and nobody can be asked".to_owned(),
            ));
        };
        let name = self.project_name.as_deref();
        let mut found = iam.list(name).await.map_err(reading)?;
        if found.is_empty() && name.is_some() {
            found = iam.list(None).await.map_err(reading)?;
        }
        let usable = |one: &&Project| one.enabled != Some(false);
        // SCM is one for all regions: any project of the account will do, and always the same one is best.
        let first = found
            .iter()
            .filter(usable)
            .min_by_key(|one| (one.name.as_deref() != name, one.name.clone()));
        match first {
            Some(project) => Ok(project.id.clone()),
            None => Err(unknown(format!("IAM at {} shows no project", iam.host()))),
        }
    }
}

/// The region in an endpoint such as `https://scm.ap-southeast-1.myhuaweicloud.com`, after which a project is called.
pub(in crate::issuer) fn region_of(endpoint: &str) -> Option<&str> {
    let (_, host) = endpoint.split_once("://")?;
    let (_, rest) = host.split_once('.')?;
    let (region, rest) = rest.split_once('.')?;
    rest.starts_with("myhuaweicloud.").then_some(region)
}

/// Where IAM is, for an endpoint of SCM: beside it in Huawei Cloud, and the same host elsewhere, such as renewd-ccm.
pub(in crate::issuer) fn iam_of(endpoint: &str) -> String {
    let of_cloud = |host: &str| {
        let (service, rest) = host.split_once('.')?;
        let clouds = rest.contains(".myhuaweicloud.") || rest.starts_with("myhuaweicloud.");
        (matches!(service, "scm" | "ccm") && clouds).then(|| format!("iam.{rest}"))
    };
    let Some((scheme, host)) = endpoint.split_once("://") else {
        return endpoint.to_owned();
    };
    of_cloud(host).map_or_else(|| endpoint.to_owned(), |host| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iam_is_beside_scm_in_the_cloud_and_the_same_host_elsewhere() {
        for (scm, iam) in [
            (
                "https://scm.ap-southeast-1.myhuaweicloud.com",
                "https://iam.ap-southeast-1.myhuaweicloud.com",
            ),
            (
                "https://ccm.myhuaweicloud.com",
                "https://iam.myhuaweicloud.com",
            ),
            (
                "https://ccm.example.com:8443",
                "https://ccm.example.com:8443",
            ),
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
        ] {
            assert_eq!(iam_of(scm), iam);
        }
        assert_eq!(
            region_of("https://scm.ap-southeast-1.myhuaweicloud.com:443"),
            Some("ap-southeast-1")
        );
        assert_eq!(region_of("https://ccm.myhuaweicloud.com"), None);
        assert_eq!(region_of("http://127.0.0.1:8443"), None);
    }
}
