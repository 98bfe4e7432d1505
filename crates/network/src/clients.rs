//! Forgets the clients of services with affinity whose endpoint is gone: they would be led to it until their time is over.
//!
//! The kernel writes the map of clients itself, so it is read back after an endpoint has gone. Elements that are over by
//! then make the kernel refuse the whole change: it is read and tried again.

use crate::nft::client_map;
use crate::rules::{Backends, Frontend, Protocol};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

/// The commands that take clients out of a table.
pub(crate) struct Forgetting<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The front ends with affinity of which endpoints have gone, as they are now.
    pub frontends: &'a BTreeMap<Frontend, Backends>,
}

impl Forgetting<'_> {
    /// The maps that are to be read.
    pub(crate) fn maps(&self) -> Vec<(Protocol, String)> {
        let protocols: BTreeSet<Protocol> = self.frontends.keys().map(|f| f.protocol).collect();
        protocols.into_iter().map(|p| (p, client_map(p.as_str()))).collect()
    }

    /// What removes those clients from a map that lead to nobody's endpoint; `listing` is nft's JSON of it. Empty when
    /// there are none.
    pub(crate) fn commands(&self, protocol: Protocol, listing: &str) -> String {
        let listing: Value = serde_json::from_str(listing).unwrap_or_default();
        let maps = listing["nftables"].as_array().into_iter().flatten().map(|o| &o["map"]["elem"]);
        let elements = maps.filter_map(Value::as_array).flatten();
        let stale: Vec<String> = elements.filter_map(|e| self.stale(protocol, e)).collect();
        if stale.is_empty() {
            return String::new();
        }
        let map = client_map(protocol.as_str());
        format!("delete element ip {} {map} {{ {} }}\n", self.table, stale.join(", "))
    }

    /// The key of an element that leads to no endpoint of its service.
    fn stale(&self, protocol: Protocol, element: &Value) -> Option<String> {
        let (key, endpoint) = (element.get(0)?, element.get(1)?);
        let key = key.get("elem").map_or(key, |e| &e["val"]);
        let (client, address, port) = (word(key, 0)?, word(key, 1)?, word(key, 2)?);
        let front = |address| Some(Frontend { address, protocol, port: port.parse().ok()? });
        let of_service = front(address.parse().ok()).and_then(|f| self.frontends.get(&f));
        let known = of_service.or_else(|| self.frontends.get(&front(None)?))?;
        let endpoint: SocketAddrV4 = format!("{}:{}", word(endpoint, 0)?, word(endpoint, 1)?).parse().ok()?;
        (!known.targets.contains(&endpoint)).then(|| format!("{client} . {address} . {port}"))
    }
}

/// One part of a concatenation.
fn word(concat: &Value, at: usize) -> Option<String> {
    match concat["concat"].get(at)? {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 prints it.
    const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"map": {"name": "clients_tcp", "elem": [
        [{"elem": {"val": {"concat": ["10.1.0.9", "10.0.0.1", 80]}, "timeout": 10, "expires": 9}}, {"concat": ["10.1.0.1", 8080]}],
        [{"elem": {"val": {"concat": ["10.1.0.9", "192.0.2.1", 30080]}, "timeout": 10, "expires": 9}}, {"concat": ["10.1.0.1", 8080]}],
        [{"elem": {"val": {"concat": ["10.1.0.9", "10.0.0.2", 80]}, "timeout": 10, "expires": 9}}, {"concat": ["10.1.0.1", 8080]}],
        [{"elem": {"val": {"concat": ["10.1.0.8", "10.0.0.1", 80]}, "timeout": 10, "expires": 9}}, {"concat": ["10.1.0.2", 8080]}]]}}]}"#;

    #[test]
    fn clients_of_endpoints_that_are_gone_are_forgotten() {
        let front = |address: Option<&str>, port| Frontend {
            address: address.map(|a| a.parse().unwrap()),
            protocol: Protocol::Tcp,
            port,
        };
        let now = Backends { affinity: Some(10), targets: vec!["10.1.0.2:8080".parse().unwrap()] };
        let all = [(front(Some("10.0.0.1"), 80), now.clone()), (front(None, 30080), now)];
        let frontends = BTreeMap::from(all);
        let f = Forgetting { table: "t", frontends: &frontends };
        assert_eq!(f.maps(), [(Protocol::Tcp, "clients_tcp".to_owned())]);
        assert_eq!(
            f.commands(Protocol::Tcp, LISTING),
            "delete element ip t clients_tcp { 10.1.0.9 . 10.0.0.1 . 80, 10.1.0.9 . 192.0.2.1 . 30080 }\n"
        );
        assert_eq!(f.commands(Protocol::Tcp, "{}"), "");
    }
}
