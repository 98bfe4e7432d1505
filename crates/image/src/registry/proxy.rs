//! The proxy that an enterprise lets its machines reach registries through: `HTTPS_PROXY` and `NO_PROXY`.
//!
//! As Go's `httpproxy`, which containerd uses: upper or lower case, hosts with their subdomains, addresses and networks
//! as exceptions; never for this machine itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest head of a proxy's answer.
const MAX_ANSWER: usize = 8 << 10;

/// Where to, and for which hosts not.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<String>,
    exceptions: Vec<String>,
}

impl Proxy {
    /// As the environment says.
    pub(super) fn of_environment() -> Option<Self> {
        let variable = |name: &str| {
            let found = std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase()));
            found.ok().filter(|value| !value.is_empty())
        };
        Self::new(&variable("HTTPS_PROXY")?, &variable("NO_PROXY").unwrap_or_default())
    }

    /// From the values of the two variables; none if the first isn't the address of an HTTP proxy.
    pub(super) fn new(url: &str, exceptions: &str) -> Option<Self> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return None,
            None => url,
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(STANDARD.encode(unescape(credentials)?)), place),
            None => (None, authority),
        };
        let uri: http::uri::Authority = place.parse().ok()?;
        let exceptions = exceptions.split([',', ' ']).filter(|e| !e.is_empty()).map(str::to_ascii_lowercase);
        let host = uri.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: uri.port_u16().unwrap_or(80), credentials, exceptions: exceptions.collect() })
    }

    /// Whether a host is reached through the proxy.
    pub(super) fn is_for(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let ip: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return false;
        }
        !self.exceptions.iter().any(|e| excepts(e, &host, ip, port))
    }

    /// Asks the proxy for a connection to a host.
    pub(super) async fn tunnel(&self, mut proxy: TcpStream, host: &str, port: u16) -> io::Result<TcpStream> {
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut ask = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        if let Some(credentials) = &self.credentials {
            ask += &format!("Proxy-Authorization: Basic {credentials}\r\n");
        }
        proxy.write_all(format!("{ask}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        // Byte by byte: what comes behind the head belongs to TLS.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            answer.push(proxy.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&answer);
        let line = line.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some("200") => Ok(proxy),
            _ => {
                Err(io::Error::other(line.split_once(' ').map_or("no HTTP proxy", |(_, why)| why).to_owned()))
            }
        }
    }
}

/// Whether one entry of `NO_PROXY` means a host.
fn excepts(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let (Some(ip), Some((network, bits))) = (ip, entry.split_once('/')) {
        return bits.parse().is_ok_and(|bits| network.parse().is_ok_and(|network| within(ip, network, bits)));
    }
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, only)) if !name.contains(':') => (name, Some(only)),
        _ => (entry, None),
    };
    if only.is_some_and(|only| only.parse() != Ok(port)) {
        return false;
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Undoes percent-encoding.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let p = Proxy::new("http://me:p%40ss@proxy.corp:3128/", "").unwrap();
        assert_eq!((p.host.as_str(), p.port), ("proxy.corp", 3128));
        assert_eq!(p.credentials, Some(STANDARD.encode("me:p@ss")));
        assert_eq!(Proxy::new("proxy", "").unwrap().port, 80);
        assert_eq!(Proxy::new("[::1]:8080", "").unwrap().host, "::1");
        for none in ["socks5://x:1", "http://%zz@x", "http://", "http://a b"] {
            assert!(Proxy::new(none, "").is_none(), "{none}");
        }
    }

    #[test]
    fn exceptions() {
        let p = Proxy::new(
            "p:1",
            "corp.example, .only.sub,10.0.0.0/8 *.star.example,1.2.3.4,with.port:5000,fd00::/8",
        )
        .unwrap();
        for direct in [
            "localhost",
            "127.0.0.1",
            "::1",
            "corp.example",
            "a.CORP.example",
            "a.only.sub",
            "10.9.9.9",
            "x.star.example",
            "1.2.3.4",
            "fd00::1",
        ] {
            assert!(!p.is_for(direct, 443), "{direct}");
        }
        for proxied in ["notcorp.example", "only.sub", "11.0.0.1", "with.port", "fe00::1", "docker.io"] {
            assert!(p.is_for(proxied, 443), "{proxied}");
        }
        assert!(!p.is_for("with.port", 5000));
        assert!(!Proxy::new("p:1", "*").unwrap().is_for("docker.io", 443));
        assert!(!Proxy::new("p:1", "0.0.0.0/0").unwrap().is_for("8.8.8.8", 443));
    }
}
