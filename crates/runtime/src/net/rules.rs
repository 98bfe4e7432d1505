//! The instance's nftables table as text: masquerading for what leaves the pods, and host ports into them.
//!
//! One table, replaced as a whole in one transaction. Pods hold /32 addresses and reach each other by way of the
//! bridge's own address, so every packet passes these hooks in both directions.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// A port of the node that leads into a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    /// Only this address of the node, or all.
    pub host_ip: Option<Ipv4Addr>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    pub host_port: u16,
    pub pod_ip: Ipv4Addr,
    pub container_port: u16,
}

/// What the table is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    pub name: &'a str,
    pub bridge: &'a str,
    pub cidr: String,
    /// Networks that see pods' own addresses (other nodes' pods).
    pub not_masqueraded: &'a [String],
    pub host_ports: &'a [HostPort],
}

impl Table<'_> {
    /// The table for `nft -f`.
    pub(crate) fn text(&self) -> String {
        let (name, bridge, cidr) = (self.name, self.bridge, &self.cidr);
        let mut kept = vec![cidr.clone(), "224.0.0.0/4".to_owned()];
        kept.extend(self.not_masqueraded.iter().filter(|c| !c.contains(':') && *c != cidr).cloned());
        let kept = kept.join(", ");
        let (everywhere, somewhere) = (self.elements(false), self.elements(true));
        let mut text = String::new();
        // A table that is added before it is deleted may or may not have existed.
        let _ = write!(
            text,
            "add table ip {name}\ndelete table ip {name}\ntable ip {name} {{\n\
             \x20 set kept {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {kept} }}; }}\n\
             \x20 map hostports {{ type inet_proto . inet_service : ipv4_addr . inet_service;{everywhere} }}\n\
             \x20 map hostipports {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;{somewhere} }}\n\
             \x20 chain hostport {{\n\
             \x20   dnat ip to ip daddr . meta l4proto . th dport map @hostipports\n\
             \x20   dnat ip to meta l4proto . th dport map @hostports\n  }}\n\
             \x20 chain guard {{ type filter hook prerouting priority raw; policy accept;\n\
             \x20   iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n  }}\n\
             \x20 chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;\n\
             \x20   fib daddr type local jump hostport\n  }}\n\
             \x20 chain output {{ type nat hook output priority -100; policy accept;\n\
             \x20   fib daddr type local jump hostport\n  }}\n\
             \x20 chain postrouting {{ type nat hook postrouting priority srcnat; policy accept;\n\
             \x20   ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade\n\
             \x20   ip saddr {cidr} ip daddr != @kept oifname != \"{bridge}\" masquerade\n  }}\n}}\n"
        );
        text
    }

    fn elements(&self, with_address: bool) -> String {
        let ports = self.host_ports.iter().filter(|p| p.host_ip.is_some() == with_address);
        let elements: Vec<_> = ports
            .map(|p| {
                let address = p.host_ip.map(|ip| format!("{ip} . ")).unwrap_or_default();
                format!("{address}{} . {} : {} . {}", p.protocol, p.host_port, p.pod_ip, p.container_port)
            })
            .collect();
        if elements.is_empty() {
            String::new()
        } else {
            format!(" elements = {{ {} }};", elements.join(", "))
        }
    }
}

/// Hands a script to `nft`.
pub(crate) fn apply(script: &str) -> io::Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run nft: {error}; install nftables"))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("nft refused the rules: {}", said.trim())))
}

/// A chain's rules with their handles, by its family, table and name; `None` if there is no such chain.
pub(crate) fn list(chain: &str) -> io::Result<Option<String>> {
    let output = Command::new("nft").args(["-a", "list", "chain"]).args(chain.split(' ')).output()?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Removes a table, whether it is there or not.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    apply(&format!("add table ip {name}\ndelete table ip {name}\n"))
}
