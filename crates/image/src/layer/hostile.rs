//! Layers that nobody means well with: bombs, odd records, devices, and a million small lies.

use super::*;
use crate::tar_stream::tests::{entry, header, records};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<Unpacked, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let got = unpack(bytes, dir.path());
    (dir, got)
}

#[test]
fn a_bomb_of_records_costs_no_memory() {
    // Five megabytes of this would be five gigabytes of records.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&header(b'x', "x", 5 << 30, |_| {})).unwrap();
    gzip.write_all(&vec![b'1'; 4 << 20]).unwrap();
    let error = unpacked(&gzip.finish().unwrap()).1.unwrap_err().to_string();
    assert!(error.contains("a name or PAX records of 5368709120 bytes"), "{error}");
}

#[test]
fn holes_count_and_cost_no_disk() {
    let sparse = |size: &str| {
        let pax = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", size)];
        let mut data = b"1\n1000000\n1\n".to_vec();
        data.resize(512, 0);
        data.push(b'x');
        [records(&pax), entry(b'0', "file", &data)].concat()
    };
    let (dir, got) = unpacked(&sparse("1073741824"));
    assert_eq!(got.unwrap().size, 1 << 30);
    let m = std::fs::metadata(dir.path().join("file")).unwrap();
    assert!(m.len() == 1 << 30 && m.blocks() < 64, "{} blocks", m.blocks());
    let error = unpacked(&sparse("9223372036854775807")).1.unwrap_err().to_string();
    assert!(error.contains("unpacks to more than"), "{error}");
    let twice = [sparse("40000000000"), sparse("40000000000")].concat();
    assert!(unpacked(&twice).1.unwrap_err().to_string().contains("unpacks to more than"));
}

#[test]
fn paths_that_are_too_deep_or_too_odd() {
    let deep = "d/".repeat(MAX_DEPTH + 1);
    for (path, why) in
        [(deep.as_str(), "too deep"), ("a\0b", "nvalid"), ("a/..", "leads out"), ("", "without a name")]
    {
        let bytes = [records(&[("path", path)]), entry(b'0', "x", b"data")].concat();
        let error = unpacked(&bytes).1.unwrap_err().to_string();
        assert!(error.contains(why), "{path:?}: {error}");
    }
    let (dir, got) =
        unpacked(&[records(&[("path", &"d/".repeat(MAX_DEPTH))]), entry(b'5', "x", b"")].concat());
    got.unwrap();
    assert!(dir.path().join("d/".repeat(MAX_DEPTH)).is_dir());
    assert!(unpacked(&[records(&[("path", &"n".repeat(300))]), entry(b'0', "x", b"")].concat()).1.is_err());
}

#[test]
fn links_between_entries() {
    // The same name as every kind, one after the other.
    let mut all = Vec::new();
    for kind in [b'0', b'5', b'2', b'6', b'0', b'3', b'5', b'0'] {
        let link = |h: &mut [u8]| h[157..161].copy_from_slice(b"/etc");
        all.extend(header(kind, "same", 0, if kind == b'2' { link } else { |_: &mut [u8]| {} }));
        all.extend(entry(b'0', if kind == b'5' { "same/inside" } else { "other" }, b"x"));
    }
    let (dir, got) = unpacked(&all);
    got.unwrap();
    assert!(dir.path().join("same").is_file());
    // To itself, through a link, to a directory.
    let link = |path: &str, to: &str| {
        header(b'1', path, 0, |h| h[157..157 + to.len()].copy_from_slice(to.as_bytes()))
    };
    let (dir, got) =
        unpacked(&[entry(b'0', "a", b"x"), link("a", "a"), entry(b'0', "b", b"y"), link("b", "a")].concat());
    got.unwrap();
    assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"x");
    assert!(unpacked(&[entry(b'5', "d", b""), link("x", "d")].concat()).1.is_err());
    assert!(unpacked(&link("x", "../../etc/passwd")).1.is_err());
}

#[test]
fn devices_are_made_and_never_opened() {
    let device = |kind| {
        header(kind, "node", 0, |h| {
            h[329..336].copy_from_slice(b"0000001");
            h[337..344].copy_from_slice(b"0000003");
        })
    };
    let (dir, got) = unpacked(&device(b'3'));
    got.unwrap();
    let m = std::fs::symlink_metadata(dir.path().join("node")).unwrap();
    assert!(m.file_type().is_char_device() && m.rdev() == fs::makedev(1, 3));
    // A pipe without a writer would hang whoever opened it; its attributes are left out.
    let pax = records(&[("SCHILY.xattr.user.a", "b")]);
    let (dir, got) = unpacked(&[pax.clone(), entry(b'6', "pipe", b"")].concat());
    got.unwrap();
    assert!(std::fs::symlink_metadata(dir.path().join("pipe")).unwrap().file_type().is_fifo());
    assert!(unpacked(&[pax, device(b'4')].concat()).1.is_ok());
    assert!(unpacked(&entry(b'Z', "x", b"")).1.unwrap_err().to_string().contains("unknown type 'Z'"));
}

#[test]
fn attributes_that_images_have_no_business_with() {
    let overlay =
        records(&[("SCHILY.xattr.trusted.overlay.redirect", "/etc"), ("SCHILY.xattr.security.selinux", "x")]);
    let (dir, got) = unpacked(&[overlay, entry(b'5', "d", b"")].concat());
    got.unwrap();
    let mut value = [0; 64];
    assert!(fs::getxattr(dir.path().join("d"), "trusted.overlay.redirect", &mut value).is_err());
    assert!(unpacked(&[records(&[("uid", "4294967295")]), entry(b'0', "x", b"")].concat()).1.is_err());
}

#[test]
fn zstd_of_many_frames() {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    let plain = [entry(b'0', "a", b"x"), entry(b'0', "b", &[7; 100_000]), vec![0; 1024]].concat();
    let skipped = |n: u8| [[0x50 + n, 0x2a, 0x4d, 0x18].as_slice(), &[3, 0, 0, 0], b"toc"].concat();
    let (one, other) = plain.split_at(700);
    let [one, other] = [one, other].map(|p| compress_to_vec(p, CompressionLevel::Fastest));
    let (dir, got) = unpacked(&[skipped(0), one.clone(), skipped(3), other, skipped(15)].concat());
    assert_eq!(got.unwrap().diff_id, Digest::of(&plain));
    assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), [7; 100_000]);
    assert!(unpacked(&[one.as_slice(), b"rubbish"].concat()).1.is_err());
}

/// Every lie ends in an error or in a directory, never in a panic, and never outside.
#[test]
fn a_million_small_lies() {
    const TIME: Duration = Duration::from_secs(2);
    const LIES: u64 = 20_000;
    let plain = [
        records(&[("path", "d/long"), ("SCHILY.xattr.user.a", "b"), ("mtime", "1.5"), ("size", "3")]),
        entry(b'0', "x", b"abc"),
        entry(b'L', "l", b"a/long/name\0"),
        entry(b'2', "x", b""),
        entry(b'0', "d/.wh.gone", b""),
        header(b'1', "hard", 0, |h| h[157..163].copy_from_slice(b"d/long")),
        entry(b'5', "d", b""),
        vec![0; 1024],
    ]
    .concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    let outside = tempfile::tempdir().unwrap();
    let until = Instant::now() + TIME;
    for seed in 0..LIES {
        let mut rng = stdx::Rng::new(seed);
        let mut bytes = [&plain, &plain, &gzip, &zstd][rng.index(4)].clone();
        for _ in 0..=rng.index(4) {
            lie(&mut bytes, &mut rng);
        }
        let root = outside.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let _ = unpack(&bytes[..], &root);
        remove_tree(&root).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "seed {seed}");
        if Instant::now() > until {
            break;
        }
    }
}

fn lie(bytes: &mut Vec<u8>, rng: &mut stdx::Rng) {
    let at = rng.index(bytes.len());
    match rng.index(5) {
        0 => bytes[at] ^= 1 << rng.index(8),
        1 => bytes[at] = [0, 0xff, b'/', b'.', b'9', b'\n'][rng.index(6)],
        2 => bytes.truncate(at.max(1)),
        3 => {
            let end = (at + rng.index(600)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            // A lie with a right checksum gets further.
            let block = at / 512 * 512;
            let Some(h) = bytes.get_mut(block..block + 512) else { return };
            h[rng.index(345)] = [0, 0xff, b'/', b'.', b'7', b'x'][rng.index(6)];
            h[148..156].fill(b' ');
            let sum: u64 = h.iter().map(|b| u64::from(*b)).sum();
            h[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
}
