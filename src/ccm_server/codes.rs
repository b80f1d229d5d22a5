//! The error codes of the reference (CCM API, Appendix A.1): code, HTTP status and message, 165 of them, and the few of the
//! API gateway that the reference leaves out. What a handler means by a code is the handler's matter.

/// One code with the status and message that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// Such as `PCA.00030102`.
    pub(super) name: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// `error_msg`.
    pub(super) message: &'static str,
}

/// Looks a code up when the program is compiled; a code that is not in the table does not compile.
pub(super) const fn code(name: &str) -> &'static Code {
    let mut at = 0;
    while at < CODES.len() {
        if same(CODES[at].name, name) {
            return &CODES[at];
        }
        at += 1;
    }
    panic!("no such error code")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn c(name: &'static str, status: u16, message: &'static str) -> Code {
    Code {
        name,
        status,
        message,
    }
}

/// Every code there is. The gateway's come from Huawei's list of gateway errors.
#[rustfmt::skip]
pub(super) static CODES: &[Code] = &[
    c("SCM.0003", 400, "Tenant has no privilege."),
    c("SCM.0005", 400, "Incorrect request parameter."),
    c("SCM.0006", 400, "The uploaded certificate failed to be resolved. Ensure that the uploaded certificate has been issued."),
    c("SCM.0008", 400, "Abnormal certificate ID"),
    c("SCM.0009", 400, "Failed to upload the certificate because no domain name is bound to the certificate."),
    c("SCM.0010", 400, "This operation is not allowed by the current certificate type or status."),
    c("SCM.0011", 400, "The max number of free certificates for the current user has been reached, and you cannot continue to purchase free certificates."),
    c("SCM.0012", 400, "The uploaded private key failed to be resolved. Ensure that the certificate has been issued."),
    c("SCM.0014", 400, "The uploaded certificate does not match the private key."),
    c("SCM.0015", 400, "The number or format of domain names entered does not meet the requirements of the your certificate."),
    c("SCM.0016", 400, "Failed to order."),
    c("SCM.0020", 400, "Incorrect certificate ID."),
    c("SCM.0023", 400, "Modify key format error."),
    c("SCM.0024", 400, "Modify value format error."),
    c("SCM.0025", 400, "Exceed the limit"),
    c("SCM.0026", 400, "Revoke cert error"),
    c("SCM.0027", 400, "Have no revoke reason"),
    c("SCM.0028", 400, "Push cert error"),
    c("SCM.0030", 400, "Certificates cannot be pushed to this service."),
    c("SCM.0031", 400, "Certificate parsing error."),
    c("SCM.0032", 400, "Incorrect certificate name."),
    c("SCM.0033", 400, "Csr not bind domain."),
    c("SCM.0034", 400, "Csr parse error."),
    c("SCM.0035", 400, "Csr domain not match input domain."),
    c("SCM.0036", 400, "Domain number not match product."),
    c("SCM.0039", 400, "The updated quota value must be greater than the currently used quota."),
    c("SCM.0042", 400, "Cert has expired."),
    c("SCM.0044", 400, "Permission denied,please obtain {0} permission."),
    c("SCM.0049", 400, "Cert brand error."),
    c("SCM.0050", 400, "Cert type error."),
    c("SCM.0051", 400, "Domain type error."),
    c("SCM.0052", 400, "Cert effective time error."),
    c("SCM.0059", 400, "The certificate private key is empty."),
    c("SCM.0060", 400, "Order number error."),
    c("SCM.0061", 400, "Region parameter error."),
    c("SCM.0063", 400, "Duplicate domain error."),
    c("SCM.0064", 400, "The order is executing."),
    c("SCM.0065", 400, "File size exceeds limit."),
    c("SCM.0066", 400, "Current domain type not allowed to operate."),
    c("SCM.0067", 400, "Sans changed."),
    c("SCM.0068", 400, "Unsupported region."),
    c("SCM.0070", 400, "Incorrect format of the domain bound to the certificate to be uploaded."),
    c("SCM.0072", 400, "SCM does not support this status."),
    c("SCM.0073", 400, "Help content format error."),
    c("SCM.0074", 400, "Cert is not renewal paid."),
    c("SCM.0075", 400, "Invalid region id."),
    c("SCM.0076", 400, "DIGICERT DV basic not support to renew."),
    c("SCM.0079", 400, "Subject of CaCert not match issuer of Cert"),
    c("SCM.0080", 400, "Required param cert_info is null or empty."),
    c("SCM.0081", 400, "Required param cert_info is null or empty."),
    c("SCM.0082", 400, "Invalid validity_period, should be 12."),
    c("SCM.0083", 400, "Required param first_name is null or empty."),
    c("SCM.0085", 400, "Required param phone is null or empty."),
    c("SCM.0086", 400, "Required param email is null or empty."),
    c("SCM.0095", 400, "Run RmsApiController failed."),
    c("SCM.0101", 400, "The cert not support to auto deploy."),
    c("SCM.0102", 400, "This resource has been open to auto deploy."),
    c("SCM.0103", 400, "This resource is not exist."),
    c("SCM.0104", 400, "This region is not support."),
    c("SCM.0105", 400, "The cert has associated the auto deployed resources."),
    c("SCM.0106", 400, "The resource domain is not equals the cert."),
    c("SCM.0108", 400, "Domain format is invalid."),
    c("SCM.0109", 400, "Cert chain length must be more than 1."),
    c("SCM.0201", 400, "Failed to push to ELB."),
    c("SCM.0202", 400, "Insufficient ELB permissions"),
    c("SCM.0204", 400, "ELB does not support this region."),
    c("SCM.0211", 400, "Failed to push to CDN."),
    c("SCM.0212", 400, "Insufficient CDN permissions"),
    c("SCM.0221", 400, "Failed to push to WAF."),
    c("SCM.0222", 400, "Insufficient WAF permissions"),
    c("SCM.0224", 400, "WAF does not support this region."),
    c("SCM.0225", 400, "Insufficient WAF quota."),
    c("SCM.0301", 400, "Tag is not found."),
    c("SCM.0302", 400, "Tag quota is upper limit."),
    c("SCM.0303", 400, "Match tag invalid."),
    c("SCM.0304", 400, "Field action is error."),
    c("SCM.0305", 400, "Tag value is invalid."),
    c("SCM.0306", 400, "Tag key is invalid."),
    c("SCM.0309", 400, "Tag value length is invalid."),
    c("SCM.0310", 400, "Tag key length is invalid."),
    c("SCM.0311", 400, "Tag key list is invalid."),
    c("SCM.0312", 400, "Tag value list is invalid."),
    c("SCM.0313", 400, "Tag list is invalid."),
    c("SCM.0314", 400, "Match resourceId invalid."),
    c("SCM.0318", 400, "Tag limit invalid."),
    c("SCM.0319", 400, "Tag offset invalid."),
    c("SCM.0321", 400, "Invalid param sys_tags."),
    c("SCM.0323", 400, "Invalid tag parameter."),
    c("SCM.0401", 400, "Gm cert is not support to be pushed."),
    c("SCM.0501", 400, "The parameter cannot be null or the parameter is wrong. Currently only supports:"),
    c("SCM.0502", 400, "The certificate ID list cannot be empty."),
    c("SCM.0505", 400, "Parameter error, parameter is null or its list size is out of range, additional info:{0}"),
    c("SCM.0506", 400, "There is no corresponding certificate ID under the tenant, and the set of certificate IDs that cannot be found:{0}"),
    c("SCM.0507", 400, "The list parameter cannot have duplicate elements"),
    c("SCM.0508", 400, "Parameter error, the following certificates do not support querying deployed resources:{0}"),
    c("SCM.0092", 401, "Decrypt jwt token failed."),
    c("SCM.1000", 401, "The token of the request fails to be authenticated"),
    c("SCM.1004", 401, "Failed to apply for OBT."),
    c("SCM.1009", 401, "Your account is restricted."),
    c("SCM.1010", 401, "Your account is frozen."),
    c("SCM.4002", 401, "You do not have permission to perform this operation."),
    c("SCM.0001", 403, "Service is not open."),
    c("SCM.0002", 403, "Incorrect tenant ID."),
    c("SCM.0040", 403, "The max number of free certificates for the current user has been reached, and you cannot continue to purchase free certificates."),
    c("SCM.0322", 403, "Invalid user token, user role don't contain op_service."),
    c("SCM.1019", 403, "The user role has no permission to access the interface"),
    c("SCM.0069", 404, "No projects found."),
    c("SCM.0094", 404, "Resource not found."),
    c("SCM.0004", 500, "Fail to get ca response."),
    c("SCM.0007", 500, "Failed to download the certificate."),
    c("SCM.0013", 500, "The uploaded certificate chain failed to be resolved. Ensure that the certificate has been issued."),
    c("SCM.0017", 500, "product wrong."),
    c("SCM.0019", 500, "CSB response error."),
    c("SCM.0037", 500, "Failed to encrypt the certificate."),
    c("SCM.0038", 500, "Cert decrypt fail."),
    c("SCM.0062", 500, "DNS query fail."),
    c("SCM.0071", 500, "SCM does not support this resourceType."),
    c("SCM.0087", 500, "Request cert failed."),
    c("SCM.0091", 500, "Connect jwt server failed."),
    c("SCM.0093", 500, "Invalid jwt token."),
    c("SCM.0097", 500, "Encode next token failed."),
    c("SCM.0098", 500, "Decode next token failed."),
    c("SCM.0099", 500, "Invalid domain id."),
    c("SCM.0100", 500, "UnKnown error."),
    c("SCM.0203", 500, "Failed to push to ELB."),
    c("SCM.0213", 500, "Failed to push to CDN."),
    c("SCM.0223", 500, "Failed to push to WAF."),
    c("SCM.0324", 500, "Calculate digest failure."),
    c("SCM.0402", 500, "Encrypt cert content or private key is null."),
    c("SCM.0504", 500, "Service internal error, please contact technical support."),
    c("SCM.4001", 500, "An error occurred when accessing the PDP API."),
    c("PCA.00020001", 400, "Incorrect parameter."),
    c("PCA.00020101", 400, "Incorrect certificate distinguished name."),
    c("PCA.00020102", 400, "Invalid key algorithm. Only RSA2048, RSA4096, EC256, and EC384 are supported."),
    c("PCA.00020103", 400, "Invalid signature hash algorithm. Only SHA256, SHA384, and SHA512 are supported."),
    c("PCA.00020109", 400, "Invalid validity period type or value. Only year, month, or day supported."),
    c("PCA.00020110", 400, "Incorrect domain name."),
    c("PCA.00020111", 400, "Invalid IP. Enter an IPv4 address."),
    c("PCA.00020112", 400, "Invalid alternative name type of the certificate subject. Enter an IP or DNS."),
    c("PCA.00020201", 400, "Invalid CA ID. Valid CA IDs use a hexadecimal xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx format."),
    c("PCA.00020202", 400, "Invalid CA type. Only root CA and subordinate CA are supported."),
    c("PCA.00020203", 400, "Invalid CA path length. The value range is [0, 6]."),
    c("PCA.00020204", 400, "Invalid CRL configuration."),
    c("PCA.00020301", 400, "Invalid certificate ID. Valid certificate IDs use a hexadecimal xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx format."),
    c("PCA.00020401", 400, "Incorrect certificate signature request."),
    c("PCA.00020402", 400, "Incorrect certificate. Please contact technical support."),
    c("PCA.00020403", 400, "Incorrect certificate chain."),
    c("PCA.00020404", 400, "Invalid status. The status can only be Pending activation, Activated, Disabled, Pending deletion, or Expired."),
    c("PCA.00000101", 401, "Access Denied. No permissions granted for this OBT."),
    c("PCA.00010001", 401, "Incorrect X-Auth-Token in the request header."),
    c("PCA.00010002", 401, "Account frozen. Please contact technical support."),
    c("PCA.00010003", 401, "Access denied. Real-name authentication failed or account in arrears."),
    c("PCA.00010004", 401, "Insufficient permissions. Contact administrator."),
    c("PCA.00000006", 403, "Obtaining OBS buckets failed. Please contact technical support."),
    c("PCA.00030001", 403, "CA or certificate quantity exceeds quota."),
    c("PCA.00030201", 403, "Operation not allowed in the current status."),
    c("PCA.00030202", 403, "CA or certificate frozen. Contact administrator."),
    c("PCA.00030301", 403, "Certificate public key and private key does not match."),
    c("PCA.00030102", 404, "CA or certificate is not found."),
    c("PCA.00030103", 404, "Issuer CA is not found"),
    c("PCA.00000001", 500, "Unknown error. Please contact technical support."),
    c("PCA.00000002", 500, "Parameter processing failed. Please contact technical support."),
    c("PCA.00000003", 500, "Certificate processing failed. Please contact technical support."),
    c("PCA.00000004", 500, "Key processing failed. Please contact technical support."),
    c("PCA.00000005", 500, "Authentication failed. Please contact technical support."),
    c("APIGW.0101", 404, "The API does not exist or has not been published in the environment."),
    c("APIGW.0201", 413, "The request body is too large."),
    c("APIGW.0301", 401, "Incorrect IAM authentication information."),
    c("APIGW.0303", 401, "Incorrect IAM authentication information: the request is out of the time window."),
    c("APIGW.0308", 429, "The throttling threshold has been reached."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_reference_s() {
        let file = include_str!("../../tests/fixtures/ccm/errors.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let reference = file.as_array().unwrap();
        assert_eq!(reference.len(), 165);
        for entry in reference {
            let name = entry["code"].as_str().unwrap();
            let found = CODES.iter().find(|code| code.name == name).unwrap();
            assert_eq!(u64::from(found.status), entry["http_status"], "{name}");
            assert_eq!(found.message, entry["message"], "{name}");
        }
        let others = CODES.iter().filter(|code| !code.name.starts_with("APIGW."));
        assert_eq!(others.count(), 165, "no code is made up");
    }
}
