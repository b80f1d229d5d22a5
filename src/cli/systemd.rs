//! What the policy means for the units of systemd.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cli::args::Arguments;
use crate::cli::exit::Exit;
use crate::cli::{CommandResult, context, output};
use crate::deploy::loose_directories;
use crate::model::{Listen, Policy, ValidationKind};

/// A drop-in with the places that the sandbox must let renewd write to, and with the right to low ports where a responder
/// needs it.
pub(crate) fn drop_in(arguments: &Arguments) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let (text, missing) = render(&policy);
    output::data(&text);
    for path in missing {
        output::note(&format!(
            "{path} is not there: make it before renewd is restarted, or renewd may not write there"
        ));
    }
    Ok(Exit::Done)
}

/// The drop-in, and directories in it that are not there.
fn render(policy: &Policy) -> (String, Vec<String>) {
    let mut text = HEAD.to_owned();
    let mut missing = Vec::new();
    if policy.state_dir != Path::new(DEFAULT_STATE) {
        text.push_str("# the state\n");
        text.push_str(&line(&policy.state_dir));
        if !policy.state_dir.is_dir() {
            missing.push(policy.state_dir.display().to_string());
        }
    }
    for (what, directory) in left_for_monitoring(policy) {
        text.push_str(&format!("# {what}\n"));
        text.push_str(&line(&directory));
        if !directory.is_dir() {
            missing.push(directory.display().to_string());
        }
    }
    for validation in policy.validations.values() {
        match &validation.kind {
            ValidationKind::WebRoot { path, .. } => {
                text.push_str(&format!("# validation {}\n", validation.id));
                text.push_str(&line(path));
                if !path.is_dir() {
                    missing.push(path.display().to_string());
                }
            }
            ValidationKind::Responder { listen } if is_privileged(listen) => {
                text.push_str(&format!("# validation {}: {listen}\n", validation.id));
                text.push_str("CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n");
            }
            ValidationKind::Responder { .. }
            | ValidationKind::Automatic
            | ValidationKind::HuaweiDns { .. }
            | ValidationKind::Rfc2136 { .. }
            | ValidationKind::Command { .. }
            | ValidationKind::Email => {}
        }
    }
    for target in policy.targets.values() {
        let directories: BTreeSet<PathBuf> = loose_directories(policy, target)
            .into_values()
            .flatten()
            .collect();
        if !directories.is_empty() {
            text.push_str(&format!("# target {}\n", target.id));
        }
        for directory in directories {
            text.push_str(&line(&directory));
            if !directory.is_dir() {
                missing.push(directory.display().to_string());
            }
        }
    }
    (text, missing)
}

/// Whether only root, or who has the capability, may listen there (ip(7)).
fn is_privileged(listen: &str) -> bool {
    let address = listen.parse::<SocketAddr>();
    address.is_ok_and(|address| address.port() < 1024)
}

/// Directories of what is left for monitoring, and of the control socket. What the units make themselves is theirs to write.
fn left_for_monitoring(policy: &Policy) -> Vec<(&'static str, PathBuf)> {
    let metrics = &policy.metrics;
    let socket = match &metrics.listen {
        Some(Listen::Unix(path)) => Some(path),
        Some(Listen::Tcp(_)) | None => None,
    };
    let all = [
        ("control.socket", Some(&policy.control.socket)),
        ("metrics.textfile", metrics.textfile.as_ref()),
        ("metrics.status_file", metrics.status_file.as_ref()),
        ("metrics.listen", socket),
    ];
    all.into_iter()
        .filter_map(|(what, path)| Some((what, path?.parent()?.to_owned())))
        .filter(|(_, directory)| directory != Path::new(RUNTIME))
        .filter(|(_, directory)| *directory != policy.state_dir)
        .collect()
}

/// Quoted as in systemd.syntax(7), with `%` of specifiers doubled. One that is not there must not keep the unit from
/// starting (`-`).
fn line(path: &Path) -> String {
    let mut quoted = String::new();
    for c in path.to_string_lossy().chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            _ => quoted.push(c),
        }
    }
    format!("ReadWritePaths=\"-{quoted}\"\n")
}

const HEAD: &str = "\
# Where the policy lets renewd write and listen, for the sandbox of its units. Printed by `renewd systemd dropin`; print it again when
# the places in the policy change:
#
#   for unit in renewd renewd-once; do
#     renewd systemd dropin | install -D -m 644 /dev/stdin /etc/systemd/system/$unit.service.d/paths.conf
#   done
#   systemctl daemon-reload
#   systemctl try-restart renewd
[Service]
";

/// Of the units: `StateDirectory=`.
const DEFAULT_STATE: &str = "/var/lib/renewd";

/// Of the units: `RuntimeDirectory=`.
const RUNTIME: &str = "/run/renewd";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fingerprint, ProofPorts, Seconds, ValidationId, ValidationPolicy};
    use crate::plan;

    #[test]
    fn a_path_is_quoted_for_systemd() {
        let path = Path::new("/srv/a b/100%/\"x\"\\y");
        let expected = "ReadWritePaths=\"-/srv/a b/100%%/\\\"x\\\"\\\\y\"\n";
        assert_eq!(line(path), expected);
    }

    #[test]
    fn low_ports_of_responders_and_web_roots_are_allowed() {
        let way = |name: &str, kind| {
            let id = ValidationId::new(name).unwrap();
            let policy = ValidationPolicy {
                id: id.clone(),
                kind,
                resolvers: Vec::new(),
                propagation: Seconds(600),
                ports: ProofPorts::default(),
                digest: Fingerprint([0; 32]),
            };
            (id, policy)
        };
        let listen = |listen: &str| ValidationKind::Responder {
            listen: listen.to_owned(),
        };
        let mut policy = plan::testing::policy();
        policy.validations.extend([
            way("low", listen("[::]:80")),
            way("high", listen("127.0.0.1:8080")),
            way(
                "files",
                ValidationKind::WebRoot {
                    path: "/nowhere/www".into(),
                    owner: None,
                    group: None,
                    mode: 0o644,
                },
            ),
        ]);
        let (text, missing) = render(&policy);
        assert_eq!(text.matches("CAP_NET_BIND_SERVICE").count(), 1, "{text}");
        assert!(text.contains("# validation low: [::]:80\n"), "{text}");
        assert!(
            text.contains("ReadWritePaths=\"-/nowhere/www\"\n"),
            "{text}"
        );
        assert!(missing.contains(&"/nowhere/www".to_owned()));
    }
}
