//! One question to one server: over UDP, and over TCP where the answer is too long for that (RFC 1035 §4.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::sys::{entropy, fs};
use crate::validation::dns::wire::{Message, flag, question};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The name cannot be asked for.
    Name,
    /// Nothing came.
    Silence(SocketAddr),
    /// It could not be asked, with the system's word for it.
    Network(SocketAddr, String),
    /// What came is no answer.
    Malformed(SocketAddr),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("it is no name that can be asked for in DNS"),
            Self::Silence(server) => write!(f, "{server} did not answer"),
            Self::Network(server, why) => write!(f, "{server} could not be asked: {why}"),
            Self::Malformed(server) => write!(f, "{server} answered nonsense"),
        }
    }
}

/// Asks once more where nothing came: a datagram may get lost.
pub(super) async fn ask(
    server: SocketAddr,
    name: &str,
    kind: u16,
    flags: u16,
) -> Result<Message, NoAnswer> {
    let mut last = NoAnswer::Silence(server);
    for _ in 0..TRIES {
        match once(server, name, kind, flags).await {
            Err(error @ NoAnswer::Silence(_)) => last = error,
            other => return other,
        }
    }
    Err(last)
}

async fn once(server: SocketAddr, name: &str, kind: u16, flags: u16) -> Result<Message, NoAnswer> {
    let id = random_id();
    let query = question(id, name, kind, flags).ok_or(NoAnswer::Name)?;
    let silence = |_| NoAnswer::Silence(server);
    let by_udp = by_udp(server, (id, name, kind), &query);
    let answer = timeout(WAIT, by_udp).await.map_err(silence)??;
    if !answer.has(flag::TRUNCATED) {
        return Ok(answer);
    }
    let bytes = timeout(WAIT, by_tcp(server, &query)).await;
    let bytes = bytes.map_err(silence)??;
    Message::parse(&bytes)
        .filter(|answer| answer.answers_to(id, name, kind))
        .ok_or(NoAnswer::Malformed(server))
}

pub(super) fn random_id() -> u16 {
    let mut id = [0; 2];
    entropy::fill(&mut id);
    u16::from_be_bytes(id)
}

async fn by_udp(
    server: SocketAddr,
    (id, name, kind): (u16, &str, u16),
    query: &[u8],
) -> Result<Message, NoAnswer> {
    let failed = |error: std::io::Error| NoAnswer::Network(server, error.to_string());
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
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        let answer = buffer.get(..length).and_then(Message::parse);
        // What is none of ours is not listened to.
        if let Some(answer) = answer.filter(|answer| answer.answers_to(id, name, kind)) {
            return Ok(answer);
        }
    }
}

/// Sends a message over a connection of its own and reads one.
pub(super) async fn by_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let failed = |error: std::io::Error| NoAnswer::Network(server, error.to_string());
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let length = u16::try_from(message.len()).map_err(|_| NoAnswer::Name)?;
    let framed = [length.to_be_bytes().as_slice(), message].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    Ok(answer)
}

/// The same, bounded in time.
pub(super) async fn exchange(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    timeout(WAIT, by_tcp(server, message))
        .await
        .map_err(|_| NoAnswer::Silence(server))?
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

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// As many as the resolver of libc takes.
const SERVERS: usize = 3;
/// For one answer.
const WAIT: Duration = Duration::from_secs(3);
/// Of one question.
const TRIES: usize = 2;
/// The largest a datagram can be.
const LARGEST: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_resolvers_are_taken_in_its_order() {
        let file = "# a comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver ::1\nnameserver x\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found: Vec<String> = named(file).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.2:53"]);
    }
}
