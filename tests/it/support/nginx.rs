//! A real nginx with a prefix of its own on a free port, and clients that count what they get from it.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use renewd::pki::facts;
use renewd::sys::clock::{Clock, SystemClock};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// Installed by scripts/install-tools.sh; a missing one fails the test.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";

/// What one `server` block serves; the first is the default.
pub(crate) struct Site {
    pub(crate) names: Vec<String>,
    /// Certificate (with chain) and key; two pairs make a server with RSA and EC at once.
    pub(crate) pairs: Vec<(PathBuf, PathBuf)>,
}

impl Site {
    pub(crate) fn new(names: &[&str], certificate: &Path, key: &Path) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            pairs: vec![(certificate.to_owned(), key.to_owned())],
        }
    }

    /// Refuses every name that no other site has.
    pub(crate) fn refusing() -> Self {
        Self {
            names: vec!["_".to_owned()],
            pairs: Vec::new(),
        }
    }
}

/// Stopped when dropped.
pub(crate) struct Nginx {
    prefix: PathBuf,
    port: u16,
    configuration: String,
    master: Option<Child>,
}

impl Nginx {
    /// Writes the configuration into `prefix`, which is made; nothing runs yet.
    pub(crate) fn prepare(prefix: &Path, sites: &[Site]) -> Self {
        let port = free_port();
        std::fs::create_dir_all(prefix.join("logs")).unwrap();
        let nginx = Self {
            prefix: prefix.to_owned(),
            port,
            configuration: configuration(prefix, port, sites),
            master: None,
        };
        nginx.mend();
        nginx
    }

    /// Starts it and waits until it accepts connections. The files that it is to serve must be there.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with these variables in its environment.
    #[track_caller]
    pub(crate) fn start_with(&mut self, environment: &[(&str, &Path)]) {
        assert!(self.master.is_none(), "it runs already");
        let mut command = Command::new(NGINX);
        command
            .args(&self.argv(&["-g", "daemon off;"])[1..])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        self.master = Some(command.spawn().expect("nginx is installed"));
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.master.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "nginx did not start ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(&mut self) {
        let Some(mut master) = self.master.take() else {
            return;
        };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(master.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(master.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        // The workers are in its group.
        let _ = nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = master.wait();
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The configuration test as argv.
    pub(crate) fn test(&self) -> Vec<String> {
        self.argv(&["-t"])
    }

    /// The reload as argv.
    pub(crate) fn reload(&self) -> Vec<String> {
        self.argv(&["-s", "reload"])
    }

    /// Makes the configuration test fail.
    pub(crate) fn break_configuration(&self) {
        let broken = format!("brokn on;\n{}", self.configuration);
        std::fs::write(self.prefix.join("nginx.conf"), broken).unwrap();
    }

    /// Every listener awaits the PROXY protocol from now on.
    pub(crate) fn await_proxy_protocol(&mut self) {
        let line = format!("listen 127.0.0.1:{} ssl", self.port);
        let with = format!("{line} proxy_protocol");
        self.configuration = self.configuration.replace(&line, &with);
        self.mend();
    }

    /// Its log tells what it does, and not only what goes wrong; to be said before it starts.
    pub(crate) fn tell_all(&mut self) {
        self.configuration = self
            .configuration
            .replace("error.log warn", "error.log notice");
        self.mend();
    }

    /// Serves these sites from its next reload on.
    pub(crate) fn reconfigure(&self, sites: &[Site]) {
        let text = configuration(&self.prefix, self.port, sites);
        let text = text.replace("error.log warn", "error.log notice");
        std::fs::write(self.prefix.join("nginx.conf"), text).unwrap();
    }

    /// How often it read its configuration anew, by its own log.
    pub(crate) fn reconfigured(&self) -> usize {
        self.log().matches("(SIGHUP) received").count()
    }

    /// Whoever edits the configuration by hand: what was below one directory comes from another one, and nginx is told.
    /// Undone by [`Nginx::mend`] and [`Nginx::tell`].
    pub(crate) fn edit(&self, from: &Path, to: &Path) {
        let (from, to) = (from.display().to_string(), to.display().to_string());
        assert!(self.configuration.contains(&from), "{from}");
        let edited = self.configuration.replace(&from, &to);
        std::fs::write(self.prefix.join("nginx.conf"), edited).unwrap();
        self.tell();
    }

    /// Reloads it without renewd.
    pub(crate) fn tell(&self) {
        let argv = self.reload();
        let told = Command::new(&argv[0]).args(&argv[1..]).status().unwrap();
        assert!(told.success());
    }

    /// Undoes [`Nginx::break_configuration`] and [`Nginx::edit`]; nginx is not told.
    pub(crate) fn mend(&self) {
        std::fs::write(self.prefix.join("nginx.conf"), &self.configuration).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.prefix.join("logs/error.log")).unwrap_or_default()
    }

    fn argv(&self, more: &[&str]) -> Vec<String> {
        let prefix = self.prefix.display().to_string();
        let common = [
            NGINX,
            "-p",
            &prefix,
            "-c",
            "nginx.conf",
            "-e",
            "logs/error.log",
        ];
        common
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn configuration(prefix: &Path, port: u16, sites: &[Site]) -> String {
    // As root the workers would else run as a user who may not enter a test's directory.
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let base = prefix.display();
    let mut text = format!(
        "{user}
pid {base}/nginx.pid;
worker_processes 2;
error_log {base}/logs/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  ssl_protocols TLSv1.2 TLSv1.3;
  client_body_temp_path {base}/body;
  proxy_temp_path {base}/proxy;
  fastcgi_temp_path {base}/fastcgi;
  uwsgi_temp_path {base}/uwsgi;
  scgi_temp_path {base}/scgi;
  server_names_hash_bucket_size 128;
"
    );
    for (index, site) in sites.iter().enumerate() {
        let default = if index == 0 { " default_server" } else { "" };
        let pairs: Vec<String> = site
            .pairs
            .iter()
            .map(|(certificate, key)| {
                format!(
                    "    ssl_certificate {};\n    ssl_certificate_key {};\n",
                    certificate.display(),
                    key.display()
                )
            })
            .collect();
        text.push_str(&format!(
            "  server {{
    listen 127.0.0.1:{port} ssl{default};
    server_name {};
{}    location / {{ return 200 \"ok\\n\"; }}
  }}
",
            site.names.join(" "),
            if pairs.is_empty() {
                "    ssl_reject_handshake on;\n".to_owned()
            } else {
                pairs.concat()
            }
        ));
    }
    text.push_str("}\n");
    text
}

/// A client that connects anew for each request and checks the server as browsers do; runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Got>,
}

/// What a [`Load`] got.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) good: u64,
    /// Why requests failed.
    pub(crate) failed: Vec<String>,
    /// Serials that were served.
    pub(crate) serials: BTreeSet<String>,
}

impl Load {
    /// Asks `address` for `name`, trusting `roots` (DER).
    pub(crate) fn start(address: &str, name: &str, roots: &[Vec<u8>]) -> Self {
        let names = [name.to_owned()];
        Self::in_turn(address, &names, roots, Arc::new(SystemClock))
    }

    /// Asks for each name in turn, and judges by this clock.
    pub(crate) fn in_turn(
        address: &str,
        names: &[String],
        roots: &[Vec<u8>],
        clock: Arc<dyn Clock>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let (address, names) = (address.to_owned(), names.to_vec());
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(root.clone())).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let time = Arc::new(Time(clock));
        let config = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        let config = Arc::new(config);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let mut got = Got::default();
            let mut turn = names.iter().cycle();
            // At least once, however soon it is stopped.
            while !told.load(Ordering::SeqCst) || (got.good == 0 && got.failed.is_empty()) {
                let request = request(&config, &address, turn.next().unwrap());
                let limit = Duration::from_secs(10);
                let answer = runtime.block_on(async { tokio::time::timeout(limit, request).await });
                match answer {
                    Ok(Ok(serial)) => {
                        got.good += 1;
                        got.serials.insert(serial);
                    }
                    Ok(Err(why)) => got.failed.push(why),
                    Err(_) => got.failed.push("no answer".to_owned()),
                }
            }
            got
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Got {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// The time by which a client judges.
struct Time(Arc<dyn Clock>);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

async fn request(config: &Arc<ClientConfig>, address: &str, name: &str) -> Result<String, String> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(|e| format!("connect: {e}"))?;
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config))
        .connect(server, stream)
        .await
        .map_err(|e| format!("handshake: {e}"))?;
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let text = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(text.as_bytes())
        .await
        .map_err(|e| format!("request: {e}"))?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .map_err(|e| format!("answer: {e}"))?;
    if !answer.starts_with("HTTP/1.1 200") || !answer.ends_with("ok\n") {
        return Err(format!("answer: {answer:?}"));
    }
    Ok(facts(&leaf).unwrap().serial)
}
