//! What the TOML may say: every table and key, what it holds, and its default. Data only.
//!
//! The one list that the checks, the suggestions, the sample file and the manual page are held against. A key that is
//! not here is unknown; what a value means and whether it fits others is said in `lift`.

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
    /// Texts.
    List,
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
            | Self::List
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
pub(super) const fn secret_names() -> [&'static str; 4] {
    ["access_key", "secret_key", "security_token", "password"]
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
        default("check_schedule", Holds::Text, "\"0 17 */6 * * *\""),
        optional("issuer", Holds::Table(&ISSUER)),
        optional("certificate", Holds::Tables(&CERTIFICATE)),
        optional("target", Holds::Table(&TARGET)),
    ]],
};

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
    groups: &[&[required("ca", Holds::Text)], REMOTE],
};

/// Huawei Cloud SSL Certificate Manager.
pub(super) static SCM: Table = Table {
    header: "issuer.scm.NAME",
    groups: &[REMOTE],
};

const REMOTE: &[Key] = &[
    required("endpoint", Holds::Text),
    optional("roots", Holds::Path),
    optional("access_key", Holds::Secret),
    optional("secret_key", Holds::Secret),
    optional("security_token", Holds::Secret),
    optional("password", Holds::Table(&PASSWORD)),
    default("connect_timeout", Holds::Duration, "\"10s\""),
    default("timeout", Holds::Duration, "\"60s\""),
    default("settle", Holds::Duration, "\"2m\""),
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

/// The kinds of target.
pub(super) static TARGET: Table = Table {
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
pub(super) static NGINX: Table = Table {
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
            default("probe", Holds::Word(PROBES), "\"tls\""),
            default("connect", Holds::Text, "\"127.0.0.1:443\""),
        ],
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// A running Apache httpd.
pub(super) static APACHE: Table = Table {
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
            default("probe", Holds::Word(PROBES), "\"tls\""),
            default("connect", Holds::Text, "\"127.0.0.1:443\""),
        ],
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// A running HAProxy.
pub(super) static HAPROXY: Table = Table {
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
            default("probe", Holds::Word(PROBES), "\"tls\""),
            default("connect", Holds::Text, "\"127.0.0.1:443\""),
        ],
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// A running Tomcat.
pub(super) static TOMCAT: Table = Table {
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
            default("connect", Holds::Text, "\"127.0.0.1:8443\""),
            optional("owner", Holds::Account),
            default("group", Holds::Account, "\"tomcat\""),
            default("mode", Holds::Mode, "\"0644\""),
            default("key_mode", Holds::Mode, "\"0640\""),
            optional("export", Holds::Table(&EXPORT)),
        ],
        SERVICE,
        AROUND,
    ],
};

/// Any service with commands of its own.
pub(super) static COMMAND: Table = Table {
    header: "target.command.NAME",
    groups: &[
        &[
            optional("test", Holds::List),
            optional("reload", Holds::List),
            optional("signal", Holds::Word(SIGNALS)),
            optional("restart", Holds::List),
            optional("pid_file", Holds::Path),
            required("probe", Holds::Word(PROBES)),
            optional("connect", Holds::Text),
        ],
        SERVICE,
        PLACES,
        AROUND,
    ],
};

/// Files only.
pub(super) static FILES: Table = Table {
    header: "target.files.NAME",
    groups: &[PLACES, AROUND],
};

const SIGNALS: &[&str] = &["HUP", "USR1", "USR2"];

const PROBES: &[&str] = &["tls", "none"];

const STARTTLS: &[&str] = &["smtp", "imap", "pop3", "postgres"];

const SERVICE: &[Key] = &[
    default("command_timeout", Holds::Duration, "\"60s\""),
    default("deadline", Holds::Duration, "\"30s\""),
    optional("roots", Holds::Path),
    default("wildcard_label", Holds::Text, "\"renewd-probe\""),
    optional("starttls", Holds::Word(STARTTLS)),
    optional("proxy_protocol", Holds::Word(&["v1", "v2"])),
];

const PLACES: &[Key] = &[
    optional("owner", Holds::Account),
    optional("group", Holds::Account),
    default("mode", Holds::Mode, "\"0644\""),
    default("key_mode", Holds::Mode, "\"0600\""),
    optional("export", Holds::Table(&EXPORT)),
];

const AROUND: &[Key] = &[optional("hooks", Holds::Table(&HOOKS))];

/// Commands around a rollout.
pub(super) static HOOKS: Table = Table {
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

/// The forms of export.
pub(super) static EXPORT: Table = Table {
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
pub(super) static PEM: Table = Table {
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
pub(super) static PFX: Table = Table {
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
pub(super) static JKS: Table = Table {
    header: "target.KIND.NAME.export.jks.NAME",
    groups: &[&[required("path", Holds::Path)], STORE, ATTRIBUTES],
};

/// The files of CCM's own export.
pub(super) static LAYOUT: Table = Table {
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
pub(super) static TRUST: Table = Table {
    header: "target.KIND.NAME.export.trust.NAME",
    groups: &[&[
        required("path", Holds::Path),
        default("format", Holds::Word(&["pem", "jks", "pkcs12"]), "\"pem\""),
        default("profile", Holds::Word(PROFILES), "\"modern\""),
        optional("password", Holds::Secret),
        optional("owner", Holds::Account),
        optional("group", Holds::Account),
        optional("mode", Holds::Mode),
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
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TargetKind;
    use std::collections::BTreeSet;

    fn visit(table: &'static Table, found: &mut BTreeSet<&'static str>) {
        for key in table.keys() {
            match &key.holds {
                Holds::Secret => {
                    found.insert(key.name);
                }
                Holds::Table(inner) | Holds::Tables(inner) => visit(inner, found),
                _ => {}
            }
        }
    }

    #[test]
    fn the_names_of_secrets_are_all_listed() {
        let mut found = BTreeSet::new();
        visit(&ROOT, &mut found);
        assert_eq!(found, secret_names().into_iter().collect());
    }

    #[test]
    fn the_defaults_of_servers_are_those_of_their_recipes() {
        fn default_of(table: &'static Table, name: &str) -> Option<toml::Value> {
            let Need::Default(text) = table.key(name)?.need else {
                return None;
            };
            format!("x = {text}")
                .parse::<toml::Table>()
                .unwrap()
                .remove("x")
        }
        let mut seen = 0;
        for kind in TargetKind::ALL {
            let recipe = kind.recipe();
            let Holds::Tables(table) = TARGET.key(recipe.word).unwrap().holds else {
                panic!("{} is no kind of target", recipe.word);
            };
            let text = |value: &str| toml::Value::from(value);
            let argv = |words: &[&str]| toml::Value::from(words.to_vec());
            for (key, wanted) in [
                ("test", recipe.test.map(argv)),
                ("reload", recipe.reload.map(argv)),
                ("pid_file", recipe.pid_file.map(text)),
                ("connect", recipe.listener.map(text)),
                ("group", recipe.group.map(text)),
                ("admin_socket", recipe.admin_socket.map(text)),
                ("manager", recipe.manager.map(|(url, _)| text(url))),
                ("manager_path", recipe.manager.map(|(_, path)| text(path))),
                ("probe", recipe.probed.then(|| text("tls"))),
                ("key_mode", Some(text(&format!("{:04o}", recipe.key_mode)))),
            ] {
                assert_eq!(default_of(table, key), wanted, "{} {key}", recipe.word);
                seen += 1;
            }
        }
        assert!(seen > 20);
    }

    #[test]
    fn every_default_is_toml() {
        fn all(table: &'static Table) {
            for key in table.keys() {
                if let Need::Default(value) = key.need {
                    let text = format!("{} = {value}\n", key.name);
                    assert!(text.parse::<toml::Table>().is_ok(), "{text}");
                }
                if let Holds::Table(inner) | Holds::Tables(inner) = key.holds {
                    all(inner);
                }
            }
        }
        all(&ROOT);
    }
}
