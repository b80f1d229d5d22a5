//! What is left for monitoring, and where.

use std::net::SocketAddr;

use crate::config::code::Code;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::config::scalar::{self, PathRule, Refusal};
use crate::model::{Listen, Metrics};

impl Lift<'_> {
    /// Nothing where nothing is written.
    pub(super) fn metrics(&mut self, top: &Fields<'_>) -> Metrics {
        let Some(fields) = top.table("metrics", &raw::METRICS) else {
            return Metrics::default();
        };
        let mut path = |key| {
            let found = self.path(&fields, key, PathRule::Absolute);
            found.map(|(path, _)| path)
        };
        Metrics {
            textfile: path("textfile"),
            status_file: path("status_file"),
            listen: self.listen(&fields),
        }
    }

    fn listen(&mut self, fields: &Fields<'_>) -> Option<Listen> {
        let (text, place) = fields.text("listen")?;
        let read = match text.strip_prefix("unix:") {
            Some(path) => scalar::path(path, PathRule::Absolute).map(Listen::Unix),
            None => loopback(text).map(Listen::Tcp),
        };
        match read {
            Ok(listen) => Some(listen),
            Err(refusal) => {
                self.problems
                    .refuse(Code::Endpoint, place, "`listen`", refusal);
                None
            }
        }
    }
}

/// Metrics are answered without asking who wants them, so they stay on the host.
fn loopback(text: &str) -> Result<SocketAddr, Refusal> {
    const FORMS: &str = "write `127.0.0.1:9732`, `[::1]:9732` or `unix:/run/renewd/metrics.sock`";
    let address: SocketAddr = text
        .parse()
        .map_err(|_| Refusal::new("is no address with a port").help(FORMS))?;
    if !address.ip().is_loopback() {
        let why = "is not an address of this host alone, and anybody who asks is answered";
        let help = "listen on 127.0.0.1, and let a web server that knows who asks pass it on";
        return Err(Refusal::new(why).help(help));
    }
    if address.port() == 0 {
        return Err(Refusal::new("has no port").help(FORMS));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_host_alone_are_taken() {
        for good in ["127.0.0.1:9732", "127.8.0.1:1", "[::1]:65535"] {
            assert_eq!(loopback(good).unwrap().to_string(), good);
        }
        for bad in [
            "0.0.0.0:9732",
            "[::]:9732",
            "192.0.2.7:9732",
            "127.0.0.1",
            "127.0.0.1:0",
            "localhost:9732",
            "127.0.0.1:70000",
            "",
        ] {
            assert!(loopback(bad).is_err(), "{bad}");
        }
    }
}
