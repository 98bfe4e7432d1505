//! Forgets what the kernel remembers of UDP clients whose endpoint is gone: UDP has no end of a connection, so that a
//! client that goes on sending would be led to the old endpoint for ever (`pkg/proxy/conntrack/cleanup.go`).
//!
//! Spoken over netlink (`linux/netfilter/nfnetlink_conntrack.h`): the table is read once, what is stale is named by
//! its original tuple and removed.

use crate::link::{attribute, error_code, message};
use crate::rules::{Backends, Frontend, Protocol};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

const CT_GET: u16 = 0x101;
const CT_DELETE: u16 = 0x102;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_ACK: u16 = 0x4;
const NLMSG_DONE: u16 = 3;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_SRC: u16 = 1;
const IP_DST: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
/// The bits of an attribute's type that only describe it.
const TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;
const UDP: u8 = 17;
const ENOENT: i32 = 2;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`: IPv4, version 0, no resource.
const GENERIC: [u8; 4] = [2, 0, 0, 0];
/// The kernel writes dumps in pieces of at most this many bytes.
const PIECE: usize = 32 * 1024;
/// Longer silence than this and the kernel won't answer any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// One UDP flow that the kernel knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flow {
    /// Where the client sent its packets to.
    to: SocketAddrV4,
    /// Who answers.
    by: SocketAddrV4,
    /// The attributes that name the flow to the kernel.
    name: Vec<u8>,
}

/// Removes the UDP flows to `frontends` that are led to somebody who is not among their back ends any more. Returns
/// how many there were.
pub(crate) fn forget(frontends: &BTreeMap<Frontend, Backends>) -> io::Result<usize> {
    let mut found = Vec::new();
    dump(|flow| {
        if is_stale(&flow, frontends) {
            found.push(flow);
        }
    })?;
    for flow in &found {
        let socket = open()?;
        let body = [&GENERIC[..], &flow.name].concat();
        send(&socket, &message(CT_DELETE, NLM_F_ACK, &body))?;
        let mut answer = vec![0; PIECE];
        let (n, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
        match error_code(answer.get(..n).unwrap_or_default()) {
            Some(code) if code != 0 && code != -ENOENT => return Err(io::Error::from_raw_os_error(-code)),
            _ => {}
        }
    }
    Ok(found.len())
}

/// Whether a flow goes to one of the front ends, and not to one of its back ends.
fn is_stale(flow: &Flow, frontends: &BTreeMap<Frontend, Backends>) -> bool {
    let front =
        |address: Option<Ipv4Addr>| Frontend { address, protocol: Protocol::Udp, port: flow.to.port() };
    let known = frontends.get(&front(Some(*flow.to.ip()))).or_else(|| frontends.get(&front(None)));
    known.is_some_and(|b| !b.targets.contains(&flow.by))
}

fn open() -> io::Result<rustix::fd::OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::NETFILTER))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

fn send(socket: &rustix::fd::OwnedFd, message: &[u8]) -> io::Result<()> {
    rustix::net::sendto(socket, message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

/// Reads the whole table.
fn dump(mut each: impl FnMut(Flow)) -> io::Result<()> {
    let socket = open()?;
    send(&socket, &message(CT_GET, NLM_F_DUMP, &GENERIC))?;
    let mut piece = vec![0; PIECE];
    loop {
        let (n, _) = rustix::net::recv(&socket, &mut piece, RecvFlags::empty())?;
        let mut rest = piece.get(..n).unwrap_or_default();
        while let Some((kind, whole)) = split_message(&mut rest) {
            if kind == NLMSG_DONE {
                return Ok(());
            }
            if let Some(code) = error_code(whole).filter(|c| *c != 0) {
                return Err(io::Error::from_raw_os_error(-code));
            }
            if let Some(flow) = whole.get(HEADER + GENERIC.len()..).and_then(parse) {
                each(flow);
            }
        }
    }
}

/// Takes one message off the front: its type, and all of it.
fn split_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let whole = rest.get(..length.max(HEADER))?;
    *rest = rest.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
    Some((kind, whole))
}

/// The attributes of a message or of a nested one.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn find(of: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(of).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

/// The source and the destination of a tuple of UDP.
fn ends(tuple: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let (ip, proto) = (find(tuple, TUPLE_IP)?, find(tuple, TUPLE_PROTO)?);
    if find(proto, PROTO_NUM)? != [UDP] {
        return None;
    }
    let address = |kind| <[u8; 4]>::try_from(find(ip, kind)?).ok().map(Ipv4Addr::from);
    let port = |kind| <[u8; 2]>::try_from(find(proto, kind)?).ok().map(u16::from_be_bytes);
    let end = |ip, p| Some(SocketAddrV4::new(address(ip)?, port(p)?));
    Some((end(IP_SRC, PROTO_SRC_PORT)?, end(IP_DST, PROTO_DST_PORT)?))
}

/// A flow of UDP over IPv4.
fn parse(body: &[u8]) -> Option<Flow> {
    let orig = find(body, TUPLE_ORIG)?;
    let (_, to) = ends(orig)?;
    let (by, _) = ends(find(body, TUPLE_REPLY)?)?;
    let mut name = Vec::new();
    attribute(&mut name, TUPLE_ORIG | NESTED, orig);
    for kind in [ID, ZONE] {
        if let Some(value) = find(body, kind) {
            attribute(&mut name, kind, value);
        }
    }
    Some(Flow { to, by, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(proto: u8, from: &str, to: &str) -> Vec<u8> {
        let (from, to): (SocketAddrV4, SocketAddrV4) = (from.parse().unwrap(), to.parse().unwrap());
        let (mut ip, mut port, mut out) = (Vec::new(), Vec::new(), Vec::new());
        attribute(&mut ip, IP_SRC, &from.ip().octets());
        attribute(&mut ip, IP_DST, &to.ip().octets());
        attribute(&mut port, PROTO_NUM, &[proto]);
        attribute(&mut port, PROTO_SRC_PORT, &from.port().to_be_bytes());
        attribute(&mut port, PROTO_DST_PORT, &to.port().to_be_bytes());
        attribute(&mut out, TUPLE_IP | NESTED, &ip);
        attribute(&mut out, TUPLE_PROTO | NESTED, &port);
        out
    }

    fn flow(proto: u8, to: &str, by: &str) -> Option<Flow> {
        let mut body = Vec::new();
        attribute(&mut body, TUPLE_ORIG | NESTED, &tuple(proto, "10.9.0.1:5000", to));
        attribute(&mut body, TUPLE_REPLY | NESTED, &tuple(proto, by, "10.9.0.1:5000"));
        attribute(&mut body, ID, &[1, 2, 3, 4]);
        parse(&body)
    }

    #[test]
    fn only_flows_to_endpoints_that_are_gone_are_stale() {
        let frontends = BTreeMap::from([
            (
                Frontend { address: Some([10, 0, 0, 1].into()), protocol: Protocol::Udp, port: 53 },
                Backends { affinity: None, targets: vec!["10.1.0.2:53".parse().unwrap()] },
            ),
            (Frontend { address: None, protocol: Protocol::Udp, port: 30053 }, Backends::default()),
        ]);
        let stale = |to, by| is_stale(&flow(UDP, to, by).unwrap(), &frontends);
        assert!(!stale("10.0.0.1:53", "10.1.0.2:53"), "its endpoint is there");
        assert!(stale("10.0.0.1:53", "10.1.0.3:53"), "its endpoint is gone");
        assert!(stale("127.0.0.1:30053", "10.1.0.3:53"), "a node port without endpoints");
        assert!(!stale("10.0.0.2:53", "10.1.0.3:53"), "another service");
        assert_eq!(flow(6, "10.0.0.1:53", "10.1.0.3:53"), None, "TCP ends by itself");
    }

    #[test]
    fn what_is_cut_short_is_no_flow() {
        let mut body = Vec::new();
        attribute(&mut body, TUPLE_ORIG | NESTED, &tuple(UDP, "10.9.0.1:5000", "10.0.0.1:53"));
        (0..body.len()).for_each(|n| assert_eq!(parse(&body[..n]), None));
        assert!(split_message(&mut &[9, 0, 0][..]).is_none());
    }
}
