//! A certificate as the files that a kind of server reads (CCM API 4.2.2.8): names and contents, without an archive around
//! them.

use crate::ccm_server::failure::Failure;
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::PfxProfile;
use crate::pki::{Material, PrivateKey, Secret, jks, password, pfx};
use crate::sys::entropy;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `server.crt`, `chain.crt`, `server.key`.
    Apache,
    /// `server.crt` with the chain behind the certificate, `server.key`.
    Nginx,
    /// `server.pfx`, `keystorePass.txt`.
    Iis,
    /// `server.jks`, `keystorePass.txt`.
    Tomcat,
    /// `server.pem`, `chain.pem`, `server.key`.
    Other,
}

impl Layout {
    /// By the reference's name, in capital letters.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "APACHE" => Some(Self::Apache),
            "NGINX" => Some(Self::Nginx),
            "IIS" => Some(Self::Iis),
            "TOMCAT" => Some(Self::Tomcat),
            "OTHER" => Some(Self::Other),
            _ => None,
        }
    }

    /// Whether key and certificate are in one file there, so that nothing can be made without the key.
    pub(super) const fn is_keystore(self) -> bool {
        matches!(self, Self::Iis | Self::Tomcat)
    }

    /// The files: the leaf is DER, the chain PEM with the issuer first. Without a key there is no `server.key`, and of a
    /// keystore nothing. The password of a keystore is new each time. Keystores have the chain without its root.
    ///
    /// # Errors
    /// A key or a certificate that is none.
    pub(super) fn files(
        self,
        leaf: &[u8],
        chain: &str,
        key: Option<&Secret>,
    ) -> Result<Vec<(&'static str, Secret)>, Failure> {
        let own = x509::encode("CERTIFICATE", leaf, LineEnd::Lf);
        let pem = key.map(|key| Secret::from(x509::private_key_pem(key.expose(), LineEnd::Lf)));
        let text = |text: &str| Secret::from(text.to_owned());
        let mut files = match self {
            Self::Apache => vec![("server.crt", text(&own)), ("chain.crt", text(chain))],
            Self::Nginx => vec![("server.crt", text(&format!("{own}{chain}")))],
            Self::Other => vec![("server.pem", text(&own)), ("chain.pem", text(chain))],
            Self::Iis | Self::Tomcat => {
                let Some(pem) = pem else {
                    return Ok(Vec::new());
                };
                let key = PrivateKey::from_pem(pem.expose())?;
                let material = Material::from_pem(key, &own, chain)?;
                return self.keystore(&material);
            }
        };
        files.extend(pem.map(|pem| ("server.key", pem)));
        Ok(files)
    }

    fn keystore(self, material: &Material) -> Result<Vec<(&'static str, Secret)>, Failure> {
        let password = password::generate(&mut entropy::fill);
        let store = if self == Self::Tomcat {
            ("server.jks", jks::write(material, ALIAS, Some(&password))?)
        } else {
            // What Java 8 and old Windows servers read as well: the reference says nothing of who opens it.
            let profile = PfxProfile::Java8;
            let store = pfx::write(material, ALIAS, profile, Some(&password))?;
            ("server.pfx", store)
        };
        Ok(vec![store, ("keystorePass.txt", password)])
    }
}

/// Of the only entry of a keystore.
const ALIAS: &str = "server";
