//! The options of `serve` for applications of SSL certificates, and for who manages them.

use std::net::SocketAddr;

use crate::ccm_server::scm::{Class, ProofReuse, Review, ScmOptions};

/// How applications are looked at, and where they are decided about.
#[derive(Debug, clap::Args)]
#[group(id = "rehearsal")]
pub(super) struct Options {
    /// Address of the management listener, such as 127.0.0.1:8921; loopback only. Without it there is none. With it
    /// the clock can be moved.
    #[arg(long, value_name = "ADDR")]
    pub(super) manage: Option<SocketAddr>,
    /// Resolver that is asked whether an applicant holds a domain; may be repeated. Without it those of
    /// /etc/resolv.conf.
    #[arg(long = "dns-server", value_name = "ADDR")]
    dns_servers: Vec<SocketAddr>,
    /// Where the file that proves an IP address is fetched, whatever the address is; without it at its port 80.
    #[arg(long, value_name = "ADDR")]
    http_validation: Option<SocketAddr>,
    /// Take every domain for the applicant's, without a look. For rehearsals only.
    #[arg(long)]
    no_validation: bool,
    /// How long a proof of a domain is used again for other applications of the account: never, as long as public CAs may
    /// on the day (ballot), or so many days.
    #[arg(long, value_name = "DAYS", default_value = "never")]
    proof_reuse: ProofReuse,
    /// How long the CA takes with certificates of a class, and what it says, such as ov=checking:1h,issuing:2d,hold;
    /// may be repeated.
    #[arg(long = "review", value_name = "CLASS=SETTINGS", value_parser = Review::of_class)]
    reviews: Vec<(Class, Review)>,
}

impl Options {
    /// What of it the server needs to know of applications.
    pub(super) fn scm(self) -> ScmOptions {
        ScmOptions {
            dns_servers: self.dns_servers,
            http_validation: self.http_validation,
            no_validation: self.no_validation,
            proof_reuse: self.proof_reuse,
            reviews: self.reviews.into_iter().collect(),
        }
    }
}
