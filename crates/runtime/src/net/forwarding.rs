//! Letting pods' packets through another tool's firewall.
//!
//! Docker, firewalld and others give iptables' FORWARD chain the policy DROP. An accept in our own table does not
//! outweigh a drop in theirs, so where that chain exists (as nftables shows it: table `filter`, chain `FORWARD`, or
//! Docker's `DOCKER-USER` in front of it), two rules of ours are put at its head, as CNI's firewall plugin does.

use std::io;

use super::rules::{apply, list};

/// Chains that may stand in the way, the first that exists is used.
const CHAINS: [&str; 2] = ["ip filter DOCKER-USER", "ip filter FORWARD"];

/// Lets packets from and to the bridge pass. Repeating it changes nothing.
pub(super) fn allow(bridge: &str) -> io::Result<()> {
    for chain in CHAINS {
        let Some(text) = list(chain)? else { continue };
        if !handles(&text, bridge).is_empty() {
            return Ok(());
        }
        let rule =
            |side: &str| format!("insert rule {chain} {side} \"{bridge}\" accept comment \"{bridge}\"\n");
        return apply(&(rule("iifname") + &rule("oifname")));
    }
    Ok(())
}

/// Takes the rules away again.
pub(super) fn forget(bridge: &str) -> io::Result<()> {
    for chain in CHAINS {
        let Some(text) = list(chain)? else { continue };
        let script: String =
            handles(&text, bridge).iter().map(|h| format!("delete rule {chain} handle {h}\n")).collect();
        if !script.is_empty() {
            apply(&script)?;
        }
    }
    Ok(())
}

/// The handles of our rules in a chain's listing.
fn handles<'a>(listing: &'a str, bridge: &str) -> Vec<&'a str> {
    let ours = format!("comment \"{bridge}\"");
    let rules = listing.lines().filter(|line| line.contains(&ours));
    rules.filter_map(|line| line.rsplit_once("# handle ")).map(|(_, handle)| handle.trim()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a network namespace of its own, with a chain as Docker leaves it.
    #[test]
    fn rules_come_and_go() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let inside = || -> io::Result<(usize, usize, usize)> {
            crate::sys::unshare(libc::CLONE_NEWNET)?;
            allow("ic-test")?;
            apply(
                "table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; counter drop; }; }",
            )?;
            allow("ic-test")?;
            allow("ic-test")?;
            let count = |text: Option<String>| text.map_or(0, |t| handles(&t, "ic-test").len());
            let there = count(list(CHAINS[1])?);
            let other = list(CHAINS[1])?.map_or(0, |t| handles(&t, "ic-tes").len());
            forget("ic-test")?;
            Ok((there, other, count(list(CHAINS[1])?)))
        };
        let counts = std::thread::spawn(inside).join().expect("a thread");
        assert_eq!(counts.ok(), Some((2, 0, 0)));
    }
}
