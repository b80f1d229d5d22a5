//! Certificate signing requests for servers, written and signed (RFC 2986): what SCM makes for its users.

use crate::ccm_server::x509::certificate::names_extension;
use crate::ccm_server::x509::signer::{Hash, Signer};
use crate::ccm_server::x509::sm2::{self, Sm2Key};
use crate::ccm_server::x509::{X509Error, der};
use crate::model::Name;

/// Who signs a request.
pub(in crate::ccm_server) enum Requester<'a> {
    /// With RSA or EC.
    Usual(&'a Signer),
    /// With SM2.
    Sm2(&'a Sm2Key),
}

/// A request as DER: the subject as DER, the names as alternative names (RFC 2985 §5.4.2), nothing else, since what a
/// certificate is for is its issuer's decision.
pub(in crate::ccm_server) fn request(
    subject: &[u8],
    names: &[Name],
    key: &Requester<'_>,
) -> Result<Vec<u8>, X509Error> {
    let spki = match key {
        Requester::Usual(signer) => signer.spki().to_vec(),
        Requester::Sm2(key) => key.spki()?,
    };
    let wanted = der::sequence(&[
        &der::oid(&[1, 2, 840, 113_549, 1, 9, 14]),
        &der::set(&der::sequence(&[&names_extension(names)])),
    ]);
    let info = der::sequence(&[
        &der::unsigned(&[0]),
        subject,
        &spki,
        &der::context_constructed(0, &wanted),
    ]);
    let (algorithm, signature) = match key {
        Requester::Usual(signer) => (
            signer.algorithm(Hash::Sha256),
            signer.sign(Hash::Sha256, &info)?,
        ),
        Requester::Sm2(key) => (sm2::algorithm(), key.sign(&info)?),
    };
    Ok(der::sequence(&[&info, &algorithm, &der::bits(&signature)]))
}
