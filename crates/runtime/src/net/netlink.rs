//! The dozen rtnetlink messages that a pod network needs, written by hand.
//!
//! One socket speaks to the network namespace in which it was opened. Every request asks for an acknowledgement.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// An answer larger than this is no acknowledgement.
const ANSWER_LIMIT: usize = 32 * 1024;

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_REPLACE: u16 = 0x100;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// A message under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes.extend_from_slice(body);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad()
    }

    /// An attribute that holds whatever `fill` appends.
    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad()
    }

    fn pad(&mut self) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn name(&mut self, name: &str) -> &mut Self {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        self.attribute(IFLA_IFNAME, &text)
    }
}

/// `struct ifinfomsg`: family and type unspecified, an index, flags with the mask of those meant.
fn ifinfo(index: u32, flags: u32, mask: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&mask.to_ne_bytes());
    bytes
}

const UP: u32 = libc::IFF_UP as u32;

/// A socket to the routing subsystem of one network namespace.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        // No protocol is NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    fn call(&self, mut message: Message) -> io::Result<()> {
        let length = message.0.len() as u32;
        message.0[..4].copy_from_slice(&length.to_ne_bytes());
        rustix::net::sendto(&self.0, &message.0, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = vec![0; ANSWER_LIMIT];
        let (received, _) = rustix::net::recv(&self.0, answer.as_mut_slice(), RecvFlags::empty())?;
        let code = answer[..received].get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok());
        match code.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink answer that is cut off")),
        }
    }

    /// Makes a bridge and sets it up.
    pub(crate) fn add_bridge(&self, name: &str, mtu: u32) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, UP, UP));
        message.name(name).attribute(IFLA_MTU, &mtu.to_ne_bytes());
        message.nested(IFLA_LINKINFO, |m| {
            m.attribute(IFLA_INFO_KIND, b"bridge");
        });
        self.call(message)
    }

    /// Gives an interface a hardware address.
    pub(crate) fn set_hardware_address(&self, index: u32, address: [u8; 6]) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &ifinfo(index, 0, 0));
        message.attribute(IFLA_ADDRESS, &address);
        self.call(message)
    }

    /// Makes a pair of interfaces: `name` here, up, as a port of `master`; `peer` in another namespace, still down
    /// (the kernel opens no end before both are joined).
    pub(crate) fn add_veth(&self, veth: &Veth<'_>, namespace: impl AsFd) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, UP, UP));
        message.name(veth.name).attribute(IFLA_MTU, &veth.mtu.to_ne_bytes());
        message.attribute(IFLA_MASTER, &veth.master.to_ne_bytes());
        message.nested(IFLA_LINKINFO, |m| {
            m.attribute(IFLA_INFO_KIND, b"veth");
            m.nested(IFLA_INFO_DATA, |m| {
                m.nested(VETH_INFO_PEER, |m| {
                    m.0.extend_from_slice(&ifinfo(0, 0, 0));
                    m.name(veth.peer).attribute(IFLA_MTU, &veth.mtu.to_ne_bytes());
                    m.attribute(IFLA_NET_NS_FD, &namespace.as_fd().as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.call(message)
    }

    /// Sets an interface up.
    pub(crate) fn set_up(&self, index: u32) -> io::Result<()> {
        self.call(Message::new(libc::RTM_NEWLINK, 0, &ifinfo(index, UP, UP)))
    }

    /// Removes an interface (and, for a pair, its other end).
    pub(crate) fn delete(&self, name: &str) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_DELLINK, 0, &ifinfo(0, 0, 0));
        message.name(name);
        self.call(message)
    }

    /// Gives an interface an address.
    pub(crate) fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut body = [libc::AF_INET as u8, prefix, 0, 0, 0, 0, 0, 0];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut message = Message::new(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body);
        message.attribute(IFA_LOCAL, &address.octets()).attribute(IFA_ADDRESS, &address.octets());
        self.call(message)
    }

    /// Adds a route over an interface: to `destination`, or everywhere; over `gateway`, or directly.
    pub(crate) fn add_route(
        &self,
        index: u32,
        destination: Option<Ipv4Addr>,
        gateway: Option<Ipv4Addr>,
    ) -> io::Result<()> {
        const PROTOCOL_BOOT: u8 = 3;
        const SCOPE_LINK: u8 = 253;
        let prefix = if destination.is_some() { 32 } else { 0 };
        let scope = if gateway.is_some() { 0 } else { SCOPE_LINK };
        let body = [libc::AF_INET as u8, prefix, 0, 0, 254, PROTOCOL_BOOT, scope, 1, 0, 0, 0, 0];
        let mut message = Message::new(libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body);
        if let Some(destination) = destination {
            message.attribute(RTA_DST, &destination.octets());
        }
        if let Some(gateway) = gateway {
            message.attribute(RTA_GATEWAY, &gateway.octets());
        }
        message.attribute(RTA_OIF, &index.to_ne_bytes());
        self.call(message)
    }
}

/// The two ends of a pair to make.
pub(crate) struct Veth<'a> {
    /// Name of our end.
    pub name: &'a str,
    /// Name of the other end.
    pub peer: &'a str,
    /// Index of the bridge that our end joins.
    pub master: u32,
    pub mtu: u32,
}

/// The index of an interface of the calling thread's namespace.
pub(crate) fn index_of(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}
