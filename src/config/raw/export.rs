//! The keys of exports: the forms in which a certificate is written to disk.

use super::{Holds, Key, Table, default, optional, required};

/// The forms of export.
pub(in crate::config) static EXPORT: Table = Table {
    header: "target.KIND.NAME.export",
    groups: &[&[
        optional("pem", Holds::Tables(&PEM)),
        optional("pfx", Holds::Tables(&PFX)),
        optional("jks", Holds::Tables(&JKS)),
        optional("layout", Holds::Tables(&LAYOUT)),
        optional("trust", Holds::Tables(&TRUST)),
    ]],
};

/// PEM files.
pub(in crate::config) static PEM: Table = Table {
    header: "target.KIND.NAME.export.pem.NAME",
    groups: &[
        &[
            optional("certificate", Holds::Path),
            optional("chain", Holds::Path),
            optional("fullchain", Holds::Path),
            optional("key", Holds::Path),
            optional("combined", Holds::Path),
        ],
        ATTRIBUTES,
    ],
};

/// A PKCS #12 file.
pub(in crate::config) static PFX: Table = Table {
    header: "target.KIND.NAME.export.pfx.NAME",
    groups: &[
        &[
            required("path", Holds::Path),
            default("profile", Holds::Word(PROFILES), "\"modern\""),
        ],
        STORE,
        ATTRIBUTES,
    ],
};

/// A Java keystore.
pub(in crate::config) static JKS: Table = Table {
    header: "target.KIND.NAME.export.jks.NAME",
    groups: &[&[required("path", Holds::Path)], STORE, ATTRIBUTES],
};

/// The files of CCM's own export.
pub(in crate::config) static LAYOUT: Table = Table {
    header: "target.KIND.NAME.export.layout.NAME",
    groups: &[
        &[
            required("layout", Holds::Word(LAYOUTS)),
            optional("directory", Holds::Path),
            optional("password", Holds::Secret),
        ],
        ATTRIBUTES,
    ],
};

/// The CA certificates of the chain. No key is in them, so they have no `key_mode`.
pub(in crate::config) static TRUST: Table = Table {
    header: "target.KIND.NAME.export.trust.NAME",
    groups: &[&[
        required("path", Holds::Path),
        default("format", Holds::Word(&["pem", "jks", "pkcs12"]), "\"pem\""),
        default("profile", Holds::Word(PROFILES), "\"modern\""),
        optional("password", Holds::Secret),
        optional("owner", Holds::Account),
        optional("group", Holds::Account),
        optional("mode", Holds::Mode),
        optional("acl", Holds::List),
        optional("reader", Holds::Account),
    ]],
};

const PROFILES: &[&str] = &["modern", "java8", "windows2016"];

const LAYOUTS: &[&str] = &["nginx", "apache", "tomcat", "iis", "other"];

const STORE: &[Key] = &[
    default("alias", Holds::Text, "\"server\""),
    optional("password", Holds::Secret),
];

/// Those of the target are the defaults of its exports.
const ATTRIBUTES: &[Key] = &[
    optional("owner", Holds::Account),
    optional("group", Holds::Account),
    optional("mode", Holds::Mode),
    optional("key_mode", Holds::Mode),
    optional("acl", Holds::List),
    optional("reader", Holds::Account),
];
