//! The keys of targets: the kinds of server, how each is tested, reloaded and probed, and the commands around it.

use super::export::EXPORT;
use super::{Holds, Key, Table, default, optional, required};

/// The kinds of target.
pub(in crate::config) static TARGET: Table = Table {
    header: "target",
    groups: &[&[
        optional("nginx", Holds::Tables(&NGINX)),
        optional("apache", Holds::Tables(&APACHE)),
        optional("haproxy", Holds::Tables(&HAPROXY)),
        optional("tomcat", Holds::Tables(&TOMCAT)),
        optional("command", Holds::Tables(&COMMAND)),
        optional("files", Holds::Tables(&FILES)),
    ]],
};

/// A running nginx.
pub(in crate::config) static NGINX: Table = Table {
    header: "target.nginx.NAME",
    groups: &[
        &[
            optional("prefix", Holds::Path),
            optional("config", Holds::Path),
            default("test", Holds::List, "[\"/usr/sbin/nginx\", \"-t\"]"),
            default(
                "reload",
                Holds::List,
                "[\"/usr/sbin/nginx\", \"-s\", \"reload\"]",
            ),
            optional("pid_file", Holds::Path),
        ],
        HTTPS,
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// A running Apache httpd.
pub(in crate::config) static APACHE: Table = Table {
    header: "target.apache.NAME",
    groups: &[
        &[
            default(
                "test",
                Holds::List,
                "[\"/usr/sbin/apachectl\", \"configtest\"]",
            ),
            default(
                "reload",
                Holds::List,
                "[\"/usr/bin/systemctl\", \"reload\", \"apache2\"]",
            ),
            default("pid_file", Holds::Path, "\"/run/apache2/apache2.pid\""),
        ],
        HTTPS,
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// A running HAProxy.
pub(in crate::config) static HAPROXY: Table = Table {
    header: "target.haproxy.NAME",
    groups: &[
        &[
            optional("config", Holds::Path),
            default(
                "test",
                Holds::List,
                "[\"/usr/sbin/haproxy\", \"-c\", \"-f\", \"/etc/haproxy/haproxy.cfg\"]",
            ),
            default("runtime", Holds::Flag, "true"),
            default("admin_socket", Holds::Path, "\"/run/haproxy/admin.sock\""),
            optional("master_socket", Holds::Path),
            default(
                "reload",
                Holds::List,
                "[\"/usr/bin/systemctl\", \"reload\", \"haproxy\"]",
            ),
            optional("pid_file", Holds::Path),
        ],
        HTTPS,
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// A running Tomcat.
pub(in crate::config) static TOMCAT: Table = Table {
    header: "target.tomcat.NAME",
    groups: &[
        &[
            optional("test", Holds::List),
            default("manager", Holds::Text, "\"http://127.0.0.1:8080\""),
            default("manager_path", Holds::Text, "\"/manager/text\""),
            optional("user", Holds::Text),
            optional("password", Holds::Secret),
            optional("reload", Holds::List),
            optional("restart", Holds::List),
            optional("pid_file", Holds::Path),
            default("probe", Holds::Word(PROBES), "\"tls\""),
            default("connect", Holds::Texts, "\"127.0.0.1:8443\""),
            optional("owner", Holds::Account),
            default("group", Holds::Account, "\"tomcat\""),
            default("mode", Holds::Mode, "\"0644\""),
            default("key_mode", Holds::Mode, "\"0640\""),
            optional("acl", Holds::List),
            default("reader", Holds::Account, "\"tomcat\""),
            optional("export", Holds::Table(&EXPORT)),
        ],
        SERVICE,
        AROUND,
    ],
};

/// Any service with commands of its own.
pub(in crate::config) static COMMAND: Table = Table {
    header: "target.command.NAME",
    groups: &[
        &[
            optional("test", Holds::List),
            optional("reload", Holds::List),
            optional("signal", Holds::Word(SIGNALS)),
            optional("restart", Holds::List),
            optional("pid_file", Holds::Path),
            optional("unit", Holds::Text),
            required("probe", Holds::Word(PROBES)),
            optional("connect", Holds::Texts),
        ],
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// Files only.
pub(in crate::config) static FILES: Table = Table {
    header: "target.files.NAME",
    groups: &[PLACES, AROUND],
};

const SIGNALS: &[&str] = &["HUP", "USR1", "USR2"];

const PROBES: &[&str] = &["tls", "none"];

const STARTTLS: &[&str] = &["smtp", "imap", "pop3", "postgres"];

const HTTPS: &[Key] = &[
    default("probe", Holds::Word(PROBES), "\"tls\""),
    default("connect", Holds::Texts, "\"127.0.0.1:443\""),
];

const SERVICE: &[Key] = &[
    default("command_timeout", Holds::Duration, "\"60s\""),
    default("deadline", Holds::Duration, "\"30s\""),
    optional("roots", Holds::Path),
    default("wildcard_label", Holds::Text, "\"renewd-probe\""),
    optional("starttls", Holds::Word(STARTTLS)),
    optional("proxy_protocol", Holds::Word(&["v1", "v2"])),
    optional("windows", Holds::List),
    default("reloads_per_hour", Holds::Count, "12"),
    optional("observe", Holds::List),
];

const PLACES: &[Key] = &[
    optional("owner", Holds::Account),
    optional("group", Holds::Account),
    default("mode", Holds::Mode, "\"0644\""),
    default("key_mode", Holds::Mode, "\"0600\""),
    optional("acl", Holds::List),
    optional("reader", Holds::Account),
    optional("export", Holds::Table(&EXPORT)),
];

const AROUND: &[Key] = &[
    default("drift", Holds::Word(&["repair", "report"]), "\"repair\""),
    optional("hooks", Holds::Table(&HOOKS)),
];

/// Commands around a rollout.
pub(in crate::config) static HOOKS: Table = Table {
    header: "target.KIND.NAME.hooks",
    groups: &[&[
        optional("pre", Holds::List),
        optional("post", Holds::List),
        optional("on_failure", Holds::List),
        default("timeout", Holds::Duration, "\"60s\""),
        optional("user", Holds::Account),
        optional("directory", Holds::Path),
    ]],
};
