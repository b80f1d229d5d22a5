//! What an applicant has beside the server: a name server over UDP and TCP, and a web server; both say what the test puts
//! there, and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use simple_dns::rdata::{RData, TXT};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// TXT records by name, in small letters.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: BTreeMap<String, Vec<String>>,
    /// Datagrams are too small for any record.
    short: bool,
    /// Every question is refused.
    broken: bool,
    asked: usize,
    by_tcp: usize,
}

/// A name server; ends when dropped.
pub(crate) struct Resolver {
    /// Of both protocols.
    pub(crate) address: SocketAddr,
    zone: Zone,
    _serving: JoinSet<()>,
}

impl Resolver {
    pub(crate) async fn start() -> Self {
        // A port that is free for one protocol may be taken for the other.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let zone = Zone::default();
        let mut serving = JoinSet::new();
        serving.spawn(by_udp(udp, zone.clone()));
        serving.spawn(by_tcp(tcp, zone.clone()));
        Self {
            address,
            zone,
            _serving: serving,
        }
    }
    /// Adds a TXT record.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let mut state = self.zone.0.lock().unwrap();
        state
            .records
            .entry(name.to_lowercase())
            .or_default()
            .push(text.to_owned());
    }
    /// Takes all records of a name away.
    pub(crate) fn clear(&self, name: &str) {
        self.zone.0.lock().unwrap().records.remove(name);
    }
    /// From now on records only fit into an answer over TCP.
    pub(crate) fn short(&self) {
        self.zone.0.lock().unwrap().short = true;
    }
    /// From now on every question is refused, or not.
    pub(crate) fn broken(&self, broken: bool) {
        self.zone.0.lock().unwrap().broken = broken;
    }
    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.zone.0.lock().unwrap().asked
    }
    /// Those over TCP.
    pub(crate) fn by_tcp(&self) -> usize {
        self.zone.0.lock().unwrap().by_tcp
    }
}

async fn by_udp(socket: UdpSocket, zone: Zone) {
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let answer = zone.answer(&buffer[..length], false);
        socket.send_to(&answer, from).await.unwrap();
    }
}

async fn by_tcp(listener: TcpListener, zone: Zone) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        let answer = zone.answer(&question, true);
        let length = u16::try_from(answer.len()).unwrap();
        stream.write_u16(length).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

impl Zone {
    fn answer(&self, question: &[u8], tcp: bool) -> Vec<u8> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        state.by_tcp += usize::from(tcp);
        let asked = Packet::parse(question).unwrap();
        assert!(asked.has_flags(PacketFlag::RECURSION_DESIRED));
        let mut answer = Packet::new_reply(asked.id());
        answer.questions = asked.questions.clone();
        let name = asked.questions[0].qname.clone();
        if state.broken {
            *answer.rcode_mut() = RCODE::ServerFailure;
        } else if state.short && !tcp {
            answer.set_flags(PacketFlag::TRUNCATION);
        } else {
            match state.records.get(&name.to_string().to_lowercase()) {
                None => *answer.rcode_mut() = RCODE::NameError,
                Some(texts) => {
                    for text in texts {
                        // In two strings, as long records always are.
                        let (one, two) = text.split_at(text.len() / 2);
                        let txt = TXT::new()
                            .with_string(one)
                            .unwrap()
                            .with_string(two)
                            .unwrap();
                        let record = RData::TXT(txt.into_owned());
                        answer.answers.push(ResourceRecord::new(
                            name.clone(),
                            CLASS::IN,
                            60,
                            record,
                        ));
                    }
                }
            }
        }
        answer.build_bytes_vec_compressed().unwrap()
    }
}

/// A web server with one file; ends when dropped.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    file: Arc<Mutex<String>>,
    seen: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let file = Arc::new(Mutex::new(String::new()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        let (content, requests) = (Arc::clone(&file), Arc::clone(&seen));
        serving.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let content = content.lock().unwrap().clone();
                let request = one_answer(stream, &content).await;
                requests.lock().unwrap().push(request);
            }
        });
        Self {
            address,
            file,
            seen,
            _serving: serving,
        }
    }
    /// What the whole answer is from now on, status line and all.
    pub(crate) fn put(&self, answer: &str) {
        *self.file.lock().unwrap() = answer.to_owned();
    }
    /// The file with this content.
    pub(crate) fn put_file(&self, content: &str) {
        let length = content.len();
        self.put(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{content}"
        ));
    }
    /// The heads of the requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn one_answer(mut stream: TcpStream, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        request.push(byte[0]);
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    String::from_utf8(request).unwrap()
}
