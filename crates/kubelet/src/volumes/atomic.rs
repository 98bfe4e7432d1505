//! Writes the files of a volume so that a reader sees all of the old or all of the new ones: the files stand in a
//! directory of their own, `..data` points to it, and the names that containers see point through `..data`
//! (`pkg/volume/util/atomic_writer.go`).

use super::directory::{Access, give_to_group};
use super::payload::Files;
use crate::shell::{make_dir_now, write_file};
use rustix::fs::Uid;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

fn failed(path: &Path, e: io::Error) -> String {
    format!("cannot write volume {}: {e}", path.display())
}

/// Puts `files` into the volume `dir`, owned by group `fs_group` if there is one. `stamp` names the new directory.
/// Returns whether anything changed.
pub(crate) fn write(dir: &Path, files: &Files, fs_group: Option<u32>, stamp: &str) -> Result<bool, String> {
    open_to_all(dir)?;
    let current = std::fs::read_link(dir.join(DATA)).ok();
    if current.as_ref().is_some_and(|c| same(&dir.join(c), files, fs_group)) {
        return Ok(false);
    }
    let name = format!("..{stamp}");
    let fresh = dir.join(&name);
    fill(&fresh, files)?;
    if let Some(group) = fs_group {
        give_to_group(dir, group, Access::Read, false)?;
    }
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

/// Makes the root of a volume. The bits that it has beside the modes are its file system's or its group's.
fn open_to_all(dir: &Path) -> Result<(), String> {
    make_dir_now(dir, 0o777)?;
    let mode = std::fs::metadata(dir).map_err(|e| failed(dir, e))?.permissions().mode();
    if mode & 0o777 != 0o777 {
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir, open).map_err(|e| failed(dir, e))?;
    }
    Ok(())
}

fn fill(fresh: &Path, files: &Files) -> Result<(), String> {
    make_dir_now(fresh, 0o755)?;
    let mut dirs = BTreeSet::from([fresh.to_owned()]);
    for (path, file) in files {
        let full = fresh.join(path);
        let parent = full.parent().unwrap_or(fresh);
        make_dir_now(parent, 0o755)?;
        dirs.insert(parent.to_owned());
        write_file(&full, &file.bytes, file.mode)?;
        if let Some(owner) = file.owner.map(Uid::from_raw) {
            rustix::fs::chown(&full, Some(owner), None).map_err(|e| failed(&full, e.into()))?;
        }
    }
    for d in dirs {
        std::fs::set_permissions(&d, std::fs::Permissions::from_mode(0o755)).map_err(|e| failed(&d, e))?;
    }
    Ok(())
}

/// Whether the directory holds exactly these files.
fn same(dir: &Path, files: &Files, fs_group: Option<u32>) -> bool {
    let equal = |(path, file): (&String, &super::payload::File)| {
        let full = dir.join(path);
        let mode = file.mode | fs_group.map_or(0, |_| Access::Read.bits(false));
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
    use std::os::unix::fs::MetadataExt;

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

    #[test]
    fn a_groups_volume_is_its_own_from_the_root_and_a_file_keeps_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        let mut token = files(&[("sub/token", "t")]);
        let me = std::fs::metadata(root.path()).unwrap();
        let (uid, gid) = if me.uid() == 0 { (1234, 5678) } else { (me.uid(), me.gid()) };
        token.values_mut().for_each(|f| (f.mode, f.owner) = (0o600, Some(uid)));
        let show = |path: &str| {
            let m = std::fs::metadata(dir.join(path)).unwrap();
            format!("{:o} {} {}", m.mode() & 0o7777, m.uid() == uid, m.gid() == gid)
        };
        assert!(write(&dir, &token, Some(gid), "1").unwrap());
        let first = ["", "sub", "sub/token"].map(show);
        assert_eq!(first[0].split_once(' ').unwrap().0, "2777");
        assert_eq!(first[2], "640 true true");
        assert!(first.iter().all(|s| s.ends_with("true")), "{first:?}");
        assert!(!write(&dir, &token, Some(gid), "2").unwrap());
        token.values_mut().for_each(|f| f.bytes = b"new".to_vec());
        assert!(write(&dir, &token, Some(gid), "3").unwrap());
        assert_eq!(["", "sub", "sub/token"].map(show), first);
    }
}
