//! Lines of bounded length from a stream.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Whole, without its end.
    Whole(Vec<u8>),
    /// Longer than allowed. What follows cannot be told from the rest of it.
    TooLong,
    /// Nothing comes any more.
    End,
}

/// The next line. Not safe to cancel: what was read of it would be lost.
pub(super) async fn read(
    stream: &mut (impl AsyncBufRead + Unpin),
    longest: usize,
) -> io::Result<Line> {
    let mut line = Vec::new();
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Ok(if line.is_empty() {
                Line::End
            } else {
                // Whoever closes behind the last request may leave its end out.
                Line::Whole(line)
            });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(available.len());
        if line.len() + part > longest {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(&available[..part]);
        let used = part + usize::from(end.is_some());
        stream.consume(used);
        if end.is_some() {
            return Ok(Line::Whole(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_up_to_their_limit() {
        let mut stream: &[u8] = b"one\n\nthree";
        for expected in [&b"one"[..], b"", b"three"] {
            let line = read(&mut stream, 5).await.expect("memory");
            assert_eq!(line, Line::Whole(expected.to_vec()));
        }
        assert_eq!(read(&mut stream, 5).await.expect("memory"), Line::End);
        let mut stream: &[u8] = b"sixsix\n";
        assert_eq!(read(&mut stream, 5).await.expect("memory"), Line::TooLong);
    }
}
