//! Signatures of transactions (TSIG, RFC 8945): an update is signed, and its answer must be.

use aws_lc_rs::hmac;

use crate::model::TsigAlgorithm;
use crate::validation::dns::name;
use crate::validation::dns::wire::{Data, Message, Rcode, class, kind, put};

/// A key that a server shares with us.
pub(in crate::validation) struct TsigKey {
    name: Vec<u8>,
    algorithm: Vec<u8>,
    key: hmac::Key,
}

/// What an answer's signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the server's.
    Good,
    /// There is none, and the server says why (RFC 8945 §5.3.2): it could not know the key or the signature.
    Unsigned(Option<Trouble>),
    /// Somebody else made or changed it.
    Bad(&'static str),
    /// The server's clock is another; it signed that.
    Time {
        /// Seconds since 1970 there, where it says so.
        there: Option<u64>,
    },
}

/// Errors of a server about our signature (RFC 8945 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// BADSIG.
    Signature,
    /// BADKEY.
    Key,
    /// BADTRUNC, or another.
    Other(u16),
}

impl TsigKey {
    /// `None` for a name that is none.
    pub(in crate::validation) fn new(
        key_name: &str,
        algorithm: TsigAlgorithm,
        secret: &[u8],
    ) -> Option<Self> {
        let mut name = Vec::new();
        name::write(key_name, &mut name)?;
        let of = match algorithm {
            TsigAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            TsigAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            TsigAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        let mut word = Vec::new();
        name::write(algorithm.as_str(), &mut word)?;
        Some(Self {
            name,
            algorithm: word,
            key: hmac::Key::new(of, secret),
        })
    }

    /// Appends the signature, and gives its MAC back, which the answer's is made over.
    pub(super) fn sign(&self, message: &mut Vec<u8>, now: u64) -> Vec<u8> {
        let mut signed = message.clone();
        self.variables(&mut signed, now, FUDGE, 0, &[]);
        let mac = hmac::sign(&self.key, &signed).as_ref().to_vec();
        let id = message.get(..2).map(<[u8]>::to_vec).unwrap_or_default();
        message.extend_from_slice(&self.name);
        put(message, kind::TSIG);
        put(message, class::ANY);
        message.extend_from_slice(&[0; 4]);
        let mut data = self.algorithm.clone();
        data.extend(six(now));
        put(&mut data, FUDGE);
        put(&mut data, u16::try_from(mac.len()).unwrap_or(0));
        data.extend_from_slice(&mac);
        data.extend_from_slice(&id);
        put(&mut data, 0);
        put(&mut data, 0);
        put(message, u16::try_from(data.len()).unwrap_or(0));
        message.extend_from_slice(&data);
        add_to_count(message, 1);
        mac
    }

    /// Whether an answer to what was signed with this MAC is the server's own.
    pub(super) fn verify(&self, answer: &[u8], request_mac: &[u8], now: u64) -> Verdict {
        let Some(message) = Message::parse(answer) else {
            return Verdict::Bad("it is no message of DNS");
        };
        let Some(record) = message.additional.last().filter(|r| r.kind == kind::TSIG) else {
            return Verdict::Unsigned(None);
        };
        let Data::Other(data) = &record.data else {
            return Verdict::Bad("its signature is not understood");
        };
        let Some(told) = Told::read(data) else {
            return Verdict::Bad("its signature is not understood");
        };
        if told.mac.is_empty() {
            return Verdict::Unsigned(match told.error {
                0 => None,
                16 => Some(Trouble::Signature),
                17 => Some(Trouble::Key),
                other => Some(Trouble::Other(other)),
            });
        }
        let mut name = Vec::new();
        let same_name = name::write(&record.name, &mut name).is_some() && name == self.name;
        if !same_name || told.algorithm != self.algorithm {
            return Verdict::Bad("it is signed with another key");
        }
        let mut signed = Vec::with_capacity(answer.len() + 128);
        put(&mut signed, u16::try_from(request_mac.len()).unwrap_or(0));
        signed.extend_from_slice(request_mac);
        let body = signed.len();
        signed.extend_from_slice(answer.get(..record.at).unwrap_or_default());
        if let Some(id) = signed.get_mut(body..body + 2) {
            id.copy_from_slice(&told.original_id);
        }
        if let Some(rest) = signed.get_mut(body..) {
            take_from_count(rest);
        }
        self.variables(&mut signed, told.time, told.fudge, told.error, told.other);
        if hmac::verify(&self.key, &signed, told.mac).is_err() {
            return Verdict::Bad("its signature does not fit");
        }
        if told.error == BAD_TIME {
            return Verdict::Time {
                there: (told.other.len() == 6).then(|| number(told.other)),
            };
        }
        if told.time.abs_diff(now) > u64::from(told.fudge) {
            return Verdict::Time {
                there: Some(told.time),
            };
        }
        if told.error != 0 {
            return Verdict::Unsigned(Some(Trouble::Other(told.error)));
        }
        Verdict::Good
    }

    /// RFC 8945 §4.3.3.
    fn variables(&self, out: &mut Vec<u8>, time: u64, fudge: u16, error: u16, other: &[u8]) {
        out.extend_from_slice(&self.name);
        put(out, class::ANY);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.algorithm);
        out.extend(six(time));
        put(out, fudge);
        put(out, error);
        put(out, u16::try_from(other.len()).unwrap_or(0));
        out.extend_from_slice(other);
    }
}

/// The data of a TSIG record (RFC 8945 §4.2).
struct Told<'a> {
    algorithm: Vec<u8>,
    time: u64,
    fudge: u16,
    mac: &'a [u8],
    original_id: [u8; 2],
    error: u16,
    other: &'a [u8],
}

impl<'a> Told<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        // Never compressed.
        let (text, at) = name::read(data, 0)?;
        let mut algorithm = Vec::new();
        name::write(&text, &mut algorithm)?;
        let word = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
        let time = number(data.get(at..at + 6)?);
        let fudge = word(at + 6)?;
        let length = usize::from(word(at + 8)?);
        let mac = data.get(at + 10..at + 10 + length)?;
        let at = at + 10 + length;
        let original_id = data.get(at..at + 2)?.try_into().ok()?;
        let error = word(at + 2)?;
        let length = usize::from(word(at + 4)?);
        let other = data.get(at + 6..at + 6 + length)?;
        Some(Self {
            algorithm,
            time,
            fudge,
            mac,
            original_id,
            error,
            other,
        })
    }
}

fn six(time: u64) -> impl Iterator<Item = u8> {
    time.to_be_bytes().into_iter().skip(2)
}

fn number(bytes: &[u8]) -> u64 {
    let mut number = 0;
    for byte in bytes {
        number = number << 8 | u64::from(*byte);
    }
    number
}

fn add_to_count(message: &mut [u8], more: u16) {
    if let Some(count) = message.get_mut(10..12)
        && let Ok(bytes) = <[u8; 2]>::try_from(&*count)
    {
        let count_now = u16::from_be_bytes(bytes).wrapping_add(more);
        count.copy_from_slice(&count_now.to_be_bytes());
    }
}

fn take_from_count(message: &mut [u8]) {
    add_to_count(message, u16::MAX);
}

impl Rcode {
    /// With which a server refuses a signature.
    pub(super) fn is_about_the_signature(self) -> bool {
        self == Self::NOT_AUTHORITATIVE
    }
}

/// Seconds by which the clocks may differ, as RFC 8945 §10 advises.
const FUDGE: u16 = 300;
/// RFC 8945 §3.
const BAD_TIME: u16 = 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::validation::dns::wire::{Change, text, update};

    fn key(secret: &[u8]) -> TsigKey {
        TsigKey::new("renewd-key", TsigAlgorithm::HmacSha256, secret).unwrap()
    }

    fn request() -> Vec<u8> {
        let (zone, owner, data) = ("example.com", "_dnsauth.example.com", text("x"));
        update(7, zone, owner, kind::TXT, &data, Change::Delete).unwrap()
    }

    /// As a server signs: over the request's MAC first.
    fn answer(by: &TsigKey, request_mac: &[u8], now: u64) -> Vec<u8> {
        let mut answer = vec![0, 7, 0xA8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut signed = Vec::new();
        put(&mut signed, u16::try_from(request_mac.len()).unwrap());
        signed.extend_from_slice(request_mac);
        signed.extend_from_slice(&answer);
        by.variables(&mut signed, now, FUDGE, 0, &[]);
        let mac = hmac::sign(&by.key, &signed).as_ref().to_vec();
        by.sign(&mut answer, now);
        // The MAC stands before the id, the error and the empty rest.
        let end = answer.len() - 6;
        answer[end - mac.len()..end].copy_from_slice(&mac);
        answer
    }

    #[test]
    fn the_server_s_signature_is_told_from_any_other() {
        let (ours, theirs) = (key(b"secret"), key(b"another"));
        let mac = ours.sign(&mut request(), 1000);
        assert_eq!(
            ours.verify(&answer(&ours, &mac, 1000), &mac, 1010),
            Verdict::Good
        );
        let forged = answer(&theirs, &mac, 1000);
        assert!(matches!(ours.verify(&forged, &mac, 1000), Verdict::Bad(_)));
        let other_request = answer(&ours, &[0; 32], 1000);
        assert!(matches!(
            ours.verify(&other_request, &mac, 1000),
            Verdict::Bad(_)
        ));
        let unsigned = [0, 7, 0xA8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(ours.verify(&unsigned, &mac, 1000), Verdict::Unsigned(None));
        let late = ours.verify(&answer(&ours, &mac, 1000), &mac, 2000);
        assert_eq!(late, Verdict::Time { there: Some(1000) });
    }

    proptest! {
        #[test]
        fn a_changed_answer_is_never_good(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let ours = key(b"secret");
            let mac = ours.sign(&mut request(), 1000);
            let mut answer = answer(&ours, &mac, 1000);
            let at = at.index(answer.len());
            answer[at] ^= flip;
            // The id is not signed: the original one is, beside it; nor are class and TTL of the signature. Names may
            // differ in case.
            prop_assume!(at > 1 && !(26..32).contains(&at));
            let case = flip == 0x20;
            prop_assert!(case || ours.verify(&answer, &mac, 1000) != Verdict::Good);
        }

        #[test]
        fn anything_may_come_in(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Told::read(&bytes);
            let _ = key(b"secret").verify(&bytes, &[1; 32], 1000);
        }
    }
}
