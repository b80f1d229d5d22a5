//! Peers that say anything.

use std::net::{Ipv4Addr, SocketAddrV4};

use tokio::io::duplex;

use super::*;

const ENDS: Ends = Ends {
    ours: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40000)),
    theirs: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 443)),
};

const fn starttls(protocol: StartTls) -> Prelude {
    Prelude {
        proxy_protocol: None,
        starttls: Some(protocol),
    }
}

/// Says all of `script` at once and ends; returns what came of it and what was sent to it.
async fn against(prelude: Prelude, script: &[u8]) -> (Result<(), String>, Vec<u8>) {
    let (mut near, mut far) = duplex(1 << 20);
    far.write_all(script).await.unwrap();
    let (mut read, mut write) = tokio::io::split(far);
    write.shutdown().await.unwrap();
    let result = pass(&mut near, ENDS, prelude).await;
    drop(near);
    let mut sent = Vec::new();
    read.read_to_end(&mut sent).await.unwrap();
    (result.map_err(|missed| missed.problem), sent)
}

#[tokio::test]
async fn each_protocol_is_spoken_up_to_tls() {
    for (protocol, script, sent) in [
        (
            StartTls::Smtp,
            "220-mx\r\n220 ready\r\n250-mx\r\n250-SIZE 1\r\n250 starttls\r\n220 go\r\n".as_bytes(),
            "EHLO [127.0.0.1]\r\nSTARTTLS\r\n".as_bytes(),
        ),
        (
            StartTls::Imap,
            b"* OK ready\r\n* CAPABILITY IMAP4rev1\r\na ok begin\r\n",
            b"a STARTTLS\r\n",
        ),
        (StartTls::Pop3, b"+OK ready\r\n+OK begin\r\n", b"STLS\r\n"),
        (StartTls::Postgres, b"S", &SSL_REQUEST),
    ] {
        let (result, said) = against(starttls(protocol), script).await;
        assert_eq!(result, Ok(()), "{protocol:?}");
        assert_eq!(said, sent, "{protocol:?}");
    }
}

#[tokio::test]
async fn the_proxy_header_comes_first() {
    for (version, header) in [
        (
            ProxyProtocol::V1,
            b"PROXY TCP4 127.0.0.1 127.0.0.2 40000 443\r\n".as_slice(),
        ),
        (ProxyProtocol::V2, V2_LOCAL),
    ] {
        let prelude = Prelude {
            proxy_protocol: Some(version),
            starttls: Some(StartTls::Postgres),
        };
        let (result, said) = against(prelude, b"S").await;
        assert_eq!(result, Ok(()));
        assert_eq!(said, [header, &SSL_REQUEST].concat());
    }
}

#[test]
fn the_header_of_version_1_has_the_family_of_the_connection() {
    let ends = Ends {
        ours: "[::1]:1".parse().unwrap(),
        theirs: "[fe80::2]:25".parse().unwrap(),
    };
    assert_eq!(version1(ends), "PROXY TCP6 ::1 fe80::2 1 25\r\n");
}

#[tokio::test]
async fn nothing_of_the_handshake_is_swallowed() {
    let (mut near, mut far) = duplex(1024);
    far.write_all(b"+OK\r\n+OK\r\n\x16\x03").await.unwrap();
    pass(&mut near, ENDS, starttls(StartTls::Pop3))
        .await
        .unwrap();
    let mut rest = [0; 2];
    near.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, [0x16, 0x03]);
}

#[tokio::test]
async fn whatever_else_is_said_is_told() {
    use StartTls::{Imap, Pop3, Postgres, Smtp};
    for (protocol, script, says) in [
        (Smtp, "".as_bytes(), "220 expected, but the server closed"),
        (Smtp, b"554 no\r\n", "220 expected, got \"554 no\""),
        (Smtp, b"2200 no\r\n", "220 expected, got \"2200 no\""),
        (Smtp, b"220", "220 expected, got \"220\""),
        (Smtp, b"HTTP/1.1 400 Bad\r\n", "220 expected, got \"HTTP"),
        (Smtp, b"220 a\r\n502 what\r\n", "250 expected, got \"502"),
        (Smtp, b"220 a\r\n250-STARTTLS\r\n250 X\r\n", "no STARTTLS"),
        (
            Smtp,
            b"220 a\r\n250-a\r\n250 STARTTLS\r\n454 later\r\n",
            "got \"454 later",
        ),
        (Smtp, b"\xff\x00\x1b[2J\r\n", "\\u{1b}[2J\""),
        (Imap, b"* BYE busy\r\n", "* OK expected, got \"* BYE"),
        (
            Imap,
            b"* OK\r\na NO tls\r\n",
            "a OK expected, got \"a NO tls",
        ),
        (Imap, b"* OK\r\n* BYE\r\n", "a OK expected, got \"* BYE"),
        (Imap, "* ÖK\r\n".as_bytes(), "* OK expected"),
        (Pop3, b"-ERR\r\n", "+OK expected, got \"-ERR"),
        (Pop3, b"+OKAY\r\n", "+OK expected, got \"+OKAY"),
        (Pop3, b"+OK\r\n-ERR no\r\n", "+OK expected, got \"-ERR no"),
        (Postgres, b"N", "no TLS here"),
        (Postgres, b"E", "S expected, got \"E\""),
        (Postgres, b"\xff", "S expected"),
        (Postgres, b"", "S expected, but the server closed"),
    ] {
        let (result, _) = against(starttls(protocol), script).await;
        let problem = result.unwrap_err();
        assert!(problem.contains(says), "{protocol:?} {says}: {problem}");
    }
}

#[tokio::test]
async fn what_is_read_and_what_is_told_has_a_limit() {
    let long = vec![b'2'; 1 << 18];
    let many = "220-more\r\n".repeat(1 << 12);
    let unasked = format!("* OK\r\n{}", "* more\r\n".repeat(1 << 12));
    for (protocol, script) in [
        (StartTls::Smtp, long.as_slice()),
        (StartTls::Imap, &long),
        (StartTls::Pop3, &long),
        (StartTls::Smtp, many.as_bytes()),
        (StartTls::Imap, unasked.as_bytes()),
    ] {
        let (result, _) = against(starttls(protocol), script).await;
        let problem = result.unwrap_err();
        assert!(problem.len() < 200, "{problem}");
    }
}
