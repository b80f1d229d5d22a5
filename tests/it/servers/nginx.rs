//! A real nginx; more of it alone in `deploy::nginx` and `end_to_end`.

use std::path::Path;

use renewd::model::{Reload, TargetKind};

use super::{Served, Ways};
use crate::deploy::stand::pem;
use crate::support::nginx::{Nginx, Site, free_port};
use crate::support::server::Server;

fn prepare(dir: &Path) -> (Served, Ways) {
    let mut stand = Served::stand(dir, vec![pem("pem", "site.crt", "site.key")], free_port());
    let live = |file: &str| stand.live_path("www").join(file);
    let site = Site::new(&[super::NAME], &live("site.crt"), &live("site.key"));
    let prefix = dir.join("nginx");
    let nginx = Nginx::prepare(&prefix, &[site]);
    let port = nginx.address().rsplit_once(':').unwrap().1.parse().unwrap();
    Served::prove_at(&mut stand, port);
    stand.target.kind = TargetKind::Nginx;
    stand.target.test = Some(nginx.test());
    stand.target.reload = Some(Reload::Command(nginx.reload()));
    let mut argv = nginx.test();
    argv.pop();
    argv.extend(["-g".into(), "daemon off;".into()]);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let server = Server::new(&argv, &[], &prefix.join("output"));
    let served = Served::new(stand, server, vec![port]);
    let tell = nginx.reload().join(" ");
    let conf = prefix.join("nginx.conf");
    let ways = Ways::by_configuration(&served, &conf, ("brokn on;", "brokn"), &tell);
    (served, ways)
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_withstands_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, ways) = prepare(dir.path());
    let old = served.begin().await;
    served.withstands_everything(&ways, old).await;
}
