//! Where in the cloud certificates are pushed to.

use crate::config::raw::{Holds, Table, default, optional, required};

/// One place.
pub(in crate::config) static PUSH: Table = Table {
    header: "push.NAME",
    groups: &[&[
        required("account", Holds::Text),
        required("service", Holds::Word(&["ELB", "WAF", "CDN"])),
        optional("region", Holds::Text),
        default("resources", Holds::List, "[]"),
        default("import", Holds::Flag, "false"),
    ]],
};
