//! Layers: a tar stream becomes a directory that overlay can mount.
//!
//! Every path is opened by descriptor beneath the layer's root (`openat2`, `RESOLVE_IN_ROOT`), so neither `..` nor a
//! symbolic link that the layer itself brought leads out of it.

use crate::digest::{Digest, Measured};
use crate::error::Error;
use rustix::fs::{
    self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags,
};
use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The most that one layer may unpack to, in bytes.
pub const MAX_LAYER_BYTES: u64 = 64 << 30;
/// The most files that one layer may have.
pub const MAX_ENTRIES: u64 = 2_000_000;
/// What was being done when a layer could not be read.
pub(crate) const READING: &str = "reading the layer";
/// The deepest path.
const MAX_DEPTH: usize = 256;
/// Marks that a path of a lower layer is gone.
const WHITEOUT: &[u8] = b".wh.";
/// Marks that everything in a directory of the lower layers is gone.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a layer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the plain tar: the layer's id.
    pub diff_id: Digest,
    /// Bytes of the files.
    pub size: u64,
}

/// Opens a stream as plain tar, whatever it is compressed with.
pub fn decompress<'a>(stream: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let head = io::BufRead::fill_buf(&mut stream)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(stream)));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(stream).map_err(io::Error::other)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(stream))
}

/// Unpacks a layer (plain, gzip or zstd) into the empty directory `into`.
pub fn unpack(stream: impl Read + Send, into: &Path) -> Result<Unpacked, Error> {
    let plain = decompress(stream).map_err(Error::doing(READING))?;
    let mut measured = Measured::new(plain, MAX_LAYER_BYTES);
    let root = fs::open(into, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|e| Error::at(into)(e.into()))?;
    let mut unpacker = Unpacker { root, size: 0, directories: Vec::new() };
    let mut archive = tar::Archive::new(&mut measured);
    let entries = archive.entries().map_err(Error::doing(READING))?;
    for (n, entry) in entries.enumerate() {
        if n as u64 >= MAX_ENTRIES {
            return Err(Error::content(format!("the layer has more than {MAX_ENTRIES} files")));
        }
        let mut entry = entry.map_err(Error::doing(READING))?;
        unpacker.entry(&mut entry)?;
    }
    unpacker.finish()?;
    let size = unpacker.size;
    let (diff_id, _) = measured.finish().map_err(Error::doing(READING))?;
    Ok(Unpacked { diff_id, size })
}

struct Unpacker {
    root: OwnedFd,
    size: u64,
    /// Directories whose times are set last, since filling them changes them.
    directories: Vec<(PathBuf, i64)>,
}

/// The path of an entry as plain names; an error for one that climbs or is too deep.
fn clean(path: &Path) -> Result<PathBuf, Error> {
    let mut clean = PathBuf::new();
    for (depth, part) in path.components().enumerate() {
        match part {
            Component::Normal(name) if depth < MAX_DEPTH => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => {
                return Err(Error::content(format!(
                    "the layer has a path that leads out of it or too deep: {path:?}"
                )));
            }
        }
    }
    Ok(clean)
}

type Entry<'a, R> = tar::Entry<'a, R>;

impl Unpacker {
    /// Opens a directory beneath the root.
    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(fs::openat2(
            &self.root,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?)
    }

    /// Opens a directory beneath the root, making what is missing of it.
    fn make_dirs(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Ok(dir) = self.open_dir(path) {
            return Ok(dir);
        }
        let parent = self.make_dirs(path.parent().unwrap_or(Path::new("")))?;
        let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.open_dir(path),
            Err(e) => Err(e.into()),
        }
    }

    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Error> {
        let raw = entry.path().map_err(Error::doing(READING))?.into_owned();
        let path = clean(&raw)?;
        let at = Error::at(&raw);
        let Some(name) = path.file_name() else {
            return self.attributes(entry, self.root.as_fd(), OsStr::new("."), false).map_err(at);
        };
        let parent = self.make_dirs(path.parent().unwrap_or(Path::new(""))).map_err(&at)?;
        if name.as_bytes() == OPAQUE {
            return set_opaque(&parent).map_err(at);
        }
        if let Some(gone) = name.as_bytes().strip_prefix(WHITEOUT) {
            let gone = OsStr::from_bytes(gone);
            if gone.is_empty() || gone == "." || gone == ".." {
                return Err(Error::content(format!("the layer has a whiteout without a name: {raw:?}")));
            }
            remove(&parent, gone).map_err(&at)?;
            return fs::mknodat(&parent, gone, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|e| at(e.into()));
        }
        self.make(entry, &parent, name, &path).map_err(at)
    }

    fn make<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        use tar::EntryType as T;
        let kind = entry.header().entry_type();
        let target = entry.link_name()?.map(|t| t.into_owned()).unwrap_or_default();
        match kind {
            T::Directory => return self.directory(entry, parent, name, path),
            T::XGlobalHeader => return Ok(()),
            _ => remove(parent, name)?,
        }
        match kind {
            T::Regular | T::Continuous | T::GNUSparse => self.file(entry, parent, name)?,
            T::Symlink => fs::symlinkat(&target, parent, name)?,
            T::Link => return self.hard_link(&target, parent, name),
            T::Char | T::Block | T::Fifo => self.node(entry, parent, name)?,
            other => return Err(io::Error::other(format!("a file of the unknown type {other:?}"))),
        }
        self.attributes(entry, parent.as_fd(), name, kind == T::Symlink)
    }

    fn directory<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        let made = fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
        if made == Err(rustix::io::Errno::EXIST) {
            let old = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(old.st_mode) != FileType::Directory {
                remove(parent, name)?;
                fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            }
        } else {
            made?;
        }
        self.directories.push((path.to_owned(), mtime(entry)));
        self.attributes(entry, parent.as_fd(), name, false)
    }

    fn file<R: Read>(&mut self, entry: &mut Entry<'_, R>, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
        self.size += io::copy(entry, &mut file)?;
        file.flush()
    }

    fn node<R: Read>(&self, entry: &mut Entry<'_, R>, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let header = entry.header();
        let number = |n: io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
        let device = fs::makedev(number(header.device_major()), number(header.device_minor()));
        let kind = match header.entry_type() {
            tar::EntryType::Char => FileType::CharacterDevice,
            tar::EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        Ok(fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)?)
    }

    /// Links to a file of the same layer. The target is resolved beneath the root too.
    fn hard_link(&self, target: &Path, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let target = clean(target).map_err(io::Error::other)?;
        let Some(file) = target.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let from = self.open_dir(target.parent().unwrap_or(Path::new("")))?;
        Ok(fs::linkat(&from, file, parent, name, AtFlags::empty())?)
    }

    /// Owner, mode, extended attributes and time. Owner first: changing it clears the set-user-ID bit.
    fn attributes<R: Read>(
        &self,
        entry: &mut Entry<'_, R>,
        parent: impl AsFd,
        name: &OsStr,
        link: bool,
    ) -> io::Result<()> {
        // A blank field is root's, as tar reads it.
        let (uid, gid) = (entry.header().uid().unwrap_or(0), entry.header().gid().unwrap_or(0));
        let id = |n: u64| u32::try_from(n).map_err(|_| io::Error::other(format!("the owner {n} is no user")));
        let (uid, gid) = (rustix::fs::Uid::from_raw(id(uid)?), rustix::fs::Gid::from_raw(id(gid)?));
        fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if !link {
            let mode = Mode::from_raw_mode(entry.header().mode()? & 0o7777);
            fs::chmodat(&parent, name, mode, AtFlags::empty())?;
            self.extended(entry, &parent, name)?;
        }
        let time = Timespec { tv_sec: mtime(entry), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Extended attributes of the kinds that images have reason to bring: file capabilities and `user.*`.
    fn extended<R: Read>(&self, entry: &mut Entry<'_, R>, parent: impl AsFd, name: &OsStr) -> io::Result<()> {
        let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
        let mut wanted = Vec::new();
        for e in extensions {
            let e = e?;
            let key = e.key_bytes().strip_prefix(b"SCHILY.xattr.");
            let Some(key) = key.filter(|k| *k == b"security.capability" || k.starts_with(b"user.")) else {
                continue;
            };
            wanted.push((key.to_vec(), e.value_bytes().to_vec()));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat(parent, name, flags, Mode::empty())?;
        for (key, value) in wanted {
            fs::fsetxattr(&file, OsStr::from_bytes(&key), &value, XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Sets the times of the directories, now that they are full.
    fn finish(&self) -> Result<(), Error> {
        for (path, time) in self.directories.iter().rev() {
            let time = Timespec { tv_sec: *time, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            // A directory that a later entry replaced has no time to set.
            if let Ok(dir) = self.open_dir(path) {
                fs::futimens(&dir, &times).map_err(|e| Error::at(path)(e.into()))?;
            }
        }
        Ok(())
    }
}

fn mtime<R: Read>(entry: &Entry<'_, R>) -> i64 {
    entry.header().mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0)
}

/// Removes whatever has this name; absent is fine.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => remove_dir(parent, name),
        Err(e) => Err(e.into()),
    }
}

fn remove_dir(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = fs::openat(parent, name, flags, Mode::empty())?;
    for entry in fs::Dir::read_from(&dir)? {
        let entry = entry?;
        let child = OsStr::from_bytes(entry.file_name().to_bytes());
        if child != "." && child != ".." {
            remove(&dir, child)?;
        }
    }
    Ok(fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Tells overlay that the lower layers' content of the directory is gone.
fn set_opaque(dir: &OwnedFd) -> io::Result<()> {
    Ok(fs::fsetxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

/// Removes a whole directory tree, whatever is in it; absent is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match fs::openat(CWD, parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(parent) => remove(&parent, name),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests;
