//! What this crate asks of rtnetlink.
//!
//! The interface that carries the cluster's service addresses on this node: a bridge without ports, since kernels
//! without the `dummy` driver are about. The DNS address lives on it, and the route to all services leads there, so
//! that a packet to a service always has somewhere to go until it is translated (or refused).

use rustix::net::{AddressFamily, SendFlags, SocketType, netlink};
use std::io;
use std::net::Ipv4Addr;

/// The longest answer that is read.
const ANSWER_BYTES: usize = 32 << 10;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLM_F_EXCL: u16 = 0x200;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 2;
const RTNH_F_ONLINK: u8 = 4;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const ESRCH: i32 = 3;
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
    tolerate(request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link), EEXIST)?;
    let index = index_of(name)?;
    request(RTM_NEWLINK, 0, &ifinfo(index, IFF_UP))?;
    for address in addresses {
        add_address(index, *address)?;
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

fn add_address(index: u32, address: Ipv4Addr) -> io::Result<()> {
    let mut new = vec![AF_INET, 32, 0, 0];
    new.extend(index.to_ne_bytes());
    attribute(&mut new, IFA_LOCAL, &address.octets());
    attribute(&mut new, IFA_ADDRESS, &address.octets());
    request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &new)
}

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// A VXLAN interface (RFC 7348) that learns nothing by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vxlan<'a> {
    pub(crate) name: &'a str,
    pub(crate) vni: u32,
    pub(crate) port: u16,
    /// The machine's address that packets leave from.
    pub(crate) local: Ipv4Addr,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
}

impl Vxlan<'_> {
    /// Makes the interface, up, with an address of its own; one that another machine address left behind is made anew.
    pub(crate) fn ensure(&self, address: Ipv4Addr) -> io::Result<u32> {
        match find(self.name)? {
            Some(link) if link.mac == self.mac => {}
            Some(_) => {
                remove(self.name)?;
                self.make()?;
            }
            None => self.make()?,
        }
        let index = index_of(self.name)?;
        request(RTM_NEWLINK, 0, &ifinfo(index, IFF_UP))?;
        add_address(index, address)?;
        Ok(index)
    }

    fn make(&self) -> io::Result<()> {
        let mut link = ifinfo(0, IFF_UP);
        attribute(&mut link, IFLA_IFNAME, &[self.name.as_bytes(), b"\0"].concat());
        attribute(&mut link, IFLA_MTU, &self.mtu.to_ne_bytes());
        attribute(&mut link, IFLA_ADDRESS, &self.mac);
        let (mut info, mut data) = (Vec::new(), Vec::new());
        attribute(&mut data, IFLA_VXLAN_ID, &self.vni.to_ne_bytes());
        attribute(&mut data, IFLA_VXLAN_LOCAL, &self.local.octets());
        attribute(&mut data, IFLA_VXLAN_LEARNING, &[0]);
        attribute(&mut data, IFLA_VXLAN_PORT, &self.port.to_be_bytes());
        attribute(&mut info, IFLA_INFO_KIND, b"vxlan");
        attribute(&mut info, IFLA_INFO_DATA, &data);
        attribute(&mut link, IFLA_LINKINFO, &info);
        request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link)
    }
}

/// Says at which machine the hardware address behind a VXLAN interface is, and which neighbour has it.
pub(crate) fn add_neighbour(index: u32, gateway: Ipv4Addr, mac: Mac, machine: Ipv4Addr) -> io::Result<()> {
    let entry = |family: u8, flags: u8, address: Ipv4Addr| {
        // struct ndmsg
        let mut body = vec![family, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend(NUD_PERMANENT.to_ne_bytes());
        body.extend([flags, 0]);
        attribute(&mut body, NDA_DST, &address.octets());
        attribute(&mut body, NDA_LLADDR, &mac);
        request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body)
    };
    entry(AF_BRIDGE, NTF_SELF, machine)?;
    entry(AF_INET, 0, gateway)
}

/// Adds the route to `network`/`bits` by `gateway`, which need not be in a network of the interface.
pub(crate) fn add_route(
    index: u32,
    (network, bits): (Ipv4Addr, u8),
    gateway: Ipv4Addr,
    from: Ipv4Addr,
) -> io::Result<()> {
    let mut route = vec![AF_INET, bits, 0, 0, 254, 3, 0, 1, RTNH_F_ONLINK, 0, 0, 0];
    attribute(&mut route, RTA_DST, &network.octets());
    attribute(&mut route, RTA_OIF, &index.to_ne_bytes());
    attribute(&mut route, RTA_GATEWAY, &gateway.octets());
    attribute(&mut route, RTA_PREFSRC, &from.octets());
    request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route)
}

/// Removes the route to `network`/`bits` over an interface; absent is fine.
pub(crate) fn remove_route(index: u32, (network, bits): (Ipv4Addr, u8)) -> io::Result<()> {
    let mut route = vec![AF_INET, bits, 0, 0, 254, 0, 255, 0, 0, 0, 0, 0];
    attribute(&mut route, RTA_DST, &network.octets());
    attribute(&mut route, RTA_OIF, &index.to_ne_bytes());
    tolerate(request(RTM_DELROUTE, 0, &route), ESRCH)
}

/// Removes the interface with its addresses and routes; absent is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let Ok(index) = index_of(name) else { return Ok(()) };
    tolerate(request(RTM_DELLINK, 0, &ifinfo(index, 0)), ENODEV)
}

fn index_of(name: &str) -> io::Result<u32> {
    find(name)?.map(|link| link.index).ok_or_else(|| io::Error::from_raw_os_error(ENODEV))
}

/// Whether there is an interface of this name, in the network namespace of the caller.
pub fn exists(name: &str) -> bool {
    find(name).is_ok_and(|found| found.is_some())
}

/// An interface that is there.
struct Link {
    index: u32,
    mac: Vec<u8>,
}

/// Asks the kernel and not `/sys`, which shows the namespace of whoever mounted it.
fn find(name: &str) -> io::Result<Option<Link>> {
    let mut body = ifinfo(0, 0);
    attribute(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    let answer = exchange(RTM_GETLINK, 0, &body)?;
    if let Some(code) = error_code(&answer) {
        let error = io::Error::from_raw_os_error(-code);
        return if code == -ENODEV { Ok(None) } else { Err(error) };
    }
    let index = answer.get(20..24).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    let index = index.ok_or(io::ErrorKind::InvalidData)?;
    let mac = value_of(answer.get(32..).unwrap_or_default(), IFLA_ADDRESS).unwrap_or_default().to_vec();
    Ok(Some(Link { index, mac }))
}

/// The value of the first attribute of this kind.
fn value_of(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
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

/// One request to the kernel and its acknowledgement.
fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    match error_code(&exchange(kind, flags | NLM_F_ACK, body)?) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// One request to the kernel and its answer.
fn exchange(kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let message = message(kind, flags, body);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; ANSWER_BYTES];
    let (n, _) = rustix::net::recv(&socket, answer.as_mut_slice(), rustix::net::RecvFlags::empty())?;
    answer.truncate(n);
    Ok(answer)
}

/// The code in a `NLMSG_ERROR` answer; 0 is success.
pub(crate) fn error_code(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}
