//! The commands' end.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::control::line::{self, Line};
use crate::control::protocol::{Answer, Request, read_answer};

/// A connection to the daemon.
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// What became of an attempt to connect.
pub enum Connected {
    /// There it is.
    Yes(Client),
    /// No daemon listens there.
    Nobody,
    /// One may listen there, but this user may not know.
    Forbidden,
}

/// A line of the daemon.
#[derive(Debug)]
pub enum Message {
    /// Something happened.
    Event(Value),
    /// The request is settled.
    Answer(Answer),
}

/// Why nothing more comes.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It closed the connection.
    #[error("renewd ended before it answered")]
    Ended,
    /// It gave no sign of life.
    #[error("renewd does not answer")]
    Silent,
    /// The connection failed.
    #[error("the connection to renewd failed: {0}")]
    Io(#[from] io::Error),
    /// It said something else than an answer.
    #[error("renewd answered something that cannot be understood: {0}")]
    Garbled(String),
}

impl Client {
    /// To the daemon that listens there.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub async fn connect(path: &Path) -> io::Result<Connected> {
        match timeout(CONNECT, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => Ok(Connected::Yes(Self {
                stream: BufReader::new(stream),
            })),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::PermissionDenied => Ok(Connected::Forbidden),
                // Never started, killed, or a path that no daemon can have.
                ErrorKind::NotFound
                | ErrorKind::ConnectionRefused
                | ErrorKind::NotADirectory
                | ErrorKind::InvalidInput => Ok(Connected::Nobody),
                _ => Err(error),
            },
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub async fn ask(&mut self, request: &Request) -> Result<(), ClientError> {
        let line = format!("{}\n", request.to_line());
        match self.stream.write_all(line.as_bytes()).await {
            Ok(()) => Ok(()),
            // What it said before it closed is still to be read, such as that there are too many clients.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next line.
    ///
    /// # Errors
    /// When none comes.
    pub async fn next(&mut self) -> Result<Message, ClientError> {
        let read = line::read(&mut self.stream, LONGEST_ANSWER);
        let line = match timeout(SILENCE, read).await {
            Err(_) => return Err(ClientError::Silent),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => {
                return Err(ClientError::Ended);
            }
            Ok(line) => line?,
        };
        let line = match line {
            Line::Whole(line) => line,
            Line::End => return Err(ClientError::Ended),
            Line::TooLong => return Err(ClientError::Garbled("a line without end".to_owned())),
        };
        match read_answer(&line).map_err(ClientError::Garbled)? {
            Ok(event) => Ok(Message::Event(event)),
            Err(answer) => Ok(Message::Answer(answer)),
        }
    }

    /// The answer to a request that has no events.
    ///
    /// # Errors
    /// When none comes.
    pub async fn answer(&mut self, request: &Request) -> Result<Answer, ClientError> {
        self.ask(request).await?;
        loop {
            if let Message::Answer(answer) = self.next().await? {
                return Ok(answer);
            }
        }
    }
}

const CONNECT: Duration = Duration::from_secs(5);
/// Three signs of life that did not come.
const SILENCE: Duration = Duration::from_secs(100);
/// A status of 10 000 certificates has some 20 MB.
const LONGEST_ANSWER: usize = 256 * 1024 * 1024;
