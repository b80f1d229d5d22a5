//! What is known of each kind of server: commands, places and forms, as data. Every value can be overridden.
//!
//! Those of RHEL are taken from its packages and were not tried on one.

use crate::model::{ExportLayout, TargetKind};

/// Whose packages and paths a host has, as far as recipes differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Debian, Ubuntu and what is made of them; also whatever is unknown.
    #[default]
    Debian,
    /// RHEL, Fedora, CentOS Stream, Rocky, Alma, Oracle Linux, openEuler and Huawei Cloud EulerOS.
    Rhel,
}

impl Family {
    /// By `ID` and `ID_LIKE` of an os-release(5) file.
    #[must_use]
    pub fn of_os_release(text: &str) -> Self {
        let words = text.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            ["ID", "ID_LIKE"]
                .contains(&name)
                .then(|| value.trim_matches(['"', '\'']))
        });
        let known = |word: &str| RHEL.contains(&word.to_ascii_lowercase().as_str());
        if words.flat_map(str::split_ascii_whitespace).any(known) {
            Self::Rhel
        } else {
            Self::Debian
        }
    }
}

const RHEL: &[&str] = &[
    "rhel",
    "fedora",
    "centos",
    "openeuler",
    "hce",
    "euleros",
    "amzn",
];

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
    /// The user it reads as, who must be able to; `None` for one that reads as root, or of which nothing is known.
    pub reader: Option<&'static str>,
    /// Mode of files with a private key.
    pub key_mode: u32,
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

    /// The kind's defaults on a host of that family.
    #[must_use]
    pub const fn recipe(self, family: Family) -> &'static Recipe {
        match (self, family) {
            (Self::Nginx, _) => &NGINX,
            (Self::Apache, Family::Debian) => &APACHE,
            (Self::Apache, Family::Rhel) => &APACHE_RHEL,
            (Self::Haproxy, Family::Debian) => &HAPROXY,
            (Self::Haproxy, Family::Rhel) => &HAPROXY_RHEL,
            (Self::Tomcat, _) => &TOMCAT,
            (Self::Command, _) => &COMMAND,
            (Self::Files, _) => &FILES,
        }
    }

    /// Its word in the policy.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.recipe(Family::Debian).word
    }

    /// A reload with a broken configuration, or with a key that is not the certificate's, ends the server. So nothing is
    /// reloaded before the files were checked and the configuration was tested, on the way back as well.
    #[must_use]
    pub const fn is_fragile(self) -> bool {
        matches!(self, Self::Apache)
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
const APACHE: Recipe = Recipe {
    word: "apache",
    test: Some(&["/usr/sbin/apachectl", "configtest"]),
    reload: Some(&["/usr/bin/systemctl", "reload", "apache2"]),
    pid_file: Some("/run/apache2/apache2.pid"),
    probed: true,
    listener: Some("127.0.0.1:443"),
    export: Some(RecipeExport::Layout(ExportLayout::Apache)),
    ..NOTHING
};

static APACHE_RHEL: Recipe = Recipe {
    reload: Some(&["/usr/bin/systemctl", "reload", "httpd"]),
    pid_file: Some("/run/httpd/httpd.pid"),
    ..APACHE
};

const HAPROXY: Recipe = Recipe {
    word: "haproxy",
    test: Some(&["/usr/sbin/haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"]),
    reload: Some(&["/usr/bin/systemctl", "reload", "haproxy"]),
    admin_socket: Some("/run/haproxy/admin.sock"),
    probed: true,
    listener: Some("127.0.0.1:443"),
    export: Some(RecipeExport::Combined("haproxy.pem")),
    ..NOTHING
};

static HAPROXY_RHEL: Recipe = Recipe {
    admin_socket: Some("/var/lib/haproxy/stats"),
    ..HAPROXY
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
    reader: Some("tomcat"),
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
    reader: None,
    key_mode: 0o600,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_known_by_what_it_is_and_by_what_it_is_like() {
        for (text, family) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n",
                Family::Debian,
            ),
            ("ID=ubuntu\nID_LIKE=debian\n", Family::Debian),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                Family::Rhel,
            ),
            ("ID=fedora\n", Family::Rhel),
            ("NAME=\"openEuler\"\nID=\"openEuler\"\n", Family::Rhel),
            ("ID='hce'\n", Family::Rhel),
            // A product's name says nothing.
            (
                "NAME=\"not rhel\"\nVARIANT_ID=rhel\nID=arch\n",
                Family::Debian,
            ),
            ("ID\n=rhel\n", Family::Debian),
            ("", Family::Debian),
        ] {
            assert_eq!(Family::of_os_release(text), family, "{text:?}");
        }
    }

    #[test]
    fn families_differ_in_places_only() {
        for kind in TargetKind::ALL {
            let (debian, rhel) = (kind.recipe(Family::Debian), kind.recipe(Family::Rhel));
            let mut alike = *rhel;
            alike.reload = debian.reload;
            alike.pid_file = debian.pid_file;
            alike.admin_socket = debian.admin_socket;
            assert_eq!(&alike, debian);
        }
        let apache = TargetKind::Apache.recipe(Family::Rhel);
        assert_eq!(apache.pid_file, Some("/run/httpd/httpd.pid"));
    }
}
