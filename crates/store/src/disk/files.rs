//! The seam to the file system: just what the log needs, so that a simulated disk can stand in for it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::backend::OpenError;

/// One directory of files.
pub(crate) trait Files: Send + Sync + 'static {
    /// Takes the directory for this process until the value is dropped.
    fn lock(&self) -> Result<(), OpenError>;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file, in the place of one that is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Renames a file over another.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait File: Send {
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Reads what there is, up to the buffer's length; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all or fails, and then perhaps has written some.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file off, or lengthens it with zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Whether the disk, or the user's part of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A real directory.
pub(crate) struct Directory {
    path: PathBuf,
    lock: Mutex<Option<fs::File>>,
}

/// The file whose lock guards the directory, and which names the process that holds it.
const LOCK_FILE: &str = "LOCK";
/// Objects hold secrets: nobody else may read them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

impl Directory {
    pub(crate) fn new(path: &Path) -> io::Result<Directory> {
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        Ok(Directory { path: path.to_owned(), lock: Mutex::new(None) })
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(FILE_MODE);
        options
    }
}

impl Files for Directory {
    fn lock(&self) -> Result<(), OpenError> {
        let mut file = Directory::options().create(true).truncate(false).open(self.path.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let pid = text.trim().parse().unwrap_or(0);
                return Err(OpenError::Locked { dir: self.path.clone(), pid });
            }
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        // The pid is for the other's error message alone, so a full disk must not keep the store shut.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            let pid = std::process::id();
            writeln!(file, "{pid}")
        });
        *self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = Directory::options().create(true).truncate(true).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Directory::options().open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

impl File for fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
