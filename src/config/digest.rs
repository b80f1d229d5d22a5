//! Digests of policies, by which a change of the policy is noticed.
//!
//! SHA-256 over a fixed first line and then each setting as name and value, both with their length before them, in the
//! order of the code. Lists carry their number of items; what is absent differs from what is empty. The form is an
//! internal matter: a new version of renewd may count every policy as changed, which clears backoff and nothing worse
//! for certificates, and leads to one more rollout of the same files for targets.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::model::{
    ExportKind, ExportLayout, ExportSpec, Fingerprint, Hook, Hooks, IssuerKind, PasswordSource,
    Probe, ProxyProtocol, RemoteAccess, RemoteAuth, SecretRef, StartTls, Subject, SubjectAltNames,
    TrustFormat, ValidationKind,
};

/// What a digest is made of. Put together first: a digest of many small pieces takes several times as long.
pub(super) struct Canon(Vec<u8>);

impl Canon {
    /// `what` keeps digests of different things apart.
    pub(super) fn new(what: &str) -> Self {
        let mut canon = Self(Vec::with_capacity(USUAL));
        canon.put("renewd", what);
        canon
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// One setting.
    pub(super) fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        self.bytes(name.as_bytes());
        let at = self.0.len();
        self.bytes(b"");
        let from = self.0.len();
        // Nothing is ever written to memory in vain.
        let _ = write!(self.0, "{value}");
        let length = u64::try_from(self.0.len() - from).unwrap_or(u64::MAX);
        self.0[at..from].copy_from_slice(&length.to_be_bytes());
    }

    /// One setting that may be absent.
    pub(super) fn maybe(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        self.put(name, if value.is_some() { "some" } else { "none" });
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// A list.
    pub(super) fn list(&mut self, name: &str, items: &[String]) {
        self.put(name, items.len());
        for item in items {
            self.bytes(item.as_bytes());
        }
    }

    pub(super) fn finish(self) -> Fingerprint {
        let digest = digest(&SHA256, &self.0);
        let mut bytes = [0; 32];
        for (byte, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *from;
        }
        Fingerprint(bytes)
    }

    pub(super) fn names(&mut self, names: &SubjectAltNames) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.list("names", &names);
    }

    pub(super) fn subject(&mut self, subject: &Subject) {
        let Subject {
            country,
            state,
            locality,
            organization,
            organizational_unit,
        } = subject;
        self.maybe("country", country.as_ref());
        self.maybe("state", state.as_ref());
        self.maybe("locality", locality.as_ref());
        self.maybe("organization", organization.as_ref());
        self.maybe("organizational_unit", organizational_unit.as_ref());
    }

    pub(super) fn issuer_kind(&mut self, kind: &IssuerKind) {
        match kind {
            IssuerKind::Pca(pca) => {
                self.put("kind", "pca");
                self.put("ca", &pca.ca);
            }
            // What may be bought and who applies is no part of it: an order that was opened carries what it buys, and
            // the applicant may change while it is on its way.
            IssuerKind::Scm(_) => self.put("kind", "scm"),
        }
    }

    pub(super) fn validation(&mut self, kind: &ValidationKind) {
        self.put("kind", kind.word());
        match kind {
            ValidationKind::Automatic | ValidationKind::Email => {}
            ValidationKind::HuaweiDns { access } => self.access(access),
            ValidationKind::Rfc2136 {
                server,
                zone,
                key_name,
                algorithm,
                key,
                ttl,
            } => {
                self.put("server", server);
                self.maybe("zone", zone.as_ref());
                self.put("key_name", key_name);
                self.put("algorithm", algorithm.as_str());
                self.put("tsig_key", key);
                self.put("ttl", ttl.0);
            }
            ValidationKind::Command {
                auth,
                cleanup,
                timeout,
                method,
            } => {
                self.list("auth", auth);
                self.maybe("cleanup", cleanup.as_ref().map(Vec::len));
                self.list("cleanup", cleanup.as_deref().unwrap_or_default());
                self.put("timeout", timeout.0);
                self.put("method", method);
            }
            ValidationKind::WebRoot {
                path,
                owner,
                group,
                mode,
            } => {
                self.put("path", path.display());
                self.maybe("owner", owner.as_ref());
                self.maybe("group", group.as_ref());
                self.put("mode", mode);
            }
            ValidationKind::Responder { listen } => self.put("listen", listen),
        }
    }

    pub(super) fn access(&mut self, access: &RemoteAccess) {
        let RemoteAccess {
            endpoint,
            roots,
            auth,
            connect_timeout,
            timeout,
        } = access;
        self.put("endpoint", endpoint);
        self.maybe("roots", roots.as_ref().map(|path| path.display()));
        self.put("connect_timeout", connect_timeout.0);
        self.put("timeout", timeout.0);
        match auth {
            RemoteAuth::AccessKey {
                access_key,
                secret_key,
                security_token,
            } => {
                self.put("access_key", access_key);
                self.put("secret_key", secret_key);
                self.maybe("security_token", security_token.as_ref());
            }
            RemoteAuth::Password {
                iam_endpoint,
                user,
                password,
                domain,
                project,
            } => {
                self.put("iam_endpoint", iam_endpoint);
                self.put("user", user);
                self.put("password", password);
                self.put("domain", domain);
                self.put("project", project);
            }
            RemoteAuth::Agency { metadata_endpoint } => {
                self.put("metadata_endpoint", metadata_endpoint);
            }
        }
    }

    pub(super) fn probe(&mut self, probe: &Probe) {
        match probe {
            Probe::None => self.put("probe", "none"),
            Probe::Tls {
                connect,
                deadline,
                roots,
                wildcard_label,
                prelude,
            } => {
                self.put("probe", "tls");
                for listener in connect.iter() {
                    self.put("connect", listener);
                }
                self.put("deadline", deadline.0);
                self.maybe("roots", roots.as_ref());
                self.put("wildcard_label", wildcard_label);
                let proxy_protocol = prelude.proxy_protocol.map(ProxyProtocol::as_str);
                self.maybe("proxy_protocol", proxy_protocol);
                self.maybe("starttls", prelude.starttls.map(StartTls::as_str));
            }
        }
    }

    /// Without hooks there is nothing to say, as before there were any.
    pub(super) fn hooks(&mut self, hooks: &Hooks) {
        if hooks.steps().is_empty() {
            return;
        }
        for hook in [Hook::Pre, Hook::Post, Hook::OnFailure] {
            let argv = hooks.argv(hook);
            self.maybe(hook.code(), argv.map(<[String]>::len));
            self.list(hook.code(), argv.unwrap_or_default());
        }
        let directory = hooks.directory.as_ref();
        self.put("timeout", hooks.timeout.0);
        self.maybe("user", hooks.user.as_ref());
        self.maybe("directory", directory.map(|path| path.display()));
    }

    pub(super) fn export(&mut self, export: &ExportSpec) {
        self.put("export", &export.name);
        match &export.kind {
            ExportKind::Pem(files) => {
                self.put("kind", "pem");
                let files = [
                    ("certificate", &files.certificate),
                    ("chain", &files.chain),
                    ("fullchain", &files.fullchain),
                    ("key", &files.key),
                    ("combined", &files.combined),
                ];
                for (name, path) in files {
                    self.maybe(name, path.as_ref().map(|path| path.display()));
                }
            }
            ExportKind::Pfx {
                path,
                profile,
                alias,
                password,
            } => {
                self.put("kind", "pfx");
                self.put("path", path.display());
                self.put("profile", profile.word());
                self.put("alias", alias);
                self.password(password);
            }
            ExportKind::Jks {
                path,
                alias,
                password,
            } => {
                self.put("kind", "jks");
                self.put("path", path.display());
                self.put("alias", alias);
                self.password(password);
            }
            ExportKind::Trust {
                path,
                format,
                password,
            } => {
                self.put("kind", "trust");
                self.put("path", path.display());
                self.put("format", format.word());
                if let TrustFormat::Pkcs12(profile) = format {
                    self.put("profile", profile.word());
                }
                self.password(password);
            }
            ExportKind::Layout {
                layout,
                directory,
                password,
            } => {
                let layout = match layout {
                    ExportLayout::Nginx => "nginx",
                    ExportLayout::Apache => "apache",
                    ExportLayout::Tomcat => "tomcat",
                    ExportLayout::Iis => "iis",
                    ExportLayout::Other => "other",
                };
                self.put("kind", "layout");
                self.put("layout", layout);
                self.put("directory", directory.display());
                self.password(password);
            }
        }
        self.maybe("owner", export.attributes.owner.as_ref());
        self.maybe("group", export.attributes.group.as_ref());
        self.put("mode", export.attributes.mode);
        self.put("key_mode", export.attributes.key_mode);
        // What is not there says nothing, as before it could be written.
        if !export.attributes.acl.is_empty() {
            let acl = export.attributes.acl.iter();
            self.list("acl", &acl.map(ToString::to_string).collect::<Vec<_>>());
        }
        if let Some(reader) = &export.attributes.reader {
            self.put("reader", reader);
        }
    }

    fn password(&mut self, source: &PasswordSource) {
        let given: Option<&SecretRef> = match source {
            PasswordSource::Generated => None,
            PasswordSource::Given(reference) => Some(reference),
        };
        self.maybe("password", given);
    }
}

/// Bytes: more than most certificates have.
const USUAL: usize = 1024;
