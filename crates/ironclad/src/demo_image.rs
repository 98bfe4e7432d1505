//! The image `ironclad.local/demo`: this very binary with the shared libraries that it was started with.

use crate::runtime_process::own_file;
use image::builtin::{Recipe, Source};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The image's repository at `ironclad.local`.
pub(crate) const REPOSITORY: &str = "demo";
/// The image's name.
const NAME: &str = "ironclad.local/demo:latest";

/// What the image is made of. The libraries are those that the kernel mapped for this process: what was needed to start
/// here is what is needed to start there.
pub(crate) fn recipe() -> Recipe {
    let program = own_file();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files = vec![Source { from: program.clone(), to: "/ironclad".into() }];
    // Libraries keep their own paths, where the loader looks for them.
    let libraries = libraries(&maps).into_iter().filter(|l| *l != program);
    files.extend(libraries.map(|l| Source { from: l.clone(), to: l }));
    files.extend(loader().map(|(from, to)| Source { from, to }));
    let fingerprint = std::fs::metadata("/proc/self/exe").map_or_else(
        |_| env!("CARGO_PKG_VERSION").to_owned(),
        |m| format!("{} {} {} {}", env!("CARGO_PKG_VERSION"), m.size(), m.mtime(), m.mtime_nsec()),
    );
    Recipe {
        name: NAME.into(),
        fingerprint,
        files,
        entrypoint: vec!["/ironclad".into()],
        cmd: vec!["demo-server".into()],
        user: "65532:65532".into(),
    }
}

/// Paths of the shared objects in the text of `/proc/self/maps`.
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    let paths = maps.lines().filter_map(|l| l.split_once(" /").map(|(_, p)| format!("/{p}")));
    let shared = |p: &String| p.contains(".so.") || p.ends_with(".so");
    paths.filter(shared).map(|p| PathBuf::from(p.trim())).collect()
}

/// The program loader under the name that the binary asks for, which may be a link to where it lies.
fn loader() -> Option<(PathBuf, PathBuf)> {
    let name = match std::env::consts::ARCH {
        "x86_64" => "/lib64/ld-linux-x86-64.so.2",
        "aarch64" => "/lib/ld-linux-aarch64.so.1",
        _ => return None,
    };
    let real = std::fs::canonicalize(name).ok()?;
    Some((real, PathBuf::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_mapped() {
        let maps = "7f 00 08:01 1  /usr/lib/x86_64-linux-gnu/libc.so.6\n7f 00 08:01 1  /usr/bin/tool\n7f 0 0 0 [heap]\n7f 00 08:01 1  /usr/lib/x86_64-linux-gnu/libc.so.6\n";
        assert_eq!(
            libraries(maps).into_iter().collect::<Vec<_>>(),
            [PathBuf::from("/usr/lib/x86_64-linux-gnu/libc.so.6")]
        );
        assert!(recipe().files.iter().any(|f| f.to.ends_with("ironclad")));
    }
}
