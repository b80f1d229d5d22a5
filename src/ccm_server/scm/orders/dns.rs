//! Asks a resolver for TXT records: over UDP, and over TCP where the answer is too long for that (RFC 1035 §4.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::ccm_server::text;
use crate::sys::fs;

/// Whether the name has this text in a TXT record; otherwise what is wrong.
pub(super) async fn holds(resolvers: &[SocketAddr], name: &str, wanted: &str) -> Option<String> {
    match texts(resolvers, name).await {
        Ok(texts) if texts.iter().any(|text| text == wanted) => None,
        Ok(texts) if texts.is_empty() => Some(format!("{name} has no TXT record")),
        Ok(texts) => Some(format!(
            "{name} has {} TXT records, none of which is the one to show",
            texts.len()
        )),
        Err(error) => Some(format!("{name}: {error}")),
    }
}

/// The resolvers of this host, in its order.
pub(super) fn resolvers_of_host() -> Vec<SocketAddr> {
    let content = fs::read(Path::new(RESOLV_CONF), 64 * 1024).unwrap_or_default();
    named(&String::from_utf8_lossy(&content))
}

fn named(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => address.parse::<IpAddr>().ok()?,
            _ => return None,
        };
        Some(SocketAddr::new(address, 53))
    });
    lines.take(SERVERS).collect()
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum DnsError {
    #[error("there is no resolver to ask; name one with --dns-server")]
    NoResolver,
    #[error("it is no name that could be asked for")]
    Name,
    #[error("the resolver {0} did not answer")]
    Silence(SocketAddr),
    #[error("the resolver {0} could not be asked")]
    Network(SocketAddr),
    #[error("the resolver {0} answered nonsense")]
    Malformed(SocketAddr),
    #[error("the resolver {0} answered {1}")]
    Refused(SocketAddr, String),
}

async fn texts(resolvers: &[SocketAddr], name: &str) -> Result<Vec<String>, DnsError> {
    let mut last = DnsError::NoResolver;
    // Twice around: a datagram may get lost.
    for server in resolvers.iter().chain(resolvers) {
        match ask(*server, name).await {
            Ok(texts) => return Ok(texts),
            Err(DnsError::Name) => return Err(DnsError::Name),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn ask(server: SocketAddr, name: &str) -> Result<Vec<String>, DnsError> {
    let id = u16::from_be_bytes(text::random::<2>());
    let query = query(id, name).ok_or(DnsError::Name)?;
    let answer = timeout(WAIT, by_udp(server, id, name, &query))
        .await
        .map_err(|_| DnsError::Silence(server))??;
    let answer = if cut_off(&answer) {
        timeout(WAIT, by_tcp(server, &query))
            .await
            .map_err(|_| DnsError::Silence(server))??
    } else {
        answer
    };
    read(server, id, name, &answer)
}

fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).ok()?,
        QTYPE::TYPE(TYPE::TXT),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

async fn by_udp(
    server: SocketAddr,
    id: u16,
    name: &str,
    query: &[u8],
) -> Result<Vec<u8>, DnsError> {
    let failed = |_| DnsError::Network(server);
    let own: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    // A port of its own for every question, so that answers are hard to forge.
    let socket = UdpSocket::bind(SocketAddr::new(own, 0))
        .await
        .map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(query).await.map_err(failed)?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        let answer = &buffer[..length];
        // What is none of ours is not listened to.
        if Packet::parse(answer).is_ok_and(|packet| answers(&packet, id, name)) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, DnsError> {
    let failed = |_| DnsError::Network(server);
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let length = u16::try_from(query.len()).map_err(|_| DnsError::Name)?;
    let framed = [length.to_be_bytes().as_slice(), query].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    Ok(answer)
}

/// The answer to this question and no other.
fn answers(packet: &Packet<'_>, id: u16, name: &str) -> bool {
    let asked = match packet.questions.as_slice() {
        [one] => same(&one.qname, name),
        _ => false,
    };
    packet.id() == id && packet.has_flags(PacketFlag::RESPONSE) && asked
}

fn cut_off(answer: &[u8]) -> bool {
    Packet::parse(answer).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION))
}

fn read(server: SocketAddr, id: u16, name: &str, answer: &[u8]) -> Result<Vec<String>, DnsError> {
    let malformed = || DnsError::Malformed(server);
    let packet = Packet::parse(answer).map_err(|_| malformed())?;
    if !answers(&packet, id, name) {
        return Err(malformed());
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(DnsError::Refused(server, format!("{other:?}"))),
    }
    // Behind an alias the records are at another name.
    let mut owner = name.to_owned();
    for _ in 0..packet.answers.len() {
        let alias = packet
            .answers
            .iter()
            .find_map(|record| match &record.rdata {
                RData::CNAME(alias) if same(&record.name, &owner) => Some(alias.0.to_string()),
                _ => None,
            });
        match alias {
            Some(next) => owner = next,
            None => break,
        }
    }
    let texts = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::TXT(txt) if same(&record.name, &owner) => String::try_from(txt.clone()).ok(),
            _ => None,
        });
    Ok(texts.collect())
}

fn same(name: &Name<'_>, text: &str) -> bool {
    let text = text.trim_end_matches('.');
    name.to_string()
        .trim_end_matches('.')
        .eq_ignore_ascii_case(text)
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// As many as the resolver of libc takes.
const SERVERS: usize = 3;
/// For one answer.
const WAIT: Duration = Duration::from_secs(3);
/// The largest a datagram can be.
const DATAGRAM: usize = 65_535;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{CNAME, TXT};

    use super::*;

    const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
    const NAME: &str = "_dnsauth.www.example.com";

    fn answer(id: u16, name: &'static str, records: Vec<ResourceRecord<'static>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        packet.questions.push(Question::new(
            Name::new_unchecked(name),
            QTYPE::TYPE(TYPE::TXT),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        packet.answers = records;
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn record(name: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, data)
    }

    fn txt(parts: &[&'static str]) -> RData<'static> {
        let mut txt = TXT::new();
        parts.iter().for_each(|part| txt.add_string(part).unwrap());
        RData::TXT(txt)
    }

    #[test]
    fn records_are_read_in_parts_and_behind_aliases() {
        let alias = RData::CNAME(CNAME(Name::new_unchecked("proof.example.net")));
        let records = vec![
            record("_DNSAUTH.www.example.com", alias),
            record("proof.example.net", txt(&["ab", "cd"])),
            record("elsewhere.example", txt(&["not this"])),
        ];
        let texts = read(SERVER, 7, NAME, &answer(7, NAME, records)).unwrap();
        assert_eq!(texts, ["abcd"]);
    }

    #[test]
    fn an_alias_in_a_circle_ends() {
        let alias = RData::CNAME(CNAME(Name::new_unchecked(NAME)));
        let texts = read(SERVER, 7, NAME, &answer(7, NAME, vec![record(NAME, alias)]));
        assert!(texts.unwrap().is_empty());
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let records = || vec![record(NAME, txt(&["x"]))];
        assert!(read(SERVER, 8, NAME, &answer(7, NAME, records())).is_err());
        assert!(read(SERVER, 7, NAME, &answer(7, "other.example", records())).is_err());
        assert!(read(SERVER, 7, NAME, &query(7, NAME).unwrap()).is_err());
    }

    #[test]
    fn the_host_s_resolvers_are_taken_in_its_order() {
        let file = "# a comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver ::1\nnameserver x\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found: Vec<String> = named(file).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.2:53"]);
    }

    proptest! {
        #[test]
        fn anything_may_come_in_as_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(SERVER, 7, NAME, &bytes);
            let _ = cut_off(&bytes);
        }

        #[test]
        fn a_damaged_answer_does_no_harm(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = answer(7, NAME, vec![record(NAME, txt(&["ab", "cd"]))]);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = read(SERVER, 7, NAME, &bytes);
        }
    }
}
