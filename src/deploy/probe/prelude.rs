//! What is said in the clear before TLS begins: a PROXY header, and the way to STARTTLS.
//!
//! The peer is not trusted: its answers are read byte by byte, so that nothing of the handshake is swallowed, and only
//! up to a limit; the time-out of the whole handshake covers them.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::model::{Prelude, ProxyProtocol, StartTls};

/// Addresses of the two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
}

/// What came in the place of what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) problem: String,
    /// Nobody was found who speaks the protocol at all.
    pub(super) foreign: bool,
}

impl Missed {
    fn foreign(problem: String) -> Self {
        Self {
            problem,
            foreign: true,
        }
    }
}

impl From<String> for Missed {
    /// Of somebody who speaks it, and does not come to TLS.
    fn from(problem: String) -> Self {
        Self {
            problem,
            foreign: false,
        }
    }
}

/// Brings the connection to where the server awaits the TLS handshake; the error says what came in its place.
pub(super) async fn pass<S>(stream: &mut S, ends: Ends, prelude: Prelude) -> Result<(), Missed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match prelude.proxy_protocol {
        Some(ProxyProtocol::V1) => say(stream, version1(ends).as_bytes()).await?,
        Some(ProxyProtocol::V2) => say(stream, V2_LOCAL).await?,
        None => {}
    }
    match prelude.starttls {
        None => Ok(()),
        Some(StartTls::Smtp) => smtp(stream).await,
        Some(StartTls::Imap) => imap(stream).await,
        Some(StartTls::Pop3) => pop3(stream).await,
        Some(StartTls::Postgres) => postgres(stream).await,
    }
}

/// PROXY protocol §2.1, with the connection's own addresses: `PROXY UNKNOWN` would be enough by the specification, but
/// Postfix refuses it.
fn version1(Ends { ours, theirs }: Ends) -> String {
    let family = if ours.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (ours.ip(), theirs.ip());
    let (from_port, to_port) = (ours.port(), theirs.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n")
}

/// RFC 3207 §4.
async fn smtp<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Missed> {
    reply(stream, "220").await.map_err(Missed::foreign)?;
    say(stream, b"EHLO [127.0.0.1]\r\n").await?;
    let offers = reply(stream, "250").await?;
    // The first line is the server's name (RFC 5321 §4.1.1.1).
    let mut keywords = offers.iter().skip(1).filter_map(|line| line.get(4..));
    if !keywords.any(|word| word.trim().eq_ignore_ascii_case("STARTTLS")) {
        let problem = "the server offers no STARTTLS; switch it on".to_owned();
        return Err(problem.into());
    }
    say(stream, b"STARTTLS\r\n").await?;
    reply(stream, "220").await?;
    Ok(())
}

/// One reply of SMTP with all its lines (RFC 5321 §4.2).
async fn reply<S: AsyncRead + Unpin>(stream: &mut S, code: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    while lines.len() < MOST_LINES {
        let line = line(stream, code).await?;
        let rest = line.strip_prefix(code);
        let last = match rest.map(|rest| rest.as_bytes().first()) {
            Some(Some(b'-')) => false,
            Some(None | Some(b' ')) => true,
            _ => return Err(unexpected(code, &line)),
        };
        lines.push(line);
        if last {
            return Ok(lines);
        }
    }
    Err(endless(code))
}

/// RFC 3501 §6.2.1.
async fn imap<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Missed> {
    let greeting = line(stream, "* OK").await.map_err(Missed::foreign)?;
    if !begins(&greeting, "* OK") {
        return Err(Missed::foreign(unexpected("* OK", &greeting)));
    }
    say(stream, b"a STARTTLS\r\n").await?;
    for _ in 0..MOST_LINES {
        let line = line(stream, "a OK").await?;
        if begins(&line, "a OK") {
            return Ok(());
        }
        // Untagged lines may come at any time.
        if !line.starts_with("* ") || begins(&line, "* BYE") {
            return Err(unexpected("a OK", &line).into());
        }
    }
    Err(endless("a OK").into())
}

/// RFC 2595 §4.
async fn pop3<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Missed> {
    for command in [Some(b"STLS\r\n"), None] {
        let missed = |problem| match command {
            Some(_) => Missed::foreign(problem),
            None => Missed::from(problem),
        };
        let line = line(stream, "+OK").await.map_err(missed)?;
        if !begins(&line, "+OK") {
            return Err(missed(unexpected("+OK", &line)));
        }
        if let Some(command) = command {
            say(stream, command).await?;
        }
    }
    Ok(())
}

/// PostgreSQL frontend/backend protocol, "SSL Session Encryption".
async fn postgres<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Missed> {
    say(stream, &SSL_REQUEST).await?;
    match stream.read_u8().await {
        Ok(b'S') => Ok(()),
        Ok(b'N') => {
            let problem = "PostgreSQL answers that it has no TLS here (ssl = off)".to_owned();
            Err(problem.into())
        }
        Ok(other) => {
            let other = String::from_utf8_lossy(&[other]).into_owned();
            Err(Missed::foreign(unexpected("S", &other)))
        }
        Err(error) => Err(Missed::foreign(lost("S", &error))),
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), String> {
    stream
        .write_all(bytes)
        .await
        .map_err(|error| format!("failed to send what comes before TLS: {error}"))
}

/// One line without its end; whatever is no UTF-8 is replaced.
async fn line<S: AsyncRead + Unpin>(stream: &mut S, expected: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    while bytes.len() < MOST_BYTES {
        match stream.read_u8().await {
            Ok(b'\n') => {
                let text = String::from_utf8_lossy(&bytes);
                return Ok(text.trim_end_matches('\r').to_owned());
            }
            Ok(byte) => bytes.push(byte),
            Err(error) if bytes.is_empty() => return Err(lost(expected, &error)),
            Err(_) => break,
        }
    }
    Err(unexpected(expected, &String::from_utf8_lossy(&bytes)))
}

/// Words of these protocols are case-insensitive.
fn begins(line: &str, words: &str) -> bool {
    let Some((start, rest)) = line.split_at_checked(words.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(words) && (rest.is_empty() || rest.starts_with(' '))
}

fn unexpected(expected: &str, got: &str) -> String {
    let shown: String = got.chars().take(MOST_SHOWN).collect();
    let more = if shown.len() < got.len() { "…" } else { "" };
    format!(
        "{expected} expected, got \"{}{more}\"; {CHECK}",
        shown.escape_debug()
    )
}

fn lost(expected: &str, error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        format!("{expected} expected, but the server closed the connection; {CHECK}")
    } else {
        format!("{expected} expected, but the connection broke: {error}")
    }
}

fn endless(expected: &str) -> String {
    format!("{expected} expected, got more than {MOST_LINES} lines")
}

/// In errors that a wrong key of the policy may explain.
const CHECK: &str = "check `starttls` and `proxy_protocol`";
/// PROXY protocol §2.2: signature, version 2 with command LOCAL, no addresses, nothing more.
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
/// Length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Of one line; RFC 5321 §4.5.3.1.5 has 512.
const MOST_BYTES: usize = 2048;
/// Of one answer.
const MOST_LINES: usize = 64;
/// Characters in an error.
const MOST_SHOWN: usize = 100;

#[cfg(test)]
mod tests;
