//! An image of a small Debian, made of packages that this machine has installed: a shell, the C library, and what
//! tells the release.

use crate::Program;
use std::collections::BTreeSet;
use std::path::Path;

const PACKAGES: [&str; 4] = ["base-files", "busybox-static", "dash", "libc6"];
/// What containers can do without.
const LEFT_OUT: [&str; 4] = ["/share/doc", "/share/lintian", "/share/man", "/gconv"];
/// Directories that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

fn layer() -> Vec<u8> {
    let listed = Program::named("dpkg").run(&[&["-L"][..], &PACKAGES].concat()).ok();
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    for name in MERGED {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, name, format!("usr/{name}")).expect("writing into memory");
    }
    let mut seen = BTreeSet::new();
    for line in listed.lines().filter(|l| l.starts_with('/') && !LEFT_OUT.iter().any(|o| l.contains(o))) {
        let path = Path::new(line);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        // `/lib/x` is `/usr/lib/x` on a machine with a merged /usr.
        let Ok(real) = parent.canonicalize().map(|p| p.join(name)) else { continue };
        let Ok(inside) = real.strip_prefix("/") else { continue };
        let merged = MERGED.iter().any(|m| Path::new(m) == inside);
        if !merged && real.symlink_metadata().is_ok() && seen.insert(real.clone()) {
            tar.append_path_with_name(&real, inside).expect("reading a file of a package");
        }
    }
    tar.into_inner().expect("writing into memory")
}

/// Writes the archive.
pub fn archive(to: &Path) {
    crate::busybox::archive_of(&layer(), "debian/small:12", to);
}
