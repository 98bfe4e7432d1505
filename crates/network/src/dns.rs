//! The cluster's DNS server: answers for the cluster's own names from a [`Zone`], hands the rest to the machine's
//! name servers as it came. UDP and TCP (RFC 1035, 7766), EDNS (RFC 6891).

use crate::zone::{Answer, Data, Question, Zone};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// Seconds that an answer may be kept.
const TTL: u32 = 30;
/// The answer over UDP to a client that says nothing of EDNS (RFC 1035 §4.2.1).
const UDP_PLAIN: usize = 512;
/// What we say that we take, and the largest answer over UDP.
const UDP_EDNS: u16 = 1232;
/// Questions under way at once; more are dropped (UDP) or wait (TCP).
const MAX_IN_FLIGHT: usize = 512;
/// A TCP connection that says nothing for so long is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// How long one of the machine's name servers may take before the next is asked.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's state, shared with whoever keeps the zone fresh.
#[derive(Clone, Debug)]
pub struct Server {
    zone: Arc<RwLock<Zone>>,
    forward: Arc<Vec<SocketAddr>>,
}

impl Server {
    /// A server for `zone` that hands other names to `forward`, in that order.
    pub fn new(zone: Zone, forward: Vec<SocketAddr>) -> Self {
        Self { zone: Arc::new(RwLock::new(zone)), forward: Arc::new(forward) }
    }

    /// Changes the zone. The next question sees the change.
    pub fn update(&self, change: impl FnOnce(&mut Zone)) {
        match self.zone.write() {
            Ok(mut zone) => change(&mut zone),
            Err(poisoned) => change(&mut poisoned.into_inner()),
        }
    }

    /// Serves both sockets until one fails for good. Both are bound to the same address.
    pub async fn serve(self, udp: UdpSocket, tcp: TcpListener) -> io::Result<()> {
        tokio::try_join!(self.clone().serve_udp(Arc::new(udp)), self.serve_tcp(tcp)).map(|_| ())
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            // An error here is an ICMP answer to an earlier reply: that client's affair, not ours.
            let Ok((n, client)) = socket.recv_from(&mut buffer).await else { continue };
            let packet = &buffer[..n];
            if let Reply::Now(reply) = self.answer(packet, false) {
                let _ = socket.send_to(&reply, client).await;
                continue;
            }
            let Ok(permit) = room.clone().try_acquire_owned() else { continue };
            let (server, socket, packet) = (self.clone(), socket.clone(), packet.to_vec());
            tokio::spawn(async move {
                if let Some(reply) = server.ask_others(&packet, false).await {
                    let _ = socket.send_to(&reply, client).await;
                }
                drop(permit);
            });
        }
    }

    async fn serve_tcp(self, listener: TcpListener) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return Ok(()) };
            let Ok((stream, _)) = listener.accept().await else { continue };
            let server = self.clone();
            tokio::spawn(async move {
                let _ = server.serve_connection(stream).await;
                drop(permit);
            });
        }
    }

    async fn serve_connection(self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let packet = tokio::time::timeout(TCP_IDLE, read_frame(&mut stream)).await??;
            let reply = match self.answer(&packet, true) {
                Reply::Now(reply) => reply,
                Reply::Ask => match self.ask_others(&packet, true).await {
                    Some(reply) => reply,
                    None => return Ok(()),
                },
                Reply::Nothing => return Ok(()),
            };
            write_frame(&mut stream, &reply).await?;
        }
    }

    fn answer(&self, packet: &[u8], tcp: bool) -> Reply {
        match self.zone.read() {
            Ok(zone) => respond(&zone, packet, tcp),
            Err(poisoned) => respond(&poisoned.into_inner(), packet, tcp),
        }
    }

    /// Asks the machine's name servers in turn; SERVFAIL when none answers.
    async fn ask_others(&self, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        for server in self.forward.iter() {
            let asked = async {
                if tcp { forward_tcp(*server, packet).await } else { forward_udp(*server, packet).await }
            };
            if let Ok(Ok(reply)) = tokio::time::timeout(FORWARD_TIMEOUT, asked).await {
                return Some(reply);
            }
        }
        let query = Message::from_vec(packet).ok()?;
        reply_to(&query, ResponseCode::ServFail).to_vec().ok()
    }
}

/// What to do with a packet.
enum Reply {
    /// Send this.
    Now(Vec<u8>),
    /// The name is not ours.
    Ask,
    /// It was no question.
    Nothing,
}

/// The pure part: a packet and the zone to a reply.
fn respond(zone: &Zone, packet: &[u8], tcp: bool) -> Reply {
    let Ok(query) = Message::from_vec(packet) else { return Reply::Nothing };
    if query.metadata.message_type != MessageType::Query {
        return Reply::Nothing;
    }
    let [question] = query.queries.as_slice() else {
        return encode(reply_to(&query, ResponseCode::FormErr), &query, tcp);
    };
    if query.metadata.op_code != OpCode::Query {
        return encode(reply_to(&query, ResponseCode::NotImp), &query, tcp);
    }
    let mut name = question.name().to_ascii().to_ascii_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    let asked = match question.query_type() {
        _ if question.query_class() != DNSClass::IN => Question::Other,
        RecordType::A | RecordType::ANY => Question::A,
        RecordType::SRV => Question::Srv,
        RecordType::PTR => Question::Ptr,
        RecordType::TXT => Question::Txt,
        _ => Question::Other,
    };
    let (code, records) = match zone.lookup(&name, asked) {
        Answer::Elsewhere => return Reply::Ask,
        Answer::NoSuchName => (ResponseCode::NXDomain, Vec::new()),
        Answer::Records(records) => (ResponseCode::NoError, records),
    };
    let mut reply = reply_to(&query, code);
    reply.metadata.authoritative = true;
    if records.is_empty() {
        reply.authorities.extend(start_of_authority(zone.domain()));
    }
    reply.answers = records.iter().filter_map(|d| record(question.name(), d)).collect();
    reply.additionals = glue(zone, &records);
    encode(reply, &query, tcp)
}

/// Addresses of the names that SRV records point to, so that nobody has to ask again.
fn glue(zone: &Zone, records: &[Data]) -> Vec<Record> {
    let mut more = Vec::new();
    for data in records {
        let Data::Srv(_, target) = data else { continue };
        let (Answer::Records(found), Ok(name)) = (zone.lookup(target, Question::A), qualified(target)) else {
            continue;
        };
        more.extend(found.iter().filter_map(|d| record(&name, d)));
    }
    more
}

fn qualified(name: &str) -> Result<Name, hickory_proto::ProtoError> {
    Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
}

fn record(owner: &Name, data: &Data) -> Option<Record> {
    let data = match data {
        Data::A(ip) => RData::A(A(*ip)),
        Data::Cname(name) => RData::CNAME(CNAME(qualified(name).ok()?)),
        Data::Srv(port, name) => RData::SRV(SRV::new(0, 100, *port, qualified(name).ok()?)),
        Data::Ptr(name) => RData::PTR(PTR(qualified(name).ok()?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
    };
    Some(Record::from_rdata(owner.clone(), TTL, data))
}

fn start_of_authority(domain: &str) -> Option<Record> {
    let (server, mailbox) =
        (qualified(&format!("ns.dns.{domain}")).ok()?, qualified(&format!("hostmaster.{domain}")).ok()?);
    let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86400, 5);
    Some(Record::from_rdata(qualified(domain).ok()?, 5, RData::SOA(soa)))
}

fn reply_to(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries = query.queries.clone();
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_EDNS);
        reply.set_edns(edns);
    }
    reply
}

fn encode(reply: Message, query: &Message, tcp: bool) -> Reply {
    let room = match (tcp, &query.edns) {
        (true, _) => usize::from(u16::MAX),
        (false, Some(edns)) => usize::from(edns.max_payload().min(UDP_EDNS)).max(UDP_PLAIN),
        (false, None) => UDP_PLAIN,
    };
    let bytes = reply.to_vec();
    let fitting = match bytes {
        Ok(b) if b.len() > room => reply.truncate().to_vec(),
        other => other,
    };
    fitting.map_or(Reply::Nothing, Reply::Now)
}

async fn forward_udp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let n = socket.recv(&mut buffer).await?;
        // Only the answer to this question counts: same id.
        if n >= 2 && packet.len() >= 2 && buffer[..2] == packet[..2] {
            buffer.truncate(n);
            return Ok(buffer);
        }
    }
}

async fn forward_tcp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_frame(&mut stream, packet).await?;
    read_frame(&mut stream).await
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

async fn write_frame(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    let Ok(length) = u16::try_from(packet.len()) else { return Err(io::ErrorKind::InvalidData.into()) };
    let mut framed = Vec::with_capacity(packet.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(packet);
    stream.write_all(&framed).await
}

/// The name servers of a resolv.conf, without `own`, which would ask itself.
pub fn name_servers(resolv_conf: &str, own: IpAddr) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().filter_map(|l| l.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    addresses.filter(|ip| *ip != own).take(3).map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::service;
    use hickory_proto::op::Query;
    use serde_json::json;

    fn ask(name: &str, kind: RecordType) -> Option<Message> {
        let mut zone = Zone::new("cluster.local");
        zone.add(&service(json!({"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]})), &[]);
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        match respond(&zone, &query.to_vec().unwrap(), false) {
            Reply::Now(bytes) => Some(Message::from_vec(&bytes).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn answers_keep_the_question_as_it_was_spelt() {
        let reply = ask("WEB.default.svc.cluster.local.", RecordType::A).unwrap();
        assert_eq!(reply.metadata.id, 7);
        assert_eq!(reply.answers[0].to_string(), "WEB.default.svc.cluster.local. 30 IN A 10.0.0.1");
    }

    #[test]
    fn srv_brings_the_address_along() {
        let reply = ask("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV).unwrap();
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.additionals[0].to_string(), "web.default.svc.cluster.local. 30 IN A 10.0.0.1");
    }

    #[test]
    fn absent_names_and_absent_types_differ() {
        let absent = ask("nope.default.svc.cluster.local.", RecordType::A).unwrap();
        assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
        let empty = ask("web.default.svc.cluster.local.", RecordType::AAAA).unwrap();
        assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
        assert_eq!((empty.answers.len(), empty.authorities.len()), (0, 1));
        assert!(ask("debian.org.", RecordType::A).is_none());
    }

    #[test]
    fn rubbish_is_not_answered() {
        let zone = Zone::new("cluster.local");
        assert!(matches!(respond(&zone, b"\0\x01", false), Reply::Nothing));
        assert!(matches!(respond(&zone, &[0xff; 64], false), Reply::Nothing));
    }

    #[test]
    fn own_address_is_no_name_server() {
        let text = "search x\nnameserver 10.0.0.10\nnameserver 1.2.3.4\n nameserver ::1\n";
        let got = name_servers(text, IpAddr::from([10, 0, 0, 10]));
        assert_eq!(got.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.2.3.4:53", "[::1]:53"]);
    }
}
