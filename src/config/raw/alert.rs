//! Who is told of alerts.

use crate::config::raw::{Holds, Key, Table, default, optional, required};

/// The ways by which alerts leave the host.
pub(in crate::config) static ALERT: Table = Table {
    header: "alert",
    groups: &[&[
        optional("heartbeat", Holds::Text),
        optional("email", Holds::Tables(&EMAIL)),
        optional("webhook", Holds::Tables(&WEBHOOK)),
    ]],
};

/// Calls of a URL.
pub(in crate::config) static WEBHOOK: Table = Table {
    header: "alert.webhook.NAME",
    groups: &[
        &[
            required("url", Holds::Text),
            optional("signing_key", Holds::Secret),
            optional("roots", Holds::Path),
            default("digest", Holds::Flag, "false"),
        ],
        CHANNEL,
    ],
};

/// Mails.
pub(in crate::config) static EMAIL: Table = Table {
    header: "alert.email.NAME",
    groups: &[
        &[
            required("from", Holds::Text),
            required("to", Holds::List),
            optional("sendmail", Holds::Path),
            optional("server", Holds::Text),
            optional("port", Holds::Count),
            default(
                "tls",
                Holds::Word(&["starttls", "tls", "none"]),
                "\"starttls\"",
            ),
            optional("user", Holds::Text),
            optional("password", Holds::Secret),
            optional("roots", Holds::Path),
            default("digest", Holds::Flag, "true"),
            default("gather", Holds::Duration, "\"10m\""),
            default("mails_per_day", Holds::Count, "12"),
        ],
        CHANNEL,
    ],
};

/// What every way has.
const CHANNEL: &[Key] = &[
    default(
        "least",
        Holds::Word(&["notice", "warning", "critical"]),
        "\"notice\"",
    ),
    default("tags", Holds::List, "[]"),
    optional("quiet", Holds::Text),
    default("time_zone", Holds::Text, "\"UTC\""),
    default("timeout", Holds::Duration, "\"30s\""),
];
