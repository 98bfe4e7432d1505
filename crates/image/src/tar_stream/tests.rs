use super::*;

/// A header block with a right checksum.
pub(crate) fn header(kind: u8, path: &str, size: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut h = vec![0; BLOCK];
    h[..path.len()].copy_from_slice(path.as_bytes());
    h[100..107].copy_from_slice(b"0000644");
    h[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    h[156] = kind;
    h[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut h);
    h[148..156].fill(b' ');
    let sum: u64 = h.iter().map(|b| u64::from(*b)).sum();
    h[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    h
}

/// An entry with its data, filled up to whole blocks.
pub(crate) fn entry(kind: u8, path: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, path, data.len() as u64, |_| {});
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// PAX records as an entry.
pub(crate) fn records(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length.to_string().len() + rest != length {
            length += 1;
        }
        text += &format!("{length} {key}={value}\n");
    }
    entry(b'x', "pax", text.as_bytes())
}

fn read(bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut stream = TarStream::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = stream.next()? {
        let mut data = Vec::new();
        stream.read_to_end(&mut data)?;
        found.push((entry, data));
    }
    Ok(found)
}

fn error(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn records_win_over_the_header() {
    let long = "d/".repeat(200) + "file";
    let pax = [
        ("path", long.as_str()),
        ("uid", "3000000000"),
        ("mtime", "12.5"),
        ("size", "3"),
        ("comment", "=\n="),
    ];
    let xattr = [("SCHILY.xattr.user.a", "b")];
    let pax: Vec<_> = pax.into_iter().chain(xattr).collect();
    let mut file = header(b'0', "short", 0, |h| h[136..148].copy_from_slice(b"00000000001\0"));
    file.extend([b"abc".as_slice(), &[0; 509]].concat());
    let got = read(&[records(&pax), file, entry(b'0', "next", b"")].concat()).unwrap();
    let (e, data) = &got[0];
    assert_eq!((e.path.as_slice(), e.uid, e.mtime, e.size), (long.as_bytes(), 3_000_000_000, 12, 3));
    assert_eq!((data.as_slice(), e.xattrs.len(), got.len()), (b"abc".as_slice(), 1, 2));
    assert_eq!((got[1].0.uid, got[1].0.xattrs.len()), (0, 0), "they are for one entry");
}

#[test]
fn gnus_long_names_and_numbers() {
    let long = "n".repeat(300) + "\0";
    let bytes =
        [entry(b'L', "././@LongLink", long.as_bytes()), entry(b'K', "l", b"target\0"), entry(b'2', "x", b"")];
    let (e, _) = read(&bytes.concat()).unwrap().remove(0);
    assert_eq!((e.path.len(), e.link.as_slice(), e.kind), (300, b"target".as_slice(), Kind::Symlink));
    assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap(), 256);
    assert!(number(&[0xff; 12]).is_err() && number(b"12a").is_err() && number(b"-1").is_err());
    assert_eq!(number(b" 0000644\0").unwrap(), 0o644);
}

#[test]
fn sparse_files() {
    let map = "2\n1024\n3\n4096\n1\n";
    let mut data = map.as_bytes().to_vec();
    data.resize(BLOCK, 0);
    data.extend(b"abcd");
    let version =
        |minor| [("GNU.sparse.major", "1"), ("GNU.sparse.minor", minor), ("GNU.sparse.realsize", "5000")];
    let got = read(&[records(&version("0")), entry(b'0', "s", &data)].concat()).unwrap();
    let pieces = [Piece { offset: 1024, length: 3 }, Piece { offset: 4096, length: 1 }];
    assert_eq!((got[0].0.sparse.as_deref(), got[0].0.size), (Some(&pieces[..]), 5000));
    assert_eq!(got[0].1, b"abcd");
    assert!(error(&[records(&version("1")), entry(b'0', "s", &data)].concat()).contains("other than 1.0"));
    // GNU's own form, with a piece in a block of its own.
    let mut old = header(b'S', "s", 4, |h| {
        h[386..410].copy_from_slice(b"00000002000\x0000000000003\0");
        h[482] = 1;
        h[483..495].copy_from_slice(b"00000011610\0");
    });
    let mut more = vec![0; BLOCK];
    more[..24].copy_from_slice(b"00000010000\x0000000000001\0");
    old.extend(more);
    old.extend([b"abcd".as_slice(), &[0; 508]].concat());
    let got = read(&old).unwrap();
    assert_eq!((got[0].0.sparse.as_deref(), got[0].0.size), (Some(&pieces[..]), 5000));
    for wrong in [
        "2\n4096\n3\n0\n1\n",
        "1\n4999\n4\n",
        "1\n0\n3\n",
        "1\n18446744073709551615\n4\n",
        "99999999\n",
        "x\n",
    ] {
        let mut data = wrong.as_bytes().to_vec();
        data.resize(BLOCK, 0);
        data.extend(b"abcd");
        assert!(
            error(&[records(&version("0")), entry(b'0', "s", &data)].concat()).contains("sparse"),
            "{wrong:?}"
        );
    }
}

#[test]
fn what_is_refused() {
    let big = header(b'x', "x", MAX_EXTENSION + 1, |_| {});
    assert!(error(&big).contains("at most 1048576"));
    let endless = header(b'0', "x", 0, |h| {
        h[124..136].copy_from_slice(&[0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])
    });
    assert_eq!(read(&endless).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    for text in [
        "x",
        "5 a=b",
        "99 a=b\n",
        "0 \n",
        "3 \n",
        "6 a=b\n\u{7f}\n",
        "18446744073709551615 a=b\n",
        "10 size=-1\n",
        "8 uid=\n",
    ] {
        assert!(error(&entry(b'x', "x", text.as_bytes())).contains("invalid PAX records"), "{text:?}");
    }
    let mut broken = entry(b'0', "x", b"");
    broken[0] ^= 1;
    assert!(error(&broken).contains("invalid tar header"));
    assert_eq!(read(&broken[..100]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(read(&[]).unwrap().is_empty());
}
