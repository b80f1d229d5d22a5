//! HTTP as lean as it can be, so that the client takes little of the machine that it shares with the server.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is kept.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    head: String,
    /// The body as text.
    pub(super) body: String,
}

impl Answer {
    /// One header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// A whole request.
pub(super) fn request(method: &str, target: &str, token: &str, body: &str) -> Vec<u8> {
    let token = if token.is_empty() {
        String::new()
    } else {
        format!("X-Auth-Token: {token}\r\n")
    };
    format!(
        "{method} {target} HTTP/1.1\r\nHost: bench\r\n{token}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Connection {
    /// Opens one.
    pub(super) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and waits for its whole answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).await.expect("it is sent");
        self.buffer.clear();
        let end = loop {
            self.more().await;
            if let Some(at) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let mut answer = Answer {
            status: head[9..12].parse().expect("a status"),
            head,
            body: String::new(),
        };
        let length = answer.header("content-length");
        let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
        while self.buffer.len() < end + length {
            self.more().await;
        }
        answer.body = String::from_utf8_lossy(&self.buffer[end..]).into_owned();
        answer
    }

    async fn more(&mut self) {
        let count = self.stream.read_buf(&mut self.buffer).await;
        assert!(
            count.expect("it is read") > 0,
            "the server closed the connection"
        );
    }
}
