//! The Python client and kopf for the tests, from PyPI, in a folder of their own.

use crate::shell;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The client of this API's version, and an operator framework.
const PACKAGES: [&str; 2] = ["kubernetes==37.0.2", "kopf==1.45.2"];

/// The folder to put into `PYTHONPATH`; filled on first use, in the checkout's own cache.
pub(crate) fn fetch() -> Result<PathBuf> {
    let cache = shell::root().join(".cache");
    let folder = cache.join("python");
    // Named only when whole: an installation that was cut off is begun again.
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = cache.join("python.part");
    if part.exists() {
        std::fs::remove_dir_all(&part).context("removing what an installation left")?;
    }
    println!("setup: fetching {} for Python", PACKAGES.join(" and "));
    let target = part.to_string_lossy();
    let pip = [
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--no-compile",
        "--target",
        &target,
    ];
    shell::run_with("python3", &[&pip[..], &PACKAGES].concat(), &[("PIP_ROOT_USER_ACTION", "ignore")])?;
    std::fs::rename(&part, &folder).context("naming the folder of Python packages")?;
    Ok(folder)
}
