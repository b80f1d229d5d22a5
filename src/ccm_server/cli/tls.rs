//! The options of `renewd-ccm serve` that turn TLS on.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::ccm_server::server::ServerError;
use crate::ccm_server::tls::TlsSource;

/// A certificate from files, or one of the server's own CA.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Speak HTTPS with the certificates in this file, PEM, the server's own first. Read anew when it changes, and on
    /// SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak HTTPS with a certificate of the server's own issuing CA, renewed by itself.
    #[arg(long, value_name = "SOURCE", conflicts_with = "tls_cert")]
    tls: Option<Own>,
    /// A further name or address in the certificate of `--tls self`; may be repeated.
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Own {
    /// The issuing CA of the account `default`.
    #[value(name = "self")]
    Itself,
}

impl Options {
    /// What was asked for; `None` is plain HTTP.
    pub(super) fn source(self) -> Result<Option<TlsSource>, ServerError> {
        match (self.tls_cert, self.tls_key, self.tls) {
            (Some(certificate), Some(key), None) => Ok(Some(TlsSource::Files { certificate, key })),
            (None, None, Some(Own::Itself)) => Ok(Some(TlsSource::Own {
                names: self.tls_name,
            })),
            (None, None, None) => Ok(None),
            // The parser has refused all others already.
            _ => Err(ServerError::Invalid(
                "give --tls-cert and --tls-key, or --tls self".to_owned(),
            )),
        }
    }
}
