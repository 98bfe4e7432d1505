//! Secret files: readable by their owner only, and either the old or the new content, whenever power fails.

use super::PkiError;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// Larger than any key or certificate; what is larger is not ours.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PkiError {
    move |source| PkiError::File { what, path: path.to_owned(), source }
}

/// Makes the directory (0700) and those above it.
pub(super) fn make_dir(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create directory", dir))
}

/// The content; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", path)(e)),
        Ok(m) if m.len() > MAX_FILE_BYTES => {
            return Err(failed("read", path)(ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(failed("read", path))
}

/// Replaces the file's content in one step; the file is 0600.
pub(super) fn write(path: &Path, content: &str) -> Result<(), PkiError> {
    write_as(path, content, None)
}

/// [`write`], for a file of the user's own: it belongs to whom it belonged before, or else to whom the folder does that
/// it is made in. Folders that are not there yet are made, as client-go does.
pub(crate) fn write_for_owner(path: &Path, content: &str) -> Result<(), PkiError> {
    let there = path.ancestors().find_map(|p| Some((p, fs::metadata(of_name(p)).ok()?)));
    let owner = there.as_ref().map(|(_, m)| (m.uid(), m.gid()));
    let dir = folder(path);
    fs::create_dir_all(dir).map_err(failed("create directory", dir))?;
    let made =
        dir.ancestors().take_while(|d| there.as_ref().is_some_and(|(t, _)| d.starts_with(t) && d != t));
    for dir in made {
        give(dir, owner).map_err(failed("create directory", dir))?;
    }
    write_as(path, content, owner)
}

/// The folder that a path stands in.
fn folder(path: &Path) -> &Path {
    of_name(path.parent().unwrap_or(Path::new("")))
}

/// A relative path's last parent has an empty name.
fn of_name(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Only root can give files away; others make what is their own.
fn give(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let Some((user, group)) = owner else { return Ok(()) };
    let now = fs::metadata(path)?;
    if (now.uid(), now.gid()) == (user, group) {
        return Ok(());
    }
    match chown(path, Some(user), Some(group)) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

fn write_as(path: &Path, content: &str, owner: Option<(u32, u32)>) -> Result<(), PkiError> {
    let dir = folder(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_new(&temporary, content)
        .and_then(|()| give(&temporary, owner))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is left over is worthless; the error that matters is the first.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| File::open(dir)?.sync_all()).map_err(failed("write", path))
}

fn write_new(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // The mode above doesn't apply to a left-over of an earlier process with the same id.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
