//! The commands that build and run: each is a short list of programs.

use crate::{kubectl, python, setup, shell, tidy};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Seeds of the simulation in each full test run.
const CI_SEEDS: &str = "1000";

/// Builds the binary of the profile and says where it is.
fn ironclad(profile: &str) -> Result<PathBuf> {
    let flag = if profile == "release" { vec!["--release"] } else { Vec::new() };
    shell::run("cargo", &[&["build", "--package", "ironclad"], flag.as_slice()].concat())?;
    Ok(shell::built(if profile == "release" { "release" } else { "debug" }, "ironclad"))
}

/// All tests, built in one go: the binary that the end-to-end tests run comes out of the same build.
pub(crate) fn all(_args: &[String]) -> Result<()> {
    setup::run(&[])?;
    tidy::run(&[])?;
    let tools = kubectl::fetch()?;
    cargo_test(
        &["--workspace", "--lib", "--bins", "--tests"],
        &shell::built("debug", "ironclad"),
        &tools,
        &[],
    )
}

/// End to end: the real binary with real kubectl and Helm.
pub(crate) fn e2e(args: &[String]) -> Result<()> {
    let tools = kubectl::fetch()?;
    let binary = ironclad("dev")?;
    cargo_test(&["--package", "e2e", "--tests"], &binary, &tools, args)
}

fn cargo_test(what: &[&str], binary: &Path, tools: &Path, filter: &[String]) -> Result<()> {
    let text = |p: &Path| p.to_string_lossy().into_owned();
    let (kubectl, helm, binary) = (text(&tools.join("kubectl")), text(&tools.join("helm")), text(binary));
    let python = text(&python::fetch()?);
    let env = [
        ("IRONCLAD_BIN", &*binary),
        ("KUBECTL_BIN", &*kubectl),
        ("HELM_BIN", &*helm),
        ("PYTHON_CLIENTS", &*python),
        ("IRONCLAD_SIM_SEEDS", CI_SEEDS),
    ];
    let mut cargo = vec!["test"];
    cargo.extend(what);
    cargo.extend(["--", "--test-threads=2"]);
    cargo.extend(filter.iter().map(String::as_str));
    shell::run_with("cargo", &cargo, &env)
}

/// The simulation alone: how many seeds, and the first of them.
pub(crate) fn sim(args: &[String]) -> Result<()> {
    let seeds = args.first().map_or(CI_SEEDS, String::as_str);
    let first = args.get(1).map_or("0", String::as_str);
    shell::run_with(
        "cargo",
        &["test", "--package", "sim", "--", "--nocapture"],
        &[("IRONCLAD_SIM_SEEDS", seeds), ("IRONCLAD_SIM_FIRST", first)],
    )
}

/// Format, lints, norms and documentation.
pub(crate) fn check(_args: &[String]) -> Result<()> {
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run(&[])?;
    shell::run("cargo", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
}

/// What CI runs.
pub(crate) fn ci(_args: &[String]) -> Result<()> {
    check(&[])?;
    all(&[])
}

/// The demo, with the release build that users would run.
pub(crate) fn demo(args: &[String]) -> Result<()> {
    setup::run(&[])?;
    let binary = ironclad("release")?;
    let kubectl = kubectl::fetch()?.join("kubectl");
    let mut all = vec!["demo", "--kubectl"];
    let kubectl = kubectl.to_string_lossy();
    all.push(&kubectl);
    all.extend(args.iter().map(String::as_str));
    shell::become_program(&binary, &all)
}

/// A cluster from this checkout, in the foreground.
pub(crate) fn dev(args: &[String]) -> Result<()> {
    let binary = ironclad("dev")?;
    let mut all = vec!["up"];
    all.extend(args.iter().map(String::as_str));
    shell::become_program(&binary, &all)
}

/// The benchmarks.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    setup::run(&[])?;
    let binary = ironclad("release")?;
    let mut cargo = vec!["run", "--release", "--package", "e2e", "--bin", "bench", "--"];
    cargo.extend(args.iter().map(String::as_str));
    shell::run_with("cargo", &cargo, &[("IRONCLAD_BIN", &*binary.to_string_lossy())])
}
