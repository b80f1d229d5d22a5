//! The archive of a certificate in the forms that servers read (CCM API 7.1.14).
//!
//! The reference says of it only that it is compressed and ends in `.rar`. It is a ZIP archive here, named as what it is,
//! with a directory for each kind of server, in the layouts of 4.2.2.8.

use sqlx::Row as _;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::archive::Archive;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::layout::Layout;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm;
use crate::ccm_server::scm2::{certificates, project};
use crate::pki::Secret;

/// 7.1.14
pub(super) async fn download(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let row = certificates::read(call).await?;
    let Some(leaf) = row.get::<Option<Vec<u8>>, _>("certificate") else {
        let detail = format!(
            "the certificate is {}",
            row.get::<String, _>("shown_status")
        );
        return Err(Failure::because(code("SCM.0010"), detail));
    };
    let id = call.path.text("cert_id");
    let key = match row.get::<Option<Vec<u8>>, _>("key") {
        Some(sealed) => Some(call.shared.vault.open(&scm::key_label(id), &sealed)?),
        None => None,
    };
    let chain: Vec<u8> = row.get::<Option<Vec<u8>>, _>("chain").unwrap_or_default();
    let chain = String::from_utf8_lossy(&chain).into_owned();
    let pack = move || pack(&leaf, &chain, key.as_ref());
    let bytes = call.shared.heavy(pack).await?;
    Ok(Answer::archive(id, bytes))
}

/// Without a key, which SCM does not have where the CSR came from elsewhere, there are no key files and no keystores.
fn pack(leaf: &[u8], chain: &str, key: Option<&Secret>) -> Result<Vec<u8>, Failure> {
    let mut archive = Archive::default();
    for (directory, layout) in DIRECTORIES {
        for (name, content) in layout.files(leaf, chain, key)? {
            archive.add(&format!("{directory}/{name}"), content.expose());
        }
    }
    Ok(archive.finish())
}

const DIRECTORIES: [(&str, Layout); 4] = [
    ("Apache", Layout::Apache),
    ("Nginx", Layout::Nginx),
    ("IIS", Layout::Iis),
    ("Tomcat", Layout::Tomcat),
];
