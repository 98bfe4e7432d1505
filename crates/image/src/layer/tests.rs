use super::*;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds an entry with its path as it stands, which the builder itself would refuse.
    fn add(mut self, kind: tar::EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(kind);
        h.set_size(data.len() as u64);
        h.set_mode(0o4755);
        h.set_uid(7);
        h.set_gid(8);
        h.set_mtime(1000);
        let old = h.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        h.set_cksum();
        self.0.append(&h, data).unwrap();
        self
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.add(tar::EntryType::Regular, path, "", data.as_bytes())
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, path, target, b"")
    }

    fn unpack(self) -> (tempfile::TempDir, Result<Unpacked, Error>) {
        let bytes = self.0.into_inner().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let got = unpack(&bytes[..], &dir.path().join("root"));
        (dir, got)
    }
}

#[test]
fn keeps_what_a_file_has() {
    let (dir, got) = Tar::new().file("./bin/tool", "hello").unpack();
    assert_eq!(got.unwrap().size, 5);
    let m = std::fs::metadata(dir.path().join("root/bin/tool")).unwrap();
    assert_eq!((m.mode() & 0o7777, m.uid(), m.gid(), m.mtime()), (0o4755, 7, 8, 1000));
}

#[test]
fn nothing_leaves_the_root() {
    for climbing in ["../evil", "a/../../evil", "a/b/../../../evil"] {
        let (dir, got) = Tar::new().file(climbing, "x").unpack();
        assert!(got.unwrap_err().to_string().contains("leads out"), "{climbing}");
        assert!(!dir.path().join("evil").exists());
    }
    let (dir, got) = Tar::new().link("out", "/").file("out/evil", "x").unpack();
    got.unwrap();
    assert!(dir.path().join("root/evil").exists(), "an absolute link leads to the layer's own root");
    let (dir, got) = Tar::new().link("out", "../..").file("out/evil", "x").unpack();
    got.unwrap();
    assert!(dir.path().join("root/evil").exists() && !dir.path().join("evil").exists());
}

#[test]
fn a_link_is_replaced_not_followed() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let path = outside.path().to_str().unwrap();
    let (dir, got) = Tar::new().link("f", path).file("f", "x").unpack();
    got.unwrap();
    assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
    assert!(dir.path().join("root/f").symlink_metadata().unwrap().is_file());
}

#[test]
fn hard_links_stay_inside() {
    let (_dir, got) = Tar::new().add(tar::EntryType::Link, "shadow", "/etc/shadow", b"").unpack();
    assert!(got.is_err());
    let (dir, got) = Tar::new().file("a", "x").add(tar::EntryType::Link, "b", "a", b"").unpack();
    got.unwrap();
    assert_eq!(std::fs::metadata(dir.path().join("root/b")).unwrap().nlink(), 2);
}

#[test]
fn whiteouts_become_overlays() {
    let (dir, got) = Tar::new().file("d/.wh.gone", "").file("o/.wh..wh..opq", "").unpack();
    got.unwrap();
    let gone = std::fs::symlink_metadata(dir.path().join("root/d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 8];
    let n = fs::getxattr(dir.path().join("root/o"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..n], b"y");
    assert!(Tar::new().file(".wh...", "").unpack().1.is_err(), "no whiteout of the parent");
}

#[test]
fn compressed_layers_have_the_id_of_the_plain_one() {
    let plain = Tar::new().file("a", "x").0.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let got = unpack(&gzip.finish().unwrap()[..], dir.path()).unwrap();
    assert_eq!(got.diff_id, Digest::of(&plain));
}

#[test]
fn rubbish_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(unpack(&[1; 2048][..], dir.path()).is_err());
    let cut = &Tar::new().file("a", "hello").0.into_inner().unwrap()[..514];
    assert!(unpack(cut, dir.path()).is_err());
}
