//! Small file work, off the threads that serve.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Runs blocking work elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(r) => r,
        Err(e) => Err(format!("file work failed: {e}")),
    }
}

/// Makes a directory and those above it. A few system calls: not worth another thread.
pub(crate) async fn make_dir(path: impl AsRef<Path>, mode: u32) -> Result<(), String> {
    make_dir_now(path.as_ref(), mode)
}

/// Makes a directory and those above it.
pub(crate) fn make_dir_now(path: &Path, mode: u32) -> Result<(), String> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(mode);
    builder.create(path).map_err(|e| format!("cannot make directory {}: {e}", path.display()))
}

/// Writes a file in one step, with this mode whatever the umask is.
pub(crate) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    let why = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    std::fs::write(path, bytes).map_err(why)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(why)
}
