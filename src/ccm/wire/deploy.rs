//! Pushing certificates to other services and deploying them there (CCM API 4.1.6).

use crate::ccm::lenient::answer;
use crate::ccm::limits::{Chars, Each, Inner, Known, request};
use crate::ccm::wire::words::{CloudService, ResourceKind, ServiceFilter};

request! {
    /// To which service of which project (4.1.6.1).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Push {
        /// The project, which is a region, such as `cn-north-7`.
        target_project: String = Chars(1, 255);
        /// The service.
        target_service: CloudService = Known;
    }

    /// To which service of which projects (4.1.6.2).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    BatchPush {
        /// The projects.
        target_projects: Vec<String> = Each(1, 10, Chars(1, 32));
        /// The service.
        target_service: CloudService = Known;
    }

    /// One thing of a service that shall use a certificate (4.1.6.3).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Resource {
        /// Its id: a certificate of ELB, a domain of WAF.
        id: Option<String> = Chars(1, 63);
        /// The mode of WAF.
        kind as "type": Option<ResourceKind> = Known;
        /// The domain at CDN.
        domain_name: Option<String> = Chars(1, 63);
        /// Enterprise project.
        enterprise_project_id: Option<String> = Chars(1, 63);
    }

    /// What shall use a certificate (4.1.6.3).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Deploy {
        /// The project; CDN has none.
        project_name: Option<String> = Chars(1, 255);
        /// The service.
        service_name: CloudService = Known;
        /// What of it.
        resources: Vec<Resource> = Each(1, 20, Inner);
    }

    /// Where certificates are used (4.1.6.4).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Deployed {
        /// The certificates.
        certificate_ids: Vec<String> = Each(1, 50, Chars(16, 16));
        /// The services.
        service_names: Vec<ServiceFilter> = Each(1, 50, Known);
    }
}

answer! {
    /// How one project took a certificate (4.1.6.2).
    PushResult {
        ;
        /// The project.
        project_name: Option<String>,
        /// The certificate's id there.
        cert_id: Option<String>,
        /// `success`, or why not.
        message: Option<String>,
    }

    /// The answer of 4.1.6.2.
    PushResults {
        ;
        /// One for each project.
        results: Vec<PushResult>,
    }

    /// What did not take a certificate (4.1.6.3).
    DeployFailure {
        ;
        /// Its id.
        resource: Option<String>,
        /// Why not.
        failure_info: Option<String>,
    }

    /// The answer of 4.1.6.3.
    DeployResult {
        ;
        /// What failed; empty when all is well.
        failure_list: Vec<DeployFailure>,
    }

    /// One thing that uses a certificate (4.1.6.4).
    UsingResource {
        ;
        /// Its id.
        resource_id: Option<String>,
        /// Its name.
        resource_name: Option<String>,
    }

    /// What of one region uses it (4.1.6.4).
    UsingRegion {
        ;
        /// The region.
        region_id: Option<String>,
        /// Whether the region could not be asked.
        is_error: Option<bool>,
        /// Each thing.
        resources: Vec<UsingResource>,
    }

    /// What of one service uses it (4.1.6.4).
    UsingService {
        ;
        /// The service.
        service: Option<String>,
        /// How many.
        resource_num: Option<i64>,
        /// `region`, or `global`.
        resource_location: Option<String>,
        /// Each region.
        region_resources: Vec<UsingRegion>,
    }

    /// Where one certificate is used (4.1.6.4).
    Using {
        ;
        /// The certificate.
        certificate_id: Option<String>,
        /// How many things use it.
        total_num: Option<i64>,
        /// Each service.
        deployed_resources: Vec<UsingService>,
    }

    /// The answer of 4.1.6.4.
    UsingList {
        ;
        /// One for each certificate.
        results: Vec<Using>,
    }
}
