//! What is watched and not managed.

use crate::config::raw::{Holds, Table, default, optional};

/// One thing to look at: `files`, `host` or `account`.
pub(in crate::config) static WATCH: Table = Table {
    header: "watch.NAME",
    groups: &[&[
        optional("files", Holds::List),
        optional("password", Holds::Secret),
        optional("host", Holds::Text),
        optional("names", Holds::List),
        optional(
            "starttls",
            Holds::Word(&["smtp", "imap", "pop3", "postgres"]),
        ),
        optional("proxy_protocol", Holds::Word(&["v1", "v2"])),
        optional("roots", Holds::Path),
        default("timeout", Holds::Duration, "\"10s\""),
        optional("account", Holds::Text),
        optional("expired_days_since", Holds::Count),
        default("ignore", Holds::List, "[]"),
        default("tags", Holds::List, "[]"),
    ]],
};
