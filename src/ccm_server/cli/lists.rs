//! The options of `renewd-ccm serve` that say where lists of revoked certificates are fetched.

use std::net::SocketAddr;

/// A listener of its own, and the address that certificates name.
#[derive(Debug, clap::Args)]
#[group(id = "lists")]
pub(super) struct Options {
    /// Address of a listener that serves lists of revoked certificates by plain HTTP, and nothing else, such as
    /// 0.0.0.0:80; with TLS, clients that check certificates need it.
    #[arg(long, value_name = "ADDR")]
    pub(super) crl_listen: Option<SocketAddr>,
    /// URL under which clients reach the lists, for their distribution points; without it that of --crl-listen with the
    /// host of --public-url, or else --public-url.
    #[arg(long, value_name = "URL")]
    pub(super) crl_url: Option<String>,
}
