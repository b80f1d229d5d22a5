//! Messages of DNS as bytes (RFC 1035 §4), as far as proofs need them: questions with EDNS, updates (RFC 2136), and answers
//! with the records that say something about a proof. Pure; what comes in may be anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::validation::dns::name;

/// Types of records.
pub(super) mod kind {
    pub(in crate::validation::dns) const A: u16 = 1;
    pub(in crate::validation::dns) const NS: u16 = 2;
    pub(in crate::validation::dns) const CNAME: u16 = 5;
    pub(in crate::validation::dns) const SOA: u16 = 6;
    pub(in crate::validation::dns) const TXT: u16 = 16;
    pub(in crate::validation::dns) const AAAA: u16 = 28;
    pub(in crate::validation::dns) const OPT: u16 = 41;
    pub(in crate::validation::dns) const DS: u16 = 43;
    pub(in crate::validation::dns) const RRSIG: u16 = 46;
    pub(in crate::validation::dns) const TSIG: u16 = 250;
    pub(in crate::validation::dns) const CAA: u16 = 257;
}

/// Classes, and those with which an update says what is to be done (RFC 2136 §2.5).
pub(super) mod class {
    pub(in crate::validation::dns) const IN: u16 = 1;
    pub(in crate::validation::dns) const NONE: u16 = 254;
    pub(in crate::validation::dns) const ANY: u16 = 255;
}

/// Bits of a header's second word.
pub(super) mod flag {
    pub(in crate::validation::dns) const RESPONSE: u16 = 0x8000;
    pub(in crate::validation::dns) const UPDATE: u16 = 5 << 11;
    pub(in crate::validation::dns) const AUTHORITATIVE: u16 = 0x0400;
    pub(in crate::validation::dns) const TRUNCATED: u16 = 0x0200;
    pub(in crate::validation::dns) const RECURSION_DESIRED: u16 = 0x0100;
    pub(in crate::validation::dns) const CHECKING_DISABLED: u16 = 0x0010;
}

/// How a server answered (RFC 1035 §4.1.1, RFC 2136 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::validation) struct Rcode(pub(in crate::validation) u16);

impl Rcode {
    pub(super) const NO_ERROR: Self = Self(0);
    pub(super) const SERVER_FAILURE: Self = Self(2);
    pub(super) const NO_SUCH_NAME: Self = Self(3);
    pub(super) const NOT_IMPLEMENTED: Self = Self(4);
    pub(super) const REFUSED: Self = Self(5);
    pub(super) const NOT_AUTHORITATIVE: Self = Self(9);
    pub(super) const NOT_IN_ZONE: Self = Self(10);
}

impl std::fmt::Display for Rcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.0 {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            7 => "YXRRSET",
            8 => "NXRRSET",
            9 => "NOTAUTH",
            10 => "NOTZONE",
            other => return write!(f, "RCODE {other}"),
        };
        f.write_str(word)
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Server(String),
    Alias(String),
    Start,
    Text(String),
    Authorization {
        critical: bool,
        tag: String,
        value: String,
    },
    Signature {
        covered: u16,
        inception: u32,
        expiration: u32,
    },
    Other(Vec<u8>),
}

/// A record; names in lower case without the final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) data: Data,
    /// Where in the message it begins.
    pub(super) at: usize,
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Name and type of each question; of an update the zone.
    pub(super) questions: Vec<(String, u16)>,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    pub(super) additional: Vec<Record>,
}

impl Message {
    /// `None` for what is no message.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let mut questions = Vec::new();
        for _ in 0..counts[0] {
            let name = reader.name()?;
            let kind = reader.u16()?;
            reader.u16()?;
            questions.push((name, kind));
        }
        let mut section = |count: u16| {
            let mut records = Vec::new();
            for _ in 0..count {
                records.push(reader.record()?);
            }
            Some(records)
        };
        Some(Self {
            id,
            flags,
            questions,
            answers: section(counts[1])?,
            authority: section(counts[2])?,
            additional: section(counts[3])?,
        })
    }

    pub(super) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) const fn rcode(&self) -> Rcode {
        Rcode(self.flags & 0x000F)
    }

    /// Whether it answers this question and no other.
    pub(super) fn answers_to(&self, id: u16, name: &str, kind: u16) -> bool {
        let asked = match self.questions.as_slice() {
            [(asked, of)] => asked == name && *of == kind,
            _ => false,
        };
        self.id == id && self.has(flag::RESPONSE) && asked
    }
}

/// A question for one type of records. `None` for a name that cannot be asked for.
pub(super) fn question(id: u16, name: &str, kind: u16, flags: u16) -> Option<Vec<u8>> {
    let mut out = header(id, flags, [1, 0, 0, 1]);
    name::write(name, &mut out)?;
    put(&mut out, kind);
    put(&mut out, class::IN);
    // EDNS (RFC 6891) with DO, so that signatures come along; the size that is never broken into fragments.
    out.push(0);
    put(&mut out, kind::OPT);
    put(&mut out, DATAGRAM);
    out.extend_from_slice(&DNSSEC_OK.to_be_bytes());
    put(&mut out, 0);
    Some(out)
}

/// A change of one record of a zone (RFC 2136 §2.5.1, §2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Adds it beside others of its name; no change if it is there.
    Add { ttl: u32 },
    /// Takes away exactly this one; no change if it is not there.
    Delete,
}

/// An update of a zone. `None` for names that cannot be written.
pub(super) fn update(
    id: u16,
    zone: &str,
    owner: &str,
    kind: u16,
    data: &[u8],
    change: Change,
) -> Option<Vec<u8>> {
    let mut out = header(id, flag::UPDATE, [1, 0, 1, 0]);
    name::write(zone, &mut out)?;
    put(&mut out, kind::SOA);
    put(&mut out, class::IN);
    name::write(owner, &mut out)?;
    put(&mut out, kind);
    let (class, ttl) = match change {
        Change::Add { ttl } => (class::IN, ttl),
        Change::Delete => (class::NONE, 0),
    };
    put(&mut out, class);
    out.extend_from_slice(&ttl.to_be_bytes());
    put(&mut out, u16::try_from(data.len()).ok()?);
    out.extend_from_slice(data);
    Some(out)
}

/// The data of a TXT record: strings of at most 255 bytes (RFC 1035 §3.3.14).
pub(super) fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 2);
    if value.is_empty() {
        out.push(0);
    }
    for part in value.as_bytes().chunks(255) {
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
    out
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put(&mut out, id);
    put(&mut out, flags);
    counts.into_iter().for_each(|count| put(&mut out, count));
    out
}

pub(super) fn put(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A name, also one that is continued earlier in the message.
    fn name(&mut self) -> Option<String> {
        let (name, next) = name::read(self.bytes, self.at)?;
        self.at = next;
        Some(name)
    }

    fn record(&mut self) -> Option<Record> {
        let at = self.at;
        let name = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        self.u32()?;
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length)?;
        let raw = self.bytes.get(self.at..end)?;
        let mut inside = Reader {
            bytes: self.bytes.get(..end)?,
            at: self.at,
        };
        let data = inside.data(kind, raw)?;
        self.at = end;
        Some(Record {
            name,
            kind,
            class,
            data,
            at,
        })
    }

    fn data(&mut self, kind: u16, raw: &[u8]) -> Option<Data> {
        Some(match kind {
            // Without data it is a part of an update.
            _ if raw.is_empty() => Data::Other(Vec::new()),
            kind::A => {
                let bytes: [u8; 4] = raw.try_into().ok()?;
                Data::Address(Ipv4Addr::from(bytes).into())
            }
            kind::AAAA => {
                let bytes: [u8; 16] = raw.try_into().ok()?;
                Data::Address(Ipv6Addr::from(bytes).into())
            }
            kind::NS => Data::Server(self.name()?),
            kind::CNAME => Data::Alias(self.name()?),
            kind::SOA => Data::Start,
            kind::TXT => {
                let mut text = Vec::new();
                let mut rest = raw;
                while let Some((length, behind)) = rest.split_first() {
                    let length = usize::from(*length);
                    text.extend_from_slice(behind.get(..length)?);
                    rest = behind.get(length..)?;
                }
                Data::Text(String::from_utf8_lossy(&text).into_owned())
            }
            kind::CAA => {
                let critical = self.u8()? & 0x80 != 0;
                let length = usize::from(self.u8()?);
                let tag = self.take(length)?;
                let value = raw.get(2 + length..)?;
                Data::Authorization {
                    critical,
                    tag: String::from_utf8_lossy(tag).to_ascii_lowercase(),
                    value: String::from_utf8_lossy(value).into_owned(),
                }
            }
            kind::RRSIG => {
                let covered = self.u16()?;
                // Algorithm, labels, original TTL.
                self.take(6)?;
                Data::Signature {
                    covered,
                    expiration: self.u32()?,
                    inception: self.u32()?,
                }
            }
            _ => Data::Other(raw.to_vec()),
        })
    }
}

/// Bytes of a datagram (DNS flag day 2020).
const DATAGRAM: u16 = 1232;
/// The DO bit, where EDNS has it (RFC 3225).
const DNSSEC_OK: u32 = 0x8000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_dnsauth.www.example.com";

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let bytes = question(7, NAME, kind::TXT, flag::RECURSION_DESIRED).unwrap();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.id, 7);
        assert_eq!(message.questions, [(NAME.to_owned(), kind::TXT)]);
        assert_eq!(message.additional[0].kind, kind::OPT);
        assert!(!message.answers_to(7, NAME, kind::TXT), "it is no answer");
    }

    #[test]
    fn an_update_names_the_record_and_what_is_to_be_done() {
        let data = text("abc");
        let add = update(
            1,
            "example.com",
            NAME,
            kind::TXT,
            &data,
            Change::Add { ttl: 60 },
        );
        let message = Message::parse(&add.unwrap()).unwrap();
        assert_eq!(
            message.questions,
            [("example.com".to_owned(), kind::SOA)],
            "the zone"
        );
        let [record] = message.authority.as_slice() else {
            panic!("{message:?}")
        };
        assert_eq!(
            (record.class, &record.data),
            (class::IN, &Data::Text("abc".into()))
        );
        let delete = update(1, "example.com", NAME, kind::TXT, &data, Change::Delete);
        let message = Message::parse(&delete.unwrap()).unwrap();
        assert_eq!(message.authority[0].class, class::NONE);
    }

    #[test]
    fn a_long_text_is_cut_into_strings() {
        let long = "x".repeat(300);
        let data = text(&long);
        assert_eq!((data[0], data[256]), (255, 45));
        assert_eq!(text(""), [0]);
    }

    proptest! {
        #[test]
        fn anything_may_come_in(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn a_damaged_message_does_no_harm(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = update(1, "example.com", NAME, kind::TXT, &text("abc"), Change::Delete).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = Message::parse(&bytes);
        }
    }
}
