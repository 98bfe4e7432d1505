//! The cluster's DNS server: answers for the cluster's own names from a [`Zone`], hands the rest to the machine's
//! name servers as it came. UDP and TCP (RFC 1035, 7766), EDNS (RFC 6891).

use crate::zone::{Answer, Data, Question, Zone};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
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
/// Names that lead to other names are followed for at most so many steps (CoreDNS's limit).
const MAX_ALIASES: usize = 8;
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
            let answer = self.answer(packet, false);
            if let Reply::Now(reply) = answer {
                let _ = socket.send_to(&reply, client).await;
                continue;
            }
            let Ok(permit) = room.clone().try_acquire_owned() else { continue };
            let (server, socket, packet) = (self.clone(), socket.clone(), packet.to_vec());
            tokio::spawn(async move {
                if let Some(reply) = server.complete(answer, &packet, false).await {
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
            let answer = self.answer(&packet, true);
            let Some(reply) = self.complete(answer, &packet, true).await else { return Ok(()) };
            write_frame(&mut stream, &reply).await?;
        }
    }

    fn answer(&self, packet: &[u8], tcp: bool) -> Reply {
        match self.zone.read() {
            Ok(zone) => respond(&zone, packet, tcp),
            Err(poisoned) => respond(&poisoned.into_inner(), packet, tcp),
        }
    }

    /// The bytes to send; none if nothing is to be said.
    async fn complete(&self, answer: Reply, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        match answer {
            Reply::Now(reply) => Some(reply),
            Reply::Ask => self.ask_others(packet, tcp).await,
            Reply::Follow(alias) => self.follow(*alias, tcp).await,
            Reply::Nothing => None,
        }
    }

    /// Adds what others say of a name that one of ours leads to: a client's resolver follows no names itself.
    async fn follow(&self, alias: Alias, tcp: bool) -> Option<Vec<u8>> {
        let Alias { mut reply, query, target, kind } = alias;
        let mut onward = Message::new(query.metadata.id, MessageType::Query, OpCode::Query);
        onward.metadata.recursion_desired = true;
        onward.add_query(Query::query(target, kind));
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_EDNS);
            onward.set_edns(edns);
        }
        let told = self.ask_others(&onward.to_vec().ok()?, tcp).await;
        if let Some(told) = told.and_then(|bytes| Message::from_vec(&bytes).ok()) {
            reply.metadata.truncation |= told.metadata.truncation;
            reply.answers.extend(told.answers);
        }
        match encode(reply, &query, tcp) {
            Reply::Now(bytes) => Some(bytes),
            _ => None,
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
    /// The name is ours, and leads to one that is not.
    Follow(Box<Alias>),
    /// It was no question.
    Nothing,
}

/// An answer that ends with a name of somebody else's.
struct Alias {
    reply: Message,
    query: Message,
    target: Name,
    kind: RecordType,
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
    reply.answers = answers(question.name(), &records);
    reply.additionals = glue(zone, &records);
    let kind = question.query_type();
    if matches!(kind, RecordType::A | RecordType::AAAA)
        && let Some(target) = follow_within(zone, records, asked, &mut reply)
    {
        return Reply::Follow(Box::new(Alias { reply, query, target, kind }));
    }
    encode(reply, &query, tcp)
}

/// Follows names that lead to names of the zone, and returns the first that leads out of it.
fn follow_within(zone: &Zone, mut records: Vec<Data>, asked: Question, reply: &mut Message) -> Option<Name> {
    for _ in 0..MAX_ALIASES {
        let [Data::Cname(target)] = records.as_slice() else { return None };
        let name = qualified(target).ok()?;
        match zone.lookup(&target.trim_end_matches('.').to_ascii_lowercase(), asked) {
            Answer::Elsewhere => return Some(name),
            Answer::NoSuchName => return None,
            Answer::Records(more) => {
                reply.answers.extend(answers(&name, &more));
                records = more;
            }
        }
    }
    None
}

fn answers(owner: &Name, records: &[Data]) -> Vec<Record> {
    // All of a port's endpoints are alike, and share the weight as CoreDNS has it.
    let weight = 100 / u16::try_from(records.len()).unwrap_or(u16::MAX).max(1);
    records.iter().filter_map(|d| record(owner, d, weight)).collect()
}

/// Addresses of the names that SRV records point to, so that nobody has to ask again.
fn glue(zone: &Zone, records: &[Data]) -> Vec<Record> {
    let mut more = Vec::new();
    for data in records {
        let Data::Srv(_, target) = data else { continue };
        let (Answer::Records(found), Ok(name)) = (zone.lookup(target, Question::A), qualified(target)) else {
            continue;
        };
        more.extend(answers(&name, &found));
    }
    more
}

fn qualified(name: &str) -> Result<Name, hickory_proto::ProtoError> {
    Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
}

fn record(owner: &Name, data: &Data, weight: u16) -> Option<Record> {
    let data = match data {
        Data::A(ip) => RData::A(A(*ip)),
        Data::Cname(name) => RData::CNAME(CNAME(qualified(name).ok()?)),
        Data::Srv(port, name) => RData::SRV(SRV::new(0, weight, *port, qualified(name).ok()?)),
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

    fn query(id: u16, name: &str) -> Message {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        query
    }

    /// A name server on loopback that knows every name, and over UDP nothing but that the answer is too long.
    async fn other() -> SocketAddr {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let told = |packet: &[u8], short: bool| {
            let query = Message::from_vec(packet).unwrap();
            let mut reply = reply_to(&query, ResponseCode::NoError);
            reply.metadata.truncation = short;
            if !short {
                let ips = (0..60).map(|n| Data::A([192, 0, 2, n].into())).collect::<Vec<_>>();
                reply.answers = answers(query.queries[0].name(), &ips);
            }
            reply.to_vec().unwrap()
        };
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((n, client)) = udp.recv_from(&mut buffer).await {
                udp.send_to(&told(&buffer[..n], true), client).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let packet = read_frame(&mut stream).await.unwrap();
                write_frame(&mut stream, &told(&packet, false)).await.unwrap();
            }
        });
        address
    }

    /// What a client hears over UDP and then over TCP: whether it is cut, and how many answers there are.
    async fn resolve(ours: SocketAddr, name: &str) -> [(bool, usize); 2] {
        let packet = query(9, name).to_vec().unwrap();
        let replies = [forward_udp(ours, &packet).await.unwrap(), forward_tcp(ours, &packet).await.unwrap()];
        replies.map(|bytes| {
            let reply = Message::from_vec(&bytes).unwrap();
            assert_eq!(reply.metadata.id, 9);
            (reply.metadata.truncation, reply.answers.len())
        })
    }

    #[tokio::test]
    async fn names_of_others_are_asked_for_also_over_tcp_and_behind_external_names() {
        let mut zone = Zone::new("cluster.local");
        let spec = json!({"type": "ExternalName", "externalName": "db.example.com"});
        zone.add(&service(spec), &[]);
        let (tcp, other) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), other().await);
        let ours = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(ours).await.unwrap();
        tokio::spawn(Server::new(zone, vec![other]).serve(udp, tcp));
        assert_eq!(resolve(ours, "big.example.com.").await, [(true, 0), (false, 60)]);
        assert_eq!(resolve(ours, "web.default.svc.cluster.local.").await, [(true, 1), (false, 61)]);
    }

    #[test]
    fn external_names_of_services_bring_the_address_along() {
        let mut zone = Zone::new("cluster.local");
        let mut alias =
            service(json!({"type": "ExternalName", "externalName": "Web.default.svc.cluster.local."}));
        alias.metadata.name = Some("alias".into());
        zone.add(&alias, &[]);
        zone.add(&service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]})), &[]);
        let packet = query(1, "alias.default.svc.cluster.local.").to_vec().unwrap();
        let Reply::Now(bytes) = respond(&zone, &packet, false) else { panic!("no reply") };
        let answers = Message::from_vec(&bytes).unwrap().answers;
        assert_eq!(answers[1].to_string(), "Web.default.svc.cluster.local. 30 IN A 10.0.0.1");
        alias.spec.as_mut().unwrap().external_name = Some("alias.default.svc.cluster.local".into());
        zone.add(&alias, &[]);
        assert!(matches!(respond(&zone, &packet, false), Reply::Now(_)), "a circle ends");
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
