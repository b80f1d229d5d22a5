//! The keys of validations: the ways of proving domains to a public CA.

use super::{Holds, Key, Table, default, optional, required};

/// The ways.
pub(in crate::config) static VALIDATION: Table = Table {
    header: "validation",
    groups: &[&[
        optional("automatic", Holds::Tables(&AUTOMATIC)),
        optional("huawei_dns", Holds::Tables(&HUAWEI_DNS)),
        optional("rfc2136", Holds::Tables(&RFC2136)),
        optional("command", Holds::Tables(&BY_COMMAND)),
        optional("web_root", Holds::Tables(&WEB_ROOT)),
        optional("responder", Holds::Tables(&RESPONDER)),
        optional("email", Holds::Tables(&EMAIL_PROOF)),
    ]],
};

/// Records that SCM writes itself.
pub(in crate::config) static AUTOMATIC: Table = Table {
    header: "validation.automatic.NAME",
    groups: &[LOOK],
};

/// Records by the API of Huawei Cloud DNS.
pub(in crate::config) static HUAWEI_DNS: Table = Table {
    header: "validation.huawei_dns.NAME",
    groups: &[
        &[
            required("account", Holds::Text),
            required("endpoint", Holds::Text),
        ],
        LOOK,
    ],
};

/// Records by dynamic update.
pub(in crate::config) static RFC2136: Table = Table {
    header: "validation.rfc2136.NAME",
    groups: &[
        &[
            required("server", Holds::Text),
            optional("zone", Holds::Text),
            required("key_name", Holds::Text),
            default(
                "algorithm",
                Holds::Word(&["hmac-sha256", "hmac-sha384", "hmac-sha512"]),
                "\"hmac-sha256\"",
            ),
            required("tsig_key", Holds::Secret),
            default("ttl", Holds::Duration, "\"60s\""),
        ],
        LOOK,
    ],
};

/// Records or files by commands.
pub(in crate::config) static BY_COMMAND: Table = Table {
    header: "validation.command.NAME",
    groups: &[
        &[
            required("auth", Holds::List),
            optional("cleanup", Holds::List),
            default("timeout", Holds::Duration, "\"60s\""),
            default("method", Holds::Word(&["dns", "file"]), "\"dns\""),
        ],
        LOOK,
        WEB,
    ],
};

/// Files of a web server.
pub(in crate::config) static WEB_ROOT: Table = Table {
    header: "validation.web_root.NAME",
    groups: &[
        &[
            required("path", Holds::Path),
            optional("owner", Holds::Account),
            optional("group", Holds::Account),
            default("mode", Holds::Mode, "\"0644\""),
        ],
        LOOK,
        WEB,
    ],
};

/// Files that renewd serves itself.
pub(in crate::config) static RESPONDER: Table = Table {
    header: "validation.responder.NAME",
    groups: &[&[required("listen", Holds::Text)], LOOK, WEB],
};

/// Mails that a person answers.
pub(in crate::config) static EMAIL_PROOF: Table = Table {
    header: "validation.email.NAME",
    groups: &[&[default("resolvers", Holds::List, "[]")]],
};

/// How a proof is looked for.
const LOOK: &[Key] = &[
    default("resolvers", Holds::List, "[]"),
    default("propagation", Holds::Duration, "\"10m\""),
    default("dns_port", Holds::Count, "53"),
];

const WEB: &[Key] = &[default("http_port", Holds::Count, "80")];
