//! Gives each node its part of the cluster's pod addresses (`pkg/controller/nodeipam`, the range allocator).

use api::MetaExt;
use api::core::v1::Node;
use client::{Key, View};
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use serde_json::json;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Length of a node's prefix (`node-cidr-mask-size-ipv4`, `-ipv6`).
const NODE_BITS: (u8, u8) = (24, 64);
/// Nodes whose ranges are looked for at the most: subnets of one cluster range (`cidrset`).
const MAX_SUBNETS: u128 = 1 << 16;
/// How soon to look again when there is no range left.
const RETRY: Duration = Duration::from_secs(30);
/// The one key: all nodes are looked at together, so that no two get the same range.
const ALL: &str = "";

/// The controller, with the cluster's ranges; none: it does nothing.
pub(crate) struct NodeIpam {
    clusters: Vec<Range>,
    /// What no node gets.
    kept: Vec<Range>,
}

impl NodeIpam {
    /// With the ranges of `text`: one, or an IPv4 and an IPv6 one with a comma between; those of `kept` go to nobody.
    pub(crate) fn new(text: &str, kept: &str) -> Self {
        let ranges = |text: &str| text.split(',').filter_map(Range::parse).collect();
        Self { clusters: ranges(text), kept: ranges(kept) }
    }
}

impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        "cidrAllocator"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::each::<Node>(key_of_node)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let mut plan = Plan::default();
        let mut lacking: Vec<&Node> = cx.view.all::<Node>().filter(|n| lacks(n)).collect();
        if self.clusters.is_empty() || lacking.is_empty() {
            return plan;
        }
        lacking.sort_by_key(|n| (n.created(), n.name().to_owned()));
        let given = cx.view.all::<Node>().flat_map(ranges);
        let taken: Vec<Range> = given.chain(self.kept.iter().copied()).collect();
        let mut searches: Vec<Search> = self.clusters.iter().map(|c| Search::new(c, &taken)).collect();
        for node in lacking {
            let found: Option<Vec<Range>> = searches.iter_mut().map(Search::find).collect();
            let Some(found) = found else {
                let message = format!("Node {} status is now: CIDRNotAvailable", node.name());
                plan.events.push(EventNote::normal(node, "CIDRNotAvailable", message));
                plan.requeue(RETRY);
                continue;
            };
            plan.writes.push(assign(node, &found));
        }
        plan
    }
}

fn lacks(node: &Node) -> bool {
    !node.is_deleting() && ranges(node).next().is_none()
}

/// A node that has none, or one that gave back its own.
fn key_of_node(view: View<'_>, node: &Node, keys: &mut Vec<Key>) {
    if lacks(node) || view.get::<Node>("", node.name()).is_none() {
        keys.push(Key::new("", ALL));
    }
}

fn ranges(node: &Node) -> impl Iterator<Item = Range> {
    let spec = node.spec.as_ref();
    let all: BTreeSet<&str> = spec
        .into_iter()
        .flat_map(|s| s.pod_cidrs.iter().flatten().chain(&s.pod_cidr))
        .map(String::as_str)
        .collect();
    all.into_iter().filter_map(Range::parse)
}

fn assign(node: &Node, found: &[Range]) -> Write {
    let texts: Vec<String> = found.iter().map(Range::to_string).collect();
    let patch =
        json!({"metadata": {"uid": node.uid()}, "spec": {"podCIDR": texts.first(), "podCIDRs": texts}});
    Write::strategic(node, "", &patch)
}

/// A range of addresses: the first one, aligned to the left, and the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u128,
    bits: u8,
    v6: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.trim().split_once('/')?;
        let bits: u8 = bits.parse().ok()?;
        let (first, v6) = match address.parse().ok()? {
            IpAddr::V4(a) if bits <= 32 => (u128::from(a.to_bits()) << 96, false),
            IpAddr::V6(a) if bits <= 128 => (a.to_bits(), true),
            _ => return None,
        };
        Some(Self { first: first & mask(bits), bits, v6 })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let common = mask(self.bits.min(other.bits));
        self.v6 == other.v6 && self.first & common == other.first & common
    }
}

/// A walk through a cluster's range, which finds each free part for a node once.
struct Search {
    cluster: Range,
    /// Length of a part's prefix, and how many parts there are.
    bits: u8,
    count: u128,
    next: u128,
    /// Taken parts of that length by their first address, and everything else that is taken.
    parts: HashSet<u128>,
    others: Vec<Range>,
}

impl Search {
    fn new(cluster: &Range, taken: &[Range]) -> Self {
        let bits = if cluster.v6 { NODE_BITS.1 } else { NODE_BITS.0 }.max(cluster.bits);
        let count = (1u128 << (bits - cluster.bits).min(64)).min(MAX_SUBNETS);
        let (parts, others): (Vec<Range>, Vec<Range>) =
            taken.iter().filter(|t| t.overlaps(cluster)).partition(|t| t.bits == bits);
        let parts = parts.into_iter().map(|t| t.first).collect();
        Self { cluster: *cluster, bits, count, next: 0, parts, others }
    }

    /// The next part that overlaps nothing that is taken.
    fn find(&mut self) -> Option<Range> {
        while self.next < self.count {
            let offset = self.next.checked_shl(u32::from(128 - self.bits)).unwrap_or(0);
            let part = Range { first: self.cluster.first | offset, bits: self.bits, v6: self.cluster.v6 };
            self.next += 1;
            if !self.parts.contains(&part.first) && !self.others.iter().any(|o| part.overlaps(o)) {
                return Some(part);
            }
        }
        None
    }
}

/// The bits of a prefix.
fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if self.v6 {
            IpAddr::V6(self.first.into())
        } else {
            let high = u32::try_from(self.first >> 96).unwrap_or(0);
            IpAddr::V4(high.into())
        };
        write!(f, "{address}/{}", self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::Value;

    fn node(name: &str, cidr: &str) -> Value {
        let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}});
        if !cidr.is_empty() {
            node["spec"] = json!({"podCIDR": cidr, "podCIDRs": [cidr]});
        }
        node
    }

    fn check(cluster: &str, nodes: &[(&str, &str)], expect: Expect) {
        let scene = Scene::new(nodes.iter().map(|(name, cidr)| node(name, cidr)));
        expect.assert_eq(&scene.show(&NodeIpam::new(cluster, ""), ""));
    }

    #[test]
    fn each_node_gets_a_range_of_its_own() {
        check(
            "10.42.0.0/16",
            &[("a", ""), ("b", "10.42.1.0/24"), ("c", ""), ("d", "10.42.3.128/25")],
            expect![[r#"
                patch nodes a {"metadata":{"uid":"a-uid"},"spec":{"podCIDR":"10.42.0.0/24","podCIDRs":["10.42.0.0/24"]}}
                patch nodes c {"metadata":{"uid":"c-uid"},"spec":{"podCIDR":"10.42.2.0/24","podCIDRs":["10.42.2.0/24"]}}
            "#]],
        );
        check(
            "10.42.0.0/16,fd00::/48",
            &[("a", ""), ("b", "fd00::/64")],
            expect![[r#"
            patch nodes a {"metadata":{"uid":"a-uid"},"spec":{"podCIDR":"10.42.0.0/24","podCIDRs":["10.42.0.0/24","fd00:0:0:1::/64"]}}
        "#]],
        );
        check("", &[("a", "")], expect![[""]]);
        check("10.42.0.0/16", &[("a", "10.42.0.0/24")], expect![[""]]);
    }

    #[test]
    fn a_full_cluster_says_so() {
        check(
            "10.42.0.0/24",
            &[("a", "10.42.0.0/24"), ("b", "")],
            expect![[r#"
            event Normal CIDRNotAvailable Node/b Node b status is now: CIDRNotAvailable
            again in 30 s
        "#]],
        );
        check(
            "10.42.0.0/26",
            &[("a", "")],
            expect![[r#"
            patch nodes a {"metadata":{"uid":"a-uid"},"spec":{"podCIDR":"10.42.0.0/26","podCIDRs":["10.42.0.0/26"]}}
        "#]],
        );
    }

    #[test]
    fn many_nodes_never_share() {
        let nodes: Vec<Value> = (0..300).map(|i| node(&format!("n{i:03}"), "")).collect();
        let text = Scene::new(nodes).show(&NodeIpam::new("10.0.0.0/16", "10.0.255.254/32"), "");
        let cidrs: BTreeSet<&str> = text.split('"').filter(|s| s.starts_with("10.0.")).collect();
        assert_eq!((cidrs.len(), text.matches("CIDRNotAvailable Node").count()), (255, 45));
    }
}
