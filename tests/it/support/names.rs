//! Real name servers (BIND): a primary that takes signed updates, a secondary that is told only when a test says so, and a
//! resolver that checks signatures. The two servers of a zone have one port, as everywhere, and the two loopback addresses
//! that every machine has; none needs any right.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use renewd::model::{
    ProofPorts, Seconds, SecretRef, TsigAlgorithm, ValidationId, ValidationKind, ValidationPolicy,
};

/// Installed by scripts/install-tools.sh; a missing one fails the test.
const NAMED: &str = "/usr/sbin/named";

pub(crate) const PRIMARY: &str = "127.0.0.1";
pub(crate) const SECONDARY: &str = "::1";

/// Names of the keys: there is one for each algorithm.
fn key_name(algorithm: TsigAlgorithm) -> String {
    format!("renewd-{}", algorithm.as_str())
}

/// Each key, in base64.
pub(crate) const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDMyYnk=";

/// A zone file without its first record.
pub(crate) struct Zone {
    name: String,
    records: String,
    /// A zone file that is there already, signed.
    signed: Option<PathBuf>,
    dynamic: bool,
    secondary: bool,
}

impl Zone {
    /// One with these further records, which takes updates.
    pub(crate) fn new(name: &str, records: &str) -> Self {
        Self {
            name: name.to_owned(),
            records: records.to_owned(),
            signed: None,
            dynamic: true,
            secondary: false,
        }
    }

    /// Both servers serve it.
    pub(crate) fn on_both(mut self) -> Self {
        self.secondary = true;
        self
    }

    /// One that was signed before and takes no updates.
    pub(crate) fn signed(name: &str, file: &Path) -> Self {
        Self {
            signed: Some(file.to_owned()),
            dynamic: false,
            ..Self::new(name, "")
        }
    }

    /// One with these further records that takes no updates.
    pub(crate) fn fixed(name: &str, records: &str) -> Self {
        Self {
            dynamic: false,
            ..Self::new(name, records)
        }
    }

    /// The whole text of its file.
    pub(crate) fn text(&self) -> String {
        let Self { name, records, .. } = self;
        let second = if self.secondary {
            format!("@ NS ns2\nns2 AAAA {SECONDARY}\n")
        } else {
            String::new()
        };
        format!(
            "$ORIGIN {name}.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A {PRIMARY}\n{second}{records}\n"
        )
    }
}

/// The servers; stopped when dropped.
pub(crate) struct Names {
    pub(crate) port: u16,
    resolving: u16,
    dir: tempfile::TempDir,
    primary: Option<Child>,
    secondary: Option<Child>,
    resolver: Option<Child>,
}

impl Names {
    /// Serves these zones, and above them the top level `test`, with these records in it. `anchors` are keys that the resolver
    /// trusts, as `trust-anchors` has them.
    #[track_caller]
    pub(crate) fn start(zones: &[Zone], top: &str, anchors: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, resolving) = (free_port(), free_port());
        let mut names = Self {
            port,
            resolving,
            dir,
            primary: None,
            secondary: None,
            resolver: None,
        };
        let mut primary: String = TsigAlgorithm::ALL
            .iter()
            .map(|algorithm| {
                let (name, word) = (key_name(*algorithm), algorithm.as_str());
                format!("key \"{name}\" {{ algorithm {word}; secret \"{KEY}\"; }};\n")
            })
            .collect();
        let mut secondary = String::new();
        let mut delegations = top.to_owned();
        for zone in zones {
            let Zone { name, .. } = zone;
            let file = names.path("primary").join(format!("{name}.db"));
            std::fs::create_dir_all(names.path("primary")).unwrap();
            match &zone.signed {
                Some(from) => {
                    std::fs::copy(from, &file).unwrap();
                }
                None => std::fs::write(&file, zone.text()).unwrap(),
            }
            let updates = if zone.dynamic {
                let grants: String = TsigAlgorithm::ALL
                    .iter()
                    .map(|algorithm| format!("grant {} zonesub TXT CNAME; ", key_name(*algorithm)))
                    .collect();
                format!("update-policy {{ {grants}}};")
            } else {
                String::new()
            };
            let file = file.display();
            primary.push_str(&format!(
                "zone \"{name}\" {{ type primary; file \"{file}\"; {updates} }};\n"
            ));
            delegations.push_str(&format!(
                "{name}. NS ns1.{name}.\nns1.{name}. A {PRIMARY}\n"
            ));
            if zone.secondary {
                secondary.push_str(&format!(
                    "zone \"{name}\" {{ type secondary; primaries port {port} {{ {PRIMARY}; }}; allow-notify {{ any; }}; }};\n"
                ));
            }
        }
        let top = Zone::new("test", &delegations);
        let file = names.path("primary").join("test.db");
        std::fs::create_dir_all(names.path("primary")).unwrap();
        std::fs::write(&file, top.text()).unwrap();
        primary.push_str(&format!(
            "zone \"test\" {{ type primary; file \"{}\"; }};\n",
            file.display()
        ));
        let closed = "recursion no; notify no; allow-transfer { any; }; dnssec-validation no;";
        names.primary = Some(names.named("primary", (PRIMARY, port), closed, &primary));
        if !secondary.is_empty() {
            names.secondary = Some(names.named("secondary", (SECONDARY, port), closed, &secondary));
            for zone in zones.iter().filter(|zone| zone.secondary) {
                names.until_served(SECONDARY, &zone.name);
            }
        }
        let open = "recursion yes; dnssec-validation yes; max-cache-ttl 0; max-ncache-ttl 0;";
        let mut zones = format!(
            "zone \"test\" {{ type forward; forward only; forwarders {{ {PRIMARY} port {port}; }}; }};\n"
        );
        if !anchors.is_empty() {
            zones.push_str(&format!("trust-anchors {{ {anchors} }};\n"));
        }
        names.resolver = Some(names.named("resolver", (PRIMARY, resolving), open, &zones));
        names
    }

    /// The policy of updates by the usual key.
    pub(crate) fn policy(&self) -> ValidationPolicy {
        self.policy_by(TsigAlgorithm::HmacSha256)
    }

    /// The policy of updates by the key of this algorithm.
    pub(crate) fn policy_by(&self, algorithm: TsigAlgorithm) -> ValidationPolicy {
        self.policy_of(ValidationKind::Rfc2136 {
            server: format!("{PRIMARY}:{}", self.port),
            zone: None,
            key_name: key_name(algorithm),
            algorithm,
            key: SecretRef::Env("TSIG".to_owned()),
            ttl: Seconds(60),
        })
    }

    /// Another way of publishing, with these servers to look at.
    pub(crate) fn policy_of(&self, kind: ValidationKind) -> ValidationPolicy {
        ValidationPolicy {
            id: ValidationId::new("zone").unwrap(),
            kind,
            resolvers: vec![self.resolver()],
            propagation: Seconds(600),
            ports: ProofPorts {
                dns: self.port,
                http: 80,
            },
            digest: renewd::model::Fingerprint([0; 32]),
        }
    }

    /// `address:port` of the resolver.
    pub(crate) fn resolver(&self) -> String {
        format!("{PRIMARY}:{}", self.resolving)
    }

    /// Tells the secondary that the zone has changed, as primaries do (RFC 1996).
    pub(crate) fn notify(&self, zone: &str) {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let mut message = vec![0, 9, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in zone.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        message.extend_from_slice(&[0, 0, 6, 0, 1]);
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket.send_to(&message, (SECONDARY, self.port)).unwrap();
        let mut answer = [0; 512];
        socket.recv(&mut answer).unwrap();
    }

    pub(crate) fn stop_secondary(&mut self) {
        stop(&mut self.secondary);
    }

    /// What a server says, by dig.
    pub(crate) fn dig(&self, server: &str, words: &[&str]) -> String {
        let output = Command::new("/usr/bin/dig")
            .args([
                "+short",
                "-p",
                &self.port.to_string(),
                &format!("@{server}"),
            ])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    fn named(&self, name: &str, (address, port): (&str, u16), options: &str, zones: &str) -> Child {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        let base = dir.display();
        let listen = if address.contains(':') {
            format!("listen-on {{ none; }}; listen-on-v6 port {port} {{ {address}; }};")
        } else {
            format!("listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};")
        };
        let text = format!(
            "options {{ directory \"{base}\"; pid-file \"{base}/named.pid\"; lock-file none; session-keyfile \"{base}/session.key\";
  {listen} empty-zones-enable no; {options} }};
controls {{ }};
{zones}"
        );
        let configuration = dir.join("named.conf");
        std::fs::write(&configuration, text).unwrap();
        let log = dir.join("log");
        let mut child = Command::new(NAMED)
            .args(["-f", "-n", "1", "-c"])
            .arg(&configuration)
            .arg("-L")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("named is installed");
        let end = Instant::now() + WAIT;
        while TcpStream::connect((address, port)).is_err() {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || Instant::now() >= end {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                // Nobody else would end it.
                stop(&mut Some(child));
                panic!("the name server did not start ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    #[track_caller]
    fn until_served(&self, server: &str, zone: &str) {
        let end = Instant::now() + WAIT;
        while self.dig(server, &[zone, "SOA"]).is_empty() {
            assert!(Instant::now() < end, "{zone} is not served at {server}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        stop(&mut self.primary);
        stop(&mut self.secondary);
        stop(&mut self.resolver);
    }
}

fn stop(server: &mut Option<Child>) {
    if let Some(mut child) = server.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Free at both addresses, for both protocols.
fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind((PRIMARY, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let free = UdpSocket::bind((PRIMARY, port)).is_ok()
            && TcpListener::bind((SECONDARY, port)).is_ok()
            && UdpSocket::bind((SECONDARY, port)).is_ok();
        if free {
            return port;
        }
    }
}

/// Signs a zone's text as these arguments of dnssec-signzone say; gives the signed file, the zone's DS record, and its key as an
/// anchor of trust.
pub(crate) fn sign(dir: &Path, zone: &str, text: &str, arguments: &[&str]) -> Signed {
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program)
            .current_dir(dir)
            .args(words)
            .output()
            .expect("the tools of BIND are installed");
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("zone"), text).unwrap();
    let words = ["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K", ".", zone];
    let key = run("/usr/bin/dnssec-keygen", &words).trim().to_owned();
    let mut words = vec!["-S", "-z", "-P", "-K", ".", "-o", zone, "-f", "signed"];
    words.extend_from_slice(arguments);
    words.push("zone");
    run("/usr/bin/dnssec-signzone", &words);
    let ds = run("/usr/bin/dnssec-dsfromkey", &["-2", &format!("{key}.key")]);
    let public = std::fs::read_to_string(dir.join(format!("{key}.key"))).unwrap();
    let record = public.lines().find(|line| !line.starts_with(';')).unwrap();
    let words: Vec<&str> = record.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "DNSKEY").unwrap();
    let anchor = format!(
        "\"{zone}\" static-key {} {} {} \"{}\";",
        words[at + 1],
        words[at + 2],
        words[at + 3],
        words[at + 4..].concat()
    );
    Signed {
        file: dir.join("signed"),
        ds,
        anchor,
    }
}

/// A signed zone.
pub(crate) struct Signed {
    pub(crate) file: PathBuf,
    pub(crate) ds: String,
    pub(crate) anchor: String,
}

/// For a server on a busy machine.
const WAIT: Duration = Duration::from_secs(30);
