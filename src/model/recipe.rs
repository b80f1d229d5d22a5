//! What is known of each kind of server: commands, places and forms, as data. Every value can be overridden.
//!
//! The values are those of Debian. Where RHEL differs the manual page renewd.toml(5) says what to write.

use crate::model::{ExportLayout, TargetKind};

/// The defaults of one kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// Its word in the policy.
    pub word: &'static str,
    /// Configuration test as argv.
    pub test: Option<&'static [&'static str]>,
    /// Reload as argv.
    pub reload: Option<&'static [&'static str]>,
    /// Holds the number of the main process.
    pub pid_file: Option<&'static str>,
    /// Whether it is proven by a handshake where nobody says otherwise.
    pub probed: bool,
    /// Its own listener, `host:port`.
    pub listener: Option<&'static str>,
    /// What it reads where nobody says otherwise.
    pub export: Option<RecipeExport>,
    /// Socket of HAProxy's runtime API.
    pub admin_socket: Option<&'static str>,
    /// Base URL and path of the text interface of Tomcat's manager.
    pub manager: Option<(&'static str, &'static str)>,
    /// The group it reads as; `None` for one that reads as root, or of which nothing is known.
    pub group: Option<&'static str>,
    /// Mode of files with a private key.
    pub key_mode: u32,
    /// A reload with a broken configuration, or with a key that is not the certificate's, ends the server. So nothing is
    /// reloaded before the files were checked and the configuration was tested, on the way back as well.
    pub fragile: bool,
}

/// What a server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipeExport {
    /// A layout of CCM's export, in the certificate's directory.
    Layout(ExportLayout),
    /// Key, certificate and chain in one file of this name.
    Combined(&'static str),
}

impl TargetKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Nginx,
        Self::Apache,
        Self::Haproxy,
        Self::Tomcat,
        Self::Command,
        Self::Files,
    ];

    /// The kind's defaults.
    #[must_use]
    pub const fn recipe(self) -> &'static Recipe {
        match self {
            Self::Nginx => &NGINX,
            Self::Apache => &APACHE,
            Self::Haproxy => &HAPROXY,
            Self::Tomcat => &TOMCAT,
            Self::Command => &COMMAND,
            Self::Files => &FILES,
        }
    }

    /// Its word in the policy.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.recipe().word
    }
}

static NGINX: Recipe = Recipe {
    word: "nginx",
    test: Some(&["/usr/sbin/nginx", "-t"]),
    reload: Some(&["/usr/sbin/nginx", "-s", "reload"]),
    probed: true,
    listener: Some("127.0.0.1:443"),
    export: Some(RecipeExport::Layout(ExportLayout::Nginx)),
    ..NOTHING
};

/// `apachectl graceful` starts a server that does not run; systemd does not.
static APACHE: Recipe = Recipe {
    word: "apache",
    test: Some(&["/usr/sbin/apachectl", "configtest"]),
    reload: Some(&["/usr/bin/systemctl", "reload", "apache2"]),
    pid_file: Some("/run/apache2/apache2.pid"),
    probed: true,
    listener: Some("127.0.0.1:443"),
    export: Some(RecipeExport::Layout(ExportLayout::Apache)),
    fragile: true,
    ..NOTHING
};

static HAPROXY: Recipe = Recipe {
    word: "haproxy",
    test: Some(&["/usr/sbin/haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"]),
    reload: Some(&["/usr/bin/systemctl", "reload", "haproxy"]),
    admin_socket: Some("/run/haproxy/admin.sock"),
    probed: true,
    listener: Some("127.0.0.1:443"),
    export: Some(RecipeExport::Combined("haproxy.pem")),
    ..NOTHING
};

/// Reads its keys as its own user. No test: `sslReload` does not read the configuration again, and `configtest.sh` accepts
/// keystores that are broken.
static TOMCAT: Recipe = Recipe {
    word: "tomcat",
    probed: true,
    listener: Some("127.0.0.1:8443"),
    export: Some(RecipeExport::Layout(ExportLayout::Tomcat)),
    manager: Some(("http://127.0.0.1:8080", "/manager/text")),
    group: Some("tomcat"),
    key_mode: 0o640,
    ..NOTHING
};

static COMMAND: Recipe = Recipe {
    word: "command",
    ..NOTHING
};

static FILES: Recipe = Recipe {
    word: "files",
    ..NOTHING
};

const NOTHING: Recipe = Recipe {
    word: "",
    test: None,
    reload: None,
    pid_file: None,
    probed: false,
    listener: None,
    export: None,
    admin_socket: None,
    manager: None,
    group: None,
    key_mode: 0o600,
    fragile: false,
};
