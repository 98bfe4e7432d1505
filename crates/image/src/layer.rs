//! Layers: a tar stream becomes a directory that overlay can mount.
//!
//! Every path is opened by descriptor beneath the layer's root (`openat2`, `RESOLVE_IN_ROOT`), so neither `..` nor a
//! symbolic link that the layer itself brought leads out of it.

use crate::digest::{Digest, Measured};
use crate::error::Error;
use crate::tar_stream::{Entry, Kind, TarStream, fill};
use rustix::fs::{
    self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags,
};
use ruzstd::decoding::FrameDecoder;
use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Seek};
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
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable(head) {
        return Ok(Box::new(Frames { decoder: None, source: Some(stream) }));
    }
    Ok(Box::new(stream))
}

/// Frames that carry no content: tables of contents, as zstd:chunked layers have.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

type Frame<R> = ruzstd::decoding::StreamingDecoder<io::Chain<io::Cursor<[u8; 4]>, R>, FrameDecoder>;

/// All frames of a zstd stream, one after the other: the decoder itself ends with the first.
struct Frames<R: Read> {
    decoder: Option<Frame<R>>,
    source: Option<R>,
}

impl<R: Read> Frames<R> {
    /// Begins the next frame that has content; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        let Some(source) = &mut self.source else { return Ok(false) };
        let mut magic = [0; 4];
        loop {
            if !fill(source, &mut magic)? {
                return Ok(false);
            }
            if !is_skippable(&magic) {
                break;
            }
            let mut length = [0; 4];
            source.read_exact(&mut length)?;
            io::copy(&mut source.take(u32::from_le_bytes(length).into()), &mut io::sink())?;
        }
        let Some(source) = self.source.take() else { return Ok(false) };
        let frame = Frame::new_with_decoder(io::Cursor::new(magic).chain(source), FrameDecoder::new());
        self.decoder = Some(frame.map_err(io::Error::other)?);
        Ok(true)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                let n = decoder.read(buffer)?;
                if n > 0 || buffer.is_empty() {
                    return Ok(n);
                }
            }
            if let Some(done) = self.decoder.take() {
                self.source = Some(done.into_inner().into_inner().1);
            }
            if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

/// Unpacks a layer (plain, gzip or zstd) into the empty directory `into`.
pub fn unpack(stream: impl Read + Send, into: &Path) -> Result<Unpacked, Error> {
    let plain = decompress(stream).map_err(Error::doing(READING))?;
    let mut measured = Measured::new(plain, MAX_LAYER_BYTES);
    let root = fs::open(into, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|e| Error::at(into)(e.into()))?;
    let mut unpacker = Unpacker { root, size: 0, limit: MAX_LAYER_BYTES, directories: Vec::new() };
    let mut stream = TarStream::new(&mut measured);
    let mut n = 0;
    while let Some(entry) = stream.next().map_err(Error::doing(READING))? {
        n += 1;
        if n > MAX_ENTRIES {
            return Err(Error::content(format!("the layer has more than {MAX_ENTRIES} files")));
        }
        unpacker.entry(&entry, &mut stream)?;
    }
    unpacker.finish()?;
    let size = unpacker.size;
    let (diff_id, _) = measured.finish().map_err(Error::doing(READING))?;
    Ok(Unpacked { diff_id, size })
}

struct Unpacker {
    root: OwnedFd,
    size: u64,
    limit: u64,
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

    fn entry(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), Error> {
        let raw = Path::new(OsStr::from_bytes(&entry.path));
        let path = clean(raw)?;
        let at = Error::at(raw);
        let Some(name) = path.file_name() else {
            return match entry.kind {
                Kind::Directory => self.attributes(entry, self.root.as_fd(), OsStr::new(".")).map_err(at),
                _ => Err(Error::content(format!("the layer has a file without a name: {raw:?}"))),
            };
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
        self.make(entry, data, &parent, name, &path).map_err(at)
    }

    fn make(
        &mut self,
        entry: &Entry,
        data: &mut impl Read,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        let target = Path::new(OsStr::from_bytes(&entry.link));
        match entry.kind {
            Kind::Directory => return self.directory(entry, parent, name, path),
            // Found out before the old one is gone, since it may be the same.
            Kind::HardLink => return self.hard_link(target, parent, name),
            Kind::Other(other) => {
                return Err(io::Error::other(format!("a file of the unknown type {:?}", char::from(other))));
            }
            _ => remove(parent, name)?,
        }
        match entry.kind {
            Kind::Symlink => fs::symlinkat(target, parent, name)?,
            Kind::Character | Kind::Block | Kind::Fifo => node(entry, parent, name)?,
            _ => self.file(entry, data, parent, name)?,
        }
        self.attributes(entry, parent.as_fd(), name)
    }

    fn directory(&mut self, entry: &Entry, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
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
        self.directories.push((path.to_owned(), entry.mtime));
        self.attributes(entry, parent.as_fd(), name)
    }

    fn file(
        &mut self,
        entry: &Entry,
        data: &mut impl Read,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> io::Result<()> {
        // Holes cost no disk, but whoever copies the file pays for them: they count.
        self.size = self.size.saturating_add(entry.size);
        if self.size > self.limit {
            return Err(io::Error::other(format!("the layer unpacks to more than {} bytes", self.limit)));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
        let Some(pieces) = &entry.sparse else {
            io::copy(data, &mut file)?;
            return Ok(());
        };
        for piece in pieces {
            file.seek(io::SeekFrom::Start(piece.offset))?;
            io::copy(&mut data.take(piece.length), &mut file)?;
        }
        file.set_len(entry.size)
    }

    /// Links to a file of the same layer. The target is resolved beneath the root too.
    fn hard_link(&self, target: &Path, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let target = clean(target).map_err(io::Error::other)?;
        let Some(file) = target.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let from = self.open_dir(target.parent().unwrap_or(Path::new("")))?;
        match fs::linkat(&from, file, parent, name, AtFlags::empty()) {
            Err(rustix::io::Errno::EXIST) => {}
            done => return Ok(done?),
        }
        let stat = |dir: &OwnedFd, name: &OsStr| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let (old, new) = (stat(parent, name)?, stat(&from, file)?);
        if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino) {
            return Ok(());
        }
        remove(parent, name)?;
        Ok(fs::linkat(&from, file, parent, name, AtFlags::empty())?)
    }

    /// Owner, mode, extended attributes and time. Owner first: changing it clears the set-user-ID bit.
    fn attributes(&self, entry: &Entry, parent: impl AsFd, name: &OsStr) -> io::Result<()> {
        let id = |n: u64| match u32::try_from(n) {
            // The last number means "leave it" to chown.
            Ok(n) if n != u32::MAX => Ok(n),
            _ => Err(io::Error::other(format!("the owner {n} is no user"))),
        };
        let (uid, gid) = (fs::Uid::from_raw(id(entry.uid)?), fs::Gid::from_raw(id(entry.gid)?));
        fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if entry.kind != Kind::Symlink {
            fs::chmodat(&parent, name, Mode::from_raw_mode(entry.mode & 0o7777), AtFlags::empty())?;
        }
        if matches!(entry.kind, Kind::File | Kind::Directory) {
            extended(entry, &parent, name)?;
        }
        let time = Timespec { tv_sec: entry.mtime, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
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

fn node(entry: &Entry, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let kind = match entry.kind {
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let device = fs::makedev(entry.device.0, entry.device.1);
    Ok(fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)?)
}

/// Extended attributes of the kinds that images have reason to bring: file capabilities and `user.*`.
fn extended(entry: &Entry, parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let known = |key: &[u8]| key == b"security.capability" || key.starts_with(b"user.");
    let mut wanted = entry.xattrs.iter().filter(|(key, _)| known(key)).peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::openat(parent, name, flags, Mode::empty())?;
    for (key, value) in wanted {
        fs::fsetxattr(&file, OsStr::from_bytes(key), value, XattrFlags::empty())?;
    }
    Ok(())
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
mod hostile;
#[cfg(test)]
mod tests;
