//! Writes the files of a volume so that a reader sees all of the old or all of the new ones: the files stand in a
//! directory of their own, `..data` points to it, and the names that containers see point through `..data`
//! (`pkg/volume/util/atomic_writer.go`).

use super::payload::Files;
use crate::shell::{make_dir_now, write_file};
use rustix::fs::{Gid, Uid};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";
/// What is added to the mode of files and directories of a group's volume.
const GROUP_FILE: u32 = 0o440;
const GROUP_DIR: u32 = 0o2550;

fn failed(path: &Path, e: io::Error) -> String {
    format!("cannot write volume {}: {e}", path.display())
}

/// Puts `files` into the volume `dir`, owned by group `fs_group` if there is one. `stamp` names the new directory.
/// Returns whether anything changed.
pub(crate) fn write(dir: &Path, files: &Files, fs_group: Option<u32>, stamp: &str) -> Result<bool, String> {
    make_dir_now(dir, 0o777)?;
    let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777));
    let current = std::fs::read_link(dir.join(DATA)).ok();
    if current.as_ref().is_some_and(|c| same(&dir.join(c), files, fs_group)) {
        return Ok(false);
    }
    let name = format!("..{stamp}");
    let fresh = dir.join(&name);
    fill(&fresh, files, fs_group)?;
    let new = dir.join(DATA_NEW);
    let _ = std::fs::remove_file(&new);
    symlink(&name, &new).map_err(|e| failed(&new, e))?;
    std::fs::rename(&new, dir.join(DATA)).map_err(|e| failed(&new, e))?;
    link_names(dir, files)?;
    sweep(dir, &name);
    Ok(true)
}

fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn fill(fresh: &Path, files: &Files, fs_group: Option<u32>) -> Result<(), String> {
    let group = fs_group.map(Gid::from_raw);
    make_dir_now(fresh, 0o755)?;
    let mut dirs = BTreeSet::from([fresh.to_owned()]);
    for (path, file) in files {
        let full = fresh.join(path);
        let parent = full.parent().unwrap_or(fresh);
        make_dir_now(parent, 0o755)?;
        dirs.insert(parent.to_owned());
        let mode = if group.is_some() { file.mode | GROUP_FILE } else { file.mode };
        write_file(&full, &file.bytes, mode)?;
        let owner = file.owner.filter(|_| group.is_none()).map(Uid::from_raw);
        if group.is_some() || owner.is_some() {
            rustix::fs::chown(&full, owner, group).map_err(|e| failed(&full, e.into()))?;
        }
    }
    for d in dirs {
        let mode = if group.is_some() { 0o755 | GROUP_DIR } else { 0o755 };
        if group.is_some() {
            rustix::fs::chown(&d, None, group).map_err(|e| failed(&d, e.into()))?;
        }
        std::fs::set_permissions(&d, std::fs::Permissions::from_mode(mode)).map_err(|e| failed(&d, e))?;
    }
    Ok(())
}

/// Whether the directory holds exactly these files.
fn same(dir: &Path, files: &Files, fs_group: Option<u32>) -> bool {
    let equal = |(path, file): (&String, &super::payload::File)| {
        let full = dir.join(path);
        let mode = if fs_group.is_some() { file.mode | GROUP_FILE } else { file.mode };
        let meta = std::fs::metadata(&full).ok();
        meta.is_some_and(|m| m.permissions().mode() & 0o777 == mode)
            && std::fs::read(&full).is_ok_and(|b| b == file.bytes)
    };
    let names = |d: &Path| -> BTreeSet<PathBuf> { list(d, d) };
    let want: BTreeSet<PathBuf> = files.keys().map(PathBuf::from).collect();
    dir.is_dir() && names(dir) == want && files.iter().all(equal)
}

/// The files below `dir`, relative to `root`.
fn list(root: &Path, dir: &Path) -> BTreeSet<PathBuf> {
    let mut out = BTreeSet::new();
    for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if e.file_type().is_ok_and(|t| t.is_dir()) {
            out.extend(list(root, &e.path()));
        } else if let Ok(p) = e.path().strip_prefix(root) {
            out.insert(p.to_owned());
        }
    }
    out
}

/// Makes the names that containers see, and removes those of files that are no more.
fn link_names(dir: &Path, files: &Files) -> Result<(), String> {
    let want: BTreeSet<&str> = files.keys().map(|p| top(p)).collect();
    for name in &want {
        let link = dir.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(|e| failed(&link, e))?;
        }
    }
    for e in std::fs::read_dir(dir).map_err(|e| failed(dir, e))?.flatten() {
        let name = e.file_name().to_string_lossy().into_owned();
        let ours = std::fs::read_link(e.path()).is_ok_and(|t| t.starts_with(DATA));
        if ours && !want.contains(name.as_str()) {
            let _ = std::fs::remove_file(e.path());
        }
    }
    Ok(())
}

/// Removes the directories of earlier writes, also of ones that were cut short.
fn sweep(dir: &Path, keep: &str) {
    for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = e.file_name().to_string_lossy().into_owned();
        let old = name.starts_with("..") && name != keep && name != DATA && name != DATA_NEW;
        if old && e.file_type().is_ok_and(|t| t.is_dir()) {
            let _ = std::fs::remove_dir_all(e.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o640, owner: None };
        list.iter().map(|(p, t)| ((*p).to_owned(), file(t))).collect()
    }

    #[test]
    fn readers_go_through_one_link_and_old_files_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        assert!(write(&dir, &files(&[("a", "1"), ("sub/b", "2")]), None, "1").unwrap());
        assert_eq!(std::fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        assert!(!write(&dir, &files(&[("a", "1"), ("sub/b", "2")]), None, "2").unwrap());
        assert!(write(&dir, &files(&[("a", "3")]), None, "3").unwrap());
        let mut names: Vec<String> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["..3", "..data", "a"]);
        assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert_eq!(std::fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
