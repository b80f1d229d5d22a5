//! The 70 operations of the reference: what each is called, by which method and path it is sent, whether sending it twice
//! does no harm, and which function of the client sends it. Calls are built from here and from nowhere else.

use crate::ccm::Answer;
use crate::ccm::client::segment;
use crate::ccm::error::Operation;

/// One operation of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Chapter of the CCM API reference, such as `4.2.2.3`.
    pub chapter: &'static str,
    /// In words, as errors call it.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Path, each id in braces.
    pub path: &'static str,
    /// The function that sends it, such as `Pca::issue_by_csr`.
    pub function: &'static str,
    /// Whether a second one does no harm: it reads, or sets what it set before.
    pub repeatable: bool,
}

impl Described {
    /// The operation with these ids in the braces of its path.
    ///
    /// # Errors
    /// `Rejected` for an id that could name another path.
    pub(crate) fn with(&self, ids: &[&str]) -> Answer<Operation> {
        let mut path = String::with_capacity(self.path.len() + 40);
        let mut rest = self.path;
        let mut ids = ids.iter();
        while let Some((before, behind)) = rest.split_once('{') {
            path.push_str(before);
            path.push_str(segment(ids.next().copied().unwrap_or(""))?);
            rest = behind.split_once('}').map_or("", |(_, after)| after);
        }
        path.push_str(rest);
        Ok(Operation {
            name: self.name,
            method: self.method,
            path,
        })
    }
}

macro_rules! operations {
    ($($id:ident $chapter:literal $method:ident $path:literal $repeat:ident $function:literal $name:literal;)*) => {
        $(pub(crate) static $id: Described = Described {
            chapter: $chapter,
            name: $name,
            method: stringify!($method),
            path: $path,
            function: $function,
            repeatable: operations!(@ $repeat),
        };)*

        /// Every operation, in the order of the reference.
        pub static OPERATIONS: &[&Described] = &[$(&$id),*];
    };
    (@ read) => { true };
    (@ act) => { false };
}

operations! {
    APPLY "4.1.1.1" POST "/v3/scm/certificates/{certificate_id}/apply" act "Scm::apply" "SCM apply for certificate";
    CANCEL "4.1.1.2" POST "/v3/scm/certificates/{certificate_id}/cancel-cert" act "Scm::cancel" "SCM cancel application";
    TAG_FILTER "4.1.2.1" POST "/v3/scm/resource_instances/action" read "Scm::filter_by_tags" "SCM list by tags";
    TAG_BATCH "4.1.2.2" POST "/v3/scm/{resource_id}/tags/action" act "Scm::batch_tags" "SCM change tags";
    TAG_ADD "4.1.2.3" POST "/v3/scm/{resource_id}/tags" act "Scm::add_tag" "SCM add tag";
    TAG_LIST "4.1.2.4" GET "/v3/scm/{resource_id}/tags" read "Scm::list_tags" "SCM list tags of certificate";
    TAG_ALL "4.1.2.5" GET "/v3/scm/tags" read "Scm::list_all_tags" "SCM list all tags";
    BUY "4.1.3.1" POST "/v3/scm/certificates/buy" act "Scm::buy" "SCM buy certificate";
    CSR_CREATE "4.1.4.1" POST "/v3/scm/csr" act "Scm::create_csr" "SCM create CSR";
    CSR_LIST "4.1.4.2" GET "/v3/scm/csr" read "Scm::list_csrs" "SCM list CSRs";
    CSR_SHOW "4.1.4.3" GET "/v3/scm/csr/{id}" read "Scm::show_csr" "SCM show CSR";
    CSR_UPDATE "4.1.4.4" PUT "/v3/scm/csr/{id}" read "Scm::rename_csr" "SCM rename CSR";
    CSR_DELETE "4.1.4.5" DELETE "/v3/scm/csr/{id}" act "Scm::delete_csr" "SCM delete CSR";
    CSR_UPLOAD "4.1.4.6" POST "/v3/scm/csr/upload" act "Scm::upload_csr" "SCM upload CSR";
    CSR_KEY "4.1.4.7" GET "/v3/scm/csr/{id}/private-key" read "Scm::show_csr_key" "SCM show key of CSR";
    SCM_LIST "4.1.5.1" GET "/v3/scm/certificates" read "Scm::list_certificates" "SCM list certificates";
    SCM_IMPORT "4.1.5.2" POST "/v3/scm/certificates/import" act "Scm::import_certificate" "SCM import certificate";
    SCM_SHOW "4.1.5.3" GET "/v3/scm/certificates/{certificate_id}" read "Scm::show_certificate" "SCM show certificate";
    SCM_DELETE "4.1.5.4" DELETE "/v3/scm/certificates/{certificate_id}" act "Scm::delete_certificate" "SCM delete certificate";
    SCM_EXPORT "4.1.5.5" POST "/v3/scm/certificates/{certificate_id}/export" read "Scm::export_certificate" "SCM export certificate";
    PUSH "4.1.6.1" POST "/v3/scm/certificates/{certificate_id}/push" act "Scm::push" "SCM push certificate";
    BATCH_PUSH "4.1.6.2" POST "/v3/scm/certificates/{certificate_id}/batch-push" act "Scm::batch_push" "SCM push certificate to projects";
    DEPLOY "4.1.6.3" POST "/v3/scm/certificates/{certificate_id}/deploy" act "Scm::deploy" "SCM deploy certificate";
    DEPLOYED "4.1.6.4" POST "/v3/scm/deployed-resources" read "Scm::deployed" "SCM list deployed resources";
    CA_LIST "4.2.1.1" GET "/v1/private-certificate-authorities" read "Pca::list_authorities" "PCA list CAs";
    CA_CREATE "4.2.1.2" POST "/v1/private-certificate-authorities" act "Pca::create_authority" "PCA create CA";
    CA_QUOTA "4.2.1.3" GET "/v1/private-certificate-authorities/quotas" read "Pca::authority_quota" "PCA show CA quota";
    CA_SHOW "4.2.1.4" GET "/v1/private-certificate-authorities/{ca_id}" read "Pca::show_authority" "PCA show CA";
    CA_DELETE "4.2.1.5" DELETE "/v1/private-certificate-authorities/{ca_id}" act "Pca::delete_authority" "PCA delete CA";
    CA_ACTIVATE "4.2.1.6" POST "/v1/private-certificate-authorities/{ca_id}/activate" act "Pca::activate_authority" "PCA activate CA";
    CA_CSR "4.2.1.7" GET "/v1/private-certificate-authorities/{ca_id}/csr" read "Pca::authority_csr" "PCA export CSR of CA";
    CA_DISABLE "4.2.1.8" POST "/v1/private-certificate-authorities/{ca_id}/disable" act "Pca::disable_authority" "PCA disable CA";
    CA_ENABLE "4.2.1.9" POST "/v1/private-certificate-authorities/{ca_id}/enable" act "Pca::enable_authority" "PCA enable CA";
    CA_EXPORT "4.2.1.10" POST "/v1/private-certificate-authorities/{ca_id}/export" read "Pca::export_authority" "PCA export CA certificate";
    CA_IMPORT "4.2.1.11" POST "/v1/private-certificate-authorities/{ca_id}/import" act "Pca::import_authority" "PCA import CA certificate";
    CA_RESTORE "4.2.1.12" POST "/v1/private-certificate-authorities/{ca_id}/restore" act "Pca::restore_authority" "PCA restore CA";
    CA_REVOKE "4.2.1.13" POST "/v1/private-certificate-authorities/{ca_id}/revoke" act "Pca::revoke_authority" "PCA revoke CA";
    CERT_LIST "4.2.2.1" GET "/v1/private-certificates" read "Pca::list_certificates" "PCA list certificates";
    CERT_ISSUE "4.2.2.2" POST "/v1/private-certificates" act "Pca::issue" "PCA issue with key";
    CERT_BY_CSR "4.2.2.3" POST "/v1/private-certificates/csr" act "Pca::issue_by_csr" "PCA issue by CSR";
    CERT_PARSE "4.2.2.4" POST "/v1/private-certificates/csr/parse" read "Pca::parse_csr" "PCA parse CSR";
    CERT_QUOTA "4.2.2.5" GET "/v1/private-certificates/quotas" read "Pca::certificate_quota" "PCA show certificate quota";
    CERT_SHOW "4.2.2.6" GET "/v1/private-certificates/{certificate_id}" read "Pca::show_certificate" "PCA show certificate";
    CERT_DELETE "4.2.2.7" DELETE "/v1/private-certificates/{certificate_id}" act "Pca::delete_certificate" "PCA delete certificate";
    CERT_EXPORT "4.2.2.8" POST "/v1/private-certificates/{certificate_id}/export" read "Pca::export_certificate" "PCA export certificate";
    CERT_REVOKE "4.2.2.9" POST "/v1/private-certificates/{certificate_id}/revoke" act "Pca::revoke_certificate" "PCA revoke certificate";
    OBS_AGENCY "4.2.3.1" GET "/v1/private-certificate-authorities/obs/agencies" read "Pca::obs_agency" "PCA show OBS agency";
    OBS_GRANT "4.2.3.2" POST "/v1/private-certificate-authorities/obs/agencies" act "Pca::create_obs_agency" "PCA create OBS agency";
    OBS_BUCKETS "4.2.3.3" GET "/v1/private-certificate-authorities/obs/buckets" read "Pca::list_obs_buckets" "PCA list OBS buckets";
    V2_BUY "7.1.1" POST "/v2/{project_id}/scm/cert/purchase" act "ScmV2::buy" "SCM v2 buy certificate";
    V2_LIST "7.1.2" GET "/v2/{project_id}/scm/certlist" read "ScmV2::list" "SCM v2 list certificates";
    V2_SHOW "7.1.3" GET "/v2/{project_id}/scm/cert/{cert_id}" read "ScmV2::show" "SCM v2 show certificate";
    V2_MODIFY "7.1.4" PUT "/v2/{project_id}/scm/cert/{cert_id}" read "ScmV2::modify" "SCM v2 modify certificate";
    V2_PRODUCTS "7.1.5" GET "/v2/{project_id}/scm/cert/product" read "ScmV2::products" "SCM v2 list products";
    V2_PRODUCT "7.1.6" GET "/v2/{project_id}/scm/product/{product_id}" read "ScmV2::product" "SCM v2 show product";
    V2_APPLY "7.1.7" POST "/v2/{project_id}/scm/cert/{cert_id}/complete" act "ScmV2::apply" "SCM v2 apply for certificate";
    V2_CHECK_CSR "7.1.8" POST "/v2/{project_id}/scm/check-csr" read "ScmV2::check_csr" "SCM v2 check CSR";
    V2_SAVE "7.1.9" POST "/v2/{project_id}/scm/cert/{cert_id}/save" act "ScmV2::save" "SCM v2 save application";
    V2_READ "7.1.10" POST "/v2/{project_id}/scm/cert/{cert_id}/read" read "ScmV2::saved" "SCM v2 read application";
    V2_CANCEL "7.1.11" POST "/v2/{project_id}/scm/cert/{cert_id}/cancel-cert" act "ScmV2::cancel" "SCM v2 cancel application";
    V2_DELETE "7.1.12" DELETE "/v2/{project_id}/scm/cert/{cert_id}" act "ScmV2::delete" "SCM v2 delete certificate";
    V2_AUTHENTICATION "7.1.13" POST "/v2/{project_id}/scm/cert/{cert_id}/info/{type}/upload_authentication" act "ScmV2::upload_authentication" "SCM v2 upload authentication";
    V2_DOWNLOAD "7.1.14" GET "/v2/{project_id}/scm/cert/{cert_id}/cert_file" read "ScmV2::download" "SCM v2 download certificate";
    V2_UPLOAD "7.1.15" POST "/v2/{project_id}/scm/cert/upload" act "ScmV2::upload" "SCM v2 upload certificate";
    V2_REVOKE "7.1.16" POST "/v2/{project_id}/scm/cert/{cert_id}/revoke" act "ScmV2::revoke" "SCM v2 revoke certificate";
    V2_PUSH "7.1.17" POST "/v2/{project_id}/scm/cert/{cert_id}/push" act "ScmV2::push" "SCM v2 push certificate";
    V2_HISTORY "7.1.18" GET "/v2/{project_id}/scm/cert/{cert_id}/push-history" read "ScmV2::push_history" "SCM v2 list pushes";
    V2_PRIVACY "7.1.19" DELETE "/v2/{project_id}/scm/privacy-protection/{cert_id}" act "ScmV2::cancel_privacy" "SCM v2 withdraw privacy consent";
    V2_SUPPLEMENT "7.1.20" POST "/v2/{project_id}/scm/cert/{cert_id}/supplement" act "ScmV2::supplement" "SCM v2 add domains";
    V2_VERIFY "7.1.21" GET "/v2/{project_id}/scm/cert/{cert_id}/domain-verify" read "ScmV2::domain_verification" "SCM v2 show domain verification";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_seventy_operations_and_no_two_alike() {
        assert_eq!(OPERATIONS.len(), 70);
        let distinct = |of: fn(&Described) -> String| {
            let all: std::collections::BTreeSet<String> =
                OPERATIONS.iter().map(|one| of(one)).collect();
            all.len()
        };
        assert_eq!(distinct(|one| one.chapter.to_owned()), 70);
        assert_eq!(distinct(|one| one.name.to_owned()), 70);
        assert_eq!(distinct(|one| one.function.to_owned()), 70);
        assert_eq!(distinct(|one| format!("{} {}", one.method, one.path)), 70);
    }

    #[test]
    fn ids_go_into_the_braces_of_a_path_in_their_order() {
        let operation = V2_AUTHENTICATION.with(&["project", "scs1", "BL"]).unwrap();
        assert_eq!(
            operation.path,
            "/v2/project/scm/cert/scs1/info/BL/upload_authentication"
        );
        assert!(V2_SHOW.with(&["project"]).is_err(), "an id is missing");
        assert!(V2_SHOW.with(&["project", "../x"]).is_err());
    }
}
