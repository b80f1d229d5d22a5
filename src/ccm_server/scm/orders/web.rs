//! Fetches the file that proves an IP address.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Whether the address shows this text in its file; otherwise what is wrong. `at` is where its web server is, if not at
/// port 80 of the address.
pub(super) async fn holds(address: &str, at: Option<SocketAddr>, wanted: &str) -> Option<String> {
    let url = format!("http://{address}{PATH}");
    match tokio::time::timeout(WAIT, fetch(address, at)).await {
        Ok(Ok(content)) if content.trim() == wanted => None,
        Ok(Ok(_)) => Some(format!("{url} has another content than the one to show")),
        Ok(Err(problem)) => Some(format!("{url}: {problem}")),
        Err(_) => Some(format!("{url} did not answer in time")),
    }
}

async fn fetch(address: &str, at: Option<SocketAddr>) -> Result<String, String> {
    let address: IpAddr = address
        .parse()
        .map_err(|_| "it is no IP address".to_owned())?;
    let server = at.unwrap_or(SocketAddr::new(address, 80));
    let failed = |error: &dyn std::error::Error| error.to_string();
    let stream = TcpStream::connect(server).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let request = Request::get(PATH)
        .header(HOST, host)
        .header(USER_AGENT, "renewd-ccm")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        // A redirection would prove something of another host.
        if response.status() != 200 {
            return Err(format!("the answer is {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        // The connection may be over before its last answer is read.
        _ = connection => exchange.await,
    }
}

/// Public CAs' place for it (CA/Browser Forum, Baseline Requirements §3.2.2.4.18); the reference names none.
pub(super) const PATH: &str = "/.well-known/pki-validation/fileauth.txt";
/// For the whole of it.
const WAIT: Duration = Duration::from_secs(10);
/// Bytes of the file.
const LONGEST: usize = 4096;
