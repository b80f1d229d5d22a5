//! The old Java keystore format `JKS`, written and read by own code.
//!
//! The format is not documented; this follows `sun.security.provider.JavaKeyStore` and `KeyProtector` of the JDK, and
//! the tests have keytool agree. Its protection is weak (SHA-1, XOR, one round): it is written for servers that know
//! nothing else, and the mode of the file is what guards the key.
//!
//! ```text
//!   store   FEEDFEED, version 2, count, entries, SHA-1(password || "Mighty Aphrodite" || all before)
//!   entry   tag 1, alias, created (ms), length + EncryptedPrivateKeyInfo, count of certificates, certificates
//!   trusted tag 2, alias, created (ms), certificate
//!   text    two bytes of length, modified UTF-8         certificate   "X.509" as text, length, DER
//!   key     salt (20) || PKCS #8 XOR stream || SHA-1(password || PKCS #8)
//!   stream  SHA-1(password || salt), then SHA-1(password || block before), and so on; password in UTF-16BE
//! ```

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, Digest, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::model::Timestamp;
use crate::pki::der;
use crate::pki::{Material, PkiError, Secret, chain, facts, password};

/// A private key with its certificates, out of a keystore.
pub struct Entry {
    /// Name, in lower case as Java writes it.
    pub alias: String,
    /// When it was put in, in whole seconds.
    pub created: Timestamp,
    /// The key, PKCS #8 DER.
    pub pkcs8: Secret,
    /// Leaf first, DER.
    pub certificates: Vec<Vec<u8>>,
}

/// Key, leaf and chain without root as a keystore with one entry, protected by one password for store and key. The
/// same input gives the same bytes: the entry's time is the begin of the leaf's validity, and the salt follows from
/// key and password.
///
/// # Errors
/// A password that keytool refuses, an alias that is empty or too long, a leaf that is no certificate.
pub fn write(
    material: &Material,
    alias: &str,
    password: Option<&Secret>,
) -> Result<Secret, PkiError> {
    let password = utf16(password::for_jks(password)?);
    let created = facts(&material.leaf)?.not_before.0.saturating_mul(1000);
    let key = protect(material.key.pkcs8(), &password);
    let certificates: Vec<&Vec<u8>> = std::iter::once(&material.leaf)
        .chain(chain::without_root(&material.chain))
        .collect();

    let mut out = start(1)?;
    out.extend_from_slice(&PRIVATE_KEY.to_be_bytes());
    // Java looks an alias up in lower case, and would not find another.
    put_text(&mut out, &alias.to_lowercase())?;
    out.extend_from_slice(&created.to_be_bytes());
    put_bytes(&mut out, &key)?;
    put_length(&mut out, certificates.len())?;
    for der in certificates {
        put_text(&mut out, X509)?;
        put_bytes(&mut out, der)?;
    }
    Ok(finish(out, &password))
}

/// Certificates under their aliases as trusted ones, without any key; the password only tells a change. The same input
/// gives the same bytes: the time of an entry is the begin of its validity.
///
/// # Errors
/// A password that keytool refuses, an alias that is empty or too long, what is no certificate.
pub fn write_trusted(
    certificates: &[(String, &[u8])],
    password: Option<&Secret>,
) -> Result<Secret, PkiError> {
    let password = utf16(password::for_jks(password)?);
    let mut out = start(certificates.len())?;
    for (alias, der) in certificates {
        let created = facts(der)?.not_before.0.saturating_mul(1000);
        out.extend_from_slice(&TRUSTED_CERTIFICATE.to_be_bytes());
        put_text(&mut out, &alias.to_lowercase())?;
        out.extend_from_slice(&created.to_be_bytes());
        put_text(&mut out, X509)?;
        put_bytes(&mut out, der)?;
    }
    Ok(finish(out, &password))
}

fn start(entries: usize) -> Result<Vec<u8>, PkiError> {
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    put_length(&mut out, entries)?;
    Ok(out)
}

fn finish(mut out: Vec<u8>, password: &[u8]) -> Secret {
    let digest = store_digest(password, &out);
    out.extend_from_slice(digest.as_ref());
    Secret::new(out)
}

/// The private keys of a keystore; certificates without key are passed over. Reads what keytool writes too. Memory
/// stays below a small multiple of the input, whatever its length fields say.
///
/// # Errors
/// [`PkiError::Integrity`] for a wrong password or damage, else what is malformed.
pub fn read(bytes: &[u8], password: &Secret) -> Result<Vec<Entry>, PkiError> {
    Ok(read_all(bytes, password)?.0)
}

/// A trusted certificate under its alias, DER.
pub(super) type Trusted = (String, Vec<u8>);

/// As [`read`], with what is passed over there: aliases of trusted certificates with their DER form.
pub(super) fn read_all(
    bytes: &[u8],
    password: &Secret,
) -> Result<(Vec<Entry>, Vec<Trusted>), PkiError> {
    let text = password.expose_str();
    let password = utf16(text.ok_or_else(|| wrong("the password is not UTF-8"))?);
    let body = bytes.len().checked_sub(DIGEST).ok_or_else(cut_off)?;
    let (body, digest) = bytes.split_at(body);
    let mut input = Input(body);
    if input.u32()? != MAGIC {
        return Err(wrong("not a JKS keystore"));
    }
    if input.u32()? != VERSION {
        return Err(wrong("not version 2 of the format"));
    }
    verify_slices_are_equal(store_digest(&password, body).as_ref(), digest)
        .map_err(|_| PkiError::Integrity { format: FORMAT })?;
    let mut entries = Vec::new();
    let mut trusted = Vec::new();
    for _ in 0..input.u32()? {
        let tag = input.u32()?;
        let alias = input.text()?;
        let created = Timestamp::from_millis(input.i64()?);
        match tag {
            PRIVATE_KEY => {
                let pkcs8 = reveal(input.bytes()?, &password)?;
                let mut certificates = Vec::new();
                for _ in 0..input.u32()? {
                    certificates.push(input.certificate()?.to_vec());
                }
                entries.push(Entry {
                    alias,
                    created,
                    pkcs8,
                    certificates,
                });
            }
            TRUSTED_CERTIFICATE => {
                trusted.push((alias, input.certificate()?.to_vec()));
            }
            _ => return Err(wrong("an entry of unknown kind")),
        }
    }
    if input.0.is_empty() {
        Ok((entries, trusted))
    } else {
        Err(wrong("bytes behind the last entry"))
    }
}

/// Whether every length in it leads to its end, whatever its password.
#[must_use]
pub fn is_whole(bytes: &[u8]) -> bool {
    walk(bytes).is_ok_and(|rest| rest == DIGEST)
}

/// How many bytes are behind the last entry.
fn walk(bytes: &[u8]) -> Result<usize, PkiError> {
    let mut input = Input(bytes);
    if (input.u32()?, input.u32()?) != (MAGIC, VERSION) {
        return Err(wrong("not a JKS keystore"));
    }
    for _ in 0..input.u32()? {
        let tag = input.u32()?;
        input.text()?;
        input.i64()?;
        if tag == PRIVATE_KEY {
            input.bytes()?;
            for _ in 0..input.u32()? {
                input.certificate()?;
            }
        } else {
            input.certificate()?;
        }
    }
    Ok(input.0.len())
}

/// An EncryptedPrivateKeyInfo under Sun's own algorithm.
fn protect(pkcs8: &[u8], password: &[u8]) -> Vec<u8> {
    // Not random, so that an unchanged key gives an unchanged file; and no other key ever gets the same stream.
    let key = hmac::Key::new(hmac::HMAC_SHA256, pkcs8);
    let mut context = hmac::Context::with_key(&key);
    context.update(b"renewd JKS salt");
    context.update(password);
    let tag = context.sign();
    let salt = &tag.as_ref()[..DIGEST];

    let mut sealed = pkcs8.to_vec();
    apply_stream(&mut sealed, password, salt);
    let check = sha1(&[password, pkcs8]);
    let mut algorithm = Vec::new();
    der::write(&mut algorithm, der::OID, &[KEY_PROTECTOR]);
    der::write(&mut algorithm, der::NULL, &[]);
    let mut parts = Vec::new();
    der::write(&mut parts, der::SEQUENCE, &[&algorithm]);
    der::write(
        &mut parts,
        der::OCTET_STRING,
        &[salt, &sealed, check.as_ref()],
    );
    let mut out = Vec::new();
    der::write(&mut out, der::SEQUENCE, &[&parts]);
    out
}

/// The PKCS #8 key inside an EncryptedPrivateKeyInfo.
fn reveal(info: &[u8], password: &[u8]) -> Result<Secret, PkiError> {
    let sealed = sealed_key(info).ok_or_else(|| wrong("a damaged private key"))?;
    let (salt, rest) = sealed.split_at_checked(DIGEST).ok_or_else(cut_off)?;
    let length = rest.len().checked_sub(DIGEST).ok_or_else(cut_off)?;
    let (sealed, check) = rest.split_at(length);
    let mut pkcs8 = Zeroizing::new(sealed.to_vec());
    apply_stream(&mut pkcs8, password, salt);
    verify_slices_are_equal(sha1(&[password, &pkcs8]).as_ref(), check)
        .map_err(|_| PkiError::Integrity { format: FORMAT })?;
    Ok(Secret::from(pkcs8))
}

fn sealed_key(info: &[u8]) -> Option<&[u8]> {
    let mut parts = der::Reader::new(der::Reader::new(info).expect(der::SEQUENCE)?.content);
    let mut algorithm = der::Reader::new(parts.expect(der::SEQUENCE)?.content);
    let known = algorithm.expect(der::OID)?.content == KEY_PROTECTOR;
    known.then_some(parts.expect(der::OCTET_STRING)?.content)
}

fn apply_stream(bytes: &mut [u8], password: &[u8], salt: &[u8]) {
    let mut block = sha1(&[password, salt]);
    for chunk in bytes.chunks_mut(DIGEST) {
        for (byte, key) in chunk.iter_mut().zip(block.as_ref()) {
            *byte ^= key;
        }
        block = sha1(&[password, block.as_ref()]);
    }
}

fn store_digest(password: &[u8], body: &[u8]) -> Digest {
    sha1(&[password, WHITENER, body])
}

fn sha1(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish()
}

fn utf16(text: &str) -> Zeroizing<Vec<u8>> {
    // A character never has more UTF-16 units than UTF-8 bytes; sized once, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    bytes
}

fn put_length(out: &mut Vec<u8>, length: usize) -> Result<(), PkiError> {
    let length = u32::try_from(length).map_err(|_| refused("a part is longer than 4 GiB"))?;
    out.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), PkiError> {
    put_length(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Java's modified UTF-8: each UTF-16 unit on its own, and U+0000 in two bytes (`java.io.DataInput`).
fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), PkiError> {
    if text.is_empty() {
        return Err(refused("the alias is empty"));
    }
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [_, low] = unit.to_be_bytes();
        match unit {
            0x01..0x80 => bytes.push(low),
            0 | 0x80..0x800 => {
                let high = unit >> 6;
                bytes.extend([0xc0 | high.to_be_bytes()[1], 0x80 | low & 0x3f]);
            }
            0x800.. => {
                let (high, middle) = ((unit >> 12).to_be_bytes()[1], (unit >> 6).to_be_bytes()[1]);
                bytes.extend([0xe0 | high, 0x80 | middle & 0x3f, 0x80 | low & 0x3f]);
            }
        }
    }
    let length = u16::try_from(bytes.len()).map_err(|_| refused("the alias is too long"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes);
    Ok(())
}

fn read_text(bytes: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    let low = |byte: Option<u8>| {
        byte.filter(|byte| byte & 0xc0 == 0x80)
            .map(|byte| u16::from(byte & 0x3f))
    };
    while let Some(first) = rest.next() {
        let lead = u16::from(first);
        units.push(match first {
            0x00..0x80 => lead,
            0xc0..0xe0 => (lead & 0x1f) << 6 | low(rest.next())?,
            0xe0..0xf0 => (lead & 0x0f) << 12 | low(rest.next())? << 6 | low(rest.next())?,
            _ => return None,
        });
    }
    String::from_utf16(&units).ok()
}

/// What is left to read. Every length is held against it, so nothing is allocated that is not there.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], PkiError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PkiError> {
        self.take(N)?.try_into().map_err(|_| cut_off())
    }

    fn u32(&mut self) -> Result<u32, PkiError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, PkiError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], PkiError> {
        let length = usize::try_from(self.u32()?).map_err(|_| cut_off())?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, PkiError> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        read_text(self.take(length)?).ok_or_else(|| wrong("a text that is not modified UTF-8"))
    }

    fn certificate(&mut self) -> Result<&'a [u8], PkiError> {
        if self.text()? == X509 {
            self.bytes()
        } else {
            Err(wrong("a certificate that is not X.509"))
        }
    }
}

fn wrong(problem: &str) -> PkiError {
    PkiError::malformed("JKS keystore", problem)
}

fn cut_off() -> PkiError {
    wrong("it ends too early")
}

fn refused(problem: &str) -> PkiError {
    PkiError::Keystore {
        format: FORMAT,
        problem: problem.to_owned(),
    }
}

const FORMAT: &str = "JKS";
const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const PRIVATE_KEY: u32 = 1;
const TRUSTED_CERTIFICATE: u32 = 2;
const X509: &str = "X.509";
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// 1.3.6.1.4.1.42.2.17.1.1, Sun's key protector.
const KEY_PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];
/// Length of a SHA-1 digest, and of the salt.
const DIGEST: usize = 20;

#[cfg(test)]
mod tests;
