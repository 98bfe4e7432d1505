//! The interface that carries the cluster's service addresses on this node: a bridge without ports, since kernels
//! without the `dummy` driver are about. The DNS address lives on it, and the route to all services leads there, so
//! that a packet to a service always has somewhere to go until it is translated (or refused).

use rustix::net::{AddressFamily, SendFlags, SocketType, netlink};
use std::io;
use std::net::Ipv4Addr;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;

/// Makes the interface `name`, up, with `addresses`, and the route to `network`/`bits` through it, from the first of
/// the addresses. What is there already stays.
pub fn ensure(name: &str, addresses: &[Ipv4Addr], network: Ipv4Addr, bits: u8) -> io::Result<()> {
    let mut link = ifinfo(0, IFF_UP);
    attribute(&mut link, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    let mut kind = Vec::new();
    attribute(&mut kind, IFLA_INFO_KIND, b"bridge");
    attribute(&mut link, IFLA_LINKINFO, &kind);
    tolerate(request(RTM_NEWLINK, NLM_F_CREATE | 0x200, &link), EEXIST)?;
    let index = index_of(name)?;
    request(RTM_NEWLINK, 0, &ifinfo(index, IFF_UP))?;
    for address in addresses {
        let mut new = vec![AF_INET, 32, 0, 0];
        new.extend(index.to_ne_bytes());
        attribute(&mut new, IFA_LOCAL, &address.octets());
        attribute(&mut new, IFA_ADDRESS, &address.octets());
        request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &new)?;
    }
    // Family, destination bits, source bits, TOS, table main, protocol boot, scope link, type unicast, flags.
    let mut route = vec![AF_INET, bits, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0];
    attribute(&mut route, RTA_DST, &network.octets());
    attribute(&mut route, RTA_OIF, &index.to_ne_bytes());
    if let Some(first) = addresses.first() {
        attribute(&mut route, RTA_PREFSRC, &first.octets());
    }
    request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route)
}

/// Removes the interface with its addresses and routes; absent is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let Ok(index) = index_of(name) else { return Ok(()) };
    tolerate(request(RTM_DELLINK, 0, &ifinfo(index, 0)), ENODEV)
}

fn index_of(name: &str) -> io::Result<u32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))?;
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn tolerate(result: io::Result<()>, errno: i32) -> io::Result<()> {
    match result {
        Err(e) if e.raw_os_error() == Some(errno) => Ok(()),
        other => other,
    }
}

/// `struct ifinfomsg`: family and type unspecified, index, flags, and the same flags as the mask of change.
fn ifinfo(index: u32, flags: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

/// Appends a `struct rtattr`, padded to four bytes.
pub(crate) fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A `struct nlmsghdr` and what it is the head of.
pub(crate) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

/// One request to the kernel and its answer.
fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let message = message(kind, flags | NLM_F_ACK, body);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 4096];
    let (n, _) = rustix::net::recv(&socket, &mut answer, rustix::net::RecvFlags::empty())?;
    let Some(code) = error_code(&answer[..n]) else { return Err(io::ErrorKind::InvalidData.into()) };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// The code in a `NLMSG_ERROR` answer; 0 is success.
pub(crate) fn error_code(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}
