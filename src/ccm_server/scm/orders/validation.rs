//! Whether an applicant holds the domains: DNS and web servers are really asked.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::ccm_server::scm::orders::order::{Domain, Order, record_name};
use crate::ccm_server::scm::orders::{dns, web};
use crate::ccm_server::server::Shared;

/// Whom to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ccm_server) struct Validation {
    /// Resolvers; empty: those of `/etc/resolv.conf`.
    pub(super) resolvers: Vec<SocketAddr>,
    /// Where every web server is; absent: port 80 of the address that is to be proven.
    pub(super) web: Option<SocketAddr>,
    /// Everything counts as proven.
    pub(super) off: bool,
}

/// Looks at these names of an application, all at once; `None` is proven, a text what is wrong.
pub(super) async fn look(
    shared: &Shared,
    order: &Order,
    names: &[Domain],
) -> Vec<(i64, Option<String>)> {
    let Some(token) = &order.token else {
        return Vec::new();
    };
    let validation = &shared.life.validation;
    let mut asked = JoinSet::new();
    // In a zone that is held here the record is what the server wrote.
    let (written, names): (Vec<&Domain>, Vec<&Domain>) =
        names.iter().partition(|name| name.zone.is_some());
    match order.method.as_deref() {
        Some("DNS") => {
            let resolvers = match validation.resolvers.as_slice() {
                [] => dns::resolvers_of_host(),
                given => given.to_vec(),
            };
            for name in names {
                let (record, token) = (record_name(&name.domain), token.clone());
                let (position, resolvers) = (name.position, resolvers.clone());
                asked.spawn(
                    async move { (position, dns::holds(&resolvers, &record, &token).await) },
                );
            }
        }
        Some("FILE") => {
            for name in names {
                let (position, domain) = (name.position, name.domain.clone());
                let (token, web) = (token.clone(), validation.web);
                asked.spawn(async move { (position, web::holds(&domain, web, &token).await) });
            }
        }
        // Whoever reads the mail decides.
        _ => {}
    }
    let mut seen: Vec<_> = written.iter().map(|name| (name.position, None)).collect();
    // A lookup that panicked is as good as none, and is made again.
    while let Some(one) = asked.join_next().await {
        seen.extend(one);
    }
    seen
}
