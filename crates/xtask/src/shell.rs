//! Running other programs, from the workspace's root.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds for the profile.
pub(crate) fn built(profile: &str, program: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join(program)
}

/// Runs a program with its output shown; fails when it does.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<()> {
    run_with(program, args, &[])
}

/// Becomes the program: it has the terminal, and a Ctrl-C, for itself, and ends when it says so.
pub(crate) fn become_program(program: &Path, args: &[&str]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = Command::new(program).args(args).current_dir(root()).exec();
    Err(error).with_context(|| format!("{} could not be started", program.display()))
}

/// [`run`] with variables added to the environment.
pub(crate) fn run_with(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).current_dir(root());
    let status = command.status().with_context(|| format!("{program} could not be started"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}

/// A program's standard output; fails when the program does.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stderr(Stdio::inherit());
    let out = command.output().with_context(|| format!("{program} could not be started"))?;
    if !out.status.success() {
        bail!("`{program} {}` failed: {}", args.join(" "), out.status);
    }
    String::from_utf8(out.stdout).with_context(|| format!("{program} printed something that is not UTF-8"))
}

/// Where a program stands on PATH, if it does. `/usr/sbin` and `/sbin` count too.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders.map(|d| Path::new(d).join(program)).find(|p| p.is_file())
}
