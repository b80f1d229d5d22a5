//! The enumerations of PCA and SCM: what the reference lists, other spellings of the same, and `Unknown` for what it
//! does not list.

use crate::ccm::lenient::wire_enum;

wire_enum! {
    /// Status of a CA (4.2.1.1).
    AuthorityStatus {
        /// Waits for its certificate.
        Pending = "PENDING",
        /// Issues.
        Actived = "ACTIVED" | "ACTIVATED" | "ACTIVE",
        /// Switched off.
        Disabled = "DISABLED",
        /// Will be deleted as scheduled.
        Deleted = "DELETED",
        /// Past its end.
        Expired = "EXPIRED",
    }
}

wire_enum! {
    /// Which kind of CA (4.2.1.2).
    AuthorityKind {
        /// Signs itself.
        Root = "ROOT",
        /// Is signed by another one.
        Subordinate = "SUBORDINATE",
    }
}

wire_enum! {
    /// Key algorithms of PCA (4.2.1.2, 4.2.2.2).
    PcaAlgorithm {
        /// RSA, 2048 bit.
        Rsa2048 = "RSA2048",
        /// RSA, 4096 bit.
        Rsa4096 = "RSA4096",
        /// NIST P-256.
        Ec256 = "EC256",
        /// NIST P-384.
        Ec384 = "EC384",
    }
}

wire_enum! {
    /// Digests of signatures (4.2.1.2, 4.2.2.2).
    SignatureAlgorithm {
        /// SHA-256.
        Sha256 = "SHA256",
        /// SHA-384.
        Sha384 = "SHA384",
        /// SHA-512.
        Sha512 = "SHA512",
    }
}

wire_enum! {
    /// In what a validity is counted (4.2.1.2). A MONTH has 31 days there and a YEAR 12 of them or a calendar year,
    /// depending on the page; days and hours mean the same everywhere.
    ValidityUnit {
        /// Years.
        Year = "YEAR",
        /// Months.
        Month = "MONTH",
        /// Days.
        Day = "DAY",
        /// Hours.
        Hour = "HOUR",
    }
}

wire_enum! {
    /// Kinds of alternative names (4.2.2.2).
    NameKind {
        /// A host name.
        Dns = "DNS",
        /// An address.
        Ip = "IP",
        /// A mail address.
        Email = "EMAIL",
        /// A URI.
        Uri = "URI",
    }
}

wire_enum! {
    /// What a key may be used for (4.2.1.2; RFC 5280 §4.2.1.3).
    KeyUsage {
        /// Signs.
        DigitalSignature = "digitalSignature",
        /// Signs what cannot be denied.
        NonRepudiation = "nonRepudiation",
        /// Decrypts keys.
        KeyEncipherment = "keyEncipherment",
        /// Decrypts data.
        DataEncipherment = "dataEncipherment",
        /// Agrees on keys.
        KeyAgreement = "keyAgreement",
        /// Signs certificates.
        KeyCertSign = "keyCertSign",
        /// Signs revocation lists.
        CrlSign = "cRLSign",
        /// Agrees on keys that only encrypt.
        EncipherOnly = "encipherOnly",
        /// Agrees on keys that only decrypt.
        DecipherOnly = "decipherOnly",
    }
}

wire_enum! {
    /// What is made from a CSR (4.2.2.3).
    CertificateKind {
        /// A certificate of a server, a client, a person.
        Entity = "ENTITY_CERT",
        /// A certificate of a CA that somebody else runs.
        Intermediate = "INTERMEDIATE_CA",
    }
}

wire_enum! {
    /// For which server a certificate is exported (4.2.2.8); each has files of its own in the archive.
    ExportKind {
        /// `server.key`, `server.crt`, `chain.crt`.
        Apache = "APACHE",
        /// `server.key`, `server.crt` with the chain.
        Nginx = "NGINX",
        /// `server.pfx`, `keystorePass.txt`.
        Iis = "IIS",
        /// `server.jks`, `keystorePass.txt`.
        Tomcat = "TOMCAT",
        /// `server.key`, `server.pem`, `chain.pem`.
        Other = "OTHER",
    }
}

wire_enum! {
    /// Why something is revoked (4.2.1.13, 4.2.2.9).
    RevocationReason {
        /// Not said.
        Unspecified = "UNSPECIFIED",
        /// The key is known to others.
        KeyCompromise = "KEY_COMPROMISE",
        /// The key of the CA is.
        AuthorityCompromise = "CERTIFICATE_AUTHORITY_COMPROMISE",
        /// The subject is called otherwise now.
        AffiliationChanged = "AFFILIATION_CHANGED",
        /// Another certificate takes its place.
        Superseded = "SUPERSEDED",
        /// It is not needed any more.
        CessationOfOperation = "CESSATION_OF_OPERATION",
        /// For a while.
        CertificateHold = "CERTIFICATE_HOLD",
        /// Its rights were taken away.
        PrivilegeWithdrawn = "PRIVILEGE_WITHDRAWN",
        /// What gave it its rights is known to others.
        AttributeAuthorityCompromise = "ATTRIBUTE_AUTHORITY_COMPROMISE",
    }
}

wire_enum! {
    /// Status of a private certificate (4.2.2.1).
    PrivateStatus {
        /// In use.
        Issued = "ISSUED",
        /// Past its end.
        Expired = "EXPIRED",
        /// Taken back.
        Revoked = "REVOKED" | "REVOKE",
    }
}

wire_enum! {
    /// Where the key of a private certificate was made (4.2.2.1).
    GenMode {
        /// At PCA: it can be exported with its key.
        Generate = "GENERATE",
        /// Elsewhere, and brought in.
        Import = "IMPORT",
        /// Elsewhere: exported without a key.
        Csr = "CSR",
    }
}

wire_enum! {
    /// Status of an SCM certificate (4.1.5.1, 4.1.5.3). The reference and the SDK spell some of them differently.
    ScmStatus {
        /// Bought, not applied for.
        Paid = "PAID",
        /// In use.
        Issued = "ISSUED",
        /// In use, brought in by its owner.
        Upload = "UPLOAD" | "UPLOADED",
        /// Under review.
        Checking = "CHECKING",
        /// Waits for the proof of its domains; only in an example of the reference.
        CheckingDomain = "CHECKING_DOMAIN",
        /// Its organisation is under review; only in the filter of 4.1.5.1.
        CheckingOrganization = "CHECKING_ORG",
        /// Being signed; only in the filter of 4.1.5.1.
        Issuing = "ISSUING",
        /// The withdrawal of an application is under review.
        CancelChecking = "CANCELCHECKING",
        /// The review said no.
        Unpassed = "UNPASSED",
        /// Past its end.
        Expired = "EXPIRED",
        /// Being taken back; still valid.
        Revoking = "REVOKING" | "REVOKEING",
        /// The revocation is being withdrawn.
        CancelRevoking = "CANCLEREVOKING" | "CANCELREVOKING",
        /// Taken back.
        Revoked = "REVOKE" | "REVOKED",
        /// Further names are under review.
        SupplementChecking = "SUPPLEMENTCHECKING",
        /// Further names are being withdrawn.
        CancelSupplementing = "CANCELSUPPLEMENTING",
    }
}

wire_enum! {
    /// Whose certificate it is (4.1.3.1). The reference damages GLOBALSIGN in places.
    Brand {
        /// GeoTrust.
        Geotrust = "GEOTRUST",
        /// GlobalSign.
        Globalsign = "GLOBALSIGN" | "GLOBALENGINE" | "GLOBALLYSIGN",
        /// DigiCert, under its former name.
        Symantec = "SYMANTEC",
        /// CFCA.
        Cfca = "CFCA",
        /// TrustAsia.
        Trustasia = "TRUSTASIA",
        /// vTrus.
        Vtrus = "VTRUS",
    }
}

wire_enum! {
    /// How much is proven of the owner (4.1.3.1).
    ScmKind {
        /// The domain.
        Dv = "DV_SSL_CERT",
        /// The domain, basic.
        DvBasic = "DV_SSL_CERT_BASIC",
        /// The organisation and its legal standing.
        Ev = "EV_SSL_CERT",
        /// The same, professional.
        EvPro = "EV_SSL_CERT_PRO",
        /// The organisation.
        Ov = "OV_SSL_CERT",
        /// The same, professional.
        OvPro = "OV_SSL_CERT_PRO",
    }
}

wire_enum! {
    /// How many names a certificate is for (4.1.3.1).
    DomainType {
        /// One.
        Single = "SINGLE_DOMAIN",
        /// Several.
        Multi = "MULTI_DOMAIN" | "MULT_DOMAIN",
        /// One wildcard.
        Wildcard = "WILDCARD",
    }
}

wire_enum! {
    /// What the first name of a multi-domain certificate is (4.1.3.1).
    PrimaryDomainType {
        /// One name.
        Single = "SINGLE_DOMAIN",
        /// A wildcard.
        Wildcard = "WILDCARD_DOMAIN",
    }
}

wire_enum! {
    /// How a domain is proven (4.1.1.1); in lower case in chapter 7, and compared without regard to case.
    DomainMethod {
        /// By a record.
        Dns = "DNS",
        /// By a file at the web server.
        File = "FILE",
        /// By a mail.
        Email = "EMAIL",
    }
}

wire_enum! {
    /// Key algorithms of SCM's CSRs (4.1.4.1).
    CsrAlgorithm {
        /// RSA, 2048 bit.
        Rsa2048 = "RSA_2048",
        /// RSA, 3072 bit.
        Rsa3072 = "RSA_3072",
        /// RSA, 4096 bit.
        Rsa4096 = "RSA_4096",
        /// NIST P-256.
        EcP256 = "EC_P256",
        /// NIST P-384.
        EcP384 = "EC_P384",
        /// The Chinese standard.
        Sm2 = "SM2",
    }
}

wire_enum! {
    /// For whom a CSR is (4.1.4.1).
    CsrUsage {
        /// A person.
        Personal = "PERSONAL",
        /// An organisation, whose name and place must be there.
        Enterprise = "ENTERPRISE",
    }
}

wire_enum! {
    /// What is done with several tags at once (4.1.2.2).
    TagAction {
        /// They are added.
        Create = "create",
        /// They are taken away.
        Delete = "delete",
    }
}

wire_enum! {
    /// Services that a certificate can be pushed and deployed to (4.1.6).
    CloudService {
        /// Content delivery.
        Cdn = "CDN",
        /// Web application firewall.
        Waf = "WAF",
        /// Elastic load balancer.
        Elb = "ELB",
    }
}

wire_enum! {
    /// Services whose resources are asked for (4.1.6.4).
    ServiceFilter {
        /// Web application firewall.
        Waf = "WAF",
        /// Content delivery.
        Cdn = "CDN",
        /// Elastic load balancer.
        Elb = "ELB",
        /// Every one.
        All = "ALL",
    }
}

wire_enum! {
    /// Modes of WAF (4.1.6.3).
    ResourceKind {
        /// In the cloud.
        Cloud = "cloud",
        /// Dedicated.
        Premium = "premium",
    }
}

wire_enum! {
    /// What of a certificate is changed (7.1.4).
    ModifyKey {
        /// Its name.
        Name = "CERT_NAME",
        /// Its description.
        Description = "DESCRIPTION",
    }
}

wire_enum! {
    /// Which picture is handed in (7.1.13).
    AuthenticationKind {
        /// Bank account opening permit.
        BankPermit = "BL",
        /// Business licence of a company.
        BusinessLicence = "TL",
    }
}

wire_enum! {
    /// Direction of a sort (4.1.5.1, 4.2.1.1).
    SortDirection {
        /// The least first.
        Ascending = "ASC",
        /// The greatest first.
        Descending = "DESC",
    }
}

wire_enum! {
    /// What SCM sorts by (4.1.5.1).
    ScmSort {
        /// End of validity.
        Expiry = "certExpiredTime",
        /// Status.
        Status = "certStatus",
        /// Last change; the API's default.
        Update = "certUpdateTime",
    }
}

wire_enum! {
    /// What CAs are sorted by (4.2.1.1).
    AuthoritySort {
        /// When they were made; the API's default.
        Created = "create_time",
        /// Common name.
        Name = "common_name",
        /// Root or subordinate; the SDK says `type`.
        Kind = "ca_type" | "type",
        /// End of validity.
        End = "not_after",
    }
}

wire_enum! {
    /// What private certificates are sorted by (4.2.2.1).
    CertificateSort {
        /// When they were made; the API's default.
        Created = "create_time",
        /// Common name.
        Name = "common_name",
        /// Common name of the CA.
        Issuer = "issuer_name",
        /// End of validity.
        End = "not_after",
    }
}
