//! The archive of a certificate in the forms that servers read (CCM API 7.1.14).
//!
//! The reference says of it only that it is compressed and ends in `.rar`. It is a ZIP archive here, named as what it is,
//! with a directory for each kind of server, in the layouts of 4.2.2.8.

use sqlx::Row as _;

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::archive::Archive;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm;
use crate::ccm_server::scm2::{certificates, project};
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::PfxProfile;
use crate::pki::{Material, PrivateKey, Secret, jks, password, pfx};
use crate::sys::entropy;

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
    let name = format!("attachment; filename=\"{id}.zip\"");
    Ok(Answer {
        status: 200,
        headers: vec![("content-disposition".to_owned(), name)],
        body: Body::Bytes {
            kind: "application/zip",
            bytes,
        },
    })
}

/// Without a key, which SCM does not have where the CSR came from elsewhere, there are no key files and no keystores.
fn pack(leaf: &[u8], chain: &str, key: Option<&Secret>) -> Result<Vec<u8>, Failure> {
    let own = x509::encode("CERTIFICATE", leaf, LineEnd::Lf);
    let mut archive = Archive::default();
    archive.add("Apache/server.crt", own.as_bytes());
    archive.add("Apache/chain.crt", chain.as_bytes());
    archive.add("Nginx/server.crt", format!("{own}{chain}").as_bytes());
    let Some(key) = key else {
        return Ok(archive.finish());
    };
    let pem = Secret::from(x509::private_key_pem(key.expose(), LineEnd::Lf));
    archive.add("Apache/server.key", pem.expose());
    archive.add("Nginx/server.key", pem.expose());
    let material = Material::from_pem(PrivateKey::from_pem(pem.expose())?, &own, chain)?;
    let password = password::generate(&mut entropy::fill);
    // What Java 8 and old Windows servers read as well: the reference says nothing of who opens it.
    let store = pfx::write(&material, ALIAS, PfxProfile::Java8, Some(&password))?;
    archive.add("IIS/server.pfx", store.expose());
    archive.add("IIS/keystorePass.txt", password.expose());
    let store = jks::write(&material, ALIAS, Some(&password))?;
    archive.add("Tomcat/server.jks", store.expose());
    archive.add("Tomcat/keystorePass.txt", password.expose());
    Ok(archive.finish())
}

/// Of the only entry of a keystore.
const ALIAS: &str = "server";
