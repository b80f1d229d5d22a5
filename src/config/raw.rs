//! What the TOML may say: every table and key, what it holds, and its default. Data only.
//!
//! The one list that the checks, the suggestions, the sample file and the manual page are held against. A key that is
//! not here is unknown; what a value means and whether it fits others is said in `lift`.

mod alert;
mod export;
mod push;
mod target;
mod validation;
mod watch;

pub(super) use alert::{ALERT, EMAIL, WEBHOOK};
pub(super) use export::{EXPORT, JKS, LAYOUT, PEM, PFX, TRUST};
pub(super) use push::PUSH;
pub(super) use target::{APACHE, COMMAND, FILES, HAPROXY, HOOKS, NGINX, TARGET, TOMCAT};
pub(super) use validation::{
    AUTOMATIC, BY_COMMAND, EMAIL_PROOF, HUAWEI_DNS, RESPONDER, RFC2136, VALIDATION, WEB_ROOT,
};
pub(super) use watch::WATCH;

/// A kind of table.
#[derive(Debug)]
pub(super) struct Table {
    /// As messages and the manual write its header, such as `certificate.NAME`; empty for the top level.
    pub(super) header: &'static str,
    /// In groups, so that tables can share them.
    pub(super) groups: &'static [&'static [Key]],
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    pub(super) need: Need,
}

/// What a key holds.
#[derive(Debug)]
pub(super) enum Holds {
    /// Any text.
    Text,
    /// A text such as `30d`.
    Duration,
    /// A file or directory.
    Path,
    /// One of these.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// Whole numbers.
    Counts,
    /// Texts.
    List,
    /// One text, or several.
    Texts,
    /// `"0640"` or `0o640`.
    Mode,
    /// A name or a number.
    Account,
    /// A reference to a secret.
    Secret,
    /// A table with fixed keys.
    Table(&'static Table),
    /// A table of tables, each with a name of the administrator's choice.
    Tables(&'static Table),
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    /// May be absent, which means something of its own.
    Optional,
    /// In TOML.
    Default(&'static str),
}

impl Table {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }

    /// Whether one of its own keys is a secret.
    pub(super) fn takes_secrets(&self) -> bool {
        self.keys().any(|key| matches!(key.holds, Holds::Secret))
    }

    /// Whether a secret is anywhere below.
    pub(super) fn leads_to_secrets(&self) -> bool {
        self.keys().any(|key| key.holds.leads_to_secrets())
    }
}

impl Holds {
    pub(super) fn leads_to_secrets(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::Table(inner) | Self::Tables(inner) => inner.leads_to_secrets(),
            Self::Text
            | Self::Duration
            | Self::Path
            | Self::Word(_)
            | Self::Flag
            | Self::Count
            | Self::Counts
            | Self::List
            | Self::Texts
            | Self::Mode
            | Self::Account => false,
        }
    }
}

/// A key for people: what documentation and sample are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyInfo {
    /// Header of its table with `NAME` and `KIND` for what varies, such as `target.nginx.NAME`; empty at the top.
    pub table: &'static str,
    /// The key.
    pub key: &'static str,
    /// In TOML; `None` where the key must be written or its absence means something of its own.
    pub default: Option<&'static str>,
    /// Whether it must be written.
    pub required: bool,
}

/// Every key of a policy that holds a value, by table.
#[must_use]
pub fn keys() -> Vec<KeyInfo> {
    let mut found = Vec::new();
    collect(&ROOT, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(table: &Table, found: &mut Vec<KeyInfo>) {
    for key in table.keys() {
        if let Holds::Table(inner) | Holds::Tables(inner) = key.holds {
            collect(inner, found);
            continue;
        }
        found.push(KeyInfo {
            table: table.header,
            key: key.name,
            default: match key.need {
                Need::Default(value) => Some(value),
                Need::Required | Need::Optional => None,
            },
            required: key.need == Need::Required,
        });
    }
}

/// The names of all keys that hold secrets.
pub(super) const fn secret_names() -> [&'static str; 6] {
    [
        "access_key",
        "secret_key",
        "security_token",
        "password",
        "signing_key",
        "tsig_key",
    ]
}

const fn key(name: &'static str, holds: Holds, need: Need) -> Key {
    Key { name, holds, need }
}

const fn required(name: &'static str, holds: Holds) -> Key {
    key(name, holds, Need::Required)
}

const fn optional(name: &'static str, holds: Holds) -> Key {
    key(name, holds, Need::Optional)
}

const fn default(name: &'static str, holds: Holds, value: &'static str) -> Key {
    key(name, holds, Need::Default(value))
}

/// The top level.
pub(super) static ROOT: Table = Table {
    header: "",
    groups: &[&[
        default("state_dir", Holds::Path, "\"/var/lib/renewd\""),
        default("alert_days", Holds::Counts, "[30, 14, 7, 3, 1]"),
        default(
            "family",
            Holds::Word(&["auto", "debian", "rhel"]),
            "\"auto\"",
        ),
        optional("control", Holds::Table(&CONTROL)),
        optional("job", Holds::Table(&JOB)),
        optional("issuer", Holds::Table(&ISSUER)),
        optional("validation", Holds::Table(&VALIDATION)),
        optional("certificate", Holds::Tables(&CERTIFICATE)),
        optional("target", Holds::Table(&TARGET)),
        optional("alert", Holds::Table(&ALERT)),
        optional("watch", Holds::Tables(&WATCH)),
        optional("push", Holds::Tables(&PUSH)),
        optional("metrics", Holds::Table(&METRICS)),
    ]],
};

/// What is left for monitoring.
pub(super) static METRICS: Table = Table {
    header: "metrics",
    groups: &[&[
        optional("textfile", Holds::Path),
        optional("status_file", Holds::Path),
        optional("listen", Holds::Text),
    ]],
};

/// The control socket.
pub(super) static CONTROL: Table = Table {
    header: "control",
    groups: &[&[
        default("socket", Holds::Path, "\"/run/renewd/control.sock\""),
        default("group", Holds::Account, "\"renewd\""),
        default("act", Holds::Word(&["group", "root"]), "\"group\""),
    ]],
};

/// What is done by the calendar.
pub(super) static JOB: Table = Table {
    header: "job",
    groups: &[&[
        optional("check", Holds::Table(&CHECK)),
        optional("renew", Holds::Table(&RENEW)),
        optional("watch", Holds::Table(&WATCHING)),
        optional("digest", Holds::Table(&DIGEST)),
    ]],
};

/// Every six hours, away from the full hour, at which everybody else calls.
pub(super) const CHECK_SCHEDULE: &str = "0 17 */6 * * *";

/// The look at everything.
pub(super) static CHECK: Table = Table {
    header: "job.check",
    groups: &[
        &[default("schedule", Holds::Text, "\"0 17 */6 * * *\"")],
        TIMES,
    ],
};

/// Renewals happen days before the end; an hour is early enough.
pub(super) const RENEW_SCHEDULE: &str = "0 43 * * * *";

/// The opening of orders for renewals.
pub(super) static RENEW: Table = Table {
    header: "job.renew",
    groups: &[
        &[default("schedule", Holds::Text, "\"0 43 * * * *\"")],
        TIMES,
    ],
};

/// Often enough that a failure is told within the hour, see `plan::watch`.
pub(super) const WATCH_SCHEDULE: &str = "0 7,22,37,52 * * * *";

/// The look at what is watched.
pub(super) static WATCHING: Table = Table {
    header: "job.watch",
    groups: &[
        &[default("schedule", Holds::Text, "\"0 7,22,37,52 * * * *\"")],
        TIMES,
    ],
};

/// In the morning; weekly is for who wants it so.
pub(super) const DIGEST_SCHEDULE: &str = "0 0 7 * * *";

/// The letter about everything.
pub(super) static DIGEST: Table = Table {
    header: "job.digest",
    groups: &[
        &[default("schedule", Holds::Text, "\"0 0 7 * * *\"")],
        TIMES,
    ],
};

const TIMES: &[Key] = &[
    default("time_zone", Holds::Text, "\"UTC\""),
    default("jitter", Holds::Duration, "\"10m\""),
    default("floor", Holds::Duration, "\"1m\""),
];

/// The kinds of issuer.
pub(super) static ISSUER: Table = Table {
    header: "issuer",
    groups: &[&[
        optional("pca", Holds::Tables(&PCA)),
        optional("scm", Holds::Tables(&SCM)),
    ]],
};

/// Huawei Cloud Private Certificate Authority.
pub(super) static PCA: Table = Table {
    header: "issuer.pca.NAME",
    groups: &[
        &[
            required("ca", Holds::Text),
            optional("revoke_superseded", Holds::Duration),
        ],
        REMOTE,
    ],
};

/// Huawei Cloud SSL Certificate Manager.
pub(super) static SCM: Table = Table {
    header: "issuer.scm.NAME",
    groups: &[
        REMOTE,
        &[
            optional("validation", Holds::Text),
            optional("project", Holds::Text),
            default("delete_expired", Holds::Flag, "false"),
            optional("applicant", Holds::Table(&APPLICANT)),
            optional("purchase", Holds::Table(&PURCHASE)),
        ],
    ],
};

/// Who applies (CCM API 4.1.1.1).
pub(super) static APPLICANT: Table = Table {
    header: "issuer.scm.NAME.applicant",
    groups: &[&[
        required("name", Holds::Text),
        required("phone", Holds::Text),
        required("email", Holds::Text),
        optional("company", Holds::Text),
        optional("contact_name", Holds::Text),
        optional("contact_phone", Holds::Text),
        optional("contact_email", Holds::Text),
    ]],
};

/// What may be bought (CCM API 4.1.3.1).
pub(super) static PURCHASE: Table = Table {
    header: "issuer.scm.NAME.purchase",
    groups: &[&[
        required(
            "brand",
            Holds::Word(&[
                "GEOTRUST",
                "GLOBALSIGN",
                "SYMANTEC",
                "CFCA",
                "TRUSTASIA",
                "VTRUS",
            ]),
        ),
        required(
            "type",
            Holds::Word(&[
                "DV_SSL_CERT",
                "DV_SSL_CERT_BASIC",
                "OV_SSL_CERT",
                "OV_SSL_CERT_PRO",
                "EV_SSL_CERT",
                "EV_SSL_CERT_PRO",
            ]),
        ),
        default(
            "domain_type",
            Holds::Word(&["auto", "single_domain", "wildcard", "multi_domain"]),
            "\"auto\"",
        ),
        default("years", Holds::Count, "1"),
        required("automatic_payment", Holds::Flag),
        required("max_orders_per_day", Holds::Count),
        required("max_orders_per_month", Holds::Count),
        default("reserve", Holds::Flag, "false"),
    ]],
};

const REMOTE: &[Key] = &[
    required("endpoint", Holds::Text),
    optional("roots", Holds::Path),
    optional("access_key", Holds::Secret),
    optional("secret_key", Holds::Secret),
    optional("security_token", Holds::Secret),
    optional("password", Holds::Table(&PASSWORD)),
    default("agency", Holds::Flag, "false"),
    default(
        "metadata_endpoint",
        Holds::Text,
        "\"http://169.254.169.254\"",
    ),
    optional("credentials_expire", Holds::Text),
    default("connect_timeout", Holds::Duration, "\"10s\""),
    default("timeout", Holds::Duration, "\"60s\""),
    default("settle", Holds::Duration, "\"2m\""),
    default("concurrency", Holds::Count, "16"),
    default("requests_per_second", Holds::Count, "100"),
    default("orders_per_hour", Holds::Count, "3600"),
];

/// Log in at IAM instead of signing with an access key.
pub(super) static PASSWORD: Table = Table {
    header: "issuer.KIND.NAME.password",
    groups: &[&[
        required("iam_endpoint", Holds::Text),
        required("user", Holds::Text),
        required("password", Holds::Secret),
        required("domain", Holds::Text),
        required("project", Holds::Text),
    ]],
};

/// One certificate.
pub(super) static CERTIFICATE: Table = Table {
    header: "certificate.NAME",
    groups: &[&[
        required("issuer", Holds::Text),
        required("names", Holds::List),
        optional("common_name", Holds::Text),
        default("order", Holds::Word(&["auto", "never"]), "\"auto\""),
        default("key", Holds::Word(&["local", "ccm"]), "\"local\""),
        default("key_algorithm", Holds::Word(ALGORITHMS), "\"ec-p256\""),
        default("rekey", Holds::Flag, "true"),
        default("validity", Holds::Duration, "\"90d\""),
        default("renew_at", Holds::Text, "\"1/3\""),
        optional("expired_days_since", Holds::Count),
        default("targets", Holds::List, "[]"),
        optional("validation", Holds::Text),
        default("push", Holds::List, "[]"),
        default("tags", Holds::List, "[]"),
        optional("subject", Holds::Table(&SUBJECT)),
    ]],
};

const ALGORITHMS: &[&str] = &["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384"];

/// The rest of the subject.
pub(super) static SUBJECT: Table = Table {
    header: "certificate.NAME.subject",
    groups: &[&[
        optional("country", Holds::Text),
        optional("state", Holds::Text),
        optional("locality", Holds::Text),
        optional("organization", Holds::Text),
        optional("organizational_unit", Holds::Text),
    ]],
};

#[cfg(test)]
mod tests;
